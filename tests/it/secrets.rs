//! No secret is in any output: after a run over all verdicts, everything that left the program is searched for each.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey, StreamErrorFormat};
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use gemini_pool::pool::secret::Secret;
use gemini_pool::storage::alert_targets::{self, AlertLanguage, AlertTargetKind, AlertTargetTerms};
use gemini_pool::storage::audit::{Act, Actor};
use gemini_pool::storage::data_keys::DataKeys;
use http::HeaderMap;
use http::header::SET_COOKIE;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::admin::{AdminClient, PASSWORD};
use crate::support::api::ApiClient;
use crate::support::process::{PoolProcess, database, run_command};
use crate::support::requests::TestRequest;
use crate::support::{CLIENT_KEY, eventually, live};

const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const RECEIVER_PATH: &str = "/the-secret-path-of-the-receiver";
/// The whole path of a page is not secret; these are shown in every form of theirs.
const PAGES: &[&str] = &[
    "/status",
    "/upstream-keys",
    "/client-keys",
    "/logs",
    "/usage",
    "/usage?span=24h&by=key",
    "/quota",
    "/models",
    "/try",
    "/search?q=AIza",
    "/settings",
    "/alerts",
    "/audit",
    "/backups",
    "/account",
    "/api-reference",
    "/my-usage",
];
const COMMANDS: &[&[&str]] = &[
    &["upstream-keys", "list"],
    &["upstream-keys", "list", "--json"],
    &["upstream-keys", "export"],
    &["client-keys", "list", "--json"],
    &["settings", "list", "--json"],
    &["logs", "list", "--limit", "1000"],
    &["logs", "list", "--limit", "1000", "--json"],
    &["logs", "export", "--format", "csv"],
    &["logs", "export", "--format", "jsonl"],
    &["undo"],
    &["undo", "--json"],
    &[
        "upstream-keys",
        "add",
        "not-a-key-of-google-but-secret-0001 x",
    ],
    &[
        "client-keys",
        "create",
        "wrong",
        "--secret",
        "a wrong secret",
    ],
];

/// Each behaviour of Google that leads to another verdict.
fn behaviours() -> Vec<Behaviour> {
    let error = |format| Behaviour::StreamError {
        after: 1,
        code: 503,
        format,
    };
    vec![
        Behaviour::Healthy,
        Behaviour::Invalid,
        Behaviour::InvalidEchoingKey,
        Behaviour::Expired,
        Behaviour::NotFound,
        Behaviour::Unauthenticated,
        Behaviour::Leaked,
        Behaviour::Suspended,
        Behaviour::ServiceDisabled,
        Behaviour::ServiceBlocked,
        Behaviour::ReferrerBlocked,
        Behaviour::ProjectDenied,
        Behaviour::BillingEmpty,
        Behaviour::BillingEmpty429,
        Behaviour::SpendingCap,
        Behaviour::QuotaZero("gemini-2.5-flash".to_owned()),
        Behaviour::ModelRetired("gemini-2.5-flash".to_owned()),
        Behaviour::LocationUnsupported,
        Behaviour::Exhausted,
        Behaviour::ExhaustedHelpOnly,
        Behaviour::ForbiddenHtml,
        Behaviour::InternalError,
        Behaviour::BadGatewayHtml,
        Behaviour::Overloaded,
        Behaviour::OverloadedLegacyText,
        Behaviour::DeadlineExceeded,
        Behaviour::CloseConnection,
        Behaviour::ResetConnection,
        Behaviour::MalformedResponse,
        Behaviour::TruncatedHead,
        Behaviour::TruncatedBody,
        Behaviour::AbortStream(1),
        error(StreamErrorFormat::Event),
        error(StreamErrorFormat::RawTail),
        Behaviour::FirstEventError(429),
        Behaviour::EmptyReply("STOP"),
    ]
}

/// An upstream key, and an answer that repeats it as far as an answer of this kind can.
fn keys() -> Vec<FakeKey> {
    let secret = |number: usize| format!("AIzaSyUpstreamSecretOfTheRun{number:011}");
    let project = |number: usize| (700_000_000_000 + number).to_string();
    let mut behaviours = behaviours();
    for status in [200, 400, 409, 429] {
        let key = secret(behaviours.len());
        let repeated = json!({
            "error": { "code": status, "message": format!("key {key} of https://x/?key={key}"), "status": "ABORTED" },
        });
        behaviours.push(Behaviour::FixedResponse(status, repeated.to_string()));
    }
    let numbered = behaviours.into_iter().enumerate();
    numbered
        .map(|(number, behaviour)| FakeKey::new(secret(number), project(number), behaviour))
        .collect()
}

