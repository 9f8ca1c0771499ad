//! `settings` beside a running server.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::process::{PoolProcess, command};
use crate::support::{eventually, http_client};

#[tokio::test]
async fn a_changed_setting_is_in_use_at_once_and_its_history_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let pool = PoolProcess::start(folder.path(), "http://127.0.0.1:9", &[]).await;

    let set = settings(
        folder.path(),
        &["set", "cors_allow_origin", "https://a.example"],
    );

    assert!(text(&set).starts_with("cors_allow_origin: * → https://a.example; "));
    let client = http_client().build().unwrap();
    eventually("browsers are told the new origin", async || {
        let request = client
            .request(http::Method::OPTIONS, format!("{}/v1beta/models", pool.url))
            .header("origin", "https://a.example")
            .header("access-control-request-method", "GET");
        let answer = request.send().await.unwrap();
        let reported = answer.headers()["access-control-allow-origin"].clone();
        (reported == "https://a.example").then_some(())
    })
    .await;
    let again = settings(
        folder.path(),
        &["set", "cors_allow_origin", "https://a.example"],
    );
    assert_eq!(
        text(&again),
        "cors_allow_origin is already https://a.example\n"
    );
    settings(folder.path(), &["set", "max_attempts", "7"]);
    settings(folder.path(), &["reset", "--all"]);
    assert_eq!(
        text(&settings(folder.path(), &["get", "max_attempts"])),
        "4\n"
    );

    let history = settings(folder.path(), &["history", "max_attempts", "--json"]);
    let mut history: Value = serde_json::from_slice(&history.stdout).unwrap();
    for change in history["items"].as_array_mut().unwrap() {
        assert!(change["changed_at"].take().as_str().unwrap().ends_with('Z'));
        assert!(change["id"].take().is_i64());
    }
    let change = |before, after| {
        json!({
            "id": null, "name": "max_attempts", "before": before, "after": after, "actor": "cli", "changed_at": null,
        })
    };
    let expected = [change(Some("7"), None), change(None, Some("7"))];
    assert_eq!(history, json!({ "items": expected, "next": null }));
}

#[tokio::test]
async fn wrong_names_and_values_are_told_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    settings(folder.path(), &["set", "max_attempts", "5"]);

    for (arguments, reported) in [
        (
            ["set", "max_attempts", "0"],
            "max_attempts must be a whole number from 1 to 100, not \"0\"",
        ),
        (
            ["set", "max_attempts", "-1"],
            "max_attempts must be a whole number from 1 to 100, not \"-1\"",
        ),
        (
            ["set", "max_atempts", "7"],
            "a similar value exists: 'max_attempts'",
        ),
        (
            ["set", "day_zone", "Mars"],
            "day_zone must be a time zone such as",
        ),
    ] {
        let output = settings(folder.path(), &arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(reported), "{error}");
    }

    let list = settings(folder.path(), &["list", "--json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let mut max_attempts = list["items"][0].clone();
    assert!(max_attempts["changed_at"].take().is_string());
    let expected = json!({
        "name": "max_attempts", "kind": "number", "value": 5, "default": 4, "is_default": false, "minimum": 1,
        "maximum": 100, "explanation": "How many attempts of one request may reach a model or break on the way.",
        "changed_at": null,
    });
    assert_eq!(max_attempts, expected);
}

fn settings(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = command(folder);
    command
        .arg("settings")
        .args(arguments)
        .stdout(Stdio::piped());
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}
