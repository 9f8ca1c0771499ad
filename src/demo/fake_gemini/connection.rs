//! The sockets: accepts connections, serves HTTP/1.1 and h2c, and injects wire faults.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::respond::respond;
use super::state::FakeState;

/// How a connection ends instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireFault {
    /// Bytes that are no HTTP, or an incomplete answer, then the end.
    RawBytes(&'static [u8]),
    Reset,
}

/// Lets a request inject a fault into its connection.
pub type WireFaultCell = Arc<OnceLock<WireFault>>;

/// Accepts until `stop`, each connection on a task of its own.
pub async fn accept(listener: TcpListener, state: Arc<FakeState>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        // A failed accept is a connection that is gone already.
        if let Ok((stream, _)) = accepted {
            state
                .tasks
                .spawn(serve(stream, state.clone(), stop.clone()));
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<FakeState>, stop: CancellationToken) {
    let cut_off = state.cut_off();
    let _counted = state.journal.connection();
    // Small chunks must leave at once, or every measured latency is Nagle's.
    let _ = stream.set_nodelay(true);

    let wire_fault = WireFaultCell::default();
    let service = service_fn({
        let (state, wire_fault, cut_off) = (state.clone(), wire_fault.clone(), cut_off.clone());
        move |request| respond(state.clone(), wire_fault.clone(), cut_off.clone(), request)
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    // The date is a header of the answer, so that a replayed answer can lack it.
    server.http1().auto_date_header(false);
    server.http2().auto_date_header(false);
    let connection = server
        .serve_connection_with_upgrades(TokioIo::new(FaultyStream { stream, wire_fault }), service);
    tokio::select! {
        () = cut_off.cancelled() => (),
        () = stop.cancelled() => (),
        // Clients break off as they like: that is in the journal, not an error here.
        _ = connection => (),
    }
}

/// A socket whose next write can be replaced by a wire fault.
struct FaultyStream {
    stream: TcpStream,
    wire_fault: WireFaultCell,
}

impl FaultyStream {
    /// Injects the wire fault, if there is one, and ends the connection.
    fn inject_fault(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Error>> {
        match self.wire_fault.get()? {
            WireFault::Reset => {
                let _ = self.stream.set_zero_linger();
            }
            WireFault::RawBytes(bytes) => match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                Poll::Pending => return Some(Poll::Pending),
                Poll::Ready(Ok(_) | Err(_)) => (),
            },
        }
        Some(Poll::Ready(io::ErrorKind::BrokenPipe.into()))
    }
}

impl AsyncRead for FaultyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.inject_fault(cx) {
            Some(over) => over.map(Err),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.inject_fault(cx) {
            Some(over) => over.map(Err),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
