//! `/upstream-keys/{id}`: all there is to know of one key.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use maud::{Markup, html};

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::changes::changes;
use crate::dashboard::chart::{Chart, Form, Series, count, figure, value};
use crate::dashboard::components::{
    Tone, ago, badge, card, duration_ms, href, moment, number, stat, tokens, until,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Place, heading};
use crate::dashboard::texts::Language;
use crate::dashboard::upstream_keys::edit::id_in;
use crate::dashboard::upstream_keys::list::PATH;
use crate::dashboard::upstream_keys::words;
use crate::dashboard::visit::Visit;
use crate::gemini::resource_name::ResourceName;
use crate::pool::keys::key_status::{
    KeyCooldown, KeyStatus, KeyStatusKind, LimitSource, QuotaWindowScope, QuotaWindowStatus,
};
use crate::pool::keys::upstream_key::Billing;
use crate::pool::quota::limits::Measure;
use crate::storage::audit::{self, ListedChange, Subject};
use crate::storage::resources::{self, Held};
use crate::storage::sums::begin_of_day;
use crate::storage::upstream_keys::history::{self, Day, PastCheck, Recent, RestEvidence};
use crate::storage::upstream_keys::search::{self, ShownKey};

const DAY: Duration = Duration::from_hours(24);
/// So many days are in the chart.
const DAYS: u32 = 30;
/// How far back failures are counted.
const FAILURE_DAYS: u32 = 7;
/// How many checks and changes are shown.
const CHECKS: u32 = 10;
const CHANGES: usize = 20;
/// How many things that its project holds are shown.
const HELD: u32 = 10;

/// All that the page shows.
struct Shown {
    key: ShownKey,
    /// `None`: the server has not taken the key over yet.
    standing: Option<KeyStatus>,
    rests: Vec<RestEvidence>,
    first_day: Timestamp,
    days: Vec<Day>,
    recent: Recent,
    held: Vec<Held>,
    held_counts: Vec<(String, i64)>,
    checks: Vec<PastCheck>,
    changes: Vec<ListedChange>,
}

pub async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let (db, now) = (&app.db.readers, visit.now);
    let today = begin_of_day(now);
    let key = search::find_shown(db, id_in(&id)?, today).await?;
    let first_day = today - DAY * (DAYS - 1);
    let filter = audit::Filter {
        subject: Some(Subject::UpstreamKey),
        subject_id: Some(key.id.0),
        ..audit::Filter::default()
    };
    let standing = app.keys.lock().key_status(key.id, now);
    let shown = Shown {
        standing,
        rests: history::list_rests(db, key.project_id, now).await?,
        first_day,
        days: history::list_days(db, key.id, first_day, DAYS).await?,
        recent: history::recent_failures(db, key.id, now - DAY * FAILURE_DAYS).await?,
        held: resources::list_held(db, key.project_id, now, HELD).await?,
        held_counts: resources::count_held(db, key.project_id, now).await?,
        checks: history::list_checks(db, key.id, CHECKS).await?,
        changes: audit::list(db, &filter, None, CHANGES).await?.items,
        key,
    };
    Ok(view(&visit, &shown))
}

fn view(visit: &Visit, shown: &Shown) -> Markup {
    let (language, key) = (visit.language, &shown.key);
    let content = html! {
        nav.crumbs { a href=(PATH) { "← " (language.upstream_keys()) } }
        (heading(&key.label, actions(visit, shown)))
        (stats(visit, key))
        div.cards {
            (card(language.state_heading(), state(visit, shown)))
            (card(language.about(), facts(visit, shown)))
        }
        @if let Some(standing) = shown.standing.as_ref().filter(|standing| !standing.cooldowns.is_empty()) {
            (card(language.rests(), rest_table(visit, &standing.effective_cooldowns(), &shown.rests)))
        }
        (card(language.quota_windows(), windows(visit, shown)))
        section.card { (days_of(language, shown)) }
        (card(language.errors_by_verdict(), failures(visit, &shown.recent, key)))
        (card(language.held_title(), held(visit, shown)))
        (card(language.checks(), checks(visit, shown)))
        (card(language.changes_title(), changes(visit, &shown.changes)))
    };
    layout::page(visit, Place::UpstreamKeys, &key.label, content)
}

