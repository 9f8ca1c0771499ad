//! `health`: whether the server on this machine is ready, for the health check of a container, which has no other client.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cli::serve::url_of;
use crate::config::listen_address;

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The address that the server listens on
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8000", value_parser = listen_address)]
    listen: SocketAddr,
}

/// Fails unless the server can write its database.
pub async fn run(arguments: &HealthArgs) -> Result<()> {
    let url = format!("{}/readyz", url_of(arguments.listen));
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
    let answer = client.build()?.get(&url).send().await;
    let answer = answer.with_context(|| format!("no server answers at {url}"))?;
    let status = answer.status();
    ensure!(
        status.is_success(),
        "the server is not ready: {url} answers {status}; its log says why"
    );
    println!("ready");
    Ok(())
}
