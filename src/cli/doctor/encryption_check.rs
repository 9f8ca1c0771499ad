//! The check of the encryption: whether secrets are encrypted, and whether the given master key opens them.

use crate::cli::doctor::report::{Check, Report};
use crate::cli::output;
use crate::storage::copy_encryption;
use crate::storage::db::Db;
use crate::storage::encryption;
use crate::storage::error::{Error, Result};

/// What is stored unencrypted is a choice, so it is a note. The check is done only with a master key, where there is one.
pub async fn run(report: &mut Report, db: &Db) -> Result<()> {
    report.begin(Check::Encryption);
    let state = encryption::state(&mut *db.readers.acquire().await?).await?;
    let Some(id) = &state.master_key else {
        report.done(Check::Encryption);
        report.note(
            "secrets are stored unencrypted: to encrypt them, start the server with MASTER_KEY or MASTER_KEY_FILE",
        );
        return Ok(());
    };
    if state.is_unfinished {
        report.warning(
            Check::Encryption,
            "a rotation or decryption is not finished",
            "run `gemini-pool master-key status`, and the command that it names",
        );
    }
    if !state.is_file_clean {
        report.warning(
            Check::Encryption,
            "freed parts of the file may hold unencrypted secrets",
            "stop the server and run `gemini-pool master-key encrypt`, which rewrites the file",
        );
    }
    let copies = copy_encryption::list_unencrypted(db.path()).await?;
    if !copies.is_empty() {
        let names: Vec<_> = copies
            .iter()
            .map(|copy| copy.display().to_string())
            .collect();
        let count = output::count(names.len(), "copy");
        report.warning(
            Check::Encryption,
            format!(
                "{count} of the database with unencrypted upstream keys: {}",
                names.join(", ")
            ),
            "delete them when they are not needed",
        );
    }
    if db.data_keys.master_key()?.is_none() {
        report.note(format!(
            "secrets are encrypted with the master key {id}, which is not given here: whether they can be read was not checked"
        ));
        return Ok(());
    }
    match db.unlock().await {
        Ok(()) => report.done(Check::Encryption),
        Err(error @ Error::Locked { .. }) => report.error(
            Check::Encryption,
            error,
            "find the key with this id; the one of a backup is shown when it is made, and by `gemini-pool master-key status`",
        ),
        Err(error @ Error::DamagedDataKey(_)) => report.error(
            Check::Encryption,
            error,
            "`gemini-pool restore` puts a backup in place",
        ),
        Err(error) => return Err(error),
    }
    Ok(())
}
