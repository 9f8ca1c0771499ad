//! Reads the data of the quota page: names of projects, times at which limits were observed, and requests by hour.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::SqliteExecutor;

use crate::clock::Timestamp;
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::quota::limits::Measure;
use crate::storage::error::Result;
use crate::storage::json_columns::json_array;

const HOUR: Duration = Duration::from_hours(1);

/// The name or number of each project, or `#` and its id.
pub async fn list_project_names(
    db: impl SqliteExecutor<'_>,
    ids: &[ProjectId],
) -> Result<HashMap<ProjectId, String>> {
    let ids = json_array(ids);
    let names = sqlx::query!(
        r#"
        SELECT id AS "id!: ProjectId", coalesce(name, number, '#' || id) AS "name!: String"
        FROM projects
        WHERE id IN (SELECT value FROM json_each(?1))
        "#,
        ids,
    );
    let names = names.fetch_all(db).await?.into_iter();
    Ok(names.map(|row| (row.id, row.name)).collect())
}

/// The projects whose name, number or id contains a text.
pub async fn find_projects(db: impl SqliteExecutor<'_>, text: &str) -> Result<Vec<ProjectId>> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!: ProjectId"
        FROM projects
        WHERE merged_into_id IS NULL AND instr(lower(coalesce(name, '') || ' ' || coalesce(number, '#' || id)), lower(?1)) > 0
        "#,
        text,
    );
    Ok(ids.fetch_all(db).await?)
}

/// When Google named the limits of some projects.
pub async fn list_observation_times(
    db: impl SqliteExecutor<'_>,
    ids: &[ProjectId],
) -> Result<HashMap<(ProjectId, String, Measure), Timestamp>> {
    let ids = json_array(ids);
    let rows = sqlx::query!(
        r#"
        SELECT project_id AS "id!: ProjectId", model, measure, observed_at_ms AS "at: Timestamp"
        FROM quota_limits
        WHERE project_id IN (SELECT value FROM json_each(?1))
        "#,
        ids,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    let times = rows.filter_map(|row| {
        let measure = row.measure.parse().ok()?;
        Some(((row.id, row.model, measure), row.at))
    });
    Ok(times.collect())
}

/// The requests of each model that Google counts, by hour: the first is the last whole hour before `now`.
pub async fn list_hours(
    db: impl SqliteExecutor<'_>,
    now: Timestamp,
    hours: usize,
) -> Result<HashMap<String, Vec<u64>>> {
    let end = now.start_of_hour();
    let begin = end - HOUR * u32::try_from(hours).unwrap_or(u32::MAX);
    let rows = sqlx::query!(
        r#"
        SELECT
            h.hour_ms AS "hour: Timestamp", (SELECT value FROM strings WHERE id = h.model_id) AS "model!: String",
            sum(h.requests) AS "requests!: i64"
        FROM model_hours AS h
        WHERE
            h.hour_ms >= ?1 AND h.hour_ms < ?2 AND h.model_id <> 0
            AND h.outcome IN ('success', 'upstream_error', 'client_gone', 'broken_off', 'interrupted')
        GROUP BY h.hour_ms, h.model_id
        "#,
        begin,
        end,
    );
    let mut found = HashMap::<String, Vec<u64>>::new();
    for row in rows.fetch_all(db).await? {
        let ago = (end - row.hour).as_secs() / HOUR.as_secs();
        let index = usize::try_from(ago).unwrap_or(0).saturating_sub(1);
        let history = found.entry(row.model).or_default();
        if history.len() <= index {
            history.resize(index + 1, 0);
        }
        history[index] += u64::try_from(row.requests).unwrap_or(0);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::pool::outcome::Outcome;
    use crate::pool::request_id::RequestId;
    use crate::storage::db::Db;
    use crate::storage::quotas::upsert_limit;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::tests::row;
    use crate::storage::upstream_keys::Evidence;

    #[sqlx::test]
    async fn requests_that_google_counts_are_listed_by_hour(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        let hour = 3_600;
        let mut refused = row(10);
        refused.outcome = Some(Outcome::Quota);
        let rows = vec![
            row(0),
            row(1),
            refused,
            row(-2 * hour),
            row(hour),
            row(-30 * hour),
        ];
        write(&db, rows).await;

        let now = row(hour + 1_800).started_at;
        let found = list_hours(&pool, now, 24).await.unwrap();

        assert_eq!(found["gemini-flash-latest"], [2, 0, 1]);
        assert_eq!(found.len(), 1);
    }

    #[sqlx::test]
    async fn projects_are_found_by_name_and_number_and_have_their_observations(pool: SqlitePool) {
        let sql = "INSERT INTO projects (id, name, number, created_at_ms, revision, merged_into_id)
             VALUES (1, 'Team', 'projects/77', 0, 1, NULL), (2, NULL, 'projects/8', 0, 1, NULL), (3, NULL, NULL, 0, 1, NULL),
             (4, 'old team', NULL, 0, 1, 1)";
        sqlx::query(sql).execute(&pool).await.unwrap();
        let evidence = Evidence {
            status: Some(429),
            message: String::new(),
            request_id: RequestId(1),
        };
        let (measure, at) = (Measure::RequestsPerDay, Timestamp::from_millis(5));
        upsert_limit(&pool, ProjectId(2), "m", measure, Some(3), at, &evidence)
            .await
            .unwrap();

        for (text, expected) in [
            ("team", &[1][..]),
            ("projects/", &[1, 2]),
            ("#3", &[3]),
            ("x", &[]),
        ] {
            let found = find_projects(&pool, text).await.unwrap();
            let found: Vec<_> = found.iter().map(|id| id.0).collect();
            assert_eq!(found, expected, "{text}");
        }
        let ids = [1, 2, 3].map(ProjectId);
        let names = list_project_names(&pool, &ids).await.unwrap();
        assert_eq!(
            ids.map(|id| names[&id].as_str()),
            ["Team", "projects/8", "#3"]
        );
        let times = list_observation_times(&pool, &ids).await.unwrap();
        assert_eq!(times[&(ProjectId(2), "m".to_owned(), measure)], at);
        assert_eq!(times.len(), 1);
    }
}
