//! Live updates of the log list: rows of started and finished requests.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::response::sse::Event;
use maud::html;

use crate::app::App;
use crate::clock;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::live::{LiveUpdates, stream_updates};
use crate::dashboard::logs::columns::{self, LogColumn};
use crate::dashboard::logs::list::PAGE_SIZE;
use crate::dashboard::logs::query::LogQuery;
use crate::dashboard::page_context::PageContext;
use crate::storage::request_logs::filter::LogFilter;
use crate::storage::request_logs::listed::RequestLog;
use crate::storage::request_logs::tail::LogTail;

/// The rows already sent to one browser.
struct LogUpdates {
    app: Arc<App>,
    context: PageContext,
    query: LogQuery,
    filter: LogFilter,
    columns: Vec<&'static LogColumn>,
    tail: LogTail,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<impl IntoResponse, ErrorPage> {
    let query = LogQuery::from_pairs(pairs);
    let updates = LogUpdates {
        filter: query.filter(&context.zone, context.now).0,
        columns: LogColumn::selected(context.admin.log_columns.as_deref()),
        tail: LogTail::begin(&app.db, clock::now()).await?,
        app: app.clone(),
        context: context.clone(),
        query,
    };
    Ok(stream_updates(&app, &context, updates))
}

impl LiveUpdates for LogUpdates {
    const INTERVAL: Duration = Duration::from_secs(1);

    async fn next_events(&mut self) -> Option<Vec<Event>> {
        self.context.browser.now = clock::now();
        let updates = match self.tail.next(&self.app.db, self.context.now).await {
            Ok(updates) => updates,
            Err(error) => {
                tracing::warn!("the live log could not be read: {error}");
                return None;
            }
        };
        let mut started = updates.started;
        started.reverse();
        let rows: Vec<_> = started
            .into_iter()
            .chain(updates.finished)
            .filter(|row| self.filter.matches(row))
            .collect();
        // More rows than a page would remove each other from it.
        let first = rows.len().saturating_sub(PAGE_SIZE);
        Some(rows[first..].iter().map(|row| self.event(row)).collect())
    }
}

impl LogUpdates {
    fn event(&self, row: &RequestLog) -> Event {
        let row = columns::row(&self.context, &self.query, &self.columns, row);
        Event::default()
            .event("row")
            .data(html! { (row) }.into_string())
    }
}
