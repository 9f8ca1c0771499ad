//! `demo`: runs the server with a fake Gemini and clients that send requests, without Google keys.

mod history;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::admin::{self, FirstSignIn};
use crate::cli::database::migrate_database;
use crate::cli::demo::history::HistorySize;
use crate::cli::migration_progress::ProgressOutput;
use crate::cli::serve::{greeting, prepare, start_log, stop_on_signal, unlock, url_of};
use crate::cli::{database, open_files, output};
use crate::clock;
use crate::config::{Config, FirstAdmin, LogFormat, MasterKeyArgs, listen_address};
use crate::demo::fake_gemini::FakeGemini;
use crate::demo::fake_gemini::behaviour::FakeKey;
use crate::demo::keys::{demo_keys, extra_keys, fake_config};
use crate::demo::traffic;
use crate::pool::keys::upstream_key::KeyAttributes;
use crate::pool::secret::Secret;
use crate::server::{self, Server};
use crate::storage::audit::{Act, Actor};
use crate::storage::client_keys::{self, NewClientKey};
use crate::storage::db::Db;
use crate::storage::lock::ServerLock;
use crate::storage::ownership::refuse_foreign_file;
use crate::storage::{file_mode, installation, upstream_keys};

/// All characters but those that are special neither in a shell nor in a URL.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');
/// The default address of the demo.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);
/// The demo's clients and their keys. The keys are fixed, so that a kept database can be used again.
const CLIENTS: [(&str, &str); 3] = [
    ("web app", "demo-web-app"),
    ("notebook", "demo-notebook"),
    ("cron job", "demo-cron-job"),
];
/// Requests per second of all clients together.
const RATE: f64 = 3.0;
/// How long responses may continue after a stop signal.
const DRAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Keep the database in this file and use it again the next time; otherwise it is deleted at the end
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
    /// The address to listen on
    #[arg(long, default_value_t = LISTEN, value_parser = listen_address)]
    pub listen: SocketAddr,
    /// Start with this number of requests of the last days, to fill the pages: 10000000 take some minutes
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 0,
        hide_short_help = true
    )]
    pub rows: u64,
    /// Spread those requests over this number of days
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3_650),
        hide_short_help = true
    )]
    pub days: u64,
    /// Start with this number of additional upstream keys
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 0,
        hide_short_help = true
    )]
    pub keys: usize,
}

/// Runs the demo until a signal ends it.
pub async fn run(arguments: DemoArgs, master_key: MasterKeyArgs) -> Result<()> {
    // Warnings about failing keys would soon scroll the text off the screen.
    start_log(LogFormat::Text, "error");
    open_files::raise_limit();
    let stop = stop_on_signal()?;
    let folder = tempfile::Builder::new()
        .prefix("gemini-pool-demo-")
        .tempdir()?;
    let path = match &arguments.keep {
        Some(path) => std::path::absolute(path)?,
        None => folder.path().join("demo.db"),
    };
    let running = demo(arguments, master_key, path.clone(), stop).await;
    running.map_err(|error| database::with_remedy(error, &path))
}

async fn demo(
    arguments: DemoArgs,
    master_key: MasterKeyArgs,
    path: PathBuf,
    stop: CancellationToken,
) -> Result<()> {
    database::refuse_missing_folder(&path)?;
    refuse_foreign_file(&path).await?;
    let _lock = ServerLock::acquire(&path)?;
    let listener = bind(arguments.listen).await?;
    let listen = listener.local_addr()?;
    let opened = Db::open_file(&path).await;
    let db = opened.with_context(|| database::cannot_open(&path))?;
    output::warn(&file_mode::restrict(&path));
    migrate_database(&db, ProgressOutput::StandardError).await?;
    db.data_keys.set_master_key(master_key);
    unlock(&db).await?;
    add_keys(&db, &path).await?;
    if arguments.rows > 0 || arguments.keys > 0 {
        let size = HistorySize {
            rows: arguments.rows,
            keys: arguments.keys,
            span: Duration::from_hours(24 * arguments.days),
        };
        history::generate(&db, size, clock::now(), &stop).await?;
    }

    let mut fake_config = fake_config();
    fake_config.keys.extend(extra_fake_keys(&db).await?);
    let google = FakeGemini::start(fake_config).await?;
    let config = Config {
        listen,
        database_url: database_url(&path),
        upstream_url: google.url().parse()?,
        client_keys: Vec::new(),
        upstream_keys: Vec::new(),
        trusted_proxies: Vec::new(),
        public_url: None,
        first_admin: FirstAdmin::default(),
    };
    let (app, writer) = prepare(config, db).await?;
    let first = admin::add_first(&app.db, &app.config.first_admin, Actor::demo()).await?;
    let url = url_of(listen);
    output::line(text(&url, &app.config, &arguments, first.as_ref()))?;

    let keys = CLIENTS.map(|(_, secret)| secret.to_owned()).to_vec();
    tokio::spawn(traffic::run(url, keys, RATE, stop.clone()));
    tokio::spawn(shut_down_fake(google, stop.clone()));
    Server::new(app, listener, writer).run(stop).await?;
    if arguments.keep.is_some() {
        output::line(format!(
            "\nThe demo has ended. Its database is kept in {}",
            path.display()
        ))?;
    } else {
        output::line("\nThe demo has ended, and its database is deleted")?;
    }
    Ok(())
}

/// Aborts the responses of the fake that are still running after [`DRAIN`].
async fn shut_down_fake(google: FakeGemini, stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN).await;
    google.shutdown().await;
}

