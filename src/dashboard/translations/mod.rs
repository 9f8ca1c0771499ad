//! The texts of the dashboard in every language; a text without a translation does not compile.

pub mod account;
pub mod alerts;
pub mod audit;
pub mod backups;
pub mod client_keys;
pub mod egress_proxies;
pub mod layout;
pub mod logs;
pub mod models;
pub mod quota;
pub mod settings;
pub mod status;
pub mod try_it;
pub mod upstream_keys;
pub mod usage;

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

/// A language of the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    TraditionalChinese,
}

/// A text in both languages: English and Traditional Chinese.
#[derive(Debug, Clone, Copy)]
pub struct LocalizedText(pub &'static str, pub &'static str);

impl LocalizedText {
    pub fn of(self, language: Language) -> &'static str {
        match language {
            Language::English => self.0,
            Language::TraditionalChinese => self.1,
        }
    }

    /// Whether a word of a text in any language begins with `term`, given in lower case.
    pub fn has_word(self, term: &str) -> bool {
        let mut texts = [self.0, self.1].into_iter();
        texts.any(|text| has_word(&text.to_lowercase(), term))
    }
}

/// Whether a word of a text begins with `term`, both in lower case. Chinese has no spaces: there `term` may be anywhere.
pub fn has_word(text: &str, term: &str) -> bool {
    let is_of_word = |character: char| character.is_ascii_alphanumeric();
    text.match_indices(term).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !(before.is_some_and(is_of_word) && term.starts_with(is_of_word))
    })
}

/// Defines methods of [`Language`] from lines `name = "English", "中文";`, for texts with values
/// `name(value: &str) = "English {value}", "中文 {value}";`, and for counted nouns `name(count) = "key" | "keys", "{count} 個";`.
macro_rules! translations {
    ($($name:ident $(($($argument:ident $(: $type:ty)?),+))? = $english:literal $(| $plural:literal)?, $chinese:literal;)+) => {
        impl $crate::dashboard::translations::Language {
            $($crate::dashboard::translations::translation!($name $(($($argument $(: $type)?),+))? = $english $(| $plural)?, $chinese);)+
        }
    };
}

/// One line of [`translations!`].
macro_rules! translation {
    ($name:ident = $english:literal, $chinese:literal) => {
        pub fn $name(self) -> &'static str {
            $crate::dashboard::translations::LocalizedText($english, $chinese).of(self)
        }
    };
    ($name:ident ($($argument:ident: $type:ty),+) = $english:literal, $chinese:literal) => {
        pub fn $name(self, $($argument: $type),+) -> String {
            match self {
                Self::English => format!($english),
                Self::TraditionalChinese => format!($chinese),
            }
        }
    };
    ($name:ident ($count:ident) = $one:literal | $many:literal, $chinese:literal) => {
        pub fn $name(self, $count: impl TryInto<u64>) -> String {
            let number = $count.try_into().unwrap_or(u64::MAX);
            let $count = $crate::dashboard::translations::grouped(number);
            match self {
                Self::English => format!("{} {}", $count, if number == 1 { $one } else { $many }),
                Self::TraditionalChinese => format!($chinese),
            }
        }
    };
}

/// Defines methods of [`Language`] from tables `name(Enum) { Variant = "English", "中文"; … }`, or
/// `name(Enum, value: &str) { … }` for texts with a value. A variant without its texts does not compile.
macro_rules! labels {
    ($($(#[doc = $doc:literal])? $name:ident $arguments:tt { $($variant:ident = $english:literal, $chinese:literal;)+ })+) => {
        impl $crate::dashboard::translations::Language {
            $($crate::dashboard::translations::label!($(#[doc = $doc])? $name $arguments $($variant = $english, $chinese;)+);)+
        }
    };
}

/// One table of [`labels!`].
macro_rules! label {
    ($(#[doc = $doc:literal])? $name:ident ($enum:ident) $($variant:ident = $english:literal, $chinese:literal;)+) => {
        $(#[doc = $doc])?
        pub fn $name(self, of: $enum) -> &'static str {
            match (of, self) {
                $(($enum::$variant, Self::English) => $english,
                ($enum::$variant, Self::TraditionalChinese) => $chinese,)+
            }
        }
    };
    ($(#[doc = $doc:literal])? $name:ident ($enum:ident, $argument:ident: $type:ty) $($variant:ident = $english:literal, $chinese:literal;)+) => {
        $(#[doc = $doc])?
        pub fn $name(self, of: $enum, $argument: $type) -> String {
            match (of, self) {
                $(($enum::$variant, Self::English) => format!($english),
                ($enum::$variant, Self::TraditionalChinese) => format!($chinese),)+
            }
        }
    };
}

pub(crate) use {label, labels, translation, translations};

impl Language {
    /// The language tag for HTML and HTTP headers.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::TraditionalChinese => "zh-Hant-TW",
        }
    }

    /// The language for a tag such as `zh-TW` or `en`; every Chinese tag selects Traditional Chinese.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        match primary.to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "zh" => Some(Self::TraditionalChinese),
            _ => None,
        }
    }

    /// The available language that the browser prefers.
    pub fn of_browser(headers: &HeaderMap) -> Self {
        let listed = headers
            .get(ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok());
        let mut best = (Self::English, 0.0);
        for entry in listed.unwrap_or_default().split(',') {
            let (tag, quality) = entry.split_once(";q=").unwrap_or((entry, "1"));
            let quality = quality.trim().parse().unwrap_or(0.0);
            if let Some(language) = Self::of_tag(tag.trim())
                && quality > best.1
            {
                best = (language, quality);
            }
        }
        best.0
    }
}

/// A whole number with thousands separators: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_browser_chooses_the_language() {
        for (accepted, expected) in [
            ("", Language::English),
            ("de-DE,de;q=0.9", Language::English),
            ("zh-TW,zh;q=0.9,en;q=0.8", Language::TraditionalChinese),
            ("fr,zh-CN;q=0.5,en;q=0.4", Language::TraditionalChinese),
            ("en-GB,zh;q=0.9", Language::English),
            ("zh;q=oops,en;q=0.1", Language::English),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(accepted));
            assert_eq!(Language::of_browser(&headers), expected, "{accepted}");
        }
    }

    #[test]
    fn numbers_have_separators_and_nouns_agree_in_number() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), expected);
        }
        for (count, expected) in [(1, "1 upstream key"), (1_200, "1,200 upstream keys")] {
            assert_eq!(Language::English.keys_counted(count), expected);
        }
        let chinese = Language::TraditionalChinese.keys_counted(1_200);
        assert_eq!(chinese, "1,200 個上游金鑰");
    }
}
