//! Google's upload protocol: the kinds of requests on an upload path, and the session in a response.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::gemini::target::Target;
use crate::gemini::url::{SESSION_PARAMETER, query_parameter};

/// Headers in which Google sends a session's URL. The last is that of the older protocol (`uploadType=resumable`).
const SESSION_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-goog-upload-url"),
    HeaderName::from_static("x-goog-upload-control-url"),
    header::LOCATION,
];

const COMMAND_HEADER: HeaderName = HeaderName::from_static("x-goog-upload-command");
const PROTOCOL_HEADER: HeaderName = HeaderName::from_static("x-goog-upload-protocol");
const STATUS_HEADER: HeaderName = HeaderName::from_static("x-goog-upload-status");

/// The kind of a request on an upload path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadRequest {
    /// Opens a session, or is a request without bytes that needs none; small, can be sent again.
    Start,
    /// Continues the session with this id: sends a part, queries its offset, or cancels it.
    Continue { session: String },
    /// Sends everything at once.
    SingleRequest,
}

impl UploadRequest {
    /// `None`: not an upload.
    pub fn of(target: &Target, headers: &HeaderMap) -> Option<Self> {
        if let Some(session) = session_id(target) {
            return Some(Self::Continue { session });
        }
        if !is_upload(target) {
            return None;
        }
        let query = query_of(target);
        let protocol = headers
            .get(PROTOCOL_HEADER)
            .and_then(|protocol| Some(protocol.to_str().ok()?.to_owned()))
            .or_else(|| query_parameter(query, "upload_protocol"))
            .or_else(|| query_parameter(query, "uploadType"))
            .unwrap_or_default();
        let is = |name: &&str| protocol.eq_ignore_ascii_case(name);
        Some(if ["raw", "multipart", "media"].iter().any(is) {
            Self::SingleRequest
        } else {
            Self::Start
        })
    }
}

/// Whether a path, as a client wrote it, may be an upload path.
pub fn is_upload_path(path: &str) -> bool {
    path.contains("upload/")
}

/// Whether the target is an upload path.
pub fn is_upload(target: &Target) -> bool {
    ["/upload/", "/resumable/"]
        .iter()
        .any(|prefix| target.path_and_query.starts_with(prefix))
}

/// The session that the request continues.
pub fn session_id(target: &Target) -> Option<String> {
    query_parameter(query_of(target), SESSION_PARAMETER).filter(|_| is_upload(target))
}

/// The session's URL in a response.
pub fn session_url(headers: &HeaderMap) -> Option<&str> {
    let names_session = |url: &&str| {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        query_parameter(query, SESSION_PARAMETER).is_some()
    };
    SESSION_HEADERS
        .iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .find(names_session)
}

/// Replaces Google's session URLs in a response by ours.
pub fn replace_session_urls(headers: &mut HeaderMap, url: &HeaderValue) {
    for name in SESSION_HEADERS {
        if headers.contains_key(&name) {
            headers.insert(name, url.clone());
        }
    }
}

/// Removes the headers of a session's URL from a response that opens none of ours.
pub fn remove_session_urls(headers: &mut HeaderMap) {
    for name in &SESSION_HEADERS[..2] {
        headers.remove(name);
    }
}

/// The pool's URL of a session that was opened at this path.
pub fn pool_session_url(base: &str, target: &Target, session: &str) -> Option<HeaderValue> {
    let path = target.path_and_query.split('?').next()?;
    let url = format!("{base}{path}?{SESSION_PARAMETER}={session}&upload_protocol=resumable");
    HeaderValue::try_from(url).ok()
}

/// Whether a response confirms that the session was cancelled. A completed session can still be queried by clients that
/// did not receive the last response.
pub fn is_cancelled(sent: &HeaderMap, status: StatusCode, headers: &HeaderMap) -> bool {
    match headers.get(STATUS_HEADER) {
        Some(status) => status == "cancelled",
        // The older protocol has no commands: 499 confirms the cancellation.
        None => !sent.contains_key(COMMAND_HEADER) && status.as_u16() == 499,
    }
}

