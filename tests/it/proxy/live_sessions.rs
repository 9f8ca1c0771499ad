//! Live sessions pass as they are, whichever key they are held with.

use std::path::Path;
use std::time::Duration;

use futures_util::SinkExt;
use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey, StreamErrorFormat};
use gemini_pool::demo::fake_gemini::live::{SessionEnd, SessionStep};
use gemini_pool::demo::fake_gemini::quota::{ModelLimit, ProjectQuota, Tier};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::client_keys;
use gemini_pool::websocket::{Socket, close_frame};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::live::{
    MODEL, PATH, begin, close, connect, open_session, question, receive, receive_close,
    receive_json, setup, text,
};
use crate::support::recording::tokens_of;
use crate::support::requests::ClientResponse;
use crate::support::{CLIENT_ID, CLIENT_KEY, RequestLog, TestPool, act, eventually};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";

/// A recorded session.
#[derive(Deserialize)]
struct Recorded {
    websocket: Vec<RecordedFrame>,
}

#[derive(Deserialize)]
struct RecordedFrame {
    direction: String,
    data: Value,
}

fn recorded(name: &str) -> Vec<RecordedFrame> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/sessions");
    let text = std::fs::read(folder.join(name)).unwrap();
    let recorded: Recorded = serde_json::from_slice(&text).unwrap();
    recorded.websocket
}

/// Mostly of the kind that each side uses, but every third of the other.
fn message(index: usize, frame: &RecordedFrame) -> Message {
    let payload = format!("{:#}\n", frame.data);
    let is_text = (frame.direction == "sent") != (index % 3 == 2);
    if is_text {
        Message::text(payload)
    } else {
        Message::binary(payload)
    }
}

async fn pool() -> TestPool {
    TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await
}

/// The only row, once everything is given back.
async fn row(pool: &TestPool) -> RequestLog {
    let row = pool.row().await;
    eventually("the key is free", async || {
        (pool.leases() == 0 && pool.google.open_responses() == 0).then_some(())
    })
    .await;
    pool.assert_sums_agree().await;
    row
}

fn rules_of(row: &RequestLog) -> Vec<&str> {
    let attempts = row.attempt_list.iter().flatten();
    attempts
        .map(|attempt| attempt.rule.as_deref().unwrap())
        .collect()
}

#[tokio::test]
async fn recorded_sessions_pass_message_for_message() {
    let cases = [
        (
            "websocket-live-text-in-audio-out.json",
            [Some(1131), Some(26), Some(24), None, None, Some(1157)],
        ),
        (
            "websocket-live-tool-round.json",
            [Some(1267), Some(103), None, None, None, Some(1370)],
        ),
    ];
    for (name, tokens) in cases {
        let pool = pool().await;
        let frames = recorded(name);
        let messages: Vec<_> = frames
            .iter()
            .enumerate()
            .map(|(index, frame)| (frame.direction == "sent", message(index, frame)))
            .collect();
        pool.google
            .script_session(messages.iter().map(|(is_sent, message)| {
                if *is_sent {
                    SessionStep::Receive
                } else {
                    SessionStep::Send(message.clone())
                }
            }));

        let mut socket = connect(&pool).await;
        for (is_sent, message) in &messages {
            if *is_sent {
                socket.send(message.clone()).await.unwrap();
            } else {
                assert_eq!(receive(&mut socket).await, *message);
            }
        }
        let closing = close_frame(1000, "that is all");
        close(socket, Some(closing.clone())).await;

        let row = row(&pool).await;
        let session = &pool.google.sessions()[0];
        let mut sent: Vec<_> = messages.iter().filter(|(is_sent, _)| *is_sent).collect();
        let last = (true, Message::Close(Some(closing)));
        sent.push(&last);
        let sent: Vec<_> = sent.iter().map(|(_, message)| message.clone()).collect();
        assert_eq!(session.received, sent, "{name}");
        assert_eq!(session.ended, Some(SessionEnd::ClientClosed));
        let bytes = |is_sent| {
            let passed = messages.iter().filter(|message| message.0 == is_sent);
            let bytes: usize = passed.map(|(_, message)| message.len()).sum();
            i64::try_from(bytes).unwrap()
        };
        assert_eq!(row.outcome, Some(Outcome::Success));
        assert_eq!((row.status, row.streamed), (Some(101), true));
        assert_eq!((row.turns, row.close_code), (Some(1), Some(1000)));
        assert_eq!(row.model.as_deref(), Some(MODEL));
        assert_eq!(row.operation.as_deref(), Some("BidiGenerateContent"));
        assert_eq!(tokens_of(&row), tokens, "{name}");
        assert_eq!(row.request_bytes, bytes(true));
        assert_eq!(row.response_bytes, bytes(false));
        assert_eq!(rules_of(&row), ["success"]);
        assert!(row.duration_ms.is_some() && row.first_byte_ms.is_some());
    }
}

