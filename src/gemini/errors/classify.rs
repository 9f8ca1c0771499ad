//! Classifies a response of Google's: status and error body → `Verdict`.

use crate::gemini::errors::error_body::{BodyKind, ErrorBody, states_zero_limit};
use crate::gemini::target::Surface;
use crate::pool::health::verdict::{QuotaWindow, Rule, Verdict};

/// Properties of the request that change the meaning of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorContext {
    pub surface: Surface,
    /// The client sent `x-server-timeout`, so it set the deadline itself.
    pub client_deadline: bool,
}

/// The verdict on a complete response without an error.
pub fn success(status: u16) -> Verdict {
    Verdict {
        rule: Rule::Success,
        status: Some(status),
        message: String::new(),
        retry_delay: None,
        violations: Vec::new(),
        project: None,
    }
}

/// The verdict on an error response or, with a 2xx status, on an error inside a response.
///
/// Texts are compared from their beginning, because they may quote the client's input further in.
pub fn classify(
    status: u16,
    content_type: Option<&str>,
    body: &ErrorBody,
    context: ErrorContext,
) -> Verdict {
    let status = if (200..300).contains(&status) {
        inner_status(body)
    } else {
        status
    };
    let says_html =
        content_type.is_some_and(|kind| starts_with_ignore_case(kind.trim_start(), "text/html"));
    let is_page = body.kind == BodyKind::Html || (body.kind == BodyKind::Other && says_html);
    let rule = if is_page {
        rule_of_page(status)
    } else {
        rule_of(status, body, context)
    };
    Verdict {
        rule,
        status: Some(status),
        message: body.message.clone(),
        retry_delay: body.retry_delay,
        violations: body.violations.clone(),
        project: body.project.clone(),
    }
}

/// The status of an error inside a 200.
fn inner_status(body: &ErrorBody) -> u16 {
    let code = body
        .symbolic_code
        .as_deref()
        .or(body.status.as_deref())
        .unwrap_or_default();
    body.code
        .unwrap_or_else(|| match code.to_ascii_lowercase().as_str() {
            "invalid_argument"
            | "failed_precondition"
            | "invalid_request"
            | "parameter_unknown" => 400,
            "authentication" | "unauthenticated" => 401,
            "payment_required" => 402,
            "permission_denied" => 403,
            "not_found" | "model_not_found" => 404,
            "aborted" | "already_exists" => 409,
            "out_of_range" => 416,
            "resource_exhausted" | "rate_limit_exceeded" | "quota_exceeded" => 429,
            "cancelled" => 499,
            "unimplemented" => 501,
            "unavailable" | "overloaded" | "service_unavailable" => 503,
            "deadline_exceeded" => 504,
            _ => 500,
        })
}

/// Google's front end answers with HTML, before it checks any key.
fn rule_of_page(status: u16) -> Rule {
    match status {
        // "Your client does not have permission", or "automated queries" from this address.
        300..400 | 403 | 429 => Rule::FrontEndForbidden,
        // An unknown path, or a body or header that is too large; of a check it proves nothing about the key.
        400..500 => Rule::UnnamedFault,
        _ => Rule::FrontEndError,
    }
}

fn rule_of(status: u16, body: &ErrorBody, context: ErrorContext) -> Rule {
    if let Some(rule) = rule_of_billing(status, body) {
        return rule;
    }
    match status {
        400 => rule_of_400(body),
        401 => rule_of_401(body),
        402 => Rule::BillingEmpty,
        403 => rule_of_403(body),
        404 => rule_of_404(body, context),
        408 | 409 | 412 | 413 | 416 => Rule::ClientFault,
        429 => rule_of_429(body, context),
        499 => Rule::Cancelled,
        502 => Rule::FrontEndError,
        503 => Rule::Overloaded,
        504 if context.client_deadline => Rule::DeadlineExceeded,
        504 => Rule::UpstreamDeadline,
        300..500 => Rule::UnnamedFault,
        500..600 => Rule::InternalError,
        _ => Rule::MalformedAnswer,
    }
}

/// Billing errors, whatever their status: 429 until September 2026, 402 since.
fn rule_of_billing(status: u16, body: &ErrorBody) -> Option<Rule> {
    if !matches!(status, 402 | 403 | 429) {
        return None;
    }
    // A 402 or 429 never quotes the client's input.
    let mentions = |text| status != 403 && body.message.contains(text);
    if mentions("spending cap") {
        Some(Rule::SpendingCap)
    } else if mentions("prepayment credits are depleted") || body.info("BILLING_DISABLED").is_some()
    {
        Some(Rule::BillingEmpty)
    } else {
        None
    }
}

fn rule_of_400(body: &ErrorBody) -> Rule {
    if names_invalid_key(body) {
        Rule::ApiKeyInvalid
    } else if starts_with_ignore_case(
        &body.message,
        "Multiple authentication credentials received",
    ) {
        Rule::TwoCredentials
    } else if names_location(body) {
        Rule::LocationUnsupported
    } else {
        Rule::InvalidRequest
    }
}

