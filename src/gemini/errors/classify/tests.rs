//! Tests of the classification, with errors that were reported in public issues.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::gemini::response::tap::ResponseTap;
use crate::pool::health::verdict::{Fault, Retry};

/// Bodies reported in public issues, each with its meaning; `about` in the file states their accuracy.
const REPORTED: &str = include_str!("../../../../tests/data/reported-errors.json");

#[derive(Deserialize)]
struct Reported {
    errors: Vec<ReportedError>,
}

#[derive(Deserialize)]
struct ReportedError {
    id: String,
    surface: String,
    status: u16,
    content_type: String,
    fault: String,
    retry_on_other_project: String,
    body: String,
}

impl ReportedError {
    fn context(&self) -> ErrorContext {
        let surface = match self.surface.as_str() {
            "native" => Surface::Native,
            "openai" => Surface::OpenAi,
            "interactions" => Surface::Interactions,
            other => panic!("unknown surface {other}"),
        };
        ErrorContext {
            surface,
            client_deadline: false,
        }
    }

    fn verdict(&self) -> Verdict {
        if self.status != 200 {
            let body = ErrorBody::read(self.body.as_bytes());
            return classify(self.status, Some(&self.content_type), &body, self.context());
        }
        let content_type = self.content_type.parse().unwrap();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
        let mut tap = ResponseTap::new(self.context().surface, &headers);
        tap.feed(self.body.as_bytes());
        let Some(body) = tap.summary().error else {
            return success(self.status);
        };
        classify(self.status, Some(&self.content_type), &body, self.context())
    }
}

fn reported() -> Vec<ReportedError> {
    serde_json::from_str::<Reported>(REPORTED).unwrap().errors
}

fn read(status: u16, body: &str) -> Verdict {
    let context = ErrorContext {
        surface: Surface::Native,
        client_deadline: false,
    };
    classify(
        status,
        Some("application/json"),
        &ErrorBody::read(body.as_bytes()),
        context,
    )
}

/// The rule of each reported error; bodies without an error are successes.
const EXPECTED: &[(&str, Rule)] = &[
    ("400-bad-argument", Rule::InvalidRequest),
    ("400-unknown-field", Rule::InvalidRequest),
    ("400-key-invalid-debuginfo", Rule::ApiKeyInvalid),
    ("400-key-expired", Rule::ApiKeyInvalid),
    ("400-key-not-found", Rule::ApiKeyInvalid),
    ("400-location", Rule::LocationUnsupported),
    ("400-too-many-tokens", Rule::InvalidRequest),
    ("400-two-credentials-openai", Rule::TwoCredentials),
    ("400-cache-conflict", Rule::InvalidRequest),
    ("400-cache-too-small", Rule::InvalidRequest),
    ("401-bearer-on-native", Rule::Unauthenticated),
    ("403-suspended", Rule::ConsumerSuspended),
    ("403-leaked", Rule::KeyLeaked),
    ("403-service-disabled", Rule::ServiceDisabled),
    ("403-service-blocked", Rule::KeyRestricted),
    ("403-referrer-blocked", Rule::KeyRestricted),
    ("403-project-denied", Rule::ProjectDenied),
    ("403-file-of-other-project", Rule::ForeignResource),
    ("403-cache-of-other-project", Rule::ForeignResource),
    ("404-model-retired-for-new-users", Rule::ModelRetired),
    ("404-model-debuginfo", Rule::ModelNotFound),
    ("429-free-tokens-per-minute", Rule::QuotaPerMinute),
    ("429-free-requests-per-minute", Rule::QuotaPerMinute),
    ("429-free-requests-per-day-short-delay", Rule::QuotaPerDay),
    ("429-free-requests-per-day-long-delay", Rule::QuotaPerDay),
    ("429-day-and-minute-together", Rule::QuotaPerDay),
    ("429-limit-zero", Rule::QuotaZero),
    ("429-embedding-per-minute", Rule::QuotaPerMinute),
    ("429-no-details", Rule::QuotaWithoutDetail),
    ("429-no-details-openai", Rule::QuotaWithoutDetail),
    ("429-help-only", Rule::QuotaWithoutDetail),
    ("429-prepay-empty", Rule::BillingEmpty),
    ("402-prepay-empty", Rule::BillingEmpty),
    ("429-spending-cap", Rule::SpendingCap),
    ("500-internal", Rule::InternalError),
    ("500-internal-short", Rule::InternalError),
    ("502-html", Rule::FrontEndError),
    ("403-html", Rule::FrontEndForbidden),
    ("503-high-demand", Rule::Overloaded),
    ("503-overloaded", Rule::Overloaded),
    ("503-deadline", Rule::Overloaded),
    ("504-deadline", Rule::UpstreamDeadline),
    ("stream-tail-499", Rule::Cancelled),
    ("stream-event-503", Rule::Overloaded),
    ("stream-first-event-429", Rule::QuotaWithoutDetail),
    ("json-array-stream-error", Rule::Overloaded),
    ("200-prompt-blocked-sse", Rule::Success),
    ("200-prompt-blocked", Rule::Success),
    ("200-finish-other-no-content", Rule::Success),
    ("interactions-rate-limit", Rule::QuotaPerMinute),
    ("interactions-daily-quota", Rule::QuotaPerDay),
    ("interactions-sse-error", Rule::InternalError),
];

