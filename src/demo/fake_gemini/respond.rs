//! The story of a request at the fake: who asks, what becomes of their key, what they get.

use std::sync::Arc;
use std::time::Duration;

use http::header::ACCEPT_ENCODING;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Front};
use super::answers::embeddings::Embedded;
use super::answers::{Said, native, openai};
use super::asked::{Asked, Delivery};
use super::belongings::asks::Asks;
use super::belongings::sent::Sent;
use super::belongings::{self, batches, caches, interactions, named, uploads, videos};
use super::body::AnswerBody;
use super::call::{Call, Form, Operation, credential};
use super::errors::GoogleError;
use super::fate::Fate;
use super::google::Google;
use super::journal::OpenAnswer;
use super::keys::KeyState;
use super::live;
use super::manner::Manner;
use super::models::{self, FakeModel};
use super::quota::Charge;
use super::wire::{Ruin, RuinCell};

/// The request gets no answer: the connection closes.
#[derive(Debug, thiserror::Error)]
#[error("the fake hangs up")]
pub struct NoAnswer;

/// Answers one request by the rules.
pub async fn respond(
    google: Arc<Google>,
    ruin: RuinCell,
    cut_off: CancellationToken,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, NoAnswer> {
    if live::is_asked(&request) {
        return live::respond(google, ruin, cut_off, request).await;
    }
    let mut open = OpenAnswer::begin(google.clone(), cut_off);
    let (head, body) = request.into_parts();
    let call = Call::read(&head);
    let sent = Sent::read(&google.belongings, &call, &head, body).await;
    let sent = sent.map_err(|_| NoAnswer)?;
    let secret = credential(&head, call.form);
    let secret_text = secret.as_deref().ok();
    let now_ms = (google.clock)();
    google
        .journal
        .record(google.recording, now_ms, &head, &sent, secret_text);
    if let Some(raw) = google.next_replay() {
        return Ok(raw.into_response(open));
    }

    let key = match secret {
        Ok(secret) => google.key(&secret).ok_or_else(GoogleError::unknown_key),
        Err(bad) => Err(GoogleError::bad_credentials(bad, &call)),
    };
    if let Ok(key) = &key {
        open.belongs_to(key.clone());
    }
    let visit = Visit {
        fate: google.fate(key.as_deref().ok(), call.operation.spends()),
        manner: google.manner(&head),
        google: &google,
        head: &head,
        call,
        key,
        now_ms,
    };
    visit.suffer(&ruin, &mut open).await?;

    let answer = visit.answer(&sent);
    if let (Ok(key), Ok(_)) = (&visit.key, &answer) {
        key.answered();
    }
    let answer = answer.unwrap_or_else(|error| Answer::refusal(&error, visit.call.form));
    Ok(visit.paint(answer, open))
}

/// One request, with all that decides about it.
struct Visit<'a> {
    google: &'a Google,
    head: &'a Parts,
    call: Call,
    /// Whose request it is, or why that is nobody's.
    key: Result<Arc<KeyState>, GoogleError>,
    fate: Fate,
    manner: Manner,
    now_ms: i64,
}

