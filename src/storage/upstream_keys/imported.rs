//! Adds many upstream keys at once with a few statements, because the log waits while they are written.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::json;
use sqlx::{Sqlite, Transaction};

use crate::pool::clients::client_key::HashKey;
use crate::pool::keys::imported_keys::ImportedKey;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId, default_label};
use crate::pool::secret::Secret;
use crate::storage::audit::{self, Act, Action, CreatedSubject, Subject};
use crate::storage::data_keys::DataKeys;
use crate::storage::error::{Error, Result};
use crate::storage::installation::InstallationKeys;
use crate::storage::json_columns::json_array;
use crate::storage::projects;
use crate::storage::upstream_keys::{InsertedKey, differs, place, reset_states, states, update};

/// Keys that are looked up together.
const KEYS_PER_STATEMENT: usize = 1_000;

/// A key of the database with the fingerprint of an added one.
struct KnownKey {
    id: UpstreamKeyId,
    label: String,
    removed: bool,
}

/// A key to insert, as `json_each` reads it.
#[derive(Serialize)]
struct NewRow<'a> {
    id: i64,
    project_id: ProjectId,
    label: &'a str,
    secret: &'a str,
    last4: &'a str,
    fingerprint: &'a str,
    priority: i64,
    weight: u32,
    tags: &'a [String],
}

/// An added key in the audit log.
#[derive(Serialize)]
struct CreatedKey<'a> {
    label: &'a str,
    last4: &'a str,
    project: Option<&'a str>,
    priority: i64,
    weight: u32,
    tags: &'a [String],
}

/// What the row of a key to insert refers to.
struct NewTexts {
    id: i64,
    label: String,
    /// As it is stored.
    secret: String,
    last4: String,
}

/// Adds keys, and returns the result of each, in their order: a key without a project gets a new one, a key without a
/// label one made of its last characters, and a key that the text marks as disabled is added disabled.
///
/// A removed key is restored if `restore` is set; otherwise it counts as existing and stays removed.
pub async fn insert_all(
    tx: &mut Transaction<'_, Sqlite>,
    installation: &InstallationKeys,
    keys: &[ImportedKey],
    restore: bool,
    act: &Act,
) -> Result<Vec<InsertedKey>> {
    let (hash_key, data_keys) = (&installation.hash_key, &installation.data_keys);
    let fingerprints: Vec<String> = keys
        .iter()
        .map(|key| fingerprint(hash_key, &key.secret))
        .collect();
    let known = find_known(tx, &fingerprints).await?;
    let is_new = |fingerprint: &String| !known.contains_key(fingerprint);
    let mut seen = HashSet::new();
    let new: Vec<(&ImportedKey, &str)> = keys
        .iter()
        .zip(&fingerprints)
        .filter(|(_, fingerprint)| is_new(fingerprint) && seen.insert(fingerprint.as_str()))
        .map(|(key, fingerprint)| (key, fingerprint.as_str()))
        .collect();
    let ids = insert_new(tx, data_keys, &new, act).await?;

    let mut inserted = Vec::with_capacity(keys.len());
    let mut disabled = Vec::new();
    let mut reported = HashSet::new();
    for (key, fingerprint) in keys.iter().zip(&fingerprints) {
        let is_first = reported.insert(fingerprint);
        let result = match known.get(fingerprint) {
            Some(known) if is_first && known.removed && restore => {
                restore_key(tx, data_keys, key, known, act).await?
            }
            Some(known) => InsertedKey::Existing(known.id),
            None if is_first => InsertedKey::New(ids[fingerprint]),
            None => InsertedKey::Existing(ids[fingerprint]),
        };
        match result {
            InsertedKey::New(id) | InsertedKey::Restored(id) if key.is_disabled => {
                disabled.push(id);
            }
            InsertedKey::New(_) | InsertedKey::Restored(_) | InsertedKey::Existing(_) => (),
        }
        inserted.push(result);
    }
    if !disabled.is_empty() {
        states::update_enabled(tx, &disabled, false, act).await?;
    }
    Ok(inserted)
}

