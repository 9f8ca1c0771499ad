//! Client keys and their limits, and the lookup of all of them by hash.

use std::collections::HashMap;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::clock::Timestamp;
use crate::pool::clients::scopes::Scopes;
use crate::pool::model_fallback::ModelFallback;
use crate::pool::money::nano_usd;

/// The id of a client key.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    sqlx::Type,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct ClientKeyId(pub i64);

/// Whether a client key can be used, apart from its limits.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ClientKeyState {
    Enabled,
    Disabled,
    Expired,
}

impl ClientKeyState {
    pub fn of(enabled: bool, expires_at: Option<Timestamp>, now: Timestamp) -> Self {
        match expires_at {
            _ if !enabled => Self::Disabled,
            Some(at) if at <= now => Self::Expired,
            Some(_) | None => Self::Enabled,
        }
    }

    /// The name in URLs and outputs.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A client key as needed by the proxy; deleted ones are not loaded.
#[derive(Debug, Clone)]
pub struct ClientKey {
    pub id: ClientKeyId,
    pub name: String,
    pub enabled: bool,
    pub expires_at: Option<Timestamp>,
    pub limits: ClientLimits,
    /// `None`: the limits or scopes in its row cannot be parsed, and the key may do nothing.
    pub scopes: Option<Scopes>,
    /// Tags of the upstream keys it may use; empty: any key.
    pub tags: Vec<String>,
    /// Whether it may create access to Google that bypasses this server: ephemeral tokens, permissions, webhooks,
    /// credentials.
    pub direct_access: bool,
    /// `None`: the chains of the setting.
    pub model_fallback: Option<ModelFallback>,
}

/// The limits of a client key; `None`: no limit. Serialized with the names of the JSON API, the cost in dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClientLimits {
    pub requests_per_minute: Option<u64>,
    pub requests_per_day: Option<u64>,
    pub tokens_per_minute: Option<u64>,
    pub tokens_per_day: Option<u64>,
    /// Maximum number of concurrent requests.
    pub concurrency: Option<u64>,
    #[serde(
        rename = "cost_per_month",
        serialize_with = "in_usd",
        deserialize_with = "from_usd"
    )]
    #[schema(value_type = Option<f64>)]
    pub cost_per_month_nano_usd: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ClientLimit {
    RequestsPerMinute,
    RequestsPerDay,
    TokensPerMinute,
    TokensPerDay,
    Concurrency,
    CostPerMonth,
}

impl ClientLimit {
    pub const ALL: &[Self] = Self::VARIANTS;

    /// Its name in forms and in the audit.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl ClientLimits {
    /// The largest value of a limit; a larger one would have no effect in practice.
    pub const LARGEST: u64 = 1_000_000_000_000;

    pub fn most(&self, limit: ClientLimit) -> Option<u64> {
        match limit {
            ClientLimit::RequestsPerMinute => self.requests_per_minute,
            ClientLimit::RequestsPerDay => self.requests_per_day,
            ClientLimit::TokensPerMinute => self.tokens_per_minute,
            ClientLimit::TokensPerDay => self.tokens_per_day,
            ClientLimit::Concurrency => self.concurrency,
            ClientLimit::CostPerMonth => self.cost_per_month_nano_usd,
        }
    }

    /// Replaces one limit; `None`: no limit.
    pub fn set(&mut self, limit: ClientLimit, most: Option<u64>) {
        let target = match limit {
            ClientLimit::RequestsPerMinute => &mut self.requests_per_minute,
            ClientLimit::RequestsPerDay => &mut self.requests_per_day,
            ClientLimit::TokensPerMinute => &mut self.tokens_per_minute,
            ClientLimit::TokensPerDay => &mut self.tokens_per_day,
            ClientLimit::Concurrency => &mut self.concurrency,
            ClientLimit::CostPerMonth => &mut self.cost_per_month_nano_usd,
        };
        *target = most;
    }

    /// Whether any limit is set.
    pub fn any(&self) -> bool {
        ClientLimit::ALL
            .iter()
            .any(|limit| self.most(*limit).is_some())
    }

    /// Whether every limit set in `other` is set here.
    pub fn covers(&self, other: &Self) -> bool {
        ClientLimit::ALL
            .iter()
            .all(|limit| self.most(*limit).is_some() || other.most(*limit).is_none())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "dollars are shown, not added up"
)]
#[expect(clippy::ref_option, reason = "serde asks for this form")]
fn in_usd<S: Serializer>(nano_usd: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    nano_usd.map(|nano| nano as f64 / 1e9).serialize(serializer)
}

