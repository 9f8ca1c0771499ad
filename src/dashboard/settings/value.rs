//! Formats and parses numbers of settings with units: `150 MiB`, `10 min`, `1,000`.

use crate::dashboard::translations::{Language, LocalizedText, grouped};

/// The unit of a number setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Count,
    Milliseconds,
    Seconds,
    Hours,
    Days,
    Bytes,
}

/// One size of a unit: its factor, its names in both languages, and accepted alternatives.
struct UnitStep(u64, LocalizedText, &'static [&'static str]);

const fn step(
    size: u64,
    english: &'static str,
    chinese: &'static str,
    aliases: &'static [&'static str],
) -> UnitStep {
    UnitStep(size, LocalizedText(english, chinese), aliases)
}

/// From the largest to the smallest; input without a unit uses the smallest.
const MILLISECONDS: &[UnitStep] = &[
    step(86_400_000, "d", "天", &["day", "days", "日"]),
    step(3_600_000, "h", "小時", &["hour", "hours", "時"]),
    step(60_000, "min", "分鐘", &["m", "minute", "minutes", "分"]),
    step(1_000, "s", "秒", &["sec", "second", "seconds"]),
    step(1, "ms", "毫秒", &[]),
];
const SECONDS: &[UnitStep] = &[
    step(3_600, "h", "小時", &["hour", "hours", "時"]),
    step(60, "min", "分鐘", &["m", "minute", "minutes", "分"]),
    step(1, "s", "秒", &["sec", "second", "seconds"]),
];
const HOURS: &[UnitStep] = &[
    step(24, "d", "天", &["day", "days", "日"]),
    step(1, "h", "小時", &["hour", "hours", "時"]),
];
const DAYS: &[UnitStep] = &[step(1, "days", "天", &["d", "day", "日"])];
const BYTES: &[UnitStep] = &[
    step(1 << 40, "TiB", "TiB", &["t", "tb"]),
    step(1 << 30, "GiB", "GiB", &["g", "gb"]),
    step(1 << 20, "MiB", "MiB", &["m", "mb"]),
    step(1 << 10, "KiB", "KiB", &["k", "kb"]),
    step(1, "B", "B", &["byte", "bytes"]),
];

impl Unit {
    /// The unit of the number setting of this name, which contains it.
    pub fn of_setting(name: &str) -> Self {
        match name.rsplit_once('_').map(|(_, unit)| unit) {
            Some("ms") => Self::Milliseconds,
            Some("seconds") => Self::Seconds,
            Some("hours") => Self::Hours,
            Some("days") => Self::Days,
            Some("bytes") => Self::Bytes,
            Some(_) | None => Self::Count,
        }
    }

    fn steps(self) -> &'static [UnitStep] {
        match self {
            Self::Count => &[],
            Self::Milliseconds => MILLISECONDS,
            Self::Seconds => SECONDS,
            Self::Hours => HOURS,
            Self::Days => DAYS,
            Self::Bytes => BYTES,
        }
    }

    /// Formats the number in the largest unit that divides it, so that parsing returns the same number.
    pub fn format(self, language: Language, number: u64) -> String {
        let mut steps = self.steps().iter();
        let whole = steps.find(|step| number > 0 && number.is_multiple_of(step.0));
        let Some(UnitStep(size, name, _)) = whole.or(self.steps().last()) else {
            return grouped(number);
        };
        let name = match name.of(language) {
            "days" if number == 1 => "day",
            name => name,
        };
        format!("{} {name}", grouped(number / size))
    }

    /// Parses text to a number of the smallest unit; `None`: invalid.
    pub fn parse(self, text: &str) -> Option<u64> {
        let text = text.trim();
        let end = text
            .find(|char: char| !char.is_ascii_digit() && !",._ ".contains(char))
            .unwrap_or(text.len());
        let (digits, name) = text.split_at(end);
        let digits = digits.replace([',', '_', ' '], "");
        let has_name = |UnitStep(_, LocalizedText(english, chinese), aliases): &&UnitStep| {
            let mut known = [english, chinese].into_iter().chain(*aliases);
            known.any(|known| known.eq_ignore_ascii_case(name))
        };
        let size = match name {
            "" => 1,
            _ => self.steps().iter().find(has_name)?.0,
        };
        let (whole, part) = digits.split_once('.').unwrap_or((&digits, ""));
        let number = whole.parse::<u64>().ok()?.checked_mul(size)?;
        if part.is_empty() {
            return Some(number);
        }
        let scale = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
        let part = part.parse::<u64>().ok()?.checked_mul(size)?;
        part.is_multiple_of(scale)
            .then(|| number.checked_add(part / scale))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::settings::entry::SettingEntry;
    use crate::pool::settings::SettingKind;

    #[test]
    fn formatted_values_parse_to_the_same_number() {
        for entry in SettingEntry::all() {
            let (SettingKind::Number(bounds), Some(unit)) = (&entry.definition.kind, entry.unit())
            else {
                continue;
            };
            let default = entry.definition.default().parse().unwrap();
            for number in [*bounds.start(), *bounds.end(), default, 1_500, 90_061] {
                for language in [Language::English, Language::TraditionalChinese] {
                    let text = unit.format(language, number);
                    let parsed = unit.parse(&text);
                    assert_eq!(parsed, Some(number), "{}: {text}", entry.name());
                }
            }
        }
    }

    #[test]
    fn numbers_are_parsed_in_any_unit() {
        for (unit, text, expected) in [
            (Unit::Milliseconds, "10 min", Some(600_000)),
            (Unit::Milliseconds, "10m", Some(600_000)),
            (Unit::Milliseconds, "600000", Some(600_000)),
            (Unit::Milliseconds, "0.5 s", Some(500)),
            (Unit::Milliseconds, "10 分鐘", Some(600_000)),
            (Unit::Milliseconds, "0.0001 s", None),
            (Unit::Milliseconds, "10 MiB", None),
            (Unit::Bytes, "1.5 gib", Some(1_610_612_736)),
            (Unit::Bytes, "150 MB", Some(150 << 20)),
            (Unit::Hours, "1.5 days", Some(36)),
            (Unit::Hours, "12", Some(12)),
            (Unit::Days, "90 days", Some(90)),
            (Unit::Days, "90", Some(90)),
            (Unit::Count, "1,000", Some(1_000)),
            (Unit::Count, " 7 ", Some(7)),
            (Unit::Count, "7 s", None),
            (Unit::Count, "-1", None),
            (Unit::Count, "", None),
            (Unit::Bytes, "99999999999999999999", None),
            (Unit::Bytes, "99999999999999 GiB", None),
        ] {
            assert_eq!(unit.parse(text), expected, "{text}");
        }
    }

    #[test]
    fn the_largest_whole_unit_is_shown() {
        for (unit, number, expected) in [
            (Unit::Milliseconds, 600_000, "10 min"),
            (Unit::Milliseconds, 90_000, "90 s"),
            (Unit::Milliseconds, 1_500, "1,500 ms"),
            (Unit::Milliseconds, 0, "0 ms"),
            (Unit::Bytes, 150 << 20, "150 MiB"),
            (Unit::Days, 1, "1 day"),
            (Unit::Count, 1_000_000, "1,000,000"),
        ] {
            assert_eq!(unit.format(Language::English, number), expected);
        }
    }
}
