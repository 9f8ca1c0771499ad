//! Tests of reading bodies and messages.

mod lenient_json;

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;

const MOST_BYTES: u64 = 1024 * 1024;
const GOOGLE_FILE: &str = "https://generativelanguage.googleapis.com/v1beta/files/f";

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
}

fn read(body: impl AsRef<[u8]>) -> (BodyContent, Option<UnreadBody>) {
    read_body(body.as_ref(), &HeaderMap::new(), MOST_BYTES)
}

fn read_whole(body: impl AsRef<[u8]>) -> BodyContent {
    let (read, unread) = read(&body);
    assert_eq!(unread, None, "{}", String::from_utf8_lossy(body.as_ref()));
    read
}

fn names_of(body: &Value) -> Vec<String> {
    let body = read_whole(body.to_string());
    let mut names: Vec<_> = body.names.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

fn models_of(body: &BodyContent) -> Vec<&str> {
    body.models.iter().map(String::as_str).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn fields_that_google_reads_as_names_are_references() {
    let uri = GOOGLE_FILE;
    let file = json!({"parts": [{"text": uri}, {"fileData": {"fileUri": uri, "mimeType": "a/b"}}]});
    let cases = [
        (json!({"contents": [file]}), &["files/f"][..]),
        (
            json!({"contents": [{"parts": [{"file_data": {"file_uri": "files/f"}}]}]}),
            &["files/f"],
        ),
        (json!({"system_instruction": file}), &["files/f"]),
        (
            json!({"contents": [file, file], "cachedContent": "cachedContents/c"}),
            &["cachedContents/c", "files/f"],
        ),
        (
            json!({"cached_content": "cachedContents/c"}),
            &["cachedContents/c"],
        ),
        (
            json!({"generateContentRequest": {"contents": [file]}}),
            &["files/f"],
        ),
        (
            json!({"batch": {"inputConfig": {"requests": {"requests": [{"request": {"contents": [file]}}]}}}}),
            &["files/f"],
        ),
        (
            json!({"batch": {"input_config": {"file_name": "files/in"}}}),
            &["files/in"],
        ),
        (
            json!({"fileName": "files/f", "chunkingConfig": {}}),
            &["files/f"],
        ),
        (
            json!({"contents": [{"parts": [{"functionResponse": {"name": "n", "parts": [{"fileData": {"fileUri": uri}}]}}]}]}),
            &["files/f"],
        ),
        (
            json!({"tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a", "fileSearchStores/b"]}}]}),
            &["fileSearchStores/a", "fileSearchStores/b"],
        ),
        (
            json!({"instances": [{"prompt": "go on", "video": {"uri": format!("{uri}:download?alt=media")}}]}),
            &["files/f"],
        ),
        (
            json!({"model": "m", "extra_body": {"google": {"cached_content": "cachedContents/c"}}}),
            &["cachedContents/c"],
        ),
        (
            json!({"input_file_id": "file-1", "endpoint": "/v1/chat/completions"}),
            &["files/file-1"],
        ),
        (
            json!({"messages": [{"content": [{"type": "file", "file": {"file_id": "files/f"}}]}]}),
            &["files/f"],
        ),
        (
            json!({"messages": [{"content": [{"image_url": {"url": uri}}]}]}),
            &["files/f"],
        ),
        (
            json!({"input": [{"content": [{"image_url": uri}]}, {"file_url": uri}]}),
            &["files/f"],
        ),
        (
            json!({"tools": [{"file_ids": ["file-a", "files/b"]}], "file": "files/c"}),
            &["files/b", "files/c", "files/file-a"],
        ),
        (
            json!({"previous_interaction_id": "v1_a", "agent": "mine", "environment": "e"}),
            &["agents/mine", "environments/e", "interactions/v1_a"],
        ),
        (
            json!({"environment": {"type": "remote", "environment_id": "e", "env": {"TOKEN": {"credential": "c"}}}}),
            &["credentials/c", "environments/e"],
        ),
        (
            json!({"input": [{"type": "document", "uri": uri}, {"type": "image", "uri": "https://example.com/files/x"}]}),
            &["files/f"],
        ),
        (
            json!({"interaction": {"agent": "a", "previousInteractionId": "v1_a"}, "environment_id": "e"}),
            &["agents/a", "environments/e", "interactions/v1_a"],
        ),
        (
            json!({"setup": {"model": "models/m", "sessionResumption": {"handle": "a/b="}}}),
            &["liveSessions/a/b="],
        ),
        (
            json!({"setup": {"model": "tunedModels/t", "session_resumption": {}}}),
            &["tunedModels/t"],
        ),
        // Not references.
        (
            json!({"contents": [{"parts": [{"text": "cachedContents/c files/f"}], "role": "files/f"}]}),
            &[],
        ),
        (
            json!({"contents": [{"parts": [{"functionCall": {"args": {"fileUri": uri, "agent": "a"}}}]}]}),
            &[],
        ),
        (
            json!({"contents": [{"parts": [{"functionResponse": {"response": {"x": [{"fileUri": uri}]}}}]}]}),
            &[],
        ),
        (
            json!({"generationConfig": {"responseJsonSchema": {"properties": {"a": {"default": {"file_id": "x"}}}}}}),
            &[],
        ),
        (
            json!({"metadata": {"file_id": "x"}, "tool": {"agent": "a"}, "handle": "h"}),
            &[],
        ),
        (
            json!({"fileUri": {"x": 1}, "uri": 7, "cachedContent": null, "file_id": true}),
            &[],
        ),
        (json!({"fileUri": "https://www.youtube.com/watch?v=x"}), &[]),
        (json!({"fileUri": "gs://bucket/files/f"}), &[]),
        (
            json!({"image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}),
            &[],
        ),
        (
            json!({"file_name": "report.pdf", "cachedContent": "files/f", "model": "models/m"}),
            &[],
        ),
        (json!("files/f"), &[]),
    ];
    for (body, expected) in cases {
        assert_eq!(names_of(&body), expected, "{body}");
    }
}

