//! Selected keys as CSV that an import reads again, with the last characters of the keys in place of the secrets.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

use crate::app::App;
use crate::dashboard::page_context::PageContext;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::storage::backup::file_time;
use crate::storage::csv_cells::written;
use crate::storage::error::Result;
use crate::storage::upstream_keys::exported::{COLUMNS, ExportedKey};
use crate::storage::upstream_keys::listed;

pub async fn file(app: &App, context: &PageContext, ids: &[UpstreamKeyId]) -> Result<Response> {
    let keys = listed::list_these(&app.db.readers, ids, context.now).await?;
    let lines = written(|writer| {
        writer.write_record(COLUMNS)?;
        let mut keys = keys.into_iter();
        keys.try_for_each(|key| writer.write_record(ExportedKey::new(key, None).cells()))
    });
    let name = format!("gemini-pool-upstream-keys-{}.csv", file_time(context.now));
    let headers = [
        (
            CONTENT_TYPE,
            "text/csv; charset=utf-8; header=present".to_owned(),
        ),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    Ok((headers, lines).into_response())
}
