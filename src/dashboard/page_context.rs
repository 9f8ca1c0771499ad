//! `PageContext`: the signed-in admin of a page, with language, theme, time zone and CSRF token.

use std::net::IpAddr;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::response::Redirect;
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::Cookie;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};
use tower_sessions::Session;

use crate::auth::csrf::CsrfToken;
use crate::auth::session::SignedInAdmin;
use crate::clock::{self, Timestamp};
use crate::dashboard::policy::Nonce;
use crate::dashboard::pool_problem::PoolProblem;
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::storage::admins::Admin;
use crate::storage::audit::Actor;
use crate::storage::sign_ins::SignInId;

/// The cookie of the selected language.
pub const LANGUAGE_COOKIE: &str = "gemini_pool_language";
/// The cookie of the selected theme.
pub const THEME_COOKIE: &str = "gemini_pool_theme";
const NOTICE_KEY: &str = "notice";

/// The colour theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Theme {
    /// The theme of the browser's system.
    System,
    Light,
    Dark,
}

impl Theme {
    /// The name in forms, cookies and style sheets.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The context of a page request before sign-in is checked.
#[derive(Debug, Clone)]
pub struct BrowserContext {
    pub language: Language,
    pub theme: Theme,
    pub uri: Uri,
    return_path: String,
    pub client_ip: IpAddr,
    pub user_agent: String,
    /// The public URL for clients, without a trailing slash.
    pub base_url: String,
    pub csrf: CsrfToken,
    /// Allows the page's style sheet.
    pub nonce: Nonce,
    pub now: Timestamp,
}

/// The context of a page for a signed-in admin.
#[derive(Debug, Clone)]
pub struct PageContext {
    /// With the CSRF token of the session.
    pub browser: BrowserContext,
    pub admin: Admin,
    pub sign_in_id: SignInId,
    /// The time zone of displayed times.
    pub zone: TimeZone,
    /// The result of the last action, shown once.
    pub notice: Option<Notice>,
    /// The problems of the pool, for the top of the page.
    pub problems: Vec<PoolProblem>,
    pub session: Session,
}

impl Deref for PageContext {
    type Target = BrowserContext;

    fn deref(&self) -> &BrowserContext {
        &self.browser
    }
}

/// The result of an action.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Notice {
    pub kind: NoticeKind,
    pub text: String,
    /// The path of the form that undoes the action.
    pub undo: Option<String>,
}

/// Whether the action succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeKind {
    Done,
    Failed,
}

impl Notice {
    fn new(kind: NoticeKind, text: String) -> Self {
        let undo = None;
        Self { kind, text, undo }
    }

    pub fn done(text: impl Into<String>) -> Self {
        Self::new(NoticeKind::Done, text.into())
    }

    /// After something at this path was enabled or disabled, with an undo button.
    pub fn switched(text: String, path: &str, is_enabled: bool) -> Self {
        let back = if is_enabled { "disable" } else { "enable" };
        Self::done(text).with_undo(format!("{path}/{back}"))
    }

    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(NoticeKind::Failed, text.into())
    }

    /// Adds an undo button, whose form is submitted to `path`.
    #[must_use]
    pub fn with_undo(self, path: String) -> Self {
        let undo = Some(path);
        Self { undo, ..self }
    }
}

impl BrowserContext {
    /// The context of the request for `uri` from its headers and cookies.
    pub fn new(
        method: &Method,
        uri: Uri,
        headers: &HeaderMap,
        client_ip: IpAddr,
        base_url: String,
        csrf: CsrfToken,
    ) -> Self {
        let jar = CookieJar::from_headers(headers);
        let cookie = |name| jar.get(name).map(Cookie::value);
        let language = cookie(LANGUAGE_COOKIE).and_then(Language::of_tag);
        let theme = cookie(THEME_COOKIE).and_then(|name| name.parse().ok());
        let user_agent = headers.get(http::header::USER_AGENT);
        let user_agent = user_agent.map(|value| String::from_utf8_lossy(value.as_bytes()));
        Self {
            language: language.unwrap_or_else(|| Language::of_browser(headers)),
            theme: theme.unwrap_or(Theme::System),
            return_path: return_path(method, &uri, headers),
            uri,
            client_ip,
            user_agent: user_agent.unwrap_or_default().chars().take(300).collect(),
            base_url,
            csrf,
            nonce: Nonce::generate(),
            now: clock::now(),
        }
    }

    /// The hidden field required in every form that changes data.
    pub fn csrf_field(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.csrf.masked()); }
    }

    /// The path and query of the page; for a response to a form, of the page with the form.
    pub fn return_path(&self) -> &str {
        &self.return_path
    }
}

impl PageContext {
    pub fn new(browser: &BrowserContext, signed_in: SignedInAdmin, session: Session) -> Self {
        Self {
            zone: TimeZone::get(&signed_in.admin.zone).unwrap_or(TimeZone::UTC),
            sign_in_id: signed_in.id,
            admin: signed_in.admin,
            browser: BrowserContext {
                csrf: signed_in.csrf,
                ..browser.clone()
            },
            notice: None,
            problems: Vec::new(),
            session,
        }
    }

    /// The actor that the audit records for changes by this admin.
    pub fn actor(&self) -> Actor {
        Actor::admin(&self.admin.username, self.client_ip.to_string())
    }

    /// Stores `notice` for the top of the next page.
    pub async fn set_notice(&self, notice: Notice) {
        if let Err(error) = self.session.insert(NOTICE_KEY, notice).await {
            tracing::warn!("a notice could not be kept: {error}");
        }
    }

    /// Redirects to `path`, whose page shows `notice`.
    pub async fn redirect_with(&self, notice: Notice, path: &str) -> Redirect {
        self.set_notice(notice).await;
        Redirect::to(path)
    }

    /// Removes and returns the notice of the last action.
    pub async fn take_notice(&mut self) {
        self.notice = self.session.get(NOTICE_KEY).await.ok().flatten();
        // Removing an absent notice would write the session on every page.
        if self.notice.is_some() && self.session.remove_value(NOTICE_KEY).await.is_err() {
            tracing::warn!("a notice could not be forgotten and will be shown again");
        }
    }
}

/// The page of the browser, or the page whose form it submitted.
fn return_path(method: &Method, uri: &Uri, headers: &HeaderMap) -> String {
    let path_of = |uri: &Uri| uri.path_and_query().map(ToString::to_string);
    let path = if matches!(*method, Method::GET | Method::HEAD) {
        path_of(uri)
    } else {
        let referer = headers.get(http::header::REFERER);
        let referer = referer.and_then(|referer| referer.to_str().ok()?.parse().ok());
        referer.as_ref().and_then(path_of)
    };
    path.unwrap_or_else(|| "/".to_owned())
}

/// Without a context the guard has already responded.
impl<S: Sync> FromRequestParts<S> for PageContext {
    type Rejection = super::error_page::ErrorPage;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let context = parts.extensions.get::<Self>().cloned();
        context.ok_or_else(|| Error::InvalidCsrfToken.into())
    }
}

impl<S: Sync> FromRequestParts<S> for BrowserContext {
    type Rejection = super::error_page::ErrorPage;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let browser = parts.extensions.get::<Self>().cloned();
        browser.ok_or_else(|| Error::InvalidCsrfToken.into())
    }
}
