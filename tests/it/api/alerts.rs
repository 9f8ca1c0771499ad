//! Targets of alerts, by the API.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use reqwest::Method;
use serde_json::json;

use crate::alerts::receivers::Receiver;
use crate::support::TestPool;

const KEY: &str = "AIzaSyTheKeyOfThePoolOfTheTargetTests01";

#[tokio::test]
async fn a_target_is_created_tested_changed_and_deleted_and_its_secrets_are_never_shown_again() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "700000000001")]).await;
    let api = pool.admin_api().await;
    let receiver = Receiver::start().await;
    let url = format!("{}/the-secret-path", receiver.url);

    let body = json!({
        "kind": "webhook", "name": "hook", "url": url, "events": ["no_key"], "quiet_from": "22:30",
        "quiet_to": "07:00", "zone": "Asia/Taipei",
    });
    let created = api.post("/alert-targets", &body).await;

    assert_eq!(created.status, 201, "{created:?}");
    let secret = created.json["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");
    let path = format!("/alert-targets/{}", created.json["id"]);
    let target = api.get(&path).await;
    assert_eq!(target["events"], json!(["no_key"]));
    assert_eq!(
        (&target["quiet_from"], &target["zone"]),
        (&"22:30".into(), &"Asia/Taipei".into())
    );
    let shown = format!("{target} {}", api.get("/alert-targets").await);
    assert!(
        !shown.contains(&secret) && !shown.contains("the-secret-path"),
        "{shown}"
    );

    let tested = api.post(&format!("{path}/test"), &json!({})).await;
    assert_eq!(tested.json, json!({ "sent": true, "error": null }));
    assert_eq!(receiver.take()[0].path, "/the-secret-path");
    receiver.answer(500);
    let tested = api.post(&format!("{path}/test"), &json!({})).await;
    assert_eq!(tested.json["sent"], false, "{tested:?}");
    let messages = api.get("/alert-messages").await;
    let states: Vec<_> = messages["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["state"])
        .collect();
    assert_eq!(states, ["failed", "sent"], "{messages}");

    // What is not named stays, the URL and the secret too.
    let change = json!({ "name": "other", "enabled": false, "events": [] });
    let changed = api.submit(Method::PATCH, &path, &change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.json["events"], json!([]));
    assert_eq!(
        (&changed.json["enabled"], &changed.json["quiet_to"]),
        (&false.into(), &"07:00".into())
    );
    receiver.answer(200);
    api.post(&format!("{path}/test"), &json!({})).await;
    assert_eq!(receiver.take().last().unwrap().path, "/the-secret-path");

    let request = api
        .request(Method::DELETE, &path)
        .header("if-match", "\"another\"");
    assert_eq!(api.send(request).await.status, 412);
    assert_eq!(
        api.send(api.request(Method::DELETE, &path)).await.status,
        204
    );
    assert_eq!(api.send(api.request(Method::GET, &path)).await.status, 404);
}

#[tokio::test]
async fn wrong_targets_are_refused_with_each_wrong_member() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "700000000001")]).await;
    let api = pool.admin_api().await;
    let slack = json!({ "kind": "slack", "name": "chat", "url": "https://hooks.example.com/a/b" });
    assert_eq!(api.post("/alert-targets", &slack).await.status, 201);

    for (body, status, texts) in [
        (json!({ "name": "x" }), 422, vec!["kind"]),
        (
            json!({ "kind": "slack" }),
            422,
            vec!["name must", "url must"],
        ),
        (slack.clone(), 409, vec!["another target has this name"]),
        (
            json!({ "kind": "email", "name": "m", "address": "a@example.com", "sender": "x", "mail_host": "h" }),
            422,
            vec!["sender must be a mail address"],
        ),
        (
            json!({ "kind": "slack", "name": "y", "url": "https://h.example.com/", "zone": "Nowhere/City" }),
            422,
            vec!["zone must"],
        ),
        (
            json!({ "kind": "slack", "name": "y", "url": "https://h.example.com/", "quiet_from": "9:00" }),
            422,
            vec!["quiet_from must"],
        ),
    ] {
        let answer = api.post("/alert-targets", &body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(
            texts.iter().all(|text| detail.contains(text)),
            "{body}: {detail}"
        );
    }
    let kind = api
        .submit(
            Method::PATCH,
            "/alert-targets/1",
            &json!({ "kind": "discord" }),
        )
        .await;
    assert_eq!(kind.status, 422, "{kind:?}");
}
