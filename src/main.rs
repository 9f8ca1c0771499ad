//! The program: reads its arguments, runs the command, turns an error into an exit status.

use clap::Parser;
use gemini_pool::cli::serve;
use gemini_pool::config::{DatabaseArgs, ServeArgs};

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    serve: ServeArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let command_line = CommandLine::parse();
    serve::run(command_line.database, command_line.serve).await
}
