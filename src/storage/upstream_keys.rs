//! Upstream keys: adding and changing them, and the ones that a running server loads.

pub mod history;
pub mod listed;
pub mod removal;
pub mod search;
pub mod states;

use serde_json::json;
use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::clock::Timestamp;
use crate::pool::clients::client_key::HashKey;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::{
    Billing, KeyAttributes, KeyCondition, KeyState, ProjectId, UpstreamKey, UpstreamKeyId,
    default_label,
};
use crate::pool::request_id::RequestId;
use crate::pool::secret::Secret;
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::error::{Error, Result};
use crate::storage::json_columns::{JsonTexts, json_array};
use crate::storage::projects;

/// The result of adding a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertedKey {
    New(UpstreamKeyId),
    /// A removed key was restored.
    Restored(UpstreamKeyId),
    Existing(UpstreamKeyId),
}

/// The answer on which a key's state or a cooldown is based.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub status: Option<u16>,
    /// Redacted.
    pub message: String,
    pub request_id: RequestId,
}

/// Adds a key; without a project in a new one, without a label with one made of its last characters.
///
/// A removed key is restored if `restore` is set; otherwise it counts as existing and stays removed.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    hash_key: &HashKey,
    secret: &Secret,
    attributes: &KeyAttributes,
    restore: bool,
    act: &Act,
) -> Result<InsertedKey> {
    let fingerprint = hash_key.hash(secret.expose()).to_vec();
    let known = sqlx::query!(
        r#"
        SELECT id AS "id!: UpstreamKeyId", label, removed_at_ms IS NOT NULL AS "removed!: bool"
        FROM upstream_keys
        WHERE fingerprint = ?1
        "#,
        fingerprint,
    );
    let (text, last4) = (secret.expose(), secret.last4());
    if let Some(known) = known.fetch_optional(&mut **tx).await? {
        if !(known.removed && restore) {
            return Ok(InsertedKey::Existing(known.id));
        }
        let restored = sqlx::query!(
            "
            UPDATE upstream_keys
            SET secret = ?2, enabled = 1, removed_at_ms = NULL, revision = ?3
            WHERE id = ?1
            ",
            known.id,
            text,
            act.revision,
        );
        restored.execute(&mut **tx).await?;
        reset_states(tx, &json_array(&[known.id]), act).await?;
        let values = (None, Some(json!({ "last4": last4 })));
        let subject = (Subject::UpstreamKey, Some(known.id.0));
        audit::insert(tx, act, Action::Restore, subject, &known.label, values).await?;
        update(tx, known.id, attributes, act).await?;
        return Ok(InsertedKey::Restored(known.id));
    }
    let label = attributes.label.clone();
    let label = label.unwrap_or_else(|| default_label(secret));
    let project_id = match &attributes.project {
        Some(called) => projects::find_or_insert(tx, called, act).await?,
        None => projects::insert(tx, act).await?,
    };
    if let Some(billing) = attributes.billing {
        projects::update_billing(tx, project_id, billing, act).await?;
    }
    let tags = attributes.tags.as_deref().unwrap_or_default();
    let tags_json = json_array(tags);
    let priority = attributes.priority.unwrap_or(0);
    let weight = attributes.weight.unwrap_or(1);
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO upstream_keys (
            project_id, label, secret, last4, fingerprint, priority, weight, tags, state_since_ms, created_at_ms,
            revision
        )
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)
        RETURNING id AS "id!: UpstreamKeyId"
        "#,
        project_id,
        label,
        text,
        last4,
        fingerprint,
        priority,
        weight,
        tags_json,
        act.now,
        act.revision,
    );
    let id = id.fetch_one(&mut **tx).await?;
    let after = json!({
        "label": label, "last4": last4, "project": attributes.project, "priority": priority, "weight": weight,
        "tags": tags,
    });
    let (subject, values) = ((Subject::UpstreamKey, Some(id.0)), (None, Some(after)));
    audit::insert(tx, act, Action::Create, subject, &label, values).await?;
    Ok(InsertedKey::New(id))
}

/// Whether [`update`] would change anything of the key.
pub async fn differs(
    tx: &mut Transaction<'_, Sqlite>,
    id: UpstreamKeyId,
    attributes: &KeyAttributes,
) -> Result<bool> {
    let known = find_attributes(tx, id).await?;
    would_change(tx, &known, attributes).await
}

