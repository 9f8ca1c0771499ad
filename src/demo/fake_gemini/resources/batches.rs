//! Batches: many requests at once, answered after some polls, in the answer itself or in a file.

use serde::Serialize;
use serde_json::Value;

use super::contents::Contents;
use super::files::{self, FileMetadata, FileSource};
use super::page::{self, PageSizes};
use super::request_context::{RequestContext, field, json_of};
use super::resource_store::Resource;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::models::{self, FakeModel};
use crate::demo::fake_gemini::request_body::{self, RequestBody};
use crate::demo::fake_gemini::request_target::Operation;
use crate::demo::fake_gemini::response::FakeResponse;
use crate::demo::fake_gemini::responses::{Generation, openai};

pub struct BatchJob {
    pub model: String,
    pub display_name: String,
    pub kind: BatchKind,
    /// The file with the requests; then the answers are in a file too.
    pub input: Option<String>,
    pub items: Vec<BatchItem>,
    pub created_ms: i64,
    pub updated_ms: i64,
    polls_left: u32,
    pub state: BatchState,
    /// The file with the answers, once it is there.
    pub output: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchKind {
    Generate,
    Embed,
    /// Of the OpenAI layer.
    Chat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum BatchState {
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
pub struct BatchItem {
    /// The client's name for it: `metadata`, or the `key` of a line.
    pub reference: Value,
    pub generation: Generation,
    pub text: String,
    pub request_body: RequestBody,
}

/// `batchGenerateContent`, `asyncBatchEmbedContent`.
pub fn create(context: &RequestContext, model: &FakeModel) -> Result<FakeResponse, GoogleError> {
    let kind = match context.request_target.operation {
        Operation::AsyncBatchEmbed => BatchKind::Embed,
        _ => BatchKind::Generate,
    };
    let body = context.json()?;
    let batch = &body["batch"];
    let input = field(batch, "inputConfig", "input_config");
    let file = field(input, "fileName", "file_name").as_str();
    let requests = if let Some(file) = file {
        lines(context, file)?
    } else {
        let inlined = input["requests"]["requests"].as_array();
        inlined.cloned().unwrap_or_default()
    };
    if requests.is_empty() {
        return Err(GoogleError::bad_argument());
    }
    let items = requests
        .iter()
        .map(|request| BatchItem::generate(context, model, kind, request));
    let display_name = field(batch, "displayName", "display_name").as_str();
    let batch = BatchJob {
        display_name: display_name.unwrap_or_default().to_owned(),
        input: file.map(str::to_owned),
        ..BatchJob::new(context, model, kind, items.collect::<Result<_, _>>()?)
    };
    let name = format!("batches/{}", context.new_id(36));
    let answer = FakeResponse::json(json::pretty(&batch.view(&name)));
    context.insert(&name, None, Resource::Batch(batch))?;
    Ok(answer)
}

/// A batch as the OpenAI layer wants it, not yet kept, and its name.
pub fn of_openai(context: &RequestContext) -> Result<(String, BatchJob), GoogleError> {
    let body = context.json()?;
    let file = body["input_file_id"].as_str();
    let file = file.ok_or_else(GoogleError::bad_argument)?;
    let requests = lines(context, file)?;
    let first = requests.first().ok_or_else(GoogleError::bad_argument)?;
    let model = first["body"]["model"].as_str().unwrap_or_default();
    let model = model.trim_start_matches("models/");
    let model = models::find(model, &context.request_target.version)
        .ok_or_else(|| GoogleError::unknown_model(context.request_target, model))?;
    let items = requests
        .iter()
        .map(|request| BatchItem::generate(context, model, BatchKind::Chat, request));
    let batch = BatchJob {
        input: Some(file.to_owned()),
        ..BatchJob::new(
            context,
            model,
            BatchKind::Chat,
            items.collect::<Result<_, _>>()?,
        )
    };
    Ok((format!("batches/{}", context.new_id(36)), batch))
}

pub fn answer(context: &RequestContext, rest: &[&str]) -> Result<FakeResponse, GoogleError> {
    match (context.method(), rest) {
        ("GET", []) => {
            let sizes = PageSizes {
                default: 50,
                maximum: 100,
            };
            page::answer(context, "operations", sizes, |name, stored| {
                match &stored.resource {
                    Resource::Batch(batch) => serde_json::to_value(batch.view(name)).ok(),
                    _ => None,
                }
            })
        }
        ("GET", [id]) => {
            let name = format!("batches/{id}");
            poll(context, &name)?;
            let view = find(context, &name, |batch| json::pretty(&batch.view(&name)))?;
            Ok(FakeResponse::json(view))
        }
        ("POST", [id, "cancel"]) => {
            find(context, &format!("batches/{id}"), |batch| {
                batch.cancel(context.now_ms);
            })?;
            Ok(FakeResponse::json("{}\n".to_owned()))
        }
        ("DELETE", [id]) => context
            .delete(&format!("batches/{id}"))
            .ok_or_else(GoogleError::not_found),
        _ => Err(GoogleError::not_found()),
    }
}

/// Counts one poll of a batch; after the last it is done.
pub fn poll(context: &RequestContext, name: &str) -> Result<(), GoogleError> {
    let lines = find(context, name, |batch| {
        if !matches!(batch.state, BatchState::Pending | BatchState::Running) {
            return None;
        }
        batch.polls_left = batch.polls_left.saturating_sub(1);
        if batch.polls_left > 0 {
            batch.state = BatchState::Running;
            return None;
        }
        batch.state = BatchState::Succeeded;
        batch.updated_ms = context.now_ms;
        batch.input.is_some().then(|| batch.lines())
    })?;
    if let Some(lines) = lines {
        let id = name.trim_start_matches("batches/");
        let metadata = FileMetadata {
            name: Some(format!("files/batch-{id}")),
            mime_type: Some("application/jsonl".to_owned()),
            ..FileMetadata::default()
        };
        let file = files::make(
            context,
            metadata,
            Contents::whole(lines),
            FileSource::Generated,
        )?;
        find(context, name, |batch| batch.output = Some(file.name))?;
    }
    Ok(())
}

pub fn find<T>(
    context: &RequestContext,
    name: &str,
    read: impl FnOnce(&mut BatchJob) -> T,
) -> Result<T, GoogleError> {
    let found = context.with_resource(name, |resource| match resource {
        Resource::Batch(batch) => Some(read(batch)),
        _ => None,
    });
    found.flatten().ok_or_else(GoogleError::not_found)
}

/// The requests in a file, one a line.
fn lines(context: &RequestContext, file: &str) -> Result<Vec<Value>, GoogleError> {
    let id = file.trim_start_matches("files/");
    let contents = files::find(context, id, |file| file.contents.clone())?;
    let lines = contents.beginning.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.trim_ascii().is_empty())
        .map(json_of)
        .collect()
}

impl BatchItem {
    fn generate(
        context: &RequestContext,
        model: &FakeModel,
        kind: BatchKind,
        request: &Value,
    ) -> Result<Self, GoogleError> {
        let body = match kind {
            BatchKind::Generate | BatchKind::Embed => json::compact(&request["request"]),
            BatchKind::Chat => json::compact(&request["body"]),
        };
        let request_body = match kind {
            BatchKind::Chat => request_body::openai_chat(body.as_bytes())?,
            BatchKind::Generate => request_body::generate(body.as_bytes())?,
            BatchKind::Embed => request_body::embed_one(body.as_bytes())?,
        };
        let reference = ["key", "custom_id", "metadata"]
            .iter()
            .find_map(|field| request.get(field))
            .unwrap_or(&Value::Null);
        let generation = context.generate(model, &request_body);
        Ok(Self {
            reference: reference.clone(),
            text: generation.texts.concat(),
            generation,
            request_body,
        })
    }
}

impl BatchJob {
    fn new(
        context: &RequestContext,
        model: &FakeModel,
        kind: BatchKind,
        items: Vec<BatchItem>,
    ) -> Self {
        Self {
            model: model.name.clone(),
            display_name: String::new(),
            kind,
            input: None,
            items,
            created_ms: context.now_ms,
            updated_ms: context.now_ms,
            polls_left: context.state.polls_until_done,
            state: BatchState::Pending,
            output: None,
        }
    }

    pub fn cancel(&mut self, now_ms: i64) {
        if matches!(self.state, BatchState::Pending | BatchState::Running) {
            self.state = BatchState::Cancelled;
            self.updated_ms = now_ms;
        }
    }

    /// The answers as lines of JSON.
    fn lines(&self) -> String {
        let lines = self.items.iter().map(|item| match self.kind {
            BatchKind::Generate | BatchKind::Embed => json::compact(&OutputLine {
                key: &item.reference,
                response: self.response(item),
            }),
            BatchKind::Chat => {
                let body: Value = serde_json::from_str(&openai::unary(&item.generation))
                    .expect("the fake's answers are JSON");
                json::compact(&serde_json::json!({
                    "custom_id": item.reference,
                    "error": null,
                    "id": item.generation.id(),
                    "response": {"body": body, "request_id": item.generation.id(), "status_code": 200},
                }))
            }
        });
        lines.map(|line| line + "\n").collect()
    }
}

/// One answer in a file.
#[derive(Serialize)]
struct OutputLine<'a, T> {
    key: &'a Value,
    response: T,
}
