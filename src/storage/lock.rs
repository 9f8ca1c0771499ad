//! `ServerLock`: at most one server uses a database file, and no command replaces the file meanwhile.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::storage::database_path::{companion_file, real_path};
use crate::storage::error::{Error, Result};
use crate::storage::file_mode;

/// Held by a running server; the system releases it however the process ends.
///
/// It is a file of its own beside the database: SQLite keeps its own locks on the database file and would lose them
/// if the same process closed that file once more.
#[derive(Debug)]
pub struct ServerLock {
    _file: File,
}

impl ServerLock {
    /// Takes the lock of `database`, which need not exist yet. Refused while another process holds it.
    pub fn acquire(database: &Path) -> Result<Self> {
        let database = real_path(database)?;
        let path = companion_file(&database, ".lock");
        let file = open(&path).map_err(|source| Error::file(&path, source))?;
        file_mode::take_owner_and_mode(&file, &database);
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Refused(format!(
                "another process is using {} as a server: stop it first",
                database.display()
            ))),
            Err(TryLockError::Error(source)) => Err(Error::file(&path, source)),
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    // No link is followed: the owner of the folder could have root give him the file that it leads to.
    let always = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |flags| -> std::io::Result<File> {
        let opened = rustix::fs::open(path, flags | always, Mode::RUSR | Mode::WUSR)?;
        Ok(opened.into())
    };
    match open(OFlags::WRONLY | OFlags::CREATE) {
        // Another user made it: to lock it, reading suffices.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let opened = open(OFlags::RDONLY);
            // It is missing, and the folder cannot be written.
            let is_missing = |other: &std::io::Error| other.kind() == ErrorKind::NotFound;
            if opened.as_ref().is_err_and(is_missing) {
                Err(error)
            } else {
                opened
            }
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_the_lock_and_it_ends_with_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("pool.db");

        let first = ServerLock::acquire(&database).unwrap();
        let roundabout = folder.path().join(".").join("pool.db");
        assert!(matches!(
            ServerLock::acquire(&roundabout),
            Err(Error::Refused(_))
        ));
        drop(first);

        assert!(ServerLock::acquire(&database).is_ok());
    }
}
