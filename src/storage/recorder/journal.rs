//! `request_journal`: batches of writes that are committed but not yet in their tables. An entry is a batch, in the order in which
//! its writes were submitted.

use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::pool::health::state_change::StateChange;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::request_logs::NewRequestLog;
use crate::storage::upstream_keys::Evidence;

/// The version of [`encode`]'s format. A program reads the journals of all earlier versions, because one may be left by a crash.
///
/// 2: rows have a reason why there was no further attempt. 3: and the model that answered in place of another. 4: attempts
/// have their egress proxy.
const VERSION: i64 = 4;

/// A write, as it is submitted and kept in the journal.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// A row, running or finished.
    Row(Box<NewRequestLog>),
    /// A change that a verdict made.
    Change(StateChange, Evidence),
}

impl Write {
    /// Whether requests, pages and commands depend on it: states of keys, and which resources there are.
    pub fn is_read_soon(&self) -> bool {
        match self {
            Self::Row(row) => {
                !row.created_resources.is_empty() || !row.deleted_resources.is_empty()
            }
            Self::Change(..) => true,
        }
    }
}

/// An entry that was read.
#[derive(Debug)]
pub struct JournalEntry {
    pub id: i64,
    /// `None`: it is not in a format that this program knows.
    pub writes: Option<Vec<Write>>,
}

/// The payload of an entry: `MessagePack`, fields by position.
pub(super) fn encode(writes: &[Write]) -> Vec<u8> {
    rmp_serde::to_vec(writes).expect("rows and changes have no value that cannot be encoded")
}

/// What [`encode`] made; `None`: it is no payload of this version.
pub(super) fn decode(version: i64, payload: &[u8]) -> Option<Vec<Write>> {
    match version {
        // Fields that were added are at the end, and have a default.
        1..=VERSION => rmp_serde::from_slice(payload).ok(),
        _ => None,
    }
}

/// Commits an entry in a transaction of its own. Repeated with the same id, it does nothing. An id belongs to one process: only
/// the server, which holds the lock of the database, appends.
pub async fn append(db: &Db, id: i64, writes: &[Write]) -> Result<()> {
    let payload = encode(writes);
    let inserted = sqlx::query!(
        "INSERT INTO request_journal (id, version, payload) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
        id,
        VERSION,
        payload,
    );
    inserted
        .execute(&db.writer)
        .await
        .inspect_err(|_| db.replace_writer())?;
    // What was committed to a file that is gone must not be acknowledged.
    db.check_file()
}

/// The number of entries that are not in the tables yet.
pub async fn count(db: impl SqliteExecutor<'_>) -> Result<i64> {
    let count = sqlx::query_scalar!("SELECT count(*) FROM request_journal WHERE id > 0");
    Ok(count.fetch_one(db).await?)
}

/// The largest id that an entry has or had before it was set aside; zero if there is none.
pub async fn last_id(db: impl SqliteExecutor<'_>) -> Result<i64> {
    let last =
        sqlx::query_scalar!(r#"SELECT ifnull(max(abs(id)), 0) AS "id!: i64" FROM request_journal"#);
    Ok(last.fetch_one(db).await?)
}

/// Keeps an entry that cannot be read out of the way, under the negative of its id.
pub async fn set_aside(db: impl SqliteExecutor<'_>, id: i64) -> Result<()> {
    sqlx::query!(
        "UPDATE OR IGNORE request_journal SET id = -id WHERE id = ?1",
        id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether there is an entry with an id up to this one.
pub async fn has_entries_to(db: impl SqliteExecutor<'_>, last: i64) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM request_journal WHERE id > 0 AND id <= ?1) AS "found!: bool""#,
        last,
    );
    Ok(found.fetch_one(db).await?)
}

/// The next entries after the one with the id `after`, oldest first.
pub async fn list_after(
    db: impl SqliteExecutor<'_>,
    after: i64,
    limit: u32,
) -> Result<Vec<JournalEntry>> {
    let rows = sqlx::query!(
        "SELECT id, version, payload FROM request_journal WHERE id > ?1 ORDER BY id LIMIT ?2",
        after,
        limit,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    let entries = rows.map(|row| JournalEntry {
        id: row.id,
        writes: decode(row.version, &row.payload),
    });
    Ok(entries.collect())
}

/// Deletes entries. Returns whether all of them were there: an entry that is gone was folded already.
pub async fn delete(tx: &mut Transaction<'_, Sqlite>, ids: &[i64]) -> Result<bool> {
    let list = serde_json::to_string(ids).expect("numbers serialize to JSON");
    let deleted = sqlx::query!(
        "DELETE FROM request_journal WHERE id IN (SELECT value FROM json_each(?1))",
        list,
    );
    let deleted = deleted.execute(&mut **tx).await?.rows_affected();
    Ok(usize::try_from(deleted) == Ok(ids.len()))
}
