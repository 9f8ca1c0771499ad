//! Resources that requests created at Google, with the project that contains them.

use serde::Serialize;
use sqlx::SqliteExecutor;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::resources::route_constraint::KnownResource;
use crate::storage::error::Result;
use crate::storage::request_logs::NewRequestLog;

/// A created resource with the values of its request's row.
#[derive(Debug, Serialize)]
pub struct NewResource<'a> {
    name: &'a str,
    kind: &'a str,
    upstream_key_id: UpstreamKeyId,
    client_key_id: Option<ClientKeyId>,
    created_at_ms: i64,
    expires_at_ms: Option<i64>,
    is_counted: bool,
}

impl<'a> NewResource<'a> {
    /// The created resources of a request's row; none without an attempt.
    pub fn created_by(row: &'a NewRequestLog) -> impl Iterator<Item = Self> {
        let resources = row.attempts.last().map(|attempt| {
            row.created_resources.iter().map(|created| Self {
                name: &created.name,
                kind: &created.kind,
                upstream_key_id: attempt.upstream_key_id,
                client_key_id: row.client_key_id,
                created_at_ms: attempt.started_at.as_millis(),
                expires_at_ms: created.expires_at.map(Timestamp::as_millis),
                is_counted: created.is_counted,
            })
        });
        resources.into_iter().flatten()
    }
}

/// Inserts created resources. An existing row keeps its client, key and, if the new one has none, expiry; an expired row is
/// replaced, because the name was used again.
pub async fn upsert(db: impl SqliteExecutor<'_>, resources: &[NewResource<'_>]) -> Result<()> {
    let resources =
        serde_json::to_string(resources).expect("strings and numbers serialize to JSON");
    let inserted = sqlx::query!(
        "
        INSERT INTO resources (
            name, kind, upstream_key_id, client_key_id, created_at_ms, expires_at_ms, is_counted
        )
        SELECT
            value ->> 'name', value ->> 'kind', value ->> 'upstream_key_id', value ->> 'client_key_id',
            value ->> 'created_at_ms', value ->> 'expires_at_ms', value ->> 'is_counted'
        FROM json_each(?1)
        WHERE true -- without it ON would belong to a join
        ON CONFLICT (name) DO UPDATE
        SET
            upstream_key_id = iif(
                expires_at_ms <= excluded.created_at_ms OR client_key_id IS excluded.client_key_id,
                excluded.upstream_key_id,
                upstream_key_id
            ),
            client_key_id = iif(expires_at_ms <= excluded.created_at_ms, excluded.client_key_id, client_key_id),
            created_at_ms = iif(expires_at_ms <= excluded.created_at_ms, excluded.created_at_ms, created_at_ms),
            expires_at_ms = iif(
                expires_at_ms <= excluded.created_at_ms,
                excluded.expires_at_ms,
                ifnull(excluded.expires_at_ms, expires_at_ms)
            ),
            is_counted = iif(
                expires_at_ms <= excluded.created_at_ms,
                excluded.is_counted,
                max(is_counted, excluded.is_counted)
            )
        ",
        resources,
    );
    inserted.execute(db).await?;
    Ok(())
}

/// The resources with these names, ordered by name.
pub async fn list_named(db: impl SqliteExecutor<'_>, names: &[&str]) -> Result<Vec<KnownResource>> {
    let names = serde_json::to_string(names).expect("strings serialize to JSON");
    let known = sqlx::query_as!(
        KnownResource,
        r#"
        SELECT r.name AS "name!", k.project_id AS "project_id: ProjectId", r.client_key_id AS "maker: ClientKeyId",
            r.is_counted AS "is_counted: bool"
        FROM resources AS r
        JOIN upstream_keys AS k ON k.id = r.upstream_key_id
        WHERE r.name IN (SELECT value FROM json_each(?1))
        ORDER BY r.name
        "#,
        names,
    );
    Ok(known.fetch_all(db).await?)
}

