//! From where and for what a client key may be used.

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::keys::upstream_key::{KeyAttributes, UpstreamKeyId};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::upstream_keys;

use crate::support::encoding::encoded;
use crate::support::requests::{ClientResponse, GENERATE_BODY, TestRequest};
use crate::support::{CLIENT_ID, TestPool, act};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

async fn post(pool: &TestPool, path: &str, body: &str) -> ClientResponse {
    ClientResponse::whole(pool.post(path, body).send().await.unwrap()).await
}

/// Refused by the pool, with a row that says why; Google heard nothing.
async fn assert_refused(pool: &TestPool, response: &ClientResponse, why: &str) {
    let text = response.text();
    assert_eq!(response.status, 403, "{text}");
    assert!(text.contains(why), "{text}");
    let row = pool.row_of(response).await;
    assert_eq!(row.outcome, Some(Outcome::Refused));
    assert_eq!((row.attempts, row.client_key_id), (0, Some(CLIENT_ID)));
    assert!(row.error.unwrap().contains(why));
}

#[tokio::test]
async fn a_key_uses_the_models_it_may_use_on_every_surface() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    pool.allow(|terms| terms.models = owned(&["gemini-2.5-flash*", "gemini-embedding-*"]))
        .await;
    let chat = "/v1beta/openai/chat/completions";
    let other = "/v1beta/models/gemini-2.5-pro:generateContent";
    let allowed = [
        (TestRequest::Generate.path(), GENERATE_BODY),
        (
            "/gemini/v1beta/models/gemini-2.5-flash-lite:generateContent",
            GENERATE_BODY,
        ),
        (chat, TestRequest::Chat.body()),
        ("/v1/chat/completions", TestRequest::Chat.body()),
        ("/v1beta/interactions", TestRequest::Interaction.body()),
        (
            "/v1beta/cachedContents",
            r#"{"model":"models/gemini-2.5-flash","ttl":"60s"}"#,
        ),
    ];
    let refused = [
        (other, GENERATE_BODY, "may not use the model gemini-2.5-pro"),
        (
            "/gemini/v1beta/models/gemini-2.5-pro:generateContent",
            GENERATE_BODY,
            "the model gemini-2.5-pro",
        ),
        (
            "/v1beta/models/gemini-2.5-pro%3AgenerateContent",
            GENERATE_BODY,
            "the model gemini-2.5-pro",
        ),
        (
            other,
            r#"{"model":"models/gemini-2.5-flash"}"#,
            "the model gemini-2.5-pro",
        ),
        (
            chat,
            r#"{"model":"gemini-2.5-pro"}"#,
            "the model gemini-2.5-pro",
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"gemini-2.5-pro"}"#,
            "the model gemini-2.5-pro",
        ),
        (chat, r#"{"messages":[]}"#, "names no model"),
        (
            "/v1beta/interactions",
            r#"{"agent":"deep-research","input":"x"}"#,
            "the model deep-research",
        ),
        (
            "/v1beta/cachedContents",
            r#"{"model":"models/gemini-2.5-pro"}"#,
            "the model gemini-2.5-pro",
        ),
    ];

    for (path, body) in allowed {
        let response = post(&pool, path, body).await;
        assert_ne!(response.status, 403, "{path}: {}", response.text());
    }
    let sent = pool.google.requests();
    for (path, body, why) in refused {
        assert_refused(&pool, &post(&pool, path, body).await, why).await;
    }
    assert_eq!(pool.google.requests(), sent);
    let packed = encoded(r#"{"model":"gemini-2.5-pro"}"#, "gzip");
    let request = pool.post(chat, "").header("content-encoding", "gzip");
    let request = request.body(packed);
    let response = ClientResponse::whole(request.send().await.unwrap()).await;
    assert_refused(&pool, &response, "the model gemini-2.5-pro").await;

    // Lists name no model.
    for path in ["/v1beta/models", "/v1beta/openai/models"] {
        let request = pool.client.get(format!("{}{path}", pool.url));
        let answer = request
            .header("x-goog-api-key", crate::support::CLIENT_KEY)
            .send();
        assert_eq!(answer.await.unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_model_is_found_inside_a_body_and_on_paths_that_are_not_known() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    pool.allow(|terms| terms.models = owned(&["gemini-2.5-flash*", "gemini-embedding-*"]))
        .await;
    let count = "/v1beta/models/gemini-2.5-flash:countTokens";
    let refused = [
        // What the body holds inside.
        (
            count,
            r#"{"generateContentRequest":{"model":"models/gemini-2.5-pro","contents":[]}}"#,
            "the model gemini-2.5-pro",
        ),
        (
            "/v1beta/models/gemini-2.5-flash:batchGenerateContent",
            r#"{"batch":{"inputConfig":{"requests":{"requests":[{"request":{"model":"models/gemini-2.5-pro"}}]}}}}"#,
            "the model gemini-2.5-pro",
        ),
        (
            "/v1beta/models/gemini-embedding-001:batchEmbedContents",
            r#"{"requests":[{"model":"models/gemini-embedding-001"},{"model":"models/text-embedding-004"}]}"#,
            "the model text-embedding-004",
        ),
        // Spellings of a path that Google might understand all the same.
        (
            "/v1beta/models/gemini-2.5-pro:generateContent/",
            GENERATE_BODY,
            "names no model",
        ),
        (
            "/v1beta/Models/gemini-2.5-pro:generateContent",
            GENERATE_BODY,
            "names no model",
        ),
        (
            "/v1beta/tunedModels",
            r#"{"baseModel":"models/gemini-2.5-pro"}"#,
            "the model gemini-2.5-pro",
        ),
    ];

    for (path, body, why) in refused {
        assert_refused(&pool, &post(&pool, path, body).await, why).await;
    }
    assert_eq!(pool.google.requests(), 0);
    let own = r#"{"generateContentRequest":{"model":"models/gemini-2.5-flash","contents":[]}}"#;
    assert_ne!(post(&pool, count, own).await.status, 403);
}

#[tokio::test]
async fn an_alias_leads_to_no_path_that_is_not_allowed() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    pool.allow(|terms| terms.paths = owned(&["/v1beta/models/*:generateContent", "/gemini/*"]))
        .await;

    for path in [
        TestRequest::Generate.path(),
        "/gemini/v1beta/models/gemini-2.5-flash:generateContent",
    ] {
        assert_eq!(post(&pool, path, GENERATE_BODY).await.status, 200, "{path}");
    }
    for test_request in [
        TestRequest::StreamSse,
        TestRequest::Chat,
        TestRequest::Interaction,
    ] {
        let response = post(&pool, test_request.path(), test_request.body()).await;
        assert_refused(&pool, &response, "may not use this path").await;
    }
    for path in [
        "/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        "/gemini/v1/embeddings",
        "/v1/models/gemini-2.5-flash:generateContent",
        "/v1beta/files?x=/v1beta/models/m:generateContent",
    ] {
        let response = post(&pool, path, GENERATE_BODY).await;
        assert_refused(&pool, &response, "may not use this path").await;
    }
    assert_eq!(pool.google.requests(), 2);
}

#[tokio::test]
async fn an_address_is_the_one_that_trusted_proxies_report() {
    let pool = TestPool::behind_proxies(
        &["127.0.0.1/32"],
        FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]),
    )
    .await;
    pool.allow(|terms| terms.addresses = owned(&["192.0.2.0/24", "2001:db8::7"]))
        .await;
    let fetch_from = async |forwarded: &str| {
        let request = pool.post(TestRequest::Generate.path(), GENERATE_BODY);
        let request = request.header("x-forwarded-for", forwarded);
        ClientResponse::whole(request.send().await.unwrap()).await
    };

    for address in [
        "192.0.2.1",
        "é, 192.0.2.1",
        "203.0.113.9, 192.0.2.200",
        "::ffff:192.0.2.3",
        "2001:db8::7",
    ] {
        assert_eq!(fetch_from(address).await.status, 200, "{address}");
    }
    for address in ["203.0.113.9", "192.0.2.1, 203.0.113.9", "2001:db8::8"] {
        let response = fetch_from(address).await;
        assert_refused(&pool, &response, "may not be used from").await;
    }
    assert_refused(
        &pool,
        &fetch_from("nonsense").await,
        "may not be used from 127.0.0.1",
    )
    .await;
}

