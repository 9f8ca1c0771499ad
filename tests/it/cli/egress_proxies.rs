//! `egress-proxies`: on a file and on a server; and the credential, which stands nowhere.

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use http::Method;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use serde_json::{Value, json};

use crate::support::admin::AdminClient;
use crate::support::process::{PoolProcess, command, run_command, run_remotely};
use crate::support::proxies::TestProxy;
use crate::support::requests::TestRequest;
use crate::support::{CLIENT_KEY, TestPool, http_client};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
/// Percent-encoded it is another text, which must stand nowhere either.
const PASSWORD: &str = "pass word/of:the:proxy";
const ENCODED: &str = "pass%20word%2Fof%3Athe%3Aproxy";
const CREDENTIAL: &str = "tenant-7:pass word/of:the:proxy";

fn output(output: std::process::Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

fn assert_has_no_secret(place: &str, text: &str) {
    for secret in [PASSWORD, ENCODED, "tenant-7"] {
        assert!(!text.contains(secret), "{place} has {secret}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_are_managed_on_a_file_and_on_a_server_alike() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "projects/1")]).await;
    let api = pool.admin_api().await;
    let proxy = TestProxy::http(&pool.google.url(), Some(CREDENTIAL)).await;
    let url = format!("http://tenant-7:{ENCODED}@{}", proxy.address);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = |arguments: &[&str]| run_command(pool.folder.path(), arguments);
    let server = |arguments: &[&str]| run_remotely(&api, elsewhere.path(), arguments);
    let upstream = pool.google.url();
    output(file(&["keys", "update", "1", "--project", "team"]));

    for (number, run) in [&file as &dyn Fn(&[&str]) -> _, &server]
        .into_iter()
        .enumerate()
    {
        let id = (number + 1).to_string();
        let label = format!("proxy {id}");
        let add = ["egress-proxies", "add", &url, "--label", &label];
        let added = run(&[&add[..], &["--projects", "team", "--json"]].concat());
        let added: Value = serde_json::from_str(&output(added)).unwrap();
        assert_eq!(added["projects"], json!(["team"]), "{added}");
        assert_eq!(added["url"], format!("http://…@{}", proxy.address));
        let again = run(&add);
        assert_eq!(again.status.code(), Some(1), "the label is taken");
        let unknown = run(&["egress-proxies", "add", "http://x:1", "--projects", "no"]);
        assert_eq!(unknown.status.code(), Some(1));
        output(run(&["egress-proxies", "disable", &id]));
        let listed = output(run(&["egress-proxies", "list"]));
        assert!(
            listed.contains("disabled") && listed.contains("projects: team"),
            "{listed}"
        );
        assert_has_no_secret("list", &listed);
        output(run(&["egress-proxies", "enable", &id]));
    }
    pool.app.reload(clock::now()).await.unwrap();
    let tested = output(server(&["egress-proxies", "test", "--json"]));
    let tested: Value = serde_json::from_str(&tested).unwrap();
    assert_eq!(tested["items"][1]["ok"], true, "{tested}");
    let tested = file(&["egress-proxies", "test", "--upstream-url", &upstream]);
    assert!(output(tested).contains("works"));
    assert_eq!(proxy.requests(), 4);
    let keys = file(&[
        "keys",
        "test",
        "--all",
        "--json",
        "--upstream-url",
        &upstream,
    ]);
    assert!(output(keys).contains("\"alive\""));
    assert!(proxy.requests() > 4, "a check goes the way of its project");
    proxy.set_broken(true);
    let failed = file(&["egress-proxies", "test", "1", "--upstream-url", &upstream]);
    assert_eq!(failed.status.code(), Some(1));
    let printed = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(printed.contains("fails"), "{printed}");
    assert_has_no_secret("test", &printed);

    let json = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let mut lists = [
        json(output(file(&["egress-proxies", "list", "--json"]))),
        json(output(server(&["egress-proxies", "list", "--json"]))),
    ];
    for list in &mut lists {
        for item in list["items"].as_array_mut().unwrap() {
            item["serves_projects"] = Value::Null;
        }
    }
    assert_eq!(lists[0], lists[1]);
    output(server(&["egress-proxies", "remove", "1", "2", "--yes"]));
    assert_eq!(output(file(&["egress-proxies", "list"])), "");
    let undo = output(file(&["undo", "--json"]));
    assert!(
        undo.contains("egress_proxy") && undo.contains("delete"),
        "{undo}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_changes_a_proxy_by_its_etag_and_refuses_what_is_unusable() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "projects/1")]).await;
    let api = pool.admin_api().await;
    for body in [
        json!({ "label": "x" }),
        json!({ "url": "http://proxy:1" }),
        json!({ "label": " ", "url": "http://proxy:1" }),
        json!({ "label": "x", "url": format!("ftp://tenant-7:{ENCODED}@proxy:1") }),
        json!({ "label": "x", "url": "http://proxy:1", "project_ids": [1], "tags": ["a"] }),
        json!({ "label": "x", "url": "http://proxy:1", "tags": ["a b"] }),
    ] {
        let refused = api.post("/egress-proxies", &body).await;
        assert_eq!(refused.status, 422, "{body}");
        assert_has_no_secret("a refusal", &refused.json.to_string());
    }
    let url = format!("socks5://tenant-7:{ENCODED}@127.0.0.1:9");
    let body = json!({ "label": "x", "url": url, "tags": ["eu"] });
    let created = api.post("/egress-proxies", &body).await;
    assert_eq!(created.status, 201, "{}", created.json);
    assert_has_no_secret("the answer", &created.json.to_string());
    let path = format!("/egress-proxies/{}", created.json["id"]);
    let tested = api.post(&format!("{path}/test"), &json!({})).await;
    assert_eq!(tested.json["ok"], false, "{}", tested.json);
    assert_has_no_secret("the test", &tested.json.to_string());
    assert_eq!(api.post("/egress-proxies", &body).await.status, 409);
    let etag = created.headers[ETAG].clone();
    for (label, expected) in [("y", 200), ("z", 412)] {
        let request = api.request(Method::PATCH, &path);
        let request = request
            .header(IF_MATCH, etag.clone())
            .header(CONTENT_TYPE, "application/json");
        let body = json!({ "label": label }).to_string();
        let changed = api.send(request.body(body)).await;
        assert_eq!(changed.status, expected, "{}", changed.json);
    }
    let found = api.get(&path).await;
    assert_eq!(found["label"], "y");
    assert_eq!(
        found["tags"],
        json!(["eu"]),
        "a member that is missing stays"
    );
    let removed = api.send(api.request(Method::DELETE, &path)).await;
    assert_eq!(removed.status, 204);
    assert_eq!(api.get("/egress-proxies").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credential_of_a_proxy_stands_nowhere() {
    let keys = vec![FakeKey::healthy(KEY, "100000000001")];
    let config = FakeConfig {
        keys,
        ..FakeConfig::default()
    };
    let google = FakeGemini::start(config).await.unwrap();
    let http = TestProxy::http(&google.url(), Some(CREDENTIAL)).await;
    let socks = TestProxy::socks(&google.url(), Some(CREDENTIAL)).await;
    let folder = tempfile::tempdir().unwrap();
    output(run_command(folder.path(), &["migrate"]));
    for url in [
        format!("http://tenant-7:{ENCODED}@{}", http.address),
        format!("socks5h://tenant-7:{ENCODED}@{}", socks.address),
    ] {
        output(run_command(folder.path(), &["egress-proxies", "add", &url]));
    }
    let mut serve = command(folder.path());
    serve
        .arg("serve")
        .env("GEMINI_API_KEYS", KEY)
        .env("ALLOWED_API_KEYS", CLIENT_KEY)
        .env("UPSTREAM_URL", google.url())
        .env("RUST_LOG", "trace");
    let server = PoolProcess::spawn(serve).listening().await;
    let send = async || {
        let request = http_client().build().unwrap();
        let request = request
            .post(format!("{}{}", server.url, TestRequest::Generate.path()))
            .header("x-goog-api-key", CLIENT_KEY)
            .body(TestRequest::Generate.body());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };

    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(send().await);
    }
    assert!(
        answers.iter().all(|(status, _)| *status == 200),
        "{answers:?}"
    );
    for proxy in [&http, &socks] {
        proxy.set_broken(true);
    }
    for _ in 0..3 {
        answers.push(send().await);
    }
    assert!(
        answers.iter().any(|(status, _)| *status == 503),
        "{answers:?}"
    );

    assert!(http.requests() + socks.requests() > 0);
    for (_, answer) in &answers {
        assert_has_no_secret("an answer", answer);
    }
    assert_has_no_secret("the log", &server.log());
    let logged = run_command(folder.path(), &["logs", "list", "--json"]);
    assert_has_no_secret("the rows", &output(logged));
    let listed = run_command(folder.path(), &["egress-proxies", "list", "--json"]);
    assert_has_no_secret("the list", &output(listed));
}

#[tokio::test]
async fn no_page_shows_a_credential_and_a_proxy_that_fails_its_test_is_added_disabled() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "projects/1")]).await;
    let proxy = TestProxy::socks(&pool.google.url(), Some(CREDENTIAL)).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let url = format!("socks5://tenant-7:{ENCODED}@{}", proxy.address);
    let wrong = format!("socks5://tenant-7:other-{ENCODED}@{}", proxy.address);

    for (label, url, expected) in [("good", &url, "working"), ("wrong", &wrong, "disabled")] {
        let form = [
            ("label", label),
            ("url", url),
            ("projects", ""),
            ("tags", ""),
        ];
        let saved = admin.submit("/egress-proxies", &form).await;
        assert_eq!(saved.status(), 303);
        let page = admin.get_page("/egress-proxies").await;
        assert!(page.contains(label) && page.contains(expected), "{page}");
        assert_has_no_secret("the page", &page);
    }
    let bad = [
        ("label", ""),
        ("url", &url),
        ("projects", "no such"),
        ("tags", "a b"),
    ];
    let page = admin.submit("/egress-proxies", &bad).await;
    assert_eq!(page.status(), 422);
    let page = page.text().await.unwrap();
    assert!(page.contains("No project is called"), "{page}");
    assert_has_no_secret("the form", &page);
    for path in [
        "/egress-proxies",
        "/egress-proxies/1/edit",
        "/audit",
        "/egress-proxies/1/remove",
    ] {
        let page = admin.get_page(path).await;
        assert_has_no_secret(path, &page);
    }
    let page = admin.get_page("/egress-proxies/1/remove").await;
    assert!(page.contains("1 project"), "{page}");
}
