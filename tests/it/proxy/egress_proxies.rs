//! Egress proxies: each project keeps to one, a broken one blames no key, and nothing goes past them.

use std::collections::{BTreeMap, BTreeSet};

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::alerts::{AlertCondition, AlertKind};
use gemini_pool::pool::egress::address::ProxyAddress;
use gemini_pool::pool::egress::condition::EgressState;
use gemini_pool::pool::egress::proxy::{EgressProxyId, EgressScope};
use gemini_pool::pool::health::check_schedule::DueCheck;
use gemini_pool::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::egress_proxies::{self, EgressProxyTerms};
use gemini_pool::storage::request_logs::LogKind;
use gemini_pool::tasks::observe_alerts;
use gemini_pool::tasks::recheck_keys::KeyChecker;

use crate::support::live::begin;
use crate::support::process::run_command;
use crate::support::proxies::TestProxy;
use crate::support::requests::TestRequest;
use crate::support::{RequestLog, TestPool, act, eventually};

const CREDENTIAL: &str = "user:pass-word";

fn key(number: usize, behaviour: Behaviour) -> FakeKey {
    let secret = format!("AIzaSyTheSecretOfOneKeyOfThePoolNumber{number:02}");
    FakeKey::new(secret, format!("{number}"), behaviour)
}

/// A pool of so many keys, each in a project of its own. A request that no key can serve does not wait.
async fn pool(keys: usize) -> TestPool {
    let keys = (1..=keys).map(|number| key(number, Behaviour::Healthy));
    let config = FakeConfig::with_keys(keys);
    TestPool::start_with(config, &[("wait_for_key_seconds", "0")]).await
}

async fn add(pool: &TestPool, label: &str, url: &str, scope: EgressScope) -> EgressProxyId {
    let mut tx = pool.app.db.begin().await.unwrap();
    let act = act(&mut tx).await;
    let terms = EgressProxyTerms {
        label: label.to_owned(),
        address: ProxyAddress::parse(url).unwrap(),
        scope,
    };
    let data_keys = pool.app.db.data_keys.load(&mut tx).await.unwrap();
    let id = egress_proxies::insert(&mut tx, &data_keys, &terms, &act)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    pool.app.reload(clock::now()).await.unwrap();
    id.unwrap()
}

async fn remove(pool: &TestPool, id: EgressProxyId) {
    let mut tx = pool.app.db.begin().await.unwrap();
    let act = act(&mut tx).await;
    let stored = egress_proxies::find(&pool.app.db, id).await.unwrap();
    egress_proxies::delete(&mut tx, &stored.proxy, &act)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    pool.app.reload(clock::now()).await.unwrap();
}

/// An HTTP and a SOCKS5 proxy for all requests, both with a credential.
async fn two(pool: &TestPool) -> [(EgressProxyId, TestProxy); 2] {
    let google = pool.google.url();
    let http = TestProxy::http(&google, Some(CREDENTIAL)).await;
    let socks = TestProxy::socks(&google, Some(CREDENTIAL)).await;
    let url = format!("http://{CREDENTIAL}@{}", http.address);
    let one = add(pool, "one", &url, EgressScope::All).await;
    let url = format!("socks5h://{CREDENTIAL}@{}", socks.address);
    let other = add(pool, "other", &url, EgressScope::All).await;
    [(one, http), (other, socks)]
}

/// Sends so many requests, which all succeed, and returns their rows.
async fn send(pool: &TestPool, count: usize) -> Vec<RequestLog> {
    let mut rows = Vec::new();
    for _ in 0..count {
        let response = pool.fetch(TestRequest::Generate).await;
        assert_eq!(response.status, 200, "{}", response.text());
        rows.push(pool.row_of(&response).await);
    }
    rows
}

/// The proxies of the last attempts by key.
fn by_key(rows: &[RequestLog]) -> BTreeMap<UpstreamKeyId, BTreeSet<Option<EgressProxyId>>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for row in rows {
        let key = row.upstream_key_id.unwrap();
        found.entry(key).or_default().insert(row.egress_id);
    }
    found
}

