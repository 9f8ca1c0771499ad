//! The values that a [`JsonScanner`](crate::gemini::response::json::JsonScanner) keeps of its paths.

/// Maximum length of a value.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;

/// Maximum size of all values of one path, if all are kept.
pub const MAX_KEPT_BYTES: usize = 1024 * 1024;

/// The value at one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScannedValue<'a> {
    Absent,
    /// Present, but longer than the maximum.
    TooLong,
    /// The raw bytes of the value.
    Raw(&'a [u8]),
}

/// One path's values: of the current document, and of earlier ones.
#[derive(Debug, Default)]
pub struct PathValues {
    /// Position in the current chunk of the first byte that is not yet copied.
    pub from: usize,
    pub raw: Vec<u8>,
    pub raw_too_long: bool,
    pub begun: bool,
    pub pending: KeptValues,
    pub kept: KeptValues,
    pub kept_in: u32,
}

#[derive(Debug, Default)]
pub struct KeptValues {
    /// Values in sequence; `ends` has the end of each.
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
    pub too_long: bool,
}

impl PathValues {
    /// Copies this chunk's part of the value, unless it is too long already.
    pub fn copy(&mut self, bytes: &[u8]) {
        let part = &bytes[self.from..];
        if self.raw_too_long || self.raw.len() + part.len() > MAX_VALUE_BYTES {
            self.raw_too_long = true;
            self.raw.clear();
        } else {
            self.raw.extend_from_slice(part);
        }
        self.from = bytes.len();
    }

    pub fn store_value(&mut self, keeps_all: bool) {
        if !keeps_all {
            self.pending.clear();
        }
        if self.raw_too_long || self.pending.bytes.len() + self.raw.len() > MAX_KEPT_BYTES {
            self.pending.too_long = true;
        } else {
            self.pending.bytes.extend_from_slice(&self.raw);
            self.pending.ends.push(self.pending.bytes.len());
        }
    }
}

impl KeptValues {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.too_long = false;
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts
            .zip(&self.ends)
            .map(|(&start, &end)| &self.bytes[start..end])
    }

    pub fn drain(&mut self, take: impl FnMut(&[u8])) -> bool {
        self.iter().for_each(take);
        let is_whole = !self.too_long;
        self.clear();
        is_whole
    }

    pub fn last(&self) -> ScannedValue<'_> {
        if self.too_long {
            return ScannedValue::TooLong;
        }
        self.iter()
            .last()
            .map_or(ScannedValue::Absent, ScannedValue::Raw)
    }

    /// Moves this document's values to the kept ones; `false` if there are none.
    pub fn promote(&mut self, kept: &mut Self, keeps_all: bool) -> bool {
        if self.ends.is_empty() && !self.too_long {
            return false;
        }
        if keeps_all && kept.bytes.len() + self.bytes.len() <= MAX_KEPT_BYTES {
            let shift = kept.bytes.len();
            kept.bytes.extend_from_slice(&self.bytes);
            kept.ends.extend(self.ends.iter().map(|end| end + shift));
            kept.too_long |= self.too_long;
        } else if keeps_all {
            kept.too_long = true;
        } else {
            std::mem::swap(self, kept);
        }
        self.clear();
        true
    }
}
