//! Uploads: the protocol of several requests, and those of one.

use parking_lot::Mutex;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use serde::Serialize;

use super::contents::{Contents, StreamedContents};
use super::files::{self, FileMetadata, FileSource};
use super::received_body::{
    ChunkError, ReceivedBody, UploadCommand, UploadRequest, UploadedContent,
};
use super::request_context::{RequestContext, json_of};
use super::resource_store::{ResourceStore, UploadSummary};
use super::stores;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::request_target::param;
use crate::demo::fake_gemini::response::{FakeResponse, FrontEnd};
use crate::demo::fake_gemini::response_body::BodyChunks;
use crate::demo::fake_gemini::state::locked;

/// Every chunk but the last is a multiple of this (seen in recordings).
const GRANULARITY: u64 = 8 * 1024 * 1024;

/// Google takes files up to 2 GiB (Google's API reference).
const LARGEST: u64 = 2 * 1024 * 1024 * 1024;

/// An upload in several requests.
pub struct UploadSession {
    project: String,
    /// The target store; `None`: it becomes a file.
    store: Option<String>,
    metadata: FileMetadata,
    /// The length that the start announced.
    declared_length: Option<u64>,
    pub streamed: StreamedContents,
    status: UploadStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadStatus {
    Active,
    Final,
    Cancelled,
}

/// The answer to a finished upload of a file.
#[derive(Serialize)]
struct Finished {
    file: files::FileView,
}

impl UploadStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Final => "final",
            Self::Cancelled => "cancelled",
        }
    }
}

impl UploadSession {
    pub fn summary(&self, upload_id: &str) -> UploadSummary {
        let contents = self.streamed.contents();
        UploadSummary {
            upload_id: upload_id.to_owned(),
            project: self.project.clone(),
            status: self.status,
            received_bytes: contents.bytes,
            sha256: contents.sha256,
        }
    }

    /// Whether a chunk with this head is the next.
    pub fn check_chunk(&self, headers: &HeaderMap, finalizes: bool) -> Result<(), ChunkError> {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        if self.status != UploadStatus::Active {
            return Err(ChunkError::NotActive);
        }
        if number("x-goog-upload-offset") != Some(self.streamed.bytes) {
            return Err(ChunkError::Offset);
        }
        let length = number(CONTENT_LENGTH.as_str());
        if !finalizes && length.is_some_and(|length| length % GRANULARITY != 0) {
            return Err(ChunkError::Granularity);
        }
        Ok(())
    }
}

impl ResourceStore {
    pub fn session(&self, upload_id: &str) -> Option<Arc<Mutex<UploadSession>>> {
        locked(&self.uploads).get(upload_id).cloned()
    }
}

/// Whose upload a request goes on with: its id is enough, no key is needed. `None`: it begins one.
pub fn project_of(resources: &ResourceStore, head: &Parts) -> Option<Result<String, GoogleError>> {
    let query = head.uri.query().unwrap_or_default();
    let session = resources.session(param(query, "upload_id")?);
    let project = session.map(|session| locked(&session).project.clone());
    Some(project.ok_or_else(GoogleError::not_found))
}

/// Answers a request to upload something.
pub fn answer(
    context: &RequestContext,
    received_body: &ReceivedBody,
) -> Result<FakeResponse, GoogleError> {
    match (UploadRequest::of(context.head), &received_body.uploaded) {
        (UploadRequest::Session { upload_id, command }, uploaded) => {
            continue_upload(context, &upload_id, command, uploaded)
        }
        (UploadRequest::Start, _) => start(context),
        (UploadRequest::Raw, UploadedContent::Whole(contents)) => {
            let metadata = FileMetadata {
                mime_type: text_header(context, CONTENT_TYPE.as_str()),
                ..FileMetadata::default()
            };
            finish(context, store(context)?, metadata, contents.clone())
        }
        (UploadRequest::Multipart, UploadedContent::Parts(parts)) => match parts.as_slice() {
            [metadata, file] => {
                let mut metadata = FileMetadata::read(&json_of(&metadata.contents.beginning)?)?;
                let content_type = file.header("content-type").map(str::to_owned);
                metadata.mime_type = metadata.mime_type.or(content_type);
                finish(context, store(context)?, metadata, file.contents.clone())
            }
            _ => Err(GoogleError::bad_argument()),
        },
        (UploadRequest::Raw | UploadRequest::Multipart, _) => Err(GoogleError::bad_argument()),
    }
}

