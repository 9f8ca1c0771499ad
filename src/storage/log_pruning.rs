//! Deletes log rows, and stores which hours of the log are not complete any more.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::json;
use sqlx::{Sqlite, SqliteExecutor, SqlitePool, Transaction};

use crate::clock::{self, Timestamp};
use crate::pool::request_id::RequestId;
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::json_columns::json_array;
use crate::storage::request_logs::filter::LogFilter;
use crate::storage::strings;

/// Which rows are deleted, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneScope {
    /// The oldest rows, by the server: with the strings that no other row names. All hours up to the last deleted row become incomplete.
    Oldest,
    /// Any rows, by a command: only their hours become incomplete. The strings stay, because a server may have their ids in its memory;
    /// [`prune_strings`] deletes them later.
    Selected,
}

/// What a transaction has deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrunedBatch {
    pub requests: u64,
    /// How long the transaction kept other writers waiting.
    pub took: Duration,
}

/// The oldest finished requests that began before `before`, except those whose end is in `spared`. Outside of the transaction that deletes
/// them, so that no writer waits for the search.
pub async fn list_oldest(
    db: &SqlitePool,
    before: Option<Timestamp>,
    spared: &RangeInclusive<Timestamp>,
    limit: u32,
) -> Result<Vec<RequestId>> {
    let end = before.map_or(RequestId(i64::MAX), RequestId::first_at);
    let (first, last) = (spared.start(), spared.end());
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!: RequestId"
        FROM request_logs
        WHERE id < ?1 AND outcome IS NOT NULL AND started_at_ms + ifnull(duration_ms, 0) NOT BETWEEN ?2 AND ?3
        ORDER BY id
        LIMIT ?4
        "#,
        end,
        first,
        last,
        limit,
    );
    Ok(ids.fetch_all(db).await?)
}

/// Deletes those of these requests that are finished in one transaction, with their attempts and bodies. Rollups and statistics stay. A running
/// request, and one whose final row is still in the journal, has no outcome in its table and is spared.
pub async fn delete(db: &Db, ids: &[RequestId], scope: PruneScope) -> Result<PrunedBatch> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let ids = json_array(&ids);
    let mut tx = db.begin().await?;
    let begun = clock::instant();
    let named = match scope {
        PruneScope::Oldest => {
            mark_until(&mut tx, &ids).await?;
            Some(named_strings(&mut tx, &ids).await?)
        }
        PruneScope::Selected => {
            mark_hours(&mut tx, &ids).await?;
            None
        }
    };
    let deleted = sqlx::query!(
        "
        DELETE FROM attempts
        WHERE request_id IN (
            SELECT id FROM request_logs WHERE id IN (SELECT value FROM json_each(?1)) AND outcome IS NOT NULL
        )
        ",
        ids,
    );
    deleted.execute(&mut *tx).await?;
    let deleted = sqlx::query!(
        "
        DELETE FROM request_bodies
        WHERE request_id IN (
            SELECT id FROM request_logs WHERE id IN (SELECT value FROM json_each(?1)) AND outcome IS NOT NULL
        )
        ",
        ids,
    );
    deleted.execute(&mut *tx).await?;
    let deleted = sqlx::query!(
        "DELETE FROM request_logs WHERE id IN (SELECT value FROM json_each(?1)) AND outcome IS NOT NULL",
        ids,
    );
    let requests = deleted.execute(&mut *tx).await?.rows_affected();
    let count = i64::try_from(requests).unwrap_or(i64::MAX);
    let counted = sqlx::query!(
        "UPDATE log_counter SET finished_rows = finished_rows - ?1",
        count
    );
    counted.execute(&mut *tx).await?;
    if let Some(named) = named
        && strings::delete_unused(&mut tx, &named).await? > 0
    {
        db.string_deletions.add();
    }
    tx.commit().await?;
    Ok(PrunedBatch {
        requests,
        took: begun.elapsed(),
    })
}

