//! The guard before every page: checks the session, and that a form came from one of our pages.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use tokio::time::timeout;
use tower_sessions::Session;

use crate::app::App;
use crate::auth::csrf::CsrfToken;
use crate::auth::session;
use crate::client_connections::ClientConnection;
use crate::clock;
use crate::dashboard::components::href;
use crate::dashboard::error_page::{self, ErrorPage};
use crate::dashboard::form_parts;
use crate::dashboard::page_context::{BrowserContext, PageContext};
use crate::dashboard::policy::set_security_headers;
use crate::dashboard::pool_problem;
use crate::error::{Error, Result};
use crate::peer::{self, Peer};

/// The cookie that holds the form token before sign-in.
const CSRF_COOKIE: &str = "gemini_pool_csrf";
/// The largest form: an import of a hundred thousand keys.
const MAX_FORM_BYTES: usize = 16 * 1024 * 1024;
/// How long a form may take to arrive.
const FORM_TIMEOUT: Duration = Duration::from_mins(1);
/// The largest form before sign-in.
const MAX_PUBLIC_FORM_BYTES: usize = 16 * 1024;

/// Whether a page requires a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Public,
    SignedIn,
}

/// Passes a request to its page, or answers it.
pub async fn guard(
    State((app, access)): State<(Arc<App>, Access)>,
    Extension(Peer(peer)): Extension<Peer>,
    session: Session,
    request: Request,
    next: Next,
) -> Response {
    let (uri, headers) = (request.uri().clone(), request.headers());
    let client_ip = peer::client_ip(peer, headers, &app.config.trusted_proxies);
    let base_url = peer::base_url(peer, headers, &app.config);
    let jar = CookieJar::from_headers(headers);
    let cookie = jar.get(CSRF_COOKIE);
    let cookie_token = cookie.and_then(|cookie| CsrfToken::from_text(cookie.value()));
    let csrf = cookie_token.unwrap_or_else(CsrfToken::generate);
    let browser = BrowserContext::new(request.method(), uri, headers, client_ip, base_url, csrf);
    let is_page = accepts_html(headers);

    let signed_in = session::find_signed_in(&app.db, &session, clock::now()).await;
    let (mut context, session_result) = match signed_in {
        Ok(Some(signed_in)) => (Some(PageContext::new(&browser, signed_in, session)), Ok(())),
        Ok(None) => (None, Ok(())),
        Err(error) => (None, Err(error)),
    };
    let (token, max_bytes) = match &context {
        Some(context) => (context.csrf, MAX_FORM_BYTES),
        None => (csrf, MAX_PUBLIC_FORM_BYTES),
    };
    if context.is_some()
        && let Some(connection) = request.extensions().get::<ClientConnection>()
    {
        connection.prove();
    }
    if context.is_some() {
        // The page shows every request that had ended before it was asked for.
        app.recorder.settle().await;
    }
    let response = match (session_result, access) {
        (Err(error), _) => ErrorPage::from(error).into_response(),
        (Ok(()), Access::SignedIn) if context.is_none() => {
            redirect_to_sign_in(&browser, request.method(), is_page)
        }
        (Ok(()), _) => match verify_form(request, token, max_bytes).await {
            Err(error) => ErrorPage::from(error).into_response(),
            Ok(mut request) => {
                if let Some(context) = &mut context {
                    if is_page {
                        context.problems = pool_problem::find(&app);
                    }
                    if is_page && request.method() == Method::GET {
                        context.take_notice().await;
                    }
                    request.extensions_mut().insert(context.clone());
                }
                request.extensions_mut().insert(browser.clone());
                next.run(request).await
            }
        },
    };
    let response = if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        ErrorPage::from(Error::WrongMethod).into_response()
    } else {
        response
    };
    let mut response = error_page::render(response, &browser, context.as_ref());
    if cookie_token.is_none() && context.is_none() {
        let cookie = Cookie::build((CSRF_COOKIE, csrf.to_text()))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Strict);
        if let Ok(value) = HeaderValue::from_str(&cookie.to_string()) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    set_security_headers(response.headers_mut(), &browser.nonce);
    response
}

/// Redirects a request without a session to the login page, which returns to it afterwards.
fn redirect_to_sign_in(browser: &BrowserContext, method: &Method, is_page: bool) -> Response {
    let path = browser.uri.path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    if is_page && method == Method::GET {
        Redirect::to(&href("/login", &[("next", path)])).into_response()
    } else if is_page {
        // What was submitted is lost: the session ended before. Back to its form, and not to what it submits to.
        let form = browser.return_path();
        Redirect::to(&href("/login", &[("next", form), ("unsaved", "1")])).into_response()
    } else {
        (StatusCode::UNAUTHORIZED, "sign in first\n").into_response()
    }
}

/// The request with its body read, if it changes nothing or is a form of ours.
async fn verify_form(request: Request, token: CsrfToken, max_bytes: usize) -> Result<Request> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(request);
    }
    let site = request.headers().get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(Error::InvalidCsrfToken);
    }
    let (parts, body) = request.into_parts();
    let body = timeout(FORM_TIMEOUT, axum::body::to_bytes(body, max_bytes));
    let body = body.await.map_err(|_| Error::TooSlow)?;
    let body: Bytes = body.map_err(|_| Error::TooLarge)?;
    let submitted = form_parts::first_text(&parts.headers, &body, "csrf").await;
    if !submitted.is_some_and(|submitted| token.is_shown_by(&submitted)) {
        return Err(Error::InvalidCsrfToken);
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// Whether the request is for a page, and not for data.
pub fn accepts_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_form_whose_body_stalls_is_refused_after_a_minute() {
        let token = CsrfToken::generate();
        let beginning = Bytes::from(format!("csrf={}&username=ad", token.masked()));
        let beginning = stream::once(async { Ok::<_, std::io::Error>(beginning) });
        let body = Body::from_stream(beginning.chain(stream::pending()));
        let request = Request::builder().method(Method::POST).uri("/login");
        let request = request.body(body).unwrap();
        let begin = clock::timer_instant();

        let refused = verify_form(request, token, 1_000).await;

        assert!(matches!(refused, Err(Error::TooSlow)), "{refused:?}");
        assert_eq!(Instant::elapsed(&begin), FORM_TIMEOUT);
    }

    #[tokio::test]
    async fn a_form_needs_its_token_and_a_limited_size() {
        let token = CsrfToken::generate();
        let verify = async |fields: String| {
            let request = Request::builder().method(Method::POST).uri("/login");
            let request = request.body(Body::from(fields)).unwrap();
            verify_form(request, token, 1_000).await
        };

        let passed = verify(format!("username=admin&csrf={}", token.masked())).await;
        let other = verify(format!("csrf={}", CsrfToken::generate().masked())).await;
        let large = verify(format!("csrf={}&{}", token.masked(), "a".repeat(1_000))).await;

        assert!(passed.is_ok(), "{passed:?}");
        assert!(matches!(other, Err(Error::InvalidCsrfToken)), "{other:?}");
        assert!(matches!(large, Err(Error::TooLarge)), "{large:?}");
    }
}
