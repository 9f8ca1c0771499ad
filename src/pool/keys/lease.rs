//! `Lease`: an upstream key held by one attempt, released on drop.

use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::clock::Timestamp;
use crate::pool::keys::registry::{KeyRegistry, LeasedKey};
use crate::pool::keys::selection::{LeaseObstacle, LeaseRequest, TriedKeys};
use crate::pool::keys::upstream_key::UpstreamKeyId;

/// The registry shared by all requests. Its lock is held for microseconds, never across an await.
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
        // A panic elsewhere leaves at worst one key with a wrong readiness; the pool continues.
        self.0.keys.lock()
    }

    /// Sets the function that is called, without the lock, after each release. It can be set only once.
    pub fn on_release(&self, call: impl Fn() + Send + Sync + 'static) {
        // Later calls have no effect, and there are none.
        let _ = self.0.on_release.set(Box::new(call));
    }

    /// Leases the best ready key; see [`KeyRegistry::lease`].
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

    /// Leases a given key; see [`KeyRegistry::lease_key`].
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

/// An upstream key held by one attempt.
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
