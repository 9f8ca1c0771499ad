//! Charts are explored by pointer, touch and keyboard, and lead to the requests they count.

use std::time::Duration;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;

/// A pool with requests of the last hours.
async fn pool() -> TestPool {
    let key = FakeKey::healthy("AIza-key-of-the-charts-000000001", "projects/1");
    let pool = TestPool::with_keys([key]).await;
    for hours in [2, 2, 3, 5] {
        pool.record_past_request(Duration::from_hours(hours)).await;
    }
    pool.settled().await;
    pool
}

async fn wait_for_chart(browser: &Browser) {
    browser
        .wait_until("the chart can be explored", async || {
            let charts = browser.texts("#outcomes.is-explored").await;
            (charts.len() == 1).then_some(())
        })
        .await;
}

/// A point of the drawing after this share of its time.
async fn point(browser: &Browser, share: f64) -> (f64, f64) {
    let [left, top, width, height] = browser.place("#outcomes .u-over").await;
    (left + width * share, top + height * 0.5)
}

#[tokio::test]
async fn the_keyboard_reads_a_chart_and_opens_its_requests() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.open("/status").await;
    wait_for_chart(&browser).await;
    let focus = "document.querySelector('#outcomes .explored').focus()";
    browser.inject(focus).await;
    // The running hour, and the two before it.
    for _ in 0..3 {
        browser.press("ArrowLeft").await;
    }
    let said = browser.texts("#outcomes [aria-live]").await.remove(0);
    assert!(said.contains("success: 2"), "{said}");
    let shown = browser.texts("#outcomes .tip div").await;
    assert!(shown.contains(&"success: 2".to_owned()), "{shown:?}");
    // From all series to the first one.
    browser.press("ArrowUp").await;
    browser.press("Enter").await;
    browser.wait_for_path("/logs").await;
    let target = browser.path_and_query().await;
    assert!(
        target.contains("from=") && target.contains("to=") && target.contains("outcome=success"),
        "{target}"
    );
    let rows = browser.texts(".logs tbody tr").await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn the_pointer_reads_zooms_and_opens_and_the_zoom_stays_while_the_page_is_live() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.open("/status").await;
    wait_for_chart(&browser).await;
    let begin = point(&browser, 0.5).await;
    browser.move_mouse(begin, false).await;
    let shown = browser.texts("#outcomes .tip:not([hidden]) div").await;
    assert_eq!(shown.len(), 5, "every series at once: {shown:?}");

    browser.mouse_button(begin, true).await;
    let end = point(&browser, 0.9).await;
    browser.move_mouse(end, true).await;
    browser.mouse_button(end, false).await;
    browser.wait_for_text("Whole period").await;
    // A part of the page is replaced when its content changes.
    assert_eq!(pool.generate().await.status(), 200);
    let total = async || browser.texts("#outcomes figcaption span").await;
    browser
        .wait_until("the chart is updated", async || {
            (total().await == ["5"]).then_some(())
        })
        .await;
    assert!(browser.text().await.contains("Whole period"));
    browser.click("Show these requests").await;
    browser.wait_for_path("/logs").await;
    let rows = browser.texts(".logs tbody tr").await;
    assert_eq!(rows.len(), 4, "all but the running hour: {rows:?}");
    assert_eq!(browser.console_errors().await, [""; 0]);

    browser.open("/status").await;
    wait_for_chart(&browser).await;
    let point = point(&browser, 22.5 / 24.0).await;
    browser.tap(point).await;
    browser
        .wait_until("a touch shows the values and a link", async || {
            let links = browser.texts("#outcomes .tip:not([hidden]) a").await;
            (links == ["Show these requests"]).then_some(())
        })
        .await;
    assert_eq!(browser.path_and_query().await, "/status");
}

#[tokio::test]
async fn pages_with_charts_have_their_drawings_without_a_script_and_the_scripts_of_their_policy() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    for path in [
        "/status",
        "/usage",
        "/usage?by=time&span=90d",
        "/upstream-keys/1",
        "/client-keys/1",
    ] {
        let page = admin.get_page(path).await;
        assert!(page.contains("<svg class=\"plot\""), "{path}");
        assert!(page.contains("src=\"/assets/uplot."), "{path}");
        assert!(!page.contains("style="), "{path}");
    }
}
