//! Checks an upstream key with requests that use no quota unless the settings allow it, until one is refused.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tokio::time::timeout;

use crate::clock::{self, Timestamp};
use crate::gemini::errors::classify::{ErrorContext, classify, success};
use crate::gemini::errors::error_body::{BodyKind, ErrorBody, MAX_ERROR_BYTES};
use crate::gemini::model_list;
use crate::gemini::response::content_decoder::decode_body;
use crate::gemini::response::tap::{ResponseSummary, ResponseTap};
use crate::gemini::target::Surface;
use crate::gemini::transport::{GeminiClient, UpstreamRequest};
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::health::check_schedule::CheckFinding;
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::model_lists::ListedModel;
use crate::pool::secret::Secret;
use crate::pool::settings::Settings;

/// Time limit of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of a response that is read; expected ones are a few kilobytes.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// The result of a check.
#[derive(Debug)]
pub struct KeyCheck {
    /// In the order in which they were sent; at least one.
    pub steps: Vec<CheckStep>,
    /// The key has generated content, which proves that it works.
    pub has_generated: bool,
    /// The summary of the last response.
    pub summary: ResponseSummary,
    /// The models that the key's project lists, if they were asked for.
    pub models: Option<Vec<ListedModel>>,
}

/// What a check asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckScope {
    /// Whether the key works.
    Key,
    /// The same, and all models of its project.
    KeyAndModels,
    /// Only the models.
    Models,
}

/// One request with its verdict.
#[derive(Debug)]
pub struct CheckStep {
    pub request: CheckRequest,
    pub verdict: Verdict,
    pub began: Timestamp,
    pub duration_ms: u64,
    pub response_bytes: usize,
}

/// A request that Google receives in a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRequest {
    pub operation: &'static str,
    pub method: Method,
    pub path: String,
    pub body: &'static str,
    /// A member of each good answer. An answer without it is not Gemini's, and proves nothing.
    answer_member: &'static str,
}

impl KeyCheck {
    /// The verdict of the last request.
    pub fn verdict(&self) -> &Verdict {
        &self.steps.last().expect("a check sends a request").verdict
    }
}

/// The requests, each of which proves more than the one before it: Google lists models even for keys with which it
/// refuses to generate. Only the last of three costs anything.
pub fn check_requests(settings: &Settings, scope: CheckScope) -> Vec<CheckRequest> {
    let model = settings.check_model.as_str();
    let model = if model.contains('/') {
        model.to_owned()
    } else {
        format!("models/{model}")
    };
    let post = |operation, body, answer_member| CheckRequest {
        operation,
        method: Method::POST,
        path: format!("/v1beta/{model}:{operation}"),
        body,
        answer_member,
    };
    let path = match scope {
        CheckScope::Key => "/v1beta/models?pageSize=1",
        CheckScope::KeyAndModels | CheckScope::Models => model_list::PATH,
    };
    let mut check_requests = vec![CheckRequest {
        operation: "models.list",
        method: Method::GET,
        path: path.to_owned(),
        body: "",
        answer_member: "models",
    }];
    if scope == CheckScope::Models {
        return check_requests;
    }
    check_requests.push(post(
        "countTokens",
        r#"{"contents":[{"parts":[{"text":"."}]}]}"#,
        "totalTokens",
    ));
    if settings.check_with_generate {
        check_requests.push(post(
            "generateContent",
            r#"{"contents":[{"parts":[{"text":"."}]}],"generationConfig":{"maxOutputTokens":1}}"#,
            "usageMetadata",
        ));
    }
    check_requests
}

/// Checks a key, through this egress proxy or directly.
pub async fn check_key(
    gemini: &GeminiClient,
    settings: &Settings,
    secret: &Secret,
    scope: CheckScope,
    egress: Option<EgressProxyId>,
) -> KeyCheck {
    let mut checked = KeyCheck {
        steps: Vec::new(),
        has_generated: false,
        summary: ResponseSummary::default(),
        models: None,
    };
    for request in check_requests(settings, scope) {
        let (began, clock) = (clock::now(), clock::instant());
        let received = timeout(
            REQUEST_TIMEOUT,
            send_check(gemini, &request, secret, egress),
        )
        .await;
        let answer = received.unwrap_or_else(|_| {
            CheckResponse::none(
                Rule::AnswerTimeout,
                "Gemini did not answer in time".to_owned(),
            )
        });
        let is_alive = CheckFinding::of(&answer.verdict) == CheckFinding::Accepted;
        checked.has_generated =
            request.operation == "generateContent" && answer.verdict.rule == Rule::Success;
        checked.summary = answer.summary;
        checked.models = checked.models.or(answer.models);
        checked.steps.push(CheckStep {
            request,
            verdict: answer.verdict,
            began,
            duration_ms: u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
            response_bytes: answer.bytes,
        });
        if !is_alive {
            break;
        }
    }
    checked
}

struct CheckResponse {
    verdict: Verdict,
    summary: ResponseSummary,
    bytes: usize,
    models: Option<Vec<ListedModel>>,
}

impl CheckResponse {
    fn none(rule: Rule, message: String) -> Self {
        Self {
            verdict: Verdict::without_answer(rule, message),
            summary: ResponseSummary::default(),
            bytes: 0,
            models: None,
        }
    }
}

