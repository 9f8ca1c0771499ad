//! Tokens of the admin API: how they are made and hashed, and what they grant.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::{CryptoRng, RngExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::pool::secret::Secret;

/// The beginning of every token, by which people and secret scanners recognize one.
pub const TOKEN_PREFIX: &str = "gpa_";
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// Maximum length of a token's name, in characters.
pub const MAX_NAME_CHARACTERS: usize = 100;

/// The id of an API token; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type, Serialize, Deserialize, ToSchema)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct ApiTokenId(pub i64);

/// Whether a token may change things.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    sqlx::Type,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TokenAccess {
    Read,
    Write,
}

/// A group of routes of the API.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum ApiScope {
    UpstreamKeys,
    /// Tests of upstream keys.
    Checks,
    ClientKeys,
    Projects,
    EgressProxies,
    Quota,
    Models,
    Logs,
    Usage,
    Settings,
    Alerts,
    Audit,
    Backups,
    Sessions,
    Tokens,
    Metrics,
}

/// What a token may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenGrant {
    pub access: TokenAccess,
    /// Sorted; empty: all.
    pub scopes: Vec<ApiScope>,
    /// `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// Why a token does not permit a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPermitted {
    #[error("this token may only read: use one with write access")]
    ReadOnly,
    #[error("this token does not include the scope {}: use one that does", .0.name())]
    Scope(ApiScope),
}

impl TokenAccess {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl ApiScope {
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name in rows, JSON and commands.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl TokenGrant {
    /// Scopes in any order and number become a sorted set.
    pub fn new(
        access: TokenAccess,
        mut scopes: Vec<ApiScope>,
        expires_at: Option<Timestamp>,
    ) -> Self {
        scopes.sort_unstable();
        scopes.dedup();
        Self {
            access,
            scopes,
            expires_at,
        }
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    pub fn permits(&self, scope: ApiScope, access: TokenAccess) -> Result<(), NotPermitted> {
        if !self.scopes.is_empty() && !self.scopes.contains(&scope) {
            return Err(NotPermitted::Scope(scope));
        }
        if self.access < access {
            return Err(NotPermitted::ReadOnly);
        }
        Ok(())
    }

    /// Whether this token may create `other`: a token can pass on only what it has.
    pub fn covers(&self, other: &Self) -> bool {
        let has_scopes = if other.scopes.is_empty() {
            self.scopes.is_empty()
        } else {
            let has = |scope| self.scopes.is_empty() || self.scopes.contains(scope);
            other.scopes.iter().all(has)
        };
        let ends_before = match (self.expires_at, other.expires_at) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => other <= own,
        };
        self.access >= other.access && has_scopes && ends_before
    }
}

/// Makes a token: `gpa_` and 256 random bits.
pub fn generate(random: &mut impl CryptoRng) -> Secret {
    let bytes: [u8; TOKEN_BYTES] = random.random();
    let text = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    Secret::new(&format!("{TOKEN_PREFIX}{text}"))
}

/// The stored hash of a token. A slow hash protects passwords, of which there are few enough to try them all; 256 random
/// bits cannot be guessed, and a token is verified on every request.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// A usable name of a token, without spaces around it.
pub fn parse_name(text: &str) -> Result<&str, &'static str> {
    let name = text.trim();
    if name.is_empty() {
        return Err("the name of a token must not be empty");
    }
    if name.chars().count() > MAX_NAME_CHARACTERS || name.chars().any(char::is_control) {
        return Err("the name of a token has at most 100 characters, on one line");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(access: TokenAccess, scopes: &[ApiScope], expires_at: Option<i64>) -> TokenGrant {
        TokenGrant::new(
            access,
            scopes.to_vec(),
            expires_at.map(Timestamp::from_millis),
        )
    }

    #[test]
    fn tokens_are_recognizable_unique_and_found_by_their_hash() {
        let (one, other) = (generate(&mut rand::rng()), generate(&mut rand::rng()));

        assert_ne!(one, other);
        assert_eq!(one.expose().len(), TOKEN_PREFIX.len() + 43);
        assert!(one.expose().starts_with(TOKEN_PREFIX));
        assert_eq!(hash(one.expose()), hash(one.expose()));
        assert_ne!(hash(one.expose()), hash(other.expose()));
    }

    #[test]
    fn a_token_permits_its_scopes_and_its_access() {
        use ApiScope::{Logs, Usage};
        use TokenAccess::{Read, Write};
        let cases = [
            (grant(Read, &[], None), Logs, Read, Ok(())),
            (grant(Write, &[], None), Logs, Write, Ok(())),
            (
                grant(Read, &[], None),
                Logs,
                Write,
                Err(NotPermitted::ReadOnly),
            ),
            (grant(Write, &[Logs], None), Logs, Write, Ok(())),
            (
                grant(Write, &[Logs], None),
                Usage,
                Read,
                Err(NotPermitted::Scope(Usage)),
            ),
        ];
        for (grant, scope, access, expected) in cases {
            assert_eq!(
                grant.permits(scope, access),
                expected,
                "{grant:?} {scope:?}"
            );
        }
    }

    #[test]
    fn a_token_passes_on_only_what_it_has() {
        use ApiScope::{Logs, Tokens};
        use TokenAccess::{Read, Write};
        let own = grant(Write, &[Tokens, Logs, Logs], Some(10));
        assert_eq!(own.scopes, [Logs, Tokens]);
        for (other, expected) in [
            (grant(Write, &[Logs], Some(10)), true),
            (grant(Read, &[Logs, Tokens], Some(9)), true),
            (grant(Read, &[], Some(9)), false),
            (grant(Read, &[ApiScope::Usage], Some(9)), false),
            (grant(Read, &[Logs], None), false),
            (grant(Read, &[Logs], Some(11)), false),
        ] {
            assert_eq!(own.covers(&other), expected, "{other:?}");
        }
        let all = grant(Read, &[], None);
        assert!(all.covers(&grant(Read, &[], None)));
        assert!(all.covers(&grant(Read, &[Logs], Some(1))));
        assert!(!all.covers(&grant(Write, &[Logs], Some(1))));
    }

    #[test]
    fn names_are_short_and_on_one_line() {
        assert_eq!(parse_name(" deploy "), Ok("deploy"));
        for text in ["", "  ", "a\nb", &"a".repeat(101)] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
    }
}
