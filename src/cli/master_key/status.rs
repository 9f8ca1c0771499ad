//! `master-key status`: how far the encryption is. Needs no master key.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::cli::{database, output};
use crate::config::DatabaseArgs;
use crate::pool::master_key::MasterKeyId;
use crate::storage::copy_encryption;
use crate::storage::db::Db;
use crate::storage::encryption::{self, EncryptionState, TableState};
use crate::storage::error::Error;

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Status {
    /// `null`: nothing is encrypted.
    master_key_id: Option<MasterKeyId>,
    /// The key before it, while a rotation is not finished.
    retiring_master_key_id: Option<MasterKeyId>,
    /// Whether the given master key opens the database; `null`: none is given.
    opens: Option<bool>,
    unfinished: bool,
    /// Whether freed parts of the file may hold unencrypted secrets.
    traces: bool,
    tables: Vec<TableState>,
    unencrypted_copies: Vec<String>,
}

pub(super) async fn run(args: &DatabaseArgs, arguments: &StatusArgs) -> Result<()> {
    let db = database::open_to_read(args).await?;
    let status = read(&db).await;
    db.close().await;
    let status = status?;
    if arguments.json {
        return output::json(&status);
    }
    status.show()
}

async fn read(db: &Db) -> Result<Status> {
    let state = encryption::state(&mut *db.readers.acquire().await?).await?;
    let EncryptionState {
        master_key,
        retiring_master_key,
        is_active: _,
        is_unfinished,
        is_file_clean,
        ref tables,
    } = state;
    let opens = match (db.data_keys.master_key()?, &master_key) {
        (Some(_), Some(_)) => match db.unlock().await {
            Ok(()) => Some(true),
            Err(Error::Locked { .. } | Error::DamagedDataKey(_)) => Some(false),
            Err(error) => return Err(error.into()),
        },
        (None, _) | (_, None) => None,
    };
    let copies = copy_encryption::list_unencrypted(db.path()).await?;
    let copies = copies.iter().map(|path| path.display().to_string());
    Ok(Status {
        traces: master_key.is_some() && !is_file_clean,
        master_key_id: master_key,
        retiring_master_key_id: retiring_master_key,
        opens,
        unfinished: is_unfinished,
        tables: tables.clone(),
        unencrypted_copies: copies.collect(),
    })
}

impl Status {
    fn show(&self) -> Result<()> {
        let Some(id) = &self.master_key_id else {
            return output::line(
                "secrets are stored unencrypted: start the server with MASTER_KEY or MASTER_KEY_FILE to encrypt them",
            );
        };
        output::line(format!("master key   {id}{}", self.opened()))?;
        if let Some(retiring) = &self.retiring_master_key_id {
            output::line(format!(
                "rotation     from {retiring} to {id}, not finished: run `gemini-pool master-key rotate` again"
            ))?;
        } else if self.unfinished {
            output::line("decryption   not finished: run `gemini-pool master-key decrypt` again")?;
        }
        if self.traces {
            output::line(
                "file         freed parts may hold unencrypted secrets: stop the server and run `gemini-pool master-key encrypt`",
            )?;
        }
        let rows = self.tables.iter().map(|table| {
            let counts = [table.encrypted, table.retiring, table.unencrypted];
            let [encrypted, retiring, unencrypted] = counts.map(|count| count.to_string());
            [table.table.to_owned(), encrypted, retiring, unencrypted]
        });
        output::table(
            ["TABLE", "ENCRYPTED", "BY EARLIER KEY", "UNENCRYPTED"],
            rows,
        )?;
        for copy in &self.unencrypted_copies {
            output::line(format!("unencrypted copy: {copy}"))?;
        }
        Ok(())
    }

    fn opened(&self) -> &'static str {
        match self.opens {
            None => " (MASTER_KEY is not set here)",
            Some(true) => " (the one given)",
            Some(false) => " (not the one given)",
        }
    }
}
