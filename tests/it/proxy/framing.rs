//! Where an answer ends is the pool's own word: whatever an upstream announces, the next answer on the connection is whole.

use parking_lot::Mutex;
use std::sync::Arc;

use bytes::Bytes;
use gemini_pool::pool::outcome::Outcome;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::raw_http::Headers;
use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{CLIENT_KEY, TIMEOUT, TestPool, http_client};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
const BODY: &str = r#"{"candidates":[{"content":{"parts":[{"text":"Hi"}]}}]}"#;
const EVENTS: &str =
    "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Hi\"}]}}]}\r\n\r\n";
const JSON: &str = "content-type: application/json\r\n";
const SSE: &str = "content-type: text/event-stream\r\n";
const CHUNKED: &str = "transfer-encoding: chunked\r\n";

/// An upstream's answer, and what the client must get of it.
struct Case {
    name: &'static str,
    method: &'static str,
    test_request: TestRequest,
    upstream: String,
    status: u16,
    /// `None`: an error of the pool's own.
    body: Option<String>,
    length: Length,
}

/// What a client is told of a body's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// What the body is long, or that it comes in chunks.
    True,
    Announced(&'static str),
    Untold,
}

fn case(name: &'static str, head: &str, body: &str) -> Case {
    Case {
        name,
        method: "POST",
        test_request: TestRequest::Generate,
        upstream: format!("HTTP/1.1 200 OK\r\n{head}connection: close\r\n\r\n{body}"),
        status: 200,
        body: Some(BODY.to_owned()),
        length: Length::True,
    }
}

fn refused(name: &'static str, head: &str, body: &str) -> Case {
    Case {
        status: 503,
        body: None,
        ..case(name, head, body)
    }
}

fn bare(name: &'static str, status: &str, head: &str, body: &str, length: Length) -> Case {
    Case {
        status: status.split(' ').next().unwrap().parse().unwrap(),
        upstream: format!("HTTP/1.1 {status}\r\n{head}connection: close\r\n\r\n{body}"),
        body: Some(String::new()),
        length,
        ..case(name, "", "")
    }
}

fn head(name: &'static str, fields: &str, length: Length) -> Case {
    Case {
        method: "HEAD",
        ..bare(name, "200 OK", fields, "", length)
    }
}

/// In chunks of at most so many bytes.
fn chunked(body: &str, size: usize) -> String {
    let pieces = body.as_bytes().chunks(size);
    let pieces = pieces.map(|piece| {
        let text = str::from_utf8(piece).unwrap();
        format!("{:x}\r\n{text}\r\n", piece.len())
    });
    pieces.collect::<String>() + "0\r\n\r\n"
}

fn answers() -> Vec<Case> {
    let all = [
        well_framed_answers(),
        special_answers(),
        malformed_answers(),
        bare_answers(),
    ];
    all.into_iter().flatten().collect()
}

/// Both a length and chunks.
fn both(length: &str) -> String {
    format!("{JSON}content-length: {length}\r\n{CHUNKED}")
}

fn with_length(length: &str) -> String {
    format!("{JSON}content-length: {length}\r\n")
}

/// Of which it is known where they end.
fn well_framed_answers() -> Vec<Case> {
    let (true_length, chunks) = (BODY.len(), chunked(BODY, 20));
    let twice = format!("{JSON}content-length: {true_length}\r\ncontent-length: {true_length}\r\n");
    let trailer = format!("{JSON}trailer: content-length, set-cookie\r\n{CHUNKED}");
    let trailing = format!(
        "{}content-length: 5\r\nset-cookie: a=b\r\n\r\n",
        chunks.strip_suffix("\r\n").unwrap()
    );
    let named = format!(
        "{JSON}connection: content-length, X-Odd\r\nx-odd: 1\r\nkeep-alive: timeout=5\r\n\
         proxy-connection: keep-alive\r\nupgrade: h2c\r\ncontent-length: {true_length}\r\n"
    );
    vec![
        case("a length that is too large", &both("600"), &chunks),
        case("a length that is too small", &both("5"), &chunks),
        case("a length of nothing", &both("0"), &chunks),
        case("a length that is none", &both("many"), &chunks),
        case(
            "a length by itself",
            &with_length(&true_length.to_string()),
            BODY,
        ),
        case("the same length twice", &twice, BODY),
        case(
            "the same length as a list",
            &with_length(&format!("{true_length}, {true_length}")),
            BODY,
        ),
        case("trailers", &trailer, &trailing),
        case("headers of this hop only", &named, BODY),
        case("no length and no chunks", JSON, BODY),
        Case {
            upstream: format!("HTTP/1.0 200 OK\r\n{JSON}\r\n{BODY}"),
            ..case("HTTP/1.0", "", "")
        },
    ]
}

