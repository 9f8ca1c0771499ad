//! Estimates the quota that a request will use, before it is sent.

use crate::gemini::request_body::content::BodyContent;
use crate::gemini::request_body::media::text_tokens;
use crate::gemini::target::Target;
use crate::pool::quota::windows::QuotaAmount;

/// Limit of an estimate from the size of a body that cannot be read.
const MAX_UNREAD_TOKENS: u64 = 16 * 1024;

/// The number of requests that Google will count, and the approximate number of input tokens. Zero for lookups and
/// token counts, which have quotas of their own. `body_bytes` is `None` where `body` was read completely.
///
/// Each text of a batch of embeddings counts as a request, according to 429 responses and Google's forum.
pub fn estimate_quota(
    target: &Target,
    body: &BodyContent,
    unread_bytes: Option<usize>,
) -> QuotaAmount {
    let requests = match target.operation.as_deref() {
        Some("batchEmbedContents" | "asyncBatchEmbedContent" | "embeddings") => body.items,
        Some(operation) if !uses_model(operation) => return QuotaAmount::default(),
        Some(_) => 1,
        None if target.model.is_some() => 1,
        None => return QuotaAmount::default(),
    };
    let tokens = match unread_bytes {
        None => body.tokens(),
        Some(bytes) => text_tokens(count(bytes)).min(MAX_UNREAD_TOKENS),
    };
    QuotaAmount {
        requests: requests.max(1),
        tokens,
    }
}

/// Whether Google bills the tokens of a request with this quota: pictures and films are billed by the piece or the second,
/// and a live session reports its usage itself.
pub fn is_billed_in_tokens(target: &Target, amount: QuotaAmount) -> bool {
    let operation = target.operation.as_deref().unwrap_or_default();
    let is_by_piece =
        matches!(operation, "predict" | "predictLongRunning") || operation.starts_with("images.");
    let is_live = target.path_and_query.starts_with("/ws/");
    amount.requests > 0 && !is_by_piece && !is_live
}

fn uses_model(operation: &str) -> bool {
    let counts = ["countTokens", "countMessageTokens", "countTextTokens"];
    // `models.list`, `files.create` and so on: operations on a collection.
    let is_resource = operation.contains('.')
        && !matches!(operation, "chat.completions" | "interactions.create")
        && !operation.starts_with("images.")
        && !operation.starts_with("audio.");
    !counts.contains(&operation) && !is_resource
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::gemini::request_body::reader::read_message;

    #[test]
    fn the_estimate_counts_requests_as_google_does() {
        let embed = r#"{"requests":[{"content":{}},{"content":{}},{"content":{}}]}"#;
        let cases = [
            ("POST", "/v1beta/models/m:generateContent", "{}", 1),
            ("POST", "/v1beta/models/m:streamGenerateContent", "", 1),
            ("POST", "/v1beta/models/m:somethingNew", "{}", 1),
            ("POST", "/v1beta/models/m:embedContent", "{}", 1),
            ("POST", "/v1beta/models/m:batchEmbedContents", embed, 3),
            ("POST", "/v1beta/models/m:batchEmbedContents", "no json", 1),
            (
                "POST",
                "/v1beta/openai/embeddings",
                r#"{"input":["a","b"]}"#,
                2,
            ),
            ("POST", "/v1beta/openai/embeddings", r#"{"input":"a"}"#, 1),
            (
                "POST",
                "/v1beta/openai/embeddings",
                r#"{"input":[1,2,3]}"#,
                1,
            ),
            (
                "POST",
                "/v1beta/openai/embeddings",
                r#"{"input":[[1,2],[3]]}"#,
                2,
            ),
            ("POST", "/v1beta/openai/chat/completions", "{}", 1),
            ("POST", "/v1beta/openai/images/generations", "{}", 1),
            ("POST", "/v1beta/interactions", "{}", 1),
            ("GET", "/v1beta/interactions/i", "", 0),
            ("POST", "/v1beta/models/m:countTokens", "{}", 0),
            ("GET", "/v1beta/models", "", 0),
            ("GET", "/v1beta/models/m", "", 0),
            ("GET", "/v1beta/openai/models", "", 0),
            ("POST", "/v1beta/cachedContents", "{}", 0),
        ];
        for (method, path, body, expected) in cases {
            let method: Method = method.parse().unwrap();
            let target = Target::read(&method, path, None, false).unwrap();
            let (body, _) = read_message(body.as_bytes());
            let estimate = estimate_quota(&target, &body, None);
            assert_eq!(estimate.requests, expected, "{method} {path}");
        }
    }

    #[test]
    fn the_size_of_an_unread_body_gives_the_approximate_number_of_tokens() {
        let path = "/v1beta/models/m:generateContent";
        let target = Target::read(&Method::POST, path, None, false).unwrap();
        let tokens = |bytes| estimate_quota(&target, &BodyContent::default(), Some(bytes)).tokens;

        assert_eq!((tokens(4_000), tokens(4_000_000)), (1_000, 16 * 1024));
    }
}
