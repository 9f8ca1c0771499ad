//! `PoolAccess`: what a command works on, a database file or a running server.

use anyhow::Result;

use crate::cli::remote::{RemoteArgs, RemoteServer};
use crate::config::{DatabaseArgs, InvalidConfig};

/// A database file, or a running server by its admin API.
#[derive(Debug)]
pub enum PoolAccess {
    File(DatabaseArgs),
    Server(Box<RemoteServer>),
}

impl PoolAccess {
    /// The server if the arguments name one, else the file.
    pub fn new(database: DatabaseArgs, remote: &RemoteArgs) -> Result<Self> {
        Ok(match remote.server()? {
            Some(server) => Self::Server(Box::new(server)),
            None => Self::File(database),
        })
    }

    /// The file, for a command or flag that only works on one.
    pub fn file(&self, command: &str) -> Result<&DatabaseArgs> {
        match self {
            Self::File(database) => Ok(database),
            Self::Server(_) => {
                let wrong = format!(
                    "{command} works on the machine of the database only: run it there, without --server and GEMINI_POOL_SERVER"
                );
                Err(InvalidConfig::new(&wrong).into())
            }
        }
    }
}