impl Visit<'_> {
    /// Lets happen what a fate does to the connection, and waits before the head as long as is due.
    async fn suffer(&self, ruin: &RuinCell, open: &mut OpenAnswer) -> Result<(), NoAnswer> {
        let ruined = match self.fate {
            Fate::Hang => return std::future::pending().await,
            Fate::HangUp => {
                open.finish();
                return Err(NoAnswer);
            }
            Fate::Reset => Some(Ruin::Reset),
            Fate::GarbageAnswer => {
                Some(Ruin::Says(b"\x15\x03\x01 this is not HTTP at all\r\n\r\n"))
            }
            Fate::HalfHead => Some(Ruin::Says(b"HTTP/1.1 200 OK\r\ncontent-type: applica")),
            _ => None,
        };
        if let Some(ruined) = ruined {
            open.finish();
            // The answer that follows is never written: the socket says its ruin instead.
            let _ = ruin.set(ruined);
        }
        let delay = self.fate.first_byte_delay() + Duration::from_millis(self.manner.first_byte_ms);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Ok(())
    }

    /// Google looks at the key before the model, at the model before the rest of the body, at quotas last.
    fn answer(&self, sent: &Sent) -> Result<Answer, GoogleError> {
        let asked = Asked::read(&self.call, &sent.text);
        let asked = asked.as_ref();
        let name = match asked {
            Ok(asked) => asked.model.as_deref(),
            Err(_) => self.call.model.as_deref(),
        };
        let model = name.and_then(|name| models::find(name, &self.call.version));
        let names = [
            name.unwrap_or_default(),
            model.map_or("", |model| &model.name),
        ];
        let key = self.key.as_ref().ok().map(Arc::as_ref);
        if let Some(error) = GoogleError::of_fate(&self.fate, &self.call, &names, key) {
            return Err(error);
        }
        if self.call.operation == Operation::Upload
            && let Some(project) = uploads::project_of(&self.google.belongings, self.head)
        {
            return uploads::answer(&self.asks(&project?, sent), sent);
        }
        let key = self.key.as_ref().map_err(Clone::clone)?;
        let asks = self.asks(&key.project, sent);

        let query = self.head.uri.query().unwrap_or_default();
        match self.call.operation {
            Operation::ListModels => Ok(Answer::json(models::list(query))),
            Operation::OpenAiListModels => Ok(Answer::compact(models::openai_list())),
            Operation::GetInteraction => {
                let answer = interactions::answer(&asks)?.paced(&self.manner);
                Ok(answer.broken_by(&self.fate, self.call.form))
            }
            Operation::Upload => uploads::answer(&asks, sent),
            Operation::Belongings => belongings::answer(&asks),
            Operation::Unknown => Err(GoogleError::not_found()),
            Operation::Outside => Err(GoogleError::no_such_page()),
            Operation::GetModel
            | Operation::OpenAiGetModel
            | Operation::Generate
            | Operation::StreamGenerate
            | Operation::CountTokens
            | Operation::Embed
            | Operation::BatchEmbed
            | Operation::BatchJob
            | Operation::BatchEmbedJob
            | Operation::Predict
            | Operation::OpenAiChat
            | Operation::OpenAiEmbeddings
            | Operation::OpenAiImages
            | Operation::Interact => {
                let name = name.unwrap_or_default();
                if name.starts_with("tunedModels/") && !asks.owns(name) {
                    return Err(GoogleError::not_found());
                }
                let model = model
                    .filter(|model| self.call.operation.is_done_by(model))
                    .ok_or_else(|| GoogleError::unknown_model(&self.call, name));
                // Without a readable body nobody knows which model the OpenAI layer was asked for.
                match model {
                    Err(unknown) if !name.is_empty() => Err(unknown),
                    Err(unknown) => Err(asked.err().cloned().unwrap_or(unknown)),
                    Ok(model) => {
                        let asked = asked.map_err(Clone::clone)?;
                        named::check(&asks)?;
                        self.model_answer(key, &asks, model, asked)
                    }
                }
            }
        }
    }

    /// What concerns a model that exists.
    fn model_answer(
        &self,
        key: &KeyState,
        asks: &Asks,
        model: &FakeModel,
        asked: &Asked,
    ) -> Result<Answer, GoogleError> {
        let cached_tokens = caches::tokens_used(asks, model, asked)?;
        let operation = self.call.operation;
        if operation.spends() {
            if self.google.is_overloaded(&model.name) {
                return Err(GoogleError::in_stream(503));
            }
            let charge = Charge {
                is_embedding: !asked.texts.is_empty(),
                requests: asked.texts.len().max(1) as u64,
                input_tokens: asked.prompt_tokens,
            };
            self.google.charge(key, &model.name, charge, self.now_ms)?;
            // Reported: too long a prompt is refused and its tokens are used up all the same.
            if asked.prompt_tokens > 1_048_576 {
                return Err(GoogleError::too_many_tokens());
            }
        }

        match operation {
            Operation::BatchJob | Operation::BatchEmbedJob => return batches::create(asks, model),
            Operation::Predict => return videos::create(asks, model),
            _ => (),
        }
        let said = Said {
            prompt_tokens: asked.prompt_tokens + cached_tokens,
            cached_tokens,
            ..asks.say(model, asked)
        };
        let ints = self.call.enum_ints;
        let embedded = Embedded {
            model: &model.name,
            texts: &asked.texts,
            dimensions: asked.dimensions,
            prompt_tokens: asked.prompt_tokens,
        };
        let answer = match operation {
            Operation::GetModel => Answer::json(models::get(model)),
            Operation::OpenAiGetModel => Answer::compact(models::openai_model(model)),
            Operation::CountTokens => Answer::json(native::count_tokens(asked.prompt_tokens, ints)),
            Operation::Embed => Answer::json(embedded.single()),
            Operation::BatchEmbed => Answer::json(embedded.batch()),
            Operation::OpenAiEmbeddings => Answer::compact(embedded.openai(asked.base64)),
            Operation::OpenAiImages => Answer::compact(openai::image(&said)),
            Operation::Generate => Answer::json(native::unary(&said, ints)),
            Operation::StreamGenerate if self.call.form == Form::Sse => {
                Answer::events(native::sse(&said, ints))
            }
            Operation::StreamGenerate => Answer {
                content_type: "application/json; charset=UTF-8".into(),
                ..Answer::events(native::json_array(&said, ints))
            },
            Operation::OpenAiChat => match asked.delivery {
                Delivery::Stream { include_usage } => {
                    Answer::events(openai::sse(&said, include_usage))
                }
                Delivery::Whole | Delivery::Background => Answer::compact(openai::unary(&said)),
            },
            Operation::Interact => interactions::create(asks, asked, said)?,
            Operation::ListModels
            | Operation::OpenAiListModels
            | Operation::GetInteraction
            | Operation::BatchJob
            | Operation::BatchEmbedJob
            | Operation::Predict
            | Operation::Upload
            | Operation::Belongings
            | Operation::Unknown
            | Operation::Outside => unreachable!("no model answers this at once"),
        };
        Ok(answer
            .paced(&self.manner)
            .broken_by(&self.fate, self.call.form))
    }

    fn asks<'a>(&'a self, project: &'a str, sent: &'a Sent) -> Asks<'a> {
        Asks {
            google: self.google,
            head: self.head,
            call: &self.call,
            project,
            manner: &self.manner,
            now_ms: self.now_ms,
            body: &sent.text,
            parts: sent.parts(),
        }
    }

    /// Puts Google's headers around an answer, in the order of recordings.
    fn paint(&self, answer: Answer, mut open: OpenAnswer) -> Response<AnswerBody> {
        if answer.is_stream {
            open.is_stream();
        }
        let gzips = self.google.gzip
            && answer.front == Front::Api
            && self
                .head
                .headers
                .get_all(ACCEPT_ENCODING)
                .iter()
                .any(|value| value.as_bytes().windows(4).any(|word| word == b"gzip"));
        let pieces = if gzips {
            answer.pieces.gzipped()
        } else {
            answer.pieces
        };

        let mut response = Response::new(AnswerBody::new(pieces, open));
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
        let has_tier = self.call.operation.spends() && matches!(answer.status, 200 | 429);
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
        match answer.front {
            Front::Api => {
                set("server", "scaffolding on HTTPServer2");
                set("x-xss-protection", "0");
                set("x-frame-options", "SAMEORIGIN");
                set("x-content-type-options", "nosniff");
                set("server-timing", "gfet4t7; dur=42");
            }
            Front::Uploads => set("server", "UploadServer"),
        }
        set(
            "alt-svc",
            "h3=\":443\"; ma=2592000,h3-29=\":443\"; ma=2592000",
        );
        headers.insert(http::header::DATE, self.google.date(self.now_ms));
        response
    }
}
