//! `SettingEntry`: the group, texts and value format of a setting.

use crate::dashboard::settings::value::Unit;
use crate::dashboard::translations::Language;
use crate::pool::settings::{SettingDefinition, SettingKind};

/// A text in every language.
#[derive(Debug, Clone, Copy)]
pub struct LocalizedText {
    english: &'static str,
    chinese: &'static str,
}

/// A group of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingGroup {
    Requests,
    Connections,
    Queue,
    KeyLimits,
    ProjectLimits,
    Checks,
    ClientKeys,
    Logs,
    Browsers,
}

/// The format of a value.
#[derive(Debug)]
pub enum ValueFormat {
    /// `zero`: the meaning of 0, if it is special.
    Number {
        unit: Unit,
        zero: Option<LocalizedText>,
    },
    Switch,
    /// `expected`: a description of valid values; `empty`: the meaning of an empty value.
    Text {
        expected: LocalizedText,
        empty: Option<LocalizedText>,
    },
}

/// The presentation of a setting.
#[derive(Debug)]
pub struct SettingEntry {
    pub group: SettingGroup,
    pub format: ValueFormat,
    pub title: LocalizedText,
    pub explanation: LocalizedText,
}

pub const fn text(english: &'static str, chinese: &'static str) -> LocalizedText {
    LocalizedText { english, chinese }
}

pub const fn number_in(unit: Unit) -> ValueFormat {
    ValueFormat::Number { unit, zero: None }
}

pub const fn number_or(unit: Unit, zero: LocalizedText) -> ValueFormat {
    ValueFormat::Number {
        unit,
        zero: Some(zero),
    }
}

pub const NO_LIMIT: LocalizedText = text("no limit", "不限制");

impl LocalizedText {
    pub fn of(self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::TraditionalChinese => self.chinese,
        }
    }

    /// Whether a text in any language contains `search_text`, given in lower case.
    pub fn contains(self, search_text: &str) -> bool {
        [self.english, self.chinese]
            .iter()
            .any(|text| text.to_lowercase().contains(search_text))
    }
}

impl SettingGroup {
    pub const ALL: [Self; 9] = [
        Self::Requests,
        Self::Connections,
        Self::Queue,
        Self::KeyLimits,
        Self::ProjectLimits,
        Self::Checks,
        Self::ClientKeys,
        Self::Logs,
        Self::Browsers,
    ];

    /// The URL fragment of the group.
    pub fn anchor(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Connections => "connections",
            Self::Queue => "waiting",
            Self::KeyLimits => "key-limits",
            Self::ProjectLimits => "project-limits",
            Self::Checks => "checks",
            Self::ClientKeys => "client-keys",
            Self::Logs => "record",
            Self::Browsers => "browsers",
        }
    }

    pub fn title(self) -> LocalizedText {
        match self {
            Self::Requests => text("Requests and retries", "請求與重試"),
            Self::Connections => text("Connections and timeouts", "連線與逾時"),
            Self::Queue => text("Queue and overload", "佇列與過載"),
            Self::KeyLimits => text("Limits per upstream key", "每個上游金鑰的限制"),
            Self::ProjectLimits => text("Limits per project", "每個專案的限制"),
            Self::Checks => text("Checks of upstream keys", "上游金鑰檢查"),
            Self::ClientKeys => text("Client keys", "用戶端金鑰"),
            Self::Logs => text("Logs", "請求記錄"),
            Self::Browsers => text("Browsers (CORS)", "瀏覽器（CORS）"),
        }
    }
}

impl SettingEntry {
    /// The display text of a value.
    pub fn display(&self, language: Language, value: &str) -> String {
        match (&self.format, value.parse::<u64>()) {
            (
                ValueFormat::Number {
                    zero: Some(zero), ..
                },
                Ok(0),
            ) => zero.of(language).to_owned(),
            (ValueFormat::Number { unit, .. }, Ok(number)) => unit.format(language, number),
            (ValueFormat::Switch, _) if value == "on" => language.switched_on().to_owned(),
            (ValueFormat::Switch, _) => language.switched_off().to_owned(),
            (
                ValueFormat::Text {
                    empty: Some(empty), ..
                },
                _,
            ) if value.is_empty() => empty.of(language).to_owned(),
            (ValueFormat::Number { .. } | ValueFormat::Text { .. }, _) => value.to_owned(),
        }
    }

