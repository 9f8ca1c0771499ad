//! What model fallback, the guard against empty replies and hedging change in success, latency and attempts, with the fake.
//! `SIMULATION_REQUESTS=3000 cargo test --test it optional_retries -- --nocapture` prints the figures of `docs/requests.md`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::quota::{ModelLimit, ProjectQuota, Tier};
use gemini_pool::demo::fake_gemini::response_shape::ResponseShape;

use crate::support::TestPool;
use crate::support::requests::TestRequest;

const KEYS: usize = 6;
const CLIENTS: usize = 8;

/// What became of the requests of one run.
#[derive(Debug)]
struct Figures {
    /// Requests that got a reply with content.
    answered: usize,
    requests: usize,
    attempts: u64,
    p50: Duration,
    p99: Duration,
}

impl Figures {
    fn print(&self, scenario: &str, setting: &str) {
        let requests = u64::try_from(self.requests).unwrap();
        let answered = u64::try_from(self.answered).unwrap() * 10_000 / requests;
        let attempts = self.attempts * 1_000 / requests;
        println!(
            "{scenario:<30} {setting:<22} answered {}.{:02} %, p50 {} ms, p99 {} ms, {}.{:03} attempts a request",
            answered / 100,
            answered % 100,
            self.p50.as_millis(),
            self.p99.as_millis(),
            attempts / 1_000,
            attempts % 1_000
        );
    }
}

fn requests() -> usize {
    let requests = std::env::var("SIMULATION_REQUESTS");
    requests.map_or(240, |requests| requests.parse().unwrap())
}

/// Keys of as many projects, of which each behaves so.
fn keys(behaviour: Behaviour) -> Vec<FakeKey> {
    let key = |number| {
        let secret = format!("AIzaSyTheSecretOfASimulatedKey-{number:08}");
        FakeKey::new(secret, format!("70000000000{number}"), behaviour.clone())
    };
    (1..=KEYS).map(key).collect()
}

/// Sends the requests of several clients, one after the other for each.
async fn run(config: FakeConfig, changed: &[(&str, &str)]) -> Figures {
    let pool = TestPool::start_with(config, changed).await;
    pool.google.set_response_shape(ResponseShape {
        first_byte_ms: 30,
        ..ResponseShape::default()
    });
    let (left, requests) = (AtomicUsize::new(requests()), requests());
    let client = async || {
        let mut times = Vec::new();
        let mut answered = 0;
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        {
            let began = clock::instant();
            let response = pool.fetch(TestRequest::Generate).await;
            times.push(began.elapsed());
            // Only a reply with text is longer than this.
            answered += usize::from(response.status == 200 && response.body.len() > 600);
        }
        (times, answered)
    };
    let clients = futures_util::future::join_all((0..CLIENTS).map(|_| client())).await;
    let answered = clients.iter().map(|(_, answered)| answered).sum();
    let mut times: Vec<_> = clients.into_iter().flat_map(|(times, _)| times).collect();
    times.sort_unstable();
    Figures {
        answered,
        requests,
        attempts: pool.google.requests(),
        p50: times[requests / 2],
        p99: times[requests * 99 / 100],
    }
}

#[tokio::test]
async fn empty_replies_are_fewer_with_the_guard() {
    let every_30th = Behaviour::EveryNth(30, Box::new(Behaviour::EmptyReply("STOP")));
    let config = || FakeConfig::with_keys(keys(every_30th.clone()));

    let without = run(config(), &[]).await;
    let with = run(config(), &[("empty_reply_retry", "on")]).await;

    without.print("3 % empty replies", "");
    with.print("3 % empty replies", "empty_reply_retry on");
    assert!(without.answered < without.requests, "{without:?}");
    assert!(with.answered > without.answered, "{with:?}");
    assert!(with.attempts > without.attempts, "{with:?}");
}

#[tokio::test]
async fn a_model_without_quota_is_answered_with_fallback() {
    let per_day = u64::try_from(requests() / KEYS / 2).unwrap();
    let config = || {
        let config = FakeConfig::with_keys(keys(Behaviour::Healthy));
        (1..=KEYS).fold(config, |config, number| {
            let limits = vec![ModelLimit::new(
                "gemini-2.5-flash",
                None,
                None,
                Some(per_day),
            )];
            let tier = Tier::Free;
            config.quota(
                &format!("70000000000{number}"),
                ProjectQuota { tier, limits },
            )
        })
    };
    let chain = "gemini-2.5-flash > gemini-2.5-flash-lite";

    let without = run(config(), &[]).await;
    let with = run(config(), &[("model_fallback", chain)]).await;

    without.print("quota for half of the requests", "");
    with.print("quota for half of the requests", "model_fallback");
    assert!(without.answered <= without.requests / 2, "{without:?}");
    assert_eq!(with.answered, with.requests, "{with:?}");
}

#[tokio::test]
async fn slow_first_bytes_are_hedged() {
    let every_25th = Behaviour::EveryNth(25, Box::new(Behaviour::SlowFirstByte(1_500)));
    let config = || FakeConfig::with_keys(keys(every_25th.clone()));

    let without = run(config(), &[]).await;
    let with = run(config(), &[("hedge_percent", "10")]).await;

    without.print("4 % of first bytes 1.5 s later", "");
    with.print("4 % of first bytes 1.5 s later", "hedge_percent 10");
    assert_eq!(with.answered, with.requests, "{with:?}");
    let hedges = usize::try_from(with.attempts).unwrap() - with.requests;
    assert!(0 < hedges && hedges <= with.requests / 10, "{with:?}");
}