#[tokio::test]
async fn a_session_begins_with_the_first_key_that_takes_it() {
    let keys =
        (1..=6).map(|number| FakeKey::healthy(format!("{KEY}-{number}"), number.to_string()));
    let pool = TestPool::with_keys(keys).await;
    let behaviour = Behaviour::Sequence(vec![
        Behaviour::Leaked,
        Behaviour::Exhausted,
        Behaviour::StreamError {
            after: 0,
            code: 429,
            format: StreamErrorFormat::Event,
        },
        Behaviour::AbortStream(0),
        Behaviour::InternalError,
        Behaviour::Healthy,
    ]);
    pool.google.set_egress_behaviour(Some(behaviour));

    let mut socket = begin(&pool).await;
    socket.send(question()).await.unwrap();
    while receive_json(&mut socket).await["usageMetadata"].is_null() {}
    close(socket, None).await;

    let row = row(&pool).await;
    assert_eq!(row.outcome, Some(Outcome::Success));
    assert_eq!((row.turns, row.close_code), (Some(1), Some(1005)));
    let rules = [
        "key_leaked",
        "quota_without_detail",
        "quota_without_detail",
        "connection_broken",
        "internal_error",
        "success",
    ];
    assert_eq!(rules_of(&row), rules);
    let sessions = pool.google.sessions();
    let setups: Vec<_> = sessions
        .iter()
        .map(|session| &session.received[0])
        .collect();
    assert_eq!(setups, [&setup(json!({})); 3], "it is said anew to each");
}

#[tokio::test]
async fn nothing_is_tried_again_once_google_has_spoken() {
    let keys = [1, 2].map(|number| FakeKey::healthy(format!("{KEY}-{number}"), number.to_string()));
    let pool = TestPool::with_keys(keys).await;
    let complete = Message::binary("{\"setupComplete\": {}}\n");
    pool.google.script_session([
        SessionStep::Receive,
        SessionStep::Send(complete),
        SessionStep::DropConnection,
    ]);

    let mut socket = begin(&pool).await;
    let (code, reason) = receive_close(&mut socket).await.unwrap();

    assert_eq!(code, 1011);
    assert!(
        reason.starts_with("gemini-pool: the session broke off"),
        "{reason}"
    );
    let row = row(&pool).await;
    assert_eq!(row.outcome, Some(Outcome::BrokenOff));
    assert_eq!((row.attempts, row.close_code), (1, Some(1011)));
    assert_eq!(rules_of(&row), ["connection_broken"]);
}

