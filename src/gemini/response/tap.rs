//! `ResponseTap`: reads an answer beside the stream, and neither changes, delays nor holds a byte of it.

use serde_json::Value;

use crate::gemini::errors::error_body::ErrorBody;
use crate::gemini::resources::created::{CreatedResourcesReader, ObservedResources};
use crate::gemini::response::events::{ErrorSpan, EventFraming, EventReader, FirstEvent};
use crate::gemini::response::inflate::Inflater;
use crate::gemini::response::json::{JsonPath, JsonScanner, ScannedValue};
use crate::gemini::response::usage;
use crate::gemini::target::Surface;
use crate::pool::quota::usage::TokenUsage;

/// What an answer said of itself, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseSummary {
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
    pub observed: ObservedResources,
}

/// Reads one answer.
#[derive(Debug)]
pub struct ResponseTap {
    surface: Surface,
    input: TapInput,
    reader: EventReader,
    /// An error has begun inside compressed bytes.
    has_held_error: bool,
    created_resources: Option<CreatedResourcesReader>,
}

#[derive(Debug)]
enum TapInput {
    Plain,
    Compressed(Inflater),
    /// Nothing to read: no JSON, or an encoding that cannot be undone.
    Unreadable,
}

const NATIVE: &[JsonPath] = &[
    &["error"],
    &["usageMetadata"],
    &["modelVersion"],
    &["candidates", "finishReason"],
    &["promptFeedback", "blockReason"],
    &["totalTokens"],
    &["name"],
];

const OPENAI: &[JsonPath] = &[
    &["error"],
    &["usage"],
    &["model"],
    &["choices", "finish_reason"],
    &["service_tier"],
];

