//! Files: get, list, delete; and how one comes to be, uploaded or generated.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use super::contents::Contents;
use super::downloads;
use super::page::{self, PageSizes};
use super::request_context::{RequestContext, field, timestamp};
use super::resource_store::Resource;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::response::FakeResponse;

/// Google keeps files for two days.
pub const LIFE_MS: i64 = 48 * 60 * 60 * 1000;

pub struct File {
    pub view: FileView,
    pub made_ms: i64,
    pub contents: Contents,
}

/// What a client says of a file to upload.
#[derive(Debug, Clone, Default)]
pub struct FileMetadata {
    /// With `files/`.
    pub name: Option<String>,
    pub display_name: Option<String>,
    pub mime_type: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FileSource {
    Uploaded,
    Generated,
}

/// A file as Google shows it: the fields of recordings, in their order.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileView {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    pub mime_type: String,
    pub size_bytes: String,
    create_time: String,
    update_time: String,
    expiration_time: String,
    sha256_hash: String,
    pub uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_uri: Option<String>,
    state: &'static str,
    pub source: FileSource,
}

pub fn answer(context: &RequestContext, rest: &[&str]) -> Result<FakeResponse, GoogleError> {
    match (context.method(), rest) {
        ("GET", []) => {
            let sizes = PageSizes {
                default: 10,
                maximum: 100,
            };
            page::answer(context, "files", sizes, |_, stored| {
                match &stored.resource {
                    Resource::File(file) => Some(file.view.clone()),
                    _ => None,
                }
            })
        }
        ("GET", [id]) => {
            let view = find(context, id, |file| json::pretty(&file.view))?;
            Ok(FakeResponse::json(view))
        }
        ("GET", [id, "download"]) => downloads::answer(context, id),
        ("DELETE", [id]) => context
            .delete(&format!("files/{id}"))
            .ok_or_else(|| GoogleError::no_such_file(id)),
        _ => Err(GoogleError::not_found()),
    }
}

/// Answers with a file of the client's project.
pub fn find<T>(
    context: &RequestContext,
    id: &str,
    read: impl FnOnce(&File) -> T,
) -> Result<T, GoogleError> {
    let found = context.with_resource(&format!("files/{id}"), |resource| match resource {
        Resource::File(file) => Some(read(file)),
        _ => None,
    });
    found.flatten().ok_or_else(|| GoogleError::no_such_file(id))
}

/// Creates a file in the client's project.
pub fn make(
    context: &RequestContext,
    metadata: FileMetadata,
    contents: Contents,
    source: FileSource,
) -> Result<FileView, GoogleError> {
    let name = metadata
        .name
        .unwrap_or_else(|| format!("files/{}", context.new_id(12)));
    // Whatever names the file later, it is at Google's own host, as recorded.
    let uri = format!(
        "https://generativelanguage.googleapis.com/{}/{name}",
        context.request_target.version
    );
    let expires_ms = context.now_ms + LIFE_MS;
    let now = timestamp(context.now_ms);
    let view = FileView {
        display_name: metadata.display_name,
        mime_type: metadata
            .mime_type
            .unwrap_or_else(|| "application/octet-stream".to_owned()),
        size_bytes: contents.bytes.to_string(),
        create_time: now.clone(),
        update_time: now,
        expiration_time: timestamp(expires_ms),
        // The hex in base64, as recorded.
        sha256_hash: STANDARD.encode(&contents.sha256),
        download_uri: (source == FileSource::Generated)
            .then(|| format!("{uri}:download?alt=media")),
        uri,
        name: name.clone(),
        state: "ACTIVE",
        source,
    };
    let file = File {
        view: view.clone(),
        made_ms: context.now_ms,
        contents,
    };
    context.insert(&name, Some(expires_ms), Resource::File(file))?;
    Ok(view)
}

impl FileMetadata {
    /// Reads what the start of an upload says: `{"file": {…}}`, and for a document what is in it alone.
    pub fn read(metadata: &Value) -> Result<Self, GoogleError> {
        let file = metadata.get("file").unwrap_or(metadata);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let name = text(&file["name"]).filter(|name| !name.is_empty());
        if let Some(name) = &name
            && !is_name(name)
        {
            return Err(GoogleError::bad_argument());
        }
        Ok(Self {
            name,
            display_name: text(field(file, "displayName", "display_name")),
            mime_type: text(field(file, "mimeType", "mime_type")),
        })
    }
}

/// Up to 40 small letters, digits and dashes, no dash at either end (Google's API reference).
fn is_name(name: &str) -> bool {
    let Some(id) = name.strip_prefix("files/") else {
        return false;
    };
    let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&id.len())
        && id.bytes().all(is_id)
        && !id.starts_with('-')
        && !id.ends_with('-')
}
