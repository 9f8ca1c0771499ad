//! The request path: which URLs are proxied, and what browsers may do with them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};

use crate::app::App;
use crate::gemini::target;
use crate::gemini::upload::is_upload_path;
use crate::peer::Peer;

mod admit;
mod answer;
mod attempt;
mod authorize;
mod caller;
mod charge;
mod credential;
mod dialect;
mod download;
mod forward;
mod handler;
mod incoming;
mod lease;
mod list;
mod live;
mod pipeline;
mod read_answer;
mod record;
mod refusal;
mod refuse;
mod resource_lookup;
mod retry;
mod route;
mod route_constraint;
mod streaming_body;
mod upload;

/// The headers of an upload's answers that a browser needs to continue it.
const OF_UPLOADS: &str = "x-goog-upload-url, x-goog-upload-control-url, x-goog-upload-status, \
                          x-goog-upload-chunk-granularity, x-goog-upload-size-received, location, range";

/// Serves every path that no other router knows.
pub async fn serve(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    if !target::is_proxied(request.uri().path()) {
        return refuse::unknown_path();
    }
    let origin = app.settings().cors_allow_origin.clone();
    let preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let is_upload = is_upload_path(request.uri().path());
    let mut response = if preflight {
        answer_preflight(&request)
    } else {
        handler::handle(&app, request, peer.0).await
    };
    if let Ok(origin) = HeaderValue::from_str(&origin)
        && !origin.is_empty()
    {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let ours = HeaderValue::from_static("x-request-id, retry-after");
        headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, ours);
        if is_upload {
            let protocol = HeaderValue::from_static(OF_UPLOADS);
            headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, protocol);
        }
    }
    response
}

/// Allows the request that a preflight announces. Preflights carry no credential and are not recorded.
fn answer_preflight(request: &Request) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, HEAD");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let any = HeaderValue::from_static("*");
    let requested = request
        .headers()
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .unwrap_or(&any);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("86400"),
    );
    response
}
