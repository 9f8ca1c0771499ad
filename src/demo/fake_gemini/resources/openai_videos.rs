//! Videos of the OpenAI layer: jobs that are done after some polls.

use serde_json::{Value, json};

use super::operations::LongRunningOperation;
use super::page;
use super::request_context::RequestContext;
use super::resource_store::Resource;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::response::FakeResponse;

pub fn answer(context: &RequestContext, rest: &[&str]) -> Result<FakeResponse, GoogleError> {
    let found = match (context.method(), rest) {
        ("POST", []) => create(context)?,
        ("GET", []) => {
            let videos = page::newest_first(context, |name, stored| match &stored.resource {
                Resource::Operation(video) => view(name, video),
                _ => None,
            });
            let data: Vec<_> = videos.into_iter().map(|(_, video)| video).collect();
            json!({"data": data, "has_more": false, "object": "list"})
        }
        ("GET", [id]) => {
            let name = format!("videos/{id}");
            let found = context.with_resource(&name, |resource| match resource {
                Resource::Operation(video) => {
                    video.polls_left = video.polls_left.saturating_sub(1);
                    view(&name, video)
                }
                _ => None,
            });
            found.flatten().ok_or_else(GoogleError::not_found)?
        }
        ("DELETE", [id]) => {
            let deleted = context.delete(&format!("videos/{id}"));
            deleted.ok_or_else(GoogleError::not_found)?;
            json!({"deleted": true, "id": id, "object": "video.deleted"})
        }
        _ => return Err(GoogleError::not_found()),
    };
    Ok(FakeResponse::compact(json::compact(&found)))
}

/// Takes a form, as the SDKs send it.
fn create(context: &RequestContext) -> Result<Value, GoogleError> {
    let field = |name| {
        let part = context.parts.iter().find(|part| part.field() == Some(name));
        let text = part.map(|part| String::from_utf8_lossy(&part.contents.beginning).into_owned());
        text.ok_or_else(GoogleError::bad_argument)
    };
    let video = LongRunningOperation {
        polls_left: context.state.polls_until_done,
        metadata: json!({"model": field("model")?, "prompt": field("prompt")?}),
        response: Value::Null,
    };
    let name = format!("videos/{}", context.new_id(12));
    let view = view(&name, &video).ok_or_else(GoogleError::not_found)?;
    context.insert(&name, None, Resource::Operation(video))?;
    Ok(view)
}

/// `None`: an operation that is no video of this layer.
fn view(name: &str, video: &LongRunningOperation) -> Option<Value> {
    let id = name.strip_prefix("videos/")?;
    let is_done = video.polls_left == 0;
    Some(json!({
        "id": id,
        "model": video.metadata["model"],
        "object": "video",
        "progress": if is_done { 100 } else { 0 },
        "prompt": video.metadata["prompt"],
        "status": if is_done { "completed" } else { "in_progress" },
    }))
}
