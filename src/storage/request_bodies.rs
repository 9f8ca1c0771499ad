//! `request_bodies`: bodies that are kept by `body_log_mode`, redacted and compressed.

use std::io;
use std::time::Duration;

use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::clock::{self, Timestamp};
use crate::pool::request_id::RequestId;
use crate::pool::sealing::StoredPlace;
use crate::storage::audit::{self, Act, Action, Actor, Subject};
use crate::storage::data_keys::{DataKeyId, DataKeys};
use crate::storage::db::Db;
use crate::storage::error::{Error, Result};
use crate::storage::json_columns::json_array;

/// The level of zstd: its default, beyond which text gets hardly smaller.
const LEVEL: i32 = 3;
/// What a body takes beside its contents.
const ROW_BYTES: usize = 64;

/// How much of a body is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, serde::Serialize, utoipa::ToSchema)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum BodyForm {
    Whole,
    /// Its beginning.
    Cut,
    /// Nothing, because it is no text.
    Binary,
    /// Nothing, because its encoding cannot be undone.
    Encoded,
}

/// One body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBody {
    pub form: BodyForm,
    pub content_type: Option<String>,
    /// Its size as sent, encoded and not redacted.
    pub bytes: u64,
    /// A text as zstd; `None`: empty or not kept.
    pub content: Option<Vec<u8>>,
}

impl KeptBody {
    /// Compresses a text. Off the threads of requests: it takes about a millisecond.
    pub fn compressed(
        form: BodyForm,
        content_type: Option<String>,
        bytes: u64,
        text: &str,
    ) -> io::Result<Self> {
        let content = (!text.is_empty()).then(|| zstd::encode_all(text.as_bytes(), LEVEL));
        Ok(Self {
            form,
            content_type,
            bytes,
            content: content.transpose()?,
        })
    }

    /// The text; `None`: it is not kept.
    pub fn text(&self) -> io::Result<Option<String>> {
        let Some(content) = &self.content else {
            return Ok(None);
        };
        let text = zstd::decode_all(content.as_slice())?;
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        Ok(Some(text))
    }
}

/// The bodies of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestBodies {
    pub request_id: RequestId,
    pub request: KeptBody,
    pub answer: KeptBody,
}

/// What a transaction has deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedBodies {
    pub count: u64,
    /// How long the transaction kept other writers waiting.
    pub took: Duration,
}

pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    bodies: &RequestBodies,
) -> Result<()> {
    let (request, answer) = (&bodies.request, &bodies.answer);
    let (request_bytes, answer_bytes) = (size(request.bytes), size(answer.bytes));
    let row = bodies.request_id.to_string();
    let seal = |column, content: &Option<Vec<u8>>| {
        let content = content.as_ref()?;
        Some(data_keys.seal_bytes(place(column, &row), content))
    };
    let request_content = seal("request_content", &request.content);
    let answer_content = seal("answer_content", &answer.content);
    let data_key_id = data_keys.active();
    let contents = [&request_content, &answer_content].into_iter().flatten();
    let stored = contents.map(Vec::len).sum::<usize>() + ROW_BYTES;
    let stored = i64::try_from(stored).unwrap_or(i64::MAX);
    let inserted = sqlx::query!(
        "
        INSERT INTO request_bodies (
            request_id, request_form, request_type, request_bytes, request_content, answer_form, answer_type, answer_bytes,
            answer_content, stored_bytes, data_key_id
        )
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT (request_id) DO NOTHING
        ",
        bodies.request_id,
        request.form,
        request.content_type,
        request_bytes,
        request_content,
        answer.form,
        answer.content_type,
        answer_bytes,
        answer_content,
        stored,
        data_key_id,
    );
    inserted.execute(&mut **tx).await?;
    Ok(())
}

/// The bodies of a request; `None`: none are kept.
pub async fn find(db: &Db, id: RequestId) -> Result<Option<RequestBodies>> {
    // One transaction, so that the data keys are those of the row.
    let mut tx = db.readers.begin().await?;
    let row = sqlx::query!(
        r#"
        SELECT
            request_form AS "request_form: BodyForm", request_type, request_bytes AS "request_bytes: u64", request_content,
            answer_form AS "answer_form: BodyForm", answer_type, answer_bytes AS "answer_bytes: u64", answer_content,
            data_key_id AS "data_key_id: DataKeyId"
        FROM request_bodies
        WHERE request_id = ?1
        "#,
        id,
    );
    let Some(row) = row.fetch_optional(&mut *tx).await? else {
        return Ok(None);
    };
    let data_keys = db.data_keys.load(&mut tx).await?;
    let place_of_row = id.to_string();
    let open = |column, content: Option<Vec<u8>>| {
        let Some(content) = content else {
            return Ok::<_, Error>(None);
        };
        let opened =
            data_keys.open_bytes(place(column, &place_of_row), row.data_key_id, content)?;
        Ok(Some(opened.to_vec()))
    };
    Ok(Some(RequestBodies {
        request_id: id,
        request: KeptBody {
            form: row.request_form,
            content_type: row.request_type,
            bytes: row.request_bytes,
            content: open("request_content", row.request_content)?,
        },
        answer: KeptBody {
            form: row.answer_form,
            content_type: row.answer_type,
            bytes: row.answer_bytes,
            content: open("answer_content", row.answer_content)?,
        },
    }))
}

