use proptest::prelude::*;

use super::*;
use crate::pool::keys::upstream_key::Billing;

const FIRST: &str = "AIzaSyFirst-0000000000000000000000000001";
const SECOND: &str = "AQ.Second_00000000000000000000000000000002";

fn keys(text: &str) -> Vec<String> {
    let keys = parse(text).keys;
    keys.iter()
        .map(|key| key.secret.expose().to_owned())
        .collect()
}

#[test]
fn several_keys_with_one_label_are_numbered() {
    let some = |label: &str| Some(label.to_owned());

    assert_eq!(
        numbered_labels(2, Some("team")),
        [some("team-1"), some("team-2")]
    );
    assert_eq!(numbered_labels(1, Some("team")), [some("team")]);
    assert_eq!(numbered_labels(2, None), [None, None]);
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
        assert_eq!(parse(&text).unusable, [], "{case}");
    }
}

#[test]
fn keys_of_unknown_form_are_accepted_where_a_key_is_expected() {
    let cases = [
        "opaque-key-1\nopaque-key-2",
        "opaque-key-1, 'opaque-key-2'",
        "label\tapi key\nfirst-label\topaque-key-1\nsecond-label\topaque-key-2",
        "key\nopaque-key-1\nopaque-key-2",
        r#"["opaque-key-1", "opaque-key-2"]"#,
        r#"[{"label": "first-label", "api_key": "opaque-key-1"}, {"api_key": "opaque-key-2"}]"#,
        r#"{"ALLOWED_TOKENS": ["sk-123456789"], "API_KEYS": ["opaque-key-1", "opaque-key-2"]}"#,
        "# old-key-0000\nDATABASE_TYPE=mysql-or-sqlite\nexport GEMINI_API_KEYS=opaque-key-1,opaque-key-2\n\
         ALLOWED_API_KEYS=sk-123456789",
    ];
    for case in cases {
        assert_eq!(keys(case), ["opaque-key-1", "opaque-key-2"], "{case}");
        assert_eq!(parse(case).unusable, [], "{case}");
    }
    assert_eq!(keys("a-base64-key=="), ["a-base64-key=="]);
}

#[test]
fn unusable_entries_and_duplicates_are_reported_without_exposing_keys() {
    let text =
        format!("{FIRST}\n\nhas a space in it, which no key has\nshort\nAIzaSy...0001\n{FIRST}");
    let import = parse(&text);

    let unusable: Vec<_> = import
        .unusable
        .iter()
        .map(|entry| (entry.line, entry.start.as_str()))
        .collect();
    assert_eq!(unusable, [(3, "has "), (3, "whic"), (4, "s"), (5, "AIz")]);
    assert_eq!((import.keys.len(), import.duplicates), (1, 1));

    let json = "[\n  \"opaque-key-1\",\n  \"no key\"\n]";
    assert_eq!(parse(json).unusable[0].line, 3);
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

            let import = parse(&text);

            let keys: Vec<_> = import
                .keys
                .iter()
                .map(|key| (key.secret.expose(), &key.attributes))
                .collect();
            assert_eq!(keys, [(first, &all), (second, &only_project)], "{text}");
            assert_eq!(import.unusable, [], "{text}");
        }
    }

    let shared = format!(r#"{{"project": 7, "name": "all", "keys": ["{FIRST}", "{SECOND}"]}}"#);
    for key in parse(&shared).keys {
        assert_eq!(key.attributes.project.as_deref(), Some("7"));
        assert_eq!(key.attributes.label, None);
    }
}

#[test]
fn a_key_is_imported_without_its_invalid_attributes() {
    let text = format!(
        "key,weight,billing,priority,project\n{FIRST},0,gold,high,\n{SECOND},1001,,,{FIRST}\n"
    );

    let import = parse(&text);

    assert_eq!(import.keys.len(), 2);
    for key in &import.keys {
        assert!(key.attributes.is_empty(), "{:?}", key.attributes);
    }
    let unusable: Vec<_> = import
        .unusable
        .iter()
        .map(|entry| (entry.line, entry.expected, entry.start.as_str()))
        .collect();
    let expected = [
        (2, "weight", "0"),
        (2, "billing", "gold"),
        (2, "priority", "high"),
        (3, "weight", "1001"),
        (3, "project", "AIza"),
    ];
    assert_eq!(unusable, expected);

    // The row is one cell short, so its key is not in the key column.
    let import = parse(&format!("label,key,project\n{FIRST},team\n"));
    assert_eq!(import.keys.len(), 1);
    assert!(import.keys[0].attributes.is_empty());
}

proptest! {
    #[test]
    fn any_text_can_be_parsed(text in r#"(AIza|AQ\.|API_KEYS=|key|weight|tier|[\[\]{}",;=:\n\t .*#-]|[a-z0-9]{1,30}|\PC){0,60}"#) {
        let import = parse(&text);

        let lines = text.lines().count().max(1);
        for entry in &import.unusable {
            let most = if entry.expected == "key" { 4 } else { FEWEST_CHARACTERS - 1 };
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
        keys in proptest::collection::vec("(AIza[A-Za-z0-9_-]{35}|AQ\\.[A-Za-z0-9][A-Za-z0-9_-]{29})", 1..20),
        separator in r#"\n|\r\n|,|;|\t| |", "|\n\n- | and "#,
    ) {
        let import = parse(&keys.join(&separator));

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
