//! `Lease`: an upstream key held by one attempt, given back on drop.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::clock::Timestamp;
use crate::pool::keys::{Keys, Lent};
use crate::pool::selection::{Obstacle, Tried, Wanted};
use crate::pool::upstream_key::UpstreamKeyId;

/// The keys as requests share them. Held for microseconds, never over an await.
#[derive(Clone, Default)]
pub struct SharedKeys(Arc<Shared>);

#[derive(Default)]
struct Shared {
    keys: Mutex<Keys>,
    when_freed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for SharedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKeys")
    }
}

impl SharedKeys {
    pub fn lock(&self) -> MutexGuard<'_, Keys> {
        // A panic elsewhere leaves at worst one key out of line; the pool goes on.
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is called, without the lock, each time a key was given back. Once set it stays.
    pub fn when_freed(&self, call: impl Fn() + Send + Sync + 'static) {
        // Only the first counts, and there is only one.
        let _ = self.0.when_freed.set(Box::new(call));
    }

    /// Lends the best ready key; see [`Keys::lend`].
    pub fn lease(&self, wanted: &Wanted, tried: &Tried, now: Timestamp) -> Result<Lease, Obstacle> {
        let lent = self.lock().lend(wanted, tried, now)?;
        Ok(Lease {
            lent,
            keys: self.clone(),
        })
    }

    /// Lends this very key; see [`Keys::lend_key`].
    pub fn lease_key(&self, id: UpstreamKeyId, wanted: &Wanted, now: Timestamp) -> Option<Lease> {
        let lent = self.lock().lend_key(id, wanted, now)?;
        Some(Lease {
            lent,
            keys: self.clone(),
        })
    }
}

/// An upstream key in use.
#[derive(Debug)]
pub struct Lease {
    pub lent: Lent,
    keys: SharedKeys,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keys.lock().give_back(&self.lent);
        if let Some(call) = self.keys.0.when_freed.get() {
            call();
        }
    }
}
