//! Tests of scanning JSON in chunks.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::gemini::response::json_values::MAX_VALUE_BYTES;

const PATHS: &[JsonPath] = &[
    &["usage"],
    &["a", "usage"],
    &["a", "b"],
    &["a"],
    &["error", "code"],
];

fn scan(document: &[u8]) -> JsonScanner {
    let mut scanner = JsonScanner::new(PATHS);
    scanner.feed(document);
    scanner
}

fn raw(text: &str) -> ScannedValue<'_> {
    ScannedValue::Raw(text.as_bytes())
}

#[test]
fn the_last_value_at_a_path_is_found_and_similar_ones_are_not() {
    let cases: &[(&str, usize, ScannedValue<'_>)] = &[
        (r#"{"usage":1}"#, 0, raw("1")),
        (r#"{"usage" : "x" }"#, 0, raw(r#""x""#)),
        (
            r#"{"usage":{"n":[1,{"m":"}"}]},"z":0}"#,
            0,
            raw(r#"{"n":[1,{"m":"}"}]}"#),
        ),
        (r#"{"usage":1,"usage":2}"#, 0, raw("2")),
        (r#"{"usage":1,"usage":null}"#, 0, raw("1")),
        (
            r#"[{"usage":1},{"usage":[2]},{"z":{"usage":3}}]"#,
            0,
            raw("[2]"),
        ),
        (r#"{"z":"{\"usage\":1}"}"#, 0, ScannedValue::Absent),
        (r#"{"z":{"usage":1}}"#, 0, ScannedValue::Absent),
        (r#"{"z":["usage",{"usage":1}]}"#, 0, ScannedValue::Absent),
        (
            r#"{"z":"usage","usages":1,"usag":2,"":3}"#,
            0,
            ScannedValue::Absent,
        ),
        (r#"{"\u0075sage":4}"#, 0, raw("4")),
        (
            r#"{"usa\/ge":4,"us\"age":5,"usage\\":6}"#,
            0,
            ScannedValue::Absent,
        ),
        (
            r#"{"a":[{"b":1},[{"b":2}],{"b":{"b":3}}]}"#,
            2,
            raw(r#"{"b":3}"#),
        ),
        (r#"{"a":{"b":1,"usage":2},"usage":3}"#, 1, raw("2")),
        (
            r#"{"a":{"b":1,"usage":2},"usage":3}"#,
            3,
            raw(r#"{"b":1,"usage":2}"#),
        ),
        (r#"{"a":[],"usage":[]}"#, 0, raw("[]")),
        (r#"{"a":{},"usage":-1.5e3}"#, 0, raw("-1.5e3")),
        (r#"{"error":{"code":"\\"}}"#, 4, raw(r#""\\""#)),
        (r#"{"usage":1"#, 0, ScannedValue::Absent),
        (r#"{"usage":1]"#, 0, ScannedValue::Absent),
        (r#"<html>{"usage":1}"#, 0, ScannedValue::Absent),
        ("", 0, ScannedValue::Absent),
    ];

    for (document, index, expected) in cases {
        assert_eq!(
            scan(document.as_bytes()).value_at(*index),
            *expected,
            "in {document}"
        );
    }
}

#[test]
fn a_value_in_an_incomplete_document_is_pending() {
    let scanner = scan(br#"{"usage":{"n":1},"a":"#);

    assert_eq!(scanner.pending_value_at(0), raw(r#"{"n":1}"#));
    assert_eq!(scanner.value_at(0), ScannedValue::Absent);
    assert!(!scanner.is_complete());
}

#[test]
fn the_end_of_the_root_is_found_and_the_next_document_keeps_earlier_values() {
    let mut scanner = JsonScanner::new(PATHS);

    assert_eq!(scanner.feed(br#" {"usage":1}, {"#), Some(12));
    scanner.reset();
    assert_eq!(scanner.feed(br#"{"a":{"usage":2}}"#), Some(17));

    assert_eq!(scanner.value_at(0), raw("1"));
    assert_eq!(scanner.latest_value_of(&[0, 1]), raw("2"));
    scanner.reset();
    scanner.feed(br#"{"usage":3"#);
    scanner.reset();
    assert_eq!(scanner.value_at(0), raw("1"));
}

#[test]
fn the_first_key_and_the_start_of_a_value_are_known_early() {
    let mut scanner = JsonScanner::new(PATHS);
    scanner.feed(br#"[ {"usage"#);
    assert_eq!(scanner.first_key_is(0), None);
    scanner.feed(br#"" "#);
    assert_eq!(
        (scanner.first_key_is(0), scanner.first_key_is(3)),
        (Some(true), Some(false))
    );
    assert!(!scanner.has_value_started(0));
    scanner.feed(b":{");
    assert!(scanner.has_value_started(0));

    let mut absent = JsonScanner::new(PATHS);
    absent.feed(br#"{"usage":null,"#);
    assert!(!absent.has_value_started(0));
}

fn drained(scanner: &mut JsonScanner, index: usize) -> Vec<String> {
    let mut values = Vec::new();
    let is_whole = scanner.drain_complete(index, |raw| {
        values.push(String::from_utf8_lossy(raw).into_owned());
    });
    assert!(is_whole);
    values
}

#[test]
fn every_value_is_kept_if_requested() {
    let mut scanner = JsonScanner::new(PATHS).keep_all_values(&[2]);
    scanner.feed(br#"{"a":[{"b":"x"},{"b":null},{"b":"y"}],"usage":1,"usage":2}"#);

    assert_eq!(drained(&mut scanner, 2), [r#""x""#, r#""y""#]);
    assert_eq!(drained(&mut scanner, 0), ["2"]);
}

#[test]
fn too_long_values_are_dropped_and_deep_nesting_is_only_counted() {
    let long = format!(
        r#"{{"usage":"{}","a":{{"b":7}}}}"#,
        "x".repeat(MAX_VALUE_BYTES)
    );
    let scanner = scan(long.as_bytes());
    assert_eq!(scanner.value_at(0), ScannedValue::TooLong);
    assert_eq!(scanner.value_at(2), raw("7"));

    let deep = format!("{}1{},", r#"{"a":["#.repeat(100_000), "]}".repeat(100_000));
    assert!(scan(deep.as_bytes()).is_complete());

    let long_key = format!(r#"{{"{}usage":1,"usage":2}}"#, "k".repeat(100_000));
    assert_eq!(scan(long_key.as_bytes()).value_at(0), raw("2"));
}

/// The result of a whole-document parser: the last value at `path` that is not null.
fn expected<'a>(value: &'a Value, path: &[&str], matched: &mut Option<&'a Value>) {
    match (value, path) {
        (Value::Array(elements), _) => {
            for element in elements {
                expected(element, path, matched);
            }
        }
        (Value::Object(fields), [key, rest @ ..]) => {
            for (_, field) in fields.iter().filter(|(name, _)| name == key) {
                if rest.is_empty() && !field.is_null() {
                    *matched = Some(field);
                } else if !rest.is_empty() {
                    expected(field, rest, matched);
                }
            }
        }
        _ => {}
    }
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        r#"[a-z"\\/{}\[\]:, é]{0,12}"#.prop_map(Value::from),
        Just(Value::from(r#"{"usage":1}"#)),
    ];
    let keys = prop::sample::select(vec!["usage", "a", "b", "error", "code", "x\"", "\\usage"]);
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let fields = prop::collection::vec((keys.clone(), inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            fields.prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn the_scanner_agrees_with_a_whole_document_parser_for_all_chunks(
        document in documents(),
        pretty in any::<bool>(),
        piece in 1_usize..9,
    ) {
        let text = if pretty {
            serde_json::to_string_pretty(&document).unwrap()
        } else {
            document.to_string()
        } + "\n";
        let mut scanner = JsonScanner::new(PATHS);
        let ended = text.as_bytes().chunks(piece).any(|chunk| scanner.feed(chunk).is_some());

        prop_assert!(ended, "{}", text);
        for (index, path) in PATHS.iter().enumerate() {
            let mut wanted = None;
            expected(&document, path, &mut wanted);
            let matched = match scanner.value_at(index) {
                ScannedValue::Raw(raw) => Some(serde_json::from_slice::<Value>(raw).unwrap()),
                ScannedValue::Absent => None,
                ScannedValue::TooLong => panic!("no value is that long"),
            };
            prop_assert_eq!(matched.as_ref(), wanted, "{:?} in {}", path, text);
        }
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..9) {
        let mut scanner = JsonScanner::new(PATHS).keep_all_values(&[1]);
        for chunk in bytes.chunks(piece) {
            scanner.feed(chunk);
        }
    }

    #[test]
    fn malformed_json_causes_no_panic(text in r#"[{}\[\]",:\\a1nt ]{0,80}"#, piece in 1_usize..9) {
        let mut scanner = JsonScanner::new(PATHS);
        for chunk in text.as_bytes().chunks(piece) {
            scanner.feed(chunk);
        }
    }
}

proptest! {
    #[test]
    fn backslashes_escape_correctly_across_chunk_boundaries(
        texts in proptest::collection::vec(r#"[a"\\]{0,20}"#, 1..5),
        cuts in proptest::collection::vec(0..200_usize, 0..5),
    ) {
        let fields = texts.iter().map(|text| serde_json::json!({text: text, "usage": text}).to_string());
        let body = format!("[{}]", fields.collect::<Vec<_>>().join(" , "));
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();

        let mut scanner = JsonScanner::new(PATHS).keep_all_values(&[0]);
        for pair in cuts.windows(2) {
            scanner.feed(&body.as_bytes()[pair[0]..pair[1]]);
        }

        prop_assert!(scanner.is_complete());
        let matched = drained(&mut scanner, 0).into_iter();
        let matched: Vec<String> = matched.map(|raw| serde_json::from_str(&raw).unwrap()).collect();
        prop_assert_eq!(matched, texts);
    }
}
