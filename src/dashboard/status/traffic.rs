//! The traffic over a time span: by model, in totals and in charts.

use maud::{Markup, html};

use crate::clock::Timestamp;
use crate::dashboard::chart::{Chart, ChartBin, ChartKind, ChartUse, Series, Unit, figure, value};
use crate::dashboard::comparison::{compared, percent_change, points_change};
use crate::dashboard::components::{
    Tone, badge, dollars, duration_ms, href, number, stat, success_rate, tokens, until,
};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::status::StatusData;
use crate::dashboard::translations::Language;
use crate::pool::outcome::Outcome;
use crate::storage::strings::OTHER_MODEL;
use crate::storage::traffic::{Traffic, TrafficBin, TrafficCounts, TrafficSpan};

/// Models requested in the span, and models with a known key state.
pub fn models(context: &PageContext, data: &StatusData) -> Markup {
    let language = context.language;
    let requested = data.traffic.models.iter();
    let unrequested = data.overview.models.keys().filter(|name| {
        let mut models = data.traffic.models.iter();
        !models.any(|(model, _)| model.as_ref() == Some(*name))
    });
    let none = TrafficCounts::default();
    let rows: Vec<(Option<&str>, &TrafficCounts)> = requested
        .map(|(model, counts)| (model.as_deref(), counts))
        .chain(unrequested.map(|name| (Some(name.as_str()), &none)))
        .collect();
    html! {
        div.table { table.stack.paired {
            thead { tr {
                th { (language.model()) } th.number { (language.usable()) } th.number { (language.cooling_down()) }
                th { (language.next_ready()) } th.number { (language.requests()) " · " (language.traffic_span(data.span)) }
                th.number { (language.success_rate()) } th.number { (language.tokens_used()) } th.number { (language.cost()) }
            } }
            tbody { @for (model, counts) in rows { (model_row(context, data, model, counts)) } }
        } }
        div.actions {
            a.button.small href="/models" { (language.limits_and_prices()) }
            a.button.small href="/quota" { (language.quota()) }
        }
    }
}

fn model_row(
    context: &PageContext,
    data: &StatusData,
    model: Option<&str>,
    counts: &TrafficCounts,
) -> Markup {
    let language = context.language;
    let availability = model.map(|name| data.overview.model(name));
    html! {
        tr {
            th scope="row" { @match model {
                Some(OTHER_MODEL) => {
                    // The log has other names in these places.
                    span.muted title=(language.other_models_mean()) { (language.other_models()) }
                }
                Some(name) => { a href=(href("/logs", &[("model", name)])) { (name) } }
                None => { span.muted { (language.no_model()) } }
            } }
            @if let Some(availability) = availability {
                td.number data-label=(language.usable()) { (number(availability.usable)) }
                td.number data-label=(language.cooling_down()) { (number(availability.cooling_down)) }
                td.wide data-label=(language.next_ready()) {
                    @if let Some(at) = availability.overloaded_until {
                        (badge(Tone::Wait, language.overloaded())) " " (until(context, at, context.now))
                    } @else if let Some(at) = availability.next_ready_at {
                        (until(context, at, context.now))
                    }
                }
            } @else { td {} td {} td {} }
            td.number data-label=(language.requests()) { (number(counts.rollup.requests)) }
            td.number data-label=(language.success_rate()) { (success(counts)) }
            td.number data-label=(language.tokens_used()) title=(number(counts.rollup.total_tokens)) { (tokens(counts.rollup.total_tokens)) }
            td.number data-label=(language.cost()) { (dollars(counts.rollup.cost_nano_usd)) }
        }
    }
}

pub fn totals(language: Language, traffic: &Traffic, span: TrafficSpan) -> Markup {
    let (total, before) = (&traffic.total, &traffic.previous);
    let (now_sums, before_sums) = (&total.rollup, &before.rollup);
    let median = |counts: &TrafficCounts| {
        let millis = counts.rollup.first_byte.percentile(50);
        millis.map_or_else(|| "–".to_owned(), |millis| duration_ms(language, millis))
    };
    let medians = (
        now_sums.first_byte.percentile(50).unwrap_or(0),
        before_sums.first_byte.percentile(50).unwrap_or(0),
    );
    let compared = |change, before: String| compared(language, change, &before);
    let percent = |now: u64, before: u64| {
        let percent = percent_change(now, before)?;
        Some(language.changed(&percent, language.traffic_span(span)))
    };
    let points = points_change(
        (now_sums.successes, now_sums.failures),
        (before_sums.successes, before_sums.failures),
    );
    let points = points.map(|points| language.changed_points(&points, language.traffic_span(span)));
    let costs = (
        now_sums.cost_nano_usd.unsigned_abs(),
        before_sums.cost_nano_usd.unsigned_abs(),
    );
    html! {
        dl.stats {
            (stat(language.requests(), number(now_sums.requests),
                compared(percent(now_sums.requests, before_sums.requests), number(before_sums.requests))))
            (stat(language.success_rate(), html! { span title=(language.success_hint()) { (success(total)) } },
                compared(points, success(before))))
            (stat(language.first_byte(), html! { span title=(language.median()) { (median(total)) } },
                compared(percent(medians.0, medians.1), median(before))))
            (stat(language.tokens_used(), tokens(now_sums.total_tokens),
                compared(percent(now_sums.total_tokens, before_sums.total_tokens), tokens(before_sums.total_tokens))))
            (stat(language.cost(), html! { a href="/usage" title=(language.list_price()) { (dollars(now_sums.cost_nano_usd)) } },
                compared(percent(costs.0, costs.1), dollars(before_sums.cost_nano_usd))))
        }
    }
}

