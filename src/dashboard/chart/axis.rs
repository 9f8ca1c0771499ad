//! The axes of charts: scales of values, and round times in a time zone.

use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// Maximum number of labels on a time axis: they fit a phone, and a third of a printed page.
const MAX_TICKS: u64 = 6;
/// Maximum number of steps on a logarithmic scale.
const MAX_STEPS: i32 = 4;
/// Minutes between labels that divide a day.
const MINUTES: [i8; 6] = [1, 2, 5, 10, 15, 30];
/// Hours between labels that divide a day.
const HOURS: [i8; 6] = [1, 2, 3, 4, 6, 12];
const DAYS: [i32; 4] = [1, 2, 7, 14];
const MONTHS: [i8; 5] = [1, 2, 3, 6, 12];

/// The scale of values.
#[derive(Debug, Clone, PartialEq)]
pub enum Scale {
    /// From 0 to a maximum.
    Linear(f64),
    /// From a lowest value, by a factor, in a number of steps.
    Logarithmic(f64, f64, i32),
}

impl Scale {
    /// A linear scale with a round maximum: 1, 2, 4 or 5 times a power of ten. Of values that are whole numbers (`is_whole`) all
    /// labels are too.
    pub fn linear(highest: f64, is_whole: bool) -> Self {
        if highest <= 0.0 {
            return Self::Linear(if is_whole { 2.0 } else { 1.0 });
        }
        let magnitude = 10.0_f64.powf(highest.log10().floor());
        let magnitude = if is_whole {
            magnitude.max(1.0)
        } else {
            magnitude
        };
        let steps = [1.0, 2.0, 4.0, 5.0, 10.0].into_iter();
        let fitting = steps
            .map(|step| step * magnitude)
            .find(|top| *top >= highest && !(is_whole && top % 2.0 != 0.0));
        Self::Linear(fitting.unwrap_or(10.0 * magnitude))
    }

    /// A logarithmic scale closely around positive values. It begins at 1, 2 or 5 times a power of ten, and its factor is the
    /// least one of few steps; with the factor ten it has whole powers of ten.
    pub fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 1.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            least = least.min(value);
            most = most.max(value);
        }
        let least = least.clamp(1.0, most);
        let power = 10.0_f64.powf(least.log10().floor());
        let begins = [5.0, 2.0, 1.0].map(|begin| begin * power);
        // Values at the ends would be on the axis and on the edge.
        let below = begins.into_iter().find(|begin| *begin < least);
        let low = below.unwrap_or(power / 2.0);
        for factor in [2.0, 4.0] {
            let is_enough = |steps: &i32| low * f64::powi(factor, *steps) > most;
            if let Some(steps) = (1..=MAX_STEPS).find(is_enough) {
                return Self::Logarithmic(low, factor, steps);
            }
        }
        let mut steps = 1;
        while power * 10.0_f64.powi(steps) < most {
            steps += 1;
        }
        Self::Logarithmic(power, 10.0, steps)
    }

    /// The place of a value between 0 at the bottom and 1 at the top.
    pub fn place(&self, value: f64) -> f64 {
        match self {
            Self::Linear(top) => value / top,
            Self::Logarithmic(low, factor, steps) => {
                ((value.max(*low) / low).ln() / (factor.ln() * f64::from(*steps))).min(1.0)
            }
        }
    }

    /// The labelled values, evenly spaced, the highest first.
    pub fn labels(&self) -> Vec<f64> {
        match self {
            Self::Linear(top) => vec![*top, top / 2.0, 0.0],
            Self::Logarithmic(low, factor, steps) => {
                let labels = (0..=*steps).rev().map(|step| low * factor.powi(step));
                labels.collect()
            }
        }
    }
}

/// A label on a time axis.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeTick {
    /// The share of the axis before it.
    pub place: f64,
    pub label: String,
    /// Whether it is a date among times of day.
    pub is_new_day: bool,
}

