//! `client-keys`: creates, lists and changes the keys that clients send to this server.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use sqlx::{Sqlite, Transaction};

use crate::cli::client_key_terms::{self, ClientKeyTermsArgs, TagChangeArgs};
use crate::cli::import_clients::{self, ImportArgs};
use crate::cli::key_selection::{RemovalArgs, SelectionArgs};
use crate::cli::pool_access::PoolAccess;
use crate::cli::remote::client_keys::NewSecret;
use crate::cli::time_argument::TimeArgument;
use crate::cli::{database, output, remote};
use crate::clock::{self, Timestamp};
use crate::config::{DatabaseArgs, InvalidConfig, is_header_safe};
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::secret::Secret;
use crate::storage::audit::{Act, Actor};
use crate::storage::client_keys::change::ClientKeyChange;
use crate::storage::client_keys::rotation;
use crate::storage::client_keys::{ClientKeyTerms, ListedClientKey, creation};
use crate::storage::paging::Page;
use crate::storage::{client_keys, installation};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a key and print its secret once
    Create(Box<CreateArgs>),
    /// Add the tokens that clients of another pool send
    Import(ImportArgs),
    /// List the keys
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change the attributes of keys that the flags name
    Update(Box<UpdateArgs>),
    /// Give a key a new secret and print it once
    Rotate(RotateArgs),
    /// Enable keys
    Enable(SelectionArgs),
    /// Disable keys
    Disable(SelectionArgs),
    /// Remove keys; their requests stay in the log
    Remove(RemovalArgs),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The name of the client
    #[arg(value_parser = name)]
    name: String,
    #[command(flatten)]
    terms: ClientKeyTermsArgs,
    /// The secret of the key; default: a random one
    #[arg(long, value_name = "VALUE")]
    secret: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The id of the key
    id: i64,
    /// How long the old secret stays valid, like 15m, 24h or 7d; 0s ends it now
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = kept_for)]
    keep_old: Duration,
    /// As JSON
    #[arg(long)]
    json: bool,
}

fn kept_for(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(TimeArgument::Relative(duration)) => Ok(duration),
        Ok(TimeArgument::Absolute(_)) | Err(_) => {
            Err("not a duration: write it like 15m, 24h or 7d")
        }
    }
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    selected: SelectionArgs,
    /// The name of the client; for one key only
    #[arg(long, value_parser = name)]
    name: Option<String>,
    #[command(flatten)]
    terms: ClientKeyTermsArgs,
    #[command(flatten)]
    tags: TagChangeArgs,
}

/// The only output that contains the secret.
#[derive(Debug, Serialize)]
struct Created {
    #[serde(flatten)]
    key: ListedClientKey,
    secret: String,
}

impl From<NewSecret> for Created {
    fn from(new: NewSecret) -> Self {
        Self {
            key: new.key,
            secret: new.secret.expose().to_owned(),
        }
    }
}

pub async fn run(pool: &PoolAccess, command: Command) -> Result<()> {
    match command {
        Command::Create(arguments) => create(pool, *arguments).await,
        Command::Import(arguments) => {
            import_clients::run(pool.file("`client-keys import`")?, arguments).await
        }
        Command::List { json } => list(pool, json).await,
        Command::Update(arguments) => update(pool, *arguments).await,
        Command::Rotate(arguments) => rotate(pool, arguments).await,
        Command::Enable(selected) => switch(pool, selected.ids(), true).await,
        Command::Disable(selected) => switch(pool, selected.ids(), false).await,
        Command::Remove(removed) => remove(pool, removed).await,
    }
}

async fn create(pool: &PoolAccess, arguments: CreateArgs) -> Result<()> {
    let now = clock::now();
    let mut terms = ClientKeyTerms {
        name: arguments.name,
        ..ClientKeyTerms::default()
    };
    arguments.terms.apply(&mut terms, now)?;
    let secret = match &arguments.secret {
        Some(text) if is_header_safe(text) => Some(Secret::new(text)),
        Some(_) => {
            let wrong = "--secret is empty or contains a character that is not allowed in keys, such as a space";
            return Err(InvalidConfig::new(wrong).into());
        }
        None => None,
    };
    let created = match (pool, secret) {
        (PoolAccess::Server(server), None) => remote::client_keys::create(server, &terms).await?,
        (PoolAccess::File(_) | PoolAccess::Server(_), secret) => {
            let args = pool.file("`client-keys create --secret`")?;
            create_in_file(args, &terms, secret, now).await?
        }
    };
    if arguments.json {
        return output::json(&Created::from(created));
    }
    eprintln!(
        "client key {} for {} (store it now: it is shown only once; a running server accepts it within 2 seconds):",
        created.key.id.0, terms.name
    );
    output::line(created.secret.expose())
}

