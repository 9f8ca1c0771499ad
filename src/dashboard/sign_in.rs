//! `/login`: signs an admin in and out, and delays guessed passwords.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, SameSite};
use axum_extra::extract::{CookieJar, Form, Query};
use http::StatusCode;
use http::header::RETRY_AFTER;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;
use tower_sessions::Session;

use crate::app::App;
use crate::auth::session::{self, SignedInAdmin};
use crate::auth::{known_browser, password};
use crate::clock;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout;
use crate::dashboard::page_context::{BrowserContext, PageContext};
use crate::dashboard::translations::Language;
use crate::pool::clients::login_throttle::LoginSource;
use crate::storage::admins;
use crate::storage::audit::{Act, Actor};

/// The cookie that identifies a browser that has signed in before; it grants no access.
const KNOWN_BROWSER_COOKIE: &str = "gemini_pool_known";

#[derive(Debug, Deserialize)]
pub struct SignInQuery {
    /// The path to open after sign-in.
    #[serde(default)]
    next: String,
    /// Not empty: a form was submitted after its session had ended.
    #[serde(default)]
    unsaved: String,
}

#[derive(Debug, Deserialize)]
pub struct SignInForm {
    username: String,
    password: String,
    #[serde(default)]
    next: String,
    /// The browser's time zone; empty without JavaScript.
    #[serde(default)]
    zone: String,
}

/// The sign-in form.
pub async fn show(
    State(app): State<Arc<App>>,
    browser: BrowserContext,
    session: Session,
    Query(query): Query<SignInQuery>,
) -> Result<Response, ErrorPage> {
    let signed_in = session::find_signed_in(&app.db, &session, browser.now).await?;
    if signed_in.is_some() {
        return Ok(Redirect::to(local_path(&query.next)).into_response());
    }
    let unsaved = (!query.unsaved.is_empty()).then(|| browser.language.session_ended());
    Ok(form(&browser, &query.next, "", unsaved).into_response())
}

