//! Live sessions: what their frames contain, and the verdict when Google closes one.

use serde_json_borrow::Value;

use crate::gemini::errors::classify::{ErrorContext, classify};
use crate::gemini::errors::error_body::ErrorBody;
use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::gemini::response::json::{JsonPath, JsonScanner};
use crate::gemini::response::usage;
use crate::gemini::target::Surface;
use crate::pool::health::verdict::Verdict;
use crate::pool::quota::usage::TokenUsage;

/// The state of one session, read from Google's frames.
#[derive(Debug)]
pub struct LiveSessionState {
    scanner: JsonScanner,
    turns: u64,
    completed_usage: TokenUsage,
    /// Usage of the current turn.
    current_usage: Option<TokenUsage>,
    has_usage: bool,
}

const FRAME_PATHS: &[JsonPath] = &[
    &["usageMetadata"],
    &["serverContent", "turnComplete"],
    &["sessionResumptionUpdate", "newHandle"],
];

impl Default for LiveSessionState {
    fn default() -> Self {
        Self {
            scanner: JsonScanner::new(FRAME_PATHS),
            turns: 0,
            completed_usage: TokenUsage::default(),
            current_usage: None,
            has_usage: false,
        }
    }
}

impl LiveSessionState {
    /// Reads one of Google's frames. Returns the new handle that it contains, if any; the handle resumes the session.
    pub fn read_frame(&mut self, frame: &[u8]) -> Option<ResourceName> {
        let scanner = &mut self.scanner;
        scanner.reset();
        scanner.feed(frame);
        scanner.drain_complete(0, |raw| {
            if let Ok(metadata) = serde_json::from_slice::<Value>(raw) {
                self.current_usage = Some(usage::of_native(&metadata));
                self.has_usage = true;
            }
        });
        let mut is_complete = false;
        scanner.drain_complete(1, |raw| is_complete = raw == b"true");
        if is_complete {
            self.turns += 1;
            self.completed_usage += self.current_usage.take().unwrap_or_default();
        }
        let mut handle = None;
        scanner.drain_complete(2, |raw| {
            let id = serde_json::from_slice::<String>(raw).ok();
            handle = id.and_then(|id| ResourceName::of_id(ResourceKind::LiveSession, &id));
        });
        handle
    }

    /// Number of turns that the model has completed.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// The usage of all turns; `None`: Google has counted nothing.
    ///
    /// Google counts each turn by itself, with the whole history in its prompt, and may send several counts while the
    /// turn runs: observed in three turns in a review of pydantic-ai's client, and in other clients.
    pub fn usage(&self) -> Option<TokenUsage> {
        let mut all = self.completed_usage;
        all += self.current_usage.unwrap_or_default();
        self.has_usage.then_some(all)
    }
}

/// Whether a close with this code is a normal end of a session.
pub fn is_normal_close(code: u16) -> bool {
    // 1005: the close has no code.
    matches!(code, 1000 | 1001 | 1005)
}

/// Beginnings of close reasons that are error messages, with the status of the error.
///
/// Google closes a session with the message of its error, cut off at 123 bytes, as public reports show for quota
/// (1011), models (1008) and unknown sessions (1008).
const ERROR_MESSAGES: [(&str, u16); 19] = [
    ("API key not valid", 400),
    ("API key expired", 400),
    ("API key not found", 400),
    ("User location is not supported", 400),
    ("Your API key was reported as leaked", 403),
    ("Your project has been denied access", 403),
    ("Permission denied: Consumer", 403),
    ("Generative Language API has not been used in project", 403),
    ("Method doesn't allow unregistered callers", 403),
    ("You do not have permission to access ", 403),
    ("BidiGenerateContent session not found", 404),
    ("Requested entity was not found", 404),
    ("You exceeded your current quota", 429),
    ("Resource has been exhausted", 429),
    ("Your prepayment credits are depleted", 429),
    ("The service is currently unavailable", 503),
    ("The model is overloaded", 503),
    ("This model is currently experiencing high demand", 503),
    ("Deadline expired", 504),
];

