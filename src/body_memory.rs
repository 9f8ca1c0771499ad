//! `BodyMemory`: the memory that request bodies and messages of live sessions take, bounded for all clients together.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::pool::clients::body_shares::{BodyObstacle, BodyShares};
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::settings::Settings;

/// The memory for bodies, and the bodies that wait for some.
#[derive(Debug, Default)]
pub struct BodyMemory {
    shares: Mutex<BodyShares>,
    freed: Notify,
}

impl BodyMemory {
    pub fn set_limits(&self, settings: &Settings) {
        self.shares.lock().set_limits(settings);
    }

    /// The bytes in memory.
    pub fn total(&self) -> u64 {
        self.shares.lock().total()
    }
}

/// The memory that one body takes, given back on drop.
#[derive(Debug)]
pub struct HeldMemory {
    memory: Arc<BodyMemory>,
    client: ClientKeyId,
    bytes: u64,
}

impl HeldMemory {
    pub fn new(memory: &Arc<BodyMemory>, client: ClientKeyId) -> Self {
        Self {
            memory: memory.clone(),
            client,
            bytes: 0,
        }
    }

    /// Memory for another body of the same client.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self::new(&self.memory, self.client)
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes memory for more bytes, or none.
    pub fn take(&mut self, bytes: u64) -> Result<(), BodyObstacle> {
        self.memory.shares.lock().take(self.client, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Takes memory for a body's first bytes, after a wait of at most `longest`. Later bytes never wait: bodies that have
    /// arrived in part would wait for each other.
    pub async fn take_first(&mut self, bytes: u64, longest: Duration) -> Result<(), BodyObstacle> {
        let obstacle = match self.take(bytes) {
            Err(obstacle @ (BodyObstacle::Full | BodyObstacle::ShareUsed)) => obstacle,
            taken => return taken,
        };
        let memory = self.memory.clone();
        let _waiting = WaitingBody::new(&memory, self.client);
        let taken = timeout(longest, async {
            loop {
                let mut freed = std::pin::pin!(memory.freed.notified());
                freed.as_mut().enable();
                if self.take(bytes).is_ok() {
                    return;
                }
                freed.await;
            }
        });
        taken.await.map_err(|_| obstacle)
    }

    /// Counts bytes that are in memory already.
    pub fn count(&mut self, bytes: u64) {
        self.memory.shares.lock().force(self.client, bytes);
        self.bytes += bytes;
    }

    /// Gives back all bytes.
    pub fn clear(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes > 0 && self.memory.shares.lock().give_back(self.client, bytes) {
            self.memory.freed.notify_waiters();
        }
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A body that waits for memory, until dropped.
struct WaitingBody<'a> {
    memory: &'a BodyMemory,
    client: ClientKeyId,
}

impl<'a> WaitingBody<'a> {
    fn new(memory: &'a BodyMemory, client: ClientKeyId) -> Self {
        memory.shares.lock().begin_wait(client);
        Self { memory, client }
    }
}

impl Drop for WaitingBody<'_> {
    fn drop(&mut self) {
        self.memory.shares.lock().end_wait(self.client);
        // The others' shares may bind no longer.
        self.memory.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Arc<BodyMemory> {
        let memory = Arc::new(BodyMemory::default());
        memory.set_limits(&Settings {
            max_held_bytes: 1_000,
            client_body_share_percent: 25,
            ..Settings::default()
        });
        memory
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_for_memory_and_binds_the_shares_of_others() {
        let memory = memory();
        let mut greedy = HeldMemory::new(&memory, ClientKeyId(1));
        greedy.take(1_000).unwrap();
        let mut modest = HeldMemory::new(&memory, ClientKeyId(2));
        let waiting = tokio::spawn(async move {
            let taken = modest.take_first(10, Duration::from_secs(10)).await;
            (taken, modest)
        });
        tokio::task::yield_now().await;

        let mut more = HeldMemory::new(&memory, ClientKeyId(1));
        assert_eq!(more.take(1), Err(BodyObstacle::ShareUsed));
        drop(greedy);

        let (taken, modest) = waiting.await.unwrap();
        assert_eq!((taken, modest.bytes(), memory.total()), (Ok(()), 10, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends() {
        let memory = memory();
        let mut greedy = HeldMemory::new(&memory, ClientKeyId(1));
        greedy.take(1_000).unwrap();
        let mut modest = HeldMemory::new(&memory, ClientKeyId(2));

        let taken = modest.take_first(10, Duration::from_secs(10)).await;

        assert_eq!(taken, Err(BodyObstacle::Full));
        drop(greedy);
        let mut other = HeldMemory::new(&memory, ClientKeyId(1));
        assert_eq!(other.take(1_000), Ok(()), "the wait has left no trace");
    }
}
