//! `WaitingRoom`: requests that wait for a key that is ready soon.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::clock::Timestamp;
use crate::pool::client_key::{ClientKey, ClientKeyId};
use crate::pool::lease::{Lease, SharedKeys};
use crate::pool::selection::{Obstacle, Tried, Wanted};
use crate::pool::upstream_key::ProjectId;
use crate::pool::waiting::{Served, Ticket, Waiting};
use crate::pool::window::Amount;

/// Where requests wait. One task serves them, whenever the bell rings or a rest ends.
#[derive(Debug, Default)]
pub struct WaitingRoom {
    waiting: Mutex<Waiting<Waiter>>,
    /// How many wait, to be asked without the lock.
    count: AtomicUsize,
    bell: Notify,
}

/// A request that waits.
#[derive(Debug)]
struct Waiter {
    client: Arc<ClientKey>,
    model: String,
    amount: Amount,
    project: Option<ProjectId>,
    tried: Tried,
    /// How long it waits at most.
    until: Timestamp,
    answer: oneshot::Sender<Result<Lease, Obstacle>>,
}

/// What one that waits was refused, and why.
#[derive(Debug)]
struct Blocked {
    client: Arc<ClientKey>,
    model: String,
    amount: Amount,
    project: Option<ProjectId>,
    obstacle: Obstacle,
}

/// A place in the room, given up on drop.
#[derive(Debug)]
pub struct Seat<'a> {
    room: &'a WaitingRoom,
    client: ClientKeyId,
    ticket: Ticket,
    pub answer: oneshot::Receiver<Result<Lease, Obstacle>>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut waiting = self.room.lock();
        waiting.leave(self.client, self.ticket);
        self.room.count.store(waiting.len(), Ordering::Relaxed);
    }
}

impl WaitingRoom {
    /// Takes a seat until a key is lent, or until it is sure that none will be in time. `None` when `most` wait already.
    pub fn enter(
        &self,
        client: &Arc<ClientKey>,
        wanted: &Wanted,
        tried: &Tried,
        until: Timestamp,
        most: usize,
    ) -> Option<Seat<'_>> {
        let (sender, answer) = oneshot::channel();
        let waiter = Waiter {
            client: client.clone(),
            model: wanted.model.to_owned(),
            amount: wanted.amount,
            project: wanted.project,
            tried: tried.clone(),
            until,
            answer: sender,
        };
        let mut waiting = self.lock();
        if waiting.len() >= most {
            return None;
        }
        let ticket = waiting.enter(client.id, waiter);
        self.count.store(waiting.len(), Ordering::Relaxed);
        drop(waiting);
        // A key may have been given back since this request was told that there is none.
        self.bell.notify_one();
        Some(Seat {
            room: self,
            client: client.id,
            ticket,
            answer,
        })
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether others wait already for whatever could be lent for this, so that whoever comes now must not overtake them.
    ///
    /// Who waits for one project holds up nobody who may have any: its rest says nothing of the others.
    pub fn is_queued_for(&self, wanted: &Wanted) -> bool {
        !self.is_empty()
            && self.lock().iter().any(|waiter| {
                waiter.wanted().model_or_none() == wanted.model_or_none()
                    && waiter.client.tags == wanted.tags
                    && (waiter.project.is_none() || waiter.project == wanted.project)
            })
    }

    /// Tells that a key may be free. Costs next to nothing while nobody waits.
    pub fn ring(&self) {
        if !self.is_empty() {
            self.bell.notify_one();
        }
    }