/// Where a body of the request with this id is stored.
pub fn place<'a>(column: &'static str, id: &'a str) -> StoredPlace<'a> {
    StoredPlace {
        table: "request_bodies",
        column,
        row: id,
    }
}

/// Whether bodies of a request are kept.
pub async fn exists(db: impl SqliteExecutor<'_>, id: RequestId) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM request_bodies WHERE request_id = ?1) AS "found!: bool""#,
        id,
    );
    Ok(found.fetch_one(db).await?)
}

/// The size of all bodies, compressed.
pub async fn total_bytes(db: impl SqliteExecutor<'_>) -> Result<u64> {
    let total = sqlx::query_scalar!(
        r#"
        SELECT ifnull(sum(stored_bytes), 0) AS "total!: u64"
        FROM request_bodies INDEXED BY request_bodies_by_size
        "#
    );
    Ok(total.fetch_one(db).await?)
}

/// The oldest bodies of requests that began before the one with the id `before`, with their sizes.
pub async fn list_oldest(
    db: impl SqliteExecutor<'_>,
    before: RequestId,
    limit: u32,
) -> Result<Vec<(RequestId, u64)>> {
    let rows = sqlx::query!(
        r#"
        SELECT request_id AS "request_id!: RequestId", stored_bytes AS "stored_bytes: u64"
        FROM request_bodies INDEXED BY request_bodies_by_size
        WHERE request_id < ?1
        ORDER BY request_id
        LIMIT ?2
        "#,
        before,
        limit,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    Ok(rows.map(|row| (row.request_id, row.stored_bytes)).collect())
}

/// Deletes the bodies of these requests in one transaction.
pub async fn delete(db: &Db, ids: &[RequestId]) -> Result<DeletedBodies> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let ids = json_array(&ids);
    let mut tx = db.begin().await?;
    let begun = clock::instant();
    let deleted = sqlx::query!(
        "DELETE FROM request_bodies WHERE request_id IN (SELECT value FROM json_each(?1))",
        ids,
    );
    let count = deleted.execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(DeletedBodies {
        count,
        took: begun.elapsed(),
    })
}

/// Records in the audit log that an admin reads the bodies of a request.
pub async fn record_view(db: &Db, actor: &Actor, now: Timestamp, id: RequestId) -> Result<()> {
    let mut tx = db.begin().await?;
    // It changes nothing that a server would have to reload.
    let act = Act::without_revision(actor.clone(), now);
    audit::insert(
        &mut tx,
        &act,
        Action::View,
        (Subject::RequestBodies, None),
        &id.to_string(),
        (None, None),
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub mod tests {
    use sqlx::SqlitePool;

    use super::*;

    /// Bodies of the request with this id, with a text of so many characters.
    pub fn bodies(id: i64, characters: usize) -> RequestBodies {
        let json = Some("application/json".to_owned());
        let text = "ä".repeat(characters);
        RequestBodies {
            request_id: RequestId(id),
            request: KeptBody::compressed(BodyForm::Whole, json.clone(), 9, &text).unwrap(),
            answer: KeptBody::compressed(BodyForm::Binary, json, 1 << 40, "").unwrap(),
        }
    }

    #[sqlx::test]
    async fn bodies_are_found_listed_and_deleted(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        let keys = DataKeys::default();
        let mut tx = db.begin().await.unwrap();
        for id in [3, 1, 2] {
            insert(&mut tx, &keys, &bodies(id, 1_000)).await.unwrap();
        }
        insert(&mut tx, &keys, &bodies(2, 5)).await.unwrap();
        tx.commit().await.unwrap();

        let found = find(&db, RequestId(2)).await.unwrap().unwrap();
        assert_eq!(found, bodies(2, 1_000));
        assert_eq!(found.request.text().unwrap().unwrap(), "ä".repeat(1_000));
        assert_eq!(found.answer.text().unwrap(), None);
        assert!(found.request.content.unwrap().len() < 100);
        let oldest = list_oldest(&pool, RequestId(3), 9).await.unwrap();
        let ids: Vec<i64> = oldest.iter().map(|(id, _)| id.0).collect();
        assert_eq!(ids, [1, 2]);
        assert_eq!(total_bytes(&pool).await.unwrap(), 3 * oldest[0].1);

        let deleted = delete(&db, &[RequestId(1), RequestId(3), RequestId(9)]).await;

        assert_eq!(deleted.unwrap().count, 2);
        assert!(exists(&pool, RequestId(2)).await.unwrap());
        assert!(!exists(&pool, RequestId(3)).await.unwrap());
        assert_eq!(find(&db, RequestId(3)).await.unwrap(), None);
    }
}
