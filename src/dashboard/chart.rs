//! Charts as server-rendered SVG: CSS classes set theme colours, bins show their values on hover, and a table contains
//! the same values for screen readers. With JavaScript the same numbers can be explored.

mod axis;
mod explore;
mod plot;

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use maud::{Markup, html};

use crate::clock::Timestamp;
use crate::dashboard::assets;
use crate::dashboard::components::{href, number, tokens, usd};
use crate::dashboard::translations::Language;

/// A series with one value per bin.
#[derive(Debug)]
pub struct Series<'a> {
    pub name: &'a str,
    /// The colour number, from 1 to 6.
    pub colour: u8,
    /// `None`: no measurement.
    pub values: Vec<Option<f64>>,
    /// The filter of the log that finds its requests, where there is one.
    pub filter: Option<(&'static str, String)>,
}

/// A bin of a chart.
#[derive(Debug, Clone)]
pub struct ChartBin {
    pub begin: Timestamp,
    pub end: Timestamp,
    /// Its exact label.
    pub label: String,
}

/// The content of a chart.
#[derive(Debug)]
pub struct Chart<'a> {
    /// Of its elements on the page.
    pub id: &'static str,
    pub title: &'a str,
    /// The total, beside the title.
    pub total: String,
    pub kind: ChartKind,
    pub unit: Unit,
    /// The time zone of its axis.
    pub zone: &'a TimeZone,
    /// Oldest first, without gaps.
    pub bins: &'a [ChartBin],
    pub series: Vec<Series<'a>>,
    /// Whether the last bin is not over: it is drawn paler, and named so.
    pub is_last_running: bool,
    /// The filters of the log that find the requests of the chart; `None`: the log has no such filter.
    pub log: Option<Vec<(&'static str, String)>>,
    pub purpose: ChartUse,
}

/// What a chart is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartUse {
    /// Reading values; a part can be magnified.
    Explore,
    /// Choosing a part of this span of time in the log: each bin is a link, and a part opens the log.
    Pick(Timestamp, Timestamp),
}

/// How the series are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartKind {
    /// Stacked bars, for values with a meaningful sum.
    Stacked,
    /// Lines on a logarithmic scale, for durations.
    Lines,
}

/// What the values count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Count,
    Tokens,
    Milliseconds,
    UsDollars,
}

impl Unit {
    /// A value as text.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Count => number(count(value)),
            Self::Tokens => tokens(count(value)),
            // SI symbols, which both languages use.
            Self::Milliseconds if value > 0.0 && value < 1.0 => format!("{value:.1}\u{a0}ms"),
            Self::Milliseconds if value < 1_000.0 => format!("{value:.0}\u{a0}ms"),
            Self::Milliseconds if value < 10_000.0 => format!("{:.1}\u{a0}s", value / 1_000.0),
            Self::Milliseconds => format!("{:.0}\u{a0}s", value / 1_000.0),
            Self::UsDollars => usd(value),
        }
    }

    /// Whether there is nothing between two whole numbers.
    fn is_whole(self) -> bool {
        match self {
            Self::Count | Self::Tokens => true,
            Self::Milliseconds | Self::UsDollars => false,
        }
    }

    /// The name in the data of a chart.
    fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Tokens => "tokens",
            Self::Milliseconds => "ms",
            Self::UsDollars => "usd",
        }
    }
}

impl Chart<'_> {
    fn is_running(&self, index: usize) -> bool {
        self.is_last_running && index + 1 == self.bins.len()
    }

    /// The URL of the log for the requests of a bin.
    fn bin_link(&self, index: usize) -> Option<String> {
        let (filters, bin) = (self.log.as_ref()?, &self.bins[index]);
        let (from, to) = match self.purpose {
            ChartUse::Explore => (bin.begin, bin.end),
            ChartUse::Pick(since, until) => (bin.begin.max(since), bin.end.min(until)),
        };
        let (from, to) = (from.to_rfc3339(), to.to_rfc3339());
        let filters = filters.iter().map(|(name, value)| (*name, value.as_str()));
        let pairs: Vec<_> = filters
            .chain([("from", from.as_str()), ("to", &to)])
            .collect();
        Some(href("/logs", &pairs))
    }

    /// Whether there is nothing to draw.
    fn is_empty(&self) -> bool {
        let values = self.series.iter().flat_map(|series| &series.values);
        !values.flatten().any(|value| *value > 0.0)
    }
}

