//! Tests of reading keys from texts.

mod examples;

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::pool::keys::upstream_key::{Billing, KeyAttributes};

fn any(text: &str) -> KeyImport {
    read(text, Expected::AnyText)
}

const FIRST: &str = "AIzaSyFirst-0000000000000000000000000001";
const SECOND: &str = "AQ.Second_00000000000000000000000000000002";

fn keys(text: &str) -> Vec<String> {
    let keys = any(text).keys;
    keys.iter()
        .map(|key| key.secret.expose().to_owned())
        .collect()
}

#[test]
fn googles_keys_are_found_in_any_text() {
    let cases = [
        "FIRST\nSECOND",
        "\u{feff}FIRST\r\n\r\n  SECOND  \r\n",
        "FIRST,SECOND",
        "label,key\nmy label here,FIRST\n\"another, one\",SECOND\n",
        "FIRST;paid;my-first-label\nSECOND;free;another-label",
        r#"["FIRST", "SECOND"]"#,
        r#"{"keys": [{"name": "not-a-key", "key": "FIRST"}, {"name": "not-a-key", "key": "SECOND"}]}"#,
        r#"{"FIRST": "some-label", "SECOND": "other-label"}"#,
        "{\"key\": \"FIRST\"}\n{\"key\": \"SECOND\"}",
        r#"API_KEYS=["FIRST","SECOND"]"#,
        "API_KEYS='[\"FIRST\",\"SECOND\"]'",
        "API_KEYS=[\n  \"FIRST\",\n  \"SECOND\"\n]",
        "MYSQL_HOST=some-database-host\nALLOWED_TOKENS=[\"sk-123456789\"]\nPAID_KEY=FIRST\nVERTEX_API_KEYS=[\"SECOND\"]",
        "use FIRST, or else (SECOND).",
        "https://example.com/v1beta/models?key=FIRST&alt=sse\n- SECOND",
    ];
    for case in cases {
        let text = case.replace("FIRST", FIRST).replace("SECOND", SECOND);
        assert_eq!(keys(&text), [FIRST, SECOND], "{case}");
        let refused = any(&text).not_taken;
        let of_others = NotTakenReason::OtherService;
        assert!(
            refused.iter().all(|entry| entry.reason == of_others),
            "{case}"
        );
    }
}

#[test]
fn keys_of_unknown_form_are_accepted_where_a_name_says_so_or_only_keys_are_expected() {
    let named = [
        "label\tapi key\nfirst-label\topaque-key-1\nsecond-label\topaque-key-2",
        "key\nopaque-key-1\nopaque-key-2",
        r#"[{"label": "first-label", "api_key": "opaque-key-1"}, {"api_key": "opaque-key-2"}]"#,
        r#"{"ALLOWED_TOKENS": ["sk-123456789"], "API_KEYS": ["opaque-key-1", "opaque-key-2"]}"#,
        "# old-key-0000\nDATABASE_TYPE=mysql-or-sqlite\nexport GEMINI_API_KEYS=opaque-key-1,opaque-key-2\n\
         ALLOWED_API_KEYS=sk-123456789",
        "gemini:\n  api_keys:\n    - opaque-key-1\n    - opaque-key-2\nport: 80",
        "[gemini]\napi_key = opaque-key-1, opaque-key-2\n[openai]\napi_key = sk-123456789",
    ];
    for case in named {
        assert_eq!(keys(case), ["opaque-key-1", "opaque-key-2"], "{case}");
    }
    let alone = [
        "opaque-key-1\nopaque-key-2",
        "opaque-key-1, 'opaque-key-2'",
        "opaque-key-1;opaque-key-2",
        "opaque-key-1，opaque-key-2",
        r#"["opaque-key-1", "opaque-key-2"]"#,
        "- opaque-key-1\n- opaque-key-2",
        "[\n  \"opaque-key-1\",\n  \"opaque-key-2\",\n]",
    ];
    for case in alone {
        let found = read(case, Expected::KeysOnly).keys;
        let found: Vec<_> = found.iter().map(|key| key.secret.expose()).collect();
        assert_eq!(found, ["opaque-key-1", "opaque-key-2"], "{case}");
        assert_eq!(keys(case), [""; 0], "{case}");
    }
    for separator in ["\n", ",", ", ", ";"] {
        let mixed = [FIRST, "opaque-key-1", SECOND, "opaque-key-2"];
        let found = read(&mixed.join(separator), Expected::KeysOnly).keys;
        let found: Vec<_> = found.iter().map(|key| key.secret.expose()).collect();
        assert_eq!(found, mixed, "{separator:?}");
    }
    let padded = read("a-base64-key==", Expected::KeysOnly).keys;
    assert_eq!(padded[0].secret.expose(), "a-base64-key==");
}

