//! `EventReader`: an answer's bytes → its events, each scanned; knows where an error event begins and ends.

use memchr::memchr;

use crate::gemini::json_scan::Scanner;

/// The first event is not waited for longer than this.
const FIRST_LIMIT: usize = 64 * 1024;

/// Longer names of events are of no interest.
const NAME_LIMIT: usize = 32;

/// What the answer begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    Undecided,
    /// No error, or too long to wait for.
    Fine,
    Error,
}

/// Which bytes of a chunk belong to error events, for the caller to hold back and redact.
///
/// Bytes before `hold_from` pass; those from there to `release_at` join what is already held. With `release_at` the held event
/// is whole, and the bytes after it pass; without, it goes on in the next chunk, or ends with the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    pub hold_from: Option<usize>,
    pub release_at: Option<usize>,
}

/// How a body is cut into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// JSON: one document, or an array that arrives element by element; its first byte tells.
    Json,
    Document,
    Array(InArray),
    Sse(Line),
}

impl Framing {
    /// How an answer of this type is cut; `None` for what holds no JSON.
    pub fn of_content_type(content_type: Option<&str>) -> Option<Self> {
        let media_type = content_type.unwrap_or_default().split(';').next();
        let media_type = media_type.unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "text/event-stream" => Some(Self::Sse(Line::Start)),
            "" | "application/json" => Some(Self::Json),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InArray {
    Between,
    Element,
    Closed,
}

/// What the line that is being read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Not yet known.
    Start,
    Data,
    EventName,
    Other,
    /// Bare JSON where a line should be: so ends a native stream that fails.
    Bare,
}

/// Reads an answer as it comes.
#[derive(Debug)]
pub struct EventReader {
    pub scanner: Scanner,
    /// The scanner's path of the `error` key.
    error_path: usize,
    framing: Framing,
    first: First,
    bytes_read: usize,
    event: Event,
    holding: bool,
    had_error: bool,
    /// The beginning of a line or an event's name, when it was cut.
    word: Vec<u8>,
}

/// The event being read.
#[derive(Debug, Default)]
struct Event {
    open: bool,
    /// Where it began, if in this chunk.
    start: Option<usize>,
    has_data: bool,
    is_error: bool,
}

impl EventReader {
    pub fn new(scanner: Scanner, error_path: usize, framing: Framing) -> Self {
        Self {
            scanner,
            error_path,
            framing,
            first: First::Undecided,
            bytes_read: 0,
            event: Event::default(),
            holding: false,
            had_error: false,
            word: Vec::new(),
        }
    }

    pub fn first(&self) -> First {
        self.first
    }

    /// Whether the answer is a single document, of which a cut leaves values worth having.
    pub fn is_document(&self) -> bool {
        self.framing == Framing::Document
    }

    /// Whether some event, or the document itself, was an error.
    pub fn had_error(&self) -> bool {
        self.had_error
    }

    /// Whether the body may end here: nothing is half said.
    pub fn ended_well(&self) -> bool {
        match self.framing {
            Framing::Json => true,
            Framing::Document => self.scanner.is_complete(),
            Framing::Array(state) => state == InArray::Closed,
            Framing::Sse(line) => line == Line::Start && self.word.is_empty() && !self.event.open,
        }
    }

    pub fn feed(&mut self, bytes: &[u8]) -> Seen {
        let mut seen = Seen {
            hold_from: self.holding.then_some(0),
            release_at: None,
        };
        self.event.start = None;
        let mut at = 0;
        while at < bytes.len() {
            at = match self.framing {
                Framing::Json => self.sniff(bytes, at),
                Framing::Document => self.document(bytes, at),
                Framing::Array(state) => self.array(state, bytes, at, &mut seen),
                Framing::Sse(line) => self.sse(line, bytes, at, &mut seen),
            };
        }
        self.bytes_read = self.bytes_read.saturating_add(bytes.len());
        if self.first == First::Undecided && self.bytes_read >= FIRST_LIMIT {
            self.first = First::Fine;
        }
        seen
    }

    fn sniff(&mut self, bytes: &[u8], at: usize) -> usize {
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => at + 1,
            b'[' => {
                self.framing = Framing::Array(InArray::Between);
                at + 1
            }
            _ => {
                self.framing = Framing::Document;
                at
            }
        }
    }

    /// An error document has no other key before `error`; an operation that failed has, and is a good answer.
    fn document(&mut self, bytes: &[u8], at: usize) -> usize {
        let ended = self.scanner.feed(&bytes[at..]).is_some();
        let opens_with_error = self.scanner.opens_with(self.error_path);
        if opens_with_error == Some(true) && self.scanner.has_begun(self.error_path) {
            self.had_error = true;
        }
        if self.first == First::Undecided {
            if self.had_error {
                self.first = First::Error;
            } else if ended || self.scanner.is_broken() || opens_with_error == Some(false) {
                self.first = First::Fine;
            }
        }
        bytes.len()
    }

