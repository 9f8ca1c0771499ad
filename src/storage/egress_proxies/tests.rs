//! Tests of the rows of egress proxies.

use std::time::Duration;

use sqlx::SqlitePool;

use super::*;
use crate::pool::request_id::RequestId;
use crate::storage::audit::tests::{act, describe_changes};
use crate::storage::db::Db;
use crate::storage::projects;

const NOW: Timestamp = Timestamp::from_millis(100_000_000_000);

fn terms(label: &str, address: &str, scope: EgressScope) -> EgressProxyTerms {
    EgressProxyTerms {
        label: label.to_owned(),
        address: ProxyAddress::parse(address).unwrap(),
        scope,
    }
}

#[sqlx::test]
async fn a_proxy_is_changed_removed_and_restored_and_no_credential_is_audited(pool: SqlitePool) {
    let db = Db::from_pool(pool);
    let mut tx = db.begin().await.unwrap();
    let data_keys = db.data_keys.load(&mut tx).await.unwrap();
    let act = act(&mut tx, NOW).await;
    let project = projects::find_or_insert(&mut tx, "team", &act)
        .await
        .unwrap();
    let one = terms(
        "one",
        "http://user:pass-word@proxy:3128",
        EgressScope::Projects(vec![project]),
    );

    let id = insert(&mut tx, &data_keys, &one, &act)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(insert(&mut tx, &data_keys, &one, &act).await.unwrap(), None);
    let found = find_in(&mut tx, &data_keys, id).await.unwrap().proxy;
    assert_eq!(EgressProxyTerms::of(&found), one);
    let tags = EgressScope::Tags(vec!["eu".to_owned()]);
    let changed = terms("two", "socks5://user:pass-other@proxy:1080", tags);
    assert!(
        update(&mut tx, &data_keys, &found, &changed, &act)
            .await
            .unwrap()
    );
    update_enabled(&mut tx, id, false, &act).await.unwrap();
    let found = find_in(&mut tx, &data_keys, id).await.unwrap().proxy;
    assert_eq!(
        (EgressProxyTerms::of(&found), found.enabled),
        (changed, false)
    );
    delete(&mut tx, &found, &act).await.unwrap();
    let gone = find_in(&mut tx, &data_keys, id)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(gone, format!("egress proxy {id} not found"));
    assert!(restore(&mut tx, id, &act).await.unwrap());
    delete(&mut tx, &found, &act).await.unwrap();
    let two = terms("two", "http://proxy:1", EgressScope::All);
    insert(&mut tx, &data_keys, &two, &act)
        .await
        .unwrap()
        .unwrap();
    assert!(
        !restore(&mut tx, id, &act).await.unwrap(),
        "the label is taken"
    );
    wipe_removed(&mut *tx, NOW + Duration::from_millis(1))
        .await
        .unwrap();
    let kept = sqlx::query_scalar!("SELECT count(*) FROM egress_proxies WHERE credential <> ''");
    assert_eq!(kept.fetch_one(&mut *tx).await.unwrap(), 0);

    let changes = describe_changes(&mut tx).await.join("\n");
    assert!(changes.contains("http://…@proxy:3128"), "{changes}");
    assert!(!changes.contains("pass-"), "{changes}");
}

#[sqlx::test]
async fn a_state_of_the_server_never_replaces_a_newer_reset(pool: SqlitePool) {
    let db = Db::from_pool(pool);
    let mut tx = db.begin().await.unwrap();
    let data_keys = db.data_keys.load(&mut tx).await.unwrap();
    let act = act(&mut tx, NOW).await;
    let one = terms("one", "http://proxy:3128", EgressScope::All);
    let id = insert(&mut tx, &data_keys, &one, &act)
        .await
        .unwrap()
        .unwrap();
    let evidence = Evidence {
        status: None,
        message: "refused".to_owned(),
        request_id: RequestId(1),
    };
    let broken_at = |since| {
        let working = EgressCondition::working(since);
        working
            .after_failures(2, Rule::ConnectFailed, since)
            .unwrap()
    };

    let older = broken_at(NOW - Duration::from_millis(1));
    update_condition(&mut *tx, id, &older, &evidence)
        .await
        .unwrap();
    let found = find_in(&mut tx, &data_keys, id).await.unwrap();
    assert_eq!(found.proxy.condition.state, EgressState::Untested);
    update_condition(&mut *tx, id, &broken_at(NOW), &evidence)
        .await
        .unwrap();
    let found = find_in(&mut tx, &data_keys, id).await.unwrap();
    assert_eq!(found.proxy.condition, broken_at(NOW));
    assert_eq!(found.state_message.as_deref(), Some("refused"));
    clear_state(&mut tx, &found.proxy, &act).await.unwrap();
    let found = find_in(&mut tx, &data_keys, id).await.unwrap();
    assert_eq!(found.proxy.condition, EgressCondition::untested(NOW));
}
