//! `ReplayedResponse`: an answer given byte for byte, as a recording has it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::journal::OpenResponse;
use super::response_body::{BodyChunks, BodyEnd, FakeResponseBody};

/// What one request gets, whatever it asks.
#[derive(Debug, Clone)]
pub struct ReplayedResponse {
    pub status: u16,
    /// In order, repeats kept. Hop-by-hop headers are left out when served, and so is a `content-length` that is
    /// not the body's (a recording may have undone its gzip).
    pub headers: Vec<(String, String)>,
    /// The pieces the body is sent in; without a `content-length` each is a chunk.
    pub chunks: Vec<Bytes>,
}

impl ReplayedResponse {
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers = headers.iter();
        Self {
            status,
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            chunks: vec![body.into()],
        }
    }

    /// Panics on a status or header that HTTP does not know: a mistake in the test.
    pub(super) fn into_response(self, open: OpenResponse) -> Response<FakeResponseBody> {
        let length: usize = self.chunks.iter().map(Bytes::len).sum();
        let mut headers = HeaderMap::new();
        let mut has_content_length = false;
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().expect("a header name in the raw answer");
            match name.as_str() {
                "transfer-encoding" | "connection" | "keep-alive" => continue,
                "content-length" if *value != length.to_string() => continue,
                "content-length" => has_content_length = true,
                _ => (),
            }
            let value = HeaderValue::from_str(value).expect("a header value in the raw answer");
            headers.append(name, value);
        }
        let body_chunks = BodyChunks {
            chunks: self.chunks,
            chunk_delay: std::time::Duration::ZERO,
            ending: BodyEnd::Complete,
            has_content_length,
        };
        let mut response = Response::new(FakeResponseBody::new(body_chunks, open));
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status of HTTP");
        *response.headers_mut() = headers;
        response
    }
}