fn start(context: &RequestContext) -> Result<FakeResponse, GoogleError> {
    if text_header(context, "x-goog-upload-command").as_deref() != Some("start") {
        return Err(GoogleError::bad_argument());
    }
    let store = store(context)?;
    let mut metadata = FileMetadata::read(&context.json()?)?;
    if let Some(name) = &metadata.name {
        context
            .resources()
            .check_name_is_free(name, context.now_ms)?;
    }
    let declared_length = text_header(context, "x-goog-upload-header-content-length");
    let declared_length = declared_length.and_then(|length| length.parse().ok());
    if declared_length.is_some_and(|length| length > LARGEST) {
        return Err(GoogleError::bad_argument());
    }
    let content_type = text_header(context, "x-goog-upload-header-content-type");
    metadata.mime_type = content_type.or(metadata.mime_type);

    // As long as a recorded one.
    let upload_id = format!("AJ{}", context.new_id(113));
    let session = UploadSession {
        project: context.project.to_owned(),
        store,
        metadata,
        declared_length,
        streamed: StreamedContents::default(),
        status: UploadStatus::Active,
    };
    let url = format!(
        "{}{}?upload_id={upload_id}&upload_protocol=resumable",
        context.resources().base_url,
        context.head.uri.path()
    );
    let mut headers = session_headers(&upload_id, UploadStatus::Active);
    headers.extend([
        ("x-goog-upload-url", url.clone()),
        ("x-goog-upload-control-url", url),
        ("x-goog-upload-chunk-granularity", GRANULARITY.to_string()),
    ]);
    headers.extend(inner_headers(&context.request_target.version));
    locked(&context.resources().uploads).insert(upload_id, Arc::new(Mutex::new(session)));
    Ok(empty_response(200, headers))
}

/// A request of an upload that has begun.
fn continue_upload(
    context: &RequestContext,
    upload_id: &str,
    command: Option<UploadCommand>,
    uploaded: &UploadedContent,
) -> Result<FakeResponse, GoogleError> {
    let session = context.resources().session(upload_id);
    let session = session.ok_or_else(GoogleError::not_found)?;
    let mut session = locked(&session);
    let finalizes = match (command, uploaded) {
        (None, _) => return Err(GoogleError::bad_argument()),
        (Some(UploadCommand::Query), _) => return Ok(session.status_response(200, upload_id)),
        (Some(UploadCommand::Cancel), _) => {
            if session.status == UploadStatus::Active {
                session.status = UploadStatus::Cancelled;
            }
            return Ok(session.status_response(200, upload_id));
        }
        (Some(UploadCommand::Upload { .. }), UploadedContent::Chunk(Err(_))) => {
            return Ok(session.status_response(400, upload_id));
        }
        (Some(UploadCommand::Upload { finalizes }), _) => finalizes,
        (Some(UploadCommand::Finalize), _) => true,
    };
    // The other half of a race for the same offset may have ended it.
    if session.status != UploadStatus::Active {
        return Ok(session.status_response(400, upload_id));
    }
    if !finalizes {
        return Ok(session.status_response(200, upload_id));
    }
    if session
        .declared_length
        .is_some_and(|declared_length| declared_length != session.streamed.bytes)
    {
        return Ok(session.status_response(400, upload_id));
    }
    session.status = UploadStatus::Final;
    let (store, metadata) = (session.store.clone(), session.metadata.clone());
    let mut answer = finish(context, store, metadata, session.streamed.contents())?;
    answer.headers = session_headers(upload_id, UploadStatus::Final);
    Ok(answer)
}

