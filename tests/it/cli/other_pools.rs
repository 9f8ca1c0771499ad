//! Keys and clients of gemini-balance, gpt-load and one-api, taken over from their SQLite databases.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::support::process::run_command;

/// Creates the database of a fixture in `folder`.
async fn database_of(folder: &Path, name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/other_pools");
    let statements = std::fs::read_to_string(fixtures.join(name).with_extension("sql")).unwrap();
    let path = folder.join(format!("{name}.db"));
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut db = options.connect().await.unwrap();
    sqlx::raw_sql(&statements).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    path
}

async fn run(folder: &Path, arguments: &[&str]) -> Output {
    let (folder, arguments) = (folder.to_owned(), arguments.join("\n"));
    let run = move || run_command(&folder, &arguments.split('\n').collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = run(folder, arguments).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Imports the upstream keys of a fixture, and returns of each the last characters, the label and whether it is enabled.
async fn import_keys(name: &str, tags: &[&str]) -> (Value, Vec<(String, String, bool)>) {
    let folder = tempfile::tempdir().unwrap();
    let file = database_of(folder.path(), name).await;
    let before = std::fs::read(&file).unwrap();
    let file = file.to_str().unwrap();
    let report = json(folder.path(), &["upstream-keys", "import", file, "--json"]).await;
    assert_eq!(
        std::fs::read(file).unwrap(),
        before,
        "the file is not changed"
    );
    let keys = json(folder.path(), &["upstream-keys", "list", "--json"]).await;
    let mut keys: Vec<_> = keys["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| {
            assert_eq!(key["tags"], serde_json::json!(tags), "{key}");
            let text = |name: &str| key[name].as_str().unwrap().to_owned();
            (
                text("last4"),
                text("label"),
                key["enabled"].as_bool().unwrap(),
            )
        })
        .collect();
    keys.sort();
    (report, keys)
}

fn key(last4: &str, label: &str, enabled: bool) -> (String, String, bool) {
    (last4.to_owned(), label.to_owned(), enabled)
}

#[tokio::test]
async fn keys_of_gemini_balance_are_taken_and_its_tokens_and_logs_are_not() {
    let (report, keys) = import_keys("gemini-balance", &[]).await;

    assert_eq!(report["new"], 3, "{report}");
    let last4: Vec<_> = keys.iter().map(|(last4, ..)| last4.as_str()).collect();
    assert_eq!(last4, ["2001", "2002", "2003"]);
}

#[tokio::test]
async fn keys_of_gpt_load_keep_notes_group_and_state() {
    let (report, keys) = import_keys("gpt-load", &["team-gemini"]).await;

    assert_eq!(report["not_taken"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(
        keys,
        [key("2101", "of ann", true), key("2102", "key-2102", false)]
    );
}

#[tokio::test]
async fn keys_of_one_api_keep_name_and_state_of_each() {
    let (_, keys) = import_keys("one-api", &[]).await;

    let states: Vec<_> = keys
        .iter()
        .map(|(last4, _, enabled)| (last4.as_str(), *enabled))
        .collect();
    assert_eq!(
        states,
        [
            ("2201", true),
            ("2202", false),
            ("2203", true),
            ("2204", false)
        ]
    );
    assert_eq!(keys[0].1, "Gemini main");
}

#[tokio::test]
async fn encrypted_keys_of_gpt_load_are_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = database_of(folder.path(), "gpt-load").await;
    let mut db = SqliteConnectOptions::new()
        .filename(&file)
        .connect()
        .await
        .unwrap();
    let encrypted = "UPDATE api_keys SET key_value = lower(hex(randomblob(67)))";
    sqlx::query(encrypted).execute(&mut db).await.unwrap();
    db.close().await.unwrap();

    let output = run(
        folder.path(),
        &["upstream-keys", "import", file.to_str().unwrap()],
    )
    .await;

    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("ENCRYPTION_KEY") && errors.contains("export"),
        "{errors}"
    );
}

#[tokio::test]
async fn clients_of_other_pools_keep_their_tokens() {
    let folder = tempfile::tempdir().unwrap();
    for (name, expected) in [("gemini-balance", 2), ("gpt-load", 2), ("one-api", 2)] {
        let file = database_of(folder.path(), name).await;
        let file = file.to_str().unwrap();
        let tried = json(
            folder.path(),
            &["client-keys", "import", file, "--dry-run", "--json"],
        )
        .await;
        assert_eq!(tried.as_array().unwrap().len(), expected, "{name}: {tried}");

        let added = json(folder.path(), &["client-keys", "import", file, "--json"]).await;
        let again = json(folder.path(), &["client-keys", "import", file, "--json"]).await;

        let all_are = |report: &Value, added: bool| {
            report
                .as_array()
                .unwrap()
                .iter()
                .all(|client| client["added"] == added)
        };
        assert!(all_are(&added, true), "{name}: {added}");
        assert!(all_are(&again, false), "{name}: {again}");
        assert!(
            !added.to_string().contains("sk-"),
            "{name}: a secret in {added}"
        );
    }

    let keys = json(folder.path(), &["client-keys", "list", "--json"]).await;
    let keys = keys["items"].as_array().unwrap();
    assert_eq!(keys.len(), 6);
    let named = |name: &str| keys.iter().find(|key| key["name"] == name).unwrap();
    let ann = named("ann");
    assert_eq!(ann["models"], serde_json::json!(["gemini-2.5-flash"]));
    assert_eq!(ann["addresses"], serde_json::json!(["10.0.0.0/8"]));
    assert_eq!(ann["enabled"], true);
    let ben = named("ben");
    assert_eq!(
        (&ben["enabled"], &ben["expires_at"]),
        (&false.into(), &"2027-01-15T08:00:00.000Z".into())
    );
}

#[tokio::test]
async fn other_databases_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut db = options.connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE notes (text)")
        .execute(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
    let own = folder.path().join("pool.db");
    assert!(run(folder.path(), &["migrate"]).await.status.success());

    for (file, reason) in [
        (&path, "none of the tables"),
        (&own, "database of gemini-pool"),
    ] {
        for command in ["upstream-keys", "client-keys"] {
            let output = run(folder.path(), &[command, "import", file.to_str().unwrap()]).await;
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{errors}");
            assert!(errors.contains(reason), "{errors}");
        }
    }
}
