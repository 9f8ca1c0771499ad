//! Tests of reading a response beside the stream.

use std::io::Write;
use std::path::Path as FilePath;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderValue;
use http::header::CONTENT_ENCODING;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;

fn tap_of(surface: Surface, content_type: &str) -> ResponseTap {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
    ResponseTap::new(surface, &headers)
}

#[derive(Deserialize)]
struct Recording {
    id: String,
    request: Value,
    response: Response,
}

#[derive(Deserialize)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    body_encoding: String,
}

impl Recording {
    fn surface(&self) -> Surface {
        Surface::of_path(self.request["path_and_query"].as_str().unwrap())
    }

    fn headers(&self, encoding: &'static str) -> HeaderMap {
        let headers = self.response.headers.iter();
        let mut headers: HeaderMap = headers
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        headers
    }

    fn is_sse(&self) -> bool {
        let content_type = &self.headers("")[CONTENT_TYPE];
        content_type.as_bytes().starts_with(b"text/event-stream")
    }

    fn tap(&self) -> ResponseTap {
        ResponseTap::new(self.surface(), &self.headers(""))
    }

    fn read(&self, body: &[u8]) -> ResponseSummary {
        let mut tap = self.tap();
        tap.feed(body);
        tap.summary()
    }
}

/// All recorded responses with status 200 and a text body.
fn recordings() -> Vec<Recording> {
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut recordings: Vec<Recording> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .filter(|recording: &Recording| recording.response.body_encoding == "utf8")
        .filter(|recording| recording.response.status == 200)
        .collect();
    recordings.sort_by(|a, b| a.id.cmp(&b.id));
    recordings
}

fn recording(id: &str) -> Recording {
    recordings()
        .into_iter()
        .find(|recording| recording.id == id)
        .unwrap()
}

/// The complete documents of a body, from a parser of the whole body.
fn documents(body: &str, is_sse: bool) -> Vec<Value> {
    if is_sse {
        let data = body.lines().filter_map(|line| line.strip_prefix("data:"));
        return data
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect();
    }
    match serde_json::from_str(body) {
        Ok(Value::Array(elements)) => elements,
        Ok(document) => vec![document],
        Err(_) => vec![],
    }
}

fn last_number(documents: &[Value], pointers: &[&str], holder: &[&str]) -> Option<u64> {
    let has_held_error = |document: &&Value| holder.iter().any(|at| document.pointer(at).is_some());
    let last = documents.iter().rev().find(has_held_error)?;
    pointers
        .iter()
        .find_map(|pointer| last.pointer(pointer)?.as_u64())
}

#[test]
fn the_token_counts_of_every_recording_are_read() {
    let mut with_usage = 0;
    for recording in recordings() {
        let all = documents(&recording.response.body, recording.is_sse());
        let summary = recording.read(recording.response.body.as_bytes());

        let number = |native: &str, openai: &str, interactions: &str| match recording.surface() {
            Surface::Native => last_number(
                &all,
                &[&format!("/usageMetadata/{native}")],
                &["/usageMetadata"],
            ),
            Surface::OpenAi => last_number(&all, &[&format!("/usage/{openai}")], &["/usage"]),
            Surface::Interactions => last_number(
                &all,
                &[
                    &format!("/usage/{interactions}"),
                    &format!("/interaction/usage/{interactions}"),
                ],
                &["/usage", "/interaction/usage"],
            ),
        };
        let usage = summary.usage;
        if recording.id.starts_with("cache-") && recording.id != "cache-use" {
            assert_eq!(
                (usage, summary.is_charged),
                (TokenUsage::default(), false),
                "{}",
                recording.id
            );
            continue;
        }
        if recording.id == "count-tokens" {
            assert_eq!((usage.total, summary.is_charged), (Some(61), false));
            continue;
        }
        let expected = [
            number("promptTokenCount", "prompt_tokens", "total_input_tokens"),
            number(
                "candidatesTokenCount",
                "completion_tokens",
                "total_output_tokens",
            ),
            number("cachedContentTokenCount", "-", "total_cached_tokens"),
            number("toolUsePromptTokenCount", "-", "total_tool_use_tokens"),
            number("totalTokenCount", "total_tokens", "total_tokens"),
        ];
        let found = [
            usage.prompt,
            usage.output,
            usage.cached,
            usage.tool,
            usage.total,
        ];
        assert_eq!(found, expected, "{}", recording.id);
        if recording.surface() != Surface::OpenAi {
            let thoughts = number("thoughtsTokenCount", "-", "total_thought_tokens");
            assert_eq!(usage.thoughts, thoughts, "{}", recording.id);
        }
        assert_eq!(
            summary.is_charged,
            expected != [None; 5],
            "{}",
            recording.id
        );
        assert_eq!(summary.error, None, "{}", recording.id);
        with_usage += usize::from(summary.is_charged);
    }
    assert!(with_usage >= 25, "only {with_usage}");
}

