//! `Lease`: an upstream key held by one attempt, given back on drop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::pool::keys::{Keys, Lent};
use crate::pool::selection::Tried;

/// The keys as requests share them. Held for microseconds, never over an await.
#[derive(Debug, Clone, Default)]
pub struct SharedKeys(Arc<Mutex<Keys>>);

impl SharedKeys {
    pub fn lock(&self) -> MutexGuard<'_, Keys> {
        // A panic elsewhere leaves at worst one key out of line; the pool goes on.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends the best ready key; see [`Keys::lend`].
    pub fn lease(&self, model: &str, tried: &Tried, now: Timestamp) -> Option<Lease> {
        let lent = self.lock().lend(model, tried, now)?;
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
        self.keys.lock().give_back(self.lent.id);
    }
}
