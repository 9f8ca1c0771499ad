//! Real exchanges with Google pass through the pool as if it were not there, and are counted as Google counted them.

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::outcome::Outcome;

use crate::support::encoding::{encoded, pieces};
use crate::support::raw_http::{Headers, RawResponse, send};
use crate::support::recording::{self, RecordedExchange, tokens_of};
use crate::support::{RequestLog, TestPool};

const UPSTREAM_KEY: &str = "AIza-upstream-key-of-the-recordings-0001";

/// What Google never gets of the recorded requests: credentials, what is between two hops, and who asks.
const STAYS_HERE: [&str; 9] = [
    "x-goog-api-key",
    "authorization",
    "connection",
    "host",
    "content-length",
    "accept-language",
    "sec-fetch-mode",
    "x-stainless-",
    "x-forwarded-",
];

/// What clients never get of the recorded answers: the way to another port, and what is between two hops.
const STAYS_UPSTREAM: [&str; 3] = ["alt-svc", "connection", "transfer-encoding"];

/// Answers about the pool's own key or quota: no client shall see them.
const ABOUT_OUR_KEY: [&str; 3] = [
    "error-400-key-invalid",
    "error-403-no-key",
    "error-429-paid-tpm",
];

#[tokio::test]
async fn recorded_exchanges_pass_unchanged_and_are_counted() {
    let pool = open_pool().await;
    for recording in recordings() {
        let body = recording.response.body.as_bytes();
        pool.google
            .replay([recording.replayed_response(usize::MAX)]);

        let answer = send(&pool.url, recording.request()).await;

        assert_reached_google(&pool, &recording);
        assert_reached_client(&recording, &answer);
        assert!(answer.body == body, "{}: the body", recording.id);
        assert_recorded(&recording, &row_of(&pool, &answer).await);
    }
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn answers_pass_unchanged_and_are_counted_however_they_are_cut() {
    let pool = open_pool().await;
    let streams = |recording: &RecordedExchange| recording.response_metadata().3;
    for recording in recordings().into_iter().filter(streams) {
        for piece in [1, 7, 61, 1021] {
            pool.google.replay([recording.replayed_response(piece)]);

            let answer = send(&pool.url, recording.request()).await;

            assert_reached_client(&recording, &answer);
            let body = recording.response.body.as_bytes();
            assert!(answer.body == body, "{}, cut by {piece}", recording.id);
            assert_recorded(&recording, &row_of(&pool, &answer).await);
        }
    }
}

#[tokio::test]
async fn compressed_answers_pass_as_they_are_and_are_counted() {
    let pool = open_pool().await;
    for recording in recordings() {
        let body = encoded(&recording.response.body, "gzip");
        for (piece, is_first) in [(usize::MAX, true), (7, false)] {
            let mut answer = recording.replayed_response(1);
            let encoding = ("content-encoding".to_owned(), "gzip".to_owned());
            answer.headers.push(encoding);
            answer.chunks = pieces(&body, piece);
            pool.google.replay([answer]);

            let answer = send(&pool.url, recording.request()).await;

            assert_eq!(answer.header("content-encoding"), Some("gzip"));
            assert!(answer.body == body, "{}, cut by {piece}", recording.id);
            let row = row_of(&pool, &answer).await;
            if is_first || recording.id != "batch-get-done" {
                assert_recorded(&recording, &row);
            } else {
                // What it used is in the row that first saw it done.
                assert_eq!(tokens_of(&row), [None; 6]);
            }
        }
    }
}

#[tokio::test]
async fn recorded_uploads_go_on_in_sessions_of_the_pool() {
    let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]).await;
    pool.set(&[("client_isolation", "off")]).await;
    for (name, operation) in [
        ("file", "files.upload"),
        ("filestore", "fileSearchStores.uploadToFileSearchStore"),
    ] {
        let start = recording::named(&format!("{name}-upload-start"));
        let end = recording::named(&format!("{name}-upload-finalize"));
        let google = end.request.path_and_query.split('=').nth(1).unwrap();
        let google = google.trim_end_matches("&upload_protocol");
        pool.google.replay([start.replayed_response(usize::MAX)]);

        let begun = send(&pool.url, start.request()).await;

        assert_reached_google(&pool, &start);
        let url = begun.header("x-goog-upload-url").unwrap().to_owned();
        assert!(!format!("{begun:?}").contains(google), "{begun:?}");
        assert_passed(&start, &begun, &url);
        assert_eq!(
            row_of(&pool, &begun).await.operation.as_deref(),
            Some(operation)
        );

        pool.google.replay([end.replayed_response(usize::MAX)]);
        let mut sent = end.request();
        sent.path_and_query = url.replace(&pool.url, "");
        let ended = send(&pool.url, sent).await;

        assert_reached_google(&pool, &end);
        assert_passed(&end, &ended, &url);
        assert!(ended.body == end.response.body, "{name}");
        assert_eq!(
            row_of(&pool, &ended).await.operation.as_deref(),
            Some(operation)
        );
    }
}

