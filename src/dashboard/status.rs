//! `/status`: can the pool serve now, with what, and what was asked of it?

mod keys;
mod onboarding;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::clock;
use crate::dashboard::components::{
    Tone, ago, badge, card, href, live_switch, mark, number, tabs, until,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Place, heading};
use crate::dashboard::live::{Parts, Watch, watch};
use crate::dashboard::status::onboarding::Onboarding;
use crate::dashboard::visit::Visit;
use crate::error::Error;
use crate::pool::keys::key_status::KeyStatusKind;
use crate::pool::keys::overview::PoolOverview;
use crate::storage::backups::{self, Backup};
use crate::storage::traffic::{Span, Traffic, over};

/// How many looks it takes until the traffic is added up again.
const TRAFFIC_EVERY: u32 = 5;

#[derive(Debug, Deserialize)]
pub struct Asked {
    /// The span of the charts, as [`Span::name`] has it.
    #[serde(default)]
    span: String,
}

/// What the page shows.
struct Seen {
    span: Span,
    overview: PoolOverview,
    traffic: Traffic,
    pending_rows: usize,
    is_failing: bool,
    waiting: usize,
    last_backup: Option<Backup>,
    onboarding: Onboarding,
}

pub async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Result<Markup, ErrorPage> {
    Ok(view(&visit, &Seen::at(&app, &visit, asked.span()).await?))
}

