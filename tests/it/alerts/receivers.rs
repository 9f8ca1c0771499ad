//! Receivers of alerts: an HTTP server that answers as it is told, and a mail server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

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

/// How a mail server encrypts.
#[derive(Clone)]
pub enum MailEncryption {
    None,
    /// From the first byte.
    Tls(TlsAcceptor),
    /// When the client asks for it.
    StartTls(TlsAcceptor),
}

/// A mail server. It accepts any password, but offers to take one over TLS only.
#[derive(Clone)]
pub struct MailReceiver {
    pub port: u16,
    /// Whole conversations, as the client spoke.
    conversations: Arc<Mutex<Vec<String>>>,
}

impl MailReceiver {
    pub async fn start(encryption: MailEncryption) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            port: listener.local_addr().unwrap().port(),
            conversations: Arc::default(),
        };
        let conversations = receiver.conversations.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut said = String::new();
                // The client may end the connection at any time.
                let _ = receive_mail(stream, &encryption, &mut said).await;
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
async fn receive_mail(
    mut stream: TcpStream,
    encryption: &MailEncryption,
    said: &mut String,
) -> io::Result<()> {
    const READY: &[u8] = b"220 mail.test ready\r\n";
    match encryption {
        MailEncryption::None => {
            stream.write_all(READY).await?;
            converse(BufReader::new(stream), "250 ok", said).await?;
        }
        MailEncryption::Tls(acceptor) => {
            let mut stream = acceptor.accept(stream).await?;
            stream.write_all(READY).await?;
            converse(BufReader::new(stream), OFFERS_PASSWORD, said).await?;
        }
        MailEncryption::StartTls(acceptor) => {
            stream.write_all(READY).await?;
            let mut stream = BufReader::new(stream);
            if converse(&mut stream, "250-mail.test\r\n250 STARTTLS", said).await? {
                said.push_str("(TLS)\r\n");
                let stream = acceptor.accept(stream.into_inner()).await?;
                converse(BufReader::new(stream), OFFERS_PASSWORD, said).await?;
            }
        }
    }
    Ok(())
}

/// The answer to `EHLO` over TLS.
const OFFERS_PASSWORD: &str = "250-mail.test\r\n250 AUTH PLAIN";

/// Answers until the client leaves or wants TLS. Returns whether it does.
async fn converse(
    mut stream: impl AsyncBufRead + AsyncWrite + Unpin,
    greeting: &str,
    said: &mut String,
) -> io::Result<bool> {
    let mut is_data = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        said.push_str(&line);
        let command = line.trim_end().to_ascii_uppercase();
        let reply = match command.split(' ').next().unwrap_or_default() {
            "." if is_data => {
                is_data = false;
                "250 accepted"
            }
            _ if is_data => continue,
            "DATA" => {
                is_data = true;
                "354 go on"
            }
            "EHLO" => greeting,
            "AUTH" => "235 accepted",
            "STARTTLS" => "220 go on",
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        stream.flush().await?;
        match reply {
            "220 go on" => return Ok(true),
            "221 bye" => return Ok(false),
            _ => {}
        }
    }
}
