//! Live updates of pages: the server polls for changes and sends changed parts, until the browser disconnects, the
//! updates end, or the server stops.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use maud::Markup;

use crate::app::App;
use crate::clock;
use crate::dashboard::page_context::PageContext;
use crate::storage::sign_ins;

/// After this time the browser reconnects, and its session is verified again.
const MAX_STREAM_DURATION: Duration = Duration::from_mins(10);

/// A source of live updates for one page.
pub trait LiveUpdates: Send + 'static {
    /// The time between polls, at most two seconds: each tells the page that it is connected.
    const INTERVAL: Duration;

    /// The events since the last poll; `None`: the updates end.
    fn next_events(&mut self) -> impl Future<Output = Option<Vec<Event>>> + Send;
}

/// Streams updates to a browser as long as its session is valid.
pub fn stream_updates<W: LiveUpdates>(
    app: &Arc<App>,
    context: &PageContext,
    updates: W,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<W>> {
    let state = (
        updates,
        app.clone(),
        context.sign_in_id,
        MAX_STREAM_DURATION,
    );
    let event_batches = stream::unfold(state, async |(mut updates, app, sign_in, left)| {
        let left = left.checked_sub(W::INTERVAL)?;
        let interval = tokio::time::sleep(W::INTERVAL);
        app.stopping.run_until_cancelled(interval).await?;
        let admin = sign_ins::find_admin(&app.db.readers, sign_in).await;
        admin.ok().flatten()?;
        let events = updates.next_events().await?;
        // Without it the page would look as if it were current however long nothing changed, or came.
        let time = Event::default()
            .event("time")
            .data(clock::now().to_rfc3339());
        let events = stream::iter(std::iter::once(time).chain(events).map(Ok));
        Some((events, (updates, app, sign_in, left)))
    });
    Sse::new(event_batches.flatten()).keep_alive(KeepAlive::default())
}

/// The last event of updates that are complete: the page does not connect again.
pub fn end_event() -> Event {
    Event::default().event("end").data("end")
}

/// The parts of a page by element id, as last sent.
#[derive(Debug, Default)]
pub struct SentParts {
    sent: HashMap<&'static str, String>,
}

impl SentParts {
    /// An event with the changed parts.
    pub fn changed(
        &mut self,
        parts: impl IntoIterator<Item = (&'static str, Markup)>,
    ) -> Vec<Event> {
        let mut changed = String::new();
        for (id, part) in parts {
            let html = part.into_string();
            if self.sent.get(id) != Some(&html) {
                changed.push_str(&html);
                self.sent.insert(id, html);
            }
        }
        if changed.is_empty() {
            return Vec::new();
        }
        vec![Event::default().event("part").data(changed)]
    }
}
