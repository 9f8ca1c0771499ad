//! The served document agrees with the answers: schemathesis sends thousands of requests made from it.

use std::path::Path;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::pool::api_token::TokenAccess;

use crate::support::TestPool;
use crate::support::sdk_scripts::{PYTHON, installed, run};

/// Minimum number of requests of a complete run.
const MIN_CASES: u64 = 5_000;

#[tokio::test]
async fn every_schema_that_the_document_refers_to_is_in_it() {
    let pool = TestPool::with_keys([]).await;
    let document = pool.admin_api().await.get("/openapi.json").await;
    let text = document.to_string();
    let references = text.split("\"#/components/schemas/").skip(1);
    let names: Vec<_> = references
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(names.len() > 50, "{names:?}");
    for name in names {
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn answers_agree_with_the_document() {
    let Some(folder) = installed("python/schemathesis", PYTHON) else {
        return;
    };
    let good = FakeKey::healthy("AIza-key-behind-the-document-1", "projects/1");
    let pool = TestPool::with_keys([good]).await;
    assert_eq!(pool.generate().await.status(), 200);
    // Its requests revoke the tokens with low ids.
    sqlx::query("INSERT INTO sqlite_sequence (name, seq) VALUES ('api_tokens', 987654321)")
        .execute(&pool.app.db.writer)
        .await
        .unwrap();
    let api = pool.api("schemathesis", TokenAccess::Write, &[]).await;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/schemathesis");
    let mut command = tokio::process::Command::new(folder.join("bin/schemathesis"));
    command
        .arg("--config-file")
        .arg(source.join("schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/openapi.json", api.url))
        .current_dir(pool.folder.path())
        .env("GEMINI_POOL_TOKEN", &api.token);

    let output = run(command).await;

    assert!(output.succeeded, "{}\n{}", output.stdout, output.stderr);
    let cases = output.stdout.lines().find_map(|line| {
        let (number, _) = line.trim().split_once(" generated, ")?;
        number.parse::<u64>().ok()
    });
    assert!(
        cases.is_some_and(|cases| cases >= MIN_CASES),
        "{}",
        output.stdout
    );
}
