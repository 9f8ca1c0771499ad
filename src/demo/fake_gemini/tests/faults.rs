//! Clients that disconnect, connections that break, streams that end early.

use super::*;
use crate::demo::fake_gemini::behaviour::StreamErrorFormat;
use crate::demo::fake_gemini::response_shape::ResponseShape;

#[tokio::test]
async fn a_client_that_goes_is_noticed() {
    let fake = fake(Behaviour::Healthy).await;
    fake.set_response_shape(ResponseShape {
        chunks: 100,
        chunk_delay_ms: 20,
        ..ResponseShape::default()
    });

    let mut response = post(&fake, STREAM, PROMPT).await.unwrap();
    response.chunk().await.unwrap();
    assert_eq!((fake.open_streams(), fake.open_connections()), (1, 1));
    drop(response);

    wait_until(|| !fake.disconnects().is_empty()).await;
    assert_eq!(fake.open_streams(), 0);
    let disconnect = &fake.disconnects()[0];
    assert_eq!(disconnect.key.as_deref(), Some(KEY));
    assert!((1..100).contains(&disconnect.chunks_sent));
}

#[tokio::test]
async fn a_client_that_goes_before_the_head_is_noticed() {
    let fake = fake(Behaviour::NeverRespond).await;

    let waiting = tokio::spawn({
        let fake = fake.clone();
        async move { post(&fake, GENERATE, PROMPT).await }
    });
    wait_until(|| fake.open_responses() == 1).await;
    waiting.abort();

    wait_until(|| fake.disconnects().len() == 1).await;
    assert_eq!(fake.disconnects()[0].chunks_sent, 0);
    assert_eq!(fake.counts(KEY).in_flight, 0);
}

#[tokio::test]
async fn connections_break_before_the_answer_as_told() {
    let fake = fake(Behaviour::Healthy).await;

    for behaviour in [
        Behaviour::CloseConnection,
        Behaviour::ResetConnection,
        Behaviour::MalformedResponse,
        Behaviour::TruncatedHead,
    ] {
        fake.set_behaviour(KEY, behaviour.clone());
        let answer = post(&fake, GENERATE, PROMPT).await;
        assert!(answer.is_err(), "{behaviour:?}: {answer:?}");
    }

    assert!(
        fake.disconnects().is_empty(),
        "the fake broke off, not the clients"
    );
}

#[tokio::test]
async fn a_stream_is_cut_after_its_chunks() {
    for after in [0, 1, 3] {
        let fake = fake(Behaviour::AbortStream(after)).await;

        let mut response = post(&fake, STREAM, PROMPT).await.unwrap();
        let mut body = Vec::new();
        let error = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };

        assert!(
            error.is_some(),
            "after {after}: the end looked like a proper one"
        );
        let body = String::from_utf8(body).unwrap();
        assert_eq!(body.matches("\r\n\r\n").count(), after);
    }
}

#[tokio::test]
async fn errors_inside_streams_have_the_form_of_the_stream() {
    let stream_error = |format| Behaviour::StreamError {
        after: 2,
        code: 503,
        format,
    };
    let fake = fake(stream_error(StreamErrorFormat::Event)).await;
    let event = "data: {\"error\": {\"code\": 503,\"message\": \"This model is currently experiencing high demand. Spikes in demand \
        are usually temporary. Please try again later.\",\"status\": \"UNAVAILABLE\"}}\r\n\r\n";

    let native = post_and_read(&fake, STREAM, PROMPT).await.2;
    let array = post_and_read(&fake, ARRAY, PROMPT).await.2;
    let chat = CHAT_BODY.replace("\"model\"", "\"stream\":true,\"model\"");
    let openai = post_and_read(&fake, CHAT, &chat).await.2;
    let interaction = r#"{"model":"gemini-2.5-flash","input":"Hi","stream":true}"#;
    let interactions = post_and_read(&fake, "/v1beta/interactions", interaction)
        .await
        .2;
    fake.set_behaviour(KEY, stream_error(StreamErrorFormat::RawTail));
    let raw = post_and_read(&fake, STREAM, PROMPT).await.2;
    fake.set_behaviour(KEY, Behaviour::FirstEventError(429));
    let first = post_and_read(&fake, STREAM, PROMPT).await;

    assert!(
        native.ends_with(event) && native.matches("data: ").count() == 3,
        "{native}"
    );
    assert!(
        array.ends_with("\"status\": \"UNAVAILABLE\"\n  }\n}\n]"),
        "{array}"
    );
    serde_json::from_str::<serde_json::Value>(&array).unwrap();
    assert!(
        openai.ends_with("\"status\":\"UNAVAILABLE\"}}\n\n"),
        "{openai}"
    );
    assert!(interactions.contains(
        "event: error\ndata: {\"event_type\":\"error\",\"error\":{\"code\":\"unavailable\""
    ));
    assert!(raw.ends_with("\r\n\r\n{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"This model is currently experiencing \
        high demand. Spikes in demand are usually temporary. Please try again later.\",\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n"));
    assert_eq!(first.0, 200);
    assert!(
        first.2.starts_with("data: {\"error\": {\"code\": 429,"),
        "{}",
        first.2
    );
}

#[tokio::test]
async fn http2_without_tls_is_served_and_cut() {
    let fake = fake(Behaviour::Sequence(vec![
        Behaviour::Healthy,
        Behaviour::AbortStream(1),
        Behaviour::CloseConnection,
    ]))
    .await;
    let _ = client();
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap();
    let send = async || {
        let request = client.post(fake.url() + STREAM).body(PROMPT);
        request.header("x-goog-api-key", KEY).send().await
    };

    let whole = send().await.unwrap();
    assert_eq!(whole.version(), http::Version::HTTP_2);
    assert_eq!(whole.text().await.unwrap().matches("data: ").count(), 4);
    assert!(send().await.unwrap().text().await.is_err());
    assert!(send().await.is_err());
}

#[tokio::test]
async fn connections_can_be_cut_off_and_the_port_closed() {
    let fake = fake(Behaviour::StallStream(1)).await;

    let mut stalled = post(&fake, STREAM, PROMPT).await.unwrap();
    stalled.chunk().await.unwrap();
    fake.cut_off_connections();

    assert!(stalled.chunk().await.is_err());
    wait_until(|| fake.open_connections() == 0).await;
    assert!(fake.disconnects().is_empty());
    fake.set_behaviour(KEY, Behaviour::Healthy);
    assert_eq!(post_and_read(&fake, GENERATE, PROMPT).await.0, 200);
    fake.shutdown().await;
    assert!(
        post(&fake, GENERATE, PROMPT)
            .await
            .unwrap_err()
            .is_connect()
    );
}
