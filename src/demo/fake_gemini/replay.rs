//! `RawAnswer`: an answer given byte for byte, as a recording has it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::{AnswerBody, Ending, Pieces};
use super::journal::OpenAnswer;

/// What one request gets, whatever it asks.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    pub status: u16,
    /// In order, repeats kept. Hop-by-hop headers are left out when served, and so is a `content-length` that is
    /// not the body's (a recording may have undone its gzip).
    pub headers: Vec<(String, String)>,
    /// The pieces the body is sent in; without a `content-length` each is a chunk.
    pub chunks: Vec<Bytes>,
}

impl RawAnswer {
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
    pub(super) fn into_response(self, open: OpenAnswer) -> Response<AnswerBody> {
        let length: usize = self.chunks.iter().map(Bytes::len).sum();
        let mut headers = HeaderMap::new();
        let mut known_length = false;
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().expect("a header name in the raw answer");
            match name.as_str() {
                "transfer-encoding" | "connection" | "keep-alive" => continue,
                "content-length" if *value != length.to_string() => continue,
                "content-length" => known_length = true,
                _ => (),
            }
            let value = HeaderValue::from_str(value).expect("a header value in the raw answer");
            headers.append(name, value);
        }
        let pieces = Pieces {
            chunks: self.chunks,
            between: std::time::Duration::ZERO,
            ending: Ending::Complete,
            known_length,
        };
        let mut response = Response::new(AnswerBody::new(pieces, open));
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status of HTTP");
        *response.headers_mut() = headers;
        response
    }
}
