//! What a path names: the surface, the model and the operation.

/// Which of Google's three dialects a path speaks; errors, streams and usage differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// `/v1beta/models/…` and everything else that is not below.
    Native,
    /// `/v1beta/openai/…`.
    OpenAi,
    /// `/v1beta/interactions…`.
    Interactions,
}
