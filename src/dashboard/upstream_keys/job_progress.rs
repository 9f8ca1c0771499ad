//! The page with the progress and the result of a background job.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};

use crate::app::App;
use crate::dashboard::components::{Tone, badge, duration_ms, empty_state, href, mark, number};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::live::{LiveUpdates, SentParts, end_event, stream_updates};
use crate::dashboard::page_context::{NoticeKind, PageContext};
use crate::dashboard::translations::Language;
use crate::dashboard::upstream_keys::bulk::{self, job_path};
use crate::dashboard::upstream_keys::{key_labels, list};
use crate::error::Error;
use crate::jobs::{Job, JobKind, JobProgress, TestResult, TestedKey};
use crate::pool::keys::key_status::KeyStatusKind;
use crate::storage::error::Thing;

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Response {
    let language = context.language;
    let Some(job) = find(&app, &id) else {
        return (StatusCode::NOT_FOUND, not_found_page(&context)).into_response();
    };
    let title = title(language, &job);
    let is_finished = is_finished(&app, &job);
    let live = (!is_finished).then(|| format!("{}/live", job_path(&job)));
    let card = job_card(&context, &app, &job).await;
    let body = html! {
        nav.crumbs { a href=(list::PATH) { "← " (language.upstream_keys()) } }
        (heading(&title, html! {}))
        div data-live=[live] { (card) }
        @if !is_finished {
            p.no-js-only { a.button href=(context.return_path()) { (language.job_reload()) } }
        }
    };
    layout::page(&context, Section::UpstreamKeys, &title, body).into_response()
}

/// The page for a job that the server no longer stores, after a restart or 50 later jobs.
fn not_found_page(context: &PageContext) -> Markup {
    let language = context.language;
    let actions = html! {
        a.button.primary href=(list::PATH) { (language.job_back()) }
        a.button href="/audit" { (language.audit()) }
    };
    let body = empty_state(
        language.job_not_found(),
        language.job_not_found_text(),
        actions,
    );
    layout::page(
        context,
        Section::UpstreamKeys,
        language.job_not_found(),
        body,
    )
}

/// Streams the progress until the job ends.
pub async fn live(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ErrorPage> {
    let job = find(&app, &id).ok_or_else(|| Error::NotFound(Thing::Job, id.clone()))?;
    // Browsers reconnect when a stream ends, until they receive status 204.
    if headers.contains_key("last-event-id") && is_finished(&app, &job) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let updates = JobUpdates {
        app: app.clone(),
        context: context.clone(),
        job,
        parts: SentParts::default(),
        end_sent: false,
    };
    Ok(stream_updates(&app, &context, updates).into_response())
}

/// The live updates of a job's page.
struct JobUpdates {
    app: Arc<App>,
    context: PageContext,
    job: Arc<Job>,
    parts: SentParts,
    end_sent: bool,
}

impl LiveUpdates for JobUpdates {
    const INTERVAL: Duration = Duration::from_millis(250);

    async fn next_events(&mut self) -> Option<Vec<Event>> {
        if self.end_sent {
            return None;
        }
        // Read before rendering, so that the last event shows the end.
        self.end_sent = is_finished(&self.app, &self.job);
        let card = job_card(&self.context, &self.app, &self.job).await;
        let mut events = self.parts.changed([("job", card)]);
        events.extend(self.end_sent.then(end_event));
        // The id of the last event marks a reconnecting browser.
        Some(events.into_iter().map(|event| event.id("1")).collect())
    }
}

/// A job with a page here; replays of the log have their own.
fn find(app: &App, id: &str) -> Option<Arc<Job>> {
    let job = app.jobs.find(u64::from_str_radix(id, 16).ok()?);
    job.filter(|job| !matches!(job.kind, JobKind::WhatIf(_)))
}

/// Whether the page will not change any more; an import also waits for the checks of its new keys.
fn is_finished(app: &App, job: &Job) -> bool {
    job.progress().ended && unchecked_keys(app, job) == 0
}

/// The number of imported keys without a finished check.
fn unchecked_keys(app: &App, job: &Job) -> usize {
    let checks = job.kind == JobKind::Import && app.settings().check_new_keys;
    if checks {
        app.keys.lock().unchecked_keys()
    } else {
        0
    }
}

/// Links to running jobs.
pub fn running_jobs(context: &PageContext, jobs: &[Arc<Job>]) -> Markup {
    let language = context.language;
    html! {
        @for job in jobs.iter().filter(|job| !matches!(job.kind, JobKind::WhatIf(_))) {
            @let progress = job.progress();
            div.notice role="status" {
                (mark(Tone::Wait))
                p { a href=(job_path(job)) { (title(language, job)) } " " span.muted { (progress_text(language, job, &progress)) } }
            }
        }
    }
}

fn progress_text(language: Language, job: &Job, progress: &JobProgress) -> String {
    language.job_progress(&number(progress.done as u64), &number(job.total as u64))
}

fn title(language: Language, job: &Job) -> String {
    let keys = language.keys_counted(job.total);
    match job.kind {
        JobKind::Test => language.testing(&keys),
        JobKind::Import => language.importing(&keys),
        JobKind::Change(_) => language.changing(&keys),
        JobKind::Undo => language.undoing(&keys),
        JobKind::WhatIf(_) => language.what_if().to_owned(),
    }
}

async fn job_card(context: &PageContext, app: &App, job: &Job) -> Markup {
    let language = context.language;
    let progress = job.progress();
    let result = match job.kind {
        JobKind::Test => test_results(language, job, &progress),
        JobKind::Import if progress.ended && progress.new + progress.restored > 0 => {
            import_result(context, app, job).await
        }
        JobKind::Import | JobKind::Change(_) | JobKind::Undo | JobKind::WhatIf(_) => html! {},
    };
    html! {
        section.card #job {
            @if progress.ended {
                (job_result(context, job, &progress))
            } @else if progress.done == 0 {
                p.muted { (language.job_waiting()) }
            } @else {
                p { (progress_text(language, job, &progress)) }
            }
            progress max=(job.total) value=(progress.done) aria-label=(title(language, job)) {}
            @if !progress.ended { p.muted.small { (language.job_continues()) } }
            (result)
        }
    }
}

