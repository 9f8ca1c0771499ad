//! Encrypted secrets: what is readable in the files, and every change of the master key beside a running server.

mod commands;
mod rotation;

use std::path::Path;
use std::process::Output;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use gemini_pool::clock;
use gemini_pool::pool::keys::upstream_key::KeyAttributes;
use gemini_pool::pool::secret::Secret;
use gemini_pool::storage::audit::{Act, Actor};
use gemini_pool::storage::db::Db;
use gemini_pool::storage::{installation, upstream_keys};

use crate::support::process::command;

/// Master keys, as an operator writes them.
const KEYS: [&str; 3] = [
    "8f3c6b1e5a7d9024c1f8e3b6a5d4079812f6e9c3b7a8d5041e2f3c6b9a8d7e50",
    "a passphrase of some words",
    "QmFzZTY0IG9mIDMyIGJ5dGVzLCBhcyBvcGVuc3NsISE=",
];

/// Runs a command with this master key; empty: none.
fn run(folder: &Path, master_key: &str, arguments: &[&str]) -> Output {
    run_with(folder, &[("MASTER_KEY", master_key)], arguments)
}

fn run_with(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = command(folder);
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .stdout(std::process::Stdio::piped());
    command.output().unwrap()
}

/// Its output, once it has succeeded.
fn done(output: Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}{errors}");
    text + &errors
}

/// Its message, once it has failed.
fn refused(output: Output) -> String {
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{errors}");
    errors
}

/// Secrets of so many upstream keys.
fn secrets(count: usize) -> Vec<String> {
    let secret = |number| format!("AIzaSyMadeUpAtRest_{number:05}-\"quoted\"-x");
    (0..count).map(secret).collect()
}

/// Adds the keys in one transaction, faster than a command reads them.
async fn add_keys(db: &Db, secrets: &[String]) {
    let mut tx = db.begin().await.unwrap();
    let keys = installation::keys(&mut tx, &db.data_keys).await.unwrap();
    let (actor, now) = (Actor::cli(), clock::now());
    let act = Act::begin(&mut tx, &actor, now).await.unwrap();
    let nothing = KeyAttributes::default();
    for secret in secrets {
        let secret = Secret::new(secret);
        upstream_keys::insert(&mut tx, &keys, &secret, &nothing, true, &act)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

/// A secret in each form in which a file might hold it.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec()];
    let hex = |upper: bool| {
        let digits = secret.iter().map(|byte| {
            if upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            }
        });
        digits.collect::<String>().into_bytes()
    };
    forms.extend([hex(false), hex(true)]);
    // Where it begins at another byte of a longer text, other characters stand for it.
    for skipped in 0..3 {
        let whole = (secret.len() - skipped) / 3 * 3;
        let inner = &secret[skipped..skipped + whole];
        forms.push(BASE64_STANDARD_NO_PAD.encode(inner).into_bytes());
    }
    if let Ok(text) = std::str::from_utf8(secret) {
        let json = serde_json::to_string(text).unwrap();
        forms.push(json.trim_matches('"').as_bytes().to_vec());
    }
    forms
}

/// The secrets that the database and its write-ahead log contain in some form, each with its file.
fn readable(folder: &Path, secrets: &[Vec<u8>]) -> Vec<String> {
    // Of very many keys, the first ones and what follows the keys in every form, and all as they are.
    let in_forms = secrets
        .iter()
        .take(300)
        .chain(secrets.iter().rev().take(300));
    let mut forms: Vec<_> = in_forms.flat_map(|secret| forms(secret)).collect();
    forms.extend(secrets.iter().cloned());
    let search = AhoCorasick::new(&forms).unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            for hit in search.find_iter(&bytes) {
                let form = String::from_utf8_lossy(&forms[hit.pattern()]);
                found.push(format!("{}: {form}", path.display()));
            }
        }
    }
    found
}

#[test]
fn the_search_finds_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let secret = b"AIzaSy\"quoted\"-secret".to_vec();
    for form in forms(&secret) {
        let file = folder.path().join("pool.db");
        std::fs::write(&file, [b"before ", form.as_slice(), b" after"].concat()).unwrap();

        let found = readable(folder.path(), std::slice::from_ref(&secret));

        assert!(!found.is_empty(), "{}", String::from_utf8_lossy(&form));
    }
}
