//! The proxy of the environment for connections to Google.

use std::process::{Command, Stdio};

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};

use crate::support::process::{PoolProcess, command};
use crate::support::proxies::TestProxy;
use crate::support::{CLIENT_KEY, http_client};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";
/// A name that only the proxy can resolve.
const UPSTREAM: &str = "http://gemini.invalid";

async fn google() -> FakeGemini {
    let keys = vec![FakeKey::healthy(KEY, "100000000001")];
    let config = FakeConfig {
        keys,
        ..FakeConfig::default()
    };
    FakeGemini::start(config).await.unwrap()
}

fn serve_command(folder: &std::path::Path, variables: &[(&str, &str)]) -> Command {
    let mut serve = command(folder);
    serve
        .arg("serve")
        .env("GEMINI_API_KEYS", KEY)
        .env("ALLOWED_API_KEYS", CLIENT_KEY)
        .envs(variables.iter().copied());
    serve
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reaches_google_through_the_proxy_and_names_it() {
    let google = google().await;
    let socks = TestProxy::socks(&google.url(), None).await;
    let folder = tempfile::tempdir().unwrap();
    let migrated = command(folder.path()).arg("migrate").status().unwrap();
    assert!(migrated.success());
    let doctor = |proxy: &str| {
        let mut doctor = command(folder.path());
        doctor.arg("doctor").env("UPSTREAM_URL", UPSTREAM);
        doctor.env("ALL_PROXY", format!("socks5h://{proxy}"));
        let ended = doctor.stdout(Stdio::piped()).output().unwrap();
        (
            ended.status.code(),
            String::from_utf8(ended.stdout).unwrap(),
        )
    };

    let (status, printed) = doctor("user:password@127.0.0.1:9");
    assert_eq!(status, Some(1));
    assert!(
        printed
            .contains("google: gemini.invalid cannot be reached through the proxy 127.0.0.1:9: "),
        "{printed}"
    );
    assert!(!printed.contains("password"), "{printed}");
    let (status, printed) = doctor(&socks.address);
    assert_eq!(status, Some(0), "{printed}");
    assert_eq!(*socks.requested.lock(), ["gemini.invalid:80"]);
    assert_eq!(google.received().len(), 1);
    assert!(google.received_with(KEY).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_checks_and_live_sessions_go_through_a_socks_proxy() {
    let google = google().await;
    let socks = TestProxy::socks(&google.url(), None).await;
    for variable in ["ALL_PROXY", "http_proxy"] {
        let folder = tempfile::tempdir().unwrap();
        socks.requested.lock().clear();
        let proxy = format!("socks5h://{}", socks.address);
        let variables = [("UPSTREAM_URL", UPSTREAM), (variable, &proxy)];
        let server = PoolProcess::spawn(serve_command(folder.path(), &variables))
            .listening()
            .await;

        let answer = http_client()
            .build()
            .unwrap()
            .post(format!(
                "{}/v1beta/models/gemini-2.5-flash:generateContent",
                server.url
            ))
            .header("x-goog-api-key", CLIENT_KEY)
            .body(r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{}", server.log());
        let upgrade = http_client()
            .build()
            .unwrap()
            .get(format!(
                "{}/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent?key={CLIENT_KEY}",
                server.url
            ))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .send()
            .await
            .unwrap();
        assert_eq!(upgrade.status(), 101);
        let requested = socks.requested.lock().clone();
        assert!(
            requested.iter().all(|name| name == "gemini.invalid:80"),
            "{requested:?}"
        );
        assert!(!requested.is_empty());

        let mut test = command(folder.path());
        let test = test
            .args(["upstream-keys", "test", "--all", "--json"])
            .envs(variables)
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        let printed = String::from_utf8(test.stdout).unwrap();
        assert!(printed.contains("\"alive\""), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_upstream_is_reached_through_the_proxy_unless_it_is_excepted() {
    // It answers no TLS: the request fails, after the connection was requested.
    let socks = TestProxy::socks("127.0.0.1:9", None).await;
    let proxy = format!("socks5h://{}", socks.address);
    let ca = rcgen::generate_simple_self_signed(vec!["gemini.invalid".to_owned()]).unwrap();
    for (exception, expected) in [("", &["gemini.invalid:443"][..]), ("gemini.invalid", &[])] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("ca.pem");
        std::fs::write(&store, ca.cert.pem()).unwrap();
        socks.requested.lock().clear();
        let variables = [
            ("UPSTREAM_URL", "https://gemini.invalid"),
            ("SSL_CERT_FILE", store.to_str().unwrap()),
            ("HTTPS_PROXY", &proxy),
            ("NO_PROXY", exception),
        ];
        let mut add = command(folder.path());
        add.args(["upstream-keys", "add", KEY]).status().unwrap();
        let mut test = command(folder.path());
        test.args(["upstream-keys", "test", "--all"])
            .envs(variables)
            .status()
            .unwrap();

        let mut requested = socks.requested.lock().clone();
        requested.dedup();
        assert_eq!(requested, expected, "NO_PROXY={exception}");
    }
}

#[test]
fn a_proxy_that_cannot_be_used_stops_the_start() {
    let google = "https://generativelanguage.googleapis.com";
    for (variable, value) in [
        ("HTTPS_PROXY", "socks://user:pass-word@127.0.0.1:1080"),
        ("ALL_PROXY", "ftp://127.0.0.1"),
        ("https_proxy", "http://"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let variables = [("UPSTREAM_URL", google), (variable, value)];
        let ended = serve_command(folder.path(), &variables)
            .stderr(Stdio::piped())
            .output()
            .unwrap();

        let reported = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{reported}");
        assert!(
            reported.contains(variable) && reported.contains("socks5h://"),
            "{reported}"
        );
        assert!(!reported.contains("pass-word"), "{reported}");
    }
}
