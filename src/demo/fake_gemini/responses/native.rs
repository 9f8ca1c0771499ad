//! The native surface: `generateContent`, its streams, `countTokens`.

use serde::{Serialize, Serializer};

use super::Generation;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::response_shape::token_count;

/// The unary answer.
pub fn unary(generation: &Generation, enum_ints: bool) -> String {
    let text = generation.texts.concat();
    json::pretty(&chunk(
        generation,
        enum_ints,
        &text,
        generation.output_tokens(generation.texts.len()),
        true,
    ))
}

/// The unary answer as a part of something greater.
pub fn part<'a>(generation: &'a Generation, text: &'a str) -> impl Serialize + 'a {
    chunk(
        generation,
        false,
        text,
        generation.output_tokens(generation.texts.len()),
        true,
    )
}

/// The events of `alt=sse`.
pub fn sse(generation: &Generation, enum_ints: bool) -> Vec<String> {
    stream(generation, enum_ints)
        .map(|chunk| format!("data: {}\r\n\r\n", json::one_line(&chunk)))
        .collect()
}

/// The pieces of a JSON array: the stream without `alt`.
pub fn json_array(generation: &Generation, enum_ints: bool) -> Vec<String> {
    let mut pieces: Vec<_> = stream(generation, enum_ints)
        .enumerate()
        .map(|(index, chunk)| {
            let before = if index == 0 { "[" } else { "\n,\r\n" };
            format!("{before}{}", json::pretty(&chunk).trim_end())
        })
        .collect();
    if let Some(last) = pieces.last_mut() {
        last.push_str("\n]");
    }
    pieces
}

pub fn count_tokens(tokens: u64, enum_ints: bool) -> String {
    json::pretty(&CountTokens {
        total_tokens: tokens,
        prompt_tokens_details: [Details {
            modality: Enum::text(enum_ints),
            token_count: tokens,
        }],
    })
}

fn stream(generation: &Generation, enum_ints: bool) -> impl Iterator<Item = StreamChunk<'_>> {
    let last = generation.texts.len().saturating_sub(1);
    generation
        .texts
        .iter()
        .enumerate()
        .map(move |(index, text)| {
            chunk(
                generation,
                enum_ints,
                text,
                generation.output_tokens(index + 1),
                index == last,
            )
        })
}

fn chunk<'a>(
    generation: &'a Generation,
    enum_ints: bool,
    text: &'a str,
    output_tokens: u64,
    is_last: bool,
) -> StreamChunk<'a> {
    // Recordings of models that do not think show one token more and no candidates before the last chunk.
    let is_early_estimate = !is_last && generation.thought_tokens == 0;
    let prompt_tokens = generation.prompt_tokens + u64::from(is_early_estimate);
    let output_tokens = (!is_early_estimate).then_some(output_tokens);
    let cached_tokens = (generation.cached_tokens > 0).then_some(generation.cached_tokens);
    StreamChunk {
        candidates: [Candidate {
            content: Content {
                parts: [ContentPart { text }],
                role: "model",
            },
            finish_reason: is_last.then(|| finish_reason(generation, enum_ints)),
            index: 0,
        }],
        usage_metadata: UsageMetadata {
            prompt_token_count: prompt_tokens,
            candidates_token_count: output_tokens,
            total_token_count: prompt_tokens
                + output_tokens.unwrap_or(0)
                + generation.thought_tokens,
            cached_content_token_count: cached_tokens,
            prompt_tokens_details: [Details {
                modality: Enum::text(enum_ints),
                token_count: prompt_tokens,
            }],
            cache_tokens_details: cached_tokens.map(|token_count| {
                [Details {
                    modality: Enum::text(enum_ints),
                    token_count,
                }]
            }),
            thoughts_token_count: (generation.thought_tokens > 0)
                .then_some(generation.thought_tokens),
            service_tier: "standard",
        },
        model_version: &generation.model,
        response_id: generation.id(),
    }
}

impl Generation {
    /// The tokens of the first so many pieces.
    pub fn output_tokens(&self, pieces: usize) -> u64 {
        token_count(self.texts.iter().take(pieces).map(String::len).sum())
    }
}

fn finish_reason(generation: &Generation, as_number: bool) -> Enum {
    let number = match generation.finish_reason {
        "MALFORMED_FUNCTION_CALL" => 10,
        _ => 1,
    };
    Enum::new(generation.finish_reason, number, as_number)
}

