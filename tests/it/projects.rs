//! Keys of one project share its state, however the project was determined; and commands of the admin take effect.

use std::path::Path;
use std::process::Stdio;

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::storage::upstream_keys;
use serde_json::{Value, json};

use crate::support::admin::AdminClient;
use crate::support::process::command;
use crate::support::{TestPool, eventually};

const PROJECT: &str = "424242424242";
const MODEL: &str = "gemini-2.5-flash";

fn keys<const N: usize>(behaviours: [(&str, Behaviour); N]) -> [FakeKey; N] {
    let mut number = 0;
    behaviours.map(|(project, behaviour)| {
        number += 1;
        FakeKey::new(
            format!("AIzaSyTheSecretOfKeyNumber{number:014}"),
            project,
            behaviour,
        )
    })
}

/// Runs a command over the database in `folder`, and returns what it prints.
fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder)
        .args(arguments)
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn list(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["keys", "list", "--json"], arguments].concat();
    let page: Value = serde_json::from_str(&run(folder, &arguments)).unwrap();
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_whose_errors_name_the_same_project_share_it() {
    for behaviour in [Behaviour::ServiceDisabled, Behaviour::Suspended] {
        let behaviours = [
            (PROJECT, behaviour.clone()),
            (PROJECT, behaviour),
            ("1", Behaviour::Healthy),
        ];
        let pool = TestPool::with_keys(keys(behaviours)).await;

        while pool
            .keys()
            .await
            .iter()
            .any(|key| key.id.0 < 3 && key.requests == 0)
        {
            assert_eq!(pool.generate().await.status(), 200);
        }

        let shared = Some(format!("projects/{PROJECT}"));
        let keys = eventually("the project is known", async || {
            pool.settled().await;
            let (keys, _) = upstream_keys::list_changed(&pool.app.db, -1).await.unwrap();
            let learnt = keys.iter().filter(|key| key.project == shared).count();
            (learnt == 2).then_some(keys)
        })
        .await;
        assert_eq!(keys[0].project_id, keys[1].project_id);
        assert_eq!(keys[2].project, None);
        eventually("the server knows", async || {
            let registry = pool.app.keys.lock();
            let number = |id| registry.get(id).unwrap().project_number.clone();
            (number(keys[0].id) == shared && number(keys[1].id) == shared).then_some(())
        })
        .await;
        // The log has the project too, also for earlier attempts.
        let rows = pool.finished_rows(1).await;
        let attempts = rows
            .iter()
            .flat_map(|row| row.attempt_list.iter().flatten());
        for attempt in attempts.filter(|attempt| attempt.upstream_key_id.0 < 3) {
            assert_eq!(attempt.project, shared);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_project_makes_all_its_keys_unavailable() {
    let behaviours = [
        (PROJECT, Behaviour::Suspended),
        (PROJECT, Behaviour::Suspended),
        ("1", Behaviour::Healthy),
    ];
    let keys = keys(behaviours);
    let pool = TestPool::with_keys(keys.clone()).await;
    let folder = pool.folder.path();
    run(folder, &["keys", "update", "1", "2", "--project", "team"]);
    run(folder, &["keys", "update", "3", "--priority", "1"]);
    pool.app.reload(gemini_pool::clock::now()).await.unwrap();

    for _ in 0..3 {
        assert_eq!(pool.generate().await.status(), 200);
    }

    let requests = keys[..2]
        .iter()
        .map(|key| pool.google.counts(&key.secret).requests);
    assert_eq!(requests.sum::<u64>(), 1);
    eventually(
        "both keys are suspended and their project has its number",
        async || {
            let keys = list(folder, &["--state", "suspended", "--project", PROJECT]);
            (keys.len() == 2).then(|| assert_eq!(keys[0]["project"], "team"))
        },
    )
    .await;
}

/// 429 until Google's next day, for the model.
fn exhausted_for_the_day() -> Behaviour {
    let violation = serde_json::json!({
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
        "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
        "quotaDimensions": { "location": "global", "model": MODEL },
        "quotaValue": "250",
    });
    let failure = serde_json::json!({
        "@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation],
    });
    let body = serde_json::json!({ "error": {
        "code": 429, "message": "You exceeded your current quota.", "status": "RESOURCE_EXHAUSTED", "details": [failure],
    } });
    Behaviour::FixedResponse(429, body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_without_a_model_is_ready_on_page_api_and_command() {
    let behaviours = [
        ("1", Behaviour::QuotaZero(MODEL.to_owned())),
        ("2", Behaviour::Healthy),
    ];
    let pool = TestPool::with_keys(keys(behaviours)).await;
    let folder = pool.folder.path();
    run(folder, &["keys", "update", "2", "--priority", "1"]);
    pool.app.reload(gemini_pool::clock::now()).await.unwrap();

    assert_eq!(pool.generate().await.status(), 200);

    let first = format!("AIzaSyTheSecretOfKeyNumber{:014}", 1);
    assert_eq!(pool.google.counts(&first).requests, 1, "it was refused");
    let api = pool.admin_api().await;
    let states = |keys: &[Value]| {
        keys.iter()
            .map(|key| key["state"].clone())
            .collect::<Vec<_>>()
    };
    let by_api = api.all_items("/upstream-keys", 9).await;
    assert_eq!(states(&by_api), ["ready", "ready"]);
    assert_eq!(states(&list(folder, &[])), ["ready", "ready"]);
    assert!(list(folder, &["--state", "cooling_down"]).is_empty());
    let mut admin = AdminClient::sign_in(&pool).await;
    let page = admin.get_page("/upstream-keys?state=ready").await;
    assert!(
        page.contains("/upstream-keys/1\"") && page.contains("/upstream-keys/2\""),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_assigned_to_one_project_cool_down_together() {
    let behaviours = [("1", exhausted_for_the_day()), ("2", Behaviour::Healthy)];
    let pool = TestPool::with_keys(keys(behaviours)).await;
    let folder = pool.folder.path();
    run(folder, &["keys", "update", "2", "--priority", "1"]);
    pool.app.reload(gemini_pool::clock::now()).await.unwrap();
    assert_eq!(pool.generate().await.status(), 200);

    run(folder, &["keys", "update", "--all", "--project", "team"]);

    eventually("the second key cools down too", async || {
        (pool.generate().await.status() == 429).then_some(())
    })
    .await;
    assert_eq!(list(folder, &["--state", "cooling_down"]).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_clears_a_cooldown() {
    for (behaviour, refused, state) in [
        (Behaviour::Leaked, 503, "leaked"),
        (Behaviour::ProjectDenied, 503, "suspended"),
        (exhausted_for_the_day(), 429, "cooling_down"),
    ] {
        let behaviour = Behaviour::Sequence(vec![behaviour, Behaviour::Healthy]);
        let pool = TestPool::start(FakeConfig::with_keys(keys([("1", behaviour)]))).await;
        let folder = pool.folder.path();
        for _ in 0..2 {
            assert_eq!(pool.generate().await.status(), refused, "{state}");
        }
        let cooling_down = eventually("the state is written", async || {
            list(folder, &["--state", state]).into_iter().next()
        });
        assert_eq!(cooling_down.await["id"], 1);

        let reported = run(folder, &["keys", "clear", "1"]);

        assert!(
            reported.contains("cleared 1 state") || reported.contains("1 cooldown"),
            "{reported}"
        );
        eventually("the key is available again", async || {
            (pool.generate().await.status() == 200).then_some(())
        })
        .await;
        assert_eq!(list(folder, &["--state", "ready"]).len(), 1, "{state}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_a_free_project_cost_nothing() {
    let pool = TestPool::start(FakeConfig::with_keys(keys([("1", Behaviour::Healthy)]))).await;
    pool.generate().await;
    assert!(pool.row().await.cost_usd.is_some_and(|cost| cost > 0.0));

    run(
        pool.folder.path(),
        &["keys", "update", "1", "--billing", "free"],
    );

    eventually("the server knows", async || {
        pool.generate().await;
        let rows = pool.rows().await;
        (rows.last()?.cost_usd == Some(0.0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_an_import_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let table = folder.join("keys.csv");
    let table_name = table.to_str().unwrap();
    std::fs::write(
        &table,
        "name,API key,Project,tier,weight,priority,tags\n\
         one,opaque-key-0001,7,free,3,-1,a;b\n\
         two,opaque-key-0002,,paid,0,,\n",
    )
    .unwrap();

    let dry = run(folder, &["keys", "import", table_name, "--dry-run"]);
    assert!(dry.contains("would be added: 2 new"), "{dry}");
    assert!(dry.contains("line 3: …002 two (disabled)"), "{dry}");
    let imported = [
        "keys",
        "import",
        table_name,
        "--project",
        "team",
        "--tags",
        "c",
    ];
    run(folder, &imported);

    let keys = list(folder, &[]);
    let attributes = ["label", "project", "billing", "weight", "priority", "tags"];
    let attributes = |key: &Value| attributes.map(|name| key[name].clone());
    let one = [
        "one".into(),
        "projects/7".into(),
        "free".into(),
        3.into(),
        (-1).into(),
        json!(["a", "b"]),
    ];
    let two = [
        "two".into(),
        "team".into(),
        "paid".into(),
        1.into(),
        0.into(),
        json!(["c"]),
    ];
    assert_eq!(attributes(&keys[0]), one);
    assert_eq!(attributes(&keys[1]), two);
    // A weight of 0 pauses a key.
    assert_eq!(keys[1]["enabled"], false);

    std::fs::write(&table, "key,weight\nopaque-key-0001,9\nopaque-key-0002,1\n").unwrap();
    let left = run(folder, &["keys", "import", table_name]);
    assert!(left.contains("not changed: 1;"), "{left}");
    assert_eq!(list(folder, &[])[0]["weight"], 3);
    let updated = run(folder, &["keys", "import", table_name, "--update"]);
    assert!(updated.contains("known keys changed: 1"), "{updated}");
    assert_eq!(list(folder, &[])[0]["weight"], 9);

    run(folder, &["keys", "update", "1", "--project", "team"]);
    let reported = run(folder, &["keys", "update", "1", "--billing", "free"]);
    assert!(
        reported.contains("1 other key of the same projects"),
        "{reported}"
    );
    assert_eq!(list(folder, &["--project", "team"])[1]["billing"], "free");
    assert_eq!(list(folder, &["--tag", "c"]).len(), 1);
}
