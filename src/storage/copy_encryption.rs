//! `CopyEncryption`: the master keys that a copy of the database needs; and the copies that hold unencrypted secrets.

use std::fs;
use std::path::{Path, PathBuf};

use sqlx::{Connection, SqliteConnection};

use crate::pool::master_key::MasterKeyId;
use crate::storage::backup::open_source;
use crate::storage::backups::{self, Backup};
use crate::storage::data_keys::DataKeyStore;
use crate::storage::database_path::folder_of;
use crate::storage::error::Result;
use crate::storage::ownership::{Ownership, ownership};

/// The encryption of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyEncryption {
    /// The master keys that open it, each by itself; two within a rotation, none if nothing is encrypted.
    pub master_keys: Vec<MasterKeyId>,
    /// Whether it has unencrypted upstream keys.
    pub has_unencrypted: bool,
}

impl CopyEncryption {
    /// The ids of the keys, as in a sentence.
    pub fn key_ids(&self) -> String {
        let ids: Vec<_> = self.master_keys.iter().map(ToString::to_string).collect();
        ids.join(" or ")
    }
}

/// Reads the encryption of a copy of any version; `None`: it is no database of this program.
pub async fn read(path: &Path) -> Result<Option<CopyEncryption>> {
    let mut connection = open_source(path).await?;
    let read = read_open(&mut connection).await;
    connection.close().await?;
    read
}

/// Statements on files of any version are not checked at build time.
async fn read_open(connection: &mut SqliteConnection) -> Result<Option<CopyEncryption>> {
    if ownership(connection).await? != Ownership::Ours {
        return Ok(None);
    }
    let has_keys: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'master_keys')",
    )
    .fetch_one(&mut *connection)
    .await?;
    let master_keys = if has_keys {
        sqlx::query_scalar("SELECT id FROM master_keys ORDER BY state, id")
            .fetch_all(&mut *connection)
            .await?
    } else {
        Vec::new()
    };
    let unencrypted = if has_keys {
        "SELECT EXISTS (SELECT 1 FROM upstream_keys WHERE secret IS NOT NULL AND data_key_id IS NULL)"
    } else {
        "SELECT EXISTS (SELECT 1 FROM upstream_keys WHERE secret IS NOT NULL)"
    };
    let has_unencrypted = sqlx::query_scalar(unencrypted)
        .fetch_one(connection)
        .await?;
    Ok(Some(CopyEncryption {
        master_keys,
        has_unencrypted,
    }))
}

/// Fails if the store has no master key that opens a copy.
pub async fn refuse_unreadable(path: &Path, store: &DataKeyStore) -> Result<()> {
    let mut connection = open_source(path).await?;
    let loaded = store.load(&mut connection).await;
    connection.close().await?;
    loaded.map(|_| ())
}

/// The backups with the ids of their master keys. One that cannot be read gets none.
pub async fn with_master_keys(database: &Path, mut backups: Vec<Backup>) -> Vec<Backup> {
    for backup in &mut backups {
        let read = read(&backups::folder(database).join(&backup.name)).await;
        let copy = read.ok().flatten().unwrap_or_default();
        backup.master_key_id = copy.master_keys.into_iter().next();
    }
    backups
}

/// Backups and snapshots of the database, by name, that hold unencrypted upstream keys.
pub async fn list_unencrypted(database: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in list_copies(database)? {
        // A damaged one cannot be read, and is none of a key's business.
        if let Ok(Some(copy)) = read(&path).await
            && copy.has_unencrypted
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// The backups, and the snapshots that migrations and restores have left beside the database.
fn list_copies(database: &Path) -> Result<Vec<PathBuf>> {
    let folder = backups::folder(database);
    let made = backups::list(database)?.into_iter();
    let mut copies: Vec<_> = made.map(|backup| folder.join(backup.name)).collect();
    let stem = database.file_stem().unwrap_or_default().to_string_lossy();
    let start = format!("{stem}.before-");
    if let Ok(entries) = fs::read_dir(folder_of(database)) {
        let snapshots = entries.flatten().map(|entry| entry.path());
        let is_snapshot = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&start) && name.ends_with(".db")
        };
        copies.extend(snapshots.filter(is_snapshot));
    }
    copies.sort();
    Ok(copies)
}
