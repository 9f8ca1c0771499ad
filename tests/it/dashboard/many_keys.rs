//! Many upstream keys are imported, searched, selected and changed at once, with and without JavaScript.

use std::fmt::Write;

use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use reqwest::Method;
use reqwest::header::LOCATION;

use crate::support::admin::AdminClient;
use crate::support::browser::{Browser, BrowserOptions};
use crate::support::{TIMEOUT, TestPool};

const JOBS: &str = "/upstream-keys/jobs/";

fn secret(number: usize) -> String {
    format!("AIzaSyOneOfTheKeysOfTheImport{number:010}")
}

/// A fake Google with `keys` valid keys, and a pool that contains the first of them.
async fn pool(keys: usize, check: &str) -> TestPool {
    let keys =
        (1..=keys).map(|number| FakeKey::healthy(secret(number), format!("projects/{number}")));
    let google = FakeGemini::start(FakeConfig::with_keys(keys))
        .await
        .unwrap();
    TestPool::with_upstream(google, vec![secret(1)], &[("check_new_keys", check)]).await
}

/// Pasted text: 500 keys, of which one is in the pool and one is repeated, and a line without a key.
fn pasted() -> String {
    let keys: Vec<_> = (1..=500).map(secret).collect();
    format!("{}\n{}\nhello\n", keys.join("\n"), secret(2))
}

/// Imports keys `key-001` to `key-120` of two projects with tags and priorities.
async fn add_120(admin: &mut AdminClient) {
    let mut text = "key,label,project,tags,priority\n".to_owned();
    for number in 1..=120 {
        let (project, tag) = match number % 3 {
            0 => ("team-a", "fast eu"),
            1 => ("team-a", "slow"),
            _ => ("team-b", "slow"),
        };
        let priority = number % 2;
        let secret = secret(number);
        writeln!(text, "{secret},key-{number:03},{project},{tag},{priority}").unwrap();
    }
    admin.get_page("/upstream-keys/import").await;
    let preview = admin
        .submit("/upstream-keys/import", &[("text", &text)])
        .await;
    let preview = preview.headers()[LOCATION].to_str().unwrap().to_owned();
    let job = admin.submit(&preview, &[("update", "on")]).await;
    let job = job.headers()[LOCATION].to_str().unwrap().to_owned();
    let page = admin.get_page(&job).await;
    assert!(
        page.contains("119 added, 0 restored, 1 already in the pool"),
        "{page}"
    );
}

/// The labels on a page of the list, from top to bottom.
fn labels(page: &str) -> Vec<String> {
    let rows = page.split("data-row-link href=\"").skip(1);
    let label = |row: &str| {
        row.split_once("\">")?
            .1
            .split_once('<')
            .map(|(label, _)| label.to_owned())
    };
    rows.filter_map(label).collect()
}