fn word(shown: &Shown) -> KeyStatusKind {
    match &shown.standing {
        Some(standing) => standing.kind,
        None if shown.key.enabled => KeyStatusKind::Ready,
        None => KeyStatusKind::Disabled,
    }
}

/// Each button is a form of the many keys' page, with this one key.
fn actions(visit: &Visit, shown: &Shown) -> Markup {
    let (language, key) = (visit.language, &shown.key);
    let page = format!("{PATH}/{}", key.id.0);
    let (switch, switch_word) = if key.enabled {
        ("disable", language.disable())
    } else {
        ("enable", language.enable())
    };
    let is_held = !matches!(word(shown), KeyStatusKind::Ready | KeyStatusKind::Disabled);
    html! {
        form.actions method="post" action="/upstream-keys/bulk" {
            (visit.csrf_field())
            input type="hidden" name="id" value=(key.id.0);
            input type="hidden" name="back" value=(page);
            button type="submit" name="action" value="test" { (language.test_now()) }
            @if is_held { button type="submit" name="action" value="clear" { (language.clear_rest()) } }
            button type="submit" name="action" value=(switch) { (switch_word) }
            a.button href={ (page) "/edit" } { (language.edit()) }
            button.danger type="submit" name="action" value="delete" { (language.delete_keys()) }
        }
    }
}

fn stats(visit: &Visit, key: &ShownKey) -> Markup {
    let language = visit.language;
    let success = match key.today.requests {
        0 => "–".to_owned(),
        requests => format!("{} %", key.today.successes * 100 / requests),
    };
    let failed = language.failures_of(&number(key.today.failures), &number(key.today.requests));
    html! {
        dl.stats {
            (stat(language.requests_today(), number(key.today.requests), ""))
            (stat(language.success_today(), success, if key.today.requests > 0 { failed } else { String::new() }))
            (stat(language.tokens_today(), tokens(key.today.tokens.unsigned_abs()), ""))
            (stat(language.last_used(), html! {
                @if let Some(at) = key.last_used_at { (ago(visit, at, visit.now)) } @else { (language.never()) }
            }, ""))
            (stat(language.key_since_added(), number(key.ever.requests), language.tokens_counted(&tokens(key.ever.tokens.unsigned_abs()))))
        }
    }
}

