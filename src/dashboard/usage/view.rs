//! The HTML of the usage page.

use std::time::Duration;

use jiff::tz::TimeZone;
use maud::{Markup, html};
use strum::VariantArray;

use crate::clock::Timestamp;
use crate::dashboard::chart::{
    self, Chart, ChartBin, ChartKind, ChartUse, Series, Unit, figure, value,
};
use crate::dashboard::comparison::{compared, percent_change, points_change};
use crate::dashboard::components::{
    Tone, dollars, empty_state, href, mark, number, stat, success_rate, tabs, tokens,
};
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::dashboard::usage::query::{PATH, UsageBy, UsageQuery};
use crate::dashboard::usage::range::{
    BinWidth, ChosenRange, RangeUnit, UsageBin, UsageRange, UsageSpan,
};
use crate::dashboard::usage::{UsageData, UsageRow, UsageSeries};
use crate::storage::strings::OTHER_MODEL;
use crate::storage::usage::sums::UsageSums;
use crate::storage::usage::{UsageGroup, UsageOrder, UsageTable};

/// The colours of the largest groups; that of the others is the last.
const COLOURS: [u8; 6] = [2, 1, 3, 5, 4, 6];

pub fn page(context: &PageContext, query: &UsageQuery, data: &UsageData) -> Markup {
    let language = context.language;
    let export = query.with("/usage/export.csv", &[]);
    let actions = html! {
        @if data.total.requests > 0 { a.button href=(export) download { (language.usage_export()) } }
    };
    let body = html! {
        (heading(language.usage(), actions))
        (range_form(context, query))
        (filter_chip(language, query, data))
        (range_line(context, data))
        @if query.choices().len() > 1 { (tabs(language.usage_by_what(), &groupings(language, query, data.by))) }
        @if data.total.requests > 0 {
            (totals(language, data))
            div.cards.three { (charts(context, query, data)) }
            (chart::scripts())
            section.card {
                (table(context, query, data))
                (notes(language, data))
            }
        } @else {
            (empty_state(language.usage_none_title(), language.usage_none_text(), html! {
                a.button href=(query.with(PATH, &[("span", UsageSpan::Quarter.name()), ("from", ""), ("to", "")])) { (language.usage_longer()) }
                a.button href="/client-keys" { (language.usage_to_first_request()) }
            }))
        }
    };
    layout::page(context, Section::Usage, language.usage(), body)
}

fn groupings(
    language: Language,
    query: &UsageQuery,
    current: UsageBy,
) -> Vec<(String, &'static str, bool)> {
    let choices = query.choices().iter().map(|by| {
        let target = query.with(PATH, &[("by", by.name())]);
        (target, language.usage_by(*by), *by == current)
    });
    choices.collect()
}

