//! `/upstream-keys/{id}`: state, cooldowns, quota, errors and history of one key.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use jiff::tz::TimeZone;
use maud::{Markup, html};

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::changes::change_table;
use crate::dashboard::chart::{
    self, Chart, ChartBin, ChartKind, ChartUse, Series, Unit, figure, value,
};
use crate::dashboard::components::{
    Tone, ago, badge, card, duration_ms, href, moment, number, stat, success_rate, tokens, until,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::dashboard::upstream_keys::bulk_action::BulkAction;
use crate::dashboard::upstream_keys::deleted::tombstone;
use crate::dashboard::upstream_keys::edit::parse_id;
use crate::dashboard::upstream_keys::key_labels;
use crate::dashboard::upstream_keys::list::PATH;
use crate::gemini::resources::name::ResourceName;
use crate::pool::keys::key_status::{
    KeyCooldown, KeyStatus, KeyStatusKind, LimitSource, QuotaWindowScope, QuotaWindowStatus,
};
use crate::pool::keys::upstream_key::Billing;
use crate::pool::quota::limits::Measure;
use crate::storage::audit::{self, ListedChange, Subject};
use crate::storage::resources::{self, ListedResource};
use crate::storage::rollups::begin_of_day;
use crate::storage::upstream_keys::history::{
    self, CooldownEvidence, LoggedCheck, RecentFailures, UpstreamKeyDay,
};
use crate::storage::upstream_keys::removal;
use crate::storage::upstream_keys::search::{self, DashboardKey};

const DAY: Duration = Duration::from_hours(24);
/// Days in the chart.
const DAYS: u32 = 30;
/// The period in which failures are counted.
const FAILURE_DAYS: u32 = 7;
/// Checks and changes shown.
const CHECKS: u32 = 10;
const CHANGES: usize = 20;
/// Resources of the project shown.
const MAX_RESOURCES: u32 = 10;

/// All data of the page.
struct UpstreamKeyDetail {
    key: DashboardKey,
    /// `None`: the server has not loaded the key yet.
    key_status: Option<KeyStatus>,
    cooldown_evidence: Vec<CooldownEvidence>,
    first_day: Timestamp,
    days: Vec<UpstreamKeyDay>,
    recent: RecentFailures,
    resources: Vec<ListedResource>,
    resource_counts: Vec<(String, i64)>,
    checks: Vec<LoggedCheck>,
    changes: Vec<ListedChange>,
    /// The label of the proxy that its requests go through; `None`: they are direct.
    egress: Option<String>,
    /// Whether there are any egress proxies.
    has_egress: bool,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let (db, now) = (&app.db.readers, context.now);
    let today = begin_of_day(now);
    let id = parse_id(&id)?;
    if let Some(removed) = removal::find_removed(db, id).await? {
        return Ok(tombstone(&context, &removed));
    }
    let key = search::find_for_dashboard(db, id, today).await?;
    let first_day = today - DAY * (DAYS - 1);
    let filter = audit::AuditFilter {
        subject: Some(Subject::UpstreamKey),
        subject_id: Some(key.id.0),
        ..audit::AuditFilter::default()
    };
    let (key_status, egress, has_egress) = {
        let keys = app.keys.lock();
        let egress = keys.egress_of(key.id).ok().flatten();
        let row = egress.and_then(|id| keys.egress().get(id));
        let label = row.map(|row| row.label.clone());
        let has_egress = !keys.egress().rows().is_empty();
        (keys.key_status(key.id, now), label, has_egress)
    };
    let detail = UpstreamKeyDetail {
        key_status,
        cooldown_evidence: history::list_cooldowns(db, key.project_id, now).await?,
        first_day,
        days: history::list_days(db, key.id, first_day, DAYS).await?,
        recent: history::recent_failures(db, key.id, now - DAY * FAILURE_DAYS).await?,
        resources: resources::list_of_project(db, key.project_id, now, MAX_RESOURCES).await?,
        resource_counts: resources::count_of_project(db, key.project_id, now).await?,
        checks: history::list_checks(db, key.id, CHECKS).await?,
        changes: audit::list(db, &filter, None, CHANGES).await?.items,
        egress,
        has_egress,
        key,
    };
    Ok(view(&context, &detail))
}

fn view(context: &PageContext, detail: &UpstreamKeyDetail) -> Markup {
    let (language, key) = (context.language, &detail.key);
    let body = html! {
        nav.crumbs { a href=(PATH) { "← " (language.upstream_keys()) } }
        (heading(&key.label, actions(context, detail)))
        div.live-parts #upstream-key data-refresh { (parts(context, detail)) }
        (chart::scripts())
    };
    layout::page(context, Section::UpstreamKeys, &key.label, body)
}

/// What changes with time.
fn parts(context: &PageContext, detail: &UpstreamKeyDetail) -> Markup {
    let (language, key) = (context.language, &detail.key);
    html! {
        (stats(context, key))
        div.cards {
            (card(language.state_heading(), state(context, detail)))
            (card(language.about(), facts(context, detail)))
        }
        @if let Some(key_status) = detail.key_status.as_ref().filter(|key_status| !key_status.cooldowns.is_empty()) {
            (card(language.cooldowns(), cooldown_table(context, &key_status.effective_cooldowns(), &detail.cooldown_evidence)))
        }
        (card(language.quota_windows(), windows(context, detail)))
        section.card { (daily_chart(language, detail)) }
        (card(language.errors_by_verdict(), failures(context, &detail.recent, key)))
        @if !detail.resources.is_empty() { (card(language.resources_title(), resource_card(context, detail))) }
        (card(language.checks(), checks(context, detail)))
        (card(language.changes_title(), change_table(context, &detail.changes)))
    }
}

fn status_kind(detail: &UpstreamKeyDetail) -> KeyStatusKind {
    match &detail.key_status {
        Some(key_status) => key_status.kind,
        None if detail.key.enabled => KeyStatusKind::Ready,
        None => KeyStatusKind::Disabled,
    }
}

/// The buttons submit the bulk form with this key.
fn actions(context: &PageContext, detail: &UpstreamKeyDetail) -> Markup {
    let (language, key) = (context.language, &detail.key);
    let page = format!("{PATH}/{}", key.id.0);
    let (switch, switch_label) = if key.enabled {
        ("disable", language.disable())
    } else {
        ("enable", language.enable())
    };
    let can_clear = !matches!(
        status_kind(detail),
        KeyStatusKind::Ready | KeyStatusKind::Disabled
    );
    html! {
        form.actions method="post" action="/upstream-keys/bulk" {
            (context.csrf_field())
            input type="hidden" name="id" value=(key.id.0);
            input type="hidden" name="back" value=(page);
            button type="submit" name="action" value="test" { (language.test_now()) }
            @if can_clear { button type="submit" name="action" value="clear" { (language.bulk_action(BulkAction::Clear)) } }
            button type="submit" name="action" value=(switch) { (switch_label) }
            a.button href={ (page) "/edit" } { (language.edit()) }
            button.danger type="submit" name="action" value="delete" { (language.bulk_action(BulkAction::Delete)) }
        }
    }
}

fn stats(context: &PageContext, key: &DashboardKey) -> Markup {
    let language = context.language;
    let (successes, failures) = (key.today.successes, key.today.failures);
    let counted = successes + failures;
    let failed = language.failures_of(&number(failures), &number(counted));
    html! {
        dl.stats {
            (stat(language.requests_today(), number(key.today.requests), ""))
            (stat(language.success_today(), success_rate(successes, failures), if counted > 0 { failed } else { String::new() }))
            (stat(language.tokens_today(), tokens(key.today.tokens.unsigned_abs()), ""))
            (stat(language.last_used(), html! {
                @if let Some(at) = key.last_used_at { (ago(context, at, context.now)) } @else { (language.never()) }
            }, ""))
            (stat(language.key_since_added(), number(key.all_time.requests), language.requests_with(&tokens(key.all_time.tokens.unsigned_abs()))))
        }
    }
}

/// The state with its meaning, evidence and end.
fn state(context: &PageContext, detail: &UpstreamKeyDetail) -> Markup {
    let (language, key) = (context.language, &detail.key);
    let kind = status_kind(detail);
    let condition = detail
        .key_status
        .as_ref()
        .map(|key_status| key_status.condition);
    let is_of_key = !matches!(
        kind,
        KeyStatusKind::Ready | KeyStatusKind::PartlyCoolingDown | KeyStatusKind::Disabled
    ) && key.state_rule.is_some();
    let current_cooldown = detail
        .key_status
        .as_ref()
        .and_then(KeyStatus::deciding_cooldown);
    let next_check = condition.and_then(|condition| condition.next_check);
    let is_checked = matches!(
        kind,
        KeyStatusKind::Invalid | KeyStatusKind::Suspended | KeyStatusKind::Misconfigured
    );
    html! {
        p.state {
            (key_labels::state_badge(language, kind))
            @if let Some(cooldown) = current_cooldown { strong { (language.cooldown_ends()) " " (until(context, cooldown.until, context.now)) } }
        }
        p.muted { (language.key_state_means(kind)) }
        dl.facts {
            @if let (true, Some(condition)) = (is_of_key, condition) {
                dt { (language.state_since()) } dd { (ago(context, condition.since, context.now)) }
            }
            @if is_of_key {
                @if let Some(rule) = &key.state_rule {
                    dt { (language.reason()) }
                    dd { (key_labels::label_of_rule_name(language, rule)) @if let Some(status) = key.state_status { " · " (language.status_code()) " " (status) } }
                }
                @if let Some(message) = &key.state_message { dt { (language.evidence()) } dd { q { (message) } } }
                @if let Some(id) = key.state_request_id {
                    dt { (language.shown_by()) } dd { a href={ "/logs/" (id) } { (language.this_request()) } }
                }
            }
            @if let Some(cooldown) = current_cooldown {
                dt { (language.reason()) } dd { (key_labels::cooldown_line(language, cooldown)) }
                dt { (language.state_ends()) } dd { (until(context, cooldown.until, context.now)) " " span.muted { "(" (moment(context, cooldown.until)) ")" } }
            }
            @if is_checked {
                dt { (language.next_check_heading()) }
                dd { @if let Some(at) = next_check { (until(context, at, context.now)) } @else { (language.never()) } }
            }
            @if kind == KeyStatusKind::Leaked { dt { (language.state_ends()) } dd { (language.ends_never()) } }
            @if let Some(key_status) = &detail.key_status {
                @if key_status.in_flight > 0 { dt { (language.in_flight()) } dd { (key_status.in_flight) } }
            }
            dt { (language.last_check()) }
            dd { @if let Some(at) = key.checked_at { (ago(context, at, context.now)) } @else { span.muted { (language.never()) } } }
        }
    }
}

fn facts(context: &PageContext, detail: &UpstreamKeyDetail) -> Markup {
    let (language, key) = (context.language, &detail.key);
    let billing = detail
        .key_status
        .as_ref()
        .map(|key_status| key_status.billing);
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
                    known => (language.billing_label(known)),
                }
            }
            @if detail.has_egress {
                dt { (language.log_egress()) }
                dd { a href="/egress-proxies" { (detail.egress.as_deref().unwrap_or(language.egress_direct())) } }
            }
            dt { (language.priority()) } dd { (key.priority) }
            dt { (language.weight()) } dd { (key.weight) }
            dt { (language.tags()) }
            dd {
                @if key.tags.is_empty() { span.muted { (language.none()) } }
                @for tag in &key.tags { a.tag href=(href(PATH, &[("tag", tag)])) { (tag) } " " }
            }
            dt { (language.created()) } dd { (moment(context, key.created_at)) }
        }
        div.actions {
            a.button.small href=(href("/logs", &[("key", &key.id.0.to_string())])) { (language.its_requests()) }
            a.button.small href=(href("/usage", &[("key", &key.id.0.to_string()), ("span", "30d")])) { (language.usage_all()) }
        }
    }
}

