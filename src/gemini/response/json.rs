//! `JsonScanner`: finds the values at a few paths in streamed JSON of any length, with chunk boundaries anywhere.

use memchr::memchr;

use crate::gemini::response::json_values::{PathValues, ScannedValue};

/// Keys from the root down; arrays between them are ignored.
pub type JsonPath = &'static [&'static str];

/// The paths of a table of paths and their meanings.
pub const fn paths_of<const LENGTH: usize, Meaning: Copy>(
    table: &[(JsonPath, Meaning)],
) -> [JsonPath; LENGTH] {
    let mut paths: [JsonPath; LENGTH] = [&[]; LENGTH];
    let mut index = 0;
    while index < LENGTH {
        paths[index] = table[index].0;
        index += 1;
    }
    paths
}

/// Maximum length of a raw key that can match a path.
const MAX_KEY_BYTES: usize = 256;

/// Strings up to this length are read byte by byte.
const SHORT_STRING_BYTES: usize = 12;

/// Containers nested deeper than this are skipped.
const MAX_DEPTH: usize = 64;

/// A push parser that keeps only the last complete value of each path.
///
/// A `null` counts as absent. After invalid JSON nothing more is found until [`JsonScanner::reset`]. Memory is bounded
/// by the limits above, time by one pass, at any depth of nesting.
#[derive(Debug)]
pub struct JsonScanner {
    paths: &'static [JsonPath],
    /// The paths of which every value is kept, as bits.
    keeps_all: u64,
    slots: Vec<PathValues>,
    documents: u32,

    state: State,
    frames: Vec<Frame>,
    /// The match of the next value.
    next: PathMatch,
    /// The paths whose value is a string or scalar being read, or a container being skipped.
    ending: u64,
    capturing: u64,
    skip_depth: usize,
    escaped: bool,
    key: Vec<u8>,
    key_has_escape: bool,
    key_too_long: bool,
    first_key: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    Key,
    InKey,
    Colon,
    AfterValue,
    InString,
    Scalar,
    Skipping,
    SkippingString,
    Complete,
    Invalid,
}

#[derive(Debug, Clone, Copy)]
enum Container {
    Object,
    Array,
}

/// Paths as bits: those that the value completes, and those that continue inside it, with `level` keys matched.
#[derive(Debug, Clone, Copy, Default)]
struct PathMatch {
    complete: u64,
    inside: u64,
    level: usize,
}

#[derive(Debug)]
struct Frame {
    container: Container,
    matched: PathMatch,
}

impl JsonScanner {
    /// At most 64 paths, none of them empty.
    pub fn new(paths: &'static [JsonPath]) -> Self {
        assert!(paths.len() <= 64, "paths are bits of a u64");
        assert!(paths.iter().all(|path| !path.is_empty()));
        let mut scanner = Self {
            paths,
            keeps_all: 0,
            slots: paths.iter().map(|_| PathValues::default()).collect(),
            documents: 0,
            state: State::Value,
            frames: Vec::new(),
            next: PathMatch::default(),
            ending: 0,
            capturing: 0,
            skip_depth: 0,
            escaped: false,
            key: Vec::new(),
            key_has_escape: false,
            key_too_long: false,
            first_key: None,
        };
        scanner.reset();
        scanner
    }

    /// Keeps all values of these paths instead of the last one.
    #[must_use]
    pub fn keep_all_values(mut self, indices: &[usize]) -> Self {
        self.keeps_all = indices
            .iter()
            .fold(self.keeps_all, |mask, &index| mask | 1 << index);
        self
    }

    /// Prepares for another document; values of complete documents are kept, those of an incomplete one are discarded.
    pub fn reset(&mut self) {
        self.state = State::Value;
        self.frames.clear();
        self.next = PathMatch {
            complete: 0,
            inside: low_bits(self.paths.len()),
            level: 0,
        };
        self.ending = 0;
        self.capturing = 0;
        self.escaped = false;
        self.first_key = None;
        for slot in &mut self.slots {
            slot.begun = false;
            slot.pending.clear();
        }
    }

