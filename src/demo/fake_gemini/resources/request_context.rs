//! `RequestContext`: one request for what belongs to a project, by a key of some project.

use http::request::Parts;
use jiff::Timestamp;
use serde_json::Value;

use super::multipart::FormPart;
use super::resource_store::{Resource, ResourceStore, StoredResource};
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::models::FakeModel;
use crate::demo::fake_gemini::request_body::{Delivery, RequestBody};
use crate::demo::fake_gemini::request_target::{RequestTarget, param};
use crate::demo::fake_gemini::response::FakeResponse;
use crate::demo::fake_gemini::response_shape::ResponseShape;
use crate::demo::fake_gemini::responses::Generation;
use crate::demo::fake_gemini::state::FakeState;

pub struct RequestContext<'a> {
    pub state: &'a FakeState,
    pub head: &'a Parts,
    pub request_target: &'a RequestTarget,
    /// Whose key it came with.
    pub project: &'a str,
    pub response_shape: &'a ResponseShape,
    pub now_ms: i64,
    pub body: &'a [u8],
    /// The parts of a form with a file, whose body is not held.
    pub parts: &'a [FormPart],
}

impl<'a> RequestContext<'a> {
    pub fn resources(&self) -> &'a ResourceStore {
        &self.state.resources
    }

    pub fn method(&self) -> &str {
        self.head.method.as_str()
    }

    /// What follows the version, in pieces. A method after a colon is one of its own, as in `files/abc:download`.
    pub fn segments(&self) -> Vec<&'a str> {
        self.request_target
            .resource_path
            .split(['/', ':'])
            .collect()
    }

    pub fn param(&self, name: &str) -> Option<&'a str> {
        param(self.head.uri.query().unwrap_or_default(), name)
    }

    /// The body as JSON; an empty one asks for nothing.
    pub fn json(&self) -> Result<Value, GoogleError> {
        json_of(self.body)
    }

    pub fn owns(&self, name: &str) -> bool {
        self.resources().is_owned(name, self.project, self.now_ms)
    }

    /// Finds a resource of the client's project.
    pub fn with_resource<T>(&self, name: &str, read: impl FnOnce(&mut Resource) -> T) -> Option<T> {
        self.with_stored(name, |stored| read(&mut stored.resource))
    }

    /// Finds a resource of the client's project with its entry.
    pub fn with_stored<T>(
        &self,
        name: &str,
        read: impl FnOnce(&mut StoredResource) -> T,
    ) -> Option<T> {
        self.resources()
            .with_resource(name, self.project, self.now_ms, read)
    }

    /// Stores a new resource in the client's project.
    pub fn insert(
        &self,
        name: &str,
        expires_ms: Option<i64>,
        resource: Resource,
    ) -> Result<(), GoogleError> {
        let stored = StoredResource {
            project: self.project.to_owned(),
            serial: self.state.next_serial(),
            expires_ms,
            resource,
        };
        self.resources().insert(name, stored, self.now_ms)
    }

    /// Deletes a resource of the client's project, as most collections do.
    pub fn delete(&self, name: &str) -> Option<FakeResponse> {
        self.resources()
            .remove(name, self.project, self.now_ms)
            .then(|| FakeResponse::json("{}\n".to_owned()))
    }

    /// The answer of a model.
    pub fn generate(&self, model: &FakeModel, request_body: &RequestBody) -> Generation {
        Generation {
            model: model.name.clone(),
            prompt_tokens: request_body.prompt_tokens,
            cached_tokens: 0,
            thought_tokens: if model.thinks {
                20 + request_body.prompt_hash % 60
            } else {
                0
            },
            texts: match request_body.delivery {
                Delivery::Stream { .. } => self.response_shape.texts(request_body.prompt_hash),
                Delivery::Whole | Delivery::Background => {
                    vec![self.response_shape.text(request_body.prompt_hash)]
                }
            },
            finish_reason: "STOP",
            serial: self.state.next_serial(),
            now_ms: self.now_ms,
        }
    }

    /// A new id of so many characters.
    pub fn new_id(&self, length: usize) -> String {
        id(self.state.next_serial(), length)
    }
}

pub fn json_of(body: &[u8]) -> Result<Value, GoogleError> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("Invalid JSON payload received. {error}");
        GoogleError::plain(400, &message)
    })
}

/// A field by either of its spellings.
pub fn field<'a>(value: &'a Value, camel: &str, snake: &str) -> &'a Value {
    match &value[camel] {
        Value::Null => &value[snake],
        found => found,
    }
}

/// Small letters and digits, as in Google's ids.
pub fn id(serial: u64, length: usize) -> String {
    // The steps of SplitMix64: neighbouring numbers have nothing in common, and no two become one.
    let mut state = serial;
    (0..length)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            char::from_digit(u32::try_from((mixed >> 33) % 36).unwrap_or(0), 36).unwrap_or('0')
        })
        .collect()
}

/// A time as Google writes it.
pub fn timestamp(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}
