//! File search stores: the stores, what is uploaded to or imported into them, and their documents.

use serde::Serialize;
use serde_json::{Value, json};

use super::contents::Contents;
use super::files::{self, FileMetadata};
use super::operations;
use super::page::{self, PageSizes};
use super::request_context::{RequestContext, field, timestamp};
use super::resource_store::Resource;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::response::FakeResponse;

const SIZES: PageSizes = PageSizes {
    default: 10,
    maximum: 20,
};

/// In Google's form.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    name: String,
    display_name: String,
    create_time: String,
    update_time: String,
}

pub struct Document {
    view: DocumentView,
    pub contents: Contents,
}

/// In Google's form.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentView {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    create_time: String,
    update_time: String,
    state: &'static str,
    size_bytes: String,
    mime_type: String,
}

pub fn answer(context: &RequestContext, rest: &[&str]) -> Result<FakeResponse, GoogleError> {
    let [id, inside @ ..] = rest else {
        return match context.method() {
            "POST" => create(context),
            "GET" => page::answer(
                context,
                "fileSearchStores",
                SIZES,
                |_, stored| match &stored.resource {
                    Resource::Store(store) => Some(store.clone()),
                    _ => None,
                },
            ),
            _ => Err(GoogleError::not_found()),
        };
    };
    let store = format!("fileSearchStores/{id}");
    if !context.owns(&store) {
        return Err(GoogleError::not_found());
    }
    match (context.method(), inside) {
        ("GET", []) => {
            let view = context.with_resource(&store, |resource| match resource {
                Resource::Store(store) => Some(json::pretty(store)),
                _ => None,
            });
            let view = view.flatten().ok_or_else(GoogleError::not_found)?;
            Ok(FakeResponse::json(view))
        }
        ("DELETE", []) => delete(context, &store),
        ("POST", ["importFile"]) => import(context, &store),
        (_, ["documents", rest @ ..]) => documents(context, &store, rest),
        (_, ["operations", rest @ ..]) => {
            operations::answer(context, &format!("{store}/operations"), rest)
        }
        (_, ["upload", "operations", rest @ ..]) => {
            operations::answer(context, &format!("{store}/upload/operations"), rest)
        }
        _ => Err(GoogleError::not_found()),
    }
}

/// Creates a document of an upload. The answer has the whole response, as recorded, but no `done`.
pub fn add_uploaded(
    context: &RequestContext,
    store: &str,
    metadata: FileMetadata,
    contents: Contents,
) -> Result<FakeResponse, GoogleError> {
    let document = add(context, store, metadata, contents)?;
    let id = document.name.rsplit('/').next().unwrap_or_default();
    let operation = format!("{store}/upload/operations/{id}");
    let response = json!({
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.UploadToFileSearchStoreResponse",
        "documentName": document.name,
        "mimeType": document.mime_type,
        "parent": store,
        "sizeBytes": document.size_bytes,
    });
    operations::begin(context, &operation, Value::Null, response.clone())?;
    let body = json!({"name": operation, "response": response});
    Ok(FakeResponse::json(json::pretty(&body)))
}

fn create(context: &RequestContext) -> Result<FakeResponse, GoogleError> {
    let metadata = context.json()?;
    let display_name = field(&metadata, "displayName", "display_name").as_str();
    let display_name = display_name.unwrap_or_default();
    // The id begins with the small letters of the display name, as recorded.
    let mut letters = display_name.to_ascii_lowercase();
    letters.retain(|letter| letter.is_ascii_alphanumeric());
    letters.truncate(20);
    let store = Store {
        name: format!("fileSearchStores/{letters}-{}", context.new_id(12)),
        display_name: display_name.to_owned(),
        create_time: timestamp(context.now_ms),
        update_time: timestamp(context.now_ms),
    };
    let answer = FakeResponse::json(json::pretty(&store));
    let name = store.name.clone();
    context.insert(&name, None, Resource::Store(store))?;
    Ok(answer)
}

/// A store with documents is deleted only with `force`.
fn delete(context: &RequestContext, store: &str) -> Result<FakeResponse, GoogleError> {
    let documents = format!("{store}/documents/");
    let is_empty = page::newest_first(context, |name, _| {
        name.starts_with(&documents).then_some(())
    });
    let is_forced = context
        .param("force")
        .is_some_and(|force| force.eq_ignore_ascii_case("true"));
    if !is_empty.is_empty() && !is_forced {
        return Err(GoogleError::bad_argument());
    }
    context.resources().remove_children(store, context.project);
    context.delete(store).ok_or_else(GoogleError::not_found)
}

fn import(context: &RequestContext, store: &str) -> Result<FakeResponse, GoogleError> {
    let body = context.json()?;
    let file = field(&body, "fileName", "file_name").as_str();
    let id = file.unwrap_or_default().trim_start_matches("files/");
    let (metadata, contents) = files::find(context, id, |file| {
        let metadata = FileMetadata {
            name: None,
            display_name: file.view.display_name.clone(),
            mime_type: Some(file.view.mime_type.clone()),
        };
        (metadata, file.contents.clone())
    })?;
    let document = add(context, store, metadata, contents)?;
    let response = json!({
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.ImportFileResponse",
        "documentName": document.name,
        "parent": store,
    });
    let operation = format!("{store}/operations/{}", context.new_id(12));
    operations::begin(context, &operation, Value::Null, response)
}

fn add(
    context: &RequestContext,
    store: &str,
    metadata: FileMetadata,
    contents: Contents,
) -> Result<DocumentView, GoogleError> {
    let view = DocumentView {
        name: format!(
            "{store}/documents/{}-{}",
            context.new_id(12),
            context.new_id(12)
        ),
        display_name: metadata.display_name,
        create_time: timestamp(context.now_ms),
        update_time: timestamp(context.now_ms),
        state: "STATE_ACTIVE",
        size_bytes: contents.bytes.to_string(),
        mime_type: metadata
            .mime_type
            .unwrap_or_else(|| "text/plain".to_owned()),
    };
    let document = Document {
        view: view.clone(),
        contents,
    };
    context.insert(&view.name, None, Resource::Document(document))?;
    Ok(view)
}

fn documents(
    context: &RequestContext,
    store: &str,
    rest: &[&str],
) -> Result<FakeResponse, GoogleError> {
    match (context.method(), rest) {
        ("GET", []) => {
            let inside = format!("{store}/documents/");
            page::answer(context, "documents", SIZES, |name, stored| {
                match &stored.resource {
                    Resource::Document(document) if name.starts_with(&inside) => {
                        Some(document.view.clone())
                    }
                    _ => None,
                }
            })
        }
        ("GET", [id]) => {
            let name = format!("{store}/documents/{id}");
            let view = context.with_resource(&name, |resource| match resource {
                Resource::Document(document) => Some(json::pretty(&document.view)),
                _ => None,
            });
            let view = view.flatten().ok_or_else(GoogleError::not_found)?;
            Ok(FakeResponse::json(view))
        }
        ("DELETE", [id]) => context
            .delete(&format!("{store}/documents/{id}"))
            .ok_or_else(GoogleError::not_found),
        _ => Err(GoogleError::not_found()),
    }
}
