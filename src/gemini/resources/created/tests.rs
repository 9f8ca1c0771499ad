//! Tests of reading created resources from responses.

use std::path::Path as FilePath;

use http::{HeaderMap, Method};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::gemini::response::tap::ResponseTap;

fn reader(line: &str, is_stored: bool, content_type: &str) -> Option<CreatedResourcesReader> {
    let (method, uri) = line.split_once(' ').unwrap();
    let (path, query) = uri
        .split_once('?')
        .map_or((uri, None), |(path, query)| (path, Some(query)));
    let method: Method = method.parse().unwrap();
    let target = Target::read(&method, path, query, false).unwrap();
    CreatedResourcesReader::of(&target, is_stored, Some(content_type))
}

fn observed(line: &str, body: &str) -> ObservedResources {
    let Some(mut reader) = reader(line, true, "application/json; charset=UTF-8") else {
        return ObservedResources::default();
    };
    reader.feed(body.as_bytes());
    reader.observed()
}

/// Each name, with a `+` if it was created and `@` before its expiry, and the state of the job.
fn words(observed: &ObservedResources) -> String {
    let mut words = Vec::new();
    for ObservedResource {
        name,
        is_created,
        expires_at,
    } in &observed.resources
    {
        let marker = if *is_created { "+" } else { "" };
        let expiry = expires_at.map(|at| format!("@{at}")).unwrap_or_default();
        words.push(format!("{marker}{name}{expiry}"));
    }
    words.extend(observed.job.as_ref().map(|job| format!("{:?}", job.state)));
    words.join(" ")
}

#[derive(serde::Deserialize)]
struct Recording {
    request: Request,
    response: Response,
}

#[derive(serde::Deserialize)]
struct Request {
    method: String,
    path_and_query: String,
}

