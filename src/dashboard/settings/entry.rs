//! `Entry`: how a setting is shown, written and read.

use crate::dashboard::settings::value::Unit;
use crate::dashboard::texts::Language;
use crate::pool::settings::{SettingDefinition, SettingKind};

/// A text in every language.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    english: &'static str,
    chinese: &'static str,
}

/// What a group of settings is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Requests,
    Connections,
    Waiting,
    KeyLimits,
    ProjectLimits,
    Checks,
    ClientKeys,
    Record,
    Browsers,
}

/// How a value is shown and written.
#[derive(Debug)]
pub enum Look {
    /// `zero`: what 0 stands for, where it does not stand for itself.
    Number {
        unit: Unit,
        zero: Option<Text>,
    },
    Switch,
    /// `expected`: what it must be; `empty`: what none at all stands for.
    Words {
        expected: Text,
        empty: Option<Text>,
    },
}

/// A setting as people see it.
#[derive(Debug)]
pub struct Entry {
    pub group: Group,
    pub look: Look,
    pub title: Text,
    pub explanation: Text,
}

pub const fn text(english: &'static str, chinese: &'static str) -> Text {
    Text { english, chinese }
}

pub const fn counted(unit: Unit) -> Look {
    Look::Number { unit, zero: None }
}

pub const fn zero(unit: Unit, zero: Text) -> Look {
    Look::Number {
        unit,
        zero: Some(zero),
    }
}

pub const NO_LIMIT: Text = text("no limit", "不限制");

impl Text {
    pub fn of(self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::TraditionalChinese => self.chinese,
        }
    }

    /// Whether one of its languages has `words`, which are in small letters.
    pub fn has(self, words: &str) -> bool {
        [self.english, self.chinese]
            .iter()
            .any(|text| text.to_lowercase().contains(words))
    }
}

impl Group {
    pub const ALL: [Self; 9] = [
        Self::Requests,
        Self::Connections,
        Self::Waiting,
        Self::KeyLimits,
        Self::ProjectLimits,
        Self::Checks,
        Self::ClientKeys,
        Self::Record,
        Self::Browsers,
    ];

    /// Its place in the page's address.
    pub fn anchor(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Connections => "connections",
            Self::Waiting => "waiting",
            Self::KeyLimits => "key-limits",
            Self::ProjectLimits => "project-limits",
            Self::Checks => "checks",
            Self::ClientKeys => "client-keys",
            Self::Record => "record",
            Self::Browsers => "browsers",
        }
    }

    pub fn title(self) -> Text {
        match self {
            Self::Requests => text("Requests and retries", "請求與重試"),
            Self::Connections => text("Connections and time limits", "連線與時間限制"),
            Self::Waiting => text("Waiting and overload", "等候與過載"),
            Self::KeyLimits => text("Limits of each upstream key", "每個上游金鑰的限制"),
            Self::ProjectLimits => text("Limits of each project", "每個專案的限制"),
            Self::Checks => text("Checks of upstream keys", "上游金鑰檢查"),
            Self::ClientKeys => text("Client keys", "客戶端金鑰"),
            Self::Record => text("Logs", "記錄"),
            Self::Browsers => text("Browsers", "瀏覽器"),
        }
    }
}

impl Entry {
    /// A value as people read it.
    pub fn shown(&self, language: Language, value: &str) -> String {
        match (&self.look, value.parse::<u64>()) {
            (
                Look::Number {
                    zero: Some(zero), ..
                },
                Ok(0),
            ) => zero.of(language).to_owned(),
            (Look::Number { unit, .. }, Ok(number)) => unit.write(language, number),
            (Look::Switch, _) if value == "on" => language.switched_on().to_owned(),
            (Look::Switch, _) => language.switched_off().to_owned(),
            (
                Look::Words {
                    empty: Some(empty), ..
                },
                _,
            ) if value.is_empty() => empty.of(language).to_owned(),
            (Look::Number { .. } | Look::Words { .. }, _) => value.to_owned(),
        }
    }

    /// A value as it stands in the field in which it is changed: nothing for the 0 that stands for something else.
    pub fn written(&self, language: Language, value: &str) -> String {
        match (&self.look, value.parse::<u64>()) {
            (Look::Number { zero: Some(_), .. }, Ok(0)) => String::new(),
            (Look::Number { unit, .. }, Ok(number)) => unit.write(language, number),
            (Look::Number { .. } | Look::Switch | Look::Words { .. }, _) => value.to_owned(),
        }
    }

    /// What somebody wrote, as [`Settings::set`] takes it; what cannot be read is left to it to refuse.
    ///
    /// [`Settings::set`]: crate::pool::settings::Settings::set
    pub fn read(&self, text: &str) -> String {
        let text = text.trim();
        match &self.look {
            Look::Number { zero: Some(_), .. } if text.is_empty() => "0".to_owned(),
            Look::Number { unit, .. } => unit
                .read(text)
                .map_or_else(|| text.to_owned(), |number| number.to_string()),
            Look::Switch | Look::Words { .. } => text.to_owned(),
        }
    }

    /// What stands in an empty field: what leaving it empty means.
    pub fn nothing(&self, language: Language) -> Option<&'static str> {
        match &self.look {
            Look::Number { zero: empty, .. } | Look::Words { empty, .. } => {
                empty.map(|empty| empty.of(language))
            }
            Look::Switch => None,
        }
    }

    /// What a value may be.
    pub fn bounds(&self, language: Language, definition: &SettingDefinition) -> String {
        match (&self.look, &definition.kind) {
            (Look::Number { unit, .. }, SettingKind::Number(bounds)) => language.from_to(
                &unit.write(language, *bounds.start()),
                &unit.write(language, *bounds.end()),
            ),
            (Look::Words { expected, .. }, _) => expected.of(language).to_owned(),
            (Look::Number { .. } | Look::Switch, _) => language.on_or_off().to_owned(),
        }
    }

    /// What a value may be, and what none at all stands for.
    pub fn hint(&self, language: Language, definition: &SettingDefinition) -> String {
        match (&self.look, &definition.kind) {
            (
                Look::Number {
                    unit,
                    zero: Some(zero),
                },
                SettingKind::Number(bounds),
            ) => language.up_to_or_empty(&unit.write(language, *bounds.end()), zero.of(language)),
            (Look::Number { .. } | Look::Switch | Look::Words { .. }, _) => {
                self.bounds(language, definition)
            }
        }
    }

    /// How to mend a value that it cannot have.
    pub fn remedy(&self, language: Language, definition: &SettingDefinition) -> String {
        let bounds = self.bounds(language, definition);
        let example = self.written(language, &definition.default());
        match (&self.look, example.as_str()) {
            (
                Look::Number {
                    unit: Unit::Things, ..
                },
                _,
            ) => language.write_whole_number(&bounds),
            (Look::Number { .. }, example) if !example.is_empty() => {
                language.write_value_like(&bounds, example)
            }
            (Look::Number { .. } | Look::Switch | Look::Words { .. }, _) => {
                language.write_value(&bounds)
            }
        }
    }

    /// Whether somebody who searches for `words`, in small letters, means this setting.
    pub fn fits(&self, definition: &SettingDefinition, words: &str) -> bool {
        words.split_whitespace().all(|word| {
            definition.name.contains(word)
                || self.title.has(word)
                || self.explanation.has(word)
                || self.group.title().has(word)
        })
    }
}
