//! Charts as server-rendered SVG: CSS classes set theme colours, bins show their values on hover, and a table contains
//! the same values for screen readers.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::dashboard::components::{number, tokens};
use crate::dashboard::translations::Language;

/// The height of a plot in SVG units; CSS scales it.
const HEIGHT: f64 = 100.0;
/// The width of a bin in SVG units.
const BIN: f64 = 10.0;

/// A series with one value per bin.
#[derive(Debug)]
pub struct Series<'a> {
    pub name: &'a str,
    /// The colour number, from 1 to 6.
    pub colour: u8,
    /// `None`: no measurement.
    pub values: Vec<Option<f64>>,
}

/// The content of a chart.
pub struct Chart<'a> {
    /// Of its elements on the page.
    pub id: &'static str,
    pub title: &'a str,
    /// The total, beside the title.
    pub total: String,
    /// Each bin's short label for the axis, and its exact label.
    pub bins: Vec<(String, String)>,
    pub series: Vec<Series<'a>>,
    /// Formats a value with its unit.
    pub unit: fn(f64) -> String,
    /// Whether the last bin is not over: it is drawn paler, and named so.
    pub is_last_running: bool,
}

impl Chart<'_> {
    fn is_running(&self, index: usize) -> bool {
        self.is_last_running && index + 1 == self.bins.len()
    }
}

/// How the series are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartKind {
    /// Stacked bars, for values with a meaningful sum.
    Stacked,
    Lines,
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
pub fn count(value: f64) -> u64 {
    value.round() as u64
}

/// A whole number with separators.
pub fn whole_number(value: f64) -> String {
    if value > 0.0 && value < 1.0 {
        "0.5".to_owned()
    } else {
        number(count(value))
    }
}

/// A number of tokens.
pub fn thousands(value: f64) -> String {
    tokens(count(value))
}

/// A chart with its title, axes, legend and table.
pub fn figure(language: Language, kind: ChartKind, chart: &Chart) -> Markup {
    let top = nice_top(highest(kind, &chart.series));
    let middle = chart.bins.len() / 2;
    html! {
        figure.chart {
            figcaption {
                h3 { (chart.title) }
                @if !chart.total.is_empty() { span.muted.small { (chart.total) } }
            }
            @if chart.series.len() > 1 {
                div.legend aria-hidden="true" {
                    @for series in &chart.series { span { (swatch(series.colour)) (series.name) } }
                }
            }
            div.plot-box {
                div.y aria-hidden="true" {
                    span { ((chart.unit)(top)) } span { ((chart.unit)(top / 2.0)) } span { ((chart.unit)(0.0)) }
                }
                (plot(language, kind, chart, top))
                div.x aria-hidden="true" {
                    @if let (Some(first), Some(last)) = (chart.bins.first(), chart.bins.last()) {
                        span { (first.0) } @if middle > 1 { span { (chart.bins[middle].0) } } span { (last.0) }
                    }
                }
            }
            (table(language, chart))
        }
    }
}

fn plot(language: Language, kind: ChartKind, chart: &Chart, top: f64) -> Markup {
    let width = BIN * float(chart.bins.len());
    let summary = format!("{}: {}", chart.title, chart.total);
    html! {
        svg.plot viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(summary) {
            @for line in [0.0, HEIGHT / 2.0, HEIGHT] {
                line.grid x1="0" x2=(width) y1=(line) y2=(line) {}
            }
            @if kind == ChartKind::Lines {
                @for series in &chart.series { (polyline(series, top)) }
            }
            @for index in 0..chart.bins.len() { (bin(language, kind, chart, index, top)) }
        }
    }
}

/// One bin: its bars, and a hover area whose tooltip contains the values.
fn bin(language: Language, kind: ChartKind, chart: &Chart, index: usize, top: f64) -> Markup {
    let left = BIN * float(index);
    let mut base = HEIGHT;
    html! {
        g.bar.running[chart.is_running(index)] {
            title { (tooltip(language, chart, index)) }
            rect.hit x=(left) y="0" width=(BIN) height=(HEIGHT) {}
            @if kind == ChartKind::Stacked {
                @for series in &chart.series {
                    @let value = series.values[index].unwrap_or(0.0);
                    @if value > 0.0 {
                        @let height = scaled(value, top);
                        @let y = { base -= height; base };
                        rect class={ "series-" (series.colour) } x=(left + 1.0) y=(rounded(y)) width=(BIN - 2.0) height=(rounded(height)) {}
                    }
                }
            }
        }
    }
}

