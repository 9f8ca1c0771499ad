//! `DatabaseFile`: which file the connections have open, to detect that another one, or none, is at its path.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::storage::error::{Error, Result};

/// The file of a database. A file that was moved away or deleted can still be written through its open connections, but
/// nothing of that would be found after the end of the process.
#[derive(Debug, Clone)]
pub struct DatabaseFile {
    path: PathBuf,
    /// Unset for a database in memory.
    opened: Arc<OnceLock<FileId>>,
}

/// Device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

impl DatabaseFile {
    /// The file at `path`, which connections are about to open or have opened.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            opened: Arc::default(),
        }
    }

    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Notes that the file at the path is the opened one.
    pub fn set_opened(&self) {
        if let Some(id) = self.id_at_path() {
            let _ = self.opened.set(id);
        }
    }

    /// Fails while the opened file is not at its path.
    pub fn check(&self) -> Result<()> {
        match self.opened.get() {
            Some(opened) if self.id_at_path() != Some(*opened) => {
                Err(Error::FileMoved(self.path.clone()))
            }
            _ => Ok(()),
        }
    }

    /// A call that does not block: the path's entries are in the cache of the system.
    fn id_at_path(&self) -> Option<FileId> {
        let file = fs::metadata(&self.path).ok()?;
        Some(FileId(file.dev(), file.ino()))
    }
}
