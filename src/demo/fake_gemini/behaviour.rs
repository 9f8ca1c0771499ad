//! `Behaviour`: what becomes of the requests made with a key.

use std::time::Duration;

/// A key that the fake knows. Any other gets `API_KEY_INVALID`.
#[derive(Debug, Clone)]
pub struct FakeKey {
    pub secret: String,
    /// The number of its project: quotas are counted per project, and errors name it as `projects/N`.
    pub project: String,
    pub behaviour: Behaviour,
}

impl FakeKey {
    pub fn new(
        secret: impl Into<String>,
        project: impl Into<String>,
        behaviour: Behaviour,
    ) -> Self {
        Self {
            secret: secret.into(),
            project: project.into(),
            behaviour,
        }
    }

    pub fn healthy(secret: impl Into<String>, project: impl Into<String>) -> Self {
        Self::new(secret, project, Behaviour::Healthy)
    }
}

/// How Google treats a key, a model or everybody.
#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    Healthy,
    /// 400 `API_KEY_INVALID`.
    Invalid,
    /// The same, with a `DebugInfo` that repeats the key.
    InvalidEchoingKey,
    Expired,
    /// 400 "API Key not found".
    NotFound,
    /// 401 `ACCESS_TOKEN_TYPE_UNSUPPORTED`. Its lists of models still answer, as public reports say.
    Unauthenticated,
    /// 403, known by its text only.
    Leaked,
    /// 403 `CONSUMER_SUSPENDED`; the body repeats the key three times and names the project.
    Suspended,
    ServiceDisabled,
    /// 403 `API_KEY_SERVICE_BLOCKED`.
    ServiceBlocked,
    ReferrerBlocked,
    ProjectDenied,
    /// 402 on whatever spends.
    BillingEmpty,
    /// The same, as the 429 of older reports.
    BillingEmpty429,
    /// 429 on whatever spends.
    SpendingCap,
    /// 429 "limit: 0" for this model.
    QuotaZero(String),
    /// 404 "no longer available to new users" for this model.
    ModelRetired(String),
    /// 400 `FAILED_PRECONDITION`: our address is in the wrong country.
    LocationUnsupported,
    /// 429 without any details, on whatever spends.
    Exhausted,
    /// 429 with a `Help` link only, on whatever spends.
    ExhaustedHelpOnly,
    /// A page of the front end, before any key is looked at.
    ForbiddenHtml,
    InternalError,
    BadGatewayHtml,
    /// 503 "experiencing high demand", on whatever uses a model.
    Overloaded,
    /// 503 "The model is overloaded", on whatever uses a model.
    OverloadedLegacyText,
    DeadlineExceeded,
    /// An answer made elsewhere: status and body as they are.
    FixedResponse(u16, String),
    /// Healthy, but the head waits this many milliseconds.
    SlowFirstByte(u64),
    /// Never answers.
    NeverRespond,
    /// Closes the connection instead of answering.
    CloseConnection,
    /// Resets the connection instead of answering.
    ResetConnection,
    /// Answers something that is not HTTP, and closes.
    MalformedResponse,
    /// Closes in the middle of the answer's head.
    TruncatedHead,
    /// Answers that are not streams break off in the middle.
    TruncatedBody,
    /// Streams break off after this many chunks: the connection is aborted.
    AbortStream(usize),
    /// Streams stall for ever after this many chunks.
    StallStream(usize),
    /// Streams end with an error after this many chunks.
    StreamError {
        after: usize,
        code: u16,
        format: StreamErrorFormat,
    },
    /// Streams are a 200 whose first event is this error.
    FirstEventError(u16),
    /// Replies are a 200 without content, with this finish reason: `STOP` or `MALFORMED_FUNCTION_CALL`.
    EmptyReply(&'static str),
    /// Every n-th request meets the other behaviour, the rest are healthy.
    EveryNth(u64, Box<Behaviour>),
    /// One per request, the last for ever. Only requests that use a model go a step on, so that checks do not.
    Sequence(Vec<Behaviour>),
}

/// How an error inside a stream looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamErrorFormat {
    /// As an event, in the form of the stream: native, OpenAI or Interactions.
    Event,
    /// As indented JSON after the last event, without `data:` (reported for native SSE).
    RawTail,
}

impl Behaviour {
    /// The behaviour of the request with this number (from 0): of the behaviours made of behaviours, the one whose turn it is.
    pub fn for_request(&self, number: u64) -> &Self {
        match self {
            Self::Sequence(behaviours) => {
                let step = usize::try_from(number).unwrap_or(usize::MAX);
                match behaviours.get(step).or(behaviours.last()) {
                    Some(behaviour) => behaviour.for_request(number),
                    None => &Self::Healthy,
                }
            }
            Self::EveryNth(n, behaviour) if number % n == n - 1 => {
                behaviour.for_request(number / n)
            }
            Self::EveryNth(..) => &Self::Healthy,
            plain => plain,
        }
    }

    /// How long the head waits, for a slow behaviour.
    pub fn first_byte_delay(&self) -> Duration {
        match self {
            Self::SlowFirstByte(ms) => Duration::from_millis(*ms),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_goes_step_by_step_and_keeps_the_last() {
        let behaviour = Behaviour::Sequence(vec![Behaviour::Overloaded, Behaviour::Leaked]);

        let behaviours: Vec<_> = (0..4)
            .map(|number| behaviour.for_request(number).clone())
            .collect();

        assert_eq!(
            behaviours,
            [
                Behaviour::Overloaded,
                Behaviour::Leaked,
                Behaviour::Leaked,
                Behaviour::Leaked
            ]
        );
    }

    #[test]
    fn every_nth_request_is_struck() {
        let behaviour = Behaviour::EveryNth(3, Box::new(Behaviour::Overloaded));

        let affected: Vec<_> = (0..7)
            .filter(|number| *behaviour.for_request(*number) != Behaviour::Healthy)
            .collect();

        assert_eq!(affected, [2, 5]);
    }
}