/// The state, what it means, what showed it and what ends it.
fn state(visit: &Visit, shown: &Shown) -> Markup {
    let (language, key) = (visit.language, &shown.key);
    let word = word(shown);
    let condition = shown.standing.as_ref().map(|standing| standing.condition);
    let is_of_key = !matches!(
        word,
        KeyStatusKind::Ready | KeyStatusKind::PartlyCoolingDown | KeyStatusKind::Disabled
    ) && key.state_rule.is_some();
    let holds = shown
        .standing
        .as_ref()
        .and_then(KeyStatus::deciding_cooldown);
    let next_check = condition.and_then(|condition| condition.next_check);
    let is_checked = matches!(
        word,
        KeyStatusKind::Invalid | KeyStatusKind::Suspended | KeyStatusKind::Misconfigured
    );
    html! {
        p.state {
            (words::state_badge(language, word))
            @if let Some(rest) = holds { strong { (until(visit, rest.until, visit.now)) } }
        }
        p.muted { (words::meaning(language, word)) }
        dl.facts {
            @if let (true, Some(condition)) = (is_of_key, condition) {
                dt { (language.state_since()) } dd { (ago(visit, condition.since, visit.now)) }
            }
            @if is_of_key {
                @if let Some(rule) = &key.state_rule {
                    dt { (language.reason()) }
                    dd { (words::named_rule(language, rule)) @if let Some(status) = key.state_status { " · " (language.status_code()) " " (status) } }
                }
                @if let Some(message) = &key.state_message { dt { (language.evidence()) } dd { q { (message) } } }
                @if let Some(id) = key.state_request_id {
                    dt { (language.shown_by()) } dd { a href={ "/logs/" (id) } { (language.this_request()) } }
                }
            }
            @if let Some(rest) = holds {
                dt { (language.reason()) } dd { (words::rest_line(language, rest)) }
                dt { (language.state_ends()) } dd { (until(visit, rest.until, visit.now)) " " span.muted { "(" (moment(visit, rest.until)) ")" } }
            }
            @if is_checked {
                dt { (language.next_check_at()) }
                dd { @if let Some(at) = next_check { (until(visit, at, visit.now)) } @else { (language.never()) } }
            }
            @if word == KeyStatusKind::Leaked { dt { (language.state_ends()) } dd { (language.ends_never()) } }
            @if let Some(standing) = &shown.standing {
                @if standing.in_flight > 0 { dt { (language.in_flight()) } dd { (standing.in_flight) } }
            }
            dt { (language.last_check()) }
            dd { @if let Some(at) = key.checked_at { (ago(visit, at, visit.now)) } @else { span.muted { (language.never()) } } }
        }
    }
}

fn facts(visit: &Visit, shown: &Shown) -> Markup {
    let (language, key) = (visit.language, &shown.key);
    let billing = shown.standing.as_ref().map(|standing| standing.billing);
    html! {
        dl.facts {
            dt { (language.secret()) } dd.mono { "…" (key.last4) }
            dt { (language.project()) }
            dd {
                @if let Some(project) = &key.project {
                    a href=(href(PATH, &[("project", project)])) { (project) }
                } @else { span.muted { (language.unknown()) } }
            }
            dt { (language.billing()) } dd {
                @match billing.unwrap_or(key.billing) {
                    Billing::Unknown => span.muted { (language.unknown()) },
                    known => (words::billing(language, known)),
                }
            }
            dt { (language.priority()) } dd { (key.priority) }
            dt { (language.weight()) } dd { (key.weight) }
            dt { (language.tags()) }
            dd {
                @if key.tags.is_empty() { span.muted { (language.none()) } }
                @for tag in &key.tags { a.tag href=(href(PATH, &[("tag", tag)])) { (tag) } " " }
            }
            dt { (language.created()) } dd { (moment(visit, key.created_at)) }
        }
        div.actions {
            a.button.small href=(href("/logs", &[("key", &key.id.0.to_string())])) { (language.its_requests()) }
        }
    }
}

fn rest_table(visit: &Visit, rests: &[&KeyCooldown], evidence: &[RestEvidence]) -> Markup {
    let language = visit.language;
    let shown_by = |rest: &KeyCooldown| {
        let model = rest.model.as_deref().unwrap_or("*");
        let mut told = evidence.iter();
        // What we count has no answer that showed it.
        told.find(|told| told.model == model && told.until == rest.until && rest.is_from_google())
    };
    html! {
        div.table { table.stack {
            thead { tr {
                th scope="col" { (language.model()) } th scope="col" { (language.state_ends()) }
                th scope="col" { (language.reason()) } th scope="col" { (language.shown_by()) }
            } }
            tbody { @for rest in rests {
                @let told = shown_by(rest);
                tr {
                    th scope="row" {
                        @if let Some(model) = &rest.model { span.mono { (model) } } @else { (language.every_model()) }
                    }
                    td data-label=(language.state_ends()) { (until(visit, rest.until, visit.now)) }
                    td data-label=(language.reason()) {
                        span.lines {
                            span { (words::why(language, rest.reason)) }
                            @if let Some(message) = told.map(|told| &told.message).filter(|message| !message.is_empty()) {
                                span.small.muted.message.one title=(message) { (message) }
                            }
                        }
                    }
                    td data-label=(language.shown_by()) {
                        @if let Some(told) = told { a href={ "/logs/" (told.request_id) } { (language.this_request()) } } @else { "–" }
                    }
                }
            } }
        } }
    }
}