/// An enum by name, or by number for old clients.
#[derive(Clone, Copy)]
enum Enum {
    Name(&'static str),
    Number(u8),
}

impl Enum {
    fn new(name: &'static str, number: u8, as_number: bool) -> Self {
        if as_number {
            Self::Number(number)
        } else {
            Self::Name(name)
        }
    }

    fn text(as_number: bool) -> Self {
        Self::new("TEXT", 1, as_number)
    }
}

impl Serialize for Enum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => serializer.serialize_str(name),
            Self::Number(number) => serializer.serialize_u8(*number),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamChunk<'a> {
    candidates: [Candidate<'a>; 1],
    usage_metadata: UsageMetadata,
    model_version: &'a str,
    response_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<Enum>,
    index: u8,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [ContentPart<'a>; 1],
    role: &'static str,
}

#[derive(Serialize)]
struct ContentPart<'a> {
    text: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageMetadata {
    prompt_token_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates_token_count: Option<u64>,
    total_token_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
    prompt_tokens_details: [Details; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_tokens_details: Option<[Details; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thoughts_token_count: Option<u64>,
    service_tier: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    modality: Enum,
    token_count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CountTokens {
    total_tokens: u64,
    prompt_tokens_details: [Details; 1],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(thought_tokens: u64, texts: &[&str]) -> Generation {
        Generation {
            model: "gemini-2.5-flash".to_owned(),
            prompt_tokens: 8,
            cached_tokens: 0,
            thought_tokens,
            texts: texts.iter().map(ToString::to_string).collect(),
            finish_reason: "STOP",
            serial: 0,
            now_ms: 0,
        }
    }

    #[test]
    fn an_event_is_framed_like_a_recorded_one() {
        // crmne/ruby_llm (MIT), a recorded stream of one event; its id and output tokens are the fake's here.
        let recorded = "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"1, 2, 3\"}],\"role\": \"model\"},\
            \"finishReason\": \"STOP\",\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 8,\
            \"candidatesTokenCount\": 2,\"totalTokenCount\": 30,\"promptTokensDetails\": [{\"modality\": \"TEXT\",\
            \"tokenCount\": 8}],\"thoughtsTokenCount\": 20,\"serviceTier\": \"standard\"},\
            \"modelVersion\": \"gemini-2.5-flash\",\"responseId\": \"fake0000000000000000\"}\r\n\r\n";

        assert_eq!(sse(&generation(20, &["1, 2, 3"]), false), [recorded]);
    }

    #[test]
    fn a_unary_answer_is_indented_like_a_recorded_one() {
        let recorded = "{\n  \"candidates\": [\n    {\n      \"content\": {\n        \"parts\": [\n          {\n            \
            \"text\": \"2 + 2 = **4**\"\n          }\n        ],\n        \"role\": \"model\"\n      },\n      \
            \"finishReason\": \"STOP\",\n      \"index\": 0\n    }\n  ],\n  \"usageMetadata\": {\n    \
            \"promptTokenCount\": 8,\n    \"candidatesTokenCount\": 4,\n    \"totalTokenCount\": 35,\n    \
            \"promptTokensDetails\": [\n      {\n        \"modality\": \"TEXT\",\n        \"tokenCount\": 8\n      }\n    ],\n    \
            \"thoughtsTokenCount\": 23,\n    \"serviceTier\": \"standard\"\n  },\n  \"modelVersion\": \
            \"gemini-2.5-flash\",\n  \"responseId\": \"fake0000000000000000\"\n}\n";

        assert_eq!(
            unary(&generation(23, &["2 + 2 = ", "**4**"]), false),
            recorded
        );
    }

    #[test]
    fn an_array_stream_has_the_recorded_commas_and_integers() {
        let pieces = json_array(&generation(0, &["C", "lementine", "."]), true);

        assert!(pieces[0].starts_with("[{\n  \"candidates\": [\n    {\n"));
        assert!(pieces[0].ends_with("\n}"));
        assert!(pieces[1].starts_with("\n,\r\n{\n"));
        assert!(pieces[2].ends_with("\n}\n]"));
        assert!(pieces[2].contains("\"finishReason\": 1"));
        assert!(pieces[0].contains("\"promptTokenCount\": 9"));
        assert!(pieces[2].contains("\"promptTokenCount\": 8"));
        let whole: serde_json::Value = serde_json::from_str(&pieces.concat()).unwrap();
        assert_eq!(whole.as_array().unwrap().len(), 3);
    }
}
