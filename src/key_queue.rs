//! `KeyQueue`: requests that wait for an upstream key that is ready soon.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, oneshot};

use crate::clock::Timestamp;
use crate::pool::clients::client_key::{ClientKey, ClientKeyId};
use crate::pool::keys::fair_queue::{DispatchResult, FairQueue, QueueTicket};
use crate::pool::keys::lease::{Lease, SharedKeyRegistry};
use crate::pool::keys::selection::{LeaseObstacle, LeaseRequest, TriedKeys};
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::quota::windows::QuotaAmount;

/// The queued requests. One task dispatches them after each release and each end of a cooldown.
#[derive(Debug, Default)]
pub struct KeyQueue {
    entries: Mutex<FairQueue<QueueEntry>>,
    /// The number of queued requests, readable without the lock.
    count: AtomicUsize,
    wakeup: Notify,
}

#[derive(Debug)]
struct QueueEntry {
    client: Arc<ClientKey>,
    model: String,
    amount: QuotaAmount,
    project: Option<ProjectId>,
    tried: TriedKeys,
    /// When the wait ends.
    until: Timestamp,
    answer: oneshot::Sender<Result<Lease, LeaseObstacle>>,
}

/// A refused lease request and its obstacle.
#[derive(Debug)]
struct BlockedRequest {
    client: Arc<ClientKey>,
    model: String,
    amount: QuotaAmount,
    project: Option<ProjectId>,
    obstacle: LeaseObstacle,
}

/// A place in the queue, given up on drop.
#[derive(Debug)]
pub struct QueuedRequest<'a> {
    queue: &'a KeyQueue,
    client: ClientKeyId,
    ticket: QueueTicket,
    pub answer: oneshot::Receiver<Result<Lease, LeaseObstacle>>,
}

impl Drop for QueuedRequest<'_> {
    fn drop(&mut self) {
        let mut entries = self.queue.lock();
        entries.remove(self.client, self.ticket);
        self.queue.count.store(entries.len(), Ordering::Relaxed);
    }
}

impl KeyQueue {
    /// Queues a request until a key is leased or no key can be ready in time. In a queue that is full with `most` requests
    /// it takes the place of a client's last request that has more than its own client. `None`: no client has more.
    pub fn enqueue(
        &self,
        client: &Arc<ClientKey>,
        lease_request: &LeaseRequest,
        tried: &TriedKeys,
        until: Timestamp,
        most: usize,
    ) -> Option<QueuedRequest<'_>> {
        let (sender, answer) = oneshot::channel();
        let entry = QueueEntry {
            client: client.clone(),
            model: lease_request.model.to_owned(),
            amount: lease_request.amount,
            project: lease_request.project,
            tried: tried.clone(),
            until,
            answer: sender,
        };
        let mut entries = self.lock();
        if entries.len() >= most {
            // Its wait ends when its entry is dropped.
            drop(entries.make_room_for(client.id)?);
        }
        let ticket = entries.push(client.id, entry);
        self.count.store(entries.len(), Ordering::Relaxed);
        drop(entries);
        // A key may have been released since this request's lease was refused.
        self.wakeup.notify_one();
        Some(QueuedRequest {
            queue: self,
            client: client.id,
            ticket,
            answer,
        })
    }

    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether queued requests wait for the same keys, so that a new request must not overtake them.
    ///
    /// A request queued for one project does not block requests for any project: its cooldown does not concern the
    /// others.
    pub fn is_queued_for(&self, lease_request: &LeaseRequest) -> bool {
        !self.is_empty()
            && self.lock().iter().any(|entry| {
                entry.lease_request().quota_model() == lease_request.quota_model()
                    && entry.client.tags == lease_request.tags
                    && (entry.project.is_none() || entry.project == lease_request.project)
            })
    }

    /// Wakes the dispatcher: a key may be free. Costs next to nothing while the queue is empty.
    pub fn notify(&self) {
        if !self.is_empty() {
            self.wakeup.notify_one();
        }
    }

    /// Waits for [`Self::notify`].
    pub async fn notified(&self) {
        self.wakeup.notified().await;
    }

    /// Leases what can be leased, in fair order, and refuses requests whose wait would be too long. Returns the time of
    /// the next dispatch.
    pub fn dispatch(&self, keys: &SharedKeyRegistry, now: Timestamp) -> Option<Timestamp> {
        let mut next: Option<Timestamp> = None;
        // An obstacle of one request applies to all with the same requirements, or greater ones.
        let mut blocked: Vec<BlockedRequest> = Vec::new();
        let mut entries = self.lock();
        entries.dispatch(|entry| {
            if entry.answer.is_closed() {
                return DispatchResult::Removed;
            }
            let known = blocked.iter().find(|blocked| {
                blocked.client.tags == entry.client.tags
                    && blocked.model == entry.model
                    && blocked.project == entry.project
                    && blocked.amount.fits_in(entry.amount)
            });
            let leased = match known {
                Some(blocked) => Err(blocked.obstacle),
                None => keys.lease(&entry.lease_request(), &entry.tried, now),
            };
            let obstacle = match leased {
                Ok(lease) => return entry.answer(Ok(lease)),
                Err(obstacle) => obstacle,
            };
            match obstacle.until(now) {
                Some(until) if until <= entry.until => {
                    // The obstacle of a request with tried keys may concern only those keys.
                    if known.is_none() && entry.tried.is_empty() {
                        blocked.push(BlockedRequest {
                            client: entry.client.clone(),
                            model: entry.model.clone(),
                            amount: entry.amount,
                            project: entry.project,
                            obstacle,
                        });
                    }
                    if until > now {
                        next = Some(next.map_or(until, |next| next.min(until)));
                    }
                    DispatchResult::StillQueued
                }
                Some(_) | None => {
                    entry.answer(Err(obstacle));
                    DispatchResult::Removed
                }
            }
        });
        self.count.store(entries.len(), Ordering::Relaxed);
        next
    }

    fn lock(&self) -> MutexGuard<'_, FairQueue<QueueEntry>> {
        self.entries.lock()
    }
}

