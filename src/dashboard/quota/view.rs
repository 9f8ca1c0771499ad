//! The HTML of the quota page.

use maud::{Markup, html};

use crate::clock::Timestamp;
use crate::dashboard::components::{
    Tone, badge, card, empty_state, exact, href, mark, moment, number, select, until,
};
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::quota::{PAGE_SIZE, PATH, QuotaData, QuotaQuery};
use crate::dashboard::translations::Language;
use crate::dashboard::upstream_keys::key_labels::{cooldown_reason, usage_bar};
use crate::pool::keys::key_status::LimitSource;
use crate::pool::keys::quota_overview::{
    HeldBack, ModelQuotaStatus, ModelQuotaTotals, ProjectQuota, QuotaMeasure,
};
use crate::pool::keys::upstream_key::{Billing, ProjectId};
use crate::pool::quota::forecast::Forecast;
use crate::pool::quota::limits::Measure;

/// Columns of the heat map; other models are reached by the filter.
const COLUMNS: usize = 6;

pub fn page(context: &PageContext, query: &QuotaQuery, data: &QuotaData) -> Markup {
    let language = context.language;
    let is_filtered = query.model().is_some() || !query.project.trim().is_empty();
    let sub = html! {
        span.sub { (language.quota_day_ends()) " " (until(context, data.day_ends, context.now)) }
        a.button href="/quota/what-if" { (language.what_if()) }
    };
    let body = html! {
        (heading(language.quota(), sub))
        @if data.overview.projects.is_empty() && !is_filtered {
            (empty_state(language.quota_no_keys(), language.quota_no_keys_text(), html! {
                a.button.primary href="/upstream-keys/import" { (language.quota_import()) }
            }))
        } @else {
            @if query.project.trim().is_empty() {
                (card(language.quota_forecast(), forecasts(context, query, data)))
            }
            (filters(language, query, data))
            @if data.projects.is_empty() {
                (empty_state(language.quota_no_match(), language.quota_no_match_text(), html! {
                    a.button href=(PATH) { (language.clear_filters()) }
                }))
            } @else {
                (project_table(context, query, data))
                (pages(language, query, data))
            }
        }
    };
    layout::page(context, Section::Quota, language.quota(), body)
}

/// The models that the page has a line for, most used first.
fn models<'a>(query: &QuotaQuery, data: &'a QuotaData) -> Vec<(&'a String, &'a ModelQuotaTotals)> {
    let models = data.overview.models.iter();
    let mut models: Vec<_> = models
        .filter(|(name, _)| query.model().is_none_or(|model| model == *name))
        .collect();
    models.sort_by_key(|(_, totals)| std::cmp::Reverse((totals.used, totals.limit)));
    models
}

fn forecasts(context: &PageContext, query: &QuotaQuery, data: &QuotaData) -> Markup {
    let language = context.language;
    let models = models(query, data);
    html! {
        p.muted.small { (language.quota_forecast_hint()) }
        @if models.is_empty() {
            p { (language.quota_nothing_known()) }
        } @else {
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.model()) }
                    th.number scope="col" { (language.quota_used_today()) }
                    th.number scope="col" { (language.quota_limit()) }
                    th.number scope="col" { (language.quota_left()) }
                    th scope="col" { (language.quota_forecast()) }
                    th.number scope="col" { (language.quota_held_back()) }
                    th scope="col" { (language.next_ready()) }
                } }
                tbody { @for (model, totals) in models {
                    (forecast_row(context, model, totals, data.forecasts.get(model).copied().flatten()))
                } }
            } }
        }
    }
}

fn forecast_row(
    context: &PageContext,
    model: &str,
    totals: &ModelQuotaTotals,
    forecast: Option<Forecast>,
) -> Markup {
    let language = context.language;
    let offering = totals.projects - totals.missing;
    let is_partly_known = totals.limited_projects < offering;
    html! {
        tr {
            th scope="row" {
                span.named {
                    a href=(href(PATH, &[("model", model)])) { (model) }
                    @if totals.missing > 0 { span.note.muted { (language.quota_missing_in(&number(totals.missing))) } }
                }
            }
            td.number data-label=(language.quota_used_today()) { (number(totals.used)) }
            td.number data-label=(language.quota_limit()) {
                @if totals.limited_projects == 0 { "–" } @else {
                    span { @if is_partly_known { "≥ " } (number(totals.limit)) }
                }
            }
            td.number data-label=(language.quota_left()) {
                @if totals.limited_projects == 0 { "–" } @else { span { @if is_partly_known { "≥ " } (number(totals.remaining)) } }
            }
            td data-label=(language.quota_forecast()) { span { (forecast_text(context, offering, forecast)) } }
            td.number data-label=(language.quota_held_back()) {
                span { (number(totals.held_back)) span.muted { " / " (number(offering)) } }
            }
            td data-label=(language.next_ready()) {
                @match totals.next_ready_at { Some(at) => (until(context, at, context.now)), None => span.muted { "–" } }
            }
        }
    }
}