fn job_result(context: &PageContext, job: &Job, progress: &JobProgress) -> Markup {
    let language = context.language;
    if job.kind == JobKind::Test {
        return html! { p { (progress_text(language, job, progress)) } };
    }
    let notice = bulk::job_notice(language, job, progress);
    let tone = match notice.kind {
        NoticeKind::Done => Tone::Good,
        NoticeKind::Failed => Tone::Bad,
    };
    html! {
        div.actions {
            (mark(tone)) p { (notice.text) }
            @if let Some(path) = notice.undo {
                form method="post" action=(path) {
                    (context.csrf_field())
                    button.small type="submit" { (language.undo()) }
                }
            }
        }
    }
}

/// What the checks of imported keys found, for the whole pool: other keys may have the same trouble.
async fn import_result(context: &PageContext, app: &App, job: &Job) -> Markup {
    let language = context.language;
    let left = unchecked_keys(app, job);
    let overview = app.overview(context.now).await;
    let states = KeyStatusKind::ALL.iter().copied();
    let states = states.map(|kind| (kind, overview.count(kind)));
    let states: Vec<_> = states.filter(|(_, keys)| *keys > 0).collect();
    html! {
        @if left > 0 {
            p { (mark(Tone::Wait)) " " (language.keys_unchecked(&number(left as u64))) }
        } @else if let Some(error) = &overview.connection_error {
            p { (mark(Tone::Bad)) " " (language.upstream_unreachable(error)) }
        } @else if app.settings().check_new_keys {
            p { (mark(Tone::Info)) " " (language.all_checked()) }
        }
        p { (language.pool_now()) }
        div.chips { @for (kind, keys) in &states {
            a href=(href(list::PATH, &[("state", kind.name())])) {
                (key_labels::state_badge(language, *kind)) " " (number(*keys))
            }
        } }
        div.actions {
            a.button.primary href="/status" { (language.to_next_step()) }
            a.button href="/upstream-keys?sort=-created" { (language.show_newest()) }
        }
    }
}

fn test_results(language: Language, job: &Job, progress: &JobProgress) -> Markup {
    let counted = |result: TestResult, count: usize| {
        html! { (result_badge(language, result)) " " strong { (number(count as u64)) } }
    };
    html! {
        div.actions {
            span { (counted(TestResult::Alive, progress.alive)) }
            span { (counted(TestResult::Refused, progress.refused)) }
            span { (counted(TestResult::Unclear, progress.unclear)) }
        }
        @if progress.results.len() < job.total && progress.ended {
            p.muted.small { (language.results_truncated(&number(progress.results.len() as u64))) }
        }
        @if !progress.results.is_empty() {
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.label()) } th scope="col" { (language.result()) }
                    th scope="col" { (language.reason()) } th.number scope="col" { (language.took()) }
                } }
                tbody { @for tested in &progress.results { (result_row(language, tested)) } }
            } }
        }
    }
}

fn result_row(language: Language, tested: &TestedKey) -> Markup {
    html! {
        tr {
            th scope="row" {
                a href={ (list::PATH) "/" (tested.id.0) } { (tested.label) } " " span.mono.muted { "…" (tested.last4) }
            }
            td data-label=(language.result()) { (result_badge(language, tested.result)) }
            td data-label=(language.reason()) {
                @if let Some(rule) = &tested.rule {
                    span.lines {
                        span { (key_labels::label_of_rule_name(language, rule)) @if let Some(status) = tested.status { " · " (status) } }
                        @if let Some(error) = tested.error.as_ref().filter(|error| !error.is_empty()) {
                            span.small.muted.message { (error) }
                        }
                    }
                }
            }
            td.number data-label=(language.took()) { (duration_ms(language, tested.duration_ms)) }
        }
    }
}

fn result_badge(language: Language, result: TestResult) -> Markup {
    match result {
        TestResult::Alive => badge(Tone::Good, language.result_accepted()),
        TestResult::Refused => badge(Tone::Bad, language.result_refused()),
        TestResult::Unclear => badge(Tone::Wait, language.result_inconclusive()),
    }
}
