//! Commands work on a running server as on its database file: the same output, the same effect.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::api_token::{ApiScope, TokenAccess};
use serde_json::{Value, json};

use crate::support::TestPool;
use crate::support::api::ApiClient;
use crate::support::process::{command, run_command, run_remotely};

const SECRET: &str = "AIzaSyKeyBehindTheRemoteServer000000001";

async fn pool() -> (TestPool, ApiClient) {
    let pool = TestPool::with_keys([FakeKey::healthy(SECRET, "projects/1")]).await;
    let api = pool.admin_api().await;
    (pool, api)
}

/// The standard output of a successful command.
fn done(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn remotely(pool: &TestPool, api: &ApiClient, arguments: &[&str]) -> String {
    done(&run_remotely(api, pool.folder.path(), arguments))
}

fn locally(pool: &TestPool, arguments: &[&str]) -> String {
    done(&run_command(pool.folder.path(), arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_exports_are_the_same_on_a_server_and_on_its_file() {
    let (pool, api) = pool().await;
    for _ in 0..3 {
        assert_eq!(pool.generate().await.status(), 200);
    }
    pool.finished_rows(3).await;
    locally(
        &pool,
        &[
            "clients",
            "create",
            "team",
            "--cost-per-month",
            "2.50",
            "--expires",
            "30d",
            "--tags",
            "a",
        ],
    );
    locally(
        &pool,
        &["keys", "update", "1", "--label", "=first", "--tags", "a,b"],
    );
    locally(&pool, &["settings", "set", "max_attempts", "7"]);
    locally(&pool, &["settings", "set", "upstream_http2", "on"]);

    for arguments in [
        &["keys", "list"][..],
        &["keys", "list", "--state", "ready", "--tag", "a"],
        &["keys", "list", "--state", "invalid"],
        &["keys", "export"],
        &["keys", "export", "--format", "json"],
        &["clients", "list"],
        &["clients", "list", "--json"],
        &["settings", "list"],
        &["settings", "list", "--json"],
        &["settings", "get", "max_attempts"],
        &["settings", "history"],
        &["settings", "history", "max_attempts", "--json"],
        &["settings", "history", "--limit", "1"],
        &["logs", "list"],
        &["logs", "list", "--json", "--limit", "2"],
        &["logs", "list", "--outcome", "quota"],
        &["logs", "export", "--format", "csv"],
        &["logs", "export", "--format", "jsonl"],
        &["undo"],
        &["undo", "--json", "--limit", "1"],
    ] {
        let local = run_command(pool.folder.path(), arguments);
        let remote = run_remotely(&api, pool.folder.path(), arguments);

        assert!(!local.stdout.is_empty(), "{arguments:?}: {local:?}");
        assert_eq!(done(&remote), done(&local), "{arguments:?}");
        assert_eq!(
            String::from_utf8_lossy(&remote.stderr),
            String::from_utf8_lossy(&local.stderr),
            "{arguments:?}"
        );
    }
    let keys: Value =
        serde_json::from_str(&remotely(&pool, &api, &["keys", "list", "--json"])).unwrap();
    let mut local: Value =
        serde_json::from_str(&locally(&pool, &["keys", "list", "--json"])).unwrap();
    // Only a server knows it.
    local["items"][0]["in_flight"] = json!(0);
    assert_eq!(keys, local);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_a_server_are_in_use_at_once_and_in_its_audit() {
    let (pool, api) = pool().await;
    let run = |arguments: &[&str]| remotely(&pool, &api, arguments);

    let set = run(&["settings", "set", "max_attempts", "7"]);
    assert_eq!(
        set,
        "max_attempts: 4 → 7; a running server applies it within 2 seconds\n"
    );
    assert_eq!(pool.app.settings().max_attempts, 7);
    assert_eq!(
        run(&["settings", "set", "max_attempts", "7"]),
        "max_attempts is already 7\n"
    );
    let acts: Value = serde_json::from_str(&run(&["undo", "--json"])).unwrap();
    assert_eq!(acts["items"][0]["actor"], "token:tests");
    let id = acts["items"][0]["id"].to_string();
    assert!(run(&["undo", &id]).starts_with("undid 1 change; "));
    assert_eq!(pool.app.settings().max_attempts, 4);
    run(&["settings", "set", "wait_for_key_seconds", "1"]);
    let reset = run(&["settings", "reset", "--all"]);
    assert!(reset.contains("wait_for_key_seconds: 1 → 10; "), "{reset}");

    let secret = run(&[
        "clients",
        "create",
        "team",
        "--requests-per-day",
        "5",
        "--cost-per-month",
        "1.5",
    ]);
    let secret = secret.trim();
    let request = pool
        .client
        .get(format!("{}/v1beta/models", pool.url))
        .header("x-goog-api-key", secret);
    assert_eq!(request.send().await.unwrap().status(), 200);
    run(&[
        "clients",
        "update",
        "2",
        "--requests-per-day",
        "none",
        "--note",
        "changed",
    ]);
    let list: Value = serde_json::from_str(&run(&["clients", "list", "--json"])).unwrap();
    assert_eq!(list["items"][1]["note"], "changed");
    assert_eq!(list["items"][1]["limits"]["requests_per_day"], Value::Null);
    assert_eq!(list["items"][1]["limits"]["cost_per_month"], 1.5);
    let tagged = [
        "clients",
        "update",
        "--all",
        "--add-tags",
        "a,b",
        "--concurrency",
        "3",
    ];
    assert!(run(&tagged).starts_with("changed 2 client keys; "));
    run(&[
        "clients",
        "update",
        "2",
        "--remove-tags",
        "a",
        "--name",
        "team-2",
    ]);
    let list: Value = serde_json::from_str(&run(&["clients", "list", "--json"])).unwrap();
    let names_and_tags = |key: &Value| (key["name"].clone(), key["tags"].clone());
    assert_eq!(
        names_and_tags(&list["items"][1]),
        (json!("team-2"), json!(["b"]))
    );
    let acts: Value = serde_json::from_str(&run(&["undo", "--json", "--limit", "3"])).unwrap();
    assert_eq!(acts["items"][0]["subject"], "client_key");
    run(&["clients", "update", "1", "--tags", "none"]);
    let other = run(&["clients", "rotate", "2", "--keep-old", "0s"]);
    assert_ne!(other.trim(), secret);
    let refused = pool
        .client
        .get(format!("{}/v1beta/models", pool.url))
        .header("x-goog-api-key", secret);
    assert!(refused.send().await.unwrap().status().is_client_error());
    assert!(run(&["clients", "disable", "--all"]).starts_with("disabled 2 client keys; "));
    assert!(run(&["clients", "enable", "1"]).starts_with("enabled 1 client key; "));
    assert!(run(&["clients", "remove", "2"]).starts_with("removed 1 client key; "));
    assert_eq!(pool.generate().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_keys_are_managed_by_a_server() {
    let (pool, api) = pool().await;
    let run = |arguments: &[&str]| remotely(&pool, &api, arguments);
    let file = pool.folder.path().join("keys.csv");
    let text = "key,label,tags,enabled,password\n\
        AIzaSyKeyThatIsImportedRemotely00000001,one,a;b,true,hunter2\n\
        AIzaSyKeyThatIsImportedRemotely00000002,two,,false,hunter2\n\
        AIzaSyKeyBehindTheRemoteServer000000001,other,,true,hunter2\n\
        nothing,,,,\n";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();

    let dry = run(&["keys", "import", "--dry-run", file]);
    assert_eq!(dry, locally(&pool, &["keys", "import", "--dry-run", file]));
    let differing = "known keys with other attributes, not changed: 1; --update changes them\n";
    assert!(dry.contains(differing), "{dry}");
    let imported = run(&["keys", "import", file]);
    assert!(
        imported.starts_with(
            "upstream keys added: 2 new, 0 restored, 1 known, 0 duplicate, 1 not taken\n\
            known keys with other attributes, not changed: 1; --update changes them\n"
        ),
        "{imported}"
    );
    let again = run(&["keys", "import", "--update", "--json", file]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!((&again["known"], &again["updated"]), (&json!(3), &json!(1)));
    let list: Value = serde_json::from_str(&run(&["keys", "list", "--json"])).unwrap();
    let key = |index: usize| {
        let key = &list["items"][index];
        json!([key["label"], key["tags"], key["enabled"]])
    };
    assert_eq!(key(0), json!(["other", [], true]));
    assert_eq!(key(1), json!(["one", ["a", "b"], true]));
    assert_eq!(key(2), json!(["two", [], false]));

    assert!(
        run(&["keys", "update", "2", "3", "--label", "x", "--weight", "5"])
            .starts_with("changed 2 ")
    );
    assert!(run(&["keys", "list"]).contains("x-2"));
    assert!(run(&["keys", "enable", "--all"]).starts_with("enabled 1 upstream key; "));
    assert!(run(&["keys", "disable", "2", "3"]).starts_with("disabled 2 upstream keys; "));
    assert!(
        run(&["keys", "clear", "--all"]).starts_with("cleared 0 states of 3 upstream keys and ")
    );
    let tested = run(&["keys", "test", "--all"]);
    assert!(
        tested.contains("1 upstream key tested: 1 alive"),
        "{tested}"
    );
    assert!(run(&["keys", "remove", "2", "3"]).starts_with("removed 2 upstream keys: "));
    assert_eq!(pool.keys().await.len(), 1);
    let missing = run_remotely(&api, pool.folder.path(), &["keys", "disable", "2"]);
    let error = String::from_utf8_lossy(&missing.stderr);
    assert_eq!(missing.status.code(), Some(1), "{error}");
    assert!(
        error.starts_with("error: upstream key 2 not found"),
        "{error}"
    );
    assert!(run(&["undo"]).contains("deleted 2 upstream keys: x-1 and another one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_backs_itself_up_and_sends_the_copy() {
    let (pool, api) = pool().await;
    let to = pool.folder.path().join("copy.db");
    let to = to.to_str().unwrap();

    let made = remotely(&pool, &api, &["backup", to]);

    assert!(
        made.starts_with("copied and checked on the server: pool-"),
        "{made}"
    );
    let copy = gemini_pool::storage::db::Db::open(&format!("sqlite://{to}")).await;
    let keys = gemini_pool::storage::upstream_keys::list_changed(&copy.unwrap(), -1).await;
    assert_eq!(keys.unwrap().0.len(), 1);
    let again = run_remotely(&api, pool.folder.path(), &["backup", to]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");

    let name = made.split_whitespace().nth(6).unwrap();
    let reader = pool.api("reader", TokenAccess::Read, &[]).await;
    assert_eq!(reader.get(&format!("/backups/{name}")).await["name"], name);
    let path = format!("/backups/{name}/download");
    let refused = reader
        .send(reader.request(reqwest::Method::GET, &path))
        .await;
    assert_eq!(refused.status, 403, "a backup contains every key");
    let deleted = api.request(reqwest::Method::DELETE, &format!("/backups/{name}"));
    assert_eq!(api.send(deleted).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_server_is_followed() {
    let (pool, api) = pool().await;
    let server = pool.url.clone();
    let mut child = command(pool.folder.path())
        .args(["logs", "tail", "--json", "--server", &server])
        .env("GEMINI_POOL_TOKEN", &api.token)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let stop = tokio_util::sync::CancellationToken::new();
    let sending = async {
        // The command takes a moment to connect.
        while !stop.is_cancelled() {
            assert_eq!(pool.generate().await.status(), 200);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let reading = async {
        let line = tokio::task::spawn_blocking(move || lines.next()).await;
        stop.cancel();
        line.unwrap().unwrap().unwrap()
    };

    let ((), line) = tokio::join!(sending, reading);

    child.kill().unwrap();
    child.wait().unwrap();
    let row: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(row["outcome"], "success");
    assert_eq!(row["attempt_list"][0]["number"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_on_a_server_and_wrong_tokens_are_refused_with_a_reason() {
    let (pool, api) = pool().await;
    for arguments in [
        &["serve"][..],
        &["migrate"],
        &["restore", "x.db"],
        &["doctor"],
        &["demo"],
        &["admin", "set-password", "--generate"],
        &["logs", "prune", "--yes"],
        &["logs", "export", "--format", "jsonl", "--bodies"],
        &["keys", "export", "--secrets"],
        &["clients", "create", "x", "--secret", "abcdefgh"],
    ] {
        let output = run_remotely(&api, pool.folder.path(), arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(
            error.contains("the machine of the database"),
            "{arguments:?}: {error}"
        );
        assert!(output.stdout.is_empty());
    }

    let list = |token: Option<&str>, server: &str| {
        let mut command = command(pool.folder.path());
        command.args(["settings", "list", "--server", server]);
        command.envs(token.map(|token| ("GEMINI_POOL_TOKEN", token)));
        let output = command.stdout(Stdio::piped()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), error)
    };
    let (status, error) = list(None, &pool.url);
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("GEMINI_POOL_TOKEN"), "{error}");
    let (status, error) = list(Some("gpa_wrong"), &pool.url);
    assert_eq!(status, Some(1), "{error}");
    assert!(
        error.contains("send a valid API token") && error.contains("401"),
        "{error}"
    );
    assert!(!error.contains("gpa_wrong"), "{error}");
    let scoped = pool
        .api("logs only", TokenAccess::Read, &[ApiScope::Logs])
        .await;
    let (status, error) = list(Some(&scoped.token), &pool.url);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("scope settings"), "{error}");
    let (status, error) = list(Some(&api.token), "http://127.0.0.1:9");
    assert_eq!(status, Some(1), "{error}");
    assert!(
        error.contains("no answer from http://127.0.0.1:9/"),
        "{error}"
    );
    let (status, error) = list(Some(&api.token), "127.0.0.1:9");
    assert_eq!(status, Some(2), "{error}");
    let (status, error) = list(Some(&api.token), &pool.google.url());
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("is it a gemini-pool"), "{error}");

    let file = pool.folder.path().join("token");
    std::fs::write(&file, format!("{}\n", api.token)).unwrap();
    let file = file.to_str().unwrap();
    let arguments = [
        "--token-file",
        file,
        "--server",
        &pool.url,
        "settings",
        "get",
        "max_attempts",
    ];
    assert_eq!(locally(&pool, &arguments), "4\n");
}
