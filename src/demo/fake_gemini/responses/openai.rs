//! The OpenAI-compatible layer: compact JSON with its keys in alphabetical order, LF framing, `[DONE]`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::Generation;
use crate::demo::fake_gemini::json;

pub fn unary(generation: &Generation) -> String {
    let text = generation.texts.concat();
    json::compact(&Completion {
        choices: [Choice {
            finish_reason: finish_reason(generation),
            index: 0,
            message: CompletionMessage {
                content: &text,
                role: "assistant",
            },
        }],
        created: generation.now_ms / 1000,
        id: generation.id(),
        model: &generation.model,
        object: "chat.completion",
        usage: usage(generation, generation.texts.len()),
    })
}

/// The events; with `include_usage` each has the usage so far, as recorded.
pub fn sse(generation: &Generation, include_usage: bool) -> Vec<String> {
    let last = generation.texts.len().saturating_sub(1);
    let chunks = generation.texts.iter().enumerate().map(|(index, text)| {
        let chunk = json::compact(&CompletionChunk {
            choices: [Piece {
                delta: CompletionMessage {
                    content: text,
                    role: "assistant",
                },
                finish_reason: (index == last).then(|| finish_reason(generation)),
                index: 0,
            }],
            created: generation.now_ms / 1000,
            id: generation.id(),
            model: &generation.model,
            object: "chat.completion.chunk",
            usage: include_usage.then(|| usage(generation, index + 1)),
        });
        format!("data: {chunk}\n\n")
    });
    chunks.chain(["data: [DONE]\n\n".to_owned()]).collect()
}

/// Reasons other than the usual one are named with the filter that stopped the reply.
fn finish_reason(generation: &Generation) -> &'static str {
    match generation.finish_reason {
        "MALFORMED_FUNCTION_CALL" => "function_call_filter: MALFORMED_FUNCTION_CALL",
        _ => "stop",
    }
}

/// One picture, of one pixel.
pub fn image(generation: &Generation) -> String {
    const PIXEL: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    format!(
        "{{\"created\":{},\"data\":[{{\"b64_json\":\"{}\"}}]}}",
        generation.now_ms / 1000,
        STANDARD.encode(PIXEL)
    )
}

/// The total has the thoughts too, which the completion has not: as recorded.
fn usage(generation: &Generation, pieces: usize) -> CompletionUsage {
    let completion_tokens = generation.output_tokens(pieces);
    CompletionUsage {
        completion_tokens,
        prompt_tokens: generation.prompt_tokens,
        total_tokens: generation.prompt_tokens + completion_tokens + generation.thought_tokens,
    }
}

#[derive(Serialize)]
struct Completion<'a> {
    choices: [Choice<'a>; 1],
    created: i64,
    id: String,
    model: &'a str,
    object: &'static str,
    usage: CompletionUsage,
}

#[derive(Serialize)]
struct Choice<'a> {
    finish_reason: &'static str,
    index: u8,
    message: CompletionMessage<'a>,
}

#[derive(Serialize)]
struct CompletionMessage<'a> {
    content: &'a str,
    role: &'static str,
}

#[derive(Serialize)]
struct CompletionChunk<'a> {
    choices: [Piece<'a>; 1],
    created: i64,
    id: String,
    model: &'a str,
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<CompletionUsage>,
}

#[derive(Serialize)]
struct Piece<'a> {
    delta: CompletionMessage<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'static str>,
    index: u8,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "these are the names in the JSON")]
struct CompletionUsage {
    completion_tokens: u64,
    prompt_tokens: u64,
    total_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_framed_like_a_recorded_one() {
        let generation = Generation {
            model: "gemini-2.0-flash".to_owned(),
            prompt_tokens: 3,
            cached_tokens: 0,
            thought_tokens: 0,
            texts: vec!["Hello".to_owned(), " there!".to_owned()],
            finish_reason: "STOP",
            serial: 0,
            now_ms: 1_740_894_641_000,
        };

        // jackmpcollins/magentic (MIT), a recorded stream; the recording of 2025 had no id yet.
        let expected = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\",\"role\":\"assistant\"},\"index\":0}],\
            \"created\":1740894641,\"id\":\"fake0000000000000000\",\"model\":\"gemini-2.0-flash\",\
            \"object\":\"chat.completion.chunk\",\"usage\":{\"completion_tokens\":2,\"prompt_tokens\":3,\"total_tokens\":5}}\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\" there!\",\"role\":\"assistant\"},\"finish_reason\":\"stop\",\"index\":0}],\
            \"created\":1740894641,\"id\":\"fake0000000000000000\",\"model\":\"gemini-2.0-flash\",\
            \"object\":\"chat.completion.chunk\",\"usage\":{\"completion_tokens\":3,\"prompt_tokens\":3,\"total_tokens\":6}}\n\n\
            data: [DONE]\n\n";

        assert_eq!(sse(&generation, true).concat(), expected);
        assert!(!sse(&generation, false).concat().contains("usage"));
    }
}