fn windows(visit: &Visit, shown: &Shown) -> Markup {
    let language = visit.language;
    let windows = shown
        .standing
        .as_ref()
        .map_or(&[][..], |standing| &standing.windows);
    let mut daily = windows.iter().filter(|window| window.measure.is_daily());
    let day_resets = daily.find_map(|window| window.resets_at);
    html! {
        p.muted.small {
            (language.quota_windows_hint())
            @if let Some(at) = day_resets { " " (language.day_resets()) " " (until(visit, at, visit.now)) }
        }
        @if windows.is_empty() {
            p.muted { (language.no_windows()) }
        } @else {
            div.table.tall tabindex="0" { table.stack.windows {
                thead { tr {
                    th scope="col" { (language.model()) }
                    @for measure in Measure::ALL { th.caps scope="col" { (words::measure(language, measure)) } }
                } }
                tbody { @for windows in windows.chunk_by(|one, next| one.of == next.of) { (windows_row(language, windows)) } }
            } }
        }
    }
}

/// The windows of one model, a column for each measure.
fn windows_row(language: Language, windows: &[QuotaWindowStatus]) -> Markup {
    html! {
        tr {
            th scope="row" {
                @match &windows[0].of {
                    QuotaWindowScope::Model(model) => span.mono { (model) },
                    QuotaWindowScope::Key => (language.of_this_key()),
                    QuotaWindowScope::Project => (language.of_its_project()),
                }
            }
            @for measure in Measure::ALL {
                @let window = windows.iter().find(|window| window.measure == measure);
                td.caps.absent[window.is_none()] data-label=(words::measure(language, measure)) {
                    @if let Some(window) = window { (window_cell(language, window)) } @else { span.muted { "–" } }
                }
            }
        }
    }
}

/// What is used, of which limit, and how that is known.
fn window_cell(language: Language, window: &QuotaWindowStatus) -> Markup {
    let (source, means) = words::source(language, window.source);
    html! {
        span.lines {
            @match window.limit {
                Some(0) => span { (language.none_allowed()) },
                Some(limit) => {
                    @let words = format!("{} / {}", number(window.used), number(limit));
                    span { (words) }
                    (words::share(&words, window.used, limit))
                },
                None => span { (number(window.used)) },
            }
            @if window.source != LimitSource::Unknown { span.small.muted title=(means) { (source) } }
        }
    }
}

fn days_of(language: Language, shown: &Shown) -> Markup {
    if shown.days.is_empty() {
        return html! { h2 { (language.key_30_days()) } p.muted { (language.no_requests_30()) } };
    }
    let at = |place: u32| shown.first_day + DAY * place;
    let name = |place: u32| at(place).to_jiff().strftime("%m-%d").to_string();
    let values = |of: fn(&Day) -> i64| {
        let day = |place: u32| shown.days.iter().find(|day| day.day == at(place));
        let counted = (0..DAYS).map(|place| day(place).map(|day| value(of(day))));
        counted.collect()
    };
    let series = |name, colour, count| Series {
        name,
        colour,
        values: values(count),
    };
    let requests: i64 = shown.days.iter().map(|day| day.requests).sum();
    let chart = Chart {
        title: language.key_30_days(),
        total: number(requests),
        bins: (0..DAYS).map(|place| (name(place), name(place))).collect(),
        series: vec![
            series(language.successes(), 1, |day| day.successes),
            series(language.others(), 4, |day| day.requests - day.successes),
        ],
        unit: |value| number(count(value)),
    };
    figure(language, Form::Stacked, &chart)
}

