//! `ResponseTap`: reads a response beside the stream, without changing, delaying or holding back any byte.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json_borrow::Value;

use crate::gemini::errors::error_body::ErrorBody;
use crate::gemini::resources::created::{CreatedResourcesReader, ObservedResources};
use crate::gemini::response::content_decoder::{ContentDecoder, encodings_of};
use crate::gemini::response::events::{ErrorSpan, EventFraming, EventReader, FirstEvent};
use crate::gemini::response::json::{JsonPath, JsonScanner};
use crate::gemini::response::json_values::ScannedValue;
use crate::gemini::response::output_text::OutputText;
use crate::gemini::response::reply_content::ReplyContent;
use crate::gemini::response::usage;
use crate::gemini::target::Surface;
use crate::pool::quota::usage::TokenUsage;

/// The facts in a response, as far as it was received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseSummary {
    pub usage: TokenUsage,
    /// Whether the request consumed `usage`: counting tokens is free, and a cache's size is no charge.
    pub is_charged: bool,
    pub model_version: Option<String>,
    /// The reason why the model stopped or the prompt was blocked; for interactions their status.
    pub finish_reason: Option<String>,
    pub service_tier: Option<String>,
    /// The last error inside a response that began without one.
    pub error: Option<ErrorBody>,
    /// The resources in the response.
    pub observed: ObservedResources,
    /// Characters that the model wrote; 0 if usage was reported.
    pub output_chars: u64,
}

/// Reads one response.
pub struct ResponseTap {
    surface: Surface,
    input: TapInput,
    /// Whether the content type has events or a document to read.
    is_json: bool,
    reader: EventReader,
    /// An error has begun inside encoded bytes.
    has_held_error: bool,
    created_resources: Option<CreatedResourcesReader>,
    output: OutputText,
    /// Reads whether the reply has content, for a caller that holds it until then.
    content: Option<OutputText>,
}

enum TapInput {
    Plain,
    Encoded(ContentDecoder),
    /// An unsupported encoding.
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

/// Complete responses have these fields at the root, events of a stream inside `interaction`.
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

/// An encoded response is read up to this length when decoded.
const MAX_DECODED_BYTES: usize = 256 * 1024 * 1024;

/// `error` is the first path of every surface.
const ERROR: usize = 0;

impl ResponseTap {
    /// The tap for the response with these headers.
    pub fn new(surface: Surface, headers: &HeaderMap) -> Self {
        let paths = match surface {
            Surface::Native => NATIVE,
            Surface::OpenAi => OPENAI,
            Surface::Interactions => INTERACTIONS,
        };
        let content_type = headers.get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let framing = EventFraming::of_content_type(content_type);
        let input = match encodings_of(headers) {
            Some(encodings) if encodings.is_empty() => TapInput::Plain,
            Some(encodings) => {
                TapInput::Encoded(ContentDecoder::new(&encodings, MAX_DECODED_BYTES))
            }
            None => TapInput::Unreadable,
        };
        let is_json = framing.is_some();
        let framing = framing.unwrap_or(EventFraming::Json);
        let reader = EventReader::new(JsonScanner::new(paths), ERROR, framing);
        Self {
            surface,
            input,
            is_json,
            reader,
            has_held_error: false,
            created_resources: None,
            output: OutputText::default(),
            content: None,
        }
    }

    /// Also reads whether the reply has content.
    #[must_use]
    pub fn with_content_reader(mut self) -> Self {
        self.content = Some(OutputText::default());
        self
    }

    /// Whether an error was read, at the beginning or later.
    pub fn had_error(&self) -> bool {
        self.reads() && self.reader.had_error()
    }

    /// How far the reply has come; `None`: it cannot be read, or is not read for its content.
    pub fn reply_content(&self) -> Option<ReplyContent> {
        let content = self.content.as_ref().filter(|_| self.reads())?;
        if content.has_content() {
            return Some(ReplyContent::Begun);
        }
        let reason = self.finish_reason();
        Some(reason.map_or(ReplyContent::Nothing, ReplyContent::Finished))
    }

    /// Also reads the names of resources.
    #[must_use]
    pub fn with_created_resources(
        mut self,
        created_resources: Option<CreatedResourcesReader>,
    ) -> Self {
        self.created_resources = created_resources;
        self
    }

    /// Number of resource names read so far.
    pub fn observed_count(&self) -> usize {
        self.created_resources
            .as_ref()
            .map_or(0, CreatedResourcesReader::name_count)
    }

    /// The resources read so far.
    pub fn observed(&self) -> ObservedResources {
        self.created_resources
            .as_ref()
            .map(CreatedResourcesReader::observed)
            .unwrap_or_default()
    }

