//! Unfinished resumable uploads of clients, with the URL and key of Google's session.

use sqlx::SqliteExecutor;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::storage::error::Result;

/// The hash of a client's session id.
pub type IdHash = [u8; 32];

/// A session that Google has created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUploadSession<'a> {
    pub google_path: &'a str,
    pub upstream_key_id: UpstreamKeyId,
    pub client_key_id: ClientKeyId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A session, as needed to continue its upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSession {
    /// Path and query of Google's URL.
    pub google_path: String,
    /// The key that created it.
    pub upstream_key_id: UpstreamKeyId,
    /// The key's current project.
    pub project_id: ProjectId,
    pub client_key_id: ClientKeyId,
}

pub async fn insert(
    db: impl SqliteExecutor<'_>,
    hash: &IdHash,
    session: &NewUploadSession<'_>,
) -> Result<()> {
    let hash = hash.as_slice();
    let inserted = sqlx::query!(
        "
        INSERT INTO upload_sessions (
            id_hash, google_path, upstream_key_id, client_key_id, created_at_ms, expires_at_ms
        )
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ",
        hash,
        session.google_path,
        session.upstream_key_id,
        session.client_key_id,
        session.created_at,
        session.expires_at,
    );
    inserted.execute(db).await?;
    Ok(())
}

/// The session with this id, unless it has expired at `now`.
pub async fn find(
    db: impl SqliteExecutor<'_>,
    hash: &IdHash,
    now: Timestamp,
) -> Result<Option<UploadSession>> {
    let hash = hash.as_slice();
    let session = sqlx::query_as!(
        UploadSession,
        r#"
        SELECT
            s.google_path, s.upstream_key_id AS "upstream_key_id: UpstreamKeyId", k.project_id AS "project_id: ProjectId",
            s.client_key_id AS "client_key_id: ClientKeyId"
        FROM upload_sessions AS s
        JOIN upstream_keys AS k ON k.id = s.upstream_key_id
        WHERE s.id_hash = ?1 AND s.expires_at_ms > ?2
        "#,
        hash,
        now,
    );
    Ok(session.fetch_optional(db).await?)
}

/// Deletes a session that has ended.
pub async fn delete(db: impl SqliteExecutor<'_>, hash: &IdHash) -> Result<()> {
    let hash = hash.as_slice();
    let deleted = sqlx::query!("DELETE FROM upload_sessions WHERE id_hash = ?1", hash);
    deleted.execute(db).await?;
    Ok(())
}

/// Deletes up to `limit` sessions that expired before `time`. Returns how many.
pub async fn delete_expired(
    db: impl SqliteExecutor<'_>,
    time: Timestamp,
    limit: u32,
) -> Result<u64> {
    let deleted = sqlx::query!(
        "
        DELETE FROM upload_sessions
        WHERE id_hash IN (
            SELECT id_hash FROM upload_sessions WHERE expires_at_ms < ?1 ORDER BY expires_at_ms LIMIT ?2
        )
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
    use crate::storage::recorder::tests::add_keys;
    use crate::storage::request_logs::tests::row;

    const DAY: Duration = Duration::from_hours(24);

    async fn open(pool: &SqlitePool, id: u8, created_at: Timestamp) {
        let session = NewUploadSession {
            google_path: "/upload/v1beta/files?upload_id=x",
            upstream_key_id: UpstreamKeyId(2),
            client_key_id: ClientKeyId(1),
            created_at,
            expires_at: created_at + DAY,
        };
        insert(pool, &[id; 32], &session).await.unwrap();
    }

    #[sqlx::test]
    async fn a_session_is_found_by_its_id_until_it_ends_or_expires(pool: SqlitePool) {
        add_keys(&Db::from_pool(pool.clone())).await;
        let start = row(0).started_at;
        open(&pool, 1, start).await;
        open(&pool, 2, start + DAY).await;
        let found = async |id, now| find(&pool, &[id; 32], now).await.unwrap();

        let session = found(1, start).await.unwrap();
        assert_eq!(session.google_path, "/upload/v1beta/files?upload_id=x");
        let whose = (session.upstream_key_id.0, session.project_id.0);
        assert_eq!((whose, session.client_key_id.0), ((2, 2), 1));
        assert_eq!(found(3, start).await, None);
        assert_eq!(found(1, start + DAY).await, None);

        delete(&pool, &[2; 32]).await.unwrap();
        assert_eq!(found(2, start).await, None);
    }

    #[sqlx::test]
    async fn expired_sessions_are_deleted_in_limited_numbers(pool: SqlitePool) {
        add_keys(&Db::from_pool(pool.clone())).await;
        let start = row(0).started_at;
        for id in 0..3 {
            open(&pool, id, start + u32::from(id) * DAY).await;
        }
        let deleted = async |days: u32| {
            let time = start + days * DAY + Duration::from_millis(1);
            delete_expired(&pool, time, 1).await.unwrap()
        };

        assert_eq!(deleted(0).await, 0);
        assert_eq!(deleted(2).await, 1);
        assert_eq!(deleted(2).await, 1);
        assert_eq!(deleted(2).await, 0);
        assert!(find(&pool, &[2; 32], start).await.unwrap().is_some());
    }
}
