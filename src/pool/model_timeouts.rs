//! `ModelTimeouts`: time limits for models by pattern, as in a setting:
//! `gemini-*-pro first_byte=900000 idle=600000, *-lite first_byte=20000`.

use std::fmt;

use crate::pool::clients::scopes::PatternList;

const MAX_ENTRIES: usize = 200;
const MAX_PATTERN_BYTES: usize = 200;
/// The same bounds as those of the settings without a pattern.
const BOUNDS_MS: std::ops::RangeInclusive<u64> = 100..=86_400_000;

/// Time limits of models, in the order in which their patterns are tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelTimeouts(Vec<ModelTimeout>);

/// The time limits of the models that match a pattern; `None`: that of all models.
#[derive(Debug, Clone)]
pub struct ModelTimeout {
    pattern: PatternList,
    pub first_byte_ms: Option<u64>,
    pub idle_ms: Option<u64>,
}

impl ModelTimeouts {
    /// The entries of a text, one for each line or comma; the error is the first one that is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries = split(text).into_iter().map(str::trim);
        let mut timeouts = Vec::new();
        for text in entries.filter(|entry| !entry.is_empty()) {
            let entry = ModelTimeout::parse(text).filter(|_| timeouts.len() < MAX_ENTRIES);
            timeouts.push(entry.ok_or_else(|| text.to_owned())?);
        }
        Ok(Self(timeouts))
    }

    /// The time limits of the first pattern that matches.
    pub fn of(&self, model: Option<&str>) -> Option<&ModelTimeout> {
        let model = model?;
        self.0.iter().find(|entry| entry.pattern.matches(model))
    }
}

/// The canonical text.
impl fmt::Display for ModelTimeouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{entry}")?;
        }
        Ok(())
    }
}

impl ModelTimeout {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let pattern = words.next()?;
        let pattern = pattern.strip_prefix("models/").unwrap_or(pattern);
        if pattern.len() > MAX_PATTERN_BYTES || pattern.contains('=') {
            return None;
        }
        let mut timeout = Self {
            pattern: PatternList::new(vec![pattern.to_owned()]).ok()?,
            first_byte_ms: None,
            idle_ms: None,
        };
        for word in words {
            let (name, value) = word.split_once('=')?;
            let limit = match name {
                "first_byte" => &mut timeout.first_byte_ms,
                "idle" => &mut timeout.idle_ms,
                _ => return None,
            };
            let value = value.parse().ok().filter(|ms| BOUNDS_MS.contains(ms))?;
            if limit.replace(value).is_some() {
                return None;
            }
        }
        let is_limited = timeout.first_byte_ms.or(timeout.idle_ms).is_some();
        is_limited.then_some(timeout)
    }
}

impl fmt::Display for ModelTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern.patterns()[0])?;
        for (name, ms) in [("first_byte", self.first_byte_ms), ("idle", self.idle_ms)] {
            if let Some(ms) = ms {
                write!(f, " {name}={ms}")?;
            }
        }
        Ok(())
    }
}

impl PartialEq for ModelTimeout {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.patterns() == other.pattern.patterns()
            && (self.first_byte_ms, self.idle_ms) == (other.first_byte_ms, other.idle_ms)
    }
}

impl Eq for ModelTimeout {}

/// The parts of a text between lines and commas; a comma within `{a,b}` belongs to its pattern.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let separates = |char| {
        match char {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '\n' | '\r' => depth = 0,
            _ => {}
        }
        matches!(char, '\n' | '\r') || char == ',' && depth == 0
    };
    text.split(separates).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_written_in_one_form() {
        let text = " models/gemini-*-pro  idle=600000 first_byte=900000\r\n\n*-lite first_byte=20000,, \
                    gemini-{2.5,3}-flash idle=1000 ";
        let timeouts = ModelTimeouts::parse(text).unwrap();

        let canonical = "gemini-*-pro first_byte=900000 idle=600000, *-lite first_byte=20000, \
                         gemini-{2.5,3}-flash idle=1000";
        assert_eq!(timeouts.to_string(), canonical);
        assert_eq!(ModelTimeouts::parse(canonical), Ok(timeouts));
        assert_eq!(ModelTimeouts::parse(" \n"), Ok(ModelTimeouts::default()));
    }

    #[test]
    fn the_first_pattern_that_matches_decides() {
        let text = "gemini-2.5-pro first_byte=1000, gemini-2.5-* first_byte=2000 idle=3000";
        let timeouts = ModelTimeouts::parse(text).unwrap();
        let of = |model| {
            let entry = timeouts.of(model);
            entry.map(|entry| (entry.first_byte_ms, entry.idle_ms))
        };

        assert_eq!(of(Some("gemini-2.5-pro")), Some((Some(1_000), None)));
        let flash = Some((Some(2_000), Some(3_000)));
        assert_eq!(of(Some("gemini-2.5-flash")), flash);
        assert_eq!(of(Some("gemini-3-pro")), None);
        assert_eq!(of(None), None);
    }

    #[test]
    fn the_first_invalid_entry_is_named() {
        for wrong in [
            "gemini-2.5-pro",
            "first_byte=1000",
            "a first_byte=99",
            "a first_byte=86400001",
            "a first_byte=",
            "a first_byte=1s",
            "a first_byte=1000 first_byte=1000",
            "a connect=1000",
            "a b first_byte=1000",
            "a[ first_byte=1000",
        ] {
            for text in [wrong.to_owned(), format!("b idle=100,{wrong}\nc d")] {
                assert_eq!(ModelTimeouts::parse(&text), Err(wrong.to_owned()), "{text}");
            }
        }
    }

    #[test]
    fn there_is_a_maximum_number_of_entries() {
        let many = |count| ModelTimeouts::parse(&"a idle=100,".repeat(count));
        assert!(many(MAX_ENTRIES).is_ok());
        assert_eq!(many(MAX_ENTRIES + 1), Err("a idle=100".to_owned()));
    }
}
