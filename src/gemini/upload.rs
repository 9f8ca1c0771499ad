//! Google's upload protocol: what a request on an upload path does, and what of its answer names the session.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::gemini::target::{Target, parameter};

/// Headers in which Google names a session. The last is that of the older protocol (`uploadType=resumable`).
const SESSION_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-goog-upload-url"),
    HeaderName::from_static("x-goog-upload-control-url"),
    header::LOCATION,
];

const COMMAND: HeaderName = HeaderName::from_static("x-goog-upload-command");
const PROTOCOL: HeaderName = HeaderName::from_static("x-goog-upload-protocol");
const STATUS: HeaderName = HeaderName::from_static("x-goog-upload-status");

/// The parameter of a session's URL that authorizes whoever has it.
pub const SESSION: &str = "upload_id";

/// What a request on an upload path does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upload {
    /// Opens a session, or does without one what takes no bytes: small, and can be sent again.
    Start,
    /// Goes on with the session of this id: sends a part, asks how far it is, gives it up.
    Part { session: String },
    /// Sends everything at once.
    Whole,
}

impl Upload {
    /// `None`: no upload.
    pub fn of(target: &Target, headers: &HeaderMap) -> Option<Self> {
        if let Some(session) = session_of(target) {
            return Some(Self::Part { session });
        }
        if !is_upload(target) {
            return None;
        }
        let query = query_of(target);
        let protocol = headers
            .get(PROTOCOL)
            .and_then(|protocol| Some(protocol.to_str().ok()?.to_owned()))
            .or_else(|| parameter(query, "upload_protocol"))
            .or_else(|| parameter(query, "uploadType"))
            .unwrap_or_default();
        let is = |name: &&str| protocol.eq_ignore_ascii_case(name);
        Some(if ["raw", "multipart", "media"].iter().any(is) {
            Self::Whole
        } else {
            Self::Start
        })
    }
}

/// Whether a path, as a client wrote it, may be for uploads.
pub fn is_upload_path(path: &str) -> bool {
    path.contains("upload/")
}

/// Whether the path is for uploads.
pub fn is_upload(target: &Target) -> bool {
    ["/upload/", "/resumable/"]
        .iter()
        .any(|prefix| target.path_and_query.starts_with(prefix))
}

/// The session that the request goes on with.
pub fn session_of(target: &Target) -> Option<String> {
    parameter(query_of(target), SESSION).filter(|_| is_upload(target))
}

/// The URL of the session that an answer names.
pub fn session_url(headers: &HeaderMap) -> Option<&str> {
    let names_session = |url: &&str| {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        parameter(query, SESSION).is_some()
    };
    SESSION_HEADERS
        .iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .find(names_session)
}

/// Puts a URL of ours in the place of Google's, wherever the answer names the session.
pub fn rename_session(headers: &mut HeaderMap, url: &HeaderValue) {
    for name in SESSION_HEADERS {
        if headers.contains_key(&name) {
            headers.insert(name, url.clone());
        }
    }
}

/// The URL by which clients go on with a session of ours that was opened at this path.
pub fn own_session_url(base: &str, target: &Target, session: &str) -> Option<HeaderValue> {
    let path = target.path_and_query.split('?').next()?;
    let url = format!("{base}{path}?{SESSION}={session}&upload_protocol=resumable");
    HeaderValue::try_from(url).ok()
}

/// Whether an answer says that the session was given up. One that has ended well is still asked about, by clients that the
/// last answer did not reach.
pub fn is_given_up(sent: &HeaderMap, status: StatusCode, headers: &HeaderMap) -> bool {
    match headers.get(STATUS) {
        Some(status) => status == "cancelled",
        // The older protocol has no commands: 499 says that it was given up.
        None => !sent.contains_key(COMMAND) && status.as_u16() == 499,
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
    fn a_request_on_an_upload_path_starts_goes_on_or_is_whole() {
        let part = |session: &str| {
            Some(Upload::Part {
                session: session.to_owned(),
            })
        };
        let resumable = headers(&[("x-goog-upload-protocol", "resumable")]);
        let raw = headers(&[("x-goog-upload-protocol", "raw")]);
        let none = HeaderMap::new();
        let cases = [
            ("/upload/v1beta/files", &resumable, Some(Upload::Start)),
            ("/resumable/upload/v1/files", &none, Some(Upload::Start)),
            ("/gemini/upload/v1beta/files", &raw, Some(Upload::Whole)),
            (
                "/upload/v1/files?uploadType=media",
                &none,
                Some(Upload::Whole),
            ),
            (
                "/upload/v1/files?upload_protocol=Multipart",
                &none,
                Some(Upload::Whole),
            ),
            (
                "/upload/v1/files?uploadType=resumable",
                &none,
                Some(Upload::Start),
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
            assert_eq!(Upload::of(&target(path), headers), expected, "{path}");
        }
    }

    #[test]
    fn every_header_that_names_the_session_names_ours() {
        let google = "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=G&upload_protocol=resumable";
        let ours = own_session_url(
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
            rename_session(&mut headers, &ours);

            assert_eq!(headers.len(), 2);
            assert_eq!(headers[name], expected);
        }
        assert_eq!(session_url(&headers(&[("location", "/elsewhere")])), None);
    }

    #[test]
    fn a_session_is_given_up_when_google_says_so() {
        let newer = headers(&[("x-goog-upload-command", "upload")]);
        let older = HeaderMap::new();
        let says = |status| headers(&[("x-goog-upload-status", status)]);
        let cases = [
            (&newer, 200, says("active"), false),
            (&newer, 200, says("final"), false),
            (&older, 400, says("final"), false),
            (&newer, 200, says("cancelled"), true),
            (&newer, 503, HeaderMap::new(), false),
            // Clients ask again where the status is missing.
            (&newer, 200, HeaderMap::new(), false),
            (&older, 308, HeaderMap::new(), false),
            (&older, 201, HeaderMap::new(), false),
            (&older, 499, HeaderMap::new(), true),
            (&older, 503, HeaderMap::new(), false),
        ];
        for (sent, status, headers, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                is_given_up(sent, status, &headers),
                expected,
                "{status} {headers:?}"
            );
        }
    }
}