#[tokio::test]
async fn what_google_closes_with_reaches_the_client() {
    let quota = "You exceeded your current quota, please check your plan and billing details.";
    let cases = [
        (Some((1000, "")), Outcome::Success, "success"),
        (
            Some((1001, "The session is over.")),
            Outcome::Success,
            "success",
        ),
        (None, Outcome::Success, "success"),
        (
            Some((1007, "Request contains an invalid argument.")),
            Outcome::ClientError,
            "invalid_request",
        ),
        (
            Some((1008, "Requested entity was not found.")),
            Outcome::ClientError,
            "resource_not_found",
        ),
        (
            Some((1011, quota)),
            Outcome::BrokenOff,
            "quota_without_detail",
        ),
        (
            Some((1011, "Internal error encountered.")),
            Outcome::BrokenOff,
            "internal_error",
        ),
    ];
    for (close, outcome, rule) in cases {
        let pool = pool().await;
        let last = close.map_or(SessionStep::CloseWithoutCode, |(code, reason)| {
            SessionStep::Close(code, reason.to_owned())
        });
        let complete = Message::text(r#"{"setupComplete":{}}"#);
        pool.google
            .script_session([SessionStep::Receive, SessionStep::Send(complete), last]);

        let mut socket = begin(&pool).await;
        let reported = receive_close(&mut socket).await;

        assert_eq!(
            reported,
            close.map(|(code, reason)| (code, reason.to_owned()))
        );
        let row = row(&pool).await;
        assert_eq!(row.outcome, Some(outcome), "{close:?}");
        let code = close.map_or(1005, |(code, _)| i64::from(code));
        assert_eq!((row.status, row.close_code), (Some(101), Some(code)));
        assert_eq!(rules_of(&row), [rule], "{close:?}");
        let ended = pool.google.sessions()[0].ended;
        assert_eq!(ended, Some(SessionEnd::FakeClosed));
    }
}

#[tokio::test]
async fn a_setup_that_google_refuses_is_refused_in_its_words() {
    let pool = pool().await;
    let mut socket = connect(&pool).await;
    let missing = json!({"setup": {"model": "models/there-is-no-such-model"}});
    socket
        .send(Message::text(missing.to_string()))
        .await
        .unwrap();

    let (code, reason) = receive_close(&mut socket).await.unwrap();

    assert_eq!(code, 1008);
    let words = "models/there-is-no-such-model is not found for API version v1beta";
    assert!(reason.starts_with(words), "{reason}");
    let row = row(&pool).await;
    assert_eq!(row.outcome, Some(Outcome::ClientError));
    assert_eq!((row.status, row.close_code), (Some(101), Some(1008)));
    assert_eq!(rules_of(&row), ["model_not_found"]);
}

#[tokio::test]
async fn google_hears_at_once_of_a_client_that_vanishes() {
    for asks in [false, true] {
        let pool = pool().await;
        let mut socket = begin(&pool).await;
        if asks {
            socket.send(question()).await.unwrap();
            receive(&mut socket).await;
        }

        let gone = clock::instant();
        drop(socket);

        eventually("Google has heard of it", async || {
            pool.google.sessions()[0].ended
        })
        .await;
        let took = gone.elapsed();
        println!("Google received of it within {took:?}");
        assert_eq!(
            pool.google.sessions()[0].ended,
            Some(SessionEnd::ClientDropped)
        );
        let row = row(&pool).await;
        assert_eq!(row.outcome, Some(Outcome::ClientGone));
        assert_eq!((row.status, row.close_code), (Some(101), None));
    }
}

#[tokio::test]
async fn a_client_that_vanishes_before_google_answers_frees_the_key() {
    let pool = TestPool::with_keys([FakeKey::new(KEY, "1", Behaviour::NeverRespond)]).await;
    let mut socket = connect(&pool).await;
    socket.send(setup(json!({}))).await.unwrap();
    eventually("the request is with Google", async || {
        (pool.google.requests() > 0).then_some(())
    })
    .await;

    drop(socket);

    let row = row(&pool).await;
    assert_eq!(row.outcome, Some(Outcome::ClientGone));
}

#[tokio::test]
async fn a_client_says_its_key_wherever_it_can_and_google_gets_ours() {
    let bearer = format!("Bearer {CLIENT_KEY}");
    let token = format!("Token {CLIENT_KEY}");
    let cases: [(&str, &[(&str, &str)]); 6] = [
        ("", &[("x-goog-api-key", CLIENT_KEY)]),
        ("", &[("authorization", &bearer)]),
        ("", &[("authorization", &token)]),
        ("", &[("x-api-key", CLIENT_KEY)]),
        ("?key=CLIENT_KEY_1&alt=sse", &[("cookie", "a=b")]),
        (
            "?access_token=CLIENT_KEY_1",
            &[("origin", "https://example.com")],
        ),
    ];
    for (query, headers) in cases {
        let pool = pool().await;
        // As the SDK for JavaScript has it.
        let path = format!("/gemini/{PATH}{query}");
        let mut socket = open_session(&pool.url, &path, headers).await.unwrap();
        socket.send(setup(json!({}))).await.unwrap();
        receive(&mut socket).await;
        close(socket, None).await;

        let row = row(&pool).await;
        assert_eq!(row.client_key_id, Some(CLIENT_ID));
        assert!(!row.path.contains(CLIENT_KEY), "{}", row.path);
        let received = pool.google.last_received().unwrap();
        let rest = if query.contains("alt") {
            "?alt=sse"
        } else {
            ""
        };
        assert_eq!(received.path_and_query, format!("{PATH}{rest}"));
        assert_eq!(received.key.as_deref(), Some(KEY));
        for name in ["authorization", "x-api-key", "cookie", "origin"] {
            assert_eq!(received.header(name), None, "{query} {name}");
        }
        assert_eq!(received.header("sec-websocket-extensions"), None);
    }
}

#[tokio::test]
async fn who_may_not_enter_is_told_so_in_http() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a str);
    let pool = pool().await;
    let token = [("authorization", "Token auth_tokens/abc")];
    let with_key = [("x-goog-api-key", CLIENT_KEY)];
    let elsewhere = "/ws/x?callback=y";
    let cases: [Case; 5] = [
        (PATH, &[], 401, "no client key was sent"),
        (PATH, &[("x-api-key", "wrong")], 401, "is not known"),
        (PATH, &token, 401, "was not made through this pool"),
        (elsewhere, &with_key, 400, "callback is not allowed"),
        (PATH, &with_key, 403, "may not use this path"),
    ];
    pool.allow(|terms| terms.paths = vec!["/v1beta/**".to_owned(), "/ws/x".to_owned()])
        .await;
    for (path, headers, status, why) in cases {
        let refused = open_session(&pool.url, path, headers).await.unwrap_err();
        let message = refused.json()["error"]["message"].to_string();
        assert_eq!(refused.status, status, "{message}");
        assert!(message.contains(why), "{message}");
    }
    pool.allow(|terms| terms.paths.clear()).await;
    let url = format!("{}{PATH}", pool.url);
    let plain = pool.client.get(url).header("x-goog-api-key", CLIENT_KEY);
    let plain = plain.send().await.unwrap();
    assert_eq!(plain.status(), 400);
    assert!(plain.text().await.unwrap().contains("Request a WebSocket"));
    assert_eq!(pool.google.requests(), 0);
}

