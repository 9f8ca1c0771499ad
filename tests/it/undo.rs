//! An act is listed for undoing and undone alike by page, API and command.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::api_token::{ApiScope, TokenAccess};
use gemini_pool::pool::keys::upstream_key::Billing;
use gemini_pool::storage::alert_targets;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::admin::AdminClient;
use crate::support::process::run_command;
use crate::support::{TestPool, eventually};

async fn pool() -> TestPool {
    TestPool::with_keys([FakeKey::healthy("AIza-key-that-is-deleted-1", "projects/1")]).await
}

/// The latest acts in the list of the command, without times and ids. Before them are the settings of every test pool.
fn listed(pool: &TestPool) -> (Vec<Value>, Vec<String>) {
    let output = run_command(pool.folder.path(), &["undo", "--json", "--limit", "2"]);
    assert!(output.status.success(), "{output:?}");
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (mut acts, mut ids) = (list["items"].as_array().unwrap().clone(), Vec::new());
    for act in &mut acts {
        ids.push(act["id"].take().to_string());
        assert!(act["at"].take().is_string() && act["revision"].take().is_i64());
    }
    (acts, ids)
}

#[tokio::test]
async fn the_command_lists_and_undoes_what_page_and_api_did() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    admin.submit("/settings", &[("max_attempts", "5")]).await;
    let api = pool.admin_api().await;
    let off = json!({ "enabled": false });
    let disabled = api.submit(Method::PATCH, "/client-keys/1", &off).await;
    assert_eq!(disabled.status, 200);
    let list = api.get("/undoable-acts").await;

    let (acts, ids) = listed(&pool);

    let act = |actor: &str, action: &str, subject: &str, name: &str| {
        json!({
            "id": null, "at": null, "actor": actor, "address": "127.0.0.1", "action": action, "subject": subject,
            "name": name, "changes": 1, "revision": null,
        })
    };
    assert_eq!(
        acts,
        [
            act("token:tests", "disable", "client_key", "env-1"),
            act("admin:admin", "update", "setting", "max_attempts"),
        ]
    );
    assert_eq!(list["items"][0]["id"].to_string(), ids[0]);
    assert_eq!(list["next"], Value::Null);
    assert_eq!(pool.generate().await.status(), 403);
    for id in &ids {
        let undone = run_command(pool.folder.path(), &["undo", id]);
        let text = String::from_utf8_lossy(&undone.stdout);
        assert!(text.starts_with("undid 1 change; "), "{undone:?}");
    }
    eventually("the server applies it", async || {
        (pool.generate().await.status() == StatusCode::OK && pool.app.settings().max_attempts == 4)
            .then_some(())
    })
    .await;
    let again = run_command(pool.folder.path(), &["undo", &ids[0], "--yes"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let text = String::from_utf8_lossy(&again.stderr);
    assert!(text.contains("not found"), "{text}");
}

#[tokio::test]
async fn a_deletion_is_undone_by_the_page_of_the_audit_and_by_the_api() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let api = pool.admin_api().await;
    for by_api in [false, true] {
        let removed = run_command(pool.folder.path(), &["keys", "remove", "1"]);
        assert!(removed.status.success(), "{removed:?}");
        assert_eq!(pool.keys().await.len(), 0);
        let (_, ids) = listed(&pool);
        let page = admin.get_page("/audit").await;
        let path = format!("/audit/{}/undo", ids[0]);
        assert!(page.contains(&path), "{page}");

        if by_api {
            let path = format!("/undoable-acts/{}", ids[0]);
            assert_eq!(api.get(&path).await["action"], "delete");
            let undone = api.post(&format!("{path}/undo"), &Value::Null).await;
            assert_eq!(undone.json["undone"], 1, "{undone:?}");
            let again = api.post(&format!("{path}/undo"), &Value::Null).await;
            assert_eq!(again.status, 404);
        } else {
            admin.submit(&path, &[]).await;
            let page = admin.get_page("/audit").await;
            assert!(
                page.contains("1 change undone") && !page.contains(&path),
                "{page}"
            );
            admin.submit(&path, &[]).await;
            let page = admin.get_page("/audit").await;
            assert!(page.contains("Nothing was undone"), "{page}");
        }

        assert_eq!(pool.keys().await.len(), 1);
        assert_eq!(pool.generate().await.status(), 200);
    }
}