/// Quick spans, and a form with dates.
fn range_form(context: &PageContext, query: &UsageQuery) -> Markup {
    let language = context.language;
    let chosen = query.range(&context.zone, context.now);
    let spans = UsageSpan::VARIANTS.iter().map(|span| {
        let target = query.with(PATH, &[("span", span.name()), ("from", ""), ("to", "")]);
        (
            target,
            language.usage_span(*span),
            chosen == ChosenRange::Span(*span),
        )
    });
    let spans: Vec<_> = spans.collect();
    let kept = query.pairs().into_iter();
    let kept =
        kept.filter(|(name, value)| !matches!(*name, "span" | "from" | "to") && !value.is_empty());
    html! {
        div.range {
            (tabs(language.span_of_time(), &spans))
            form.filters method="get" action=(PATH) {
                @for (name, value) in kept { input type="hidden" name=(name) value=(value); }
                div.filter { label for="from" { (language.usage_from()) } input #from type="date" name="from" value=(query.from); }
                div.filter { label for="to" { (language.usage_to()) } input #to type="date" name="to" value=(query.to); }
                button type="submit" { (language.apply()) }
            }
        }
    }
}

/// What is filtered by, with a link to its page.
fn filter_chip(language: Language, query: &UsageQuery, data: &UsageData) -> Markup {
    let Some((by, value, _)) = query.filter() else {
        return html! {};
    };
    let cleared = query.with(PATH, &[(by.name(), ""), ("by", by.name())]);
    let page = match by {
        UsageBy::Client => Some(format!("/client-keys/{value}")),
        UsageBy::Key => Some(format!("/upstream-keys/{value}")),
        UsageBy::Project | UsageBy::Tag => Some(href("/upstream-keys", &[(by.name(), value)])),
        UsageBy::Model | UsageBy::Time => None,
    };
    html! {
        div.chips {
            span.chip {
                span.muted { (language.usage_by(by)) }
                span.value { (data.filter_name.as_deref().unwrap_or(value)) }
                a.remove href=(cleared) aria-label=(language.clear_filters()) title=(language.clear_filters()) { "×" }
            }
            @if let Some(page) = page { a href=(page) { (language.usage_open_key()) } }
        }
    }
}

/// The exact range, and the one that it is compared with.
fn range_line(context: &PageContext, data: &UsageData) -> Markup {
    let language = context.language;
    let (range, zone) = (&data.range, zone_of(context, &data.range));
    let text = |begin, end| range_text(language, &zone, begin, end);
    let now = range.end.min(context.now);
    let days = match (range.unit, counts_attempts(data)) {
        (_, true) => Some(language.usage_of_days()),
        (RangeUnit::Day, false) => Some(language.usage_of_long_range()),
        (RangeUnit::Hour, false) => None,
    };
    html! {
        p.muted.small {
            @if let Some(days) = days { (days) " " }
            (text(range.begin, now)) @if range.unit == RangeUnit::Day { " (UTC)" } " · "
            (language.usage_compared_with(&text(range.before.begin, range.before.end)))
        }
        @if range.is_cut { div.notice.warning { (mark(Tone::Info)) p { (language.usage_is_cut()) } } }
    }
}

/// Whole days by their first and last dates, anything else by its times.
fn range_text(language: Language, zone: &TimeZone, begin: Timestamp, end: Timestamp) -> String {
    let text = |at: Timestamp, format| {
        let at = at.to_jiff().to_zoned(zone.clone());
        at.strftime(format).to_string()
    };
    let is_midnight = |at| text(at, "%H:%M") == "00:00";
    let (format, last) = if is_midnight(begin) && is_midnight(end) {
        ("%Y-%m-%d", end - Duration::from_secs(1))
    } else {
        ("%Y-%m-%d %H:%M", end)
    };
    let (begin, last) = (text(begin, format), text(last, format));
    if begin == last {
        return begin;
    }
    language.usage_range(&begin, &last)
}

/// Bins of days are those of UTC.
fn zone_of(context: &PageContext, range: &UsageRange) -> TimeZone {
    match range.unit {
        RangeUnit::Hour => context.zone.clone(),
        RangeUnit::Day => TimeZone::UTC,
    }
}

fn counts_attempts(data: &UsageData) -> bool {
    data.table == UsageTable::UpstreamKeyDays
}

fn totals(language: Language, data: &UsageData) -> Markup {
    let (now, before) = (&data.total, &data.before);
    let percent = |now: u64, before: u64| {
        percent_change(now, before).map(|percent| language.usage_before(&percent))
    };
    let counted = |now: u64, before: u64, text: fn(u64) -> String| {
        compared(language, percent(now, before), &text(before))
    };
    let points = points_change(
        (now.successes, now.failures),
        (before.successes, before.failures),
    );
    let points = points.map(|points| language.usage_before_points(&points));
    let costs = (
        now.cost_nano_usd.unsigned_abs(),
        before.cost_nano_usd.unsigned_abs(),
    );
    let requests = if counts_attempts(data) {
        language.usage_attempts()
    } else {
        language.requests()
    };
    html! {
        dl.stats {
            (stat(language.cost(), html! { span title=(language.list_price()) { (dollars(now.cost_nano_usd)) } },
                compared(language, percent(costs.0, costs.1), &dollars(before.cost_nano_usd))))
            (stat(language.tokens_used(), html! { span title=(number(now.total_tokens)) { (tokens(now.total_tokens)) } },
                counted(now.total_tokens, before.total_tokens, tokens)))
            (stat(requests, number(now.requests), counted(now.requests, before.requests, number)))
            (stat(language.success_rate(), html! { span title=(language.success_hint()) { (success_rate(now.successes, now.failures)) } },
                compared(language, points, &success_rate(before.successes, before.failures))))
            @if !counts_attempts(data) {
                (stat(language.usage_saved(), html! { span title=(language.usage_saved_hint()) { (number(now.retried_successes)) } }, html! {
                    span title=(language.compared(&number(before.retried_successes))) { (language.usage_saved_text()) }
                }))
            }
        }
    }
}

fn charts(context: &PageContext, query: &UsageQuery, data: &UsageData) -> Markup {
    let language = context.language;
    let (zone, range) = (zone_of(context, &data.range), &data.range);
    // The range ends within the running bin, which is drawn as wide as the others.
    let width = range.bins.first().map(|bin| bin.end - bin.begin);
    let width = width.unwrap_or_default();
    let bins: Vec<_> = range
        .bins
        .iter()
        .map(|bin| ChartBin {
            begin: bin.begin,
            end: bin.end.max(bin.begin + width),
            label: bin_name(&zone, range.width, *bin),
        })
        .collect();
    let filter = query.filter();
    let filter = filter.as_ref().map(|(by, value, _)| (*by, *value));
    let log = log_filter(filter);
    let chart = |id, title, total, unit, series| {
        let chart = Chart {
            id,
            title,
            total,
            kind: ChartKind::Stacked,
            unit,
            zone: &zone,
            bins: &bins,
            series,
            is_last_running: range.is_running(context.now),
            log: log.clone(),
            purpose: ChartUse::Explore,
        };
        html! { section.card { (figure(language, &chart)) } }
    };
    let counts = if counts_attempts(data) {
        language.usage_attempts()
    } else {
        language.usage_requests_chart()
    };
    let total = &data.total;
    let cost = series(language, data, language.cost(), 3, |sums| {
        value(sums.cost_nano_usd) / 1e9
    });
    let (tokens_by, requests_by) = if data.by == UsageBy::Time {
        (token_kinds(language, data), results(language, data))
    } else {
        (
            series(language, data, language.tokens_used(), 2, |sums| {
                value(sums.total_tokens)
            }),
            series(language, data, counts, 1, |sums| value(sums.requests)),
        )
    };
    html! {
        (chart("usage-cost", language.cost(), dollars(total.cost_nano_usd), Unit::UsDollars, cost))
        (chart("usage-tokens", language.tokens_used(), tokens(total.total_tokens), Unit::Tokens, tokens_by))
        (chart("usage-requests", counts, number(total.requests), Unit::Count, requests_by))
    }
}

/// The series of the largest groups, or a single one of everything.
fn series<'a>(
    language: Language,
    data: &'a UsageData,
    name: &'a str,
    only: u8,
    of: fn(&UsageSums) -> f64,
) -> Vec<Series<'a>> {
    if data.series.is_empty() {
        return vec![plain(data, name, only, of)];
    }
    let groups = data.series.iter().zip(COLOURS);
    let groups = groups.map(|(series, colour)| Series {
        name: shown_name(language, data.by, &series.name),
        colour,
        values: series.bins.iter().map(|sums| Some(of(sums))).collect(),
        filter: group_filter(data.by, series),
    });
    groups.collect()
}

