//! Lists of resources that are in several projects, some of which cannot answer.

use std::collections::BTreeSet;
use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::health::cooldown::{Cooldown, EVERY_MODEL};
use gemini_pool::pool::health::verdict::Rule;
use gemini_pool::pool::keys::upstream_key::ProjectId;
use gemini_pool::pool::outcome::Outcome;
use serde_json::{Value, json};

use crate::support::requests::ClientResponse;
use crate::support::{CLIENT_KEY, TestPool};

const CACHES: &str = "/v1beta/cachedContents";
const JSON: (&str, &str) = ("content-type", "application/json; charset=UTF-8");

fn secret(number: usize) -> String {
    format!("AIzaSyTheKeyOfProjectNumber{number:012}")
}

/// A pool of three projects with a cache in each, all known to the pool. Returns their names in the order of the projects.
async fn pool_with_caches(settings: &[(&str, &str)]) -> (TestPool, Vec<String>) {
    let keys = (1..=3).map(|number| FakeKey::healthy(secret(number), number.to_string()));
    let usual = [("client_isolation", "off"), ("check_new_keys", "off")];
    let settings = [&usual, settings].concat();
    let pool = TestPool::start_with(FakeConfig::with_keys(keys), &settings).await;
    let text = "A long story about a lighthouse. ".repeat(2_000);
    let contents = json!([{"role": "user", "parts": [{"text": text}]}]);
    let cache = json!({"model": "models/gemini-2.5-flash", "ttl": "600s", "contents": contents});
    let mut names = Vec::new();
    for number in 1..=3 {
        let made = pool
            .client
            .post(format!("{}{CACHES}", pool.google.url()))
            .header("x-goog-api-key", secret(number))
            .body(cache.to_string());
        let made = ClientResponse::whole(made.send().await.unwrap()).await;
        let name = made.json()["name"].as_str().unwrap().to_owned();
        assert_eq!(get(&pool, &format!("/v1beta/{name}")).await.status, 200);
        names.push(name);
    }
    (pool, names)
}

async fn get(pool: &TestPool, path: &str) -> ClientResponse {
    get_with(pool, path, "").await
}

/// The same, with an order to the fake.
async fn get_with(pool: &TestPool, path: &str, order: &str) -> ClientResponse {
    let request = pool
        .client
        .get(format!("{}{path}", pool.url))
        .header("x-goog-api-key", CLIENT_KEY)
        .header("x-fake-gemini", order);
    ClientResponse::whole(request.send().await.unwrap()).await
}

/// The names on all pages, and the projects that are missing on any.
async fn list(pool: &TestPool) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut names, mut missing, mut token) = (BTreeSet::new(), BTreeSet::new(), String::new());
    loop {
        let response = get(pool, &format!("{CACHES}?pageToken={token}")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let row = pool.row_of(&response).await;
        assert_eq!(row.outcome, Some(Outcome::Success));
        let attempts = row.attempt_list.unwrap();
        assert!(attempts.iter().all(|attempt| attempt.outcome.is_some()));
        let page = response.json();
        let texts = |list: &Value, field: Option<&str>| -> Vec<String> {
            let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
            let text = |item: &Value| field.map_or(item, |field| &item[field]).clone();
            items
                .iter()
                .map(|item| text(item).as_str().unwrap().to_owned())
                .collect()
        };
        names.extend(texts(&page["cachedContents"], Some("name")));
        missing.extend(texts(&page["unreachable"], None));
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => return (names, missing),
        }
    }
}

fn project(number: usize) -> String {
    format!("gemini-pool/projects/{number}")
}

fn cool_down(pool: &TestPool, number: i64) {
    let since = clock::now();
    let cooldown = Cooldown {
        rule: Rule::QuotaPerMinute,
        step: 0,
        since,
        until: since + Duration::from_mins(5),
    };
    let mut keys = pool.app.keys.lock();
    keys.set_cooldown(ProjectId(number), EVERY_MODEL, cooldown);
}

#[tokio::test]
async fn a_project_that_cools_down_is_named_as_missing() {
    for missing in 1..=3_usize {
        let (pool, names) = pool_with_caches(&[("wait_for_key_seconds", "0")]).await;
        cool_down(&pool, i64::try_from(missing).unwrap());

        let (listed, unreachable) = list(&pool).await;

        assert_eq!(unreachable, BTreeSet::from([project(missing)]));
        let mut others = names.clone();
        others.remove(missing - 1);
        assert_eq!(listed, BTreeSet::from_iter(others));
        pool.assert_sums_agree().await;
    }
    let (pool, _) = pool_with_caches(&[("wait_for_key_seconds", "0")]).await;
    for number in 1..=3 {
        cool_down(&pool, number);
    }
    let response = get(&pool, CACHES).await;
    assert_eq!(response.status, 429, "{}", response.text());
}

#[tokio::test]
async fn all_projects_of_a_list_share_the_time_of_one_request() {
    let (pool, names) = pool_with_caches(&[("first_byte_timeout_ms", "1500")]).await;

    let response = get_with(&pool, CACHES, "first_byte=3600000").await;

    assert_eq!(response.status, 504, "{}", response.text());
    let row = pool.row_of(&response).await;
    assert_eq!(row.attempts, 3, "each project once");
    let times = row.attempt_list.unwrap();
    let waited = times
        .iter()
        .filter(|attempt| attempt.duration_ms > Some(700));
    assert_eq!(waited.count(), 1, "{times:?}");
    assert_eq!(list(&pool).await.0, BTreeSet::from_iter(names));
}

#[tokio::test]
async fn a_page_that_is_too_large_or_no_list_is_told_apart_from_an_unreachable_upstream() {
    let (pool, _) = pool_with_caches(&[]).await;
    let text = "x".repeat(17 * 1024 * 1024);
    let large = format!(
        r#"{{"cachedContents": [{{"name": "cachedContents/a", "displayName": "{text}"}}]}}"#
    );
    for (page, status, why) in [
        (large.as_str(), 502, "larger than 16 MiB"),
        ("[1, 2]", 502, "cannot be read"),
    ] {
        pool.google
            .replay([ReplayedResponse::new(200, &[JSON], page.to_owned())]);

        let response = get(&pool, CACHES).await;

        assert_eq!(response.status, status, "{}", response.text());
        assert!(response.text().contains(why), "{}", response.text());
        let row = pool.row_of(&response).await;
        let attempts = row.attempt_list.unwrap();
        assert!(
            attempts.iter().all(|attempt| attempt.outcome.is_some()),
            "{attempts:?}"
        );
    }
}
