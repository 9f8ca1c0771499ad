//! The native form of a batch: the fields of recordings, in their order.

use serde::Serialize;
use serde_json::Value;

use super::batches::{BatchItem, BatchJob, BatchKind, BatchState};
use super::request_context::timestamp;
use crate::demo::fake_gemini::responses::embeddings::EmbeddingsResponse;
use crate::demo::fake_gemini::responses::native;

impl BatchJob {
    pub fn view<'a>(&'a self, name: &'a str) -> BatchView<'a, impl Serialize + 'a> {
        let message = match self.kind {
            BatchKind::Generate | BatchKind::Chat => "GenerateContentBatch",
            BatchKind::Embed => "EmbedContentBatch",
        };
        let count = |state| (self.state == state).then(|| self.items.len().to_string());
        let is_over = matches!(self.state, BatchState::Succeeded | BatchState::Cancelled);
        let is_done = self.state == BatchState::Succeeded;
        let waiting = (!is_over).then(|| self.items.len().to_string());
        BatchView {
            name,
            metadata: BatchMetadata {
                message: format!("{TYPES}{message}"),
                model: format!("models/{}", self.model),
                display_name: &self.display_name,
                output: is_done.then(|| self.output(None)),
                create_time: timestamp(self.created_ms),
                end_time: is_over.then(|| timestamp(self.updated_ms)),
                update_time: timestamp(self.updated_ms),
                batch_stats: BatchStats {
                    request_count: self.items.len().to_string(),
                    pending_request_count: waiting,
                    successful_request_count: count(BatchState::Succeeded),
                },
                state: self.state,
                name,
            },
            done: is_over,
            error: (self.state == BatchState::Cancelled).then_some(BatchError {
                code: 1,
                message: "The operation was cancelled.",
            }),
            response: is_done.then(|| self.output(Some(format!("{TYPES}{message}Output")))),
        }
    }

    fn output(&self, message: Option<String>) -> BatchOutput<'_, impl Serialize> {
        let responses = || Inlined {
            inlined_responses: self
                .items
                .iter()
                .map(|item| InlinedResponse {
                    response: self.response(item),
                    metadata: (!item.reference.is_null()).then_some(&item.reference),
                })
                .collect(),
        };
        let is_inlined = self.input.is_none();
        BatchOutput {
            message,
            responses_file: self.output.as_deref(),
            inlined_responses: (is_inlined && self.kind == BatchKind::Generate).then(responses),
            inlined_embed_content_responses: (is_inlined && self.kind == BatchKind::Embed)
                .then(responses),
        }
    }

    pub fn response<'a>(&'a self, item: &'a BatchItem) -> BatchItemResponse<impl Serialize + 'a> {
        match self.kind {
            BatchKind::Generate | BatchKind::Chat => {
                BatchItemResponse::Generated(native::part(&item.generation, &item.text))
            }
            BatchKind::Embed => {
                let embeddings = EmbeddingsResponse {
                    model: &self.model,
                    texts: &item.request_body.texts,
                    dimensions: item.request_body.dimensions,
                    prompt_tokens: item.request_body.prompt_tokens,
                };
                let text = item.request_body.texts.first().copied().unwrap_or_default();
                BatchItemResponse::Embedded {
                    embedding: Embedding {
                        values: embeddings.values(text).collect(),
                    },
                }
            }
        }
    }
}

/// The beginning of a message's `@type`, as recorded.
const TYPES: &str = "type.googleapis.com/google.ai.generativelanguage.v1main.";

/// The fields of recordings, in their order.
#[derive(Serialize)]
pub struct BatchView<'a, T> {
    name: &'a str,
    metadata: BatchMetadata<'a, T>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<BatchError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<BatchOutput<'a, T>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchMetadata<'a, T> {
    #[serde(rename = "@type")]
    message: String,
    model: String,
    display_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<BatchOutput<'a, T>>,
    create_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
    update_time: String,
    batch_stats: BatchStats,
    state: BatchState,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "these are the names in the JSON")]
struct BatchStats {
    request_count: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_request_count: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    successful_request_count: Option<String>,
}

#[derive(Serialize)]
struct BatchError {
    code: u8,
    message: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchOutput<'a, T> {
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
    response: BatchItemResponse<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum BatchItemResponse<T> {
    Generated(T),
    Embedded { embedding: Embedding },
}

#[derive(Serialize)]
pub struct Embedding {
    values: Vec<f32>,
}