fn plain<'a>(data: &UsageData, name: &'a str, colour: u8, of: fn(&UsageSums) -> f64) -> Series<'a> {
    Series {
        name,
        colour,
        values: data.bins.iter().map(|sums| Some(of(sums))).collect(),
        filter: None,
    }
}

/// The filter of the log for a group, where it has one.
fn group_filter(by: UsageBy, series: &UsageSeries) -> Option<(&'static str, String)> {
    let value = match series.group.as_ref()? {
        UsageGroup::Id(id) if matches!(by, UsageBy::Client | UsageBy::Key) => id.to_string(),
        UsageGroup::Id(_) | UsageGroup::Tag(_) => series.name.clone(),
        UsageGroup::None => return None,
    };
    log_filter(Some((by, &value)))?.pop()
}

fn token_kinds(language: Language, data: &UsageData) -> Vec<Series<'static>> {
    vec![
        plain(data, language.prompt(), 2, |sums| value(sums.prompt_tokens)),
        plain(data, language.output(), 1, |sums| value(sums.output_tokens)),
        plain(data, language.thoughts(), 5, |sums| {
            value(sums.thought_tokens)
        }),
    ]
}

fn results(language: Language, data: &UsageData) -> Vec<Series<'static>> {
    vec![
        plain(data, language.succeeded(), 1, |sums| value(sums.successes)),
        plain(data, language.failed_requests(), 4, |sums| {
            value(sums.failures)
        }),
        plain(data, language.usage_not_answered(), 6, |sums| {
            let counted = sums.successes + sums.failures;
            value(sums.requests.saturating_sub(counted))
        }),
    ]
}

/// The exact label of a bin.
fn bin_name(zone: &TimeZone, width: BinWidth, bin: UsageBin) -> String {
    let format = match width {
        BinWidth::Hour => "%m-%d %H:%M",
        BinWidth::Day => "%Y-%m-%d",
        BinWidth::Month => "%Y-%m",
    };
    let begin = bin.begin.to_jiff().to_zoned(zone.clone());
    begin.strftime(format).to_string()
}

