//! A backup as the body of a response, recorded in the audit log.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use tokio_util::io::ReaderStream;

use crate::clock::Timestamp;
use crate::storage::audit::Actor;
use crate::storage::backups;
use crate::storage::db::Db;
use crate::storage::error::{Error, Result};

/// The media type of a backup, which makes browsers save the file and excludes it from compression.
pub const FILE_TYPE: &str = "application/vnd.sqlite3";

/// Streams the backup with this name. The caller has made sure that the actor may have it.
pub async fn download(db: &Db, name: &str, actor: &Actor, now: Timestamp) -> Result<Response> {
    let (backup, path) = backups::find(db.path(), name)?;
    let file = tokio::fs::File::open(&path).await;
    let file = file.map_err(|source| Error::file(&path, source))?;
    backups::record_download(db, &backup, actor, now).await?;
    let disposition = format!("attachment; filename=\"{}\"", ascii_file_name(&backup.name));
    let headers = [
        (CONTENT_TYPE, FILE_TYPE.to_owned()),
        (CONTENT_LENGTH, backup.bytes.to_string()),
        (CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

/// Replaces characters that a header value must not contain.
fn ascii_file_name(name: &str) -> String {
    name.replace(
        |char: char| !char.is_ascii_graphic() || "\"\\".contains(char),
        "_",
    )
}
