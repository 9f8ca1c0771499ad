//! `Committed`: ends when a row is committed or `commit_wait_ms` is over; the last byte of the answer waits for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

/// Ready when the row is committed, or after `commit_wait_ms`.
#[derive(Debug)]
pub struct Committed {
    committed: Option<oneshot::Receiver<()>>,
    deadline: Pin<Box<Sleep>>,
}

impl Committed {
    /// `committed` is `None` for a request without a row.
    pub fn new(committed: Option<oneshot::Receiver<()>>, wait: Duration) -> Self {
        Self {
            committed,
            deadline: Box::pin(sleep(wait)),
        }
    }
}

impl Future for Committed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(committed) = &mut self.committed else {
            return Poll::Ready(());
        };
        if Pin::new(committed).poll(context).is_ready() {
            return Poll::Ready(());
        }
        self.deadline.as_mut().poll(context)
    }
}