#[test]
fn the_rest_and_duplicates_are_reported_without_exposing_keys() {
    let text = format!(
        "{FIRST}\n\nhas a space in it, which no key has\nshort!\nAIzaSy...0001\n{FIRST}\nopaque-key-1@"
    );
    let import = any(&text);

    let not_taken: Vec<_> = import
        .not_taken
        .iter()
        .map(|entry| (entry.line, entry.reason, entry.start.as_str()))
        .collect();
    let expected = [
        (3, NotTakenReason::NoKey, "has "),
        (4, NotTakenReason::NoKey, "s"),
        (5, NotTakenReason::Incomplete, "A"),
        (7, NotTakenReason::NoKey, "opa"),
    ];
    assert_eq!(not_taken, expected);
    assert_eq!((import.keys.len(), import.duplicates), (1, 1));

    let json = "{\"keys\": [\n  \"opaque-key-1\",\n  \"no key\"\n]}";
    assert_eq!(any(json).not_taken[0].line, 3);
}

#[test]
fn attributes_beside_a_key_are_imported() {
    let all = KeyAttributes {
        label: Some("one, first".to_owned()),
        project: Some("projects/7".to_owned()),
        billing: Some(Billing::Paid),
        priority: Some(-2),
        weight: Some(5),
        tags: Some(vec!["a".to_owned(), "b".to_owned()]),
    };
    let only_project = KeyAttributes {
        project: Some("team blue".to_owned()),
        ..KeyAttributes::default()
    };
    let cases = [
        "Weight,TIER,api_key,Project ID,name,priority,tags\n5,paid,FIRST,projects/7,\"one, first\",-2,a;b\n,,SECOND,team blue,,,\n",
        "key\tproject\tlabel\tbilling\tpriority\tweight\ttags\nFIRST\tprojects/7\tone, first\tTier 1\t-2\t5\ta|b\n\
         SECOND\tteam blue\n",
        "label;key;project;billing;priority;weight;tags\n\"one, first\";FIRST;projects/7;paid;-2;5;a b\n;SECOND;team blue",
        r#"[{"key": "FIRST", "name": "one, first", "project_number": "projects/7", "tier": "paid", "priority": -2, "weight": "5",
            "tags": ["a", "b"]}, {"apiKey": "SECOND", "project": "team blue", "label": null}]"#,
        "{\"key\": \"FIRST\", \"label\": \"one, first\", \"project\": \"projects/7\", \"billing\": \"paid\", \"priority\": \"-2\", \
          \"weight\": 5, \"tags\": \"a;b\"}\n{\"key\": \"SECOND\", \"project\": \"team blue\"}",
    ];
    for case in cases {
        for (first, second) in [(FIRST, SECOND), ("opaque-key-1", "opaque-key-2")] {
            let text = case.replace("FIRST", first).replace("SECOND", second);

            let import = any(&text);

            let keys: Vec<_> = import
                .keys
                .iter()
                .map(|key| (key.secret.expose(), &key.attributes))
                .collect();
            assert_eq!(keys, [(first, &all), (second, &only_project)], "{text}");
            assert_eq!(import.not_taken, [], "{text}");
        }
    }

    let shared = format!(r#"{{"project": 7, "name": "all", "keys": ["{FIRST}", "{SECOND}"]}}"#);
    for key in any(&shared).keys {
        assert_eq!(key.attributes.project.as_deref(), Some("7"));
    }
    let labels: Vec<_> = any(&shared)
        .keys
        .iter()
        .map(|key| key.attributes.label.clone())
        .collect();
    assert_eq!(labels, [Some("all-1".to_owned()), Some("all-2".to_owned())]);
}

#[test]
fn a_key_is_imported_without_its_invalid_attributes() {
    let text = format!(
        "key,weight,billing,priority,project\n{FIRST},-1,gold,high,\n{SECOND},1001,,,{FIRST}\n"
    );

    let import = any(&text);

    assert_eq!(import.keys.len(), 2);
    for key in &import.keys {
        assert!(key.attributes.is_empty(), "{:?}", key.attributes);
    }
    let not_taken: Vec<_> = import
        .not_taken
        .iter()
        .map(|entry| (entry.line, entry.reason, entry.start.as_str()))
        .collect();
    let expected = [
        (2, NotTakenReason::Attribute("weight"), "-1"),
        (2, NotTakenReason::Attribute("billing"), "gold"),
        (2, NotTakenReason::Attribute("priority"), "high"),
        (3, NotTakenReason::Attribute("weight"), "1001"),
        (3, NotTakenReason::Attribute("project"), "AIza"),
    ];
    assert_eq!(not_taken, expected);

    // The row is one cell short, so its key is not in the key column.
    let import = any(&format!("label,key,project\n{FIRST},team\n"));
    assert_eq!(import.keys.len(), 1);
    assert!(import.keys[0].attributes.is_empty());
}