/// The verdict on a session that Google has closed.
pub fn classify_close(code: u16, reason: &str) -> Verdict {
    let is_match = |(beginning, _): &&(&str, u16)| {
        reason
            .get(..beginning.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(beginning))
    };
    let names_model = reason.contains(" is not found for API version ")
        || reason.contains("no longer available to new users");
    let status = match (ERROR_MESSAGES.iter().find(is_match), code) {
        (Some((_, status)), _) => *status,
        (None, _) if names_model => 404,
        (None, 1002 | 1003 | 1007..=1010) => 400,
        (None, 1012 | 1013) => 503,
        (None, _) => 500,
    };
    let message = if reason.is_empty() {
        format!("Gemini closed the session with code {code} and no reason")
    } else {
        reason.to_owned()
    };
    let body = ErrorBody {
        message,
        ..ErrorBody::default()
    };
    let context = ErrorContext {
        surface: Surface::Native,
        client_deadline: false,
    };
    classify(status, None, &body, context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::health::verdict::Rule;

    #[test]
    fn the_last_count_of_each_turn_is_added_up() {
        let mut session = LiveSessionState::default();
        assert_eq!(session.usage(), None);
        let frames = [
            r#"{"setupComplete":{}}"#,
            r#"{"usageMetadata":{"promptTokenCount":100,"totalTokenCount":101,"responseTokenCount":1}}"#,
            r#"{"serverContent":{"modelTurn":{"parts":[{"text":"{\"usageMetadata\":{}}"}]}}}"#,
            r#"{"serverContent":{"turnComplete":true},"usageMetadata":{"promptTokenCount":100,"responseTokenCount":20,
                "thoughtsTokenCount":7,"totalTokenCount":120}}"#,
            r#"{"serverContent":{"interrupted":true}}"#,
            r#"{"usageMetadata":{"promptTokenCount":150,"responseTokenCount":5,"totalTokenCount":155},
                "serverContent":{"turnComplete":true}}"#,
            r#"{"usageMetadata":{"promptTokenCount":1,"totalTokenCount":1}}"#,
            "no json",
        ];

        for frame in frames {
            assert_eq!(session.read_frame(frame.as_bytes()), None, "{frame}");
        }

        let usage = session.usage().unwrap();
        assert_eq!(session.turns(), 2);
        assert_eq!(
            (usage.prompt, usage.output, usage.thoughts, usage.total),
            (Some(251), Some(25), Some(7), Some(276))
        );
    }

    #[test]
    fn a_new_handle_is_returned_once() {
        let mut session = LiveSessionState::default();
        let cases = [
            (
                r#"{"sessionResumptionUpdate":{"newHandle":"Cihub\/x=","resumable":true}}"#,
                Some("liveSessions/Cihub/x="),
            ),
            (r#"{"serverContent":{"turnComplete":true}}"#, None),
            (r#"{"sessionResumptionUpdate":{"resumable":false}}"#, None),
            (r#"{"serverContent":{"newHandle":"x"}}"#, None),
            ("\u{0}", None),
        ];
        for (frame, expected) in cases {
            let handle = session.read_frame(frame.as_bytes());
            assert_eq!(
                handle.as_ref().map(ResourceName::as_str),
                expected,
                "{frame}"
            );
        }
        assert_eq!(session.turns(), 1);
    }

    #[test]
    fn a_close_is_classified_by_its_reason_or_else_by_its_code() {
        let cases = [
            (
                1011,
                "You exceeded your current quota, please check your plan and billing details. For more information on t",
                Rule::QuotaWithoutDetail,
            ),
            (
                1008,
                "models/gemini-live-2.5-flash-preview is not found for API version v1beta, or is not supported for bidiG",
                Rule::ModelNotFound,
            ),
            (
                1008,
                "This model models/gemini-2.5-flash is no longer available to new users.",
                Rule::ModelRetired,
            ),
            (
                1008,
                "BidiGenerateContent session not found",
                Rule::ResourceNotFound,
            ),
            (
                1007,
                "API key not valid. Please pass a valid API key.",
                Rule::ApiKeyInvalid,
            ),
            (
                1008,
                "Your API key was reported as leaked. Please use another API key.",
                Rule::KeyLeaked,
            ),
            (
                1007,
                "Request contains an invalid argument.",
                Rule::InvalidRequest,
            ),
            (1008, "", Rule::InvalidRequest),
            (1011, "Internal error encountered.", Rule::InternalError),
            (
                1011,
                "The service is currently unavailable.",
                Rule::Overloaded,
            ),
            (1011, "", Rule::InternalError),
            (1013, "", Rule::Overloaded),
            (1000, "", Rule::InternalError),
        ];
        for (code, reason, rule) in cases {
            assert_eq!(classify_close(code, reason).rule, rule, "{code} {reason:?}");
        }
    }
}
