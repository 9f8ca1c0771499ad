//! `Sent`: the body of a request, read to its end. A file passes and is not held.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::contents::{Contents, Passing};
use super::multipart::{Multipart, Part};
use super::owned::Belongings;
use super::uploads::Session;
use crate::demo::fake_gemini::call::{Call, Operation, param};
use crate::demo::fake_gemini::google::locked;

/// The body of a request, or what is remembered of one that carries a file.
pub struct Sent {
    /// Whole, unless a file passed.
    pub text: Bytes,
    pub bytes: usize,
    pub load: Load,
}

/// What became of a file's bytes.
pub enum Load {
    None,
    Chunk(Result<(), Misfit>),
    Whole(Contents),
    Parts(Vec<Part>),
}

/// Why a chunk was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    NotActive,
    Offset,
    Granularity,
}

/// How an upload goes, and what this request of it is for.
pub enum Step {
    Start,
    /// One request of many; or none of them, if the command is not known.
    Session {
        upload_id: String,
        command: Option<Command>,
    },
    /// The bytes alone.
    Raw,
    /// What is said of them and the bytes.
    Multipart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Upload { finalizes: bool },
    Finalize,
    Query,
    Cancel,
}

impl Sent {
    /// Reads a body to its end: a file into its session, into a sum or into parts, anything else as it is.
    pub async fn read(
        belongings: &Belongings,
        call: &Call,
        head: &Parts,
        mut body: Incoming,
    ) -> Result<Self, hyper::Error> {
        let Some(mut taker) = Taker::new(belongings, call, head) else {
            let text = body.collect().await?.to_bytes();
            return Ok(Self {
                bytes: text.len(),
                text,
                load: Load::None,
            });
        };
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            if let Ok(piece) = frame?.into_data() {
                bytes += piece.len();
                taker.take(&piece);
            }
        }
        Ok(Self {
            text: Bytes::new(),
            bytes,
            load: taker.done(),
        })
    }
}

impl Sent {
    /// The parts of a form.
    pub fn parts(&self) -> &[Part] {
        match &self.load {
            Load::Parts(parts) => parts,
            Load::None | Load::Chunk(_) | Load::Whole(_) => &[],
        }
    }
}

/// Takes the bytes of a file as they come.
enum Taker {
    Session(Arc<Mutex<Session>>),
    Refused(Misfit),
    Whole(Passing),
    Parts(Multipart),
}

impl Taker {
    /// `None` for a body without a file.
    fn new(belongings: &Belongings, call: &Call, head: &Parts) -> Option<Self> {
        let step = match call.operation {
            Operation::Upload => Step::of(head),
            Operation::Belongings if call.rest == "openai/files" => Step::Multipart,
            _ => return None,
        };
        match step {
            Step::Session {
                upload_id,
                command: Some(Command::Upload { finalizes }),
            } => {
                let Some(session) = belongings.session(&upload_id) else {
                    return Some(Self::Refused(Misfit::NotActive));
                };
                let fits = locked(&session).takes(&head.headers, finalizes);
                Some(match fits {
                    Ok(()) => Self::Session(session),
                    Err(misfit) => Self::Refused(misfit),
                })
            }
            Step::Raw => Some(Self::Whole(Passing::default())),
            Step::Multipart => {
                let content_type = head.headers.get(CONTENT_TYPE)?.to_str().ok()?;
                Multipart::new(content_type).map(Self::Parts)
            }
            Step::Start | Step::Session { .. } => None,
        }
    }

    fn take(&mut self, piece: &[u8]) {
        match self {
            // At once, so that what has come is kept when the rest does not come.
            Self::Session(session) => locked(session).passing.add(piece),
            Self::Refused(_) => (),
            Self::Whole(passing) => passing.add(piece),
            Self::Parts(multipart) => multipart.add(piece),
        }
    }

    fn done(self) -> Load {
        match self {
            Self::Session(_) => Load::Chunk(Ok(())),
            Self::Refused(misfit) => Load::Chunk(Err(misfit)),
            Self::Whole(passing) => Load::Whole(passing.contents()),
            Self::Parts(multipart) => Load::Parts(multipart.parts()),
        }
    }
}

impl Step {
    pub fn of(head: &Parts) -> Self {
        let query = head.uri.query().unwrap_or_default();
        let header = |name: &str| head.headers.get(name)?.to_str().ok();
        if let Some(upload_id) = param(query, "upload_id") {
            let command = header("x-goog-upload-command").and_then(Command::read);
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

impl Command {
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