#[test]
fn nothing_that_may_be_a_password_is_stored() {
    let passwords = [
        "hunter2",
        "hunter2-Hunter3",
        "Tr0ub4dor",
        "xKcdHorse",
        "pass_w0rd",
    ];
    for password in passwords {
        for text in [
            "PASSWORD|FIRST",
            "PASSWORD FIRST",
            "PASSWORD: FIRST",
            "FIRST # PASSWORD",
            "PASSWORD\nFIRST",
            "# PASSWORD\nFIRST",
            "PASSWORD|FIRST\nPASSWORD|SECOND",
        ] {
            let text = text.replace("PASSWORD", password);
            let import = any(&text.replace("FIRST", FIRST).replace("SECOND", SECOND));

            let labels = import.keys.iter().map(|key| &key.attributes.label);
            assert!(labels.clone().count() > 0, "{text}");
            assert!(
                labels.into_iter().all(Option::is_none),
                "{text}: {:?}",
                import.keys
            );
        }
    }
    for expected in [Expected::AnyText, Expected::KeysOnly] {
        for text in [
            "correcthorse batterystaple",
            "opaque-key-1\ncorrecthorse batterystaple",
        ] {
            let import = read(text, expected);
            let line = text.lines().count();
            let keys: Vec<_> = import.keys.iter().map(|key| key.secret.expose()).collect();
            assert!(keys.iter().all(|key| *key == "opaque-key-1"), "{keys:?}");
            assert_eq!(import.not_taken.last().unwrap().line, line, "{text}");
        }
    }
}

#[test]
fn keys_marked_as_disabled_are_disabled() {
    for text in [
        "key,weight\nFIRST,0",
        "key,enabled\nFIRST,false",
        "名称,密钥,状态\n一,FIRST,禁用",
        "Project-3 | FIRST | disabled",
        r#"[{"key": "FIRST", "disabled": true}]"#,
        r#"[{"key": "FIRST", "status": 2, "weight": 5}]"#,
        r#"{"providers": [{"id": "gemini", "enabled": false, "apiKey": "FIRST"}]}"#,
        r#"{"FIRST": {"state": "disabled"}}"#,
    ] {
        let import = any(&text.replace("FIRST", FIRST));
        assert!(
            import.keys.len() == 1 && import.keys[0].is_disabled,
            "{text}"
        );
        assert_eq!(import.not_taken, [], "{text}");
    }
    // The default of other pools.
    let import = any(&format!(
        r#"[{{"key": "{FIRST}", "status": 1, "weight": 0}}]"#
    ));
    assert!(!import.keys[0].is_disabled && import.not_taken.is_empty());
}

fn any_bool() -> proptest::bool::Any {
    proptest::bool::ANY
}

proptest! {
    #[test]
    fn any_text_can_be_read(is_alone in any_bool(), text in r#"(AIza|AQ\.|AIza[a-z]{35}|---- |- |: |API_KEYS=|key|weight|tier|[\[\]{}",;=:\n\t .*#-]|[a-z0-9]{1,30}|\PC){0,60}"#) {
        let expected = if is_alone { Expected::KeysOnly } else { Expected::AnyText };
        let import = read(&text, expected);

        let lines = text.replace("\r\n", "\n").replace('\r', "\n").split('\n').count();
        for entry in &import.not_taken {
            let is_attribute = matches!(entry.reason, NotTakenReason::Attribute(_));
            let most = if is_attribute { 7 } else { 4 };
            prop_assert!(entry.start.chars().count() <= most && (1..=lines).contains(&entry.line));
        }
        for key in &import.keys {
            prop_assert!(key.secret.expose().bytes().all(|byte| byte.is_ascii_graphic()));
        }
        let unique: HashSet<_> = import.keys.iter().map(|key| &key.secret).collect();
        prop_assert_eq!(unique.len(), import.keys.len());
    }

    #[test]
    fn every_key_is_found_with_any_separator(
        keys in proptest::collection::vec("(AIza[A-Za-z0-9_-]{35}|AQ\\.[A-Za-z0-9](-?[A-Za-z0-9_]){29})", 1..20),
        separator in r#"\n|\r\n|,|;|\t| |", "|\n\n- | and "#,
    ) {
        let import = any(&keys.join(&separator));

        let mut expected = Vec::new();
        for key in &keys {
            if !expected.contains(&key.as_str()) {
                expected.push(key);
            }
        }
        let found: Vec<_> = import.keys.iter().map(|key| key.secret.expose()).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(import.duplicates, keys.len() - import.keys.len());
    }
}