fn forecast_text(context: &PageContext, offering: usize, forecast: Option<Forecast>) -> Markup {
    let language = context.language;
    match forecast {
        None if offering == 0 => badge(Tone::Quiet, language.quota_not_offered()),
        None => badge(Tone::Quiet, language.quota_unknown()),
        Some(Forecast::Idle) => badge(Tone::Quiet, language.quota_idle()),
        Some(Forecast::Lasts { expected, spare }) => html! {
            (badge(Tone::Good, language.quota_lasts())) " "
            span.muted { (language.quota_expected(&number(expected), &number(spare))) }
        },
        Some(Forecast::RunsOut {
            at,
            missing,
            projects,
        }) => html! {
            (badge(Tone::Bad, language.quota_runs_out())) " "
            @if at > context.now { (until(context, at, context.now)) " (" (moment(context, at)) ") · " }
            (language.quota_short_of(&number(missing), &language.quota_projects(projects)))
        },
    }
}

fn filters(language: Language, query: &QuotaQuery, data: &QuotaData) -> Markup {
    let any = [("", language.quota_every_model())].into_iter();
    let names = data.overview.models.keys();
    let choices = any.chain(names.map(|name| (name.as_str(), name.as_str())));
    let choices: Vec<_> = choices.collect();
    html! {
        form.filters method="get" action=(PATH) role="search" {
            div.filter { label for="project" { (language.project()) }
                input #project type="search" name="project" value=(query.project) data-search;
            }
            div.filter { label for="model" { (language.model()) } (select("model", "model", query.model.trim(), &choices)) }
            button type="submit" { (language.apply()) }
            @if query.model().is_some() || !query.project.trim().is_empty() {
                a.button href=(PATH) { (language.clear_filters()) }
            }
        }
    }
}

fn project_table(context: &PageContext, query: &QuotaQuery, data: &QuotaData) -> Markup {
    let language = context.language;
    let columns = models(query, data);
    html! {
        section.card {
            h2 { (language.quota_by_project()) " " span.muted { (number(data.overview.projects.len())) } }
            p.muted.small { (language.quota_by_project_hint()) }
            @if let Some(model) = query.model() {
                (measure_table(context, data, model))
            } @else {
                (heat_map(context, query, data, &columns))
                @if columns.len() > COLUMNS { p.muted.small { (language.quota_more_models(&number(columns.len() - COLUMNS))) } }
            }
        }
    }
}

/// Projects by model: the fullest limit of each.
fn heat_map(
    context: &PageContext,
    query: &QuotaQuery,
    data: &QuotaData,
    columns: &[(&String, &ModelQuotaTotals)],
) -> Markup {
    let language = context.language;
    let columns = &columns[..columns.len().min(COLUMNS)];
    html! {
        div.table { table.stack.heat-map {
            thead { tr {
                th scope="col" { (language.project()) }
                @for (model, _) in columns {
                    th scope="col" { a href=(query_of_model(query, model)) { (model) } }
                }
            } }
            tbody {
                @for project in &data.projects {
                    tr {
                        (project_cell(context, data, project))
                        @for (model, _) in columns {
                            @match project.models.get(*model) {
                                Some(status) => (heat_cell(context, data, project, model, status)),
                                None => { td.absent data-label=(model) { span.muted { "–" } } }
                            }
                        }
                    }
                }
                (others_row(language, data, columns))
            }
        } }
    }
}

fn query_of_model(query: &QuotaQuery, model: &str) -> String {
    href(PATH, &[("model", model), ("project", query.project.trim())])
}

/// The sums of the projects that are not on this page.
fn others_row(
    language: Language,
    data: &QuotaData,
    columns: &[(&String, &ModelQuotaTotals)],
) -> Markup {
    let others = data.overview.projects.len() - data.projects.len();
    if others == 0 {
        return html! {};
    }
    html! {
        tr.others {
            th scope="row" { span.muted { (language.quota_other_projects(&number(others))) } }
            @for (model, totals) in columns {
                @let (used, limit) = sums_of_others(data, model, totals);
                td data-label=(model) { span { (number(used)) span.muted { " / " @if totals.limited_projects == 0 { "–" } @else { (number(limit)) } } } }
            }
        }
    }
}

