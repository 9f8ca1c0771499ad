//! A key's last thirty days as a chart.

use std::time::Duration;

use maud::{Markup, html};

use crate::clock::Timestamp;
use crate::dashboard::components::{number, tokens};
use crate::dashboard::texts::Language;
use crate::storage::upstream_keys::history::Day;

/// So many days are shown.
pub const DAYS: u32 = 30;
const DAY: Duration = Duration::from_hours(24);
const WIDTH: u32 = 720;
const HEIGHT: u32 = 150;
/// Where the bars stand: left of them are the numbers of the axis, below them the days.
const LEFT: u32 = 44;
const TOP: u32 = 8;
const BOTTOM: u32 = 20;

/// A bar for each day from `first` on: what succeeded, and above it what did not.
pub fn chart(language: Language, first: Timestamp, days: &[Day]) -> Markup {
    let most = days.iter().map(|day| day.requests).max().unwrap_or(0);
    let top = round_up(most.unsigned_abs().max(1));
    let step = (WIDTH - LEFT) / DAYS;
    let plot = HEIGHT - TOP - BOTTOM;
    let height = |count: i64| {
        let height = count.unsigned_abs().saturating_mul(u64::from(plot)) / top;
        let height = u32::try_from(height).unwrap_or(plot);
        // What there is can be seen, however little it is.
        if count > 0 { height.max(1) } else { 0 }
    };
    let bars = (0..DAYS).map(|place| {
        let at = first + DAY * place;
        let day = days.iter().find(|day| day.day == at);
        (LEFT + place * step, name(at), day)
    });
    html! {
        figure.chart {
            figcaption {
                span.small.muted { (language.days_axis()) }
                span.legend {
                    span { (swatch("series-1")) (language.successes()) }
                    span { (swatch("series-4")) (language.others()) }
                }
            }
            svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="group" aria-label=(language.days_axis()) {
                @for (part, words) in [(0, top), (1, top / 2), (2, 0)] {
                    @let y = TOP + plot * part / 2;
                    @if part != 1 || top > 1 {
                        line.grid x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                        text x=(LEFT - 6) y=(y + 4) text-anchor="end" { (tokens(words)) }
                    }
                }
                @for (place, (x, name, day)) in bars.enumerate() {
                    g.bar {
                        rect.hit x=(x) y=(TOP) width=(step) height=(plot) {}
                        @if let Some(day) = day {
                            @let (good, rest) = (height(day.successes), height(day.requests - day.successes));
                            @let words = words(language, &name, day);
                            rect.series-1 x=(x + 3) y=(TOP + plot - good) width=(step - 6) height=(good) role="img" aria-label=(words) {}
                            rect.series-4 x=(x + 3) y=((TOP + plot).saturating_sub(good + rest)) width=(step - 6) height=(rest) {}
                            title { (words) }
                        } @else {
                            title { (name) ": 0" }
                        }
                    }
                    @if place % 7 == 1 {
                        text x=(x + step / 2) y=(HEIGHT - 4) text-anchor="middle" { (name) }
                    }
                }
            }
        }
    }
}

fn swatch(class: &str) -> Markup {
    html! { svg width="10" height="10" aria-hidden="true" { rect.(class) width="10" height="10" rx="2" {} } }
}

fn words(language: Language, name: &str, day: &Day) -> String {
    format!(
        "{name}: {} {}, {} {}, {} token",
        number(day.successes),
        language.successes(),
        number(day.requests - day.successes),
        language.others(),
        number(day.total_tokens),
    )
}

fn name(day: Timestamp) -> String {
    day.to_jiff().strftime("%m-%d").to_string()
}

/// The next number that is easy to halve and to read.
fn round_up(number: u64) -> u64 {
    let mut scale = 1;
    loop {
        for step in [1, 2, 4, 6, 8] {
            if step * scale >= number {
                return step * scale;
            }
        }
        scale *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (most, top) in [(1, 1), (3, 4), (9, 10), (41, 60), (100, 100), (101, 200)] {
            assert_eq!(round_up(most), top, "{most}");
        }
    }

    #[test]
    fn each_day_has_its_place_and_its_numbers() {
        let first = Timestamp::from_millis(1_795_305_600_000);
        let day = Day {
            day: first + DAY,
            requests: 1_200,
            successes: 1_000,
            failures: 150,
            total_tokens: 5_000,
            cost_nano_usd: 0,
        };

        let chart = chart(Language::English, first, &[day]).into_string();

        let told = "11-23: 1,000 succeeded, 200 did not, 5,000 token";
        assert!(chart.contains(&format!("<title>{told}</title>")), "{chart}");
        assert_eq!(chart.matches("class=\"hit\"").count(), 30);
    }
}