#[test]
fn model_reason_and_tier_are_read_on_every_surface() {
    let cases = [
        (
            "sse-text",
            Some("gemini-2.5-flash"),
            Some("STOP"),
            Some("standard"),
        ),
        (
            "json-array-stream-tools",
            Some("gemini-2.5-flash"),
            Some("STOP"),
            Some("standard"),
        ),
        (
            "unary-max-tokens-empty",
            Some("gemini-2.5-pro"),
            Some("MAX_TOKENS"),
            Some("standard"),
        ),
        (
            "interactions-sse",
            Some("gemini-2.5-flash"),
            Some("completed"),
            Some("standard"),
        ),
        (
            "interactions-unary",
            Some("gemini-2.5-flash"),
            Some("completed"),
            Some("standard"),
        ),
        ("openai-sse", Some("gemini-2.0-flash"), Some("stop"), None),
        (
            "openai-unary-tools",
            Some("gemini-2.5-pro-preview-05-06"),
            Some("tool_calls"),
            None,
        ),
    ];

    for (id, model, reason, tier) in cases {
        let recording = recording(id);
        let summary = recording.read(recording.response.body.as_bytes());
        assert_eq!(summary.model_version.as_deref(), model, "{id}");
        assert_eq!(summary.finish_reason.as_deref(), reason, "{id}");
        assert_eq!(summary.service_tier.as_deref(), tier, "{id}");
    }
    let audio = recording("unary-audio-inline");
    assert!(
        audio
            .read(audio.response.body.as_bytes())
            .usage
            .prompt_audio
            > 0
    );
}

#[test]
fn every_recording_begins_without_error_and_can_end() {
    for recording in recordings() {
        let mut tap = recording.tap();
        assert!(tap.feed(recording.response.body.as_bytes()) == ErrorSpan::default());
        if !recording.response.body.is_empty() {
            assert_eq!(tap.first_event(), FirstEvent::NoError, "{}", recording.id);
        }
        assert!(tap.can_end_here(), "{}", recording.id);
    }
}

#[test]
fn a_blocked_prompt_has_a_reason() {
    let mut tap = tap_of(Surface::Native, "application/json");
    tap.feed(
        br#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3}}"#,
    );

    assert_eq!(tap.summary().finish_reason.as_deref(), Some("SAFETY"));
    assert_eq!(tap.summary().usage.prompt, Some(3));
}

#[test]
fn similar_fields_inside_the_response_are_not_counted() {
    let mut tap = tap_of(Surface::Native, "application/json");
    tap.feed(
        br#"{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"usageMetadata":{"promptTokenCount":9},
        "error":{"code":500}}}},{"text":"\"usageMetadata\":{\"promptTokenCount\":8}"}]}}],"usageMetadata":{"promptTokenCount":1}}"#,
    );

    assert_eq!(tap.summary().usage.prompt, Some(1));
    assert_eq!(
        (tap.summary().error, tap.first_event()),
        (None, FirstEvent::NoError)
    );
}

#[test]
fn a_truncated_stream_has_the_usage_of_its_last_complete_event() {
    for id in [
        "sse-usage-live",
        "interactions-sse",
        "openai-sse",
        "sse-tool-call",
    ] {
        let recording = recording(id);
        let body = recording.response.body.as_str();
        let mut tap = recording.tap();
        for cut in 0..body.len() {
            tap.feed(&body.as_bytes()[cut..=cut]);
            let whole = body.get(..=cut).map(|cut| documents(cut, true));
            let Some(whole) = whole else { continue };

            let usages = ["/usageMetadata", "/usage", "/interaction/usage"];
            let totals = usages.map(|usage| {
                ["totalTokenCount", "total_tokens"].map(|total| format!("{usage}/{total}"))
            });
            let totals: Vec<&str> = totals.iter().flatten().map(String::as_str).collect();
            let expected = last_number(&whole, &totals, &usages);
            assert_eq!(tap.summary().usage.total, expected, "{id} at {cut}");
        }
    }
}

