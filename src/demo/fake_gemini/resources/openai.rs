//! Files and batches of the OpenAI layer: the same things under other names. Their ids are Google's whole names.

use serde_json::{Value, json};

use super::batches::{self, BatchJob, BatchState};
use super::contents::Contents;
use super::files::{self, File, FileMetadata, FileSource, LIFE_MS};
use super::page;
use super::request_context::RequestContext;
use super::resource_store::Resource;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::response::FakeResponse;
use crate::demo::fake_gemini::response_body::BodyChunks;

pub fn files(context: &RequestContext, rest: &[&str]) -> Result<FakeResponse, GoogleError> {
    // The id may be the whole name.
    let rest = rest.strip_prefix(&["files"]).unwrap_or(rest);
    let found = match (context.method(), rest) {
        ("POST", []) => upload(context)?,
        ("GET", []) => list(page::newest_first(context, |_, stored| {
            match &stored.resource {
                Resource::File(file) => Some(openai_file_view(file)),
                _ => None,
            }
        })),
        ("GET", [id]) => files::find(context, id, openai_file_view)?,
        ("GET", [id, "content"]) => return content(context, id),
        ("DELETE", [id]) => {
            let name = format!("files/{id}");
            context
                .delete(&name)
                .ok_or_else(|| GoogleError::no_such_file(id))?;
            json!({"deleted": true, "id": name, "object": "file"})
        }
        _ => return Err(GoogleError::not_found()),
    };
    Ok(FakeResponse::compact(json::compact(&found)))
}

pub fn batches(context: &RequestContext, rest: &[&str]) -> Result<FakeResponse, GoogleError> {
    let rest = rest.strip_prefix(&["batches"]).unwrap_or(rest);
    let found = match (context.method(), rest) {
        ("POST", []) => {
            let (name, batch) = batches::of_openai(context)?;
            let view = openai_batch_view(&name, &batch);
            context.insert(&name, None, Resource::Batch(batch))?;
            view
        }
        ("GET", []) => list(page::newest_first(context, |name, stored| {
            match &stored.resource {
                Resource::Batch(batch) => Some(openai_batch_view(name, batch)),
                _ => None,
            }
        })),
        ("GET", [id]) => {
            let name = format!("batches/{id}");
            batches::poll(context, &name)?;
            batches::find(context, &name, |batch| openai_batch_view(&name, batch))?
        }
        ("POST", [id, "cancel"]) => {
            let name = format!("batches/{id}");
            batches::find(context, &name, |batch| {
                batch.cancel(context.now_ms);
                openai_batch_view(&name, batch)
            })?
        }
        _ => return Err(GoogleError::not_found()),
    };
    Ok(FakeResponse::compact(json::compact(&found)))
}

fn upload(context: &RequestContext) -> Result<Value, GoogleError> {
    let file = context
        .parts
        .iter()
        .find(|part| part.field() == Some("file"));
    let file = file.ok_or_else(GoogleError::bad_argument)?;
    if !context
        .parts
        .iter()
        .any(|part| part.field() == Some("purpose"))
    {
        return Err(GoogleError::bad_argument());
    }
    let metadata = FileMetadata {
        name: None,
        display_name: file.filename().map(str::to_owned),
        mime_type: file.header("content-type").map(str::to_owned),
    };
    let made = files::make(
        context,
        metadata,
        file.contents.clone(),
        FileSource::Uploaded,
    )?;
    let id = made.name.trim_start_matches("files/");
    files::find(context, id, openai_file_view)
}

fn content(context: &RequestContext, id: &str) -> Result<FakeResponse, GoogleError> {
    let (source, contents): (_, Contents) = files::find(context, id, |file| {
        (file.view.source, file.contents.clone())
    })?;
    if source != FileSource::Generated {
        return Err(GoogleError::plain(
            400,
            "Only generated files can be downloaded.",
        ));
    }
    Ok(FakeResponse {
        content_type: "application/octet-stream".into(),
        body_chunks: BodyChunks::whole(contents.beginning),
        ..FakeResponse::json(String::new())
    })
}

fn openai_file_view(file: &File) -> Value {
    json!({
        "bytes": file.contents.bytes,
        "created_at": file.made_ms / 1000,
        "expires_at": (file.made_ms + LIFE_MS) / 1000,
        "filename": file.view.display_name,
        "id": file.view.name,
        "object": "file",
        "purpose": match file.view.source {
            FileSource::Uploaded => "batch",
            FileSource::Generated => "batch_output",
        },
        "status": "processed",
    })
}

fn openai_batch_view(name: &str, batch: &BatchJob) -> Value {
    let total = batch.items.len();
    let completed = if batch.state == BatchState::Succeeded {
        total
    } else {
        0
    };
    json!({
        "completion_window": "24h",
        "created_at": batch.created_ms / 1000,
        "endpoint": "/v1/chat/completions",
        "id": name,
        "input_file_id": batch.input,
        "object": "batch",
        "output_file_id": batch.output,
        "request_counts": {"completed": completed, "failed": 0, "total": total},
        "status": match batch.state {
            BatchState::Pending => "validating",
            BatchState::Running => "in_progress",
            BatchState::Succeeded => "completed",
            BatchState::Cancelled => "cancelled",
        },
    })
}

fn list(items: Vec<(u64, Value)>) -> Value {
    let data: Vec<_> = items.into_iter().map(|(_, item)| item).collect();
    json!({"data": data, "has_more": false, "object": "list"})
}
