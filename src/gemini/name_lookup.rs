//! `NameLookup`: resolves host names by DNS, each at most once a second and by one lookup at a time, however many
//! requests need it.
//!
//! Each lookup of the system sends queries of its own, and a name server that receives dozens at once drops some of them; a
//! dropped query costs five seconds.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use hyper_util::client::legacy::connect::dns::Name;
use parking_lot::Mutex;
use tower_service::Service;

/// How long a result serves further requests: requests that fail together would otherwise look the name up one after another.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The addresses of a name, or why there are none.
type Resolved = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

/// The lookups that run, and the latest results. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct NameLookup(Arc<Mutex<HashMap<String, Shared<BoxFuture<'static, Resolved>>>>>);

impl NameLookup {
    /// The addresses of a name, with port 0.
    pub fn addresses(&self, name: &str) -> Shared<BoxFuture<'static, Resolved>> {
        let host = name.to_owned();
        self.join(name, async move {
            let addresses = tokio::net::lookup_host((host, 0)).await?;
            Ok(addresses.collect())
        })
    }

    /// The running lookup of a name or its latest result, or else `lookup`, which runs to its end even if no request waits
    /// for it any more.
    fn join(
        &self,
        name: &str,
        lookup: impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    ) -> Shared<BoxFuture<'static, Resolved>> {
        let mut running = self.0.lock();
        if let Some(joined) = running.get(name) {
            return joined.clone();
        }
        let (all, own_name) = (self.clone(), name.to_owned());
        let started = tokio::spawn(async move {
            let resolved = lookup.await;
            tokio::spawn(async move {
                tokio::time::sleep(MAX_AGE).await;
                all.0.lock().remove(&own_name);
            });
            resolved.map(Into::into).map_err(Arc::new)
        });
        let resolved = started.map(|ended| match ended {
            Ok(resolved) => resolved,
            Err(error) => Err(Arc::new(io::Error::other(error))),
        });
        let shared = resolved.boxed().shared();
        running.insert(name.to_owned(), shared.clone());
        shared
    }
}

impl Service<Name> for NameLookup {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Arc<io::Error>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let addresses = self.addresses(name.as_str());
        Box::pin(async { Ok(addresses.await?.to_vec().into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_name_is_looked_up_once_for_all_that_need_it_and_again_after_a_second() {
        let (names, count) = (NameLookup::default(), Arc::new(AtomicUsize::new(0)));
        let answer = Arc::new(Notify::new());
        let lookup = || {
            let (count, answer) = (count.clone(), answer.clone());
            async move {
                count.fetch_add(1, Ordering::Relaxed);
                answer.notified().await;
                Err(io::Error::other("no such name"))
            }
        };

        for round in 1..=2 {
            // One of them gives up before the answer.
            drop(names.join("gemini.example", lookup()));
            let waiting = (0..30).map(|_| names.join("gemini.example", lookup()));
            let waiting = join_all(waiting);
            answer.notify_one();
            for resolved in waiting.await {
                assert_eq!(resolved.unwrap_err().to_string(), "no such name");
            }
            let next = names.join("gemini.example", lookup());
            assert!(next.await.is_err());
            assert_eq!(count.load(Ordering::Relaxed), round);
            while !names.0.lock().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    #[tokio::test]
    async fn different_names_do_not_wait_for_each_other() {
        let names = NameLookup::default();
        let _first = names.join("one.example", std::future::pending());

        let address = SocketAddr::from(([192, 0, 2, 1], 0));
        let second = names.join("two.example", async move { Ok(vec![address]) });

        assert_eq!(*second.await.unwrap(), [address]);
    }
}
