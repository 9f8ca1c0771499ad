//! `BodyLogMode`: selects the requests whose bodies are kept, with the settings beside `body_log_mode`.

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::outcome::Outcome;

/// Whose bodies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLogMode {
    Off,
    /// Those of requests that failed or that Google refused.
    Errors,
    All,
}

impl BodyLogMode {
    /// The mode of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "off" => Some(Self::Off),
            "errors" => Some(Self::Errors),
            "all" => Some(Self::All),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Errors => "errors",
            Self::All => "all",
        }
    }

    /// Whether the bodies of a request that ended like this are kept.
    pub fn keeps(self, outcome: Outcome) -> bool {
        match self {
            Self::Off => false,
            Self::Errors => outcome.is_failure() || outcome == Outcome::ClientError,
            Self::All => true,
        }
    }
}

/// Whether a text lists client keys: IDs, separated by commas. An empty one stands for all of them.
pub fn is_client_list(text: &str) -> bool {
    text.is_empty() || text.split(',').all(|id| id.trim().parse::<i64>().is_ok())
}

/// Whether a list of [`is_client_list`] contains this client key.
pub fn lists_client(list: &str, client: ClientKeyId) -> bool {
    let mut ids = list.split(',');
    list.is_empty() || ids.any(|id| id.trim().parse() == Ok(client.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_failures_and_requests_that_google_refused() {
        for outcome in Outcome::ALL {
            let is_error = !matches!(
                outcome,
                Outcome::Success | Outcome::Refused | Outcome::ClientGone
            );
            assert!(!BodyLogMode::Off.keeps(*outcome), "{outcome:?}");
            assert!(BodyLogMode::All.keeps(*outcome), "{outcome:?}");
            assert_eq!(BodyLogMode::Errors.keeps(*outcome), is_error, "{outcome:?}");
        }
    }

    #[test]
    fn a_mode_is_found_by_its_name() {
        for mode in [BodyLogMode::Off, BodyLogMode::Errors, BodyLogMode::All] {
            assert_eq!(BodyLogMode::named(mode.name()), Some(mode));
        }
        assert_eq!(BodyLogMode::named("some"), None);
    }

    #[test]
    fn an_empty_list_contains_every_client_key() {
        for (list, is_list, has_seven) in [
            ("", true, true),
            ("7", true, true),
            ("1, 7", true, true),
            ("17,70", true, false),
            ("test", false, false),
            ("1,,7", false, true),
        ] {
            assert_eq!(is_client_list(list), is_list, "{list}");
            assert_eq!(lists_client(list, ClientKeyId(7)), has_seven, "{list}");
        }
    }
}