fn cooldown_table(
    context: &PageContext,
    cooldowns: &[&KeyCooldown],
    evidence: &[CooldownEvidence],
) -> Markup {
    let language = context.language;
    let shown_by = |cooldown: &KeyCooldown| {
        let model = cooldown.model.as_deref().unwrap_or("*");
        let mut proof = evidence.iter();
        // Limits counted by this server have no response as evidence.
        proof.find(|proof| {
            proof.model == model && proof.until == cooldown.until && cooldown.is_from_google()
        })
    };
    html! {
        div.table { table.stack {
            thead { tr {
                th scope="col" { (language.model()) } th scope="col" { (language.state_ends()) }
                th scope="col" { (language.reason()) } th scope="col" { (language.shown_by()) }
            } }
            tbody { @for cooldown in cooldowns {
                @let proof = shown_by(cooldown);
                tr {
                    th scope="row" {
                        @if let Some(model) = &cooldown.model { span.mono { (model) } } @else { (language.every_model()) }
                    }
                    td data-label=(language.state_ends()) { (until(context, cooldown.until, context.now)) }
                    td data-label=(language.reason()) {
                        span.lines {
                            span { (key_labels::cooldown_reason(language, cooldown.reason)) }
                            @if let Some(message) = proof.map(|proof| &proof.message).filter(|message| !message.is_empty()) {
                                span.small.muted.message.one title=(message) { (message) }
                            }
                        }
                    }
                    td data-label=(language.shown_by()) {
                        @if let Some(proof) = proof { a href={ "/logs/" (proof.request_id) } { (language.this_request()) } } @else { "–" }
                    }
                }
            } }
        } }
    }
}