#[test]
fn every_reported_error_has_its_rule() {
    let errors = reported();
    assert_eq!(errors.len(), EXPECTED.len());

    for (error, (id, rule)) in errors.iter().zip(EXPECTED) {
        assert_eq!(error.id, *id);
        assert_eq!(error.verdict().rule, *rule, "{id}");
    }
}

#[test]
fn fault_and_retry_are_as_reported() {
    for error in reported() {
        let rule = error.verdict().rule;
        let faults: &[Fault] = match error.fault.as_str() {
            // A response without content is no error to the pool, whatever its cause.
            "client" | "model" => &[Fault::Client, Fault::None],
            "key" => &[Fault::KeyInvalid, Fault::KeyLeaked, Fault::ProjectSuspended],
            "egress" | "egress or malformed path" => &[Fault::Egress],
            "proxy" | "affinity" => &[Fault::None],
            "project" => &[Fault::ProjectMisconfigured, Fault::ProjectSuspended],
            "billing" => &[Fault::ProjectSuspended],
            "project+model" | "quota-minute" | "quota-day" | "quota" | "tier" | "unknown" => {
                &[Fault::ProjectModel]
            }
            "server" if error.id == "stream-tail-499" => &[Fault::None],
            "server" | "server (sometimes the prompt)" | "server or client (x-server-timeout)" => {
                &[Fault::Soft, Fault::Model]
            }
            other => panic!("unknown fault {other}"),
        };
        assert!(
            faults.contains(&rule.fault()),
            "{}: {:?}",
            error.id,
            rule.fault()
        );

        let retries: &[Retry] = match error.retry_on_other_project.as_str() {
            "no" if error.id == "interactions-sse-error" => continue, // depends on the commit point
            "no (bytes were sent)" => continue,
            "no" | "only to the owning project" => &[Retry::No],
            "once" if error.id == "503-deadline" => &[Retry::TwiceAfterPause],
            "once" if error.id == "400-location" => &[Retry::OneOtherKey],
            "once" | "once, then give up" | "no when x-server-timeout was sent, else once" => {
                &[Retry::Once]
            }
            "yes, at most twice" | "yes, at most twice, with back-off" => &[Retry::TwiceAfterPause],
            "yes" if error.status >= 500 => &[Retry::Once, Retry::TwiceAfterPause],
            "yes"
            | "yes, once"
            | "yes: nothing was sent to the client yet"
            | "yes if no previous_interaction_id" => &[Retry::FreeWithOtherKey],
            other => panic!("unknown retry {other}"),
        };
        assert!(
            retries.contains(&rule.retry()),
            "{}: {:?}",
            error.id,
            rule.retry()
        );
    }
}

#[test]
fn a_quota_verdict_contains_its_evidence() {
    let errors = reported();
    let verdict = |id| {
        errors
            .iter()
            .find(|error| error.id == id)
            .unwrap()
            .verdict()
    };

    let both = verdict("429-day-and-minute-together");
    let windows: Vec<_> = both
        .violations
        .iter()
        .map(|v| (v.window, v.limit))
        .collect();
    assert_eq!(
        windows,
        [(QuotaWindow::Minute, Some(5)), (QuotaWindow::Day, Some(20))]
    );
    assert_eq!(both.violations[0].model.as_deref(), Some("gemini-3-flash"));
    assert_eq!(both.retry_delay.map(|delay| delay.as_secs()), Some(35));

    let zero = verdict("429-limit-zero");
    assert!(
        zero.violations
            .iter()
            .all(|violation| violation.limit == Some(0))
    );

    let suspended = verdict("403-suspended");
    assert_eq!(
        suspended.project.as_deref(),
        Some("projects/<PROJECT_NUMBER>")
    );
}

