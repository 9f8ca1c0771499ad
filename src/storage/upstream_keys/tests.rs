//! Tests of upstream keys.

use sqlx::SqlitePool;

use super::*;
use crate::storage::audit::tests::{act, describe_changes};
use crate::storage::data_keys::DataKeyStore;
use crate::storage::installation;
use crate::storage::upstream_keys::listed::{ListedUpstreamKey, list};
use crate::storage::upstream_keys::removal::{
    RestoreCounts, SecretStatus, delete, find_secret_statuses, restore, wipe_removed,
};
use crate::storage::upstream_keys::states::{
    clear_states, update_checked_condition, update_condition, update_enabled,
};

const NOW: Timestamp = Timestamp::from_millis(1_000);
const LATER: Timestamp = Timestamp::from_millis(5_000);

async fn add(tx: &mut Transaction<'_, Sqlite>, secret: &str, restore: bool) -> InsertedKey {
    let keys = installation::keys(tx, &DataKeyStore::default())
        .await
        .unwrap();
    let secret = Secret::new(secret);
    let nothing = KeyAttributes::default();
    let act = act(tx, NOW).await;
    insert(tx, &keys, &secret, &nothing, restore, &act)
        .await
        .unwrap()
}

fn evidence() -> Evidence {
    Evidence {
        status: Some(400),
        message: "API key not valid".to_owned(),
        request_id: RequestId(1),
    }
}

fn invalid(since: Timestamp) -> KeyCondition {
    KeyCondition {
        state: KeyState::Invalid,
        next_check: Some(LATER),
        ..KeyCondition::ready(since)
    }
}

#[sqlx::test]
async fn a_removed_key_is_restored_only_if_the_caller_requests_it(pool: SqlitePool) {
    let mut tx = Db::from_pool(pool).begin().await.unwrap();
    let InsertedKey::New(id) = add(&mut tx, "secret-1234", false).await else {
        panic!("the key is new");
    };
    assert_eq!(
        add(&mut tx, "secret-1234", true).await,
        InsertedKey::Existing(id)
    );

    let second = act(&mut tx, NOW).await;
    delete(&mut tx, &[id], &second).await.unwrap();
    wipe_removed(&mut *tx, LATER).await.unwrap();
    assert_eq!(
        add(&mut tx, "secret-1234", false).await,
        InsertedKey::Existing(id)
    );
    assert!(list(&mut *tx, NOW).await.unwrap().is_empty());
    assert_eq!(
        add(&mut tx, "secret-1234", true).await,
        InsertedKey::Restored(id)
    );

    let (keys, removed) = list_changed_in(&mut tx, &DataKeys::default(), 0)
        .await
        .unwrap();
    assert_eq!(keys[0].secret.expose(), "secret-1234");
    assert!(removed.is_empty());
}

#[sqlx::test]
async fn only_keys_changed_after_a_revision_are_listed(pool: SqlitePool) {
    let mut tx = Db::from_pool(pool).begin().await.unwrap();
    for secret in ["secret-0001", "secret-0002", "secret-0003"] {
        add(&mut tx, secret, false).await;
    }
    let last = act(&mut tx, NOW).await;
    update_enabled(&mut tx, &[UpstreamKeyId(1)], false, &last)
        .await
        .unwrap();
    delete(&mut tx, &[UpstreamKeyId(2)], &last).await.unwrap();

    let (keys, removed) = list_changed_in(&mut tx, &DataKeys::default(), last.revision - 1)
        .await
        .unwrap();

    let keys: Vec<_> = keys.iter().map(|key| (key.id, key.enabled)).collect();
    assert_eq!(keys, [(UpstreamKeyId(1), false)]);
    assert_eq!(removed, [UpstreamKeyId(2)]);
    assert_eq!(
        list_ids(&mut tx, Some(true)).await.unwrap(),
        [UpstreamKeyId(3)]
    );
    assert_eq!(
        list_ids(&mut tx, Some(false)).await.unwrap(),
        [UpstreamKeyId(1)]
    );
}

