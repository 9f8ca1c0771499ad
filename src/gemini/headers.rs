//! Which headers pass between client and Google, and which are stripped.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use jiff::fmt::rfc2822::DateTimeParser;

use crate::clock::Timestamp;

/// The header that carries the one credential Google gets.
pub const API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// The client's headers that Google receives: all but credentials, hop-by-hop headers, and those that identify the
/// client. Streams are requested without an encoding, so that each event can be read and redacted as it arrives.
pub fn headers_for_upstream(headers: &HeaderMap, streams: bool) -> HeaderMap {
    let mut passed = filtered(headers, is_withheld_from_upstream);
    let accepted = if streams {
        "identity".to_owned()
    } else {
        accepted_encodings(headers)
    };
    let accepted = HeaderValue::try_from(accepted).expect("the words are ASCII");
    passed.insert(ACCEPT_ENCODING, accepted);
    passed
}

/// The encodings that the client accepts, of those that are read here, with its preferences.
fn accepted_encodings(headers: &HeaderMap) -> String {
    let lists = headers.get_all(ACCEPT_ENCODING).into_iter();
    let lists: Vec<_> = lists.filter_map(|list| list.to_str().ok()).collect();
    let items = || lists.iter().flat_map(|list| list.split(','));
    if items().all(is_read_encoding) && lists.len() == 1 {
        return lists.concat();
    }
    let mut accepted: Vec<_> = items()
        .filter(|item| is_read_encoding(item))
        .map(str::trim)
        .collect();
    let is_any = |item: &str| item.trim() == "*" || item.trim().starts_with("*;");
    if accepted.is_empty() && items().any(|item| is_any(item) && !is_refused(item)) {
        accepted.push("gzip");
    }
    if accepted.is_empty() {
        accepted.push("identity");
    }
    accepted.join(", ")
}

/// Whether an item of `accept-encoding` accepts an encoding that is read here.
fn is_read_encoding(item: &str) -> bool {
    let word = item.split(';').next().unwrap_or_default().trim();
    let mut read = ["gzip", "x-gzip", "deflate", "identity"].into_iter();
    read.any(|encoding| word.eq_ignore_ascii_case(encoding)) && !is_refused(item)
}

/// Whether an item of `accept-encoding` has the quality 0.
fn is_refused(item: &str) -> bool {
    let quality = item
        .split_once(';')
        .and_then(|(_, parameter)| parameter.trim().strip_prefix("q="));
    quality.is_some_and(|quality| quality.trim().parse() == Ok(0.0_f32))
}

/// Google's headers that the client receives.
pub fn headers_for_client(headers: &HeaderMap) -> HeaderMap {
    filtered(headers, is_withheld_from_client)
}

fn filtered(headers: &HeaderMap, is_withheld: impl Fn(&str) -> bool) -> HeaderMap {
    let mut filtered = HeaderMap::with_capacity(headers.len() + 2);
    for (name, value) in headers {
        if !is_withheld(name.as_str()) && !is_named_by_connection(headers, name) {
            filtered.append(name.clone(), value.clone());
        }
    }
    filtered
}

/// Whether `connection` declares the header to be for this hop only (RFC 9110, 7.6.1).
fn is_named_by_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    let lists = headers
        .get_all(CONNECTION)
        .into_iter()
        .filter_map(|list| list.to_str().ok());
    let mut named = lists.flat_map(|list| list.split(','));
    named.any(|word| word.trim().eq_ignore_ascii_case(name.as_str()))
}

