//! Serves one connection of a client: HTTP/1 or HTTP/2, whichever it begins with.

use std::convert::Infallible;
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::client_connections::ClientConnection;
use crate::peer::Peer;

/// Time limit for a request's head, including the idle time between two requests: longer than the idle timeout of usual
/// proxies in front, so that none sends a request on a connection that is just being closed.
const HEAD_TIMEOUT: Duration = Duration::from_mins(2);
/// The same while files are short.
const SHORT_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The beginning of an HTTP/2 connection (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);

/// Spawns everything that serves clients: connections, and the streams of HTTP/2 connections.
#[derive(Debug, Clone)]
pub struct ConnectionTasks {
    pub running: TaskTracker,
    pub cut_off: CancellationToken,
}

impl ConnectionTasks {
    /// Spawns a task that also ends when the server cuts off what remains.
    pub fn spawn(&self, task: impl Future<Output: Send> + Send + 'static) -> AbortHandle {
        let task = self.cut_off.clone().run_until_cancelled_owned(task);
        self.running.spawn(task).abort_handle()
    }
}

impl<F> hyper::rt::Executor<F> for ConnectionTasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

/// Serves a connection until it ends or falls idle.
pub async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    connection: ClientConnection,
    router: Router,
    watcher: Watcher,
    tasks: ConnectionTasks,
) {
    // Chunks are sent immediately; if this fails the connection is already broken.
    let _ = stream.set_nodelay(true);
    let head_timeout = if connection.are_files_short() {
        SHORT_HEAD_TIMEOUT
    } else {
        HEAD_TIMEOUT
    };
    let (mut from_client, to_client) = stream.into_split();
    let begun = timeout(head_timeout, read_beginning(&mut from_client));
    let Ok(Ok(beginning)) = begun.await else {
        return;
    };
    let requests = Arc::new(RunningRequests::default());
    let is_http2 = beginning == HTTP2_PREFACE;
    let from_client = Cursor::new(beginning).chain(from_client);
    let stream = TokioIo::new(tokio::io::join(from_client, to_client));

    let mut builder = auto::Builder::new(tasks);
    let http1 = &mut builder.http1();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout);
    let http2 = &mut builder.http2();
    http2
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING_INTERVAL);
    let (client, running) = (connection.clone(), requests.clone());
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        let extensions = request.extensions_mut();
        extensions.insert(Peer(peer));
        extensions.insert(client.clone());
        let guard = is_http2.then(|| RunningRequest::new(&running));
        let response = router.clone().call(request);
        async move {
            let response = response.await?;
            Ok::<_, Infallible>(match guard {
                Some(guard) => response.map(|body| {
                    Body::new(GuardedBody {
                        body,
                        _guard: guard,
                    })
                }),
                None => response,
            })
        }
    });
    let served = builder.serve_connection_with_upgrades(stream, service);
    let served = watcher.watch(served.into_owned());
    // hyper ends an idle HTTP/1 connection itself.
    let ended = if is_http2 {
        tokio::select! {
            ended = served => ended,
            () = requests.idle(head_timeout) => return,
        }
    } else {
        served.await
    };
    if let Err(error) = ended {
        tracing::debug!(client.address = %peer, "a connection ended early: {error}");
    }
}

/// Reads until it is known whether the client speaks HTTP/1 or HTTP/2. Returns what was read.
async fn read_beginning(from_client: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::with_capacity(HTTP2_PREFACE.len());
    loop {
        let rest = HTTP2_PREFACE.len() - beginning.len();
        let mut from_client = (&mut *from_client).take(u64::try_from(rest).unwrap_or(0));
        let read = from_client.read_buf(&mut beginning).await?;
        let is_undecided = HTTP2_PREFACE.starts_with(&beginning) && beginning != HTTP2_PREFACE;
        if read == 0 || !is_undecided {
            return Ok(beginning);
        }
    }
}

/// The requests of an HTTP/2 connection that have not been answered to the end.
#[derive(Debug, Default)]
struct RunningRequests {
    count: AtomicUsize,
    changed: Notify,
}

impl RunningRequests {
    /// Returns when there was no request for so long. Pings do not count.
    async fn idle(&self, longest: Duration) {
        loop {
            let changed = timeout(longest, self.changed.notified()).await;
            if changed.is_err() && self.count.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

/// One of them, until dropped.
struct RunningRequest(Arc<RunningRequests>);

impl RunningRequest {
    fn new(requests: &Arc<RunningRequests>) -> Self {
        requests.count.fetch_add(1, Ordering::Relaxed);
        requests.changed.notify_one();
        Self(requests.clone())
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

/// The body of an answer, whose request runs until it is dropped.
struct GuardedBody {
    body: Body,
    _guard: RunningRequest,
}

impl http_body::Body for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_beginning_is_read_as_far_as_it_takes_to_know_the_version() {
        for (sent, read) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], 18),
            (b"PRI * HTTP/1.1\r\n\r\n", 18),
            (b"P", 1),
            (b"", 0),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", 24),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            client.write_all(sent).await.unwrap();
            client.shutdown().await.unwrap();

            let beginning = read_beginning(&mut accepted.into_split().0).await.unwrap();

            assert_eq!(beginning.len(), read, "{sent:?}");
            assert!(sent.starts_with(&beginning));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_without_requests() {
        let requests = Arc::new(RunningRequests::default());
        let longest = Duration::from_mins(2);
        let running = RunningRequest::new(&requests);

        let idle = timeout(Duration::from_hours(1), requests.idle(longest)).await;
        assert!(idle.is_err(), "a request runs");
        drop(running);
        let idle = timeout(Duration::from_mins(3), requests.idle(longest)).await;
        assert!(idle.is_ok());
    }
}