#[tokio::test]
async fn a_token_undoes_only_what_it_may_change() {
    let pool = pool().await;
    let removed = run_command(pool.folder.path(), &["keys", "disable", "1"]);
    assert!(removed.status.success(), "{removed:?}");
    let (_, ids) = listed(&pool);
    let path = format!("/undoable-acts/{}/undo", ids[0]);
    let (audit, keys) = (ApiScope::Audit, ApiScope::UpstreamKeys);

    for (access, scopes, status) in [
        (TokenAccess::Write, &[audit][..], 403),
        (TokenAccess::Write, &[keys], 403),
        (TokenAccess::Read, &[audit, keys], 403),
        (TokenAccess::Write, &[audit, keys], 200),
    ] {
        let name = format!("{access:?} {scopes:?}");
        let api = pool.api(&name, access, scopes).await;
        let undone = api.post(&path, &Value::Null).await;
        assert_eq!(undone.status, status, "{name}: {undone:?}");
    }
}

#[tokio::test]
async fn a_change_of_an_alert_target_is_undone_with_the_scope_of_alerts() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let target = [
        ("kind", "webhook"),
        ("name", "ops"),
        ("url", "http://127.0.0.1:9/hook"),
        ("event", "key_leaked"),
    ];
    let added = admin.submit("/alerts/targets", &target).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    let (alerts, audit, settings) = (ApiScope::Alerts, ApiScope::Audit, ApiScope::Settings);
    let page = "/alerts/targets/1/disable";
    assert_eq!(
        admin.submit(page, &[]).await.status(),
        StatusCode::SEE_OTHER
    );
    let (acts, ids) = listed(&pool);
    assert_eq!(acts[0]["subject"], "alert_target");
    let path = format!("/undoable-acts/{}/undo", ids[0]);
    let is_enabled = async || {
        let targets = alert_targets::list(&pool.app.db).await.unwrap();
        targets[0].enabled
    };

    for (access, scopes, status) in [
        (TokenAccess::Write, &[audit, settings][..], 403),
        (TokenAccess::Write, &[alerts], 403),
        (TokenAccess::Read, &[audit, alerts], 403),
        (TokenAccess::Write, &[audit, alerts], 200),
    ] {
        let name = format!("{access:?} {scopes:?}");
        let api = pool.api(&name, access, scopes).await;
        let undone = api.post(&path, &Value::Null).await;
        assert_eq!(undone.status, status, "{name}: {undone:?}");
        assert_eq!(is_enabled().await, status == 200, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_leaves_a_project_again_has_the_billing_of_its_former_one() {
    let keys = (1..=3).map(|number| {
        let secret = format!("AIza-key-with-a-project-{number}");
        FakeKey::healthy(&secret, number.to_string())
    });
    let pool = TestPool::with_keys(keys).await;
    let run = |arguments: &[&str]| {
        let output = run_command(pool.folder.path(), arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    run(&["keys", "update", "1", "--billing", "paid"]);
    run(&[
        "keys",
        "update",
        "3",
        "--project",
        "team",
        "--billing",
        "free",
    ]);
    run(&["keys", "update", "1", "2", "--project", "team"]);
    let billing = async || {
        let keys = pool.keys().await.into_iter();
        keys.map(|key| (key.project, key.billing))
            .collect::<Vec<_>>()
    };
    let team = Some("team".to_owned());
    assert_eq!(billing().await, vec![(team.clone(), Billing::Free); 3]);

    let (_, ids) = listed(&pool);
    run(&["undo", &ids[0], "--yes"]);

    assert_eq!(
        billing().await,
        [
            (None, Billing::Paid),
            (None, Billing::Unknown),
            (team, Billing::Free)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_client_keys_get_one_name_by_undoing_or_importing() {
    let pool = pool().await;
    let run = |arguments: &[&str]| run_command(pool.folder.path(), arguments);
    let done = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    let undo_is_refused = |action: &str| {
        let (acts, ids) = listed(&pool);
        let index = acts.iter().position(|act| act["action"] == action);
        let refused = run(&["undo", &ids[index.unwrap()], "--yes"]);
        let error = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{error}");
        assert!(error.contains("another client key is called"), "{error}");
    };
    done(&["clients", "update", "1", "--name", "other"]);
    done(&["clients", "create", "env-1"]);
    undo_is_refused("update");

    done(&["clients", "remove", "1", "--yes"]);
    done(&["clients", "create", "other"]);
    undo_is_refused("delete");

    let file = pool.folder.path().join("clients.env");
    std::fs::write(
        &file,
        "ALLOWED_TOKENS=[\"sk-first-token-of-a-client\", \"sk-other-token-of-a-client\"]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    done(&["clients", "import", file]);
    let third = "ALLOWED_TOKENS=[\"sk-third-token-of-a-client\"]\n";
    std::fs::write(file, third).unwrap();
    done(&["clients", "import", file]);
    let listed = run(&["clients", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let names = listed["items"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|key| key["name"].to_string()).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!((names.len(), distinct.len()), (5, 5), "{names:?}");
}
