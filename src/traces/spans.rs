//! The spans of a request: one of the server for the request, one of the client for each attempt. Names and attributes are
//! those of OpenTelemetry's semantic conventions for generative AI and HTTP; texts of requests, answers and errors are left out.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::clock::Timestamp;
use crate::pool::outcome::Outcome;
use crate::pool::traceparent::TraceParent;
use crate::storage::request_logs::NewRequestLog;
use crate::traces::{EndedRequest, TracePlace};

/// The spans of a request, that of the request first. `new_id` draws the ids of new spans and traces, which are not zero.
pub fn spans_of(request: &EndedRequest, mut new_id: impl FnMut() -> u64) -> Vec<SpanData> {
    let row = &request.row;
    let TracePlace { parent, own } = request.place;
    let own = own.unwrap_or_else(|| TraceParent {
        trace_id: match parent {
            Some(parent) => parent.trace_id,
            None => u128::from(new_id()) << 64 | u128::from(new_id()),
        },
        span_id: new_id(),
        is_sampled: true,
    });
    let context = |span_id| {
        SpanContext::new(
            TraceId::from(own.trace_id),
            SpanId::from(span_id),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        )
    };
    let duration = Duration::from_millis(row.duration_ms.unwrap_or(0));
    let mut spans = vec![SpanData {
        parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.span_id)),
        parent_span_is_remote: parent.is_some(),
        span_kind: SpanKind::Server,
        name: name_of(row),
        attributes: request_attributes(row),
        status: status_of(row.outcome),
        ..span(context(own.span_id), row.started_at, duration)
    }];
    for (number, attempt) in (1_i64..).zip(&row.attempts) {
        let duration = Duration::from_millis(attempt.duration_ms.unwrap_or(0));
        let mut attributes = vec![
            KeyValue::new("gen_ai.provider.name", "gcp.gemini"),
            KeyValue::new("gemini_pool.upstream_key_id", attempt.upstream_key_id.0),
            KeyValue::new("gemini_pool.project_id", attempt.project_id.0),
            KeyValue::new("http.request.resend_count", number - 1),
        ];
        attributes.extend(attempt.status.map(status_code));
        let rule = attempt.rule.as_deref();
        attributes.extend(rule.map(|rule| KeyValue::new("gemini_pool.rule", rule.to_owned())));
        attributes.extend(error_type(attempt.outcome));
        spans.push(SpanData {
            parent_span_id: SpanId::from(own.span_id),
            span_kind: SpanKind::Client,
            name: Cow::Owned(format!("attempt {number}")),
            attributes,
            status: status_of(attempt.outcome),
            ..span(context(new_id()), attempt.started_at, duration)
        });
    }
    spans
}

fn span(span_context: SpanContext, began: Timestamp, duration: Duration) -> SpanData {
    let start_time = SystemTime::from(began.to_jiff());
    SpanData {
        span_context,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed(""),
        start_time,
        end_time: start_time + duration,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("gemini-pool")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

/// For example `generate_content gemini-2.5-flash`.
fn name_of(row: &NewRequestLog) -> Cow<'static, str> {
    let operation = operation_of(row);
    match (operation, row.model.as_deref()) {
        (Some(operation), Some(model)) => format!("{operation} {model}").into(),
        (Some(operation), None) => operation.to_owned().into(),
        (None, _) => row.method.clone().into(),
    }
}

/// The operation in the words of the conventions, or in Google's where they have none.
fn operation_of(row: &NewRequestLog) -> Option<&str> {
    let operation = row.operation.as_deref()?;
    Some(match operation {
        "generateContent" | "streamGenerateContent" => "generate_content",
        "chat.completions" => "chat",
        "embedContent" | "batchEmbedContents" | "embeddings" => "embeddings",
        operation => operation,
    })
}

fn request_attributes(row: &NewRequestLog) -> Vec<KeyValue> {
    let text = |name: &'static str, value: Option<&str>| {
        value.map(|value| KeyValue::new(name, value.to_owned()))
    };
    let count = |name: &'static str, value: Option<u64>| {
        let value = value.and_then(|value| i64::try_from(value).ok());
        value.map(|value| KeyValue::new(name, value))
    };
    let finish_reasons = row.finish_reason.clone().map(|reason| {
        let reasons = Array::String(vec![StringValue::from(reason)]);
        KeyValue::new("gen_ai.response.finish_reasons", Value::Array(reasons))
    });
    let client = row.client_key_id.map(|id| id.0);
    let attributes = [
        Some(KeyValue::new("gen_ai.provider.name", "gcp.gemini")),
        text("gen_ai.operation.name", operation_of(row)),
        text("gen_ai.request.model", row.model.as_deref()),
        text("gen_ai.response.model", row.model_version.as_deref()),
        finish_reasons,
        count("gen_ai.usage.input_tokens", row.usage.prompt),
        count("gen_ai.usage.output_tokens", row.usage.output),
        text("http.request.method", Some(&row.method)),
        row.status.map(status_code),
        error_type(row.outcome),
        text("gemini_pool.request_id", Some(&row.id.to_string())),
        text("gemini_pool.outcome", row.outcome.map(Outcome::name)),
        client.map(|id| KeyValue::new("gemini_pool.client_key_id", id)),
        count("gemini_pool.queue_ms", Some(row.wait_ms)),
        count("gemini_pool.first_byte_ms", row.first_byte_ms),
    ];
    attributes.into_iter().flatten().collect()
}

fn status_code(status: u16) -> KeyValue {
    KeyValue::new("http.response.status_code", i64::from(status))
}

fn error_type(outcome: Option<Outcome>) -> Option<KeyValue> {
    let failed = outcome.filter(|outcome| *outcome != Outcome::Success);
    failed.map(|outcome| KeyValue::new("error.type", outcome.name()))
}

/// An error only where the pool or Google failed: a fault of the client is none of the server.
fn status_of(outcome: Option<Outcome>) -> Status {
    match outcome {
        Some(outcome) if outcome.is_failure() => Status::error(outcome.name()),
        _ => Status::Unset,
    }
}
