//! `OpenConnections`: which connection is closed first when the process runs short of files.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::clients::auth_failures::address_group;

/// No younger connection is closed: a client that sends its request at once has time to.
const GRACE: Duration = Duration::from_secs(2);

/// The open connections of clients. Those that never carried a valid credential are *unproven*.
#[derive(Debug)]
pub struct OpenConnections {
    /// From this number on, files are short.
    limit: usize,
    count: usize,
    last_id: u64,
    /// The unproven connections of each address, oldest first.
    unproven: HashMap<IpAddr, VecDeque<Unproven>>,
}

#[derive(Debug)]
struct Unproven {
    id: ConnectionId,
    opened_at: Timestamp,
}

/// Identifies an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl OpenConnections {
    /// For a process that may have `files` open. Each request needs a connection to its client and one to Google.
    pub fn with_file_limit(files: usize) -> Self {
        Self {
            limit: files / 2,
            count: 0,
            last_id: 0,
            unproven: HashMap::new(),
        }
    }

    /// Whether files are short: heads must come sooner then.
    pub fn is_short(&self) -> bool {
        self.count >= self.limit
    }

    /// The unproven connections.
    pub fn unproven(&self) -> impl Iterator<Item = ConnectionId> {
        self.unproven.values().flatten().map(|unproven| unproven.id)
    }

    /// Adds a connection from an address; `None`: from a trusted proxy, behind which may be any number of clients.
    pub fn open(&mut self, address: Option<IpAddr>, now: Timestamp) -> ConnectionId {
        self.last_id += 1;
        let id = ConnectionId(self.last_id);
        self.count += 1;
        if let Some(address) = address {
            let of_address = self.unproven.entry(address_group(address)).or_default();
            of_address.push_back(Unproven { id, opened_at: now });
        }
        id
    }

    /// A connection carried a valid credential.
    pub fn prove(&mut self, id: ConnectionId, address: IpAddr) {
        let address = address_group(address);
        if let Some(of_address) = self.unproven.get_mut(&address) {
            // In the order of opening.
            if let Ok(at) = of_address.binary_search_by_key(&id, |unproven| unproven.id) {
                of_address.remove(at);
            }
            if of_address.is_empty() {
                self.unproven.remove(&address);
            }
        }
    }

    /// A connection has ended.
    pub fn close(&mut self, id: ConnectionId, address: IpAddr) {
        self.count -= 1;
        self.prove(id, address);
    }

    /// The connection that must be closed, if files are short: the oldest unproven one of the address that has the most.
    pub fn take_oldest(&mut self, now: Timestamp) -> Option<ConnectionId> {
        if !self.is_short() {
            return None;
        }
        let most = self
            .unproven
            .iter_mut()
            .max_by_key(|(_, of_address)| of_address.len());
        let (&address, of_address) = most?;
        let oldest = of_address.pop_front_if(|oldest| now - oldest.opened_at >= GRACE)?;
        if of_address.is_empty() {
            self.unproven.remove(&address);
        }
        Some(oldest.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);
    const CROWD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn the_oldest_unproven_connection_of_the_busiest_address_makes_room() {
        let mut connections = OpenConnections::with_file_limit(8);
        let crowd = [(); 3].map(|()| connections.open(Some(CROWD), NOW));
        assert_eq!(
            connections.take_oldest(NOW + GRACE),
            None,
            "files are not short"
        );
        let other = connections.open(Some(OTHER), NOW);
        assert_eq!(connections.take_oldest(NOW), None, "none is old enough");

        assert_eq!(connections.take_oldest(NOW + GRACE), Some(crowd[0]));

        connections.prove(crowd[1], CROWD);
        connections.open(Some(OTHER), NOW);
        let closed = connections.take_oldest(NOW + GRACE);
        assert_eq!(closed, Some(other), "the other address has more by now");
    }

    #[test]
    fn proven_connections_and_those_of_trusted_proxies_are_never_closed() {
        let mut connections = OpenConnections::with_file_limit(4);
        let proven = connections.open(Some(CROWD), NOW);
        connections.prove(proven, CROWD);
        let proxied = connections.open(None, NOW);

        assert_eq!(connections.take_oldest(NOW + GRACE), None);
        connections.close(proxied, CROWD);
        connections.close(proven, CROWD);
        assert!(!connections.is_short());
        assert!(connections.unproven.is_empty());
    }
}
