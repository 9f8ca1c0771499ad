//! The command line: parses arguments and runs the command they name. Each command has a file of its own.

pub mod admin;
pub mod backup;
pub mod client_key_terms;
pub mod client_keys;
pub mod completions;
pub mod confirmation;
pub mod core_dumps;
pub mod database;
pub mod demo;
pub mod doctor;
pub mod egress_proxies;
pub mod export_logs;
pub mod health;
pub mod import_clients;
pub mod import_report;
pub mod import_source;
pub mod key_selection;
pub mod log_filter;
pub mod log_output;
pub mod log_source;
pub mod logs;
pub mod master_key;
pub mod migrate;
pub mod migration_progress;
pub mod open_files;
pub mod output;
pub mod pool_access;
pub mod progress;
pub mod prune_logs;
pub mod remote;
pub mod restore;
pub mod serve;
pub mod settings;
pub mod test_keys;
pub mod time_argument;
pub mod undo;
pub mod upstream_keys;
pub mod whole_file;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::Resettable;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::pool_access::PoolAccess;
use crate::cli::remote::RemoteArgs;
use crate::config::{DatabaseArgs, InvalidConfig, ServeArgs};

/// One reliable endpoint over many Gemini keys. Without a command it serves
#[derive(Debug, Parser)]
#[command(name = "gemini-pool", version = env!("GEMINI_POOL_VERSION"))]
pub struct CommandLine {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    Serve(Box<ServeArgs>),
    /// Bring the database to this version
    Migrate(migrate::MigrateArgs),
    /// Copy the database while the server runs
    Backup(backup::BackupArgs),
    /// Replace the database by a copy; the server must be stopped
    Restore(restore::RestoreArgs),
    /// Manage the Gemini keys that requests are sent with
    #[command(subcommand, visible_alias = "keys")]
    UpstreamKeys(upstream_keys::Command),
    /// Manage the keys that clients send to this server
    #[command(subcommand, visible_alias = "clients")]
    ClientKeys(client_keys::Command),
    /// Manage the proxies for connections to Google
    #[command(subcommand)]
    EgressProxies(egress_proxies::Command),
    /// Show and change the settings of a running server
    #[command(subcommand)]
    Settings(settings::Command),
    /// List the latest acts that can be undone, and undo one
    Undo(undo::UndoArgs),
    /// Manage the admins of the dashboard
    #[command(subcommand)]
    Admin(admin::Command),
    /// Show and delete logged requests
    #[command(subcommand)]
    Logs(logs::Command),
    /// Encrypt the secrets in the database, and change the key that encrypts them
    #[command(subcommand)]
    MasterKey(master_key::Command),
    /// Check the database, this machine and the way to Google, and say what to do about each finding
    Doctor(doctor::DoctorArgs),
    /// Check whether the server on this machine is ready; exit status 0 or 1
    Health(health::HealthArgs),
    /// Run the server on a temporary database with a simulated Gemini, without Google keys
    Demo(demo::DemoArgs),
    /// Print a script with which a shell completes the commands
    Completions(completions::CompletionsArgs),
    /// Write the manual pages
    Man(completions::ManArgs),
}

/// Adds the variables of `.env` in the current folder to the environment. Variables that are set already keep their values.
pub fn read_dotenv() -> Result<()> {
    match dotenvy::from_path(".env") {
        Ok(()) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        Err(dotenvy::Error::Io(error)) => {
            Err(error).map_err(|error| wrong_dotenv(&error.to_string()))
        }
        // The error contains the line, which may be a secret.
        Err(_) => Err(wrong_dotenv(
            "a line is not NAME=value; put values with spaces, $ or # in single quotes",
        )),
    }
}

fn wrong_dotenv(why: &str) -> anyhow::Error {
    InvalidConfig::new(&format!("the file .env cannot be used: {why}")).into()
}

/// Prints why a command failed. Returns its exit status: 2 for wrong usage, else 1.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    // The reader has closed the pipe, as in `logs list | head`.
    let is_broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    };
    if error.chain().any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("{} {}", output::styled_error(), message(error));
    ExitCode::from(if error.is::<InvalidConfig>() { 2 } else { 1 })
}

/// An error with its causes. Some messages contain their cause already; it is not repeated.
fn message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

impl CommandLine {
    /// Reads arguments and environment. Ends the process with a message when they are wrong or request help.
    pub fn read() -> Self {
        Self::parse_from(std::env::args_os().collect()).unwrap_or_else(|error| error.exit())
    }

    fn parse_from(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let mut command = ignore_empty_variables(Self::command());
        let mut matches = command.try_get_matches_from_mut(with_command(arguments))?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }

    /// Runs the command to its end.
    pub async fn run(self) -> Result<()> {
        // These need no pool.
        if let Command::Completions(arguments) = &self.command {
            return completions::print_completions(arguments, Self::command());
        }
        if let Command::Man(arguments) = &self.command {
            return completions::write_manual(arguments, Self::command());
        }
        let path = match &self.command {
            Command::Demo(arguments) => arguments.keep.clone(),
            _ => database::path(&self.database).ok(),
        };
        let pool = PoolAccess::new(self.database, &self.remote)?;
        let done = match self.command {
            Command::Serve(arguments) => {
                Box::pin(serve::run(pool.file("`serve`")?.clone(), *arguments)).await
            }
            Command::Migrate(arguments) => migrate::run(pool.file("`migrate`")?, &arguments).await,
            Command::Backup(arguments) => backup::run(&pool, &arguments).await,
            Command::Restore(arguments) => restore::run(pool.file("`restore`")?, &arguments).await,
            Command::UpstreamKeys(command) => Box::pin(upstream_keys::run(&pool, command)).await,
            Command::ClientKeys(command) => client_keys::run(&pool, command).await,
            Command::EgressProxies(command) => Box::pin(egress_proxies::run(&pool, command)).await,
            Command::Settings(command) => settings::run(&pool, command).await,
            Command::Undo(arguments) => undo::run(&pool, arguments).await,
            Command::Admin(command) => admin::run(pool.file("`admin`")?, command).await,
            Command::Logs(command) => logs::run(&pool, command).await,
            Command::MasterKey(command) => {
                master_key::run(pool.file("`master-key`")?, command).await
            }
            Command::Doctor(arguments) => doctor::run(pool.file("`doctor`")?, arguments).await,
            Command::Health(arguments) => {
                pool.file("`health`")?;
                health::run(&arguments).await
            }
            Command::Demo(arguments) => {
                let master_key = pool.file("`demo`")?.master_key.clone();
                demo::run(arguments, master_key).await
            }
            Command::Completions(_) | Command::Man(_) => Ok(()),
        };
        done.map_err(|error| match (path, pool) {
            (Some(path), PoolAccess::File(_)) => database::explain(error, &path),
            (_, PoolAccess::File(_) | PoolAccess::Server(_)) => error,
        })
    }
}

/// The flags that stand before a command, with their values.
const GLOBAL_FLAGS: [&str; 6] = [
    "--database-url",
    "--server",
    "--token",
    "--token-file",
    "--master-key",
    "--master-key-file",
];

/// `gemini-pool --listen …` means `gemini-pool serve --listen …`.
fn with_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let mut index = 1;
    while let Some(argument) = arguments.get(index).and_then(|argument| argument.to_str()) {
        match argument {
            _ if GLOBAL_FLAGS.contains(&argument) => index += 2,
            _ if argument
                .split_once('=')
                .is_some_and(|(flag, _)| GLOBAL_FLAGS.contains(&flag)) =>
            {
                index += 1;
            }
            "-h" | "--help" | "-V" | "--version" => return arguments,
            _ => break,
        }
    }
    let index = index.min(arguments.len());
    let is_flag = |argument: &OsString| argument.as_encoded_bytes().starts_with(b"-");
    if arguments.get(index).is_none_or(is_flag) {
        arguments.insert(index, "serve".into());
    }
    arguments
}

/// An empty variable counts as unset: compose files and `.env` have many of them.
fn ignore_empty_variables(command: clap::Command) -> clap::Command {
    let without_empty = |argument: Arg| {
        let is_empty = argument
            .get_env()
            .and_then(std::env::var_os)
            .is_some_and(|value| value.is_empty());
        if is_empty {
            argument.env(Resettable::<clap::builder::OsStr>::Reset)
        } else {
            argument
        }
    };
    command
        .mut_args(without_empty)
        .mut_subcommands(ignore_empty_variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<CommandLine, clap::Error> {
        let program = ["gemini-pool"].iter().chain(arguments);
        CommandLine::parse_from(program.map(OsString::from).collect())
    }

    #[test]
    fn the_command_definitions_are_valid() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_server_starts() {
        let cases: [&[&str]; 6] = [
            &[],
            &["--listen", "127.0.0.1:1"],
            &["--database-url", "sqlite://x.db"],
            &["--database-url=sqlite://x.db", "--listen=127.0.0.1:1"],
            &["serve", "--database-url", "sqlite://x.db"],
            &["--server=http://x", "--token", "t", "--listen=127.0.0.1:1"],
        ];
        for arguments in cases {
            let parsed = parse(arguments).unwrap();
            assert!(matches!(parsed.command, Command::Serve(_)), "{arguments:?}");
        }
        assert_eq!(
            parse(cases[2]).unwrap().database.database_url,
            "sqlite://x.db"
        );
    }

    #[test]
    fn the_database_is_accepted_before_and_after_the_command() {
        for arguments in [
            ["--database-url", "sqlite://x.db", "keys", "list"],
            ["upstream-keys", "list", "--database-url", "sqlite://x.db"],
        ] {
            let parsed = parse(&arguments).unwrap();
            assert_eq!(parsed.database.database_url, "sqlite://x.db");
            assert!(matches!(parsed.command, Command::UpstreamKeys(_)));
        }
    }

    #[test]
    fn wrong_usage_exits_with_2_and_help_with_0() {
        let status = |arguments: &[&str]| parse(arguments).unwrap_err().exit_code();

        let wrong: [&[&str]; 9] = [
            &["nonsense"],
            &["--nonsense"],
            &["keys"],
            &["keys", "remove"],
            &["logs", "list", "--outcome", "fine"],
            &["logs", "list", "--cursor", "7"],
            &["settings", "get", "max_atempts"],
            &["settings", "reset"],
            &["clients", "create", "name", "--expires", "soon"],
        ];
        for arguments in wrong {
            assert_eq!(status(arguments), 2, "{arguments:?}");
        }
        for arguments in [&["--help"][..], &["--version"], &["keys", "add", "--help"]] {
            assert_eq!(status(arguments), 0, "{arguments:?}");
        }
    }

    #[test]
    fn an_unknown_setting_name_is_answered_with_similar_names() {
        let error = parse(&["settings", "set", "max_atempts", "7"]).unwrap_err();

        assert!(error.to_string().contains("'max_attempts'"), "{error}");
    }

    #[test]
    fn a_cause_is_printed_once() {
        let io = std::io::Error::other("disk on fire");
        let error = crate::storage::error::Error::file("pool.db".as_ref(), io);
        let error = anyhow::Error::from(error).context("nothing was copied");

        assert_eq!(message(&error), "nothing was copied: pool.db: disk on fire");
    }
}
