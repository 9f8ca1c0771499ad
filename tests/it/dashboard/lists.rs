//! Lists keep themselves up to date, sort by what is used, and select several rows at once.

use std::time::Duration;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;

async fn pool() -> TestPool {
    let keys = (1..5).map(|number| {
        let secret = format!("AIza-key-of-the-lists-00000000{number}");
        FakeKey::healthy(secret, format!("projects/{number}"))
    });
    TestPool::with_keys(keys).await
}

#[tokio::test]
async fn rows_between_two_clicks_are_selected_and_actions_need_a_selection() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.open("/upstream-keys").await;
    let disabled = async || browser.texts(".bulk button:disabled").await.len();
    assert!(disabled().await > 5);
    browser
        .inject(
            "const boxes = document.querySelectorAll('[data-select]');
             boxes[0].click();
             boxes[2].dispatchEvent(new MouseEvent('click', {shiftKey: true, bubbles: true}));",
        )
        .await;
    assert_eq!(browser.texts("[data-select]:checked").await.len(), 3);
    assert_eq!(browser.texts("[data-selected-count]").await, ["3"]);
    assert_eq!(disabled().await, 0);
    browser
        .inject("document.querySelectorAll('[data-select]:checked').forEach(box => box.click())")
        .await;
    assert!(disabled().await > 5);
    browser.fill("scope", "all 4 that match").await;
    assert_eq!(disabled().await, 0);
}

#[tokio::test]
async fn a_phone_selects_all_keys_of_a_page() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.use_phone_size().await;
    for (path, rows) in [("/upstream-keys", 4), ("/client-keys", 1)] {
        browser.open(path).await;
        let selected = async || browser.texts("[data-select]:checked").await.len();
        browser.click(".select-page input").await;
        assert_eq!(selected().await, rows, "{path}");
        browser.wait_for_text(&format!("{rows} selected")).await;
        browser.click("[data-select]").await;
        assert_eq!(selected().await, rows - 1, "{path}");
        let all = browser.texts("[data-select-all]:checked").await;
        assert_eq!(all.len(), 0, "{path}: not all are selected");
    }
}

#[tokio::test]
async fn an_open_page_of_a_key_counts_its_requests() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.open("/client-keys").await;
    let count = "#client-key-list [data-label='Requests today']";
    assert_eq!(browser.texts(count).await, ["0"]);
    assert_eq!(pool.generate().await.status(), 200);
    browser
        .wait_until("the list is read again", async || {
            (browser.texts(count).await == ["1"]).then_some(())
        })
        .await;
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn client_keys_are_sorted_by_what_they_used_today() {
    let pool = pool().await;
    pool.add_client_key("gp_another-client-key-of-the-lists")
        .await;
    pool.record_past_request(Duration::ZERO).await;
    pool.settled().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let mut order = async |query: &str| {
        let page = admin.get_page(&format!("/client-keys{query}")).await;
        let links = page.split("data-row-link href=\"/client-keys/").skip(1);
        let ids = links.map(|link| link.split('"').next().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let by_requests = order("?sort=requests").await;
    assert_eq!(by_requests[0], "1");
    assert_eq!(by_requests.len(), 2);
    let by_name = order("").await;
    assert_eq!(by_name.len(), 2);
}