#[tokio::test]
async fn an_ephemeral_token_opens_a_session_in_the_project_that_made_it() {
    let keys = (1..=6).map(|number| FakeKey::healthy(format!("{KEY}{number}"), number.to_string()));
    let pool = TestPool::with_keys(keys).await;
    pool.allow(|terms| terms.direct_access = true).await;
    let made = pool.post("/v1alpha/auth_tokens", r#"{"uses":1}"#);
    let made = ClientResponse::whole(made.send().await.unwrap()).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let token = made.json()["name"].as_str().unwrap().to_owned();
    let constrained = PATH.replace("v1beta", "v1alpha") + "Constrained";
    let in_header = format!("Token {token}");
    let in_query = format!("{constrained}?access_token={token}");

    for (path, headers) in [
        (&constrained, &[("authorization", in_header.as_str())][..]),
        (&in_query, &[]),
    ] {
        let mut socket = open_session(&pool.url, path, headers).await.unwrap();
        socket.send(setup(json!({}))).await.unwrap();
        assert_eq!(
            receive_json(&mut socket).await,
            json!({"setupComplete": {}})
        );
        close(socket, None).await;
        let received = pool.google.last_received().unwrap();
        // Google gets the token alone.
        assert_eq!(received.header("authorization"), Some(in_header.as_str()));
        assert_eq!(received.header("x-goog-api-key"), None);
        assert_eq!(received.path_and_query, constrained);
    }
    let rows = pool.finished_rows(3).await;
    for row in &rows {
        assert_eq!((row.client_key_id, row.attempts), (Some(CLIENT_ID), 1));
        assert_eq!(row.outcome, Some(Outcome::Success));
        assert_eq!(row.project_id, rows[0].project_id);
        let reported = serde_json::to_string(row).unwrap();
        assert!(!reported.contains(&token), "{reported}");
    }
    assert_eq!(rows[1].bound_by.as_deref(), Some("auth_tokens/…"));

    // Who made it is not allowed to any more.
    pool.allow(|terms| terms.direct_access = false).await;
    let refused = open_session(&pool.url, &in_query, &[]).await.unwrap_err();
    assert_eq!(refused.status, 403);
    let refused = open_session(
        &pool.url,
        &format!("{constrained}?access_token=auth_tokens/guess"),
        &[],
    )
    .await;
    assert_eq!(refused.unwrap_err().status, 401);
}

/// Sends a setup and expects the pool's own close.
async fn refused(mut socket: Socket, code: u16, why: &str) {
    socket.send(setup(json!({}))).await.unwrap();
    let (reported, reason) = receive_close(&mut socket).await.unwrap();
    assert_eq!(reported, code, "{reason}");
    assert!(reason.contains(why), "{reason}");
}

#[tokio::test]
async fn a_model_that_the_client_may_not_use_closes_the_session() {
    let pool = pool().await;
    pool.allow(|terms| terms.models = vec!["gemini-2.5-pro".to_owned()])
        .await;

    refused(connect(&pool).await, 1008, "may not use the model").await;

    let row = row(&pool).await;
    assert_eq!(row.outcome, Some(Outcome::Refused));
    assert_eq!((row.status, row.close_code), (Some(101), Some(1008)));
    assert_eq!((row.attempts, row.model.as_deref()), (0, Some(MODEL)));
    assert_eq!(pool.google.requests(), 0);
}

#[tokio::test]
async fn a_session_without_a_key_is_closed_as_google_closes_it() {
    let no_tokens = ProjectQuota {
        tier: Tier::Free,
        limits: vec![ModelLimit::new("*", None, None, Some(1))],
    };
    let fake_config = FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]).quota("1", no_tokens);
    let pool = TestPool::start_with(fake_config, &[("wait_for_key_seconds", "0")]).await;
    close(begin(&pool).await, None).await;

    refused(connect(&pool).await, 1011, "the quota for").await;

    let rows = pool.finished_rows(2).await;
    assert_eq!(rows[1].outcome, Some(Outcome::Quota));
    assert_eq!(
        (rows[1].status, rows[1].close_code),
        (Some(101), Some(1011))
    );
}