/// The attributes of a key in use.
struct CurrentAttributes {
    label: String,
    priority: i64,
    weight: u32,
    tags: Vec<String>,
    project_id: ProjectId,
    /// The project's name, else its number.
    project: Option<String>,
    billing: Billing,
}

async fn find_attributes(
    tx: &mut Transaction<'_, Sqlite>,
    id: UpstreamKeyId,
) -> Result<CurrentAttributes> {
    let attributes = sqlx::query_as!(
        CurrentAttributes,
        r#"
        SELECT
            k.label, k.priority, k.weight AS "weight: u32", k.tags AS "tags: JsonTexts",
            k.project_id AS "project_id: ProjectId", coalesce(p.name, p.number) AS "project?: String",
            p.billing AS "billing: Billing"
        FROM upstream_keys AS k
        JOIN projects AS p ON p.id = k.project_id
        WHERE k.id = ?1 AND k.removed_at_ms IS NULL
        "#,
        id,
    );
    let attributes = attributes.fetch_optional(&mut **tx).await?;
    attributes.ok_or_else(|| missing(id))
}

async fn would_change(
    tx: &mut Transaction<'_, Sqlite>,
    known: &CurrentAttributes,
    attributes: &KeyAttributes,
) -> Result<bool> {
    let in_another = match &attributes.project {
        Some(called) => projects::find(tx, called).await? != Some(known.project_id),
        None => false,
    };
    let known = KeyAttributes {
        label: Some(known.label.clone()),
        project: attributes.project.clone(),
        billing: Some(known.billing),
        priority: Some(known.priority),
        weight: Some(known.weight),
        tags: Some(known.tags.clone()),
    };
    Ok(in_another || attributes.or(&known) != known)
}

/// Applies attributes to a key and its project. Returns whether that changed anything.
pub async fn update(
    tx: &mut Transaction<'_, Sqlite>,
    id: UpstreamKeyId,
    attributes: &KeyAttributes,
    act: &Act,
) -> Result<bool> {
    let known = find_attributes(tx, id).await?;
    if !would_change(tx, &known, attributes).await? {
        return Ok(false);
    }
    let label = attributes.label.as_ref().unwrap_or(&known.label);
    let priority = attributes.priority.unwrap_or(known.priority);
    let weight = attributes.weight.unwrap_or(known.weight);
    let tags = attributes.tags.as_ref().unwrap_or(&known.tags);
    let tags_json = json_array(tags);
    let updated = sqlx::query!(
        "
        UPDATE upstream_keys
        SET label = ?2, priority = ?3, weight = ?4, tags = ?5, revision = ?6
        WHERE id = ?1
        ",
        id,
        label,
        priority,
        weight,
        tags_json,
        act.revision,
    );
    updated.execute(&mut **tx).await?;
    let mut project_id = known.project_id;
    if let Some(called) = &attributes.project {
        project_id = projects::assign(tx, id, called, act).await?;
    }
    if let Some(billing) = attributes.billing {
        projects::update_billing(tx, project_id, billing, act).await?;
    }
    let is_moved = project_id != known.project_id;
    let project = attributes.project.as_ref().filter(|_| is_moved);
    let project = project.or(known.project.as_ref());
    let before = json!({
        "label": known.label, "project": known.project, "priority": known.priority, "weight": known.weight,
        "tags": known.tags,
    });
    let after = json!({
        "label": label, "project": project, "priority": priority, "weight": weight, "tags": tags,
    });
    if let Some((before, after)) = audit::difference(before, after) {
        let values = (Some(before), Some(after));
        let subject = (Subject::UpstreamKey, Some(id.0));
        audit::insert(tx, act, Action::Update, subject, &known.label, values).await?;
    }
    Ok(true)
}

/// How many other keys share a project with one of these.
pub async fn count_keys_sharing_projects(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
) -> Result<u32> {
    let ids = json_array(ids);
    let count = sqlx::query_scalar!(
        r#"
        WITH these AS (SELECT value AS id FROM json_each(?1))
        SELECT count(*) AS "count!: u32"
        FROM upstream_keys
        WHERE removed_at_ms IS NULL AND id NOT IN (SELECT id FROM these)
            AND project_id IN (SELECT project_id FROM upstream_keys WHERE id IN (SELECT id FROM these))
        "#,
        ids,
    );
    Ok(count.fetch_one(&mut **tx).await?)
}

