//! The list of requests while it is watched: rows as they begin and end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use maud::html;

use crate::app::App;
use crate::clock;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::logs::asked::Asked;
use crate::dashboard::logs::columns::{self, Column};
use crate::dashboard::logs::list::PAGE;
use crate::dashboard::visit::Visit;
use crate::storage::request_logs::filter::Filter;
use crate::storage::request_logs::listed::RequestLog;
use crate::storage::request_logs::tail::Tail;

/// How often is looked for new rows, while somebody watches.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often at most until the browser asks again, and shows that it may still look.
const MOST_LOOKS: u32 = 600;

/// What one watcher has seen.
struct Watch {
    app: Arc<App>,
    visit: Visit,
    asked: Asked,
    filter: Filter,
    columns: Vec<Column>,
    tail: Tail,
    looks: u32,
}

pub async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ErrorPage> {
    let asked = Asked::of(pairs);
    let watch = Watch {
        filter: asked.filter(&visit.zone, visit.now).0,
        columns: Column::chosen(visit.admin.log_columns.as_deref()),
        tail: Tail::begin(&app.db, clock::now()).await?,
        looks: 0,
        app,
        visit,
        asked,
    };
    let events = stream::unfold(watch, async |mut watch| {
        let events = watch.next().await?;
        Some((stream::iter(events.into_iter().map(Ok)), watch))
    });
    Ok(Sse::new(events.flatten()).keep_alive(KeepAlive::default()))
}

impl Watch {
    /// Waits a moment, and tells what has come; `None`: it is time to ask again.
    async fn next(&mut self) -> Option<Vec<Event>> {
        self.looks += 1;
        let stopping = self.app.stopping.clone();
        stopping
            .run_until_cancelled(tokio::time::sleep(INTERVAL))
            .await?;
        if self.looks > MOST_LOOKS {
            return None;
        }
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

    fn event(&self, row: &RequestLog) -> Event {
        let row = columns::row(&self.visit, &self.asked, &self.columns, row);
        Event::default()
            .event("row")
            .data(html! { (row) }.into_string())
    }
}