/// Verifies the password and starts a session.
pub async fn create(
    State(app): State<Arc<App>>,
    browser: BrowserContext,
    session: Session,
    jar: CookieJar,
    Form(submitted): Form<SignInForm>,
) -> Result<Response, ErrorPage> {
    let username = submitted.username.trim();
    let language = browser.language;
    let page = |error: &str| form(&browser, &submitted.next, username, Some(error));
    let is_valid = |mark: &&str| known_browser::is_valid_mark(&app.hash_key, mark, username);
    let mark = jar.get(KNOWN_BROWSER_COOKIE).map(Cookie::value);
    let source = match mark.filter(is_valid) {
        Some(mark) => LoginSource::Known(mark.to_owned()),
        None => LoginSource::from_address(browser.client_ip),
    };
    let admin = admins::find_named(&app.db.readers, username).await?;
    // Names without an account share one count.
    let account = admin.as_ref().map_or("", |_| username);
    let admitted = app
        .login_throttle
        .lock()
        .begin(&source, account, clock::now());
    if let Err(wait) = admitted {
        return Ok(throttled(language, wait, page));
    }
    let hash = admin.as_ref().map(|admin| admin.password_hash.as_str());
    let is_right = password::verify(&submitted.password, hash).await;
    let Some(admin) = admin.filter(|_| is_right) else {
        tracing::warn!(client.address = %browser.client_ip, "a sign-in to the dashboard failed");
        let page = page(language.wrong_password());
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    app.login_throttle.lock().record_success(&source, account);
    let (address, user_agent) = (browser.client_ip.to_string(), &browser.user_agent);
    session::start(
        &app.db,
        &session,
        &admin,
        &address,
        user_agent,
        clock::now(),
    )
    .await?;
    if let Ok(zone) = TimeZone::get(submitted.zone.trim())
        && let Some(zone) = zone.iana_name()
    {
        let mut tx = app.db.begin().await?;
        let actor = Actor::admin(&admin.username, address);
        let act = Act::without_revision(actor, clock::now());
        admins::adopt_zone(&mut tx, admin.id, zone, &act).await?;
        tx.commit().await?;
    }
    tracing::info!(client.address = %browser.client_ip, "{} signed in to the dashboard", admin.username);
    let mark = known_browser::issue_mark(&app.hash_key, &admin.username);
    let known = Cookie::build((KNOWN_BROWSER_COOKIE, mark))
        .path("/login")
        .http_only(true)
        .same_site(SameSite::Strict)
        .permanent();
    let redirect = Redirect::to(local_path(&submitted.next));
    Ok((jar.add(known), redirect).into_response())
}

/// The answer to an attempt that came `wait` too soon; `page` shows its text.
pub fn throttled(
    language: Language,
    wait: Duration,
    page: impl FnOnce(&str) -> Markup,
) -> Response {
    let seconds = wait.as_secs() + 1;
    let page = page(&language.sign_in_throttled(seconds));
    let header = AppendHeaders([(RETRY_AFTER, seconds.to_string())]);
    (StatusCode::TOO_MANY_REQUESTS, header, page).into_response()
}

/// Verifies the password of a signed-in admin, or returns the error text; attempts are throttled as at sign-in.
pub async fn check_password(
    app: &App,
    context: &PageContext,
    password: &str,
) -> Result<(), String> {
    let (language, username) = (context.language, &context.admin.username);
    let source = LoginSource::Known(format!("sign-in {}", context.sign_in_id.0));
    let admitted = app
        .login_throttle
        .lock()
        .begin(&source, username, clock::now());
    admitted.map_err(|wait| language.sign_in_throttled(wait.as_secs() + 1))?;
    if !password::verify(password, Some(&context.admin.password_hash)).await {
        return Err(language.password_wrong().to_owned());
    }
    app.login_throttle.lock().record_success(&source, username);
    Ok(())
}

/// Ends the session.
pub async fn delete(
    State(app): State<Arc<App>>,
    context: PageContext,
) -> Result<Redirect, ErrorPage> {
    let signed_in = SignedInAdmin {
        id: context.sign_in_id,
        csrf: context.csrf,
        admin: context.admin.clone(),
    };
    let act = Act::without_revision(context.actor(), context.now);
    session::end(&app.db, &context.session, &signed_in, &act).await?;
    Ok(Redirect::to("/login"))
}

/// A path of this server, or the status page: redirects to other sites must be impossible.
pub fn local_path(path: &str) -> &str {
    let is_ours = path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_ours { path } else { "/status" }
}

fn form(browser: &BrowserContext, next: &str, username: &str, error: Option<&str>) -> Markup {
    let language = browser.language;
    let body = html! {
        form.sign-in method="post" action="/login" {
            (browser.csrf_field())
            input type="hidden" name="next" value=(local_path(next));
            // JavaScript fills in the browser's; it is used for an admin who has not chosen one.
            input type="hidden" name="zone" data-zone;
            @if let Some(error) = error {
                p.form-error role="alert" { (error) }
            }
            div.field {
                label for="username" { (language.username()) }
                input #username name="username" value=(username) autocomplete="username" autocapitalize="none" required
                    autofocus[username.is_empty()];
            }
            div.field {
                label for="password" { (language.password()) }
                input #password type="password" name="password" autocomplete="current-password" required
                    autofocus[!username.is_empty()];
            }
            button.primary type="submit" { (language.sign_in()) }
            details.quiet {
                summary { (language.forgot_password()) }
                pre { code { "gemini-pool admin set-password" } }
                p { (language.first_password_hint()) }
            }
        }
    };
    layout::public_page(browser, language.sign_in(), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_this_server() {
        for (path, expected) in [
            ("/logs?outcome=quota", "/logs?outcome=quota"),
            ("", "/status"),
            ("//evil.example", "/status"),
            ("/\\evil.example", "/status"),
            ("https://evil.example", "/status"),
            ("/a\r\nset-cookie: x", "/status"),
        ] {
            assert_eq!(local_path(path), expected, "{path}");
        }
    }
}
