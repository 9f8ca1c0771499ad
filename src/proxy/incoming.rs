//! `Incoming`: a request as it was read: its target, headers and content, and its body, held to be sent again or
//! streaming.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use http_body_util::BodyExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::body_memory::HeldMemory;
use crate::clock;
use crate::gemini::errors::classify::ErrorContext;
use crate::gemini::headers::headers_for_upstream;
use crate::gemini::quota_estimate::estimate_quota;
use crate::gemini::request_body::content::BodyContent;
use crate::gemini::request_body::reader::{read_body, read_message};
use crate::gemini::request_body::unread::UnreadBody;
use crate::gemini::resources::created::CreatedResourcesReader;
use crate::gemini::resources::listing::ResourceListing;
use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::gemini::response::tap::ResponseTap;
use crate::gemini::target::{Surface, Target};
use crate::gemini::transport::UpstreamRequest;
use crate::gemini::upload::{UploadRequest, is_upload};
use crate::pool::keys::selection::LeaseRequest;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::quota::windows::QuotaAmount;
use crate::pool::settings::Settings;
use crate::proxy::body_pace::BodyPace;
use crate::proxy::caller::Caller;
use crate::proxy::refusal::Refusal;
use crate::proxy::streaming_body::{BODY_TIMEOUT_AT_STOP, BodyProgress, StreamingBody};
use crate::websocket;

/// How much memory is reserved for a body of announced length before its first chunk arrives.
const FIRST_PIECE: u64 = 1024 * 1024;

/// A client's request, ready to be sent with any key.
#[derive(Debug)]
pub struct Incoming {
    pub target: Target,
    pub outgoing: UpstreamRequest,
    /// The model asked for, in the path or the body, without `models/`.
    pub model: Option<String>,
    /// The estimated usage of the model's quota.
    pub amount: QuotaAmount,
    /// Whether the client asked for a stream.
    pub streams: bool,
    /// What the body contains; its names include those of the path.
    pub content: BodyContent,
    /// Why the body cannot be read completely.
    pub unread: Option<UnreadBody>,
    /// The list of resources that the request asks for.
    pub listing: Option<ResourceListing>,
    /// The client's own deadline, from `x-server-timeout`.
    pub deadline: Option<Duration>,
    /// The first message of a live session, which is also its body.
    pub setup: Option<Message>,
    /// The ephemeral token with which a session is opened in place of a key.
    pub token: Option<ResourceName>,
    /// A body that is sent while it arrives, until it is sent.
    pub streaming: Option<(StreamingBody, BodyProgress)>,
    /// Whether the answer begins with its content: what comes before is held back.
    pub awaits_content: bool,
    /// Whether an empty reply is not passed on, but sent again with another key.
    pub guards_reply: bool,
    /// The memory of the held body; a live session counts its messages itself.
    pub memory: HeldMemory,
}

impl Incoming {
    /// Reads the body and what the pool needs of it; the body of an upload is left to stream.
    pub async fn read(
        app: &Arc<App>,
        settings: &Settings,
        caller: &Caller,
        head: Parts,
        body: Body,
    ) -> Result<Self, Refusal> {
        let target = caller.target.clone();
        let url = match &caller.session {
            Some(session) => app.gemini.url(&session.google_path),
            None => app.gemini.url(&target.path_and_query),
        };
        let url = url.ok_or(Refusal::AlteredPath)?;
        refuse_ambiguous_length(&head.headers)?;
        let memory = HeldMemory::new(&app.body_memory, caller.client.id);
        if matches!(
            UploadRequest::of(&target, &head.headers),
            Some(UploadRequest::Continue { .. } | UploadRequest::SingleRequest)
        ) {
            return Ok(Self::streaming(memory, target, url, head, body));
        }
        Self::held(memory, &app.stopping, settings, target, url, head, body).await
    }

    async fn held(
        mut memory: HeldMemory,
        stopping: &CancellationToken,
        settings: &Settings,
        target: Target,
        url: Uri,
        head: Parts,
        body: Body,
    ) -> Result<Self, Refusal> {
        let body = tokio::select! {
            biased;
            body = collect_body(body, &head.headers, settings, &mut memory) => body?,
            () = body_timeout_at_stop(stopping) => return Err(Refusal::Stopping),
        };
        let (content, unread) = read_body(&body, &head.headers, settings.max_request_bytes);
        let content = content.with_path(&target);
        let (model, streams) = match target.surface {
            Surface::Native => (None, false),
            Surface::OpenAi | Surface::Interactions => (content.model.clone(), content.streams),
        };
        let model = target.model.clone().or(model);
        let amount = estimate_quota(&target, &content, unread.is_some().then_some(body.len()));
        let seconds = head
            .headers
            .get("x-server-timeout")
            .and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
        let deadline = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let listing = ResourceListing::of(&head.method, &target);
        let mut headers = headers_for_upstream(&head.headers, streams || target.is_stream);
        if listing.is_some() {
            // Pages are merged, and so must be readable.
            headers.remove(ACCEPT_ENCODING);
        }
        let outgoing = UpstreamRequest {
            method: head.method,
            url,
            headers,
            body,
        };
        let is_reply = target.generates_text();
        let guards_reply = is_reply && settings.empty_reply_retry;
        Ok(Self {
            awaits_content: guards_reply || is_reply && settings.hedge_percent > 0,
            guards_reply,
            streams: streams || target.is_stream,
            target,
            outgoing,
            model,
            amount,
            content,
            unread,
            listing,
            deadline,
            setup: None,
            token: None,
            streaming: None,
            memory,
        })
    }

