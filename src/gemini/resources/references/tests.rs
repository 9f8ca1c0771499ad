use proptest::prelude::*;
use serde_json::json;

use super::*;

fn names_of(body: &[u8]) -> Vec<String> {
    let references = ResourceReferences::from_body(body);
    let mut names: Vec<_> = references.names().map(ToString::to_string).collect();
    names.sort();
    names
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn only_fields_that_google_reads_as_names_are_references() {
    let uri = "https://generativelanguage.googleapis.com/v1beta/files/f";
    let file = json!({"parts": [{"text": uri}, {"fileData": {"fileUri": uri, "mimeType": "a/b"}}]});
    let cases = [
        (json!({"contents": [file]}), &["files/f"][..]),
        (
            json!({"contents": [{"parts": [{"file_data": {"file_uri": "files/f"}}]}]}),
            &["files/f"],
        ),
        (json!({"systemInstruction": file}), &["files/f"]),
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
            json!({"tools": [{"file_search": {"file_search_store_names": ["fileSearchStores/a"]}}]}),
            &["fileSearchStores/a"],
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
            json!({"fileUri": {"fileUri": {"x": 1}}, "uri": 7, "cachedContent": null, "file_id": true}),
            &[],
        ),
        (json!({"fileUri": "https://www.youtube.com/watch?v=x"}), &[]),
        (json!({"fileUri": "gs://bucket/files/f"}), &[]),
        (
            json!({"fileUri": "https://example.com/v1beta/files/f"}),
            &[],
        ),
        (
            json!({"file_name": "report.pdf", "cachedContent": "files/f", "model": "models/m"}),
            &[],
        ),
        (json!("files/f"), &[]),
    ];
    for (body, expected) in cases {
        for text in [
            body.to_string(),
            serde_json::to_string_pretty(&body).unwrap(),
        ] {
            assert_eq!(names_of(text.as_bytes()), expected, "{text}");
        }
    }
}

#[test]
fn escaped_keys_and_names_are_found() {
    for body in [
        r#"{"fileUri":"https:\/\/generativelanguage.googleapis.com\/v1beta\/files\/f"}"#,
        r#"{"file\u0055ri":"\u0066iles/f"}"#,
        r#"{"\u0066\u0069\u006c\u0065\u005f\u0075\u0072\u0069" : "files/\u0066"}"#,
        r#"{"text":"\\\"","fileUri":"files/f","text":"\""}"#,
    ] {
        assert_eq!(names_of(body.as_bytes()), ["files/f"], "{body}");
    }
}