/// Everything that left the program, with the place where it was seen.
#[derive(Default)]
struct Outputs(Vec<(String, Vec<u8>)>);

impl Outputs {
    fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    async fn add_answer(&mut self, place: &str, answer: reqwest::Result<reqwest::Response>) {
        // A connection that the pool cuts shows nothing.
        let Ok(mut answer) = answer else { return };
        // A cookie stands where it belongs.
        answer.headers_mut().remove(SET_COOKIE);
        self.add(format!("{place}: head"), format!("{:?}", answer.headers()));
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            body.extend_from_slice(&chunk);
        }
        self.add(place, body);
    }

    fn add_command(&mut self, folder: &Path, arguments: &[&str]) {
        let output = run_command(folder, arguments);
        self.add(format!("{arguments:?}: output"), output.stdout);
        self.add(format!("{arguments:?}: errors"), output.stderr);
    }

    /// The places where a secret stands, plain or encoded.
    fn places_of(&self, secret: &str) -> BTreeSet<String> {
        let forms = forms_of(secret);
        let has = |bytes: &[u8]| {
            let found = |form: &String| memchr::memmem::find(bytes, form.as_bytes()).is_some();
            forms.iter().find(|form| found(form)).cloned()
        };
        let outputs = self.0.iter();
        outputs
            .filter_map(|(place, bytes)| Some(format!("{place}: {}", has(bytes)?)))
            .collect()
    }
}

/// A secret as text, in hexadecimal, and in base64 by itself and within a longer text.
fn forms_of(secret: &str) -> Vec<String> {
    let hex = |upper: bool| {
        secret.bytes().fold(String::new(), |mut text, byte| {
            let written = if upper {
                write!(text, "{byte:02X}")
            } else {
                write!(text, "{byte:02x}")
            };
            written.unwrap();
            text
        })
    };
    let mut forms = vec![secret.to_owned(), hex(false), hex(true)];
    for start in 0..3 {
        // The first and the last characters depend on what stands beside them.
        let inner = &secret[start..start + (secret.len() - start) / 3 * 3];
        forms.push(STANDARD_NO_PAD.encode(inner));
        forms.push(URL_SAFE_NO_PAD.encode(inner));
    }
    forms
}

/// A receiver of alerts and spans, and all that it received.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

impl Receiver {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = self.0.clone();
        let keep = post(async move |headers: HeaderMap, body: Bytes| {
            received.lock().push((headers, body));
        });
        let router = Router::new().fallback_service(keep);
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }
}

async fn add_target(folder: &Path, url: &str) {
    let db = database(folder).await;
    let terms = AlertTargetTerms {
        kind: AlertTargetKind::Webhook,
        name: "receiver".to_owned(),
        address: Secret::new(&format!("{url}{RECEIVER_PATH}")),
        secret: Secret::new(SIGNING_SECRET),
        server: None,
        sender: None,
        events: Vec::new(),
        quiet: None,
        zone: "Etc/UTC".to_owned(),
        language: AlertLanguage::English,
    };
    let mut tx = db.begin().await.unwrap();
    let act = Act::without_revision(Actor::cli(), clock::now());
    alert_targets::insert(&mut tx, &DataKeys::default(), &terms, &act)
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    db.close().await;
}