#[test]
fn every_spelling_of_a_url_at_google_is_the_same_name() {
    for url in [
        "http://generativelanguage.googleapis.com/v1beta/files/f",
        "https://generativelanguage.googleapis.com:443/v1beta/files/f",
        "https://user:password@generativelanguage.googleapis.com/v1beta/files/f",
        "https://generativelanguage.googleapis.com./v1beta/files/f",
        "https://generativelanguage.googleapis.com//v1beta//files//f",
        "https://generativelanguage.googleapis.com/files/f",
        "https://generativelanguage.googleapis.com/v1beta/files%2Ff",
        "https://generativelanguage.googleapis.com/v1beta/%66iles/f?alt=media#x",
        "https://generativelanguage.googleapis%2Ecom/v1beta/files/f",
        "https://generativelanguage.mtls.googleapis.com/v1beta/files/f",
        "https:\\\\generativelanguage.googleapis.com\\v1beta\\files\\f",
        "https:/generativelanguage.googleapis.com/v1beta/files/f",
        "HTTPS://GENERATIVELANGUAGE.GoogleAPIs.com/v1beta/x/../files/f",
        " https://generativelanguage.googleapis.com/v1beta/files/f\n",
        "//generativelanguage.googleapis.com/v1beta/files/f",
        "generativelanguage.googleapis.com/v1beta/files/f",
        "/v1beta/files/f",
        "v1beta/files/f",
        "files%2Ff",
    ] {
        assert_eq!(names_of(&json!({"fileUri": url})), ["files/f"], "{url}");
    }
    for url in [
        "https://generativelanguage.googleapis.com/v1beta/somethingNew/f",
        "https://generativelanguage.googleapis.com/",
        "https://generativelanguage.googleapis.com/v1beta/files/",
    ] {
        let (_, unread) = read(json!({"fileUri": url}).to_string());
        assert!(unread.is_some(), "{url}");
    }
    for url in [
        "https://generativelanguage.googleapis.com.example.com/v1beta/files/f",
        "https://generativelanguage.googleapis.com@example.com/v1beta/files/f",
        "https://example.com/generativelanguage.googleapis.com/files/f",
    ] {
        assert_eq!(names_of(&json!({"fileUri": url})), [""; 0], "{url}");
    }
}

