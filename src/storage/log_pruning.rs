//! Deletes old log rows and stores the latest start among the deleted ones.

use sqlx::{Sqlite, Transaction};

use crate::clock::Timestamp;
use crate::pool::request_id::RequestId;
use crate::storage::error::Result;

/// Deletes the oldest `limit` finished requests that began before `time`, with their attempts. Returns how many requests
/// were deleted. Rollups and statistics stay.
pub async fn prune(tx: &mut Transaction<'_, Sqlite>, time: Timestamp, limit: u32) -> Result<u64> {
    let before = RequestId::first_at(time);
    let last = sqlx::query_scalar!(
        r#"
        SELECT max(id) AS "id: RequestId"
        FROM (SELECT id FROM request_logs WHERE id < ?1 AND outcome IS NOT NULL ORDER BY id LIMIT ?2)
        "#,
        before,
        limit,
    );
    let Some(last) = last.fetch_one(&mut **tx).await? else {
        return Ok(0);
    };
    let updated = sqlx::query!(
        "
        UPDATE log_pruning
        SET until_ms = max(
            until_ms,
            (SELECT max(started_at_ms) FROM request_logs WHERE id <= ?1),
            (SELECT ifnull(max(started_at_ms), -1) FROM attempts WHERE request_id <= ?1)
        )
        ",
        last,
    );
    updated.execute(&mut **tx).await?;
    // A running request is never pruned, however old it is.
    let deleted = sqlx::query!(
        "
        DELETE FROM attempts
        WHERE request_id <= ?1 AND request_id NOT IN (SELECT id FROM request_logs WHERE outcome IS NULL)
        ",
        last,
    );
    deleted.execute(&mut **tx).await?;
    let deleted = sqlx::query!(
        "DELETE FROM request_logs WHERE id <= ?1 AND outcome IS NOT NULL",
        last
    );
    Ok(deleted.execute(&mut **tx).await?.rows_affected())
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::consistency::find_inconsistencies;
    use crate::storage::db::Db;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::tests::{row, running};

    const DAY: i64 = 86_400;

    async fn pruned(db: &Db, time: Timestamp, limit: u32) -> u64 {
        let mut tx = db.begin().await.unwrap();
        let deleted = prune(&mut tx, time, limit).await.unwrap();
        tx.commit().await.unwrap();
        deleted
    }

    #[sqlx::test]
    async fn pruning_deletes_a_limited_number_of_finished_rows_and_keeps_rollups_and_statistics(
        pool: SqlitePool,
    ) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let mut over_midnight = row(3);
        over_midnight.attempts[0].started_at = row(DAY).started_at;
        let rows = [running(0), row(1), row(2), over_midnight, row(4)];
        let later = [row(DAY), row(2 * DAY), row(2 * DAY + 3_600)];
        write(&db, rows.into_iter().chain(later).collect()).await;
        let horizon = row(4).started_at;
        let sums = async || {
            let sums = "SELECT sum(requests), sum(total_tokens) FROM model_hours";
            let (requests, tokens): (i64, i64) =
                sqlx::query_as(sums).fetch_one(&pool).await.unwrap();
            (requests, tokens)
        };
        let before = sums().await;

        assert_eq!(pruned(&db, horizon, 2).await, 2);
        assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
        assert_eq!(pruned(&db, horizon, 2).await, 1);
        assert_eq!(pruned(&db, horizon, 2).await, 0);

        assert_eq!(sums().await, before);
        assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
        let left: Vec<i64> = sqlx::query_scalar("SELECT id FROM request_logs ORDER BY id")
            .fetch_all(&pool)
            .await
            .unwrap();
        let expected = [0, 4, DAY, 2 * DAY, 2 * DAY + 3_600].map(|seconds| row(seconds).id.0);
        assert_eq!(left, expected);
        let attempts: i64 = sqlx::query_scalar("SELECT count(*) FROM attempts")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(attempts, 5);
    }

    #[sqlx::test]
    async fn rollups_of_hours_that_were_not_pruned_are_still_checked(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        write(&db, vec![row(0), row(DAY)]).await;
        pruned(&db, row(1).started_at, 100).await;

        for (table, time) in [
            ("model_hours", "hour_ms"),
            ("model_days", "day_ms"),
            ("client_key_hours", "hour_ms"),
            ("upstream_key_days", "day_ms"),
        ] {
            let spoil = |sign| {
                format!(
                    "UPDATE {table} SET total_tokens = total_tokens {sign} 1
                    WHERE {time} = (SELECT max({time}) FROM {table})"
                )
            };
            sqlx::query(&spoil("+")).execute(&pool).await.unwrap();
            assert!(
                !find_inconsistencies(&pool).await.unwrap().is_empty(),
                "{table}"
            );
            sqlx::query(&spoil("-")).execute(&pool).await.unwrap();
        }
        assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
    }
}