    /// Reads the next bytes; `Some(n)`: the document's root value ended after `n` of them, and the rest was not read.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        for index in set_bits(self.capturing) {
            self.slots[index].from = 0;
        }
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::Value => self.read_value(bytes, at),
                State::Key => self.before_key(bytes, at),
                State::InKey => self.read_key(bytes, at),
                State::Colon => self.read_colon(bytes, at),
                State::AfterValue => self.after_value(bytes, at),
                State::InString => self.read_string(bytes, at),
                State::Scalar => self.read_scalar(bytes, at),
                State::Skipping => self.skip_container(bytes, at),
                State::SkippingString => self.skip_string(bytes, at),
                State::Complete => return Some(at),
                State::Invalid => return None,
            };
        }
        if self.state == State::Complete {
            return Some(bytes.len());
        }
        for index in set_bits(self.capturing) {
            self.slots[index].copy(bytes);
        }
        None
    }

    /// The last value at path `index` in any complete document.
    pub fn value_at(&self, index: usize) -> ScannedValue<'_> {
        self.slots[index].kept.last()
    }

    /// The same for the current, incomplete document.
    pub fn pending_value_at(&self, index: usize) -> ScannedValue<'_> {
        self.slots[index].pending.last()
    }

    /// Passes the values of complete documents at path `index` on, oldest first, and removes them; `false`: some are
    /// lost.
    pub fn drain_complete(&mut self, index: usize, take: impl FnMut(&[u8])) -> bool {
        self.slots[index].kept.drain(take)
    }

    /// The same for the current document.
    pub fn drain_pending(&mut self, index: usize, take: impl FnMut(&[u8])) -> bool {
        self.slots[index].pending.drain(take)
    }

    /// The value of the latest document, of these paths.
    pub fn latest_value_of(&self, indices: &[usize]) -> ScannedValue<'_> {
        indices
            .iter()
            .map(|&index| &self.slots[index])
            .max_by_key(|slot| slot.kept_in)
            .map_or(ScannedValue::Absent, |slot| slot.kept.last())
    }

    /// Whether the value at path `index` has begun in the current document.
    pub fn has_value_started(&self, index: usize) -> bool {
        self.slots[index].begun
    }

    /// Whether the document's first key is path `index`; `None` before a key was read.
    pub fn first_key_is(&self, index: usize) -> Option<bool> {
        self.first_key.map(|matched| matched & (1 << index) != 0)
    }

    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Whether the input was invalid JSON, so that nothing more will be found.
    pub fn is_invalid(&self) -> bool {
        self.state == State::Invalid
    }

    fn read_value(&mut self, bytes: &[u8], at: usize) -> usize {
        let matched = self.next;
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => return after_whitespace(bytes, at + 1),
            b'"' => {
                self.start_value(matched.complete, at);
                self.ending = matched.complete;
                self.state = State::InString;
            }
            b'{' => {
                self.open_container(Container::Object, matched, at);
                return self.start_adjacent_key(bytes, at + 1);
            }
            b'[' => self.open_container(Container::Array, matched, at),
            b']' => self.close_container(Container::Array, bytes, at + 1),
            b'n' => {
                self.ending = 0;
                self.state = State::Scalar;
            }
            b'-' | b'0'..=b'9' | b't' | b'f' => {
                self.start_value(matched.complete, at);
                self.ending = matched.complete;
                self.state = State::Scalar;
            }
            _ => self.state = State::Invalid,
        }
        at + 1
    }

    fn open_container(&mut self, container: Container, matched: PathMatch, at: usize) {
        self.start_value(matched.complete, at);
        if matched.inside == 0 || self.frames.len() == MAX_DEPTH {
            self.ending = matched.complete;
            self.skip_depth = 1;
            self.state = State::Skipping;
            return;
        }
        self.frames.push(Frame { container, matched });
        self.enter_container(container, matched);
    }

    /// Sets the state for this container, at its start or after a comma.
    fn enter_container(&mut self, container: Container, matched: PathMatch) {
        match container {
            Container::Object => self.state = State::Key,
            Container::Array => {
                self.next = PathMatch {
                    complete: 0,
                    ..matched
                };
                self.state = State::Value;
            }
        }
    }

    fn close_container(&mut self, container: Container, bytes: &[u8], end: usize) {
        match (self.frames.pop(), container) {
            (
                Some(Frame {
                    container: Container::Object,
                    matched,
                }),
                Container::Object,
            )
            | (
                Some(Frame {
                    container: Container::Array,
                    matched,
                }),
                Container::Array,
            ) => {
                self.end_value(matched.complete, bytes, end);
            }
            _ => self.state = State::Invalid,
        }
    }

    fn before_key(&mut self, bytes: &[u8], at: usize) -> usize {
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => return after_whitespace(bytes, at + 1),
            b'"' => self.start_key(),
            b'}' => self.close_container(Container::Object, bytes, at + 1),
            _ => self.state = State::Invalid,
        }
        at + 1
    }

    /// A key usually follows immediately.
    fn start_adjacent_key(&mut self, bytes: &[u8], at: usize) -> usize {
        if self.state != State::Key || bytes.get(at) != Some(&b'"') {
            return at;
        }
        self.start_key();
        at + 1
    }

    fn start_key(&mut self) {
        self.key.clear();
        self.key_has_escape = false;
        self.key_too_long = false;
        self.state = State::InKey;
    }

    fn read_key(&mut self, bytes: &[u8], at: usize) -> usize {
        let end = self.end_of_string(bytes, at);
        let stop = end.map_or(bytes.len(), |end| end - 1);
        let part = &bytes[at..stop];
        self.key_has_escape |= part.contains(&b'\\');
        let whole_in_chunk = self.key.is_empty() && end.is_some();
        if !whole_in_chunk {
            if self.key.len() + part.len() > MAX_KEY_BYTES {
                self.key_too_long = true;
            } else {
                self.key.extend_from_slice(part);
            }
        }
        let Some(end) = end else {
            return bytes.len();
        };
        let matched = if self.key_too_long {
            self.match_key(b"")
        } else if whole_in_chunk {
            self.match_key(part)
        } else {
            self.match_key(&self.key)
        };
        if self.first_key.is_none() {
            self.first_key = Some(matched.complete);
        }
        self.next = matched;
        // The colon usually follows immediately.
        if bytes.get(end) == Some(&b':') {
            self.state = State::Value;
            return end + 1;
        }
        self.state = State::Colon;
        end
    }

    /// The paths of the innermost object that continue with this raw key.
    fn match_key(&self, key: &[u8]) -> PathMatch {
        let Some(Frame {
            matched: parent, ..
        }) = self.frames.last()
        else {
            return PathMatch::default();
        };
        let decoded = self.key_has_escape.then(|| decode_key(key));
        let key = decoded.as_ref().map_or(key, String::as_bytes);
        let mut matched = PathMatch {
            level: parent.level + 1,
            ..PathMatch::default()
        };
        for index in set_bits(parent.inside) {
            let path = self.paths[index];
            if path[parent.level].as_bytes() != key {
                continue;
            }
            if path.len() == matched.level {
                matched.complete |= 1 << index;
            } else {
                matched.inside |= 1 << index;
            }
        }
        matched
    }

    fn read_colon(&mut self, bytes: &[u8], at: usize) -> usize {
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => return after_whitespace(bytes, at + 1),
            b':' => self.state = State::Value,
            _ => self.state = State::Invalid,
        }
        at + 1
    }

    fn after_value(&mut self, bytes: &[u8], at: usize) -> usize {
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => return after_whitespace(bytes, at + 1),
            b',' => match self.frames.last() {
                Some(&Frame { container, matched }) => {
                    self.enter_container(container, matched);
                    return self.start_adjacent_key(bytes, at + 1);
                }
                None => self.state = State::Invalid,
            },
            b'}' => self.close_container(Container::Object, bytes, at + 1),
            b']' => self.close_container(Container::Array, bytes, at + 1),
            _ => self.state = State::Invalid,
        }
        at + 1
    }

    fn read_string(&mut self, bytes: &[u8], at: usize) -> usize {
        let Some(end) = self.end_of_string(bytes, at) else {
            return bytes.len();
        };
        self.end_value(self.ending, bytes, end);
        end
    }

    fn read_scalar(&mut self, bytes: &[u8], at: usize) -> usize {
        let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
        let Some(length) = bytes[at..].iter().position(is_end) else {
            return bytes.len();
        };
        self.end_value(self.ending, bytes, at + length);
        at + length
    }

    /// Skips a container without paths: distinguishes only brackets and strings.
    fn skip_container(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while at < bytes.len() {
            match bytes[at] {
                b'"' => {
                    let Some(end) = self.end_of_string(bytes, at + 1) else {
                        self.state = State::SkippingString;
                        return bytes.len();
                    };
                    at = end - 1;
                }
                b'{' | b'[' => self.skip_depth += 1,
                b'}' | b']' => {
                    self.skip_depth -= 1;
                    if self.skip_depth == 0 {
                        self.end_value(self.ending, bytes, at + 1);
                        return at + 1;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        at
    }

    fn skip_string(&mut self, bytes: &[u8], at: usize) -> usize {
        let Some(end) = self.end_of_string(bytes, at) else {
            return bytes.len();
        };
        self.state = State::Skipping;
        end
    }

    /// The end of the current string, including its quote; `None` if it is not in these bytes.
    ///
    /// Searches only for quotes and counts the backslashes before each: text is full of `\\n`.
    fn end_of_string(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let start = at + usize::from(self.escaped && at < bytes.len());
        self.escaped &= start == at;
        let mut from = start;
        while let Some(distance) = find_quote(&bytes[from..]) {
            let quote = from + distance;
            if !ends_in_escape(&bytes[start..quote]) {
                return Some(quote + 1);
            }
            from = quote + 1;
        }
        self.escaped |= ends_in_escape(&bytes[start..]);
        None
    }

    fn start_value(&mut self, complete: u64, at: usize) {
        self.capturing |= complete;
        for index in set_bits(complete) {
            let slot = &mut self.slots[index];
            slot.from = at;
            slot.begun = true;
            slot.raw.clear();
            slot.raw_too_long = false;
        }
    }

    fn end_value(&mut self, complete: u64, bytes: &[u8], end: usize) {
        self.capturing &= !complete;
        for index in set_bits(complete) {
            let keeps_all = self.keeps_all & (1 << index) != 0;
            self.slots[index].copy(&bytes[..end]);
            self.slots[index].store_value(keeps_all);
        }
        if !self.frames.is_empty() {
            self.state = State::AfterValue;
            return;
        }
        self.state = State::Complete;
        self.documents = self.documents.saturating_add(1);
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let keeps_all = self.keeps_all & (1 << index) != 0;
            if slot.pending.promote(&mut slot.kept, keeps_all) {
                slot.kept_in = self.documents;
            }
        }
    }
}

/// The text of a raw key that contains a backslash; empty if it is not a valid JSON string.
fn decode_key(raw: &[u8]) -> String {
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice(&quoted).unwrap_or_default()
}

fn low_bits(count: usize) -> u64 {
    1_u64
        .checked_shl(u32::try_from(count).unwrap_or(64))
        .map_or(u64::MAX, |bit| bit - 1)
}

fn after_whitespace(bytes: &[u8], at: usize) -> usize {
    let is_more = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let length = bytes[at..].iter().position(is_more);
    length.map_or(bytes.len(), |length| at + length)
}

/// Most strings are short, and for them a call of `memchr` costs more than a loop.
fn find_quote(bytes: &[u8]) -> Option<usize> {
    let head = &bytes[..bytes.len().min(SHORT_STRING_BYTES)];
    let matched = head.iter().position(|byte| *byte == b'"');
    matched.or_else(|| Some(SHORT_STRING_BYTES + memchr(b'"', bytes.get(SHORT_STRING_BYTES..)?)?))
}

/// Whether the last backslash of a text escapes the next character.
fn ends_in_escape(text: &[u8]) -> bool {
    let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\');
    backslashes.count() % 2 == 1
}

/// The indices of the set bits.
fn set_bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = mask.trailing_zeros();
        mask = mask.checked_sub(1)? & mask;
        Some(index as usize)
    })
}

#[cfg(test)]
mod tests;
