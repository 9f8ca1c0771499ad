//! Real clients find their resources while other keys cool down, fail and recover, and after a restart.
//!
//! `tests/run` installs the clients; without them these tests report that and pass. Each script runs twice: the first
//! run creates resources and prints their names, the second run receives them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::response_shape::ResponseShape;
use gemini_pool::pool::clients::client_key::ClientKeyId;
use gemini_pool::pool::keys::upstream_key::ProjectId;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::request_logs::LogKind;
use gemini_pool::storage::request_logs::listed::{self, ListedAttempt};
use gemini_pool::tasks::recheck_keys;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Notify;

use crate::support::requests::TestRequest;
use crate::support::sdk_scripts::{
    JAVASCRIPT, PYTHON, ProgramOutput, installed, node_command, python_command, run,
};
use crate::support::{CLIENT_ID, CLIENT_KEY, RequestLog, TestPool, eventually};

const PROJECTS: usize = 20;
const OTHER_CLIENT: &str = "CLIENT_KEY_2";
const OTHER_ID: ClientKeyId = ClientKeyId(2);
/// The client that sends other requests meanwhile, and the number of its concurrent requests.
const CROWD_CLIENT: &str = "CLIENT_KEY_3";
const CROWD: usize = 8;
/// Size of the large file.
const FILE_BYTES: u64 = 300_000_000;
/// Time for which a key keeps its behaviour.
const FAULT_INTERVAL: Duration = Duration::from_millis(100);
/// Number of keys that are invalid at first, and the minimum number of intervals.
const INVALID_KEYS: usize = 4;
const MIN_INVALID_INTERVALS: usize = 10;

#[tokio::test]
async fn googles_sdk_for_python_finds_its_resources() {
    make_and_use_in_python("newest", "resources_with_google_genai.py").await;
}

#[tokio::test]
async fn googles_sdk_for_javascript_finds_its_resources() {
    make_and_use_in_node("newest", "resources_with_google_genai.mjs").await;
}

#[tokio::test]
async fn googles_older_sdk_for_python_finds_its_video() {
    make_and_use_in_python("older", "videos_with_google_genai.py").await;
}

#[tokio::test]
async fn googles_older_sdk_for_javascript_finds_its_video() {
    make_and_use_in_node("older", "videos_with_google_genai.mjs").await;
}

#[tokio::test]
async fn openais_sdk_for_python_finds_its_resources() {
    make_and_use_in_python("newest", "resources_with_openai.py").await;
}

#[tokio::test]
async fn openais_sdk_for_javascript_finds_its_resources() {
    make_and_use_in_node("newest", "resources_with_openai.mjs").await;
}

async fn make_and_use_in_python(set: &str, script: &str) {
    if let Some(folder) = installed(&format!("python/{set}"), PYTHON) {
        make_and_use(|| python_command(&folder, script)).await;
    }
}

async fn make_and_use_in_node(set: &str, script: &str) {
    if let Some(folder) = installed(&format!("javascript/{set}"), JAVASCRIPT) {
        make_and_use(|| node_command(&folder, script)).await;
    }
}

/// Runs a script that creates resources, restarts the pool, and runs the script again with the output of the first run.
async fn make_and_use(script: impl Fn() -> Command) {
    let keys = (1..=PROJECTS).map(|number| FakeKey::healthy(secret(number), number.to_string()));
    let fake_config = FakeConfig {
        // A stream takes long enough to be interrupted.
        response_shape: ResponseShape {
            chunk_delay_ms: 20,
            ..ResponseShape::default()
        },
        ..FakeConfig::with_keys(keys)
    };
    let pool = TestPool::start(fake_config).await;
    pool.add_client_key(OTHER_CLIENT).await;
    pool.add_client_key(CROWD_CLIENT).await;

    let made = run_during_faults(&pool, script()).await;
    let handed_over = made.stdout.lines().last().unwrap();
    let handed_over = handed_over.strip_prefix("state ").unwrap();
    let pool = pool.restart().await;
    let mut again = script();
    again.arg(handed_over);
    run_during_faults(&pool, again).await;

    let rows = pool.rows().await;
    assert_one_project_per_resource(&pool, &rows).await;
    assert_clients_are_isolated(&rows);
    // The last faults may not have ended.
    let all: Vec<usize> = (1..=PROJECTS).collect();
    set_behaviours(&pool, &all, &Behaviour::Healthy);
    // A running request may have found its key invalid after the check.
    eventually("the invalid keys are available again", async || {
        recheck_keys::pass(&pool.app, clock::now() + Duration::from_hours(24)).await;
        let keys = pool.keys().await;
        keys.iter().all(|key| key.state != "invalid").then_some(())
    })
    .await;
    pool.assert_sums_agree().await;
}

