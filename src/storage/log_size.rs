//! The number of log rows and the size of the database file, known without counting.

use sqlx::{SqliteExecutor, SqlitePool};

use crate::pool::retention::LogSize;
use crate::storage::error::Result;

/// The size of the log now.
///
/// The number of finished rows is a counter in a row of its own. The recorder adds to it in the transaction that writes the rows, and a
/// deletion subtracts what it deleted, so that it is exact after a crash too, and [`find_inconsistencies`] compares it with the rows. A
/// trigger would cost each row an update, and the rollups have neither checks nor what was deleted. Running rows, which are few, are
/// counted by their index. The numbers of pages are in the head of the file.
///
/// [`find_inconsistencies`]: crate::storage::consistency::find_inconsistencies
pub async fn find(db: &SqlitePool) -> Result<LogSize> {
    let rows = count_rows(db).await?;
    // The macros do not know what a pragma returns.
    let (pages, free_pages, page_bytes): (u64, u64, u64) = sqlx::query_as(
        "
        SELECT page_count, freelist_count, page_size
        FROM pragma_page_count
        CROSS JOIN pragma_freelist_count
        CROSS JOIN pragma_page_size
        ",
    )
    .fetch_one(db)
    .await?;
    Ok(LogSize {
        rows,
        used_bytes: pages.saturating_sub(free_pages) * page_bytes,
        free_bytes: free_pages * page_bytes,
    })
}

async fn count_rows(db: impl SqliteExecutor<'_>) -> Result<u64> {
    let rows = sqlx::query_scalar!(
        r#"
        SELECT
            finished_rows + (SELECT count(*) FROM request_logs INDEXED BY request_logs_running WHERE outcome IS NULL)
            AS "rows!: i64"
        FROM log_counter
        "#,
    );
    Ok(u64::try_from(rows.fetch_one(db).await?).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::retention::spared_ends;
    use crate::storage::consistency::find_inconsistencies;
    use crate::storage::db::tests::open_migrated;
    use crate::storage::log_pruning::{self, PruneScope};
    use crate::storage::recorder::interrupted::interrupt_running;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::LogKind;
    use crate::storage::request_logs::tests::{row, running};

    #[tokio::test]
    async fn the_counter_follows_every_row_however_it_comes_and_goes() {
        let (_folder, db) = open_migrated().await;
        add_keys(&db).await;
        let rows = async || find(&db.readers).await.unwrap().rows;
        assert_eq!(rows().await, 0);
        let mut check = row(9);
        (check.kind, check.client_key_id) = (LogKind::Check, None);

        write(&db, vec![running(0), row(0), row(1), running(2), check]).await;
        assert_eq!(rows().await, 4);
        // A row of before is finished, and one is left by a process that ended.
        write(&db, vec![row(2), running(3)]).await;
        assert_eq!(rows().await, 5);
        interrupt_running(&db).await.unwrap();
        assert_eq!(rows().await, 5);

        let spared = spared_ends(row(1_000).started_at);
        let ids = log_pruning::list_oldest(&db.readers, None, &spared, 2)
            .await
            .unwrap();
        for scope in [PruneScope::Oldest, PruneScope::Selected] {
            log_pruning::delete(&db, &ids, scope).await.unwrap();
            assert_eq!(rows().await, 3, "{scope:?}");
        }
        assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
    }

    #[tokio::test]
    async fn the_bytes_are_those_of_the_file() {
        let (_folder, db) = open_migrated().await;
        sqlx::query("CREATE TABLE blobs (blob BLOB NOT NULL)")
            .execute(&db.writer)
            .await
            .unwrap();
        for statement in [
            "INSERT INTO blobs VALUES (zeroblob(1000000))",
            "DELETE FROM blobs",
        ] {
            sqlx::query(statement).execute(&db.writer).await.unwrap();
        }
        db.checkpoint().await.unwrap();

        let size = find(&db.readers).await.unwrap();

        let file = std::fs::metadata(db.path()).unwrap().len();
        assert_eq!(size.used_bytes + size.free_bytes, file);
        assert!((990_000..1_100_000).contains(&size.free_bytes), "{size:?}");
    }
}