#[test]
fn a_later_chunk_without_usage_keeps_the_earlier_usage() {
    let mut tap = tap_of(Surface::Native, "text/event-stream");
    tap.feed(b"data: {\"usageMetadata\":{\"promptTokenCount\":7}}\r\n\r\ndata: {\"candidates\":[]}\r\n\r\n");

    assert_eq!(tap.summary().usage.prompt, Some(7));
}

#[test]
fn an_event_of_several_lines_is_one_document() {
    let mut tap = tap_of(Surface::Native, "text/event-stream");
    tap.feed(
        b": hello\nid: 1\ndata: {\"usageMetadata\":\ndata:{\"promptTokenCount\":7}\ndata: }\n\n",
    );

    assert_eq!(tap.summary().usage.prompt, Some(7));
    assert!(tap.can_end_here());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn an_error_at_the_beginning_is_recognized() {
    let sse = "text/event-stream";
    let json = "application/json; charset=UTF-8";
    let cases = [
        (
            Surface::Native,
            sse,
            "data: {\"error\"",
            FirstEvent::Undecided,
        ),
        (
            Surface::Native,
            sse,
            "data: {\"error\": {",
            FirstEvent::Error,
        ),
        (
            Surface::Native,
            sse,
            "data: {\"candidates\": []}\r\n",
            FirstEvent::Undecided,
        ),
        (
            Surface::Native,
            sse,
            "data: {\"candidates\": []}\r\n\r\n",
            FirstEvent::NoError,
        ),
        (Surface::Native, sse, "{\n  \"error\": {", FirstEvent::Error),
        (Surface::Native, sse, ": comment\n\n", FirstEvent::Undecided),
        (
            Surface::Native,
            json,
            "{\n  \"error\": {",
            FirstEvent::Error,
        ),
        (
            Surface::Native,
            json,
            "[{\n  \"error\": {",
            FirstEvent::Error,
        ),
        (
            Surface::Native,
            json,
            "{\n  \"candidates\"",
            FirstEvent::NoError,
        ),
        (
            Surface::Native,
            json,
            "[{\"candidates\": []}",
            FirstEvent::NoError,
        ),
        (
            Surface::Native,
            json,
            "[{\"candidates\": [",
            FirstEvent::Undecided,
        ),
        (
            Surface::Native,
            json,
            "{\"name\": \"operations/1\", \"error\": {}}",
            FirstEvent::NoError,
        ),
        (Surface::Native, json, "{}", FirstEvent::NoError),
        (Surface::Native, json, "[]", FirstEvent::NoError),
        (Surface::Native, json, "<html>", FirstEvent::NoError),
        (
            Surface::OpenAi,
            json,
            "{\"error\": null, \"id\": 1}",
            FirstEvent::NoError,
        ),
        (
            Surface::OpenAi,
            sse,
            "data: [DONE]\n\n",
            FirstEvent::NoError,
        ),
        (
            Surface::Interactions,
            sse,
            "event: error\n",
            FirstEvent::Error,
        ),
        (
            Surface::Interactions,
            sse,
            "data: {\"event_type\":\"error\",\"error\":{",
            FirstEvent::Error,
        ),
        (
            Surface::Native,
            "video/mp4",
            "{\"error\":1}",
            FirstEvent::NoError,
        ),
    ];

    for (surface, content_type, body, expected) in cases {
        let mut tap = tap_of(surface, content_type);
        tap.feed(body.as_bytes());
        assert_eq!(tap.first_event(), expected, "{body}");
    }

    let mut long = tap_of(Surface::Native, sse);
    long.feed(format!("data: {{\"x\":\"{}", "y".repeat(64 * 1024)).as_bytes());
    assert_eq!(long.first_event(), FirstEvent::NoError);
}

/// Forwards a body as the proxy does: error events are held back until complete.
fn pass(tap: &mut ResponseTap, body: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    for chunk in body.chunks(piece) {
        let seen = tap.feed(chunk);
        let from = seen.hold_from.unwrap_or(chunk.len());
        let to = seen.release_at.unwrap_or(chunk.len());
        passed.extend_from_slice(&chunk[..from]);
        held.extend_from_slice(&chunk[from..to]);
        passed.extend_from_slice(&chunk[to..]);
    }
    (passed, held)
}

#[test]
fn an_error_in_a_stream_is_held_back_for_all_chunk_sizes() {
    let good = "data: {\"candidates\": []}\r\n\r\n";
    let error =
        "{\"error\": {\n\"code\": 499, \"message\": \"SECRET\", \"status\": \"CANCELLED\"}}";
    let line = error.replace('\n', "");
    let cases = [
        (Surface::Native, format!("{good}{error}\n")),
        (Surface::Native, format!("{good}data: {line}\r\n\r\n")),
        (
            Surface::Native,
            format!("{good}data: {line}\r\n\r\n{good}data: {line}\r\n\r\n{good}"),
        ),
        (
            Surface::Native,
            format!("[{{\"candidates\": []}}\n,\r\n{error}\n]"),
        ),
        (
            Surface::OpenAi,
            format!("{}data: {line}\n\ndata: [DONE]\n\n", good.replace('\r', "")),
        ),
        (
            Surface::Interactions,
            format!(
                "event: a\ndata: {{}}\n\nevent: error\ndata: {line}\n\nevent: done\ndata: [DONE]\n\n"
            ),
        ),
    ];

    for (surface, body) in cases {
        let content_type = if body.starts_with('[') {
            "application/json"
        } else {
            "text/event-stream"
        };
        for piece in 1..=body.len() {
            let mut tap = tap_of(surface, content_type);
            let (passed, held) = pass(&mut tap, body.as_bytes(), piece);

            assert_eq!(passed.len() + held.len(), body.len());
            assert!(
                !String::from_utf8_lossy(&passed).contains("SECRET"),
                "{body} by {piece}"
            );
            assert!(
                !String::from_utf8_lossy(&held).contains("[DONE]"),
                "{body} by {piece}"
            );
            let error = tap.summary().error.unwrap();
            assert_eq!((error.code, error.message.as_str()), (Some(499), "SECRET"));
            assert_eq!(tap.first_event(), FirstEvent::NoError);
        }
    }
}

#[test]
fn an_incomplete_event_is_detected_at_the_end() {
    for (body, can_end_here) in [
        ("", true),
        ("data: {}\r\n\r\n", true),
        ("data: {}\r\n\r", false),
        ("data: {}\r\n", false),
        ("data: {}", false),
        ("da", false),
        ("data: {}\n\nevent: x\n", false),
        ("data: {}\n\n\n", true),
    ] {
        let mut tap = tap_of(Surface::Native, "text/event-stream");
        tap.feed(body.as_bytes());
        assert_eq!(tap.can_end_here(), can_end_here, "{body:?}");
    }
}

#[test]
fn a_compressed_stream_is_counted_and_a_corrupt_one_is_ignored() {
    let recording = recording("sse-thinking");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(recording.response.body.as_bytes())
        .unwrap();
    let packed = encoder.finish().unwrap();
    let plain = recording.read(recording.response.body.as_bytes());

    let mut tap = ResponseTap::new(Surface::Native, &recording.headers("gzip"));
    for chunk in packed.chunks(100) {
        assert_eq!(tap.feed(chunk), ErrorSpan::default());
    }
    assert_eq!(tap.summary(), plain);
    assert!(tap.can_end_here());

    let mut broken = ResponseTap::new(Surface::Native, &recording.headers("gzip"));
    broken.feed(b"no gzip at all");
    broken.feed(&packed);
    assert_eq!(
        (broken.summary(), broken.first_event()),
        (ResponseSummary::default(), FirstEvent::NoError)
    );

    let mut unknown = ResponseTap::new(Surface::Native, &recording.headers("compress"));
    unknown.feed(&packed);
    assert_eq!(unknown.first_event(), FirstEvent::NoError);
}

proptest! {
    #[test]
    fn chunk_boundaries_change_nothing(
        index in any::<prop::sample::Index>(),
        pieces in prop::collection::vec(1_usize..400, 1..40),
    ) {
        let recordings = recordings();
        let recording = index.get(&recordings);
        let mut rest = recording.response.body.as_bytes();
        let whole = recording.read(rest);
        let mut tap = recording.tap();
        for piece in pieces.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at(piece.min(rest.len()));
            tap.feed(chunk);
            rest = after;
        }

        prop_assert_eq!(tap.summary(), whole);
        prop_assert!(tap.can_end_here());
    }

    #[test]
    fn no_bytes_cause_a_panic(
        text in r#"(data: |data:|event: error|event:|\n|\r\n|\r|[{}\[\]",: x]|"error"|"usageMetadata"|9){0,40}"#,
        piece in 1_usize..20,
        is_sse in any::<bool>(),
    ) {
        let content_type = if is_sse { "text/event-stream" } else { "application/json" };
        let mut tap = tap_of(Surface::Native, content_type);
        let (passed, held) = pass(&mut tap, text.as_bytes(), piece);

        prop_assert_eq!(passed.len() + held.len(), text.len());
        tap.summary();
    }
}
