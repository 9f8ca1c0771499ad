//! A request that cannot be read is not sent where a rule depends on what it contains.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::clients::client_key::ClientLimits;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::client_keys::ClientKeyTerms;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use futures_util::SinkExt;

use crate::support::TestPool;
use crate::support::encoding::encoded;
use crate::support::live::{begin, connect, receive_close, setup, text};
use crate::support::requests::{ClientResponse, GENERATE_BODY, TestRequest};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";

type Headers = Vec<(&'static str, &'static str)>;

type ChangeTerms = fn(&mut ClientKeyTerms);

async fn pool() -> TestPool {
    TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await
}

async fn post(pool: &TestPool, headers: &[(&str, &str)], body: Vec<u8>) -> ClientResponse {
    let url = format!("{}{}", pool.url, TestRequest::Generate.path());
    let mut request = pool.client.post(url).body(body);
    request = request.header("x-goog-api-key", crate::support::CLIENT_KEY);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    ClientResponse::whole(request.send().await.unwrap()).await
}

/// Bodies that another parser could read otherwise, with their headers.
fn unreadable() -> Vec<(Headers, Vec<u8>)> {
    let utf16 = GENERATE_BODY.encode_utf16().flat_map(u16::to_be_bytes);
    let json = ("content-type", "application/json");
    let plain = |text: &str| (vec![json], text.as_bytes().to_vec());
    let deep = format!(
        r#"{{"contents":[],"x":{}1{}}}"#,
        "[".repeat(120),
        "]".repeat(120)
    );
    let mut all = vec![
        plain(r#"{"contents":[],fileUri:"files/x"}"#),
        plain(r#"{"contents":[],'fileUri':'files/x'}"#),
        plain(r#"{"contents":[],}"#),
        plain("{\"contents\":[]} // a comment"),
        plain("\u{feff}{\"contents\":[]}"),
        plain(r#"{"contents":[]}{"fileUri":"files/x"}"#),
        plain(r#"{"file\Uri":"files/x"}"#),
        plain(r#"{"fileUri":"files/x","file_uri":"files/y"}"#),
        plain(r#"{"contents":[],"contents":[]}"#),
        plain("\"\\ud800\""),
        plain(&deep),
        plain(r#"{"fileUri":"https://generativelanguage.googleapis.com/v1beta/unknown/x"}"#),
        (vec![json], utf16.collect()),
        (vec![json], encoded(GENERATE_BODY, "gzip")),
    ];
    for headers in [
        vec![json, ("content-encoding", "gzip")],
        vec![json, ("content-encoding", "br")],
        vec![
            json,
            ("content-encoding", "identity"),
            ("content-encoding", "GZIP"),
        ],
        vec![("content-type", "application/x-protobuf")],
        vec![("content-type", "application/X-Google-ProtoBuf")],
        vec![json, json],
        vec![("content-type", "application/json; charset=utf-16le")],
        vec![("content-type", "multipart/mixed; boundary=x")],
    ] {
        all.push((headers, GENERATE_BODY.as_bytes().to_vec()));
    }
    all
}

#[tokio::test]
async fn an_unread_body_is_refused_with_the_reason() {
    let pool = pool().await;
    for (headers, body) in unreadable() {
        let shown = format!("{headers:?} {}", String::from_utf8_lossy(&body));
        let response = post(&pool, &headers, body).await;

        let text = response.text();
        assert_eq!(response.status, 400, "{shown}: {text}");
        assert!(
            text.contains("the request body cannot be read: "),
            "{shown}: {text}"
        );
        let row = pool.row_of(&response).await;
        assert_eq!(
            (row.outcome, row.attempts),
            (Some(Outcome::Refused), 0),
            "{shown}"
        );
    }
    assert_eq!(pool.google.requests(), 0);
    let broken = post(&pool, &[], b"{\n \"contents\": [],,\n}".to_vec()).await;
    assert!(
        broken.text().contains("at line 2 column"),
        "{}",
        broken.text()
    );
}

#[tokio::test]
async fn each_rule_that_depends_on_the_body_refuses_an_unread_one() {
    let pool = pool().await;
    pool.set(&[("client_isolation", "false")]).await;
    let send = || post(&pool, &[], b"{contents:[]}".to_vec());
    pool.allow(|terms| terms.direct_access = true).await;
    // Google decides.
    let passed = send().await;
    assert_eq!(pool.row_of(&passed).await.attempts, 1, "{}", passed.text());

    let rules: [ChangeTerms; 5] = [
        |terms| terms.direct_access = false,
        |terms| terms.models = vec!["gemini-*".to_owned()],
        |terms| terms.limits.tokens_per_minute = Some(1_000_000),
        |terms| terms.limits.tokens_per_day = Some(1_000_000),
        |terms| terms.limits.cost_per_month_nano_usd = Some(1_000_000_000),
    ];
    for (number, rule) in rules.into_iter().enumerate() {
        pool.allow(|terms| {
            terms.direct_access = true;
            terms.models = vec![];
            terms.limits = ClientLimits::default();
            rule(terms);
        })
        .await;
        let response = send().await;
        assert_eq!(response.status, 400, "rule {number}: {}", response.text());
    }
    assert_eq!(pool.google.requests(), 1);
}

#[tokio::test]
async fn ordinary_clients_are_read_whatever_they_call_the_body() {
    let pool = pool().await;
    let body = GENERATE_BODY.as_bytes();
    for (headers, sent) in [
        (vec![], body.to_vec()),
        // `curl -d` and `fetch` with a string.
        (
            vec![("content-type", "application/x-www-form-urlencoded")],
            body.to_vec(),
        ),
        (
            vec![("content-type", "text/plain;charset=UTF-8")],
            body.to_vec(),
        ),
        (
            vec![
                ("content-type", "application/json"),
                ("content-encoding", "identity"),
            ],
            body.to_vec(),
        ),
    ] {
        let response = post(&pool, &headers, sent.clone()).await;
        assert_eq!(response.status, 200, "{headers:?}: {}", response.text());
        let received = pool.google.last_received().unwrap();
        assert_eq!(received.body, sent, "{headers:?}");
    }
    for encoding in ["gzip", "GZip"] {
        let packed = encoded(GENERATE_BODY, "gzip");
        let response = post(&pool, &[("content-encoding", encoding)], packed.clone()).await;
        // The fake does not unpack, but it received what was sent.
        assert_eq!(
            pool.row_of(&response).await.attempts,
            1,
            "{}",
            response.text()
        );
        let received = pool.google.last_received().unwrap();
        assert_eq!(
            (received.body.to_vec(), received.header("content-encoding")),
            (packed, Some(encoding))
        );
    }
}

#[tokio::test]
async fn an_address_that_google_calls_needs_direct_access() {
    let pool = pool().await;
    let bodies = [
        json!({"contents": [], "webhookConfig": {"uris": ["https://example.com"]}}),
        json!({"batch": {"inputConfig": {"x": [{"webhook_config": {}}]}}}),
    ];
    for body in &bodies {
        let response = post(&pool, &[], body.to_string().into_bytes()).await;
        assert_eq!(response.status, 403, "{}", response.text());
    }
    assert_eq!(pool.google.requests(), 0);
    pool.allow(|terms| terms.direct_access = true).await;
    let response = post(&pool, &[], bodies[0].to_string().into_bytes()).await;
    assert_eq!(
        pool.row_of(&response).await.attempts,
        1,
        "{}",
        response.text()
    );
}

#[tokio::test]
async fn a_key_with_a_models_scope_sends_no_file_of_requests() {
    let pool = pool().await;
    pool.allow(|terms| terms.models = vec!["gemini-2.5-flash".to_owned()])
        .await;
    let cases = [
        (
            "/v1beta/models/gemini-2.5-flash:batchGenerateContent",
            json!({"batch": {"input_config": {"file_name": "files/x"}}}),
        ),
        (
            "/v1beta/openai/batches",
            json!({"input_file_id": "files/x", "endpoint": "/v1/chat/completions", "completion_window": "24h"}),
        ),
    ];
    for (path, body) in cases {
        let response = pool.post(path, &body.to_string()).send().await.unwrap();
        let response = ClientResponse::whole(response).await;
        assert_eq!(response.status, 403, "{path}: {}", response.text());
        assert!(response.text().contains("inline"), "{}", response.text());
    }
    assert_eq!(pool.google.requests(), 0);
}

#[tokio::test]
async fn every_message_of_a_live_session_is_read() {
    let pool = pool().await;
    for first in [
        "",
        "{}",
        "{setup:{model:'models/x'}}",
        r#"{"clientContent":{}}"#,
    ] {
        let mut socket = connect(&pool).await;
        socket.send(Message::text(first)).await.unwrap();
        let (code, reason) = receive_close(&mut socket).await.unwrap();
        assert_eq!(code, 1007, "{first}: {reason}");
    }
    for later in [
        setup(json!({})),
        text(json!({"setup": {"model": "models/gemini-other"}})),
        Message::text("{fileUri:'files/x'}"),
        Message::binary(r#"{"clientContent":{},"clientContent":{}}"#),
    ] {
        let mut socket = begin(&pool).await;
        socket.send(later.clone()).await.unwrap();
        let (code, reason) = receive_close(&mut socket).await.unwrap();
        assert_eq!(code, 1007, "{later}: {reason}");
    }
}

#[tokio::test]
async fn a_resource_of_another_client_is_reached_by_no_spelling_that_google_reads() {
    let pool = pool().await;
    pool.google.set_lenient_json(true);
    pool.add_client_key("another-client-of-the-pool").await;
    let created = pool
        .client
        .post(format!("{}/v1beta/cachedContents", pool.url))
        .header("x-goog-api-key", "another-client-of-the-pool")
        .body(r#"{"model":"models/gemini-2.5-flash","ttl":"60s"}"#);
    let created = ClientResponse::whole(created.send().await.unwrap()).await;
    let theirs = created.json()["name"].as_str().unwrap().to_owned();
    let before = pool.google.requests();
    for body in [
        format!(r#"{{"contents":[],cachedContent:"{theirs}"}}"#),
        format!(r#"{{"contents":[],'cachedContent':'{theirs}'}}"#),
        format!(r#"{{"contents":[],"cachedContent":"{theirs}",}}"#),
        format!(r#"{{"contents":[],"cached\Content":"{theirs}"}}"#),
        format!(r#"{{"cachedContent":"cachedContents/mine","cached_content":"{theirs}"}}"#),
        format!(r#"{{"cachedContent":"cachedContents/mine","cachedContent":"{theirs}"}}"#),
    ] {
        let response = post(&pool, &[], body.clone().into_bytes()).await;
        assert_eq!(response.status, 400, "{body}: {}", response.text());
    }
    let plain = format!(r#"{{"contents":[],"cached\u0043ontent":"{theirs}"}}"#);
    assert_eq!(post(&pool, &[], plain.into_bytes()).await.status, 404);
    assert_eq!(pool.google.requests(), before);
}

#[tokio::test]
async fn forms_with_pictures_and_sound_pass_unchanged_and_their_fields_are_read() {
    let pool = pool().await;
    let image: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let form = |model: &str, files: [&str; 2]| {
        let field =
            format!("--B\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n");
        let mut form = field.into_bytes();
        for (number, name) in files.iter().enumerate() {
            let head = format!(
                "--B\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{number}\"\r\n\
                 content-type: application/octet-stream\r\n\r\n"
            );
            form.extend_from_slice(head.as_bytes());
            form.extend_from_slice(&image);
            form.extend_from_slice(b"\r\n");
        }
        form.extend_from_slice(b"--B--\r\n");
        form
    };
    let send = async |path: &str, body: Vec<u8>| {
        let request = pool.client.post(format!("{}{path}", pool.url)).body(body);
        let request = request
            .header("content-type", "multipart/form-data; boundary=B")
            .header("x-goog-api-key", crate::support::CLIENT_KEY);
        ClientResponse::whole(request.send().await.unwrap()).await
    };
    let edits = "/v1beta/openai/images/edits";
    let transcriptions = "/v1beta/openai/audio/transcriptions";
    let json = [("content-type", "application/json")];
    for (path, files) in [
        (edits, ["image[]", "image[]"]),
        (edits, ["image", "mask"]),
        (transcriptions, ["file", "audio"]),
    ] {
        pool.google
            .replay([ReplayedResponse::new(200, &json, "{}")]);
        let body = form("gemini-2.5-flash", files);

        let response = send(path, body.clone()).await;

        assert_eq!(response.status, 200, "{path}: {}", response.text());
        let row = pool.row_of(&response).await;
        assert_eq!(row.model.as_deref(), Some("gemini-2.5-flash"), "{path}");
        let received = pool.google.last_received().unwrap();
        assert!(received.body == body, "{path}");
    }
    pool.allow(|terms| terms.models = vec!["gemini-2.5-*".to_owned()])
        .await;
    let refused = send(edits, form("gemini-3-pro", ["image", "mask"])).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
}
