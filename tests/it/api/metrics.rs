//! `/metrics` and what is delivered to read it: Prometheus accepts them, and the figures are those of the requests.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::api_token::{ApiScope, TokenAccess};
use reqwest::header::CONTENT_TYPE;

use crate::support::api::ApiClient;
use crate::support::{TestPool, test_tools};

async fn scrape(pool: &TestPool, api: Option<&ApiClient>) -> reqwest::Response {
    let mut request = pool.client.get(format!("{}/metrics", pool.url));
    if let Some(api) = api {
        request = request.bearer_auth(&api.token);
    }
    request.send().await.unwrap()
}

/// The value of a series.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(series)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Runs promtool, which `tests/run` installs. `None`: it is not there.
fn promtool(arguments: &[&str], input: &str) -> Option<String> {
    let promtool = Command::new("promtool")
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        test_tools::skip("promtool");
        return None;
    };
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{arguments:?}: {stdout}{stderr}");
    Some(format!("{stdout}{stderr}"))
}

#[tokio::test]
async fn the_metrics_need_a_token_until_a_setting_opens_them() {
    let pool = TestPool::with_keys([]).await;
    let reader = pool
        .api("prometheus", TokenAccess::Read, &[ApiScope::Metrics])
        .await;
    let other = pool
        .api("other", TokenAccess::Write, &[ApiScope::Logs])
        .await;

    assert_eq!(scrape(&pool, None).await.status(), 401);
    assert_eq!(scrape(&pool, Some(&other)).await.status(), 403);
    assert_eq!(scrape(&pool, Some(&reader)).await.status(), 200);
    pool.set(&[("metrics_open", "on")]).await;
    assert_eq!(scrape(&pool, None).await.status(), 200);
}

#[tokio::test]
async fn the_figures_are_those_of_the_requests_and_promtool_accepts_them() {
    let good = FakeKey::healthy("AIza-key-behind-the-metrics-01", "projects/1");
    let pool = TestPool::with_keys([good]).await;
    let api = pool.admin_api().await;
    for _ in 0..3 {
        assert_eq!(pool.generate().await.status(), 200);
    }
    let invented = pool
        .post("/v1beta/models/invented\\\"x:generateContent", "{}")
        .send()
        .await;
    assert!(invented.unwrap().status().is_client_error());

    let answer = scrape(&pool, Some(&api)).await;
    let content_type = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    let text = answer.text().await.unwrap();

    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    for (series, expected) in [
        (
            r#"gemini_pool_requests_total{outcome="success",model="gemini-2.5-flash"}"#,
            3.0,
        ),
        (
            r#"gemini_pool_client_requests_total{outcome="success",client_key_id="1",client_key="env-1"}"#,
            3.0,
        ),
        (r#"gemini_pool_attempts_total{rule="success"}"#, 3.0),
        // The refusal of the invented model has a first byte too.
        ("gemini_pool_first_byte_seconds_count", 4.0),
        (r#"gemini_pool_first_byte_seconds_bucket{le="+Inf"}"#, 4.0),
        (r#"gemini_pool_upstream_keys{state="ready"}"#, 1.0),
        ("gemini_pool_usable_upstream_keys", 1.0),
        ("gemini_pool_queue_length", 0.0),
        ("gemini_pool_pending_rows", 0.0),
        ("gemini_pool_database_failing", 0.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}: {text}");
    }
    assert!(!text.contains("invented"), "{text}");
    for series in [
        "gemini_pool_database_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(
            value(&text, series).is_some_and(|value| value > 0.0),
            "{series}: {text}"
        );
    }
    promtool(&["check", "metrics"], &text);
}

#[test]
fn the_alert_rules_fire_on_their_conditions_only() {
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "alerts_test.yml"], "");
}

#[tokio::test]
async fn rules_and_the_dashboard_name_only_metrics_that_exist() {
    let good = FakeKey::healthy("AIza-key-behind-the-metrics-02", "projects/1");
    let pool = TestPool::with_keys([good]).await;
    let api = pool.admin_api().await;
    assert_eq!(pool.generate().await.status(), 200);
    let text = scrape(&pool, Some(&api)).await.text().await.unwrap();
    let documented = std::fs::read_to_string("docs/metrics.md").unwrap();
    // They are missing without a known limit, a cooldown or an egress proxy.
    let conditional = [
        "gemini_pool_egress_attempts_total",
        "gemini_pool_egress_failures_total",
        "gemini_pool_egress_working",
        "gemini_pool_quota_requests_left",
        "gemini_pool_quota_tokens_left",
        "gemini_pool_projects_cooling_down",
    ];

    for file in [
        "docs/prometheus/alerts.yml",
        "docs/prometheus/grafana.json",
        "docs/metrics.md",
    ] {
        let content = std::fs::read_to_string(file).unwrap();
        let names = content.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for name in
            names.filter(|name| name.starts_with("gemini_pool_") || name.starts_with("process_"))
        {
            let is_served = text.contains(&format!("\n{name}")) || text.starts_with(name);
            assert!(is_served || conditional.contains(&name), "{file}: {name}");
        }
    }
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(documented.contains(name), "docs/metrics.md has no {name}");
    }
}
