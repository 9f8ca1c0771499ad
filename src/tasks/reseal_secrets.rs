//! Brings rows with secrets under the active data key, in small transactions beside the requests.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::pool::batch_pace::BatchPace;
use crate::storage::db::Db;
use crate::storage::erasure::MAX_SHARED_BYTES;
use crate::storage::error::Result;
use crate::storage::sealed_rows::{self, SecretTable};
use crate::storage::{copy_encryption, encryption};

/// Bounds a transaction; its time usually bounds it before.
const MAX_ROWS: u32 = 500;
/// After so many rows, of up to some kilobytes of log each, the write-ahead log is copied completely.
const ROWS_PER_COPY: u32 = 2_000;
const RETRY: Duration = Duration::from_secs(30);

/// Which process does the work: the server itself, or a command beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResealedBy {
    Server,
    Command,
}

/// Encrypts what was stored before the master key was set. Ends then: what comes later is encrypted at once, and rotations are a
/// command's work.
pub async fn run(app: Arc<App>) {
    loop {
        match encrypt_all(&app.db).await {
            Ok(()) => break,
            Err(error) => tracing::warn!("secrets could not be encrypted: {error}"),
        }
        tokio::time::sleep(RETRY).await;
    }
    // A task that ends would stop the server.
    std::future::pending::<()>().await;
}

async fn encrypt_all(db: &Db) -> Result<()> {
    let state = encryption::state(&mut *db.readers.acquire().await?).await?;
    if !state.is_active || state.retiring_master_key.is_some() {
        return Ok(());
    }
    let is_stale = state.stale() > 0;
    if is_stale {
        let rows = reseal_all(db, ResealedBy::Server, |_| ()).await?;
        tracing::info!(rows, "the secrets of {rows} rows were encrypted");
    }
    if state.is_unfinished {
        // A decryption was interrupted.
        encryption::finish(db).await?;
    }
    if state.is_file_clean && !is_stale {
        return Ok(());
    }
    let bytes = tokio::fs::metadata(db.path()).await;
    if bytes.is_ok_and(|file| file.len() <= MAX_SHARED_BYTES) {
        db.rewrite().await?;
    } else {
        db.truncate_wal().await?;
        tracing::warn!(
            "the database file is too large to be rewritten while it is used: parts that rows have left may hold unencrypted \
             secrets. Stop the server and run `gemini-pool master-key encrypt`"
        );
    }
    for copy in copy_encryption::list_unencrypted(db.path()).await? {
        let path = copy.display();
        tracing::warn!("{path} holds unencrypted upstream keys: delete it when it is not needed");
    }
    Ok(())
}

/// Encrypts or decrypts all rows as the active data key says. Reports how many are done. Returns their number.
pub async fn reseal_all(db: &Db, by: ResealedBy, on_progress: impl Fn(u64)) -> Result<u64> {
    let pace = match by {
        ResealedBy::Server => BatchPace::of_server,
        ResealedBy::Command => BatchPace::of_command,
    };
    let (mut rows, mut uncopied) = (0, 0);
    for table in SecretTable::ALL {
        let mut pace = pace(MAX_ROWS);
        loop {
            let batch = sealed_rows::reseal(db, *table, pace.size()).await?;
            if batch.rows == 0 {
                break;
            }
            rows += u64::from(batch.rows);
            on_progress(rows);
            uncopied += batch.rows;
            if uncopied >= ROWS_PER_COPY {
                uncopied = 0;
                db.restart_wal().await?;
            }
            tokio::time::sleep(pace.after(batch.rows, batch.took)).await;
        }
    }
    Ok(rows)
}
