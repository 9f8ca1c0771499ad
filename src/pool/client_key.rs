//! What a client key is, and how a running server knows them all.

use std::collections::HashMap;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use serde::Serialize;
use sha2::Sha256;

use crate::clock::Timestamp;

/// The id of a client key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, Serialize)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct ClientKeyId(pub i64);

/// A client key as the proxy needs it; removed ones are not known to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKey {
    pub id: ClientKeyId,
    pub name: String,
    pub enabled: bool,
    pub expires_at: Option<Timestamp>,
    /// The tags of upstream keys it may spend; none: any.
    pub tags: Vec<String>,
}

/// The random key under which client keys and fingerprints are hashed.
#[derive(Clone)]
pub struct HashKey(Hmac<Sha256>);

impl HashKey {
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// HMAC-SHA-256 of `secret`: what is stored in its place.
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

/// All client keys, by hash, so that a look-up tells nothing by the time it takes.
#[derive(Debug)]
pub struct ClientKeys {
    hash_key: HashKey,
    by_hash: HashMap<[u8; 32], Arc<ClientKey>>,
}

impl ClientKeys {
    pub fn new(hash_key: HashKey, keys: impl IntoIterator<Item = ([u8; 32], ClientKey)>) -> Self {
        let by_hash = keys
            .into_iter()
            .map(|(hash, key)| (hash, Arc::new(key)))
            .collect();
        Self { hash_key, by_hash }
    }

    /// The key with this secret, whether or not it may be used now.
    pub fn find(&self, secret: &str) -> Option<Arc<ClientKey>> {
        self.by_hash.get(&self.hash_key.hash(secret)).cloned()
    }
}
