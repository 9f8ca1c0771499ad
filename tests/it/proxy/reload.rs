//! Changes of many upstream keys beside requests.

use gemini_pool::clock;
use gemini_pool::pool::keys::imported_keys::ImportedKey;
use gemini_pool::pool::keys::upstream_key::UpstreamKeyId;
use gemini_pool::pool::secret::Secret;
use gemini_pool::storage::installation;
use gemini_pool::storage::upstream_keys::{imported, removal};
use tokio::task::yield_now;

use crate::support::{TestPool, act};

const KEYS: usize = 2_000;

#[tokio::test]
async fn requests_take_turns_with_the_loading_of_thousands_of_keys() {
    let pool = TestPool::with_keys([]).await;
    let keys: Vec<_> = (0..KEYS)
        .map(|number| ImportedKey::new(Secret::new(&secret(number)), 1))
        .collect();
    let mut tx = pool.app.db.begin().await.unwrap();
    let installation = installation::keys(&mut tx, &pool.app.db.data_keys)
        .await
        .unwrap();
    let change = act(&mut tx).await;
    imported::insert_all(&mut tx, &installation, &keys, false, &change)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let (reloaded, seen) = tokio::join!(pool.app.reload(clock::now()), counts_until(&pool, KEYS));

    reloaded.unwrap();
    assert!(seen.len() > 4, "{seen:?}");
    let ids: Vec<_> = (1..).map(UpstreamKeyId).take(KEYS).collect();
    let mut tx = pool.app.db.begin().await.unwrap();
    let change = act(&mut tx).await;
    removal::delete(&mut tx, &ids, &change).await.unwrap();
    tx.commit().await.unwrap();

    let (reloaded, seen) = tokio::join!(pool.app.reload(clock::now()), counts_until(&pool, 0));

    reloaded.unwrap();
    assert!(seen.len() > 4, "{seen:?}");
}

/// The numbers of keys that a request could see until there are so many. Every key is redacted as soon as it can be used.
async fn counts_until(pool: &TestPool, end: usize) -> Vec<usize> {
    let mut seen = vec![pool.app.keys.lock().len()];
    while seen.last() != Some(&end) {
        yield_now().await;
        let count = pool.app.keys.lock().len();
        if count > 0 {
            let last = secret(KEYS - 1);
            let redacted = pool.app.redactor().redact(last.as_bytes());
            assert!(redacted.is_some(), "{count} keys");
        }
        if seen.last() != Some(&count) {
            seen.push(count);
        }
    }
    seen
}

fn secret(number: usize) -> String {
    format!("AIza-key-of-many-{number:06}")
}