    /// The value in its input field; a 0 with a special meaning is blank.
    pub fn input_value(&self, language: Language, value: &str) -> String {
        match (&self.format, value.parse::<u64>()) {
            (ValueFormat::Number { zero: Some(_), .. }, Ok(0)) => String::new(),
            (ValueFormat::Number { unit, .. }, Ok(number)) => unit.format(language, number),
            (ValueFormat::Number { .. } | ValueFormat::Switch | ValueFormat::Text { .. }, _) => {
                value.to_owned()
            }
        }
    }

    /// The submitted text in the form of [`Settings::set`], which rejects text that cannot be parsed.
    ///
    /// [`Settings::set`]: crate::pool::settings::Settings::set
    pub fn parse(&self, text: &str) -> String {
        let text = text.trim();
        match &self.format {
            ValueFormat::Number { zero: Some(_), .. } if text.is_empty() => "0".to_owned(),
            ValueFormat::Number { unit, .. } => unit
                .parse(text)
                .map_or_else(|| text.to_owned(), |number| number.to_string()),
            ValueFormat::Switch | ValueFormat::Text { .. } => text.to_owned(),
        }
    }

    /// The placeholder of the input: the meaning of a blank field.
    pub fn placeholder(&self, language: Language) -> Option<&'static str> {
        match &self.format {
            ValueFormat::Number { zero: empty, .. } | ValueFormat::Text { empty, .. } => {
                empty.map(|empty| empty.of(language))
            }
            ValueFormat::Switch => None,
        }
    }

    /// The allowed values.
    pub fn bounds(&self, language: Language, definition: &SettingDefinition) -> String {
        match (&self.format, &definition.kind) {
            (ValueFormat::Number { unit, .. }, SettingKind::Number(bounds)) => language.from_to(
                &unit.format(language, *bounds.start()),
                &unit.format(language, *bounds.end()),
            ),
            (ValueFormat::Text { expected, .. }, _) => expected.of(language).to_owned(),
            (ValueFormat::Number { .. } | ValueFormat::Switch, _) => {
                language.on_or_off().to_owned()
            }
        }
    }

    /// The allowed values, and the meaning of a blank field.
    pub fn hint(&self, language: Language, definition: &SettingDefinition) -> String {
        match (&self.format, &definition.kind) {
            (
                ValueFormat::Number {
                    unit,
                    zero: Some(zero),
                },
                SettingKind::Number(bounds),
            ) => language.up_to_or_empty(&unit.format(language, *bounds.end()), zero.of(language)),
            (ValueFormat::Number { .. } | ValueFormat::Switch | ValueFormat::Text { .. }, _) => {
                self.bounds(language, definition)
            }
        }
    }

    /// The error message for an invalid value.
    pub fn error_message(&self, language: Language, definition: &SettingDefinition) -> String {
        let bounds = self.bounds(language, definition);
        let example = self.input_value(language, &definition.default());
        match (&self.format, example.as_str()) {
            (
                ValueFormat::Number {
                    unit: Unit::Count, ..
                },
                _,
            ) => language.write_whole_number(&bounds),
            (ValueFormat::Number { .. }, example) if !example.is_empty() => {
                language.write_value_like(&bounds, example)
            }
            (ValueFormat::Number { .. } | ValueFormat::Switch | ValueFormat::Text { .. }, _) => {
                language.write_value(&bounds)
            }
        }
    }

    /// Whether the setting matches `search_text`, given in lower case.
    pub fn matches(&self, definition: &SettingDefinition, search_text: &str) -> bool {
        search_text.split_whitespace().all(|term| {
            definition.name.contains(term)
                || self.title.contains(term)
                || self.explanation.contains(term)
                || self.group.title().contains(term)
        })
    }
}