fn table(context: &PageContext, query: &UsageQuery, data: &UsageData) -> Markup {
    let language = context.language;
    let is_by_time = data.by == UsageBy::Time;
    let order = query.order();
    let requests = if counts_attempts(data) {
        language.usage_attempts()
    } else {
        language.requests()
    };
    let sortable = |label: &str, of: UsageOrder, name: &str| {
        html! {
            th.number scope="col" aria-sort=[(!is_by_time && order == of).then_some("descending")] {
                @if is_by_time { (label) } @else { a href=(query.with(PATH, &[("sort", name)])) { (label) @if order == of { " ↓" } } }
            }
        }
    };
    html! {
        div.table { table.stack.paired.usage {
            thead { tr {
                th scope="col" { (language.usage_by(data.by)) }
                (sortable(language.cost(), UsageOrder::Cost, "cost"))
                (sortable(language.tokens_used(), UsageOrder::Tokens, "tokens"))
                th.number scope="col" { (language.usage_input()) } th.number scope="col" { (language.usage_cached()) }
                th.number scope="col" { (language.usage_output()) } th.number scope="col" { (language.usage_thoughts()) }
                (sortable(requests, UsageOrder::Requests, "requests"))
                th.number scope="col" { (language.success_rate()) }
                @if !counts_attempts(data) { th.number scope="col" title=(language.usage_saved_hint()) { (language.usage_saved_short()) } }
                @if !is_by_time { th.number scope="col" { (language.usage_change()) } }
                th scope="col" { span.visually-hidden { (language.usage_its_logs()) } }
            } }
            tbody {
                @if is_by_time { (time_rows(context, query, data)) }
                @for row in &data.rows { (group_row(context, query, data, row)) }
                @if let Some(others) = &data.others { tr {
                    th scope="row" { span.muted { (language.usage_others()) } }
                    (cells(language, data, requests, others))
                    td {} td {}
                } }
            }
        } }
    }
}

/// The cells of the sums.
fn cells(language: Language, data: &UsageData, requests: &str, sums: &UsageSums) -> Markup {
    let count = |label: &str, count: u64| {
        html! { td.number data-label=(label) title=(number(count)) { (tokens(count)) } }
    };
    html! {
        td.number data-label=(language.cost()) { (dollars(sums.cost_nano_usd)) }
        (count(language.tokens_used(), sums.total_tokens))
        (count(language.usage_input(), sums.prompt_tokens))
        (count(language.usage_cached(), sums.cached_tokens))
        (count(language.usage_output(), sums.output_tokens))
        (count(language.usage_thoughts(), sums.thought_tokens))
        td.number data-label=(requests) { (number(sums.requests)) }
        td.number data-label=(language.success_rate()) { (success_rate(sums.successes, sums.failures)) }
        @if !counts_attempts(data) {
            td.number data-label=(language.usage_saved_short()) { (number(sums.retried_successes)) }
        }
    }
}

/// Newest first. Periods without requests that follow each other have one row.
fn time_rows(context: &PageContext, query: &UsageQuery, data: &UsageData) -> Markup {
    let (language, range) = (context.language, &data.range);
    let zone = zone_of(context, range);
    let requests = if counts_attempts(data) {
        language.usage_attempts()
    } else {
        language.requests()
    };
    let filter = query.filter();
    let filter = filter.as_ref().map(|(by, value, _)| (*by, *value));
    // All but the first.
    let columns = if counts_attempts(data) { 9 } else { 10 };
    html! {
        @for bins in runs(range.bins.iter().zip(&data.bins).rev(), |(bin, sums)| sums.requests == 0 && bin.end <= context.now) {
            @if let [(last, _), .., (first, _)] = bins.as_slice() {
                tr {
                    th.nowrap scope="row" { (bin_name(&zone, range.width, **first)) " – " (bin_name(&zone, range.width, **last)) }
                    td.wide.muted colspan=(columns) { (without_requests(language, range.width, bins.len())) }
                }
            } @else {
                @for (bin, sums) in bins {
                    @let is_running = bin.end > context.now;
                    tr {
                        th.nowrap scope="row" {
                            (bin_name(&zone, range.width, *bin))
                            @if is_running { " " span.muted { "(" (language.so_far()) ")" } }
                        }
                        (cells(language, data, requests, sums))
                        td.wide { (log_link(language, filter, (bin.begin, bin.end))) }
                    }
                }
            }
        }
    }
}

