//! Acts that can be undone: which they are, and undoing one. The audit page, the API and the command share it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{Sqlite, SqliteExecutor, Transaction};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::storage::alert_targets::AlertTargetId;
use crate::storage::audit::{Act, Action, Subject};
use crate::storage::error::{Error, Result, Thing};
use crate::storage::upstream_keys::removal::{self, SECRET_KEPT};
use crate::storage::upstream_keys::{states, undo_attributes};
use crate::storage::{alert_targets, client_keys, egress_proxies, projects, settings};

/// How long an act can be undone: as long as the secrets of removed keys are kept.
pub const UNDO_PERIOD: Duration = SECRET_KEPT;

/// An act whose changes are still as it left them, at least in part; the names are those of the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UndoableAct {
    /// The id of its first change in the audit.
    pub id: i64,
    pub at: Timestamp,
    pub actor: String,
    pub address: Option<String>,
    pub action: Action,
    pub subject: Subject,
    /// The name of its first subject.
    pub name: String,
    /// The number of its changes.
    pub changes: i64,
    /// The number that its changes share.
    pub revision: i64,
}

impl UndoableAct {
    /// The number of its changes.
    pub fn count(&self) -> usize {
        usize::try_from(self.changes).unwrap_or(0)
    }
}

/// The result of undoing an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UndoneAct {
    /// The act that was undone.
    pub id: i64,
    /// How many of its changes were undone.
    pub undone: usize,
}

/// A query with the changes `d` that are still as their act left them: one definition for the list and for undoing.
macro_rules! query_changes_as_left {
    ($row:ident, $begin:literal, $end:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            $row,
            $begin
                + r#"
            FROM audit_log AS d
            LEFT JOIN upstream_keys AS u ON d.subject = 'upstream_key' AND u.id = d.subject_id
            LEFT JOIN client_keys AS k ON d.subject = 'client_key' AND k.id = d.subject_id
            LEFT JOIN projects AS p ON d.subject = 'project' AND p.id = d.subject_id
            LEFT JOIN alert_targets AS t ON d.subject = 'alert_target' AND t.id = d.subject_id
            LEFT JOIN egress_proxies AS e ON d.subject = 'egress_proxy' AND e.id = d.subject_id
            LEFT JOIN settings AS s ON d.subject = 'setting' AND s.name = d.name
            WHERE CASE
                WHEN d.subject = 'upstream_key' AND d.action = 'delete'
                    THEN u.removed_at_ms = d.at_ms AND u.secret IS NOT NULL
                WHEN d.subject = 'upstream_key' AND d.action IN ('enable', 'disable')
                    THEN u.removed_at_ms IS NULL AND u.enabled = (d.action = 'enable')
                        AND json_extract(d.before, '$.enabled') <> u.enabled
                WHEN d.subject = 'upstream_key' AND d.action = 'update'
                    THEN u.removed_at_ms IS NULL AND u.revision = d.revision
                WHEN d.subject = 'client_key' AND d.action = 'delete'
                    THEN k.removed_at_ms = d.at_ms
                WHEN d.subject = 'client_key' AND d.action IN ('enable', 'disable')
                    THEN k.removed_at_ms IS NULL AND k.enabled = (d.action = 'enable')
                WHEN d.subject = 'client_key' AND d.action = 'update'
                    THEN k.removed_at_ms IS NULL AND k.revision = d.revision
                WHEN d.subject = 'project' AND d.action = 'update'
                    THEN p.billing = json_extract(d.after, '$.billing')
                WHEN d.subject = 'alert_target' AND d.action IN ('enable', 'disable')
                    THEN t.enabled = (d.action = 'enable')
                WHEN d.subject = 'egress_proxy' AND d.action = 'delete'
                    THEN e.removed_at_ms = d.at_ms AND e.credential IS NOT NULL AND NOT EXISTS (
                        SELECT 1 FROM egress_proxies AS same WHERE same.label = e.label AND same.removed_at_ms IS NULL
                    )
                WHEN d.subject = 'egress_proxy' AND d.action IN ('enable', 'disable')
                    THEN e.removed_at_ms IS NULL AND e.enabled = (d.action = 'enable')
                WHEN d.subject = 'setting' AND d.action = 'update'
                    THEN s.value IS json_extract(d.after, '$.value')
                ELSE false
            END AND d.revision =
            "#
                + $end,
            $($argument),*
        )
    };
}