/// Large ones, streams and errors.
fn special_answers() -> Vec<Case> {
    let large = format!(
        r#"{{"candidates":[],"padding":"{}"}}"#,
        "x".repeat(3_000_000)
    );
    let events = EVENTS.repeat(3);
    vec![
        Case {
            body: Some(large.clone()),
            ..case("a large answer", &both("60"), &chunked(&large, 1_000_000))
        },
        Case {
            test_request: TestRequest::StreamSse,
            body: Some(events.clone()),
            ..case(
                "a stream",
                &format!("{SSE}content-length: 60\r\n{CHUNKED}"),
                &chunked(&events, 30),
            )
        },
        Case {
            upstream: format!(
                "HTTP/1.1 400 Bad Request\r\n{}\r\n{}",
                both("600"),
                chunked(&fault(KEY), 9)
            ),
            status: 400,
            body: Some(fault("[redacted]")),
            ..case("a redacted error", "", "")
        },
        Case {
            upstream: format!(
                "HTTP/1.1 400 Bad Request\r\n{}\r\n{}",
                both("5"),
                chunked(&fault("x"), 9)
            ),
            status: 400,
            body: Some(fault("x")),
            ..case("an error", "", "")
        },
    ]
}

/// Of which it is not known where they end, or what they are.
fn malformed_answers() -> Vec<Case> {
    let (true_length, chunks) = (BODY.len(), chunked(BODY, 20));
    let contradicting = format!("{JSON}content-length: {true_length}\r\ncontent-length: 5\r\n");
    vec![
        refused("two lengths", &contradicting, BODY),
        refused(
            "a length that is none, without chunks",
            &with_length("many"),
            BODY,
        ),
        refused("a length that comes short", &with_length("600"), BODY),
        refused("JSON without a length that stops", JSON, &BODY[..30]),
        refused(
            "chunks whose JSON stops",
            &format!("{JSON}{CHUNKED}"),
            &chunked(&BODY[..30], 20),
        ),
        refused("an array that stops", JSON, &format!("[{BODY},")),
        refused(
            "a transfer coding that nobody asked for",
            &format!("{JSON}transfer-encoding: gzip, chunked\r\n"),
            &chunks,
        ),
        refused(
            "the same in two lines",
            &format!("{JSON}transfer-encoding: gzip\r\n{CHUNKED}"),
            &chunks,
        ),
        refused(
            "a transfer coding without chunks",
            &format!("{JSON}transfer-encoding: gzip\r\ncontent-length: 5\r\n"),
            BODY,
        ),
        refused(
            "chunks within chunks",
            &format!("{JSON}transfer-encoding: chunked, chunked\r\n"),
            &chunked(&chunks, 10),
        ),
        Case {
            upstream: format!("HTTP/1.0 200 OK\r\n{JSON}{CHUNKED}\r\n{chunks}"),
            ..refused("chunks in HTTP/1.0", "", "")
        },
        Case {
            upstream:
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
                    .to_owned(),
            ..refused("another protocol", "", "")
        },
    ]
}

