//! `Lease`: an upstream key held by one attempt, given back on drop.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::clock::Timestamp;
use crate::pool::keys::registry::{KeyRegistry, LeasedKey};
use crate::pool::keys::selection::{LeaseObstacle, LeaseRequest, TriedKeys};
use crate::pool::keys::upstream_key::UpstreamKeyId;

/// The keys as requests share them. Held for microseconds, never over an await.
#[derive(Clone, Default)]
pub struct SharedKeyRegistry(Arc<Shared>);

#[derive(Default)]
struct Shared {
    keys: Mutex<KeyRegistry>,
    on_release: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for SharedKeyRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKeyRegistry")
    }
}

impl SharedKeyRegistry {
    pub fn lock(&self) -> MutexGuard<'_, KeyRegistry> {
        // A panic elsewhere leaves at worst one key out of line; the pool goes on.
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is called, without the lock, each time a key was given back. Once set it stays.
    pub fn on_release(&self, call: impl Fn() + Send + Sync + 'static) {
        // Only the first counts, and there is only one.
        let _ = self.0.on_release.set(Box::new(call));
    }

    /// Lends the best ready key; see [`KeyRegistry::lease`].
    pub fn lease(
        &self,
        wanted: &LeaseRequest,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> Result<Lease, LeaseObstacle> {
        let key = self.lock().lease(wanted, tried, now)?;
        Ok(Lease {
            key,
            keys: self.clone(),
        })
    }

    /// Lends this very key; see [`KeyRegistry::lease_key`].
    pub fn lease_key(
        &self,
        id: UpstreamKeyId,
        wanted: &LeaseRequest,
        now: Timestamp,
    ) -> Option<Lease> {
        let key = self.lock().lease_key(id, wanted, now)?;
        Some(Lease {
            key,
            keys: self.clone(),
        })
    }
}

/// An upstream key in use.
#[derive(Debug)]
pub struct Lease {
    pub key: LeasedKey,
    keys: SharedKeyRegistry,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keys.lock().release(&self.key);
        if let Some(call) = self.keys.0.on_release.get() {
            call();
        }
    }
}
