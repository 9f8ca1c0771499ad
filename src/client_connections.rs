//! `ClientConnections`: the open connections of clients, of which the server cuts some where files are short.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use tokio::task::AbortHandle;

use crate::clock;
use crate::pool::clients::open_connections::{ConnectionId, OpenConnections};

/// All open connections of clients.
#[derive(Debug, Clone)]
pub struct ClientConnections(Arc<Mutex<Tracked>>);

#[derive(Debug)]
struct Tracked {
    connections: OpenConnections,
    /// The task of each.
    tasks: HashMap<ConnectionId, AbortHandle>,
}

/// One open connection; it has ended when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct ClientConnection(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: ClientConnections,
    id: ConnectionId,
    peer: SocketAddr,
    is_proven: AtomicBool,
}

impl Default for ClientConnections {
    /// For the number of files that the process may open.
    fn default() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        Self(Arc::new(Mutex::new(Tracked {
            connections: OpenConnections::with_file_limit(files),
            tasks: HashMap::new(),
        })))
    }
}

impl ClientConnections {
    /// Cuts up to `most` connections that never carried a valid credential, where files are short.
    pub fn make_room(&self, most: usize) {
        let mut tracked = self.0.lock();
        for _ in 0..most {
            let Some(oldest) = tracked.connections.take_oldest(clock::now()) else {
                return;
            };
            if let Some(task) = tracked.tasks.get(&oldest) {
                task.abort();
            }
        }
    }

    /// Cuts every connection that never carried a valid credential.
    pub fn cut_unproven(&self) {
        let tracked = self.0.lock();
        for id in tracked.connections.unproven() {
            if let Some(task) = tracked.tasks.get(&id) {
                task.abort();
            }
        }
    }

    /// Adds a connection; one from a trusted proxy is never cut.
    pub fn open(&self, peer: SocketAddr, is_trusted_proxy: bool) -> ClientConnection {
        let counted = Some(peer.ip()).filter(|_| !is_trusted_proxy);
        let id = self.0.lock().connections.open(counted, clock::now());
        ClientConnection(Arc::new(Shared {
            all: self.clone(),
            id,
            peer,
            is_proven: AtomicBool::new(is_trusted_proxy),
        }))
    }
}

impl ClientConnection {
    /// The address of the other end.
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Whether the process runs short of files, so that it waits less for each client.
    pub fn are_files_short(&self) -> bool {
        self.0.all.0.lock().connections.is_short()
    }

    /// A valid credential came on it: it is not cut for others.
    pub fn prove(&self) {
        let shared = &self.0;
        if !shared.is_proven.swap(true, Ordering::Relaxed) {
            let mut tracked = shared.all.0.lock();
            tracked.connections.prove(shared.id, shared.peer.ip());
        }
    }

    /// The task that serves the connection, and ends it when aborted.
    pub fn set_task(&self, task: AbortHandle) {
        self.0.all.0.lock().tasks.insert(self.0.id, task);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut tracked = self.all.0.lock();
        tracked.tasks.remove(&self.id);
        tracked.connections.close(self.id, self.peer.ip());
    }
}