async fn state(pool: &TestPool, id: EgressProxyId) -> EgressState {
    pool.settled().await;
    let stored = egress_proxies::find(&pool.app.db, id).await.unwrap();
    stored.proxy.condition.state
}

async fn assert_no_key_is_blamed(pool: &TestPool) {
    for key in pool.keys().await {
        assert_eq!(key.state, "ready", "{key:?}");
    }
}

#[tokio::test]
async fn each_project_keeps_to_one_proxy_and_the_row_names_it() {
    let pool = pool(12).await;
    let [(one, http), (other, socks)] = two(&pool).await;

    let rows = send(&pool, 36).await;

    let found = by_key(&rows);
    assert_eq!(found.len(), 12);
    let used: BTreeSet<_> = found.values().flatten().copied().collect();
    assert!(
        found.values().all(|egresses| egresses.len() == 1),
        "{found:?}"
    );
    assert_eq!(used, BTreeSet::from([Some(one), Some(other)]), "{found:?}");
    for proxy in [&http, &socks] {
        let requested = proxy.requested.lock().clone();
        let upstream = pool.google.url().replace("http://", "");
        assert!(!requested.is_empty());
        assert!(requested.iter().all(|place| *place == upstream));
    }
    let first = &rows[0];
    let label = if first.egress_id == Some(one) {
        "one"
    } else {
        "other"
    };
    assert_eq!(first.egress.as_deref(), Some(label));
    let attempt = &first.attempt_list.as_ref().unwrap()[0];
    assert_eq!(attempt.egress_id, first.egress_id);
    assert_eq!(attempt.egress.as_deref(), Some(label));
    pool.set(&[("metrics_open", "on")]).await;
    let metrics = pool
        .client
        .get(format!("{}/metrics", pool.url))
        .send()
        .await;
    let metrics = metrics.unwrap().text().await.unwrap();
    for (id, label) in [(one, "one"), (other, "other")] {
        let count = rows.iter().filter(|row| row.egress_id == Some(id)).count();
        let labels = format!("{{egress_id=\"{id}\",egress=\"{label}\"}}");
        let line = format!("gemini_pool_egress_attempts_total{labels} {count}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
        let line = format!("gemini_pool_egress_working{labels} 1");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn a_broken_proxy_is_passed_over_blames_no_key_and_comes_back() {
    let pool = pool(6).await;
    let [(one, http), (other, _)] = two(&pool).await;
    let before = by_key(&send(&pool, 18).await);
    let moved: Vec<_> = before
        .iter()
        .filter(|(_, by)| by.contains(&Some(one)))
        .collect();
    assert!(!moved.is_empty(), "{before:?}");

    http.set_broken(true);
    let rows = send(&pool, 18).await;

    assert!(rows.iter().all(|row| row.egress_id == Some(other)));
    assert_eq!(state(&pool, one).await, EgressState::Broken);
    assert_no_key_is_blamed(&pool).await;
    let failed = rows
        .iter()
        .flat_map(|row| row.attempt_list.as_ref().unwrap());
    let failed: Vec<_> = failed
        .filter(|attempt| attempt.outcome == Some(Outcome::Network))
        .collect();
    assert!((1..=4).contains(&failed.len()), "{failed:?}");
    for attempt in failed {
        assert_eq!(attempt.egress_id, Some(one));
        let error = attempt.error.as_deref().unwrap();
        assert!(error.contains("through egress proxy \"one\": "), "{error}");
    }

    http.set_broken(false);
    eventually("the proxy works again", async || {
        (state(&pool, one).await == EgressState::Working).then_some(())
    })
    .await;
    assert_eq!(by_key(&send(&pool, 18).await), before);
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn where_every_proxy_is_broken_nothing_goes_past_them() {
    let pool = pool(3).await;
    let proxy = TestProxy::http(&pool.google.url(), None).await;
    proxy.set_broken(true);
    let url = format!("http://{}", proxy.address);
    let id = add(&pool, "one", &url, EgressScope::All).await;

    let unreachable = pool.fetch(TestRequest::Generate).await;
    assert_eq!(unreachable.status, 503);
    let refused = pool.fetch(TestRequest::Generate).await;

    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(
        refused.text().contains("egress-proxies list"),
        "{}",
        refused.text()
    );
    assert!(refused.header("retry-after").is_some());
    assert_eq!(pool.row_of(&refused).await.attempts, 0);
    assert_eq!(state(&pool, id).await, EgressState::Broken);
    assert!(pool.google.received().is_empty());
    assert_no_key_is_blamed(&pool).await;
    let overview = pool.app.overview(clock::now()).await;
    assert_eq!((overview.usable, overview.waiting_for_egress), (0, 3));
    assert_eq!(overview.broken_egress, ["one"]);
    let observed = observe_alerts::observe(&pool.app, clock::now()).await;
    let is_broken = |condition: &AlertCondition| {
        condition.key.kind == AlertKind::EgressBroken && condition.detail.starts_with("one (")
    };
    assert!(observed.conditions.iter().any(is_broken), "{observed:?}");
    proxy.set_broken(false);
    eventually("requests are answered again", async || {
        let response = pool.fetch(TestRequest::Generate).await;
        (response.status == 200).then_some(())
    })
    .await;
    assert!(proxy.requests() > 0);
}

#[tokio::test]
async fn a_wrong_credential_is_a_fault_of_the_proxy() {
    for scheme in ["http", "socks5"] {
        let pool = pool(2).await;
        let google = pool.google.url();
        let proxy = match scheme {
            "http" => TestProxy::http(&google, Some("user:another-word")).await,
            _ => TestProxy::socks(&google, Some("user:another-word")).await,
        };
        let url = format!("{scheme}://{CREDENTIAL}@{}", proxy.address);
        let id = add(&pool, "one", &url, EgressScope::All).await;

        let response = pool.fetch(TestRequest::Generate).await;

        assert_eq!(response.status, 503, "{scheme}");
        assert_eq!(state(&pool, id).await, EgressState::Broken, "{scheme}");
        let row = pool.row_of(&response).await;
        let shown = format!("{row:?}{}", response.text());
        assert!(!shown.contains("pass-word"), "{shown}");
        assert!(pool.google.received().is_empty());
        assert_no_key_is_blamed(&pool).await;
    }
}

#[tokio::test]
async fn scopes_decide_and_changes_apply_while_the_server_runs() {
    let pool = pool(3).await;
    let output = run_command(pool.folder.path(), &["keys", "update", "2", "--tags", "eu"]);
    assert!(output.status.success(), "{output:?}");
    pool.app.reload(clock::now()).await.unwrap();
    let proxy = TestProxy::socks(&pool.google.url(), None).await;
    let url = format!("socks5://{}", proxy.address);
    let direct = by_key(&send(&pool, 6).await);
    assert!(
        direct
            .values()
            .all(|egresses| *egresses == BTreeSet::from([None]))
    );

    let tagged = add(&pool, "eu", &url, EgressScope::Tags(vec!["eu".to_owned()])).await;
    let found = by_key(&send(&pool, 6).await);
    for (key, egresses) in &found {
        let expected = (key.0 == 2).then_some(tagged);
        assert_eq!(*egresses, BTreeSet::from([expected]), "{found:?}");
    }
    let project = pool
        .app
        .keys
        .lock()
        .get(UpstreamKeyId(2))
        .unwrap()
        .project_id;
    let projects = EgressScope::Projects(vec![project, ProjectId(99)]);
    let own = add(&pool, "own", &url, projects).await;
    let found = by_key(&send(&pool, 6).await);
    assert_eq!(found[&UpstreamKeyId(2)], BTreeSet::from([Some(own)]));
    for id in [own, tagged] {
        remove(&pool, id).await;
    }
    assert_eq!(by_key(&send(&pool, 6).await), direct);
}

#[tokio::test]
async fn live_sessions_uploads_and_checks_go_the_same_way() {
    let pool = pool(1).await;
    let proxy = TestProxy::http(&pool.google.url(), None).await;
    let url = format!("http://{}", proxy.address);
    let id = add(&pool, "one", &url, EgressScope::All).await;
    let mut requests = proxy.requests();
    let mut is_used = || proxy.requests() > std::mem::replace(&mut requests, proxy.requests());

    let socket = begin(&pool).await;
    assert!(
        is_used(),
        "a connection that is upgraded is never used again"
    );
    drop(socket);
    let upload = pool.begin_upload().await;
    let ended = pool
        .send_command(&upload, "upload, finalize", 0, b"text")
        .await;
    assert_eq!(ended.status, 200, "{}", ended.text());
    let due = DueCheck::of(pool.app.keys.lock().get(UpstreamKeyId(1)).unwrap());
    KeyChecker::of(&pool.app).check(&due).await;

    let rows = eventually("every row has ended", async || {
        let rows = pool.rows().await;
        rows.iter().all(|row| row.outcome.is_some()).then_some(rows)
    })
    .await;
    assert!(rows.len() >= 3, "{rows:?}");
    assert!(rows.iter().any(|row| row.kind == LogKind::Check));
    for row in rows {
        assert_eq!(row.egress_id, Some(id), "{row:?}");
    }
    // A check that fails because of the proxy proves nothing about the key.
    proxy.set_broken(true);
    KeyChecker::of(&pool.app).check(&due).await;
    assert_no_key_is_blamed(&pool).await;
    // Nothing is sent for a key that was removed since, not even directly.
    proxy.set_broken(false);
    pool.app.keys.lock().remove(UpstreamKeyId(1));
    let requests = pool.google.requests();
    assert!(KeyChecker::of(&pool.app).check(&due).await.is_none());
    assert_eq!(pool.google.requests(), requests);
}

#[tokio::test]
async fn a_location_that_google_refuses_is_left_for_another_proxy() {
    let location = Behaviour::Sequence(vec![Behaviour::LocationUnsupported, Behaviour::Healthy]);
    let config = FakeConfig::with_keys((1..=2).map(|number| key(number, location.clone())));
    let pool = TestPool::start(config).await;
    let [(one, _), (other, _)] = two(&pool).await;

    let response = pool.fetch(TestRequest::Generate).await;

    let row = pool.row_of(&response).await;
    let attempts = row.attempt_list.unwrap();
    let egresses: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt.egress_id.unwrap())
        .collect();
    assert_eq!(egresses.len(), 2, "{attempts:?}");
    assert_ne!(egresses[0], egresses[1], "{attempts:?}");
    assert!(egresses.contains(&one) && egresses.contains(&other));
    assert_eq!(
        state(&pool, egresses[0]).await,
        EgressState::LocationRefused
    );
    assert_no_key_is_blamed(&pool).await;
}

#[tokio::test]
async fn a_stream_through_a_proxy_that_is_removed_ends_in_its_own_time() {
    let pool = TestPool::with_keys([key(1, Behaviour::SlowFirstByte(300))]).await;
    let proxy = TestProxy::socks(&pool.google.url(), None).await;
    let url = format!("socks5h://{}", proxy.address);
    let id = add(&pool, "one", &url, EgressScope::All).await;

    let (response, ()) = tokio::join!(pool.fetch(TestRequest::StreamSse), async {
        eventually("the request is under way", async || {
            (proxy.requests() > 0).then_some(())
        })
        .await;
        remove(&pool, id).await;
    });

    assert_eq!(response.status, 200);
    let row = pool.row_of(&response).await;
    assert_eq!(
        (row.outcome, row.egress_id),
        (Some(Outcome::Success), Some(id))
    );
    assert_eq!(
        row.egress.as_deref(),
        Some("one"),
        "its tombstone has its label"
    );
    let direct = pool.fetch(TestRequest::Generate).await;
    assert_eq!(pool.row_of(&direct).await.egress_id, None);
}
