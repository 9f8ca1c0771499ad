//! The models that projects list: each distinct list once, with the projects that have it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use sqlx::{Sqlite, SqliteExecutor, SqlitePool, Transaction};

use crate::clock::Timestamp;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::model_lists::ListedModel;
use crate::storage::error::Result;
use crate::storage::json_columns::{JsonTexts, json_array};

/// Distinct lists that are stored. Google's differ a little between projects; more would come from another server.
const MAX_LISTS: i64 = 500;

/// A model that projects of the pool list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedModel {
    pub model: ListedModel,
    /// The projects with keys in use that list it.
    pub projects: u64,
}

/// What the lists of all projects say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OfferedModels {
    /// By name.
    pub models: BTreeMap<String, OfferedModel>,
    /// The projects with keys in use of which a list is stored.
    pub listed_projects: u64,
    /// When the oldest and the newest of their lists was read.
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
}

/// A project that lists a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingProject {
    pub id: ProjectId,
    /// Its name, else its number.
    pub project: Option<String>,
    /// The label of one of its keys in use, which names a project without a name.
    pub label: String,
    /// Its keys in use.
    pub keys: i64,
    pub listed_at: Timestamp,
}

/// Stores the list of a project in place of the one before. Returns `false` if too many distinct lists are stored.
pub async fn replace(
    tx: &mut Transaction<'_, Sqlite>,
    project_id: ProjectId,
    models: &[ListedModel],
    now: Timestamp,
) -> Result<bool> {
    let mut digest = Sha256::new();
    for model in models {
        digest.update(model.name.as_bytes());
        digest.update([0]);
    }
    let digest = digest.finalize().to_vec();
    let known = sqlx::query_scalar!(
        r#"SELECT id AS "id!" FROM model_lists WHERE digest = ?1"#,
        digest
    );
    let known = known.fetch_optional(&mut **tx).await?;
    let count = sqlx::query_scalar!("SELECT count(*) FROM model_lists");
    if known.is_none() && count.fetch_one(&mut **tx).await? >= MAX_LISTS {
        return Ok(false);
    }
    for model in models {
        update_model(tx, model).await?;
    }
    let list_id = match known {
        Some(id) => id,
        None => insert_list(tx, &digest, models).await?,
    };
    let stored = sqlx::query!(
        "
        INSERT INTO project_models (project_id, list_id, listed_at_ms)
        VALUES (?1, ?2, ?3)
        ON CONFLICT (project_id) DO UPDATE SET list_id = excluded.list_id, listed_at_ms = excluded.listed_at_ms
        ",
        project_id,
        list_id,
        now,
    );
    stored.execute(&mut **tx).await?;
    prune_lists(tx).await?;
    Ok(true)
}

async fn update_model(tx: &mut Transaction<'_, Sqlite>, model: &ListedModel) -> Result<()> {
    let methods = json_array(&model.methods);
    let updated = sqlx::query!(
        "
        INSERT INTO listed_models (name, display_name, input_token_limit, output_token_limit, methods)
        VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (name) DO UPDATE
        SET display_name = excluded.display_name, input_token_limit = excluded.input_token_limit,
            output_token_limit = excluded.output_token_limit, methods = excluded.methods
        WHERE display_name <> excluded.display_name OR input_token_limit IS NOT excluded.input_token_limit
            OR output_token_limit IS NOT excluded.output_token_limit OR methods <> excluded.methods
        ",
        model.name,
        model.display_name,
        model.input_token_limit,
        model.output_token_limit,
        methods,
    );
    updated.execute(&mut **tx).await?;
    Ok(())
}

async fn insert_list(
    tx: &mut Transaction<'_, Sqlite>,
    digest: &[u8],
    models: &[ListedModel],
) -> Result<i64> {
    let id = sqlx::query_scalar!(
        r#"INSERT INTO model_lists (digest) VALUES (?1) RETURNING id AS "id!""#,
        digest
    );
    let id = id.fetch_one(&mut **tx).await?;
    let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
    let names = json_array(&names);
    let entries = sqlx::query!(
        "
        INSERT INTO model_list_entries (list_id, model_id)
        SELECT ?1, id
        FROM listed_models
        WHERE name IN (SELECT value FROM json_each(?2))
        ",
        id,
        names,
    );
    entries.execute(&mut **tx).await?;
    Ok(id)
}

/// Deletes lists that no project has, and models that no list names.
async fn prune_lists(tx: &mut Transaction<'_, Sqlite>) -> Result<()> {
    let lists = sqlx::query!(
        "
        DELETE FROM model_lists
        WHERE NOT EXISTS (SELECT 1 FROM project_models AS p WHERE p.list_id = model_lists.id)
        "
    );
    if lists.execute(&mut **tx).await?.rows_affected() == 0 {
        return Ok(());
    }
    let models = sqlx::query!(
        "
        DELETE FROM listed_models
        WHERE NOT EXISTS (SELECT 1 FROM model_list_entries AS e WHERE e.model_id = listed_models.id)
        "
    );
    models.execute(&mut **tx).await?;
    Ok(())
}

