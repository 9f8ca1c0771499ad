//! Alert targets are created, tested, changed and deleted on their page, and no secret is shown again.

use gemini_pool::storage::alert_targets::{self, AlertLanguage};
use gemini_pool::storage::audit::{self, AuditFilter};

use crate::alerts::receivers::Receiver;
use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;

const EVENTS: [(&str, &str); 2] = [("event", "no_key"), ("event", "disk_low")];

#[tokio::test]
async fn the_secrets_of_a_target_are_shown_once_and_never_again() {
    let pool = TestPool::with_keys([]).await;
    let receiver = Receiver::start().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    assert!(admin.get_page("/alerts").await.contains("No targets yet"));
    let url = format!("{}/the-secret-path-of-the-hook", receiver.url);

    let mut fields = vec![("kind", "webhook"), ("name", "ops"), ("url", &url)];
    fields.extend(EVENTS);
    let created = admin.submit("/alerts/targets", &fields).await;
    assert_eq!(created.status(), 303);
    assert_eq!(created.headers()["location"], "/alerts/targets/1/created");
    let page = admin.get_page("/alerts/targets/1/created").await;
    let target = alert_targets::list(&pool.app.db).await.unwrap().remove(0);
    let secret = target.terms.secret.expose();
    assert!(
        secret.starts_with("whsec_") && page.contains(secret),
        "{page}"
    );
    assert_eq!(target.terms.events.len(), 2);

    // A receiver that repeats what it got.
    receiver.answer(500);
    assert_eq!(
        admin.submit("/alerts/targets/1/test", &[]).await.status(),
        303
    );
    let page = admin.get_page("/alerts").await;
    assert!(page.contains("failed: status 500: no: …"), "{page}");
    receiver.answer(200);
    admin.submit("/alerts/targets/1/test", &[]).await;
    let page = admin.get_page("/alerts").await;
    assert!(page.contains("Test message sent to ops"), "{page}");
    assert_eq!(receiver.take()[1].body["type"], "alert.test");
    let mut pages = vec![page];
    for path in [
        "/alerts/targets/1/created",
        "/alerts/targets/1/edit",
        "/audit",
        "/alerts",
    ] {
        pages.push(admin.get_page(path).await);
    }
    let changes = audit::list(&pool.app.db.readers, &AuditFilter::default(), None, 100).await;
    pages.push(format!("{:?}", changes.unwrap().items));
    for page in pages {
        assert!(
            !page.contains(secret) && !page.contains("the-secret-path"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_form_is_checked_and_blank_secrets_are_kept_for_the_same_server_only() {
    let pool = TestPool::with_keys([]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    for (field, value) in [
        ("name", ""),
        ("address", "nobody"),
        ("sender", "a b"),
        ("host", "no host"),
        ("port", "0"),
        ("security", "smtp"),
        ("secret", ""),
        ("quiet_to", "22:00"),
        ("event", "unknown"),
    ] {
        let fields = mail(field, value);
        let refused = admin.submit("/alerts/targets", &fields).await;
        assert_eq!(refused.status(), 422, "{field}");
    }
    let created = admin.submit("/alerts/targets", &mail("", "")).await;
    assert_eq!(created.headers()["location"], "/alerts");
    let target = async || {
        let targets = alert_targets::list(&pool.app.db).await;
        targets.unwrap().remove(0)
    };
    let first = target().await.terms;
    assert_eq!(
        first.server.as_deref(),
        Some("smtp+starttls://ops@mail.example.com:587")
    );
    assert!(first.quiet.is_some());

    let edit = "/alerts/targets/1/edit";
    let page = admin.get_page(edit).await;
    assert!(!page.contains("a-long-password"), "{page}");
    let moved: Vec<_> = mail("host", "other.example.com");
    let moved: Vec<_> = moved
        .into_iter()
        .filter(|field| field.0 != "secret")
        .collect();
    assert_eq!(admin.submit(edit, &moved).await.status(), 422);
    let renamed: Vec<_> = mail("name", "mail 2");
    let renamed: Vec<_> = renamed
        .into_iter()
        .filter(|field| field.0 != "secret")
        .collect();
    assert_eq!(admin.submit(edit, &renamed).await.status(), 303);
    assert_eq!(target().await.terms.secret, first.secret);
    assert_eq!(target().await.terms.name, "mail 2");

    // Another zone of the account changes no quiet hours.
    admin
        .submit("/account/zone", &[("zone", "Asia/Taipei")])
        .await;
    let page = admin.get_page(edit).await;
    assert!(page.contains("Times in UTC"), "{page}");
    assert_eq!(admin.submit(edit, &renamed).await.status(), 303);
    let kept = target().await.terms;
    assert_eq!((kept.zone, kept.quiet), (first.zone, first.quiet));

    admin.submit("/alerts/targets/1/disable", &[]).await;
    assert!(!target().await.enabled);
    admin.submit("/alerts/targets/1/enable", &[]).await;
    assert!(target().await.enabled);
    assert_eq!(
        admin.submit("/alerts/targets/1/delete", &[]).await.status(),
        303
    );
    assert!(alert_targets::is_empty(&pool.app.db.readers).await.unwrap());
    let page = admin.get_page("/audit").await;
    assert!(
        page.contains("alert target") && page.contains("mail 2"),
        "{page}"
    );
}

/// The fields of a mail target, of which one is changed.
fn mail<'a>(changed: &str, value: &'a str) -> Vec<(&'static str, &'a str)> {
    let fields = [
        ("kind", "email"),
        ("name", "mail"),
        ("address", "ops@example.com"),
        ("sender", "pool@example.com"),
        ("host", "mail.example.com"),
        ("port", "587"),
        ("security", "smtp+starttls"),
        ("user", "ops"),
        ("secret", "a-long-password"),
        ("quiet_from", "22:00"),
        ("quiet_to", "07:00"),
        ("event", "no_key"),
    ];
    let fields = fields.into_iter();
    fields
        .map(|(name, known)| (name, if name == changed { value } else { known }))
        .collect()
}

#[tokio::test]
async fn a_target_is_added_and_deleted_in_a_browser() {
    let pool = TestPool::with_keys([]).await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;

    browser.open("/alerts").await;
    browser.wait_for_text("No targets yet").await;
    browser.click("New target").await;
    browser.click("Telegram").await;
    browser.wait_for_text("Token of the bot").await;
    browser.fill("Name", "ops chat").await;
    browser
        .fill("Token of the bot", "123456:a-token-of-a-bot")
        .await;
    browser.fill("Chat", "-1001").await;
    browser.click("Create target").await;
    browser.wait_for_text("ops chat created").await;
    browser.click("Edit").await;
    browser
        .inject("document.querySelector('#language').value = 'zh-Hant-TW'")
        .await;
    browser.click("Save").await;
    browser.wait_for_text("ops chat saved").await;
    let targets = alert_targets::list(&pool.app.db).await.unwrap();
    let language = targets[0].terms.language;
    assert_eq!(language, AlertLanguage::TraditionalChinese);
    browser.click("Delete…").await;
    browser.click("Delete target").await;
    browser.wait_for_text("ops chat deleted").await;
    browser.wait_for_text("No targets yet").await;
    assert_eq!(browser.console_errors().await, [""; 0]);
}
