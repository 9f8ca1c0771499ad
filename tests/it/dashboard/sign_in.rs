//! Signing in and out in a real browser.

use gemini_pool::demo::fake_gemini::FakeConfig;
use reqwest::Method;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};

use crate::support::admin::{AdminClient, PASSWORD, USERNAME};
use crate::support::browser::{Browser, BrowserOptions};
use crate::support::{TestPool, http_client};

#[tokio::test]
async fn an_admin_signs_in_only_with_the_right_password_and_signs_out() {
    let pool = TestPool::with_keys([]).await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };

    browser.open("/account").await;
    browser.wait_for_path("/login").await;
    browser.fill("username", USERNAME).await;
    browser.fill("password", "wrong horse battery staple").await;
    browser.click("Sign in").await;
    browser
        .wait_for_text("User name or password is wrong")
        .await;
    assert_eq!(browser.accessibility_violations().await, [""; 0]);
    browser.fill("password", PASSWORD).await;
    browser.click("Sign in").await;
    browser.wait_for_path("/account").await;
    browser.wait_for_text("Signed in as admin").await;

    browser.click("Sign out").await;
    browser.wait_for_path("/login").await;
    browser.open("/account").await;
    browser.wait_for_path("/login").await;
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn every_sign_in_has_a_new_session_that_sign_out_invalidates() {
    let pool = TestPool::with_keys([]).await;
    let mut admin = AdminClient::open_login(&pool).await;
    let outside = admin.clone();

    let answer = admin.submit_login().await;
    let cookies = answer.headers().get_all(SET_COOKIE).iter();
    let cookies: Vec<_> = cookies.map(|cookie| cookie.to_str().unwrap()).collect();
    assert!(!cookies.is_empty());
    for cookie in cookies {
        assert!(cookie.contains("HttpOnly"), "{cookie}");
        let is_session = cookie.starts_with("gemini_pool_session=");
        let same_site = if is_session {
            "SameSite=Lax"
        } else {
            "SameSite=Strict"
        };
        assert!(cookie.contains(same_site), "{cookie}");
    }
    admin.get_page("/account").await;
    let inside = admin.clone();
    assert_eq!(admin.submit("/logout", &[]).await.status(), 303);

    for old in [outside, inside] {
        let answer = old.request(Method::GET, "/account").send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let to = answer.headers()[LOCATION].to_str().unwrap();
        assert!(to.starts_with("/login"), "{to}");
    }
}

#[tokio::test]
async fn cookies_are_secure_exactly_where_the_browser_came_by_https() {
    for scheme in ["https", "http"] {
        let pool = TestPool::behind_proxies(&["127.0.0.0/8"], FakeConfig::default()).await;
        pool.add_admin().await;
        let headers = [("x-forwarded-proto", scheme)];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let client = http_client().default_headers(HeaderMap::from_iter(headers));
        let client = client.build().unwrap();
        let login = client
            .get(format!("{}/login", pool.url))
            .send()
            .await
            .unwrap();
        let mut admin = AdminClient::arrive_at(client, &pool.url).await;
        let signed_in = admin.submit_login().await;

        let answers = [login.headers(), signed_in.headers()];
        let cookies = answers
            .into_iter()
            .flat_map(|headers| headers.get_all(SET_COOKIE));
        let cookies: Vec<_> = cookies.map(|cookie| cookie.to_str().unwrap()).collect();
        assert!(cookies.len() >= 3, "{cookies:?}");
        for cookie in cookies {
            assert_eq!(cookie.contains("; Secure"), scheme == "https", "{cookie}");
        }
    }
}

#[tokio::test]
async fn the_language_follows_the_browser_until_another_is_selected() {
    let pool = TestPool::with_keys([]).await;
    let options = BrowserOptions {
        language: "zh-TW",
        javascript: false,
    };
    let Some(browser) = Browser::start_with(&pool, options).await else {
        return;
    };

    browser.open("/login").await;
    browser.wait_for_text("使用者名稱").await;
    browser.click("English").await;
    browser.wait_for_text("User name").await;
    browser.sign_in().await;
    browser.wait_for_text("Upstream keys").await;
    browser.click("繁體中文").await;
    browser.wait_for_text("上游金鑰").await;
    browser.reload().await;
    browser.wait_for_text("上游金鑰").await;
}