/// The projects in which a client has created resources of a kind. Steps from key to key through the index: a client may
/// have created very many.
pub async fn list_projects_of_client(
    db: impl SqliteExecutor<'_>,
    client_key_id: ClientKeyId,
    kind: &str,
) -> Result<Vec<ProjectId>> {
    let ids = sqlx::query_scalar!(
        r#"
        WITH RECURSIVE key (id) AS (
            SELECT min(upstream_key_id) FROM resources WHERE client_key_id = ?1 AND kind = ?2
            UNION ALL
            SELECT (
                SELECT min(r.upstream_key_id) FROM resources AS r
                WHERE r.client_key_id = ?1 AND r.kind = ?2 AND r.upstream_key_id > key.id
            )
            FROM key
            WHERE key.id IS NOT NULL
        )
        SELECT DISTINCT k.project_id AS "project_id: ProjectId"
        FROM key
        JOIN upstream_keys AS k ON k.id = key.id
        ORDER BY k.project_id
        "#,
        client_key_id,
        kind,
    );
    Ok(ids.fetch_all(db).await?)
}

/// The projects in which any client has created resources of a kind.
pub async fn list_projects(db: impl SqliteExecutor<'_>, kind: &str) -> Result<Vec<ProjectId>> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT k.project_id AS "project_id: ProjectId"
        FROM upstream_keys AS k
        WHERE EXISTS (SELECT 1 FROM resources AS r WHERE r.upstream_key_id = k.id AND r.kind = ?1)
        ORDER BY k.project_id
        "#,
        kind,
    );
    Ok(ids.fetch_all(db).await?)
}

/// The project of the client's newest unexpired resource of these kinds; `None` if there is none.
pub async fn find_newest_project(
    db: impl SqliteExecutor<'_>,
    client_key_id: ClientKeyId,
    kinds: &[&str],
    now: Timestamp,
) -> Result<Option<ProjectId>> {
    let kinds = serde_json::to_string(kinds).expect("strings serialize to JSON");
    let id = sqlx::query_scalar!(
        r#"
        SELECT k.project_id AS "project_id: ProjectId"
        FROM resources AS r
        JOIN upstream_keys AS k ON k.id = r.upstream_key_id
        WHERE
            r.client_key_id = ?1 AND r.kind IN (SELECT value FROM json_each(?2))
            AND ifnull(r.expires_at_ms > ?3, true)
        ORDER BY r.created_at_ms DESC
        LIMIT 1
        "#,
        client_key_id,
        kinds,
        now,
    );
    Ok(id.fetch_optional(db).await?)
}

/// A resource of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedResource {
    pub name: String,
    pub client_key_id: Option<ClientKeyId>,
    pub client_key: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// The newest resources of a project.