    fn array(&mut self, state: InArray, bytes: &[u8], at: usize, seen: &mut Seen) -> usize {
        match state {
            InArray::Closed => bytes.len(),
            InArray::Between => match bytes[at] {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => at + 1,
                b']' => {
                    self.close_array();
                    bytes.len()
                }
                _ => {
                    self.event = Event {
                        open: true,
                        start: Some(at),
                        has_data: true,
                        is_error: false,
                    };
                    self.framing = Framing::Array(InArray::Element);
                    at
                }
            },
            InArray::Element => {
                let ended = self.scanner.feed(&bytes[at..]);
                self.notice_error(seen);
                if let Some(length) = ended {
                    self.framing = Framing::Array(InArray::Between);
                    self.end_event(at + length, seen);
                    return at + length;
                }
                if self.scanner.is_broken() {
                    self.close_array();
                }
                bytes.len()
            }
        }
    }

    fn close_array(&mut self) {
        self.framing = Framing::Array(InArray::Closed);
        if self.first == First::Undecided {
            self.first = First::Fine;
        }
    }

    fn sse(&mut self, line: Line, bytes: &[u8], at: usize, seen: &mut Seen) -> usize {
        match line {
            Line::Start => self.line_start(bytes, at, seen),
            Line::Bare => self.bare(bytes, at, seen),
            Line::Data | Line::EventName | Line::Other => {
                let newline = memchr(b'\n', &bytes[at..]).map(|length| at + length);
                let part = &bytes[at..newline.unwrap_or(bytes.len())];
                match line {
                    Line::Data => {
                        self.scanner.feed(part);
                        self.notice_error(seen);
                    }
                    Line::EventName if self.word.len() + part.len() <= NAME_LIMIT => {
                        self.word.extend_from_slice(part);
                    }
                    _ => {}
                }
                let Some(newline) = newline else {
                    return bytes.len();
                };
                if line == Line::EventName && self.word.trim_ascii() == b"error" {
                    self.is_error(seen);
                }
                self.word.clear();
                self.framing = Framing::Sse(Line::Start);
                newline + 1
            }
        }
    }

    fn line_start(&mut self, bytes: &[u8], at: usize, seen: &mut Seen) -> usize {
        const DATA: &[u8] = b"data:";
        const EVENT: &[u8] = b"event:";
        let byte = bytes[at];
        match (self.word.as_slice(), byte) {
            ([] | [b'\r'], b'\n') => {
                self.word.clear();
                self.end_event(at + 1, seen);
                return at + 1;
            }
            ([b'\r'], _) => {
                self.word.clear();
                return at;
            }
            ([], b'\r') => {
                self.word.push(byte);
                return at + 1;
            }
            ([], b'{' | b'[') => {
                // Whatever event was half said before is not coming any more.
                self.scanner.reset();
                self.event = Event {
                    open: true,
                    start: Some(at),
                    has_data: true,
                    is_error: false,
                };
                self.framing = Framing::Sse(Line::Bare);
                return at;
            }
            ([], _) if !self.event.open => {
                self.event.open = true;
                self.event.start = Some(at);
            }
            (_, b'\n') => {
                self.word.clear();
                return at + 1;
            }
            _ => {}
        }
        if self.word.is_empty() && bytes[at..].starts_with(DATA) {
            self.begin_data();
            return at + DATA.len();
        }
        self.word.push(byte);
        if self.word == DATA {
            self.begin_data();
        } else if self.word == EVENT {
            self.word.clear();
            self.framing = Framing::Sse(Line::EventName);
        } else if !DATA.starts_with(&self.word) && !EVENT.starts_with(&self.word) {
            self.word.clear();
            self.framing = Framing::Sse(Line::Other);
        }
        at + 1
    }

    fn begin_data(&mut self) {
        self.word.clear();
        if self.event.has_data {
            // The lines of one event are joined by newlines.
            self.scanner.feed(b"\n");
        }
        self.event.has_data = true;
        self.framing = Framing::Sse(Line::Data);
    }

    fn bare(&mut self, bytes: &[u8], at: usize, seen: &mut Seen) -> usize {
        let ended = self.scanner.feed(&bytes[at..]);
        self.notice_error(seen);
        if let Some(length) = ended {
            self.framing = Framing::Sse(Line::Other);
            self.end_event(at + length, seen);
            return at + length;
        }
        if self.scanner.is_broken() {
            self.framing = Framing::Sse(Line::Other);
            return at;
        }
        bytes.len()
    }

    fn notice_error(&mut self, seen: &mut Seen) {
        if !self.event.is_error && self.scanner.has_begun(self.error_path) {
            self.is_error(seen);
        }
    }

    fn is_error(&mut self, seen: &mut Seen) {
        self.event.is_error = true;
        if self.first == First::Undecided {
            self.first = First::Error;
        }
        if !self.holding {
            self.holding = true;
            // What of the event came in earlier chunks has gone.
            let start = self.event.start.unwrap_or(0);
            seen.hold_from = Some(seen.hold_from.unwrap_or(start));
            seen.release_at = None;
        }
    }

    fn end_event(&mut self, end: usize, seen: &mut Seen) {
        let event = std::mem::take(&mut self.event);
        self.had_error |= event.is_error;
        if self.first == First::Undecided && event.has_data {
            self.first = First::Fine;
        }
        if self.holding {
            self.holding = false;
            seen.release_at = Some(end);
        }
        self.scanner.reset();
    }
}
