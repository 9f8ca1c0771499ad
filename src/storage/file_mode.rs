//! Mode and owner of a database and of the files beside it, which hold keys.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};

use crate::storage::database_path::{companion_file, real_path};
use crate::storage::error::{Error, Result};

/// The mode of new files: only their owner may read and write them.
const PRIVATE: u32 = 0o600;
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;
/// The files beside a database that have its mode.
const COMPANIONS: [&str; 4] = ["-wal", "-shm", "-journal", ".lock"];

/// Makes an empty file where a database is to be: one that SQLite makes itself can be read by all users. SQLite
/// gives its companions the same mode.
pub fn create(database: &Path) -> Result<()> {
    // An existing file is never opened here: closing it would end the locks that SQLite has on it in this process.
    if database.exists() {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    // Not `create_new`: the name may be a symbolic link that leads to where the file is to be.
    options.write(true).create(true).truncate(false);
    let created = options.mode(PRIVATE).open(database);
    created.map_err(|source| Error::file(database, source))?;
    Ok(())
}

/// Takes a database and its companions from all users but its owner and its group. Returns warnings.
pub fn restrict(database: &Path) -> Vec<String> {
    // SQLite puts companions beside the file and not beside a link to it.
    let database = real_path(database).unwrap_or_else(|_| database.to_owned());
    let companions = COMPANIONS.map(|end| companion_file(&database, end));
    let (mut taken, mut kept) = (Vec::new(), Vec::new());
    for path in [&database].into_iter().chain(&companions) {
        // A link in the place of a companion may lead to any user's file.
        let file = path.symlink_metadata();
        let Some(file) = file.ok().filter(Metadata::is_file) else {
            continue;
        };
        if file.mode() & OTHERS == 0 {
            continue;
        }
        let name = named(path, &file);
        match take_from_others(path, &file) {
            Ok(()) => taken.push(name),
            Err(error) => kept.push(format!("{name}: {error}")),
        }
    }
    let mut warnings = Vec::new();
    if !taken.is_empty() {
        let names = taken.join(", ");
        warnings.push(format!(
            "other users of this machine could open {names}: no longer, because the database holds keys"
        ));
    }
    if !kept.is_empty() {
        let names = kept.join(", ");
        warnings.push(format!(
            "other users of this machine can open the database, which holds keys, and its mode cannot be changed (run \
             `chmod o-rwx` as the owner): {names}"
        ));
    }
    let file = fs::metadata(&database).ok();
    if let Some(file) = file.filter(|file| file.mode() & GROUP != 0) {
        warnings.push(format!(
            "the group {} can open {}, which holds keys: run `chmod 600` on it unless that is meant",
            file.gid(),
            named(&database, &file)
        ));
    }
    warnings
}

/// Who else than its owner may open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Every user of the machine.
    Others,
    Group,
}

/// The database and the files beside it, whether or not they exist.
pub fn files_of(database: &Path) -> Vec<PathBuf> {
    let database = real_path(database).unwrap_or_else(|_| database.to_owned());
    let companions = COMPANIONS.map(|end| companion_file(&database, end));
    [database].into_iter().chain(companions).collect()
}

/// Who else may open an existing file, and its mode; `None`: only its owner.
pub fn exposure(path: &Path) -> Option<(Exposure, u32)> {
    let file = path.symlink_metadata().ok().filter(Metadata::is_file)?;
    let mode = file.mode() & 0o777;
    if mode & OTHERS != 0 {
        Some((Exposure::Others, mode))
    } else if mode & GROUP != 0 {
        Some((Exposure::Group, mode))
    } else {
        None
    }
}

