//! CORS and sandboxing: pages of other origins may send requests, and browsers run no answer as code on the dashboard's
//! origin.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// An answer opened as a document gets an opaque origin, runs no script and loads nothing.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
/// Marks the request for a service worker's script, in browsers without `Sec-Fetch-Dest` too.
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");
/// The destinations whose answers a browser runs ("script-like" in the Fetch standard).
const SCRIPTS: [&str; 6] = [
    "script",
    "worker",
    "sharedworker",
    "serviceworker",
    "audioworklet",
    "paintworklet",
];
/// The headers of an upload's answers that a browser needs to continue it.
const OF_UPLOADS: &str = "x-goog-upload-url, x-goog-upload-control-url, x-goog-upload-status, \
                          x-goog-upload-chunk-granularity, x-goog-upload-size-received, location, range";

/// Makes browsers treat an answer as data, whatever content type and policy Google sent.
pub fn sandbox(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, SANDBOX);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
}

/// Whether a browser would run the answer within the page that requests it, where the sandbox does not apply.
pub fn is_script_request(headers: &HeaderMap) -> bool {
    let destinations = headers.get_all(SEC_FETCH_DEST).into_iter();
    let mut destinations = destinations.filter_map(|value| value.to_str().ok());
    headers.contains_key(SERVICE_WORKER)
        || destinations.any(|destination| {
            // A structured field (RFC 9651): parameters may follow.
            let token = destination.split(';').next().unwrap_or_default().trim();
            SCRIPTS
                .iter()
                .any(|script| token.eq_ignore_ascii_case(script))
        })
}

/// Whether a browser asks for permission to send another request.
pub fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Allows the request that a preflight announces. Preflights carry no credential and are not recorded.
pub fn answer_preflight(request: &Request) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, HEAD");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    let any = HeaderValue::from_static("*");
    let requested = request
        .headers()
        .get(ACCESS_CONTROL_REQUEST_HEADERS)
        .unwrap_or(&any);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// Allows pages of `origin` to read an answer; an empty origin allows none.
pub fn allow_origin(headers: &mut HeaderMap, origin: &str, is_upload: bool) {
    let Ok(origin) = HeaderValue::from_str(origin) else {
        return;
    };
    if origin.is_empty() {
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let ours = HeaderValue::from_static("x-request-id, retry-after");
    headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, ours);
    if is_upload {
        let protocol = HeaderValue::from_static(OF_UPLOADS);
        headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, protocol);
    }
}
