//! `Scanner`: finds the values at a few paths in JSON that passes by, however long it is and wherever it is cut.

use memchr::memchr;

/// Keys from the root down; arrays on the way do not count. Or [`ANYWHERE`] and one key, at whatever depth it stands.
pub type Path = &'static [&'static str];

/// Begins a path whose other key may stand anywhere, but not inside another value of the same path.
pub const ANYWHERE: &str = "**";

/// The paths of a table that says beside each what its value means.
pub const fn paths_of<const LENGTH: usize, Meaning: Copy>(
    table: &[(Path, Meaning)],
) -> [Path; LENGTH] {
    let mut paths: [Path; LENGTH] = [&[]; LENGTH];
    let mut index = 0;
    while index < LENGTH {
        paths[index] = table[index].0;
        index += 1;
    }
    paths
}

/// A value longer than this is not kept.
const VALUE_LIMIT: usize = 16 * 1024;

/// All values of one path together, where every one is wanted.
const EVERY_LIMIT: usize = 1024 * 1024;

/// A raw key longer than this matches no path.
const KEY_LIMIT: usize = 256;

/// The key of a path that begins with [`ANYWHERE`] is shorter than this.
const ANYWHERE_KEY_LIMIT: usize = 32;

/// Strings up to this length are read byte by byte.
const SHORT: usize = 12;

/// Containers nested deeper than this are passed over, whatever they hold.
const FRAME_LIMIT: usize = 64;

/// What is known of the value at one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    Nothing,
    /// It was there, but longer than is kept.
    TooLong,
    /// The bytes of the value as they stood.
    Raw(&'a [u8]),
}

/// A push parser that keeps the last complete value of each path, and nothing else.
///
/// A `null` counts as absent. What is no JSON finds nothing more until [`Scanner::reset`]. Memory is bounded by the limits
/// above, time is one pass, and no depth of nesting does harm.
#[derive(Debug)]
pub struct Scanner {
    paths: &'static [Path],
    /// The paths of which every value is kept, as bits.
    every: u64,
    /// The paths that begin with [`ANYWHERE`], as bits, and those of them whose key has so many bytes.
    anywhere: u64,
    anywhere_by_length: [u64; ANYWHERE_KEY_LIMIT],
    /// Keys in whose values no such path is looked for.
    opaque: &'static [&'static str],
    /// The lengths that these keys have, as bits: most keys have another.
    opaque_lengths: u64,
    slots: Vec<Slot>,
    documents: u32,

    state: State,
    frames: Vec<Frame>,
    /// What the value that comes next is to the paths.
    next: Match,
    /// The paths whose value is a string or a scalar being read, or a container being passed over.
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
    Text,
    Scalar,
    Skip,
    SkipText,
    Complete,
    Broken,
}

#[derive(Debug, Clone, Copy)]
enum Container {
    Object,
    Array,
}

/// Paths as bits: those that a value completes, and those that go on inside it, `level` keys matched.
#[derive(Debug, Clone, Copy, Default)]
struct Match {
    complete: u64,
    inside: u64,
    level: usize,
}

#[derive(Debug)]
struct Frame {
    container: Container,
    found: Match,
}

/// One path's values: of the document being read, and of those read before.
#[derive(Debug, Default)]
struct Slot {
    /// Where in the current chunk the bytes begin that are not yet copied.
    from: usize,
    raw: Vec<u8>,
    raw_too_long: bool,
    begun: bool,
    pending: Kept,
    kept: Kept,
    kept_in: u32,
}

#[derive(Debug, Default)]
struct Kept {
    /// Values one after the other; `ends` says where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    too_long: bool,
}

