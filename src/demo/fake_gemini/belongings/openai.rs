//! Files and batches of the OpenAI layer: the same things under other names. Their ids are Google's whole names.

use serde_json::{Value, json};

use super::asks::Asks;
use super::batches::{self, Batch, State};
use super::contents::Contents;
use super::files::{self, File, LIFE_MS, Source, Wish};
use super::owned::Thing;
use super::page;
use crate::demo::fake_gemini::answer::Answer;
use crate::demo::fake_gemini::body::Pieces;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;

pub fn files(asks: &Asks, rest: &[&str]) -> Result<Answer, GoogleError> {
    // The id may be the whole name.
    let rest = rest.strip_prefix(&["files"]).unwrap_or(rest);
    let found = match (asks.method(), rest) {
        ("POST", []) => upload(asks)?,
        ("GET", []) => list(page::newest_first(asks, |_, owned| match &owned.thing {
            Thing::File(file) => Some(shown_file(file)),
            _ => None,
        })),
        ("GET", [id]) => files::find(asks, id, shown_file)?,
        ("GET", [id, "content"]) => return content(asks, id),
        ("DELETE", [id]) => {
            let name = format!("files/{id}");
            asks.delete(&name)
                .ok_or_else(|| GoogleError::no_such_file(id))?;
            json!({"deleted": true, "id": name, "object": "file"})
        }
        _ => return Err(GoogleError::not_found()),
    };
    Ok(Answer::compact(json::compact(&found)))
}

pub fn batches(asks: &Asks, rest: &[&str]) -> Result<Answer, GoogleError> {
    let rest = rest.strip_prefix(&["batches"]).unwrap_or(rest);
    let found = match (asks.method(), rest) {
        ("POST", []) => {
            let (name, batch) = batches::of_openai(asks)?;
            let shown = shown_batch(&name, &batch);
            asks.keep(&name, None, Thing::Batch(batch))?;
            shown
        }
        ("GET", []) => list(page::newest_first(asks, |name, owned| match &owned.thing {
            Thing::Batch(batch) => Some(shown_batch(name, batch)),
            _ => None,
        })),
        ("GET", [id]) => {
            let name = format!("batches/{id}");
            batches::look_at(asks, &name)?;
            batches::find(asks, &name, |batch| shown_batch(&name, batch))?
        }
        ("POST", [id, "cancel"]) => {
            let name = format!("batches/{id}");
            batches::find(asks, &name, |batch| {
                batch.cancel(asks.now_ms);
                shown_batch(&name, batch)
            })?
        }
        _ => return Err(GoogleError::not_found()),
    };
    Ok(Answer::compact(json::compact(&found)))
}

fn upload(asks: &Asks) -> Result<Value, GoogleError> {
    let file = asks.parts.iter().find(|part| part.field() == Some("file"));
    let file = file.ok_or_else(GoogleError::bad_argument)?;
    if !asks
        .parts
        .iter()
        .any(|part| part.field() == Some("purpose"))
    {
        return Err(GoogleError::bad_argument());
    }
    let wish = Wish {
        name: None,
        display_name: file.filename().map(str::to_owned),
        mime_type: file.header("content-type").map(str::to_owned),
    };
    let made = files::make(asks, wish, file.contents.clone(), Source::Uploaded)?;
    let id = made.name.trim_start_matches("files/");
    files::find(asks, id, shown_file)
}

fn content(asks: &Asks, id: &str) -> Result<Answer, GoogleError> {
    let (source, contents): (_, Contents) =
        files::find(asks, id, |file| (file.shown.source, file.contents.clone()))?;
    if source != Source::Generated {
        return Err(GoogleError::plain(
            400,
            "Only generated files can be downloaded.",
        ));
    }
    Ok(Answer {
        content_type: "application/octet-stream".into(),
        pieces: Pieces::whole(contents.beginning),
        ..Answer::json(String::new())
    })
}

fn shown_file(file: &File) -> Value {
    json!({
        "bytes": file.contents.bytes,
        "created_at": file.made_ms / 1000,
        "expires_at": (file.made_ms + LIFE_MS) / 1000,
        "filename": file.shown.display_name,
        "id": file.shown.name,
        "object": "file",
        "purpose": match file.shown.source {
            Source::Uploaded => "batch",
            Source::Generated => "batch_output",
        },
        "status": "processed",
    })
}

fn shown_batch(name: &str, batch: &Batch) -> Value {
    let total = batch.items.len();
    let completed = if batch.state == State::Succeeded {
        total
    } else {
        0
    };
    json!({
        "completion_window": "24h",
        "created_at": batch.begun_ms / 1000,
        "endpoint": "/v1/chat/completions",
        "id": name,
        "input_file_id": batch.input,
        "object": "batch",
        "output_file_id": batch.output,
        "request_counts": {"completed": completed, "failed": 0, "total": total},
        "status": match batch.state {
            State::Pending => "validating",
            State::Running => "in_progress",
            State::Succeeded => "completed",
            State::Cancelled => "cancelled",
        },
    })
}

fn list(items: Vec<(u64, Value)>) -> Value {
    let data: Vec<_> = items.into_iter().map(|(_, item)| item).collect();
    json!({"data": data, "has_more": false, "object": "list"})
}