fn from_usd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let dollars = Option::<f64>::deserialize(deserializer)?;
    // Dollars are written with at most nine decimals.
    Ok(dollars.and_then(|dollars| nano_usd(&format!("{dollars:.9}"))))
}

/// The random key for hashing client keys and fingerprints.
#[derive(Clone)]
pub struct HashKey(Hmac<Sha256>);

impl HashKey {
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// HMAC-SHA-256 of `secret`, which is stored instead of the secret.
    pub fn hash(&self, secret: &str) -> [u8; 32] {
        let mut hmac = self.0.clone();
        hmac.update(secret.as_bytes());
        hmac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey")
    }
}

/// All client keys by hash, so that the duration of a lookup reveals nothing.
#[derive(Debug)]
pub struct ClientKeys {
    hash_key: HashKey,
    by_hash: HashMap<[u8; 32], KnownSecret>,
}

#[derive(Debug)]
struct KnownSecret {
    key: Arc<ClientKey>,
    /// The end of a secret that was replaced by another.
    valid_until: Option<Timestamp>,
}

/// The client key of a secret.
#[derive(Debug)]
pub struct FoundClientKey {
    pub key: Arc<ClientKey>,
    /// Whether the key has a newer secret.
    pub is_old_secret: bool,
}

impl ClientKeys {
    pub fn new(hash_key: HashKey, keys: impl IntoIterator<Item = ([u8; 32], ClientKey)>) -> Self {
        let by_hash = keys
            .into_iter()
            .map(|(hash, key)| {
                let (key, valid_until) = (Arc::new(key), None);
                (hash, KnownSecret { key, valid_until })
            })
            .collect();
        Self { hash_key, by_hash }
    }

    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Adds the old secrets of keys, each with the time until which it is valid.
    #[must_use]
    pub fn with_old_secrets(
        mut self,
        old: impl IntoIterator<Item = ([u8; 32], ClientKeyId, Timestamp)>,
    ) -> Self {
        for (hash, id, valid_until) in old {
            if let Some(key) = self.find_by_id(id) {
                let valid_until = Some(valid_until);
                self.by_hash.insert(hash, KnownSecret { key, valid_until });
            }
        }
        self
    }

    /// The key with this secret, whether or not it may be used now. The time is read for old secrets only.
    pub fn find(&self, secret: &str, now: impl FnOnce() -> Timestamp) -> Option<FoundClientKey> {
        let known = self.by_hash.get(&self.hash_key.hash(secret))?;
        if known.valid_until.is_some_and(|until| until <= now()) {
            return None;
        }
        Some(FoundClientKey {
            key: known.key.clone(),
            is_old_secret: known.valid_until.is_some(),
        })
    }

    /// All keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ClientKey> {
        let newest = self
            .by_hash
            .values()
            .filter(|known| known.valid_until.is_none());
        newest.map(|known| &*known.key)
    }

    /// The key with this id, by a linear search: only parts of uploads lack the secret.
    pub fn find_by_id(&self, id: ClientKeyId) -> Option<Arc<ClientKey>> {
        let mut keys = self.by_hash.values().map(|known| &known.key);
        keys.find(|key| key.id == id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_secret_finds_its_key_until_its_end() {
        let hash_key = HashKey::new(b"key");
        let key = ClientKey {
            id: ClientKeyId(7),
            name: "notebook".to_owned(),
            enabled: true,
            expires_at: None,
            limits: ClientLimits::default(),
            scopes: None,
            tags: Vec::new(),
            direct_access: false,
            model_fallback: None,
        };
        let end = Timestamp::from_millis(1_000);
        let old = [
            (hash_key.hash("old"), ClientKeyId(7), end),
            (hash_key.hash("of another"), ClientKeyId(8), end),
        ];
        let keys = ClientKeys::new(hash_key.clone(), [(hash_key.hash("new"), key)]);
        let keys = keys.with_old_secrets(old);

        for (secret, now, expected) in [
            ("new", 2_000, Some(false)),
            ("old", 999, Some(true)),
            ("old", 1_000, None),
            ("of another", 0, None),
        ] {
            let found = keys.find(secret, || Timestamp::from_millis(now));
            let is_old = found.map(|found| found.is_old_secret);
            assert_eq!(is_old, expected, "{secret} {now}");
        }
    }
}
