//! Who is let in, and what of their credential goes further: nothing.

use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::journal::ReceivedRequest;
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::tasks::sweep;

use crate::support::requests::{ClientResponse, GENERATE_BODY, TestRequest};
use crate::support::{CLIENT_KEY, TestPool};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";

#[tokio::test]
async fn a_client_key_is_taken_from_four_places_and_goes_no_further() {
    let pool = pool().await;
    let right = |name, value: &str| (name, value.replace('@', CLIENT_KEY));
    let cases = [
        (vec![right("x-goog-api-key", "@")], ""),
        (vec![right("authorization", "Bearer @")], ""),
        (vec![right("authorization", "bearer @")], ""),
        (vec![right("x-api-key", "@")], ""),
        (vec![], "?key=@"),
        (vec![], "?%6Bey=@&alt=json"),
        (vec![], "?k%65y=%43LIENT_KEY_1"),
        (vec![], "?alt=json&key=@&prettyPrint=false"),
        // The first present decides, the others go nowhere.
        (
            vec![
                right("x-goog-api-key", "@"),
                right("authorization", "Bearer wrong"),
                right("x-api-key", "wrong"),
                right("cookie", "key=@"),
            ],
            "?key=wrong&access_token=@",
        ),
        (
            vec![
                right("authorization", "Bearer @"),
                right("x-api-key", "wrong"),
            ],
            "?key=wrong",
        ),
        (vec![right("x-api-key", "@")], "?key=wrong&key=@"),
    ];
    for (headers, query) in cases {
        let url = format!(
            "{}{}{}",
            pool.url,
            TestRequest::Generate.path(),
            query.replace('@', CLIENT_KEY)
        );
        let mut request = pool.client.post(url).body(TestRequest::Generate.body());
        for (name, value) in &headers {
            request = request.header(*name, value);
        }

        let response = ClientResponse::whole(request.send().await.unwrap()).await;

        assert_eq!(
            response.status,
            200,
            "{headers:?} {query}: {}",
            response.text()
        );
        assert_only_our_key(&pool.google.last_received().unwrap());
    }
    let received = pool.google.received();
    let last = |n: usize| received[n].path_and_query.as_str();
    assert_eq!(
        last(5),
        format!("{}?alt=json", TestRequest::Generate.path())
    );
    assert_eq!(
        last(7),
        format!(
            "{}?alt=json&prettyPrint=false",
            TestRequest::Generate.path()
        )
    );
    for row in pool.finished_rows(received.len()).await {
        assert!(!row.path.contains("KEY"), "{row:?}");
        assert_eq!(row.client_key.as_deref(), Some("env-1"));
    }
}

/// Fails unless Google got the pool's key alone, in its header.
fn assert_only_our_key(received: &ReceivedRequest) {
    assert_eq!(received.header("x-goog-api-key"), Some(KEY));
    let reported = format!("{received:?}");
    assert_eq!(reported.matches("x-goog-api-key").count(), 1);
    for name in ["authorization", "x-api-key", "cookie"] {
        assert_eq!(received.header(name), None, "{name}");
    }
    for secret in [CLIENT_KEY, "wrong", "key=", "access_token"] {
        assert!(!received.path_and_query.contains(secret), "{reported}");
    }
    for (name, value) in &received.headers {
        let value = String::from_utf8_lossy(value);
        assert!(!value.contains(CLIENT_KEY), "{name}: {value}");
    }
}

#[tokio::test]
async fn the_first_credential_decides_even_when_a_later_one_is_right() {
    let pool = pool().await;
    for (headers, query) in [
        (
            vec![("x-goog-api-key", "wrong"), ("x-api-key", CLIENT_KEY)],
            "",
        ),
        (
            vec![("authorization", "Bearer wrong"), ("x-api-key", CLIENT_KEY)],
            "",
        ),
        (vec![("x-api-key", "wrong")], "?key=CLIENT_KEY_1"),
        (vec![], "?key=wrong&key=CLIENT_KEY_1"),
    ] {
        let mut request = pool.client.post(format!(
            "{}{}{query}",
            pool.url,
            TestRequest::Generate.path()
        ));
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let answer = request
            .body(TestRequest::Generate.body())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 401, "{headers:?} {query}");
    }
    assert_eq!(pool.google.requests(), 0);
}

#[tokio::test]
async fn strangers_are_refused_in_the_form_of_what_they_asked() {
    let pool = pool().await;
    for test_request in TestRequest::SURFACES {
        for key in [None, Some("wrong")] {
            let response = send_with_key(&pool, test_request.path(), key).await;

            assert_eq!(response.status, 401, "{test_request:?}");
            let error = &response.json()["error"];
            match test_request {
                TestRequest::Chat => assert_eq!(error["code"], "invalid_api_key"),
                TestRequest::Interaction => assert_eq!(error["code"], "authentication"),
                _ => assert_eq!(
                    (&error["code"], &error["status"]),
                    (&401.into(), &"UNAUTHENTICATED".into())
                ),
            }
            let row = pool.row_of(&response).await;
            assert_eq!(
                (row.outcome, row.client_key),
                (Some(Outcome::Refused), None)
            );
        }
    }
    assert_eq!(pool.google.requests(), 0);
}

