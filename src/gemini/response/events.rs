//! `EventReader`: splits a response into events, scans each one, and finds the beginning and end of error events.

use memchr::memchr;

use crate::gemini::response::json::JsonScanner;
use crate::gemini::response::json_values::ScannedValue;

/// Maximum number of bytes to wait for the first event.
const MAX_FIRST_EVENT_BYTES: usize = 64 * 1024;

/// Longer names of events are ignored.
const MAX_EVENT_NAME_BYTES: usize = 32;

/// The kind of the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstEvent {
    Undecided,
    /// Not an error, or too long to wait for.
    NoError,
    Error,
}

/// The bytes of a chunk that belong to error events, for the caller to hold back and redact.
///
/// Bytes before `hold_from` are released; those from there to `release_at` are added to the bytes held back. With
/// `release_at` the held event is complete, and the bytes after it are released; without it, the event continues in the
/// next chunk or ends with the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorSpan {
    pub hold_from: Option<usize>,
    pub release_at: Option<usize>,
}

/// How a body is divided into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFraming {
    /// JSON: one document, or an array that arrives element by element; the first byte decides.
    Json,
    Document,
    Array(ArrayState),
    Sse(SseLine),
}

impl EventFraming {
    /// The framing of this content type; `None` for types other than JSON.
    pub fn of_content_type(content_type: Option<&str>) -> Option<Self> {
        let media_type = content_type.unwrap_or_default().split(';').next();
        let media_type = media_type.unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "text/event-stream" => Some(Self::Sse(SseLine::Start)),
            "" | "application/json" => Some(Self::Json),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayState {
    BetweenElements,
    InElement,
    Closed,
}

/// The kind of the current line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SseLine {
    /// Not yet known.
    Start,
    Data,
    EventName,
    Other,
    /// Bare JSON in place of a line: a native stream that fails ends like this.
    BareJson,
}

/// Reads a response as it streams.
#[derive(Debug)]
pub struct EventReader {
    pub scanner: JsonScanner,
    /// The index of the scanner's path of the `error` key.
    error_path: usize,
    framing: EventFraming,
    first: FirstEvent,
    bytes_read: usize,
    event: CurrentEvent,
    is_holding: bool,
    had_error: bool,
    /// The beginning of a line or an event's name that a chunk boundary cut.
    partial_line: Vec<u8>,
}

/// The current event.
#[derive(Debug, Default)]
struct CurrentEvent {
    open: bool,
    /// Its beginning, if in this chunk.
    start: Option<usize>,
    has_data: bool,
    is_error: bool,
}

impl EventReader {
    pub fn new(scanner: JsonScanner, error_path: usize, framing: EventFraming) -> Self {
        Self {
            scanner,
            error_path,
            framing,
            first: FirstEvent::Undecided,
            bytes_read: 0,
            event: CurrentEvent::default(),
            is_holding: false,
            had_error: false,
            partial_line: Vec::new(),
        }
    }

    /// Whether a value has been read for a path of the scanner, in a complete event or in the current one.
    pub fn has_value(&self, path: usize) -> bool {
        self.scanner.value_at(path) != ScannedValue::Absent
            || self.scanner.pending_value_at(path) != ScannedValue::Absent
    }

    pub fn first_event(&self) -> FirstEvent {
        self.first
    }

    /// Whether the response is a single document, which is useful even if truncated.
    pub fn is_document(&self) -> bool {
        self.framing == EventFraming::Document
    }

    /// Whether some event, or the document itself, was an error.
    pub fn had_error(&self) -> bool {
        self.had_error
    }

    /// Whether the body may end here: no event is incomplete.
    pub fn can_end_here(&self) -> bool {
        match self.framing {
            EventFraming::Json => true,
            EventFraming::Document => self.scanner.is_complete(),
            EventFraming::Array(state) => state == ArrayState::Closed,
            EventFraming::Sse(line) => {
                line == SseLine::Start && self.partial_line.is_empty() && !self.event.open
            }
        }
    }

