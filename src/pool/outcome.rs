//! `Outcome`: how a request or an attempt ended, for rows, filters and rollups.

use std::str::FromStr;

use strum::{IntoStaticStr, VariantArray};

/// How a request or an attempt ended.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    sqlx::Type,
    serde::Serialize,
    serde::Deserialize,
    IntoStaticStr,
    VariantArray,
    utoipa::ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name in rows and JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the pool or Google failed. A client's error, what the pool refused by its rules, and a disconnect are neither
    /// success nor failure: the success rate is that of all other requests.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Success | Self::ClientError | Self::Refused | Self::ClientGone => false,
            Self::Quota
            | Self::KeyFault
            | Self::UpstreamError
            | Self::Network
            | Self::NoKey
            | Self::BrokenOff
            | Self::Interrupted => true,
        }
    }
}

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        let named = Self::ALL.iter().find(|outcome| outcome.name() == text);
        named.copied().ok_or(UnknownOutcome)
    }
}

/// The text is not the name of an outcome.
#[derive(Debug, thiserror::Error)]
#[error("not an outcome: they are {}", names().join(", "))]
pub struct UnknownOutcome;

fn names() -> Vec<&'static str> {
    Outcome::ALL.iter().map(|outcome| outcome.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_parsed_from_its_name() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.name().parse::<Outcome>().unwrap(), *outcome);
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
        assert!("succes".parse::<Outcome>().is_err());
    }
}