/// Runs a script during requests of other clients, and while keys cool down, fail and recover.
async fn run_during_faults(pool: &TestPool, mut script: Command) -> ProgramOutput {
    script
        .env("POOL_URL", &pool.url)
        .env("CLIENT_KEY", CLIENT_KEY)
        .env("OTHER_CLIENT_KEY", OTHER_CLIENT)
        .env("FILE_BYTES", FILE_BYTES.to_string());
    let restored = Notify::new();
    let through = async {
        let (ran, ()) = tokio::join!(run(script), restored.notified());
        eventually("every kind of fault has occurred", async || {
            all_faults_occurred(pool).await.then_some(())
        })
        .await;
        ran
    };
    let ran = tokio::select! {
        ran = through => ran,
        () = send_forever(pool) => unreachable!("it never ends"),
        () = inject_faults(pool, &restored) => unreachable!("it never ends"),
    };
    pool.assert_sums_agree().await;
    assert!(ran.succeeded, "{}{}", ran.stdout, ran.stderr);
    ran
}

/// Sends requests that any key can serve, so that all keys are used.
async fn send_forever(pool: &TestPool) {
    let others = (0..CROWD).map(async |_| {
        loop {
            let request = pool
                .client
                .post(format!("{}{}", pool.url, TestRequest::Generate.path()))
                .header("x-goog-api-key", CROWD_CLIENT)
                .body(TestRequest::Generate.body());
            drop(request.send().await);
            tokio::time::sleep(FAULT_INTERVAL / 2).await;
        }
    });
    join_all(others).await;
}

/// Sets faults on keys of projects without resources, different ones in each interval. Some are invalid at first;
/// notifies `restored` when they have been restored and checked.
async fn inject_faults(pool: &TestPool, restored: &Notify) {
    let behaviours = [
        Behaviour::FixedResponse(429, minute_used_up()),
        Behaviour::Overloaded,
        Behaviour::CloseConnection,
        // A longer cooldown, therefore not in every interval.
        Behaviour::Exhausted,
    ];
    let mut invalid: Vec<usize> = idle(pool).into_iter().rev().take(INVALID_KEYS).collect();
    set_behaviours(pool, &invalid, &Behaviour::Invalid);
    for interval in 1.. {
        let mut idle = idle(pool);
        idle.retain(|number| !invalid.contains(number));
        let count = if interval % 10 == 0 { 4 } else { 3 };
        let affected: Vec<usize> = (0..count)
            .map(|step| idle[(interval + step * 3) % idle.len()])
            .collect();
        for (number, behaviour) in affected.iter().zip(&behaviours) {
            set_behaviours(pool, &[*number], behaviour);
        }
        tokio::time::sleep(FAULT_INTERVAL).await;
        set_behaviours(pool, &affected, &Behaviour::Healthy);

        let keys = pool.keys().await;
        let are_known = keys.iter().any(|key| key.state == "invalid");
        if interval >= MIN_INVALID_INTERVALS && !invalid.is_empty() && are_known {
            set_behaviours(pool, &std::mem::take(&mut invalid), &Behaviour::Healthy);
            // Simulates that their next check is due.
            let later = clock::now() + Duration::from_hours(24);
            assert!(recheck_keys::pass(&pool.app, later).await.keys > 0);
            restored.notify_one();
        }
    }
}

