//! `master-key generate`: makes a random master key.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use rand::Rng;
use zeroize::Zeroizing;

use crate::cli::output;
use crate::config;
use crate::pool::sealing::KEY_BYTES;

#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The file to create, which only its owner can read; default: standard output
    file: Option<PathBuf>,
}

pub(super) fn run(arguments: &GenerateArgs) -> Result<()> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    rand::rng().fill_bytes(&mut *key);
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
    for byte in key.iter() {
        write!(text, "{byte:02x}")?;
    }
    let Some(path) = &arguments.file else {
        return output::line(text.as_str());
    };
    let id = config::master_key(&text, "the new key")?.key(&[]).id();
    text.push('\n');
    let mut options = OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = created.with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    output::line(format!(
        "the master key {id} is in {}: keep a copy of it elsewhere, because nothing can replace it",
        path.display()
    ))
}
