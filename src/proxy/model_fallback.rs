//! Model fallback: finds the models that may answer where no key can serve the requested one, and changes the request
//! to name one of them.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_ENCODING;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::app::App;
use crate::pool::clients::client_key::ClientKey;
use crate::pool::health::verdict::Fault;
use crate::pool::settings::Settings;
use crate::proxy::attempt::Attempt;
use crate::proxy::incoming::Incoming;
use crate::proxy::refusal::Refusal;
use crate::proxy::route_constraint::RouteConstraint;

/// The models that may answer in place of the one asked for, in their order: those of the client key, or else of the setting,
/// that the client key may use. None where a resource is named or created, or the request cannot be sent again or be changed.
pub fn fallback_models(
    settings: &Settings,
    client: &ClientKey,
    incoming: &Incoming,
    route: &RouteConstraint,
) -> Vec<String> {
    let chains = client.model_fallback.as_ref();
    let chain = chains
        .unwrap_or(&settings.model_fallback)
        .of(incoming.quota_model());
    let is_free = !incoming.is_bound() && !route.is_bound() && incoming.unread.is_none();
    let Some(scopes) = client.scopes.as_ref().filter(|_| is_free) else {
        return Vec::new();
    };
    let is_allowed =
        |model: &&String| scopes.models.is_empty() || scopes.models.matches(model.as_str());
    chain.iter().filter(is_allowed).cloned().collect()
}

/// Whether the pool, or Google, is out of capacity for the model, so that another one may answer.
pub fn is_out(sent: &Result<Attempt, Refusal>) -> bool {
    match sent {
        Ok(attempt) => attempt.verdict.rule.fault() == Fault::Model,
        Err(refusal) => matches!(
            refusal,
            Refusal::AllBusy
                | Refusal::AllCoolingDown { .. }
                | Refusal::Overloaded { .. }
                | Refusal::NoUsableKey
        ),
    }
}

/// Changes the request to ask for another model, in its path or by replacing the bytes of the value in its body. Returns
/// whether that was possible: the name must stand there once, as it is.
pub fn ask_for(app: &App, incoming: &mut Incoming, model: &str) -> bool {
    let Some(asked) = incoming.model.clone() else {
        return false;
    };
    if incoming.target.model.is_some() {
        let path = &incoming.target.path_and_query;
        let changed = with_model_in_path(path, &asked, model);
        // A body that names the model too would contradict the path.
        let changed = changed.filter(|_| incoming.content.models.is_empty());
        let url = changed.as_deref().and_then(|path| app.gemini.url(path));
        let (Some(path), Some(url)) = (changed, url) else {
            return false;
        };
        incoming.target.path_and_query = path;
        incoming.target.model = Some(model.to_owned());
        incoming.outgoing.url = url;
    } else {
        let outgoing = &mut incoming.outgoing;
        let is_plain = !outgoing.headers.contains_key(CONTENT_ENCODING);
        let body = with_model_in_body(&outgoing.body, &asked, model).filter(|_| is_plain);
        let Some(body) = body.filter(|_| incoming.content.models.len() == 1) else {
            return false;
        };
        outgoing.body = body;
    }
    incoming.model = Some(model.to_owned());
    true
}

fn with_model_in_path(path: &str, asked: &str, model: &str) -> Option<String> {
    let (before, after) = path.split_once(&format!("/models/{asked}:"))?;
    Some(format!("{before}/models/{model}:{after}"))
}

#[derive(Deserialize)]
struct NamesModel<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
}

/// The body with another model; only the bytes of the name differ, a prefix such as `models/` stays.
fn with_model_in_body(body: &Bytes, asked: &str, model: &str) -> Option<Bytes> {
    let named: NamesModel<'_> = serde_json::from_slice(body).ok()?;
    let value = named.model.get();
    let prefix = value.strip_prefix('"')?.strip_suffix('"')?;
    let prefix = prefix.strip_suffix(asked)?;
    if !prefix.is_empty() && !prefix.ends_with('/') {
        return None;
    }
    let at = offset_in(body, value)?;
    let begin = at.start + 1 + prefix.len();
    let (before, after) = (body.get(..begin)?, body.get(begin + asked.len()..)?);
    let mut changed = BytesMut::with_capacity(before.len() + model.len() + after.len());
    changed.extend_from_slice(before);
    changed.extend_from_slice(model.as_bytes());
    changed.extend_from_slice(after);
    Some(changed.freeze())
}

/// Where a part of a body stands in it.
fn offset_in(body: &[u8], part: &str) -> Option<Range<usize>> {
    let begin = (part.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let range = begin..begin + part.len();
    (body.get(range.clone())? == part.as_bytes()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bytes_of_the_name_change_in_a_path() {
        let cases = [
            (
                "/v1beta/models/gemini-2.5-pro:generateContent?alt=sse",
                Some("/v1beta/models/gemini-2.5-flash:generateContent?alt=sse"),
            ),
            ("/v1beta/models/gemini-2.5-pro", None),
            ("/v1beta/models/gemini%2D2.5-pro:generateContent", None),
            ("/v1beta/models/gemini-2.5-pro-x:generateContent", None),
        ];
        for (path, expected) in cases {
            let changed = with_model_in_path(path, "gemini-2.5-pro", "gemini-2.5-flash");
            assert_eq!(changed.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn only_the_bytes_of_the_name_change_in_a_body() {
        let cases = [
            (
                r#"{ "messages":[{"content":"\u0061 gemini-2.5-pro"}] , "model" : "gemini-2.5-pro","n":1e0 }"#,
                Some(
                    r#"{ "messages":[{"content":"\u0061 gemini-2.5-pro"}] , "model" : "gemini-2.5-flash","n":1e0 }"#,
                ),
            ),
            (
                r#"{"model":"models/gemini-2.5-pro"}"#,
                Some(r#"{"model":"models/gemini-2.5-flash"}"#),
            ),
            (r#"{"model":"my-gemini-2.5-pro"}"#, None),
            (r#"{"model":"gemini-2.5\u002dpro"}"#, None),
            (r#"{"model":null}"#, None),
            (r#"{"messages":[]}"#, None),
            ("--form\r\n", None),
        ];
        for (body, expected) in cases {
            let body = Bytes::from_static(body.as_bytes());
            let changed = with_model_in_body(&body, "gemini-2.5-pro", "gemini-2.5-flash");
            let expected = expected.map(|body| Bytes::from_static(body.as_bytes()));
            assert_eq!(changed, expected);
        }
    }
}
