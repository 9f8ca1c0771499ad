//! `BlockFilter`: rules out, without a map lookup, that eight bytes of a text occur in a secret.

/// The length of a block.
pub const BLOCK_BYTES: usize = 8;

pub type Block = [u8; BLOCK_BYTES];

/// A set of blocks that may also answer yes for a block that it does not contain: one bit per hash.
#[derive(Debug, Default)]
pub struct BlockFilter {
    /// Their number is a power of two, or zero.
    words: Vec<u64>,
}

impl BlockFilter {
    /// A filter of at least this many bits, without blocks.
    pub fn with_bits(bits: usize) -> Self {
        Self {
            words: vec![0; bits.next_power_of_two().div_ceil(64)],
        }
    }

    pub fn insert(&mut self, block: Block) {
        let (word, bit) = self.position(block);
        self.words[word] |= bit;
    }

    pub fn may_contain(&self, block: Block) -> bool {
        let (word, bit) = self.position(block);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// The word and the bit of a block.
    fn position(&self, block: Block) -> (usize, u64) {
        // 2^64 divided by the golden ratio: after the multiplication the upper bits depend on all bytes.
        let hash = u64::from_le_bytes(block).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = usize::try_from(hash >> 32).unwrap_or_default();
        (
            word & self.words.len().saturating_sub(1),
            1 << (hash >> 26 & 63),
        )
    }
}
