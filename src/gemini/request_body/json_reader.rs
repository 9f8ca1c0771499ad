//! Reads one JSON document strictly, and collects the values that have a meaning for the pool.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::gemini::request_body::content::BodyContent;
use crate::gemini::request_body::fields::{FieldMeaning, Place, canonical, meaning_of};
use crate::gemini::request_body::media::{is_data_url, media_tokens};
use crate::gemini::request_body::unread::UnreadBody;

/// How deep a document may be nested. Google's limit is not documented; that of protobuf's JSON parsers is 100.
pub const MAX_DEPTH: usize = 100;

/// Keys of one object up to which a list is faster than a set.
const FEW_KEYS: usize = 32;

/// How much of a key an error repeats.
const REPEATED_CHARS: usize = 40;

/// Reads a document, or nothing, into `body`. Whatever a lenient parser would read otherwise is an error: a key that occurs
/// twice, or in both spellings, and all that is not JSON by RFC 8259.
pub fn read(text: &[u8], body: &mut BodyContent) -> Result<(), UnreadBody> {
    if text.trim_ascii().is_empty() {
        return Ok(());
    }
    let mut reader = JsonReader {
        body,
        keys: Vec::new(),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let root = Value {
        reader: &mut reader,
        meaning: FieldMeaning::Text,
        place: Place::ROOT,
        inner: Place::ROOT,
        nesting: 0,
    };
    root.deserialize(&mut deserializer)
        .and_then(|_| deserializer.end())
        .map_err(|error| {
            let hint = if text.starts_with(b"\xef\xbb\xbf") {
                ": it begins with a byte order mark"
            } else if text.starts_with(b"\x1f\x8b") {
                ": it is gzip, but its content encoding does not say so"
            } else {
                ""
            };
            UnreadBody(format!("{error}{hint}").into())
        })
}

/// The state of one pass.
struct JsonReader<'a, 'de> {
    body: &'a mut BodyContent,
    /// The keys of the objects that are open, the innermost last.
    keys: Vec<Cow<'de, str>>,
}

/// The reading of a value, by the field that contains it.
struct Value<'r, 'a, 'de> {
    reader: &'r mut JsonReader<'a, 'de>,
    meaning: FieldMeaning,
    /// Where the field stands.
    place: Place,
    /// Where the fields of an object in it stand.
    inner: Place,
    /// The number of objects and arrays around it.
    nesting: usize,
}

/// A value as its object sees it.
enum Seen {
    MimeType(String),
    /// Base64 of this length.
    Media(usize),
    /// The name of a file, or a URL.
    File,
    Number,
    Other,
}

/// The media of one object, as in `{"mimeType": "image/png", "data": "…"}`.
#[derive(Default)]
struct ObjectMedia {
    mime_type: String,
    base64_bytes: Option<usize>,
    is_named: bool,
}

impl ObjectMedia {
    fn add(&mut self, seen: Seen) {
        match seen {
            Seen::MimeType(mime_type) => self.mime_type = mime_type,
            Seen::Media(length) => self.base64_bytes = Some(length),
            Seen::File => self.is_named = true,
            Seen::Number | Seen::Other => {}
        }
    }

    fn tokens(&self) -> u64 {
        if self.base64_bytes.is_some() || self.is_named {
            media_tokens(&self.mime_type, self.base64_bytes)
        } else {
            0
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_, 'de> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_, 'de> {
    type Value = Seen;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Seen, E> {
        match self.meaning {
            FieldMeaning::Stream => self.reader.body.streams = value,
            FieldMeaning::Store => self.reader.body.stores_interaction = value,
            _ => {}
        }
        Ok(Seen::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::Number)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Seen, E> {
        Ok(Seen::Number)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::Number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Seen, E> {
        let body = &mut *self.reader.body;
        let read = body.read_text(self.meaning, self.place, text);
        read.map_err(E::custom)?;
        Ok(match self.meaning {
            // The URL contains its type and was counted.
            _ if is_data_url(text) => Seen::Other,
            FieldMeaning::Media => Seen::Media(text.len()),
            FieldMeaning::MimeType => Seen::MimeType(text.to_owned()),
            FieldMeaning::Reference(syntax) if syntax.may_name_file() => Seen::File,
            _ => Seen::Other,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Seen, A::Error> {
        let nesting = deeper(self.nesting)?;
        while let Some(seen) = elements.next_element_seed(Value {
            reader: &mut *self.reader,
            meaning: self.meaning,
            place: self.place,
            inner: self.inner,
            nesting,
        })? {
            // Numbers are the tokens of one text.
            if self.meaning == FieldMeaning::Items && !matches!(seen, Seen::Number) {
                self.reader.body.items += 1;
            }
        }
        Ok(Seen::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Seen, A::Error> {
        let nesting = deeper(self.nesting)?;
        let (reader, place) = (self.reader, self.inner);
        let is_free_form = self.meaning == FieldMeaning::FreeForm;
        let first = reader.keys.len();
        let mut more_keys = HashSet::new();
        let mut media = ObjectMedia::default();
        while let Some(key) = fields.next_key_seed(Key)? {
            let plain = canonical(key.clone());
            let meaning = match meaning_of(&plain, place) {
                FieldMeaning::Webhook => FieldMeaning::Webhook,
                _ if is_free_form => FieldMeaning::FreeForm,
                meaning => meaning,
            };
            match meaning {
                FieldMeaning::Webhook => reader.body.has_webhook = true,
                FieldMeaning::Setup => reader.body.has_setup = true,
                _ => {}
            }
            let inner = place.inside(&plain);
            // In free content both spellings are different keys.
            let key = if is_free_form { key } else { plain };
            if reader.keys[first..].contains(&key) || more_keys.contains(&key) {
                let shown: String = key.chars().take(REPEATED_CHARS).collect();
                let why = format!("the key {shown:?} occurs twice in one object");
                return Err(A::Error::custom(why));
            }
            if reader.keys.len() - first < FEW_KEYS {
                reader.keys.push(key);
            } else {
                more_keys.insert(key);
            }
            media.add(fields.next_value_seed(Value {
                reader: &mut *reader,
                meaning,
                place,
                inner,
                nesting,
            })?);
        }
        reader.keys.truncate(first);
        if !is_free_form {
            reader.body.add_tokens(media.tokens());
        }
        Ok(Seen::Other)
    }
}

/// Reads a key without a copy where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(key.into())
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(key.to_owned().into())
    }
}

fn deeper<E: Error>(nesting: usize) -> Result<usize, E> {
    if nesting == MAX_DEPTH {
        return Err(E::custom(format!(
            "it is nested more than {MAX_DEPTH} deep"
        )));
    }
    Ok(nesting + 1)
}
