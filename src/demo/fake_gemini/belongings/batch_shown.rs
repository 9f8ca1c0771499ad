//! How a batch looks in the native form: the fields of recordings, in their order.

use serde::Serialize;
use serde_json::Value;

use super::asks::time;
use super::batches::{Batch, Item, Kind, State};
use crate::demo::fake_gemini::answers::embeddings::Embedded;
use crate::demo::fake_gemini::answers::native;

impl Batch {
    pub fn shown<'a>(&'a self, name: &'a str) -> Shown<'a, impl Serialize + 'a> {
        let message = match self.kind {
            Kind::Generate | Kind::Chat => "GenerateContentBatch",
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
        let is_inlined = self.input.is_none();
        Output {
            message,
            responses_file: self.output.as_deref(),
            inlined_responses: (is_inlined && self.kind == Kind::Generate).then(responses),
            inlined_embed_content_responses: (is_inlined && self.kind == Kind::Embed)
                .then(responses),
        }
    }

    pub fn response<'a>(&'a self, item: &'a Item) -> Response<impl Serialize + 'a> {
        match self.kind {
            Kind::Generate | Kind::Chat => {
                Response::Generated(native::part(&item.said, &item.text))
            }
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
}

/// What the `@type` of a message begins with, as recorded.
const TYPES: &str = "type.googleapis.com/google.ai.generativelanguage.v1main.";

/// The fields of recordings, in their order.
#[derive(Serialize)]
pub struct Shown<'a, T> {
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
#[serde(untagged)]
pub enum Response<T> {
    Generated(T),
    Embedded { embedding: Embedding },
}

#[derive(Serialize)]
pub struct Embedding {
    values: Vec<f32>,
}
