//! The data of a chart as JSON, for the script that makes the chart interactive.

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::dashboard::chart::{Chart, ChartKind, ChartUse, Series, plot};
use crate::dashboard::components::href;
use crate::dashboard::translations::Language;

/// The content of a chart as JSON. The script reads labels and formatted values from the chart's table.
pub fn data(language: Language, chart: &Chart) -> String {
    let seconds = |at: Timestamp| at.as_millis() / 1_000;
    let span = match chart.purpose {
        ChartUse::Explore => chart
            .bins
            .first()
            .map(|bin| bin.begin)
            .zip(chart.bins.last().map(|bin| bin.end)),
        ChartUse::Pick(since, until) => Some((since, until)),
    };
    let begins = chart.bins.iter().map(|bin| seconds(bin.begin));
    let end = chart.bins.last().map(|bin| seconds(bin.end));
    let log = chart.log.as_ref().map(|filters| {
        let filters: Vec<_> = filters
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        // More filters are appended to it.
        match href("/logs", &filters) {
            all if filters.is_empty() => format!("{all}?"),
            some => format!("{some}&"),
        }
    });
    let hint = if log.is_some() {
        language.chart_keys_with_log()
    } else {
        language.chart_keys()
    };
    let data = json!({
        "kind": match chart.kind {
            ChartKind::Stacked => "stacked",
            ChartKind::Lines => "lines",
        },
        "unit": chart.unit.name(),
        // Of lines: the labelled values, the least first.
        "scale": match chart.kind {
            ChartKind::Stacked => None,
            ChartKind::Lines => Some(plot::scale(chart).labels().into_iter().rev().collect::<Vec<_>>()),
        },
        "zone": chart.zone.iana_name().unwrap_or("UTC"),
        "running": chart.is_last_running,
        "times": begins.chain(end).collect::<Vec<_>>(),
        "series": chart.series.iter().map(series).collect::<Vec<_>>(),
        "log": log,
        "since": span.map(|(since, _)| since.as_millis()),
        "until": span.map(|(_, until)| until.as_millis()),
        "picks": chart.purpose != ChartUse::Explore,
        "texts": {
            "hint": hint,
            "whole": language.chart_whole(),
            "open": language.chart_open(),
        },
    });
    data.to_string()
}

fn series(series: &Series) -> Value {
    // Finer than any screen.
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    let values = series.values.iter().map(|value| value.map(rounded));
    let query = series
        .filter
        .as_ref()
        .map(|(name, value)| href("", &[(name, value.as_str())]).replacen('?', "&", 1));
    json!({
        "name": series.name,
        "colour": series.colour,
        "values": values.collect::<Vec<_>>(),
        "query": query.unwrap_or_default(),
    })
}
