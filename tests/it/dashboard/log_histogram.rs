//! The log has a histogram of the filtered requests, whose parts open the log of their time, and filters by label.

use std::time::Duration;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;

async fn pool() -> TestPool {
    let key = FakeKey::healthy("AIza-key-of-the-histogram-000001", "projects/1");
    let pool = TestPool::with_keys([key]).await;
    for minutes in [130, 131, 190, 1_000] {
        pool.record_past_request(Duration::from_mins(minutes)).await;
    }
    pool.settled().await;
    pool
}

/// The part of a page before its list.
fn histogram(page: &str) -> &str {
    let (_, rest) = page.split_once("id=\"log-histogram\"").unwrap();
    rest.split("<table class=\"stack").next().unwrap()
}

#[tokio::test]
async fn each_bar_links_to_its_requests_with_the_other_filters() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let page = admin.get_page("/logs?from=24h&outcome=success").await;
    assert!(page.contains("4 requests"), "{page}");
    let picture = histogram(&page);
    let links = picture.split("<a href=\"").skip(1);
    let links = links.map(|link| link.split('"').next().unwrap().replace("&amp;", "&"));
    let links: Vec<_> = links.filter(|link| link.starts_with("/logs?")).collect();
    assert!(links.len() >= 24, "{links:?}");
    let mut rows = 0;
    for link in &links {
        assert!(link.contains("outcome=success&from="), "{link}");
        let page = admin.get_page(link).await;
        rows += page.matches("data-row-link").count();
    }
    assert_eq!(rows, 4);
    let empty = admin.get_page("/logs?from=24h&model=no-such-model").await;
    assert!(!empty.contains("log-histogram"));
}

#[tokio::test]
async fn upstream_keys_are_filtered_by_label_and_exact_times_are_those_of_the_admin() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let label = pool.keys().await[0].label.clone();
    let rows = |page: &str| page.matches("data-row-link").count();
    let page = admin.get_page(&format!("/logs?key={label}")).await;
    assert_eq!(rows(&page), 4);
    assert!(page.contains(&format!("<option value=\"{label}\">")));
    let by_id = admin.get_page("/logs?key=1").await;
    assert_eq!(rows(&by_id), 4);
    assert!(by_id.contains(&format!("name=\"key\" value=\"{label}\"")));
    assert_eq!(rows(&admin.get_page("/logs?key=no-such-key").await), 0);

    let page = admin
        .get_page("/logs?from=2020-01-01T10:00&to=2020-01-02T10:00")
        .await;
    assert!(page.contains("value=\"2020-01-01T10:00:00\""), "{page}");
    // A quick span stays when the form is sent with an empty time.
    let page = admin.get_page("/logs?from=24h&from=&outcome=success").await;
    assert_eq!(rows(&page), 4);
    assert!(page.contains("type=\"hidden\" name=\"from\" value=\"24h\""));
}

#[tokio::test]
async fn dragging_over_the_histogram_opens_the_log_of_the_span() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.open("/logs?from=24h&outcome=success").await;
    let place = async |share: f64| {
        let [left, top, width, height] = browser.place("#log-histogram .u-over").await;
        (left + width * share, top + height / 2.0)
    };
    browser
        .wait_until("the histogram can be explored", async || {
            let found = browser.texts("#log-histogram .u-over").await;
            (!found.is_empty()).then_some(())
        })
        .await;
    let begin = place(0.8).await;
    browser.move_mouse(begin, false).await;
    browser.mouse_button(begin, true).await;
    let end = place(0.95).await;
    browser.move_mouse(end, true).await;
    browser.mouse_button(end, false).await;
    browser
        .wait_until("the log of the span is open", async || {
            let path = browser.path_and_query().await;
            (path.contains("outcome=success&from=2") && path.contains("&to=2")).then_some(())
        })
        .await;
    assert_eq!(browser.texts(".logs tbody tr").await.len(), 3);
    assert_eq!(browser.console_errors().await, [""; 0]);
}