/// Without a secret with a random one.
async fn create_in_file(
    args: &DatabaseArgs,
    terms: &ClientKeyTerms,
    secret: Option<Secret>,
    now: Timestamp,
) -> Result<NewSecret> {
    let secret = secret.unwrap_or_else(|| Secret::generate(&mut rand::rng()));
    let db = database::open(args).await?;
    let mut tx = db.begin().await?;
    refuse_taken_name(&mut tx, &terms.name).await?;
    let keys = installation::keys(&mut tx, &db.data_keys).await?;
    let act = Act::begin(&mut tx, &Actor::cli(), now).await?;
    let Some(id) = creation::create(&mut tx, &keys.hash_key, &secret, terms, &act).await? else {
        bail!("the secret is or was that of a client key: choose another");
    };
    let key = client_keys::find(&mut *tx, id).await?;
    tx.commit().await?;
    db.close().await;
    Ok(NewSecret { key, secret })
}

async fn rotate(pool: &PoolAccess, arguments: RotateArgs) -> Result<()> {
    let id = ClientKeyId(arguments.id);
    let keep_old = arguments.keep_old;
    let rotated = match pool {
        PoolAccess::File(args) => {
            let secret = Secret::generate(&mut rand::rng());
            let key = database::change_with_keys(args, async |tx, act, store| {
                let keys = installation::keys(tx, store).await?;
                rotation::rotate(tx, &keys.hash_key, id, &secret, act.now + keep_old, act).await?;
                Ok(client_keys::find(&mut **tx, id).await?)
            });
            let key = key.await?;
            NewSecret { key, secret }
        }
        PoolAccess::Server(server) => remote::client_keys::rotate(server, id, keep_old).await?,
    };
    if arguments.json {
        return output::json(&Created::from(rotated));
    }
    let old = if keep_old.is_zero() {
        "the old one is no longer valid"
    } else {
        "the old one stays valid for the time of --keep-old"
    };
    eprintln!(
        "new secret of client key {} for {} (store it now: it is shown only once; a running server accepts it within 2 \
         seconds, and {old}):",
        id.0, rotated.key.name
    );
    output::line(rotated.secret.expose())
}

async fn update(pool: &PoolAccess, arguments: UpdateArgs) -> Result<()> {
    // Wrong arguments are reported before the database is opened.
    let mut changes = arguments.terms.changes(clock::now())?;
    changes.extend(arguments.tags.changes());
    if arguments.name.is_none() && changes.is_empty() {
        let wrong = "no change given: add a flag such as --requests-per-day 1000; --help lists all";
        return Err(InvalidConfig::new(wrong).into());
    }
    let ids = arguments.selected.ids();
    if arguments.name.is_some() && ids.as_ref().is_none_or(|ids| ids.len() > 1) {
        return Err(InvalidConfig::new("--name needs exactly one key").into());
    }
    let name = arguments.name;
    let number = match pool {
        PoolAccess::File(args) => {
            database::change(args, async |tx, act| {
                let ids = selected(tx, ids).await?;
                for id in ids.iter().copied() {
                    let mut terms = client_keys::find_terms(tx, id).await?;
                    if let Some(name) = name.as_ref().filter(|name| **name != terms.name) {
                        refuse_taken_name(tx, name).await?;
                        terms.name.clone_from(name);
                    }
                    for change in &changes {
                        change.apply(&mut terms);
                    }
                    client_keys::update(tx, id, &terms, act).await?;
                }
                Ok(ids.len())
            })
            .await?
        }
        PoolAccess::Server(server) => {
            let keys = remote::client_keys::selected(server, ids).await?;
            if let (Some(name), [key]) = (&name, &keys[..]) {
                remote::client_keys::rename(server, key.id, name).await?;
            }
            if !changes.is_empty() {
                let change = ClientKeyChange::Update(changes);
                remote::client_keys::change(server, &keys, &change).await?;
            }
            keys.len()
        }
    };
    let count = output::count(number, "client key");
    output::line(format!(
        "changed {count}; a running server applies it within 2 seconds"
    ))
}

