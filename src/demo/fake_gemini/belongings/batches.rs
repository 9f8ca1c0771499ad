//! Batches: many requests at once, answered after some looks, in the answer itself or in a file.

use serde::Serialize;
use serde_json::Value;

use super::asks::{Asks, field, json_of};
use super::contents::Contents;
use super::files::{self, Source, Wish};
use super::owned::Thing;
use super::page::{self, Sizes};
use crate::demo::fake_gemini::answer::Answer;
use crate::demo::fake_gemini::answers::{Said, openai};
use crate::demo::fake_gemini::asked::{self, Asked};
use crate::demo::fake_gemini::call::Operation;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::models::{self, FakeModel};

pub struct Batch {
    pub model: String,
    pub display_name: String,
    pub kind: Kind,
    /// The file with the requests; the answers come in one too, then.
    pub input: Option<String>,
    pub items: Vec<Item>,
    pub begun_ms: i64,
    pub changed_ms: i64,
    looks_left: u32,
    pub state: State,
    /// The file with the answers, once it is there.
    pub output: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Generate,
    Embed,
    /// Of the OpenAI layer.
    Chat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum State {
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
pub struct Item {
    /// The client's own words for it: `metadata`, or the `key` of a line.
    pub mark: Value,
    pub said: Said,
    pub text: String,
    pub asked: Asked,
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
    let requests = if let Some(file) = file {
        lines(asks, file)?
    } else {
        let inlined = input["requests"]["requests"].as_array();
        inlined.cloned().unwrap_or_default()
    };
    if requests.is_empty() {
        return Err(GoogleError::bad_argument());
    }
    let items = requests
        .iter()
        .map(|request| Item::answered(asks, model, kind, request));
    let display_name = field(batch, "displayName", "display_name").as_str();
    let batch = Batch {
        display_name: display_name.unwrap_or_default().to_owned(),
        input: file.map(str::to_owned),
        ..Batch::new(asks, model, kind, items.collect::<Result<_, _>>()?)
    };
    let name = format!("batches/{}", asks.id(36));
    let answer = Answer::json(json::pretty(&batch.shown(&name)));
    asks.keep(&name, None, Thing::Batch(batch))?;
    Ok(answer)
}

/// A batch as the OpenAI layer wants it, not yet kept, and its name.
pub fn of_openai(asks: &Asks) -> Result<(String, Batch), GoogleError> {
    let body = asks.json()?;
    let file = body["input_file_id"].as_str();
    let file = file.ok_or_else(GoogleError::bad_argument)?;
    let requests = lines(asks, file)?;
    let first = requests.first().ok_or_else(GoogleError::bad_argument)?;
    let model = first["body"]["model"].as_str().unwrap_or_default();
    let model = model.trim_start_matches("models/");
    let model = models::find(model, &asks.call.version)
        .ok_or_else(|| GoogleError::unknown_model(asks.call, model))?;
    let items = requests
        .iter()
        .map(|request| Item::answered(asks, model, Kind::Chat, request));
    let batch = Batch {
        input: Some(file.to_owned()),
        ..Batch::new(asks, model, Kind::Chat, items.collect::<Result<_, _>>()?)
    };
    Ok((format!("batches/{}", asks.id(36)), batch))
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
                batch.cancel(asks.now_ms);
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
pub fn look_at(asks: &Asks, name: &str) -> Result<(), GoogleError> {
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
        batch.input.is_some().then(|| batch.lines())
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

pub fn find<T>(
    asks: &Asks,
    name: &str,
    look: impl FnOnce(&mut Batch) -> T,
) -> Result<T, GoogleError> {
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
        let body = match kind {
            Kind::Generate | Kind::Embed => json::compact(&request["request"]),
            Kind::Chat => json::compact(&request["body"]),
        };
        let asked = match kind {
            Kind::Chat => asked::openai_chat(body.as_bytes())?,
            Kind::Generate => asked::generate(body.as_bytes())?,
            Kind::Embed => asked::embed_one(body.as_bytes())?,
        };
        let mark = ["key", "custom_id", "metadata"]
            .iter()
            .find_map(|field| request.get(field))
            .unwrap_or(&Value::Null);
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
    fn new(asks: &Asks, model: &FakeModel, kind: Kind, items: Vec<Item>) -> Self {
        Self {
            model: model.name.clone(),
            display_name: String::new(),
            kind,
            input: None,
            items,
            begun_ms: asks.now_ms,
            changed_ms: asks.now_ms,
            looks_left: asks.google.looks_until_done,
            state: State::Pending,
            output: None,
        }
    }

    pub fn cancel(&mut self, now_ms: i64) {
        if matches!(self.state, State::Pending | State::Running) {
            self.state = State::Cancelled;
            self.changed_ms = now_ms;
        }
    }

    /// The answers as lines of JSON.
    fn lines(&self) -> String {
        let lines = self.items.iter().map(|item| match self.kind {
            Kind::Generate | Kind::Embed => json::compact(&Line {
                key: &item.mark,
                response: self.response(item),
            }),
            Kind::Chat => {
                let body: Value = serde_json::from_str(&openai::unary(&item.said))
                    .expect("the fake's answers are JSON");
                json::compact(&serde_json::json!({
                    "custom_id": item.mark,
                    "error": null,
                    "id": item.said.id(),
                    "response": {"body": body, "request_id": item.said.id(), "status_code": 200},
                }))
            }
        });
        lines.map(|line| line + "\n").collect()
    }
}

/// One answer in a file.
#[derive(Serialize)]
struct Line<'a, T> {
    key: &'a Value,
    response: T,
}
