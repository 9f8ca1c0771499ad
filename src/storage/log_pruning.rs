//! Deletes old log rows with the strings that only they name, and stores the latest start among the deleted ones.

use crate::clock::Timestamp;
use crate::pool::request_id::RequestId;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::strings;

/// Deletes the oldest `limit` finished requests that began before `time` in one transaction, with their attempts and the strings
/// that no other row names. Returns how many requests were deleted. Rollups and statistics stay.
pub async fn prune(db: &Db, time: Timestamp, limit: u32) -> Result<u64> {
    let mut tx = db.begin().await?;
    let before = RequestId::first_at(time);
    let last = sqlx::query_scalar!(
        r#"
        SELECT max(id) AS "id: RequestId"
        FROM (SELECT id FROM request_logs WHERE id < ?1 AND outcome IS NOT NULL ORDER BY id LIMIT ?2)
        "#,
        before,
        limit,
    );
    let Some(last) = last.fetch_one(&mut *tx).await? else {
        tx.commit().await?;
        return Ok(0);
    };
    let named = sqlx::query_scalar!(
        r#"
        WITH deleted AS MATERIALIZED (
            SELECT client_ip_id, user_agent_id, path_id, model_id
            FROM request_logs
            WHERE id <= ?1 AND outcome IS NOT NULL
        )
        SELECT json_group_array(id) AS "ids!: String"
        FROM (
            SELECT client_ip_id AS id FROM deleted WHERE client_ip_id IS NOT NULL
            UNION
            SELECT user_agent_id FROM deleted WHERE user_agent_id IS NOT NULL
            UNION
            SELECT path_id FROM deleted
            UNION
            SELECT model_id FROM deleted WHERE model_id IS NOT NULL
        )
        "#,
        last,
    );
    let named = named.fetch_one(&mut *tx).await?;
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
    updated.execute(&mut *tx).await?;
    // A running request is never pruned, however old it is.
    let deleted = sqlx::query!(
        "
        DELETE FROM attempts
        WHERE request_id <= ?1 AND request_id NOT IN (SELECT id FROM request_logs WHERE outcome IS NULL)
        ",
        last,
    );
    deleted.execute(&mut *tx).await?;
    let deleted = sqlx::query!(
        "DELETE FROM request_logs WHERE id <= ?1 AND outcome IS NOT NULL",
        last
    );
    let count = deleted.execute(&mut *tx).await?.rows_affected();
    if strings::delete_unused(&mut tx, &named).await? > 0 {
        db.string_deletions.add();
    }
    tx.commit().await?;
    Ok(count)
}