fn is_withheld_from_upstream(name: &str) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name,
            // Credentials.
            "authorization" | "x-api-key" | "cookie"
            // Set anew from the target and the body.
            | "host" | "content-length"
            // Who the client is; key restrictions look at `referer` and `origin`.
            | "forwarded" | "x-real-ip" | "via" | "true-client-ip" | "origin" | "referer" | "accept-language"
            | "x-gemini-api-privileged-user-id"
            // A second project beside the key's is refused as a second credential.
            | "openai-organization" | "openai-project"
            // They would change the meaning of the request after it was read.
            | "x-http-method-override" | "x-http-method" | "x-method-override"
            // Set anew.
            | "accept-encoding"
        )
        || name.starts_with("x-goog-") && !is_google_header_passed(name)
        || [
            "x-forwarded-",
            "cf-",
            "x-stainless-",
            "sec-fetch-",
            "sec-websocket-",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Google's own headers that have no effect beyond the request, or are the upload protocol. The others name a credential,
/// a project, or a selection of fields.
fn is_google_header_passed(name: &str) -> bool {
    matches!(name, "x-goog-request-params" | "x-goog-api-client")
        || name.starts_with("x-goog-upload-")
}

fn is_withheld_from_client(name: &str) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name,
            // Framing: the pool sends the length of what it sends.
            "content-length"
            // The pool sets its own on every answer.
            | "content-security-policy" | "content-security-policy-report-only" | "x-content-type-options"
            // Browsers apply these to the whole origin, which is the dashboard's too: cookies and storage, the scope of
            // service workers, error reports, whether plain HTTP may be used.
            | "set-cookie" | "set-cookie2" | "clear-site-data" | "service-worker-allowed" | "nel" | "report-to"
            | "strict-transport-security"
            // Redirects a browser without a redirect's status.
            | "refresh"
            // Makes a web server in front of the pool send one of its own files.
            | "x-sendfile"
            // Clients would go to UDP 443 of this host.
            | "alt-svc"
            // The client holds no Google credential.
            | "www-authenticate"
            | "x-guploader-uploadid"
            // A download's redirect repeats the request's headers, our key among them (seen in a recording).
            | "x-goog-api-key" | "authorization" | "cookie" | "host" | "user-agent" | "accept" | "accept-encoding"
            | "accept-language" | "access-control-allow-origin"
        )
        || name.starts_with("x-goog-upload-header-")
        // Instructions to nginx in front of the pool: to answer with another resource, to buffer a stream.
        || name.starts_with("x-accel-")
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "expect"
    )
}

/// The length that the answer to a HEAD announces; `None` where it announces none, several different ones, or chunks.
pub fn announced_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).into_iter().map(|value| {
        let digits = value.to_str().ok()?;
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| is_plain)
    });
    let first = lengths.next()??;
    lengths.all(|length| length == Some(first)).then_some(first)
}

/// Whether a body has no transfer coding but `chunked`. No other one is requested, and none is decoded here.
pub fn is_framed_plainly(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).into_iter();
    let is_plain = codings
        .next()
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    is_plain && codings.next().is_none()
}

/// The clock of the server that answered, in whole seconds.
pub fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let parsed = DateTimeParser::new().parse_timestamp(text);
    Some(parsed.ok()?.into())
}