/// Binds the address. If it is the default and another program uses it, binds a free port instead.
async fn bind(wanted: SocketAddr) -> Result<TcpListener> {
    let is_taken = |error: &anyhow::Error| {
        let cause = error.downcast_ref::<io::Error>();
        cause.is_some_and(|error| error.kind() == ErrorKind::AddrInUse)
    };
    match server::bind(wanted).await {
        Err(error) if wanted == LISTEN && is_taken(&error) => {
            server::bind(SocketAddr::new(wanted.ip(), 0)).await
        }
        bound => bound,
    }
}

/// Adds the demo's upstream keys and client keys that an earlier demo has not added.
async fn add_keys(db: &Db, path: &Path) -> Result<()> {
    let demo_keys = demo_keys();
    let (known, removed) = upstream_keys::list_changed(db, -1).await?;
    let clients = client_keys::list(&db.readers).await?;
    let is_new = known.is_empty() && removed.is_empty() && clients.is_empty();
    let is_ours = known.iter().any(|key| {
        demo_keys
            .iter()
            .any(|demo_key| demo_key.key.secret == key.secret.expose())
    });
    if !is_new && !is_ours {
        // The fake Gemini would refuse all its keys as invalid.
        bail!(
            "{} is the database of a real pool: choose another file for the demo",
            path.display()
        );
    }
    let mut tx = db.begin().await?;
    let installation_keys = installation::keys(&mut tx, &db.data_keys).await?;
    let act = Act::begin(&mut tx, &Actor::demo(), clock::now()).await?;
    for demo_key in &demo_keys {
        let secret = Secret::new(&demo_key.key.secret);
        let attributes = KeyAttributes {
            label: Some(demo_key.label.to_owned()),
            ..KeyAttributes::default()
        };
        upstream_keys::insert(
            &mut tx,
            &installation_keys,
            &secret,
            &attributes,
            false,
            &act,
        )
        .await?;
    }
    for (name, secret) in CLIENTS {
        let key = NewClientKey {
            name,
            note: "key of the demo, not secret",
            secret: &Secret::new(secret),
            expires_at: None,
        };
        client_keys::insert(&mut tx, &installation_keys.hash_key, &key, &act).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The additional keys of this demo or an earlier one.
async fn extra_fake_keys(db: &Db) -> Result<Vec<FakeKey>> {
    let (known, _) = upstream_keys::list_changed(db, -1).await?;
    let count = known.len().saturating_sub(demo_keys().len());
    Ok(extra_keys(count).collect())
}

/// The text that explains the demo.
fn text(url: &str, config: &Config, arguments: &DemoArgs, first: Option<&FirstSignIn>) -> String {
    let keys = demo_keys().len();
    let program = program();
    let (name, key) = CLIENTS[0];
    let DemoArgs { keep, listen, .. } = arguments;
    let port = listen.port();
    let moved = if [0, config.listen.port()].contains(&port) {
        String::new()
    } else {
        format!("   (port {port} is in use; this is a free port)")
    };
    let database_url = &config.database_url;
    let greeting = greeting(url, first);
    let end = if keep.is_some() {
        "The database is kept, and the next demo uses it again"
    } else {
        "The database is then deleted"
    };
    format!(
        r#"
This is gemini-pool with {keys} upstream keys, in front of a fake Gemini inside this program. No request leaves this
machine, and all responses are canned text.
{greeting}
  Base URL     {url}{moved}
  Client key   {key}   (of the client "{name}")

Three clients send about {RATE} requests a second. Send one yourself from another terminal:

  curl {url}/v1beta/models/gemini-2.5-flash:generateContent \
    -H 'x-goog-api-key: {key}' -H 'content-type: application/json' \
    -d '{{"contents":[{{"parts":[{{"text":"Why is the sky blue?"}}]}}]}}'

  curl -N '{url}/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse' \
    -H 'x-goog-api-key: {key}' -H 'content-type: application/json' \
    -d '{{"contents":[{{"parts":[{{"text":"Why is the sky blue?"}}]}}]}}'

Watch the pool:

  {program} upstream-keys list --database-url {database_url}
  {program} logs list --database-url {database_url}
  {program} logs tail --database-url {database_url}
  {program} client-keys list --database-url {database_url}

What the output shows:

- upstream-keys list: the label of a key describes how it fails. The last four keys fail at the first check or request and
  are not used again before the time under UNTIL (the leaked key never). Keys without quota cool down for the models under
  WHY only, and serve other models. The remaining keys fail now and then and stay ready.
- logs list: ATTEMPTS above 1 means that another key answered after the first one had failed; the client did not notice.
  broken_off means that a response broke after its first bytes had been sent to the client, so that it could not be retried.
  client_error is a mistake of the client and is not retried; client_gone means that the client closed the connection.
  With --json each request has all its attempts; the header x-request-id of a response is the ID of its row.

Ctrl-C ends the demo. {end}. With RUST_LOG=warn the server logs here which keys fail
and cool down.
"#
    )
}

/// The command that starts this program from any folder.
fn program() -> String {
    let first_argument = std::env::args_os().next().map(PathBuf::from);
    let is_in_path = first_argument.is_some_and(|path| path.components().count() == 1);
    match std::env::current_exe() {
        Ok(path) if !is_in_path => path.display().to_string(),
        _ => env!("CARGO_PKG_NAME").to_owned(),
    }
}

/// The URL of the file, with all characters escaped that are special in a shell or a URL.
fn database_url(path: &Path) -> String {
    let path = percent_encode(path.as_os_str().as_bytes(), &ESCAPED);
    format!("sqlite://{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::db::path_of;

    #[test]
    fn a_file_name_with_special_characters_survives_the_url() {
        for path in ["/tmp/demo.db", "/tmp/100% mine?/it's #1.db", "/tmp/示範.db"] {
            assert_eq!(
                path_of(&database_url(Path::new(path))).unwrap(),
                Path::new(path)
            );
        }
    }
}
