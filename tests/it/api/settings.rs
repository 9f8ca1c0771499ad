//! Settings, their history and undo; and the smaller resources.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use reqwest::Method;
use serde_json::json;

use crate::support::TestPool;
use crate::support::admin::AdminClient;

#[tokio::test]
async fn a_setting_is_changed_in_use_at_once_undone_and_reset() {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    let before = api
        .send(api.request(Method::GET, "/settings/max_attempts"))
        .await;
    assert_eq!(before.json["value"], 4);
    let put = async |value: serde_json::Value, etag: &str| {
        let request = api
            .request(Method::PUT, "/settings/max_attempts")
            .header("if-match", etag)
            .header("content-type", "application/json");
        api.send(request.body(json!({ "value": value }).to_string()))
            .await
    };
    let etag = before.headers["etag"].to_str().unwrap();

    let changed = put(json!(7), etag).await;
    let stale = put(json!(8), etag).await;

    assert_eq!(
        (changed.status.as_u16(), &changed.json["value"]),
        (200, &json!(7))
    );
    assert_eq!(pool.app.settings().max_attempts, 7);
    assert_eq!(stale.status, 412, "{stale:?}");
    let history = api.get("/setting-changes?name=max_attempts").await;
    let change = &history["items"][0];
    assert_eq!(
        (&change["after"], &change["actor"]),
        (&json!("7"), &json!("token:tests"))
    );
    let undo = format!("/setting-changes/{}/undo", change["id"]);
    let undone = api.send(api.request(Method::POST, &undo)).await;
    assert_eq!(undone.json["items"][0]["after"], json!(null), "{undone:?}");
    assert_eq!(pool.app.settings().max_attempts, 4);
    let again = api.send(api.request(Method::POST, &undo)).await;
    assert_eq!(again.status, 409, "{again:?}");

    assert_eq!(put(json!("6"), "*").await.json["value"], 6);
    let reset = api
        .send(api.request(Method::DELETE, "/settings/max_attempts"))
        .await;
    assert_eq!(
        (&reset.json["value"], &reset.json["is_default"]),
        (&json!(4), &json!(true))
    );
    let switch = api
        .submit(
            Method::PUT,
            "/settings/upstream_http2",
            &json!({ "value": true }),
        )
        .await;
    assert_eq!(switch.json["value"], true, "{switch:?}");
    assert!(
        api.get("/settings").await["items"]
            .as_array()
            .unwrap()
            .len()
            > 30
    );
}

#[tokio::test]
async fn projects_quota_models_and_capacity_are_those_of_the_running_server() {
    let good = FakeKey::healthy("AIza-key-with-a-quota-00000001", "projects/1");
    let pool = TestPool::with_keys([good]).await;
    let api = pool.admin_api().await;
    assert_eq!(pool.generate().await.status(), 200);

    let project = &api.get("/projects").await["items"][0];
    assert_eq!(
        (&project["keys"], &project["billing"]),
        (&json!(1), &json!("unknown"))
    );
    let path = format!("/projects/{}", project["id"]);
    let paid = api
        .submit(Method::PATCH, &path, &json!({ "billing": "paid" }))
        .await;
    assert_eq!(paid.json["billing"], "paid", "{paid:?}");
    assert_eq!(api.get("/upstream-keys/1").await["billing"], "paid");
    let quota = api.get("/quota?model=gemini-2.5-flash").await;
    let used = quota["items"].as_array().unwrap().iter();
    let day = used
        .clone()
        .find(|window| window["measure"] == "requests_per_day");
    let day = day.unwrap();
    assert_eq!(
        (&day["used"], &day["source"]),
        (&json!(1), &json!("unknown")),
        "{quota}"
    );
    let capacity = api.get("/capacity?model=gemini-2.5-flash").await;
    assert_eq!(
        (&capacity["usable"], &capacity["projects_without_limit"]),
        (&json!(1), &json!(1))
    );
    for (by, name) in [
        ("model", json!("gemini-2.5-flash")),
        ("client_key", json!("env-1")),
        ("upstream_key", json!(null)),
        ("day", json!(null)),
    ] {
        let usage = api.get(&format!("/usage?by={by}")).await;
        let item = &usage["items"][0];
        assert_eq!(
            (&item["requests"], &item["successes"]),
            (&json!(1), &json!(1)),
            "{usage}"
        );
        if by != "upstream_key" {
            assert_eq!(item["name"], name, "{usage}");
        }
    }
    let empty = api
        .get("/usage?by=project&until=2001-01-01T00:00:00Z")
        .await;
    assert_eq!(empty["items"], json!([]));
    let models = api.get("/models").await;
    assert_eq!(models["items"][0]["model"], "gemini-2.5-flash", "{models}");
}

#[tokio::test]
async fn a_backup_is_made_and_a_session_is_ended() {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    let admin = AdminClient::sign_in(&pool).await;

    let made = api.send(api.request(Method::POST, "/backups")).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        api.get("/backups").await["items"][0]["name"],
        made.json["name"]
    );

    let session = &api.get("/sessions").await["items"][0];
    assert_eq!(session["username"], "admin");
    let path = format!("/sessions/{}", session["id"]);
    let ended = api.send(api.request(Method::DELETE, &path)).await;
    assert_eq!(ended.status, 204);
    let again = api.send(api.request(Method::DELETE, &path)).await;
    assert_eq!(again.status, 404);
    let page = admin.request(Method::GET, "/account").send().await.unwrap();
    assert_eq!(page.status(), 303);
}
