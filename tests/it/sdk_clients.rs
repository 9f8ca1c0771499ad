//! Real clients, in their newest version and an older one, are served as Google serves them.
//!
//! `tests/run` installs them; where they are not installed these tests say so and pass.

use std::path::Path;
use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::quota::{ModelLimit, ProjectQuota, Tier};
use gemini_pool::pool::clients::admission::LoggedUsage;
use gemini_pool::pool::clients::client_key::ClientLimits;
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::pool::quota::windows::{MinuteWindow, QuotaAmount};
use jiff::tz::TimeZone;
use tokio::process::Command;

use crate::support::sdk_scripts::{
    JAVASCRIPT, PYTHON, ProgramOutput, installed, node_command, python_command, run,
};
use crate::support::{CLIENT_ID, CLIENT_KEY, TestPool};

const UPSTREAM_KEY: &str = "AIza-upstream-key-of-the-clients-0001";

/// How few checks of a script would mean that it ended before it was through.
const LEAST_CHECKS: usize = 10;

#[tokio::test]
async fn the_newest_sdks_for_python_are_served() {
    serve_python("python/newest").await;
}

#[tokio::test]
async fn older_sdks_for_python_are_served() {
    serve_python("python/older").await;
}

#[tokio::test]
async fn the_newest_sdks_for_javascript_are_served() {
    serve_javascript("javascript/newest").await;
}

#[tokio::test]
async fn older_sdks_for_javascript_are_served() {
    serve_javascript("javascript/older").await;
}

#[tokio::test]
async fn gemini_cli_waits_for_a_minute_of_its_key_and_stops_at_a_day() {
    let Some(folder) = installed("javascript/gemini-cli", JAVASCRIPT) else {
        return;
    };
    let (per_minute, per_day) = (limited_per_minute().await, limited_per_day().await);

    let (waited, stopped) = tokio::join!(
        run_limited(gemini_cli(&folder, &per_minute), &per_minute),
        run(gemini_cli(&folder, &per_day))
    );

    assert!(waited.succeeded, "{waited:#?}");
    assert_waited(&per_minute).await;
    assert!(!stopped.succeeded, "{stopped:#?}");
    assert!(
        stopped.stderr.contains("has sent 1 request today"),
        "{stopped:#?}"
    );
    let row_count = per_day.rows().await.len();
    assert_eq!(row_count, 2, "the one before and one of the CLI");
}

#[tokio::test]
async fn gemini_cli_is_served_and_stops_where_the_day_is_used_up() {
    let Some(folder) = installed("javascript/gemini-cli", JAVASCRIPT) else {
        return;
    };
    let (pool, resting) = pools().await;

    let answer = run(gemini_cli(&folder, &pool)).await;
    let refusal = run(gemini_cli(&folder, &resting)).await;

    assert!(answer.succeeded, "{answer:#?}");
    let reply: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_ne!(
        reply["response"].as_str().unwrap_or_default(),
        "",
        "{reply}"
    );
    assert!(!refusal.succeeded, "{refusal:#?}");
    assert!(
        refusal.stderr.contains("gemini-pool: the quota for"),
        "{refusal:#?}"
    );
    let row_count = resting.rows().await.len();
    assert_eq!(
        row_count, 3,
        "ours, which used up the day, and one of the CLI"
    );
    assert_served(&pool).await;
}

/// Runs both Python scripts with the SDKs of a folder of pins.
async fn serve_python(set: &str) {
    let Some(folder) = installed(set, PYTHON) else {
        return;
    };
    for script in ["with_google_genai.py", "with_openai.py"] {
        serve(python_command(&folder, script)).await;
    }
    wait(python_command(&folder, "queued_with_openai.py")).await;
}

/// Runs both scripts for Node with the SDKs of a folder of pins.
async fn serve_javascript(set: &str) {
    let Some(folder) = installed(set, JAVASCRIPT) else {
        return;
    };
    for script in ["with_google_genai.mjs", "with_openai.mjs"] {
        serve(node_command(&folder, script)).await;
    }
    wait(node_command(&folder, "queued_with_openai.mjs")).await;
}

/// Runs a script against a pool that is well and one that rests, and looks at what the first has recorded.
async fn serve(mut script: Command) {
    let (pool, resting) = pools().await;
    let limited = limited_per_day().await;
    script
        .env("POOL_URL", &pool.url)
        .env("RESTING_POOL_URL", &resting.url)
        .env("LIMITED_POOL_URL", &limited.url)
        .env("CLIENT_KEY", CLIENT_KEY);

    let ran = run(script).await;

    assert!(ran.succeeded, "{}{}", ran.stdout, ran.stderr);
    let passed = ran.stdout.lines().filter(|line| line.starts_with("ok "));
    assert!(passed.count() >= LEAST_CHECKS, "{}", ran.stdout);
    assert_served(&pool).await;
}

