//! A real Prometheus scrapes the metrics; the delivered rules fire and recover.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::api_token::{ApiScope, TokenAccess};
use reqwest::Method;
use serde_json::Value;

use crate::support::{TestPool, eventually, test_tools};

/// A running Prometheus, which ends with the test.
struct Prometheus {
    process: Child,
    url: String,
    client: reqwest::Client,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// Starts it with the delivered rules, which wait for a second here. `None`: it is not installed.
    fn start(pool: &TestPool, token: &str) -> Option<Self> {
        let folder = pool.folder.path().join("prometheus");
        std::fs::create_dir(&folder).unwrap();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/prometheus/alerts.yml");
        let rules = std::fs::read_to_string(rules).unwrap();
        let rules = rules.lines().map(|line| {
            let indent = line.len() - line.trim_start().len();
            if line.trim_start().starts_with("for: ") {
                format!("{}for: 1s\n", " ".repeat(indent))
            } else {
                format!("{line}\n")
            }
        });
        std::fs::write(folder.join("rules.yml"), rules.collect::<String>()).unwrap();
        let target = pool.url.trim_start_matches("http://");
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n\
             - job_name: gemini-pool\n\
             \x20 authorization: {{credentials: \"{token}\"}}\n\
             \x20 static_configs: [{{targets: [\"{target}\"]}}]\n"
        );
        let config_file = folder.join("prometheus.yml");
        std::fs::write(&config_file, config).unwrap();
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = process else {
            test_tools::skip("prometheus");
            return None;
        };
        Some(Self {
            process,
            url: format!("http://127.0.0.1:{port}/api/v1"),
            client: pool.client.clone(),
        })
    }

    /// The data of an answer; `null`: it does not answer yet.
    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await;
        let Ok(answer) = answer else {
            return Value::Null;
        };
        let text = answer.text().await.unwrap_or_default();
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        json["data"].clone()
    }

    /// The state of an alert: `pending` or `firing`.
    async fn state_of(&self, alert: &str) -> Option<String> {
        let alerts = self.get("/alerts").await;
        let alerts = alerts["alerts"].as_array()?;
        let found = alerts
            .iter()
            .find(|found| found["labels"]["alertname"] == alert)?;
        Some(found["state"].as_str()?.to_owned())
    }
}

#[tokio::test]
async fn a_real_prometheus_scrapes_and_its_alerts_fire_and_recover() {
    let key = FakeKey::healthy("AIza-key-behind-prometheus-01", "projects/1");
    let pool = TestPool::with_keys([key]).await;
    let admin = pool.admin_api().await;
    let reader = pool
        .api("prometheus", TokenAccess::Read, &[ApiScope::Metrics])
        .await;
    assert_eq!(pool.generate().await.status(), 200);
    let Some(prometheus) = Prometheus::start(&pool, &reader.token) else {
        return;
    };

    eventually("Prometheus has scraped the metrics", async || {
        let targets = prometheus.get("/targets").await;
        (targets["activeTargets"][0]["health"] == "up").then_some(())
    })
    .await;
    let query = "/query?query=sum(gemini_pool_requests_total)";
    eventually("the request is counted", async || {
        let sum = prometheus.get(query).await;
        (sum["result"][0]["value"][1] == "1").then_some(())
    })
    .await;
    let alert = "GeminiPoolNoUsableKeys";
    assert_eq!(prometheus.state_of(alert).await, None);

    let switch = async |act: &str| {
        let path = format!("/upstream-keys/1/{act}");
        let answer = admin.send(admin.request(Method::POST, &path)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    switch("disable").await;
    eventually("the alert fires", async || {
        let state = prometheus.state_of(alert).await;
        (state.as_deref() == Some("firing")).then_some(())
    })
    .await;
    switch("enable").await;
    eventually("the alert is over", async || {
        prometheus.state_of(alert).await.is_none().then_some(())
    })
    .await;
}
