//! An admin sends a request from the dashboard: what holds for the client holds for it.

use std::cell::Cell;

use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::audit::{self, Action, AuditFilter};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response};

use super::status::{FIRST, SECOND, empty_pool};
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;
use crate::support::{CLIENT_ID, TestPool};

const KEY: &str = "AIza-key-of-the-tried-requests-01";
const TEXT: &str = "Why is the sea salty?";
const FORM: [(&str, &str); 3] = [
    ("client", "1"),
    ("model", "gemini-2.5-flash"),
    ("text", TEXT),
];

async fn pool() -> TestPool {
    TestPool::with_keys([FakeKey::healthy(KEY, "projects/1")]).await
}

async fn page_of(response: Response, status: u16) -> String {
    assert_eq!(response.status(), status);
    response.text().await.unwrap()
}

#[tokio::test]
async fn a_request_is_answered_logged_and_audited_on_every_surface() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    for surface in ["gemini", "openai", "interactions"] {
        for stream in [&[][..], &[("stream", "on")]] {
            let fields = [&FORM[..], &[("surface", surface)], stream].concat();
            let page = page_of(admin.submit("/try", &fields).await, 200).await;

            let row = pool.rows().await.pop().unwrap();
            assert_eq!(row.outcome, Some(Outcome::Success), "{surface}: {page}");
            assert_eq!(row.client_key_id, Some(CLIENT_ID), "{surface}");
            assert_eq!(row.streamed, !stream.is_empty(), "{surface}");
            assert_eq!(row.user_agent.as_deref(), Some("gemini-pool dashboard"));
            assert!(
                page.contains(&format!("/logs/{}", row.id)),
                "{surface}: {page}"
            );
            assert!(page.contains("data-try-text"), "{surface}: {page}");
            assert!(page.contains("Attempt 1"), "{surface}: {page}");
            assert!(!page.contains(KEY), "{surface}: {page}");
            for snippet in ["curl", "Python", "JavaScript", "Go"] {
                assert!(page.contains(&format!(">{snippet}<")), "{snippet}: {page}");
            }
        }
    }
    let changes = audit::list(pool.settled().await, &AuditFilter::default(), None, 100).await;
    let tried: Vec<_> = changes.unwrap().items;
    let tried: Vec<_> = tried
        .iter()
        .filter(|change| change.action == Action::Try)
        .collect();
    assert_eq!(tried.len(), 6);
    assert_eq!(tried[0].name, "env-1");
    assert!(!format!("{tried:?}").contains("salty"), "{tried:?}");
    assert!(admin.get_page("/audit").await.contains("tried"));
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn limits_and_scopes_of_the_client_key_apply() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    pool.allow(|terms| {
        terms.models = vec!["gemini-2.5-flash".to_owned()];
        terms.limits.requests_per_day = Some(1);
    })
    .await;
    let other = [("client", "1"), ("model", "gemini-2.5-pro"), ("text", TEXT)];

    let refused = page_of(admin.submit("/try", &other).await, 200).await;
    let first = page_of(admin.submit("/try", &FORM).await, 200).await;
    let limited = page_of(admin.submit("/try", &FORM).await, 200).await;
    pool.allow(|terms| {
        terms.limits.requests_per_day = None;
        terms.addresses = vec!["192.0.2.0/24".to_owned()];
    })
    .await;
    let elsewhere = page_of(admin.submit("/try", &FORM).await, 200).await;

    assert!(
        refused.contains("may not use the model gemini-2.5-pro"),
        "{refused}"
    );
    assert!(first.contains("data-try-text"), "{first}");
    assert!(
        limited.contains("has sent 1 request today and may send 1"),
        "{limited}"
    );
    assert!(
        elsewhere.contains("may not be used from 127.0.0.1"),
        "{elsewhere}"
    );
    let outcomes: Vec<_> = pool
        .rows()
        .await
        .iter()
        .map(|row| row.outcome.unwrap())
        .collect();
    let refused = Outcome::Refused;
    assert_eq!(outcomes, [refused, Outcome::Success, refused, refused]);
    assert_eq!(pool.google.requests(), 1);
}

#[tokio::test]
async fn a_chosen_upstream_key_alone_serves_the_request() {
    let keys = [
        FakeKey::healthy(KEY, "projects/1"),
        FakeKey::healthy(FIRST, "projects/2"),
        FakeKey::new(SECOND, "projects/3", Behaviour::Leaked),
    ];
    let pool = TestPool::with_keys(keys).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    for _ in 0..3 {
        for id in ["1", "2"] {
            let fields = [&FORM[..], &[("upstream_key", id)]].concat();
            page_of(admin.submit("/try", &fields).await, 200).await;
            let row = pool.rows().await.pop().unwrap();
            assert_eq!(
                row.upstream_key_id.map(|key| key.0.to_string()).as_deref(),
                Some(id)
            );
        }
    }
    let asked = pool.google.requests();
    let leaked = [&FORM[..], &[("upstream_key", "3")]].concat();

    let page = page_of(admin.submit("/try", &leaked).await, 200).await;

    let row = pool.rows().await.pop().unwrap();
    assert_eq!((row.attempts, row.status), (1, Some(503)), "{page}");
    assert_eq!(pool.google.requests(), asked + 1);
    // By now the pool does not use it at all.
    page_of(admin.submit("/try", &leaked).await, 200).await;
    assert_eq!(pool.google.requests(), asked + 1);
    let unknown = [&FORM[..], &[("upstream_key", "99")]].concat();
    let page = page_of(admin.submit("/try", &unknown).await, 422).await;
    assert!(page.contains("No upstream key has this number"), "{page}");
}

