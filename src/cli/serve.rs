//! `serve`: the server.

use anyhow::{Result, bail};

use crate::config::{DatabaseArgs, ServeArgs};

/// Serves until it is told to stop.
#[expect(clippy::unused_async, reason = "it will wait for the server's end")]
pub async fn run(_database: DatabaseArgs, _serve: ServeArgs) -> Result<()> {
    bail!("serve is not part of this build")
}
