//! Whatever fails, every page of the navigation says so: the server, the session, Google, the keys, the disk, the browser's clock.

use std::time::Duration;

use gemini_pool::clock::{self, Timestamp};
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::health::cooldown::Cooldown;
use gemini_pool::pool::health::verdict::Rule;
use gemini_pool::pool::keys::upstream_key::UpstreamKeyId;

use crate::dashboard::pages::{NAVIGATION, assert_no_problems, examine_open_page};
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;
use crate::support::proxies::TestProxy;
use crate::support::{TestPool, eventually};

const KEY: &str = "AIza-key-of-the-truth-0000000001";
const CONNECTION_LOST: &str = "The connection to the server is lost. Last update:";
const SESSION_OVER: &str = "Your session has ended.";

async fn pool() -> TestPool {
    TestPool::with_keys([FakeKey::healthy(KEY, "projects/1")]).await
}

/// Every page, read without a browser, has the text.
async fn assert_on_every_page(admin: &mut AdminClient, text: &str) {
    for path in NAVIGATION {
        let page = admin.get_page(path).await;
        assert!(page.contains(text), "{path}: {page}");
    }
}

/// Asserts that every page is accessible and well laid out, as the browser shows it in this state of the pool.
async fn examine_every_page(browser: &Browser, state: &str) {
    let mut problems = Vec::new();
    for path in NAVIGATION {
        browser.open(path).await;
        let name = format!("{state}{}", path.replace('/', "-"));
        problems.extend(examine_open_page(browser, &name).await);
    }
    assert_no_problems(&problems);
}

#[tokio::test]
async fn every_page_says_that_the_server_is_gone_until_it_is_back() {
    let pool = pool().await;
    assert_eq!(pool.generate().await.status(), 200);
    let Some(mut browser) = Browser::start(&pool).await else {
        return;
    };
    let proxy = TestProxy::plain(&pool.url).await;
    browser.connect_through(&proxy.address);
    browser.sign_in().await;
    let mut problems = Vec::new();
    for path in NAVIGATION {
        browser.open(path).await;
        assert!(!browser.text().await.contains(CONNECTION_LOST), "{path}");

        proxy.set_broken(true);

        browser.wait_for_text(CONNECTION_LOST).await;
        let name = format!("server-gone{}", path.replace('/', "-"));
        problems.extend(examine_open_page(&browser, &name).await);
        proxy.set_broken(false);
        browser
            .wait_until("the connection is back", async || {
                (!browser.text().await.contains(CONNECTION_LOST)).then_some(())
            })
            .await;
    }
    assert_no_problems(&problems);
}

#[tokio::test]
async fn every_page_says_that_the_session_has_ended() {
    let pool = pool().await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;
    for path in NAVIGATION {
        browser.open(path).await;
        assert!(!browser.text().await.contains(SESSION_OVER), "{path}");

        let cookie = browser.take_session().await;

        browser
            .wait_until("the end of the session is shown", async || {
                // A page with live updates may open the sign-in page before.
                let is_at_login = browser.path_and_query().await.starts_with("/login?next=");
                (is_at_login || browser.text().await.contains(SESSION_OVER)).then_some(())
            })
            .await;
        browser.put_cookie(cookie).await;
    }
    let links = browser.texts("[data-session-over] a").await;
    assert_eq!(links, ["Sign in"]);

    browser.open("/settings").await;
    browser.take_session().await;
    browser.wait_for_text(SESSION_OVER).await;
    let problems = examine_open_page(&browser, "session-over").await;
    assert_no_problems(&problems);
}

#[tokio::test]
async fn an_unreachable_google_is_on_every_page() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let pool = TestPool::with_upstream_url(url, KEY).await;
    let browser = Browser::start(&pool).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let page = admin.get_page("/usage").await;
    assert!(!page.contains("Google cannot be reached"), "{page}");
    if let Some(browser) = &browser {
        browser.sign_in().await;
        browser.open("/settings").await;
    }

    // Its attempt is repeated on a new connection.
    assert!(pool.generate().await.status().is_server_error());

    assert_on_every_page(&mut admin, "Cannot serve requests").await;
    assert_on_every_page(&mut admin, "Google cannot be reached:").await;
    if let Some(browser) = &browser {
        browser.wait_for_text("Google cannot be reached:").await;
        examine_every_page(browser, "google-unreachable").await;
    }
}

