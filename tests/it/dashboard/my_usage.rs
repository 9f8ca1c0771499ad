//! The usage page for the holders of client keys.

use std::time::Duration;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use http::header::RETRY_AFTER;

use crate::support::admin::AdminClient;
use crate::support::{CLIENT_KEY, TestPool, http_client};

const UPSTREAM_KEY: &str = "AIza-key-of-the-usage-page-001";

async fn pool() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]).await;
    pool.set(&[("my_usage", "on")]).await;
    pool.allow(|terms| terms.limits.requests_per_day = Some(1_000))
        .await;
    assert_eq!(pool.generate().await.status(), 200);
    pool.settled().await;
    pool
}

/// A browser without a session that has opened the form.
async fn visitor(pool: &TestPool) -> AdminClient {
    let mut visitor = AdminClient::arrive_at(http_client().build().unwrap(), &pool.url).await;
    visitor.get_page("/my-usage").await;
    visitor
}

#[tokio::test]
async fn the_holder_of_a_client_key_sees_its_usage_and_nothing_else() {
    let pool = pool().await;
    pool.record_past_request(Duration::from_hours(30)).await;
    pool.add_client_key("CLIENT_KEY_OF_ANOTHER").await;

    let answer = visitor(&pool)
        .await
        .submit("/my-usage", &[("client_key", CLIENT_KEY)])
        .await;

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let page = answer.text().await.unwrap();
    assert!(
        page.contains("1 of 1,000") || page.contains("1 / 1,000"),
        "{page}"
    );
    assert!(page.contains("<table"), "{page}");
    for hidden in [CLIENT_KEY, UPSTREAM_KEY, ">another<", "<nav", "/logs"] {
        assert!(!page.contains(hidden), "{hidden}: {page}");
    }
}

#[tokio::test]
async fn the_page_does_not_exist_unless_the_setting_is_on() {
    let pool = pool().await;
    let mut visitor = visitor(&pool).await;
    pool.set(&[("my_usage", "off")]).await;

    let form = pool
        .client
        .get(format!("{}/my-usage", pool.url))
        .send()
        .await
        .unwrap();
    let answer = visitor
        .submit("/my-usage", &[("client_key", CLIENT_KEY)])
        .await;

    assert_eq!(
        (form.status().as_u16(), answer.status().as_u16()),
        (404, 404)
    );
}

#[tokio::test]
async fn guesses_are_throttled_and_say_the_same_whatever_is_wrong() {
    let pool = pool().await;
    pool.add_client_key("CLIENT_KEY_OF_ANOTHER").await;
    pool.allow(|terms| terms.addresses = vec!["192.0.2.0/24".to_owned()])
        .await;
    let mut visitor = visitor(&pool).await;

    let mut answers = Vec::new();
    for secret in ["nonsense", CLIENT_KEY, "", "more", "guesses"] {
        let answer = visitor.submit("/my-usage", &[("client_key", secret)]).await;
        assert_eq!(answer.status(), 401, "{secret}");
        answers.push(answer.text().await.unwrap());
    }
    let throttled = visitor
        .submit("/my-usage", &[("client_key", "CLIENT_KEY_OF_ANOTHER")])
        .await;

    let errors = answers.iter().map(|page| {
        let (_, error) = page.split_once("form-error").unwrap();
        error.split('<').next().unwrap()
    });
    let errors: std::collections::BTreeSet<_> = errors.collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(throttled.status(), 429);
    assert!(throttled.headers().contains_key(RETRY_AFTER));
    // The sign-in of the admin does not wait for it, and a client key does not reset its count.
    let mut admin = AdminClient::open_login(&pool).await;
    assert_eq!(admin.submit_login().await.status(), 303);
}

#[tokio::test]
async fn a_key_that_is_off_says_so_and_shows_its_usage() {
    let pool = pool().await;
    pool.allow(|terms| {
        terms.expires_at = Some(gemini_pool::clock::now() - Duration::from_hours(1));
    })
    .await;

    let answer = visitor(&pool)
        .await
        .submit("/my-usage", &[("client_key", CLIENT_KEY)])
        .await;

    let page = answer.text().await.unwrap();
    assert!(
        page.contains("has expired") && page.contains("<table"),
        "{page}"
    );
}
