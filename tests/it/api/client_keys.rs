//! Client keys: the secret is answered once, changes apply at once, a repeated request makes no second key.

use reqwest::Method;
use serde_json::{Value, json};

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;

use crate::support::TestPool;
use crate::support::requests::GENERATE_BODY;

async fn status_of_request(pool: &TestPool, secret: &str) -> u16 {
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    let request = pool
        .client
        .post(format!("{}{path}", pool.url))
        .header("x-goog-api-key", secret)
        .header("content-type", "application/json");
    let answer = request.body(GENERATE_BODY).send().await.unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn a_client_key_is_created_used_limited_and_deleted() {
    let good = FakeKey::healthy("AIza-key-behind-the-api-000001", "projects/1");
    let pool = TestPool::with_keys([good]).await;
    let api = pool.admin_api().await;

    let limits = json!({ "requests_per_day": 2, "cost_per_month": 2.5 });
    let body = json!({ "name": "notebook", "limits": limits, "models": ["gemini-*"] });
    let made = api.post("/client-keys", &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let secret = made.json["secret"].as_str().unwrap();
    let path = format!("/client-keys/{}", made.json["id"]);
    assert_eq!(made.headers["location"], format!("/api/v1{path}").as_str());
    assert_eq!(status_of_request(&pool, secret).await, 200);
    let key = api.get(&path).await;
    assert_eq!(
        (&key["limits"]["requests_per_day"], &key["requests"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(key["limits"]["cost_per_month"], 2.5);
    assert!(!api.get("/client-keys").await.to_string().contains(secret));

    let body = json!({ "limits": { "requests_per_day": 1 }, "note": "for tests" });
    let changed = api.submit(Method::PATCH, &path, &body).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.json["limits"]["cost_per_month"], 2.5);
    assert_eq!(status_of_request(&pool, secret).await, 429);
    let disabled = api
        .submit(Method::PATCH, &path, &json!({ "enabled": false }))
        .await;
    assert_eq!(disabled.json["enabled"], false);
    assert_eq!(status_of_request(&pool, secret).await, 403);
    let old = api
        .request(Method::DELETE, &path)
        .header("if-match", &changed.headers["etag"]);
    assert_eq!(api.send(old).await.status, 412);
    let current = api
        .request(Method::DELETE, &path)
        .header("if-match", &disabled.headers["etag"]);
    assert_eq!(api.send(current).await.status, 204);
    assert_eq!(status_of_request(&pool, secret).await, 401);
}

#[tokio::test]
async fn a_repeated_creation_makes_no_second_key_and_repeats_no_secret() {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    let create = async || {
        let request = api
            .request(Method::POST, "/client-keys")
            .header("idempotency-key", "b5a7c1d8")
            .header("content-type", "application/json");
        api.send(request.body(json!({ "name": "once" }).to_string()))
            .await
    };

    let made = create().await;
    let repeated = create().await;

    assert_eq!(made.status, 201);
    assert_eq!(repeated.status, 409, "{repeated:?}");
    let detail = repeated.json["detail"].as_str().unwrap();
    assert!(detail.contains("/api/v1/client-keys/2"), "{detail}");
    assert_eq!(
        api.all_items("/client-keys", 1).await.len(),
        2,
        "that of the tests, and this"
    );
    let stored: Vec<(Option<String>,)> = sqlx::query_as("SELECT body FROM api_answers")
        .fetch_all(&pool.app.db.readers)
        .await
        .unwrap();
    assert_eq!(stored, [(None,)]);

    // A refused request has done nothing: its key can be used again.
    let refused = api
        .request(Method::POST, "/client-keys")
        .header("idempotency-key", "second")
        .header("content-type", "application/json");
    assert_eq!(api.send(refused.body("{}")).await.status, 422);
    let right = api
        .request(Method::POST, "/client-keys")
        .header("idempotency-key", "second")
        .header("content-type", "application/json");
    assert_eq!(api.send(right.body(r#"{"name": "x"}"#)).await.status, 201);
    assert_ne!(made.json, Value::Null);
}

#[tokio::test]
async fn many_client_keys_are_changed_in_one_act_that_can_be_undone() {
    let good = FakeKey::healthy("AIza-key-behind-the-api-000002", "projects/1");
    let pool = TestPool::with_keys([good]).await;
    let api = pool.admin_api().await;
    let mut secrets = Vec::new();
    for name in ["team-a", "team-b", "other"] {
        let made = api.post("/client-keys", &json!({ "name": name })).await;
        secrets.push(made.json["secret"].as_str().unwrap().to_owned());
    }
    let statuses = async || {
        let mut statuses = Vec::new();
        for secret in &secrets {
            statuses.push(status_of_request(&pool, secret).await);
        }
        statuses
    };
    let bulk = async |body: Value| api.post("/client-keys/bulk", &body).await;
    let team = json!({ "q": "team" });

    let asked = bulk(json!({ "action": "delete", "filter": team, "dry_run": true })).await;
    assert_eq!(
        asked.json,
        json!({ "selected": 2, "changed": 0, "undoable_acts": [] })
    );
    let disabled = bulk(json!({ "action": "disable", "filter": team })).await;
    assert_eq!(
        (&disabled.json["changed"], disabled.status.as_u16()),
        (&json!(2), 200)
    );
    assert_eq!(statuses().await, [403, 403, 200]);
    let acts = disabled.json["undoable_acts"].as_array().unwrap();
    assert_eq!(acts.len(), 1, "{disabled:?}");
    let undone = api
        .post(&format!("/undoable-acts/{}/undo", acts[0]), &json!({}))
        .await;
    assert_eq!(undone.json["undone"], 2);
    assert_eq!(statuses().await, [200, 200, 200]);

    let limits = json!({ "requests_per_day": 1, "cost_per_month": 2.5 });
    let body = json!({ "action": "update", "filter": {}, "limits": limits, "add_tags": [], "note": "all" });
    let changed = bulk(body).await;
    assert_eq!(changed.json["changed"], 4, "{changed:?}");
    assert_eq!(statuses().await, [429, 429, 429]);
    // What was changed again since stays.
    let one = api.get("/client-keys").await["items"][1]["id"].clone();
    let patched = api
        .submit(
            Method::PATCH,
            &format!("/client-keys/{one}"),
            &json!({ "note": "mine" }),
        )
        .await;
    assert_eq!(patched.status, 200);
    let act = &changed.json["undoable_acts"][0];
    let undone = api
        .post(&format!("/undoable-acts/{act}/undo"), &json!({}))
        .await;
    assert_eq!(undone.json["undone"], 3, "{undone:?}");
    let keys = api.get("/client-keys").await;
    let limits: Vec<_> = keys["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["limits"]["requests_per_day"])
        .collect();
    assert_eq!(
        limits,
        [&Value::Null, &json!(1), &Value::Null, &Value::Null]
    );

    let deleted = bulk(json!({ "action": "delete", "ids": [2, 3, 3, 99] })).await;
    assert_eq!(
        (&deleted.json["selected"], &deleted.json["changed"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(statuses().await, [401, 401, 200]);
    let act = &deleted.json["undoable_acts"][0];
    api.post(&format!("/undoable-acts/{act}/undo"), &json!({}))
        .await;
    assert_ne!(statuses().await[0], 401);

    for wrong in [
        json!({ "action": "update", "filter": {} }),
        json!({ "action": "enable", "filter": {}, "note": "x" }),
        json!({ "action": "enable" }),
        json!({ "action": "enable", "ids": [1], "filter": {} }),
        json!({ "action": "update", "ids": [1], "models": ["["] }),
        json!({ "action": "update", "ids": [1], "limits": { "concurrency": 0 } }),
        json!({ "action": "update", "ids": [1], "expires_at": "2020-01-01T00:00:00Z" }),
    ] {
        assert_eq!(bulk(wrong.clone()).await.status, 422, "{wrong}");
    }
}
