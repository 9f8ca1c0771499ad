//! Keys fail behind the clients' backs.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use gemini_pool::clock::Timestamp;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::journal::RecordingLevel;
use gemini_pool::demo::fake_gemini::quota::ProjectQuota;
use gemini_pool::pool::keys::upstream_key::UpstreamKeyId;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::request_logs::listed::{ListedAttempt, RequestLog};

use crate::support::TestPool;
use crate::support::requests::{ClientResponse, TestRequest};

const MODEL: &str = "gemini-2.5-flash";
/// What the crowd asks, in turn.
const REQUESTS: [TestRequest; 3] = [
    TestRequest::Generate,
    TestRequest::StreamSse,
    TestRequest::Chat,
];

#[tokio::test]
async fn a_revoked_key_is_replaced_before_the_client_sees_it() {
    let pool = TestPool::with_keys([
        FakeKey::new("AIza-revoked-key-0001", "projects/1", Behaviour::Invalid),
        FakeKey::healthy("AIza-healthy-key-0002", "projects/2"),
    ])
    .await;

    for _ in 0..4 {
        let answer = pool.generate().await;
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().contains("candidates"));
    }

    let rows = pool.finished_rows(4).await;
    assert!(rows.iter().all(|row| row.outcome == Some(Outcome::Success)));
    assert_eq!(pool.google.counts("AIza-revoked-key-0001").requests, 1);
    pool.assert_sums_agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_nothing_of_half_the_keys_dying_in_every_way_there_is() {
    let mut behaviours = vec![
        Behaviour::Invalid,
        Behaviour::InvalidEchoingKey,
        Behaviour::Expired,
        Behaviour::NotFound,
        Behaviour::Unauthenticated,
        Behaviour::Leaked,
        Behaviour::Suspended,
        Behaviour::ServiceDisabled,
        Behaviour::ServiceBlocked,
        Behaviour::ReferrerBlocked,
        Behaviour::ProjectDenied,
        Behaviour::BillingEmpty,
        Behaviour::BillingEmpty429,
        Behaviour::SpendingCap,
        Behaviour::QuotaZero(MODEL.into()),
        Behaviour::ModelRetired(MODEL.into()),
        Behaviour::Exhausted,
        Behaviour::ExhaustedHelpOnly,
    ];
    behaviours.extend(behaviours.clone().into_iter().take(9));
    let failing = behaviours.len();
    // One that fails, one that breaks off and one that is overloaded now and then: each costs a request one of the
    // attempts that count, and there are four.
    behaviours.push(Behaviour::InternalError);
    behaviours.push(Behaviour::ResetConnection);
    behaviours.push(Behaviour::EveryNth(3, Box::new(Behaviour::Overloaded)));
    behaviours.resize(60, Behaviour::Healthy);
    let keys = keys(behaviours);
    // Two of the healthy ones run out after a few answers.
    let fake_config = fake_config(&keys)
        .quota(&keys[30].project, ProjectQuota::free(None, None, Some(3)))
        .quota(&keys[31].project, ProjectQuota::free(Some(2), None, None));
    let pool = TestPool::start(fake_config).await;

    send_many(&pool, &keys, 1_000).await;

    let rows = pool.finished_rows(1_000).await;
    assert_all_succeeded(&rows);
    let attempts = attempts_by_key(&rows);
    for key in &keys[..failing] {
        assert_cooldown_respected(key, &attempts);
        assert!(pool.google.counts(&key.secret).requests > 0, "{key:?}");
    }
    for key in &keys[30..32] {
        assert_cooldown_respected(key, &attempts);
    }
    pool.assert_sums_agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_nothing_of_five_hundred_revoked_keys_in_a_thousand() {
    let mut behaviours = vec![Behaviour::Invalid; 500];
    behaviours.resize(1_000, Behaviour::Healthy);
    let keys = keys(behaviours);
    let pool = TestPool::start(fake_config(&keys)).await;

    send_many(&pool, &keys, 1_000).await;

    let rows = pool.finished_rows(1_000).await;
    assert_all_succeeded(&rows);
    for key in &keys[..500] {
        let requests = pool.google.counts(&key.secret).requests;
        assert!(requests <= 1, "a revoked key was asked {requests} times");
    }
    pool.assert_sums_agree().await;
}

/// Keys with these behaviours, each with a project of its own.
fn keys(behaviours: impl IntoIterator<Item = Behaviour>) -> Vec<FakeKey> {
    let key = |(number, behaviour)| {
        FakeKey::new(
            format!("AIzaSyTheSecretOfAKeyOfThePool{number:09}"),
            format!("{}", 700_000_000_000_u64 + number),
            behaviour,
        )
    };
    (1_u64..).zip(behaviours).map(key).collect()
}

fn fake_config(keys: &[FakeKey]) -> FakeConfig {
    FakeConfig {
        recording: RecordingLevel::Counts,
        ..FakeConfig::with_keys(keys.iter().cloned())
    }
}

/// Asks `count` times, 32 at once, and fails unless every client is content.
async fn send_many(pool: &TestPool, keys: &[FakeKey], count: usize) {
    let answers =
        stream::iter((0..count).map(|number| pool.fetch(REQUESTS[number % REQUESTS.len()])));
    let answers: Vec<ClientResponse> = answers.buffer_unordered(32).collect().await;
    assert_eq!(answers.len(), count);
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.is_truncated, "{}", answer.text());
        assert!(!answer.text().contains("error"), "{}", answer.text());
        answer.assert_reveals_nothing_of(keys);
    }
}