/// A count as a plot value; negative counts become 0.
#[expect(
    clippy::cast_precision_loss,
    reason = "drawing needs no higher precision"
)]
pub fn value(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(0) as f64
}

/// The count of a plot value, for texts.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are small and not negative"
)]
fn count(value: f64) -> u64 {
    value.round() as u64
}

/// A chart with its title, axes, legend and table.
pub fn figure(language: Language, chart: &Chart) -> Markup {
    if chart.is_empty() {
        return html! {
            figure.chart #(chart.id) {
                figcaption { h3 { (chart.title) } }
                p.muted.nothing { (language.no_data_in_span()) }
            }
        };
    }
    html! {
        figure.chart #(chart.id) data-chart=(explore::data(language, chart)) {
            figcaption {
                h3 { (chart.title) }
                @if !chart.total.is_empty() { span.muted.small { (chart.total) } }
            }
            @if chart.series.len() > 1 {
                div.legend aria-hidden="true" {
                    @for series in &chart.series { span { (swatch(series.colour)) (series.name) } }
                }
            }
            (plot::plot(language, chart))
            (table(language, chart))
        }
    }
}

/// The scripts with which the charts of a page can be explored. They begin after the page is read.
pub fn scripts() -> Markup {
    html! {
        @for name in ["uplot.js", "chart.js"] {
            script src=(assets::url(name)) integrity=(assets::integrity(name)) defer {}
        }
    }
}

fn swatch(colour: u8) -> Markup {
    html! {
        svg viewBox="0 0 8 8" width="8" height="8" { rect class={ "series-" (colour) } width="8" height="8" rx="2" {} }
    }
}

/// The label of a bin.
fn label(language: Language, chart: &Chart, index: usize) -> String {
    let mut text = chart.bins[index].label.clone();
    if chart.is_running(index) {
        let _ = write!(text, " ({})", language.so_far());
    }
    text
}