/// Whole answers have at the root what the events of a stream have inside `interaction`.
const INTERACTIONS: &[JsonPath] = &[
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

impl ResponseTap {
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
        let framing = EventFraming::of_content_type(content_type);
        let encoding = content_encoding.unwrap_or_default().trim();
        let input = if framing.is_none() {
            TapInput::Unreadable
        } else if encoding.is_empty() || encoding.eq_ignore_ascii_case("identity") {
            TapInput::Plain
        } else {
            Inflater::new(encoding).map_or(TapInput::Unreadable, TapInput::Compressed)
        };
        let framing = framing.unwrap_or(EventFraming::Json);
        let reader = EventReader::new(JsonScanner::new(paths), ERROR, framing);
        Self {
            surface,
            input,
            reader,
            has_held_error: false,
            created_resources: None,
        }
    }

    /// Has the names of resources read too.
    #[must_use]
    pub fn with_created_resources(
        mut self,
        created_resources: Option<CreatedResourcesReader>,
    ) -> Self {
        self.created_resources = created_resources;
        self
    }

    /// How many names of resources the answer has told so far.
    pub fn observed_count(&self) -> usize {
        self.created_resources
            .as_ref()
            .map_or(0, CreatedResourcesReader::name_count)
    }

    /// What the answer has told of resources so far.
    pub fn observed(&self) -> ObservedResources {
        self.created_resources
            .as_ref()
            .map(CreatedResourcesReader::observed)
            .unwrap_or_default()
    }

    /// Reads the next bytes and tells which of them belong to errors. Compressed ones cannot be cut where an error
    /// begins or ends: of them whole chunks are told, to the end of the answer.
    pub fn feed(&mut self, bytes: &[u8]) -> ErrorSpan {
        let (reader, created_resources) = (&mut self.reader, &mut self.created_resources);
        match &mut self.input {
            TapInput::Plain => {
                if let Some(created_resources) = created_resources {
                    created_resources.feed(bytes);
                }
                return reader.feed(bytes);
            }
            TapInput::Compressed(inflater) => {
                let has_held_error = &mut self.has_held_error;
                let result = inflater.inflate(bytes, |plain| {
                    if let Some(created_resources) = created_resources {
                        created_resources.feed(plain);
                    }
                    *has_held_error |= reader.feed(plain).hold_from.is_some();
                });
                if result.is_err() {
                    self.input = TapInput::Unreadable;
                }
            }
            TapInput::Unreadable => {}
        }
        ErrorSpan {
            hold_from: self.has_held_error.then_some(0),
            release_at: None,
        }
    }

    /// Whether the last error holds what `is_secret` knows. Of one that is not here whole it must be feared.
    pub fn error_contains(&self, is_secret: impl Fn(&[u8]) -> bool) -> bool {
        match self.raw(&[ERROR]) {
            ScannedValue::Raw(raw) => is_secret(raw),
            ScannedValue::Absent | ScannedValue::TooLong => true,
        }
    }

    /// What the answer begins with: an error, as soon as that is known, or something else.
    pub fn first_event(&self) -> FirstEvent {
        match (&self.input, self.reader.first_event()) {
            (TapInput::Unreadable, FirstEvent::Undecided) => FirstEvent::NoError,
            (TapInput::Plain | TapInput::Compressed(_) | TapInput::Unreadable, first) => first,
        }
    }

    /// Whether nothing was half said when the body ended here; `false` asks for a blank line before another event.
    pub fn can_end_here(&self) -> bool {
        match self.input {
            TapInput::Unreadable => true,
            TapInput::Plain | TapInput::Compressed(_) => self.reader.can_end_here(),
        }
    }

    /// What was read so far; a half event counts for nothing, but of a half document the whole values do.
    pub fn summary(&self) -> ResponseSummary {
        let summary = match self.surface {
            Surface::Native => self.native_summary(),
            Surface::OpenAi => self.openai_summary(),
            Surface::Interactions => self.interaction_summary(),
        };
        ResponseSummary {
            error: self.error(),
            observed: self.observed(),
            ..summary
        }
    }

    fn native_summary(&self) -> ResponseSummary {
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
        ResponseSummary {
            usage,
            is_charged,
            model_version: self.text(&[2]),
            finish_reason: self.text(&[3]).or_else(|| self.text(&[4])),
            service_tier: metadata
                .as_ref()
                .and_then(|data| text_of(&data["serviceTier"])),
            ..ResponseSummary::default()
        }
    }

    fn openai_summary(&self) -> ResponseSummary {
        let usage = self.value(&[1]);
        ResponseSummary {
            usage: usage.as_ref().map(usage::of_openai).unwrap_or_default(),
            is_charged: usage.is_some(),
            model_version: self.text(&[2]),
            finish_reason: self.text(&[3]),
            service_tier: self.text(&[4]),
            ..ResponseSummary::default()
        }
    }

    fn interaction_summary(&self) -> ResponseSummary {
        let usage = self.value(&[1, 2]);
        ResponseSummary {
            usage: usage
                .as_ref()
                .map(usage::of_interaction)
                .unwrap_or_default(),
            is_charged: usage.is_some(),
            model_version: self.text(&[3, 4]),
            finish_reason: self.text(&[5, 6]),
            service_tier: self.text(&[7, 8]),
            ..ResponseSummary::default()
        }
    }

    fn error(&self) -> Option<ErrorBody> {
        if !self.reader.had_error() {
            return None;
        }
        Some(match self.raw(&[ERROR]) {
            ScannedValue::Raw(raw) => ErrorBody::of_error(raw),
            ScannedValue::Absent | ScannedValue::TooLong => ErrorBody::default(),
        })
    }

    fn text(&self, paths: &[usize]) -> Option<String> {
        text_of(&self.value(paths)?)
    }

    fn value(&self, paths: &[usize]) -> Option<Value> {
        match self.raw(paths) {
            ScannedValue::Raw(raw) => serde_json::from_slice(raw).ok(),
            ScannedValue::Absent | ScannedValue::TooLong => None,
        }
    }

    fn raw(&self, paths: &[usize]) -> ScannedValue<'_> {
        let scanner = &self.reader.scanner;
        let kept = scanner.latest_value_of(paths);
        if kept == ScannedValue::Absent && self.reader.is_document() {
            let pending = paths.iter().map(|&path| scanner.pending_value_at(path));
            return pending
                .into_iter()
                .find(|found| *found != ScannedValue::Absent)
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