#[tokio::test]
async fn strangers_get_ten_rows_a_minute_and_are_slowed_down_after_twenty() {
    let pool = pool().await;
    for number in 1..=30 {
        // Whatever they ask, their bad paths too.
        let path = [TestRequest::Generate.path(), "/v1beta//models", "/batch"][number % 3];
        let response = send_with_key(&pool, path, Some("wrong")).await;
        let expected = if number <= 20 { 401 } else { 429 };
        assert_eq!(response.status, expected, "request {number}");
        assert_eq!(response.header("retry-after").is_some(), number > 20);
        assert_eq!(response.id().len(), 13);
    }
    assert_eq!(
        pool.fetch(TestRequest::Generate).await.status,
        200,
        "a right key passes"
    );

    assert_eq!(pool.finished_rows(11).await.len(), 11);
    let later = clock::now() + Duration::from_mins(2);
    sweep::pass(&pool.app, later).await;
    let rows = pool.finished_rows(12).await;
    let reply = rows.last().unwrap().error.as_ref().unwrap();
    assert!(reply.starts_with("20 more requests"), "{reply}");
    pool.assert_sums_agree().await;
}

async fn send_with_key(pool: &TestPool, path: &str, key: Option<&str>) -> ClientResponse {
    let mut request = pool.client.post(format!("{}{path}", pool.url));
    if let Some(key) = key {
        request = request.header("x-goog-api-key", key);
    }
    ClientResponse::whole(
        request
            .body(TestRequest::Generate.body())
            .send()
            .await
            .unwrap(),
    )
    .await
}

#[tokio::test]
async fn the_example_of_old_still_works() {
    let pool = pool().await;
    // Google has retired the model since.
    let reply = r#"{"candidates":[{"content":{"parts":[{"text":"Hello!"}]}}]}"#;
    let json = ("content-type", "application/json");
    pool.google
        .replay([ReplayedResponse::new(200, &[json], reply)]);
    // curl -X POST …/v1beta/models/gemini-1.5-flash:generateContent -H "Authorization: Bearer CLIENT_KEY_1" -d …
    let path = "/v1beta/models/gemini-1.5-flash:generateContent";
    let sent_body = r#"{"contents":[{"parts":[{"text":"Hello"}]}]}"#;
    let request = pool.client.post(format!("{}{path}", pool.url));
    let request = request
        .header("authorization", "Bearer CLIENT_KEY_1")
        .header("content-type", "application/json")
        .body(sent_body);

    let response = ClientResponse::whole(request.send().await.unwrap()).await;

    assert_eq!(
        (response.status.as_u16(), response.text().as_str()),
        (200, reply)
    );
    let received = pool.google.last_received().unwrap();
    assert_eq!(received.path_and_query, path);
    assert_eq!(received.body, sent_body);
    assert_only_our_key(&received);
    let row = pool.row_of(&response).await;
    assert_eq!(row.model.as_deref(), Some("gemini-1.5-flash"));
    assert_eq!(row.outcome, Some(Outcome::Success));
}

#[tokio::test]
async fn a_bearer_token_lists_models_as_openai_does() {
    let pool = pool().await;
    let url = format!("{}/v1/models", pool.url);
    let openai = pool
        .client
        .get(&url)
        .header("authorization", "Bearer CLIENT_KEY_1");
    let native = pool.client.get(&url).header("x-goog-api-key", CLIENT_KEY);

    let openai = ClientResponse::whole(openai.send().await.unwrap()).await;
    let native = ClientResponse::whole(native.send().await.unwrap()).await;

    assert_eq!(openai.json()["object"], "list");
    assert!(native.json()["models"].is_array());
}

async fn pool() -> TestPool {
    TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await
}

#[tokio::test]
async fn what_clients_invent_is_cut_in_rows_and_page_tokens_and_ids_are_left_out() {
    let pool = pool().await;
    let model = "m".repeat(1_000);
    let path =
        format!("/v1beta/models/{model}:generateContent?pageToken=of-a-page&file=an-id&alt=json");

    for key in [CLIENT_KEY, "wrong"] {
        let request = pool.client.post(format!("{}{path}", pool.url));
        let request = request.header("x-goog-api-key", key).body(GENERATE_BODY);
        request
            .header("user-agent", "u".repeat(1_000))
            .send()
            .await
            .unwrap();
    }
    let list = pool.client.get(format!(
        "{}/v1beta/files?pageToken=of-a-page&pageSize=3",
        pool.url
    ));
    list.header("x-goog-api-key", CLIENT_KEY)
        .send()
        .await
        .unwrap();

    let rows = pool.finished_rows(3).await;
    for row in &rows[..2] {
        assert_eq!(row.model.as_deref(), Some(&model[..256]));
        assert_eq!(row.path.len(), 512);
        assert_eq!(row.user_agent.as_ref().unwrap().len(), 512);
    }
    assert_eq!(rows[2].path, "/v1beta/files?pageSize=3");
    pool.assert_sums_agree().await;
}
