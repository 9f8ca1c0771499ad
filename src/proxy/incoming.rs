//! `Incoming`: what the client asks, read whole so that it can be sent again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use reqwest::Url;
use tokio_tungstenite::tungstenite::Message;

use crate::app::App;
use crate::gemini::headers::headers_for_upstream;
use crate::gemini::live;
use crate::gemini::quota_estimate::estimate_quota;
use crate::gemini::resources::created::CreatedResourcesReader;
use crate::gemini::resources::listing::ResourceListing;
use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::gemini::resources::references::ResourceReferences;
use crate::gemini::response::json::{JsonScanner, ScannedValue};
use crate::gemini::response::tap::ResponseTap;
use crate::gemini::target::{Surface, Target};
use crate::gemini::transport::UpstreamRequest;
use crate::pool::clients::client_key::ClientKey;
use crate::pool::keys::selection::LeaseRequest;
use crate::pool::quota::windows::QuotaAmount;
use crate::pool::settings::Settings;
use crate::proxy::bind::Bound;
use crate::proxy::refuse::Refusal;
use crate::websocket;

/// How much is set aside at once for a body whose length is announced, before any of it has come.
const FIRST_PIECE: u64 = 1024 * 1024;

/// A client's request, ready to be sent with any key.
#[derive(Debug)]
pub struct Incoming {
    pub target: Target,
    pub outgoing: UpstreamRequest,
    /// The model asked for, in the path or the body, without `models/`.
    pub model: Option<String>,
    /// What it will use of the model's quota.
    pub amount: QuotaAmount,
    /// Whether the client asked for a stream.
    pub streams: bool,
    /// The resources that its path and its body name.
    pub names: BTreeSet<ResourceName>,
    /// Whether all that its body names was found.
    pub is_read: bool,
    /// Whether Google shall keep what an interaction makes.
    pub stores: bool,
    /// The list that it asks for, of what belongs to projects.
    pub listing: Option<ResourceListing>,
    /// How long the client itself will wait, as it told Google.
    pub deadline: Option<Duration>,
    /// The first message of a live session, which is its body too.
    pub setup: Option<Message>,
    /// The ephemeral token with which a session is opened in place of a key.
    pub token: Option<ResourceName>,
    _held: Held,
}

/// Memory that a body takes, given back on drop.
#[derive(Debug)]
struct Held {
    app: Arc<App>,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.app.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Held {
    /// Takes more, unless all bodies together would take too much.
    fn add(&mut self, bytes: u64, most: u64) -> Result<(), Refusal> {
        self.bytes += bytes;
        let before = self.app.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > most {
            Err(Refusal::TooMuchHeld)
        } else {
            Ok(())
        }
    }
}

impl Incoming {
    /// Reads the body and what the pool must know of it.
    pub async fn read(
        app: &Arc<App>,
        settings: &Settings,
        target: Target,
        request: Request,
    ) -> Result<Self, Refusal> {
        let (head, url, body) = parts(app, &target, request)?;
        let mut memory = Held {
            app: app.clone(),
            bytes: 0,
        };
        let body = read_body(body, &head.headers, settings, &mut memory).await?;
        let (model, streams) = match target.surface {
            Surface::Native => (None, false),
            Surface::OpenAi | Surface::Interactions
                if head.headers.contains_key(CONTENT_ENCODING) =>
            {
                (None, false)
            }
            Surface::OpenAi | Surface::Interactions => model_in(&body),
        };
        let model = target.model.clone().or(model);
        let amount = estimate_quota(&target, &body);
        let references = ResourceReferences::from_body(&body);
        let is_readable = is_readable(&head.headers, &body);
        let in_path = ResourceName::of_path(&target.path_and_query);
        let names = references.names().cloned().chain(in_path).collect();
        let seconds = head
            .headers
            .get("x-server-timeout")
            .and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
        let deadline = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let listing = ResourceListing::of(&head.method, &target);
        let mut headers = headers_for_upstream(&head.headers);
        if listing.is_some() {
            // Its pages are put together from what comes.
            headers.remove(ACCEPT_ENCODING);
        }
        let outgoing = UpstreamRequest {
            method: head.method,
            url,
            headers,
            body,
        };
        Ok(Self {
            streams: streams || target.is_stream,
            target,
            outgoing,
            model,
            amount,
            names,
            listing,
            stores: references.stores_interaction(),
            is_read: is_readable && references.is_complete(),
            deadline,
            setup: None,
            token: None,
            _held: memory,
        })
    }

    /// Reads what the pool must know of a live session from its first message.
    pub fn of_session(
        app: &Arc<App>,
        settings: &Settings,
        target: Target,
        headers: &HeaderMap,
        setup: Message,
        token: Option<ResourceName>,
    ) -> Result<Self, Refusal> {
        let url = app
            .gemini
            .url(&target.path_and_query)
            .ok_or(Refusal::AlteredPath)?;
        let body = setup.clone().into_data();
        let mut memory = Held {
            app: app.clone(),
            bytes: 0,
        };
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        memory.add(length, settings.max_held_bytes)?;
        if length > settings.max_request_bytes {
            return Err(Refusal::BodyTooLarge(settings.max_request_bytes));
        }
        let model = live::setup_model(&body);
        let amount = estimate_quota(&target, &body);
        let references = ResourceReferences::from_body(&body);
        // A token is good in the project that made it, like all that is named.
        let names = references.names().chain(&token).cloned().collect();
        let mut headers = headers_for_upstream(headers);
        headers.extend(websocket::handshake_headers());
        let outgoing = UpstreamRequest {
            method: Method::GET,
            url,
            headers,
            body,
        };
        Ok(Self {
            streams: true,
            target,
            outgoing,
            model,
            amount,
            names,
            stores: false,
            is_read: references.is_complete(),
            listing: None,
            deadline: None,
            setup: Some(setup),
            token,
            _held: memory,
        })
    }

