//! The newest and an older version of real clients are served as Google serves them.
//!
//! `tests/run` installs them; without them these tests report that and pass.

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

/// Minimum number of checks that a complete script makes.
const MIN_CHECKS: usize = 10;

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
async fn gemini_cli_waits_for_a_minute_limit_and_stops_at_a_daily_limit() {
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
    assert_eq!(row_count, 2, "the earlier one and the CLI's");
}

#[tokio::test]
async fn gemini_cli_is_served_and_stops_when_the_daily_quota_is_used_up() {
    let Some(folder) = installed("javascript/gemini-cli", JAVASCRIPT) else {
        return;
    };
    let (pool, cooling_down) = pools().await;

    let answer = run(gemini_cli(&folder, &pool)).await;
    let refusal = run(gemini_cli(&folder, &cooling_down)).await;

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
    let row_count = cooling_down.rows().await.len();
    assert_eq!(
        row_count, 3,
        "the test's, which used up the day, and the CLI's"
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
    stop_at_tokens(python_command(&folder, "limited_tokens_with_openai.py")).await;
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
    stop_at_tokens(node_command(&folder, "limited_tokens_with_openai.mjs")).await;
}

/// Runs a script against a healthy pool and one whose key cools down, and verifies the first one's records.
async fn serve(mut script: Command) {
    let (pool, cooling_down) = pools().await;
    let limited = limited_per_day().await;
    script
        .env("POOL_URL", &pool.url)
        .env("RESTING_POOL_URL", &cooling_down.url)
        .env("LIMITED_POOL_URL", &limited.url)
        .env("CLIENT_KEY", CLIENT_KEY);

    let ran = run(script).await;

    assert!(ran.succeeded, "{}{}", ran.stdout, ran.stderr);
    let passed = ran.stdout.lines().filter(|line| line.starts_with("ok "));
    assert!(passed.count() >= MIN_CHECKS, "{}", ran.stdout);
    assert_served(&pool).await;
}

/// Runs a script that sends one request to a pool whose minute limit is used up for some more seconds.
async fn wait(mut script: Command) {
    let limited = limited_per_minute().await;
    script
        .env("POOL_URL", &limited.url)
        .env("CLIENT_KEY", CLIENT_KEY);

    let ran = run_limited(script, &limited).await;

    assert!(ran.succeeded, "{}{}", ran.stdout, ran.stderr);
    assert_waited(&limited).await;
}

/// Runs a script whose streams report no usage, until the client key's limit on tokens stops it.
async fn stop_at_tokens(mut script: Command) {
    let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]).await;
    pool.allow(|terms| terms.limits.tokens_per_day = Some(3_000))
        .await;
    script
        .env("POOL_URL", &pool.url)
        .env("CLIENT_KEY", CLIENT_KEY);

    let ran = run(script).await;

    assert!(ran.succeeded, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout.matches("ok ").count(), 2, "{}", ran.stdout);
    assert_eq!(pool.google.requests(), 2);
}

/// The client was refused, retried after the stated time, and was served.
async fn assert_waited(limited: &TestPool) {
    let rows = limited.rows().await;
    let statuses: Vec<_> = rows.iter().filter_map(|row| row.status).collect();
    // The minute may have been extended once more before the first refusal was recorded.
    let expected: [&[i64]; 2] = [&[429, 200], &[429, 429, 200]];
    assert!(expected.contains(&statuses.as_slice()), "{statuses:?}");
    let reported = rows[0].error.as_deref().unwrap();
    assert!(
        reported.contains("has sent 1 request in the last minute"),
        "{reported}"
    );
}

/// The CLI without a terminal, with one prompt.
fn gemini_cli(folder: &Path, pool: &TestPool) -> Command {
    let home = pool.folder.path().join("home");
    std::fs::create_dir_all(home.join(".gemini")).unwrap();
    // Without a terminal it skips the choice of a sign-in; it must not report statistics or search for updates.
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

/// A pool with a healthy key, and one whose only key has used up its daily quota.
async fn pools() -> (TestPool, TestPool) {
    let key = FakeKey::healthy(UPSTREAM_KEY, "projects/1");
    let pool = TestPool::with_keys([key.clone()]).await;
    let one_a_day = ProjectQuota {
        tier: Tier::Free,
        limits: vec![ModelLimit::new("*", None, None, Some(1))],
    };
    let cooling_down =
        TestPool::start(FakeConfig::with_keys([key]).quota("projects/1", one_a_day)).await;
    for status in [200, 429] {
        assert_eq!(cooling_down.generate().await.status(), status);
    }
    (pool, cooling_down)
}

/// A pool whose client key has used up its minute limit.
async fn limited_per_minute() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]).await;
    pool.allow(|terms| terms.limits.requests_per_minute = Some(1))
        .await;
    use_up_minute(&pool);
    pool
}

/// Records a request that leaves the minute window in a few seconds.
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
    // The pool replaces its own count only after the limits were removed.
    admission.set_limits(&TimeZone::UTC, []);
    admission.restore(CLIENT_ID, limits, past, now);
}

/// Runs a program, and renews the used-up minute until the first refusal, however slowly the program starts.
async fn run_limited(program: Command, pool: &TestPool) -> ProgramOutput {
    let keep_limited = async {
        while pool.rows().await.is_empty() {
            use_up_minute(pool);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ran = run(program) => ran,
        () = keep_limited => unreachable!("the loop never ends"),
    }
}

/// A pool whose client key has used up its daily limit.
async fn limited_per_day() -> TestPool {
    let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM_KEY, "projects/1")]).await;
    assert_eq!(pool.generate().await.status(), 200);
    pool.allow(|terms| terms.limits.requests_per_day = Some(1))
        .await;
    pool
}

/// Every forwarded request had the upstream key, and those with a possible response were answered.
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
