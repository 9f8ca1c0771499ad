//! Google's token counts, in the format of each surface → `TokenUsage`.

use serde_json_borrow::Value;

use crate::pool::quota::usage::TokenUsage;

/// `usageMetadata`: the output excludes thoughts, the prompt excludes tools.
pub fn of_native(metadata: &Value) -> TokenUsage {
    let count = |key| number(metadata.get(key));
    // Embeddings use `promptTokenDetails`, Live uses `responseTokenCount`: both seen in recordings.
    let prompt = first(metadata, ["promptTokensDetails", "promptTokenDetails"]);
    let output = first(
        metadata,
        ["candidatesTokensDetails", "responseTokensDetails"],
    );
    let usage = TokenUsage {
        prompt: count("promptTokenCount"),
        output: count("candidatesTokenCount").or_else(|| count("responseTokenCount")),
        thoughts: count("thoughtsTokenCount"),
        cached: count("cachedContentTokenCount"),
        tool: count("toolUsePromptTokenCount"),
        total: count("totalTokenCount"),
        ..TokenUsage::default()
    };
    with_modalities(usage, prompt, metadata.get("cacheTokensDetails"), output)
}

/// The total at the top level of a `countTokens` response.
pub fn of_count(total: Option<&Value>) -> TokenUsage {
    TokenUsage {
        total: total.and_then(number),
        ..TokenUsage::default()
    }
}

/// OpenAI's `usage` as Google fills it: only the total includes thoughts.
pub fn of_openai(usage: &Value) -> TokenUsage {
    let count = |key| number(usage.get(key));
    let (prompt, output) = (count("prompt_tokens"), count("completion_tokens"));
    let total = count("total_tokens");
    let named = prompt.unwrap_or(0).saturating_add(output.unwrap_or(0));
    let beyond = total.map_or(0, |total| total.saturating_sub(named));
    TokenUsage {
        prompt,
        output,
        thoughts: (beyond > 0 && prompt.is_some()).then_some(beyond),
        cached: number(usage.get("prompt_tokens_details").get("cached_tokens")),
        total,
        ..TokenUsage::default()
    }
}

/// `usage` of the Interactions API.
pub fn of_interaction(usage: &Value) -> TokenUsage {
    let count = |key| number(usage.get(key));
    let counted = TokenUsage {
        prompt: count("total_input_tokens"),
        output: count("total_output_tokens"),
        thoughts: count("total_thought_tokens"),
        cached: count("total_cached_tokens"),
        tool: count("total_tool_use_tokens"),
        total: count("total_tokens"),
        ..TokenUsage::default()
    };
    let (prompt, output) = (
        usage.get("input_tokens_by_modality"),
        usage.get("output_tokens_by_modality"),
    );
    with_modalities(
        counted,
        prompt,
        usage.get("cached_tokens_by_modality"),
        output,
    )
}

fn with_modalities(
    usage: TokenUsage,
    prompt: &Value,
    cached: &Value,
    output: &Value,
) -> TokenUsage {
    TokenUsage {
        prompt_audio: tokens_of(prompt, Modality::Audio),
        prompt_image: tokens_of(prompt, Modality::Image),
        prompt_video: tokens_of(prompt, Modality::Video),
        cached_audio: tokens_of(cached, Modality::Audio),
        output_audio: tokens_of(output, Modality::Audio),
        output_image: tokens_of(output, Modality::Image),
        output_video: tokens_of(output, Modality::Video),
        ..usage
    }
}

/// The kinds of token that may have a price of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modality {
    Image,
    Video,
    Audio,
}

fn tokens_of(details: &Value, modality: Modality) -> u64 {
    let details = details.iter_array().into_iter().flatten();
    let matching = details.filter(|detail| modality_of(detail.get("modality")) == Some(modality));
    matching
        .filter_map(|detail| number(first(detail, ["tokenCount", "tokens"])))
        .fold(0, u64::saturating_add)
}

/// A name, or a number for clients that send `enum-encoding=int`.
fn modality_of(name: &Value) -> Option<Modality> {
    match (name.as_str(), number(name)) {
        (_, Some(2)) => Some(Modality::Image),
        (_, Some(3)) => Some(Modality::Video),
        (_, Some(4)) => Some(Modality::Audio),
        (Some(word), _) if word.eq_ignore_ascii_case("image") => Some(Modality::Image),
        (Some(word), _) if word.eq_ignore_ascii_case("video") => Some(Modality::Video),
        (Some(word), _) if word.eq_ignore_ascii_case("audio") => Some(Modality::Audio),
        _ => None,
    }
}

fn first<'a>(object: &'a Value<'a>, keys: [&'a str; 2]) -> &'a Value<'a> {
    let mut values = keys.into_iter().map(|key| object.get(key));
    values
        .find(|value| !value.is_null())
        .unwrap_or(&Value::Null)
}

/// A count; larger ones than a database column can hold are capped.
fn number(value: &Value) -> Option<u64> {
    // A number that was not read from text may be signed.
    let signed = || u64::try_from(value.as_i64()?).ok();
    let count = value.as_u64().or_else(signed);
    let count = count.or_else(|| value.as_str()?.parse().ok());
    count.map(|count| count.min(i64::MAX as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_native(metadata: &serde_json::Value) -> TokenUsage {
        super::of_native(&metadata.into())
    }

    fn of_openai(usage: &serde_json::Value) -> TokenUsage {
        super::of_openai(&usage.into())
    }

    fn of_interaction(usage: &serde_json::Value) -> TokenUsage {
        super::of_interaction(&usage.into())
    }

    #[test]
    fn modalities_are_recognized_in_every_spelling() {
        let native = of_native(&json!({
            "promptTokenCount": 100, "cachedContentTokenCount": 10, "candidatesTokenCount": 30,
            "promptTokenDetails": [{"modality": "AUDIO", "tokenCount": 40}, {"modality": 2, "tokenCount": 8},
                {"modality": "TEXT", "tokenCount": 52}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 10}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 30}],
        }));
        assert_eq!(
            (
                native.prompt_audio,
                native.prompt_image,
                native.cached_audio
            ),
            (40, 8, 10)
        );
        assert_eq!(
            (native.output_image, native.prompt_video, native.total),
            (30, 0, None)
        );

        let interaction = of_interaction(&json!({
            "total_input_tokens": 9, "input_tokens_by_modality": [{"modality": "video", "tokens": 4}],
        }));
        assert_eq!((interaction.prompt, interaction.prompt_video), (Some(9), 4));
    }

    #[test]
    fn openai_thoughts_are_the_total_minus_the_other_counts() {
        let thinking =
            of_openai(&json!({"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109}));
        assert_eq!(
            (thinking.output, thinking.thoughts, thinking.total),
            (Some(12), Some(62), Some(109))
        );

        let plain = of_openai(
            &json!({"prompt_tokens": 3, "completion_tokens": 11, "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 2}}),
        );
        assert_eq!((plain.thoughts, plain.cached), (None, Some(2)));

        assert_eq!(of_openai(&json!({"total_tokens": 9})).thoughts, None);
        assert_eq!(of_native(&json!("nonsense")), TokenUsage::default());
        assert_eq!(of_native(&json!({"promptTokenCount": -1})).prompt, None);
    }
}