/// The program with a key for each behaviour, each with a tag of its own, and a client for each tag.
struct Run {
    folder: tempfile::TempDir,
    google: FakeGemini,
    keys: Vec<FakeKey>,
    clients: Vec<String>,
    process: PoolProcess,
    received: Receiver,
    api: ApiClient,
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = run_command(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn start() -> Run {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let keys = keys();
    let google = FakeGemini::start(FakeConfig::with_keys(keys.clone()))
        .await
        .unwrap();
    let received = Receiver::default();
    let url = received.start().await;
    done(path, &["migrate"]);
    let listed = keys.iter().enumerate().map(|(number, key)| {
        json!({ "key": key.secret, "label": format!("label-{number}"), "tags": format!("tag-{number}") })
    });
    let list = path.join("keys.json");
    std::fs::write(&list, listed.collect::<Value>().to_string()).unwrap();
    done(path, &["upstream-keys", "import", list.to_str().unwrap()]);
    std::fs::remove_file(list).unwrap();
    let clients = (0..keys.len()).map(|number| {
        let (name, tag) = (format!("client-{number}"), format!("tag-{number}"));
        done(path, &["client-keys", "create", &name, "--tags", &tag])
            .trim()
            .to_owned()
    });
    let clients = clients.collect();
    for (name, value) in [
        ("body_log_mode", "all"),
        ("pool_headers", "on"),
        ("my_usage", "on"),
        ("wait_for_key_seconds", "0"),
        ("otlp_endpoint", &url),
    ] {
        done(path, &["settings", "set", name, value]);
    }
    add_target(path, &url).await;
    let token = done(path, &["admin", "create-token", "tests", "--write"])
        .trim()
        .to_owned();
    let variables = [("RUST_LOG", "trace")];
    let process = PoolProcess::start_with(path, &google.url(), &[], &variables).await;
    let api = ApiClient {
        client: reqwest::Client::new(),
        url: format!("{}/api/v1", process.url),
        token,
    };
    Run {
        folder,
        google,
        keys,
        clients,
        process,
        received,
        api,
    }
}

impl Run {
    /// Sends each request with each client, and a live session.
    async fn send_requests(&self, outputs: &mut Outputs) {
        let client = reqwest::Client::new();
        for (number, secret) in self.clients.iter().enumerate() {
            for request in TestRequest::ALL {
                let sent = client
                    .post(format!("{}{}", self.process.url, request.path()))
                    .header("x-goog-api-key", secret)
                    .header("content-type", "application/json")
                    .body(request.body());
                let place = format!("{:?} of {request:?}", self.keys[number].behaviour);
                outputs.add_answer(&place, sent.send().await).await;
            }
            let query = format!("{}/v1beta/models?key={secret}", self.process.url);
            outputs
                .add_answer("a list of models", client.get(query).send().await)
                .await;
            let path =
                "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
            let headers = [("x-goog-api-key", secret.as_str())];
            match live::open_session(&self.process.url, path, &headers).await {
                Ok(mut socket) => {
                    use futures_util::{SinkExt, StreamExt};
                    socket.send(live::setup(json!({}))).await.unwrap();
                    if let Some(message) = socket.next().await {
                        outputs.add("a live session", format!("{message:?}"));
                    }
                }
                Err(error) => outputs.add("a refused live session", format!("{error:?}")),
            }
        }
        // After five foreign answers in a row the log and the status page speak of the upstream.
        let foreign = &self.clients[behaviours().len()];
        for _ in 0..6 {
            let path = TestRequest::Generate.path();
            let request = client
                .post(format!("{}{path}", self.process.url))
                .header("x-goog-api-key", foreign)
                .body(TestRequest::Generate.body());
            outputs
                .add_answer("a foreign answer", request.send().await)
                .await;
        }
        let mut admin = AdminClient::arrive_at(client.clone(), &self.process.url).await;
        admin.submit_login().await;
        outputs.add("/status", admin.get_page("/status").await);
        assert!(self.process.log().contains("answers were not Gemini's"));
        for (header, value) in [
            ("x-goog-api-key", "AIzaSyUpstreamSecretOfTheRunAsAClientKey"),
            ("authorization", "Bearer wrong"),
            ("authorization", "Basic d3Jvbmc="),
        ] {
            let request = client
                .post(format!(
                    "{}{}",
                    self.process.url,
                    TestRequest::Generate.path()
                ))
                .header(header, value);
            outputs
                .add_answer("a wrong credential", request.send().await)
                .await;
        }
    }

    /// Signs in and looks at every page, those of each key, client and request too. Returns the cookies.
    async fn look_at_pages(&self, outputs: &mut Outputs) -> Vec<String> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let mut admin = AdminClient::arrive_at(client, &self.process.url).await;
        let wrong = [
            ("username", "admin"),
            ("password", "a wrong password of the admin"),
        ];
        outputs
            .add_answer("a wrong password", Ok(admin.submit("/login", &wrong).await))
            .await;
        assert_eq!(admin.submit_login().await.status(), 303);
        let mut paths: Vec<String> = PAGES.iter().map(|&path| path.to_owned()).collect();
        for (number, _) in self.keys.iter().enumerate() {
            paths.push(format!("/upstream-keys/{}", number + 1));
            paths.push(format!("/upstream-keys/{}/edit", number + 1));
            paths.push(format!("/client-keys/{}", number + 1));
        }
        paths.extend([
            "/alerts/targets/1/edit".to_owned(),
            "/settings/otlp_endpoint".to_owned(),
        ]);
        let logs = self.api.all_items("/logs", 500).await;
        assert!(logs.len() > self.keys.len() * TestRequest::ALL.len());
        let ids = logs.iter().map(|log| log["id"].as_str().unwrap());
        paths.extend(ids.map(|id| format!("/logs/{id}")));
        for path in &paths {
            let answer = admin.request(Method::GET, path).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            outputs.add_answer(path, Ok(answer)).await;
        }
        admin.get_page("/alerts").await;
        let tried = admin.submit("/alerts/targets/1/test", &[]).await;
        outputs.add_answer("the test of a target", Ok(tried)).await;
        let wrong = [("text", "a wrong key"), ("secret", "")];
        let pasted = admin.submit("/upstream-keys/import", &wrong).await;
        outputs.add_answer("a wrong import", Ok(pasted)).await;
        admin.cookie_values()
    }

    /// Reads all lists and details of the API.
    async fn read_api(&self, outputs: &mut Outputs) {
        let document = self.api.get("/openapi.json").await;
        let paths = document["paths"].as_object().unwrap();
        let read = paths
            .iter()
            .filter(|(_, operations)| operations.get("get").is_some());
        let mut number_read = 0;
        for (path, _) in read {
            let path = path.strip_prefix("/api/v1").unwrap_or(path);
            let path = path.replace("{id}", "1").replace("{name}", "otlp_endpoint");
            // The live view does not end; the rest of its path is that of a list.
            if path.contains("tail") || path.contains('{') {
                continue;
            }
            let request = self.api.request(Method::GET, &path);
            outputs
                .add_answer(&format!("API {path}"), request.send().await)
                .await;
            number_read += 1;
        }
        assert!(number_read > 20, "{number_read}");
        for log in self.api.all_items("/logs", 500).await {
            let path = format!("/logs/{}", log["id"].as_str().unwrap());
            let request = self.api.request(Method::GET, &path);
            outputs
                .add_answer(&format!("API {path}"), request.send().await)
                .await;
        }
        let metrics = self.api.client.get(format!("{}/metrics", self.process.url));
        let metrics = metrics.bearer_auth(&self.api.token);
        outputs.add_answer("metrics", metrics.send().await).await;
        let wrong = self.api.client.get(format!("{}/logs", self.api.url));
        outputs
            .add_answer(
                "API with a wrong token",
                wrong.bearer_auth("gpa_wrong").send().await,
            )
            .await;
    }
}

#[tokio::test]
async fn no_secret_is_in_any_output_after_all_verdicts() {
    let run = start().await;
    let mut outputs = Outputs::default();
    run.send_requests(&mut outputs).await;
    let tests = run
        .api
        .post("/upstream-keys/test", &json!({ "all": true }))
        .await;
    outputs.add("a test of all keys", format!("{tests:?}"));
    let cookies = run.look_at_pages(&mut outputs).await;
    run.read_api(&mut outputs).await;
    let path = run.folder.path();
    for arguments in COMMANDS {
        outputs.add_command(path, arguments);
    }
    outputs.add_command(
        path,
        &["doctor", "--json", "--upstream-url", &run.google.url()],
    );
    eventually("the alert and the spans arrive", async || {
        let received = run.received.0.lock();
        let is_alert =
            |(headers, _): &(HeaderMap, Bytes)| headers.contains_key("webhook-signature");
        (received.iter().any(is_alert) && !received.iter().all(is_alert)).then_some(())
    })
    .await;
    for (headers, body) in run.received.0.lock().iter() {
        outputs.add("received headers", format!("{headers:?}"));
        outputs.add("received body", body.to_vec());
    }
    let log = run.process.log();
    // The log really is that of all levels, of libraries too.
    assert!(
        log.contains("TRACE") && log.contains("hyper"),
        "{}",
        &log[..2_000]
    );
    for line in log.lines() {
        outputs.add(format!("log: {line}"), line);
    }

    // The search finds what is there.
    assert!(!outputs.places_of("label-7").is_empty());
    let upstream = run.keys.iter().map(|key| key.secret.as_str());
    let others = [
        CLIENT_KEY,
        PASSWORD,
        SIGNING_SECRET,
        RECEIVER_PATH,
        &run.api.token,
    ];
    let wrong = [
        "not-a-key-of-google-but-secret-0001",
        "a wrong password of the admin",
    ];
    let secrets = upstream
        .chain(run.clients.iter().map(String::as_str))
        .chain(others)
        .chain(cookies.iter().map(String::as_str))
        .chain(wrong);
    let mut found = BTreeSet::new();
    for secret in secrets {
        found.extend(outputs.places_of(secret));
    }
    assert!(
        found.is_empty(),
        "{} places: {:#?}",
        found.len(),
        found.iter().take(40).collect::<Vec<_>>()
    );
}