#[sqlx::test]
async fn a_list_shows_the_state_of_each_key(pool: SqlitePool) {
    let mut tx = Db::from_pool(pool).begin().await.unwrap();
    for secret in ["secret-0001", "secret-0002"] {
        add(&mut tx, secret, false).await;
    }
    update_condition(&mut *tx, UpstreamKeyId(1), &invalid(NOW), &evidence())
        .await
        .unwrap();

    let key = |keys: &[ListedUpstreamKey]| (keys[0].state.clone(), keys[0].next_check_at);
    let keys = list(&mut *tx, NOW).await.unwrap();
    assert_eq!(key(&keys), ("invalid".to_owned(), Some(LATER)));
    assert_eq!(keys[1].state, "ready");
    // A key on trial has no next check, and its evidence is kept.
    let trial = KeyCondition {
        state: KeyState::Trial,
        next_check: None,
        ..invalid(LATER)
    };
    update_checked_condition(&mut *tx, UpstreamKeyId(1), &trial)
        .await
        .unwrap();
    let keys = list(&mut *tx, LATER).await.unwrap();
    assert_eq!(key(&keys), ("trial".to_owned(), None));
    let message: Option<String> =
        sqlx::query_scalar("SELECT state_message FROM upstream_keys WHERE id = 1")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
    assert_eq!(message, Some(evidence().message));
    // A state set later by an admin is kept.
    let hand = act(&mut tx, LATER).await;
    update_enabled(&mut tx, &[UpstreamKeyId(1)], true, &hand)
        .await
        .unwrap();
    update_checked_condition(&mut *tx, UpstreamKeyId(1), &invalid(NOW))
        .await
        .unwrap();
    let keys = list(&mut *tx, LATER).await.unwrap();
    assert_eq!(key(&keys), ("ready".to_owned(), None));

    update_enabled(&mut tx, &[UpstreamKeyId(1)], false, &hand)
        .await
        .unwrap();
    let keys = list(&mut *tx, NOW).await.unwrap();
    assert_eq!(key(&keys), ("disabled".to_owned(), None));
}

#[sqlx::test]
async fn an_admin_clears_a_state_and_an_older_verdict_does_not_set_it_again(pool: SqlitePool) {
    let mut tx = Db::from_pool(pool).begin().await.unwrap();
    add(&mut tx, "secret-0001", false).await;
    let id = UpstreamKeyId(1);
    update_condition(&mut *tx, id, &invalid(NOW), &evidence())
        .await
        .unwrap();

    let hand = act(&mut tx, LATER).await;
    update_enabled(&mut tx, &[id], true, &hand).await.unwrap();
    assert_eq!(list(&mut *tx, NOW).await.unwrap()[0].state, "ready");
    update_condition(&mut *tx, id, &invalid(NOW), &evidence())
        .await
        .unwrap();
    assert_eq!(list(&mut *tx, NOW).await.unwrap()[0].state, "ready");

    let missing = delete(&mut tx, &[id, UpstreamKeyId(7)], &hand).await;
    assert_eq!(missing.unwrap_err().to_string(), "upstream key 7 not found");
}

#[sqlx::test]
async fn attributes_of_a_key_are_stored_and_equal_ones_are_no_change(pool: SqlitePool) {
    let mut tx = Db::from_pool(pool).begin().await.unwrap();
    let installation_keys = installation::keys(&mut tx, &DataKeyStore::default())
        .await
        .unwrap();
    let said = KeyAttributes {
        label: Some("first".to_owned()),
        project: Some("7".to_owned()),
        billing: Some(Billing::Free),
        priority: Some(-1),
        weight: Some(3),
        tags: Some(vec!["a".to_owned()]),
    };
    let secrets = ["secret-0001", "secret-0002"].map(Secret::new);
    let first = act(&mut tx, NOW).await;
    for secret in &secrets {
        insert(&mut tx, &installation_keys, secret, &said, true, &first)
            .await
            .unwrap();
    }
    let id = UpstreamKeyId(1);
    let second = act(&mut tx, NOW).await;
    assert!(!update(&mut tx, id, &said, &second).await.unwrap());
    let changed = list_changed_in(&mut tx, &DataKeys::default(), first.revision)
        .await
        .unwrap();
    assert!(changed.0.is_empty());

    let news = KeyAttributes {
        billing: Some(Billing::Paid),
        weight: Some(4),
        ..KeyAttributes::default()
    };
    assert!(update(&mut tx, id, &news, &second).await.unwrap());

    let (keys, _) = list_changed_in(&mut tx, &DataKeys::default(), first.revision)
        .await
        .unwrap();
    let first = &keys[0];
    assert_eq!(
        (first.label.as_str(), first.priority, first.weight),
        ("first", -1, 4)
    );
    assert_eq!(first.tags, ["a"]);
    assert_eq!(first.project_number.as_deref(), Some("projects/7"));
    // The other key of the project gets the new billing too.
    assert_eq!(keys[1].billing, Billing::Paid);
    assert_eq!((keys[1].weight, keys[1].project_id), (3, first.project_id));

    delete(&mut tx, &[id], &second).await.unwrap();
    assert!(update(&mut tx, id, &said, &second).await.is_err());
    let nothing = KeyAttributes::default();
    insert(
        &mut tx,
        &installation_keys,
        &secrets[0],
        &nothing,
        true,
        &second,
    )
    .await
    .unwrap();
    assert_eq!(list(&mut *tx, NOW).await.unwrap()[0].label, "first");
}

