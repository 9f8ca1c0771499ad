//! `KeyMask`: removes whole upstream keys from good answers, in which nothing else may be changed.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};

use crate::gemini::block_filter::{BLOCK_BYTES, Block, BlockFilter};

/// Shorter keys occur in texts by chance. A text of this length contains a whole block that begins at a multiple of
/// [`BLOCK_BYTES`].
const MIN_KEY_BYTES: usize = 16;
/// Bits of the filter per block of a key.
const BITS_PER_BLOCK: usize = 32;
/// What is written over a key, filled up with `*`: the length of the answer stays as announced.
const MASK: &[u8] = b"[redacted]";

/// The keys, found by looking at every eighth position of a text only.
#[derive(Debug, Default)]
pub struct KeyMask {
    /// Sorted.
    keys: Vec<Box<[u8]>>,
    /// The first bytes of keys.
    first_bytes: HashSet<u8>,
    longest: usize,
    filter: BlockFilter,
    /// Where each block occurs: the index of the key, and the position in it. Sorted.
    places: Vec<(Block, u32, u8)>,
}

impl KeyMask {
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        let mut keys: Vec<Box<[u8]>> = keys
            .into_iter()
            .filter(|key| key.len() >= MIN_KEY_BYTES)
            .map(|key| key.as_bytes().into())
            .collect();
        keys.sort();
        keys.dedup();
        let mut places = Vec::with_capacity(keys.len() * BLOCK_BYTES);
        for (index, key) in (0..).zip(&keys) {
            let blocks = key.array_windows::<BLOCK_BYTES>().take(BLOCK_BYTES);
            places.extend((0..).zip(blocks).map(|(at, block)| (*block, index, at)));
        }
        places.sort_unstable();
        let mut filter = BlockFilter::with_bits(places.len() * BITS_PER_BLOCK);
        for (block, ..) in &places {
            filter.insert(*block);
        }
        Self {
            first_bytes: keys.iter().map(|key| key[0]).collect(),
            longest: keys.iter().map(|key| key.len()).max().unwrap_or_default(),
            filter,
            places,
            keys,
        }
    }

    /// The text with each key written over; `None` when it contains none.
    pub fn mask(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut masked: Option<Vec<u8>> = None;
        for (number, block) in text.as_chunks::<BLOCK_BYTES>().0.iter().enumerate() {
            if !self.filter.may_contain(*block) {
                continue;
            }
            let first = self.places.partition_point(|(known, ..)| known < block);
            let places = self.places[first..]
                .iter()
                .take_while(|(known, ..)| known == block);
            for &(_, index, at) in places {
                let key = &self.keys[usize::try_from(index).unwrap_or_default()];
                let Some(start) = (number * BLOCK_BYTES).checked_sub(at.into()) else {
                    continue;
                };
                if text[start..].starts_with(key) {
                    let masked = masked.get_or_insert_with(|| text.to_vec());
                    let over = &mut masked[start..start + key.len()];
                    over.fill(b'*');
                    over[..MASK.len()].copy_from_slice(MASK);
                }
            }
        }
        masked
    }

    /// The length of the longest end of the text that begins a key.
    fn begun(&self, text: &[u8]) -> usize {
        let from = text.len().saturating_sub(self.longest.saturating_sub(1));
        let begins_key = |at: &usize| {
            let end = &text[*at..];
            self.first_bytes.contains(&end[0]) && {
                let next = self.keys.partition_point(|key| &**key < end);
                self.keys
                    .get(next)
                    .is_some_and(|key| key.len() > end.len() && key.starts_with(end))
            }
        };
        let first = (from..text.len()).find(begins_key);
        first.map_or(0, |at| text.len() - at)
    }
}

/// Masks the keys of an answer that arrives in chunks. Only an end that could begin a key is held back.
#[derive(Debug, Default)]
pub struct MaskedStream {
    held: Bytes,
}

impl MaskedStream {
    /// What of the answer may be sent after this chunk.
    pub fn push(&mut self, mask: &KeyMask, chunk: Bytes) -> Bytes {
        let joined = if self.held.is_empty() {
            chunk
        } else {
            let mut joined = BytesMut::from(&*std::mem::take(&mut self.held));
            joined.extend_from_slice(&chunk);
            joined.freeze()
        };
        let mut masked = mask.mask(&joined).map_or(joined, Bytes::from);
        self.held = masked.split_off(masked.len() - mask.begun(&masked));
        masked
    }

