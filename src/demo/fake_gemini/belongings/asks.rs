//! `Asks`: one request for what belongs to a project, by a key of some project.

use http::request::Parts;
use jiff::Timestamp;
use serde_json::Value;

use super::multipart::Part;
use super::owned::{Belongings, Owned, Thing};
use crate::demo::fake_gemini::answer::Answer;
use crate::demo::fake_gemini::answers::Said;
use crate::demo::fake_gemini::asked::{Asked, Delivery};
use crate::demo::fake_gemini::call::{Call, param};
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::google::Google;
use crate::demo::fake_gemini::manner::Manner;
use crate::demo::fake_gemini::models::FakeModel;

pub struct Asks<'a> {
    pub google: &'a Google,
    pub head: &'a Parts,
    pub call: &'a Call,
    /// Whose key it came with.
    pub project: &'a str,
    pub manner: &'a Manner,
    pub now_ms: i64,
    pub body: &'a [u8],
    /// The parts of a form with a file, whose body is not held.
    pub parts: &'a [Part],
}

impl<'a> Asks<'a> {
    pub fn belongings(&self) -> &'a Belongings {
        &self.google.belongings
    }

    pub fn method(&self) -> &str {
        self.head.method.as_str()
    }

    /// What follows the version, in pieces. A method after a colon is one of its own, as in `files/abc:download`.
    pub fn segments(&self) -> Vec<&'a str> {
        self.call.rest.split(['/', ':']).collect()
    }

    pub fn param(&self, name: &str) -> Option<&'a str> {
        param(self.head.uri.query().unwrap_or_default(), name)
    }

    /// The body as JSON; an empty one asks for nothing.
    pub fn json(&self) -> Result<Value, GoogleError> {
        json_of(self.body)
    }

    pub fn owns(&self, name: &str) -> bool {
        self.belongings().is_owned(name, self.project, self.now_ms)
    }

    /// Looks at a thing of the asker's.
    pub fn look<T>(&self, name: &str, look: impl FnOnce(&mut Thing) -> T) -> Option<T> {
        self.look_owned(name, |owned| look(&mut owned.thing))
    }

    /// Looks at a thing of the asker's and at how it is kept.
    pub fn look_owned<T>(&self, name: &str, look: impl FnOnce(&mut Owned) -> T) -> Option<T> {
        self.belongings()
            .look(name, self.project, self.now_ms, look)
    }

    /// Keeps a new thing for the asker.
    pub fn keep(
        &self,
        name: &str,
        expires_ms: Option<i64>,
        thing: Thing,
    ) -> Result<(), GoogleError> {
        let owned = Owned {
            project: self.project.to_owned(),
            serial: self.google.next_serial(),
            expires_ms,
            thing,
        };
        self.belongings().keep(name, owned, self.now_ms)
    }

    /// Deletes a thing of the asker's, as most collections do it.
    pub fn delete(&self, name: &str) -> Option<Answer> {
        self.belongings()
            .remove(name, self.project, self.now_ms)
            .then(|| Answer::json("{}\n".to_owned()))
    }

    /// The answer of a model.
    pub fn say(&self, model: &FakeModel, asked: &Asked) -> Said {
        Said {
            model: model.name.clone(),
            prompt_tokens: asked.prompt_tokens,
            cached_tokens: 0,
            thought_tokens: if model.thinks {
                20 + asked.prompt_hash % 60
            } else {
                0
            },
            texts: match asked.delivery {
                Delivery::Stream { .. } => self.manner.texts(asked.prompt_hash),
                Delivery::Whole | Delivery::Background => vec![self.manner.text(asked.prompt_hash)],
            },
            serial: self.google.next_serial(),
            now_ms: self.now_ms,
        }
    }

    /// A new id of so many characters.
    pub fn id(&self, length: usize) -> String {
        id(self.google.next_serial(), length)
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
pub fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}
