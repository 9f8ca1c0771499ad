//! Answers a request: its key, the key's behaviour, the answer.

use std::sync::Arc;
use std::time::Duration;

use http::header::ACCEPT_ENCODING;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::behaviour::Behaviour;
use super::connection::{WireFault, WireFaultCell};
use super::errors::GoogleError;
use super::journal::OpenResponse;
use super::keys::FakeKeyState;
use super::live;
use super::models::{self, FakeModel};
use super::quota::QuotaCharge;
use super::request_body::{Delivery, RequestBody};
use super::request_target::{Operation, RequestTarget, ResponseFormat, credential};
use super::resources::received_body::ReceivedBody;
use super::resources::request_context::RequestContext;
use super::resources::{
    self, batches, caches, interactions, referenced_resources, uploads, videos,
};
use super::response::{FakeResponse, FrontEnd};
use super::response_body::FakeResponseBody;
use super::response_shape::ResponseShape;
use super::responses::embeddings::EmbeddingsResponse;
use super::responses::{Generation, native, openai};
use super::state::FakeState;

/// The request gets no answer: the connection closes.
#[derive(Debug, thiserror::Error)]
#[error("the fake hangs up")]
pub struct ConnectionClosed;

/// Answers one request by the rules.
pub async fn respond(
    state: Arc<FakeState>,
    wire_fault: WireFaultCell,
    cut_off: CancellationToken,
    request: Request<Incoming>,
) -> Result<Response<FakeResponseBody>, ConnectionClosed> {
    if live::is_live_request(&request) {
        return live::respond(state, wire_fault, cut_off, request).await;
    }
    let mut open = OpenResponse::begin(state.clone(), cut_off);
    let (head, body) = request.into_parts();
    let request_target = RequestTarget::parse(&head);
    let received_body = ReceivedBody::read(&state.resources, &request_target, &head, body).await;
    let mut received_body = received_body.map_err(|_| ConnectionClosed)?;
    let secret = credential(&head, request_target.format);
    let secret_text = secret.as_deref().ok();
    let now_ms = (state.clock)();
    state
        .journal
        .record(state.recording, now_ms, &head, &received_body, secret_text);
    if state.reads_lenient_json() {
        received_body.normalize_json(request_target.format);
    }
    if let Some(raw) = state.next_replay(head.uri.query().unwrap_or_default()) {
        return Ok(raw.into_response(open));
    }

    let key = match secret {
        Ok(secret) => state.key(&secret).ok_or_else(GoogleError::unknown_key),
        Err(bad) => Err(GoogleError::bad_credentials(bad, &request_target)),
    };
    if let Ok(key) = &key {
        open.set_key(key.clone());
    }
    let in_progress = RequestInProgress {
        behaviour: state.behaviour_for(key.as_deref().ok(), request_target.operation.uses_quota()),
        response_shape: state.response_shape(&head),
        state: &state,
        head: &head,
        request_target,
        key,
        now_ms,
    };
    in_progress.inject_fault(&wire_fault, &mut open).await?;

    let answer = in_progress.response(&received_body);
    if let (Ok(key), Ok(_)) = (&in_progress.key, &answer) {
        key.answered();
    }
    let answer = answer
        .unwrap_or_else(|error| FakeResponse::refusal(&error, in_progress.request_target.format));
    Ok(in_progress.http_response(answer, open))
}

/// A request with everything that its answer depends on.
struct RequestInProgress<'a> {
    state: &'a FakeState,
    head: &'a Parts,
    request_target: RequestTarget,
    /// The key of the request, or the error of a request without a valid key.
    key: Result<Arc<FakeKeyState>, GoogleError>,
    behaviour: Behaviour,
    response_shape: ResponseShape,
    now_ms: i64,
}

