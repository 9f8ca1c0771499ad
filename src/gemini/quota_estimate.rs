//! Estimates the quota that a request will use, before it is sent.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::gemini::target::Target;
use crate::pool::quota::windows::QuotaAmount;

/// Bytes of a body per token, approximately.
const BYTES_PER_TOKEN: usize = 4;
/// A larger body contains files, whose size says nothing about tokens.
const MAX_TOKENS: usize = 16 * 1024;

/// The number of requests that Google will count, and the approximate number of input tokens. Zero for lookups and
/// token counts, which have quotas of their own.
///
/// Each text of a batch of embeddings counts as a request, according to 429 responses and Google's forum.
pub fn estimate_quota(target: &Target, body: &[u8]) -> QuotaAmount {
    let requests = match target.operation.as_deref() {
        Some("batchEmbedContents" | "asyncBatchEmbedContent") => count_contents(body),
        Some("embeddings") => count_texts(body),
        Some(operation) if !uses_model(operation) => return QuotaAmount::default(),
        Some(_) => 1,
        None if target.model.is_some() => 1,
        None => return QuotaAmount::default(),
    };
    let tokens = (body.len() / BYTES_PER_TOKEN).min(MAX_TOKENS);
    QuotaAmount {
        requests: requests.max(1),
        tokens: u64::try_from(tokens).unwrap_or(0),
    }
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

fn count_contents(body: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Batch {
        requests: Vec<IgnoredAny>,
    }
    let batch = serde_json::from_slice::<Batch>(body);
    batch.map_or(1, |batch| count(batch.requests.len()))
}

/// OpenAI's `input` is one text, several texts, the tokens of one text, or the tokens of several.
fn count_texts(body: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Embeddings {
        input: Input,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Input {
        Texts(Vec<String>),
        Tokens(Vec<Vec<IgnoredAny>>),
        One(IgnoredAny),
    }
    match serde_json::from_slice::<Embeddings>(body) {
        Ok(Embeddings {
            input: Input::Texts(texts),
        }) => count(texts.len()),
        Ok(Embeddings {
            input: Input::Tokens(texts),
        }) => count(texts.len()),
        Ok(Embeddings {
            input: Input::One(_),
        })
        | Err(_) => 1,
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

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
            let estimate = estimate_quota(&target, body.as_bytes());
            assert_eq!(estimate.requests, expected, "{method} {path} {body}");
        }
    }

    #[test]
    fn the_size_of_a_body_gives_the_approximate_number_of_tokens() {
        let path = "/v1beta/models/m:generateContent";
        let target = Target::read(&Method::POST, path, None, false).unwrap();

        assert_eq!(estimate_quota(&target, &[b' '; 4_000]).tokens, 1_000);
        assert_eq!(
            estimate_quota(&target, &vec![b' '; 4_000_000]).tokens,
            16 * 1024
        );
    }
}
