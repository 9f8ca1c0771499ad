//! Uploads: the protocol of several requests, and those of one.

use std::sync::{Arc, Mutex};

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use serde::Serialize;

use super::asks::{Asks, json_of};
use super::contents::{Contents, Passing};
use super::files::{self, Source, Wish};
use super::owned::{Belongings, Upload};
use super::sent::{Command, Load, Misfit, Sent, Step};
use super::stores;
use crate::demo::fake_gemini::answer::{Answer, Front};
use crate::demo::fake_gemini::body::Pieces;
use crate::demo::fake_gemini::call::param;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::google::locked;
use crate::demo::fake_gemini::json;

/// Every chunk but the last is a multiple of this (seen in recordings).
const GRANULARITY: u64 = 8 * 1024 * 1024;

/// Google takes files up to 2 GiB (Google's API reference).
const LARGEST: u64 = 2 * 1024 * 1024 * 1024;

/// An upload in several requests.
pub struct Session {
    project: String,
    /// The store it goes to; `None`: it becomes a file.
    store: Option<String>,
    wish: Wish,
    /// The length that the start announced.
    announced: Option<u64>,
    pub passing: Passing,
    status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Active,
    Final,
    Cancelled,
}

/// The answer to a finished upload of a file.
#[derive(Serialize)]
struct Finished {
    file: files::Shown,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Final => "final",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Session {
    pub fn shown(&self, upload_id: &str) -> Upload {
        let contents = self.passing.contents();
        Upload {
            upload_id: upload_id.to_owned(),
            project: self.project.clone(),
            status: self.status,
            received_bytes: contents.bytes,
            sha256: contents.sha256,
        }
    }

    /// Whether a chunk with this head is the next.
    pub fn takes(&self, headers: &HeaderMap, finalizes: bool) -> Result<(), Misfit> {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        if self.status != Status::Active {
            return Err(Misfit::NotActive);
        }
        if number("x-goog-upload-offset") != Some(self.passing.bytes) {
            return Err(Misfit::Offset);
        }
        let length = number(CONTENT_LENGTH.as_str());
        if !finalizes && length.is_some_and(|length| length % GRANULARITY != 0) {
            return Err(Misfit::Granularity);
        }
        Ok(())
    }
}

impl Belongings {
    pub fn session(&self, upload_id: &str) -> Option<Arc<Mutex<Session>>> {
        locked(&self.uploads).get(upload_id).cloned()
    }
}

/// Whose upload a request goes on with: its id is enough, no key is needed. `None`: it begins one.
pub fn project_of(belongings: &Belongings, head: &Parts) -> Option<Result<String, GoogleError>> {
    let query = head.uri.query().unwrap_or_default();
    let session = belongings.session(param(query, "upload_id")?);
    let project = session.map(|session| locked(&session).project.clone());
    Some(project.ok_or_else(GoogleError::not_found))
}

/// Answers a request to upload something.
pub fn answer(asks: &Asks, sent: &Sent) -> Result<Answer, GoogleError> {
    match (Step::of(asks.head), &sent.load) {
        (Step::Session { upload_id, command }, load) => go_on(asks, &upload_id, command, load),
        (Step::Start, _) => start(asks),
        (Step::Raw, Load::Whole(contents)) => {
            let wish = Wish {
                mime_type: text_header(asks, CONTENT_TYPE.as_str()),
                ..Wish::default()
            };
            finish(asks, store(asks)?, wish, contents.clone())
        }
        (Step::Multipart, Load::Parts(parts)) => match parts.as_slice() {
            [metadata, file] => {
                let mut wish = Wish::read(&json_of(&metadata.contents.beginning)?)?;
                let said = file.header("content-type").map(str::to_owned);
                wish.mime_type = wish.mime_type.or(said);
                finish(asks, store(asks)?, wish, file.contents.clone())
            }
            _ => Err(GoogleError::bad_argument()),
        },
        (Step::Raw | Step::Multipart, _) => Err(GoogleError::bad_argument()),
    }
}

fn start(asks: &Asks) -> Result<Answer, GoogleError> {
    if text_header(asks, "x-goog-upload-command").as_deref() != Some("start") {
        return Err(GoogleError::bad_argument());
    }
    let store = store(asks)?;
    let mut wish = Wish::read(&asks.json()?)?;
    if let Some(name) = &wish.name {
        asks.belongings().is_free(name, asks.now_ms)?;
    }
    let announced = text_header(asks, "x-goog-upload-header-content-length");
    let announced = announced.and_then(|length| length.parse().ok());
    if announced.is_some_and(|length| length > LARGEST) {
        return Err(GoogleError::bad_argument());
    }
    let said = text_header(asks, "x-goog-upload-header-content-type");
    wish.mime_type = said.or(wish.mime_type);

    // As long as a recorded one.
    let upload_id = format!("AJ{}", asks.id(113));
    let session = Session {
        project: asks.project.to_owned(),
        store,
        wish,
        announced,
        passing: Passing::default(),
        status: Status::Active,
    };
    let url = format!(
        "{}{}?upload_id={upload_id}&upload_protocol=resumable",
        asks.belongings().base_url,
        asks.head.uri.path()
    );
    let mut headers = session_headers(&upload_id, Status::Active);
    headers.extend([
        ("x-goog-upload-url", url.clone()),
        ("x-goog-upload-control-url", url),
        ("x-goog-upload-chunk-granularity", GRANULARITY.to_string()),
    ]);
    headers.extend(inner_headers(&asks.call.version));
    locked(&asks.belongings().uploads).insert(upload_id, Arc::new(Mutex::new(session)));
    Ok(plain(200, headers))
}

/// A request of an upload that has begun.
fn go_on(
    asks: &Asks,
    upload_id: &str,
    command: Option<Command>,
    load: &Load,
) -> Result<Answer, GoogleError> {
    let session = asks.belongings().session(upload_id);
    let session = session.ok_or_else(GoogleError::not_found)?;
    let mut session = locked(&session);
    let finalizes = match (command, load) {
        (None, _) => return Err(GoogleError::bad_argument()),
        (Some(Command::Query), _) => return Ok(session.state(200, upload_id)),
        (Some(Command::Cancel), _) => {
            if session.status == Status::Active {
                session.status = Status::Cancelled;
            }
            return Ok(session.state(200, upload_id));
        }
        (Some(Command::Upload { .. }), Load::Chunk(Err(_))) => {
            return Ok(session.state(400, upload_id));
        }
        (Some(Command::Upload { finalizes }), _) => finalizes,
        (Some(Command::Finalize), _) => true,
    };
    // The other half of a race for the same offset may have ended it.
    if session.status != Status::Active {
        return Ok(session.state(400, upload_id));
    }
    if !finalizes {
        return Ok(session.state(200, upload_id));
    }
    if session
        .announced
        .is_some_and(|announced| announced != session.passing.bytes)
    {
        return Ok(session.state(400, upload_id));
    }
    session.status = Status::Final;
    let (store, wish) = (session.store.clone(), session.wish.clone());
    let mut answer = finish(asks, store, wish, session.passing.contents())?;
    answer.headers = session_headers(upload_id, Status::Final);
    Ok(answer)
}

/// The store that the path of an upload names, which must be the asker's.
fn store(asks: &Asks) -> Result<Option<String>, GoogleError> {
    match asks.segments().as_slice() {
        ["files"] => Ok(None),
        ["fileSearchStores", id, "uploadToFileSearchStore"] => {
            let name = format!("fileSearchStores/{id}");
            if !asks.owns(&name) {
                return Err(GoogleError::not_found());
            }
            Ok(Some(name))
        }
        _ => Err(GoogleError::not_found()),
    }
}

/// All bytes are there: makes the file or the document.
fn finish(
    asks: &Asks,
    store: Option<String>,
    wish: Wish,
    contents: Contents,
) -> Result<Answer, GoogleError> {
    if let Some(store) = store {
        return Ok(with_length(stores::take(asks, &store, wish, contents)?));
    }
    let file = files::make(asks, wish, contents, Source::Uploaded)?;
    Ok(with_length(Answer::json(json::pretty(&Finished { file }))))
}

impl Session {
    /// How far it is.
    fn state(&self, status: u16, upload_id: &str) -> Answer {
        let mut headers = session_headers(upload_id, self.status);
        headers.push((
            "x-goog-upload-size-received",
            self.passing.bytes.to_string(),
        ));
        headers.push(("x-goog-upload-chunk-granularity", GRANULARITY.to_string()));
        plain(status, headers)
    }
}

fn text_header(asks: &Asks, name: &str) -> Option<String> {
    let value = asks.head.headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// An answer without a body.
fn plain(status: u16, headers: Vec<(&'static str, String)>) -> Answer {
    with_length(Answer {
        status,
        content_type: "text/plain; charset=utf-8".into(),
        headers,
        ..Answer::json(String::new())
    })
}

fn with_length(answer: Answer) -> Answer {
    Answer {
        pieces: Pieces {
            known_length: true,
            ..answer.pieces
        },
        front: Front::Uploads,
        ..answer
    }
}

fn session_headers(upload_id: &str, status: Status) -> Vec<(&'static str, String)> {
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