fn windows(context: &PageContext, detail: &UpstreamKeyDetail) -> Markup {
    let language = context.language;
    let windows = detail
        .key_status
        .as_ref()
        .map_or(&[][..], |key_status| &key_status.windows);
    let mut daily = windows.iter().filter(|window| window.measure.is_daily());
    let day_resets = daily.find_map(|window| window.resets_at);
    html! {
        p.muted.small {
            (language.quota_windows_hint())
            @if let Some(at) = day_resets { " " (language.day_resets()) " " (until(context, at, context.now)) }
        }
        @if windows.is_empty() {
            p.muted { (language.no_windows()) }
        } @else {
            div.table.tall tabindex="0" { table.stack.windows {
                thead { tr {
                    th scope="col" { (language.model()) }
                    @for measure in Measure::ALL.iter().copied() { th.caps scope="col" { (language.measure(measure)) } }
                } }
                tbody { @for windows in windows.chunk_by(|one, next| one.of == next.of) { (windows_row(language, windows)) } }
            } }
        }
    }
}

/// The quota windows of one model, one column per measure.
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
            @for measure in Measure::ALL.iter().copied() {
                @let window = windows.iter().find(|window| window.measure == measure);
                td.caps.absent[window.is_none()] data-label=(language.measure(measure)) {
                    @if let Some(window) = window { (window_cell(language, window)) } @else { span.muted { "–" } }
                }
            }
        }
    }
}

