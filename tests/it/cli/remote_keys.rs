//! Changes of upstream keys print the same on a server and on its database file.

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use serde_json::Value;

use crate::support::TestPool;
use crate::support::api::ApiClient;
use crate::support::process::{run_command, run_remotely};

/// More than a job keeps results of.
const MANY: usize = 205;

/// A pool of one test, and how its commands reach it.
struct Side {
    pool: TestPool,
    /// `None`: by the database file.
    api: Option<ApiClient>,
}

impl Side {
    /// Two equal pools.
    async fn both(keys: impl Fn() -> Vec<FakeKey>) -> [Self; 2] {
        let (local, remote) = (
            TestPool::with_keys(keys()).await,
            TestPool::with_keys(keys()).await,
        );
        let api = Some(remote.admin_api().await);
        [
            Self {
                pool: local,
                api: None,
            },
            Self { pool: remote, api },
        ]
    }

    fn run(&self, arguments: &[&str]) -> String {
        let folder = self.pool.folder.path();
        let output = match &self.api {
            None => run_command(folder, arguments),
            Some(api) => run_remotely(api, folder, arguments),
        };
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn execute(&self, statement: &str) {
        let done = sqlx::query(statement)
            .execute(&self.pool.app.db.writer)
            .await;
        done.unwrap();
    }
}

fn secret(number: usize) -> String {
    format!("AIzaSyKeyOfTheTwoSidesOfACommand{number:07}")
}

fn three_keys() -> Vec<FakeKey> {
    let keys = (1..=3).map(|number| FakeKey::healthy(secret(number), number.to_string()));
    keys.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_dry_runs_print_the_same_by_a_server() {
    let mut printed = Vec::new();
    for side in Side::both(three_keys).await {
        let import = side.pool.folder.path().join("keys.json");
        let text = format!(
            r#"[{{"key": "{}", "label": "key one", "tags": ["a"]}}, {{"key": "{}"}}, {{"key": "{}", "priority": 5}}]"#,
            secret(1),
            secret(2),
            secret(9),
        );
        std::fs::write(&import, text).unwrap();
        let import = import.to_str().unwrap();
        let until = clock::now().as_millis() + 3_600_000;
        side.execute("UPDATE upstream_keys SET state = 'invalid', state_rule = 'api_key_invalid' WHERE id = 2")
            .await;
        side.execute(&format!(
            "INSERT INTO cooldowns SELECT id, '', 'quota_per_day', 0, 429, '', 1, 1, {until} FROM projects WHERE id < 3"
        ))
        .await;
        let mut lines = Vec::new();
        for arguments in [
            &["keys", "clear", "1", "2"][..],
            &["keys", "clear", "--all"],
            &["keys", "import", import, "--dry-run"],
            &["keys", "import", import, "--dry-run", "--update"],
            &["keys", "import", import, "--dry-run", "--update", "--json"],
            &["keys", "update", "1", "2", "--project", "shared"],
            &["keys", "update", "1", "--billing", "paid"],
            &["keys", "update", "--all", "--billing", "free"],
        ] {
            lines.push(side.run(arguments));
        }
        printed.push(lines);
    }

    assert_eq!(printed[0], printed[1]);
    let all = printed[0].concat();
    for part in [
        "cleared 1 state of 2 upstream keys and 2 cooldowns",
        "other attributes, not changed: 1",
        "known keys would be changed: 1",
        "it was changed for 1 other key",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_results_of_many_tests_are_all_printed() {
    let keys = || {
        let keys = (1..=MANY).map(|number| {
            let behaviour = if number % 50 == 0 {
                Behaviour::Invalid
            } else {
                Behaviour::Healthy
            };
            FakeKey::new(secret(number), number.to_string(), behaviour)
        });
        keys.collect::<Vec<_>>()
    };
    let mut printed = Vec::new();
    for side in Side::both(keys).await {
        let google = side.pool.google.url();
        let mut arguments = vec!["keys", "test", "--all", "--json"];
        if side.api.is_none() {
            arguments.extend(["--upstream-url", &google]);
        }
        let tested: Value = serde_json::from_str(&side.run(&arguments)).unwrap();
        let results = tested["items"].as_array().unwrap().iter();
        let results: Vec<_> = results
            .map(|key| format!("{} {} {}", key["id"], key["result"], key["state"]))
            .collect();
        assert_eq!(results.len(), MANY);
        printed.push(results);
    }

    assert_eq!(printed[0], printed[1]);
    assert!(printed[0][49].contains("refused"), "{}", printed[0][49]);
}