fn set_behaviours(pool: &TestPool, numbers: &[usize], behaviour: &Behaviour) {
    for number in numbers {
        pool.google
            .set_behaviour(&secret(*number), behaviour.clone());
    }
}

/// The projects without resources.
fn idle(pool: &TestPool) -> Vec<usize> {
    let resources = pool.google.resources().into_iter();
    let uploads = pool.google.uploads().into_iter();
    let busy: BTreeSet<String> = resources
        .map(|resource| resource.project)
        .chain(uploads.map(|upload| upload.project))
        .collect();
    (1..=PROJECTS)
        .filter(|number| !busy.contains(&number.to_string()))
        .collect()
}

/// Every request for a resource was sent to its project, and to no other.
async fn assert_one_project_per_resource(pool: &TestPool, rows: &[RequestLog]) {
    let mut projects: BTreeMap<_, BTreeSet<ProjectId>> = BTreeMap::new();
    for row in rows {
        let Some(name) = row.bound_by.as_deref() else {
            continue;
        };
        let attempts = attempts(pool, row).await;
        projects
            .entry((row.client_key_id, name))
            .or_default()
            .extend(attempts.iter().map(|attempt| attempt.project_id));
    }
    assert!(projects.len() > 1, "{projects:?}");
    for (name, projects) in projects {
        assert_eq!(projects.len(), 1, "{name:?}: {projects:?}");
    }
}

/// Every request succeeded, except those for another client's resources.
fn assert_clients_are_isolated(rows: &[RequestLog]) {
    let mut refused = 0;
    let requests = rows.iter().filter(|row| row.kind == LogKind::Request);
    for row in requests {
        match (row.client_key_id, row.outcome, row.status) {
            // A stream that is resumed later.
            (Some(CLIENT_ID), Some(Outcome::ClientGone), Some(200))
            | (_, Some(Outcome::Success), _) => {}
            (
                Some(CLIENT_ID | OTHER_ID),
                Some(Outcome::Refused | Outcome::ClientError),
                Some(404),
            ) => refused += 1,
            (Some(CLIENT_ID | OTHER_ID) | None, _, _) => panic!("{row:?}"),
            (Some(_), ..) => {}
        }
    }
    assert!(refused > 1);
}

/// Whether keys had cooldowns, were invalid, overloaded and unreachable, each in some request.
async fn all_faults_occurred(pool: &TestPool) -> bool {
    let occurred = sqlx::query_scalar(
        "
        SELECT DISTINCT a.outcome
        FROM attempts AS a
        JOIN request_logs AS r ON r.id = a.request_id
        WHERE r.attempts > 1
        ",
    );
    let occurred: Vec<Option<Outcome>> = occurred.fetch_all(pool.settled().await).await.unwrap();
    let wanted = [
        Outcome::Quota,
        Outcome::KeyFault,
        Outcome::UpstreamError,
        Outcome::Network,
    ];
    wanted
        .iter()
        .all(|outcome| occurred.contains(&Some(*outcome)))
}

async fn attempts(pool: &TestPool, row: &RequestLog) -> Vec<ListedAttempt> {
    let row = listed::find(pool.settled().await, row.id).await.unwrap();
    row.attempt_list.unwrap()
}

/// A quota error of a minute that is over in a second.
fn minute_used_up() -> String {
    let body = json!({"error": {
        "code": 429,
        "message": "You exceeded your current quota. Please retry in 1s.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{
                    "quotaMetric": "generativelanguage.googleapis.com/generate_content_paid_tier_requests",
                    "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
                    "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"},
                    "quotaValue": "1000",
                }],
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"},
        ],
    }});
    body.to_string()
}

fn secret(number: usize) -> String {
    format!("AIzaSyTheKeyOfProjectNumber{number:012}")
}