fn query_of(target: &Target) -> &str {
    let parts = target.path_and_query.split_once('?');
    parts.map_or("", |(_, query)| query)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn target(path_and_query: &str) -> Target {
        let (path, query) = path_and_query
            .split_once('?')
            .map_or((path_and_query, None), |(path, query)| (path, Some(query)));
        Target::read(&Method::POST, path, query, false).unwrap()
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        lines.collect()
    }

    #[test]
    fn an_upload_request_starts_continues_or_is_complete() {
        let part = |session: &str| {
            Some(UploadRequest::Continue {
                session: session.to_owned(),
            })
        };
        let resumable = headers(&[("x-goog-upload-protocol", "resumable")]);
        let raw = headers(&[("x-goog-upload-protocol", "raw")]);
        let none = HeaderMap::new();
        let cases = [
            (
                "/upload/v1beta/files",
                &resumable,
                Some(UploadRequest::Start),
            ),
            (
                "/resumable/upload/v1/files",
                &none,
                Some(UploadRequest::Start),
            ),
            (
                "/gemini/upload/v1beta/files",
                &raw,
                Some(UploadRequest::SingleRequest),
            ),
            (
                "/upload/v1/files?uploadType=media",
                &none,
                Some(UploadRequest::SingleRequest),
            ),
            (
                "/upload/v1/files?upload_protocol=Multipart",
                &none,
                Some(UploadRequest::SingleRequest),
            ),
            (
                "/upload/v1/files?uploadType=resumable",
                &none,
                Some(UploadRequest::Start),
            ),
            (
                "/upload/v1beta/files?upload_id=a%2Db&key=c",
                &raw,
                part("a-b"),
            ),
            ("/upload/v1beta/files?upload%5Fid=a", &none, part("a")),
            ("/v1beta/files?upload_id=a", &raw, None),
            ("/v1beta/files/x:download?alt=media", &none, None),
        ];
        for (path, headers, expected) in cases {
            assert_eq!(
                UploadRequest::of(&target(path), headers),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn every_session_url_in_a_response_is_replaced() {
        let google = "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=G&upload_protocol=resumable";
        let ours = pool_session_url(
            "https://pool.example",
            &target("/gemini/upload/v1beta/files?x=1"),
            "abc",
        );
        let ours = ours.unwrap();
        let expected =
            "https://pool.example/upload/v1beta/files?upload_id=abc&upload_protocol=resumable";
        assert_eq!(ours, expected);
        for name in ["x-goog-upload-url", "x-goog-upload-control-url", "location"] {
            let mut headers = HeaderMap::new();
            headers.insert("x-goog-upload-status", HeaderValue::from_static("active"));
            headers.insert(name, HeaderValue::from_static(google));

            assert_eq!(session_url(&headers), Some(google), "{name}");
            replace_session_urls(&mut headers, &ours);

            assert_eq!(headers.len(), 2);
            assert_eq!(headers[name], expected);
        }
        assert_eq!(session_url(&headers(&[("location", "/elsewhere")])), None);
    }

    #[test]
    fn a_session_is_cancelled_when_google_confirms_it() {
        let newer = headers(&[("x-goog-upload-command", "upload")]);
        let older = HeaderMap::new();
        let upload_status = |status| headers(&[("x-goog-upload-status", status)]);
        let cases = [
            (&newer, 200, upload_status("active"), false),
            (&newer, 200, upload_status("final"), false),
            (&older, 400, upload_status("final"), false),
            (&newer, 200, upload_status("cancelled"), true),
            (&newer, 503, HeaderMap::new(), false),
            // Clients repeat the query where the status is missing.
            (&newer, 200, HeaderMap::new(), false),
            (&older, 308, HeaderMap::new(), false),
            (&older, 201, HeaderMap::new(), false),
            (&older, 499, HeaderMap::new(), true),
            (&older, 503, HeaderMap::new(), false),
        ];
        for (sent, status, headers, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                is_cancelled(sent, status, &headers),
                expected,
                "{status} {headers:?}"
            );
        }
    }
}