fn sums_of_others(data: &QuotaData, model: &str, totals: &ModelQuotaTotals) -> (u64, u64) {
    let (mut used, mut limit) = (totals.used, totals.limit);
    let shown = data
        .projects
        .iter()
        .filter(|project| project.working_keys > 0);
    for status in shown.filter_map(|project| project.models.get(model)) {
        // The totals are without the projects that have never had the model.
        if !status.is_missing() {
            let window = status.window(Measure::RequestsPerDay);
            used = used.saturating_sub(window.used);
            limit = limit.saturating_sub(window.limit.unwrap_or(0));
        }
    }
    (used, limit)
}

fn project_cell(context: &PageContext, data: &QuotaData, project: &ProjectQuota) -> Markup {
    let language = context.language;
    let name = data.names.get(&project.id).map_or("", String::as_str);
    let keys = if name.starts_with('#') {
        None
    } else {
        Some(href("/upstream-keys", &[("project", name)]))
    };
    html! {
        th scope="row" {
            span.named {
                @match keys { Some(keys) => { a href=(keys) { (name) } }, None => (name) }
                span.note.muted {
                    (language.keys_counted(project.keys))
                    @if project.billing != Billing::Unknown { " · " (language.billing_label(project.billing)) }
                }
                @if project.working_keys == 0 { (badge(Tone::Bad, language.quota_no_working_key())) }
                @if let Some(held_back) = &project.held_back { (held_back_badge(context, held_back)) }
            }
        }
    }
}

/// The measure with the least left, and the daily requests where none has a limit.
fn fullest(status: &ModelQuotaStatus) -> (Measure, &QuotaMeasure) {
    let measures = Measure::ALL.iter().copied().zip(&status.windows);
    let limited = measures.filter(|(_, window)| window.limit.is_some());
    // Of equal shares, the daily one.
    let fullest = limited.max_by_key(|(measure, window)| (window.share(), measure.is_daily()));
    let day = Measure::RequestsPerDay;
    fullest.unwrap_or((day, status.window(day)))
}

fn heat_cell(
    context: &PageContext,
    data: &QuotaData,
    project: &ProjectQuota,
    model: &str,
    status: &ModelQuotaStatus,
) -> Markup {
    let language = context.language;
    if status.is_missing() {
        return html! {
            td.heat-none data-label=(model) { span.muted title=(language.quota_missing_hint()) { (language.quota_missing()) } }
        };
    }
    let (measure, window) = fullest(status);
    let class = match (&status.held_back, window.share()) {
        (Some(_), _) => "heat-full",
        (None, Some(800..)) => "heat-high",
        (None, Some(400..)) => "heat-some",
        (None, Some(1..)) => "heat-low",
        (None, Some(0) | None) => "heat-none",
    };
    html! {
        td.(class) data-label=(model) {
            span.lines {
                (amount(context, data, (project.id, model, measure), window))
                @if let Some(held_back) = &status.held_back { (held_back_badge(context, held_back)) }
            }
        }
    }
}

/// Usage, limit, and how the limit is known.
fn amount(
    context: &PageContext,
    data: &QuotaData,
    of: (ProjectId, &str, Measure),
    window: &QuotaMeasure,
) -> Markup {
    let language = context.language;
    let limit = window.limit.map_or_else(|| "–".to_owned(), number);
    let label = format!("{} / {limit}", number(window.used));
    let title = match window.resets_at {
        Some(at) => language.quota_resets(language.measure(of.2), &exact(&context.zone, at)),
        None => language.measure(of.2).to_owned(),
    };
    html! {
        span title=(title) { (label) @if of.2 != Measure::RequestsPerDay { " " span.small.muted { (language.measure(of.2)) } } }
        @if let Some(limit) = window.limit { (usage_bar(&label, window.used, limit)) }
        @if window.source != LimitSource::Unknown {
            span.small.muted title=(language.limit_source_means(window.source)) {
                (language.limit_source(window.source))
                @if let Some(at) = known_since(data, of, window) { " · " (since(context, at)) }
            }
        }
    }
}