#[tokio::test]
async fn a_recorded_redirect_of_a_download_is_followed() {
    let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]).await;
    pool.set(&[("client_isolation", "off")]).await;
    let recording = recording::named("file-download-redirect");
    let video = ("content-type", "video/mp4");
    let behind = ReplayedResponse::new(200, &[video], "the bytes");
    pool.google
        .replay([recording.replayed_response(usize::MAX), behind]);

    let answer = send(&pool.url, recording.request()).await;

    assert_eq!((answer.status, &answer.body[..]), (200, &b"the bytes"[..]));
    for repeated in [
        "x-goog-api-key",
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
    ] {
        assert_eq!(answer.header(repeated), None);
    }
    let received = pool.google.received();
    assert_eq!(received[0].path_and_query, recording.request.path_and_query);
    let mut location = recording.answer_headers().into_iter();
    let location = location.find(|(name, _)| name == "location");
    let behind = location.unwrap().1;
    assert!(
        behind.ends_with(&received[1].path_and_query),
        "{received:?}"
    );
    assert_eq!(received[1].key.as_deref(), Some(UPSTREAM_KEY));
}

#[tokio::test]
async fn what_google_says_of_our_key_is_kept_from_the_client() {
    // The recorded 429 asks to come back in RetryInfo's own words.
    let cases = [
        ("error-400-key-invalid", 503, "UNAVAILABLE", Some("60")),
        ("error-403-no-key", 503, "UNAVAILABLE", Some("60")),
        ("error-429-paid-tpm", 429, "RESOURCE_EXHAUSTED", None),
    ];
    for (id, status, name, retry_after) in cases {
        let recording = recording::named(id);
        let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]).await;
        pool.google
            .replay([recording.replayed_response(usize::MAX)]);

        let answer = send(&pool.url, recording.request()).await;

        let error = &answer.json()["error"];
        assert_eq!(answer.status, status, "{id}: {error}");
        assert_eq!(
            (error["code"].as_u64(), error["status"].as_str()),
            (Some(u64::from(status)), Some(name)),
            "{id}"
        );
        assert_is_the_pools_own(&recording, &answer);
        let waits = answer.header("retry-after").unwrap();
        assert!(retry_after.is_none_or(|exactly| waits == exactly), "{id}");
        let row = row_of(&pool, &answer).await;
        assert_ne!(row.outcome, Some(Outcome::Success), "{id}");
        let original = recording.response.body.lines().nth(3).unwrap();
        let original: String = original.trim().chars().skip(12).take(20).collect();
        assert!(row.error.unwrap().contains(&original), "{id}: {original}");
    }
}

#[tokio::test]
async fn a_used_up_minute_is_told_with_the_time_google_asked_to_wait() {
    let recording = recording::named("error-429-paid-tpm");
    let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]).await;
    pool.google
        .replay([recording.replayed_response(usize::MAX)]);
    let expected_delay = retry_delay(&serde_json::from_str(&recording.response.body).unwrap());

    let answer = send(&pool.url, recording.request()).await;

    let waits: f64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(
        (expected_delay - 2.0..=expected_delay + 1.0).contains(&waits),
        "{waits}, {expected_delay}"
    );
    assert!((retry_delay(&answer.json()) - waits).abs() < f64::EPSILON);
}

#[tokio::test]
async fn another_key_answers_where_google_refused_the_first() {
    let good = recording::named("unary-text");
    for id in ["error-400-key-invalid", "error-429-paid-tpm"] {
        let pool = TestPool::with_keys([
            FakeKey::healthy(UPSTREAM_KEY, "projects/1"),
            FakeKey::healthy("AIza-upstream-key-of-the-recordings-0002", "projects/2"),
        ])
        .await;
        let refused = recording::named(id);
        pool.google.replay([
            refused.replayed_response(usize::MAX),
            good.replayed_response(usize::MAX),
        ]);

        let answer = send(&pool.url, good.request()).await;

        assert_reached_client(&good, &answer);
        assert!(answer.body == good.response.body, "{id}");
        let received = pool.google.received();
        let keys: Vec<_> = received.iter().map(|request| &request.key).collect();
        assert_eq!(keys.len(), 2, "{id}");
        assert_ne!(keys[0], keys[1], "{id}");
        assert_recorded(&good, &row_of(&pool, &answer).await);
    }
}