/// Deletes the lists of projects without keys in use.
pub async fn prune_projects(tx: &mut Transaction<'_, Sqlite>) -> Result<()> {
    let deleted = sqlx::query!(
        "
        DELETE FROM project_models
        WHERE NOT EXISTS (
            SELECT 1
            FROM upstream_keys AS k
            WHERE k.project_id = project_models.project_id AND k.removed_at_ms IS NULL
        )
        "
    );
    if deleted.execute(&mut **tx).await?.rows_affected() > 0 {
        prune_lists(tx).await?;
    }
    Ok(())
}

/// When the list of each project was read.
pub async fn list_times(db: impl SqliteExecutor<'_>) -> Result<Vec<(ProjectId, Timestamp)>> {
    let rows = sqlx::query!(
        r#"SELECT project_id AS "id: ProjectId", listed_at_ms AS "at: Timestamp" FROM project_models"#
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.at)).collect())
}

/// Each project whose list was not read since `before`, with its key in use that worked last.
pub async fn list_due(
    db: impl SqliteExecutor<'_>,
    before: Timestamp,
) -> Result<Vec<(ProjectId, UpstreamKeyId)>> {
    let keys = sqlx::query!(
        r#"
        SELECT
            k.project_id AS "project_id!: ProjectId", k.id AS "id!: UpstreamKeyId",
            max(coalesce(k.last_used_at_ms, k.checked_at_ms)) AS "worked_at: Timestamp"
        FROM upstream_keys AS k
        LEFT JOIN project_models AS p ON p.project_id = k.project_id
        WHERE k.removed_at_ms IS NULL AND k.enabled AND k.state = 'ready'
            AND coalesce(k.last_used_at_ms, k.checked_at_ms) IS NOT NULL
            AND (p.listed_at_ms IS NULL OR p.listed_at_ms < ?1)
        GROUP BY k.project_id
        "#,
        before,
    );
    let keys = keys.fetch_all(db).await?;
    Ok(keys
        .into_iter()
        .map(|key| (key.project_id, key.id))
        .collect())
}

/// The models that projects with keys in use list.
pub async fn offered(db: &SqlitePool) -> Result<OfferedModels> {
    let lists = sqlx::query!(
        r#"
        SELECT
            p.list_id AS "list_id!", count(*) AS "projects!: i64", min(p.listed_at_ms) AS "oldest!: Timestamp",
            max(p.listed_at_ms) AS "newest!: Timestamp"
        FROM project_models AS p
        WHERE EXISTS (SELECT 1 FROM upstream_keys AS k WHERE k.project_id = p.project_id AND k.removed_at_ms IS NULL)
        GROUP BY p.list_id
        "#
    );
    let lists = lists.fetch_all(db).await?;
    let counts: BTreeMap<_, _> = lists
        .iter()
        .map(|list| (list.list_id, u64::try_from(list.projects).unwrap_or(0)))
        .collect();
    let entries = sqlx::query!(
        r#"
        SELECT
            e.list_id AS "list_id!", m.name, m.display_name, m.input_token_limit AS "input_token_limit: u32",
            m.output_token_limit AS "output_token_limit: u32", m.methods AS "methods: JsonTexts"
        FROM model_list_entries AS e
        JOIN listed_models AS m ON m.id = e.model_id
        "#
    );
    let mut models: BTreeMap<String, OfferedModel> = BTreeMap::new();
    for entry in entries.fetch_all(db).await? {
        let Some(projects) = counts.get(&entry.list_id) else {
            continue;
        };
        let offered = models
            .entry(entry.name.clone())
            .or_insert_with(|| OfferedModel {
                model: ListedModel {
                    name: entry.name,
                    display_name: entry.display_name,
                    input_token_limit: entry.input_token_limit,
                    output_token_limit: entry.output_token_limit,
                    methods: entry.methods.into(),
                },
                projects: 0,
            });
        offered.projects += projects;
    }
    Ok(OfferedModels {
        models,
        listed_projects: counts.values().sum(),
        oldest: lists.iter().map(|list| list.oldest).min(),
        newest: lists.iter().map(|list| list.newest).max(),
    })
}