/// Two keys of one name could not be told apart by the filters of the log.
async fn refuse_taken_name(tx: &mut Transaction<'_, Sqlite>, name: &str) -> Result<()> {
    if creation::is_name_taken(&mut **tx, name, None).await? {
        bail!("another client key has the name {name:?}: choose another");
    }
    Ok(())
}

/// These ids, or those of all keys.
async fn selected(
    tx: &mut Transaction<'_, Sqlite>,
    ids: Option<Vec<i64>>,
) -> Result<Vec<ClientKeyId>> {
    if let Some(ids) = ids {
        return Ok(ids.into_iter().map(ClientKeyId).collect());
    }
    let enabled = client_keys::list_ids(tx, true).await?;
    Ok([enabled, client_keys::list_ids(tx, false).await?].concat())
}

fn name(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 100 || text.contains(char::is_control) {
        return Err("a name must have 1 to 100 characters");
    }
    Ok(text.to_owned())
}

async fn list(pool: &PoolAccess, json: bool) -> Result<()> {
    let keys = match pool {
        PoolAccess::File(args) => {
            let db = database::open_to_read(args).await?;
            let keys = client_keys::list(&db.readers).await?;
            db.close().await;
            keys
        }
        PoolAccess::Server(server) => remote::client_keys::selected(server, None).await?,
    };
    if json {
        return output::json(&Page::whole(keys));
    }
    let count = match keys.len() {
        0 => "no client keys yet: `gemini-pool client-keys create NAME` creates one".to_owned(),
        number => output::count(number, "client key"),
    };
    let now = clock::now();
    output::table(
        [
            "ID",
            "NAME",
            "SECRET",
            "STATE",
            "EXPIRES",
            "LIMITS",
            "SCOPES",
            "REQUESTS",
            "FAILURES",
            "TOKENS",
            "LAST USED",
            "NOTE",
        ],
        keys.into_iter().map(|key| row(key, now)),
    )?;
    output::line(count)
}

fn row(key: ListedClientKey, now: Timestamp) -> [String; 12] {
    let state = key.state(now).name();
    let scopes = client_key_terms::describe_scopes(&key);
    [
        key.id.0.to_string(),
        key.name,
        format!("…{}", key.last4),
        state.to_owned(),
        output::timestamp(key.expires_at),
        client_key_terms::describe_limits(&key.limits),
        scopes,
        key.requests.to_string(),
        key.failures.to_string(),
        key.total_tokens.to_string(),
        output::timestamp(key.last_used_at),
        key.note,
    ]
}

async fn switch(pool: &PoolAccess, ids: Option<Vec<i64>>, enabled: bool) -> Result<()> {
    let keys = match pool {
        PoolAccess::File(args) => {
            database::change(args, async |tx, act| {
                let ids = match ids {
                    Some(ids) => ids.into_iter().map(ClientKeyId).collect(),
                    None => client_keys::list_ids(tx, !enabled).await?,
                };
                for id in &ids {
                    client_keys::update_enabled(tx, *id, enabled, act).await?;
                }
                Ok(ids.len())
            })
            .await?
        }
        PoolAccess::Server(server) => {
            let is_all = ids.is_none();
            let mut keys = remote::client_keys::selected(server, ids).await?;
            keys.retain(|key| !is_all || key.enabled != enabled);
            let change = if enabled {
                ClientKeyChange::Enable
            } else {
                ClientKeyChange::Disable
            };
            remote::client_keys::change(server, &keys, &change).await?;
            keys.len()
        }
    };
    let count = output::count(keys, "client key");
    let done = if enabled { "enabled" } else { "disabled" };
    output::line(format!(
        "{done} {count}; a running server applies it within 2 seconds"
    ))
}

async fn remove(pool: &PoolAccess, removed: RemovalArgs) -> Result<()> {
    // A missing file is reported before the question.
    if let PoolAccess::File(args) = pool {
        database::refuse_missing(&database::path(args)?)?;
    }
    let ids = removed.confirmed("client key")?;
    match pool {
        PoolAccess::File(args) => {
            database::change(args, async |tx, act| {
                for id in &ids {
                    client_keys::delete(tx, ClientKeyId(*id), act).await?;
                }
                Ok(())
            })
            .await?;
        }
        PoolAccess::Server(server) => {
            let keys = remote::client_keys::selected(server, Some(ids.clone())).await?;
            let change = ClientKeyChange::Delete;
            remote::client_keys::change(server, &keys, &change).await?;
        }
    }
    let count = output::count(ids.len(), "client key");
    output::line(format!(
        "removed {count}; a running server refuses it within 2 seconds"
    ))
}
