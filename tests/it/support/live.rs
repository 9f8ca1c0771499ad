//! A client of live sessions: sends and receives messages over a WebSocket.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gemini_pool::websocket::{self, Socket};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::raw_http::RawResponse;
use super::{CLIENT_KEY, TIMEOUT, TestPool};

/// The path at which sessions are opened.
pub const PATH: &str =
    "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
/// A model that supports live sessions.
pub const MODEL: &str = "gemini-2.5-flash-native-audio-preview-09-2025";

/// Opens a session with these headers and query; returns it, or the response that refuses it.
pub async fn open_session(
    url: &str,
    path_and_query: &str,
    headers: &[(&str, &str)],
) -> Result<Socket, RawResponse> {
    let host = url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(host).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::get(path_and_query).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Empty::<Bytes>::new()).unwrap();
    let asking = websocket::handshake_headers();
    request.headers_mut().extend(asking.clone());
    let mut response = sender.send_request(request).await.unwrap();
    if response.status() == 101 {
        assert!(websocket::is_accepted(&asking, response.headers()));
        let extensions = response.headers().get("sec-websocket-extensions");
        assert_eq!(extensions, None, "no extension is accepted");
        let connection = hyper::upgrade::on(&mut response).await.unwrap();
        return Ok(websocket::open(TokioIo::new(connection), Role::Client).await);
    }
    let (head, body) = response.into_parts();
    let headers = head.headers.iter();
    Err(RawResponse {
        status: head.status.as_u16(),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        body: body.collect().await.unwrap().to_bytes(),
    })
}

/// A connected client that has sent nothing yet.
pub async fn connect(pool: &TestPool) -> Socket {
    let headers = [
        ("x-goog-api-key", CLIENT_KEY),
        ("sec-websocket-extensions", "permessage-deflate"),
    ];
    open_session(&pool.url, PATH, &headers).await.unwrap()
}

/// A session after its setup.
pub async fn begin(pool: &TestPool) -> Socket {
    let mut socket = connect(pool).await;
    socket.send(setup(json!({}))).await.unwrap();
    assert_eq!(
        receive_json(&mut socket).await,
        json!({"setupComplete": {}})
    );
    socket
}

/// The usual first message, with additional fields.
pub fn setup(more: Value) -> Message {
    let mut setup = json!({"model": format!("models/{MODEL}")});
    setup
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    text(json!({"setup": setup}))
}

/// A message that ends the client's turn.
pub fn question() -> Message {
    let turn = json!({"role": "user", "parts": [{"text": "Why is the sky blue?"}]});
    text(json!({"clientContent": {"turns": [turn], "turnComplete": true}}))
}

pub fn text(json: Value) -> Message {
    Message::text(json.to_string())
}

/// The next message, a close included.
pub async fn receive(socket: &mut Socket) -> Message {
    let message = tokio::time::timeout(TIMEOUT, socket.next()).await;
    message.unwrap().unwrap().unwrap()
}

pub async fn receive_json(socket: &mut Socket) -> Value {
    serde_json::from_slice(&receive(socket).await.into_data()).unwrap()
}

/// Reads until the session is closed. Returns the code and the reason; `None`: there were none.
pub async fn receive_close(socket: &mut Socket) -> Option<(u16, String)> {
    loop {
        if let Message::Close(frame) = receive(socket).await {
            return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
        }
    }
}

/// Closes the session and waits for the pool's close frame.
pub async fn close(mut socket: Socket, frame: Option<CloseFrame>) {
    socket.send(Message::Close(frame)).await.unwrap();
    receive_close(&mut socket).await;
}