#[sqlx::test]
async fn changes_of_keys_are_in_the_audit_log_without_the_secret(pool: SqlitePool) {
    let mut tx = Db::from_pool(pool).begin().await.unwrap();
    add(&mut tx, "secret-0001", false).await;
    let id = UpstreamKeyId(1);
    let hand = act(&mut tx, LATER).await;
    let said = KeyAttributes {
        label: Some("first".to_owned()),
        project: Some("7".to_owned()),
        billing: Some(Billing::Paid),
        ..KeyAttributes::default()
    };
    for _ in 0..2 {
        update(&mut tx, id, &said, &hand).await.unwrap();
        update_enabled(&mut tx, &[id], false, &hand).await.unwrap();
    }
    update_condition(&mut *tx, id, &invalid(LATER), &evidence())
        .await
        .unwrap();
    update_enabled(&mut tx, &[id], true, &hand).await.unwrap();
    update_condition(&mut *tx, id, &invalid(LATER), &evidence())
        .await
        .unwrap();
    assert_eq!(clear_states(&mut tx, &[id], &hand).await.unwrap(), 1);
    assert_eq!(clear_states(&mut tx, &[id], &hand).await.unwrap(), 0);
    delete(&mut tx, &[id], &hand).await.unwrap();
    add(&mut tx, "secret-0001", true).await;

    let expected = [
        r#"create upstream_key key-01: - → {"label":"key-01","last4":"01","priority":0,"project":null,"tags":[],"weight":1}"#,
        r#"create project projects/7: - → {"name":null,"number":"projects/7"}"#,
        r#"update project projects/7: {"billing":"unknown"} → {"billing":"paid"}"#,
        r#"update upstream_key key-01: {"billing":"unknown","label":"key-01","project":null} → {"billing":"paid","label":"first","project":"7"}"#,
        r#"disable upstream_key first: {"enabled":true} → {"enabled":false}"#,
        r#"enable upstream_key first: {"enabled":false,"state":"invalid"} → {"enabled":true,"state":"ready"}"#,
        r#"clear upstream_key first: {"rule":null,"state":"invalid"} → {"state":"ready"}"#,
        r#"delete upstream_key first: {"label":"first","last4":"01"} → -"#,
        r#"restore upstream_key first: - → {"last4":"01"}"#,
    ];
    assert_eq!(describe_changes(&mut tx).await, expected);
}

#[sqlx::test]
async fn a_removed_key_can_be_restored_until_its_secret_is_wiped(pool: SqlitePool) {
    let mut tx = Db::from_pool(pool).begin().await.unwrap();
    for secret in ["secret-0001", "secret-0002", "secret-0003"] {
        add(&mut tx, secret, false).await;
    }
    let ids = [UpstreamKeyId(1), UpstreamKeyId(2)];
    let early = act(&mut tx, NOW).await;
    delete(&mut tx, &ids[..1], &early).await.unwrap();
    let late = act(&mut tx, LATER).await;
    delete(&mut tx, &ids[1..], &late).await.unwrap();
    wipe_removed(&mut *tx, LATER).await.unwrap();
    let keys = installation::keys(&mut tx, &DataKeyStore::default())
        .await
        .unwrap();
    let secrets = ["secret-0003", "secret-0009", "secret-0002"].map(Secret::new);
    let known = find_secret_statuses(&mut *tx, &keys.hash_key, secrets.iter())
        .await
        .unwrap();
    let expected = [
        SecretStatus::InUse,
        SecretStatus::New,
        SecretStatus::Removed,
    ];
    assert_eq!(known, expected);

    let hand = act(&mut tx, LATER).await;
    let restored = restore(&mut tx, &ids, &hand).await.unwrap();

    let expected = RestoreCounts {
        restored: 1,
        wiped: 1,
    };
    assert_eq!(restored, expected);
    let json_ids_in_use = list_ids(&mut tx, None).await.unwrap();
    assert_eq!(json_ids_in_use, [UpstreamKeyId(2), UpstreamKeyId(3)]);
    let (heard, _) = list_changed_in(&mut tx, &DataKeys::default(), late.revision)
        .await
        .unwrap();
    assert_eq!(heard[0].secret.expose(), "secret-0002");
    let record_change = describe_changes(&mut tx).await.pop().unwrap();
    assert!(
        record_change.starts_with("restore upstream_key"),
        "{record_change}"
    );
}