impl RequestInProgress<'_> {
    /// Injects the wire fault of a behaviour, and delays the head.
    async fn inject_fault(
        &self,
        fault_cell: &WireFaultCell,
        open: &mut OpenResponse,
    ) -> Result<(), ConnectionClosed> {
        let wire_fault = match self.behaviour {
            Behaviour::NeverRespond => return std::future::pending().await,
            Behaviour::CloseConnection => {
                open.finish();
                return Err(ConnectionClosed);
            }
            Behaviour::ResetConnection => Some(WireFault::Reset),
            Behaviour::MalformedResponse => Some(WireFault::RawBytes(
                b"\x15\x03\x01 this is not HTTP at all\r\n\r\n",
            )),
            Behaviour::TruncatedHead => Some(WireFault::RawBytes(
                b"HTTP/1.1 200 OK\r\ncontent-type: applica",
            )),
            _ => None,
        };
        if let Some(wire_fault) = wire_fault {
            open.finish();
            // The answer that follows is never written: the socket says its ruin instead.
            let _ = fault_cell.set(wire_fault);
        }
        let delay = self.behaviour.first_byte_delay()
            + Duration::from_millis(self.response_shape.first_byte_ms);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Ok(())
    }

    /// Google checks the key first, then the model, then the rest of the body, then quotas.
    fn response(&self, received_body: &ReceivedBody) -> Result<FakeResponse, GoogleError> {
        let request_body = RequestBody::parse(&self.request_target, &received_body.text);
        let request_body = request_body.as_ref();
        let name = match request_body {
            Ok(request_body) => request_body.model.as_deref(),
            Err(_) => self.request_target.model.as_deref(),
        };
        let model = name.and_then(|name| models::find(name, &self.request_target.version));
        let names = [
            name.unwrap_or_default(),
            model.map_or("", |model| &model.name),
        ];
        let key = self.key.as_ref().ok().map(Arc::as_ref);
        if let Some(error) =
            GoogleError::of_behaviour(&self.behaviour, &self.request_target, &names, key)
        {
            return Err(error);
        }
        if self.request_target.operation == Operation::Upload
            && let Some(project) = uploads::project_of(&self.state.resources, self.head)
        {
            return uploads::answer(&self.context(&project?, received_body), received_body);
        }
        let key = self.key.as_ref().map_err(Clone::clone)?;
        let context = self.context(&key.project, received_body);

        let query = self.head.uri.query().unwrap_or_default();
        match self.request_target.operation {
            Operation::ListModels => {
                let left_out = match &self.behaviour {
                    Behaviour::ModelRetired(model) => Some(model.as_str()),
                    _ => None,
                };
                Ok(FakeResponse::json(models::list(query, left_out)))
            }
            Operation::OpenAiListModels => Ok(FakeResponse::compact(models::openai_list())),
            Operation::GetInteraction => {
                let answer = interactions::answer(&context)?.with_shape(&self.response_shape);
                Ok(answer.with_faults(&self.behaviour, self.request_target.format))
            }
            Operation::Upload => uploads::answer(&context, received_body),
            Operation::Resource => resources::answer(&context),
            Operation::Unsupported => Err(GoogleError::not_found()),
            Operation::NotGeminiApi => Err(GoogleError::not_found_html()),
            Operation::GetModel
            | Operation::OpenAiGetModel
            | Operation::Generate
            | Operation::StreamGenerate
            | Operation::CountTokens
            | Operation::Embed
            | Operation::BatchEmbed
            | Operation::BatchGenerate
            | Operation::AsyncBatchEmbed
            | Operation::Predict
            | Operation::OpenAiChat
            | Operation::OpenAiEmbeddings
            | Operation::OpenAiImages
            | Operation::CreateInteraction => {
                let name = name.unwrap_or_default();
                if name.starts_with("tunedModels/") && !context.owns(name) {
                    return Err(GoogleError::not_found());
                }
                let model = model
                    .filter(|model| self.request_target.operation.is_supported_by(model))
                    .ok_or_else(|| GoogleError::unknown_model(&self.request_target, name));
                // Without a readable body the model of the OpenAI layer is unknown.
                match model {
                    Err(unknown) if !name.is_empty() => Err(unknown),
                    Err(unknown) => Err(request_body.err().cloned().unwrap_or(unknown)),
                    Ok(model) => {
                        let request_body = request_body.map_err(Clone::clone)?;
                        referenced_resources::check(&context)?;
                        self.model_response(key, &context, model, request_body)
                    }
                }
            }
        }
    }

    /// Answers a request for a model that exists.
    fn model_response(
        &self,
        key: &FakeKeyState,
        context: &RequestContext,
        model: &FakeModel,
        request_body: &RequestBody,
    ) -> Result<FakeResponse, GoogleError> {
        let cached_tokens = caches::tokens_used(context, model, request_body)?;
        let operation = self.request_target.operation;
        if operation.uses_quota() {
            if self.state.is_overloaded(&model.name) {
                return Err(GoogleError::in_stream(503));
            }
            let charge = QuotaCharge {
                is_embedding: !request_body.texts.is_empty(),
                requests: request_body.texts.len().max(1) as u64,
                input_tokens: request_body.prompt_tokens,
            };
            self.state.charge(key, &model.name, charge, self.now_ms)?;
            // Reported: too long a prompt is refused and its tokens are used up all the same.
            if request_body.prompt_tokens > 1_048_576 {
                return Err(GoogleError::too_many_tokens());
            }
        }

        match operation {
            Operation::BatchGenerate | Operation::AsyncBatchEmbed => {
                return batches::create(context, model);
            }
            Operation::Predict => return videos::create(context, model),
            _ => (),
        }
        let generation = Generation {
            prompt_tokens: request_body.prompt_tokens + cached_tokens,
            cached_tokens,
            ..context.generate(model, request_body)
        };
        let generation = match self.behaviour {
            Behaviour::EmptyReply(finish_reason) => Generation {
                texts: vec![String::new(); 2],
                finish_reason,
                ..generation
            },
            _ => generation,
        };
        let ints = self.request_target.enum_ints;
        let embeddings = EmbeddingsResponse {
            model: &model.name,
            texts: &request_body.texts,
            dimensions: request_body.dimensions,
            prompt_tokens: request_body.prompt_tokens,
        };
        let answer = match operation {
            Operation::GetModel => FakeResponse::json(models::get(model)),
            Operation::OpenAiGetModel => FakeResponse::compact(models::openai_model(model)),
            Operation::CountTokens => {
                FakeResponse::json(native::count_tokens(request_body.prompt_tokens, ints))
            }
            Operation::Embed => FakeResponse::json(embeddings.single()),
            Operation::BatchEmbed => FakeResponse::json(embeddings.batch()),
            Operation::OpenAiEmbeddings => {
                FakeResponse::compact(embeddings.openai(request_body.base64))
            }
            Operation::OpenAiImages => FakeResponse::compact(openai::image(&generation)),
            Operation::Generate => FakeResponse::json(native::unary(&generation, ints)),
            Operation::StreamGenerate if self.request_target.format == ResponseFormat::Sse => {
                FakeResponse::events(native::sse(&generation, ints))
            }
            Operation::StreamGenerate => FakeResponse {
                content_type: "application/json; charset=UTF-8".into(),
                ..FakeResponse::events(native::json_array(&generation, ints))
            },
            Operation::OpenAiChat => match request_body.delivery {
                Delivery::Stream { include_usage } => {
                    FakeResponse::events(openai::sse(&generation, include_usage))
                }
                Delivery::Whole | Delivery::Background => {
                    FakeResponse::compact(openai::unary(&generation))
                }
            },
            Operation::CreateInteraction => {
                interactions::create(context, request_body, generation)?
            }
            Operation::ListModels
            | Operation::OpenAiListModels
            | Operation::GetInteraction
            | Operation::BatchGenerate
            | Operation::AsyncBatchEmbed
            | Operation::Predict
            | Operation::Upload
            | Operation::Resource
            | Operation::Unsupported
            | Operation::NotGeminiApi => unreachable!("no model answers this at once"),
        };
        Ok(answer
            .with_shape(&self.response_shape)
            .with_faults(&self.behaviour, self.request_target.format))
    }

    fn context<'a>(
        &'a self,
        project: &'a str,
        received_body: &'a ReceivedBody,
    ) -> RequestContext<'a> {
        RequestContext {
            state: self.state,
            head: self.head,
            request_target: &self.request_target,
            project,
            response_shape: &self.response_shape,
            now_ms: self.now_ms,
            body: &received_body.text,
            parts: received_body.parts(),
        }
    }

    /// Adds Google's headers to an answer, in the order of recordings.
    fn http_response(
        &self,
        answer: FakeResponse,
        mut open: OpenResponse,
    ) -> Response<FakeResponseBody> {
        if answer.is_stream {
            open.mark_stream();
        }
        let gzips = self.state.gzip
            && answer.front_end == FrontEnd::Api
            && self
                .head
                .headers
                .get_all(ACCEPT_ENCODING)
                .iter()
                .any(|value| value.as_bytes().windows(4).any(|word| word == b"gzip"));
        let body_chunks = if gzips {
            answer.body_chunks.gzipped()
        } else {
            answer.body_chunks
        };

        let mut response = Response::new(FakeResponseBody::new(body_chunks, open));
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::IM_A_TEAPOT);
        let headers = response.headers_mut();
        let mut set = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).expect("the fake's headers are ASCII");
            headers.append(HeaderName::from_static(name), value);
        };
        for (name, value) in &answer.headers {
            set(name, value);
        }
        let has_tier =
            self.request_target.operation.uses_quota() && matches!(answer.status, 200 | 429);
        if has_tier && !answer.is_stream {
            set("x-gemini-service-tier", "standard");
        }
        set("content-type", &answer.content_type);
        if answer.is_stream && answer.content_type == "text/event-stream" {
            set("content-disposition", "attachment");
        }
        if gzips {
            set("content-encoding", "gzip");
        }
        for origin in ["Origin", "Referer", "X-Origin"] {
            set("vary", origin);
        }
        match answer.front_end {
            FrontEnd::Api => {
                set("server", "scaffolding on HTTPServer2");
                set("x-xss-protection", "0");
                set("x-frame-options", "SAMEORIGIN");
                set("x-content-type-options", "nosniff");
                set("server-timing", "gfet4t7; dur=42");
            }
            FrontEnd::Uploads => set("server", "UploadServer"),
        }
        set(
            "alt-svc",
            "h3=\":443\"; ma=2592000,h3-29=\":443\"; ma=2592000",
        );
        headers.insert(http::header::DATE, self.state.date(self.now_ms));
        response
    }
}