#[tokio::test]
async fn dead_keys_are_on_every_page_until_another_one_works() {
    let dead = FakeKey::new(KEY, "projects/1", Behaviour::Leaked);
    let pool = TestPool::with_keys([dead]).await;
    let browser = Browser::start(&pool).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    if let Some(browser) = &browser {
        browser.sign_in().await;
        browser.open("/usage").await;
    }

    assert!(!pool.generate().await.status().is_success());

    assert_on_every_page(&mut admin, "Cannot serve requests").await;
    let page = admin.get_page("/client-keys").await;
    assert!(page.contains("No upstream key is usable."), "{page}");
    if let Some(browser) = &browser {
        browser.wait_for_text("No upstream key is usable.").await;
        examine_every_page(browser, "keys-dead").await;
        browser.open("/usage").await;
    }
    pool.add_upstream_key("AIza-key-of-the-truth-0000000002")
        .await;
    for path in NAVIGATION {
        let page = admin.get_page(path).await;
        assert!(!page.contains("Cannot serve requests"), "{path}: {page}");
    }
    if let Some(browser) = &browser {
        browser
            .wait_until("the open page recovers", async || {
                let text = browser.text().await;
                (!text.contains("Cannot serve requests")).then_some(())
            })
            .await;
    }
}

#[tokio::test]
async fn a_full_disk_is_on_every_page() {
    let config = FakeConfig::with_keys([FakeKey::healthy(KEY, "projects/1")]);
    let settings = [("max_pending_rows", "8"), ("commit_wait_ms", "10")];
    let pool = TestPool::start_with(config, &settings).await;
    let browser = Browser::start(&pool).await;
    if let Some(browser) = &browser {
        browser.sign_in().await;
    }
    let mut admin = AdminClient::sign_in(&pool).await;
    pool.allow_pages(1).await;

    // Each answer waits for its row, the last one until there is room again.
    let sending = async {
        while pool.app.recorder.problem().is_none() {
            assert_eq!(pool.generate().await.status(), 200);
        }
    };
    let is_full = eventually("the disk is full", async || pool.app.recorder.problem());
    tokio::select! {
        () = sending => {}
        _ = is_full => {}
    }

    for path in NAVIGATION {
        let page = admin.get_page(path).await;
        let texts = [
            "The disk of the database is full or fails.",
            "is full or fails; ",
        ];
        assert!(
            texts.iter().any(|text| page.contains(text)),
            "{path}: {page}"
        );
    }
    let page = admin.get_page("/status").await;
    assert!(
        page.contains("Requests are served, but not recorded"),
        "{page}"
    );
    assert!(!page.contains("Ready to serve"), "{page}");
    if let Some(browser) = &browser {
        examine_every_page(browser, "disk-full").await;
    }

    eventually("no more rows fit into memory", async || {
        (pool.generate().await.status() == 503).then_some(())
    })
    .await;
    assert_on_every_page(&mut admin, "Cannot serve requests").await;
    assert_on_every_page(&mut admin, "Too many log rows wait to be written.").await;
    if let Some(browser) = &browser {
        browser.open("/status").await;
        let problems = examine_open_page(browser, "disk-full-refusing").await;
        assert_no_problems(&problems);
    }
    pool.allow_pages(u32::MAX / 4).await;
}

#[tokio::test]
async fn times_are_right_where_the_clock_of_the_browser_is_wrong() {
    let pool = pool().await;
    let Some(mut browser) = Browser::start(&pool).await else {
        return;
    };
    let now = clock::now();
    // With a clock that is an hour ahead, it would be `1 d 4 h`.
    let cooldown = Cooldown {
        rule: Rule::QuotaPerDay,
        step: 0,
        since: now,
        until: now + Duration::from_hours(30),
    };
    {
        let mut keys = pool.app.keys.lock();
        let project = keys.get(UpstreamKeyId(1)).unwrap().project_id;
        keys.set_cooldown(project, "*", cooldown);
    }
    let proxy = TestProxy::plain(&pool.url).await;
    browser.connect_through(&proxy.address);
    browser.set_clock_ahead(Duration::from_hours(1)).await;
    browser.sign_in().await;
    for path in ["/status", "/upstream-keys", "/upstream-keys/1"] {
        browser.open(path).await;
        let wrong = browser.inject("return Date.now()").await.as_i64().unwrap();
        assert!(Timestamp::from_millis(wrong) > now + Duration::from_mins(59));
        // Until the script has counted down.
        let blank = "document.querySelectorAll('time[data-countdown]').forEach(time => time.textContent = '')";
        browser.inject(blank).await;
        browser
            .wait_until("the countdown is right", async || {
                let countdowns = browser.texts("time[data-countdown]").await;
                countdowns
                    .contains(&"in 1\u{a0}d 5\u{a0}h".to_owned())
                    .then_some(())
            })
            .await;
    }
    for path in NAVIGATION {
        browser.open(path).await;
        proxy.set_broken(true);
        browser.wait_for_text(CONNECTION_LOST).await;
        proxy.set_broken(false);
        let script = "return document.querySelector('[data-connection-lost] time').dateTime";
        let last = browser.inject(script).await;
        let last: Timestamp = last.as_str().unwrap().parse().unwrap();
        let distance = (last - now).max(now - last);
        assert!(distance < Duration::from_mins(30), "{path}: {last}");
    }
}
