//! Batches: many requests at once, answered after some looks, in the answer itself or in a file.

use serde::Serialize;
use serde_json::Value;

use super::asks::{Asks, field, json_of, time};
use super::contents::Contents;
use super::files::{self, Source, Wish};
use super::owned::Thing;
use super::page::{self, Sizes};
use crate::demo::fake_gemini::answer::Answer;
use crate::demo::fake_gemini::answers::embeddings::Embedded;
use crate::demo::fake_gemini::answers::{Said, native};
use crate::demo::fake_gemini::asked::{self, Asked};
use crate::demo::fake_gemini::call::Operation;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::models::FakeModel;

pub struct Batch {
    model: String,
    display_name: String,
    kind: Kind,
    /// The answers are lines of a file, as the requests were.
    into_file: bool,
    items: Vec<Item>,
    begun_ms: i64,
    changed_ms: i64,
    looks_left: u32,
    state: State,
    /// The file with the answers, once it is there.
    output: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Generate,
    Embed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum State {
    #[serde(rename = "BATCH_STATE_PENDING")]
    Pending,
    #[serde(rename = "BATCH_STATE_RUNNING")]
    Running,
    #[serde(rename = "BATCH_STATE_SUCCEEDED")]
    Succeeded,
    #[serde(rename = "BATCH_STATE_CANCELLED")]
    Cancelled,
}

/// One request and its answer.
struct Item {
    /// The client's own words for it: `metadata`, or the `key` of a line.
    mark: Value,
    said: Said,
    text: String,
    asked: Asked,
}

/// `batchGenerateContent`, `asyncBatchEmbedContent`.
pub fn create(asks: &Asks, model: &FakeModel) -> Result<Answer, GoogleError> {
    let kind = match asks.call.operation {
        Operation::BatchEmbedJob => Kind::Embed,
        _ => Kind::Generate,
    };
    let body = asks.json()?;
    let batch = &body["batch"];
    let input = field(batch, "inputConfig", "input_config");
    let file = field(input, "fileName", "file_name").as_str();
    let requests = match file {
        Some(file) => lines(asks, file)?,
        None => {
            let inlined = input["requests"]["requests"].as_array();
            inlined.cloned().unwrap_or_default()
        }
    };
    if requests.is_empty() {
        return Err(GoogleError::bad_argument());
    }
    let items = requests
        .iter()
        .map(|request| Item::answered(asks, model, kind, request));
    let display_name = field(batch, "displayName", "display_name").as_str();
    let batch = Batch {
        model: model.name.clone(),
        display_name: display_name.unwrap_or_default().to_owned(),
        kind,
        into_file: file.is_some(),
        items: items.collect::<Result<_, _>>()?,
        begun_ms: asks.now_ms,
        changed_ms: asks.now_ms,
        looks_left: asks.google.looks_until_done,
        state: State::Pending,
        output: None,
    };
    let name = format!("batches/{}", asks.id(36));
    let answer = Answer::json(json::pretty(&batch.shown(&name)));
    asks.keep(&name, None, Thing::Batch(batch))?;
    Ok(answer)
}

pub fn answer(asks: &Asks, rest: &[&str]) -> Result<Answer, GoogleError> {
    match (asks.method(), rest) {
        ("GET", []) => {
            let sizes = Sizes {
                default: 50,
                most: 100,
            };
            page::answer(asks, "operations", sizes, |name, owned| {
                match &owned.thing {
                    Thing::Batch(batch) => serde_json::to_value(batch.shown(name)).ok(),
                    _ => None,
                }
            })
        }
        ("GET", [id]) => {
            let name = format!("batches/{id}");
            look_at(asks, &name)?;
            let shown = find(asks, &name, |batch| json::pretty(&batch.shown(&name)))?;
            Ok(Answer::json(shown))
        }
        ("POST", [id, "cancel"]) => {
            find(asks, &format!("batches/{id}"), |batch| {
                batch.cancel(asks.now_ms)
            })?;
            Ok(Answer::json("{}\n".to_owned()))
        }
        ("DELETE", [id]) => asks
            .delete(&format!("batches/{id}"))
            .ok_or_else(GoogleError::not_found),
        _ => Err(GoogleError::not_found()),
    }
}

/// Lets one look at a batch go by; after the last it is done.
fn look_at(asks: &Asks, name: &str) -> Result<(), GoogleError> {
    let lines = find(asks, name, |batch| {
        if !matches!(batch.state, State::Pending | State::Running) {
            return None;
        }
        batch.looks_left = batch.looks_left.saturating_sub(1);
        if batch.looks_left > 0 {
            batch.state = State::Running;
            return None;
        }
        batch.state = State::Succeeded;
        batch.changed_ms = asks.now_ms;
        batch.into_file.then(|| batch.lines())
    })?;
    if let Some(lines) = lines {
        let id = name.trim_start_matches("batches/");
        let wish = Wish {
            name: Some(format!("files/batch-{id}")),
            mime_type: Some("application/jsonl".to_owned()),
            ..Wish::default()
        };
        let file = files::make(asks, wish, Contents::whole(lines), Source::Generated)?;
        find(asks, name, |batch| batch.output = Some(file.name))?;
    }
    Ok(())
}

fn find<T>(asks: &Asks, name: &str, look: impl FnOnce(&mut Batch) -> T) -> Result<T, GoogleError> {
    let found = asks.look(name, |thing| match thing {
        Thing::Batch(batch) => Some(look(batch)),
        _ => None,
    });
    found.flatten().ok_or_else(GoogleError::not_found)
}

/// The requests in a file, one a line.
fn lines(asks: &Asks, file: &str) -> Result<Vec<Value>, GoogleError> {
    let id = file.trim_start_matches("files/");
    let contents = files::find(asks, id, |file| file.contents.clone())?;
    let lines = contents.beginning.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.trim_ascii().is_empty())
        .map(json_of)
        .collect()
}