    /// Reads the next bytes and returns those that belong to errors. Encoded bytes cannot be split at the beginning
    /// or end of an error: all chunks from the beginning of an error to the end of the response are returned whole.
    pub fn feed(&mut self, bytes: &[u8]) -> ErrorSpan {
        self.feed_and(bytes, |_| ())
    }

    /// The same; also passes on what encoded bytes say when decoded.
    pub fn feed_and(&mut self, bytes: &[u8], mut on_decoded: impl FnMut(&[u8])) -> ErrorSpan {
        let is_json = self.is_json;
        let usage = self.usage_paths();
        let (reader, output) = (&mut self.reader, &mut self.output);
        let created_resources = &mut self.created_resources;
        let content = &mut self.content;
        let mut feed = |plain: &[u8]| {
            if !is_json {
                return ErrorSpan::default();
            }
            if let Some(created_resources) = created_resources {
                created_resources.feed(plain);
            }
            if let Some(content) = content {
                content.feed(plain);
            }
            let span = reader.feed(plain);
            if usage.iter().all(|path| !reader.has_value(*path)) {
                output.feed(plain);
            }
            span
        };
        match &mut self.input {
            TapInput::Plain => return feed(bytes),
            TapInput::Encoded(decoder) => {
                let has_held_error = &mut self.has_held_error;
                let result = decoder.decode(bytes, |plain| {
                    on_decoded(plain);
                    *has_held_error |= feed(plain).hold_from.is_some();
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

    /// Where usage is reported.
    fn usage_paths(&self) -> &'static [usize] {
        match self.surface {
            Surface::Native | Surface::OpenAi => &[1],
            Surface::Interactions => &[1, 2],
        }
    }

    /// Whether `is_secret` finds a secret in the last error. An incomplete error counts as secret.
    pub fn error_contains(&self, is_secret: impl Fn(&[u8]) -> bool) -> bool {
        match self.raw(&[ERROR]) {
            ScannedValue::Raw(raw) => is_secret(raw),
            ScannedValue::Absent | ScannedValue::TooLong => true,
        }
    }

    /// The kind of the first event: an error, as soon as that is known, or something else.
    pub fn first_event(&self) -> FirstEvent {
        match self.reader.first_event() {
            FirstEvent::Undecided if !self.reads() => FirstEvent::NoError,
            first => first,
        }
    }

    /// Whether the body may end here; `false` requires a blank line before another event.
    pub fn can_end_here(&self) -> bool {
        !self.reads() || self.reader.can_end_here()
    }

    /// Whether the body, if it ends here, lacks its end: it stops in the middle of a JSON value or of an event.
    pub fn lacks_end(&self) -> bool {
        self.reads() && !self.reader.scanner.is_invalid() && !self.reader.can_end_here()
    }

    /// Whether the tap can read what is fed to it.
    fn reads(&self) -> bool {
        self.is_json && !matches!(self.input, TapInput::Unreadable)
    }

    /// The facts read so far; an incomplete event is ignored, but complete values of an incomplete document count.
    pub fn summary(&self) -> ResponseSummary {
        let summary = match self.surface {
            Surface::Native => self.native_summary(),
            Surface::OpenAi => self.openai_summary(),
            Surface::Interactions => self.interaction_summary(),
        };
        ResponseSummary {
            error: self.error(),
            observed: self.observed(),
            output_chars: if summary.is_charged {
                0
            } else {
                self.output.chars()
            },
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
            finish_reason: self.finish_reason(),
            service_tier: metadata
                .as_ref()
                .and_then(|data| text_of(data.get("serviceTier"))),
            ..ResponseSummary::default()
        }
    }

    fn openai_summary(&self) -> ResponseSummary {
        let usage = self.value(&[1]);
        ResponseSummary {
            usage: usage.as_ref().map(usage::of_openai).unwrap_or_default(),
            is_charged: usage.is_some(),
            model_version: self.text(&[2]),
            finish_reason: self.finish_reason(),
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
            finish_reason: self.finish_reason(),
            service_tier: self.text(&[7, 8]),
            ..ResponseSummary::default()
        }
    }

    /// The reason why the model stopped or the prompt was blocked.
    fn finish_reason(&self) -> Option<String> {
        match self.surface {
            Surface::Native => self.text(&[3]).or_else(|| self.text(&[4])),
            Surface::OpenAi => self.text(&[3]),
            Surface::Interactions => self.text(&[5, 6]),
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

    fn value(&self, paths: &[usize]) -> Option<Value<'_>> {
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

/// Names, or numbers for clients that send `enum-encoding=int`.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Str(text) => Some(text.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