/// The page's parts again, as they change.
pub async fn live(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Result<impl IntoResponse, ErrorPage> {
    let watcher = Watcher {
        seen: Seen::at(&app, &visit, asked.span()).await?,
        app: app.clone(),
        visit: visit.clone(),
        parts: Parts::default(),
        looks: 0,
    };
    Ok(watch(&app, &visit, watcher))
}

/// Somebody who keeps the page open.
struct Watcher {
    app: Arc<App>,
    visit: Visit,
    seen: Seen,
    parts: Parts,
    looks: u32,
}

impl Watch for Watcher {
    const INTERVAL: Duration = Duration::from_secs(2);

    async fn look(&mut self) -> Option<Vec<Event>> {
        self.visit.now = clock::now();
        self.looks += 1;
        if let Err(error) = self.look_again().await {
            tracing::warn!("the status cannot be watched: {error}");
            return None;
        }
        Some(self.parts.changed(parts(&self.visit, &self.seen)))
    }
}

impl Watcher {
    async fn look_again(&mut self) -> Result<(), Error> {
        self.seen.look(&self.app, &self.visit).await?;
        if self.looks.is_multiple_of(TRAFFIC_EVERY) {
            let db = &self.app.db.readers;
            self.seen.traffic = over(db, self.seen.span, self.visit.now).await?;
        }
        Ok(())
    }
}

impl Asked {
    fn span(&self) -> Span {
        Span::named(&self.span).unwrap_or(Span::Day)
    }
}

impl Seen {
    async fn at(app: &App, visit: &Visit, span: Span) -> Result<Self, Error> {
        let mut seen = Self {
            span,
            traffic: over(&app.db.readers, span, visit.now).await?,
            overview: PoolOverview::default(),
            pending_rows: 0,
            is_failing: false,
            waiting: 0,
            last_backup: None,
            onboarding: Onboarding::over(),
        };
        seen.look(app, visit).await?;
        Ok(seen)
    }

    /// Looks at everything that changes quickly.
    async fn look(&mut self, app: &App, visit: &Visit) -> Result<(), Error> {
        self.overview = app.keys.overview(visit.now);
        self.pending_rows = app.recorder.pending();
        self.is_failing = app.recorder.is_failing();
        self.waiting = app.key_queue.len();
        self.last_backup = backups::last(app.db.path())?;
        let onboarding = Onboarding::at(app, &self.overview).await?;
        self.onboarding = onboarding.after(&self.onboarding);
        Ok(())
    }
}

fn view(visit: &Visit, seen: &Seen) -> Markup {
    let language = visit.language;
    let live = href("/status/live", &[("span", seen.span.name())]);
    let [
        steps,
        answer,
        attention,
        keys,
        health,
        models,
        totals,
        charts,
    ] = parts(visit, seen).map(|(_, part)| part);
    let content = html! {
        (heading(language.status(), live_switch(language)))
        div.live-parts data-live=(live) {
            (answer) (steps) (attention)
            div.cards { (keys) (health) }
            (models)
            (totals) (charts)
        }
    };
    layout::page(visit, Place::Status, language.status(), content)
}

/// Everything that changes while somebody looks, under the ids by which it is found again.
fn parts(visit: &Visit, seen: &Seen) -> [(&'static str, Markup); 8] {
    let language = visit.language;
    let part = |id: &'static str, content: Markup| (id, html! { div #(id) { (content) } });
    // Whoever has just begun needs no empty tables.
    let has_past = seen.onboarding.is_over() || seen.traffic.total.sum.requests > 0;
    let spans = Span::ALL.map(|span| {
        let target = href("/status", &[("span", span.name())]);
        (target, span.name(), span == seen.span)
    });
    [
        part("steps", onboarding::view(visit, &seen.onboarding)),
        part("answer", answer(visit, &seen.overview)),
        part("attention", attention(visit, seen)),
        part(
            "keys",
            card(language.upstream_keys(), keys::view(visit, &seen.overview)),
        ),
        part("health", card(language.health(), health(visit, seen))),
        part(
            "models",
            html! { @if has_past { (card(language.models(), traffic::models(visit, seen))) } },
        ),
        part(
            "totals",
            html! {
                @if has_past {
                    (tabs(language.span_of_time(), &spans))
                    (traffic::totals(language, &seen.traffic))
                }
            },
        ),
        part(
            "charts",
            html! {
                @if seen.traffic.total.sum.requests > 0 {
                    div.cards { (traffic::charts(visit, &seen.traffic)) }
                } @else if has_past {
                    p.muted { (language.nothing_asked()) }
                }
            },
        ),
    ]
}

/// The first line: can it serve?
fn answer(visit: &Visit, overview: &PoolOverview) -> Markup {
    let language = visit.language;
    let keys = overview.keys();
    if keys == 0 {
        return html! {};
    }
    let can_serve = overview.usable > 0 && overview.address_throttled_until.is_none();
    let (tone, class, word) = if can_serve {
        (Tone::Good, "done", language.can_serve())
    } else {
        (Tone::Bad, "failed", language.cannot_serve())
    };
    let soonest = overview.next_ready_at.filter(|_| overview.usable == 0);
    html! {
        div.notice.(class) role="status" {
            (mark(tone))
            p {
                strong { (word) } " · " (language.keys_usable(&number(overview.usable), &number(keys)))
                @if let Some(at) = overview.address_throttled_until { " · " (language.storm()) " " (until(visit, at, visit.now)) }
                @if let Some(at) = soonest { " · " (language.first_ready()) " " (until(visit, at, visit.now)) }
            }
        }
    }
}

/// What somebody should do something about, with where it is done.
fn attention(visit: &Visit, seen: &Seen) -> Markup {
    let language = visit.language;
    let keys_in = |words: &[KeyStatusKind]| {
        let keys = words.iter().map(|word| seen.overview.count(*word)).sum();
        (keys > 0).then(|| language.keys_counted(keys))
    };
    let mut told = Vec::new();
    if seen.is_failing {
        let rows = number(seen.pending_rows);
        told.push((Tone::Bad, language.database_failing(&rows), "/logs"));
    }
    if let Some(keys) = keys_in(&[KeyStatusKind::Leaked]) {
        let target = "/upstream-keys?state=leaked";
        told.push((Tone::Bad, language.keys_leaked(&keys), target));
    }
    if let Some(keys) = keys_in(&[KeyStatusKind::Invalid]) {
        let target = "/upstream-keys?state=invalid";
        told.push((Tone::Bad, language.keys_invalid(&keys), target));
    }
    if let Some(keys) = keys_in(&[KeyStatusKind::Suspended]) {
        let target = "/upstream-keys?state=suspended";
        told.push((Tone::Bad, language.keys_suspended(&keys), target));
    }
    if let Some(keys) = keys_in(&[KeyStatusKind::Misconfigured]) {
        let target = "/upstream-keys?state=misconfigured";
        told.push((Tone::Bad, language.keys_misconfigured(&keys), target));
    }
    if seen.last_backup.is_none() && seen.overview.keys() > 0 {
        told.push((Tone::Info, language.no_backup().to_owned(), "/backups"));
    }
    if told.is_empty() && seen.overview.keys() == 0 {
        return html! {};
    }
    let list = html! {
        ul.attention {
            @for (tone, text, target) in &told { li { (mark(*tone)) " " a href=(target) { (text) } } }
            @if told.is_empty() { li { (mark(Tone::Good)) " " (language.nothing_wrong()) } }
        }
    };
    card(language.attention(), list)
}

fn health(visit: &Visit, seen: &Seen) -> Markup {
    let language = visit.language;
    let (tone, word) = if seen.is_failing {
        (Tone::Bad, language.writer_failing())
    } else {
        (Tone::Good, language.writer_fine())
    };
    html! {
        dl.facts {
            dt { (language.writer()) }
            dd { (badge(tone, word)) " " span.muted { (language.rows_waiting(&number(seen.pending_rows))) } }
            dt { (language.under_way()) } dd { (number(seen.overview.in_flight)) }
            dt { (language.waiting_requests()) } dd { (number(seen.waiting)) }
            dt { (language.last_backup()) }
            dd { a href="/backups" {
                @match &seen.last_backup {
                    Some(backup) => (ago(visit, backup.made_at, visit.now)),
                    None => (language.never()),
                }
            } }
        }
    }
}
