//! The list of requests while it is watched: rows as they begin and end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::response::sse::Event;
use maud::html;

use crate::app::App;
use crate::clock;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::live::{Watch, watch};
use crate::dashboard::logs::asked::Asked;
use crate::dashboard::logs::columns::{self, Column};
use crate::dashboard::logs::list::PAGE;
use crate::dashboard::visit::Visit;
use crate::storage::request_logs::filter::Filter;
use crate::storage::request_logs::listed::RequestLog;
use crate::storage::request_logs::tail::Tail;

/// What one watcher has seen.
struct Watcher {
    app: Arc<App>,
    visit: Visit,
    asked: Asked,
    filter: Filter,
    columns: Vec<Column>,
    tail: Tail,
}

pub async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<impl IntoResponse, ErrorPage> {
    let asked = Asked::of(pairs);
    let watcher = Watcher {
        filter: asked.filter(&visit.zone, visit.now).0,
        columns: Column::chosen(visit.admin.log_columns.as_deref()),
        tail: Tail::begin(&app.db, clock::now()).await?,
        app: app.clone(),
        visit: visit.clone(),
        asked,
    };
    Ok(watch(&app, &visit, watcher))
}

impl Watch for Watcher {
    const INTERVAL: Duration = Duration::from_secs(1);

    async fn look(&mut self) -> Option<Vec<Event>> {
        self.visit.now = clock::now();
        let news = match self.tail.next(&self.app.db, self.visit.now).await {
            Ok(news) => news,
            Err(error) => {
                tracing::warn!("the log cannot be watched: {error}");
                return None;
            }
        };
        let mut begun = news.begun;
        begun.reverse();
        let rows: Vec<_> = begun
            .into_iter()
            .chain(news.ended)
            .filter(|row| self.filter.matches(row))
            .collect();
        // More than a page would push each other out again.
        let first = rows.len().saturating_sub(PAGE);
        Some(rows[first..].iter().map(|row| self.event(row)).collect())
    }
}

impl Watcher {
    fn event(&self, row: &RequestLog) -> Event {
        let row = columns::row(&self.visit, &self.asked, &self.columns, row);
        Event::default()
            .event("row")
            .data(html! { (row) }.into_string())
    }
}
