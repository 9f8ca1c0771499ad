//! Numbers of a period compared with those of the period before.

use maud::{Markup, html};

use crate::dashboard::translations::Language;

/// More is a beginning rather than a change.
const MAX_PERCENT: i128 = 999;

/// The change, with the value before as its tooltip; without a change the value before, if there is any.
pub fn compared(language: Language, change: Option<String>, before: &str) -> Markup {
    if before == "–" {
        return html! {};
    }
    let before = language.compared(before);
    html! {
        @match change {
            Some(change) => { span title=(before) { (change) } }
            None => { (before) }
        }
    }
}

/// The change in percent, with its sign; `None` without a number before.
pub fn percent_change(now: u64, before: u64) -> Option<String> {
    if before == 0 {
        return None;
    }
    let difference = i128::from(now) - i128::from(before);
    let percent = difference * 100 / i128::from(before);
    if percent > MAX_PERCENT {
        return Some(format!(">{MAX_PERCENT}"));
    }
    Some(signed(percent, percent.to_string()))
}

/// The change of the success rate in percentage points, with its sign. Each side has its successes and failures.
pub fn points_change(now: (u64, u64), before: (u64, u64)) -> Option<String> {
    let per_mille = |(successes, failures): (u64, u64)| {
        let counted = successes + failures;
        (counted > 0).then(|| i128::from(successes * 1_000 / counted.max(1)))
    };
    let difference = per_mille(now)? - per_mille(before)?;
    let points = format!("{}.{}", difference.abs() / 10, difference.abs() % 10);
    let points = if difference < 0 {
        format!("-{points}")
    } else {
        points
    };
    Some(signed(difference, points))
}

/// A number with the sign that people write.
fn signed(number: i128, text: String) -> String {
    match number {
        0 => format!("±{}", text.trim_start_matches('-')),
        1.. => format!("+{text}"),
        _ => text.replacen('-', "−", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_a_direction() {
        assert_eq!(percent_change(5, 0), None);
        for (now, before, text) in [
            (106, 100, "+6"),
            (94, 100, "−6"),
            (100, 100, "±0"),
            (1_001, 1_000, "±0"),
            (0, 7, "−100"),
            (10_990, 1_000, "+999"),
            (11_000, 1_000, ">999"),
        ] {
            assert_eq!(percent_change(now, before).as_deref(), Some(text));
        }
        assert_eq!(points_change((1, 1), (0, 0)), None);
        for (now, before, text) in [
            ((98, 2), (965, 35), "+1.5"),
            ((1, 1), (9, 1), "−40.0"),
            ((1, 1), (2, 2), "±0.0"),
        ] {
            assert_eq!(points_change(now, before).as_deref(), Some(text));
        }
    }
}
