//! Answers of the admin API that are kept by `Idempotency-Key`, so that a repeated request has no second effect.

use std::time::Duration;

use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::clock::Timestamp;
use crate::pool::api_token::ApiTokenId;
use crate::storage::error::Result;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_hours(24);
/// Maximum number of answers; the oldest ones above it are deleted.
const MAX_ANSWERS: u32 = 10_000;

/// The token and the key of a request.
#[derive(Debug, Clone, Copy)]
pub struct AnswerKey<'a> {
    pub token_id: ApiTokenId,
    pub text: &'a str,
}

/// An answer to send again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    pub location: Option<String>,
    /// `None`: it held a secret, or was large.
    pub body: Option<String>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownAnswer {
    /// Nothing: the request begins now.
    None,
    OfAnotherRequest,
    /// The request runs, or was interrupted.
    Unfinished,
    Finished(StoredAnswer),
}

/// Begins a request with this hash, unless its key is known.
pub async fn begin(
    tx: &mut Transaction<'_, Sqlite>,
    key: AnswerKey<'_>,
    hash: &[u8; 32],
    now: Timestamp,
) -> Result<KnownAnswer> {
    let (hash, oldest) = (hash.as_slice(), now - KEPT);
    let known = sqlx::query!(
        r#"
        SELECT request_hash, status AS "status: u16", location, body
        FROM api_answers
        WHERE token_id = ?1 AND idempotency_key = ?2 AND created_at_ms >= ?3
        "#,
        key.token_id,
        key.text,
        oldest,
    );
    if let Some(known) = known.fetch_optional(&mut **tx).await? {
        return Ok(match known.status {
            _ if known.request_hash != hash => KnownAnswer::OfAnotherRequest,
            None => KnownAnswer::Unfinished,
            Some(status) => KnownAnswer::Finished(StoredAnswer {
                status,
                location: known.location,
                body: known.body,
            }),
        });
    }
    let inserted = sqlx::query!(
        "
        INSERT OR REPLACE INTO api_answers (token_id, idempotency_key, request_hash, created_at_ms)
        VALUES (?1, ?2, ?3, ?4)
        ",
        key.token_id,
        key.text,
        hash,
        now,
    );
    inserted.execute(&mut **tx).await?;
    Ok(KnownAnswer::None)
}

/// Stores the answer of a request.
pub async fn finish(
    db: impl SqliteExecutor<'_>,
    key: AnswerKey<'_>,
    answer: &StoredAnswer,
) -> Result<()> {
    let updated = sqlx::query!(
        "
        UPDATE api_answers
        SET status = ?3, location = ?4, body = ?5
        WHERE token_id = ?1 AND idempotency_key = ?2
        ",
        key.token_id,
        key.text,
        answer.status,
        answer.location,
        answer.body,
    );
    updated.execute(db).await?;
    Ok(())
}

/// Forgets a request that did nothing.
pub async fn delete(db: impl SqliteExecutor<'_>, key: AnswerKey<'_>) -> Result<()> {
    let deleted = sqlx::query!(
        "DELETE FROM api_answers WHERE token_id = ?1 AND idempotency_key = ?2",
        key.token_id,
        key.text,
    );
    deleted.execute(db).await?;
    Ok(())
}

/// Deletes answers that are no longer kept.
pub async fn delete_old(db: impl SqliteExecutor<'_>, now: Timestamp) -> Result<()> {
    let (oldest, last) = (now - KEPT, MAX_ANSWERS - 1);
    let deleted = sqlx::query!(
        "
        DELETE FROM api_answers
        WHERE created_at_ms < max(
            ?1,
            coalesce((SELECT created_at_ms FROM api_answers ORDER BY created_at_ms DESC LIMIT 1 OFFSET ?2), ?1)
        )
        ",
        oldest,
        last,
    );
    deleted.execute(db).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::db::Db;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
    const KEY: AnswerKey = AnswerKey {
        token_id: ApiTokenId(1),
        text: "key",
    };

    async fn begin_at(db: &Db, key: AnswerKey<'_>, hash: u8, now: Timestamp) -> KnownAnswer {
        let mut tx = db.begin().await.unwrap();
        let known = begin(&mut tx, key, &[hash; 32], now).await.unwrap();
        tx.commit().await.unwrap();
        known
    }

    #[sqlx::test]
    async fn a_repeated_request_gets_its_answer_for_a_day(pool: SqlitePool) {
        let db = Db::from_pool(pool);
        let answer = StoredAnswer {
            status: 201,
            location: Some("/x".to_owned()),
            body: Some("{}".to_owned()),
        };

        assert_eq!(begin_at(&db, KEY, 1, NOW).await, KnownAnswer::None);
        assert_eq!(begin_at(&db, KEY, 1, NOW).await, KnownAnswer::Unfinished);
        finish(&db.writer, KEY, &answer).await.unwrap();
        let other = AnswerKey {
            token_id: ApiTokenId(2),
            ..KEY
        };
        assert_eq!(begin_at(&db, other, 2, NOW).await, KnownAnswer::None);
        assert_eq!(
            begin_at(&db, KEY, 1, NOW).await,
            KnownAnswer::Finished(answer)
        );
        assert_eq!(
            begin_at(&db, KEY, 2, NOW).await,
            KnownAnswer::OfAnotherRequest
        );
        delete(&db.writer, other).await.unwrap();
        assert_eq!(begin_at(&db, other, 3, NOW).await, KnownAnswer::None);
        let later = NOW + KEPT + Duration::from_millis(1);
        assert_eq!(begin_at(&db, KEY, 2, later).await, KnownAnswer::None);
    }

    #[sqlx::test]
    async fn answers_are_deleted_after_a_day_and_above_their_number(pool: SqlitePool) {
        let db = Db::from_pool(pool);
        for age in [KEPT + Duration::from_millis(1), KEPT] {
            let text = format!("{age:?}");
            let key = AnswerKey { text: &text, ..KEY };
            assert_eq!(begin_at(&db, key, 1, NOW - age).await, KnownAnswer::None);
        }
        delete_old(&db.writer, NOW).await.unwrap();
        let count = async || -> u32 {
            let count = sqlx::query_scalar("SELECT count(*) FROM api_answers");
            count.fetch_one(&db.readers).await.unwrap()
        };
        assert_eq!(count().await, 1);

        let many = "
            WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10100)
            INSERT INTO api_answers (token_id, idempotency_key, request_hash, created_at_ms)
            SELECT 2, n, zeroblob(32), 1000000000 - n FROM n
        ";
        sqlx::query(many).execute(&db.writer).await.unwrap();
        delete_old(&db.writer, NOW).await.unwrap();

        assert_eq!(count().await, MAX_ANSWERS);
    }
}