/// A line through the bin centres, with a gap at bins without a measurement.
fn polyline(series: &Series, top: f64) -> Markup {
    let mut path = String::new();
    let mut is_drawing = false;
    for (index, value) in series.values.iter().enumerate() {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let (x, y) = (BIN * (float(index) + 0.5), HEIGHT - scaled(*value, top));
        let command = if is_drawing { 'L' } else { 'M' };
        let _ = write!(path, "{command}{x} {}", rounded(y));
        if !is_drawing {
            // A zero-length segment makes a single point visible.
            path.push_str("h0.01");
        }
        is_drawing = true;
    }
    html! { path class={ "line series-" (series.colour) } d=(path) vector-effect="non-scaling-stroke" {} }
}

fn swatch(colour: u8) -> Markup {
    html! {
        svg viewBox="0 0 8 8" width="8" height="8" { rect class={ "series-" (colour) } width="8" height="8" rx="2" {} }
    }
}

/// The values of a bin as text.
fn tooltip(language: Language, chart: &Chart, index: usize) -> String {
    let mut text = chart.bins[index].1.clone();
    if chart.is_running(index) {
        let _ = write!(text, " ({})", language.so_far());
    }
    for series in &chart.series {
        if let Some(value) = series.values[index] {
            let _ = write!(text, "\n{}: {}", series.name, (chart.unit)(value));
        }
    }
    text
}

fn table(language: Language, chart: &Chart) -> Markup {
    html! {
        details.quiet #{ (chart.id) "-table" } {
            summary { (language.as_table()) span.visually-hidden { ": " (chart.title) } }
            div.table { table {
                thead { tr { th {} @for series in &chart.series { th.number { (series.name) } } } }
                tbody { @for (index, (_, exact)) in chart.bins.iter().enumerate() {
                    tr {
                        th scope="row" { (exact) @if chart.is_running(index) { " (" (language.so_far()) ")" } }
                        @for series in &chart.series {
                            td.number { @if let Some(value) = series.values[index] { ((chart.unit)(value)) } @else { "–" } }
                        }
                    }
                } }
            } }
        }
    }
}

fn highest(kind: ChartKind, series: &[Series]) -> f64 {
    let of_bin = |index: usize| {
        let values = series
            .iter()
            .filter_map(|series| series.values.get(index).copied().flatten());
        match kind {
            ChartKind::Stacked => values.sum::<f64>(),
            ChartKind::Lines => values.fold(0.0, f64::max),
        }
    };
    let bins = series.first().map_or(0, |series| series.values.len());
    (0..bins).map(of_bin).fold(0.0, f64::max)
}

/// A round maximum for the axis: 1, 2 or 5 times a power of ten.
fn nice_top(highest: f64) -> f64 {
    if highest <= 0.0 {
        return 1.0;
    }
    let magnitude = 10.0_f64.powf(highest.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 10.0].into_iter();
    let fitting = steps
        .map(|step| step * magnitude)
        .find(|top| *top >= highest);
    fitting.unwrap_or(10.0 * magnitude)
}

fn scaled(value: f64, top: f64) -> f64 {
    value / top * HEIGHT
}

/// Rounds to hundredths, finer than any screen.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[expect(clippy::cast_precision_loss, reason = "there are few bins")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_an_axis_is_a_round_number_above_the_highest_value() {
        for (highest, top) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (1.1, 2.0),
            (37.0, 40.0),
            (999.0, 1_000.0),
            (0.003, 0.004),
        ] {
            assert!((nice_top(highest) - top).abs() < 1e-9, "{highest}");
        }
    }

    #[test]
    fn a_chart_contains_each_bin_with_its_values() {
        let chart = Chart {
            id: "requests",
            title: "Requests",
            total: "5".to_owned(),
            bins: vec![
                ("10:00".to_owned(), "10:00 to 11:00".to_owned()),
                ("11:00".to_owned(), "11:00 to 12:00".to_owned()),
            ],
            series: vec![
                Series {
                    name: "ok",
                    colour: 1,
                    values: vec![Some(3.0), Some(1.0)],
                },
                Series {
                    name: "bad",
                    colour: 4,
                    values: vec![Some(1.0), None],
                },
            ],
            unit: |value| format!("{value}"),
            is_last_running: true,
        };

        let stacked = figure(Language::English, ChartKind::Stacked, &chart).into_string();
        let lines = figure(Language::English, ChartKind::Lines, &chart).into_string();

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
        assert!(lines.contains("M5 25h0.01L15 75"), "{lines}");
        assert!(!stacked.contains("style="));
    }
}
