//! Signing in and out, in a real browser.

use reqwest::Method;
use reqwest::header::{LOCATION, SET_COOKIE};

use crate::support::TestPool;
use crate::support::admin::{AdminClient, PASSWORD, USERNAME};
use crate::support::browser::{Browser, Manner};

#[tokio::test]
async fn an_admin_signs_in_with_the_right_password_only_and_out_again() {
    let pool = TestPool::of([]).await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };

    browser.open("/account").await;
    browser.arrives("/login").await;
    browser.fill("username", USERNAME).await;
    browser.fill("password", "wrong horse battery staple").await;
    browser.click("Sign in").await;
    browser.sees("User name or password is wrong").await;
    assert_eq!(browser.axe().await, [""; 0]);
    browser.fill("password", PASSWORD).await;
    browser.click("Sign in").await;
    browser.arrives("/account").await;
    browser.sees("Signed in as admin").await;

    browser.click("Sign out").await;
    browser.arrives("/login").await;
    browser.open("/account").await;
    browser.arrives("/login").await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn a_session_is_new_at_every_sign_in_and_good_for_nothing_after_it() {
    let pool = TestPool::of([]).await;
    let mut admin = AdminClient::arrive(&pool).await;
    let outside = admin.clone();

    let answer = admin.enter().await;
    let cookies = answer.headers().get_all(SET_COOKIE).iter();
    let cookies: Vec<_> = cookies.map(|cookie| cookie.to_str().unwrap()).collect();
    assert!(!cookies.is_empty());
    for cookie in cookies {
        assert!(cookie.contains("HttpOnly"), "{cookie}");
        assert!(cookie.contains("SameSite=Lax") || cookie.contains("SameSite=Strict"));
    }
    admin.look("/account").await;
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
async fn the_language_is_the_browsers_until_another_is_chosen() {
    let pool = TestPool::of([]).await;
    let manner = Manner {
        language: "zh-TW",
        javascript: false,
    };
    let Some(browser) = Browser::start_with(&pool, manner).await else {
        return;
    };

    browser.open("/login").await;
    browser.sees("使用者名稱").await;
    browser.click("English").await;
    browser.sees("User name").await;
    browser.sign_in().await;
    browser.sees("Upstream keys").await;
    browser.click("繁體中文").await;
    browser.sees("上游金鑰").await;
    browser.reload().await;
    browser.sees("上游金鑰").await;
}