    /// The rest, when nothing follows.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }
}

/// Looks for keys in a text that arrives in pieces and is sent in another form, such as compressed.
#[derive(Debug, Default)]
pub struct KeySearch {
    /// The end of the text that could begin a key.
    begun: Vec<u8>,
    has_found: bool,
}

impl KeySearch {
    pub fn push(&mut self, mask: &KeyMask, piece: &[u8]) {
        self.begun.extend_from_slice(piece);
        self.has_found |= mask.mask(&self.begun).is_some();
        let rest = self.begun.len() - mask.begun(&self.begun);
        self.begun.drain(..rest);
    }

    /// Whether the text contains a key.
    pub fn has_found(&self) -> bool {
        self.has_found
    }

    /// Whether the text ends with what could begin a key.
    pub fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: [&str; 4] = [
        "AIzaSyTheFirstSecretOfThePool0000000001",
        "AIzaSyTheFirstSecretOfThePool0000000002",
        "AQ.Ab8RN6TheOtherKindOfKey",
        "short-key",
    ];

    fn through_stream(mask: &KeyMask, text: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut stream = MaskedStream::default();
        let mut sent = Vec::new();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([text.len()]) {
            let to = cut.clamp(from, text.len());
            sent.extend(stream.push(mask, Bytes::copy_from_slice(&text[from..to])));
            from = to;
        }
        sent.extend(stream.finish());
        sent
    }

    #[test]
    fn whole_keys_are_masked_at_every_position_and_nothing_else_is_changed() {
        let mask = KeyMask::new(KEYS);
        for before in 0..20 {
            for key in &KEYS[..3] {
                let text = format!("{}{key} and {key}\n", "x".repeat(before));
                let masked = String::from_utf8(mask.mask(text.as_bytes()).unwrap()).unwrap();
                assert_eq!(masked.len(), text.len());
                assert!(
                    !masked.contains(key) && masked.matches("[redacted]").count() == 2,
                    "{masked}"
                );
            }
        }
        for text in [
            "short-key projects/123456789012",
            "AIzaSyTheFirstSecretOfThePool000000000",
            "",
        ] {
            assert_eq!(mask.mask(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            KeyMask::new([]).mask(b"a text of more than sixteen bytes"),
            None
        );
    }

    #[test]
    fn only_an_end_that_could_begin_a_key_is_held_back() {
        let mask = KeyMask::new(KEYS);
        for (chunk, held) in [
            ("data: {\"a\":1}\n\n", 0),
            ("a short-k", 0),
            ("x AIzaSyTheFirst", 14),
            ("x AIzaSyTheFirst ", 0),
            ("AIzaSyAIzaSyThe", 9),
            ("A", 1),
        ] {
            let mut stream = MaskedStream::default();
            let sent = stream.push(&mask, Bytes::from_static(chunk.as_bytes()));
            assert_eq!(chunk.len() - sent.len(), held, "{chunk}");
            assert_eq!([sent, stream.finish()].concat(), chunk.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(parts in proptest::collection::vec((0..5_usize, "[A-Za-z .]{0,9}"), 0..8), cuts in proptest::collection::vec(0..300_usize, 0..9)) {
            let mask = KeyMask::new(KEYS);
            let part = |(key, text): &(usize, String)| format!("{}{text}", KEYS.get(*key).unwrap_or(&"AIza"));
            let text: String = parts.iter().map(part).collect();
            let whole = mask.mask(text.as_bytes()).unwrap_or_else(|| text.clone().into_bytes());
            for key in &KEYS[..3] {
                prop_assert!(!String::from_utf8_lossy(&whole).contains(key));
            }
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut search = KeySearch::default();
            let mut from = 0;
            for cut in cuts.iter().copied().chain([text.len()]) {
                let to = cut.clamp(from, text.len());
                search.push(&mask, &text.as_bytes()[from..to]);
                from = to;
            }
            prop_assert_eq!(search.has_found(), whole != text.as_bytes());
            prop_assert_eq!(through_stream(&mask, text.as_bytes(), &cuts), whole);
        }
    }
}