#[derive(serde::Deserialize)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Recording {
    fn load(id: &str) -> Self {
        let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
        let text = std::fs::read_to_string(folder.join(format!("{id}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn content_type(&self) -> &str {
        let mut headers = self.response.headers.iter();
        let found = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        found.map_or("", |(_, value)| value)
    }

    fn reader(&self, is_stored: bool) -> Option<CreatedResourcesReader> {
        let line = format!("{} {}", self.request.method, self.request.path_and_query);
        reader(&line, is_stored, self.content_type())
    }

    /// The resources read from the body in chunks of this size.
    fn observed(&self, chunk: usize) -> ObservedResources {
        let mut reader = self.reader(true).unwrap();
        for chunk in self.response.body.as_bytes().chunks(chunk) {
            reader.feed(chunk);
        }
        reader.observed()
    }
}

/// The resources in each recording; recordings that are not listed contain none.
const RECORDED: &[(&str, &str)] = &[
    (
        "file-upload-finalize",
        "+files/mwp1gi5it47f@2026-08-21T14:34:21.475Z",
    ),
    ("file-get", "files/o3s42u5uu1z2@2026-07-30T02:24:45.088Z"),
    (
        "file-list",
        "files/o3s42u5uu1z2@2026-07-30T02:24:45.088Z files/ymyumydi3p7b@2026-07-30T02:18:04.857Z",
    ),
    (
        "cache-create",
        "+cachedContents/1e9odc8cm11aab2truxzl4pdxjjxtss4k3gvture@2026-08-19T14:39:11.796Z",
    ),
    (
        "cache-patch",
        "cachedContents/1e9odc8cm11aab2truxzl4pdxjjxtss4k3gvture@2026-08-19T14:44:14.798Z",
    ),
    (
        "cache-get",
        "cachedContents/hpjydg0jqe4ve7vo515g16b2uqizznhfgqoigz0p@2026-08-10T23:36:27.212Z",
    ),
    (
        "batch-create",
        "+batches/31u18uq6dr4ods3957z38i1mbfa581k01xcq Running",
    ),
    (
        "batch-get-pending",
        "batches/31u18uq6dr4ods3957z38i1mbfa581k01xcq Running",
    ),
    (
        "batch-get-done",
        "batches/31u18uq6dr4ods3957z38i1mbfa581k01xcq Succeeded",
    ),
    (
        "veo-start",
        "+models/veo-3.1-lite-generate-preview/operations/umz7sqimep69 Running",
    ),
    (
        "veo-poll-pending",
        "models/veo-3.1-lite-generate-preview/operations/umz7sqimep69 Running",
    ),
    (
        "veo-poll-done",
        "models/veo-3.1-lite-generate-preview/operations/umz7sqimep69 +files/zqw12cp8qc38 Succeeded",
    ),
    (
        "filestore-create",
        "+fileSearchStores/testfilesearchstore-q7prdj5dqu8p",
    ),
    (
        "filestore-upload-finalize",
        "+fileSearchStores/testfilesearchstore-q7prdj5dqu8p/upload/operations/h5s6ca4doiqm-o6z67pznvx9f \
         +fileSearchStores/testfilesearchstore-q7prdj5dqu8p/documents/h5s6ca4doiqm-o6z67pznvx9f Succeeded",
    ),
    (
        "interactions-unary",
        "+interactions/v1_ChdvdGNFYXNDa09LdW1tdGtQbnFydHdRcxIXb3RjRWFzQ2tPS3VtbXRrUG5xcnR3UXM Succeeded",
    ),
    (
        "interactions-sse",
        "+interactions/v1_ChdwZGNFYXRpUEs1bUdxdHNQci1HSGtBRRIXcGRjRWF0aVBLNW1HcXRzUHItR0hrQUU Succeeded",
    ),
    (
        "interactions-background",
        "+interactions/v1_Chd0OWNFYXR6Y0lyRG1xdHNQMkpydnlRcxIXdDljRWF0emNJckRtcXRzUDJKcnZ5UXM Running",
    ),
];

#[test]
fn created_resources_are_read_from_recorded_responses() {
    for (id, expected) in RECORDED {
        let recording = Recording::load(id);

        for chunk in [1, 7, 100, 1 << 20] {
            assert_eq!(
                words(&recording.observed(chunk)),
                *expected,
                "{id} in chunks of {chunk}"
            );
        }
    }
}

#[test]
fn other_recorded_responses_contain_no_resources() {
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let id = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        if !is_json
            || id.starts_with("websocket")
            || RECORDED.iter().any(|(observed, _)| *observed == id)
        {
            continue;
        }
        let recording = Recording::load(&id);
        let Some(mut reader) = recording.reader(true) else {
            continue;
        };

        reader.feed(recording.response.body.as_bytes());

        assert_eq!(
            reader.observed(),
            ObservedResources::default(),
            "{id} {}",
            recording.response.status
        );
    }
}

#[test]
fn a_completed_batch_is_counted_once_with_all_its_responses() {
    let job = Recording::load("batch-get-done").observed(64).job.unwrap();

    assert_eq!(job.answers, 2);
    assert_eq!(job.usage.prompt, Some(26));
    assert_eq!(job.usage.thoughts, Some(96));
    assert_eq!(job.usage.total, Some(124));
    assert_eq!(job.model.as_deref(), Some("gemini-2.5-flash"));
}

#[test]
fn a_batch_of_any_length_is_counted() {
    let usage = json!({"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5, "serviceTier": "x".repeat(300)});
    let text = json!({"content": {"parts": [{"text": "name ".repeat(40)}]}, "name": "files/x"});
    let one = json!({"response": {"usageMetadata": usage, "candidates": [text]}});
    let body = json!({
        "name": "batches/b",
        "done": true,
        "response": {"@type": "x", "inlinedResponses": {"inlinedResponses": vec![one; 10_000]}},
    });

    let observed = observed("GET /v1beta/batches/b", &body.to_string());

    assert_eq!(words(&observed), "batches/b Succeeded");
    let job = observed.job.unwrap();
    assert_eq!((job.answers, job.usage.tokens()), (10_000, 50_000));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn responses_of_every_kind_name_their_resources() {
    let cases = [
        (
            "GET /v1beta/batches/b",
            json!({"name": "batches/b", "metadata": {"state": "BATCH_STATE_SUCCEEDED", "output": {"responsesFile": "files/batch-b"}}, "done": true, "response": {"responsesFile": "files/batch-b"}}),
            "batches/b +files/batch-b Succeeded",
        ),
        (
            "GET /v1beta/batches/b",
            json!({"name": "batches/b", "done": true, "error": {"code": 1, "message": "cancelled"}}),
            "batches/b Failed",
        ),
        (
            "GET /v1beta/batches",
            json!({"operations": [{"name": "batches/a"}, {"name": "batches/b"}]}),
            "batches/a batches/b",
        ),
        (
            "GET /v1beta/cachedContents",
            json!({"cachedContents": [{"name": "cachedContents/a"}, {"name": "cachedContents/b", "expireTime": "2026-01-01T00:00:00Z"}]}),
            "cachedContents/a cachedContents/b",
        ),
        (
            "GET /v1beta/fileSearchStores/s/documents",
            json!({"documents": [{"name": "fileSearchStores/s/documents/d"}]}),
            "fileSearchStores/s/documents/d",
        ),
        (
            "POST /v1beta/fileSearchStores/s:importFile",
            json!({"name": "fileSearchStores/s/operations/o"}),
            "+fileSearchStores/s/operations/o Running",
        ),
        (
            "POST /v1beta/tunedModels",
            json!({"name": "tunedModels/t/operations/o", "metadata": {"tunedModel": "tunedModels/t"}}),
            "+tunedModels/t/operations/o +tunedModels/t Running",
        ),
        (
            "POST /v1beta/files:register",
            json!({"files": [{"name": "files/g"}]}),
            "+files/g",
        ),
        (
            "POST /v1alpha/auth_tokens",
            json!({"name": "auth_tokens/a", "expireTime": "2026-01-01T00:00:00Z"}),
            "+auth_tokens/a@2026-01-01T00:00:00.000Z",
        ),
        (
            "POST /v1beta/agents",
            json!({"id": "mine", "name": "files/x"}),
            "+agents/mine",
        ),
        (
            "GET /v1beta/agents",
            json!({"agents": [{"id": "a"}, {"id": "b"}]}),
            "agents/a agents/b",
        ),
        (
            "POST /v1beta/webhooks",
            json!({"name": "files/x", "id": "w"}),
            "+webhooks/w",
        ),
        (
            "POST /v1beta/triggers/t/executions",
            json!({"id": "x", "environment_id": "e", "interaction_id": "v1_i"}),
            "environments/e +interactions/v1_i",
        ),
        (
            "POST /v1beta/interactions",
            json!({"id": "v1_i", "status": "requires_action", "environment_id": "e"}),
            "+interactions/v1_i environments/e Running",
        ),
        (
            "POST /v1beta/openai/files",
            json!({"id": "file-a", "expires_at": 1_767_225_600}),
            "+files/file-a@2026-01-01T00:00:00.000Z",
        ),
        (
            "GET /v1beta/openai/batches/batches%2Fb",
            json!({"id": "batches/b", "status": "completed", "expires_at": 1_767_225_600, "output_file_id": "files/o", "error_file_id": null}),
            "batches/b +files/o Succeeded",
        ),
        (
            "GET /v1beta/openai/batches",
            json!({"data": [{"id": "batches/b", "output_file_id": "files/o"}]}),
            "batches/b +files/o",
        ),
        (
            "POST /v1beta/openai/videos",
            json!({"id": "video_1", "status": "queued"}),
            "+videos/video_1 Running",
        ),
        // Other resources than the requested one, and fields that a client filled.
        (
            "POST /v1beta/cachedContents",
            json!({"name": "files/x", "displayName": "files/y"}),
            "",
        ),
        (
            "GET /v1beta/files/f",
            json!({"name": "files/f", "displayName": "files/y", "metadata": {"name": "files/z"}}),
            "files/f",
        ),
        (
            "POST /v1beta/models/m:generateContent",
            json!({"name": "files/x", "id": "v1_x"}),
            "",
        ),
        (
            "POST /v1beta/openai/chat/completions",
            json!({"id": "chat-1"}),
            "",
        ),
        ("GET /v1beta/models/m", json!({"name": "models/m"}), ""),
        ("DELETE /v1beta/files/f", json!({"name": "files/f"}), ""),
        (
            "GET /v1beta/files/f:download",
            json!({"name": "files/f"}),
            "",
        ),
        (
            "GET /v1beta/environments/e/files/f",
            json!({"name": "files/f"}),
            "",
        ),
        (
            "POST /v1beta/files",
            json!({"error": {"code": 400}, "file": {"name": "files/f"}}),
            "",
        ),
    ];
    for (line, body, expected) in cases {
        assert_eq!(
            words(&observed(line, &body.to_string())),
            expected,
            "{line} {body}"
        );
    }
}

#[test]
fn an_interaction_that_is_not_stored_is_no_created_resource() {
    for id in ["interactions-unary", "interactions-sse"] {
        let recording = Recording::load(id);
        let mut reader = recording.reader(false).unwrap();

        reader.feed(recording.response.body.as_bytes());

        assert_eq!(reader.observed(), ObservedResources::default(), "{id}");
    }
}

#[test]
fn names_in_a_truncated_response_are_kept() {
    let cut = |id: &str, at: &str| {
        let recording = Recording::load(id);
        let end = recording.response.body.find(at).unwrap();
        let mut reader = recording.reader(true).unwrap();
        reader.feed(&recording.response.body.as_bytes()[..end]);
        words(&reader.observed())
    };

    assert_eq!(
        cut("file-upload-finalize", "\"uri\""),
        "+files/mwp1gi5it47f@2026-08-21T14:34:21.475Z"
    );
    assert!(cut("interactions-sse", "event: step.start").ends_with(" Running"));
    assert_eq!(cut("interactions-sse", ",\"object\":"), "");
}

#[test]
fn a_tap_reads_resources_from_plain_and_compressed_streams() {
    use std::io::Write;
    let recording = Recording::load("cache-create");
    let body = recording.response.body.as_bytes();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(body).unwrap();
    let packed = packed.finish().unwrap();

    for (encoding, bytes) in [("identity", body), ("gzip", &packed[..])] {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", encoding),
        ];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let tap = ResponseTap::new(Surface::Native, &HeaderMap::from_iter(headers));
        let mut tap = tap.with_created_resources(recording.reader(true));
        for chunk in bytes.chunks(10) {
            tap.feed(chunk);
        }

        assert_eq!(tap.observed(), recording.observed(1 << 20), "{encoding:?}");
        assert_eq!(tap.observed().resources.len(), 1);
    }
}

const LINES: [&str; 8] = [
    "GET /v1beta/files/f",
    "GET /v1beta/files",
    "GET /v1beta/batches/b",
    "POST /upload/v1beta/files",
    "POST /v1beta/interactions",
    "GET /v1beta/openai/batches/b",
    "POST /v1beta/models/m:predictLongRunning",
    "POST /v1beta/webhooks",
];

const TYPES: [&str; 2] = ["application/json", "text/event-stream"];

fn any_body() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        r#""(files|batches|cachedContents)/[a-c]""#,
        r#""2026-01-01T00:00:0[0-9]Z""#,
        "-?[0-9]{1,20}",
        "true|false|null",
        r#""[ -~]{0,6}""#,
    ];
    let keys: Vec<_> = [NATIVE, OPENAI, INTERACTIONS].concat();
    let keys: Vec<_> = keys
        .iter()
        .flat_map(|(path, _)| path.iter().copied())
        .collect();
    let json = value.prop_recursive(4, 24, 4, move |inner| {
        let field = (proptest::sample::select(keys.clone()), inner.clone())
            .prop_map(|(key, value)| format!("\"{key}\":{value}"));
        prop_oneof![
            proptest::collection::vec(field, 0..6)
                .prop_map(|fields| format!("{{{}}}", fields.join(","))),
            proptest::collection::vec(inner, 0..3)
                .prop_map(|values| format!("[{}]", values.join(","))),
        ]
    });
    let event = (any::<u8>(), json).prop_map(|(kind, json)| match kind % 4 {
        0 => json,
        1 => format!("data: {json}\r\n\r\n"),
        2 => format!("event: x\ndata: {json}\n\n"),
        _ => format!("[{json}\n,\r\n{json}]"),
    });
    proptest::collection::vec(event, 1..4).prop_map(|events| events.concat())
}

proptest! {
    #[test]
    fn chunk_boundaries_change_nothing(
        body in any_body(),
        line in proptest::sample::select(&LINES[..]),
        content_type in proptest::sample::select(&TYPES[..]),
        cuts in proptest::collection::vec(0..400_usize, 0..9),
    ) {
        let mut whole = reader(line, true, content_type).unwrap();
        whole.feed(body.as_bytes());

        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let mut cut = reader(line, true, content_type).unwrap();
        for pair in cuts.windows(2) {
            cut.feed(&body.as_bytes()[pair[0]..pair[1]]);
        }

        prop_assert_eq!(cut.observed(), whole.observed());
    }

    #[test]
    fn nothing_panics(
        bytes in r"[ -~\n\r]{0,80}",
        line in proptest::sample::select(&LINES[..]),
        content_type in proptest::sample::select(&TYPES[..]),
    ) {
        let mut reader = reader(line, true, content_type).unwrap();
        reader.feed(bytes.as_bytes());
        reader.observed();
    }
}
