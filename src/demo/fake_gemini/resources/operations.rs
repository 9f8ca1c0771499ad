//! Operations: long work that is done after some looks at it.

use serde::Serialize;
use serde_json::Value;

use super::page::{self, PageSizes};
use super::request_context::RequestContext;
use super::resource_store::Resource;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::response::FakeResponse;

pub struct LongRunningOperation {
    /// At how many more looks it is not done.
    pub polls_left: u32,
    /// What can be said of it from the beginning.
    pub metadata: Value,
    /// What it will have come to.
    pub response: Value,
}

/// As recorded: `done` is left out until it is.
#[derive(Serialize)]
pub struct OperationView<'a> {
    pub name: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub metadata: Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Value>,
}

/// Operations under one parent: `collection` is what stands before their ids.
pub fn answer(
    context: &RequestContext,
    collection: &str,
    rest: &[&str],
) -> Result<FakeResponse, GoogleError> {
    match (context.method(), rest) {
        ("GET", []) => {
            let sizes = PageSizes {
                default: 50,
                maximum: 100,
            };
            page::answer(context, "operations", sizes, |name, stored| {
                let id = name.strip_prefix(collection)?.strip_prefix('/')?;
                match &stored.resource {
                    Resource::Operation(operation) if !id.contains('/') => {
                        serde_json::to_value(operation.view(name)).ok()
                    }
                    _ => None,
                }
            })
        }
        ("GET", [id]) => {
            let name = format!("{collection}/{id}");
            let view = context.with_resource(&name, |resource| match resource {
                Resource::Operation(operation) => {
                    operation.polls_left = operation.polls_left.saturating_sub(1);
                    Some(json::pretty(&operation.view(&name)))
                }
                _ => None,
            });
            let view = view.flatten().ok_or_else(GoogleError::not_found)?;
            Ok(FakeResponse::json(view))
        }
        _ => Err(GoogleError::not_found()),
    }
}

/// Starts an operation in the client's project and answers with its name.
pub fn begin(
    context: &RequestContext,
    name: &str,
    metadata: Value,
    response: Value,
) -> Result<FakeResponse, GoogleError> {
    let operation = LongRunningOperation {
        polls_left: context.state.polls_until_done,
        metadata,
        response,
    };
    let view = OperationView {
        done: false,
        response: None,
        ..operation.view(name)
    };
    let answer = FakeResponse::json(json::pretty(&view));
    context.insert(name, None, Resource::Operation(operation))?;
    Ok(answer)
}

impl LongRunningOperation {
    fn view<'a>(&self, name: &'a str) -> OperationView<'a> {
        let done = self.polls_left == 0;
        OperationView {
            name,
            metadata: self.metadata.clone(),
            done,
            response: done.then(|| self.response.clone()),
        }
    }
}