#[test]
fn models_streams_webhooks_and_requests_are_read() {
    let body = read_whole(
        r#"{"model":"models/a","stream":true,"store":false,"contents":[{"model":"b"}]}"#,
    );
    assert_eq!(
        (body.model.as_deref(), models_of(&body)),
        (Some("a"), vec!["a", "b"])
    );
    assert!(body.streams && !body.stores_interaction && !body.has_webhook);
    let cases: [(&str, Option<&str>, &[&str]); 8] = [
        (r#"{"agent":"c"}"#, Some("c"), &["c"]),
        (r#"{"agent":"c","model":"m"}"#, Some("m"), &["c", "m"]),
        (
            r#"{"generate_content_request":{"model":"b"}}"#,
            None,
            &["b"],
        ),
        (
            r#"{"batch":{"inputConfig":{"requests":{"requests":[{"request":{"model":"a"}}]}}}}"#,
            None,
            &["a"],
        ),
        (r#"{"setup":{"model":"models/a"}}"#, Some("a"), &["a"]),
        (
            r#"{"setup":{"generationConfig":{"model":"m"}}}"#,
            None,
            &["m"],
        ),
        (r#"{"mod\u0065l":"\u0061"}"#, Some("a"), &["a"]),
        (r#"{"model":null,"args":{"model":"no"}}"#, None, &[]),
    ];
    for (text, model, models) in cases {
        let body = read_whole(text);
        assert_eq!(
            (body.model.as_deref(), models_of(&body)),
            (model, models.to_vec()),
            "{text}"
        );
    }
    for text in [
        r#"{"webhookConfig":{}}"#,
        r#"{"batch":{"x":[{"webhook_config":{"uris":[]}}]}}"#,
        r#"{"metadata":{"webhookConfig":1}}"#,
    ] {
        assert!(read_whole(text).has_webhook, "{text}");
    }
    assert!(read_whole(r#"{"input_file_id":"files/f"}"#).has_request_file);
    assert!(read_whole(r#"{"batch":{"inputConfig":{"fileName":"files/f"}}}"#).has_request_file);
    assert!(!read_whole(r#"{"fileName":"files/f"}"#).has_request_file);
    for (text, items) in [
        (r#"{"requests":[{},{},{}]}"#, 3),
        (r#"{"input":["a","b"]}"#, 2),
        (r#"{"input":"a"}"#, 0),
        (r#"{"input":[1,2,3]}"#, 0),
        (r#"{"input":[[1,2],[3]]}"#, 2),
    ] {
        assert_eq!(read_whole(text).items, items, "{text}");
    }
}

#[test]
fn what_another_parser_could_read_otherwise_is_unread() {
    let utf16: Vec<u8> = r#"{"model":"a"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let texts = [
        "{model:'a'}",
        "{'model':'a'}",
        r#"{"model":"a",}"#,
        r#"{"model":"a" /* b */}"#,
        "{\"model\":\"a\"} // b",
        r#"{"model":"a"}{"model":"b"}"#,
        r#"{"mo\del":"a"}"#,
        r#"{"model":"\x61"}"#,
        r#"{"model":"\ud800"}"#,
        r#"{"\udc00":1}"#,
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"fileUri":"a","file_uri":"b"}"#,
        r#"{"x":{"args":{"a":1,"a":2}}}"#,
        r#"{"model":"a""#,
        r#"{"n":01}"#,
        r#"{"n":NaN}"#,
        "{\"model\":\"a\nb\"}",
        "\u{feff}{}",
        "--boundary\r\n",
        "model=a",
        &nested(101),
    ];
    for text in texts {
        assert!(read(text).1.is_some(), "{text}");
    }
    for bytes in [
        &utf16[..],
        b"{\"model\":\"\xff\"}",
        b"{\"\xff\":1}",
        &gzip(b"{}"),
    ] {
        assert!(read(bytes).1.is_some(), "{bytes:?}");
    }
    for text in [
        "",
        " \r\n\t",
        "{}",
        "[1,-2.5e3,true,null]",
        &nested(100),
        r#"{"args":{"user_id":1,"userId":2}}"#,
        r#"{"a":{"model":"a"},"b":{"model":"b"}}"#,
        r#"{"n":123456789012345678901234567890}"#,
    ] {
        read_whole(text);
    }
    let (_, unread) = read("{\n \"model\": \"a\",\n \"model\": \"b\"}");
    assert_eq!(
        unread.unwrap().to_string(),
        r#"the key "model" occurs twice in one object at line 3 column 8"#
    );
    let many: Vec<_> = (0..100)
        .chain([77])
        .map(|number| format!("\"k{number}\":1"))
        .collect();
    assert!(read(format!("{{{}}}", many.join(","))).1.is_some());
}

#[test]
fn what_was_read_before_an_error_is_kept() {
    let (body, unread) = read(r#"{"model":"m","fileUri":"files/a",,"fileUri":"files/b"}"#);
    assert!(unread.is_some());
    assert_eq!((body.model.as_deref(), body.names.len()), (Some("m"), 1));
}

#[test]
fn the_number_of_names_is_limited() {
    let uris = |count: usize| {
        let uri = |number| json!({"fileUri": format!("files/{number:0>1000}")});
        read((0..count).map(uri).collect::<Value>().to_string())
    };
    assert_eq!((uris(1_000).0.names.len(), uris(1_000).1), (1_000, None));
    assert!(uris(3_000).1.is_some());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn packed_bodies_are_read_within_a_bound() {
    let body = br#"{"model":"a"}"#;
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(body).unwrap();
    let zlib = zlib.finish().unwrap();
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
    raw.write_all(body).unwrap();
    let raw = raw.finish().unwrap();
    let members = [gzip(br#"{"model""#), gzip(br#":"a"}"#)].concat();
    let readable: [(&[u8], &[&'static str]); 9] = [
        (body, &["identity"]),
        (&gzip(body), &["gzip"]),
        (&gzip(body), &["GZip"]),
        (&members, &["x-gzip"]),
        (&zlib, &["deflate"]),
        (&raw, &["deflate"]),
        (&gzip(&zlib), &["deflate, gzip"]),
        (&gzip(&gzip(body)), &["gzip", "gzip"]),
        (&gzip(body), &["identity", "gzip"]),
    ];
    for (packed, encodings) in readable {
        let lines: Vec<_> = encodings
            .iter()
            .map(|encoding| ("content-encoding", *encoding))
            .collect();
        let (body, unread) = read_body(packed, &headers(&lines), MOST_BYTES);
        assert_eq!(
            (body.model.as_deref(), unread),
            (Some("a"), None),
            "{encodings:?}"
        );
    }
    let trailing = [gzip(body), b"{}".to_vec()].concat();
    let bomb = gzip(&vec![b' '; 2 * 1024 * 1024]);
    let unreadable: [(&[u8], &str); 7] = [
        (body, "gzip"),
        (&gzip(body), "deflate"),
        (&gzip(body), "br"),
        (&gzip(&gzip(&gzip(body))), "gzip, gzip, gzip"),
        (&trailing, "gzip"),
        (&bomb, "gzip"),
        (&gzip(body)[..10], "gzip"),
    ];
    for (packed, encoding) in unreadable {
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", encoding.parse().unwrap());
        assert!(
            read_body(packed, &headers, MOST_BYTES).1.is_some(),
            "{encoding}"
        );
    }
}

#[test]
fn the_content_type_decides_only_where_a_body_is_no_json() {
    let body = br#"{"model":"a"}"#;
    let types: [(&[&'static str], bool); 13] = [
        (&[], true),
        (&["application/json; charset=UTF-8"], true),
        (&["application/x-www-form-urlencoded"], true),
        (&["text/plain;charset=\"utf-8\""], true),
        (&["application/octet-stream"], true),
        (&["application/json", "application/json"], false),
        (&["application/json, text/plain"], false),
        (&["application/x-protobuf"], false),
        (&["Application/VND.Google.ProtoBuf"], false),
        (&["application/grpc-web+proto"], false),
        (&["application/json; charset=utf-16"], false),
        (&["multipart/related; boundary=x"], false),
        (&["multipart/form-data"], false),
    ];
    for (types, is_read) in types {
        let lines: Vec<_> = types
            .iter()
            .map(|content_type| ("content-type", *content_type))
            .collect();
        let (_, unread) = read_body(body, &headers(&lines), MOST_BYTES);
        assert_eq!(unread.is_none(), is_read, "{types:?}");
    }
}

#[test]
fn the_fields_of_a_form_are_read_and_its_files_are_not() {
    let form = headers(&[("content-type", "multipart/form-data; boundary=\"b\"")]);
    let part = |head: &str, content: &str| {
        format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    let file = part(
        "name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav",
        "{\"model\":\"no\"}",
    );
    let model = part("name=\"model\"", "models/a");
    let read = |parts: &[&str], end: &str| {
        let body = parts.concat() + end;
        read_body(body.as_bytes(), &form, MOST_BYTES)
    };
    let arrays = part("name=\"include[]\"", "a") + &part("name=\"include[]\"", "b");

    let (body, unread) = read(
        &[&file, &model, &part("name=\"stream\"", "true"), &arrays],
        "--b--\r\n",
    );
    assert_eq!(unread, None);
    assert_eq!((body.model.as_deref(), body.streams), (Some("a"), true));
    assert!(body.tokens() > 0);
    let (body, _) = read(&[&part("name=\"file_id\"", "files/f")], "--b--\r\n");
    assert_eq!(body.names.len(), 1);
    for (parts, end) in [
        (&[&*model, &*model][..], "--b--\r\n"),
        (
            &[
                &part("name=\"fileId\"", "a"),
                &part("name=\"file_id\"", "b"),
            ],
            "--b--\r\n",
        ),
        (&[&part("name=\"model\"; filename=\"x\"", "a")], "--b--\r\n"),
        (&[&part("filename=\"x\"", "a")], "--b--\r\n"),
        (&[&model], ""),
        (&["{\"model\":\"a\"}"], ""),
    ] {
        assert!(read(parts, end).1.is_some(), "{parts:?}");
    }
}

#[test]
fn tokens_are_estimated_from_text_and_from_the_kind_of_media() {
    let picture = "iVBO".repeat(5 * 1024 * 1024 / 4);
    let cases = [
        (
            json!({"contents": [{"parts": [{"text": "a".repeat(4_000)}]}]}),
            1_000..=1_010,
        ),
        (
            json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": picture}}]}]}),
            200..=300,
        ),
        (
            json!({"messages": [{"content": [{"image_url": {"url": format!("data:image/png;base64,{picture}")}}]}]}),
            200..=300,
        ),
        (
            json!({"contents": [{"parts": [{"text": "a", "thoughtSignature": picture}]}]}),
            1..=1,
        ),
        (
            json!({"contents": [{"parts": [{"inline_data": {"data": "A".repeat(16_000 * 4 / 3 * 60), "mime_type": "audio/mp3"}}]}]}),
            1_900..=2_100,
        ),
        (
            json!({"contents": [{"parts": [{"fileData": {"mimeType": "application/pdf", "fileUri": GOOGLE_FILE}}]}]}),
            2_580..=2_580,
        ),
    ];
    for (number, (body, expected)) in cases.into_iter().enumerate() {
        let tokens = read_whole(body.to_string()).tokens();
        assert!(expected.contains(&tokens), "case {number}: {tokens}");
    }
}

#[derive(serde::Deserialize)]
struct Recording {
    request: Request,
}

#[derive(serde::Deserialize)]
struct Request {
    body: Option<String>,
}

#[test]
fn recorded_requests_are_read() {
    let agent = "agents/deep-research-pro-preview-12-2025";
    let cases = [
        ("file-use-in-chat", "files/mwp1gi5it47f"),
        (
            "cache-use",
            "cachedContents/1e9odc8cm11aab2truxzl4pdxjjxtss4k3gvture",
        ),
        (
            "filestore-use",
            "fileSearchStores/testfilesearchstore-q7prdj5dqu8p",
        ),
        ("interactions-background", agent),
    ];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let id = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|extension| extension != "json")
            || id.starts_with("websocket")
        {
            continue;
        }
        let recording: Recording = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let expected = cases.iter().filter(|(case, _)| *case == id);
        let expected: Vec<_> = expected.map(|(_, name)| (*name).to_owned()).collect();

        let (body, _) = read(recording.request.body.unwrap_or_default());

        let names: Vec<_> = body.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, expected, "{id}");
    }
}