/// The projects with keys in use whose list does (`listing`) or does not name a model, by id.
pub async fn list_projects(
    db: impl SqliteExecutor<'_>,
    model: &str,
    listing: bool,
    limit: u32,
) -> Result<Vec<ListingProject>> {
    let projects = sqlx::query_as!(
        ListingProject,
        r#"
        SELECT
            p.project_id AS "id!: ProjectId", coalesce(o.name, o.number) AS "project?: String",
            min(k.label) AS "label!: String", count(k.id) AS "keys!: i64", p.listed_at_ms AS "listed_at!: Timestamp"
        FROM project_models AS p
        JOIN projects AS o ON o.id = p.project_id
        JOIN upstream_keys AS k ON k.project_id = p.project_id AND k.removed_at_ms IS NULL
        WHERE ?2 = (p.list_id IN (
            SELECT e.list_id
            FROM model_list_entries AS e
            JOIN listed_models AS m ON m.id = e.model_id
            WHERE m.name = ?1
        ))
        GROUP BY p.project_id
        ORDER BY p.project_id
        LIMIT ?3
        "#,
        model,
        listing,
        limit,
    );
    Ok(projects.fetch_all(db).await?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pool::keys::upstream_key::KeyAttributes;
    use crate::pool::secret::Secret;
    use crate::storage::audit::tests::act;
    use crate::storage::db::Db;
    use crate::storage::installation;
    use crate::storage::upstream_keys::{self, InsertedKey, removal};

    const NOW: Timestamp = Timestamp::from_millis(100_000_000);

    fn models(names: &[&str]) -> Vec<ListedModel> {
        let model = |name: &&str| ListedModel {
            name: (*name).to_owned(),
            display_name: name.to_uppercase(),
            input_token_limit: Some(10),
            output_token_limit: None,
            methods: vec!["generateContent".to_owned()],
        };
        names.iter().map(model).collect()
    }

    async fn count(db: &Db, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        sqlx::query_scalar(&sql)
            .fetch_one(&db.readers)
            .await
            .unwrap()
    }

    #[sqlx::test]
    async fn the_pool_offers_the_union_of_the_lists_and_forgets_what_no_list_names(
        pool: SqlitePool,
    ) {
        let db = Db::from_pool(pool);
        let mut tx = db.begin().await.unwrap();
        let act = act(&mut tx, NOW).await;
        let installed = installation::keys(&mut tx, &db.data_keys).await.unwrap();
        let mut keys = Vec::new();
        for secret in ["AIza-1", "AIza-2", "AIza-3"] {
            let (secret, attributes) = (Secret::new(secret), KeyAttributes::default());
            let added =
                upstream_keys::insert(&mut tx, &installed, &secret, &attributes, false, &act);
            match added.await.unwrap() {
                InsertedKey::New(id) => keys.push(id),
                other => panic!("{other:?}"),
            }
        }
        for (project, names) in [(1, &["a", "b"][..]), (2, &["a", "b"]), (3, &["b", "c"])] {
            let list = models(names);
            assert!(
                replace(&mut tx, ProjectId(project), &list, NOW)
                    .await
                    .unwrap()
            );
        }
        tx.commit().await.unwrap();

        let offered_now = offered(&db.readers).await.unwrap();

        let counts = |offered: &OfferedModels| -> Vec<(String, u64)> {
            let models = offered.models.iter();
            models
                .map(|(name, model)| (name.clone(), model.projects))
                .collect()
        };
        let expected = [("a", 2), ("b", 3), ("c", 1)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(counts(&offered_now), expected);
        assert_eq!(
            (offered_now.listed_projects, offered_now.oldest),
            (3, Some(NOW))
        );
        assert_eq!(offered_now.models["a"].model, models(&["a"])[0]);
        assert_eq!(count(&db, "model_lists").await, 2);
        for (listing, projects) in [(true, vec![1, 2]), (false, vec![3])] {
            let found = list_projects(&db.readers, "a", listing, 10).await.unwrap();
            let ids: Vec<_> = found.iter().map(|project| project.id.0).collect();
            assert_eq!(ids, projects);
        }

        let mut tx = db.begin().await.unwrap();
        let later = NOW + Duration::from_secs(1);
        replace(&mut tx, ProjectId(3), &models(&["a", "b"]), later)
            .await
            .unwrap();
        removal::delete(&mut tx, &keys[..1], &act).await.unwrap();
        prune_projects(&mut tx).await.unwrap();
        tx.commit().await.unwrap();

        let offered_now = offered(&db.readers).await.unwrap();
        let expected = [("a", 2), ("b", 2)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(counts(&offered_now), expected);
        let rows = [
            count(&db, "model_lists").await,
            count(&db, "listed_models").await,
        ];
        assert_eq!(rows, [1, 2]);
        let times = list_times(&db.readers).await.unwrap();
        assert_eq!(times, [(ProjectId(2), NOW), (ProjectId(3), later)]);
        // No key has worked yet.
        assert_eq!(list_due(&db.readers, later).await.unwrap(), []);
        let worked = "UPDATE upstream_keys SET checked_at_ms = 5";
        sqlx::query(worked).execute(&db.writer).await.unwrap();
        assert_eq!(
            list_due(&db.readers, later).await.unwrap(),
            [(ProjectId(2), keys[1])]
        );
        assert_eq!(list_due(&db.readers, NOW).await.unwrap(), []);
    }

    #[sqlx::test]
    async fn distinct_lists_have_a_maximum(pool: SqlitePool) {
        let db = Db::from_pool(pool);
        let mut tx = db.begin().await.unwrap();
        sqlx::query("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO projects (id) SELECT i FROM n")
            .execute(&mut *tx)
            .await
            .ok();
        sqlx::query("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO model_lists (digest) SELECT CAST(i AS BLOB) FROM n")
            .execute(&mut *tx)
            .await
            .unwrap();

        let is_stored = replace(&mut tx, ProjectId(1), &models(&["a"]), NOW)
            .await
            .unwrap();

        assert!(!is_stored);
    }
}