/// Runs a script that asks a pool once whose minute is used up for some seconds more.
async fn wait(mut script: Command) {
    let limited = limited_per_minute().await;
    script
        .env("POOL_URL", &limited.url)
        .env("CLIENT_KEY", CLIENT_KEY);

    let ran = run_limited(script, &limited).await;

    assert!(ran.succeeded, "{}{}", ran.stdout, ran.stderr);
    assert_waited(&limited).await;
}

/// The client was refused, came back when it was told to, and was served.
async fn assert_waited(limited: &TestPool) {
    let rows = limited.rows().await;
    let statuses: Vec<_> = rows.iter().filter_map(|row| row.status).collect();
    // The minute may have been moved on once more before the first refusal was seen.
    let expected: [&[i64]; 2] = [&[429, 200], &[429, 429, 200]];
    assert!(expected.contains(&statuses.as_slice()), "{statuses:?}");
    let reported = rows[0].error.as_deref().unwrap();
    assert!(
        reported.contains("has sent 1 request in the last minute"),
        "{reported}"
    );
}

/// The CLI without a terminal, asked one thing.
fn gemini_cli(folder: &Path, pool: &TestPool) -> Command {
    let home = pool.folder.path().join("home");
    std::fs::create_dir_all(home.join(".gemini")).unwrap();
    // Without a terminal it asks nobody how to sign in; nor shall it report on itself or look for updates.
    let settings = serde_json::json!({
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": false},
        "telemetry": {"enabled": false},
        "general": {"enableAutoUpdate": false, "enableAutoUpdateNotification": false},
    });
    std::fs::write(home.join(".gemini/settings.json"), settings.to_string()).unwrap();
    let mut command = Command::new("node");
    command
        .arg(folder.join("node_modules/@google/gemini-cli/bundle/gemini.js"))
        .args([
            "--model",
            "gemini-2.5-flash",
            "--output-format",
            "json",
            "--skip-trust",
        ])
        .args(["--prompt", "Why is the sky blue?"])
        .current_dir(&home)
        .env("HOME", &home)
        .env("GEMINI_API_KEY", CLIENT_KEY)
        .env("GOOGLE_GEMINI_BASE_URL", &pool.url);
    command
}

/// A pool whose only key is well, and one whose only key has used up its day.
async fn pools() -> (TestPool, TestPool) {
    let key = FakeKey::healthy(UPSTREAM_KEY, "projects/1");
    let pool = TestPool::with_keys([key.clone()]).await;
    let one_a_day = ProjectQuota {
        tier: Tier::Free,
        limits: vec![ModelLimit::new("*", None, None, Some(1))],
    };
    let resting =
        TestPool::start(FakeConfig::with_keys([key]).quota("projects/1", one_a_day)).await;
    for status in [200, 429] {
        assert_eq!(resting.generate().await.status(), status);
    }
    (pool, resting)
}

/// A pool whose client key has used up its minute.
async fn limited_per_minute() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]).await;
    pool.allow(|terms| terms.limits.requests_per_minute = Some(1))
        .await;
    use_up_minute(&pool);
    pool
}

/// Counts a request of so long ago that its minute is over in a few seconds.
fn use_up_minute(pool: &TestPool) {
    let now = clock::now();
    let mut minute = MinuteWindow::default();
    let one = QuotaAmount {
        requests: 1,
        tokens: 0,
    };
    minute.add(one, now - Duration::from_secs(56));
    let past = LoggedUsage {
        minute: Some(minute),
        ..LoggedUsage::default()
    };
    let limits = ClientLimits {
        requests_per_minute: Some(1),
        ..ClientLimits::default()
    };
    let mut admission = pool.app.admission.lock();
    // What was counted itself is not replaced, unless it was forgotten.
    admission.set_limits(&TimeZone::UTC, []);
    admission.restore(CLIENT_ID, limits, past, now);
}

/// Runs a program whose minute does not go on until it has been refused, however long it takes to start.
async fn run_limited(program: Command, pool: &TestPool) -> ProgramOutput {
    let held_up = async {
        while pool.rows().await.is_empty() {
            use_up_minute(pool);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ran = run(program) => ran,
        () = held_up => unreachable!("it never ends"),
    }
}

/// A pool whose client key has used up its day.
async fn limited_per_day() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]).await;
    assert_eq!(pool.generate().await.status(), 200);
    pool.allow(|terms| terms.limits.requests_per_day = Some(1))
        .await;
    pool
}

/// Every request went out with the upstream key, and those that could be answered were.
async fn assert_served(pool: &TestPool) {
    let received = pool.google.received();
    assert!(!received.is_empty());
    for request in received {
        assert_eq!(request.key.as_deref(), Some(UPSTREAM_KEY));
    }
    for row in pool.rows().await {
        let refused = [Outcome::ClientError, Outcome::Refused];
        let expected = row.status == Some(200) || refused.contains(&row.outcome.unwrap());
        assert!(expected, "{row:?}");
    }
    pool.assert_sums_agree().await;
}
