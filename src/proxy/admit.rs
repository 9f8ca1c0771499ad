//! May the client start this request now: a slot first, then models and limits once the body is read → `Permit`.

use http::header::CONTENT_ENCODING;

use crate::app::App;
use crate::clock;
use crate::gemini::response::json::{JsonPath, JsonScanner};
use crate::gemini::target::{Surface, Target};
use crate::pool::clients::admission::Permit;
use crate::pool::clients::client_key::ClientKey;
use crate::proxy::incoming::Incoming;
use crate::proxy::refusal::Refusal;

/// Takes the client's slot, which bounds its concurrent requests. `None` for a client key without limits.
pub fn take_slot(app: &App, client: &ClientKey) -> Result<Option<Permit>, Refusal> {
    let slot = app
        .admission
        .take_slot(client.id, &client.limits, clock::now);
    slot.map_err(Refusal::Limited)
}

/// Counts a request whose models the client key may use, if its limits on requests, tokens and cost have room.
pub fn admit(
    client: &ClientKey,
    incoming: &Incoming,
    permit: Option<&mut Permit>,
) -> Result<(), Refusal> {
    let scopes = client.scopes.as_ref().ok_or(Refusal::ScopesUnreadable)?;
    if !scopes.models.is_empty() {
        let allowed = || scopes.models.patterns().join(", ");
        let models =
            models_of(incoming).ok_or_else(|| Refusal::ModelUnknown { allowed: allowed() })?;
        let other = models
            .into_iter()
            .find(|model| !scopes.models.matches(model));
        if let Some(model) = other {
            return Err(Refusal::ModelOutOfScope {
                model,
                allowed: allowed(),
            });
        }
    }
    match permit {
        Some(permit) => permit
            .admit(&client.limits, clock::now)
            .map_err(Refusal::Limited),
        None => Ok(()),
    }
}

/// Every model that a request names, in its path or its body; `None` where it may use one that cannot be read.
///
/// Stricter than Google's reading: of a key that occurs twice both values must be allowed.
fn models_of(incoming: &Incoming) -> Option<Vec<String>> {
    let (target, outgoing) = (&incoming.target, &incoming.outgoing);
    let in_path: Vec<_> = target.model.iter().cloned().collect();
    let body = outgoing.body.trim_ascii();
    if body.is_empty() || body == b"{}" {
        return Some(in_path);
    }
    if in_path.is_empty() && target.surface == Surface::Native && may_use_any_model(target) {
        return None;
    }
    let is_plain = outgoing
        .headers
        .get(CONTENT_ENCODING)
        .is_none_or(|encoding| encoding == "identity");
    let in_body = if is_plain { models_in(body) } else { None };
    let Some(in_body) = in_body else {
        // The path decides, whatever the body contains, unless the body holds requests with models of their own.
        let decides = !in_path.is_empty() && !holds_requests(target);
        return decides.then_some(in_path);
    };
    let models = [in_path, in_body].concat();
    match target.surface {
        // Many requests use no model, for example those for files and stores.
        Surface::Native if incoming.setup.is_none() => Some(models),
        Surface::Native | Surface::OpenAi | Surface::Interactions => {
            (!models.is_empty()).then_some(models)
        }
    }
}

/// Whether a request whose path has no model may use one: an unknown path, another spelling of a model's path, or a
/// resource that schedules work.
fn may_use_any_model(target: &Target) -> bool {
    let collections = [
        "models.",
        "tunedModels.",
        "dynamic.",
        "agents.",
        "triggers.",
    ];
    let operation = target.operation.as_deref();
    operation.is_none_or(|operation| collections.iter().any(|of| operation.starts_with(of)))
}

/// Whether the body holds complete requests, each with a model.
fn holds_requests(target: &Target) -> bool {
    let operation = target.operation.as_deref();
    operation.is_none_or(|operation| operation == "countTokens" || operation.contains("atch"))
}

/// Where a body names models: at its top, and in the requests of a token count or a batch, in both spellings that Google
/// reads.
const NAMES: [JsonPath; 9] = [
    &["model"],
    &["agent"],
    &["generateContentRequest", "model"],
    &["generate_content_request", "model"],
    &["requests", "model"],
    &["batch", "model"],
    &[
        "batch",
        "inputConfig",
        "requests",
        "requests",
        "request",
        "model",
    ],
    &[
        "batch",
        "input_config",
        "requests",
        "requests",
        "request",
        "model",
    ],
    // The first frame of a live session.
    &["setup", "model"],
];

/// The models and agents that a body names, without `models/`; `None` where it is not one JSON object.
fn models_in(body: &[u8]) -> Option<Vec<String>> {
    let mut scanner = JsonScanner::new(&NAMES).keep_all_values(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let end = scanner.feed(body)?;
    if !body.starts_with(b"{") || end < body.len() {
        return None;
    }
    let mut names = Vec::new();
    for index in 0..NAMES.len() {
        if scanner.has_lost_values_at(index) {
            return None;
        }
        for raw in scanner.values_at(index) {
            let name: String = serde_json::from_slice(raw).ok()?;
            let short = name.strip_prefix("models/").map(ToOwned::to_owned);
            names.push(short.unwrap_or(name));
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_of_a_body_is_found_or_none_is_trusted() {
        let cases: [(&str, Option<&[&str]>); 15] = [
            (
                r#"{"model":"models/a","contents":[{"model":"no"}]}"#,
                Some(&["a"]),
            ),
            (
                r#"{"model":"a","model":"b","agent":"c"}"#,
                Some(&["a", "b", "c"]),
            ),
            (
                r#"{"generateContentRequest":{"model":"a"},"generate_content_request":{"model":"b"}}"#,
                Some(&["a", "b"]),
            ),
            (
                r#"{"requests":[{"model":"models/a"},{"model":"b"},{"content":{"model":"no"}}]}"#,
                Some(&["a", "b"]),
            ),
            (
                r#"{"batch":{"input_config":{"requests":{"requests":[{"request":{"model":"a"}}]}}}}"#,
                Some(&["a"]),
            ),
            (
                r#"{"setup":{"model":"models/a","tools":[{"model":"no"}]}}"#,
                Some(&["a"]),
            ),
            (r#"{"mod\u0065l":"a"}"#, Some(&["a"])),
            (r#"{"model":"\u0061"}"#, Some(&["a"])),
            (r#"{"model":null,"ttl":"60s"}"#, Some(&[])),
            (r#"{"displayName":"x"}"#, Some(&[])),
            (r#"{"model":{"name":"a"}}"#, None),
            ("{model:'a'}", None),
            (r#"{"model":"a""#, None),
            (r#"{}{"model":"a"}"#, None),
            ("--boundary\r\n", None),
        ];
        for (body, expected) in cases {
            let found = models_in(body.as_bytes());
            let found: Option<Vec<&str>> = found
                .as_ref()
                .map(|found| found.iter().map(String::as_str).collect());
            assert_eq!(found.as_deref(), expected, "{body}");
        }
        let long = format!(r#"{{"model":"{}"}}"#, "a".repeat(2_000_000));
        assert_eq!(models_in(long.as_bytes()), None);
    }
}