/// A key as a header's value, marked so that nothing prints it. `None` when it cannot travel in a header.
pub fn credential_value(secret: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(secret).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn the_date_of_http_is_parsed() {
        let date = |text| date_of(&headers(&[("date", text)]));
        let expected = "2026-11-22T08:49:37Z".parse().ok();

        assert_eq!(date("Sun, 22 Nov 2026 08:49:37 GMT"), expected);
        assert_eq!(date("yesterday"), None);
    }

    #[test]
    fn google_sees_neither_credentials_nor_who_asks() {
        let mut sent = headers(&[
            ("x-goog-api-key", "a"),
            ("authorization", "Bearer a"),
            ("x-api-key", "a"),
            ("cookie", "a"),
            ("x-forwarded-for", "192.0.2.1"),
            ("cf-connecting-ip", "192.0.2.1"),
            ("x-stainless-os", "Linux"),
            ("openai-organization", "org"),
            ("connection", "keep-alive, X-Odd"),
            ("x-odd", "1"),
            ("te", "trailers"),
            ("content-length", "5"),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("accept-encoding", "gzip"),
            ("x-server-timeout", "30"),
            ("x-goog-user-project", "p"),
            ("x-goog-fieldmask", "a"),
            ("x-goog-unknown", "a"),
            ("x-http-method-override", "DELETE"),
            ("user-agent", "one"),
        ]);
        sent.append("user-agent", HeaderValue::from_static("two"));

        let passed = headers_for_upstream(&sent, false);

        let mut expected = headers(&[
            ("accept-encoding", "gzip"),
            ("x-server-timeout", "30"),
            ("user-agent", "one"),
        ]);
        expected.append("user-agent", HeaderValue::from_static("two"));
        assert_eq!(passed, expected);
    }

    #[test]
    fn clients_see_nothing_of_our_hop() {
        let passed = headers_for_client(&headers(&[
            ("content-type", "text/event-stream"),
            ("transfer-encoding", "chunked"),
            ("alt-svc", "h3"),
            ("www-authenticate", "Bearer"),
            // Echoed, as in a download's redirect.
            ("x-goog-api-key", "a"),
            ("host", "generativelanguage.googleapis.com"),
            ("user-agent", "a"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip"),
            // As in the answers of uploads.
            ("x-guploader-uploadid", "a"),
            ("x-goog-upload-header-x-google-session-info", "internal"),
            ("x-goog-upload-header-vary", "Origin"),
            ("x-goog-upload-status", "active"),
            ("x-goog-upload-chunk-granularity", "8388608"),
            ("x-goog-upload-size-received", "0"),
            ("server", "scaffolding on HTTPServer2"),
            ("content-length", "5"),
            // What acts on the dashboard's origin, or on what stands before the pool.
            ("content-security-policy", "default-src *"),
            ("content-security-policy-report-only", "default-src *"),
            ("x-content-type-options", "sniff"),
            ("set-cookie", "a=b"),
            ("set-cookie2", "a=b"),
            ("clear-site-data", "*"),
            ("service-worker-allowed", "/"),
            ("refresh", "0; url=/"),
            ("nel", "{}"),
            ("report-to", "{}"),
            ("strict-transport-security", "max-age=1"),
            ("x-accel-redirect", "/"),
            ("x-accel-buffering", "yes"),
            ("x-sendfile", "/"),
            ("x-frame-options", "SAMEORIGIN"),
            ("content-disposition", "attachment"),
        ]));

        let expected = headers(&[
            ("content-type", "text/event-stream"),
            ("x-goog-upload-status", "active"),
            ("x-goog-upload-chunk-granularity", "8388608"),
            ("x-goog-upload-size-received", "0"),
            ("server", "scaffolding on HTTPServer2"),
            ("x-frame-options", "SAMEORIGIN"),
            ("content-disposition", "attachment"),
        ]);
        assert_eq!(passed, expected);
    }

    #[test]
    fn a_length_is_announced_once_in_digits_and_without_chunks() {
        type Case<'a> = (&'a [(&'static str, &'static str)], Option<u64>);
        let cases: [Case; 9] = [
            (&[("content-length", "60")], Some(60)),
            (
                &[("content-length", "60"), ("content-length", "60")],
                Some(60),
            ),
            (&[("content-length", "60"), ("content-length", "61")], None),
            (&[("content-length", "60, 60")], None),
            (&[("content-length", "+60")], None),
            (&[("content-length", "")], None),
            (&[("content-length", "99999999999999999999")], None),
            (
                &[("content-length", "60"), ("transfer-encoding", "chunked")],
                None,
            ),
            (&[], None),
        ];
        for (lines, expected) in cases {
            let mut announced = HeaderMap::new();
            for (name, value) in lines {
                announced.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(announced_length(&announced), expected, "{lines:?}");
        }
    }

    #[test]
    fn chunks_are_the_only_transfer_coding() {
        for (codings, expected) in [
            (&[][..], true),
            (&["chunked"], true),
            (&["Chunked"], true),
            (&["gzip, chunked"], false),
            (&["gzip", "chunked"], false),
            (&["chunked", "chunked"], false),
            (&["identity"], false),
            (&[""], false),
        ] {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(is_framed_plainly(&headers), expected, "{codings:?}");
        }
    }

    #[test]
    fn google_may_encode_only_what_the_client_accepts_and_no_stream() {
        let cases: [(&[&'static str], &str); 10] = [
            (&[], "identity"),
            (&["gzip, deflate"], "gzip, deflate"),
            (&["br, zstd"], "identity"),
            (&["GZIP;q=1.0, br"], "GZIP;q=1.0"),
            (&["gzip;q=0, deflate"], "deflate"),
            (&["gzip; q=0.000"], "identity"),
            (&["*"], "gzip"),
            (&["*;q=0"], "identity"),
            (&["br", "gzip"], "gzip"),
            (
                &["gzip;q=1.0,deflate;q=0.6,identity;q=0.3"],
                "gzip;q=1.0,deflate;q=0.6,identity;q=0.3",
            ),
        ];
        for (lines, expected) in cases {
            let lines: Vec<_> = lines
                .iter()
                .map(|line| ("accept-encoding", *line))
                .collect();
            let mut sent = HeaderMap::new();
            for (name, value) in lines {
                sent.append(name, HeaderValue::from_static(value));
            }
            let passed = |streams| headers_for_upstream(&sent, streams)[ACCEPT_ENCODING].clone();
            assert_eq!(passed(false), expected, "{sent:?}");
            assert_eq!(passed(true), "identity");
        }
    }
}