#[tokio::test]
async fn large_messages_and_pings_pass_both_ways() {
    let pool = pool().await;
    let large = json!({"realtimeInput": {"text": "x".repeat(20 * 1024 * 1024)}});
    let large = Message::binary(large.to_string());
    let complete = Message::binary("{\"setupComplete\": {}}\n");
    pool.google.script_session([
        SessionStep::Receive,
        SessionStep::Send(complete),
        SessionStep::Receive,
        SessionStep::Send(large.clone()),
        SessionStep::Send(Message::Ping("from Google".into())),
    ]);

    let mut socket = begin(&pool).await;
    let ping = Message::Ping("from the client".into());
    socket.send(ping.clone()).await.unwrap();
    socket.send(large.clone()).await.unwrap();

    let mut received = vec![receive(&mut socket).await, receive(&mut socket).await];
    received.push(receive(&mut socket).await);
    close(socket, None).await;
    assert!(
        received
            == [
                Message::Pong("from the client".into()),
                large.clone(),
                Message::Ping("from Google".into())
            ]
    );
    let row = row(&pool).await;
    let session = &pool.google.sessions()[0];
    assert!(session.received[1..3] == [ping, large]);
    assert_eq!(row.outcome, Some(Outcome::Success));
}

#[tokio::test]
async fn no_message_and_no_close_repeats_an_upstream_key() {
    let pool = pool().await;
    let message = |key: &str| format!(r#"{{"text": "api_key:{key}"}}"#);
    let frame = close_frame(1011, &format!("no {KEY}"));
    pool.google.script_session([
        SessionStep::Receive,
        SessionStep::Send(Message::binary("{\"setupComplete\": {}}\n")),
        SessionStep::Send(Message::text(message(KEY))),
        SessionStep::Send(Message::binary(message(KEY))),
        SessionStep::Send(Message::Close(Some(frame))),
    ]);
    let mut socket = begin(&pool).await;
    for _ in 0..2 {
        let received = receive(&mut socket).await;
        let text = received.to_text().unwrap().to_owned();
        assert!(text.contains("[redacted]") && !text.contains(KEY), "{text}");
    }
    let (_, reason) = receive_close(&mut socket).await.unwrap();
    assert!(
        reason.contains("[redacted]") && !reason.contains(KEY),
        "{reason}"
    );
}

#[tokio::test]
async fn a_disabled_client_key_ends_its_sessions() {
    let pool = pool().await;
    let mut socket = begin(&pool).await;
    let mut tx = pool.app.db.begin().await.unwrap();
    let act = act(&mut tx).await;
    client_keys::update_enabled(&mut tx, CLIENT_ID, false, &act)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let (code, reason) = receive_close(&mut socket).await.unwrap();

    assert_eq!(code, 1008, "{reason}");
    assert!(reason.contains("disabled"), "{reason}");
    assert_eq!(row(&pool).await.outcome, Some(Outcome::ClientError));
}

#[tokio::test]
async fn a_session_that_falls_silent_is_closed() {
    let fake_config = FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]);
    let pool = TestPool::start_with(fake_config, &[("idle_timeout_ms", "300")]).await;

    let mut socket = begin(&pool).await;
    let (code, reason) = receive_close(&mut socket).await.unwrap();

    assert_eq!(code, 1001);
    assert!(
        reason.contains("neither side sent anything for too long"),
        "{reason}"
    );
    let row = row(&pool).await;
    assert_eq!(row.outcome, Some(Outcome::BrokenOff));
}