fn without_requests(language: Language, width: BinWidth, bins: usize) -> String {
    match width {
        BinWidth::Hour => language.usage_hours_without_requests(bins),
        BinWidth::Day => language.usage_days_without_requests(bins),
        BinWidth::Month => language.usage_months_without_requests(bins),
    }
}

/// Items in their order: neighbours that are `alike` in one run, each other item in a run of its own.
fn runs<T>(items: impl Iterator<Item = T>, alike: impl Fn(&T) -> bool) -> Vec<Vec<T>> {
    let mut runs: Vec<Vec<T>> = Vec::new();
    for item in items {
        match runs.last_mut() {
            Some(run) if alike(&item) && alike(&run[0]) => run.push(item),
            Some(_) | None => runs.push(vec![item]),
        }
    }
    runs
}

fn group_row(
    context: &PageContext,
    query: &UsageQuery,
    data: &UsageData,
    row: &UsageRow,
) -> Markup {
    let language = context.language;
    let requests = if counts_attempts(data) {
        language.usage_attempts()
    } else {
        language.requests()
    };
    let value = match &row.group {
        UsageGroup::Id(id) if matches!(data.by, UsageBy::Client | UsageBy::Key) => {
            Some(id.to_string())
        }
        UsageGroup::Id(_) | UsageGroup::Tag(_) => Some(row.name.clone()),
        UsageGroup::None => None,
    };
    let change = match query.order() {
        UsageOrder::Cost => (
            row.sums.cost_nano_usd.unsigned_abs(),
            row.before.cost_nano_usd.unsigned_abs(),
        ),
        UsageOrder::Tokens => (row.sums.total_tokens, row.before.total_tokens),
        UsageOrder::Requests => (row.sums.requests, row.before.requests),
    };
    let before = match query.order() {
        UsageOrder::Cost => dollars(row.before.cost_nano_usd),
        UsageOrder::Tokens => number(row.before.total_tokens),
        UsageOrder::Requests => number(row.before.requests),
    };
    let filtered = value.as_deref().map(|value| {
        // One filter at a time, the new one.
        let cleared = ["model", "client", "key", "project", "tag"]
            .map(|name| (name, if name == data.by.name() { value } else { "" }));
        let changes: Vec<_> = cleared
            .into_iter()
            .chain([("by", ""), ("sort", "")])
            .collect();
        query.with(PATH, &changes)
    });
    html! {
        tr {
            th scope="row" {
                @let name = shown_name(language, data.by, &row.name);
                @if let Some(filtered) = &filtered { a.clipped href=(filtered) title=(name) { (name) } } @else { span.muted { (name) } }
            }
            (cells(language, data, requests, &row.sums))
            td.number data-label=(language.usage_change()) title=(language.compared(&before)) {
                @match percent_change(change.0, change.1) { Some(percent) => { (percent) "\u{a0}%" }, None => "–" }
            }
            td.wide {
                @if let Some(value) = &value { (log_link(language, Some((data.by, value)), (data.range.begin, data.range.end))) }
            }
        }
    }
}

/// A link to the requests of a row, where the log has such a filter.
fn log_link(
    language: Language,
    of: Option<(UsageBy, &str)>,
    range: (Timestamp, Timestamp),
) -> Markup {
    let Some(mut filter) = log_filter(of) else {
        return html! {};
    };
    filter.push(("from", range.0.to_rfc3339()));
    filter.push(("to", range.1.to_rfc3339()));
    let pairs: Vec<_> = filter
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    html! { a href=(href("/logs", &pairs)) { (language.usage_its_logs()) } }
}

/// The name of a group on the page: in files, for programs, `other` is not translated.
fn shown_name(language: Language, by: UsageBy, name: &str) -> &str {
    match (by, name) {
        (UsageBy::Model, OTHER_MODEL) => language.other_models(),
        (_, name) => name,
    }
}

/// The filter of the log; `None`: it has no such filter.
fn log_filter(of: Option<(UsageBy, &str)>) -> Option<Vec<(&'static str, String)>> {
    match of {
        None | Some((UsageBy::Time, _)) => Some(Vec::new()),
        // The log has other names in these places.
        Some((UsageBy::Tag, _) | (UsageBy::Model, OTHER_MODEL)) => None,
        Some((UsageBy::Project, name)) if name.starts_with('#') => None,
        Some((by, value)) => Some(vec![(by.name(), value.to_owned())]),
    }
}

fn notes(language: Language, data: &UsageData) -> Markup {
    html! {
        p.muted.small {
            @if data.by == UsageBy::Tag { (language.usage_of_tags()) " " }
            (language.usage_list_price())
        }
    }
}
