//! `serve`: migrates the database, starts the server and stops it on a signal.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::app::App;
use crate::cli::admin::{self, FirstSignIn};
use crate::cli::database::migrate_database;
use crate::cli::log_output::LogOutput;
use crate::cli::migration_progress::ProgressOutput;
use crate::cli::output;
use crate::cli::{core_dumps, database, open_files};
use crate::clock;
use crate::config::{Config, DatabaseArgs, LogFormat, MasterKeyArgs, ServeArgs};
use crate::gemini::transport::GeminiClient;
use crate::pool::settings::Settings;
use crate::server::{self, Server, service_manager};
use crate::storage::audit::{Act, Actor};
use crate::storage::client_keys::{self, NewClientKey};
use crate::storage::db::{self, Db};
use crate::storage::lock::ServerLock;
use crate::storage::ownership::refuse_foreign_file;
use crate::storage::recorder::table_writer::TableWriter;
use crate::storage::recorder::{LogWriter, Recorder, interrupted};
use crate::storage::{encryption, file_mode, installation, upstream_keys};

/// Runs the server until a signal ends it.
pub async fn run(database: DatabaseArgs, mut arguments: ServeArgs) -> Result<()> {
    start_log(arguments.log_format, "info");
    let inherited = service_manager::inherited_listener()?;
    if let Some(listener) = &inherited {
        arguments.listen = listener.local_addr()?;
    }
    let master_key = database.master_key.clone();
    // Before anything is changed.
    master_key.read()?;
    let config = Config::new(database, arguments)?;
    core_dumps::disable();
    open_files::raise_limit();
    let stop = stop_on_signal()?;
    let path = db::path_of(&config.database_url)?;
    let running = serve(config, master_key, inherited, &path, stop).await;
    running.map_err(|error| database::with_remedy(error, &path))
}

async fn serve(
    config: Config,
    master_key: MasterKeyArgs,
    inherited: Option<TcpListener>,
    path: &Path,
    stop: CancellationToken,
) -> Result<()> {
    database::refuse_missing_folder(path)?;
    refuse_foreign_file(path).await?;
    let _lock = ServerLock::acquire(path)?;
    // Bound before anything is written: if the address is taken, no first admin is created whose password would never be
    // printed. Clients that connect during the migration wait for its end.
    let listener = match inherited {
        Some(listener) => listener,
        None => server::bind(config.listen).await?,
    };
    let address = listener.local_addr()?;
    let opened = Db::open(&config.database_url).await;
    let db = opened.with_context(|| database::cannot_open(path))?;
    db.data_keys.set_master_key(master_key);
    for warning in file_mode::restrict(path) {
        tracing::warn!("{warning}");
    }
    migrate_database(&db, ProgressOutput::Log).await?;
    let (app, writer) = prepare(config, db).await?;
    let first = admin::add_first(&app.db, &app.config.first_admin, Actor::environment()).await?;
    if first.is_none() {
        admin::warn_of_unused_password(&app.db, &app.config.first_admin).await?;
    }
    warn_of_unlisted_keys(&app).await?;
    tracing::info!(%address, keys = app.keys.lock().len(), "listening on http://{address}");
    let url = app
        .config
        .public_url
        .clone()
        .unwrap_or_else(|| url_of(address));
    println!("{}", greeting(&url, first.as_ref()));
    Server::new(app, listener, writer).run(stop).await
}

/// Prepares a migrated database for the server: folds the journal and ends requests that the last run left unfinished, adds the keys of the
/// environment, loads the registry.
pub async fn prepare(config: Config, db: Db) -> Result<(Arc<App>, LogWriter)> {
    let gemini = GeminiClient::new(&config.upstream_url, &Settings::default())?;
    unlock(&db).await?;
    let folded = TableWriter::default().fold_journal(&db).await?;
    if folded > 0 {
        tracing::info!(
            writes = folded,
            "the journal that the last run left is folded"
        );
    }
    let interrupted = interrupted::interrupt_running(&db).await?;
    if interrupted > 0 {
        tracing::warn!(
            rows = interrupted,
            "the last run was not shut down: {interrupted} requests were interrupted"
        );
    }
    add_keys(&config, &db).await?;
    db.open_all().await?;
    let (recorder, writer) = Recorder::new(db.clone());
    let app = App::load(config, gemini, db, recorder, clock::now()).await?;
    Ok((app, writer))
}

/// Opens the secrets with the master key, and encrypts new ones from now on; without one, fails if they are encrypted.
pub async fn unlock(db: &Db) -> Result<()> {
    if db.data_keys.master_key()?.is_none() {
        db.unlock().await?;
        return Ok(());
    }
    let id = encryption::begin(db, &Actor::environment(), clock::now()).await?;
    tracing::info!(master_key.id = %id, "secrets are encrypted with the master key {id}");
    Ok(())
}

