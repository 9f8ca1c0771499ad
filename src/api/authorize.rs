//! Authentication and authorization of requests to the API: the token, its access and its scopes. Cookies have no
//! effect, so that no other site can use an admin's browser.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, Method, StatusCode};

use crate::api::problem::Problem;
use crate::app::App;
use crate::auth::api_token;
use crate::client_connections::ClientConnection;
use crate::clock::{self, Timestamp};
use crate::peer::{self, Peer};
use crate::pool::api_token::{ApiScope, TokenAccess};
use crate::storage::api_tokens::ApiToken;
use crate::storage::audit::Actor;

/// The program that sent a request.
#[derive(Debug, Clone)]
pub struct ApiCaller {
    pub token: ApiToken,
    pub address: IpAddr,
    pub now: Timestamp,
}

impl ApiCaller {
    /// The actor that the audit records for changes by this program.
    pub fn actor(&self) -> Actor {
        Actor::token(&self.token.name, self.address.to_string())
    }
}

/// The program with the token of a request, or the answer that there is none.
pub async fn find_caller(
    app: &App,
    Peer(peer): Peer,
    headers: &HeaderMap,
) -> Result<ApiCaller, Response> {
    let now = clock::now();
    let address = peer::client_ip(peer, headers, &app.config.trusted_proxies);
    match api_token::authenticate(&app.db, headers, now).await {
        Ok(Some(token)) => Ok(ApiCaller {
            token,
            address,
            now,
        }),
        Ok(None) => Err(refuse(app, address, now)),
        Err(error) => Err(Problem::from(error).into_response()),
    }
}

/// Passes a request with a valid token on, or answers it.
pub async fn authenticate(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match find_caller(&app, peer, request.headers()).await {
        Ok(caller) => {
            if let Some(connection) = request.extensions().get::<ClientConnection>() {
                connection.prove();
            }
            // The answer contains every request that had ended before it was asked for.
            app.recorder.settle().await;
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refusal,
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Counts a request without a valid token, and answers it.
fn refuse(app: &App, address: IpAddr, now: Timestamp) -> Response {
    let failure = app.api_token_failures.lock().record(address, now);
    if let Some(wait) = failure.retry_after {
        let detail = "too many requests without a valid token: wait, then send a valid one";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
        return problem.with_retry_after(wait.as_secs() + 1).into_response();
    }
    let detail = "send a valid API token, as `Authorization: Bearer gpa_…`: create one on the dashboard's account page, \
                  or with `gemini-pool admin create-token`";
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
    let challenge = HeaderValue::from_static("Bearer realm=\"gemini-pool\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// Passes a request on if its token has the scope, and write access for anything but reading.
pub async fn authorize(
    State(scope): State<ApiScope>,
    Extension(caller): Extension<ApiCaller>,
    request: Request,
    next: Next,
) -> Response {
    let access = match *request.method() {
        Method::GET | Method::HEAD => TokenAccess::Read,
        _ => TokenAccess::Write,
    };
    match caller.token.grant().permits(scope, access) {
        Ok(()) => next.run(request).await,
        Err(why) => Problem::from(why).into_response(),
    }
}
