//! The log in the dashboard: filters, request pages and live updates.

use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use reqwest::Method;
use reqwest::header::LOCATION;

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;

const SECRET: &str = "AIza-key-that-is-overloaded-0001";

/// A pool in which the first attempt of every second request fails.
async fn pool() -> TestPool {
    let overloaded = Behaviour::EveryNth(2, Box::new(Behaviour::Overloaded));
    TestPool::with_keys([FakeKey::new(SECRET, "projects/1", overloaded)]).await
}

/// The paths of the listed requests, newest first.
fn listed(page: &str) -> Vec<String> {
    let links = page.split("href=\"/logs/").skip(1);
    let ids = links.filter_map(|link| link.split(['"', '?']).next());
    let ids = ids.filter(|id| id.len() == 13);
    ids.map(|id| format!("/logs/{id}")).collect()
}

#[tokio::test]
async fn a_request_is_found_by_its_filters_and_explained() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    assert!(admin.get_page("/logs").await.contains("No requests yet"));
    for _ in 0..3 {
        pool.generate().await;
    }
    let invalid = pool.post("/v1beta/models/gemini-2.5-flash:generateContent", "{}");
    assert_eq!(invalid.send().await.unwrap().status(), 400);
    pool.finished_rows(4).await;

    let all = listed(&admin.get_page("/logs").await);
    assert_eq!(all.len(), 4);
    for (query, found) in [
        ("outcome=client_error", 1),
        ("status=4xx", 1),
        ("client=nobody", 0),
        ("model=gemini-2.5-flash&key=1&since=1h", 4),
        ("q=FLASH", 4),
        ("q=no%20such%20thing", 0),
        ("kind=check", 0),
    ] {
        let page = admin.get_page(&format!("/logs?{query}")).await;
        assert_eq!(listed(&page).len(), found, "{query}");
        assert_eq!(page.contains("No request matches"), found == 0, "{query}");
        assert!(page.contains("Clear filters"), "{query}");
    }
    let ignored = admin.get_page("/logs?since=yesterday").await;
    assert!(ignored.contains("Ignored invalid filters: From"));
    assert_eq!(
        ignored.matches("not valid, ignored").count(),
        1,
        "at its chip"
    );

    let failed = &listed(&admin.get_page("/logs?outcome=client_error").await)[0];
    let page = admin.get_page(failed).await;
    assert!(page.contains("Attempt 1") && page.contains("Selection reason"));
    assert!(page.contains("Same client, within five minutes"));
    assert!(!page.contains(SECRET));
    let retried = &listed(&admin.get_page("/logs?retried=yes").await)[0];
    let page = admin.get_page(retried).await;
    assert!(page.contains("Attempt 2") && page.contains("The model was overloaded at Google"));
}

#[tokio::test]
async fn pages_link_to_older_and_newer_rows_and_end_with_them() {
    let pool = TestPool::with_keys([FakeKey::healthy(SECRET, "projects/1")]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    for _ in 0..60 {
        pool.generate().await;
    }
    pool.finished_rows(60).await;
    let link = |page: &str, rel: &str| {
        let (before, _) = page.split_once(&format!("\" rel=\"{rel}\""))?;
        Some(before.rsplit('"').next()?.replace("&amp;", "&"))
    };

    let first = admin.get_page("/logs").await;
    assert_eq!(listed(&first).len(), 50);
    assert_eq!(link(&first, "prev"), None);
    let second = admin.get_page(&link(&first, "next").unwrap()).await;
    assert_eq!(listed(&second).len(), 10);
    assert_eq!(link(&second, "next"), None);
    let back = admin.get_page(&link(&second, "prev").unwrap()).await;
    assert_eq!(listed(&back), listed(&first));
}

#[tokio::test]
async fn selected_columns_are_stored() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    pool.generate().await;
    pool.finished_rows(1).await;
    let heading = ">User agent</th>";
    assert!(!admin.get_page("/logs").await.contains(heading));

    let fields = [
        ("column", "started_at"),
        ("column", "user_agent"),
        ("back", "q=flash"),
    ];
    let saved = admin.submit("/logs/columns", &fields).await;

    assert_eq!(saved.headers()[LOCATION], "/logs?q=flash");
    assert!(admin.get_page("/logs").await.contains(heading));
    let usual = admin.submit("/logs/columns", &[("usual", "yes")]).await;
    assert_eq!(usual.status(), 303);
    assert!(!admin.get_page("/logs").await.contains(heading));
}

#[tokio::test]
async fn live_updates_contain_finished_requests_that_match() {
    let pool = TestPool::with_keys([FakeKey::healthy(SECRET, "projects/1")]).await;
    let admin = AdminClient::sign_in(&pool).await;
    let live = admin.request(Method::GET, "/logs/live?outcome=success");
    let mut live = live.send().await.unwrap();
    assert_eq!(live.status(), 200);

    let invalid = pool.post("/v1beta/models/gemini-2.5-flash:generateContent", "{}");
    invalid.send().await.unwrap();
    pool.generate().await;
    let rows = pool.finished_rows(2).await;

    let mut received = String::new();
    while !received.contains("</tr>") {
        let chunk = live.chunk().await.unwrap().unwrap();
        received.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(received.contains("event: row"), "{received}");
    assert!(
        received.contains(&format!("row-{}", rows[1].id)),
        "{received}"
    );
    assert!(!received.contains(&rows[0].id.to_string()), "{received}");
}

#[tokio::test]
async fn a_missing_request_gets_404() {
    let pool = pool().await;
    let admin = AdminClient::sign_in(&pool).await;

    for path in ["/logs/1", "/logs/1k9z4v0qm3e0a"] {
        let answer = admin.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn the_export_menu_offers_both_formats_on_a_phone_too() {
    let pool = pool().await;
    pool.generate().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.open("/logs?outcome=success").await;
    browser.click("Export").await;
    browser.wait_for_text("JSON Lines").await;
    browser.screenshot("logs-export-desk").await;
    let links = browser.texts("#export a").await;
    browser.use_phone_size().await;
    browser.screenshot("logs-export-phone").await;
    let [_, top, _, height] = browser.place(".heading h1").await;
    let [_, menu, ..] = browser.place("#export .menu-body").await;
    assert!(menu >= top + height, "the menu covers the title");

    assert_eq!(links, ["CSV", "JSON Lines"]);
    assert!(browser.fits_window().await);
    let violations = browser.accessibility_violations().await;
    assert_eq!(violations, [""; 0], "{}", violations.join("\n"));
}
