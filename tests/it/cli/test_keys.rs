//! `upstream-keys test`, with a server and without one.

use std::path::Path;
use std::process::{Output, Stdio};

use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use serde_json::Value;

use crate::support::process::{PoolProcess, command};
use crate::support::requests::GENERATE_BODY;
use crate::support::{CLIENT_KEY, eventually, http_client};

const KEYS: [&str; 2] = ["AIza-secret-of-key-0001", "AIza-secret-of-key-0002"];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_test_finds_is_in_use_at_a_running_server() {
    let google = FakeGemini::start(FakeConfig::with_keys([
        FakeKey::healthy(KEYS[0], "1"),
        FakeKey::healthy(KEYS[1], "2"),
    ]))
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pool = PoolProcess::start(folder.path(), &google.url(), &KEYS.map(ToOwned::to_owned)).await;

    google.set_behaviour(KEYS[0], Behaviour::Expired);
    let tested = test(folder.path(), &google, &["--all"]);

    let items = tested["items"].as_array().unwrap();
    let reported: Vec<_> = items
        .iter()
        .map(|key| [&key["id"], &key["result"], &key["state"], &key["rule"]])
        .map(|values| values.map(ToString::to_string).join(" "))
        .collect();
    assert_eq!(
        reported,
        [
            r#"1 "refused" "invalid" "api_key_invalid""#,
            r#"2 "alive" "ready" null"#
        ]
    );
    taken_over(&pool).await;
    let before = google.counts(KEYS[0]).requests;
    for _ in 0..4 {
        assert_eq!(send_request(&pool).await, 200);
    }
    assert_eq!(google.counts(KEYS[0]).requests, before);

    google.set_behaviour(KEYS[0], Behaviour::Healthy);
    let tested = test(folder.path(), &google, &["1"]);
    assert_eq!(tested["items"][0]["state"], "trial");
    eventually("the key is lent again", async || {
        assert_eq!(send_request(&pool).await, 200);
        (google.counts(KEYS[0]).requests > before + 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_can_be_tested_without_a_server() {
    let google = FakeGemini::start(FakeConfig::with_keys([
        FakeKey::new(KEYS[0], "1", Behaviour::Suspended),
        FakeKey::healthy(KEYS[1], "2"),
    ]))
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let added = run(folder.path(), &[&["add"], &KEYS[..]].concat());
    assert!(added.status.success());

    let output = run(
        folder.path(),
        &["test", "--all", "--upstream-url", &google.url()],
    );

    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("suspended"), "{text}");
    assert!(text.contains("consumer_suspended: "), "{text}");
    assert!(
        text.contains("2 upstream keys tested: 1 alive, 1 refused, 0 unclear"),
        "{text}"
    );
    assert!(!text.contains(KEYS[0]), "{text}");
    let mut logs = command(folder.path());
    logs.args(["logs", "list", "--kind", "check", "--json"]);
    let logs = logs.stdout(Stdio::piped()).output().unwrap();
    let logs: Value = serde_json::from_slice(&logs.stdout).unwrap();
    assert_eq!(logs["items"].as_array().unwrap().len(), 2);
    let missing = run(folder.path(), &["test", "7"]);
    assert_eq!(missing.status.code(), Some(1));
    let error = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(error, "error: upstream key 7 not found\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_that_the_upstream_is_not_gemini() {
    let google = FakeGemini::start(FakeConfig::with_keys(
        KEYS.map(|key| FakeKey::healthy(key, "1")),
    ));
    let google = google.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert!(
        run(folder.path(), &[&["add"], &KEYS[..]].concat())
            .status
            .success()
    );
    let says_so = |answers: [(u16, &[(&str, &str)]); 2]| {
        google.replay(
            answers.map(|(status, headers)| ReplayedResponse::new(status, headers, "<html>")),
        );
        let output = run(
            folder.path(),
            &["test", "--all", "--upstream-url", &google.url()],
        );
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("2 upstream keys tested"), "{text}");
        text.contains("check UPSTREAM_URL")
    };
    let page: &[_] = &[("content-type", "text/html")];
    let redirect: &[_] = &[("location", "https://login.example.com/")];

    assert!(says_so([(200, page), (404, page)]));
    assert!(says_so([(302, redirect), (302, redirect)]));
    assert!(
        !says_so([(503, page), (404, page)]),
        "Google's front end may answer 503 so"
    );
}

fn test(folder: &Path, google: &FakeGemini, arguments: &[&str]) -> Value {
    let url = google.url();
    let arguments = [&["test", "--json", "--upstream-url", &url], arguments].concat();
    let output = run(folder, &arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = command(folder);
    command.arg("upstream-keys").args(arguments);
    command.stdout(Stdio::piped()).output().unwrap()
}

async fn send_request(pool: &PoolProcess) -> u16 {
    let url = format!(
        "{}/v1beta/models/gemini-2.5-flash:generateContent",
        pool.url
    );
    let request = http_client().build().unwrap().post(url);
    let request = request
        .header("x-goog-api-key", CLIENT_KEY)
        .body(GENERATE_BODY);
    request.send().await.unwrap().status().as_u16()
}

/// Waits until the server has noticed what a command changed.
async fn taken_over(pool: &PoolProcess) {
    eventually("the change is in use", async || {
        let noticed = pool.log().contains("were changed and are in use");
        noticed.then_some(())
    })
    .await;
}
