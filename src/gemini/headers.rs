//! Which headers pass between client and Google, and which stay here.

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};

/// The header that carries the one credential Google gets.
pub const API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// What Google gets of a client's headers: all but credentials, what is between two hops, and what tells who the
/// client is.
pub fn headers_for_upstream(headers: &HeaderMap) -> HeaderMap {
    filtered(headers, is_withheld_from_upstream)
}

/// What the client gets of Google's headers.
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
            "x-goog-api-key" | "authorization" | "x-api-key" | "cookie"
            // Set anew from the target and the body.
            | "host" | "content-length"
            // Who the client is; key restrictions look at `referer` and `origin`.
            | "forwarded" | "x-real-ip" | "via" | "true-client-ip" | "origin" | "referer" | "accept-language"
            | "x-gemini-api-privileged-user-id"
            // A second project beside the key's is refused as a second credential.
            | "x-goog-user-project" | "openai-organization" | "openai-project"
            // They would change what the request means after it was looked at.
            | "x-http-method-override" | "x-goog-fieldmask"
        )
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

fn is_withheld_from_client(name: &str) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name,
            // Clients would go to UDP 443 of this host.
            "alt-svc"
            // The client holds no Google credential.
            | "www-authenticate"
            | "x-guploader-uploadid"
            // A download's redirect repeats the request's headers, our key among them (seen in a recording).
            | "x-goog-api-key" | "authorization" | "cookie" | "host" | "user-agent" | "accept" | "accept-encoding"
            | "accept-language" | "access-control-allow-origin"
        )
        || name.starts_with("x-goog-upload-header-")
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
            ("user-agent", "one"),
        ]);
        sent.append("user-agent", HeaderValue::from_static("two"));

        let passed = headers_for_upstream(&sent);

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
        ]));

        let expected = headers(&[
            ("content-type", "text/event-stream"),
            ("x-goog-upload-status", "active"),
            ("x-goog-upload-chunk-granularity", "8388608"),
            ("x-goog-upload-size-received", "0"),
            ("server", "scaffolding on HTTPServer2"),
        ]);
        assert_eq!(passed, expected);
    }
}