/// The store that the path of an upload names, which must be in the client's project.
fn store(context: &RequestContext) -> Result<Option<String>, GoogleError> {
    match context.segments().as_slice() {
        ["files"] => Ok(None),
        ["fileSearchStores", id, "uploadToFileSearchStore"] => {
            let name = format!("fileSearchStores/{id}");
            if !context.owns(&name) {
                return Err(GoogleError::not_found());
            }
            Ok(Some(name))
        }
        _ => Err(GoogleError::not_found()),
    }
}

/// All bytes are there: makes the file or the document.
fn finish(
    context: &RequestContext,
    store: Option<String>,
    metadata: FileMetadata,
    contents: Contents,
) -> Result<FakeResponse, GoogleError> {
    if let Some(store) = store {
        return Ok(with_length(stores::add_uploaded(
            context, &store, metadata, contents,
        )?));
    }
    let file = files::make(context, metadata, contents, FileSource::Uploaded)?;
    Ok(with_length(FakeResponse::json(json::pretty(&Finished {
        file,
    }))))
}

impl UploadSession {
    /// How far it is.
    fn status_response(&self, status: u16, upload_id: &str) -> FakeResponse {
        let mut headers = session_headers(upload_id, self.status);
        headers.push((
            "x-goog-upload-size-received",
            self.streamed.bytes.to_string(),
        ));
        headers.push(("x-goog-upload-chunk-granularity", GRANULARITY.to_string()));
        empty_response(status, headers)
    }
}

fn text_header(context: &RequestContext, name: &str) -> Option<String> {
    let value = context.head.headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// An answer without a body.
fn empty_response(status: u16, headers: Vec<(&'static str, String)>) -> FakeResponse {
    with_length(FakeResponse {
        status,
        content_type: "text/plain; charset=utf-8".into(),
        headers,
        ..FakeResponse::json(String::new())
    })
}

fn with_length(answer: FakeResponse) -> FakeResponse {
    FakeResponse {
        body_chunks: BodyChunks {
            has_content_length: true,
            ..answer.body_chunks
        },
        front_end: FrontEnd::Uploads,
        ..answer
    }
}

fn session_headers(upload_id: &str, status: UploadStatus) -> Vec<(&'static str, String)> {
    vec![
        ("x-guploader-uploadid", upload_id.to_owned()),
        ("x-goog-upload-status", status.as_str().to_owned()),
    ]
}

/// What Google's inner server answered to its outer one, which a recorded start lets out.
fn inner_headers(version: &str) -> Vec<(&'static str, String)> {
    let method = format!(
        "backend_service_name: \"generativelanguage.googleapis.com\" backend_fully_qualified_method: \
         \"google.ai.generativelanguage.{version}.FileService.CreateFile\""
    );
    let backend = "unix:/tmp/esfbackend.1787146071.995898.539219";
    let session = "GgQYECgLIAE6IxIhZ2VuZXJhdGl2ZWxhbmd1YWdlLmdvb2dsZWFwaXMuY29t";
    let signals =
        "FRAMEWORK=ONE_PLATFORM,ENV=borg,ENV_DEBUG=borg_user:genai-api;borg_job:prod.genai-api";
    let json = "application/json; charset=UTF-8";
    [
        (
            "x-goog-upload-header-x-google-esf-cloud-client-params",
            method.as_str(),
        ),
        ("x-goog-upload-header-x-google-session-info", session),
        ("x-goog-upload-header-x-google-backends", backend),
        ("x-goog-upload-header-content-type", json),
        ("x-goog-upload-header-x-google-security-signals", signals),
        ("x-goog-upload-header-vary", "Origin"),
        ("x-goog-upload-header-vary", "Referer"),
        ("x-goog-upload-header-vary", "X-Origin"),
        (
            "x-goog-upload-header-x-google-gfe-backend-request-cost",
            "29.4115",
        ),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}