/// Deletes unused strings among the `limit` next ones after `after` in one transaction. Returns the last one that was checked,
/// and how many were deleted; `None` at the end.
pub async fn prune_strings(db: &Db, after: i64, limit: u32) -> Result<Option<(i64, u64)>> {
    let mut tx = db.begin().await?;
    let checked = strings::delete_unused_after(&mut tx, after, limit).await?;
    if checked.is_some_and(|(_, deleted)| deleted > 0) {
        db.string_deletions.add();
    }
    tx.commit().await?;
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::clock;
    use crate::pool::outcome::Outcome;
    use crate::storage::consistency::find_inconsistencies;
    use crate::storage::db::tests::open_migrated;
    use crate::storage::recorder::Recorder;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::tests::{row, running};
    use crate::storage::request_logs::{NewRequestLog, listed};

    const DAY: i64 = 86_400;

    async fn pruned(db: &Db, time: Timestamp, limit: u32) -> u64 {
        prune(db, time, limit).await.unwrap()
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

    async fn strings(pool: &SqlitePool) -> Vec<String> {
        let strings = "SELECT value FROM strings WHERE id <> 0 AND value <> 'other' ORDER BY value";
        sqlx::query_scalar(strings).fetch_all(pool).await.unwrap()
    }

    /// A row whose client invents all that it sends, or is refused by the pool.
    fn invented(seconds: i64, name: &str) -> NewRequestLog {
        NewRequestLog {
            client_ip: Some(format!("address-{name}")),
            user_agent: Some(format!("agent-{name}")),
            path: format!("/v1beta/models/{name}:generateContent"),
            model: Some(format!("model-{name}")),
            status: Some(404),
            outcome: Some(Outcome::ClientError),
            ..row(seconds)
        }
    }

    #[sqlx::test]
    async fn what_only_deleted_rows_name_is_deleted_with_them(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let same_address = NewRequestLog {
            client_ip: Some("address-b".to_owned()),
            ..row(2 * DAY)
        };
        let rows = [row(0), invented(1, "a"), invented(2, "b"), same_address];
        write(&db, rows.into()).await;
        assert_eq!(strings(&pool).await.len(), 4 + 4 + 5);

        assert_eq!(pruned(&db, row(DAY).started_at, 100).await, 3);

        let kept = [
            "/v1beta/models/gemini-flash-latest:generateContent",
            "STOP",
            "address-b",
            "gemini-flash-latest",
            "generateContent",
        ];
        assert_eq!(strings(&pool).await, kept);
        assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
        // What Google named stays without rows, for the rollups.
        assert_eq!(pruned(&db, row(3 * DAY).started_at, 100).await, 1);
        assert_eq!(
            strings(&pool).await,
            ["STOP", "gemini-flash-latest", "generateContent"]
        );
    }

    #[sqlx::test]
    async fn a_writer_stores_a_string_again_that_was_deleted_while_it_was_cached(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let (_recorder, mut writer) = Recorder::new(db.clone());
        writer.write_rows(vec![invented(0, "a")]).await.unwrap();
        assert_eq!(pruned(&db, row(DAY).started_at, 100).await, 1);

        writer.write_rows(vec![invented(DAY, "a")]).await.unwrap();

        let found = listed::find(&pool, row(DAY).id).await.unwrap();
        assert_eq!(found.client_ip.as_deref(), Some("address-a"));
        assert_eq!(found.user_agent.as_deref(), Some("agent-a"));
        assert_eq!(found.model.as_deref(), Some("model-a"));
        assert_eq!(found.path, "/v1beta/models/a:generateContent");
    }

    #[sqlx::test]
    async fn a_string_that_a_row_named_only_while_it_ran_is_deleted_too(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let mut first = running(0);
        first.model = Some("from-the-path".to_owned());
        write(&db, vec![first]).await;
        write(&db, vec![row(0)]).await;
        assert!(strings(&pool).await.contains(&"from-the-path".to_owned()));

        let (mut after, mut steps) = (0, 0);
        while let Some((last, _)) = prune_strings(&db, after, 2).await.unwrap() {
            (after, steps) = (last, steps + 1);
        }

        assert!(steps > 2);
        assert!(!strings(&pool).await.contains(&"from-the-path".to_owned()));
        let found = listed::find(&pool, row(0).id).await.unwrap();
        assert_eq!(found.model, row(0).model);
        assert_eq!(found.client_ip, row(0).client_ip);
    }

    #[sqlx::test]
    async fn a_deletion_that_is_not_committed_deletes_nothing(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        write(&db, vec![invented(0, "a")]).await;
        let before = strings(&pool).await;
        sqlx::raw_sql(
            "CREATE TRIGGER fails BEFORE DELETE ON strings WHEN old.value = 'model-a'
             BEGIN SELECT raise(FAIL, 'as if the process ended'); END",
        )
        .execute(&pool)
        .await
        .unwrap();

        let failed = prune(&db, row(DAY).started_at, 100).await;

        assert!(failed.is_err());
        assert_eq!(strings(&pool).await, before);
        listed::find(&pool, row(0).id).await.unwrap();
    }

    /// Prints how long a deletion of 100 requests blocks the writer, of a million whose clients invent all names.
    #[tokio::test]
    #[ignore = "takes minutes: run by hand with --nocapture"]
    async fn time_to_delete_from_a_million_rows() {
        let (_folder, db) = open_migrated().await;
        add_keys(&db).await;
        let (_recorder, mut writer) = Recorder::new(db.clone());
        for thousand in 0..1_000_i64 {
            let rows = (0..1_000).map(|number| {
                let number = thousand * 1_000 + number;
                let name = format!(
                    "{:x}",
                    u128::from(number.unsigned_abs()).wrapping_mul(0x9E37_79B9_7F4A_7C15)
                );
                invented(number, &name)
            });
            writer.write_rows(rows.collect()).await.unwrap();
            db.checkpoint().await.unwrap();
        }
        let bytes = std::fs::metadata(db.path()).unwrap().len();
        let mut times = Vec::new();
        for _ in 0..500 {
            let begun = clock::instant();
            assert_eq!(prune(&db, row(900_000).started_at, 100).await.unwrap(), 100);
            times.push(begun.elapsed());
            db.checkpoint().await.unwrap();
        }
        times.sort_unstable();
        println!(
            "{bytes} bytes; median {:?}, 99 % {:?}, longest {:?}",
            times[250], times[495], times[499]
        );
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
