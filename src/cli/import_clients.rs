//! `client-keys import`: adds the tokens that clients of another pool send, so that they need not change.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use crate::cli::import_source::ImportSource;
use crate::cli::{database, output};
use crate::clock::{self, Timestamp};
use crate::config::DatabaseArgs;
use crate::pool::clients::imported_clients::{self, ImportedClient};
use crate::storage::audit::{Act, Actor};
use crate::storage::client_keys::{ClientKeyTerms, creation};
use crate::storage::{client_keys, installation};

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The other pool's SQLite database, its .env file, or its tokens as JSON; - for standard input
    file: PathBuf,
    /// List the clients and add nothing
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A client of the report. A secret is shown by its last characters only.
#[derive(Debug, Serialize)]
struct ReportedClient {
    name: String,
    last4: String,
    enabled: bool,
    expires_at: Option<Timestamp>,
    models: Vec<String>,
    addresses: Vec<String>,
    /// `None` with `--dry-run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<bool>,
    /// A limit that is not taken over.
    note: Option<String>,
}

pub async fn run(args: &DatabaseArgs, arguments: ImportArgs) -> Result<()> {
    let clients = match ImportSource::read(&arguments.file).await? {
        ImportSource::Text(text) => imported_clients::read_text(&text),
        ImportSource::Database(pool) => imported_clients::read_rows(&pool.clients),
    };
    if clients.is_empty() {
        bail!(
            "{} contains no token of a client: ALLOWED_TOKENS of gemini-balance, proxy_keys of gpt-load, or tokens of \
             one-api and new-api",
            arguments.file.display()
        );
    }
    let added = if arguments.dry_run {
        None
    } else {
        Some(add(args, &clients).await?)
    };
    let reported = clients
        .iter()
        .enumerate()
        .map(|(number, client)| ReportedClient {
            name: client.name.clone(),
            last4: client.secret.last4(),
            enabled: !client.is_disabled,
            expires_at: client.expires_at,
            models: client.models.clone(),
            addresses: client.addresses.clone(),
            added: added.as_ref().map(|added| added[number]),
            note: client.lost.map(|lost| lost.to_string()),
        });
    show(&reported.collect::<Vec<_>>(), arguments.json)
}

/// Adds clients in one transaction. Returns for each whether it is new.
async fn add(args: &DatabaseArgs, clients: &[ImportedClient]) -> Result<Vec<bool>> {
    let db = database::open(args).await?;
    let mut tx = db.begin().await?;
    let keys = installation::keys(&mut tx, &db.data_keys).await?;
    let act = Act::begin(&mut tx, &Actor::cli(), clock::now()).await?;
    let mut added = Vec::with_capacity(clients.len());
    for client in clients {
        let terms = ClientKeyTerms {
            name: creation::free_name(&mut tx, &client.name).await?,
            expires_at: client.expires_at,
            models: client.models.clone(),
            addresses: client.addresses.clone(),
            ..ClientKeyTerms::default()
        };
        let id = creation::create(&mut tx, &keys.hash_key, &client.secret, &terms, &act).await?;
        if let Some(id) = id.filter(|_| client.is_disabled) {
            client_keys::update_enabled(&mut tx, id, false, &act).await?;
        }
        added.push(id.is_some());
    }
    tx.commit().await?;
    db.close().await;
    Ok(added)
}

fn show(clients: &[ReportedClient], json: bool) -> Result<()> {
    if json {
        return output::json(&clients);
    }
    let new = clients
        .iter()
        .filter(|client| client.added == Some(true))
        .count();
    let is_dry_run = clients.iter().any(|client| client.added.is_none());
    output::line(if is_dry_run {
        format!("client keys that would be added: {}", clients.len())
    } else {
        format!(
            "client keys added: {new} new, {} known",
            clients.len() - new
        )
    })?;
    for client in clients {
        let state = match (client.enabled, client.added) {
            (_, Some(false)) => " (known, not changed)",
            (false, _) => " (disabled)",
            (true, _) => "",
        };
        let note = client.note.as_ref().map(|note| format!(": {note}"));
        let name = output::printable(&client.name);
        output::line(format!(
            "…{} {name}{state}{}",
            client.last4,
            note.unwrap_or_default()
        ))?;
    }
    if new > 0 {
        output::line("a running server accepts them within 2 seconds")?;
    }
    Ok(())
}
