//! The tables that find the requests of an upstream key and of a project. Requests are added to them some thousand at a time,
//! because the entries of successive requests are on as many pages as there are keys: added one by one, they are most of
//! what a request writes.
//!
//! Requests after `indexed_requests.until_id` are found by reading their attempts, which are few. A trigger deletes entries with
//! their attempts.

use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::pool::request_id::RequestId;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::json_columns::json_array;

/// How many of the newest requests are left out: many that began before them are still to come.
pub const LEFT_OUT: u32 = 4_096;

/// The last request that is in the tables with all that were written before it.
pub async fn indexed_until(db: impl SqliteExecutor<'_>) -> Result<RequestId> {
    let until =
        sqlx::query_scalar!(r#"SELECT until_id AS "until_id: RequestId" FROM indexed_requests"#);
    Ok(until.fetch_one(db).await?)
}

/// Adds requests whose attempts were written just now, if others after them are in the tables already.
pub async fn add_late(tx: &mut Transaction<'_, Sqlite>, ids: &[RequestId]) -> Result<()> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let ids = json_array(&ids);
    let by_key = sqlx::query!(
        "
        INSERT OR IGNORE INTO requests_by_upstream_key
        SELECT upstream_key_id, request_id
        FROM attempts
        WHERE request_id IN (SELECT value FROM json_each(?1))
            AND request_id <= (SELECT until_id FROM indexed_requests)
        ",
        ids,
    );
    by_key.execute(&mut **tx).await?;
    let by_project = sqlx::query!(
        "
        INSERT OR IGNORE INTO requests_by_project
        SELECT project_id, request_id
        FROM attempts
        WHERE request_id IN (SELECT value FROM json_each(?1))
            AND request_id <= (SELECT until_id FROM indexed_requests)
        ",
        ids,
    );
    by_project.execute(&mut **tx).await?;
    Ok(())
}

/// Adds the next `portion` attempts to the tables in one transaction, and the rest of the last one's request, unless that leaves
/// out fewer than `left_out` newer ones. Returns the last request that is in the tables now; `None`: nothing was added.
pub async fn add_portion(db: &Db, portion: u32, left_out: u32) -> Result<Option<RequestId>> {
    let mut tx = db.begin().await?;
    let after = portion.saturating_add(left_out);
    let last = sqlx::query_scalar!(
        r#"
        SELECT request_id AS "request_id: RequestId"
        FROM attempts
        WHERE request_id > (SELECT until_id FROM indexed_requests)
            AND EXISTS (
                SELECT 1
                FROM attempts
                WHERE request_id > (SELECT until_id FROM indexed_requests)
                ORDER BY request_id
                LIMIT 1 OFFSET ?2 - 1
            )
        ORDER BY request_id
        LIMIT 1 OFFSET ?1 - 1
        "#,
        portion,
        after,
    );
    let Some(last) = last.fetch_optional(&mut *tx).await? else {
        tx.commit().await?;
        return Ok(None);
    };
    let until = indexed_until(&mut *tx).await?;
    insert_range(&mut tx, until, last).await?;
    sqlx::query!("UPDATE indexed_requests SET until_id = ?1", last)
        .execute(&mut *tx)
        .await?;
    db.check_file()?;
    tx.commit().await?;
    Ok(Some(last))
}

/// Computes both tables again from the attempts, up to the same request.
pub async fn rebuild(tx: &mut Transaction<'_, Sqlite>) -> Result<()> {
    let by_key = sqlx::query!("DELETE FROM requests_by_upstream_key");
    by_key.execute(&mut **tx).await?;
    let by_project = sqlx::query!("DELETE FROM requests_by_project");
    by_project.execute(&mut **tx).await?;
    let until = indexed_until(&mut **tx).await?;
    insert_range(tx, RequestId(i64::MIN), until).await
}

/// Adds the attempts of the requests after one, up to another, in the order of the tables.
async fn insert_range(
    tx: &mut Transaction<'_, Sqlite>,
    after: RequestId,
    last: RequestId,
) -> Result<()> {
    let by_key = sqlx::query!(
        "
        INSERT OR IGNORE INTO requests_by_upstream_key
        SELECT upstream_key_id, request_id
        FROM attempts
        WHERE request_id > ?1 AND request_id <= ?2
        ORDER BY upstream_key_id, request_id
        ",
        after,
        last,
    );
    by_key.execute(&mut **tx).await?;
    let by_project = sqlx::query!(
        "
        INSERT OR IGNORE INTO requests_by_project
        SELECT project_id, request_id
        FROM attempts
        WHERE request_id > ?1 AND request_id <= ?2
        ORDER BY project_id, request_id
        ",
        after,
        last,
    );
    by_project.execute(&mut **tx).await?;
    Ok(())
}

/// How many entries differ from what the attempts up to `indexed_requests.until_id` require; zero: none. Entries without an attempt
/// are counted, and how many more or fewer there are than keys and projects of requests: both need no copy of the tables.
pub async fn count_differences(db: impl SqliteExecutor<'_>) -> Result<i64> {
    let differences = sqlx::query_scalar!(
        r#"
        WITH wanted AS (
            SELECT sum(keys) AS keys, sum(projects) AS projects
            FROM (
                SELECT count(DISTINCT upstream_key_id) AS keys, count(DISTINCT project_id) AS projects
                FROM attempts
                WHERE request_id <= (SELECT until_id FROM indexed_requests)
                GROUP BY request_id
            )
        )
        SELECT
            (
                SELECT count(*)
                FROM requests_by_upstream_key AS i
                WHERE
                    i.request_id > (SELECT until_id FROM indexed_requests)
                    OR NOT EXISTS (
                        SELECT 1
                        FROM attempts AS a
                        WHERE a.request_id = i.request_id AND a.upstream_key_id = i.upstream_key_id
                    )
            ) + (
                SELECT count(*)
                FROM requests_by_project AS i
                WHERE
                    i.request_id > (SELECT until_id FROM indexed_requests)
                    OR NOT EXISTS (
                        SELECT 1
                        FROM attempts AS a
                        WHERE a.request_id = i.request_id AND a.project_id = i.project_id
                    )
            )
            + abs((SELECT count(*) FROM requests_by_upstream_key) - ifnull((SELECT keys FROM wanted), 0))
            + abs((SELECT count(*) FROM requests_by_project) - ifnull((SELECT projects FROM wanted), 0))
            AS "differences!: i64"
        "#,
    );
    Ok(differences.fetch_one(db).await?)
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::log_pruning::tests::prune;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::NewRequestLog;
    use crate::storage::request_logs::tests::{row, running};

    async fn entries(pool: &SqlitePool) -> Vec<i64> {
        sqlx::query_scalar("SELECT request_id FROM requests_by_upstream_key ORDER BY request_id")
            .fetch_all(pool)
            .await
            .unwrap()
    }

    fn ids(seconds: &[i64]) -> Vec<i64> {
        seconds.iter().map(|seconds| row(*seconds).id.0).collect()
    }

    #[sqlx::test]
    async fn requests_are_added_by_portions_and_the_newest_are_left_out(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        write(&db, (0..10).map(row).collect()).await;
        assert_eq!(entries(&pool).await, ids(&[]));

        assert_eq!(
            add_portion(&db, 4, 5).await.unwrap(),
            Some(row(3).id),
            "nine are needed, ten are there"
        );
        assert_eq!(entries(&pool).await, ids(&[0, 1, 2, 3]));
        assert_eq!(add_portion(&db, 4, 3).await.unwrap(), None);
        assert_eq!(add_portion(&db, 4, 2).await.unwrap(), Some(row(7).id));
        assert_eq!(indexed_until(&pool).await.unwrap(), row(7).id);
        assert_eq!(count_differences(&pool).await.unwrap(), 0);
    }

    #[sqlx::test]
    async fn a_request_that_ends_late_is_added_with_its_row(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let begun = NewRequestLog {
            attempts: Vec::new(),
            ..running(2)
        };
        write(&db, vec![row(0), begun, row(3), row(4)]).await;
        add_portion(&db, 3, 0).await.unwrap();
        assert_eq!(entries(&pool).await, ids(&[0, 3, 4]));

        write(&db, vec![row(1), row(2), row(9)]).await;

        assert_eq!(entries(&pool).await, ids(&[0, 1, 2, 3, 4]));
        assert_eq!(count_differences(&pool).await.unwrap(), 0);
    }

    #[sqlx::test]
    async fn entries_go_with_their_attempts(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        write(&db, (0..6).map(row).collect()).await;
        add_portion(&db, 4, 0).await.unwrap();

        prune(&db, row(3).started_at, 100).await.unwrap();

        assert_eq!(entries(&pool).await, ids(&[3]));
        assert_eq!(count_differences(&pool).await.unwrap(), 0);
    }

    #[sqlx::test]
    async fn a_missing_entry_and_one_without_an_attempt_are_differences(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        write(&db, (0..6).map(row).collect()).await;
        add_portion(&db, 4, 0).await.unwrap();

        let (key, id): (i64, i64) = sqlx::query_as(
            "DELETE FROM requests_by_upstream_key
             WHERE request_id = (SELECT max(request_id) FROM requests_by_upstream_key)
             RETURNING upstream_key_id, request_id",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        assert_eq!(count_differences(&pool).await.unwrap(), 1);
        // As many entries as there should be, but of another key.
        sqlx::query("INSERT INTO requests_by_upstream_key VALUES (?1, ?2)")
            .bind(key + 1)
            .bind(id)
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(count_differences(&pool).await.unwrap(), 1);
        // Of a request that is not in the tables yet.
        sqlx::query("INSERT INTO requests_by_project VALUES (1, ?1)")
            .bind(row(5).id.0)
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(count_differences(&pool).await.unwrap(), 3);
    }
}