#[tokio::test]
async fn a_pool_that_stops_tells_its_sessions() {
    let pool = pool().await;
    let mut socket = begin(&pool).await;
    let mut waiting = connect(&pool).await;
    let db = pool.database();

    pool.begin_stop();
    for socket in [&mut socket, &mut waiting] {
        let (code, reason) = receive_close(socket).await.unwrap();
        assert_eq!(code, 1001);
        assert!(reason.contains("the pool is stopping"), "{reason}");
    }

    let google = pool.google.clone();
    let folder = pool.stop().await;
    assert!(db.starts_with(folder.path()));
    let db =
        gemini_pool::storage::db::Db::open(&crate::support::process::database_url(folder.path()))
            .await
            .unwrap();
    let rows = crate::support::newest_rows(&db).await;
    for row in rows {
        assert_eq!(row.outcome, Some(Outcome::Interrupted), "{row:?}");
        assert_eq!(row.close_code, Some(1001));
    }
    assert_eq!(google.sessions()[0].ended, Some(SessionEnd::ClientClosed));
}

/// Begins a session that can be resumed, and asks once. Returns its handle.
async fn handle_of(socket: &mut Socket, resumption: Value) -> String {
    let setup = setup(json!({"sessionResumption": resumption}));
    socket.send(setup).await.unwrap();
    socket.send(question()).await.unwrap();
    loop {
        let payload = receive_json(socket).await;
        if let Some(handle) = payload["sessionResumptionUpdate"]["newHandle"].as_str() {
            return handle.to_owned();
        }
    }
}