#[tokio::test]
async fn a_recorded_list_is_shown_as_it_was_but_for_what_others_made() {
    let recording = recording::named("file-list");
    let pool = open_pool().await;
    pool.google
        .replay([recording.replayed_response(usize::MAX)]);
    let whole = send(&pool.url, recording.request()).await;
    assert_eq!(whole.body, recording.response.body.as_bytes());

    // One of them is this client's, as it is told by an answer.
    let listed: serde_json::Value = serde_json::from_str(&recording.response.body).unwrap();
    let second = &listed["files"][1];
    let mut get = recording.request();
    get.path_and_query = format!("/v1beta/{}", second["name"].as_str().unwrap());
    let mut answer = recording.replayed_response(usize::MAX);
    answer.chunks = pieces(second.to_string().as_bytes(), usize::MAX);
    answer
        .headers
        .retain(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
    pool.google
        .replay([answer, recording.replayed_response(usize::MAX)]);
    assert_eq!(send(&pool.url, get).await.status, 200);
    pool.set(&[("client_isolation", "on")]).await;

    let own = send(&pool.url, recording.request()).await;

    assert_eq!(own.json(), serde_json::json!({"files": [second]}));
}

/// With one key, whose clients may use whatever it has: most recordings name what was made before.
async fn open_pool() -> TestPool {
    let fake_config = FakeConfig::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]);
    TestPool::start_with(fake_config, &[("client_isolation", "off")]).await
}

/// Those whose answers pass.
fn recordings() -> Vec<RecordedExchange> {
    let mut recordings = recording::all();
    recordings.retain(|recording| {
        let id = recording.id.as_str();
        !ABOUT_OUR_KEY.contains(&id) && id != "file-list"
    });
    recordings
}

/// Google got the recorded request byte for byte and header for header, but for what stays here.
fn assert_reached_google(pool: &TestPool, recording: &RecordedExchange) {
    let id = &recording.id;
    let sent = recording.request();
    let received = pool.google.last_received().unwrap();
    assert_eq!(received.method, sent.method, "{id}");
    assert_eq!(received.path_and_query, sent.path_and_query, "{id}");
    assert_eq!(received.body_bytes, sent.body.len(), "{id}: the body");
    // Of a file the fake keeps the length alone.
    let is_file = id.ends_with("upload-finalize");
    assert!(is_file || received.body == sent.body, "{id}: the body");

    let mut expected = without(sent.headers, &STAYS_HERE);
    let host = pool.google.url().replace("http://", "");
    expected.push(("host".to_owned(), host));
    expected.push(("x-goog-api-key".to_owned(), UPSTREAM_KEY.to_owned()));
    if !sent.body.is_empty() {
        expected.push(("content-length".to_owned(), sent.body.len().to_string()));
    }
    // Without it any media type is accepted (RFC 9110, 12.5.1), so saying so changes nothing.
    if !expected.iter().any(|(name, _)| name == "accept") {
        expected.push(("accept".to_owned(), "*/*".to_owned()));
    }
    // Streams are requested without an encoding; without the header any encoding would be accepted.
    let is_stream = sent.path_and_query.contains("stream")
        || String::from_utf8_lossy(&sent.body)
            .replace(": ", ":")
            .contains("\"stream\":true");
    if is_stream {
        expected.retain(|(name, _)| name != "accept-encoding");
    }
    for (name, value) in &mut expected {
        if name == "accept-encoding" {
            *value = value.replace(", br", "").replace(", zstd", "");
        }
    }
    if !expected.iter().any(|(name, _)| name == "accept-encoding") {
        expected.push(("accept-encoding".to_owned(), "identity".to_owned()));
    }
    let headers = received.headers.into_iter();
    let headers = headers.map(|(name, value)| (name, String::from_utf8(value).unwrap()));
    assert_eq!(sorted(headers.collect()), sorted(expected), "{id}");
}

/// The client got the recorded status and headers, but for what stays upstream and the pool's own.
fn assert_reached_client(recording: &RecordedExchange, answer: &RawResponse) {
    let id = &recording.id;
    assert_eq!(answer.status, recording.response.status, "{id}");
    let mut expected = without(recording.answer_headers(), &STAYS_UPSTREAM);
    let mut headers = without(answer.headers.clone(), &STAYS_UPSTREAM);
    let named = |headers: &Headers, wanted: &str| headers.iter().any(|(name, _)| name == wanted);
    // Every HTTP server dates what is not dated, and may tell the length of what it has whole.
    headers.retain(|(name, _)| name != "date" || named(&expected, "date"));
    headers.retain(|(name, value)| {
        name != "content-length"
            || named(&expected, "content-length")
            || *value != answer.body.len().to_string()
    });
    expected.push(("access-control-allow-origin".to_owned(), "*".to_owned()));
    let exposed = ("access-control-expose-headers", "x-request-id, retry-after");
    expected.push((exposed.0.to_owned(), exposed.1.to_owned()));
    let request_id = answer.header("x-request-id").unwrap();
    expected.push(("x-request-id".to_owned(), request_id.to_owned()));
    if recording.response_metadata().3 {
        expected.push(("x-accel-buffering".to_owned(), "no".to_owned()));
    }
    assert_eq!(sorted(headers), sorted(sandboxed(expected)), "{id}");
}