/// Keys that changed after `revision`, or whose projects did: the keys in use, and the ids of the removed ones.
pub async fn list_changed(
    db: impl SqliteExecutor<'_>,
    revision: i64,
) -> Result<(Vec<UpstreamKey>, Vec<UpstreamKeyId>)> {
    let rows = sqlx::query!(
        r#"
        SELECT
            k.id AS "id!: UpstreamKeyId", k.project_id AS "project_id: ProjectId",
            coalesce(p.name, p.number) AS "project?: String", p.number, p.billing AS "billing: Billing", k.label, k.tags,
            k.secret, k.enabled AS "enabled: bool", k.priority, k.weight AS "weight: u32",
            k.state AS "state: KeyState", k.state_rule, k.state_since_ms AS "since: Timestamp", k.state_until_ms AS "until: Timestamp",
            k.next_check_at_ms AS "next_check: Timestamp", k.failed_checks AS "failed_checks: u32",
            k.state_reset_revision, k.last_used_at_ms AS "last_used_at: Timestamp",
            k.checked_at_ms AS "checked_at: Timestamp", k.removed_at_ms
        FROM upstream_keys AS k
        JOIN projects AS p ON p.id = k.project_id
        WHERE k.id IN (
            SELECT id
            FROM upstream_keys
            WHERE revision > ?1
            UNION
            SELECT changed.id
            FROM projects
            JOIN upstream_keys AS changed ON changed.project_id = projects.id
            WHERE projects.revision > ?1
        )
        ORDER BY k.id
        "#,
        revision,
    );
    let (mut keys, mut removed) = (Vec::new(), Vec::new());
    for row in rows.fetch_all(db).await? {
        let (Some(secret), None) = (row.secret, row.removed_at_ms) else {
            removed.push(row.id);
            continue;
        };
        keys.push(UpstreamKey {
            id: row.id,
            project_id: row.project_id,
            project: row.project,
            project_number: row.number,
            billing: row.billing,
            label: row.label,
            tags: serde_json::from_str(&row.tags).unwrap_or_default(),
            secret: Secret::new(&secret),
            enabled: row.enabled,
            priority: row.priority,
            weight: row.weight,
            condition: KeyCondition {
                state: row.state,
                rule: row.state_rule.as_deref().and_then(Rule::named),
                since: row.since,
                until: row.until,
                next_check: row.next_check,
                failed_checks: row.failed_checks,
            },
            state_reset_revision: row.state_reset_revision,
            last_used_at: row.last_used_at,
            checked_at: row.checked_at,
        });
    }
    Ok((keys, removed))
}

/// The ids of the keys in use: all, or only the enabled or disabled ones.
pub async fn list_ids(
    tx: &mut Transaction<'_, Sqlite>,
    enabled: Option<bool>,
) -> Result<Vec<UpstreamKeyId>> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!: UpstreamKeyId"
        FROM upstream_keys
        WHERE removed_at_ms IS NULL AND (?1 IS NULL OR enabled = ?1)
        ORDER BY id
        "#,
        enabled,
    );
    Ok(ids.fetch_all(&mut **tx).await?)
}

/// The subset of these keys that is in use.
pub async fn list_in_use(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
) -> Result<Vec<UpstreamKeyId>> {
    let list = json_array(ids);
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!: UpstreamKeyId"
        FROM upstream_keys
        WHERE id IN (SELECT value FROM json_each(?1)) AND removed_at_ms IS NULL
        ORDER BY id
        "#,
        list,
    );
    Ok(ids.fetch_all(&mut **tx).await?)
}

/// The tags of a key in use.
pub async fn tags(tx: &mut Transaction<'_, Sqlite>, id: UpstreamKeyId) -> Result<Vec<String>> {
    Ok(find_attributes(tx, id).await?.tags)
}

