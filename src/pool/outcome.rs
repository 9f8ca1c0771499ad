//! How a request or an attempt ended, as one word for rows, filters and sums.

use std::str::FromStr;

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
    pub const ALL: [Self; 11] = [
        Self::Success,
        Self::ClientError,
        Self::Quota,
        Self::KeyFault,
        Self::UpstreamError,
        Self::Network,
        Self::NoKey,
        Self::Refused,
        Self::ClientGone,
        Self::BrokenOff,
        Self::Interrupted,
    ];

    /// The word for it in rows and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientError => "client_error",
            Self::Quota => "quota",
            Self::KeyFault => "key_fault",
            Self::UpstreamError => "upstream_error",
            Self::Network => "network",
            Self::NoKey => "no_key",
            Self::Refused => "refused",
            Self::ClientGone => "client_gone",
            Self::BrokenOff => "broken_off",
            Self::Interrupted => "interrupted",
        }
    }

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

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        let named = Self::ALL.into_iter().find(|outcome| outcome.name() == text);
        named.ok_or(UnknownOutcome)
    }
}

/// The text names no outcome.
#[derive(Debug, thiserror::Error)]
#[error("not an outcome: they are {}", Outcome::ALL.map(Outcome::name).join(", "))]
pub struct UnknownOutcome;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_read_by_the_name_it_is_written_with() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.name().parse::<Outcome>().unwrap(), outcome);
            assert_eq!(
                serde_json::to_value(outcome).unwrap(),
                outcome.name(),
                "{outcome:?}"
            );
        }
        assert!("succes".parse::<Outcome>().is_err());
    }
}
