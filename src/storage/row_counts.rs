//! `RowCounts`: the numbers of rows of a database, with which a copy of it is compared.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteConnection;

use crate::storage::db::Db;
use crate::storage::error::Result;

/// Tables in which only an act inserts and deletes rows, so that the number of rows belongs to the revision.
const TABLES_OF_ACTS: [&str; 3] = ["upstream_keys", "client_keys", "settings"];
/// Tables in which the server inserts rows too, and only an act deletes some.
const GROWING_TABLES: [&str; 2] = ["audit_log", "projects"];

/// The numbers of rows in one snapshot. Tables that the version of the database does not have are absent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    revision: i64,
    tables: BTreeMap<&'static str, i64>,
    /// Finished requests and checks, and their number by `log_counter`, which each transaction changes together with them.
    finished: Option<(i64, i64)>,
}

impl RowCounts {
    /// Counts the rows of a database in use, in one transaction that only reads.
    pub async fn of(db: &Db) -> Result<Self> {
        let mut tx = db.readers.begin().await?;
        let counts = Self::read(&mut tx).await?;
        tx.commit().await?;
        Ok(counts)
    }

    /// Counts the rows of a copy, or within a transaction.
    ///
    /// The statements are not checked at build time: a database of an older version may have fewer tables.
    pub async fn read(connection: &mut SqliteConnection) -> Result<Self> {
        let tables: Vec<String> =
            sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
                .fetch_all(&mut *connection)
                .await?;
        let has = |table: &str| tables.iter().any(|name| name == table);
        let mut counts = Self::default();
        if has("revision") {
            counts.revision =
                number(connection, "SELECT ifnull(max(value), 0) FROM revision").await?;
        }
        for table in TABLES_OF_ACTS.into_iter().chain(GROWING_TABLES) {
            if has(table) {
                let count = number(connection, &format!("SELECT count(*) FROM {table}")).await?;
                counts.tables.insert(table, count);
            }
        }
        if has("log_counter") {
            let rows = "SELECT (SELECT count(*) FROM request_logs) - (SELECT count(*) FROM request_logs WHERE outcome IS NULL)";
            let counter = "SELECT ifnull(sum(finished_rows), 0) FROM log_counter";
            let rows = number(connection, rows).await?;
            counts.finished = Some((rows, number(connection, counter).await?));
        }
        Ok(counts)
    }

    /// What a copy lacks, in words; `self` are the counts of the source just before the copy was begun. The copy may be of a later moment: it
    /// is compared by its own revision and counter.
    pub fn missing_in(&self, copy: &Self) -> Option<String> {
        let is_same_revision = copy.revision == self.revision;
        for (table, count) in &self.tables {
            let copied = copy.tables.get(table).copied().unwrap_or(0);
            let is_right = !is_same_revision
                || if TABLES_OF_ACTS.contains(table) {
                    copied == *count
                } else {
                    copied >= *count
                };
            if !is_right {
                return Some(format!("{table} has {copied} rows instead of {count}"));
            }
        }
        let (Some((rows, counter)), Some((copied, copied_counter))) =
            (self.finished, copy.finished)
        else {
            return None;
        };
        // A counter that was wrong before is equally wrong in the copy.
        let expected = copied_counter + rows - counter;
        (copied != expected)
            .then(|| format!("request_logs has {copied} finished rows instead of {expected}"))
    }
}

async fn number(connection: &mut SqliteConnection, sql: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::db::tests::open_migrated;

    #[test]
    fn a_copy_may_be_newer_but_lacks_no_row() {
        let counts = |revision, keys, changes, finished| RowCounts {
            revision,
            tables: [("upstream_keys", keys), ("audit_log", changes)].into(),
            finished: Some(finished),
        };
        let source = counts(7, 3, 5, (10, 10));

        for (what, copy, is_complete) in [
            ("the same", counts(7, 3, 5, (10, 10)), true),
            ("rows added", counts(7, 3, 6, (12, 12)), true),
            ("rows deleted", counts(7, 3, 5, (4, 4)), true),
            ("keys deleted", counts(8, 2, 6, (10, 10)), true),
            ("a key lost", counts(7, 2, 5, (10, 10)), false),
            ("a change lost", counts(7, 3, 4, (10, 10)), false),
            ("a request lost", counts(7, 3, 5, (9, 10)), false),
        ] {
            let missing = source.missing_in(&copy);
            assert_eq!(missing.is_none(), is_complete, "{what}: {missing:?}");
        }
        let wrong_counter = counts(7, 3, 5, (10, 8));
        assert_eq!(wrong_counter.missing_in(&counts(7, 3, 5, (11, 9))), None);
    }

    #[tokio::test]
    async fn every_counted_table_exists() {
        let (_folder, db) = open_migrated().await;

        let counts = RowCounts::of(&db).await.unwrap();

        let tables = TABLES_OF_ACTS.len() + GROWING_TABLES.len();
        assert_eq!(counts.tables.len(), tables);
        assert_eq!(counts.finished, Some((0, 0)));
    }
}
