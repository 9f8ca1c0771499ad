//! `/status`: readiness of the pool, keys, problems, first steps and traffic.

mod keys;
mod onboarding;
mod traffic;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::Event;
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;
use strum::VariantArray;

use crate::app::App;
use crate::clock;
use crate::dashboard::backups::next_backup;
use crate::dashboard::chart;
use crate::dashboard::components::{
    Tone, ago, badge, bytes, card, href, live_switch, mark, number, tabs, until,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::live::{LiveUpdates, SentParts, stream_updates};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::pool_problem::{self, PoolProblem};
use crate::dashboard::status::onboarding::Onboarding;
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::pool::backup_schedule::BackupSchedule;
use crate::pool::keys::key_status::KeyStatusKind;
use crate::pool::keys::overview::PoolOverview;
use crate::pool::retention::LowDisk;
use crate::storage::alert_targets;
use crate::storage::backups::{self, BackupStatus};
use crate::storage::encryption::{self, EncryptionState};
use crate::storage::traffic::{Traffic, TrafficSpan, read_traffic};
use crate::storage::write_health::WriteProblem;

/// The traffic is read again after this number of refreshes.
const UPDATES_PER_TRAFFIC: u32 = 5;

#[derive(Debug, Deserialize)]
pub struct StatusQuery {
    /// The span of the charts, see [`TrafficSpan::name`].
    #[serde(default)]
    span: String,
}

/// All data of the page.
struct StatusData {
    span: TrafficSpan,
    overview: PoolOverview,
    traffic: Traffic,
    pending_rows: usize,
    problems: Vec<PoolProblem>,
    low_disk: Option<LowDisk>,
    database: PathBuf,
    queued_requests: usize,
    backups: BackupStatus,
    encryption: EncryptionState,
    /// Whether no target gets alerts.
    has_no_alert_target: bool,
    onboarding: Onboarding,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<StatusQuery>,
) -> Result<Markup, ErrorPage> {
    Ok(view(
        &context,
        &StatusData::load(&app, &context, query.span()).await?,
    ))
}

/// Streams the changed parts of the page.
pub async fn live(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<StatusQuery>,
) -> Result<impl IntoResponse, ErrorPage> {
    let updates = StatusUpdates {
        data: StatusData::load(&app, &context, query.span()).await?,
        app: app.clone(),
        context: context.clone(),
        parts: SentParts::default(),
        update_count: 0,
    };
    Ok(stream_updates(&app, &context, updates))
}

/// The live updates of an open page.
struct StatusUpdates {
    app: Arc<App>,
    context: PageContext,
    data: StatusData,
    parts: SentParts,
    update_count: u32,
}

impl LiveUpdates for StatusUpdates {
    const INTERVAL: Duration = Duration::from_secs(2);

    async fn next_events(&mut self) -> Option<Vec<Event>> {
        self.context.browser.now = clock::now();
        self.update_count += 1;
        if let Err(error) = self.refresh().await {
            tracing::warn!("the status cannot be watched: {error}");
            return None;
        }
        Some(self.parts.changed(parts(&self.context, &self.data)))
    }
}

impl StatusUpdates {
    async fn refresh(&mut self) -> Result<(), Error> {
        let was_finished = self.data.onboarding.is_finished();
        self.data.refresh(&self.app, &self.context).await?;
        // The numbers of the first success stand beside the news of it.
        let has_finished = !was_finished && self.data.onboarding.is_finished();
        if has_finished || self.update_count.is_multiple_of(UPDATES_PER_TRAFFIC) {
            let db = &self.app.db.readers;
            self.data.traffic = read_traffic(db, self.data.span, self.context.now).await?;
        }
        Ok(())
    }
}

impl StatusQuery {
    fn span(&self) -> TrafficSpan {
        self.span.parse().unwrap_or(TrafficSpan::Day)
    }
}

impl StatusData {
    /// While the database is known to fail, the page shows at least that.
    async fn load(app: &App, context: &PageContext, span: TrafficSpan) -> Result<Self, Error> {
        let traffic = read_traffic(&app.db.readers, span, context.now).await;
        let mut data = Self {
            span,
            traffic: Traffic::default(),
            overview: PoolOverview::default(),
            pending_rows: 0,
            problems: Vec::new(),
            low_disk: None,
            database: app.db.path().clone(),
            queued_requests: 0,
            backups: BackupStatus::default(),
            encryption: EncryptionState::default(),
            has_no_alert_target: false,
            onboarding: Onboarding::finished(),
        };
        let refreshed = data.refresh(app, context).await;
        match (traffic, refreshed) {
            (Ok(traffic), Ok(())) => data.traffic = traffic,
            (_, Err(_)) | (Err(_), _) if data.write_problem().is_some() => {}
            (traffic, refreshed) => {
                data.traffic = traffic?;
                refreshed?;
            }
        }
        Ok(data)
    }

    /// Why the database cannot be written; `None`: it can.
    fn write_problem(&self) -> Option<WriteProblem> {
        self.problems.iter().find_map(|problem| match problem {
            PoolProblem::Write(problem) => Some(*problem),
            _ => None,
        })
    }

    /// Refreshes all data that changes quickly.
    async fn refresh(&mut self, app: &App, context: &PageContext) -> Result<(), Error> {
        app.probe_requests.refresh().await;
        self.overview = app.overview(context.now).await;
        self.pending_rows = app.recorder.pending();
        self.problems = pool_problem::find(app);
        self.low_disk = *app.low_disk.lock();
        self.queued_requests = app.key_queue.len();
        let schedule = BackupSchedule::of(&app.settings());
        self.backups = backups::status(app.db.path(), &app.backups, schedule, context.now)?;
        let mut connection = app.db.readers.acquire().await?;
        self.encryption = encryption::progress(&mut connection).await?;
        drop(connection);
        self.has_no_alert_target = alert_targets::is_empty(&app.db.readers).await?;
        let onboarding = Onboarding::load(app, &self.overview).await?;
        self.onboarding = onboarding.after(&self.onboarding);
        Ok(())
    }
}

fn view(context: &PageContext, data: &StatusData) -> Markup {
    let language = context.language;
    let live = href("/status/live", &[("span", data.span.name())]);
    let [
        steps,
        serving,
        attention,
        keys,
        health,
        models,
        totals,
        charts,
    ] = parts(context, data).map(|(_, part)| part);
    let body = html! {
        (heading(language.status(), live_switch(language)))
        div.live-parts data-live=(live) {
            (serving) (steps) (totals) (attention) (charts) (keys) (models) (health)
        }
        (chart::scripts())
    };
    layout::page(context, Section::Status, language.status(), body)
}

/// The parts of the page that live updates replace, by element id.
fn parts(context: &PageContext, data: &StatusData) -> [(&'static str, Markup); 8] {
    let language = context.language;
    let part = |id: &'static str, body: Markup| (id, html! { div #(id) { (body) } });
    // Empty tables are hidden before the first request.
    let has_requests = data.onboarding.is_finished() || data.traffic.total.rollup.requests > 0;
    let spans = TrafficSpan::VARIANTS.iter().map(|span| {
        // To the place where the tabs are.
        let target = href("/status", &[("span", span.name())]) + "#totals";
        (target, language.traffic_span(*span), *span == data.span)
    });
    let spans: Vec<_> = spans.collect();
    [
        part("steps", onboarding::view(context, &data.onboarding)),
        part("serving", serving_notice(context, data)),
        part("attention", attention(context, data)),
        part(
            "keys",
            card(
                language.upstream_keys(),
                keys::view(context, &data.overview),
            ),
        ),
        part("health", card(language.health(), health(context, data))),
        part(
            "models",
            html! { @if has_requests { (card(language.models(), traffic::models(context, data))) } },
        ),
        part(
            "totals",
            html! {
                @if has_requests {
                    (tabs(language.span_of_time(), &spans))
                    (traffic::totals(language, &data.traffic, data.span))
                }
            },
        ),
        part(
            "charts",
            html! {
                @if data.traffic.total.rollup.requests > 0 {
                    div.cards { (traffic::charts(context, &data.traffic)) }
                } @else if has_requests {
                    p.muted { (language.no_requests_in_span()) }
                }
            },
        ),
    ]
}

/// Whether the pool can serve and record requests.
fn serving_notice(context: &PageContext, data: &StatusData) -> Markup {
    let (language, overview) = (context.language, &data.overview);
    let keys = overview.keys();
    if keys == 0 {
        return html! {};
    }
    let (tone, class, label) = if data.problems.iter().any(PoolProblem::stops_service) {
        (Tone::Bad, "failed", language.cannot_serve())
    } else if data.write_problem().is_some() {
        (Tone::Wait, "warning", language.serves_unrecorded())
    } else {
        (Tone::Good, "done", language.can_serve())
    };
    let has_too_many = data.problems.contains(&PoolProblem::TooManyPendingRows);
    let soonest = overview.next_ready_at.filter(|_| overview.usable == 0);
    html! {
        div.notice.(class) role="status" {
            (mark(tone))
            p {
                strong { (label) } " · " (language.keys_usable(&number(overview.usable), &number(keys)))
                @if has_too_many { " · " (language.problem_pending_rows()) }
                @if let Some(at) = overview.address_throttled_until { " · " (language.address_throttled()) " " (until(context, at, context.now)) }
                @if let Some(at) = soonest { " · " (language.next_key_ready()) " " (until(context, at, context.now)) }
            }
        }
    }
}

/// The problems that need action, linked to the page that solves them.
fn attention(context: &PageContext, data: &StatusData) -> Markup {
    let language = context.language;
    let mut items = Vec::new();
    if let Some(problem) = data.write_problem() {
        let file = data.database.display();
        let rows = language.log_rows_counted(data.pending_rows);
        let text = match problem {
            WriteProblem::Moved => Language::database_moved,
            WriteProblem::Damaged => Language::database_damaged,
            WriteProblem::Disk => Language::disk_failing,
            WriteProblem::Locked => Language::database_locked,
            WriteProblem::Other => Language::database_failing,
        };
        let text = text(language, &file.to_string(), &rows);
        items.push((Tone::Bad, text, "/logs".to_owned()));
    }
    if let Some(error) = &data.overview.connection_error {
        let text = language.upstream_unreachable(error);
        items.push((Tone::Bad, text, "/logs?outcome=network".to_owned()));
    }
    if !data.overview.broken_egress.is_empty() {
        let labels = data.overview.broken_egress.join(language.list_comma());
        let (tone, text) = match data.overview.waiting_for_egress {
            0 => (Tone::Wait, language.egress_broken_now(&labels)),
            waiting => {
                let waiting = language.keys_counted(waiting);
                (
                    Tone::Bad,
                    language.egress_broken_and_awaited(&labels, &waiting),
                )
            }
        };
        items.push((tone, text, "/egress-proxies".to_owned()));
    }
    if let Some(low) = data.low_disk {
        let (file, free) = (data.database.display(), bytes(low.free_bytes));
        let text = if low.is_log_short {
            Language::disk_nearly_full_with_short_log
        } else {
            Language::disk_nearly_full
        };
        let text = text(language, &file.to_string(), &free);
        items.push((Tone::Bad, text, "/settings#record".to_owned()));
    }
    if let Some(answer) = &data.overview.wrong_answer {
        let text = language.upstream_wrong(answer);
        items.push((Tone::Bad, text, "/settings".to_owned()));
    }
    let mut add_keys = |kind: KeyStatusKind, text: fn(Language, &str) -> String| {
        let keys = data.overview.count(kind);
        if keys > 0 {
            let text = text(language, &language.keys_counted(keys));
            let target = href("/upstream-keys", &[("state", kind.name())]);
            items.push((Tone::Bad, text, target));
        }
    };
    add_keys(KeyStatusKind::Leaked, Language::keys_leaked);
    add_keys(KeyStatusKind::Invalid, Language::keys_invalid);
    add_keys(KeyStatusKind::Suspended, Language::keys_suspended);
    add_keys(KeyStatusKind::Misconfigured, Language::keys_misconfigured);
    if let Some(failed) = &data.backups.failed {
        let text = language.backup_has_failed(&failed.reason);
        items.push((Tone::Bad, text, "/backups".to_owned()));
    }
    if data.backups.is_overdue {
        let text = language.backup_is_overdue().to_owned();
        items.push((Tone::Bad, text, "/backups".to_owned()));
    }
    if data.backups.last.is_none() && data.overview.keys() > 0 {
        let text = language.no_backup().to_owned();
        items.push((Tone::Info, text, "/backups".to_owned()));
    }
    if items.is_empty() && data.overview.keys() == 0 {
        return html! {};
    }
    let list = html! {
        ul.attention {
            @for (tone, text, target) in &items { li { (mark(*tone)) " " a href=(target) { (text) } } }
            @if items.is_empty() { li { (mark(Tone::Good)) " " (language.nothing_wrong()) } }
        }
        @if data.has_no_alert_target { p.small { a.muted href="/alerts" { (language.alert_hint()) } } }
    };
    card(language.attention(), list)
}

fn health(context: &PageContext, data: &StatusData) -> Markup {
    let language = context.language;
    let (tone, label) = if data.write_problem().is_some() {
        (Tone::Bad, language.writer_failing())
    } else {
        (Tone::Good, language.writer_fine())
    };
    html! {
        dl.facts {
            dt { (language.writer()) }
            dd { (badge(tone, label)) " " span.muted { (language.rows_waiting(&language.log_rows_counted(data.pending_rows))) } }
            dt { (language.requests_in_flight()) } dd { (number(data.overview.in_flight)) }
            dt { (language.requests_queued()) } dd { (number(data.queued_requests)) }
            dt { (language.keys_at_rest()) } dd { (encryption_fact(language, &data.encryption)) }
            dt { (language.last_backup()) }
            dd { a href="/backups" {
                @match &data.backups.last {
                    Some(backup) => (ago(context, backup.made_at, context.now)),
                    None => (language.no_backup()),
                }
            } }
            @if data.backups.next_at.is_some() {
                dt { (language.next_backup()) } dd { (next_backup(context, &data.backups)) }
            }
        }
    }
}

/// Whether the secrets are encrypted, with which key, and what is left to do.
fn encryption_fact(language: Language, state: &EncryptionState) -> Markup {
    let Some(id) = &state.master_key else {
        return html! { (language.keys_unencrypted()) };
    };
    let (done, rows) = (state.rows() - state.stale(), state.rows());
    html! {
        (language.keys_encrypted()) " " span.mono { (id) }
        @if state.is_unfinished {
            " · " (language.encryption_unfinished()) " " code { "gemini-pool master-key status" }
        }
        @if state.stale() > 0 {
            " · " span.muted { (language.rows_encrypted(&number(done), &number(rows))) }
        } @else if !state.is_file_clean {
            " · " (language.file_has_traces()) " " code { "gemini-pool master-key encrypt" }
        }
    }
}