/// Of which the client gets the head alone.
fn bare_answers() -> Vec<Case> {
    vec![
        bare(
            "204 that announces",
            "204 No Content",
            "content-length: 5\r\n",
            "",
            Length::Untold,
        ),
        bare(
            "204 with a body",
            "204 No Content",
            "content-length: 5\r\n",
            "hello",
            Length::Untold,
        ),
        bare(
            "204 in chunks",
            "204 No Content",
            CHUNKED,
            "5\r\nhello\r\n0\r\n\r\n",
            Length::Untold,
        ),
        bare(
            "205 with a body",
            "205 Reset Content",
            "content-length: 5\r\n",
            "hello",
            Length::True,
        ),
        bare(
            "304",
            "304 Not Modified",
            "etag: \"a\"\r\ncontent-length: 60\r\n",
            "",
            Length::Untold,
        ),
        bare(
            "304 in chunks",
            "304 Not Modified",
            CHUNKED,
            "",
            Length::Untold,
        ),
        bare(
            "nothing",
            "200 OK",
            "content-length: 0\r\n",
            "",
            Length::True,
        ),
        head("HEAD", &with_length("60"), Length::Announced("60")),
        head(
            "HEAD, the same length twice",
            &with_length("60\r\ncontent-length: 60"),
            Length::Announced("60"),
        ),
        head("HEAD of nothing", &with_length("0"), Length::Announced("0")),
        head("HEAD of what comes in chunks", &both("60"), Length::Untold),
        head(
            "HEAD with two lengths",
            &with_length("60, 61"),
            Length::Untold,
        ),
        head("HEAD without a length", JSON, Length::Untold),
    ]
}

fn fault(key: &str) -> String {
    format!(r#"{{"error": {{"code": 400, "message": "No {key}.", "status": "INVALID_ARGUMENT"}}}}"#)
}

#[tokio::test]
async fn the_next_answer_on_the_connection_is_intact_whatever_the_last_one_announced() {
    let upstream = Upstream::start().await;
    let pool = TestPool::with_upstream_url(upstream.url.clone(), KEY).await;
    pool.set(&[("check_new_keys", "off"), ("max_attempts", "1")])
        .await;
    for case in answers() {
        let name = case.name;
        upstream.set_answer(&case.upstream);
        let mut connection = Connection::open(&pool).await;

        let (head, body) = connection.send(case.method, case.test_request).await;

        assert_eq!(head.status, case.status, "{name}: {head:?} {body}");
        match &case.body {
            Some(expected) => assert!(body == *expected, "{name}: {head:?} {body}"),
            None => assert!(body.contains("gemini-pool: "), "{name}: {body}"),
        }
        let announced = head.header("content-length");
        match case.length {
            Length::True => assert!(
                announced.is_none_or(|length| length == body.len().to_string()),
                "{name}: {head:?}"
            ),
            Length::Announced(length) => assert_eq!(announced, Some(length), "{name}"),
            Length::Untold => assert_eq!(announced, None, "{name}"),
        }
        for hop in [
            "trailer",
            "x-odd",
            "keep-alive",
            "proxy-connection",
            "upgrade",
        ] {
            assert_eq!(head.header(hop), None, "{name}");
        }
        let row = pool.finished_rows(1).await.pop().unwrap();
        let expected = match case.status {
            200..300 => Outcome::Success,
            503 => Outcome::Network,
            _ => Outcome::ClientError,
        };
        assert_eq!(row.outcome, Some(expected), "{name}: {row:?}");

        let length = BODY.len();
        upstream.set_answer(&format!(
            "HTTP/1.1 200 OK\r\n{JSON}content-length: {length}\r\nconnection: close\r\n\r\n{BODY}"
        ));
        let (head, body) = connection.send("POST", TestRequest::Generate).await;
        assert_eq!((head.status, body.as_str()), (200, BODY), "after {name}");
    }
}

#[tokio::test]
async fn a_client_of_http_2_gets_the_whole_answer_whatever_its_head_announced() {
    let upstream = Upstream::start().await;
    let pool = TestPool::with_upstream_url(upstream.url.clone(), KEY).await;
    let client = http_client().http2_prior_knowledge().build().unwrap();
    for length in ["600", "5", "0"] {
        let chunks = chunked(BODY, 20);
        let answer = case("", &both(length), &chunks).upstream;
        upstream.set_answer(&answer);
        let request = client
            .post(format!("{}{}", pool.url, TestRequest::Generate.path()))
            .header("x-goog-api-key", CLIENT_KEY);

        let response = ClientResponse::whole(
            request
                .body(TestRequest::Generate.body())
                .send()
                .await
                .unwrap(),
        )
        .await;

        assert!(!response.is_truncated, "{length}: {response:?}");
        assert_eq!(response.text(), BODY, "{length}");
    }
}

#[tokio::test]
async fn an_upstream_of_http_2_is_believed_where_its_length_is_true() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let announced = Arc::new(Mutex::new(String::new()));
    let says = announced.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let says = says.clone();
            let service = service_fn(move |_| {
                let length = says.lock().clone();
                let answer = Response::builder()
                    .header("content-type", "application/json")
                    .header("content-length", length)
                    .body(Full::new(Bytes::from(BODY)));
                async { answer }
            });
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    let pool = TestPool::with_upstream_url(url, KEY).await;
    pool.set(&[("upstream_http2", "on")]).await;
    let true_length = BODY.len().to_string();
    for length in [true_length.as_str(), "5", "600", &true_length] {
        length.clone_into(&mut announced.lock());
        let mut connection = Connection::open(&pool).await;

        let (head, body) = connection.send("POST", TestRequest::Generate).await;

        if length == true_length {
            assert_eq!((head.status, body.as_str()), (200, BODY));
            assert_eq!(head.header("content-length"), Some(length));
        } else {
            assert_eq!(head.status, 503, "{length}: {body}");
        }
    }
}

