//! Keys fail behind the clients' backs.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use gemini_pool::clock::Timestamp;
use gemini_pool::demo::fake_gemini::Rules;
use gemini_pool::demo::fake_gemini::fate::{FakeKey, Fate};
use gemini_pool::demo::fake_gemini::journal::Recording;
use gemini_pool::demo::fake_gemini::quota::ProjectQuota;
use gemini_pool::pool::keys::upstream_key::UpstreamKeyId;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::request_logs::listed::{Attempt, RequestLog};

use crate::support::TestPool;
use crate::support::asking::{Ask, Heard};

const MODEL: &str = "gemini-2.5-flash";
/// What the crowd asks, in turn.
const ASKS: [Ask; 3] = [Ask::Whole, Ask::Events, Ask::OpenAi];

#[tokio::test]
async fn a_revoked_key_is_replaced_before_the_client_sees_it() {
    let pool = TestPool::of([
        FakeKey::new("AIza-revoked-key-0001", "projects/1", Fate::Invalid),
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
    let mut fates = vec![
        Fate::Invalid,
        Fate::InvalidEchoingKey,
        Fate::Expired,
        Fate::NotFound,
        Fate::Unauthenticated,
        Fate::Leaked,
        Fate::Suspended,
        Fate::ServiceDisabled,
        Fate::Restricted,
        Fate::ReferrerBlocked,
        Fate::ProjectDenied,
        Fate::BillingEmpty,
        Fate::BillingEmpty429,
        Fate::SpendingCap,
        Fate::QuotaZero(MODEL.into()),
        Fate::ModelRetired(MODEL.into()),
        Fate::Exhausted,
        Fate::ExhaustedHelpOnly,
    ];
    fates.extend(fates.clone().into_iter().take(9));
    let dead = fates.len();
    // One that fails, one that breaks off and one that is overloaded now and then: each costs a request one of the
    // attempts that count, and there are four.
    fates.push(Fate::InternalError);
    fates.push(Fate::Reset);
    fates.push(Fate::EveryNth(3, Box::new(Fate::Overloaded)));
    fates.resize(60, Fate::Healthy);
    let keys = keys(fates);
    // Two of the healthy ones run out after a few answers.
    let rules = rules(&keys)
        .quota(&keys[30].project, ProjectQuota::free(None, None, Some(3)))
        .quota(&keys[31].project, ProjectQuota::free(Some(2), None, None));
    let pool = TestPool::start(rules).await;

    crowd(&pool, &keys, 1_000).await;

    let rows = pool.finished_rows(1_000).await;
    assert_all_succeeded(&rows);
    let attempts = attempts_by_key(&rows);
    for key in &keys[..dead] {
        assert_rested(key, &attempts);
        assert!(pool.google.counts(&key.secret).requests > 0, "{key:?}");
    }
    for key in &keys[30..32] {
        assert_rested(key, &attempts);
    }
    pool.assert_sums_agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_nothing_of_five_hundred_revoked_keys_in_a_thousand() {
    let mut fates = vec![Fate::Invalid; 500];
    fates.resize(1_000, Fate::Healthy);
    let keys = keys(fates);
    let pool = TestPool::start(rules(&keys)).await;

    crowd(&pool, &keys, 1_000).await;

    let rows = pool.finished_rows(1_000).await;
    assert_all_succeeded(&rows);
    for key in &keys[..500] {
        let asked = pool.google.counts(&key.secret).requests;
        assert!(asked <= 1, "a revoked key was asked {asked} times");
    }
    pool.assert_sums_agree().await;
}

/// Keys with these fates, each with a project of its own.
fn keys(fates: impl IntoIterator<Item = Fate>) -> Vec<FakeKey> {
    let key = |(number, fate)| {
        FakeKey::new(
            format!("AIzaSyTheSecretOfAKeyOfThePool{number:09}"),
            format!("{}", 700_000_000_000_u64 + number),
            fate,
        )
    };
    (1_u64..).zip(fates).map(key).collect()
}

fn rules(keys: &[FakeKey]) -> Rules {
    Rules {
        recording: Recording::Counts,
        ..Rules::with_keys(keys.iter().cloned())
    }
}

/// Asks `count` times, 32 at once, and fails unless every client is content.
async fn crowd(pool: &TestPool, keys: &[FakeKey], count: usize) {
    let answers = stream::iter((0..count).map(|number| pool.hear(ASKS[number % ASKS.len()])));
    let answers: Vec<Heard> = answers.buffer_unordered(32).collect().await;
    assert_eq!(answers.len(), count);
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.broke_off, "{}", answer.text());
        assert!(!answer.text().contains("error"), "{}", answer.text());
        answer.assert_tells_nothing_of(keys);
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
fn attempts_by_key(rows: &[RequestLog]) -> HashMap<UpstreamKeyId, Vec<&Attempt>> {
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
fn assert_rested(key: &FakeKey, attempts: &HashMap<UpstreamKeyId, Vec<&Attempt>>) {
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

fn ended_at(attempt: &Attempt) -> Timestamp {
    attempt.started_at + Duration::from_millis(attempt.duration_ms.unwrap().unsigned_abs())
}
