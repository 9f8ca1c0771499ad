//! What is live on a page: the server looks again and again, and sends what has changed, until nobody watches, nothing is
//! left to tell, or it stops.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use maud::Markup;

use crate::app::App;
use crate::dashboard::visit::Visit;
use crate::storage::sign_ins;

/// After so long the browser has to ask again, and thereby shows that it may still look.
const LONGEST: Duration = Duration::from_mins(10);

/// Somebody who watches.
pub trait Watch: Send + 'static {
    /// How long until it looks again.
    const INTERVAL: Duration;

    /// What has changed since it last looked; `None`: there is nothing more to tell.
    fn look(&mut self) -> impl Future<Output = Option<Vec<Event>>> + Send;
}

/// Answers a browser that watches, as long as whoever looks is signed in.
pub fn watch<W: Watch>(
    app: &Arc<App>,
    visit: &Visit,
    watch: W,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<W>> {
    let begin = (watch, app.clone(), visit.sign_in_id, LONGEST);
    let looks = stream::unfold(begin, async |(mut watch, app, sign_in, left)| {
        let left = left.checked_sub(W::INTERVAL)?;
        let interval = tokio::time::sleep(W::INTERVAL);
        app.stopping.run_until_cancelled(interval).await?;
        let found = sign_ins::find_admin(&app.db.readers, sign_in).await;
        found.ok().flatten()?;
        let events = watch.look().await?;
        let events = stream::iter(events.into_iter().map(Ok));
        Some((events, (watch, app, sign_in, left)))
    });
    Sse::new(looks.flatten()).keep_alive(KeepAlive::default())
}

/// The parts of a page by the ids they have in it, as they were last sent.
#[derive(Debug, Default)]
pub struct Parts {
    sent: HashMap<&'static str, String>,
}

impl Parts {
    /// An event with those parts that are not what they were.
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
