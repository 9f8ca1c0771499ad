//! Every route needs a token, of which neither the access nor a scope can be left.

use gemini_pool::pool::api_token::{ApiScope, TokenAccess};
use gemini_pool::storage::audit::{self, AuditFilter};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Value, json};

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::api::{ApiAnswer, ApiClient};

/// Every operation of the document, with 1 for each parameter of its path.
async fn operations(api: &ApiClient) -> Vec<(Method, String)> {
    let document = api.get("/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    let mut operations = Vec::new();
    for (path, item) in paths {
        let path: Vec<_> = path
            .split('/')
            .map(|part| if part.starts_with('{') { "1" } else { part })
            .collect();
        for method in item.as_object().unwrap().keys() {
            let method = method.to_ascii_uppercase().parse().unwrap();
            operations.push((method, path.join("/")));
        }
    }
    assert!(operations.len() > 40, "{operations:?}");
    operations
}

fn assert_problem(answer: &ApiAnswer, status: u16, case: &str) {
    assert_eq!(answer.status, status, "{case}: {answer:?}");
    assert_eq!(
        answer.headers["content-type"], "application/problem+json",
        "{case}"
    );
    assert_eq!(answer.json["type"], "about:blank", "{case}");
    assert_eq!(answer.json["status"], status, "{case}");
    assert!(answer.json["detail"].as_str().unwrap().len() > 10, "{case}");
    assert!(!answer.headers.contains_key("set-cookie"), "{case}");
}

#[tokio::test]
async fn every_route_refuses_requests_without_a_valid_token() {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    let admin = AdminClient::sign_in(&pool).await;
    let cookies = admin.request(Method::GET, "/");
    let cookies = cookies.build().unwrap().headers()["cookie"].clone();

    for (method, path) in operations(&api).await {
        let case = format!("{method} {path}");
        let url = format!("{}{path}", api.url);
        for (name, value) in [
            ("cookie", cookies.clone()),
            (AUTHORIZATION.as_str(), "Bearer gpa_wrong".parse().unwrap()),
            ("x-goog-api-key", api.token.parse().unwrap()),
        ] {
            pool.app
                .api_token_failures
                .lock()
                .sweep(gemini_pool::clock::now() + std::time::Duration::from_mins(2));
            let request = pool
                .client
                .request(method.clone(), &url)
                .header(name, value);
            let answer = api.send(request).await;
            assert_problem(&answer, 401, &case);
            assert!(answer.headers.contains_key(WWW_AUTHENTICATE), "{case}");
        }
    }
}

#[tokio::test]
async fn a_read_token_cannot_write_and_no_token_leaves_its_scopes() {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    let reader = pool.api("reader", TokenAccess::Read, &[]).await;
    // The scope of the metrics, which are no part of the document.
    let other = pool
        .api("other", TokenAccess::Write, &[ApiScope::Metrics])
        .await;

    for (method, path) in operations(&api).await {
        let case = format!("{method} {path}");
        if method != Method::GET {
            let answer = reader.send(reader.request(method.clone(), &path)).await;
            assert_problem(&answer, 403, &case);
        }
        let answer = other.send(other.request(method.clone(), &path)).await;
        assert_problem(&answer, 403, &case);
    }

    let logs = pool.api("logs", TokenAccess::Read, &[ApiScope::Logs]).await;
    logs.get("/logs").await;
    let answer = logs.send(logs.request(Method::GET, "/audit")).await;
    assert_problem(&answer, 403, "audit");
    assert!(
        answer.json["detail"]
            .as_str()
            .unwrap()
            .contains("scope audit"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_token_passes_on_no_more_than_it_has_and_ends_when_it_is_revoked() {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    let limited = pool
        .api(
            "limited",
            TokenAccess::Write,
            &[ApiScope::Tokens, ApiScope::Logs],
        )
        .await;
    let new =
        |name: &str, scopes: &[&str]| json!({ "name": name, "access": "read", "scopes": scopes });

    let wider = limited.post("/tokens", &new("wider", &["audit"])).await;
    let all = limited.post("/tokens", &new("all", &[])).await;
    let made = limited.post("/tokens", &new("made", &["logs"])).await;
    let again = limited.post("/tokens", &new("made", &["logs"])).await;

    assert_problem(&wider, 403, "wider");
    assert_problem(&all, 403, "all");
    assert_eq!(made.status, 201, "{made:?}");
    assert_problem(&again, 409, "again");
    let made_client = ApiClient {
        token: made.json["secret"].as_str().unwrap().to_owned(),
        ..api.clone()
    };
    made_client.get("/logs").await;
    let listed = api.get("/tokens").await;
    assert!(!listed.to_string().contains(&made_client.token), "{listed}");
    let path = format!("/tokens/{}", made.json["id"]);
    assert_eq!(api.get(&path).await["created_by"], "token:limited");

    let revoked = api.send(api.request(Method::DELETE, &path)).await;

    assert_eq!(revoked.status, 204);
    let answer = made_client
        .send(made_client.request(Method::GET, "/logs"))
        .await;
    assert_problem(&answer, 401, "revoked");
    let filter = AuditFilter {
        actor: Some("token:tests".to_owned()),
        ..AuditFilter::default()
    };
    let changes = audit::list(&pool.app.db.readers, &filter, None, 9)
        .await
        .unwrap();
    assert_eq!(changes.items[0].name, "made");
    assert_eq!(changes.items[0].address.as_deref(), Some("127.0.0.1"));
}

#[tokio::test]
async fn many_wrong_tokens_are_slowed_down_and_a_right_one_passes() {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    let wrong = ApiClient {
        token: "gpa_wrong".to_owned(),
        ..api.clone()
    };

    let mut statuses = Vec::new();
    for _ in 0..21 {
        let answer = wrong.send(wrong.request(Method::GET, "/logs")).await;
        statuses.push(answer.status.as_u16());
        if answer.status == 429 {
            assert!(answer.headers.contains_key(RETRY_AFTER));
        }
    }

    assert_eq!(statuses[..20], [401; 20]);
    assert_eq!(statuses[20], 429);
    api.get("/logs").await;
}

#[tokio::test]
async fn what_the_document_does_not_name_is_refused() {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    let get = |path: &'static str| api.send(api.request(Method::GET, path));

    for path in [
        "",
        "/",
        "/nothing",
        "/upstream-keys/",
        "/upstream-keys/1/nothing",
    ] {
        assert_problem(&get(path).await, 404, path);
    }
    for (path, status) in [
        ("/upstream-keys?unknown=1", 400),
        ("/upstream-keys?limit=0", 400),
        ("/upstream-keys?limit=x", 400),
        ("/upstream-keys?cursor=x", 400),
        ("/upstream-keys?state=tired", 400),
        ("/upstream-keys?sort=luck", 400),
        ("/upstream-keys/x", 400),
        ("/upstream-keys/9", 404),
        ("/logs?status=20", 400),
        ("/logs?outcome=fine", 400),
        ("/logs?since=yesterday", 400),
        ("/logs/x", 400),
        ("/logs/0000000000001", 404),
        ("/client-keys?cursor=1.5", 400),
        ("/settings/nothing", 404),
        ("/jobs/zz", 404),
        ("/capacity", 400),
    ] {
        assert_problem(&get(path).await, status, path);
    }
    let wrong_method = api.send(api.request(Method::PUT, "/upstream-keys")).await;
    assert_problem(&wrong_method, 405, "PUT");
    let no_type = api.request(Method::POST, "/client-keys").body("{}");
    assert_problem(&api.send(no_type).await, 415, "no content type");
    let broken = api
        .request(Method::POST, "/client-keys")
        .header("content-type", "application/json");
    assert_problem(
        &api.send(broken.body("{\"name\":")).await,
        400,
        "broken JSON",
    );
    for (path, body) in [
        ("/client-keys", json!({ "name": "a", "colour": "red" })),
        ("/client-keys", json!({ "name": 1 })),
        ("/client-keys", json!([])),
        (
            "/client-keys",
            json!({ "name": "a", "limits": { "requests_per_week": 1 } }),
        ),
        ("/tokens", json!({ "name": "a", "access": "root" })),
        ("/upstream-keys/bulk", json!({ "action": "enable" })),
        (
            "/upstream-keys/bulk",
            json!({ "action": "update", "filter": {} }),
        ),
    ] {
        assert_problem(&api.post(path, &body).await, 422, &body.to_string());
    }
    let value = json!({ "value": 0 });
    let bounds = api
        .submit(Method::PUT, "/settings/max_attempts", &value)
        .await;
    assert_problem(&bounds, 422, "bounds");
    assert_ne!(bounds.json, Value::Null);
}
