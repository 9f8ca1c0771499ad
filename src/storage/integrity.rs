//! Checks of the database's content beside its counters: damage, references, strings, resources. Only reads.

use sqlx::{SqliteExecutor, SqlitePool};

use crate::clock::Timestamp;
use crate::storage::error::Result;

/// Maximum number of damages that are listed.
const MAX_DAMAGES: u32 = 10;

/// Rows of a table that refer to missing rows of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenReferences {
    pub table: String,
    pub parent: String,
    pub rows: i64,
}

/// Strings and rows that do not match each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StringCounts {
    /// Strings that no row names, and that are not kept.
    pub unused: i64,
    /// Log rows that name a missing string, which lists may leave out.
    pub rows_without_string: i64,
}

/// Stored resources and upload sessions that are of no use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceCounts {
    /// Resources that expired before the given time.
    pub expired_resources: i64,
    /// Upload sessions that expired before the given time.
    pub expired_sessions: i64,
    /// Resources in projects without a key.
    pub unreachable_resources: i64,
    /// Upload sessions of removed keys.
    pub unreachable_sessions: i64,
}

/// The damages that SQLite finds in the file, each in its words; none in a sound file. Reads the whole file.
pub async fn list_damages(db: &SqlitePool) -> Result<Vec<String>> {
    // The macros do not know what a pragma returns, and a pragma takes no parameters.
    let check = format!("PRAGMA integrity_check({MAX_DAMAGES})");
    let mut damages: Vec<String> = sqlx::query_scalar(&check).fetch_all(db).await?;
    damages.retain(|damage| damage != "ok");
    Ok(damages)
}

/// The foreign keys that refer to nothing, by table.
pub async fn list_broken_references(db: &SqlitePool) -> Result<Vec<BrokenReferences>> {
    // The macros do not know the columns of a pragma.
    let broken: Vec<(String, String, i64)> = sqlx::query_as(
        r#"SELECT "table", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2 ORDER BY 1, 2"#,
    )
    .fetch_all(db)
    .await?;
    let broken = broken
        .into_iter()
        .map(|(table, parent, rows)| BrokenReferences {
            table,
            parent,
            rows,
        });
    Ok(broken.collect())
}

/// Compares strings with the log rows that name them.
pub async fn count_strings(db: impl SqliteExecutor<'_>) -> Result<StringCounts> {
    let counts = sqlx::query_as!(
        StringCounts,
        r#"
        SELECT
            (
                SELECT count(*)
                FROM strings AS s
                WHERE
                    s.is_kept = 0
                    AND NOT EXISTS (SELECT 1 FROM request_logs WHERE client_ip_id = s.id)
                    AND NOT EXISTS (SELECT 1 FROM request_logs WHERE user_agent_id = s.id)
                    AND NOT EXISTS (SELECT 1 FROM request_logs WHERE path_id = s.id)
                    AND NOT EXISTS (SELECT 1 FROM request_logs WHERE model_id = s.id)
            ) AS "unused!: i64",
            (
                SELECT count(*)
                FROM request_logs AS r
                WHERE
                    NOT EXISTS (SELECT 1 FROM strings WHERE id = r.path_id)
                    OR (r.client_ip_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM strings WHERE id = r.client_ip_id))
                    OR (r.user_agent_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM strings WHERE id = r.user_agent_id))
                    OR (r.model_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM strings WHERE id = r.model_id))
                    OR (r.rollup_model_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM strings WHERE id = r.rollup_model_id))
                    OR (r.model_version_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM strings WHERE id = r.model_version_id))
                    OR (r.operation_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM strings WHERE id = r.operation_id))
                    OR (r.finish_reason_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM strings WHERE id = r.finish_reason_id))
                    OR (r.service_tier_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM strings WHERE id = r.service_tier_id))
            ) AS "rows_without_string!: i64"
        "#,
    );
    Ok(counts.fetch_one(db).await?)
}

/// Counts resources and upload sessions that expired before `expired_before`, or have no key.
pub async fn count_resources(
    db: impl SqliteExecutor<'_>,
    expired_before: Timestamp,
) -> Result<ResourceCounts> {
    let counts = sqlx::query_as!(
        ResourceCounts,
        r#"
        WITH reachable AS (
            SELECT DISTINCT project_id FROM upstream_keys WHERE removed_at_ms IS NULL
        )
        SELECT
            (SELECT count(*) FROM resources WHERE expires_at_ms < ?1) AS "expired_resources!: i64",
            (SELECT count(*) FROM upload_sessions WHERE expires_at_ms < ?1) AS "expired_sessions!: i64",
            (
                SELECT count(*)
                FROM resources AS r
                LEFT JOIN upstream_keys AS u ON u.id = r.upstream_key_id
                WHERE
                    (r.expires_at_ms IS NULL OR r.expires_at_ms >= ?1)
                    AND ifnull(u.project_id, 0) NOT IN (SELECT project_id FROM reachable)
            ) AS "unreachable_resources!: i64",
            (
                SELECT count(*)
                FROM upload_sessions AS s
                LEFT JOIN upstream_keys AS u ON u.id = s.upstream_key_id
                WHERE s.expires_at_ms >= ?1 AND (u.id IS NULL OR u.removed_at_ms IS NOT NULL)
            ) AS "unreachable_sessions!: i64"
        "#,
        expired_before,
    );
    Ok(counts.fetch_one(db).await?)
}

/// The number of entries of the journal that could not be read.
pub async fn count_unreadable_entries(db: impl SqliteExecutor<'_>) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!: i64" FROM request_journal WHERE id < 0"#
    );
    Ok(count.fetch_one(db).await?)
}
