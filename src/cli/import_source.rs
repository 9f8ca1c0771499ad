//! Reads what an import is given: a text, or the SQLite database of another pool.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use anyhow::{Context, Result};

use crate::pool::keys::import::decode;
use crate::storage::other_pool::{self, OtherPool};

/// A file to import.
#[derive(Debug)]
pub enum ImportSource {
    Text(String),
    Database(OtherPool),
}

impl ImportSource {
    /// Reads a file, or standard input for `-`.
    pub async fn read(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        if path.as_os_str() == "-" {
            stdin().lock().read_to_end(&mut bytes)
        } else {
            File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
        }
        .with_context(|| format!("cannot read {}", path.display()))?;
        if !other_pool::is_database(&bytes) {
            return Ok(Self::Text(decode::decode(&bytes)));
        }
        let read = other_pool::read(path).await;
        let read = read.with_context(|| format!("cannot import {}", path.display()))?;
        Ok(Self::Database(read))
    }
}