async fn send_check(
    gemini: &GeminiClient,
    request: &CheckRequest,
    secret: &Secret,
    egress: Option<EgressProxyId>,
) -> CheckResponse {
    let Some(url) = gemini.url(&request.path) else {
        let message = "the name of the check model cannot be part of a path".to_owned();
        return CheckResponse::none(Rule::MalformedAnswer, message);
    };
    let sent = gemini.send(&outgoing(request, url), secret, egress).await;
    let (answer, _stream) = match sent {
        Ok(sent) => sent,
        Err(unsent) => return CheckResponse::none(unsent.rule, unsent.message),
    };
    let (head, body) = answer.into_parts();
    let Ok(body) = Limited::new(body, MAX_RESPONSE_BYTES).collect().await else {
        let message = "Gemini's response to a check was cut off or is too large".to_owned();
        return CheckResponse::none(Rule::ConnectionBroken, message);
    };
    let status = head.status.as_u16();
    classify_response(request, status, &head.headers, &body.to_bytes())
}

fn outgoing(request: &CheckRequest, url: Uri) -> UpstreamRequest {
    let mut headers = HeaderMap::new();
    if !request.body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    UpstreamRequest {
        method: request.method.clone(),
        url,
        headers,
        body: Bytes::from_static(request.body.as_bytes()),
    }
}

fn classify_response(
    request: &CheckRequest,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
) -> CheckResponse {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let context = ErrorContext {
        surface: Surface::Native,
        client_deadline: false,
    };
    let (verdict, summary) = if (200..300).contains(&status) {
        let mut tap = ResponseTap::new(Surface::Native, headers);
        tap.feed(body);
        let summary = tap.summary();
        let verdict = match &summary.error {
            Some(error) => classify(status, content_type, error, context),
            None => classify_good_answer(request, status, headers, body),
        };
        (verdict, summary)
    } else if let Some(plain) = decode_body(body, headers, MAX_ERROR_BYTES) {
        let verdict = classify(status, content_type, &ErrorBody::read(&plain), context);
        (verdict, ResponseSummary::default())
    } else {
        let message = "Gemini's error has an unsupported encoding".to_owned();
        return CheckResponse::none(Rule::MalformedAnswer, message);
    };
    let reads_models = request.path == model_list::PATH && verdict.rule == Rule::Success;
    let plain = reads_models.then(|| decode_body(body, headers, MAX_RESPONSE_BYTES));
    CheckResponse {
        verdict,
        summary,
        bytes: body.len(),
        models: plain.flatten().and_then(|plain| model_list::parse(&plain)),
    }
}

/// The verdict on an answer that looks good: a success if Gemini answers this request so.
fn classify_good_answer(
    request: &CheckRequest,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
) -> Verdict {
    let body = decode_body(body, headers, MAX_RESPONSE_BYTES).unwrap_or_default();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    if json.get(request.answer_member).is_some() {
        return success(status);
    }
    let answer = ErrorBody::read(&body);
    let rule = match answer.kind {
        BodyKind::Html => Rule::FrontEndError,
        _ => Rule::MalformedAnswer,
    };
    Verdict {
        status: Some(status),
        ..Verdict::without_answer(rule, answer.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_costs_nothing_unless_it_generates() {
        let mut settings = Settings::default();
        let paths = |settings: &Settings| {
            let check_requests = check_requests(settings, CheckScope::Key).into_iter();
            check_requests
                .map(|request| request.path)
                .collect::<Vec<_>>()
        };

        let free = [
            "/v1beta/models?pageSize=1",
            "/v1beta/models/gemini-flash-lite-latest:countTokens",
        ];
        assert_eq!(paths(&settings), free);
        let list = check_requests(&settings, CheckScope::Models);
        assert_eq!((list.len(), list[0].path.as_str()), (1, model_list::PATH));
        settings.set("check_with_generate", "on").unwrap();
        settings.set("check_model", "tunedModels/mine").unwrap();
        assert_eq!(
            paths(&settings)[2],
            "/v1beta/tunedModels/mine:generateContent"
        );
    }

    #[test]
    fn responses_to_checks_are_classified_like_those_to_requests() {
        let html = "<!DOCTYPE html><title>Error 403 (Forbidden)!!1</title>";
        let invalid =
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key."}}"#;
        let quota = r#"{"error":{"code":429,"message":"Resource has been exhausted"}}"#;
        let missing =
            r#"{"error":{"code":404,"message":"models/x is not found for API version v1beta"}}"#;
        let count = &check_requests(&Settings::default(), CheckScope::Key)[1];
        for (status, body, expected) in [
            (200, r#"{"totalTokens":1}"#, "alive"),
            (400, invalid, "dead"),
            (200, html, "unclear"),
            (200, r#"{"status":"ok"}"#, "unclear"),
            (200, r#"["totalTokens"]"#, "unclear"),
            (200, "", "unclear"),
            (204, "", "unclear"),
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
            let answer = classify_response(count, status, &HeaderMap::new(), body.as_bytes());
            let finding = match CheckFinding::of(&answer.verdict) {
                CheckFinding::Accepted => "alive",
                CheckFinding::Refused(_) => "dead",
                CheckFinding::Inconclusive => "unclear",
            };
            assert_eq!(finding, expected, "{status} {body}");
        }
    }
}
