//! How a request or an attempt ended, as one word for rows, filters and sums.

/// How a request or one of its attempts ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type, serde::Serialize,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A whole answer.
    Success,
    /// Google refused what the client sent.
    ClientError,
    /// A quota was used up.
    Quota,
    /// The upstream key or its project was at fault.
    KeyFault,
    /// Google failed.
    UpstreamError,
    /// The way to Google failed.
    Network,
    /// No upstream key could be lent.
    NoKey,
    /// The pool itself said no.
    Refused,
    /// The client hung up first.
    ClientGone,
    /// The answer broke off after its first byte had gone out.
    BrokenOff,
    /// The program ended first.
    Interrupted,
}

impl Outcome {
    /// Whether the pool or Google fell short: a client's own fault or hang-up is no failure.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Success | Self::ClientError | Self::ClientGone => false,
            Self::Quota
            | Self::KeyFault
            | Self::UpstreamError
            | Self::Network
            | Self::NoKey
            | Self::Refused
            | Self::BrokenOff
            | Self::Interrupted => true,
        }
    }
}