#[tokio::test]
async fn a_session_is_resumed_in_its_project_even_after_a_crash_of_the_connection() {
    let keys =
        (1..=8).map(|number| FakeKey::healthy(format!("{KEY}-{number}"), number.to_string()));
    let pool = TestPool::with_keys(keys).await;
    let mut socket = connect(&pool).await;
    let mut handle = handle_of(&mut socket, json!({})).await;
    for _ in 0..3 {
        drop(socket);
        socket = connect(&pool).await;
        handle = handle_of(&mut socket, json!({"handle": handle})).await;
    }
    close(socket, None).await;

    let rows = pool.finished_rows(4).await;
    for row in &rows {
        assert_eq!((row.attempts, row.turns), (1, Some(1)), "{row:?}");
        assert_eq!(row.project_id, rows[0].project_id);
    }
    assert!(rows[1].bound_by.is_some(), "{:?}", rows[1]);
    let pool = pool.restart().await;
    let mut socket = connect(&pool).await;
    handle_of(&mut socket, json!({"handle": handle})).await;
    close(socket, None).await;
    assert_eq!(
        pool.finished_rows(5).await[4].project_id,
        rows[0].project_id
    );
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn nobody_resumes_the_session_of_another() {
    let pool = pool().await;
    pool.add_client_key("CLIENT_KEY_2").await;
    let mut socket = connect(&pool).await;
    let handle = handle_of(&mut socket, json!({})).await;
    close(socket, None).await;

    let headers = [("x-goog-api-key", "CLIENT_KEY_2")];
    let mut other = open_session(&pool.url, PATH, &headers).await.unwrap();
    let resumption = json!({"sessionResumption": {"handle": handle}});
    other.send(setup(resumption)).await.unwrap();
    let (code, reason) = receive_close(&mut other).await.unwrap();

    assert_eq!(code, 1008);
    assert!(reason.contains("was not found"), "{reason}");
    assert_eq!(pool.google.sessions().len(), 1);
    let rows = pool.finished_rows(2).await;
    assert_eq!(rows[1].outcome, Some(Outcome::Refused));
}

#[tokio::test]
async fn nothing_of_another_is_named_in_the_middle_of_a_session() {
    let pool = pool().await;
    pool.add_client_key("CLIENT_KEY_2").await;
    let cache = json!({
        "model": "models/gemini-2.5-flash",
        "contents": [{"role": "user", "parts": [{"text": "Sky. ".repeat(5_000)}]}],
    });
    let made = pool.post("/v1beta/cachedContents", &cache.to_string());
    let made: Value =
        serde_json::from_slice(&made.send().await.unwrap().bytes().await.unwrap()).unwrap();
    let name = made["name"].as_str().unwrap_or_else(|| panic!("{made}"));
    let naming = text(json!({"clientContent": {"turns": [], "cachedContent": name}}));

    let headers = [("x-goog-api-key", "CLIENT_KEY_2")];
    let mut other = open_session(&pool.url, PATH, &headers).await.unwrap();
    for message in [setup(json!({})), question(), naming.clone()] {
        other.send(message).await.unwrap();
    }
    let (code, reason) = receive_close(&mut other).await.unwrap();
    let mut own = begin(&pool).await;
    own.send(naming.clone()).await.unwrap();
    close(own, None).await;

    assert_eq!(code, 1008);
    assert!(
        reason.contains(name) && reason.contains("was not found"),
        "{reason}"
    );
    let received: Vec<_> = pool
        .google
        .sessions()
        .into_iter()
        .map(|session| session.received)
        .collect();
    assert!(!received[0].contains(&naming));
    assert!(received[1].contains(&naming));
    let rows = pool.finished_rows(3).await;
    assert_eq!(rows[1].outcome, Some(Outcome::ClientError));
    assert_eq!(rows[1].close_code, Some(1008));
}

#[tokio::test]
async fn sessions_are_held_over_http_1_where_the_rest_goes_over_http_2() {
    let fake_config = FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]);
    let pool = TestPool::start_with(fake_config, &[("upstream_http2", "on")]).await;

    close(begin(&pool).await, None).await;

    assert_eq!(row(&pool).await.outcome, Some(Outcome::Success));
    tokio::time::timeout(Duration::from_secs(30), pool.generate())
        .await
        .unwrap();
}
