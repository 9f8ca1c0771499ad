//! WebSockets: the headers of the handshake (RFC 6455, 4), and the open socket.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

/// An open WebSocket to a client or upstream.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Maximum size of a message.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// Size of the read buffer of an idle socket; audio arrives in frames of a few kilobytes.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// A control frame has up to 125 bytes, two of which are the close code.
const MAX_REASON_BYTES: usize = 123;

/// The headers of the response that accepts a handshake; `None` if the request is not a valid one.
pub fn accept_headers(request: &Parts) -> Option<HeaderMap> {
    let headers = &request.headers;
    let is = |name, value: &str| headers.get(name).is_some_and(|given| given == value);
    let key = headers.get(SEC_WEBSOCKET_KEY)?;
    let is_handshake = request.method == Method::GET
        && header_contains(headers, CONNECTION, "upgrade")
        && header_contains(headers, UPGRADE, "websocket")
        && is(SEC_WEBSOCKET_VERSION, "13");
    is_handshake.then(|| {
        let mut accepted = upgrade_headers();
        accepted.insert(SEC_WEBSOCKET_ACCEPT, accept_value(key));
        accepted
    })
}

/// The headers of our own handshake, which every attempt may send again. It offers no extensions.
pub fn handshake_headers() -> HeaderMap {
    let key = STANDARD.encode(rand::random::<[u8; 16]>());
    let key = HeaderValue::from_str(&key).expect("base64 is ASCII");
    let mut handshake_headers = upgrade_headers();
    handshake_headers.insert(SEC_WEBSOCKET_KEY, key);
    handshake_headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    handshake_headers
}

/// Whether the headers of a 101 accept the handshake.
pub fn is_accepted(request: &HeaderMap, response: &HeaderMap) -> bool {
    let expected = request.get(SEC_WEBSOCKET_KEY).map(accept_value);
    expected.is_some() && response.get(SEC_WEBSOCKET_ACCEPT) == expected.as_ref()
}

/// Opens a WebSocket on an upgraded connection, see [`Socket`].
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    connection: S,
    role: Role,
) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    WebSocketStream::from_raw_socket(connection, role, Some(config)).await
}

/// A close frame with as much of the reason as fits.
pub fn close_frame(code: u16, reason: &str) -> CloseFrame {
    CloseFrame {
        code: CloseCode::from(code),
        reason: reason[..reason.floor_char_boundary(MAX_REASON_BYTES)].into(),
    }
}

fn upgrade_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers
}

/// Whether a header's list contains this word.
fn header_contains(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter();
    let mut words = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    words.any(|value| value.trim().eq_ignore_ascii_case(word))
}

fn accept_value(key: &HeaderValue) -> HeaderValue {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(hash.finalize());
    HeaderValue::from_str(&accept).expect("base64 is ASCII")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(method: &str, lines: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::builder().method(method);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_handshake_is_accepted_as_the_rfc_requires() {
        let proper = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];

        let accepted = accept_headers(&request("GET", &proper)).unwrap();

        assert_eq!(
            accepted[SEC_WEBSOCKET_ACCEPT],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(accept_headers(&request("POST", &proper)).is_none());
        for missing in 0..proper.len() {
            let mut lines = proper.to_vec();
            lines.remove(missing);
            assert!(
                accept_headers(&request("GET", &lines)).is_none(),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn only_a_response_with_the_matching_key_is_accepted() {
        let (request, other) = (handshake_headers(), handshake_headers());
        let answer = |handshake_headers: &HeaderMap| {
            let mut request = Request::builder().body(()).unwrap();
            request.headers_mut().extend(handshake_headers.clone());
            accept_headers(&request.into_parts().0).unwrap()
        };

        assert!(is_accepted(&request, &answer(&request)));
        assert!(!is_accepted(&request, &answer(&other)));
        assert!(!is_accepted(&request, &HeaderMap::new()));
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let frame = close_frame(1008, &"é".repeat(100));

        assert_eq!(frame.reason.len(), 122);
    }
}
