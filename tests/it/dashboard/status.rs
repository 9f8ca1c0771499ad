//! The status page guides an admin to the first response, and updates itself.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};

use sqlx::Connection;

use crate::dashboard::pages::{assert_no_problems, examine_open_page};
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;
use crate::support::requests::GENERATE_BODY;
use crate::support::{TestPool, eventually};

pub const FIRST: &str = "AIza-key-of-the-first-steps-00001";
pub const SECOND: &str = "AIza-key-of-the-first-steps-00002";

/// A new pool without keys, and a fake Google with valid keys.
pub async fn empty_pool() -> TestPool {
    let keys = [
        FakeKey::healthy(FIRST, "projects/1"),
        FakeKey::healthy(SECOND, "projects/2"),
    ];
    let google = FakeGemini::start(FakeConfig::with_keys(keys))
        .await
        .unwrap();
    TestPool::with_upstream(google, vec![], &[("check_new_keys", "on")]).await
}

/// Takes the first steps up to the first request. Returns the client key.
async fn take_first_steps(browser: &Browser) -> String {
    browser.open("/client-keys/1/delete").await;
    browser.click("Delete key").await;
    browser.wait_for_text("Deleted the client key").await;
    browser.open("/status").await;
    browser.wait_for_text("Paste your Gemini API keys").await;
    browser.fill("text", &format!("{FIRST}\n{SECOND}")).await;
    browser.click("Preview").await;
    browser.click("Add 2 upstream keys").await;
    browser.wait_for_text("Import of 2 upstream keys").await;
    browser
        .wait_until("the keys are checked", async || {
            browser.open("/status").await;
            let text = browser.text().await;
            text.contains("Create key").then_some(())
        })
        .await;

    browser.click("Create key").await;
    browser.fill("Name", "first program").await;
    browser.click("Create key").await;
    browser.wait_for_text("Copy it now").await;
    let secret = browser.texts("#secret").await.remove(0);
    browser.open("/status").await;
    browser.wait_for_text("Waiting for the first request").await;
    secret
}

async fn send_request(pool: &TestPool, secret: &str, body: &str) {
    let url = format!(
        "{}/v1beta/models/gemini-2.5-flash:generateContent",
        pool.url
    );
    let request = pool.client.post(url).header("x-goog-api-key", secret);
    let request = request.header("content-type", "application/json");
    request.body(body.to_owned()).send().await.unwrap();
}

#[tokio::test]
async fn the_first_steps_show_the_first_request_at_once() {
    let pool = empty_pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    let secret = take_first_steps(&browser).await;

    send_request(&pool, &secret, "{}").await;
    browser.wait_for_text("A request arrived, but failed").await;
    send_request(&pool, &secret, GENERATE_BODY).await;
    browser.wait_for_text("The first request succeeded").await;
    browser.open("/status").await;
    assert!(!browser.text().await.contains("First steps"));
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn the_first_steps_need_no_javascript() {
    let pool = empty_pool().await;
    let Some(browser) = Browser::without_javascript(&pool).await else {
        return;
    };
    browser.sign_in().await;
    let secret = take_first_steps(&browser).await;

    send_request(&pool, &secret, "{}").await;
    browser
        .wait_until("the failure is reported", async || {
            browser.click("Reload").await;
            let text = browser.text().await;
            text.contains("A request arrived, but failed").then_some(())
        })
        .await;
    send_request(&pool, &secret, GENERATE_BODY).await;
    browser
        .wait_until("all steps are done", async || {
            browser.open("/status").await;
            (!browser.text().await.contains("First steps")).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_written_is_reported_until_it_recovers() {
    let pool = TestPool::with_keys([FakeKey::healthy(FIRST, "projects/1")]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let locked = pool.lock_database().await;

    eventually("the status page reports the failure", async || {
        let page = admin.get_page("/status").await;
        page.contains("The database cannot be written")
            .then_some(())
    })
    .await;
    admin.get_page("/upstream-keys").await;
    locked.close().await.unwrap();
    eventually("the status page reports the recovery", async || {
        let page = admin.get_page("/status").await;
        (!page.contains("The database cannot be written")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_page_updates_itself_unless_it_is_paused() {
    let pool = TestPool::with_keys([FakeKey::healthy(FIRST, "projects/1")]).await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser
        .wait_for_text("1 of 1 upstream keys are usable")
        .await;
    pool.add_upstream_key(SECOND).await;
    browser
        .wait_for_text("2 of 2 upstream keys are usable")
        .await;
    browser.click("[data-live-switch]").await;
    browser.wait_for_text("Paused").await;
    pool.add_upstream_key("AIza-key-of-the-first-steps-00003")
        .await;
    browser.click("[data-live-switch]").await;
    browser
        .wait_for_text("3 of 3 upstream keys are usable")
        .await;
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn a_page_says_that_the_server_is_gone_and_recovers_with_it() {
    let pool = TestPool::with_keys([FakeKey::healthy(FIRST, "projects/1")]).await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser
        .wait_for_text("1 of 1 upstream keys are usable")
        .await;
    assert!(!browser.text().await.contains("connection to the server"));

    let folder = pool.stop().await;

    browser
        .wait_for_text("The connection to the server is lost. Last update:")
        .await;
    browser.wait_for_text("Disconnected").await;
    let problems = examine_open_page(&browser, "server-gone").await;
    assert_no_problems(&problems);
    drop(folder);
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_no_service() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let pool = TestPool::with_upstream_url(url, FIRST).await;
    let mut admin = AdminClient::sign_in(&pool).await;

    // Its attempt is repeated on a new connection.
    assert!(pool.generate().await.status().is_server_error());

    let page = admin.get_page("/status").await;
    assert!(page.contains("Cannot serve requests"), "{page}");
    assert!(page.contains("Google cannot be reached:"), "{page}");
}

#[tokio::test]
async fn refusals_are_neither_success_nor_failure() {
    let pool = TestPool::with_keys([FakeKey::healthy(FIRST, "projects/1")]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    assert_eq!(pool.generate().await.status(), 200);
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    let unknown = pool.client.post(format!("{}{path}", pool.url));
    let unknown = unknown.header("x-goog-api-key", "YOUR_CLIENT_KEY").send();
    assert_eq!(unknown.await.unwrap().status(), 401);
    pool.finished_rows(2).await;

    let page = admin.get_page("/status").await;

    assert!(page.contains("100 %"), "{page}");
    let failed = admin.get_page("/logs?outcome=failed").await;
    assert!(!failed.contains("YOUR_CLIENT_KEY"));
    assert!(failed.contains("No request matches"), "{failed}");
    pool.assert_sums_agree().await;
}
