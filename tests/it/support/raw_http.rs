//! An HTTP client that adds nothing: requests and responses in raw form.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Names in lower case; repeated ones stay repeated, in their order.
pub type Headers = Vec<(String, String)>;

/// A raw request, without `host` and `content-length`.
#[derive(Debug, Clone)]
pub struct RawRequest {
    pub method: String,
    pub path_and_query: String,
    pub headers: Headers,
    pub body: Bytes,
}

/// A raw response.
#[derive(Debug)]
pub struct RawResponse {
    pub status: u16,
    pub headers: Headers,
    pub body: Bytes,
}

impl RawResponse {
    /// The only header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(known, _)| known == name);
        let value = named.next().map(|(_, value)| value.as_str());
        assert_eq!(named.next(), None, "one {name} at most");
        value
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends one request on a connection of its own to the host of `url`.
pub async fn send(url: &str, raw_request: RawRequest) -> RawResponse {
    let host = url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(host).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(raw_request.method.as_str())
        .uri(&raw_request.path_and_query)
        .header("host", host);
    for (name, value) in &raw_request.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(raw_request.body)).unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let headers = head.headers.iter();
    RawResponse {
        status: head.status.as_u16(),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        body: body.collect().await.unwrap().to_bytes(),
    }
}
