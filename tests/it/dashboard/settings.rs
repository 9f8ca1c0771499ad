//! Settings are changed, undone and reset in the dashboard, apply to the next request, and are listed in the audit.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::settings::DEFINITIONS;
use reqwest::header::LOCATION;

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;

const SECRET: &str = "AIza-key-that-no-page-may-show-01";

async fn pool() -> TestPool {
    TestPool::with_keys([FakeKey::healthy(SECRET, "projects/1")]).await
}

/// The response status of a request of 2,000 bytes.
async fn send_request(pool: &TestPool) -> u16 {
    let text = "a".repeat(2_000);
    let body = format!(r#"{{"contents": [{{"parts": [{{"text": "{text}"}}]}}]}}"#);
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    let answer = pool.post(path, &body).send().await.unwrap();
    answer.status().as_u16()
}

/// The path of the undo form in the notice of a page.
fn undo_in(page: &str) -> String {
    let (_, rest) = page.split_once(r#"action="/settings/undo"#).unwrap();
    let rest = rest.split('"').next().unwrap();
    format!("/settings/undo{}", rest.replace("&amp;", "&"))
}

#[tokio::test]
async fn a_changed_setting_applies_to_the_next_request_and_is_undone_with_one_click() {
    let pool = pool().await;
    let Some(browser) = Browser::without_javascript(&pool).await else {
        return;
    };
    browser.sign_in().await;
    assert_eq!(send_request(&pool).await, 200);

    browser.click("Settings").await;
    browser.wait_for_text("Requests and retries").await;
    browser.fill("Max request size", "a lot").await;
    browser.click("Save: Requests and retries").await;
    browser
        .wait_for_text("Enter 1 KiB to 64 GiB, for example “150 MiB”")
        .await;
    assert_eq!(send_request(&pool).await, 200);
    browser.fill("Max request size", "1 kb").await;
    browser.click("Save: Requests and retries").await;
    browser
        .wait_for_text("Max request size: 150 MiB → 1 KiB")
        .await;
    assert_eq!(send_request(&pool).await, 413);

    browser.click("Undo").await;
    browser
        .wait_for_text("Max request size: 1 KiB → 150 MiB")
        .await;
    assert_eq!(send_request(&pool).await, 200);
    browser.click("Undo").await;
    browser
        .wait_for_text("Max request size: 150 MiB → 1 KiB")
        .await;
    assert_eq!(send_request(&pool).await, 413);

    browser.click("Reset to default: Max request size").await;
    browser
        .wait_for_text("Max request size: 1 KiB → 150 MiB")
        .await;
    assert_eq!(send_request(&pool).await, 200);
    browser.click("History: Max request size").await;
    browser.wait_for_text("Restore 1 KiB").await;
    browser.click("Restore 1 KiB").await;
    browser
        .wait_for_text("Max request size: 150 MiB → 1 KiB")
        .await;
    assert_eq!(send_request(&pool).await, 413);

    browser.click("Audit").await;
    browser.wait_for_text("127.0.0.1").await;
    browser.click("Max request size").await;
    browser.wait_for_path("/settings/max_request_bytes").await;
    browser.open("/settings?q=browser+origin").await;
    browser.wait_for_text("CORS allowed origin").await;
    assert!(!browser.text().await.contains("Max request size"));
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn an_invalid_value_is_reported_at_its_field_and_changes_nothing() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let before = pool.app.settings();
    for (name, value, message) in [
        ("max_attempts", "0", "Enter a whole number: 1 to 100"),
        ("max_attempts", "<many>", "&lt;many&gt;"),
        ("connect_timeout_ms", "2 days", "Enter 100 ms to 1 d"),
        ("connect_timeout_ms", " ", "for example “10 s”"),
        ("max_held_bytes", "1 KiB", "Enter 1 MiB to 1 TiB"),
        ("log_retention_days", "-1", "Enter 0 days to 36,500 days"),
        ("upstream_http2", "maybe", "On or off"),
        ("body_log_mode", "some", "off, errors, all"),
        ("day_zone", "Asia/Atlantis", "A time zone, for example"),
        ("check_model", "../x", "A model name"),
        ("cors_allow_origin", "a b", "*, one origin, or blank"),
    ] {
        for path in ["/settings".to_owned(), format!("/settings/{name}")] {
            let fields = [("max_keys_per_request", "9"), (name, value)];
            let answer = admin.submit(&path, &fields).await;

            assert_eq!(answer.status(), 422, "{path} {name}: {value}");
            let page = answer.text().await.unwrap();
            assert!(page.contains(message), "{path} {name}: {value}: {page}");
            assert_eq!(*pool.app.settings(), *before, "{path} {name}: {value}");
        }
    }
    let missing = admin.submit("/settings/no_such", &[]).await;
    assert_eq!(missing.status(), 404);
}

#[tokio::test]
async fn later_changes_by_others_are_not_undone() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let form = [("max_attempts", "5"), ("was.max_attempts", "4")];
    let answer = admin.submit("/settings", &form).await;
    assert_eq!(answer.headers()[LOCATION], "/settings");
    let undo = undo_in(&admin.get_page("/settings").await);

    // A page opened before the change submits its original value.
    let stale = [
        ("max_attempts", "4"),
        ("was.max_attempts", "4"),
        ("idle_timeout_ms", "2 min"),
        ("was.idle_timeout_ms", "300000"),
    ];
    admin.submit("/settings", &stale).await;
    assert_eq!(pool.app.settings().max_attempts, 5);
    assert_eq!(pool.app.settings().idle_timeout_ms, 120_000);
    let form = [("max_attempts", "6"), ("was.max_attempts", "5")];
    admin.submit("/settings/max_attempts", &form).await;
    let undone = admin.submit(&undo, &[]).await;

    assert_eq!(undone.status(), 303);
    assert_eq!(pool.app.settings().max_attempts, 6);
    let page = admin.get_page("/settings").await;
    assert!(page.contains("Not undone"), "{page}");
    for (path, fields) in [
        ("/settings/undo?revision=0", &[][..]),
        ("/settings/max_attempts/back", &[("change", "1")]),
        ("/settings/max_attempts/back", &[("change", "99999")]),
    ] {
        let answer = admin.submit(path, fields).await;
        assert_eq!(answer.status(), 404, "{path} {fields:?}");
    }
    let nowhere = [("back", "https://elsewhere.example")];
    let reset = admin.submit("/settings/max_attempts/reset", &nowhere).await;
    assert!(reset.headers()[LOCATION].as_bytes().starts_with(b"/"));
    assert_eq!(pool.app.settings().max_attempts, 4);
}

#[tokio::test]
async fn every_setting_can_be_saved_as_it_is_shown() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let before = pool.app.settings();

    let page = admin.get_page("/settings").await;
    for definition in DEFINITIONS {
        let field = format!(r#"name="{}""#, definition.name);
        assert_eq!(page.matches(&field).count(), 1, "{field}");
        let single = admin
            .get_page(&format!("/settings/{}", definition.name))
            .await;
        let shown = single.split(&field).nth(1).unwrap();
        let shown = shown.split_once(r#"value=""#).unwrap().1;
        let shown = shown.split('"').next().unwrap().to_owned();
        if shown != "on" && shown != "off" {
            admin
                .submit("/settings", &[(definition.name, &shown)])
                .await;
            assert_eq!(*pool.app.settings(), *before, "{field}: {shown}");
        }
    }
}

#[tokio::test]
async fn the_audit_lists_every_change_without_secrets() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    admin.submit("/settings", &[("max_attempts", "5")]).await;
    let made = admin.submit("/client-keys", &[("name", "notebook")]).await;
    let made = made.headers()[LOCATION].to_str().unwrap().to_owned();
    let secret = admin.get_page(&made).await;
    let (_, secret) = secret.split_once(r#"id="secret""#).unwrap();
    let (_, secret) = secret.split_once("<code>").unwrap();
    let secret = secret.split('<').next().unwrap().to_owned();
    assert!(secret.len() > 20, "{secret}");

    let all = admin.get_page("/audit").await;
    for message in [
        "admin:admin",
        "127.0.0.1",
        "notebook",
        "Max attempts per request",
        "4 → 5",
        "signed in",
    ] {
        assert!(all.contains(message), "{message}: {all}");
    }
    assert!(!all.contains(&secret) && !all.contains(SECRET), "{all}");
    for (filter, is_there, is_not) in [
        ("subject=setting", "4 → 5", "notebook"),
        ("subject=client_key&action=create", "notebook", "4 → 5"),
        ("actor=admin:admin&action=sign_in", "signed in", "4 → 5"),
        (
            "subject=setting&name=max_attempts",
            "4 → 5",
            "commit_wait_ms",
        ),
        (
            "from=2000-01-01&to=2999-01-01",
            "4 → 5",
            "No change matches",
        ),
        ("from=2999-01-01", "No change matches", "4 → 5"),
        ("actor=nobody", "No change matches", "4 → 5"),
        ("older=1", "No change matches", "4 → 5"),
        (
            "from=soon&id=x&action=y&older=99999",
            "4 → 5",
            "No change matches",
        ),
    ] {
        let page = admin.get_page(&format!("/audit?{filter}")).await;
        let (_, rows) = page.split_once(r#"role="search""#).unwrap();
        let (_, rows) = rows.split_once("</form>").unwrap();
        assert!(rows.contains(is_there), "{filter}: {rows}");
        assert!(!rows.contains(is_not), "{filter}: {rows}");
    }
}

#[tokio::test]
async fn the_audit_has_links_to_older_and_newer_pages() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    for turn in 0..60_u32 {
        let value = (turn % 50 + 5).to_string();
        admin.submit("/settings", &[("max_attempts", &value)]).await;
    }
    let link = |page: &str, rel: &str| {
        let (before, _) = page.split_once(&format!(r#"rel="{rel}""#))?;
        let href = before.rsplit_once(r#"href=""#)?.1.split('"').next()?;
        Some(href.replace("&amp;", "&"))
    };

    for path in ["/audit?subject=setting", "/settings/max_attempts"] {
        let newest = admin.get_page(path).await;
        assert_eq!(link(&newest, "prev"), None);
        let older = admin.get_page(&link(&newest, "next").unwrap()).await;
        assert!(
            older.contains("4 → ") || older.contains("4 → <strong>5"),
            "{older}"
        );
        let back = admin.get_page(&link(&older, "prev").unwrap()).await;
        let rows = |page: &str| page.matches("<tr>").count();
        assert_eq!((rows(&newest), rows(&back)), (51, 51), "{path}");
        assert!(rows(&older) >= 11, "{path}");
    }
}