#[tokio::test]
async fn five_hundred_keys_are_imported_with_progress_and_listed() {
    let pool = pool(500, "on").await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.open("/upstream-keys").await;
    browser.click("Add keys").await;
    browser.fill("Keys", &pasted()).await;
    browser.click("Preview").await;

    browser.wait_for_text("Keys in this text").await;
    let counts = browser.texts(".stat .value").await;
    assert_eq!(counts, ["499", "0", "1", "1", "1"]);
    let source = browser.source().await;
    assert!(!source.contains(&secret(7)[..30]), "{source}");
    browser.click("Add 499 upstream keys").await;
    browser
        .wait_until("the job has a page", async || {
            browser
                .path_and_query()
                .await
                .starts_with(JOBS)
                .then_some(())
        })
        .await;
    browser
        .wait_for_text("499 added, 0 restored, 1 already in the pool")
        .await;
    browser.wait_for_text("All new keys are checked").await;
    browser.click("Show the newest keys").await;
    browser.wait_for_text("1–50 of 500").await;
    browser.click("Next").await;
    browser.wait_for_text("51–100 of 500").await;
    browser.fill("q", "0123").await;
    browser.click("Search").await;
    browser.wait_for_text("1–1 of 1").await;
    assert_eq!(browser.texts("a[data-row-link]").await, ["key-0123"]);
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn selected_keys_are_deleted_and_restored_in_a_browser() {
    let pool = pool(120, "off").await;
    let mut admin = AdminClient::sign_in(&pool).await;
    add_120(&mut admin).await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.open("/upstream-keys?sort=-label").await;

    browser.click("[data-select-all]").await;
    browser.wait_for_text("50 selected").await;
    browser.click("Delete…").await;
    browser.wait_for_text("key-071").await;
    browser.wait_for_text("and 38 more").await;
    browser.click("Delete 50 upstream keys").await;
    browser.wait_for_text("50 upstream keys deleted").await;
    browser.wait_for_text("of 70").await;
    browser.click("Undo").await;
    browser.wait_for_text("50 changes undone").await;
    browser.wait_for_text("of 120").await;
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn keys_are_imported_and_tagged_without_javascript() {
    let pool = pool(500, "on").await;
    let options = BrowserOptions {
        javascript: false,
        language: "zh-TW",
    };
    let Some(browser) = Browser::start_with(&pool, options).await else {
        return;
    };
    browser.sign_in().await;
    browser.open("/upstream-keys/import").await;
    browser.fill("text", &pasted()).await;
    browser.click("預覽").await;
    browser.wait_for_text("文字中的金鑰").await;
    browser.fill("project", "team").await;
    browser.click(".card .primary").await;
    browser
        .wait_until("the import is over", async || {
            browser.reload().await;
            let text = browser.text().await;
            text.contains("新增 499 個").then_some(())
        })
        .await;

    browser.open("/upstream-keys?q=0123").await;
    browser.click("[name=id]").await;
    browser.click("[value=tag]").await;
    browser.fill("add_tags", "快速").await;
    browser.click(".card .primary").await;
    browser.wait_for_text("已變更 1 個上游金鑰").await;
    browser.open("/upstream-keys?tag=快速").await;
    browser.wait_for_text("第 1–1 個，共 1 個").await;
}

#[tokio::test]
async fn the_list_is_filtered_sorted_and_paged() {
    let pool = pool(120, "off").await;
    let mut admin = AdminClient::sign_in(&pool).await;
    add_120(&mut admin).await;

    for (query, message, first) in [
        ("", "1–50 of 120", "key-001"),
        ("?page=3", "101–120 of 120", "key-101"),
        ("?page=99", "101–120 of 120", "key-101"),
        ("?sort=-label", "1–50 of 120", "key-120"),
        ("?sort=-priority&page=2", "51–100 of 120", "key-019"),
        ("?q=key-01", "1–10 of 10", "key-010"),
        ("?q=TEAM-B+slow", "1–40 of 40", "key-002"),
        ("?project=team-a", "1–50 of 80", "key-001"),
        ("?tag=eu&priority=1", "1–20 of 20", "key-003"),
        ("?state=ready&tag=fast", "1–40 of 40", "key-003"),
        (
            "?sort=nonsense&state=asleep&priority=x",
            "1–50 of 120",
            "key-001",
        ),
    ] {
        let page = admin.get_page(&format!("/upstream-keys{query}")).await;
        assert!(page.contains(message), "{query}: {page}");
        assert_eq!(labels(&page)[0], first, "{query}");
    }
    for query in ["?q=nobody", "?state=invalid", "?billing=paid", "?failing=1"] {
        let page = admin.get_page(&format!("/upstream-keys{query}")).await;
        assert!(page.contains("No key matches"), "{query}: {page}");
        assert_eq!(labels(&page), [""; 0]);
    }
}

#[tokio::test]
async fn an_action_on_all_matches_changes_only_the_confirmed_keys() {
    let pool = pool(120, "off").await;
    let mut admin = AdminClient::sign_in(&pool).await;
    add_120(&mut admin).await;
    let bulk = "/upstream-keys/bulk";
    let back = ("back", "/upstream-keys?tag=eu");
    let delete = [("action", "delete"), ("scope", "all"), back];
    let confirmation = admin.submit(bulk, &delete).await.text().await.unwrap();
    assert!(
        confirmation.contains("Delete 40 upstream keys"),
        "{confirmation}"
    );
    let matched = confirmation
        .split("name=\"matched\" value=\"")
        .nth(1)
        .unwrap();
    let matched = matched.split('"').next().unwrap();

    let tag = [
        ("action", "tag"),
        ("id", "1"),
        ("add_tags", "eu"),
        ("confirmed", "1"),
    ];
    assert_eq!(admin.submit(bulk, &tag).await.status(), 303);
    let confirmed = [&delete[..], &[("confirmed", "1"), ("matched", matched)]].concat();
    assert_eq!(admin.submit(bulk, &confirmed).await.status(), 303);

    let page = admin.get_page("/upstream-keys?tag=eu").await;
    assert!(page.contains("40 upstream keys deleted"), "{page}");
    assert_eq!(labels(&page), ["key-001"]);
    assert_eq!(pool.keys().await.len(), 80);
}

#[tokio::test]
async fn an_expired_confirmation_requires_a_new_one_for_the_current_matches() {
    let pool = pool(120, "off").await;
    let mut admin = AdminClient::sign_in(&pool).await;
    add_120(&mut admin).await;
    let bulk = "/upstream-keys/bulk";
    let forgotten = [
        ("action", "delete"),
        ("scope", "all"),
        ("back", "/upstream-keys?tag=eu"),
        ("confirmed", "1"),
        ("matched", "00000000000000ab"),
    ];

    let confirmation = admin.submit(bulk, &forgotten).await;

    assert_eq!(confirmation.status(), 409);
    let confirmation = confirmation.text().await.unwrap();
    assert!(
        confirmation.contains("Nothing was changed"),
        "{confirmation}"
    );
    assert!(
        confirmation.contains("Delete 40 upstream keys"),
        "{confirmation}"
    );
    assert_eq!(pool.keys().await.len(), 120);
}

#[tokio::test]
async fn the_live_updates_of_a_finished_job_end_and_a_reconnect_gets_204() {
    let keys = (1..=2).map(|number| FakeKey::healthy(secret(number), format!("projects/{number}")));
    let pool = TestPool::with_keys(keys).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    admin.get_page("/upstream-keys").await;
    let test = [("action", "test"), ("scope", "all"), ("confirmed", "1")];
    let started = admin.submit("/upstream-keys/bulk", &test).await;
    let job = started.headers()[LOCATION].to_str().unwrap().to_owned();
    let live = format!("{job}/live");

    let message = admin.request(Method::GET, &live).send().await.unwrap();
    let message = tokio::time::timeout(TIMEOUT, message.text()).await.unwrap();
    let message = message.unwrap();

    assert!(message.contains("2 of 2"), "{message}");
    assert!(message.contains("id: 1"), "{message}");
    assert!(message.contains("event: end"), "{message}");
    let again = admin.request(Method::GET, &live);
    let again = again.header("last-event-id", "1").send().await.unwrap();
    assert_eq!(again.status(), 204);
}

#[tokio::test]
async fn a_server_stop_ends_the_live_updates_of_a_job_and_its_page_reports_the_interruption() {
    let slow = FakeKey::new(secret(1), "projects/1", Behaviour::SlowFirstByte(60_000));
    let pool = TestPool::with_keys([slow]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    admin.get_page("/upstream-keys").await;
    let test = [("action", "test"), ("scope", "all"), ("confirmed", "1")];
    let started = admin.submit("/upstream-keys/bulk", &test).await;
    let job = started.headers()[LOCATION].to_str().unwrap().to_owned();
    assert!(job.starts_with(JOBS), "{job}");
    let page = admin.get_page(&job).await;
    assert!(page.contains("Test of 1 upstream key"), "{page}");
    let live = admin.request(Method::GET, &format!("{job}/live"));
    let mut live = live.send().await.unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    assert!(live.chunk().await.unwrap().is_some());

    pool.begin_stop();
    let ends = async { while let Ok(Some(_)) = live.chunk().await {} };
    tokio::time::timeout(TIMEOUT / 4, ends).await.unwrap();
    let pool = pool.restart().await;

    let admin = AdminClient::sign_in(&pool).await;
    let gone = admin.request(Method::GET, &job).send().await.unwrap();
    assert_eq!(gone.status(), 404);
    let page = gone.text().await.unwrap();
    assert!(
        page.contains("A restart interrupts a running job"),
        "{page}"
    );
    let live = admin.request(Method::GET, &format!("{job}/live"));
    assert_eq!(live.send().await.unwrap().status(), 404);
}
