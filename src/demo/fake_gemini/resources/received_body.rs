//! `ReceivedBody`: the body of a request, read to its end. The bytes of a file are not held.

use parking_lot::Mutex;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::contents::{Contents, StreamedContents};
use super::multipart::{FormPart, Multipart};
use super::resource_store::ResourceStore;
use super::uploads::UploadSession;
use crate::demo::fake_gemini::lenient_json::{self, FieldNames};
use crate::demo::fake_gemini::request_target::{Operation, RequestTarget, ResponseFormat, param};
use crate::demo::fake_gemini::state::locked;

/// The body of a request, or a summary of one with a file.
pub struct ReceivedBody {
    /// Complete, unless it contains a file.
    pub text: Bytes,
    pub bytes: usize,
    pub uploaded: UploadedContent,
}

/// The result of a file's bytes.
pub enum UploadedContent {
    None,
    Chunk(Result<(), ChunkError>),
    Whole(Contents),
    Parts(Vec<FormPart>),
}

/// Why a chunk was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkError {
    NotActive,
    Offset,
    Granularity,
}

/// The protocol of an upload, and the step of this request.
pub enum UploadRequest {
    Start,
    /// One request of many; or none of them, if the command is not known.
    Session {
        upload_id: String,
        command: Option<UploadCommand>,
    },
    /// The bytes alone.
    Raw,
    /// The metadata and the bytes.
    Multipart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadCommand {
    Upload { finalizes: bool },
    Finalize,
    Query,
    Cancel,
}

impl ReceivedBody {
    /// Reads a body to its end: a file into its session, a hash or parts, anything else unchanged.
    pub async fn read(
        resources: &ResourceStore,
        request_target: &RequestTarget,
        head: &Parts,
        mut body: Incoming,
    ) -> Result<Self, hyper::Error> {
        let Some(mut reader) = BodyReader::new(resources, request_target, head) else {
            let text = body.collect().await?.to_bytes();
            return Ok(Self {
                bytes: text.len(),
                text,
                uploaded: UploadedContent::None,
            });
        };
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            if let Ok(piece) = frame?.into_data() {
                bytes += piece.len();
                reader.push(&piece);
            }
        }
        Ok(Self {
            text: Bytes::new(),
            bytes,
            uploaded: reader.finish(),
        })
    }
}

impl ReceivedBody {
    /// Rewrites JSON that only a lenient parser reads as strict JSON, in the body or in the first part of a form.
    pub fn normalize_json(&mut self, format: ResponseFormat) {
        let field_names = match format {
            ResponseFormat::Json | ResponseFormat::Sse | ResponseFormat::JsonArray => {
                FieldNames::EitherCase
            }
            ResponseFormat::OpenAi | ResponseFormat::Interactions => FieldNames::AsWritten,
        };
        let mut bytes = &mut self.text;
        if let UploadedContent::Parts(parts) = &mut self.uploaded
            && let Some(first) = parts.first_mut()
        {
            bytes = &mut first.contents.beginning;
        }
        if let Some(json) = lenient_json::parse(bytes, field_names) {
            *bytes = json.to_string().into();
        }
    }

    /// The parts of a form.
    pub fn parts(&self) -> &[FormPart] {
        match &self.uploaded {
            UploadedContent::Parts(parts) => parts,
            UploadedContent::None | UploadedContent::Chunk(_) | UploadedContent::Whole(_) => &[],
        }
    }
}

/// Receives the bytes of a file.
enum BodyReader {
    Session(Arc<Mutex<UploadSession>>),
    Refused(ChunkError),
    Whole(StreamedContents),
    Parts(Multipart),
}

impl BodyReader {
    /// `None` for a body without a file.
    fn new(
        resources: &ResourceStore,
        request_target: &RequestTarget,
        head: &Parts,
    ) -> Option<Self> {
        let upload_request = match request_target.operation {
            Operation::Upload => UploadRequest::of(head),
            Operation::Resource
                if ["openai/files", "openai/videos"]
                    .contains(&request_target.resource_path.as_str()) =>
            {
                UploadRequest::Multipart
            }
            _ => return None,
        };
        match upload_request {
            UploadRequest::Session {
                upload_id,
                command: Some(UploadCommand::Upload { finalizes }),
            } => {
                let Some(session) = resources.session(&upload_id) else {
                    return Some(Self::Refused(ChunkError::NotActive));
                };
                let fits = locked(&session).check_chunk(&head.headers, finalizes);
                Some(match fits {
                    Ok(()) => Self::Session(session),
                    Err(error) => Self::Refused(error),
                })
            }
            UploadRequest::Raw => Some(Self::Whole(StreamedContents::default())),
            UploadRequest::Multipart => {
                let content_type = head.headers.get(CONTENT_TYPE)?.to_str().ok()?;
                Multipart::new(content_type).map(Self::Parts)
            }
            UploadRequest::Start | UploadRequest::Session { .. } => None,
        }
    }

    fn push(&mut self, piece: &[u8]) {
        match self {
            // At once, so that what has come is kept when the rest does not come.
            Self::Session(session) => locked(session).streamed.add(piece),
            Self::Refused(_) => (),
            Self::Whole(streamed) => streamed.add(piece),
            Self::Parts(multipart) => multipart.add(piece),
        }
    }

    fn finish(self) -> UploadedContent {
        match self {
            Self::Session(_) => UploadedContent::Chunk(Ok(())),
            Self::Refused(error) => UploadedContent::Chunk(Err(error)),
            Self::Whole(streamed) => UploadedContent::Whole(streamed.contents()),
            Self::Parts(multipart) => UploadedContent::Parts(multipart.parts()),
        }
    }
}

impl UploadRequest {
    pub fn of(head: &Parts) -> Self {
        let query = head.uri.query().unwrap_or_default();
        let header = |name: &str| head.headers.get(name)?.to_str().ok();
        if let Some(upload_id) = param(query, "upload_id") {
            let command = header("x-goog-upload-command").and_then(UploadCommand::read);
            return Self::Session {
                upload_id: upload_id.to_owned(),
                command,
            };
        }
        let protocol = header("x-goog-upload-protocol")
            .or_else(|| param(query, "upload_protocol"))
            .or_else(|| param(query, "uploadType"));
        match protocol {
            Some("raw" | "media") => Self::Raw,
            Some("multipart") => Self::Multipart,
            Some(_) | None => Self::Start,
        }
    }
}

impl UploadCommand {
    fn read(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split(',').map(str::trim).collect();
        match words.as_slice() {
            ["upload"] => Some(Self::Upload { finalizes: false }),
            ["upload", "finalize"] => Some(Self::Upload { finalizes: true }),
            ["finalize"] => Some(Self::Finalize),
            ["query"] => Some(Self::Query),
            ["cancel"] => Some(Self::Cancel),
            _ => None,
        }
    }
}
