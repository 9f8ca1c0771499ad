//! The search finds requests, keys, models, pages and settings, in a page and in a dialog over every page.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;

const KEY: &str = "AIza-key-of-the-global-search-00xyz9";

async fn pool() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "projects/1")]).await;
    assert_eq!(pool.generate().await.status(), 200);
    pool.settled().await;
    pool
}

/// Whether the page of a search links to a path.
async fn finds(admin: &mut AdminClient, text: &str, path: &str) -> bool {
    let page = admin.get_page(&format!("/search?q={text}")).await;
    let (_, found) = page.split_once("<div class=\"found\">").unwrap();
    found.contains(&format!("<a href=\"{path}\""))
}

#[tokio::test]
async fn everything_with_a_name_is_found_by_a_part_of_it() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let id = pool.row().await.id.to_string();
    let label = pool.keys().await[0].label.to_uppercase();
    for (text, path) in [
        (id.as_str(), format!("/logs/{id}")),
        ("xyz9", "/upstream-keys/1".to_owned()),
        (&label, "/upstream-keys/1".to_owned()),
        ("2.5-FLASH", "/logs?model=gemini-2.5-flash".to_owned()),
        ("backups", "/backups".to_owned()),
        ("備份", "/backups".to_owned()),
        ("max_attempts", "/settings/max_attempts".to_owned()),
    ] {
        assert!(finds(&mut admin, text, &path).await, "{text}: {path}");
    }
    let name = admin.get_page("/client-keys/1").await;
    let name = name.split_once("<h1>").unwrap().1;
    let name = name.split_once("</h1>").unwrap().0.to_owned();
    assert!(finds(&mut admin, &name, "/client-keys/1").await);
    let nothing = admin.get_page("/search?q=zzzz+qqqq").await;
    assert!(nothing.contains("Nothing found") && nothing.contains("/logs?q=zzzz%20qqqq"));
    let escaped = admin.get_page("/search?q=%3Cscript%3E").await;
    assert!(!escaped.contains("<script>"));
}

#[tokio::test]
async fn a_whole_key_is_shortened_at_once() {
    let pool = pool().await;
    let admin = AdminClient::sign_in(&pool).await;
    let request = admin.request(http::Method::GET, &format!("/search?q={KEY}"));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["location"], "/search?q=xyz9");
}

#[tokio::test]
async fn the_dialog_is_opened_and_used_by_keys_alone() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.press("/").await;
    browser
        .wait_until("the search is open", async || {
            let found = browser.texts("dialog[open]").await;
            (found.len() == 1).then_some(())
        })
        .await;
    assert_eq!(browser.accessibility_violations().await, [""; 0]);
    for key in ["x", "y", "z", "9"] {
        browser.press(key).await;
    }
    browser
        .wait_until("the key is found", async || {
            let found = browser.texts("dialog .found a").await;
            found
                .iter()
                .any(|text| text.contains("…xyz9"))
                .then_some(())
        })
        .await;
    assert_eq!(browser.accessibility_violations().await, [""; 0]);
    browser.press("ArrowDown").await;
    browser.press("Enter").await;
    browser.wait_for_path("/upstream-keys/1").await;
    browser.press("/").await;
    browser.press("Escape").await;
    browser
        .wait_until("the search is closed", async || {
            browser.texts("dialog[open]").await.is_empty().then_some(())
        })
        .await;
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn the_page_finds_without_javascript() {
    let pool = pool().await;
    let Some(browser) = Browser::without_javascript(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.click("Search everything").await;
    browser.wait_for_path("/search").await;
    browser.fill("q", "xyz9").await;
    browser.click("#content [type=submit]").await;
    browser.wait_for_text("…xyz9").await;
}
