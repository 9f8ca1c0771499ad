//! `FairQueue`: one queue per client, dispatched round robin, so that many requests of one client do not delay
//! another's.

use std::collections::{HashMap, VecDeque};

use crate::pool::clients::client_key::ClientKeyId;

/// Queued requests by client, each client's in order of arrival.
#[derive(Debug)]
pub struct FairQueue<T> {
    queues: HashMap<ClientKeyId, VecDeque<(QueueTicket, T)>>,
    /// The clients with queued requests, next one first, each once.
    rotation: VecDeque<ClientKeyId>,
    count: usize,
    last_ticket: u64,
}

/// Identifies a queued request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueTicket(u64);

/// The result of a dispatch attempt for one queued request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DispatchResult {
    Dispatched,
    StillQueued,
    /// The client left, or the request was refused.
    Removed,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            queues: HashMap::new(),
            rotation: VecDeque::new(),
            count: 0,
            last_ticket: 0,
        }
    }
}

impl<T> FairQueue<T> {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.queues.values().flatten().map(|(_, entry)| entry)
    }

    /// Appends a request to its client's queue.
    pub fn push(&mut self, client: ClientKeyId, entry: T) -> QueueTicket {
        self.last_ticket += 1;
        self.count += 1;
        let ticket = QueueTicket(self.last_ticket);
        let queue = self.queues.entry(client).or_default();
        if queue.is_empty() {
            self.rotation.push_back(client);
        }
        queue.push_back((ticket, entry));
        ticket
    }

    /// Makes room for one more request of `client` in a full queue: removes the last request of the client with the most,
    /// if that has more than `client` would then have.
    pub fn make_room_for(&mut self, client: ClientKeyId) -> Option<T> {
        let own = self.queues.get(&client).map_or(0, VecDeque::len);
        let (&largest, queue) = self
            .queues
            .iter_mut()
            .max_by_key(|(_, queue)| queue.len())?;
        if largest == client || queue.len() <= own + 1 {
            return None;
        }
        let (_, entry) = queue.pop_back()?;
        self.count -= 1;
        Some(entry)
    }

    /// Removes a request, unless it was dispatched already.
    pub fn remove(&mut self, client: ClientKeyId, ticket: QueueTicket) {
        let Some(queue) = self.queues.get_mut(&client) else {
            return;
        };
        let before = queue.len();
        queue.retain(|(taken, _)| *taken != ticket);
        self.count -= before - queue.len();
        if queue.is_empty() {
            self.queues.remove(&client);
            self.rotation.retain(|other| *other != client);
        }
    }

    /// Calls `dispatch` for one request of each client in turn, until no more request can be dispatched.
    pub fn dispatch(&mut self, mut dispatch: impl FnMut(&mut T) -> DispatchResult) {
        let mut without_dispatch = 0;
        while without_dispatch < self.rotation.len()
            && let Some(client) = self.rotation.pop_front()
        {
            let was_dispatched = self.dispatch_one(client, &mut dispatch);
            if self.queues.contains_key(&client) {
                self.rotation.push_back(client);
            }
            without_dispatch = if was_dispatched {
                0
            } else {
                without_dispatch + 1
            };
        }
    }

    /// Dispatches the first possible request of a client's queue. Returns whether there was one.
    fn dispatch_one(
        &mut self,
        client: ClientKeyId,
        dispatch: &mut impl FnMut(&mut T) -> DispatchResult,
    ) -> bool {
        let Some(queue) = self.queues.get_mut(&client) else {
            return false;
        };
        let before = queue.len();
        let mut was_dispatched = false;
        queue.retain_mut(|(_, entry)| {
            if was_dispatched {
                return true;
            }
            let result = dispatch(entry);
            was_dispatched = result == DispatchResult::Dispatched;
            result == DispatchResult::StillQueued
        });
        self.count -= before - queue.len();
        if queue.is_empty() {
            self.queues.remove(&client);
        }
        was_dispatched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order in which requests are dispatched when `keys` keys are available.
    fn order(queue: &mut FairQueue<&'static str>, keys: usize) -> Vec<&'static str> {
        let mut order = Vec::new();
        queue.dispatch(|name| {
            if order.len() == keys {
                return DispatchResult::StillQueued;
            }
            order.push(*name);
            DispatchResult::Dispatched
        });
        order
    }

    fn crowd_and_few() -> FairQueue<&'static str> {
        let mut queue = FairQueue::default();
        for name in ["a1", "a2", "a3", "a4"] {
            queue.push(ClientKeyId(1), name);
        }
        for name in ["b1", "b2"] {
            queue.push(ClientKeyId(2), name);
        }
        queue
    }

    #[test]
    fn clients_take_turns_however_many_requests_each_has() {
        let mut queue = crowd_and_few();

        assert_eq!(order(&mut queue, 3), ["a1", "b1", "a2"]);
        assert_eq!(queue.len(), 3);
        assert_eq!(order(&mut queue, 9), ["b2", "a3", "a4"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_full_queue_has_room_for_a_client_with_fewer_requests() {
        let mut queue = crowd_and_few();

        assert_eq!(queue.make_room_for(ClientKeyId(1)), None);
        assert_eq!(queue.make_room_for(ClientKeyId(2)), Some("a4"));
        queue.push(ClientKeyId(2), "b3");
        assert_eq!(
            queue.make_room_for(ClientKeyId(2)),
            None,
            "both clients have three requests"
        );
        assert!(queue.make_room_for(ClientKeyId(3)).is_some());
        queue.push(ClientKeyId(3), "c1");
        assert_eq!(queue.len(), 6);
        assert_eq!(order(&mut queue, 9).len(), 6);
    }

    #[test]
    fn a_removed_request_is_not_dispatched() {
        let mut queue = crowd_and_few();
        let ticket = queue.push(ClientKeyId(3), "c1");

        queue.remove(ClientKeyId(3), ticket);
        queue.remove(ClientKeyId(3), ticket);

        assert_eq!(queue.len(), 6);
        assert_eq!(order(&mut queue, 9), ["a1", "b1", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn a_request_that_cannot_be_dispatched_does_not_block_later_ones() {
        let mut queue = crowd_and_few();

        let mut result = Vec::new();
        queue.dispatch(|name| match *name {
            "a1" => DispatchResult::StillQueued,
            "b1" => DispatchResult::Removed,
            name => {
                result.push(name);
                DispatchResult::Dispatched
            }
        });

        assert_eq!(result, ["a2", "b2", "a3", "a4"]);
        assert_eq!(queue.len(), 1);
    }
}
