//! `Tap`: reads an answer beside the stream, and neither changes, delays nor holds a byte of it.

use serde_json::Value;

use crate::gemini::births::{Births, Told};
use crate::gemini::error_body::ErrorBody;
use crate::gemini::event_reader::{EventReader, First, Framing, Seen};
use crate::gemini::inflate::Inflate;
use crate::gemini::json_scan::{Found, Path, Scanner};
use crate::gemini::target::Surface;
use crate::gemini::usage;
use crate::pool::quota::usage::TokenUsage;

/// What an answer said of itself, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    pub usage: TokenUsage,
    /// Whether `usage` was used up by this request: counting tokens is free, and a cache's size is no charge.
    pub is_charged: bool,
    pub model_version: Option<String>,
    /// Why the model stopped, or why the prompt was blocked; for interactions their status.
    pub finish_reason: Option<String>,
    pub service_tier: Option<String>,
    /// The last error inside an answer that began well.
    pub error: Option<ErrorBody>,
    /// What it told of resources.
    pub told: Told,
}

/// Reads one answer.
#[derive(Debug)]
pub struct Tap {
    surface: Surface,
    input: Input,
    reader: EventReader,
    /// An error has begun inside compressed bytes.
    holds: bool,
    births: Option<Births>,
}

#[derive(Debug)]
enum Input {
    Plain,
    Packed(Inflate),
    /// Nothing to read: no JSON, or an encoding that cannot be undone.
    Blind,
}

const NATIVE: &[Path] = &[
    &["error"],
    &["usageMetadata"],
    &["modelVersion"],
    &["candidates", "finishReason"],
    &["promptFeedback", "blockReason"],
    &["totalTokens"],
    &["name"],
];

const OPENAI: &[Path] = &[
    &["error"],
    &["usage"],
    &["model"],
    &["choices", "finish_reason"],
    &["service_tier"],
];

/// Whole answers have at the root what the events of a stream have inside `interaction`.
const INTERACTIONS: &[Path] = &[
    &["error"],
    &["usage"],
    &["interaction", "usage"],
    &["model"],
    &["interaction", "model"],
    &["status"],
    &["interaction", "status"],
    &["service_tier"],
    &["interaction", "service_tier"],
];

/// `error` comes first among the paths of every surface.
const ERROR: usize = 0;

impl Tap {
    pub fn new(
        surface: Surface,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
    ) -> Self {
        let paths = match surface {
            Surface::Native => NATIVE,
            Surface::OpenAi => OPENAI,
            Surface::Interactions => INTERACTIONS,
        };
        let framing = Framing::of_content_type(content_type);
        let encoding = content_encoding.unwrap_or_default().trim();
        let input = if framing.is_none() {
            Input::Blind
        } else if encoding.is_empty() || encoding.eq_ignore_ascii_case("identity") {
            Input::Plain
        } else {
            Inflate::new(encoding).map_or(Input::Blind, Input::Packed)
        };
        let framing = framing.unwrap_or(Framing::Json);
        let reader = EventReader::new(Scanner::new(paths), ERROR, framing);
        Self {
            surface,
            input,
            reader,
            holds: false,
            births: None,
        }
    }

    /// Has the names of resources read too.
    #[must_use]
    pub fn noticing(mut self, births: Option<Births>) -> Self {
        self.births = births;
        self
    }

    /// How many names of resources the answer has told so far.
    pub fn names_told(&self) -> usize {
        self.births.as_ref().map_or(0, Births::count)
    }

    /// What the answer has told of resources so far.
    pub fn told(&self) -> Told {
        self.births.as_ref().map(Births::told).unwrap_or_default()
    }

    /// Reads the next bytes and tells which of them belong to errors. Compressed ones cannot be cut where an error
    /// begins or ends: of them whole chunks are told, to the end of the answer.
    pub fn feed(&mut self, bytes: &[u8]) -> Seen {
        let (reader, births) = (&mut self.reader, &mut self.births);
        match &mut self.input {
            Input::Plain => {
                if let Some(births) = births {
                    births.feed(bytes);
                }
                return reader.feed(bytes);
            }
            Input::Packed(inflate) => {
                let holds = &mut self.holds;
                let undone = inflate.push(bytes, |plain| {
                    if let Some(births) = births {
                        births.feed(plain);
                    }
                    *holds |= reader.feed(plain).hold_from.is_some();
                });
                if undone.is_err() {
                    self.input = Input::Blind;
                }
            }
            Input::Blind => {}
        }
        Seen {
            hold_from: self.holds.then_some(0),
            release_at: None,
        }
    }