/// Gives a file the owner and group of `database`, as far as this process may: what root makes beside a database must not
/// keep its owner out.
pub fn take_owner(file: &File, database: &Path) {
    let (Ok(old), Ok(new)) = (file.metadata(), fs::metadata(database)) else {
        return;
    };
    // A file with a second name may be another user's.
    if (old.uid(), old.gid()) == (new.uid(), new.gid()) || old.nlink() > 1 {
        return;
    }
    // Only root can give a file away; its owner can share it with a group that he is in.
    if fchown(file, Some(new.uid()), Some(new.gid())).is_err() {
        let _ = fchown(file, None, Some(new.gid()));
    }
}

/// The same for a folder.
pub fn folder_takes_owner(folder: &Path, database: &Path) {
    if let Ok(database) = fs::metadata(database) {
        let _ = lchown(folder, Some(database.uid()), Some(database.gid()));
    }
}

/// Gives a file the owner of `database`, and its mode without what others may.
pub fn take_owner_and_mode(file: &File, database: &Path) {
    let Ok(database_is) = fs::metadata(database) else {
        return;
    };
    take_owner(file, database);
    // None of these files is a program.
    let mode = PRIVATE | (database_is.mode() & 0o060);
    let is_to_change = |file: Metadata| file.mode() & 0o777 != mode && file.nlink() == 1;
    if file.metadata().is_ok_and(is_to_change) {
        let _ = file.set_permissions(Permissions::from_mode(mode));
    }
}

fn take_from_others(path: &Path, file: &Metadata) -> io::Result<()> {
    let mode = file.mode() & 0o7777 & !OTHERS;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    // Some file systems take any mode and keep none.
    if path.symlink_metadata()?.mode() & OTHERS != 0 {
        return Err(io::Error::other("the file system keeps no modes"));
    }
    Ok(())
}

fn named(path: &Path, file: &Metadata) -> String {
    format!("{} (mode {:o})", path.display(), file.mode() & 0o777)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::storage::db::Db;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn a_new_database_and_its_companions_are_private_even_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (link, path) = (folder.path().join("link.db"), folder.path().join("pool.db"));
        symlink(&path, &link).unwrap();

        create(&link).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (Vec::new(), 0o600));
        let db = Db::open_file(&link).await.unwrap();
        db.migrate().await.unwrap();

        for end in ["", "-wal", "-shm"] {
            assert_eq!(mode(&companion_file(&path, end)), 0o600, "{end}");
        }
        assert_eq!(restrict(&link), [""; 0]);
    }

    #[test]
    fn an_existing_database_keeps_what_it_holds_and_what_its_group_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool.db");
        let files = ["", "-wal", ".lock"].map(|end| companion_file(&path, end));
        for file in &files {
            fs::write(file, "content").unwrap();
        }
        let cases = [
            (0o600, 0o600, 0),
            (0o644, 0o640, 2),
            (0o606, 0o600, 1),
            (0o660, 0o660, 1),
        ];
        for (before, after, warnings) in cases {
            for file in &files {
                set_mode(file, before);
            }

            create(&path).unwrap();
            let told = restrict(&path);

            assert_eq!(told.len(), warnings, "{before:o}: {told:?}");
            for file in &files {
                assert_eq!(mode(file), after, "{}", file.display());
                assert_eq!(fs::read(file).unwrap(), b"content");
            }
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_companion_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("pool.db"), folder.path().join("other"));
        create(&path).unwrap();
        fs::write(&other, "").unwrap();
        set_mode(&other, 0o644);
        symlink(&other, companion_file(&path, "-wal")).unwrap();

        assert_eq!(restrict(&path), [""; 0]);
        assert_eq!(mode(&other), 0o644);
    }

    #[test]
    fn a_file_takes_the_mode_of_the_database_without_what_others_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool.db");
        create(&path).unwrap();
        let beside = folder.path().join("beside");
        let file = File::create(&beside).unwrap();
        for (of_database, expected) in [(0o600, 0o600), (0o664, 0o660), (0o750, 0o640)] {
            set_mode(&path, of_database);
            take_owner_and_mode(&file, &path);
            assert_eq!(mode(&beside), expected, "{of_database:o}");
        }
    }
}