/// The usage, the limit, and the source of the limit.
fn window_cell(language: Language, window: &QuotaWindowStatus) -> Markup {
    html! {
        span.lines {
            @match window.limit {
                Some(0) => span { (language.none_allowed()) },
                Some(limit) => {
                    @let label = format!("{} / {}", number(window.used), number(limit));
                    span { (label) }
                    (key_labels::usage_bar(&label, window.used, limit))
                },
                None => span { (number(window.used)) },
            }
            @if window.source != LimitSource::Unknown { span.small.muted title=(language.limit_source_means(window.source)) { (language.limit_source(window.source)) } }
        }
    }
}

fn daily_chart(language: Language, detail: &UpstreamKeyDetail) -> Markup {
    if detail.days.is_empty() {
        return html! { h2 { (language.key_30_days()) } p.muted { (language.no_requests_30()) } };
    }
    let at = |day_index: u32| detail.first_day + DAY * day_index;
    let values = |of: fn(&UpstreamKeyDay) -> i64| {
        let day = |day_index: u32| detail.days.iter().find(|day| day.day == at(day_index));
        let counted = (0..DAYS).map(|day_index| day(day_index).map(|day| value(of(day))));
        counted.collect()
    };
    let series = |name, colour, count| Series {
        name,
        colour,
        values: values(count),
        filter: None,
    };
    let requests: i64 = detail.days.iter().map(|day| day.requests).sum();
    let bins = (0..DAYS).map(|day_index| ChartBin {
        begin: at(day_index),
        end: at(day_index + 1),
        label: at(day_index).to_jiff().strftime("%m-%d").to_string(),
    });
    let chart = Chart {
        id: "upstream-key-days",
        title: language.key_30_days(),
        total: number(requests),
        kind: ChartKind::Stacked,
        unit: Unit::Count,
        zone: &TimeZone::UTC,
        bins: &bins.collect::<Vec<_>>(),
        series: vec![
            series(language.successes(), 1, |day| day.successes),
            series(language.failures(), 4, |day| day.failures),
            series(language.others(), 3, |day| {
                day.requests - day.successes - day.failures
            }),
        ],
        is_last_running: true,
        log: Some(vec![("key", detail.key.id.0.to_string())]),
        purpose: ChartUse::Explore,
    };
    figure(language, &chart)
}