fn known_since(
    data: &QuotaData,
    (id, model, measure): (ProjectId, &str, Measure),
    window: &QuotaMeasure,
) -> Option<Timestamp> {
    match window.source {
        LimitSource::Inherited => window.inherited_since,
        LimitSource::Named | LimitSource::Contradicted => data
            .observed_at
            .get(&(id, model.to_owned(), measure))
            .copied(),
        LimitSource::Unknown | LimitSource::Setting => None,
    }
}

/// The date, with the exact time as its tooltip.
fn since(context: &PageContext, at: Timestamp) -> Markup {
    let date = at
        .to_jiff()
        .to_zoned(context.zone.clone())
        .strftime("%m-%d")
        .to_string();
    html! { time datetime=(at.to_rfc3339()) title=(exact(&context.zone, at)) { (context.language.quota_since(&date)) } }
}

fn held_back_badge(context: &PageContext, held_back: &HeldBack) -> Markup {
    let reason = cooldown_reason(context.language, held_back.reason);
    html! {
        span.badge.wait title=(reason) {
            (mark(Tone::Wait)) (context.language.quota_back()) " " (until(context, held_back.until, context.now))
        }
        span.visually-hidden { (reason) }
    }
}

/// One model: each measure of each project.
fn measure_table(context: &PageContext, data: &QuotaData, model: &str) -> Markup {
    let language = context.language;
    html! {
        div.table { table.stack.heat-map {
            thead { tr {
                th scope="col" { (language.project()) }
                @for measure in Measure::ALL.iter().copied() { th.caps scope="col" { (language.measure(measure)) } }
                th scope="col" { (language.quota_reset()) }
                th scope="col" { (language.quota_held_back()) }
            } }
            tbody { @for project in &data.projects { tr {
                (project_cell(context, data, project))
                @if let Some(status) = project.models.get(model) {
                    @for measure in Measure::ALL.iter().copied() {
                        @let window = status.window(measure);
                        td.(class_of(window)) data-label=(language.measure(measure)) {
                            span.lines { (amount_of_measure(context, data, (project.id, model, measure), window)) }
                        }
                    }
                    td data-label=(language.quota_reset()) {
                        @if let Some(at) = status.windows.iter().filter_map(|window| window.resets_at).max() { (until(context, at, context.now)) } @else { "–" }
                    }
                    td data-label=(language.quota_held_back()) {
                        @if status.is_missing() {
                            span.muted title=(language.quota_missing_hint()) { (language.quota_missing()) }
                        } @else if let Some(held_back) = &status.held_back {
                            span.lines {
                                (held_back_badge(context, held_back))
                                span.small.muted { (cooldown_reason(language, held_back.reason)) }
                            }
                        } @else { "–" }
                    }
                }
            } } }
        } }
    }
}

fn amount_of_measure(
    context: &PageContext,
    data: &QuotaData,
    of: (ProjectId, &str, Measure),
    window: &QuotaMeasure,
) -> Markup {
    let limit = window.limit.map_or_else(|| "–".to_owned(), number);
    let label = format!("{} / {limit}", number(window.used));
    html! {
        span { (label) }
        @if let Some(limit) = window.limit { (usage_bar(&label, window.used, limit)) }
        @if window.source != LimitSource::Unknown {
            span.small.muted title=(context.language.limit_source_means(window.source)) {
                (context.language.limit_source(window.source))
                @if let Some(at) = known_since(data, of, window) { " · " (since(context, at)) }
            }
        }
    }
}

fn class_of(window: &QuotaMeasure) -> &'static str {
    match window.share() {
        Some(1_000..) => "heat-full",
        Some(800..) => "heat-high",
        Some(400..) => "heat-some",
        Some(1..) => "heat-low",
        Some(0) | None => "heat-none",
    }
}

fn pages(language: Language, query: &QuotaQuery, data: &QuotaData) -> Markup {
    let page = query.page();
    let is_last = page.saturating_add(1).saturating_mul(PAGE_SIZE) >= data.overview.projects.len();
    let before = (page > 0).then(|| query.href(page - 1));
    let after = (!is_last).then(|| query.href(page + 1));
    html! {
        @if before.is_some() || after.is_some() {
            nav.pager aria-label=(language.pages()) {
                (page_link(before.as_deref(), "prev", language.previous_page()))
                (page_link(after.as_deref(), "next", language.next_page()))
            }
        }
    }
}

fn page_link(target: Option<&str>, rel: &str, label: &str) -> Markup {
    html! {
        @match target {
            Some(target) => { a.button href=(target) rel=(rel) { (label) } }
            None => { span.button.off aria-disabled="true" { (label) } }
        }
    }
}