#[test]
fn names_before_invalid_json_are_kept() {
    assert_eq!(
        names_of(br#"{"fileUri":"files/a",,"fileUri":"files/b"}"#),
        ["files/a"]
    );
    assert_eq!(
        names_of(br#"{"fileUri":"files/a","x":{"fileUri":"files/b""#),
        ["files/a", "files/b"]
    );
    assert_eq!(names_of(b"%PDF-1.7 \"fileUri\":\"files/a\""), [""; 0]);
}

#[test]
fn an_interaction_is_stored_unless_the_client_disables_it() {
    for (body, stores_interaction) in [
        (r#"{"model":"m"}"#, true),
        (r#"{"store":true}"#, true),
        (r#"{"store" : false}"#, false),
        (r#"{"store":false"#, false),
        (r#"{"input":{"store":false}}"#, true),
    ] {
        let mut references = ResourceReferences::default();
        references.feed(body.as_bytes());
        references.feed(b" ");

        assert_eq!(
            references.stores_interaction(),
            stores_interaction,
            "{body}"
        );
    }
}

#[test]
fn the_number_of_names_is_limited() {
    let uri = |number| format!(r#"{{"fileUri":"files/{number:0>1000}"}}"#);
    let few: Vec<_> = (0..1_000).map(uri).collect();
    let many: Vec<_> = (0..3_000).map(uri).collect();
    let again = vec![uri(1); 3_000];

    let read =
        |uris: &[String]| ResourceReferences::from_body(format!("[{}]", uris.join(",")).as_bytes());

    assert!(read(&few).is_complete());
    assert_eq!(read(&few).names().len(), 1_000);
    assert!(!read(&many).is_complete());
    assert!(read(&many).names().len() > 1_000);
    assert!(read(&again).is_complete());
    assert_eq!(read(&again).names().len(), 1);
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
fn references_are_read_from_recorded_requests() {
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
        let expected: Vec<_> = expected.map(|(_, name)| *name).collect();

        let names = names_of(recording.request.body.unwrap_or_default().as_bytes());

        assert_eq!(names, expected, "{id}");
    }
}

/// The same result from the parsed document.
fn by_value(value: &Value, path: &mut Vec<String>, names: &mut BTreeSet<ResourceName>) {
    let is_anywhere = |position: &JsonPath| position[0] == ANY_DEPTH;
    let matches = |position: JsonPath, path: &[String]| {
        if is_anywhere(&position) {
            let opaque = path.iter().rev().skip(1);
            path.last().is_some_and(|key| key == position[1])
                && !opaque
                    .clone()
                    .any(|key| FREE_FORM_KEYS.contains(&key.as_str()) || key == position[1])
        } else {
            path == position
        }
    };
    for (position, syntax) in REFERENCE_FIELDS {
        if matches(position, path) {
            let raw = serde_json::to_vec(value).unwrap();
            let texts = strings_in(&raw);
            names.extend(texts.iter().filter_map(|text| syntax.parse_name(text)));
        }
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                path.push(key.clone());
                by_value(value, path, names);
                path.pop();
            }
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|value| elements_of(value, path, names)),
        _ => {}
    }
}

/// Elements of an array have the path of the array, but are not its value.
fn elements_of(value: &Value, path: &mut Vec<String>, names: &mut BTreeSet<ResourceName>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                path.push(key.clone());
                by_value(value, path, names);
                path.pop();
            }
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|value| elements_of(value, path, names)),
        _ => {}
    }
}

/// Every character as an escape, or only the required ones.
fn spell(text: &str, escaped: bool) -> String {
    if !escaped {
        return serde_json::to_string(text).unwrap();
    }
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    format!("\"{}\"", units.collect::<String>())
}

fn write(value: &Value, escaped: bool) -> String {
    match value {
        Value::String(text) => spell(text, escaped),
        Value::Array(elements) => {
            let elements = elements.iter().map(|element| write(element, escaped));
            format!("[ {} ]", elements.collect::<Vec<_>>().join(" ,\n"))
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| format!("{} : {}", spell(key, escaped), write(value, escaped)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        "(files|cachedContents|tunedModels|fileSearchStores)/[a-c]{1,2}",
        "https://generativelanguage.googleapis.com/v1beta/files/[a-c]{1,2}",
        "[a-c]{1,3}",
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        6 => name.prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
    ];
    let keys = REFERENCE_FIELDS
        .iter()
        .flat_map(|(path, _)| path.iter().copied());
    let keys: Vec<&str> = keys
        .chain(FREE_FORM_KEYS.iter().copied())
        .chain(["contents", "parts", "x"])
        .collect();
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let key = proptest::sample::select(keys.clone()).prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_parser_of_the_whole_document_finds_the_same_names(value in any_json(), escaped in any::<bool>()) {
        let mut expected = BTreeSet::new();
        by_value(&value, &mut Vec::new(), &mut expected);

        let found = ResourceReferences::from_body(write(&value, escaped).as_bytes());

        prop_assert_eq!(found.names, expected);
    }

    #[test]
    fn chunk_boundaries_change_nothing(value in any_json(), escaped in any::<bool>(), broken_at in 0..400_usize, cuts in proptest::collection::vec(0..400_usize, 0..9)) {
        let mut body = write(&value, escaped).into_bytes();
        body.truncate(broken_at);
        let whole = ResourceReferences::from_body(&body);

        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let mut found = ResourceReferences::default();
        for pair in cuts.windows(2) {
            found.feed(&body[pair[0]..pair[1]]);
        }

        prop_assert_eq!(found.names, whole.names);
        prop_assert_eq!(found.stores_interaction, whole.stores_interaction);
    }

    #[test]
    fn nothing_panics(bytes in r#"[ -~"\\{}\[\],:\n]{0,80}"#, cut in 0..80_usize) {
        let (head, tail) = bytes.as_bytes().split_at(cut.min(bytes.len()));
        let mut references = ResourceReferences::default();
        references.feed(head);
        references.feed(tail);
    }
}