fn rule_of_401(body: &ErrorBody) -> Rule {
    if names_invalid_key(body) {
        Rule::ApiKeyInvalid
    } else if starts_with_ignore_case(
        &body.message,
        "Multiple authentication credentials received",
    ) {
        Rule::TwoCredentials
    } else if starts_with_ignore_case(&body.message, "API keys are not supported by this API") {
        // The method requires OAuth (registering files, permissions): no key is accepted.
        Rule::ClientFault
    } else {
        Rule::Unauthenticated
    }
}

fn rule_of_403(body: &ErrorBody) -> Rule {
    let message = body.message.as_str();
    let is_restricted = body
        .infos
        .iter()
        .any(|info| info.reason.starts_with("API_KEY_") && info.reason.ends_with("_BLOCKED"));
    if body.info("CONSUMER_SUSPENDED").is_some()
        || starts_with_ignore_case(message, "Permission denied: Consumer '")
    {
        Rule::ConsumerSuspended
    } else if starts_with_ignore_case(message, "Your API key was reported as leaked") {
        Rule::KeyLeaked
    } else if body.info("SERVICE_DISABLED").is_some()
        || starts_with_ignore_case(
            message,
            "Generative Language API has not been used in project",
        )
    {
        Rule::ServiceDisabled
    } else if is_restricted
        || (starts_with_ignore_case(message, "Requests ") && message.ends_with("are blocked."))
    {
        Rule::KeyRestricted
    } else if names_invalid_key(body) {
        Rule::ApiKeyInvalid
    } else if starts_with_ignore_case(message, "Your project has been denied access")
        || body.info("CONSUMER_INVALID").is_some()
        || body.info("USER_PROJECT_DENIED").is_some()
    {
        Rule::ProjectDenied
    } else if starts_with_ignore_case(message, "Method doesn't allow unregistered callers") {
        Rule::NoCredential
    } else if names_location(body) {
        Rule::LocationUnsupported
    } else if starts_with_ignore_case(message, "You do not have permission to access ")
        || starts_with_ignore_case(message, "CachedContent not found")
    {
        Rule::ForeignResource
    } else {
        Rule::UnnamedFault
    }
}

fn rule_of_404(body: &ErrorBody, context: ErrorContext) -> Rule {
    let message = body.message.as_str();
    if starts_with_ignore_case(message, "This model ")
        && message.contains("no longer available to new users")
    {
        Rule::ModelRetired
    } else if message.contains(" is not found for API version ")
        || symbolic_code(body, context) == Some("model_not_found")
    {
        Rule::ModelNotFound
    } else {
        Rule::ResourceNotFound
    }
}

/// The longest limit wins: no quota at all, then the day, then the minute; `RetryInfo` only sets the pause.
fn rule_of_429(body: &ErrorBody, context: ErrorContext) -> Rule {
    let violates = |window| {
        body.violations
            .iter()
            .any(|violation| violation.window == window)
    };
    let has_zero = body
        .violations
        .iter()
        .any(|violation| violation.limit == Some(0));
    if has_zero || states_zero_limit(&body.message) {
        Rule::QuotaZero
    } else if violates(QuotaWindow::Day) {
        Rule::QuotaPerDay
    } else if violates(QuotaWindow::Minute) {
        Rule::QuotaPerMinute
    } else if !body.violations.is_empty() {
        Rule::QuotaUnknownWindow
    } else {
        match symbolic_code(body, context) {
            Some("quota_exceeded") => Rule::QuotaPerDay,
            Some("rate_limit_exceeded") => Rule::QuotaPerMinute,
            _ if body.retry_delay.is_some() => Rule::QuotaUnknownWindow,
            _ => Rule::QuotaWithoutDetail,
        }
    }
}

/// The symbolic error code, which only the Interactions API has.
fn symbolic_code(body: &ErrorBody, context: ErrorContext) -> Option<&str> {
    match context.surface {
        Surface::Interactions => body.symbolic_code.as_deref(),
        Surface::Native | Surface::OpenAi => None,
    }
}

/// The OpenAI layer may send the text without the reason.
fn names_invalid_key(body: &ErrorBody) -> bool {
    let texts = ["API key not valid", "API key expired", "API key not found"];
    body.info("API_KEY_INVALID").is_some()
        || body.info("keyInvalid").is_some()
        || texts
            .iter()
            .any(|text| starts_with_ignore_case(&body.message, text))
}

fn names_location(body: &ErrorBody) -> bool {
    starts_with_ignore_case(&body.message, "User location is not supported")
        || starts_with_ignore_case(
            &body.message,
            "Gemini API free tier is not available in your country",
        )
}

/// Whether `text` begins with `beginning`, in any case: Google writes "API key" and "API Key".
fn starts_with_ignore_case(text: &str, beginning: &str) -> bool {
    text.get(..beginning.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(beginning))
}

#[cfg(test)]
mod tests;
