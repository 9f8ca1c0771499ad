//! `Usage`: the tokens Google counted for one request.

/// The tokens Google counted; `None` where it did not say.
///
/// `output` is what the client sees, without `thoughts`; `cached` is part of `prompt`; `tool` is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt: Option<u64>,
    pub output: Option<u64>,
    pub thoughts: Option<u64>,
    pub cached: Option<u64>,
    pub tool: Option<u64>,
    pub total: Option<u64>,
    /// The part of `prompt` that was audio, which has a price of its own.
    pub prompt_audio: u64,
    /// The part of `cached` that was audio.
    pub cached_audio: u64,
    /// The part of `prompt` that were images.
    pub prompt_image: u64,
    /// The part of `prompt` that was video.
    pub prompt_video: u64,
    /// The part of `output` that was audio.
    pub output_audio: u64,
    /// The part of `output` that were images.
    pub output_image: u64,
    /// The part of `output` that was video.
    pub output_video: u64,
}

impl Usage {
    /// All tokens: the total, or where Google gave none the sum of its parts.
    pub fn tokens(&self) -> u64 {
        let parts = [self.prompt, self.output, self.thoughts];
        let sum = parts.into_iter().flatten().fold(0, u64::saturating_add);
        self.total.unwrap_or(sum)
    }
}