impl Item {
    fn answered(
        asks: &Asks,
        model: &FakeModel,
        kind: Kind,
        request: &Value,
    ) -> Result<Self, GoogleError> {
        let body = json::compact(&request["request"]);
        let asked = match kind {
            Kind::Generate => asked::generate(body.as_bytes())?,
            Kind::Embed => asked::embed_one(body.as_bytes())?,
        };
        let mark = match &request["key"] {
            Value::Null => &request["metadata"],
            key => key,
        };
        let said = asks.say(model, &asked);
        Ok(Self {
            mark: mark.clone(),
            text: said.texts.concat(),
            said,
            asked,
        })
    }
}

impl Batch {
    fn cancel(&mut self, now_ms: i64) {
        if matches!(self.state, State::Pending | State::Running) {
            self.state = State::Cancelled;
            self.changed_ms = now_ms;
        }
    }

    /// The answers as lines of JSON.
    fn lines(&self) -> String {
        let lines = self.items.iter().map(|item| Line {
            key: &item.mark,
            response: self.response(item),
        });
        lines.map(|line| json::compact(&line) + "\n").collect()
    }

    fn response<'a>(&'a self, item: &'a Item) -> Response<impl Serialize + 'a> {
        match self.kind {
            Kind::Generate => Response::Generated(native::part(&item.said, &item.text)),
            Kind::Embed => {
                let embedded = Embedded {
                    model: &self.model,
                    texts: &item.asked.texts,
                    dimensions: item.asked.dimensions,
                    prompt_tokens: item.asked.prompt_tokens,
                };
                let text = item.asked.texts.first().copied().unwrap_or_default();
                Response::Embedded {
                    embedding: Embedding {
                        values: embedded.values(text).collect(),
                    },
                }
            }
        }
    }

    fn shown<'a>(&'a self, name: &'a str) -> Shown<'a, impl Serialize + 'a> {
        let message = match self.kind {
            Kind::Generate => "GenerateContentBatch",
            Kind::Embed => "EmbedContentBatch",
        };
        let count = |state| (self.state == state).then(|| self.items.len().to_string());
        let is_over = matches!(self.state, State::Succeeded | State::Cancelled);
        let is_done = self.state == State::Succeeded;
        let waiting = (!is_over).then(|| self.items.len().to_string());
        Shown {
            name,
            metadata: Metadata {
                message: format!("{TYPES}{message}"),
                model: format!("models/{}", self.model),
                display_name: &self.display_name,
                output: is_done.then(|| self.output(None)),
                create_time: time(self.begun_ms),
                end_time: is_over.then(|| time(self.changed_ms)),
                update_time: time(self.changed_ms),
                batch_stats: Stats {
                    request_count: self.items.len().to_string(),
                    pending_request_count: waiting,
                    successful_request_count: count(State::Succeeded),
                },
                state: self.state,
                name,
            },
            done: is_over,
            error: (self.state == State::Cancelled).then_some(Status {
                code: 1,
                message: "The operation was cancelled.",
            }),
            response: is_done.then(|| self.output(Some(format!("{TYPES}{message}Output")))),
        }
    }

    fn output(&self, message: Option<String>) -> Output<'_, impl Serialize> {
        let responses = || Inlined {
            inlined_responses: self
                .items
                .iter()
                .map(|item| InlinedResponse {
                    response: self.response(item),
                    metadata: (!item.mark.is_null()).then_some(&item.mark),
                })
                .collect(),
        };
        let is_inlined = !self.into_file;
        Output {
            message,
            responses_file: self.output.as_deref(),
            inlined_responses: (is_inlined && self.kind == Kind::Generate).then(responses),
            inlined_embed_content_responses: (is_inlined && self.kind == Kind::Embed)
                .then(responses),
        }
    }
}

/// What the `@type` of a message begins with, as recorded.
const TYPES: &str = "type.googleapis.com/google.ai.generativelanguage.v1main.";

/// The fields of recordings, in their order.
#[derive(Serialize)]
struct Shown<'a, T> {
    name: &'a str,
    metadata: Metadata<'a, T>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Output<'a, T>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a, T> {
    #[serde(rename = "@type")]
    message: String,
    model: String,
    display_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Output<'a, T>>,
    create_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
    update_time: String,
    batch_stats: Stats,
    state: State,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "these are the names in the JSON")]
struct Stats {
    request_count: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_request_count: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    successful_request_count: Option<String>,
}

#[derive(Serialize)]
struct Status {
    code: u8,
    message: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a, T> {
    #[serde(rename = "@type", skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    responses_file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inlined_responses: Option<Inlined<'a, T>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inlined_embed_content_responses: Option<Inlined<'a, T>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inlined<'a, T> {
    inlined_responses: Vec<InlinedResponse<'a, T>>,
}

#[derive(Serialize)]
struct InlinedResponse<'a, T> {
    response: Response<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Value>,
}

#[derive(Serialize)]
struct Line<'a, T> {
    key: &'a Value,
    response: Response<T>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Response<T> {
    Generated(T),
    Embedded { embedding: Embedding },
}

#[derive(Serialize)]
struct Embedding {
    values: Vec<f32>,
}
