//! Texts as people paste them, in `tests/fixtures/pasted_keys`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::pool::keys::import::{Expected, decode, read};
use crate::pool::keys::imported_keys::{ImportedKey, KeyImport};

/// What a text contains.
#[derive(Deserialize)]
struct Example {
    keys: Vec<ExpectedKey>,
    /// The lines in which something is not taken.
    not_taken: Vec<usize>,
    #[serde(default)]
    duplicates: usize,
    /// The keys where only keys are expected, if they are others.
    only_keys: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
struct ExpectedKey {
    key: String,
    label: Option<String>,
    #[serde(default)]
    disabled: bool,
}

fn examples() -> Vec<(String, String, Example)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let table = std::fs::read(folder.join("pasted_keys.json")).unwrap();
    let table: BTreeMap<String, Example> = serde_json::from_slice(&table).unwrap();
    let text = |name: &str| {
        let bytes = std::fs::read(folder.join("pasted_keys").join(name)).unwrap();
        decode::decode(&bytes)
    };
    table
        .into_iter()
        .map(|(name, example)| (text(&name), name, example))
        .map(|(text, name, example)| (name, text, example))
        .collect()
}

fn shown(keys: &[ImportedKey]) -> Vec<ExpectedKey> {
    let shown = |key: &ImportedKey| ExpectedKey {
        key: key.secret.expose().to_owned(),
        label: key.attributes.label.clone(),
        disabled: key.is_disabled,
    };
    keys.iter().map(shown).collect()
}

fn lines(import: &KeyImport) -> Vec<usize> {
    let mut lines: Vec<_> = import.not_taken.iter().map(|entry| entry.line).collect();
    lines.dedup();
    lines
}

#[test]
fn texts_as_people_paste_them_are_read() {
    let examples = examples();
    assert!(examples.len() >= 40);
    let mut failed = Vec::new();
    for (name, text, example) in &examples {
        let import = read(text, Expected::AnyText);

        if (shown(&import.keys), lines(&import), import.duplicates)
            != (
                example.keys.clone(),
                example.not_taken.clone(),
                example.duplicates,
            )
        {
            failed.push(format!("{name}: {import:#?}"));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {}: {}",
        failed.len(),
        examples.len(),
        failed.join("\n")
    );
}

#[test]
fn the_same_keys_are_found_where_only_keys_are_expected() {
    let mut failed = Vec::new();
    for (name, text, example) in &examples() {
        let import = read(text, Expected::KeysOnly);

        let found: Vec<_> = import.keys.iter().map(|key| key.secret.expose()).collect();
        let expected = match &example.only_keys {
            Some(keys) => keys.iter().map(String::as_str).collect(),
            None => example
                .keys
                .iter()
                .map(|expected| expected.key.as_str())
                .collect::<Vec<_>>(),
        };
        if found != expected {
            failed.push(format!("{name}: {import:#?}"));
        }
    }
    assert!(failed.is_empty(), "{}: {}", failed.len(), failed.join("\n"));
}
