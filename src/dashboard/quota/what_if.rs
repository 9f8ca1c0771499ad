//! `/quota/what-if`: what another setting would have done with the requests of the log, replayed as a job.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form;
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};
use serde::Deserialize;
use strum::VariantArray;

use crate::app::App;
use crate::dashboard::components::{
    card, duration_ms, error_summary, field, moment, number, select, text_input,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::live::{LiveUpdates, SentParts, end_event, stream_updates};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::jobs::{Job, JobKind, JobProgress, JobWork, WhatIfQuestion};
use crate::pool::what_if::{KeyOrder, WhatIfChange, WhatIfFigures, WhatIfResult, WhatIfSetting};
use crate::storage::error::Thing;
use crate::storage::what_if::MAX_REQUESTS;

const PATH: &str = "/quota/what-if";
const HOURS: [u32; 3] = [1, 6, 24];
/// The time to wait for a job before the response shows its page.
const MAX_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct WhatIfForm {
    setting: String,
    /// A number, for every setting but the order of keys.
    number: String,
    order: String,
    hours: String,
}

impl Default for WhatIfForm {
    fn default() -> Self {
        Self {
            setting: <&str>::from(WhatIfSetting::WaitForKeySeconds).to_owned(),
            number: String::new(),
            order: String::new(),
            hours: "24".to_owned(),
        }
    }
}

impl WhatIfForm {
    fn question(&self) -> Option<WhatIfQuestion> {
        let setting: WhatIfSetting = self.setting.parse().ok()?;
        let value = match setting {
            WhatIfSetting::KeyOrder => &self.order,
            WhatIfSetting::WaitForKeySeconds
            | WhatIfSetting::MaxAttempts
            | WhatIfSetting::PerKeyConcurrency
            | WhatIfSetting::MoreProjects => &self.number,
        };
        let change = WhatIfChange::parse(setting, value)?;
        let hours = self
            .hours
            .parse()
            .ok()
            .filter(|hours| HOURS.contains(hours));
        let span = Duration::from_hours(hours?.into());
        Some(WhatIfQuestion { change, span })
    }
}

pub async fn show(State(app): State<Arc<App>>, context: PageContext) -> Markup {
    form_page(&app, &context, &WhatIfForm::default(), false)
}

/// Starts a replay.
pub async fn create(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<WhatIfForm>,
) -> Response {
    let Some(question) = form.question() else {
        let page = form_page(&app, &context, &form, true);
        return (StatusCode::UNPROCESSABLE_ENTITY, page).into_response();
    };
    let work = JobWork::WhatIf(question);
    let job = app.jobs.start(work, context.actor(), context.now);
    job.wait_until_ended(MAX_WAIT).await;
    Redirect::to(&job_path(&job)).into_response()
}

fn job_path(job: &Job) -> String {
    format!("{PATH}/{:016x}", job.id)
}

/// A replay and its question.
fn find(app: &App, id: &str) -> Result<(Arc<Job>, WhatIfQuestion), ErrorPage> {
    let job = u64::from_str_radix(id, 16).ok();
    let job = job.and_then(|id| app.jobs.find(id));
    let found = job.and_then(|job| match job.kind {
        JobKind::WhatIf(question) => Some((job, question)),
        _ => None,
    });
    found.ok_or_else(|| Error::NotFound(Thing::Job, id.to_owned()).into())
}

pub async fn show_job(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let (job, question) = find(&app, &id)?;
    let language = context.language;
    let has_ended = job.has_ended();
    let live = (!has_ended).then(|| format!("{}/live", job_path(&job)));
    let body = html! {
        nav.crumbs { a href=(PATH) { "← " (language.what_if()) } }
        (heading(language.what_if(), html! {}))
        div data-live=[live] { (job_card(&context, &job, question)) }
        @if !has_ended {
            p.no-js-only { a.button href=(context.uri.path()) { (language.job_reload()) } }
        }
    };
    Ok(layout::page(
        &context,
        Section::Quota,
        language.what_if(),
        body,
    ))
}

/// Streams the progress until the job ends.
pub async fn live(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ErrorPage> {
    let (job, question) = find(&app, &id)?;
    // Browsers reconnect when a stream ends, until they receive status 204.
    if headers.contains_key("last-event-id") && job.has_ended() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let updates = WhatIfUpdates {
        context: context.clone(),
        job,
        question,
        parts: SentParts::default(),
        end_sent: false,
    };
    Ok(stream_updates(&app, &context, updates).into_response())
}

struct WhatIfUpdates {
    context: PageContext,
    job: Arc<Job>,
    question: WhatIfQuestion,
    parts: SentParts,
    end_sent: bool,
}

impl LiveUpdates for WhatIfUpdates {
    const INTERVAL: Duration = Duration::from_millis(250);

    async fn next_events(&mut self) -> Option<Vec<Event>> {
        if self.end_sent {
            return None;
        }
        // Read before rendering, so that the last event shows the end.
        self.end_sent = self.job.has_ended();
        let card = job_card(&self.context, &self.job, self.question);
        let mut events = self.parts.changed([("what-if", card)]);
        events.extend(self.end_sent.then(end_event));
        // The id of the last event marks a reconnecting browser.
        Some(events.into_iter().map(|event| event.id("1")).collect())
    }
}

fn form_page(app: &App, context: &PageContext, form: &WhatIfForm, is_invalid: bool) -> Markup {
    let language = context.language;
    let settings = app.settings();
    let setting_name = |setting: &WhatIfSetting| -> (&'static str, &'static str) {
        ((*setting).into(), language.what_if_setting(*setting))
    };
    let names: Vec<_> = WhatIfSetting::VARIANTS.iter().map(setting_name).collect();
    let orders = KeyOrder::VARIANTS.iter();
    let orders: Vec<_> = orders
        .map(|order| ((*order).into(), language.key_order(*order)))
        .collect();
    let hours = HOURS.map(|hours| (hours.to_string(), language.what_if_hours(hours)));
    let hours: Vec<_> = hours
        .iter()
        .map(|(value, label)| (value.as_str(), label.as_str()))
        .collect();
    let present = language.what_if_present(
        settings.wait_for_key_seconds,
        settings.max_attempts,
        settings.per_key_concurrency,
    );
    let error = is_invalid.then(|| language.what_if_bad_value());
    let errors: Vec<_> = error
        .iter()
        .map(|error| ("number", language.what_if_value(), *error))
        .collect();
    let body = html! {
        nav.crumbs { a href="/quota" { "← " (language.quota()) } }
        (heading(language.what_if(), html! {}))
        form.card.narrow method="post" action=(PATH) {
            (context.csrf_field())
            (error_summary(language, &errors))
            p { (language.what_if_lead(&number(MAX_REQUESTS))) }
            (field("setting", language.what_if_changed_setting(), Some(&present), None,
                select("setting", "setting", &form.setting, &names)))
            div.fields {
                (field("number", language.what_if_value(), Some(language.what_if_value_hint()), error,
                    text_input("number", &form.number)))
                (field("order", language.what_if_setting(WhatIfSetting::KeyOrder), Some(language.what_if_order_hint()), None,
                    select("order", "order", &form.order, &orders)))
            }
            (field("hours", language.what_if_span(), None, None, select("hours", "hours", &form.hours, &hours)))
            div.actions { button.primary type="submit" { (language.what_if_run()) } }
        }
        (card(language.what_if_limits_title(), limits(language)))
    };
    layout::page(context, Section::Quota, language.what_if(), body)
}

/// What the model cannot know.
fn limits(language: Language) -> Markup {
    html! {
        ul.points {
            li { (language.what_if_limit_keys()) }
            li { (language.what_if_limit_quota()) }
            li { (language.what_if_limit_faults()) }
            li { (language.what_if_limit_clients()) }
            li { (language.what_if_limit_routes()) }
        }
    }
}

fn job_card(context: &PageContext, job: &Job, question: WhatIfQuestion) -> Markup {
    let language = context.language;
    let progress = job.progress();
    html! {
        div #what-if {
            section.card {
                h2 { (change_text(language, question.change)) }
                (progress_part(context, job, &progress))
            }
            @if let Some(result) = &progress.what_if {
                (comparison(context, result))
                @if result.requests > 0 { (card(language.what_if_limits_title(), limits(language))) }
            }
        }
    }
}

fn progress_part(context: &PageContext, job: &Job, progress: &JobProgress) -> Markup {
    let language = context.language;
    html! {
        @if let Some(why) = &progress.failed {
            p.form-error role="alert" { (language.job_failed(why)) }
        } @else if let Some(result) = progress.what_if.as_ref().filter(|result| result.requests > 0) {
            p {
                (language.what_if_replayed(&number(result.requests), &number(result.keys))) " "
                (moment(context, result.from)) " – " (moment(context, result.to))
            }
            @if result.left_out > 0 {
                p { (language.what_if_left_out(&number(result.left_out))) }
            }
        } @else if progress.what_if.is_some() {
            p { (language.what_if_no_requests()) }
        } @else {
            progress max=(job.total) value=(progress.done) aria-label=(language.what_if()) {}
            p.muted.small { (language.job_continues()) }
        }
    }
}

/// What the change is, as a heading.
fn change_text(language: Language, change: WhatIfChange) -> String {
    let (setting, value) = match change {
        WhatIfChange::WaitForKeySeconds(seconds) => {
            (WhatIfSetting::WaitForKeySeconds, number(seconds))
        }
        WhatIfChange::MaxAttempts(attempts) => (WhatIfSetting::MaxAttempts, number(attempts)),
        WhatIfChange::PerKeyConcurrency(most) => (WhatIfSetting::PerKeyConcurrency, number(most)),
        WhatIfChange::MoreProjects(count) => (WhatIfSetting::MoreProjects, number(count)),
        WhatIfChange::KeyOrder(order) => (
            WhatIfSetting::KeyOrder,
            language.key_order(order).to_owned(),
        ),
    };
    language.what_if_change(language.what_if_setting(setting), &value)
}

fn comparison(context: &PageContext, result: &WhatIfResult) -> Markup {
    let language = context.language;
    if result.requests == 0 {
        return html! {};
    }
    let per_mille = result.same_end_per_mille;
    let same = format!("{}.{}\u{a0}%", per_mille / 10, per_mille % 10);
    let columns = [&result.actual, &result.present, &result.changed];
    let row = |label: &str, value: &dyn Fn(&WhatIfFigures) -> String| {
        html! {
            tr {
                th scope="row" { (label) }
                @for (figures, heading) in columns.iter().zip([
                    language.what_if_actual(), language.what_if_with_present(), language.what_if_with_change(),
                ]) {
                    td.number data-label=(heading) { (value(figures)) }
                }
            }
        }
    };
    html! {
        section.card {
            div.table { table.stack.what-if {
                thead { tr {
                    th scope="col" { span.visually-hidden { (language.what_if_figure()) } }
                    th.number scope="col" { (language.what_if_actual()) }
                    th.number scope="col" { (language.what_if_with_present()) }
                    th.number scope="col" { (language.what_if_with_change()) }
                } }
                tbody {
                    (row(language.what_if_answered(), &|figures| number(figures.answered)))
                    (row(language.what_if_refused(), &|figures| number(figures.refused)))
                    (row(language.what_if_failed(), &|figures| number(figures.failed)))
                    (row(language.what_if_attempts(), &|figures| number(figures.attempts)))
                    (row(language.what_if_waited(), &|figures| number(figures.waited)))
                    (row(language.what_if_median_wait(), &|figures| duration_ms(language, figures.median_wait_ms)))
                    (row(language.what_if_p95_wait(), &|figures| duration_ms(language, figures.p95_wait_ms)))
                }
            } }
            p { (language.what_if_same(&same)) }
        }
    }
}