fn failures(visit: &Visit, recent: &Recent, key: &ShownKey) -> Markup {
    let language = visit.language;
    let attempts = number(recent.attempts);
    html! {
        @if recent.failures.is_empty() {
            p.muted { (language.no_errors()) }
        } @else {
            p.muted.small { (language.errors_looked(&attempts)) }
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.verdict()) } th.number scope="col" { (language.count()) }
                    th scope="col" { (language.last_time()) } th scope="col" { (language.evidence()) }
                } }
                tbody { @for failure in &recent.failures { tr {
                    th scope="row" { (words::named_rule(language, &failure.rule)) }
                    td.number data-label=(language.count()) { (number(failure.count)) }
                    td data-label=(language.last_time()) {
                        a href={ "/logs/" (failure.request_id) } { (ago(visit, failure.last_at, visit.now)) }
                    }
                    td data-label=(language.evidence()) {
                        @if let Some(error) = &failure.error { span.message title=(error) { (error) } } @else { span.muted { "–" } }
                    }
                } } }
            } }
            div.actions {
                a.button.small href=(href("/logs", &[("key", &key.id.0.to_string()), ("outcome", "failed")])) { (language.recent_failures()) }
            }
        }
    }
}

fn held(visit: &Visit, shown: &Shown) -> Markup {
    let language = visit.language;
    let all: i64 = shown.held_counts.iter().map(|(_, count)| count).sum();
    let all = usize::try_from(all).unwrap_or_default();
    html! {
        p.hint.small { (language.held_lead()) }
        @if shown.held.is_empty() {
            p { (language.held_nothing()) }
        } @else {
            p.chips { @for (kind, count) in &shown.held_counts { span.tag { (kind) " " (number(*count)) } } }
            @if all > shown.held.len() {
                p.small.muted { (language.held_newest(&shown.held.len().to_string())) }
            }
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.held_name()) } th scope="col" { (language.log_client()) }
                    th scope="col" { (language.client_key_created()) } th scope="col" { (language.held_expires()) }
                } }
                tbody { @for held in &shown.held { tr {
                    td.mono.wrap data-label=(language.held_name()) { (ResourceName::shown(&held.name)) }
                    td data-label=(language.log_client()) {
                        @if let Some(id) = held.client_key_id {
                            a href={ "/client-keys/" (id.0) } { (held.client_key.as_deref().unwrap_or_default()) }
                        } @else { "–" }
                    }
                    td data-label=(language.client_key_created()) { (ago(visit, held.created_at, visit.now)) }
                    td data-label=(language.held_expires()) {
                        @match held.expires_at { Some(at) => (until(visit, at, visit.now)), None => { (language.never()) } }
                    }
                } } }
            } }
        }
    }
}

fn checks(visit: &Visit, shown: &Shown) -> Markup {
    let language = visit.language;
    html! {
        @if shown.checks.is_empty() {
            p.muted { @if shown.key.checked_at.is_some() { (language.no_check_rows()) } @else { (language.no_checks()) } }
        } @else {
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.when()) } th scope="col" { (language.result()) }
                    th scope="col" { (language.reason()) } th.number scope="col" { (language.took()) }
                } }
                tbody { @for check in &shown.checks { tr {
                    td data-label=(language.when()) { a href={ "/logs/" (check.id) } { (ago(visit, check.started_at, visit.now)) } }
                    td data-label=(language.result()) {
                        @if let Some(rule) = &check.rule {
                            (badge(Tone::Bad, &words::named_rule(language, rule)))
                        } @else {
                            (badge(Tone::Good, language.passed()))
                        }
                    }
                    td data-label=(language.reason()) {
                        @if let Some(error) = &check.error { span.message title=(error) { (error) } } @else { span.muted { "–" } }
                    }
                    td.number data-label=(language.took()) {
                        @if let Some(millis) = check.duration_ms { (duration_ms(language, millis.unsigned_abs())) } @else { "–" }
                    }
                } } }
            } }
        }
    }
}
