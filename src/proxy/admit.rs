//! May they, now: scopes and limits of a client key → `Permit`.

use std::net::IpAddr;

use http::header::CONTENT_ENCODING;

use crate::app::App;
use crate::clock;
use crate::gemini::json_scan::Scanner;
use crate::gemini::target::{Surface, Target};
use crate::pool::admission::Permit;
use crate::pool::client_key::ClientKey;
use crate::proxy::incoming::Incoming;
use crate::proxy::refuse::Refusal;

/// Whether the key may be used from there and on that path; asked before a body is read.
pub fn check_scopes(client: &ClientKey, address: IpAddr, target: &Target) -> Result<(), Refusal> {
    let scopes = client.scopes.as_ref().ok_or(Refusal::ScopesUnreadable)?;
    if !scopes.admits_address(address) {
        return Err(Refusal::AddressOutOfScope(address));
    }
    // Google's own path: an alias leads nowhere else than the path it stands for.
    let path = target.path_and_query.split('?').next().unwrap_or_default();
    if !scopes.paths.admit(path) {
        return Err(Refusal::PathOutOfScope {
            allowed: scopes.paths.patterns().join(", "),
        });
    }
    Ok(())
}

/// Lets a request begin if the key may use its models and its limits have room. `None` for a key without limits.
pub fn admit(
    app: &App,
    client: &ClientKey,
    incoming: &Incoming,
) -> Result<Option<Permit>, Refusal> {
    let scopes = client.scopes.as_ref().ok_or(Refusal::ScopesUnreadable)?;
    if !scopes.models.is_empty() {
        let allowed = || scopes.models.patterns().join(", ");
        let models =
            models_of(incoming).ok_or_else(|| Refusal::ModelUntold { allowed: allowed() })?;
        let other = models.into_iter().find(|model| !scopes.models.admit(model));
        if let Some(model) = other {
            return Err(Refusal::ModelOutOfScope {
                model,
                allowed: allowed(),
            });
        }
    }
    let permit = app.admission.admit(client.id, &client.limits, clock::now);
    permit.map_err(Refusal::Limited)
}

/// Every model that a request names, in its path or its body; `None` where it may use one that cannot be told.
///
/// Read more strictly than Google does: of a name that stands twice both must be allowed.
fn models_of(incoming: &Incoming) -> Option<Vec<String>> {
    let (target, outgoing) = (&incoming.target, &incoming.outgoing);
    let in_path: Vec<_> = target.model.iter().cloned().collect();
    let body = outgoing.body.trim_ascii();
    if body.is_empty() || body == b"{}" {
        return Some(in_path);
    }
    let is_plain = outgoing
        .headers
        .get(CONTENT_ENCODING)
        .is_none_or(|encoding| encoding == "identity");
    let in_body = if is_plain { models_in(body) } else { None };
    let Some(in_body) = in_body else {
        // The path decides, whatever the body says.
        return (!in_path.is_empty()).then_some(in_path);
    };
    let models = [in_path, in_body].concat();
    match target.surface {
        // Many requests use no model: a file, a store.
        Surface::Native => Some(models),
        Surface::OpenAi | Surface::Interactions => (!models.is_empty()).then_some(models),
    }
}

/// The models and agents at the top of a body, without `models/`; `None` where it is not one JSON object.
fn models_in(body: &[u8]) -> Option<Vec<String>> {
    let mut scanner = Scanner::new(&[&["model"], &["agent"]]).keeping_every(&[0, 1]);
    let end = scanner.feed(body)?;
    if !body.starts_with(b"{") || end < body.len() {
        return None;
    }
    if scanner.lost_some_at(0) || scanner.lost_some_at(1) {
        return None;
    }
    let values = scanner.values_at(0).chain(scanner.values_at(1));
    let names = values.map(|raw| {
        let name: String = serde_json::from_slice(raw).ok()?;
        let short = name.strip_prefix("models/").map(ToOwned::to_owned);
        Some(short.unwrap_or(name))
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_of_a_body_is_found_or_none_is_trusted() {
        let cases: [(&str, Option<&[&str]>); 11] = [
            (
                r#"{"model":"models/a","contents":[{"model":"no"}]}"#,
                Some(&["a"]),
            ),
            (
                r#"{"model":"a","model":"b","agent":"c"}"#,
                Some(&["a", "b", "c"]),
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
