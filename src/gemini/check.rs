//! A check of an upstream key: questions to Google that spend nothing, asked in turn until one is refused.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt, Limited};
use reqwest::Url;
use tokio::time::timeout;

use crate::clock::{self, Timestamp};
use crate::gemini::classify::{Asked, classify, success};
use crate::gemini::error_body::{ErrorBody, decode};
use crate::gemini::tap::{Answered, Tap};
use crate::gemini::target::Surface;
use crate::gemini::transport::{Gemini, Outgoing};
use crate::pool::health::check_schedule::CheckFinding;
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::secret::Secret;
use crate::pool::settings::Settings;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer that is read; those to be expected are a few kilobytes.
const LIMIT: usize = 1024 * 1024;

/// What a check came to.
#[derive(Debug)]
pub struct Checked {
    /// In the order in which they were asked; at least one.
    pub steps: Vec<Step>,
    /// The key has generated, which proves it.
    pub has_generated: bool,
    /// What the last answer said of itself.
    pub answered: Answered,
}

/// One question with its answer.
#[derive(Debug)]
pub struct Step {
    pub question: Question,
    pub verdict: Verdict,
    pub began: Timestamp,
    pub duration_ms: u64,
    pub response_bytes: usize,
}

/// What Google is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub operation: &'static str,
    pub method: Method,
    pub path: String,
    pub body: &'static str,
}

impl Checked {
    /// What the last question came to.
    pub fn verdict(&self) -> &Verdict {
        &self.steps.last().expect("a check asks something").verdict
    }
}