/// The acts that can be undone at `now`, newest first.
pub async fn list(
    db: impl SqliteExecutor<'_>,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<UndoableAct>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    list_from(db, now, None, None, limit).await
}

/// The acts with these revisions, both inclusive, that can be undone at `now`, newest first.
pub async fn list_of_revisions(
    db: impl SqliteExecutor<'_>,
    now: Timestamp,
    revisions: (i64, i64),
) -> Result<Vec<UndoableAct>> {
    list_from(db, now, None, Some(revisions), i64::MAX).await
}

/// The act with this id, if it can be undone at `now`.
pub async fn find(db: impl SqliteExecutor<'_>, id: i64, now: Timestamp) -> Result<UndoableAct> {
    let found = list_from(db, now, Some(id), None, 1).await?.pop();
    found.ok_or_else(|| Error::NotFound(Thing::UndoableAct, id.to_string()))
}

/// The one with this id, those with these revisions, or all.
async fn list_from(
    db: impl SqliteExecutor<'_>,
    now: Timestamp,
    id: Option<i64>,
    revisions: Option<(i64, i64)>,
    limit: i64,
) -> Result<Vec<UndoableAct>> {
    let since = now - UNDO_PERIOD;
    let (from, to) = revisions.unwrap_or((1, i64::MAX));
    let acts = query_changes_as_left!(
        UndoableAct,
        r#"
        SELECT
            a.id AS "id!", a.at_ms AS "at: Timestamp", a.actor, c.address, a.action AS "action: Action",
            a.subject AS "subject: Subject", c.name, a.changes, a.revision
        FROM audit_acts AS a
        JOIN audit_log AS c ON c.id = a.id
        WHERE a.at_ms > ?1 AND (?2 IS NULL OR a.id = ?2) AND a.revision BETWEEN ?4 AND ?5 AND EXISTS (
            SELECT 1
        "#,
        " a.revision AND d.subject = a.subject AND d.action = a.action)
        ORDER BY a.id DESC
        LIMIT ?3",
        since,
        id,
        limit,
        from,
        to
    );
    Ok(acts.fetch_all(db).await?)
}

/// A change to undo.
struct ChangedSubject {
    /// `None`: a setting, which has no id.
    subject_id: Option<i64>,
    /// The values that it replaced, as JSON.
    before: Option<String>,
}

/// Undoes what is still as the act left it.
pub async fn undo(tx: &mut Transaction<'_, Sqlite>, id: i64, act: &Act) -> Result<UndoneAct> {
    let undone = find(&mut **tx, id, act.now).await?;
    let changed = query_changes_as_left!(
        ChangedSubject,
        "SELECT d.subject_id, d.before",
        " ?1 AND d.subject = ?2 AND d.action = ?3 ORDER BY d.id",
        undone.revision,
        undone.subject,
        undone.action
    );
    let changed = changed.fetch_all(&mut **tx).await?;
    let ids = changed.iter().filter_map(|changed| changed.subject_id);
    let befores = changed.iter().filter_map(|changed| {
        let before = serde_json::from_str::<Value>(changed.before.as_deref()?);
        Some((changed.subject_id?, before.ok()?))
    });
    // The opposite of a deletion, or of a switch.
    let enabled = undone.action == Action::Disable;
    let mut count = changed.len();
    match (undone.subject, undone.action) {
        (Subject::Setting, _) => count = settings::undo(tx, undone.revision, act).await?.len(),
        (Subject::UpstreamKey, Action::Delete) => {
            let ids: Vec<_> = ids.map(UpstreamKeyId).collect();
            removal::restore(tx, &ids, act).await?;
        }
        (Subject::UpstreamKey, Action::Update) => {
            count = 0;
            for (id, before) in befores {
                let id = UpstreamKeyId(id);
                count += usize::from(undo_attributes::undo(tx, id, &before, act).await?);
            }
        }
        (Subject::UpstreamKey, _) => {
            let ids: Vec<_> = ids.map(UpstreamKeyId).collect();
            states::update_enabled(tx, &ids, enabled, act).await?;
        }
        (Subject::ClientKey, Action::Delete) => {
            for id in ids {
                client_keys::change::restore(tx, ClientKeyId(id), act).await?;
            }
        }
        (Subject::ClientKey, Action::Update) => {
            count = 0;
            for (id, before) in befores {
                let id = ClientKeyId(id);
                let is_undone = client_keys::change::undo_update(tx, id, &before, act).await?;
                count += usize::from(is_undone);
            }
        }
        (Subject::ClientKey, _) => {
            for id in ids {
                client_keys::update_enabled(tx, ClientKeyId(id), enabled, act).await?;
            }
        }
        (Subject::Project, _) => {
            for (id, before) in befores {
                let billing = before["billing"].as_str().map(str::parse);
                if let Some(Ok(billing)) = billing {
                    projects::update_billing(tx, ProjectId(id), billing, act).await?;
                }
            }
        }
        (Subject::AlertTarget, _) => {
            for id in ids {
                alert_targets::update_enabled(tx, AlertTargetId(id), enabled, act).await?;
            }
        }
        (Subject::EgressProxy, Action::Delete) => {
            for id in ids.map(EgressProxyId) {
                egress_proxies::restore(tx, id, act).await?;
            }
        }
        (Subject::EgressProxy, _) => {
            for id in ids.map(EgressProxyId) {
                egress_proxies::update_enabled(tx, id, enabled, act).await?;
            }
        }
        (
            Subject::Admin
            | Subject::Backup
            | Subject::RequestLog
            | Subject::RequestBodies
            | Subject::ApiToken
            | Subject::MasterKey,
            _,
        ) => count = 0,
    }
    if count == 0 {
        return Err(Error::NotFound(Thing::UndoableAct, id.to_string()));
    }
    Ok(UndoneAct { id, undone: count })
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::pool::keys::upstream_key::KeyAttributes;
    use crate::pool::secret::Secret;
    use crate::storage::audit::tests::act;
    use crate::storage::client_keys::NewClientKey;
    use crate::storage::db::Db;
    use crate::storage::installation;
    use crate::storage::upstream_keys::{self, InsertedKey};

    const NOW: Timestamp = Timestamp::from_millis(100_000_000_000);

    struct Changes {
        db: Db,
        upstream: Vec<UpstreamKeyId>,
        client: ClientKeyId,
    }

    impl Changes {
        async fn begin(pool: SqlitePool) -> Self {
            let db = Db::from_pool(pool);
            let mut tx = db.begin().await.unwrap();
            let act = act(&mut tx, NOW).await;
            let keys = installation::keys(&mut tx, &db.data_keys).await.unwrap();
            let secret = Secret::new("client-secret");
            let mut upstream = Vec::new();
            for secret in ["AIza-1", "AIza-2", "AIza-3"] {
                let (secret, attributes) = (Secret::new(secret), KeyAttributes::default());
                let inserted =
                    upstream_keys::insert(&mut tx, &keys, &secret, &attributes, false, &act);
                match inserted.await.unwrap() {
                    InsertedKey::New(id) => upstream.push(id),
                    other => panic!("{other:?}"),
                }
            }
            let key = NewClientKey {
                name: "notebook",
                note: "",
                secret: &secret,
                expires_at: None,
            };
            let client = client_keys::insert(&mut tx, &keys.hash_key, &key, &act).await;
            let client = client.unwrap().unwrap();
            tx.commit().await.unwrap();
            Self {
                db,
                upstream,
                client,
            }
        }

        async fn make(&self, change: impl AsyncFnOnce(&mut Transaction<'_, Sqlite>, &Act)) {
            let mut tx = self.db.begin().await.unwrap();
            let act = act(&mut tx, NOW).await;
            change(&mut tx, &act).await;
            tx.commit().await.unwrap();
        }

        async fn undo(&self, id: i64) -> Result<usize> {
            let mut tx = self.db.begin().await.unwrap();
            let act = act(&mut tx, NOW).await;
            let undone = undo(&mut tx, id, &act).await?;
            tx.commit().await.unwrap();
            Ok(undone.undone)
        }

        /// `delete upstream_key 2`, newest first.
        async fn listed(&self, now: Timestamp) -> Vec<(i64, String)> {
            let acts = list(&self.db.readers, now, 10).await.unwrap();
            let line = |act: UndoableAct| {
                let text = format!(
                    "{} {} {}",
                    act.action.name(),
                    act.subject.name(),
                    act.changes
                );
                (act.id, text)
            };
            acts.into_iter().map(line).collect()
        }
    }

    #[sqlx::test]
    async fn acts_are_listed_for_a_day_and_undone_once(pool: SqlitePool) {
        let changes = Changes::begin(pool).await;
        assert_eq!(changes.listed(NOW).await, []);
        let two = changes.upstream[..2].to_vec();
        changes
            .make(async |tx, act| {
                removal::delete(tx, &two, act).await.unwrap();
            })
            .await;
        changes
            .make(async |tx, act| {
                let disabled = client_keys::update_enabled(tx, changes.client, false, act).await;
                disabled.unwrap();
            })
            .await;
        changes
            .make(async |tx, act| {
                let third = &changes.upstream[2..];
                let disabled = states::update_enabled(tx, third, false, act).await;
                disabled.unwrap();
            })
            .await;
        changes
            .make(async |tx, act| {
                for name in ["max_attempts", "max_keys_per_request"] {
                    let set = settings::change(tx, name, Some("7"), act).await;
                    set.unwrap();
                }
            })
            .await;

        let listed = changes.listed(NOW).await;

        let texts: Vec<_> = listed.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "update setting 2",
                "disable upstream_key 1",
                "disable client_key 1",
                "delete upstream_key 2",
            ]
        );
        assert_eq!(changes.listed(NOW + UNDO_PERIOD).await, []);
        for ((id, text), count) in listed.iter().zip([2, 1, 1, 2]) {
            assert_eq!(changes.undo(*id).await.unwrap(), count, "{text}");
            let again = changes.undo(*id).await;
            assert!(
                matches!(again, Err(Error::NotFound(Thing::UndoableAct, _))),
                "{text}: {again:?}"
            );
        }
        assert_eq!(settings::list(&changes.db.readers).await.unwrap(), []);
        let mut tx = changes.db.begin().await.unwrap();
        let enabled = upstream_keys::list_ids(&mut tx, Some(true)).await.unwrap();
        assert_eq!(enabled, changes.upstream);
    }

    #[sqlx::test]
    async fn what_was_changed_again_stays(pool: SqlitePool) {
        let changes = Changes::begin(pool).await;
        changes
            .make(async |tx, act| {
                for name in ["max_attempts", "max_keys_per_request"] {
                    let set = settings::change(tx, name, Some("7"), act).await;
                    set.unwrap();
                }
            })
            .await;
        let all = changes.upstream.clone();
        for ids in [&all[..], &all[..1]] {
            changes
                .make(async |tx, act| {
                    removal::delete(tx, ids, act).await.unwrap();
                    // The first key is deleted by the second act too.
                    removal::restore(tx, &ids[..1], act).await.unwrap();
                })
                .await;
        }
        changes
            .make(async |tx, act| {
                let set = settings::change(tx, "max_attempts", Some("9"), act).await;
                set.unwrap();
            })
            .await;

        let listed = changes.listed(NOW).await;
        let (deletion, _) = listed[1];
        let (setting, _) = listed[2];

        assert_eq!(listed[1].1, "delete upstream_key 3", "{listed:?}");
        assert_eq!(changes.undo(deletion).await.unwrap(), 2);
        assert_eq!(changes.undo(setting).await.unwrap(), 1);
        let rows = settings::list(&changes.db.readers).await.unwrap();
        assert_eq!(rows, [("max_attempts".to_owned(), "9".to_owned())]);
    }

    #[sqlx::test]
    async fn a_key_whose_secret_is_wiped_is_not_restored(pool: SqlitePool) {
        let changes = Changes::begin(pool).await;
        let ids = changes.upstream.clone();
        changes
            .make(async |tx, act| removal::delete(tx, &ids, act).await.unwrap())
            .await;
        assert_eq!(changes.listed(NOW).await.len(), 1);

        removal::wipe_removed(&changes.db.writer, NOW + UNDO_PERIOD)
            .await
            .unwrap();

        assert_eq!(changes.listed(NOW).await, []);
    }
}