fn failures(context: &PageContext, recent: &RecentFailures, key: &DashboardKey) -> Markup {
    let language = context.language;
    let attempts = number(recent.attempts);
    html! {
        @if recent.failures.is_empty() {
            p.muted { (language.no_errors()) }
        } @else {
            p.muted.small { (language.attempts_examined(&attempts)) }
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.verdict()) } th.number scope="col" { (language.count()) }
                    th scope="col" { (language.last_time()) } th scope="col" { (language.evidence()) }
                } }
                tbody { @for failure in &recent.failures { tr {
                    th scope="row" { (key_labels::label_of_rule_name(language, &failure.rule)) }
                    td.number data-label=(language.count()) { (number(failure.count)) }
                    td data-label=(language.last_time()) {
                        a href={ "/logs/" (failure.request_id) } { (ago(context, failure.last_at, context.now)) }
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

fn resource_card(context: &PageContext, detail: &UpstreamKeyDetail) -> Markup {
    let language = context.language;
    let all: i64 = detail.resource_counts.iter().map(|(_, count)| count).sum();
    let all = usize::try_from(all).unwrap_or_default();
    html! {
        p.hint.small { (language.resources_lead()) }
        @if detail.resources.is_empty() {
            p { (language.no_resources()) }
        } @else {
            p.chips { @for (kind, count) in &detail.resource_counts { span.tag { (kind) " " (number(*count)) } } }
            @if all > detail.resources.len() {
                p.small.muted { (language.newest_resources(&detail.resources.len().to_string())) }
            }
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.resource_name()) } th scope="col" { (language.log_client()) }
                    th scope="col" { (language.client_key_created()) } th scope="col" { (language.resource_expires()) }
                } }
                tbody { @for resource in &detail.resources { tr {
                    td.mono.wrap data-label=(language.resource_name()) { (ResourceName::without_secret(&resource.name)) }
                    td data-label=(language.log_client()) {
                        @if let Some(id) = resource.client_key_id {
                            a href={ "/client-keys/" (id.0) } { (resource.client_key.as_deref().unwrap_or_default()) }
                        } @else { "–" }
                    }
                    td data-label=(language.client_key_created()) { (ago(context, resource.created_at, context.now)) }
                    td data-label=(language.resource_expires()) {
                        @match resource.expires_at { Some(at) => (until(context, at, context.now)), None => { (language.token_no_expiry()) } }
                    }
                } } }
            } }
        }
    }
}

fn checks(context: &PageContext, detail: &UpstreamKeyDetail) -> Markup {
    let language = context.language;
    html! {
        @if detail.checks.is_empty() {
            p.muted { @if detail.key.checked_at.is_some() { (language.no_check_rows()) } @else { (language.no_checks()) } }
        } @else {
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.when()) } th scope="col" { (language.result()) }
                    th scope="col" { (language.reason()) } th.number scope="col" { (language.took()) }
                } }
                tbody { @for check in &detail.checks { tr {
                    td data-label=(language.when()) { a href={ "/logs/" (check.id) } { (ago(context, check.started_at, context.now)) } }
                    td data-label=(language.result()) {
                        @if let Some(rule) = &check.rule {
                            (badge(Tone::Bad, key_labels::label_of_rule_name(language, rule)))
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
