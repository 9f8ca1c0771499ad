//! The Interactions surface: compact JSON, named events with LF framing.

use jiff::Timestamp;
use serde_json::json;

use super::Generation;
use crate::demo::fake_gemini::json;

pub fn unary(generation: &Generation, id: &str) -> String {
    let text = json::compact(&generation.texts.concat());
    format!(
        "{{\"id\":\"{id}\",\"status\":\"completed\",\"usage\":{},{},\"service_tier\":\"standard\",\"steps\":[{{\"signature\":\
         \"ZmFrZQ==\",\"type\":\"thought\"}},{{\"content\":[{{\"text\":{text},\"type\":\"text\"}}],\"type\":\
         \"model_output\"}}],\"object\":\"interaction\",\"model\":\"{}\"}}",
        usage(generation),
        times(generation),
        generation.model
    )
}

/// An interaction in the background that has no answer: not yet, or never.
pub fn unfinished(generation: &Generation, id: &str, status: &str) -> String {
    format!(
        "{{\"id\":\"{id}\",\"status\":\"{status}\",{},\"object\":\"interaction\",\"agent\":\"{}\"}}",
        times(generation),
        generation.model
    )
}

/// The events, in the recorded order. The text comes in as many `step.delta` as there are pieces.
pub fn sse(generation: &Generation, id: &str) -> Vec<String> {
    let model = &generation.model;
    let begun = format!(
        "{{\"interaction\":{{\"id\":\"{id}\",\"status\":\"in_progress\",\"object\":\"interaction\",\"model\":\"{model}\"}},\
         \"event_type\":\"interaction.created\"}}"
    );
    let status = format!(
        "{{\"interaction_id\":\"{id}\",\"status\":\"in_progress\",\"event_type\":\"interaction.status_update\"}}"
    );
    let completed = format!(
        "{{\"interaction\":{{\"id\":\"{id}\",\"status\":\"completed\",\"usage\":{},{},\"service_tier\":\"standard\",\
         \"object\":\"interaction\",\"model\":\"{model}\"}},\"event_type\":\"interaction.completed\"}}",
        usage(generation),
        times(generation)
    );
    let start = "{\"index\":0,\"step\":{\"type\":\"model_output\"},\"event_type\":\"step.start\"}";
    let stop = "{\"index\":0,\"event_type\":\"step.stop\"}";

    let mut events = vec![
        event("interaction.created", &begun),
        event("interaction.status_update", &status),
        event("step.start", start),
    ];
    events.extend(generation.texts.iter().map(|text| {
        let text = json::compact(text);
        let delta = format!(
            "{{\"index\":0,\"delta\":{{\"text\":{text},\"type\":\"text\"}},\"event_type\":\"step.delta\"}}"
        );
        event("step.delta", &delta)
    }));
    events.extend([
        event("step.stop", stop),
        event("interaction.completed", &completed),
        event("done", "[DONE]"),
    ]);
    events
}

/// The events with their ids, after which the stream can be taken up again (Google's client for Python).
pub fn resumable(generation: &Generation, id: &str) -> Vec<String> {
    let events = sse(generation, id).into_iter().enumerate();
    events
        .map(|(index, event)| {
            let with_id = format!("\ndata: {{\"event_id\":\"e{index}\",");
            event.replacen("\ndata: {", &with_id, 1)
        })
        .collect()
}

/// Like Google's, but for a look at logs it names its project.
pub fn id(project: &str, generation: &Generation) -> String {
    format!("v1_{project}_{}", generation.id())
}

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn usage(generation: &Generation) -> String {
    let output = generation.output_tokens(generation.texts.len());
    let input = generation.prompt_tokens;
    format!(
        "{{\"total_tokens\":{},\"total_input_tokens\":{input},\"input_tokens_by_modality\":{},\"total_cached_tokens\":0,\
         \"total_output_tokens\":{output},\"total_tool_use_tokens\":0,\"total_thought_tokens\":{}}}",
        input + output + generation.thought_tokens,
        json!([{"modality": "text", "tokens": input}]),
        generation.thought_tokens
    )
}

fn times(generation: &Generation) -> String {
    let now =
        Timestamp::from_second(generation.now_ms.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("\"created\":\"{now}\",\"updated\":\"{now}\"")
}
