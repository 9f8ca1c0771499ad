//! `Lease`: an upstream key held by one attempt, released on drop.

use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::clock::Timestamp;
use crate::pool::keys::registry::{KeyRegistry, LeasedKey};
use crate::pool::keys::selection::{LeaseObstacle, LeaseRequest, TriedKeys};
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::secret::Secret;

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

    /// Visits every key in the order of the ids. The lock is released between chunks of keys, so that
    /// requests do not wait for work that grows with the number of keys.
    pub fn for_each_key(&self, mut visit: impl FnMut(&KeyRegistry, UpstreamKeyId)) {
        self.any_key(|keys, id| {
            visit(keys, id);
            false
        });
    }

    /// Whether a condition is true of any key; visits keys up to the first one, like [`Self::for_each_key`].
    pub fn any_key(&self, mut is_wanted: impl FnMut(&KeyRegistry, UpstreamKeyId) -> bool) -> bool {
        let mut last = None;
        loop {
            let keys = self.lock();
            let ids = keys.ids_after(last);
            if ids.iter().any(|id| is_wanted(&keys, *id)) {
                return true;
            }
            match ids.last() {
                Some(id) => last = Some(*id),
                None => return false,
            }
            // A request that waits gets the lock first.
            MutexGuard::unlock_fair(keys);
        }
    }

    /// All secrets, and the project numbers and names of each key: none of them may reach a client.
    pub fn values_to_redact(&self) -> Vec<(Secret, Vec<String>)> {
        let mut values = Vec::new();
        self.for_each_key(|keys, id| {
            let row = keys.get(id);
            values.extend(row.map(|row| (row.secret.clone(), row.project_ids())));
        });
        values
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

    /// Leases a key of a project that was not tried; see [`KeyRegistry::lease_untried_project`].
    pub fn lease_untried_project(
        &self,
        wanted: &LeaseRequest,
        tried: &TriedKeys,
        now: Timestamp,
    ) -> Option<Lease> {
        let key = self.lock().lease_untried_project(wanted, tried, now)?;
        Some(Lease {
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::pool::keys::upstream_key::UpstreamKey;

    #[test]
    fn every_key_is_visited_in_order_while_others_use_the_lock() {
        const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);
        let shared = SharedKeyRegistry::default();
        for id in (1..=1_000).rev() {
            shared.lock().put(UpstreamKey::example(id, id, NOW), 0, NOW);
        }
        // The other thread removes the last key between two visits, which needs the lock.
        let (ask, asked) = mpsc::channel();
        let other = shared.clone();
        let removal = std::thread::spawn(move || {
            asked.recv().unwrap();
            other.lock().remove(UpstreamKeyId(1_000));
        });

        let mut visited = Vec::new();
        shared.for_each_key(|_, id| {
            visited.push(id.0);
            if id.0 == 1 {
                ask.send(()).unwrap();
            }
            // Gives the other thread time while this one does not hold the lock for all keys.
            std::thread::sleep(std::time::Duration::from_micros(100));
        });

        removal.join().unwrap();
        assert_eq!(visited, (1..=999).collect::<Vec<_>>());
    }
}
