//! Receivers of alerts: an HTTP server that answers as it is told, and a mail server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub text: String,
    pub body: Value,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// An HTTP server.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    status: Arc<AtomicU16>,
    /// A request takes a permit to be answered.
    answers: Arc<Semaphore>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            received: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
            answers: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        };
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// One that answers nothing until [`Self::release`].
    pub async fn start_hanging() -> Self {
        let receiver = Self::start().await;
        receiver.answers.forget_permits(usize::MAX);
        receiver
    }

    pub fn release(&self) {
        self.answers.add_permits(1_000);
    }

    /// Answers with this status from now on; its body repeats the path.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Everything since the last call.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock())
    }

    pub fn count(&self) -> usize {
        self.received.lock().len()
    }
}

async fn receive(State(receiver): State<Receiver>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1_000_000).await.unwrap();
    let path = head.uri.path().to_owned();
    receiver.received.lock().push(Received {
        path: path.clone(),
        headers: head.headers,
        text: String::from_utf8(body.to_vec()).unwrap(),
        body: serde_json::from_slice(&body).unwrap(),
    });
    receiver.answers.acquire().await.unwrap().forget();
    let status = receiver.status.load(Ordering::Relaxed);
    let status = StatusCode::from_u16(status).unwrap();
    (status, format!("no: {path}")).into_response()
}

/// A mail server without encryption.
#[derive(Clone)]
pub struct MailReceiver {
    pub port: u16,
    /// Whole conversations, as the client spoke.
    conversations: Arc<Mutex<Vec<String>>>,
}

impl MailReceiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            port: listener.local_addr().unwrap().port(),
            conversations: Arc::default(),
        };
        let conversations = receiver.conversations.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let said = converse(stream).await.unwrap_or_default();
                conversations.lock().push(said);
            }
        });
        receiver
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.conversations.lock())
    }
}

/// Accepts any mail.
async fn converse(stream: TcpStream) -> std::io::Result<String> {
    let mut stream = BufReader::new(stream);
    let mut said = String::new();
    let mut is_data = false;
    stream.write_all(b"220 mail.test ready\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(said);
        }
        said.push_str(&line);
        let command = line.trim_end().to_ascii_uppercase();
        let reply = match command.as_str() {
            "." if is_data => {
                is_data = false;
                "250 accepted"
            }
            _ if is_data => continue,
            "DATA" => {
                is_data = true;
                "354 go on"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(said);
            }
            _ => "250 ok",
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
}