pub async fn list_of_project(
    db: impl SqliteExecutor<'_>,
    project_id: ProjectId,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<ListedResource>> {
    let listed = sqlx::query_as!(
        ListedResource,
        r#"
        SELECT
            r.name AS "name!", r.client_key_id AS "client_key_id: ClientKeyId", c.name AS "client_key?",
            r.created_at_ms AS "created_at: Timestamp", r.expires_at_ms AS "expires_at: Timestamp"
        FROM upstream_keys AS k
        JOIN resources AS r ON r.upstream_key_id = k.id
        LEFT JOIN client_keys AS c ON c.id = r.client_key_id
        WHERE k.project_id = ?1 AND ifnull(r.expires_at_ms > ?2, true)
        ORDER BY r.created_at_ms DESC, r.name
        LIMIT ?3
        "#,
        project_id,
        now,
        limit,
    );
    Ok(listed.fetch_all(db).await?)
}

/// The number of a project's resources by kind, largest first.
pub async fn count_of_project(
    db: impl SqliteExecutor<'_>,
    project_id: ProjectId,
    now: Timestamp,
) -> Result<Vec<(String, i64)>> {
    let counts = sqlx::query!(
        r#"
        SELECT r.kind, count(*) AS "count!: i64"
        FROM upstream_keys AS k
        JOIN resources AS r ON r.upstream_key_id = k.id
        WHERE k.project_id = ?1 AND ifnull(r.expires_at_ms > ?2, true)
        GROUP BY r.kind
        ORDER BY 2 DESC, r.kind
        "#,
        project_id,
        now,
    );
    let counts = counts.fetch_all(db).await?;
    Ok(counts
        .into_iter()
        .map(|row| (row.kind, row.count))
        .collect())
}

/// Deletes resources with all resources in them, as documents in a store.
pub async fn delete(db: impl SqliteExecutor<'_>, names: &[&str]) -> Result<()> {
    let names = serde_json::to_string(names).expect("strings serialize to JSON");
    // `0` is what follows `/`.
    let deleted = sqlx::query!(
        "
        DELETE FROM resources
        WHERE name IN (
            SELECT r.name
            FROM json_each(?1) AS d
            JOIN resources AS r ON r.name = d.value OR (r.name > d.value || '/' AND r.name < d.value || '0')
        )
        ",
        names,
    );
    deleted.execute(db).await?;
    Ok(())
}

/// Deletes up to `limit` resources that expired before `time`. Returns how many.
pub async fn delete_expired(
    db: impl SqliteExecutor<'_>,
    time: Timestamp,
    limit: u32,
) -> Result<u64> {
    let deleted = sqlx::query!(
        "
        DELETE FROM resources
        WHERE name IN (SELECT name FROM resources WHERE expires_at_ms < ?1 ORDER BY expires_at_ms LIMIT ?2)
        ",
        time,
        limit,
    );
    Ok(deleted.execute(db).await?.rows_affected())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::db::Db;
    use crate::storage::projects;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::CreatedResource;
    use crate::storage::request_logs::tests::{row, running};

    const HOUR: Duration = Duration::from_hours(1);
    const CLIENT: ClientKeyId = ClientKeyId(1);

    fn at(seconds: i64) -> Timestamp {
        row(seconds).started_at
    }

    fn created(name: &str, expires_at: Option<Timestamp>) -> CreatedResource {
        CreatedResource {
            name: name.to_owned(),
            kind: "files".into(),
            is_counted: false,
            expires_at,
        }
    }

    /// The row of a request that created these, with one of the keys.
    fn row_that_created(
        seconds: i64,
        key: i64,
        created_resources: &[CreatedResource],
    ) -> NewRequestLog {
        let mut row = row(seconds);
        row.attempts[0].upstream_key_id = UpstreamKeyId(key);
        row.created_resources = created_resources.to_vec();
        row
    }

    fn of_one(seconds: i64, key: i64, created: CreatedResource) -> NewRequestLog {
        row_that_created(seconds, key, &[created])
    }

    async fn with_keys(pool: &SqlitePool) -> Db {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        db
    }

    async fn owner(pool: &SqlitePool, name: &str) -> Option<(i64, Option<i64>)> {
        let known = list_named(pool, &[name]).await.unwrap().pop()?;
        Some((known.project_id.0, known.maker.map(|id| id.0)))
    }

    #[sqlx::test]
    async fn created_resources_are_found_by_name_in_one_query(pool: SqlitePool) {
        let db = with_keys(&pool).await;
        let mut without_client = row_that_created(2, 2, &[created("files/c", None)]);
        without_client.client_key_id = None;
        let mut unanswered = row_that_created(3, 1, &[created("files/d", None)]);
        unanswered.attempts.clear();
        let both = [created("files/a", None), created("files/b", None)];
        write(
            &db,
            vec![row_that_created(1, 1, &both), without_client, unanswered],
        )
        .await;

        let names = ["files/c", "files/a", "files/d", "files/b"];
        let known = list_named(&pool, &names).await.unwrap();

        let known: Vec<_> = known
            .iter()
            .map(|known| (known.name.as_str(), known.project_id.0, known.maker))
            .collect();
        let expected = [
            ("files/a", 1, Some(CLIENT)),
            ("files/b", 1, Some(CLIENT)),
            ("files/c", 2, None),
        ];
        assert_eq!(known, expected);
        assert_eq!(list_named(&pool, &[]).await.unwrap(), []);
    }

    #[sqlx::test]
    async fn a_row_and_its_created_resources_are_written_in_one_transaction(pool: SqlitePool) {
        let db = with_keys(&pool).await;
        let mut refused = row_that_created(0, 1, &[created("files/a", None)]);
        // Not an outcome of an attempt.
        refused.attempts[0].outcome = Some(crate::pool::outcome::Outcome::Refused);
        let mut opened = running(1);
        opened.created_resources = vec![created("files/b", None)];

        write(&db, vec![refused, opened]).await;

        assert_eq!(owner(&pool, "files/a").await, None);
        assert_eq!(owner(&pool, "files/b").await, Some((1, Some(1))));
    }

    #[sqlx::test]
    async fn a_resource_reported_again_keeps_its_client_until_it_expires(pool: SqlitePool) {
        let db = with_keys(&pool).await;
        let expires = |seconds| Some(at(seconds));
        let without_client = |seconds, key, expires_at| {
            let mut row = row_that_created(seconds, key, &[created("files/a", expires_at)]);
            row.client_key_id = None;
            row
        };
        let expiry = || async {
            let row = sqlx::query_scalar("SELECT expires_at_ms FROM resources");
            let ms: Option<i64> = row.fetch_one(&pool).await.unwrap();
            ms.map(Timestamp::from_millis)
        };
        write(&db, vec![of_one(0, 1, created("files/a", expires(100)))]).await;

        write(&db, vec![without_client(10, 1, None)]).await;
        assert_eq!(owner(&pool, "files/a").await, Some((1, Some(1))));
        assert_eq!(expiry().await, expires(100));
        write(&db, vec![without_client(20, 2, expires(200))]).await;
        assert_eq!(owner(&pool, "files/a").await, Some((1, Some(1))), "kept");
        assert_eq!(expiry().await, expires(200));
        write(&db, vec![of_one(30, 2, created("files/a", None))]).await;
        assert_eq!(owner(&pool, "files/a").await, Some((2, Some(1))), "moved");
        write(&db, vec![without_client(300, 1, None)]).await;
        assert_eq!(owner(&pool, "files/a").await, Some((1, None)));
        assert_eq!(expiry().await, None);
    }

    #[sqlx::test]
    async fn resources_follow_their_key_to_its_own_project(pool: SqlitePool) {
        let db = with_keys(&pool).await;
        write(&db, vec![of_one(0, 1, created("files/a", None))]).await;
        write(&db, vec![of_one(1, 2, created("files/b", None))]).await;
        let learn = async |key, number| {
            let mut tx = db.begin().await.unwrap();
            projects::record_number(&mut tx, UpstreamKeyId(key), number, at(2))
                .await
                .unwrap();
            tx.commit().await.unwrap();
        };

        learn(1, "projects/7").await;
        learn(2, "projects/7").await;
        assert_eq!(owner(&pool, "files/a").await, Some((1, Some(1))));
        assert_eq!(owner(&pool, "files/b").await, Some((1, Some(1))), "merged");
        learn(1, "projects/8").await;
        assert_eq!(owner(&pool, "files/a").await, Some((3, Some(1))), "moved");
        assert_eq!(owner(&pool, "files/b").await, Some((1, Some(1))));
    }

    #[sqlx::test]
    async fn projects_of_a_client_are_found_by_kind_and_newest_resource(pool: SqlitePool) {
        let db = with_keys(&pool).await;
        let cache = CreatedResource {
            kind: "cachedContents".into(),
            ..created("cachedContents/c", None)
        };
        let newest = async |client, kinds: &[&str], seconds| {
            let newest = find_newest_project(&pool, client, kinds, at(seconds)).await;
            newest.unwrap().map(|id| id.0)
        };
        let both = ["files", "cachedContents"];
        assert_eq!(newest(CLIENT, &both, 0).await, None);
        let rows = [
            row_that_created(
                3,
                2,
                &[created("files/b", Some(at(9))), created("files/c", None)],
            ),
            row_that_created(1, 1, &[created("files/a", None), cache]),
            row_that_created(5, 1, &[created("files/d", Some(at(9)))]),
        ];
        write(&db, rows.to_vec()).await;

        let projects = async |kind| {
            let own = list_projects_of_client(&pool, CLIENT, kind).await.unwrap();
            let all = list_projects(&pool, kind).await.unwrap();
            assert!(own.iter().all(|id| all.contains(id)));
            own
        };
        assert_eq!(projects("files").await, [ProjectId(1), ProjectId(2)]);
        assert_eq!(projects("cachedContents").await, [ProjectId(1)]);
        assert_eq!(projects("batches").await, []);
        assert_eq!(newest(CLIENT, &both, 8).await, Some(1));
        assert_eq!(newest(CLIENT, &both, 9).await, Some(2), "expired");
        assert_eq!(newest(CLIENT, &["cachedContents"], 0).await, Some(1));
        assert_eq!(newest(CLIENT, &["batches"], 0).await, None);
        assert_eq!(newest(ClientKeyId(2), &both, 0).await, None);
    }

    #[sqlx::test]
    async fn resources_of_a_project_are_listed_newest_first(pool: SqlitePool) {
        let db = with_keys(&pool).await;
        let batch = CreatedResource {
            kind: "batches".into(),
            ..created("batches/d", None)
        };
        let rows = [
            row_that_created(
                1,
                1,
                &[created("files/a", Some(at(9))), created("files/b", None)],
            ),
            row_that_created(3, 1, &[created("files/c", None), batch]),
            row_that_created(2, 2, &[created("files/other", None)]),
        ];
        write(&db, rows.to_vec()).await;

        let listed = list_of_project(&pool, ProjectId(1), at(9), 2)
            .await
            .unwrap();
        let names: Vec<_> = listed.iter().map(|listed| listed.name.as_str()).collect();
        assert_eq!(names, ["batches/d", "files/c"]);
        assert_eq!(listed[0].client_key_id, Some(CLIENT));
        assert_eq!(listed[0].created_at, at(3));
        let counts = count_of_project(&pool, ProjectId(1), at(9)).await.unwrap();
        let expected = [("files".to_owned(), 2), ("batches".to_owned(), 1)];
        assert_eq!(counts, expected);
    }

    #[sqlx::test]
    async fn a_counted_long_running_operation_stays_counted(pool: SqlitePool) {
        let db = with_keys(&pool).await;
        let counted = |seconds, is_counted| {
            let batch = CreatedResource {
                is_counted,
                ..created("batches/a", Some(at(100)))
            };
            row_that_created(seconds, 1, &[batch])
        };
        for (row, expected) in [
            (counted(0, false), false),
            (counted(1, true), true),
            (counted(2, false), true),
            // Created again under an old name.
            (counted(100, false), false),
        ] {
            write(&db, vec![row]).await;
            let known = list_named(&pool, &["batches/a"]).await.unwrap();
            assert_eq!(known[0].is_counted, expected);
        }
    }

    #[sqlx::test]
    async fn a_deleted_resource_is_deleted_with_the_resources_in_it(pool: SqlitePool) {
        let db = with_keys(&pool).await;
        let names = [
            "stores/s",
            "stores/s/documents/1",
            "stores/s-2",
            "stores/s0",
            "stores/t",
        ];
        let created_resources = names.map(|name| created(name, None));
        write(&db, vec![row_that_created(0, 1, &created_resources)]).await;

        let mut deleted = row(1);
        deleted.deleted_resources = vec!["stores/s".to_owned(), "stores/none".to_owned()];
        write(&db, vec![deleted]).await;

        let left = list_named(&pool, &names).await.unwrap();
        let left: Vec<_> = left.iter().map(|known| known.name.as_str()).collect();
        assert_eq!(left, ["stores/s-2", "stores/s0", "stores/t"]);
    }

    #[sqlx::test]
    async fn expired_resources_are_deleted_in_limited_numbers(pool: SqlitePool) {
        let db = with_keys(&pool).await;
        let created_resources = [
            created("files/a", Some(at(0) + HOUR)),
            created("files/b", Some(at(0) + 2 * HOUR)),
            created("files/c", Some(at(0) + 9 * HOUR)),
            created("files/d", None),
        ];
        write(&db, vec![row_that_created(0, 1, &created_resources)]).await;
        let deleted = async |hours| {
            delete_expired(&pool, at(0) + hours * HOUR, 1)
                .await
                .unwrap()
        };

        assert_eq!(deleted(1).await, 0);
        assert_eq!(deleted(3).await, 1);
        assert_eq!(owner(&pool, "files/a").await, None);
        assert!(owner(&pool, "files/b").await.is_some());
        assert_eq!(deleted(3).await, 1);
        assert_eq!(deleted(3).await, 0);
    }
}
