//! `LogSource`: where commands read logged requests, in the database or by a server.

use anyhow::Result;

use crate::cli::remote;
use crate::cli::remote::RemoteServer;
use crate::pool::request_id::RequestId;
use crate::storage::db::Db;
use crate::storage::request_logs::filter::LogFilter;
use crate::storage::request_logs::id_range::LogPosition;
use crate::storage::request_logs::listed::RequestLog;
use crate::storage::request_logs::search::search;

#[derive(Clone, Copy)]
pub enum LogSource<'a> {
    File(&'a Db),
    Server(&'a RemoteServer),
}

impl LogSource<'_> {
    /// Up to `limit` requests older than `cursor`, newest first, and where the list continues.
    pub async fn page(
        self,
        filter: &LogFilter,
        cursor: Option<RequestId>,
        limit: usize,
        has_attempts: bool,
    ) -> Result<(Vec<RequestLog>, Option<RequestId>)> {
        match self {
            Self::File(db) => {
                let position = cursor.map_or(LogPosition::Newest, LogPosition::OlderThan);
                // Without a time limit: a command may search the whole log.
                let page = search(&db.readers, filter, position, limit, None).await?;
                Ok((page.rows, page.next))
            }
            Self::Server(server) => {
                remote::logs::page(server, filter, cursor, limit, has_attempts).await
            }
        }
    }
}
