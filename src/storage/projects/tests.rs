//! Tests of projects.

use sqlx::SqlitePool;

use super::*;
use crate::pool::health::cooldown::Cooldown;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::KeyAttributes;
use crate::pool::request_id::RequestId;
use crate::pool::secret::Secret;
use crate::storage::audit::tests::{act, describe_changes};
use crate::storage::data_keys::{DataKeyStore, DataKeys};
use crate::storage::db::Db;
use crate::storage::upstream_keys::{self, Evidence};
use crate::storage::{cooldowns, installation};

const NOW: Timestamp = Timestamp::from_millis(1_000);

/// A transaction with `count` keys, each in a project of its own with the same id.
async fn with_keys(pool: SqlitePool, count: usize) -> Transaction<'static, Sqlite> {
    let mut tx = Db::from_pool(pool).begin().await.unwrap();
    let keys = installation::keys(&mut tx, &DataKeyStore::default())
        .await
        .unwrap();
    let act = act(&mut tx, NOW).await;
    for number in 1..=count {
        let secret = Secret::new(&format!("secret-of-key-{number}"));
        let nothing = KeyAttributes::default();
        upstream_keys::insert(&mut tx, &keys, &secret, &nothing, false, &act)
            .await
            .unwrap();
    }
    tx
}

/// The listed project of each key, by key.
async fn shown(tx: &mut Transaction<'_, Sqlite>) -> Vec<Option<String>> {
    let keys = upstream_keys::listed::list(&mut **tx, NOW).await.unwrap();
    keys.into_iter().map(|key| key.project).collect()
}

async fn recorded_number(tx: &mut Transaction<'_, Sqlite>, key: i64, number: &str) -> bool {
    record_number(tx, UpstreamKeyId(key), number, NOW)
        .await
        .unwrap()
}

async fn assigned(tx: &mut Transaction<'_, Sqlite>, key: i64, name_or_number: &str) -> ProjectId {
    let act = act(tx, NOW).await;
    assign(tx, UpstreamKeyId(key), name_or_number, &act)
        .await
        .unwrap()
}

async fn cool_down(tx: &mut Transaction<'_, Sqlite>, project: i64, model: &str, until: i64) {
    let cooldown = Cooldown {
        rule: Rule::QuotaPerMinute,
        step: 0,
        since: NOW,
        until: Timestamp::from_millis(until),
    };
    let evidence = Evidence {
        status: Some(429),
        message: String::new(),
        request_id: RequestId(1),
    };
    cooldowns::upsert(&mut **tx, ProjectId(project), model, &cooldown, &evidence)
        .await
        .unwrap();
}

async fn running_cooldowns(tx: &mut Transaction<'_, Sqlite>) -> Vec<(i64, String, i64)> {
    let running = cooldowns::list_changed(&mut **tx, -1, NOW).await.unwrap();
    let mut running: Vec<_> = running
        .into_iter()
        .map(|(project, model, cooldown)| (project.0, model, cooldown.until.as_millis()))
        .collect();
    running.sort();
    running
}

fn some(names: &[&str]) -> Vec<Option<String>> {
    names.iter().map(|name| Some((*name).to_owned())).collect()
}

#[sqlx::test]
async fn a_project_number_is_stored_once(pool: SqlitePool) {
    let mut tx = with_keys(pool, 1).await;

    assert!(recorded_number(&mut tx, 1, "projects/7").await);
    let known = revision::current(&mut *tx).await.unwrap();
    assert!(!recorded_number(&mut tx, 1, "projects/7").await);

    assert_eq!(revision::current(&mut *tx).await.unwrap(), known);
    let (keys, _) = upstream_keys::list_changed_in(&mut tx, &DataKeys::default(), known - 1)
        .await
        .unwrap();
    assert_eq!(keys[0].project_number.as_deref(), Some("projects/7"));
    assert_eq!(shown(&mut tx).await, some(&["projects/7"]));
    assert!(!recorded_number(&mut tx, 9, "projects/7").await);
}