/// The questions, each of which proves more than the one before it: Google lists models for keys with which it refuses
/// to generate. Only the last of three costs anything.
pub fn questions(settings: &Settings) -> Vec<Question> {
    let model = settings.check_model.as_str();
    let model = if model.contains('/') {
        model.to_owned()
    } else {
        format!("models/{model}")
    };
    let post = |operation, body| Question {
        operation,
        method: Method::POST,
        path: format!("/v1beta/{model}:{operation}"),
        body,
    };
    let mut questions = vec![
        Question {
            operation: "models.list",
            method: Method::GET,
            path: "/v1beta/models?pageSize=1".to_owned(),
            body: "",
        },
        post("countTokens", r#"{"contents":[{"parts":[{"text":"."}]}]}"#),
    ];
    if settings.check_with_generate {
        questions.push(post(
            "generateContent",
            r#"{"contents":[{"parts":[{"text":"."}]}],"generationConfig":{"maxOutputTokens":1}}"#,
        ));
    }
    questions
}

/// Looks at a key.
pub async fn check(gemini: &Gemini, settings: &Settings, secret: &Secret) -> Checked {
    let mut checked = Checked {
        steps: Vec::new(),
        has_generated: false,
        answered: Answered::default(),
    };
    for question in questions(settings) {
        let (began, clock) = (clock::now(), clock::instant());
        let asked = timeout(PATIENCE, ask(gemini, &question, secret)).await;
        let answer = asked.unwrap_or_else(|_| {
            Answer::none(
                Rule::AnswerTimeout,
                "Gemini did not answer in time".to_owned(),
            )
        });
        let goes_on = CheckFinding::of(&answer.verdict) == CheckFinding::Accepted;
        checked.has_generated =
            question.operation == "generateContent" && answer.verdict.rule == Rule::Success;
        checked.answered = answer.answered;
        checked.steps.push(Step {
            question,
            verdict: answer.verdict,
            began,
            duration_ms: u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
            response_bytes: answer.bytes,
        });
        if !goes_on {
            break;
        }
    }
    checked
}

struct Answer {
    verdict: Verdict,
    answered: Answered,
    bytes: usize,
}

impl Answer {
    fn none(rule: Rule, message: String) -> Self {
        Self {
            verdict: Verdict::without_answer(rule, message),
            answered: Answered::default(),
            bytes: 0,
        }
    }
}

async fn ask(gemini: &Gemini, question: &Question, secret: &Secret) -> Answer {
    let Some(url) = gemini.url(&question.path) else {
        let message = "the model of checks has a name that no path can have".to_owned();
        return Answer::none(Rule::MalformedAnswer, message);
    };
    let sent = gemini.send(&outgoing(question, url), secret).await;
    let (answer, _stream) = match sent {
        Ok(sent) => sent,
        Err(unsent) => return Answer::none(unsent.rule, unsent.message),
    };
    let (head, body) = answer.into_parts();
    let Ok(body) = Limited::new(body, LIMIT).collect().await else {
        let message = "Gemini's answer to a check broke off, or has no end".to_owned();
        return Answer::none(Rule::ConnectionBroken, message);
    };
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    judge(
        head.status.as_u16(),
        text(CONTENT_TYPE),
        text(CONTENT_ENCODING),
        &body.to_bytes(),
    )
}

fn outgoing(question: &Question, url: Url) -> Outgoing {
    let mut headers = HeaderMap::new();
    if !question.body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Outgoing {
        method: question.method.clone(),
        url,
        headers,
        body: Bytes::from_static(question.body.as_bytes()),
    }
}

fn judge(status: u16, content_type: Option<&str>, encoding: Option<&str>, body: &[u8]) -> Answer {
    let asked = Asked {
        surface: Surface::Native,
        client_deadline: false,
    };
    let (verdict, answered) = if (200..300).contains(&status) {
        let mut tap = Tap::new(Surface::Native, content_type, encoding);
        tap.feed(body);
        let answered = tap.finish();
        let verdict = match &answered.error {
            Some(error) => classify(status, content_type, error, asked),
            None => success(status),
        };
        (verdict, answered)
    } else if let Some(plain) = decode(body, encoding) {
        let verdict = classify(status, content_type, &ErrorBody::read(&plain), asked);
        (verdict, Answered::default())
    } else {
        let message = "Gemini's error came in an encoding that cannot be read".to_owned();
        return Answer::none(Rule::MalformedAnswer, message);
    };
    Answer {
        verdict,
        answered,
        bytes: body.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_costs_nothing_unless_it_is_told_to_generate() {
        let mut settings = Settings::default();
        let paths = |settings: &Settings| {
            let questions = questions(settings).into_iter();
            questions.map(|question| question.path).collect::<Vec<_>>()
        };

        let free = [
            "/v1beta/models?pageSize=1",
            "/v1beta/models/gemini-flash-lite-latest:countTokens",
        ];
        assert_eq!(paths(&settings), free);
        settings.set("check_with_generate", "on").unwrap();
        settings.set("check_model", "tunedModels/mine").unwrap();
        assert_eq!(
            paths(&settings)[2],
            "/v1beta/tunedModels/mine:generateContent"
        );
    }

    #[test]
    fn answers_are_judged_as_those_to_requests() {
        let html = "<!DOCTYPE html><title>Error 403 (Forbidden)!!1</title>";
        let invalid =
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key."}}"#;
        let quota = r#"{"error":{"code":429,"message":"Resource has been exhausted"}}"#;
        let missing =
            r#"{"error":{"code":404,"message":"models/x is not found for API version v1beta"}}"#;
        for (status, body, found) in [
            (200, r#"{"totalTokens":1}"#, "alive"),
            (400, invalid, "dead"),
            (200, r#"{"error":{"code":401,"message":"no"}}"#, "dead"),
            (429, quota, "alive"),
            (404, missing, "alive"),
            (403, html, "unclear"),
            (
                503,
                r#"{"error":{"code":503,"message":"overloaded"}}"#,
                "unclear",
            ),
            (
                418,
                r#"{"error":{"code":418,"message":"teapot"}}"#,
                "unclear",
            ),
        ] {
            let answer = judge(status, None, None, body.as_bytes());
            let said = match CheckFinding::of(&answer.verdict) {
                CheckFinding::Accepted => "alive",
                CheckFinding::Refused(_) => "dead",
                CheckFinding::Inconclusive => "unclear",
            };
            assert_eq!(said, found, "{status} {body}");
        }
    }
}