#[test]
fn every_status_has_its_rule_even_without_a_body() {
    let cases = [
        (302, Rule::UnnamedFault),
        (400, Rule::InvalidRequest),
        (401, Rule::Unauthenticated),
        (402, Rule::BillingEmpty),
        (403, Rule::UnnamedFault),
        (404, Rule::ResourceNotFound),
        (405, Rule::UnnamedFault),
        (408, Rule::ClientFault),
        (413, Rule::ClientFault),
        (418, Rule::UnnamedFault),
        (429, Rule::QuotaWithoutDetail),
        (499, Rule::Cancelled),
        (500, Rule::InternalError),
        (501, Rule::InternalError),
        (502, Rule::FrontEndError),
        (503, Rule::Overloaded),
        (504, Rule::UpstreamDeadline),
        (600, Rule::MalformedAnswer),
    ];

    for (status, rule) in cases {
        assert_eq!(read(status, "").rule, rule, "{status}");
        assert_eq!(read(status, "{}").rule, rule, "{status}");
    }
}

#[test]
fn html_pages_never_make_a_key_the_fault() {
    let page = "<html><title>Sorry</title>automated queries</html>";
    let cases = [
        (302, Rule::FrontEndForbidden),
        (403, Rule::FrontEndForbidden),
        (429, Rule::FrontEndForbidden),
        (404, Rule::UnnamedFault),
        (413, Rule::UnnamedFault),
        (500, Rule::FrontEndError),
        (503, Rule::FrontEndError),
    ];

    for (status, rule) in cases {
        assert_eq!(read(status, page).rule, rule, "{status}");
    }
}

#[test]
fn a_deadline_set_by_the_client_is_the_clients_fault() {
    let context = ErrorContext {
        surface: Surface::Native,
        client_deadline: true,
    };
    let verdict = classify(504, None, &ErrorBody::default(), context);

    assert_eq!(verdict.rule, Rule::DeadlineExceeded);
    assert_eq!(verdict.rule.retry(), Retry::No);
}

#[test]
fn quoted_client_input_never_makes_a_key_the_fault() {
    let quoted = [
        (
            400,
            "Invalid value: API key not valid. Please pass a valid API key.",
        ),
        (400, "Unknown name \\\"User location is not supported\\\""),
        (403, "Cannot read Your API key was reported as leaked"),
        (
            404,
            "models/This model is no longer available to new users is not found for API version v1",
        ),
    ];

    for (status, message) in quoted {
        let body = format!(r#"{{"error":{{"code":{status},"message":"{message}"}}}}"#);
        let fault = read(status, &body).rule.fault();
        assert_eq!(fault, Fault::Client, "{message}");
    }
}

#[test]
fn symbolic_codes_of_the_interactions_api_have_a_status() {
    let cases = [
        ("authentication", 401, Rule::Unauthenticated),
        ("payment_required", 402, Rule::BillingEmpty),
        ("model_not_found", 404, Rule::ModelNotFound),
        ("not_found", 404, Rule::ResourceNotFound),
        ("out_of_range", 416, Rule::ClientFault),
        ("rate_limit_exceeded", 429, Rule::QuotaPerMinute),
        ("quota_exceeded", 429, Rule::QuotaPerDay),
        ("cancelled", 499, Rule::Cancelled),
        ("something_new", 500, Rule::InternalError),
    ];
    let context = ErrorContext {
        surface: Surface::Interactions,
        client_deadline: false,
    };

    for (word, status, rule) in cases {
        let body = format!(r#"{{"error":{{"code":"{word}","message":"m"}}}}"#);
        let verdict = classify(200, None, &ErrorBody::read(body.as_bytes()), context);
        assert_eq!(
            (verdict.rule, verdict.status),
            (rule, Some(status)),
            "{word}"
        );
    }
}

proptest! {
    #[test]
    fn any_answer_gets_a_verdict(status in any::<u16>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let context = ErrorContext { surface: Surface::Interactions, client_deadline: false };
        classify(status, None, &ErrorBody::read(&bytes), context);
    }
}
