//! What the proxy answers is on the dashboard's origin: in a signed-in admin's browser it reads nothing and changes nothing.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::client_keys;
use serde_json::json;

use crate::support::browser::Browser;
use crate::support::{CLIENT_KEY, TestPool};

/// Makes a client key, with the token that it reads from the form, before the document has loaded.
const TAKES_OVER: &str = r#"
    document.title = "ran";
    const ask = (method, path, body) => {
        const request = new XMLHttpRequest();
        request.open(method, path, false);
        request.setRequestHeader("content-type", "application/x-www-form-urlencoded");
        request.send(body);
        return request.responseText;
    };
    const token = ask("GET", "/client-keys/new").match(/name="csrf" value="([^"]+)"/)[1];
    ask("POST", "/client-keys", new URLSearchParams([["name", "stolen"], ["csrf", token]]).toString());
"#;

fn path() -> String {
    format!("/v1beta/files/abc:download?alt=media&key={CLIENT_KEY}")
}

async fn pool() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy("AIza-key-of-the-proxied-00001", "1")]).await;
    // Nobody has made the file that the answers are about.
    pool.set(&[("client_isolation", "off")]).await;
    pool
}

/// The names of the client keys there are.
async fn client_names(pool: &TestPool) -> Vec<String> {
    let keys = client_keys::list(pool.settled().await).await.unwrap();
    keys.into_iter().map(|key| key.name).collect()
}

#[tokio::test]
async fn no_script_of_a_proxied_answer_runs() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    let xhtml = "http://www.w3.org/1999/xhtml";
    let in_xml = format!("<![CDATA[{TAKES_OVER}]]>");
    let html = format!("<!doctype html><title>loaded</title><script>{TAKES_OVER}</script>");
    let inside = format!(
        r#"<html xmlns="{xhtml}"><head><title>loaded</title><script>{in_xml}</script></head></html>"#
    );
    let svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg"><title>loaded</title><script>{in_xml}</script></svg>"#
    );
    for (status, kind, body) in [
        (200, "text/html; charset=utf-8", html.as_str()),
        (404, "text/html", &html),
        (200, "image/svg+xml", &svg),
        (200, "application/xml", &inside),
        (200, "text/xml", &svg),
        (200, "application/xhtml+xml", &inside),
        (200, "text/javascript", TAKES_OVER),
        (200, "text/plain", &html),
        (200, "", &html),
    ] {
        let headers = [
            ("content-type", kind),
            ("content-security-policy", "default-src * 'unsafe-inline'"),
        ];
        let headers = if kind.is_empty() {
            &headers[1..]
        } else {
            &headers
        };
        pool.google
            .replay([ReplayedResponse::new(status, headers, body.to_owned())]);
        let asked = pool.google.requests();

        browser.open(&path()).await;

        assert_eq!(pool.google.requests(), asked + 1, "{kind}");
        assert_eq!(browser.path_and_query().await, path(), "{kind}");
        assert_ne!(browser.title().await, "ran", "{kind}");
        assert_eq!(client_names(&pool).await, ["env-1"], "{kind}");
    }
}

#[tokio::test]
async fn a_proxied_answer_neither_leaves_a_cookie_nor_signs_anybody_out() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    let before = browser.cookies().await;
    assert!(!before.is_empty());
    let headers = [
        ("content-type", "text/html"),
        ("set-cookie", "gemini_pool_theme=dark; Path=/"),
        ("clear-site-data", "\"cookies\", \"storage\""),
        ("refresh", "0; url=/backups"),
    ];
    let page = "<!doctype html><title>loaded</title>";
    pool.google
        .replay([ReplayedResponse::new(200, &headers, page)]);

    browser.open(&path()).await;

    assert_eq!(browser.path_and_query().await, path());
    assert_eq!(browser.title().await, "loaded");
    let read = "try { return document.cookie } catch (error) { return error.name }";
    assert_eq!(browser.inject(read).await, json!("SecurityError"));
    browser.open("/account").await;
    browser.wait_for_text("Signed in as admin").await;
    assert_eq!(browser.cookies().await, before);
}

#[tokio::test]
async fn a_page_of_the_dashboard_runs_its_own_script_and_none_of_the_proxys() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    assert_eq!(browser.texts("html.js").await.len(), 1);
    assert_eq!(browser.console_errors().await, [""; 0]);
    let url = path();
    let loaded = |element: &str, address: &str| {
        format!(
            "const done = arguments[arguments.length - 1];
             const element = document.createElement('{element}');
             element.onload = () => done('loaded');
             element.onerror = () => done('refused');
             element.rel = 'stylesheet';
             element.{address} = '{url}';
             document.head.append(element);"
        )
    };
    let worker = format!(
        "const done = arguments[arguments.length - 1];
         try {{
             const worker = new Worker('{url}');
             worker.onmessage = () => done('loaded');
             worker.onerror = () => done('refused');
         }} catch {{
             done('refused');
         }}"
    );
    let service_worker = format!(
        "const done = arguments[arguments.length - 1];
         navigator.serviceWorker.register('{url}').then(() => done('loaded'), () => done('refused'));"
    );
    let script = ("text/javascript", "self.postMessage('ran')");
    let asked = pool.google.requests();
    for (what, (kind, body)) in [
        (loaded("script", "src"), script),
        (
            loaded("link", "href"),
            ("text/css", "body { display: none }"),
        ),
        (worker, script),
        (service_worker, script),
    ] {
        pool.google
            .replay([ReplayedResponse::new(200, &[("content-type", kind)], body)]);

        assert_eq!(browser.inject(&what).await, json!("refused"), "{what}");
    }
    assert_eq!(pool.google.requests(), asked);

    // Where no policy keeps the browser from asking, it says what for.
    browser.open("/healthz").await;
    let refused = browser.inject(&loaded("script", "src")).await;
    assert_eq!(refused, json!("refused"));
    assert_eq!(pool.google.requests(), asked);
    let row = pool.finished_rows(1).await.pop().unwrap();
    assert_eq!(
        (row.status, row.outcome),
        (Some(403), Some(Outcome::Refused))
    );
}
