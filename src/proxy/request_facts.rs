//! `RequestFacts`: what `Record` stores of a request that was read, such as its model, size and estimated tokens.

use crate::gemini::resources::name::ResourceName;
use crate::proxy::streaming_body::BodyProgress;

/// What was read of a request.
#[derive(Debug)]
pub struct RequestFacts<'a> {
    pub model: Option<&'a str>,
    pub streams: bool,
    pub body_bytes: usize,
    /// `None`: the body was read completely.
    pub progress: Option<&'a BodyProgress>,
    pub quota_requests: u64,
    /// The estimated input tokens; `None` for operations that are not billed in tokens.
    pub estimated_tokens: Option<u64>,
    pub deletes: Option<ResourceName>,
}
