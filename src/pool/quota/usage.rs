//! `TokenUsage`: the tokens Google counted for one request.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// The tokens Google counted; `None` where it gave no number.
///
/// `output` is the client's visible output, without `thoughts`; `cached` is part of `prompt`; `tool` is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    pub prompt: Option<u64>,
    pub output: Option<u64>,
    pub thoughts: Option<u64>,
    pub cached: Option<u64>,
    pub tool: Option<u64>,
    pub total: Option<u64>,
    /// The audio part of `prompt`, which has its own price.
    pub prompt_audio: u64,
    /// The audio part of `cached`.
    pub cached_audio: u64,
    /// The image part of `prompt`.
    pub prompt_image: u64,
    /// The video part of `prompt`.
    pub prompt_video: u64,
    /// The audio part of `output`.
    pub output_audio: u64,
    /// The image part of `output`.
    pub output_image: u64,
    /// The video part of `output`.
    pub output_video: u64,
}

impl TokenUsage {
    /// All tokens: the total, or without one the sum of the parts.
    pub fn tokens(&self) -> u64 {
        let parts = [self.prompt, self.output, self.thoughts];
        let sum = parts.into_iter().flatten().fold(0, u64::saturating_add);
        self.total.unwrap_or(sum)
    }
}

impl AddAssign for TokenUsage {
    /// Adds both; a count that only one of them has is kept.
    fn add_assign(&mut self, other: Self) {
        let counts = [
            (&mut self.prompt, other.prompt),
            (&mut self.output, other.output),
            (&mut self.thoughts, other.thoughts),
            (&mut self.cached, other.cached),
            (&mut self.tool, other.tool),
            (&mut self.total, other.total),
        ];
        for (count, more) in counts {
            *count = match (*count, more) {
                (Some(count), Some(more)) => Some(count.saturating_add(more)),
                (count, more) => count.or(more),
            };
        }
        let parts = [
            (&mut self.prompt_audio, other.prompt_audio),
            (&mut self.cached_audio, other.cached_audio),
            (&mut self.prompt_image, other.prompt_image),
            (&mut self.prompt_video, other.prompt_video),
            (&mut self.output_audio, other.output_audio),
            (&mut self.output_image, other.output_image),
            (&mut self.output_video, other.output_video),
        ];
        for (part, more) in parts {
            *part = part.saturating_add(more);
        }
    }
}