    /// Reads what the pool needs of a live session from its first message, whose memory the socket holds.
    pub fn of_session(
        app: &Arc<App>,
        caller: &Caller,
        headers: &HeaderMap,
        setup: Message,
    ) -> Result<Self, Refusal> {
        let (target, token) = (caller.target.clone(), caller.token.clone());
        let url = app
            .gemini
            .url(&target.path_and_query)
            .ok_or(Refusal::AlteredPath)?;
        let body = setup.clone().into_data();
        let (mut content, unread) = read_message(&body);
        let model = content.model.clone();
        let amount = estimate_quota(&target, &content, unread.is_some().then_some(body.len()));
        // A token is valid in the project that made it, like every named resource.
        content.names.extend(token.clone());
        content.stores_interaction = false;
        let mut headers = headers_for_upstream(headers, true);
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
            content,
            unread,
            listing: None,
            deadline: None,
            setup: Some(setup),
            token,
            awaits_content: false,
            guards_reply: false,
            streaming: None,
            memory: HeldMemory::new(&app.body_memory, caller.client.id),
        })
    }

    fn streaming(memory: HeldMemory, target: Target, url: Uri, head: Parts, body: Body) -> Self {
        let outgoing = UpstreamRequest {
            method: head.method,
            url,
            headers: headers_for_upstream(&head.headers, false),
            body: Bytes::new(),
        };
        Self {
            streams: false,
            model: target.model.clone(),
            content: BodyContent::default().with_path(&target),
            unread: None,
            target,
            outgoing,
            amount: QuotaAmount::default(),
            listing: None,
            deadline: None,
            setup: None,
            token: None,
            awaits_content: false,
            guards_reply: false,
            streaming: Some(StreamingBody::new(body)),
            memory,
        }
    }

    /// The kind of resource that the request creates; `None`: none that can be named later.
    pub fn creates(&self) -> Option<ResourceKind> {
        CreatedResourcesReader::kind_created_by(&self.target, self.content.stores_interaction)
    }

    /// Whether resources that it names or creates bind the request to a project, or its body can be sent only once.
    pub fn is_bound(&self) -> bool {
        let has_resources = !self.content.names.is_empty() || self.creates().is_some();
        has_resources || self.setup.is_some() || self.streaming.is_some()
    }

    /// The tap that reads the answer.
    pub fn tap(&self, headers: &HeaderMap) -> ResponseTap {
        let of_file = HeaderMap::from_iter([(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        )]);
        // The content of a file is not read.
        let headers = if self.target.is_download() {
            &of_file
        } else {
            headers
        };
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let created_resources =
            CreatedResourcesReader::of(&self.target, self.content.stores_interaction, content_type);
        // A list names resources of other clients too.
        let created_resources = created_resources.filter(|_| self.listing.is_none());
        ResponseTap::new(self.target.surface, headers).with_created_resources(created_resources)
    }

    /// The resource that the request deletes, if it succeeds. Cancelling an upload deletes none.
    pub fn deletes(&self) -> Option<ResourceName> {
        if self.outgoing.method != Method::DELETE || is_upload(&self.target) {
            return None;
        }
        ResourceName::of_whole_path(&self.target.path_and_query)
    }

    /// What the request needs of an upstream key.
    pub fn lease_request<'a>(
        &'a self,
        tags: &'a [String],
        project: Option<ProjectId>,
    ) -> LeaseRequest<'a> {
        LeaseRequest {
            model: self.model.as_deref().unwrap_or_default(),
            amount: self.amount,
            tags,
            project,
        }
    }

    /// What of the request changes the meaning of an error.
    pub fn asked(&self) -> ErrorContext {
        ErrorContext {
            surface: self.target.surface,
            client_deadline: self.deadline.is_some(),
        }
    }

    /// The model whose quota the request uses; empty for requests that use none.
    pub fn quota_model(&self) -> &str {
        let model = self.model.as_deref().filter(|_| self.amount.requests > 0);
        model.unwrap_or_default()
    }
}

/// How long a body may still arrive once the server is stopping.
async fn body_timeout_at_stop(stopping: &CancellationToken) {
    stopping.cancelled().await;
    tokio::time::sleep(BODY_TIMEOUT_AT_STOP).await;
}

/// Refuses a body whose length is announced in two ways.
fn refuse_ambiguous_length(headers: &HeaderMap) -> Result<(), Refusal> {
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    if lengths > 1 || lengths == 1 && headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::AmbiguousLength);
    }
    Ok(())
}

async fn collect_body(
    mut body: Body,
    headers: &HeaderMap,
    settings: &Settings,
    held: &mut HeldMemory,
) -> Result<Bytes, Refusal> {
    let most = settings.max_request_bytes;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > most) {
        return Err(Refusal::BodyTooLarge(most));
    }
    let expected = announced.unwrap_or_default().min(FIRST_PIECE);
    let mut pace = BodyPace::default();
    let mut received = 0_u64;
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    loop {
        // A body that stops or drips must not hold its memory for long.
        let began = clock::timer_instant();
        let frame = tokio::time::timeout(pace.time_left(settings), body.frame()).await;
        let Some(frame) = frame.map_err(|_| Refusal::BodyTooSlow)? else {
            break;
        };
        let Ok(data) = frame.map_err(|_| Refusal::BodyBroken)?.into_data() else {
            continue;
        };
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        pace.add(length, began.elapsed());
        received += length;
        if received > most {
            return Err(Refusal::BodyTooLarge(most));
        }
        let taken = if held.bytes() == 0 {
            // A small body needs no more later.
            let first = length.max(expected);
            held.take_first(first, settings.wait_for_key()).await
        } else {
            held.take(received.saturating_sub(held.bytes()))
        };
        taken.map_err(|_| Refusal::TooMuchHeld)?;
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
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