impl QueueEntry {
    fn lease_request(&self) -> LeaseRequest<'_> {
        LeaseRequest {
            model: &self.model,
            amount: self.amount,
            tags: &self.client.tags,
            project: self.project,
        }
    }

    /// Sends the answer. A lease that is not received is released on drop.
    fn answer(&mut self, answer: Result<Lease, LeaseObstacle>) -> DispatchResult {
        let (closed, _) = oneshot::channel();
        match std::mem::replace(&mut self.answer, closed).send(answer) {
            Ok(()) => DispatchResult::Dispatched,
            Err(_) => DispatchResult::Removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::pool::clients::client_key::ClientLimits;
    use crate::pool::keys::registry::KeyPolicy;
    use crate::pool::keys::selection::KeyReuse;
    use crate::pool::keys::upstream_key::{UpstreamKey, UpstreamKeyId};
    use crate::pool::settings::Settings;

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);
    const WANTED: LeaseRequest<'static> = LeaseRequest {
        model: "gemini-flash-latest",
        amount: QuotaAmount {
            requests: 1,
            tokens: 10,
        },
        tags: &[],
        project: None,
    };

    /// As many keys as projects, each for one request at a time.
    fn keys(count: i64) -> SharedKeyRegistry {
        let shared = SharedKeyRegistry::default();
        let mut keys = shared.lock();
        let settings = Settings {
            per_key_concurrency: 1,
            ..Settings::default()
        };
        keys.set_policy(KeyPolicy::of(&settings));
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
            limits: ClientLimits::default(),
            scopes: None,
            tags: vec![],
            direct_access: false,
            model_fallback: None,
        })
    }

    fn enqueue<'a>(
        queue: &'a KeyQueue,
        client: &Arc<ClientKey>,
        tried: &TriedKeys,
    ) -> QueuedRequest<'a> {
        let until = NOW + Duration::from_mins(1);
        queue.enqueue(client, &WANTED, tried, until, 10).unwrap()
    }

    #[test]
    fn a_request_that_tried_the_ready_key_does_not_block_others() {
        let (queue, keys, client) = (KeyQueue::default(), keys(2), client(1));
        let busy = keys.lease(&WANTED, &TriedKeys::default(), NOW).unwrap();
        let ready = UpstreamKeyId(3 - busy.key.id.0);
        let mut tried = TriedKeys::default();
        tried.add(ready, ProjectId(ready.0), KeyReuse::Never);
        let mut first = enqueue(&queue, &client, &tried);
        let mut second = enqueue(&queue, &client, &TriedKeys::default());

        queue.dispatch(&keys, NOW);

        assert!(first.answer.try_recv().is_err());
        let lease = second.answer.try_recv().unwrap().unwrap();
        assert_eq!(lease.key.id, ready);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_request_for_one_project_gets_its_key_and_blocks_no_others() {
        let (queue, keys, client) = (KeyQueue::default(), keys(2), client(1));
        let bound = |id| LeaseRequest {
            project: Some(ProjectId(id)),
            ..WANTED
        };
        let busy = keys.lease(&bound(1), &TriedKeys::default(), NOW).unwrap();
        let until = NOW + Duration::from_mins(1);
        let mut queued_request = queue
            .enqueue(&client, &bound(1), &TriedKeys::default(), until, 10)
            .unwrap();
        let queued =
            [WANTED, bound(1), bound(2)].map(|lease_request| queue.is_queued_for(&lease_request));
        assert_eq!(queued, [false, true, false]);
        let mut anything = enqueue(&queue, &client, &TriedKeys::default());
        assert!(
            queue.is_queued_for(&bound(2)),
            "the other request accepts any project"
        );

        queue.dispatch(&keys, NOW);
        assert!(queued_request.answer.try_recv().is_err());
        let lease = anything.answer.try_recv().unwrap().unwrap();
        assert_eq!(lease.key.id, UpstreamKeyId(2));

        drop(busy);
        queue.dispatch(&keys, NOW);
        let lease = queued_request.answer.try_recv().unwrap().unwrap();
        assert_eq!(lease.key.id, UpstreamKeyId(1));
    }

    #[test]
    fn a_request_for_a_removed_project_is_refused_at_once() {
        let (queue, keys, client) = (KeyQueue::default(), keys(1), client(1));
        let lease_request = LeaseRequest {
            project: Some(ProjectId(1)),
            ..WANTED
        };
        let _busy = keys
            .lease(&lease_request, &TriedKeys::default(), NOW)
            .unwrap();
        let until = NOW + Duration::from_mins(1);
        let mut queued_request = queue
            .enqueue(&client, &lease_request, &TriedKeys::default(), until, 10)
            .unwrap();

        keys.lock().remove(UpstreamKeyId(1));
        queue.dispatch(&keys, NOW);

        let answer = queued_request.answer.try_recv().unwrap();
        assert_eq!(answer.unwrap_err(), LeaseObstacle::ProjectWithoutKeys);
    }

    #[test]
    fn a_full_queue_is_shared_among_clients() {
        let (queue, many, few) = (KeyQueue::default(), client(1), client(2));
        let until = NOW + Duration::from_mins(1);
        let enqueue = |client| queue.enqueue(client, &WANTED, &TriedKeys::default(), until, 3);
        let mut first = [enqueue(&many), enqueue(&many), enqueue(&many)].map(Option::unwrap);
        assert!(enqueue(&many).is_none());

        let mut other = enqueue(&few).unwrap();

        assert!(
            enqueue(&few).is_none(),
            "two and one is as equal as three can be"
        );
        assert_eq!(queue.len(), 3);
        let [kept, _, displaced] = &mut first;
        assert_eq!(kept.answer.try_recv().unwrap_err(), TryRecvError::Empty);
        assert_eq!(other.answer.try_recv().unwrap_err(), TryRecvError::Empty);
        assert_eq!(
            displaced.answer.try_recv().unwrap_err(),
            TryRecvError::Closed
        );
    }

    #[test]
    fn dropping_a_queued_request_releases_its_key() {
        let (queue, keys, client) = (KeyQueue::default(), keys(1), client(1));
        let queued_request = enqueue(&queue, &client, &TriedKeys::default());
        assert_eq!(queue.dispatch(&keys, NOW), None);
        assert_eq!((queue.len(), keys.lock().in_flight()), (0, 1));

        drop(queued_request);

        assert_eq!(keys.lock().in_flight(), 0);
    }
}
