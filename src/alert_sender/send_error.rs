//! `SendError`: why a receiver did not accept a message.

use std::time::Duration;

/// Time limit of an attempt.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a receiver did not accept a message.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The receiver wants no messages any more.
    #[error("the receiver is gone (status 410)")]
    Gone,
    #[error("{0}")]
    Failed(String),
}
