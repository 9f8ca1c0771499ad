//! Serves one connection of a client: HTTP/1 or HTTP/2, whichever it begins with.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::app::App;
use crate::client_connections::ClientConnection;
use crate::gemini::target;
use crate::peer::Peer;
use crate::proxy;

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
    mut stream: TcpStream,
    connection: ClientConnection,
    app: Arc<App>,
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
    let begun = timeout(head_timeout, read_beginning(&mut stream));
    let Ok(Ok(beginning)) = begun.await else {
        return;
    };
    let requests = Arc::new(RunningRequests::default());
    let is_http2 = beginning == HTTP2_PREFACE;
    let stream = BegunStream {
        beginning,
        stream: TokioIo::new(stream),
    };
    let stopping = app.stopping.clone();
    let (peer, running) = (connection.peer(), is_http2.then(|| requests.clone()));
    let respond = move |request| respond(&app, &router, &connection, request);
    // Pinned where it is made: each local that it passes through would be as large, for as long as the connection is open.
    let served = pin!(serve_begun(
        stream,
        respond,
        running,
        head_timeout,
        watcher,
        stopping,
        tasks
    ));
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

/// Serves a connection of known version: HTTP/2 where its requests are counted.
fn serve_begun<R>(
    stream: BegunStream,
    respond: impl Fn(Request) -> R + Send + 'static,
    running: Option<Arc<RunningRequests>>,
    head_timeout: Duration,
    watcher: Watcher,
    stopping: CancellationToken,
    tasks: ConnectionTasks,
) -> impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send
where
    R: Future<Output = Response> + Send + 'static,
{
    let is_http2 = running.is_some();
    let builder = auto::Builder::new(tasks);
    let mut builder = if is_http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    let http1 = &mut builder.http1();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout);
    let http2 = &mut builder.http2();
    http2
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING_INTERVAL);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let guard = running.as_ref().map(RunningRequest::new);
        let response = respond(request.map(Body::new));
        async move {
            let response = response.await;
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
    let mut served = Box::pin(served.into_owned());
    async move {
        // The server waits until it is dropped.
        let _watcher = watcher;
        // Served first: hyper closes a connection that must end before it has read anything, and its request is lost.
        tokio::select! {
            biased;
            ended = served.as_mut() => return ended,
            () = stopping.cancelled() => {}
        }
        served.as_mut().graceful_shutdown();
        served.await
    }
}

/// Answers a request. Proxied ones, which are most, do not pass the router. Boxed, because the connection keeps the memory
/// of the future while its answer streams.
fn respond(
    app: &Arc<App>,
    router: &Router,
    connection: &ClientConnection,
    mut request: Request,
) -> Pin<Box<dyn Future<Output = Response> + Send>> {
    if target::is_proxied(request.uri().path()) {
        let is_head = request.method() == Method::HEAD;
        // The future is made in its box: it is large, and would be copied there.
        let response = Box::new_uninit();
        let response = Box::write(
            response,
            proxy::serve(app.clone(), connection.clone(), request),
        );
        let response = Box::into_pin(response);
        return if is_head {
            response.map(without_body).boxed()
        } else {
            response
        };
    }
    let extensions = request.extensions_mut();
    extensions.insert(Peer(connection.peer()));
    extensions.insert(connection.clone());
    let response = router.clone().call(request);
    response
        .map(|response| response.unwrap_or_else(|never| match never {}))
        .boxed()
}

/// The answer to a HEAD, with the length that its body would have.
fn without_body(mut response: Response) -> Response {
    let length = response.body().size_hint().exact().map(HeaderValue::from);
    if let Some(length) = length {
        response
            .headers_mut()
            .entry(CONTENT_LENGTH)
            .or_insert(length);
    }
    *response.body_mut() = Body::empty();
    response
}

/// Reads until it is known whether the client speaks HTTP/1 or HTTP/2. Returns what was read.
async fn read_beginning(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::with_capacity(HTTP2_PREFACE.len());
    loop {
        let rest = HTTP2_PREFACE.len() - beginning.len();
        let mut rest_of_it = (&mut *stream).take(u64::try_from(rest).unwrap_or(0));
        let read = rest_of_it.read_buf(&mut beginning).await?;
        let is_undecided = HTTP2_PREFACE.starts_with(&beginning) && beginning != HTTP2_PREFACE;
        if read == 0 || !is_undecided {
            return Ok(beginning);
        }
    }
}

/// A connection of which the beginning was read. The first read returns that together with what follows it: the server would
/// parse half a head in vain, and double its buffer for the rest.
struct BegunStream {
    beginning: Vec<u8>,
    stream: TokioIo<TcpStream>,
}

impl Read for BegunStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.beginning.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.beginning.len().min(buffer.remaining());
        let rest = self.beginning.split_off(length);
        buffer.put_slice(&std::mem::replace(&mut self.beginning, rest));
        if buffer.remaining() > 0
            && let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_read(context, buffer)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for BegunStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
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
            let (mut accepted, _) = listener.accept().await.unwrap();
            client.write_all(sent).await.unwrap();
            client.shutdown().await.unwrap();

            let beginning = read_beginning(&mut accepted).await.unwrap();

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
