//! Keys in texts as people paste them, by command, page and environment.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::storage::upstream_keys;
use serde_json::Value;

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::process::{PoolProcess, command, database};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn examples() -> BTreeMap<String, Value> {
    let table = std::fs::read(fixtures().join("pasted_keys.json")).unwrap();
    serde_json::from_slice(&table).unwrap()
}

fn file(name: &str) -> PathBuf {
    fixtures().join("pasted_keys").join(name)
}

fn secrets(example: &Value) -> Vec<&str> {
    let keys = example["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["key"].as_str().unwrap())
        .collect()
}

fn run(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails at once reads no input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

async fn stored(folder: &Path) -> Vec<(String, bool)> {
    let db = database(folder).await;
    let (keys, _) = upstream_keys::list_changed(&db, -1).await.unwrap();
    db.close().await;
    keys.iter()
        .map(|key| (key.secret.expose().to_owned(), key.enabled))
        .collect()
}

#[test]
fn a_dry_run_lists_each_key_masked_with_line_and_label_and_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (name, example) in examples() {
        let path = file(&name);
        let output = run(
            folder.path(),
            &[
                "upstream-keys",
                "import",
                "--dry-run",
                "--json",
                path.to_str().unwrap(),
            ],
            b"",
        );

        let expected = secrets(&example);
        let code = i32::from(expected.is_empty());
        assert_eq!(output.status.code(), Some(code), "{name}: {output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let report: Value = serde_json::from_str(&printed).unwrap();
        let listed = report["keys"].as_array().unwrap();
        assert_eq!(listed.len(), expected.len(), "{name}: {printed}");
        for (listed, key) in listed.iter().zip(example["keys"].as_array().unwrap()) {
            assert!(
                key["key"]
                    .as_str()
                    .unwrap()
                    .ends_with(listed["last4"].as_str().unwrap())
            );
            assert_eq!(listed["label"], key["label"], "{name}");
            assert_eq!(listed["enabled"], key["disabled"] != true, "{name}");
            assert!(listed["line"].as_u64().unwrap() > 0);
        }
        assert!(
            !expected.iter().any(|secret| printed.contains(secret)),
            "{name}: {printed}"
        );
        assert_eq!(report.get("odd"), None);
    }
    assert!(!folder.path().join("pool.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn import_and_add_store_the_keys_of_a_text_and_nothing_else() {
    for command in [
        &["upstream-keys", "import", "-"][..],
        &["upstream-keys", "add"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for (name, example) in examples() {
            let only_keys = &example["only_keys"];
            if only_keys.is_array() {
                continue;
            }
            run(folder.path(), command, &std::fs::read(file(&name)).unwrap());
            for key in example["keys"].as_array().unwrap() {
                let secret = key["key"].as_str().unwrap().to_owned();
                expected.push((secret, key["disabled"] != true));
            }
        }

        let mut stored = stored(folder.path()).await;
        stored.sort();
        expected.sort();
        assert_eq!(stored.len(), expected.len(), "{command:?}");
        for (stored, expected) in stored.iter().zip(&expected) {
            assert_eq!(stored.0, expected.0, "{command:?}");
            // Marks beside keys are attributes, which `add` reads too.
            assert_eq!(stored.1, expected.1, "{command:?}: {}", stored.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_lists_the_same_keys() {
    let pool = TestPool::start(FakeConfig::default()).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    for (name, example) in examples() {
        let bytes = std::fs::read(file(&name)).unwrap();
        let Ok(text) = String::from_utf8(bytes) else {
            // A browser sends UTF-8 only.
            continue;
        };
        admin.get_page("/upstream-keys/import").await;
        let answer = admin
            .submit("/upstream-keys/import", &[("text", &text)])
            .await;

        let preview = answer.headers()["location"].to_str().unwrap().to_owned();
        let page = admin.get_page(&preview).await;
        let listed = page.matches("data-label=\"Key\"").count();
        assert_eq!(listed, secrets(&example).len(), "{name}");
        let lines = page.matches("data-label=\"Starts with\"").count();
        assert_eq!(
            lines > 0,
            example["not_taken"] != Value::Array(Vec::new()),
            "{name}"
        );
        assert!(
            !secrets(&example).iter().any(|secret| page.contains(secret)),
            "{name}"
        );
    }
}

#[test]
fn an_import_that_takes_nothing_fails_and_names_the_option_for_other_forms() {
    let folder = tempfile::tempdir().unwrap();
    let other = b"opaque-key-of-ann-1\nopaque-key-of-ben-2\n";

    let refused = run(folder.path(), &["upstream-keys", "import", "-"], other);
    let nothing = run(folder.path(), &["upstream-keys", "add"], b"no key\n");
    let taken = run(
        folder.path(),
        &["upstream-keys", "import", "--any", "-"],
        other,
    );

    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(message.contains("--any"), "{message}");
    assert_eq!(nothing.status.code(), Some(1));
    assert_eq!(taken.status.code(), Some(0));
    let printed = String::from_utf8(taken.stdout).unwrap();
    assert!(
        printed.contains("2 new") && printed.contains("0 not taken"),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_give_their_keys_or_stop_the_start_with_the_masked_fault() {
    for name in [
        "environment-json.txt",
        "environment-quoted.txt",
        "environment-semicolon.txt",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(file(name)).unwrap();
        let mut serve = command(folder.path());
        serve.arg("serve").env("GEMINI_API_KEYS", &text);
        let server = PoolProcess::spawn(serve).listening().await;
        let stored: Vec<_> = stored(folder.path())
            .await
            .into_iter()
            .map(|(secret, _)| secret)
            .collect();
        assert_eq!(stored, secrets(&examples()[name]), "{name}");
        server.kill();
    }

    for (variable, value, shown) in [
        ("GEMINI_API_KEYS", r#"["A","B"]"#, r#"["…","…"]"#),
        ("GEMINI_API_KEYS", r#""A,B""#, r#""…,…""#),
        ("GEMINI_API_KEYS", "your_api_key_here", "GEMINI_API_KEYS"),
        (
            "GEMINI_API_KEYS",
            "AIzaSyMadeUp000000000000000000000000001 and another",
            "line 1",
        ),
        (
            "ALLOWED_API_KEYS",
            r#"["sk-client-key-0001","sk-client-key-0002"]"#,
            r#"["…","…"]"#,
        ),
        (
            "ALLOWED_API_KEYS",
            "sk-client-key-0001;sk-client-key-0002",
            "entry 1 contains ';'",
        ),
        (
            "ALLOWED_API_KEYS",
            "sk-client-key-0001 sk-client-key-0002",
            "… …",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut serve = command(folder.path());
        serve.arg("serve").env(variable, value);
        let ended = serve.output().unwrap();

        let message = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{value}: {message}");
        assert!(
            message.contains(variable) && message.contains(shown),
            "{value}: {message}"
        );
        assert!(
            !message.contains("client-key-0001") && !message.contains("MadeUp"),
            "{message}"
        );
        assert!(!folder.path().join("pool.db").exists(), "{value}");
    }
}
