//! API tokens are created on the account's page or by a command, shown once, and revoked.

use std::process::Stdio;

use gemini_pool::clock;
use gemini_pool::pool::api_token::{ApiScope, TokenAccess};
use gemini_pool::storage::api_tokens;
use gemini_pool::storage::audit::{self, AuditFilter, Subject};
use reqwest::header::LOCATION;
use serde_json::Value;

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::process::command;

/// The text of a token in a page.
fn token_in(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("gpa_")?;
    let end =
        rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"-_".contains(letter))?;
    Some(format!("gpa_{}", &rest[..end]))
}

#[tokio::test]
async fn a_token_is_created_shown_once_listed_and_revoked() {
    let pool = TestPool::with_keys([]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    admin.get_page("/account/tokens/new").await;

    let fields = [
        ("name", " deploy "),
        ("access", "write"),
        ("lifetime", "30"),
        ("scope", "logs"),
        ("scope", "usage"),
    ];
    let made = admin.submit("/account/tokens", &fields).await;
    assert_eq!(made.status(), 303);
    let created = made.headers()[LOCATION].to_str().unwrap().to_owned();
    let secret = token_in(&admin.get_page(&created).await).unwrap();
    assert_eq!(secret.len(), 47, "{secret}");
    assert_eq!(token_in(&admin.get_page(&created).await), None);
    let again = admin.submit("/account/tokens", &fields).await;
    assert_eq!(again.status(), 422);

    let page = admin.get_page("/account").await;
    assert!(
        page.contains("deploy") && page.contains(&secret[43..]),
        "{page}"
    );
    assert!(!page.contains(&secret));
    let db = &pool.app.db.readers;
    let token = api_tokens::find_by_text(db, &secret)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(token.access, TokenAccess::Write);
    assert_eq!(token.scopes, [ApiScope::Logs, ApiScope::Usage]);
    let days = (token.expires_at.unwrap() - clock::now()).as_secs() / 86_400;
    assert!((29..=30).contains(&days), "{days}");

    let revoke = format!("/account/tokens/{}/revoke", token.id.0);
    admin.get_page(&revoke).await;
    assert_eq!(admin.submit(&revoke, &[]).await.status(), 303);

    assert_eq!(api_tokens::list(db).await.unwrap(), []);
    let filter = AuditFilter {
        subject: Some(Subject::ApiToken),
        ..AuditFilter::default()
    };
    let changes = audit::list(db, &filter, None, 9).await.unwrap().items;
    let changes: Vec<_> = changes
        .iter()
        .map(|change| {
            (
                change.action.name(),
                change.name.as_str(),
                change.actor.as_str(),
            )
        })
        .collect();
    assert_eq!(
        changes,
        [
            ("delete", "deploy", "admin:admin"),
            ("create", "deploy", "admin:admin")
        ]
    );
}

#[tokio::test]
async fn a_command_creates_a_token_and_prints_it_once() {
    let pool = TestPool::with_keys([]).await;
    let run = |arguments: &[&str]| {
        let mut command = command(pool.folder.path());
        command.args(["admin", "create-token"]).args(arguments);
        command.stdout(Stdio::piped()).output().unwrap()
    };

    let made = run(&[
        "deploy",
        "--write",
        "--scope",
        "upstream-keys,logs",
        "--expires",
        "90d",
        "--json",
    ]);
    let again = run(&["deploy"]);
    let plain = run(&["reader"]);
    let wrong = run(&["other", "--scope", "everything"]);
    let past = run(&["other", "--expires", "2020-01-01T00:00:00Z"]);

    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["access"], "write");
    assert_eq!(made["scopes"], serde_json::json!(["upstream-keys", "logs"]));
    assert!(made["expires_at"].is_string() && made["last_used_at"].is_null());
    let db = &pool.app.db.readers;
    let secret = made["secret"].as_str().unwrap();
    let found = api_tokens::find_by_text(db, secret).await.unwrap().unwrap();
    assert_eq!(found.created_by, "cli");
    let plain = String::from_utf8(plain.stdout).unwrap();
    let found = api_tokens::find_by_text(db, plain.trim())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.access, found.scopes), (TokenAccess::Read, vec![]));
    let statuses = [&again, &wrong, &past].map(|output| output.status.code());
    assert_eq!(
        statuses,
        [Some(1), Some(2), Some(2)],
        "{again:?} {wrong:?} {past:?}"
    );
}