/// Labels at round times of the zone, none closer than a `bin`: times of day, with the date where the day changes, or dates,
/// or months.
pub fn time_ticks(
    zone: &TimeZone,
    (begin, end): (Timestamp, Timestamp),
    bin: Duration,
) -> Vec<TimeTick> {
    let span = (end - begin).as_secs().max(1);
    let fits = |seconds: u64| span / seconds < MAX_TICKS && seconds >= bin.as_secs();
    let local = |at: Timestamp| zone.to_datetime(at.to_jiff());
    let (first, last) = (local(begin).date(), local(end).date());
    let days = || dates(first, last, 1.day());
    let minutes = MINUTES
        .into_iter()
        .find(|minutes| fits(u64::from(minutes.unsigned_abs()) * 60));
    let hours = HOURS
        .into_iter()
        .find(|hours| fits(u64::from(hours.unsigned_abs()) * 3_600));
    let mut times: Vec<(DateTime, &str)> = Vec::new();
    if let Some(step) = minutes {
        for day in days() {
            for hour in 0..24 {
                let minutes = (0..60 / step).map(|index| day.at(hour, index * step, 0, 0));
                times.extend(minutes.map(|time| (time, "%H:%M")));
            }
        }
    } else if let Some(step) = hours {
        for day in days() {
            let hours = (0..24 / step).map(|index| day.at(index * step, 0, 0, 0));
            times.extend(hours.map(|time| (time, "%H:%M")));
        }
    } else if let Some(step) = DAYS
        .into_iter()
        .find(|days| fits(u64::from(days.unsigned_abs()) * 86_400))
    {
        // Weeks begin on Mondays.
        let monday = Date::constant(1969, 12, 29);
        let since = |day: &Date| day.since(monday).map_or(0, |span| span.get_days());
        let days = days().filter(|day| since(day) % step == 0);
        times.extend(days.map(|day| (day.at(0, 0, 0, 0), "%m-%d")));
    } else {
        let fitting = MONTHS
            .into_iter()
            .find(|months| fits(u64::from(months.unsigned_abs()) * 30 * 86_400));
        let step = fitting.unwrap_or(12);
        let months = dates(first.first_of_month(), last, 1.month());
        let months = months.filter(|month| (month.month() - 1) % step == 0);
        times.extend(months.map(|month| (month.at(0, 0, 0, 0), "%Y-%m")));
    }
    let ticks = times.into_iter().filter_map(|(time, format)| {
        let at: Timestamp = zone.to_zoned(time).ok()?.timestamp().into();
        if at < begin || at > end {
            return None;
        }
        let is_new_day = format == "%H:%M" && time.hour() == 0 && time.minute() == 0;
        let format = if is_new_day { "%m-%d" } else { format };
        Some(TimeTick {
            place: (at - begin).as_secs_f64() / (end - begin).as_secs_f64().max(1.0),
            label: time.strftime(format).to_string(),
            is_new_day,
        })
    });
    ticks.collect()
}

fn dates(first: Date, last: Date, step: jiff::Span) -> impl Iterator<Item = Date> {
    first.series(step).take_while(move |date| *date <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_an_axis_is_a_round_number_above_the_highest_value() {
        for (highest, top, whole_top) in [
            (0.0, 1.0, 2.0),
            (1.0, 1.0, 2.0),
            (1.1, 2.0, 2.0),
            (5.0, 5.0, 10.0),
            (37.0, 40.0, 40.0),
            (50.0, 50.0, 50.0),
            (999.0, 1_000.0, 1_000.0),
            (0.003, 0.004, 2.0),
        ] {
            for (is_whole, top) in [(false, top), (true, whole_top)] {
                let Scale::Linear(found) = Scale::linear(highest, is_whole) else {
                    panic!("not linear");
                };
                assert!((found - top).abs() < 1e-9, "{highest} {is_whole}: {found}");
            }
        }
    }

    #[test]
    fn a_logarithmic_scale_is_close_around_the_values() {
        let scale = |values: &[f64]| Scale::logarithmic(values.iter().copied());
        let few = scale(&[300.0, 0.0, 40_000.0]);
        assert_eq!(few, Scale::Logarithmic(200.0, 4.0, 4));
        assert_eq!(few.labels(), [51_200.0, 12_800.0, 3_200.0, 800.0, 200.0]);
        assert!((few.place(200.0)).abs() < 1e-9);
        assert!((few.place(3_200.0) - 0.5).abs() < 1e-9);
        assert_eq!(
            scale(&[1_000.0, 2_500.0]),
            Scale::Logarithmic(500.0, 2.0, 3)
        );
        assert_eq!(scale(&[1_000.0]), Scale::Logarithmic(500.0, 2.0, 2));
        assert_eq!(scale(&[1.0]), Scale::Logarithmic(0.5, 2.0, 2));
        // Values far apart have whole powers of ten.
        let far = scale(&[3.0, 600_000.0]);
        assert_eq!(far, Scale::Logarithmic(1.0, 10.0, 6));
    }

    #[test]
    fn ticks_are_round_times_of_the_zone_with_the_date_of_a_new_day() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let labels = |zone: &str, begin: &str, end: &str, bin| {
            let zone = TimeZone::get(zone).unwrap();
            let ticks = time_ticks(&zone, (at(begin), at(end)), bin).into_iter();
            ticks.map(|tick| tick.label).collect::<Vec<_>>().join(" ")
        };
        for (zone, begin, end, expected) in [
            (
                "UTC",
                "2026-11-30T11:02:00Z",
                "2026-11-30T12:02:00Z",
                "11:15 11:30 11:45 12:00",
            ),
            (
                "Asia/Taipei",
                "2026-11-29T07:00:00Z",
                "2026-11-30T07:00:00Z",
                "18:00 11-30 06:00 12:00",
            ),
            // An hour is repeated.
            (
                "Europe/Berlin",
                "2026-10-24T22:00:00Z",
                "2026-10-25T11:00:00Z",
                "10-25 03:00 06:00 09:00 12:00",
            ),
            (
                "UTC",
                "2026-11-01T00:00:00Z",
                "2026-12-01T00:00:00Z",
                "11-02 11-09 11-16 11-23 11-30",
            ),
            (
                "UTC",
                "2026-01-01T00:00:00Z",
                "2026-12-01T00:00:00Z",
                "2026-01 2026-03 2026-05 2026-07 2026-09 2026-11",
            ),
        ] {
            assert_eq!(
                labels(zone, begin, end, Duration::ZERO),
                expected,
                "{begin}"
            );
        }
        let (begin, end) = ("2026-11-29T00:00:00Z", "2026-12-01T00:00:00Z");
        let of_days = labels("UTC", begin, end, Duration::from_hours(24));
        assert_eq!(of_days, "11-29 11-30 12-01");
    }
}
