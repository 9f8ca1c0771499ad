//! Paths of a database: its folder, the files beside it, and the file behind a link.

use std::path::{Path, PathBuf};

use crate::storage::error::{Error, Result};

/// The folder of a file.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// The file beside a database with its name and this suffix.
pub fn companion_file(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The file that `path` leads to, whether or not it exists: two names of one file must share a lock.
pub fn real_path(path: &Path) -> Result<PathBuf> {
    if let Ok(real) = path.canonicalize() {
        return Ok(real);
    }
    let name = path.file_name().unwrap_or_default();
    let folder = folder_of(path);
    let real = folder.canonicalize();
    Ok(real
        .map_err(|source| Error::file(folder, source))?
        .join(name))
}
