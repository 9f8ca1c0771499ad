//! The request path: which URLs are proxied, and how each is told from the rest.

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
mod authenticate;
mod bind;
mod choose;
mod download;
mod forward;
mod handler;
mod incoming;
mod lists;
mod live;
mod passing;
mod record;
mod refuse;
mod tries;
mod upload;

/// What a browser must be allowed to read of an upload's answers to go on.
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
    } else if target::is_live_path(request.uri().path()) {
        live::handle(&app, request, peer.0).await
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

/// Tells a browser that it may send what it asks to send. Preflights carry no credential and are not recorded.
fn answer_preflight(request: &Request) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, HEAD");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let any = HeaderValue::from_static("*");
    let asked = request
        .headers()
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .unwrap_or(&any);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("86400"),
    );
    response
}