fn assert_all_succeeded(rows: &[RequestLog]) {
    for row in rows {
        assert_eq!(row.outcome, Some(Outcome::Success), "{row:?}");
        let attempts = row.attempt_list.as_ref().unwrap();
        assert!(
            attempts.iter().all(|attempt| attempt.rule.is_some()),
            "{attempts:?}"
        );
    }
}

/// The attempts with every key.
fn attempts_by_key(rows: &[RequestLog]) -> HashMap<UpstreamKeyId, Vec<&ListedAttempt>> {
    let mut attempts: HashMap<_, Vec<_>> = HashMap::new();
    for attempt in rows
        .iter()
        .flat_map(|row| row.attempt_list.as_ref().unwrap())
    {
        attempts
            .entry(attempt.upstream_key_id)
            .or_default()
            .push(attempt);
    }
    attempts
}

/// Fails where a key was lent again between its first refusal and the end of the shortest rest that its rule asks.
fn assert_cooldown_respected(
    key: &FakeKey,
    attempts: &HashMap<UpstreamKeyId, Vec<&ListedAttempt>>,
) {
    let label = format!("key-{}", &key.secret[key.secret.len() - 4..]);
    let attempts = attempts
        .values()
        .find(|attempts| attempts[0].upstream_key.as_deref() == Some(&label))
        .unwrap_or_else(|| panic!("{label} was never lent"));
    let refusals = attempts
        .iter()
        .filter(|attempt| attempt.outcome != Some(Outcome::Success));
    let first = refusals
        .min_by_key(|attempt| ended_at(attempt))
        .unwrap_or_else(|| panic!("{label} never failed"));
    let rest = match first.rule.as_deref().unwrap() {
        "quota_per_minute" => Duration::from_secs(1),
        "quota_without_detail" => Duration::from_secs(10),
        _ => Duration::from_mins(10),
    };
    // Attempts that had begun before the verdict are nobody's fault; times are whole milliseconds.
    let rests_from = ended_at(first) + Duration::from_millis(2);
    let too_early: Vec<_> = attempts
        .iter()
        .filter(|attempt| (rests_from..ended_at(first) + rest).contains(&attempt.started_at))
        .collect();
    assert!(too_early.is_empty(), "{key:?}: {too_early:#?}");
}

fn ended_at(attempt: &ListedAttempt) -> Timestamp {
    attempt.started_at + Duration::from_millis(attempt.duration_ms.unwrap().unsigned_abs())
}
