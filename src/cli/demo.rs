//! `demo`: everything at work, without a Google key.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

/// What `demo` is told.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Keep the database in this file; otherwise it is deleted at the end
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
}

/// Shows the product until it is told to stop.
#[expect(clippy::unused_async, reason = "it will wait for the server's end")]
pub async fn run(_arguments: DemoArgs) -> Result<()> {
    bail!("demo is not part of this build")
}
