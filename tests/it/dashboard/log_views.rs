//! Filters of the log are saved under a name, opened, renamed and deleted, without JavaScript too.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;

async fn pool() -> TestPool {
    let key = FakeKey::healthy("AIza-key-of-the-saved-views-0001", "projects/1");
    TestPool::with_keys([key]).await
}

#[tokio::test]
async fn a_view_is_saved_opened_renamed_and_deleted_without_javascript() {
    let pool = pool().await;
    assert_eq!(pool.generate().await.status(), 200);
    let Some(browser) = Browser::without_javascript(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.open("/logs?from=7d&outcome=failed").await;
    browser.click("Saved views").await;
    browser
        .fill("Save these filters as a view", "failures")
        .await;
    browser.click("#views .primary").await;
    browser.wait_for_text("Saved the view failures").await;
    assert_eq!(
        browser.path_and_query().await,
        "/logs?from=7d&outcome=failed"
    );
    browser.open("/logs").await;
    browser.click("failures").await;
    assert_eq!(
        browser.path_and_query().await,
        "/logs?from=7d&outcome=failed"
    );
    browser.click("Saved views").await;
    browser
        .fill("Name of the view failures", "what failed")
        .await;
    browser.click("Rename").await;
    browser
        .wait_for_text("Renamed the view to what failed")
        .await;
    browser.click("Saved views").await;
    browser.click("Delete the view what failed").await;
    browser.wait_for_text("Deleted the view").await;
    assert!(!browser.source().await.contains("what failed"));
}

#[tokio::test]
async fn a_view_needs_a_name_of_its_own_and_leads_only_to_the_log() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let mut save = async |fields: &[(&str, &str)]| {
        admin.get_page("/logs").await;
        let answer = admin.submit("/logs/views", fields).await;
        answer.headers()["location"].to_str().unwrap().to_owned()
    };
    assert_eq!(
        save(&[("name", " "), ("back", "?outcome=quota")]).await,
        "/logs?outcome=quota"
    );
    let elsewhere = [("name", "away"), ("back", "//example.com/?outcome=failed")];
    assert_eq!(save(&elsewhere).await, "/logs");
    assert_eq!(
        save(&[
            ("name", "<b>"),
            ("back", "?outcome=failed&older=1k9z4v0qm3e0a")
        ])
        .await,
        "/logs?outcome=failed"
    );
    // A second one of the same name replaces the first.
    save(&[("name", "<b>"), ("back", "?model=x")]).await;
    let page = admin.get_page("/logs").await;
    assert!(
        page.contains("href=\"/logs?model=x\">&lt;b&gt;</a>"),
        "{page}"
    );
    assert!(!page.contains("<b>"));
    let page = admin.get_page("/logs").await;
    assert_eq!(page.matches("class=\"chip view\"").count(), 2);
    for number in 0..60 {
        let name = number.to_string();
        admin.get_page("/logs").await;
        admin.submit("/logs/views", &[("name", &name)]).await;
    }
    let page = admin.get_page("/logs").await;
    assert_eq!(page.matches("class=\"chip view\"").count(), 50);
    assert!(page.contains("You have 50 views"));
}
