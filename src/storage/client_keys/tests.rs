//! Tests of creating, changing and finding client keys.

use sqlx::SqlitePool;

use super::*;
use crate::pool::clients::client_key::ClientKeys;
use crate::storage::audit::tests::{act, describe_changes};
use crate::storage::data_keys::DataKeyStore;
use crate::storage::db::Db;
use crate::storage::installation;

const NOW: Timestamp = Timestamp::from_millis(1_000);

async fn add(db: &Db, name: &str, secret: &str) -> Option<ClientKeyId> {
    let mut tx = db.begin().await.unwrap();
    let hash_key = installation::keys(&mut tx, &DataKeyStore::default())
        .await
        .unwrap()
        .hash_key;
    let key = NewClientKey {
        name,
        note: "",
        secret: &Secret::new(secret),
        expires_at: Some(NOW),
    };
    let act = act(&mut tx, NOW).await;
    let id = insert(&mut tx, &hash_key, &key, &act).await.unwrap();
    tx.commit().await.unwrap();
    id
}

#[sqlx::test]
async fn a_key_is_found_by_its_secret_of_which_only_the_hash_is_stored(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    let id = add(&db, "alice", "secret-of-alice").await.unwrap();

    let mut tx = db.begin().await.unwrap();
    let hash_key = installation::keys(&mut tx, &DataKeyStore::default())
        .await
        .unwrap()
        .hash_key;
    drop(tx);
    let keys = ClientKeys::new(hash_key, list_for_proxy(&pool).await.unwrap());
    let found = keys.find("secret-of-alice", || NOW).unwrap().key;
    assert_eq!((found.id, found.expires_at), (id, Some(NOW)));
    assert!(keys.find("secret-of-bob", || NOW).is_none());
    let stored: Vec<u8> =
        sqlx::query_scalar("SELECT CAST(name || note || hash || last4 AS BLOB) FROM client_keys")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(memchr::memmem::find(&stored, b"secret-of-alice"), None);
}

#[sqlx::test]
async fn a_secret_cannot_be_inserted_twice(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    let id = add(&db, "env-1", "secret-1234").await.unwrap();
    assert_eq!(add(&db, "env-2", "secret-1234").await, None);

    let mut tx = db.begin().await.unwrap();
    let act = act(&mut tx, NOW).await;
    delete(&mut tx, id, &act).await.unwrap();
    assert_eq!(count_with_prefix(&mut tx, "env-").await.unwrap(), 1);
    tx.commit().await.unwrap();

    assert_eq!(add(&db, "env-2", "secret-1234").await, None);
    assert!(list(&pool).await.unwrap().is_empty());
    assert!(list_for_proxy(&pool).await.unwrap().is_empty());
}

#[sqlx::test]
async fn a_key_can_be_disabled_and_enabled_unless_it_is_missing(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    let id = add(&db, "alice", "secret-1234").await.unwrap();

    let mut tx = db.begin().await.unwrap();
    let act = act(&mut tx, NOW).await;
    update_enabled(&mut tx, id, false, &act).await.unwrap();
    assert_eq!(list_ids(&mut tx, false).await.unwrap(), [id]);
    assert!(list_ids(&mut tx, true).await.unwrap().is_empty());
    update_enabled(&mut tx, id, true, &act).await.unwrap();
    let missing = update_enabled(&mut tx, ClientKeyId(7), true, &act).await;
    assert_eq!(missing.unwrap_err().to_string(), "client key 7 not found");
    tx.commit().await.unwrap();

    assert!(list(&pool).await.unwrap()[0].enabled);
}

#[sqlx::test]
async fn updated_attributes_are_read_back_as_they_were_written(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    let id = add(&db, "alice", "secret-1234").await.unwrap();
    let terms = ClientKeyTerms {
        name: "bob".to_owned(),
        note: "a note".to_owned(),
        expires_at: None,
        limits: ClientLimits {
            requests_per_minute: Some(1),
            requests_per_day: Some(2),
            tokens_per_minute: Some(3),
            tokens_per_day: Some(4),
            concurrency: Some(5),
            cost_per_month_nano_usd: Some(12_500_000_000),
        },
        models: vec!["gemini-*".to_owned()],
        paths: vec!["/v1beta/*".to_owned(), "/v1/*".to_owned()],
        addresses: vec!["192.0.2.0/24".to_owned()],
        tags: vec!["team \"a\"".to_owned()],
        direct_access: true,
        model_fallback: ModelFallback::parse("gemini-2.5-pro > gemini-2.5-flash"),
    };

    let mut tx = db.begin().await.unwrap();
    let act = act(&mut tx, NOW).await;
    update(&mut tx, id, &terms, &act).await.unwrap();
    // An update without a difference is not logged.
    update(&mut tx, id, &terms, &act).await.unwrap();
    assert_eq!(find_terms(&mut tx, id).await.unwrap(), terms);
    let missing = find_terms(&mut tx, ClientKeyId(7)).await.unwrap_err();
    assert_eq!(missing.to_string(), "client key 7 not found");
    assert!(update(&mut tx, ClientKeyId(7), &terms, &act).await.is_err());
    let changes = describe_changes(&mut tx).await;
    assert_eq!(changes.len(), 2, "{changes:?}");
    let told = [
        r#""cost_per_month":null"#,
        r#""cost_per_month":12.5"#,
        r#""name":"bob""#,
    ];
    for told in told {
        assert!(changes[1].contains(told), "{changes:?}");
    }
    tx.commit().await.unwrap();

    let (_, key) = list_for_proxy(&pool).await.unwrap().remove(0);
    assert_eq!((key.limits, key.tags), (terms.limits, terms.tags));
    assert!(key.direct_access);
    assert_eq!(key.model_fallback, terms.model_fallback);
    assert!(!key.scopes.unwrap().models.matches("other"));
    let listed = list(&pool).await.unwrap().remove(0);
    let json = serde_json::to_value(&listed).unwrap();
    let limits = serde_json::json!({
        "requests_per_minute": 1, "requests_per_day": 2, "tokens_per_minute": 3, "tokens_per_day": 4,
        "concurrency": 5, "cost_per_month": 12.5,
    });
    assert_eq!(json["limits"], limits);
}

#[sqlx::test]
async fn a_key_with_an_unreadable_row_has_no_scopes(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    let id = add(&db, "alice", "secret-1234").await.unwrap();
    for broken in [
        "models = 'gemini-*'",
        "paths = '[\"[\"]'",
        "addresses = '[\"example.com\"]'",
        "tags = '[1]'",
        "concurrency = 0",
        "tokens_per_day = -1",
    ] {
        let mut tx = db.begin().await.unwrap();
        let sql = format!("UPDATE client_keys SET {broken}");
        sqlx::query(&sql).execute(&mut *tx).await.unwrap();

        let (_, key) = list_for_proxy(&mut *tx).await.unwrap().remove(0);

        assert!(key.scopes.is_none(), "{broken}");
        let readable = broken.starts_with("paths") || broken.starts_with("addresses");
        assert_eq!(find_terms(&mut tx, id).await.is_ok(), readable, "{broken}");
    }
}
