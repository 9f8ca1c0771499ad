//! Cooldowns of projects, per model, with their evidence.

use sqlx::SqliteExecutor;

use crate::clock::Timestamp;
use crate::pool::health::cooldown::Cooldown;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::ProjectId;
use crate::storage::error::Result;
use crate::storage::upstream_keys::Evidence;

/// Cooldowns still running at `now`, earliest end first, of the projects that changed after `revision` (-1: of all).
pub async fn list_changed(
    db: impl SqliteExecutor<'_>,
    revision: i64,
    now: Timestamp,
) -> Result<Vec<(ProjectId, String, Cooldown)>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            c.project_id AS "project_id: ProjectId", c.model, c.rule, c.step AS "step: u32",
            c.since_ms AS "since: Timestamp", c.until_ms AS "until: Timestamp"
        FROM projects AS p
        JOIN cooldowns AS c ON c.project_id = p.id
        WHERE p.revision > ?1 AND c.until_ms > ?2
        ORDER BY c.until_ms, c.project_id, c.model
        "#,
        revision,
        now,
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let cooldown = cooldown(&row.rule, row.step, row.since, row.until);
            (row.project_id, row.model, cooldown)
        })
        .collect())
}

/// Sets a cooldown and replaces an earlier one. If the project was merged into another, the other one cools down.
pub async fn upsert(
    db: impl SqliteExecutor<'_>,
    project_id: ProjectId,
    model: &str,
    cooldown: &Cooldown,
    evidence: &Evidence,
) -> Result<()> {
    let rule = cooldown.rule.name();
    let inserted = sqlx::query!(
        "
        INSERT INTO cooldowns (project_id, model, rule, step, status, message, request_id, since_ms, until_ms)
        SELECT coalesce(merged_into_id, id), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
        FROM projects
        WHERE id = ?1
        ON CONFLICT (project_id, model) DO UPDATE
        SET
            rule = excluded.rule, step = excluded.step, status = excluded.status, message = excluded.message,
            request_id = excluded.request_id, since_ms = excluded.since_ms, until_ms = excluded.until_ms
        ",
        project_id,
        model,
        rule,
        cooldown.step,
        evidence.status,
        evidence.message,
        evidence.request_id,
        cooldown.since,
        cooldown.until,
    );
    inserted.execute(db).await?;
    Ok(())
}

fn cooldown(rule: &str, step: u32, since: Timestamp, until: Timestamp) -> Cooldown {
    Cooldown {
        rule: Rule::named(rule).unwrap_or(Rule::QuotaWithoutDetail),
        step,
        since,
        until,
    }
}

/// Deletes the cooldown of a project for a model.
pub async fn delete(db: impl SqliteExecutor<'_>, project_id: ProjectId, model: &str) -> Result<()> {
    let deleted = sqlx::query!(
        "
        DELETE FROM cooldowns
        WHERE model = ?2 AND project_id = (SELECT coalesce(merged_into_id, id) FROM projects WHERE id = ?1)
        ",
        project_id,
        model,
    );
    deleted.execute(db).await?;
    Ok(())
}

/// Deletes the cooldowns that ended before `time`.
pub async fn delete_expired(db: impl SqliteExecutor<'_>, time: Timestamp) -> Result<()> {
    sqlx::query!("DELETE FROM cooldowns WHERE until_ms < ?1", time)
        .execute(db)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::pool::request_id::RequestId;

    #[sqlx::test]
    async fn a_cooldown_replaces_an_earlier_one_and_ends(pool: SqlitePool) {
        sqlx::query(
            "INSERT INTO projects (id, created_at_ms, revision) VALUES (1, 0, 1), (2, 0, 1)",
        )
        .execute(&pool)
        .await
        .unwrap();
        let evidence = Evidence {
            status: Some(429),
            message: "quota".to_owned(),
            request_id: RequestId(1),
        };
        let until = |millis| Cooldown {
            rule: Rule::QuotaWithoutDetail,
            step: 1,
            since: Timestamp::from_millis(0),
            until: Timestamp::from_millis(millis),
        };
        for (project, model, millis) in [(1, "a", 50), (1, "a", 100), (2, "b", 70), (2, "*", 20)] {
            upsert(&pool, ProjectId(project), model, &until(millis), &evidence)
                .await
                .unwrap();
        }

        let now = Timestamp::from_millis(20);
        let expected = [
            (ProjectId(2), "b".to_owned(), until(70)),
            (ProjectId(1), "a".to_owned(), until(100)),
        ];
        assert_eq!(list_changed(&pool, -1, now).await.unwrap(), expected);

        delete_expired(&pool, Timestamp::from_millis(71))
            .await
            .unwrap();
        let start = Timestamp::from_millis(0);
        assert_eq!(list_changed(&pool, -1, start).await.unwrap(), expected[1..]);
    }
}