/// Ready keys too: a running server may have a new state that is not written yet.
pub async fn reset_states(tx: &mut Transaction<'_, Sqlite>, list: &str, act: &Act) -> Result<()> {
    let reset = sqlx::query!(
        "
        UPDATE upstream_keys
        SET
            state = 'ready', state_rule = NULL, state_status = NULL, state_message = NULL, state_request_id = NULL,
            state_since_ms = ?2, state_until_ms = NULL, next_check_at_ms = NULL, failed_checks = 0,
            state_reset_revision = ?3, revision = ?3
        WHERE id IN (SELECT value FROM json_each(?1))
        ",
        list,
        act.now,
        act.revision,
    );
    reset.execute(&mut **tx).await?;
    Ok(())
}

/// The ids as JSON for statements; fails if one of them is not a key in use.
pub async fn json_ids_in_use(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[UpstreamKeyId],
) -> Result<String> {
    let list = json_array(ids);
    let unknown = sqlx::query_scalar!(
        r#"
        SELECT CAST(j.value AS INTEGER) AS "secret!: UpstreamKeyId"
        FROM json_each(?1) AS j
        LEFT JOIN upstream_keys AS k ON k.id = j.value AND k.removed_at_ms IS NULL
        WHERE k.id IS NULL
        LIMIT 1
        "#,
        list,
    );
    match unknown.fetch_optional(&mut **tx).await? {
        Some(id) => Err(missing(id)),
        None => Ok(list),
    }
}

fn missing(id: UpstreamKeyId) -> Error {
    Error::NotFound(format!("upstream key {}", id.0))
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::audit::tests::{act, describe_changes};
    use crate::storage::db::Db;
    use crate::storage::installation;
    use crate::storage::upstream_keys::listed::{ListedUpstreamKey, list};
    use crate::storage::upstream_keys::removal::{
        RestoreCounts, SecretStatus, delete, find_secret_statuses, list_removed_by, restore,
        wipe_removed,
    };
    use crate::storage::upstream_keys::states::{
        clear_states, update_checked_condition, update_condition, update_enabled,
    };

    const NOW: Timestamp = Timestamp::from_millis(1_000);
    const LATER: Timestamp = Timestamp::from_millis(5_000);

    async fn add(tx: &mut Transaction<'_, Sqlite>, secret: &str, restore: bool) -> InsertedKey {
        let hash_key = installation::hash_key(tx).await.unwrap();
        let secret = Secret::new(secret);
        let nothing = KeyAttributes::default();
        let act = act(tx, NOW).await;
        insert(tx, &hash_key, &secret, &nothing, restore, &act)
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

        let (keys, removed) = list_changed(&mut *tx, 0).await.unwrap();
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

        let (keys, removed) = list_changed(&mut *tx, last.revision - 1).await.unwrap();

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
        let hash_key = installation::hash_key(&mut tx).await.unwrap();
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
            insert(&mut tx, &hash_key, secret, &said, true, &first)
                .await
                .unwrap();
        }
        let id = UpstreamKeyId(1);
        let second = act(&mut tx, NOW).await;
        assert!(!update(&mut tx, id, &said, &second).await.unwrap());
        let changed = list_changed(&mut *tx, first.revision).await.unwrap();
        assert!(changed.0.is_empty());

        let news = KeyAttributes {
            billing: Some(Billing::Paid),
            weight: Some(4),
            ..KeyAttributes::default()
        };
        assert!(update(&mut tx, id, &news, &second).await.unwrap());

        let (keys, _) = list_changed(&mut *tx, first.revision).await.unwrap();
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
        insert(&mut tx, &hash_key, &secrets[0], &nothing, true, &second)
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
            r#"update upstream_key key-01: {"label":"key-01","project":null} → {"label":"first","project":"7"}"#,
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
        for (actor, expected) in [("cli", &ids[1..]), ("admin:ann", &[])] {
            let acts = (late.revision, late.revision);
            let removed = list_removed_by(&mut tx, actor, acts).await.unwrap();
            assert_eq!(removed, expected);
        }
        let hash_key = installation::hash_key(&mut tx).await.unwrap();
        let secrets = ["secret-0003", "secret-0009", "secret-0002"].map(Secret::new);
        let known = find_secret_statuses(&mut *tx, &hash_key, secrets.iter())
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
        let (heard, _) = list_changed(&mut *tx, late.revision).await.unwrap();
        assert_eq!(heard[0].secret.expose(), "secret-0002");
        let record_change = describe_changes(&mut tx).await.pop().unwrap();
        assert!(
            record_change.starts_with("restore upstream_key"),
            "{record_change}"
        );
    }
}