#[sqlx::test]
async fn two_projects_with_one_number_are_merged_with_all_their_cooldowns(pool: SqlitePool) {
    let mut tx = with_keys(pool, 3).await;
    assigned(&mut tx, 1, "team").await;
    assigned(&mut tx, 2, "team").await;
    let team = find(&mut tx, "team").await.unwrap().unwrap();
    let act = act(&mut tx, NOW).await;
    update_billing(&mut tx, team, Billing::Paid, &act)
        .await
        .unwrap();
    cool_down(&mut tx, team.0, "flash", 9_000).await;
    cool_down(&mut tx, team.0, "pro", 5_000).await;
    cool_down(&mut tx, 3, "pro", 8_000).await;
    cool_down(&mut tx, 3, "flash", 4_000).await;
    recorded_number(&mut tx, 3, "projects/7").await;
    let known = revision::current(&mut *tx).await.unwrap();

    assert!(recorded_number(&mut tx, 1, "projects/7").await);

    assert_eq!(shown(&mut tx).await, some(&["team"; 3]));
    let (keys, _) = upstream_keys::list_changed_in(&mut tx, &DataKeys::default(), known)
        .await
        .unwrap();
    for key in &keys {
        assert_eq!(key.project_id, ProjectId(3));
        assert_eq!(key.project_number.as_deref(), Some("projects/7"));
        assert_eq!(key.billing, Billing::Paid);
    }
    assert_eq!(keys.len(), 3);
    let expected = [(3, "flash".to_owned(), 9_000), (3, "pro".to_owned(), 8_000)];
    assert_eq!(running_cooldowns(&mut tx).await, expected);
    let changed = cooldowns::list_changed(&mut *tx, known, NOW).await.unwrap();
    assert_eq!(changed.len(), 2);
    // A server that has not reloaded the merge writes to the merged project, and both are found.
    cool_down(&mut tx, team.0, "lite", 6_000).await;
    assert_eq!(
        running_cooldowns(&mut tx).await[1],
        (3, "lite".to_owned(), 6_000)
    );
    for name_or_number in ["team", "7", "projects/7"] {
        let found = find(&mut tx, name_or_number).await.unwrap();
        assert_eq!(found, Some(ProjectId(3)), "{name_or_number}");
    }
}

#[sqlx::test]
async fn a_second_name_finds_the_merged_project(pool: SqlitePool) {
    let mut tx = with_keys(pool, 2).await;
    assigned(&mut tx, 1, "here").await;
    assigned(&mut tx, 2, "there").await;
    recorded_number(&mut tx, 1, "projects/7").await;

    recorded_number(&mut tx, 2, "projects/7").await;

    assert_eq!(shown(&mut tx).await, some(&["here", "here"]));
    let found = find(&mut tx, "there").await.unwrap();
    assert_eq!(found, find(&mut tx, "here").await.unwrap());
}

#[sqlx::test]
async fn a_key_that_google_reports_in_another_project_moves_alone(pool: SqlitePool) {
    let mut tx = with_keys(pool, 3).await;
    for key in 1..=3 {
        assigned(&mut tx, key, "7").await;
    }

    assert!(recorded_number(&mut tx, 1, "projects/8").await);
    assert!(recorded_number(&mut tx, 2, "projects/8").await);

    let expected = some(&["projects/8", "projects/8", "projects/7"]);
    assert_eq!(shown(&mut tx).await, expected);
}

#[sqlx::test]
async fn an_admin_names_a_numbered_project_and_moves_a_key(pool: SqlitePool) {
    let mut tx = with_keys(pool, 3).await;
    recorded_number(&mut tx, 1, "projects/7").await;
    recorded_number(&mut tx, 2, "projects/7").await;

    assigned(&mut tx, 1, "team").await;
    assert_eq!(shown(&mut tx).await[..2], some(&["team", "team"]));
    assigned(&mut tx, 2, "other").await;
    assigned(&mut tx, 3, "team").await;

    assert_eq!(shown(&mut tx).await, some(&["team", "other", "team"]));
    assert_eq!(assigned(&mut tx, 1, "7").await, ProjectId(1));
}

#[sqlx::test]
async fn projects_with_cleared_cooldowns_are_listed_by_revision(pool: SqlitePool) {
    let mut tx = with_keys(pool, 2).await;
    cool_down(&mut tx, 2, "flash", 9_000).await;
    cool_down(&mut tx, 2, "pro", 500).await;

    let act = act(&mut tx, NOW).await;
    let cleared = clear_cooldowns(&mut tx, &[UpstreamKeyId(2)], &act).await;

    assert_eq!(cleared.unwrap(), 1);
    let told = describe_changes(&mut tx).await.pop().unwrap();
    let expected =
        r#"clear project #2: {"cooldowns":["flash: quota_per_minute"]} → {"cooldowns":[]}"#;
    assert_eq!(told, expected);
    assert_eq!(running_cooldowns(&mut tx).await, []);
    let heard = list_cleared(&mut *tx, act.revision - 1).await.unwrap();
    assert_eq!(heard, [ProjectId(2)]);
    assert_eq!(list_cleared(&mut *tx, act.revision).await.unwrap(), []);
}