/// The fingerprint of a secret, in SQLite's hexadecimal form.
pub(super) fn fingerprint(hash_key: &HashKey, secret: &Secret) -> String {
    let hash = hash_key.hash(secret.expose());
    hash.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write;
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// The keys that the database has, by fingerprint.
async fn find_known(
    tx: &mut Transaction<'_, Sqlite>,
    fingerprints: &[String],
) -> Result<HashMap<String, KnownKey>> {
    let fingerprints = json_array(fingerprints);
    let rows = sqlx::query!(
        r#"
        SELECT
            hex(k.fingerprint) AS "fingerprint!: String", k.id AS "id!: UpstreamKeyId", k.label,
            k.removed_at_ms IS NOT NULL AS "removed!: bool"
        FROM json_each(?1) AS wanted
        JOIN upstream_keys AS k ON k.fingerprint = unhex(wanted.value)
        "#,
        fingerprints,
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    let known = rows.into_iter().map(|row| {
        let known = KnownKey {
            id: row.id,
            label: row.label,
            removed: row.removed,
        };
        (row.fingerprint, known)
    });
    Ok(known.collect())
}

/// How many of these keys are in use with attributes that adding them with an update would change.
pub async fn count_differing(
    tx: &mut Transaction<'_, Sqlite>,
    hash_key: &HashKey,
    keys: &[ImportedKey],
) -> Result<usize> {
    let mut count = 0;
    for keys in keys.chunks(KEYS_PER_STATEMENT) {
        let fingerprints = keys.iter().map(|key| fingerprint(hash_key, &key.secret));
        let fingerprints: Vec<String> = fingerprints.collect();
        let known = find_known(tx, &fingerprints).await?;
        for (key, fingerprint) in keys.iter().zip(&fingerprints) {
            let in_use = known.get(fingerprint).filter(|known| !known.removed);
            if let Some(known) = in_use.filter(|_| !key.attributes.is_empty()) {
                count += usize::from(differs(tx, known.id, &key.attributes).await?);
            }
        }
    }
    Ok(count)
}

/// Inserts keys that the database does not have, and returns their ids by fingerprint.
async fn insert_new(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    keys: &[(&ImportedKey, &str)],
    act: &Act,
) -> Result<HashMap<String, UpstreamKeyId>> {
    let projects = find_projects(tx, keys, act).await?;
    // Chosen here, because an encrypted secret is bound to the id of its row.
    let last_id =
        sqlx::query_scalar!(r#"SELECT coalesce(max(id), 0) AS "id!: i64" FROM upstream_keys"#);
    let first_id = last_id.fetch_one(&mut **tx).await? + 1;
    let texts: Vec<NewTexts> = keys
        .iter()
        .zip(first_id..)
        .map(|((key, _), id)| {
            let label = key.attributes.label.clone();
            NewTexts {
                id,
                label: label.unwrap_or_else(|| default_label(&key.secret)),
                secret: data_keys.seal_text(place(&id.to_string()), key.secret.expose()),
                last4: key.secret.last4(),
            }
        })
        .collect();
    let rows: Vec<NewRow<'_>> = keys
        .iter()
        .zip(&texts)
        .zip(projects)
        .map(|(((key, fingerprint), texts), project_id)| NewRow {
            id: texts.id,
            project_id,
            label: &texts.label,
            secret: &texts.secret,
            last4: &texts.last4,
            fingerprint,
            priority: key.attributes.priority.unwrap_or(0),
            weight: key.attributes.weight.unwrap_or(1),
            tags: key.attributes.tags.as_deref().unwrap_or_default(),
        })
        .collect();
    let json_rows = json_array(&rows);
    let data_key_id = data_keys.active();
    // Without `RETURNING`: each row that SQLite returns wakes a task.
    let inserted = sqlx::query!(
        r#"
        INSERT INTO upstream_keys (
            id, project_id, label, secret, data_key_id, last4, fingerprint, priority, weight, tags, state_since_ms,
            created_at_ms, revision
        )
        SELECT
            value ->> 'id', value ->> 'project_id', value ->> 'label', value ->> 'secret', ?4, value ->> 'last4',
            unhex(value ->> 'fingerprint'), value ->> 'priority', value ->> 'weight', value -> 'tags', ?2, ?2, ?3
        FROM json_each(?1)
        ORDER BY key
        "#,
        json_rows,
        act.now,
        act.revision,
        data_key_id,
    );
    inserted.execute(&mut **tx).await?;
    let created: Vec<_> = keys
        .iter()
        .zip(&rows)
        .map(|((key, _), row)| CreatedSubject {
            id: row.id,
            name: row.label,
            after: CreatedKey {
                label: row.label,
                last4: row.last4,
                project: key.attributes.project.as_deref(),
                priority: row.priority,
                weight: row.weight,
                tags: row.tags,
            },
        })
        .collect();
    audit::insert_created(tx, act, Subject::UpstreamKey, &created).await?;
    let ids = keys.iter().zip(&rows);
    Ok(ids
        .map(|((_, fingerprint), row)| ((*fingerprint).to_owned(), UpstreamKeyId(row.id)))
        .collect())
}

/// The project of each key: the named one, inserted if there is none, or a new one. Sets their billing.
async fn find_projects(
    tx: &mut Transaction<'_, Sqlite>,
    keys: &[(&ImportedKey, &str)],
    act: &Act,
) -> Result<Vec<ProjectId>> {
    let attributes = || keys.iter().map(|(key, _)| &key.attributes);
    let unnamed = attributes().filter(|key| key.project.is_none()).count();
    let mut unnamed = projects::insert_unnamed(tx, unnamed, act)
        .await?
        .into_iter();
    let mut by_name = HashMap::new();
    let mut billings = HashMap::new();
    let mut found = Vec::with_capacity(keys.len());
    for attributes in attributes() {
        let id = match &attributes.project {
            None => unnamed
                .next()
                .ok_or(Error::Sqlx(sqlx::Error::RowNotFound))?,
            Some(called) if by_name.contains_key(called) => by_name[called],
            Some(called) => {
                let id = projects::find_or_insert(tx, called, act).await?;
                by_name.insert(called, id);
                id
            }
        };
        billings.extend(attributes.billing.map(|billing| (id, billing)));
        found.push(id);
    }
    // The last one of a project counts.
    for (id, billing) in billings {
        projects::update_billing(tx, id, billing, act).await?;
    }
    Ok(found)
}

async fn restore_key(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    key: &ImportedKey,
    known: &KnownKey,
    act: &Act,
) -> Result<InsertedKey> {
    let text = data_keys.seal_text(place(&known.id.0.to_string()), key.secret.expose());
    let data_key_id = data_keys.active();
    let restored = sqlx::query!(
        "
        UPDATE upstream_keys
        SET secret = ?2, data_key_id = ?3, enabled = 1, removed_at_ms = NULL, revision = ?4
        WHERE id = ?1
        ",
        known.id,
        text,
        data_key_id,
        act.revision,
    );
    restored.execute(&mut **tx).await?;
    reset_states(tx, &json_array(&[known.id]), act).await?;
    let values = (None, Some(json!({ "last4": key.secret.last4() })));
    let subject = (Subject::UpstreamKey, Some(known.id.0));
    audit::insert(tx, act, Action::Restore, subject, &known.label, values).await?;
    update(tx, known.id, &key.attributes, act).await?;
    Ok(InsertedKey::Restored(known.id))
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::clock::Timestamp;
    use crate::pool::keys::upstream_key::{Billing, KeyAttributes};
    use crate::storage::audit::Actor;
    use crate::storage::db::Db;
    use crate::storage::upstream_keys::removal;

    const NOW: Timestamp = Timestamp::from_millis(100_000_000_000);

    fn key(secret: &str, project: Option<&str>, is_disabled: bool) -> ImportedKey {
        ImportedKey {
            attributes: KeyAttributes {
                project: project.map(str::to_owned),
                billing: project.map(|_| Billing::Paid),
                tags: Some(vec!["a \"tag\"".to_owned()]),
                ..KeyAttributes::default()
            },
            is_disabled,
            ..ImportedKey::new(Secret::new(secret), 1)
        }
    }

    #[sqlx::test]
    async fn keys_are_added_together_as_they_would_be_one_by_one(pool: SqlitePool) {
        let db = Db::from_pool(pool);
        let installation = InstallationKeys {
            hash_key: HashKey::new(b"key"),
            data_keys: DataKeys::default(),
        };
        let keys = [
            key("AIza-one-1111", Some("team"), false),
            key("AIza-two-2222", None, true),
            key("AIza-one-1111", Some("other"), false),
            key("AIza-three-33", Some("team"), false),
            key("AIza-four-444", None, false),
        ];

        let mut tx = db.begin().await.unwrap();
        let act = Act::begin(&mut tx, &Actor::cli(), NOW).await.unwrap();
        let inserted = insert_all(&mut tx, &installation, &keys, true, &act).await;
        tx.commit().await.unwrap();

        let inserted = inserted.unwrap();
        let ids: Vec<UpstreamKeyId> = inserted
            .iter()
            .map(|inserted| match inserted {
                InsertedKey::New(id) | InsertedKey::Restored(id) | InsertedKey::Existing(id) => *id,
            })
            .collect();
        assert_eq!(inserted[2], InsertedKey::Existing(ids[0]));
        assert!(
            [0, 1, 3, 4]
                .iter()
                .all(|at| inserted[*at] == InsertedKey::New(ids[*at]))
        );
        let rows = sqlx::query!(
            r#"
            SELECT
                k.secret AS "secret!", k.label, k.last4, k.enabled, k.tags, k.project_id, p.name, p.billing,
                (
                    SELECT count(*)
                    FROM audit_log
                    WHERE subject = 'upstream_key' AND subject_id = k.id AND action = 'create'
                ) AS "created!: i64"
            FROM upstream_keys AS k
            JOIN projects AS p ON p.id = k.project_id
            ORDER BY k.id
            "#,
        );
        let rows = rows.fetch_all(&db.readers).await.unwrap();
        let secrets: Vec<_> = rows.iter().map(|row| row.secret.as_str()).collect();
        assert_eq!(
            secrets,
            [
                "AIza-one-1111",
                "AIza-two-2222",
                "AIza-three-33",
                "AIza-four-444"
            ]
        );
        let enabled: Vec<_> = rows.iter().map(|row| row.enabled).collect();
        assert_eq!(enabled, [1, 0, 1, 1]);
        assert_eq!(
            (rows[0].label.as_str(), rows[0].last4.as_str()),
            ("key-111", "111")
        );
        assert_eq!(rows[0].project_id, rows[2].project_id);
        assert_ne!(rows[1].project_id, rows[3].project_id);
        assert_eq!(rows[0].name.as_deref(), Some("team"));
        assert_eq!(
            (rows[0].billing.as_str(), rows[1].billing.as_str()),
            ("paid", "unknown")
        );
        assert!(
            rows.iter()
                .all(|row| row.tags == r#"["a \"tag\""]"# && row.created == 1)
        );
    }

    #[sqlx::test]
    async fn a_removed_key_is_restored_with_the_new_attributes(pool: SqlitePool) {
        let db = Db::from_pool(pool);
        let installation = InstallationKeys {
            hash_key: HashKey::new(b"key"),
            data_keys: DataKeys::default(),
        };
        let mut tx = db.begin().await.unwrap();
        let act = Act::begin(&mut tx, &Actor::cli(), NOW).await.unwrap();
        let first = [key("AIza-one-1111", None, false)];
        let first = insert_all(&mut tx, &installation, &first, true, &act)
            .await
            .unwrap();
        let InsertedKey::New(id) = first[0] else {
            panic!("{first:?}");
        };
        removal::delete(&mut tx, &[id], &act).await.unwrap();
        let again = [key("AIza-one-1111", Some("team"), true)];

        let kept = insert_all(&mut tx, &installation, &again, false, &act).await;
        let restored = insert_all(&mut tx, &installation, &again, true, &act).await;

        assert_eq!(kept.unwrap(), [InsertedKey::Existing(id)]);
        assert_eq!(restored.unwrap(), [InsertedKey::Restored(id)]);
        let row = sqlx::query!(
            "
            SELECT k.secret, k.enabled, k.removed_at_ms, p.name
            FROM upstream_keys AS k
            JOIN projects AS p ON p.id = k.project_id
            "
        );
        let row = row.fetch_one(&mut *tx).await.unwrap();
        assert_eq!(row.secret.as_deref(), Some("AIza-one-1111"));
        assert_eq!((row.enabled, row.removed_at_ms), (0, None));
        assert_eq!(row.name.as_deref(), Some("team"));
    }
}