    /// Waits for the bell.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Lends what can be lent, in fair turns, and tells those whose time will not suffice. Returns when to look again.
    pub fn serve(&self, keys: &SharedKeys, now: Timestamp) -> Option<Timestamp> {
        let mut next: Option<Timestamp> = None;
        // What was in the way of one is in the way of all that want the same, or more of it.
        let mut blocked: Vec<Blocked> = Vec::new();
        let mut waiting = self.lock();
        waiting.serve(|waiter| {
            if waiter.answer.is_closed() {
                return Served::Gone;
            }
            let known = blocked.iter().find(|blocked| {
                blocked.client.tags == waiter.client.tags
                    && blocked.model == waiter.model
                    && blocked.project == waiter.project
                    && blocked.amount.fits_in(waiter.amount)
            });
            let lent = match known {
                Some(blocked) => Err(blocked.obstacle),
                None => keys.lease(&waiter.wanted(), &waiter.tried, now),
            };
            let obstacle = match lent {
                Ok(lease) => return waiter.tell(Ok(lease)),
                Err(obstacle) => obstacle,
            };
            match obstacle.until(now) {
                Some(until) if until <= waiter.until => {
                    // What has failed with some keys may lack only them.
                    if known.is_none() && waiter.tried.is_empty() {
                        blocked.push(Blocked {
                            client: waiter.client.clone(),
                            model: waiter.model.clone(),
                            amount: waiter.amount,
                            project: waiter.project,
                            obstacle,
                        });
                    }
                    if until > now {
                        next = Some(next.map_or(until, |next| next.min(until)));
                    }
                    Served::NotNow
                }
                Some(_) | None => {
                    waiter.tell(Err(obstacle));
                    Served::Gone
                }
            }
        });
        self.count.store(waiting.len(), Ordering::Relaxed);
        next
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<Waiter>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            model: &self.model,
            amount: self.amount,
            tags: &self.client.tags,
            project: self.project,
        }
    }

    /// Hands over the answer. A key that nobody takes any more goes back by itself.
    fn tell(&mut self, answer: Result<Lease, Obstacle>) -> Served {
        let (nobody, _) = oneshot::channel();
        match std::mem::replace(&mut self.answer, nobody).send(answer) {
            Ok(()) => Served::Yes,
            Err(_) => Served::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pool::client_key::Limits;
    use crate::pool::keys::Rules;
    use crate::pool::selection::Again;
    use crate::pool::settings::Settings;
    use crate::pool::upstream_key::{UpstreamKey, UpstreamKeyId};

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);
    const WANTED: Wanted<'static> = Wanted {
        model: "gemini-flash-latest",
        amount: Amount {
            requests: 1,
            tokens: 10,
        },
        tags: &[],
        project: None,
    };

    /// As many keys as projects, each for one request at a time.
    fn keys(count: i64) -> SharedKeys {
        let shared = SharedKeys::default();
        let mut keys = shared.lock();
        let settings = Settings {
            per_key_concurrency: 1,
            ..Settings::default()
        };
        keys.set_rules(Rules::of(&settings));
        for id in 1..=count {
            let key = UpstreamKey::example(id, id, NOW);
            keys.put(key, 0, NOW);
        }
        drop(keys);
        shared
    }

    fn client(id: i64) -> Arc<ClientKey> {
        Arc::new(ClientKey {
            id: ClientKeyId(id),
            name: String::new(),
            enabled: true,
            expires_at: None,
            limits: Limits::default(),
            scopes: None,
            tags: vec![],
            direct_access: false,
        })
    }

    fn enter<'a>(room: &'a WaitingRoom, client: &Arc<ClientKey>, tried: &Tried) -> Seat<'a> {
        let until = NOW + Duration::from_mins(1);
        room.enter(client, &WANTED, tried, until, 10).unwrap()
    }

    #[test]
    fn one_that_has_tried_what_is_ready_does_not_hold_up_the_others() {
        let (room, keys, client) = (WaitingRoom::default(), keys(2), client(1));
        let busy = keys.lease(&WANTED, &Tried::default(), NOW).unwrap();
        let ready = UpstreamKeyId(3 - busy.lent.id.0);
        let mut tried = Tried::default();
        tried.add(ready, ProjectId(ready.0), Again::Never);
        let mut first = enter(&room, &client, &tried);
        let mut second = enter(&room, &client, &Tried::default());

        room.serve(&keys, NOW);

        assert!(first.answer.try_recv().is_err());
        let lease = second.answer.try_recv().unwrap().unwrap();
        assert_eq!(lease.lent.id, ready);
        assert_eq!(room.len(), 1);
    }

    #[test]
    fn who_waits_for_one_project_gets_its_key_and_holds_up_nobody_else() {
        let (room, keys, client) = (WaitingRoom::default(), keys(2), client(1));
        let bound = |id| Wanted {
            project: Some(ProjectId(id)),
            ..WANTED
        };
        let busy = keys.lease(&bound(1), &Tried::default(), NOW).unwrap();
        let until = NOW + Duration::from_mins(1);
        let mut seat = room
            .enter(&client, &bound(1), &Tried::default(), until, 10)
            .unwrap();
        let queued = [WANTED, bound(1), bound(2)].map(|wanted| room.is_queued_for(&wanted));
        assert_eq!(queued, [false, true, false]);
        let mut anything = enter(&room, &client, &Tried::default());
        assert!(
            room.is_queued_for(&bound(2)),
            "the other took whatever came"
        );

        room.serve(&keys, NOW);
        assert!(seat.answer.try_recv().is_err());
        let lease = anything.answer.try_recv().unwrap().unwrap();
        assert_eq!(lease.lent.id, UpstreamKeyId(2));

        drop(busy);
        room.serve(&keys, NOW);
        let lease = seat.answer.try_recv().unwrap().unwrap();
        assert_eq!(lease.lent.id, UpstreamKeyId(1));
    }

    #[test]
    fn who_waits_for_a_project_that_is_gone_is_told_at_once() {
        let (room, keys, client) = (WaitingRoom::default(), keys(1), client(1));
        let wanted = Wanted {
            project: Some(ProjectId(1)),
            ..WANTED
        };
        let _busy = keys.lease(&wanted, &Tried::default(), NOW).unwrap();
        let until = NOW + Duration::from_mins(1);
        let mut seat = room
            .enter(&client, &wanted, &Tried::default(), until, 10)
            .unwrap();

        keys.lock().remove(UpstreamKeyId(1));
        room.serve(&keys, NOW);

        let told = seat.answer.try_recv().unwrap();
        assert_eq!(told.unwrap_err(), Obstacle::OwnerGone);
    }

    #[test]
    fn a_seat_given_up_gives_back_the_key_it_was_lent() {
        let (room, keys, client) = (WaitingRoom::default(), keys(1), client(1));
        let seat = enter(&room, &client, &Tried::default());
        assert_eq!(room.serve(&keys, NOW), None);
        assert_eq!((room.len(), keys.lock().in_flight()), (0, 1));

        drop(seat);

        assert_eq!(keys.lock().in_flight(), 0);
    }
}
