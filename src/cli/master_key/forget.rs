//! `master-key forget`: removes what a lost master key has encrypted.

use std::io::{IsTerminal, stdin};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cli::confirmation::confirm;
use crate::cli::{database, output};
use crate::clock;
use crate::config::DatabaseArgs;
use crate::storage::audit::{Act, Actor};
use crate::storage::db::Db;
use crate::storage::error::Error;
use crate::storage::forgetting::{self, LostSecrets};
use crate::storage::lock::ServerLock;
use crate::storage::{db, encryption};

#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// Remove without confirmation
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(args: &DatabaseArgs, arguments: &ForgetArgs) -> Result<()> {
    database::refuse_missing(&database::path(args)?)?;
    let lock = ServerLock::acquire(&db::path_of(&args.database_url)?);
    let _lock = lock.context(
        "the running server still has its keys in memory and goes on serving: look for the master key before you stop it",
    )?;
    let db = database::open_existing(args).await?;
    let done = forget(&db, arguments).await;
    db.close().await;
    done
}

async fn forget(db: &Db, arguments: &ForgetArgs) -> Result<()> {
    let state = encryption::state(&mut *db.readers.acquire().await?).await?;
    let Some(master_key) = state.master_key else {
        return output::line("nothing is encrypted, so nothing is lost");
    };
    match db.unlock().await {
        Ok(()) => bail!(
            "MASTER_KEY opens the database, so nothing is lost: `gemini-pool master-key decrypt` stores the secrets unencrypted"
        ),
        Err(Error::Locked { .. }) => {}
        // A file that cannot be read is not lost, and beside a damaged data key others may be readable.
        Err(error) => return Err(error.into()),
    }
    let lost = forgetting::count(&mut *db.readers.acquire().await?).await?;
    let question = format!("remove {} for ever?", text(&lost));
    if !arguments.yes {
        if !stdin().is_terminal() {
            bail!("{} would be removed: confirm with --yes", text(&lost));
        }
        confirm(&question, "nothing was removed")?;
    }
    let mut tx = db.begin().await?;
    let act = Act::begin(&mut tx, &Actor::cli(), clock::now()).await?;
    forgetting::forget(&mut tx, &master_key, &act).await?;
    tx.commit().await?;
    db.truncate_wal().await?;
    output::line(format!("{} removed", text(&lost)))?;
    output::line(
        "import the upstream keys again, give each client key a new secret with `gemini-pool client-keys rotate`, and add the \
         alert targets and the credentials of egress proxies again; settings, admins, logs and usage are unchanged",
    )
}

fn text(lost: &LostSecrets) -> String {
    let count = |count, noun| output::count(usize::try_from(count).unwrap_or(usize::MAX), noun);
    format!(
        "the secrets of {} and of {}, the credentials of {}, {}, and the kept bodies of {}",
        count(lost.upstream_keys, "upstream key"),
        count(lost.client_keys, "client key"),
        match lost.egress_proxies {
            1 => "1 egress proxy".to_owned(),
            number => format!("{number} egress proxies"),
        },
        count(lost.alert_targets, "alert target"),
        count(lost.request_bodies, "request"),
    )
}
