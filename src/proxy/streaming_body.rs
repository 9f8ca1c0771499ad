//! `StreamingBody`: a request body that is sent while it arrives, and its progress.

use parking_lot::Mutex;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::pool::settings::Settings;
use crate::proxy::body_pace::BodyPace;

/// A body that is read as fast as it is sent.
#[derive(Debug)]
pub struct StreamingBody {
    /// Not shared: futures that borrow the request require `Sync`, which an unused lock provides.
    body: Mutex<Body>,
    progress: watch::Sender<Progressed>,
}

/// How much of a body was sent, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progressed {
    pub bytes: u64,
    pub stage: Stage,
}

/// What a body waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The upstream has yet to take the last chunk.
    WaitingForUpstream,
    /// The client has yet to send the next chunk.
    WaitingForClient,
    /// The whole body was sent.
    Sent,
    /// The client disconnected in the middle.
    Broken,
}

/// Watches how much of a body was sent.
pub type BodyProgress = watch::Receiver<Progressed>;

impl StreamingBody {
    pub fn new(body: Body) -> (Self, BodyProgress) {
        let (sender, progress) = watch::channel(Progressed {
            bytes: 0,
            stage: Stage::WaitingForUpstream,
        });
        let body = Mutex::new(body);
        let body = Self {
            body,
            progress: sender,
        };
        (body, progress)
    }
}

impl HttpBody for StreamingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let body = self.body.get_mut();
        let polled = Pin::new(body).poll_frame(context);
        let (bytes, stage) = match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                (
                    u64::try_from(length).unwrap_or(u64::MAX),
                    Stage::WaitingForUpstream,
                )
            }
            Poll::Ready(Some(Err(_))) => (0, Stage::Broken),
            Poll::Ready(None) => (0, Stage::Sent),
            Poll::Pending => (0, Stage::WaitingForClient),
        };
        self.progress.send_if_modified(|progress| {
            let moved = bytes > 0 || progress.stage != stage;
            progress.bytes += bytes;
            progress.stage = stage;
            moved
        });
        polled
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.lock();
        body.size_hint()
    }
}

/// How long a client may pause once the server is stopping.
pub const BODY_TIMEOUT_AT_STOP: Duration = Duration::from_secs(5);

/// Waits until a body has made no progress for too long, and returns what it waited for.
pub async fn stall(
    mut progress: BodyProgress,
    settings: &Settings,
    model: Option<&str>,
    stopping: &CancellationToken,
) -> Stage {
    let mut pace = BodyPace::default();
    let mut arrived = 0;
    loop {
        let stage = progress.borrow_and_update().stage;
        let limit = match stage {
            Stage::WaitingForUpstream => settings.idle_timeout(model),
            Stage::WaitingForClient if stopping.is_cancelled() => {
                pace.time_left(settings).min(BODY_TIMEOUT_AT_STOP)
            }
            Stage::WaitingForClient => pace.time_left(settings),
            Stage::Sent | Stage::Broken => settings.first_byte_timeout(model),
        };
        let began = clock::timer_instant();
        let changed = tokio::select! {
            changed = timeout(limit, progress.changed()) => changed,
            () = stopping.cancelled(), if !stopping.is_cancelled() => continue,
        };
        match changed {
            Ok(Ok(())) => {
                let waited = match stage {
                    Stage::WaitingForClient => began.elapsed(),
                    _ => Duration::ZERO,
                };
                let so_far = progress.borrow().bytes;
                pace.add(so_far - arrived, waited);
                arrived = so_far;
            }
            // The body was dropped: the answer has begun, or is awaited.
            Ok(Err(_)) => {
                tokio::time::sleep(settings.first_byte_timeout(model)).await;
                return Stage::Sent;
            }
            Err(_) => return stage,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    use super::*;

    /// A body whose chunks a test sends.
    struct Channel(mpsc::UnboundedReceiver<Result<&'static str, &'static str>>);

    impl HttpBody for Channel {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            let received = self.0.poll_recv(context);
            received.map(|received| {
                received
                    .map(|chunk| chunk.map(|text| Frame::data(Bytes::from_static(text.as_bytes()))))
            })
        }
    }

    #[tokio::test]
    async fn a_stalled_body_reports_what_it_waits_for() {
        let settings = Settings {
            idle_timeout_ms: 5,
            first_byte_timeout_ms: 10,
            ..Settings::default()
        };
        let (sender, chunks) = mpsc::unbounded_channel();
        let (mut body, progress) = StreamingBody::new(Body::new(Channel(chunks)));
        let stopping = CancellationToken::new();
        let stalled_at = async || stall(progress.clone(), &settings, None, &stopping).await;

        assert_eq!(stalled_at().await, Stage::WaitingForUpstream);

        sender.send(Ok("abc")).unwrap();
        body.frame().await.unwrap().unwrap();
        assert_eq!(stalled_at().await, Stage::WaitingForUpstream);

        assert!(timeout(Duration::ZERO, body.frame()).await.is_err());
        assert_eq!(stalled_at().await, Stage::WaitingForClient);

        sender.send(Ok("de")).unwrap();
        body.frame().await.unwrap().unwrap();
        drop(sender);
        assert!(body.frame().await.is_none());
        assert_eq!(stalled_at().await, Stage::Sent);
        drop(body);
        assert_eq!(stalled_at().await, Stage::Sent);
        assert_eq!(progress.borrow().bytes, 5);
    }

    #[tokio::test]
    async fn a_disconnect_in_the_middle_is_reported() {
        let (sender, chunks) = mpsc::unbounded_channel();
        let (mut body, progress) = StreamingBody::new(Body::new(Channel(chunks)));

        sender.send(Err("disconnected")).unwrap();

        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(progress.borrow().stage, Stage::Broken);
    }
}