#[tokio::test]
async fn a_request_from_elsewhere_is_refused() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let page = admin.get_page("/try").await;
    let token = page.split("name=\"csrf\" value=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap().to_owned();
    let multipart = |fields: &[(&str, &str)]| {
        let parts = fields.iter().map(|(name, value)| {
            format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        });
        parts.collect::<String>() + "--b--\r\n"
    };
    let post = |body: String, site: &'static str| {
        admin
            .request(Method::POST, "/try")
            .header(CONTENT_TYPE, "multipart/form-data; boundary=b")
            .header("sec-fetch-site", site)
            .body(body)
            .send()
    };
    let complete = multipart(&[&FORM[..], &[("csrf", &token)]].concat());

    let without = post(multipart(&FORM), "same-origin").await.unwrap();
    let foreign = post(complete.clone(), "cross-site").await.unwrap();
    assert_eq!([without.status(), foreign.status()], [403, 403]);
    assert_eq!(pool.google.requests(), 0);
    assert!(pool.rows().await.is_empty());

    let own = post(complete, "same-origin").await.unwrap();
    assert_eq!(own.status(), 200);
    assert_eq!(pool.google.requests(), 1);
}

#[tokio::test]
async fn a_script_gets_the_text_as_it_arrives() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let page = admin.get_page("/try").await;
    let token = page.split("name=\"csrf\" value=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap();
    let fields = [&FORM[..], &[("stream", "on"), ("csrf", token)]].concat();
    let request = admin.request(Method::POST, "/try");
    let mut request = crate::support::admin::with_form(request, &fields)
        .build()
        .unwrap();
    request
        .headers_mut()
        .insert(ACCEPT, "text/event-stream".parse().unwrap());

    let answer = pool.client.execute(request).await.unwrap();

    assert_eq!(answer.headers()[CONTENT_TYPE], "text/event-stream");
    let events = answer.text().await.unwrap();
    let events: Vec<serde_json::Value> = events
        .split("\n\n")
        .filter_map(|event| serde_json::from_str(event.strip_prefix("data: ")?).ok())
        .collect();
    let (last, texts) = events.split_last().unwrap();
    assert!(texts.len() > 1, "{events:?}");
    assert!(
        texts.iter().all(|event| event["text"].is_string()),
        "{events:?}"
    );
    assert!(
        last["html"]
            .as_str()
            .unwrap()
            .contains("View it in the log"),
        "{last}"
    );
}

/// Counts what a person does in the browser.
struct CountedSteps<'a> {
    browser: &'a Browser,
    count: Cell<u32>,
}

impl CountedSteps<'_> {
    async fn click(&self, what: &str) {
        self.browser.click(what).await;
        self.count.set(self.count.get() + 1);
    }

    async fn fill(&self, field: &str, text: &str) {
        self.browser.fill(field, text).await;
        self.count.set(self.count.get() + 1);
    }
}

#[tokio::test]
async fn a_new_admin_sees_the_first_answer_in_the_browser() {
    let pool = empty_pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    // The environment of the tests has made one.
    browser.open("/client-keys/1/delete").await;
    browser.click("Delete key").await;
    browser.wait_for_text("Deleted the client key").await;
    browser.open("/try").await;
    browser.wait_for_text("No client key to send with").await;
    browser.click("Status").await;
    let steps = CountedSteps {
        browser: &browser,
        count: Cell::new(0),
    };

    steps.fill("text", &format!("{FIRST}\n{SECOND}")).await;
    steps.click("Preview").await;
    steps.click("Add 2 upstream keys").await;
    browser.wait_for_text("Import of 2 upstream keys").await;
    steps.click("Status").await;
    steps.click("Create key").await;
    steps.fill("Name", "first program").await;
    steps.click("Create key").await;
    browser.wait_for_text("Copy it now").await;
    assert_eq!(
        browser.texts("main a[href^='/try?client=']").await,
        ["Try it"]
    );
    steps.click("Status").await;
    steps.click(".step a[href='/try']").await;
    steps.click("Send").await;
    browser.wait_for_text("View it in the log").await;

    assert_eq!(steps.count.get(), 10);
    let texts = browser.texts("[data-try-text]").await;
    assert_eq!(texts.len(), 1);
    assert!(!texts[0].is_empty());
    for (dark, theme) in [(false, "light"), (true, "dark")] {
        browser.prefer_dark(dark).await;
        browser.use_desktop_size().await;
        browser
            .screenshot(&format!("try-answer-desk-{theme}"))
            .await;
        browser.use_phone_size().await;
        browser
            .screenshot(&format!("try-answer-phone-{theme}"))
            .await;
        assert!(browser.fits_window().await);
        assert_eq!(browser.accessibility_violations().await, [""; 0]);
    }
    assert_eq!(browser.console_errors().await, [""; 0]);
    browser.use_desktop_size().await;
    browser.open("/status").await;
    assert!(!browser.text().await.contains("First steps"));
}

#[tokio::test]
async fn the_page_needs_no_javascript() {
    let pool = pool().await;
    let Some(browser) = Browser::without_javascript(&pool).await else {
        return;
    };
    browser.sign_in().await;
    browser.open("/try").await;
    browser.fill("Text", "").await;
    browser.click("Send").await;
    browser
        .wait_for_text("Enter a text or choose a picture")
        .await;
    browser.fill("Text", TEXT).await;
    browser.click("Send").await;

    browser.wait_for_text("View it in the log").await;

    assert_eq!(browser.texts("[data-try-text]").await.len(), 1);
    assert_eq!(browser.console_errors().await, [""; 0]);
}
