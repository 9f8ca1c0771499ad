//! `master-key`: encrypts the secrets in the database, moves them to another master key, decrypts them, and shows how far that is.

mod change;
mod forget;
mod generate;
mod status;

use anyhow::Result;
use clap::Subcommand;

use crate::config::DatabaseArgs;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show with which master key the database is encrypted, and what is not
    Status(status::StatusArgs),
    /// Print a new master key, or write it to a file
    Generate(generate::GenerateArgs),
    /// Encrypt the secrets in the database with `MASTER_KEY`
    Encrypt,
    /// Move to another master key while the server runs; run it again if it was interrupted
    Rotate(change::RotateArgs),
    /// Store the secrets unencrypted again
    Decrypt,
    /// Remove what a lost master key has encrypted; the server must be stopped
    Forget(forget::ForgetArgs),
}

pub async fn run(args: &DatabaseArgs, command: Command) -> Result<()> {
    match command {
        Command::Status(arguments) => status::run(args, &arguments).await,
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Encrypt => change::encrypt(args).await,
        Command::Rotate(arguments) => change::rotate(args, &arguments).await,
        Command::Decrypt => change::decrypt(args).await,
        Command::Forget(arguments) => forget::run(args, &arguments).await,
    }
}
