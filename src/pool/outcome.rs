//! `Outcome`: how a request or an attempt ended, for rows, filters and rollups.

use std::str::FromStr;

/// How a request or an attempt ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type, serde::Serialize,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A complete answer.
    Success,
    /// Google refused the client's request.
    ClientError,
    /// A quota was used up.
    Quota,
    /// The upstream key or its project was at fault.
    KeyFault,
    /// Google failed.
    UpstreamError,
    /// The connection to Google failed.
    Network,
    /// No upstream key could be leased.
    NoKey,
    /// The pool refused the request.
    Refused,
    /// The client disconnected first.
    ClientGone,
    /// The answer broke off after its first byte was sent.
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

    /// The name in rows and JSON.
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

    /// Whether the pool or Google failed: a client's error or disconnect is no failure.
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

/// The text is not the name of an outcome.
#[derive(Debug, thiserror::Error)]
#[error("not an outcome: they are {}", Outcome::ALL.map(Outcome::name).join(", "))]
pub struct UnknownOutcome;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_parsed_from_its_name() {
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
