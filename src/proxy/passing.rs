//! `Passing`: a client's body on its way to Google, piece by piece, and who keeps it from going on.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::pool::settings::Settings;

/// A body that is read as fast as it is sent on.
#[derive(Debug)]
pub struct Passing {
    /// Nobody shares it. The way out asks for more than a client's body is: a lock that is never taken is.
    body: Mutex<Body>,
    passed: watch::Sender<Passed>,
}

/// How far a body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub bytes: u64,
    pub stage: Stage,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Google has yet to take what is here.
    ToBeTaken,
    /// The client has yet to send more.
    ToBeSent,
    /// All is on its way.
    Whole,
    /// The client went in the middle.
    Broken,
}

/// How far a body has come, for those who look on.
pub type Advance = watch::Receiver<Passed>;

impl Passing {
    pub fn new(body: Body) -> (Self, Advance) {
        let (passed, progress) = watch::channel(Passed {
            bytes: 0,
            stage: Stage::ToBeTaken,
        });
        let body = Mutex::new(body);
        (Self { body, passed }, progress)
    }
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let polled = Pin::new(body).poll_frame(context);
        let (bytes, stage) = match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                (u64::try_from(length).unwrap_or(u64::MAX), Stage::ToBeTaken)
            }
            Poll::Ready(Some(Err(_))) => (0, Stage::Broken),
            Poll::Ready(None) => (0, Stage::Whole),
            Poll::Pending => (0, Stage::ToBeSent),
        };
        self.passed.send_if_modified(|passed| {
            let moved = bytes > 0 || passed.stage != stage;
            passed.bytes += bytes;
            passed.stage = stage;
            moved
        });
        polled
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        body.size_hint()
    }
}

/// Waits until nothing has moved for too long, and tells whose turn it was.
pub async fn stall(mut progress: Advance, settings: &Settings) -> Stage {
    loop {
        let stage = progress.borrow_and_update().stage;
        let patience = match stage {
            Stage::ToBeTaken | Stage::ToBeSent => settings.idle_timeout(),
            Stage::Whole | Stage::Broken => settings.first_byte_timeout(),
        };
        match timeout(patience, progress.changed()).await {
            Ok(Ok(())) => {}
            // The body was let go: the answer has begun, or is all that is waited for.
            Ok(Err(_)) => {
                tokio::time::sleep(settings.first_byte_timeout()).await;
                return Stage::Whole;
            }
            Err(_) => return stage,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    use super::*;

    /// A body that comes as it is told.
    struct Told(mpsc::UnboundedReceiver<Result<&'static str, &'static str>>);

    impl HttpBody for Told {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            let told = self.0.poll_recv(context);
            told.map(|told| {
                told.map(|told| told.map(|text| Frame::data(Bytes::from_static(text.as_bytes()))))
            })
        }
    }

    #[tokio::test]
    async fn it_is_known_who_keeps_a_body_from_going_on() {
        let settings = Settings {
            idle_timeout_ms: 5,
            first_byte_timeout_ms: 10,
            ..Settings::default()
        };
        let (tell, told) = mpsc::unbounded_channel();
        let (mut body, progress) = Passing::new(Body::new(Told(told)));
        let whose_turn = async || stall(progress.clone(), &settings).await;

        assert_eq!(whose_turn().await, Stage::ToBeTaken);

        tell.send(Ok("abc")).unwrap();
        body.frame().await.unwrap().unwrap();
        assert_eq!(whose_turn().await, Stage::ToBeTaken);

        assert!(timeout(Duration::ZERO, body.frame()).await.is_err());
        assert_eq!(whose_turn().await, Stage::ToBeSent);

        tell.send(Ok("de")).unwrap();
        body.frame().await.unwrap().unwrap();
        drop(tell);
        assert!(body.frame().await.is_none());
        assert_eq!(whose_turn().await, Stage::Whole);
        drop(body);
        assert_eq!(whose_turn().await, Stage::Whole);
        assert_eq!(progress.borrow().bytes, 5);
    }

    #[tokio::test]
    async fn a_client_that_goes_in_the_middle_is_noticed() {
        let (tell, told) = mpsc::unbounded_channel();
        let (mut body, progress) = Passing::new(Body::new(Told(told)));

        tell.send(Err("gone")).unwrap();

        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(progress.borrow().stage, Stage::Broken);
    }
}
