//! The SVG of a chart.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::dashboard::chart::axis::{Scale, TimeTick, time_ticks};
use crate::dashboard::chart::{Chart, ChartKind, ChartUse, Series, label};
use crate::dashboard::translations::Language;

/// The height of a plot in SVG units; CSS scales it.
const HEIGHT: f64 = 100.0;
/// The width of a bin in SVG units.
const BIN: f64 = 10.0;
/// The least share of the height that a value above zero has in a stack, so that one failure among thousands is seen.
const LEAST: f64 = 0.03;

/// The plot with its axes.
pub fn plot(language: Language, chart: &Chart) -> Markup {
    let scale = scale(chart);
    let labels = scale.labels();
    html! {
        div.plot-box {
            div.y aria-hidden="true" { @for label in &labels { span { (chart.unit.text(*label)) } } }
            (drawing(language, chart, &scale, labels.len()))
            (time_axis(chart))
        }
    }
}

pub fn scale(chart: &Chart) -> Scale {
    let values = |index: usize| {
        let values = chart.series.iter();
        values.filter_map(move |series| series.values.get(index).copied().flatten())
    };
    let bins = 0..chart.bins.len();
    match chart.kind {
        ChartKind::Stacked => {
            let highest = bins.map(|bin| values(bin).sum()).fold(0.0, f64::max);
            Scale::linear(highest, chart.unit.is_whole())
        }
        ChartKind::Lines => Scale::logarithmic(bins.flat_map(values)),
    }
}

fn drawing(language: Language, chart: &Chart, scale: &Scale, lines: usize) -> Markup {
    let width = BIN * float(chart.bins.len());
    let summary = format!("{}: {}", chart.title, chart.total);
    let summary = summary.trim_end_matches([':', ' ']);
    // A picture hides what is in it from screen readers, a group of links does not.
    let role = match chart.purpose {
        ChartUse::Explore => "img",
        ChartUse::Pick(..) => "group",
    };
    let gap = HEIGHT / float(lines.saturating_sub(1).max(1));
    html! {
        svg.plot viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role=(role) aria-label=(summary) {
            @for line in 0..lines {
                @let y = rounded(gap * float(line));
                line.grid x1="0" x2=(width) y1=(y) y2=(y) {}
            }
            @if chart.kind == ChartKind::Lines {
                @for series in &chart.series { (polyline(series, scale)) }
            }
            @for index in 0..chart.bins.len() { (bin(language, chart, index, scale)) }
        }
    }
}

/// One bin: its bars, and a hover area whose tooltip contains the values.
fn bin(language: Language, chart: &Chart, index: usize, scale: &Scale) -> Markup {
    let left = BIN * float(index);
    let is_running = chart.is_running(index);
    let mut base = HEIGHT;
    let drawn = html! {
        g.bar.running[is_running] {
            title { (tooltip(language, chart, index)) }
            rect.hit x=(left) y="0" width=(BIN) height=(HEIGHT) {}
            @if chart.kind == ChartKind::Stacked {
                @for (series, height) in chart.series.iter().zip(heights(chart, index, scale)) {
                    @if height > 0.0 {
                        @let y = { base -= height * HEIGHT; base };
                        rect class={ "series-" (series.colour) } x=(left + 1.0) y=(rounded(y)) width=(BIN - 2.0) height=(rounded(height * HEIGHT)) {}
                    }
                }
            }
        }
    };
    match (chart.purpose, chart.bin_link(index)) {
        (ChartUse::Pick(..), Some(link)) => {
            html! { a href=(link) aria-label=(tooltip(language, chart, index)) { (drawn) } }
        }
        (ChartUse::Pick(..) | ChartUse::Explore, _) => drawn,
    }
}

/// The heights of a stack, with those of small values raised to [`LEAST`] at the cost of the largest.
fn heights(chart: &Chart, index: usize, scale: &Scale) -> Vec<f64> {
    let values = chart.series.iter();
    let values = values.map(|series| scale.place(series.values[index].unwrap_or(0.0)));
    raise_small(values.collect())
}

fn raise_small(mut heights: Vec<f64>) -> Vec<f64> {
    let before: f64 = heights.iter().sum();
    for height in &mut heights {
        if *height > 0.0 {
            *height = height.max(LEAST);
        }
    }
    let added = heights.iter().sum::<f64>() - before;
    if let Some(largest) = heights.iter_mut().max_by(|one, other| one.total_cmp(other)) {
        *largest = (*largest - added).max(LEAST.min(*largest));
    }
    heights
}

/// A line through the bin centres, with a gap at bins without a measurement.
fn polyline(series: &Series, scale: &Scale) -> Markup {
    let mut path = String::new();
    let mut is_drawing = false;
    for (index, value) in series.values.iter().enumerate() {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let x = BIN * (float(index) + 0.5);
        let y = HEIGHT - scale.place(*value) * HEIGHT;
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

/// Labels at their places: text in an SVG of its own, which is not stretched as the plot is.
fn time_axis(chart: &Chart) -> Markup {
    let (Some(first), Some(last)) = (chart.bins.first(), chart.bins.last()) else {
        return html! {};
    };
    let anchor = |tick: &TimeTick| match tick.place {
        place if place < 0.04 => "start",
        place if place > 0.96 => "end",
        _ => "middle",
    };
    html! {
        svg.x aria-hidden="true" {
            @for tick in time_ticks(chart.zone, (first.begin, last.end), first.end - first.begin) {
                text.day[tick.is_new_day] x={ (rounded(tick.place * 100.0)) "%" } y="11" text-anchor=(anchor(&tick)) { (tick.label) }
            }
        }
    }
}

/// The values of a bin as text.
fn tooltip(language: Language, chart: &Chart, index: usize) -> String {
    let mut text = label(language, chart, index);
    for series in &chart.series {
        if let Some(value) = series.values[index] {
            let _ = write!(text, "\n{}: {}", series.name, chart.unit.text(value));
        }
    }
    text
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
    fn small_values_are_seen_and_the_whole_stack_keeps_its_height() {
        let raised = raise_small(vec![0.9, 0.001, 0.0, 0.02]);
        assert_eq!(raised[1..], [LEAST, 0.0, LEAST]);
        assert!((raised.iter().sum::<f64>() - 0.921).abs() < 1e-9);
        // A small stack is taller than it should be, rather than without a value.
        let small = raise_small(vec![0.001, 0.001]);
        assert!(small.iter().all(|height| *height >= LEAST), "{small:?}");
        assert_eq!(raise_small(vec![0.5, 0.25]), [0.5, 0.25]);
    }
}