#[tokio::test]
async fn a_key_whose_scopes_cannot_be_read_may_do_nothing() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    pool.allow(|terms| terms.models = owned(&["gemini-["]))
        .await;

    let response = pool.fetch(TestRequest::Generate).await;

    assert_refused(
        &pool,
        &response,
        "the scopes of this client key cannot be read",
    )
    .await;
}

#[tokio::test]
async fn a_key_spends_only_upstream_keys_with_one_of_its_tags() {
    let keys = (1..=3).map(|n| FakeKey::healthy(format!("{KEY}-{n}"), n.to_string()));
    let pool = TestPool::with_keys(keys).await;
    tag(&pool, 2, "team").await;
    pool.allow(|terms| terms.tags = owned(&["team", "paid"]))
        .await;

    for _ in 0..4 {
        assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
    }

    let spent: Vec<_> = pool
        .google
        .received()
        .into_iter()
        .map(|it| it.key)
        .collect();
    assert_eq!(spent, vec![Some(format!("{KEY}-2")); 4]);
    pool.allow(|terms| terms.tags = owned(&["paid"])).await;
    let response = pool.fetch(TestRequest::Generate).await;
    assert_eq!(response.status, 503);
    assert!(
        response.text().contains("this client key may use"),
        "{}",
        response.text()
    );
}

/// Gives an upstream key a tag.
async fn tag(pool: &TestPool, id: i64, tag: &str) {
    let mut tx = pool.app.db.begin().await.unwrap();
    let act = act(&mut tx).await;
    let tagged = KeyAttributes {
        tags: Some(vec![tag.to_owned()]),
        ..KeyAttributes::default()
    };
    upstream_keys::update(&mut tx, UpstreamKeyId(id), &tagged, &act)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}