/// The start of the names of client keys from `ALLOWED_API_KEYS`.
const ENVIRONMENT_PREFIX: &str = "env-";
/// A shorter key is easily guessed, and occurs in texts by chance.
const MIN_SAFE_KEY_BYTES: usize = 16;

/// Adds the keys of the environment that the database has never contained.
async fn add_keys(config: &Config, db: &Db) -> Result<()> {
    if config.client_keys.is_empty() && config.upstream_keys.is_empty() {
        return Ok(());
    }
    let upstream_secrets: Vec<_> = config.upstream_keys.iter().map(|key| &key.secret).collect();
    for (name, secrets) in [
        ("ALLOWED_API_KEYS", config.client_keys.iter().collect()),
        ("GEMINI_API_KEYS", upstream_secrets),
    ] {
        let short = secrets
            .iter()
            .filter(|key| key.expose().len() < MIN_SAFE_KEY_BYTES)
            .count();
        if short > 0 {
            tracing::warn!(
                "{name} contains {} of fewer than {MIN_SAFE_KEY_BYTES} characters, which can be guessed and is not removed from answers",
                output::count(short, "key")
            );
        }
    }
    let mut tx = db.begin().await?;
    let installation_keys = installation::keys(&mut tx, &db.data_keys).await?;
    let act = Act::begin(&mut tx, &Actor::environment(), clock::now()).await?;
    let mut number = client_keys::count_with_prefix(&mut tx, ENVIRONMENT_PREFIX).await?;
    for secret in &config.client_keys {
        let name = format!("{ENVIRONMENT_PREFIX}{}", number + 1);
        let key = NewClientKey {
            name: &name,
            note: "from ALLOWED_API_KEYS",
            secret,
            expires_at: None,
        };
        if client_keys::insert(&mut tx, &installation_keys.hash_key, &key, &act)
            .await?
            .is_some()
        {
            number += 1;
        }
    }
    upstream_keys::imported::insert_all(
        &mut tx,
        &installation_keys,
        &config.upstream_keys,
        false,
        &act,
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Warns of client keys that were added from `ALLOWED_API_KEYS` and are no longer in it: they still work.
async fn warn_of_unlisted_keys(app: &App) -> Result<()> {
    let listed = app.config.client_keys.iter();
    let listed: Vec<_> = listed
        .map(|secret| app.hash_key.hash(secret.expose()))
        .collect();
    let is_from_environment = |name: &str| {
        let number = name.strip_prefix(ENVIRONMENT_PREFIX);
        number.is_some_and(|number| number.parse::<u64>().is_ok())
    };
    let keys = client_keys::list_for_proxy(&app.db.readers).await?;
    let unlisted = keys.iter().filter(|(hash, key)| {
        key.enabled && is_from_environment(&key.name) && !listed.contains(hash)
    });
    let unlisted: Vec<_> = unlisted
        .map(|(_, key)| format!("{} (id {})", key.name, key.id.0))
        .collect();
    if !unlisted.is_empty() {
        tracing::warn!(
            "client keys that are no longer in ALLOWED_API_KEYS still work: {}. Remove them with `gemini-pool \
             client-keys remove`",
            unlisted.join(", ")
        );
    }
    Ok(())
}

/// The URL of the dashboard, and the first admin's name and password.
pub fn greeting(url: &str, first: Option<&FirstSignIn>) -> String {
    let Some(FirstSignIn {
        username,
        generated,
    }) = first
    else {
        return format!("\n  Dashboard   {url}/\n");
    };
    let password = match generated {
        Some(password) => format!("{password}   (shown only once; change it under Account)"),
        None => "the one in ADMIN_PASSWORD".to_owned(),
    };
    format!("\n  Dashboard   {url}/\n  User name   {username}\n  Password    {password}\n")
}

/// The server's URL for a browser on this machine.
pub fn url_of(address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// A token that the first SIGTERM, SIGHUP or Ctrl-C cancels; the second ends the process at once.
pub fn stop_on_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt, mut hang_up) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        // The terminal was closed.
        signal(SignalKind::hangup())?,
    );
    let stopping = stop.clone();
    tokio::spawn(async move {
        for signals in 1.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hang_up.recv() => {}
            }
            if signals > 1 {
                tracing::warn!("second stop signal: ending at once");
                std::process::exit(1);
            }
            stopping.cancel();
        }
    });
    Ok(stop)
}

/// Writes the log to standard error, filtered by `RUST_LOG`, by default by `level`.
pub fn start_log(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(LogOutput::default);
    // A second start in one process, as in tests, keeps the first log.
    let _ = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