/// The client got the recorded answer of an upload, but for what is the pool's own or only Google's.
fn assert_passed(recording: &RecordedExchange, answer: &RawResponse, url: &str) {
    let id = &recording.id;
    assert_eq!(answer.status, recording.response.status, "{id}");
    let internal = ["x-guploader-uploadid", "x-goog-upload-header-"];
    let mut expected = without(
        without(recording.answer_headers(), &STAYS_UPSTREAM),
        &internal,
    );
    for (name, value) in &mut expected {
        if name == "x-goog-upload-url" || name == "x-goog-upload-control-url" {
            url.clone_into(value);
        }
    }
    let pools = ["date", "content-length", "x-request-id", "access-control-"];
    let headers = without(answer.headers.clone(), &pools);
    let expected = sandboxed(without(expected, &pools));
    assert_eq!(sorted(headers), sorted(expected), "{id}");
}

/// The headers with what the pool tells browsers in place of what Google tells them.
fn sandboxed(headers: Headers) -> Headers {
    let mut headers = without(headers, &["x-content-type-options"]);
    for (name, value) in [
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("x-content-type-options", "nosniff"),
    ] {
        headers.push((name.to_owned(), value.to_owned()));
    }
    headers
}

/// The row says what the recording says of itself.
fn assert_recorded(recording: &RecordedExchange, row: &RequestLog) {
    let id = &recording.id;
    let reported = (
        row.operation.clone(),
        row.model.clone(),
        row.model_version.clone(),
        row.streamed,
    );
    assert_eq!(reported, recording.response_metadata(), "{id}");
    if row.usage_estimated {
        // Google reports no tokens of embeddings, but bills them.
        assert!(recording.tokens().iter().all(Option::is_none), "{id}");
        assert!(id.contains("embed"), "{id}");
    } else {
        assert_eq!(tokens_of(row), recording.tokens(), "{id}");
    }
    assert_eq!(row.status, Some(i64::from(recording.response.status)));
    let outcome = match recording.response.status {
        200 => Outcome::Success,
        _ => Outcome::ClientError,
    };
    assert_eq!(row.outcome, Some(outcome), "{id}");
}

/// Nothing of the recorded error is in the answer, neither its words nor a word of keys and projects.
fn assert_is_the_pools_own(recording: &RecordedExchange, answer: &RawResponse) {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains("gemini-pool: "), "{text}");
    let theirs: serde_json::Value = serde_json::from_str(&recording.response.body).unwrap();
    let theirs = theirs["error"]["message"].as_str().unwrap();
    for secret in [
        UPSTREAM_KEY,
        "projects/1",
        "API_KEY",
        "API key",
        "API Key",
        theirs,
    ] {
        assert!(!text.contains(secret), "{}: {text}", recording.id);
        for (_, value) in &answer.headers {
            assert!(!value.contains(secret), "{}: {value}", recording.id);
        }
    }
}

/// The row that an answer names.
async fn row_of(pool: &TestPool, answer: &RawResponse) -> RequestLog {
    let id = answer.header("x-request-id").unwrap();
    let mut rows = pool.rows().await;
    rows.retain(|row| row.id.to_string() == id);
    assert_eq!(
        rows.len(),
        1,
        "the row is there before the answer's last byte"
    );
    rows.remove(0)
}

/// How many seconds the body of a 429 asks to wait.
fn retry_delay(body: &serde_json::Value) -> f64 {
    let mut details = body["error"]["details"].as_array().unwrap().iter();
    let delay = details.find_map(|detail| detail["retryDelay"].as_str());
    delay.unwrap().trim_end_matches('s').parse().unwrap()
}

/// Headers but for the named ones; a name that ends in a dash is the beginning of many.
fn without(mut headers: Headers, names: &[&str]) -> Headers {
    let is =
        |name: &str, known: &str| name == known || known.ends_with('-') && name.starts_with(known);
    headers.retain(|(name, _)| !names.iter().any(|known| is(name, known)));
    headers
}

/// By name; the order of one name's values stays.
fn sorted(mut headers: Headers) -> Headers {
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    headers
}
