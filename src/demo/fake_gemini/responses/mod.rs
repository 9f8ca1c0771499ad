//! Answers as each surface of Google gives them.

pub mod embeddings;
pub mod interactions;
pub mod native;
pub mod openai;

/// What every answer with a text is made of.
pub struct Generation {
    /// The model that answers, which an alias hides.
    pub model: String,
    pub prompt_tokens: u64,
    /// Those of the prompt that came from a cache.
    pub cached_tokens: u64,
    pub thought_tokens: u64,
    /// The text in the pieces of a stream, or as one.
    pub texts: Vec<String>,
    /// As in the native surface.
    pub finish_reason: &'static str,
    /// Distinguishes answers; not a secret of anybody.
    pub serial: u64,
    pub now_ms: i64,
}

impl Generation {
    /// Of the prompt and the answer, as the next prompt repeats them.
    pub fn total_tokens(&self) -> u64 {
        self.prompt_tokens + self.output_tokens(self.texts.len())
    }

    /// The id of the answer, in the form of Google's.
    pub fn id(&self) -> String {
        // An odd factor spreads neighbouring numbers over the whole range, and no two of them meet.
        format!(
            "fake{:016x}",
            self.serial.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        )
    }
}