/// A server that answers every request with the bytes that it was given last, and closes the connection.
struct Upstream {
    url: String,
    answer: Arc<Mutex<String>>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(String::new()));
        let says = answer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let says = says.clone();
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let Some(head) = Head::read(&mut stream).await else {
                        return;
                    };
                    let length = head.header("content-length").unwrap_or("0");
                    let mut body = vec![0; length.parse().unwrap()];
                    stream.read_exact(&mut body).await.unwrap();
                    let answer = says.lock().clone();
                    // The pool may have seen enough before the end.
                    let _ = stream.get_mut().write_all(answer.as_bytes()).await;
                    let _ = stream.get_mut().shutdown().await;
                });
            }
        });
        Self { url, answer }
    }

    fn set_answer(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock());
    }
}

/// A client's connection, kept open from one request to the next.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(pool: &TestPool) -> Self {
        let address = pool.url.strip_prefix("http://").unwrap();
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// Sends a request and reads as much as the head says that the answer is.
    async fn send(&mut self, method: &str, test_request: TestRequest) -> (Head, String) {
        let body = if method == "HEAD" {
            ""
        } else {
            test_request.body()
        };
        let request = format!(
            "{method} {} HTTP/1.1\r\nhost: pool\r\nx-goog-api-key: {CLIENT_KEY}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            test_request.path(),
            body.len(),
        );
        self.0
            .get_mut()
            .write_all(request.as_bytes())
            .await
            .unwrap();
        let answer = timeout(TIMEOUT, async {
            let head = Head::read(&mut self.0).await.expect("an answer");
            let is_bare = method == "HEAD" || matches!(head.status, 204 | 304);
            let body = if is_bare {
                String::new()
            } else {
                self.read_body(&head).await
            };
            (head, body)
        });
        answer.await.expect("the answer is as long as it says")
    }

    async fn read_body(&mut self, head: &Head) -> String {
        let mut body = Vec::new();
        let length = head.header("content-length");
        let Some(coding) = head.header("transfer-encoding") else {
            body.resize(length.expect("a length").parse().unwrap(), 0);
            self.0.read_exact(&mut body).await.unwrap();
            return String::from_utf8(body).unwrap();
        };
        assert_eq!((coding, length), ("chunked", None), "{head:?}");
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.0.read_exact(&mut chunk).await.unwrap();
            assert!(chunk.ends_with(b"\r\n"), "{chunk:?}");
            body.extend(&chunk[..size]);
            if size == 0 {
                return String::from_utf8(body).unwrap();
            }
        }
    }
}

/// The head of a message.
#[derive(Debug)]
struct Head {
    /// 0 for a request.
    status: u16,
    headers: Headers,
}

impl Head {
    async fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                text => lines.push(text.to_owned()),
            }
        }
        let words: Vec<_> = lines[0].split(' ').collect();
        let headers = lines[1..].iter().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        });
        Some(Self {
            status: words[1].parse().unwrap_or(0),
            headers: headers.collect(),
        })
    }

    /// The only header of this name.
    fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(known, _)| known == name);
        let value = named.next().map(|(_, value)| value.as_str());
        assert_eq!(named.next(), None, "one {name} at most");
        value
    }
}