    /// Whether the last error holds what `is_secret` knows. Of one that is not here whole it must be feared.
    pub fn error_tells(&self, is_secret: impl Fn(&[u8]) -> bool) -> bool {
        match self.raw(&[ERROR]) {
            Found::Raw(raw) => is_secret(raw),
            Found::Nothing | Found::TooLong => true,
        }
    }

    /// What the answer begins with: an error, as soon as that is known, or something else.
    pub fn first(&self) -> First {
        match (&self.input, self.reader.first()) {
            (Input::Blind, First::Undecided) => First::Fine,
            (Input::Plain | Input::Packed(_) | Input::Blind, first) => first,
        }
    }

    /// Whether nothing was half said when the body ended here; `false` asks for a blank line before another event.
    pub fn ended_well(&self) -> bool {
        match self.input {
            Input::Blind => true,
            Input::Plain | Input::Packed(_) => self.reader.ended_well(),
        }
    }

    /// What was read so far; a half event counts for nothing, but of a half document the whole values do.
    pub fn finish(&self) -> Answered {
        let answered = match self.surface {
            Surface::Native => self.native(),
            Surface::OpenAi => self.openai(),
            Surface::Interactions => self.interaction(),
        };
        Answered {
            error: self.error(),
            told: self.told(),
            ..answered
        }
    }

    fn native(&self) -> Answered {
        let metadata = self.value(&[1]);
        let total = self.value(&[5]);
        let is_cache = self
            .text(&[6])
            .is_some_and(|name| name.starts_with("cachedContents/"));
        let (usage, is_charged) = match &metadata {
            Some(_) if is_cache => (TokenUsage::default(), false),
            Some(metadata) => (usage::of_native(metadata), true),
            None => (usage::of_count(total.as_ref()), false),
        };
        Answered {
            usage,
            is_charged,
            model_version: self.text(&[2]),
            finish_reason: self.text(&[3]).or_else(|| self.text(&[4])),
            service_tier: metadata
                .as_ref()
                .and_then(|data| text_of(&data["serviceTier"])),
            ..Answered::default()
        }
    }

    fn openai(&self) -> Answered {
        let usage = self.value(&[1]);
        Answered {
            usage: usage.as_ref().map(usage::of_openai).unwrap_or_default(),
            is_charged: usage.is_some(),
            model_version: self.text(&[2]),
            finish_reason: self.text(&[3]),
            service_tier: self.text(&[4]),
            ..Answered::default()
        }
    }

    fn interaction(&self) -> Answered {
        let usage = self.value(&[1, 2]);
        Answered {
            usage: usage
                .as_ref()
                .map(usage::of_interaction)
                .unwrap_or_default(),
            is_charged: usage.is_some(),
            model_version: self.text(&[3, 4]),
            finish_reason: self.text(&[5, 6]),
            service_tier: self.text(&[7, 8]),
            ..Answered::default()
        }
    }

    fn error(&self) -> Option<ErrorBody> {
        if !self.reader.had_error() {
            return None;
        }
        Some(match self.raw(&[ERROR]) {
            Found::Raw(raw) => ErrorBody::of_error(raw),
            Found::Nothing | Found::TooLong => ErrorBody::default(),
        })
    }

    fn text(&self, paths: &[usize]) -> Option<String> {
        text_of(&self.value(paths)?)
    }

    fn value(&self, paths: &[usize]) -> Option<Value> {
        match self.raw(paths) {
            Found::Raw(raw) => serde_json::from_slice(raw).ok(),
            Found::Nothing | Found::TooLong => None,
        }
    }

    fn raw(&self, paths: &[usize]) -> Found<'_> {
        let scanner = &self.reader.scanner;
        let kept = scanner.latest_of(paths);
        if kept == Found::Nothing && self.reader.is_document() {
            let pending = paths.iter().map(|&path| scanner.pending_at(path));
            return pending
                .into_iter()
                .find(|found| *found != Found::Nothing)
                .unwrap_or(kept);
        }
        kept
    }
}

/// Words; numbers too, for clients that ask for `enum-encoding=int`.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