/// The strings that these rows name and that are not kept for good, as JSON.
async fn named_strings(tx: &mut Transaction<'_, Sqlite>, ids: &str) -> Result<String> {
    let named = sqlx::query_scalar!(
        r#"
        WITH deleted AS MATERIALIZED (
            SELECT client_ip_id, user_agent_id, path_id, model_id
            FROM request_logs
            WHERE id IN (SELECT value FROM json_each(?1)) AND outcome IS NOT NULL
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
        ids,
    );
    Ok(named.fetch_one(&mut **tx).await?)
}

/// Marks everything up to the last of these rows and its attempts as incomplete.
async fn mark_until(tx: &mut Transaction<'_, Sqlite>, ids: &str) -> Result<()> {
    let updated = sqlx::query!(
        "
        UPDATE log_pruning
        SET until_ms = max(
            until_ms,
            (
                SELECT ifnull(max(started_at_ms), -1)
                FROM request_logs
                WHERE id IN (SELECT value FROM json_each(?1)) AND outcome IS NOT NULL
            ),
            (SELECT ifnull(max(started_at_ms), -1) FROM attempts WHERE request_id IN (SELECT value FROM json_each(?1)))
        )
        ",
        ids,
    );
    updated.execute(&mut **tx).await?;
    let deleted = sqlx::query!(
        "DELETE FROM pruned_hours WHERE hour_ms <= (SELECT until_ms FROM log_pruning)"
    );
    deleted.execute(&mut **tx).await?;
    Ok(())
}

/// Marks the hours of these rows and their attempts as incomplete.
async fn mark_hours(tx: &mut Transaction<'_, Sqlite>, ids: &str) -> Result<()> {
    let inserted = sqlx::query!(
        "
        INSERT OR IGNORE INTO pruned_hours (hour_ms)
        SELECT started_at_ms - started_at_ms % 3600000
        FROM request_logs
        WHERE id IN (SELECT value FROM json_each(?1)) AND outcome IS NOT NULL
        UNION
        SELECT started_at_ms - started_at_ms % 3600000
        FROM attempts
        WHERE request_id IN (SELECT value FROM json_each(?1))
        ",
        ids,
    );
    inserted.execute(&mut **tx).await?;
    Ok(())
}

/// Whether rows that began from the hour of `since` to `until` may have been deleted.
pub async fn is_pruned(
    db: impl SqliteExecutor<'_>,
    since: Timestamp,
    until: Timestamp,
) -> Result<bool> {
    let since = since.start_of_hour();
    let found = sqlx::query_scalar!(
        r#"
        SELECT
            until_ms >= ?1 OR EXISTS (SELECT 1 FROM pruned_hours WHERE hour_ms >= ?1 AND hour_ms < ?2) AS "found!: bool"
        FROM log_pruning
        "#,
        since,
        until,
    );
    Ok(found.fetch_one(db).await?)
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

/// Records in the audit log that rows of a filter were deleted.
pub async fn record_prune(db: &Db, act: &Act, filter: &LogFilter, deleted: u64) -> Result<()> {
    let mut tx = db.begin().await?;
    let content = json!({ "rows": deleted, "filter": filter.conditions() });
    let subject = (Subject::RequestLog, None);
    audit::insert(
        &mut tx,
        act,
        Action::Delete,
        subject,
        "logs",
        (Some(content), None),
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::pool::outcome::Outcome;
    use crate::pool::retention::spared_ends;
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

    /// Deletes the oldest `limit` requests that began before `time`, of a past that is over.
    pub async fn prune(db: &Db, time: Timestamp, limit: u32) -> Result<u64> {
        let spared = spared_ends(row(1_000_000).started_at);
        let ids = list_oldest(&db.readers, Some(time), &spared, limit).await?;
        Ok(delete(db, &ids, PruneScope::Oldest).await?.requests)
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
            ("client_key_days", "day_ms"),
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

    #[sqlx::test]
    async fn only_the_hours_of_selected_rows_cannot_be_checked_any_more(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let mut over_an_hour = row(2 * DAY + 3_599);
        over_an_hour.attempts[0].started_at = row(2 * DAY + 3_600).started_at;
        let rows = [row(0), row(1), row(3_600), row(DAY), over_an_hour.clone()];
        write(&db, rows.into()).await;

        let ids = [row(0).id, over_an_hour.id];
        let deleted = delete(&db, &ids, PruneScope::Selected).await.unwrap();

        assert_eq!(deleted.requests, 2);
        assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
        let hours = [0, 2 * DAY, 2 * DAY + 3_600].map(|seconds| row(seconds).started_at);
        let marked: Vec<Timestamp> =
            sqlx::query_scalar("SELECT hour_ms FROM pruned_hours ORDER BY 1")
                .fetch_all(&pool)
                .await
                .unwrap();
        assert_eq!(marked, hours);
        for (table, column, seconds, is_found) in [
            ("model_hours", "hour_ms", 0, false),
            ("model_hours", "hour_ms", 3_600, true),
            ("client_key_hours", "hour_ms", 0, false),
            ("client_key_hours", "hour_ms", 3_600, true),
            ("model_days", "day_ms", -8 * 3_600, false),
            ("model_days", "day_ms", DAY - 8 * 3_600, true),
            ("client_key_days", "day_ms", DAY - 8 * 3_600, true),
            ("upstream_key_days", "day_ms", 2 * DAY - 8 * 3_600, false),
        ] {
            let spoil = |sign| {
                let begin = row(seconds).started_at.as_millis();
                format!(
                    "UPDATE {table} SET cost_nano_usd = cost_nano_usd {sign} 1 WHERE {column} = {begin}"
                )
            };
            let spoilt = sqlx::query(&spoil("+")).execute(&pool).await.unwrap();
            assert_eq!(spoilt.rows_affected(), 1, "{table} {seconds}");
            let found = find_inconsistencies(&pool).await.unwrap();
            assert_eq!(!found.is_empty(), is_found, "{table} {seconds}");
            sqlx::query(&spoil("-")).execute(&pool).await.unwrap();
        }
        // Strings stay, because a server may have cached them.
        assert!(strings(&pool).await.contains(&row(0).path));
        assert!(
            is_pruned(&pool, row(10).started_at, row(20).started_at)
                .await
                .unwrap()
        );
        assert!(
            !is_pruned(&pool, row(3_600).started_at, row(DAY).started_at)
                .await
                .unwrap()
        );

        // What is before the time until which all is incomplete needs no mark.
        pruned(&db, row(DAY).started_at, 10).await;
        assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
        let marks: i64 = sqlx::query_scalar("SELECT count(*) FROM pruned_hours")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(marks, 2);
        assert!(
            is_pruned(&pool, row(3_600).started_at, row(DAY).started_at)
                .await
                .unwrap()
        );
    }

    #[sqlx::test]
    async fn a_running_request_is_deleted_by_nothing(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        write(&db, vec![running(0), row(1)]).await;
        let ids = [row(0).id, row(1).id, row(2).id];

        for (scope, expected) in [(PruneScope::Selected, 1), (PruneScope::Oldest, 0)] {
            let deleted = delete(&db, &ids, scope).await.unwrap();
            assert_eq!(deleted.requests, expected, "{scope:?}");
        }

        // Its end, which was in the journal meanwhile, finds its row and its attempts.
        write(&db, vec![row(0)]).await;
        let found = listed::find(&pool, row(0).id).await.unwrap();
        assert_eq!(found.attempt_list.unwrap().len(), 1);
        assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
    }

    #[sqlx::test]
    async fn a_request_that_ended_just_now_is_not_among_the_oldest(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        write(&db, vec![row(0), row(200), row(100_000)]).await;
        let now = row(210).started_at;

        let found = list_oldest(&pool, None, &spared_ends(now), 10)
            .await
            .unwrap();

        // The last one is of a time when the clock was ahead.
        assert_eq!(found, [row(0).id, row(100_000).id]);
    }
}