    pub fn feed(&mut self, bytes: &[u8]) -> ErrorSpan {
        let mut span = ErrorSpan {
            hold_from: self.is_holding.then_some(0),
            release_at: None,
        };
        self.event.start = None;
        let mut at = 0;
        while at < bytes.len() {
            at = match self.framing {
                EventFraming::Json => self.detect_framing(bytes, at),
                EventFraming::Document => self.read_document(bytes, at),
                EventFraming::Array(state) => self.read_array(state, bytes, at, &mut span),
                EventFraming::Sse(line) => self.read_sse(line, bytes, at, &mut span),
            };
        }
        self.bytes_read = self.bytes_read.saturating_add(bytes.len());
        if self.first == FirstEvent::Undecided && self.bytes_read >= MAX_FIRST_EVENT_BYTES {
            self.first = FirstEvent::NoError;
        }
        span
    }

    fn detect_framing(&mut self, bytes: &[u8], at: usize) -> usize {
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => at + 1,
            b'[' => {
                self.framing = EventFraming::Array(ArrayState::BetweenElements);
                at + 1
            }
            _ => {
                self.framing = EventFraming::Document;
                at
            }
        }
    }

    /// An error document has no other key before `error`; a failed operation has, and is a valid response.
    fn read_document(&mut self, bytes: &[u8], at: usize) -> usize {
        let ended = self.scanner.feed(&bytes[at..]).is_some();
        let opens_with_error = self.scanner.first_key_is(self.error_path);
        if opens_with_error == Some(true) && self.scanner.has_value_started(self.error_path) {
            self.had_error = true;
        }
        if self.first == FirstEvent::Undecided {
            if self.had_error {
                self.first = FirstEvent::Error;
            } else if ended || self.scanner.is_invalid() || opens_with_error == Some(false) {
                self.first = FirstEvent::NoError;
            }
        }
        bytes.len()
    }

    fn read_array(
        &mut self,
        state: ArrayState,
        bytes: &[u8],
        at: usize,
        span: &mut ErrorSpan,
    ) -> usize {
        match state {
            ArrayState::Closed => bytes.len(),
            ArrayState::BetweenElements => match bytes[at] {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => at + 1,
                b']' => {
                    self.close_array();
                    bytes.len()
                }
                _ => {
                    self.event = CurrentEvent {
                        open: true,
                        start: Some(at),
                        has_data: true,
                        is_error: false,
                    };
                    self.framing = EventFraming::Array(ArrayState::InElement);
                    at
                }
            },
            ArrayState::InElement => {
                let ended = self.scanner.feed(&bytes[at..]);
                self.check_for_error(span);
                if let Some(length) = ended {
                    self.framing = EventFraming::Array(ArrayState::BetweenElements);
                    self.end_event(at + length, span);
                    return at + length;
                }
                if self.scanner.is_invalid() {
                    self.close_array();
                }
                bytes.len()
            }
        }
    }

    fn close_array(&mut self) {
        self.framing = EventFraming::Array(ArrayState::Closed);
        if self.first == FirstEvent::Undecided {
            self.first = FirstEvent::NoError;
        }
    }

    fn read_sse(&mut self, line: SseLine, bytes: &[u8], at: usize, span: &mut ErrorSpan) -> usize {
        match line {
            SseLine::Start => self.read_line_start(bytes, at, span),
            SseLine::BareJson => self.read_bare_json(bytes, at, span),
            SseLine::Data | SseLine::EventName | SseLine::Other => {
                let newline = memchr(b'\n', &bytes[at..]).map(|length| at + length);
                let part = &bytes[at..newline.unwrap_or(bytes.len())];
                match line {
                    SseLine::Data => {
                        self.scanner.feed(part);
                        self.check_for_error(span);
                    }
                    SseLine::EventName
                        if self.partial_line.len() + part.len() <= MAX_EVENT_NAME_BYTES =>
                    {
                        self.partial_line.extend_from_slice(part);
                    }
                    _ => {}
                }
                let Some(newline) = newline else {
                    return bytes.len();
                };
                if line == SseLine::EventName && self.partial_line.trim_ascii() == b"error" {
                    self.mark_error(span);
                }
                self.partial_line.clear();
                self.framing = EventFraming::Sse(SseLine::Start);
                newline + 1
            }
        }
    }