fn success(counts: &TrafficCounts) -> String {
    success_rate(counts.rollup.successes, counts.rollup.failures)
}

pub fn charts(context: &PageContext, traffic: &Traffic) -> Markup {
    let language = context.language;
    let bins = &traffic.bins;
    let named: Vec<_> = bins.iter().map(|bin| chart_bin(context, bin)).collect();
    let chart = |id, unit, title, total, series| {
        let kind = match unit {
            Unit::Milliseconds => ChartKind::Lines,
            Unit::Count | Unit::Tokens | Unit::UsDollars => ChartKind::Stacked,
        };
        let chart = Chart {
            id,
            title,
            total,
            kind,
            unit,
            zone: &context.zone,
            bins: &named,
            series,
            is_last_running: true,
            log: Some(Vec::new()),
            purpose: ChartUse::Explore,
        };
        html! { div.card { (figure(language, &chart)) } }
    };
    let sum = &traffic.total.rollup;
    let costs = vec![series(language.cost(), 3, bins, |bin| {
        Some(value(bin.counts.rollup.cost_nano_usd) / 1e9)
    })];
    html! {
        (chart("outcomes", Unit::Count, language.requests_by_outcome(), number(sum.requests), outcomes(language, bins)))
        (chart("latency", Unit::Milliseconds, language.latency(), String::new(), latency(bins)))
        (chart("tokens", Unit::Tokens, language.tokens_by_kind(), tokens(sum.total_tokens), kinds(language, bins)))
        (chart("cost", Unit::UsDollars, language.cost_over_time(), dollars(sum.cost_nano_usd), costs))
    }
}

fn outcomes(language: Language, bins: &[TrafficBin]) -> Vec<Series<'static>> {
    let of = |name, colour, outcomes: &'static [Outcome]| {
        let names: Vec<_> = outcomes.iter().map(|outcome| outcome.name()).collect();
        Series {
            filter: Some(("outcome", names.join(","))),
            ..series(name, colour, bins, move |bin| {
                let counts = outcomes.iter().map(|outcome| bin.counts.count(*outcome));
                Some(value(counts.sum::<u64>()))
            })
        }
    };
    vec![
        of(language.succeeded(), 1, &[Outcome::Success]),
        of(
            language.clients_fault(),
            3,
            &[Outcome::ClientError, Outcome::Refused],
        ),
        of(language.no_quota(), 5, &[Outcome::Quota, Outcome::NoKey]),
        of(
            language.upstream_failed(),
            4,
            &[Outcome::KeyFault, Outcome::UpstreamError, Outcome::Network],
        ),
        of(
            language.broken_off(),
            6,
            &[
                Outcome::ClientGone,
                Outcome::BrokenOff,
                Outcome::Interrupted,
            ],
        ),
    ]
}

fn latency(bins: &[TrafficBin]) -> Vec<Series<'static>> {
    let of = |name, colour, percent| {
        series(name, colour, bins, move |bin| {
            let first_byte = &bin.counts.rollup.first_byte;
            first_byte.percentile(percent).map(value)
        })
    };
    vec![of("p50", 2, 50), of("p90", 3, 90), of("p99", 5, 99)]
}

fn kinds(language: Language, bins: &[TrafficBin]) -> Vec<Series<'static>> {
    vec![
        series(language.prompt(), 2, bins, |bin| {
            Some(value(bin.counts.rollup.prompt_tokens))
        }),
        series(language.output(), 1, bins, |bin| {
            Some(value(bin.counts.rollup.output_tokens))
        }),
        series(language.thoughts(), 5, bins, |bin| {
            Some(value(bin.counts.rollup.thought_tokens))
        }),
    ]
}

fn series(
    name: &'static str,
    colour: u8,
    bins: &[TrafficBin],
    value: impl Fn(&TrafficBin) -> Option<f64>,
) -> Series<'static> {
    Series {
        name,
        colour,
        values: bins.iter().map(value).collect(),
        filter: None,
    }
}

/// A bin with its exact label.
fn chart_bin(context: &PageContext, bin: &TrafficBin) -> ChartBin {
    let text = |at: Timestamp, format: &str| {
        let at = at.to_jiff().to_zoned(context.zone.clone());
        at.strftime(format).to_string()
    };
    let is_long = (bin.end - bin.begin).as_secs() > 3_600;
    let until = text(bin.end, if is_long { "%m-%d %H:%M" } else { "%H:%M" });
    ChartBin {
        begin: bin.begin,
        end: bin.end,
        label: format!("{} – {until}", text(bin.begin, "%m-%d %H:%M")),
    }
}