fn table(language: Language, chart: &Chart) -> Markup {
    html! {
        details.quiet #{ (chart.id) "-table" } {
            summary { (language.as_table()) span.visually-hidden { ": " (chart.title) } }
            div.table.tall tabindex="0" { table {
                thead { tr { th {} @for series in &chart.series { th.number { (series.name) } } } }
                tbody { @for index in 0..chart.bins.len() {
                    tr {
                        th scope="row" { (label(language, chart, index)) }
                        @for series in &chart.series {
                            td.number { @if let Some(value) = series.values[index] { (chart.unit.text(value)) } @else { "–" } }
                        }
                    }
                } }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bins(count: u32) -> Vec<ChartBin> {
        let begin: Timestamp = "2026-11-30T10:00:00Z".parse().unwrap();
        let hour = Duration::from_hours(1);
        let bins = (0..count).map(|index| ChartBin {
            begin: begin + hour * index,
            end: begin + hour * (index + 1),
            label: format!("{}:00 to {}:00", 10 + index, 11 + index),
        });
        bins.collect()
    }

    static UTC: TimeZone = TimeZone::UTC;

    fn chart(kind: ChartKind, bins: &[ChartBin], values: [Vec<Option<f64>>; 2]) -> Chart<'_> {
        let [good, bad] = values;
        let series = |name, colour, values, filter| Series {
            name,
            colour,
            values,
            filter,
        };
        Chart {
            id: "requests",
            title: "Requests",
            total: "5".to_owned(),
            kind,
            unit: Unit::Count,
            zone: &UTC,
            bins,
            series: vec![
                series("ok", 1, good, None),
                series("bad", 4, bad, Some(("outcome", "quota,no_key".to_owned()))),
            ],
            is_last_running: true,
            log: Some(vec![("key", "7".to_owned())]),
            purpose: ChartUse::Explore,
        }
    }

    #[test]
    fn a_chart_contains_each_bin_with_its_values() {
        let bins = bins(2);
        let values = || [vec![Some(3.0), Some(1.0)], vec![Some(1.0), None]];
        let stacked = figure(
            Language::English,
            &chart(ChartKind::Stacked, &bins, values()),
        );
        let stacked = stacked.into_string();

        assert!(
            stacked.contains("<title>10:00 to 11:00\nok: 3\nbad: 1</title>"),
            "{stacked}"
        );
        assert!(
            stacked.contains(r#"<rect class="series-1" x="1" y="25" width="8" height="75">"#),
            "{stacked}"
        );
        assert!(
            stacked.contains(r#"<rect class="series-4" x="1" y="0" width="8" height="25">"#),
            "{stacked}"
        );
        assert!(
            stacked.contains("<title>11:00 to 12:00 (so far)\nok: 1</title>"),
            "{stacked}"
        );
        assert_eq!(stacked.matches("bar running").count(), 1);
        assert!(!stacked.contains("style="));
    }

    #[test]
    fn durations_are_drawn_on_a_logarithmic_scale() {
        let bins = bins(2);
        let values = [vec![Some(100.0), Some(10.0)], vec![Some(10_000.0), None]];
        let mut chart = chart(ChartKind::Lines, &bins, values);
        chart.unit = Unit::Milliseconds;
        let lines = figure(Language::English, &chart).into_string();
        assert!(lines.contains("M5 66.67h0.01L15 100"), "{lines}");
        assert!(lines.contains("M5 0h0.01\""), "{lines}");
        for label in ["10\u{a0}ms", "100\u{a0}ms", "1.0\u{a0}s", "10\u{a0}s"] {
            assert!(lines.contains(&format!("<span>{label}</span>")), "{label}");
        }
    }

    #[test]
    fn a_chart_without_values_says_so() {
        let bins = bins(2);
        let values = [vec![Some(0.0), None], vec![None, None]];
        let empty = figure(Language::English, &chart(ChartKind::Stacked, &bins, values));
        let empty = empty.into_string();
        assert!(empty.contains("No data in this period"), "{empty}");
        assert!(!empty.contains("<svg") && !empty.contains("data-chart"));
    }

    #[test]
    fn a_bin_links_to_its_requests_within_the_span_of_the_list() {
        let bins = bins(2);
        let values = [vec![Some(3.0), Some(1.0)], vec![Some(1.0), None]];
        let mut chart = chart(ChartKind::Stacked, &bins, values);
        let half = Duration::from_mins(30);
        chart.purpose = ChartUse::Pick(bins[0].begin + half, bins[1].end);
        let picked = figure(Language::English, &chart).into_string();
        let link = "/logs?key=7&amp;from=2026-11-30T10:30:00.000Z&amp;to=2026-11-30T11:00:00.000Z";
        assert!(picked.contains(&format!("<a href=\"{link}\"")), "{picked}");
        assert_eq!(picked.matches("<a href").count(), 2);
    }

    #[test]
    fn the_data_of_a_chart_name_the_log_of_each_bin_and_series() {
        let bins = bins(2);
        let values = [vec![Some(3.0), Some(1.0)], vec![Some(1.0), None]];
        let data = explore::data(Language::English, &chart(ChartKind::Stacked, &bins, values));
        let data: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert_eq!(data["log"], "/logs?key=7&");
        assert_eq!(data["series"][1]["query"], "&outcome=quota,no_key");
        assert_eq!(data["times"].as_array().unwrap().len(), 3);
        assert_eq!(data["times"][0], 1_796_032_800);
        assert_eq!(data["series"][1]["values"], serde_json::json!([1.0, null]));
    }
}