    fn read_line_start(&mut self, bytes: &[u8], at: usize, span: &mut ErrorSpan) -> usize {
        const DATA: &[u8] = b"data:";
        const EVENT: &[u8] = b"event:";
        let byte = bytes[at];
        match (self.partial_line.as_slice(), byte) {
            ([] | [b'\r'], b'\n') => {
                self.partial_line.clear();
                self.end_event(at + 1, span);
                return at + 1;
            }
            ([b'\r'], _) => {
                self.partial_line.clear();
                return at;
            }
            ([], b'\r') => {
                self.partial_line.push(byte);
                return at + 1;
            }
            ([], b'{' | b'[') => {
                // An incomplete event before this line will not be completed.
                self.scanner.reset();
                self.event = CurrentEvent {
                    open: true,
                    start: Some(at),
                    has_data: true,
                    is_error: false,
                };
                self.framing = EventFraming::Sse(SseLine::BareJson);
                return at;
            }
            ([], _) if !self.event.open => {
                self.event.open = true;
                self.event.start = Some(at);
            }
            (_, b'\n') => {
                self.partial_line.clear();
                return at + 1;
            }
            _ => {}
        }
        if self.partial_line.is_empty() && bytes[at..].starts_with(DATA) {
            self.begin_data();
            return at + DATA.len();
        }
        self.partial_line.push(byte);
        if self.partial_line == DATA {
            self.begin_data();
        } else if self.partial_line == EVENT {
            self.partial_line.clear();
            self.framing = EventFraming::Sse(SseLine::EventName);
        } else if !DATA.starts_with(&self.partial_line) && !EVENT.starts_with(&self.partial_line) {
            self.partial_line.clear();
            self.framing = EventFraming::Sse(SseLine::Other);
        }
        at + 1
    }

    fn begin_data(&mut self) {
        self.partial_line.clear();
        if self.event.has_data {
            // The lines of one event are joined by newlines.
            self.scanner.feed(b"\n");
        }
        self.event.has_data = true;
        self.framing = EventFraming::Sse(SseLine::Data);
    }

    fn read_bare_json(&mut self, bytes: &[u8], at: usize, span: &mut ErrorSpan) -> usize {
        let ended = self.scanner.feed(&bytes[at..]);
        self.check_for_error(span);
        if let Some(length) = ended {
            self.framing = EventFraming::Sse(SseLine::Other);
            self.end_event(at + length, span);
            return at + length;
        }
        if self.scanner.is_invalid() {
            self.framing = EventFraming::Sse(SseLine::Other);
            return at;
        }
        bytes.len()
    }

    fn check_for_error(&mut self, span: &mut ErrorSpan) {
        if !self.event.is_error && self.scanner.has_value_started(self.error_path) {
            self.mark_error(span);
        }
    }

    fn mark_error(&mut self, span: &mut ErrorSpan) {
        self.event.is_error = true;
        if self.first == FirstEvent::Undecided {
            self.first = FirstEvent::Error;
        }
        if !self.is_holding {
            self.is_holding = true;
            // The part of the event in earlier chunks has already been released.
            let start = self.event.start.unwrap_or(0);
            span.hold_from = Some(span.hold_from.unwrap_or(start));
            span.release_at = None;
        }
    }

    fn end_event(&mut self, end: usize, span: &mut ErrorSpan) {
        let event = std::mem::take(&mut self.event);
        self.had_error |= event.is_error;
        if self.first == FirstEvent::Undecided && event.has_data {
            self.first = FirstEvent::NoError;
        }
        if self.is_holding {
            self.is_holding = false;
            span.release_at = Some(end);
        }
        self.scanner.reset();
    }
}