impl Scanner {
    /// At most 64 paths, none of them empty.
    pub fn new(paths: &'static [Path]) -> Self {
        assert!(paths.len() <= 64, "paths are bits of a u64");
        assert!(paths.iter().all(|path| !path.is_empty()));
        let mut anywhere_by_length = [0; ANYWHERE_KEY_LIMIT];
        for (index, path) in paths.iter().enumerate() {
            if path[0] == ANYWHERE {
                assert!(path.len() == 2, "one key may stand anywhere");
                anywhere_by_length[path[1].len()] |= 1 << index;
            }
        }
        let mut scanner = Self {
            paths,
            every: 0,
            anywhere: anywhere_by_length.iter().fold(0, |mask, bits| mask | bits),
            anywhere_by_length,
            opaque: &[],
            opaque_lengths: 0,
            slots: paths.iter().map(|_| Slot::default()).collect(),
            documents: 0,
            state: State::Value,
            frames: Vec::new(),
            next: Match::default(),
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

    /// Keeps all values of these paths, not only the last.
    #[must_use]
    pub fn keeping_every(mut self, indices: &[usize]) -> Self {
        self.every = indices
            .iter()
            .fold(self.every, |mask, &index| mask | 1 << index);
        self
    }

    /// Looks for no path that begins with [`ANYWHERE`] in the values of these keys.
    #[must_use]
    pub fn passing_over(mut self, keys: &'static [&'static str]) -> Self {
        self.opaque = keys;
        self.opaque_lengths = keys
            .iter()
            .fold(0, |lengths, key| lengths | length_bit(key.len()));
        self
    }

    /// Gets ready for another document; what complete documents held stays, what a half one held goes.
    pub fn reset(&mut self) {
        self.state = State::Value;
        self.frames.clear();
        self.next = Match {
            complete: 0,
            inside: bits(self.paths.len()),
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

    /// Reads on; `Some(n)`: the document's root value ended after `n` of these bytes, and the rest was not read.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        for index in ones(self.capturing) {
            self.slots[index].from = 0;
        }
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::Value => self.value(bytes, at),
                State::Key => self.before_key(bytes, at),
                State::InKey => self.in_key(bytes, at),
                State::Colon => self.colon(bytes, at),
                State::AfterValue => self.after_value(bytes, at),
                State::Text => self.text(bytes, at),
                State::Scalar => self.scalar(bytes, at),
                State::Skip => self.skip(bytes, at),
                State::SkipText => self.skip_text(bytes, at),
                State::Complete => return Some(at),
                State::Broken => return None,
            };
        }
        if self.state == State::Complete {
            return Some(bytes.len());
        }
        for index in ones(self.capturing) {
            self.slots[index].copy(bytes);
        }
        None
    }

    /// The last value at path `index` in any complete document; of several kept, the last.
    pub fn value_at(&self, index: usize) -> Found<'_> {
        self.slots[index].kept.last()
    }

    /// The same for the document being read, before it is complete.
    pub fn pending_at(&self, index: usize) -> Found<'_> {
        self.slots[index].pending.last()
    }

    /// All values kept at path `index`, of complete documents or else of the one being read.
    pub fn values_at(&self, index: usize) -> impl Iterator<Item = &[u8]> {
        let slot = &self.slots[index];
        let kept = if slot.kept.ends.is_empty() {
            &slot.pending
        } else {
            &slot.kept
        };
        kept.iter()
    }

    /// Whether some value at path `index` was too long, or all of them together.
    pub fn lost_some_at(&self, index: usize) -> bool {
        self.slots[index].kept.too_long || self.slots[index].pending.too_long
    }

    /// Hands over what complete documents had at path `index`, oldest first, and forgets it; `false`: some was lost.
    pub fn drain_kept(&mut self, index: usize, take: impl FnMut(&[u8])) -> bool {
        self.slots[index].kept.drain(take)
    }

    /// The same for the document being read.
    pub fn drain_pending(&mut self, index: usize, take: impl FnMut(&[u8])) -> bool {
        self.slots[index].pending.drain(take)
    }

    /// Of these paths, the value that the latest document had.
    pub fn latest_of(&self, indices: &[usize]) -> Found<'_> {
        indices
            .iter()
            .map(|&index| &self.slots[index])
            .max_by_key(|slot| slot.kept_in)
            .map_or(Found::Nothing, |slot| slot.kept.last())
    }

    /// Whether the value at path `index` has begun in the document being read.
    pub fn has_begun(&self, index: usize) -> bool {
        self.slots[index].begun
    }

    /// Whether the document's first key is path `index`; `None` before a key was read.
    pub fn opens_with(&self, index: usize) -> Option<bool> {
        self.first_key.map(|matched| matched & (1 << index) != 0)
    }

    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Whether what came is no JSON, so that nothing more will be found.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    fn value(&mut self, bytes: &[u8], at: usize) -> usize {
        let found = self.next;
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => return after_whitespace(bytes, at + 1),
            b'"' => {
                self.begin(found.complete, at);
                self.ending = found.complete;
                self.state = State::Text;
            }
            b'{' => {
                self.open(Container::Object, found, at);
                return self.key_at_once(bytes, at + 1);
            }
            b'[' => self.open(Container::Array, found, at),
            b']' => self.close(Container::Array, bytes, at + 1),
            b'n' => {
                self.ending = 0;
                self.state = State::Scalar;
            }
            b'-' | b'0'..=b'9' | b't' | b'f' => {
                self.begin(found.complete, at);
                self.ending = found.complete;
                self.state = State::Scalar;
            }
            _ => self.state = State::Broken,
        }
        at + 1
    }

    fn open(&mut self, container: Container, found: Match, at: usize) {
        self.begin(found.complete, at);
        if found.inside == 0 || self.frames.len() == FRAME_LIMIT {
            self.ending = found.complete;
            self.skip_depth = 1;
            self.state = State::Skip;
            return;
        }
        self.frames.push(Frame { container, found });
        self.enter(container, found);
    }

    /// What comes next in this container, at its start or after a comma.
    fn enter(&mut self, container: Container, found: Match) {
        match container {
            Container::Object => self.state = State::Key,
            Container::Array => {
                self.next = Match {
                    complete: 0,
                    ..found
                };
                self.state = State::Value;
            }
        }
    }

    fn close(&mut self, container: Container, bytes: &[u8], end: usize) {
        match (self.frames.pop(), container) {
            (
                Some(Frame {
                    container: Container::Object,
                    found,
                }),
                Container::Object,
            )
            | (
                Some(Frame {
                    container: Container::Array,
                    found,
                }),
                Container::Array,
            ) => {
                self.value_ended(found.complete, bytes, end);
            }
            _ => self.state = State::Broken,
        }
    }

    fn before_key(&mut self, bytes: &[u8], at: usize) -> usize {
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => return after_whitespace(bytes, at + 1),
            b'"' => self.begin_key(),
            b'}' => self.close(Container::Object, bytes, at + 1),
            _ => self.state = State::Broken,
        }
        at + 1
    }

    /// Mostly a key follows at once where one may.
    fn key_at_once(&mut self, bytes: &[u8], at: usize) -> usize {
        if self.state != State::Key || bytes.get(at) != Some(&b'"') {
            return at;
        }
        self.begin_key();
        at + 1
    }

    fn begin_key(&mut self) {
        self.key.clear();
        self.key_has_escape = false;
        self.key_too_long = false;
        self.state = State::InKey;
    }

    fn in_key(&mut self, bytes: &[u8], at: usize) -> usize {
        let end = self.end_of_text(bytes, at);
        let stop = end.map_or(bytes.len(), |end| end - 1);
        let part = &bytes[at..stop];
        self.key_has_escape |= part.contains(&b'\\');
        let whole_in_chunk = self.key.is_empty() && end.is_some();
        if !whole_in_chunk {
            if self.key.len() + part.len() > KEY_LIMIT {
                self.key_too_long = true;
            } else {
                self.key.extend_from_slice(part);
            }
        }
        let Some(end) = end else {
            return bytes.len();
        };
        let found = if self.key_too_long {
            self.match_key(b"")
        } else if whole_in_chunk {
            self.match_key(part)
        } else {
            self.match_key(&self.key)
        };
        if self.first_key.is_none() {
            self.first_key = Some(found.complete);
        }
        self.next = found;
        // Mostly the colon follows at once.
        if bytes.get(end) == Some(&b':') {
            self.state = State::Value;
            return end + 1;
        }
        self.state = State::Colon;
        end
    }

    /// Which paths of the innermost object go on with this raw key.
    fn match_key(&self, key: &[u8]) -> Match {
        let Some(Frame { found: parent, .. }) = self.frames.last() else {
            return Match::default();
        };
        let decoded = self.key_has_escape.then(|| decode_key(key));
        let key = decoded.as_ref().map_or(key, String::as_bytes);
        let mut found = Match {
            level: parent.level + 1,
            ..Match::default()
        };
        for index in ones(parent.inside & !self.anywhere) {
            let path = self.paths[index];
            if path[parent.level].as_bytes() != key {
                continue;
            }
            if path.len() == found.level {
                found.complete |= 1 << index;
            } else {
                found.inside |= 1 << index;
            }
        }
        self.match_anywhere(parent.inside & self.anywhere, key, &mut found);
        found
    }

    fn match_anywhere(&self, wanted: u64, key: &[u8], found: &mut Match) {
        if wanted == 0 {
            return;
        }
        let of_length = self.anywhere_by_length.get(key.len()).unwrap_or(&0);
        for index in ones(wanted & of_length) {
            if is_key(self.paths[index][1], key) {
                found.complete |= 1 << index;
            }
        }
        let is_opaque = self.opaque_lengths & length_bit(key.len()) != 0
            && self.opaque.iter().any(|opaque| is_key(opaque, key));
        if !is_opaque {
            found.inside |= wanted & !found.complete;
        }
    }

    fn colon(&mut self, bytes: &[u8], at: usize) -> usize {
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => return after_whitespace(bytes, at + 1),
            b':' => self.state = State::Value,
            _ => self.state = State::Broken,
        }
        at + 1
    }

    fn after_value(&mut self, bytes: &[u8], at: usize) -> usize {
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => return after_whitespace(bytes, at + 1),
            b',' => match self.frames.last() {
                Some(&Frame { container, found }) => {
                    self.enter(container, found);
                    return self.key_at_once(bytes, at + 1);
                }
                None => self.state = State::Broken,
            },
            b'}' => self.close(Container::Object, bytes, at + 1),
            b']' => self.close(Container::Array, bytes, at + 1),
            _ => self.state = State::Broken,
        }
        at + 1
    }

    fn text(&mut self, bytes: &[u8], at: usize) -> usize {
        let Some(end) = self.end_of_text(bytes, at) else {
            return bytes.len();
        };
        self.value_ended(self.ending, bytes, end);
        end
    }

    fn scalar(&mut self, bytes: &[u8], at: usize) -> usize {
        let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
        let Some(length) = bytes[at..].iter().position(is_end) else {
            return bytes.len();
        };
        self.value_ended(self.ending, bytes, at + length);
        at + length
    }

    /// Passes over a container that holds no path: only brackets and strings are told apart.
    fn skip(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while at < bytes.len() {
            match bytes[at] {
                b'"' => {
                    let Some(end) = self.end_of_text(bytes, at + 1) else {
                        self.state = State::SkipText;
                        return bytes.len();
                    };
                    at = end - 1;
                }
                b'{' | b'[' => self.skip_depth += 1,
                b'}' | b']' => {
                    self.skip_depth -= 1;
                    if self.skip_depth == 0 {
                        self.value_ended(self.ending, bytes, at + 1);
                        return at + 1;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        at
    }

    fn skip_text(&mut self, bytes: &[u8], at: usize) -> usize {
        let Some(end) = self.end_of_text(bytes, at) else {
            return bytes.len();
        };
        self.state = State::Skip;
        end
    }

    /// Where the string that is being read ends, its quote included; `None` when not in these bytes.
    ///
    /// Only quotes are looked for, and whether one is escaped tell the backslashes before it: text is full of `\\n`.
    fn end_of_text(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
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

    fn begin(&mut self, complete: u64, at: usize) {
        self.capturing |= complete;
        for index in ones(complete) {
            let slot = &mut self.slots[index];
            slot.from = at;
            slot.begun = true;
            slot.raw.clear();
            slot.raw_too_long = false;
        }
    }

    fn value_ended(&mut self, complete: u64, bytes: &[u8], end: usize) {
        self.capturing &= !complete;
        for index in ones(complete) {
            let every = self.every & (1 << index) != 0;
            self.slots[index].copy(&bytes[..end]);
            self.slots[index].settle(every);
        }
        if !self.frames.is_empty() {
            self.state = State::AfterValue;
            return;
        }
        self.state = State::Complete;
        self.documents = self.documents.saturating_add(1);
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let every = self.every & (1 << index) != 0;
            if slot.pending.promote(&mut slot.kept, every) {
                slot.kept_in = self.documents;
            }
        }
    }
}

impl Slot {
    /// Copies what this chunk adds to the value, unless it is too long already.
    fn copy(&mut self, bytes: &[u8]) {
        let part = &bytes[self.from..];
        if self.raw_too_long || self.raw.len() + part.len() > VALUE_LIMIT {
            self.raw_too_long = true;
            self.raw.clear();
        } else {
            self.raw.extend_from_slice(part);
        }
        self.from = bytes.len();
    }

    fn settle(&mut self, every: bool) {
        if !every {
            self.pending.clear();
        }
        if self.raw_too_long || self.pending.bytes.len() + self.raw.len() > EVERY_LIMIT {
            self.pending.too_long = true;
        } else {
            self.pending.bytes.extend_from_slice(&self.raw);
            self.pending.ends.push(self.pending.bytes.len());
        }
    }
}

impl Kept {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.too_long = false;
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts
            .zip(&self.ends)
            .map(|(&start, &end)| &self.bytes[start..end])
    }

    fn drain(&mut self, take: impl FnMut(&[u8])) -> bool {
        self.iter().for_each(take);
        let is_whole = !self.too_long;
        self.clear();
        is_whole
    }

    fn last(&self) -> Found<'_> {
        if self.too_long {
            return Found::TooLong;
        }
        self.iter().last().map_or(Found::Nothing, Found::Raw)
    }

    /// Makes this document's values those that are kept; `false` when it had none.
    fn promote(&mut self, kept: &mut Self, every: bool) -> bool {
        if self.ends.is_empty() && !self.too_long {
            return false;
        }
        if every && kept.bytes.len() + self.bytes.len() <= EVERY_LIMIT {
            let shift = kept.bytes.len();
            kept.bytes.extend_from_slice(&self.bytes);
            kept.ends.extend(self.ends.iter().map(|end| end + shift));
            kept.too_long |= self.too_long;
        } else if every {
            kept.too_long = true;
        } else {
            std::mem::swap(self, kept);
        }
        self.clear();
        true
    }
}

/// The text of a raw key that holds a backslash; empty when it is no JSON string.
fn decode_key(raw: &[u8]) -> String {
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice(&quoted).unwrap_or_default()
}

fn bits(count: usize) -> u64 {
    1_u64
        .checked_shl(u32::try_from(count).unwrap_or(64))
        .map_or(u64::MAX, |bit| bit - 1)
}

fn after_whitespace(bytes: &[u8], at: usize) -> usize {
    let is_more = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let length = bytes[at..].iter().position(is_more);
    length.map_or(bytes.len(), |length| at + length)
}

/// Most strings are short, and for these calling `memchr` costs more than looking.
fn find_quote(bytes: &[u8]) -> Option<usize> {
    let head = &bytes[..bytes.len().min(SHORT)];
    let found = head.iter().position(|byte| *byte == b'"');
    found.or_else(|| Some(SHORT + memchr(b'"', bytes.get(SHORT..)?)?))
}

/// Whether the last backslash of a text escapes what comes after it.
fn ends_in_escape(text: &[u8]) -> bool {
    let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\');
    backslashes.count() % 2 == 1
}

/// Whether two keys are the same; most differ in their first letter.
fn is_key(wanted: &str, key: &[u8]) -> bool {
    wanted.as_bytes().first() == key.first() && wanted.as_bytes() == key
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

/// The indices of the bits that are set.
fn ones(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = mask.trailing_zeros();
        mask = mask.checked_sub(1)? & mask;
        Some(index as usize)
    })
}

#[cfg(test)]
mod tests;