    /// One whose body is not held: it is given back, to be passed on as it comes.
    pub fn passing(
        app: &Arc<App>,
        target: Target,
        request: Request,
    ) -> Result<(Self, Body), Refusal> {
        let (head, url, body) = parts(app, &target, request)?;
        let outgoing = UpstreamRequest {
            method: head.method,
            url,
            headers: headers_for_upstream(&head.headers),
            body: Bytes::new(),
        };
        let names = ResourceName::of_path(&target.path_and_query);
        let names = names.into_iter().collect();
        let incoming = Self {
            streams: false,
            model: target.model.clone(),
            target,
            outgoing,
            amount: QuotaAmount::default(),
            names,
            listing: None,
            stores: true,
            is_read: true,
            deadline: None,
            setup: None,
            token: None,
            _held: Held {
                app: app.clone(),
                bytes: 0,
            },
        };
        Ok((incoming, body))
    }

    /// The kind of what it makes that can be named later; `None`: nothing.
    pub fn makes(&self) -> Option<ResourceKind> {
        CreatedResourcesReader::kind_created_by(&self.target, self.stores)
    }

    /// What reads the answer.
    pub fn tap(&self, content_type: Option<&str>, content_encoding: Option<&str>) -> ResponseTap {
        // What is in a file is nobody's word, and not to be read.
        let content_type = if self.target.is_download() {
            Some("application/octet-stream")
        } else {
            content_type
        };
        let created_resources = CreatedResourcesReader::of(&self.target, self.stores, content_type);
        // What is listed is not this client's because it is listed.
        let created_resources = created_resources.filter(|_| self.listing.is_none());
        ResponseTap::new(self.target.surface, content_type, content_encoding)
            .with_created_resources(created_resources)
    }

    /// What a key is needed for.
    pub fn lease_request<'a>(&'a self, client: &'a ClientKey, bound: &Bound) -> LeaseRequest<'a> {
        LeaseRequest {
            model: self.model.as_deref().unwrap_or_default(),
            amount: self.amount,
            tags: &client.tags,
            project: bound.only,
        }
    }

    /// The model whose quota it uses, for the pool's bookkeeping; what uses none shares a name.
    pub fn quota_model(&self) -> &str {
        let model = self.model.as_deref().filter(|_| self.amount.requests > 0);
        model.unwrap_or_default()
    }
}

/// The request in parts, and where Google gets it.
fn parts(app: &App, target: &Target, request: Request) -> Result<(Parts, Url, Body), Refusal> {
    let (head, body) = request.into_parts();
    if head.headers.contains_key(TRANSFER_ENCODING) && head.headers.contains_key(CONTENT_LENGTH)
        || head.headers.get_all(CONTENT_LENGTH).iter().count() > 1
    {
        return Err(Refusal::AmbiguousLength);
    }
    let url = app
        .gemini
        .url(&target.path_and_query)
        .ok_or(Refusal::AlteredPath)?;
    Ok((head, url, body))
}

async fn read_body(
    mut body: Body,
    headers: &HeaderMap,
    settings: &Settings,
    held: &mut Held,
) -> Result<Bytes, Refusal> {
    let most = settings.max_request_bytes;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > most) {
        return Err(Refusal::BodyTooLarge(most));
    }
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    loop {
        // One that stops in the middle would hold its memory for ever.
        let frame = tokio::time::timeout(settings.idle_timeout(), body.frame()).await;
        let Some(frame) = frame.map_err(|_| Refusal::BodyTooSlow)? else {
            break;
        };
        let Ok(data) = frame.map_err(|_| Refusal::BodyBroken)?.into_data() else {
            continue;
        };
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        held.add(length, settings.max_held_bytes)?;
        if held.bytes > most {
            return Err(Refusal::BodyTooLarge(most));
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            let expected = announced.unwrap_or_default().min(FIRST_PIECE);
            whole.reserve(usize::try_from(expected).unwrap_or_default());
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    })
}

/// Whether names in a body can be found: in one that is packed, or no JSON, Google may read more than we do.
fn is_readable(headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_packed = text(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    let is_binary = text(CONTENT_TYPE).is_some_and(|kind| kind.contains("protobuf"));
    body.is_empty() || !is_packed && !is_binary
}

/// The model (or agent) and whether a stream is asked for, from a body of OpenAI's or the Interactions' form.
fn model_in(body: &[u8]) -> (Option<String>, bool) {
    let mut scanner = JsonScanner::new(&[&["model"], &["agent"], &["stream"]]);
    scanner.feed(body);
    let text = |index| match scanner.value_at(index) {
        ScannedValue::Raw(raw) => serde_json::from_slice::<String>(raw).ok(),
        ScannedValue::Absent | ScannedValue::TooLong => None,
    };
    let model = text(0).or_else(|| text(1));
    let model = model.map(|model| {
        model
            .strip_prefix("models/")
            .map_or(model.clone(), ToOwned::to_owned)
    });
    (
        model,
        matches!(scanner.value_at(2), ScannedValue::Raw(b"true")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_wherever_it_stands_in_the_body() {
        let cases = [
            (
                r#"{"messages":[{"content":"\"model\":\"no\""}],"model":"models/m","stream":true}"#,
                Some("m"),
                true,
            ),
            (
                r#"{"agent":"deep-research","stream":false}"#,
                Some("deep-research"),
                false,
            ),
            (r#"{"input":{"model":"nested"}}"#, None, false),
            ("not json", None, false),
        ];
        for (body, model, streams) in cases {
            assert_eq!(
                model_in(body.as_bytes()),
                (model.map(ToOwned::to_owned), streams),
                "{body}"
            );
        }
    }
}
