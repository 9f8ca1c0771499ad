//! `Waiting`: who waits for a key, served in turns so that no client's crowd holds up another's few.

use std::collections::{HashMap, VecDeque};

use crate::pool::client_key::ClientKeyId;

/// Those that wait, by client, each client's in the order in which they came.
#[derive(Debug)]
pub struct Waiting<T> {
    lines: HashMap<ClientKeyId, VecDeque<(Ticket, T)>>,
    /// Whose turn is next; every client that waits stands here once.
    turns: VecDeque<ClientKeyId>,
    count: usize,
    last_ticket: u64,
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// What came of trying to serve one that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    Yes,
    NotNow,
    /// It has left, or was told that waiting is in vain.
    Gone,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            turns: VecDeque::new(),
            count: 0,
            last_ticket: 0,
        }
    }
}

impl<T> Waiting<T> {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.lines.values().flatten().map(|(_, waits)| waits)
    }

    /// Takes a place at the end of the client's line.
    pub fn enter(&mut self, client: ClientKeyId, waits: T) -> Ticket {
        self.last_ticket += 1;
        self.count += 1;
        let ticket = Ticket(self.last_ticket);
        let line = self.lines.entry(client).or_default();
        if line.is_empty() {
            self.turns.push_back(client);
        }
        line.push_back((ticket, waits));
        ticket
    }

    /// Gives a place up; nothing when it was served meanwhile.
    pub fn leave(&mut self, client: ClientKeyId, ticket: Ticket) {
        let Some(line) = self.lines.get_mut(&client) else {
            return;
        };
        let before = line.len();
        line.retain(|(taken, _)| *taken != ticket);
        self.count -= before - line.len();
        if line.is_empty() {
            self.lines.remove(&client);
            self.turns.retain(|other| *other != client);
        }
    }

    /// Lets `serve` try one of each client in turn, until it can serve nobody more.
    pub fn serve(&mut self, mut serve: impl FnMut(&mut T) -> Served) {
        let mut in_vain = 0;
        while in_vain < self.turns.len()
            && let Some(client) = self.turns.pop_front()
        {
            let was_served = self.serve_one(client, &mut serve);
            if self.lines.contains_key(&client) {
                self.turns.push_back(client);
            }
            in_vain = if was_served { 0 } else { in_vain + 1 };
        }
    }

    /// Serves the first of a client's line that can be served. Returns whether there was one.
    fn serve_one(&mut self, client: ClientKeyId, serve: &mut impl FnMut(&mut T) -> Served) -> bool {
        let Some(line) = self.lines.get_mut(&client) else {
            return false;
        };
        let before = line.len();
        let mut was_served = false;
        line.retain_mut(|(_, waits)| {
            if was_served {
                return true;
            }
            let served = serve(waits);
            was_served = served == Served::Yes;
            served == Served::NotNow
        });
        self.count -= before - line.len();
        if line.is_empty() {
            self.lines.remove(&client);
        }
        was_served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is served in which order when `keys` can be lent.
    fn order(waiting: &mut Waiting<&'static str>, keys: usize) -> Vec<&'static str> {
        let mut order = Vec::new();
        waiting.serve(|name| {
            if order.len() == keys {
                return Served::NotNow;
            }
            order.push(*name);
            Served::Yes
        });
        order
    }

    fn crowd_and_few() -> Waiting<&'static str> {
        let mut waiting = Waiting::default();
        for name in ["a1", "a2", "a3", "a4"] {
            waiting.enter(ClientKeyId(1), name);
        }
        for name in ["b1", "b2"] {
            waiting.enter(ClientKeyId(2), name);
        }
        waiting
    }

    #[test]
    fn clients_take_turns_however_many_requests_each_has() {
        let mut waiting = crowd_and_few();

        assert_eq!(order(&mut waiting, 3), ["a1", "b1", "a2"]);
        assert_eq!(waiting.len(), 3);
        assert_eq!(order(&mut waiting, 9), ["b2", "a3", "a4"]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn who_leaves_frees_the_place() {
        let mut waiting = crowd_and_few();
        let ticket = waiting.enter(ClientKeyId(3), "c1");

        waiting.leave(ClientKeyId(3), ticket);
        waiting.leave(ClientKeyId(3), ticket);

        assert_eq!(waiting.len(), 6);
        assert_eq!(order(&mut waiting, 9), ["a1", "b1", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn one_that_cannot_be_served_does_not_hold_up_those_behind() {
        let mut waiting = crowd_and_few();

        let mut served = Vec::new();
        waiting.serve(|name| match *name {
            "a1" => Served::NotNow,
            "b1" => Served::Gone,
            name => {
                served.push(name);
                Served::Yes
            }
        });

        assert_eq!(served, ["a2", "b2", "a3", "a4"]);
        assert_eq!(waiting.len(), 1);
    }
}
