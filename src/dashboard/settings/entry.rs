//! `SettingEntry`: a setting with its group and texts; formats and parses its value.

use crate::dashboard::settings::catalogue::{CATALOGUE, SettingTexts};
use crate::dashboard::settings::value::Unit;
use crate::dashboard::translations::{Language, has_word};
use crate::error::Error;
use crate::pool::settings::{DEFINITIONS, SettingDefinition, SettingKind, definition};
use crate::storage::error::Thing;

/// The list of all settings.
pub const PATH: &str = "/settings";

/// A setting with its presentation.
#[derive(Debug, Clone, Copy)]
pub struct SettingEntry {
    pub definition: &'static SettingDefinition,
    pub texts: &'static SettingTexts,
}

impl SettingEntry {
    pub fn all() -> impl Iterator<Item = Self> {
        DEFINITIONS.iter().map(Self::of)
    }

    fn of(definition: &'static SettingDefinition) -> Self {
        let texts = CATALOGUE.of(definition);
        Self { definition, texts }
    }

    pub fn find(name: &str) -> Option<Self> {
        definition(name).map(Self::of)
    }

    /// The setting in a path.
    pub fn in_path(name: &str) -> Result<Self, Error> {
        Self::find(name).ok_or_else(|| Error::NotFound(Thing::Setting, name.to_owned()))
    }

    pub fn name(self) -> &'static str {
        self.definition.name
    }

    pub fn title(self, language: Language) -> &'static str {
        self.texts.title.of(language)
    }

    /// The path of its page.
    pub fn path(self) -> String {
        format!("{PATH}/{}", self.name())
    }

    /// The unit of a number.
    pub fn unit(self) -> Option<Unit> {
        let is_number = matches!(self.definition.kind, SettingKind::Number(_));
        is_number.then(|| Unit::of_setting(self.name()))
    }

    /// The display text of a stored value; `None`: the default.
    pub fn display(self, language: Language, value: Option<&str>) -> String {
        let default = self.definition.default();
        let text = self.input_value(language, value.unwrap_or(&default));
        match (&self.definition.kind, self.texts.blank) {
            (SettingKind::Switch, _) if text == "on" => language.switched_on().to_owned(),
            (SettingKind::Switch, _) => language.switched_off().to_owned(),
            (SettingKind::Choice(words), _) => {
                let label = words.iter().zip(self.texts.choices);
                let label = label.into_iter().find(|(word, _)| **word == text);
                label.map_or(text, |(_, label)| label.of(language).to_owned())
            }
            (_, Some(blank)) if text.is_empty() => blank.of(language).to_owned(),
            (SettingKind::Number(_) | SettingKind::Text(..) | SettingKind::Entries(..), _) => text,
        }
    }

    /// The value in its input field; a 0 with a special meaning is blank.
    pub fn input_value(self, language: Language, value: &str) -> String {
        match (self.unit(), value.parse()) {
            (Some(_), Ok(0)) if self.texts.blank.is_some() => String::new(),
            (Some(unit), Ok(number)) => unit.format(language, number),
            (Some(_) | None, _) => value.to_owned(),
        }
    }

    /// The submitted text in the form of [`Settings::set`], which rejects text that cannot be parsed.
    ///
    /// [`Settings::set`]: crate::pool::settings::Settings::set
    pub fn parse(self, text: &str) -> String {
        let text = text.trim();
        let number = match self.unit() {
            Some(_) if text.is_empty() && self.texts.blank.is_some() => Some(0),
            unit => unit.and_then(|unit| unit.parse(text)),
        };
        number.map_or_else(|| text.to_owned(), |number| number.to_string())
    }

    /// The allowed values.
    fn bounds(self, language: Language) -> String {
        if let SettingKind::Number(bounds) = &self.definition.kind {
            let bound = |number: &u64| Unit::of_setting(self.name()).format(language, *number);
            return language.from_to(&bound(bounds.start()), &bound(bounds.end()));
        }
        if let SettingKind::Choice(words) = self.definition.kind {
            return words.join(language.list_comma());
        }
        let expected = self.texts.expected.map(|expected| expected.of(language));
        expected.unwrap_or(language.on_or_off()).to_owned()
    }

    /// The allowed values, and the meaning of a blank field.
    pub fn hint(self, language: Language) -> String {
        match (&self.definition.kind, self.texts.blank) {
            (SettingKind::Number(bounds), Some(blank)) => {
                let most = Unit::of_setting(self.name()).format(language, *bounds.end());
                language.up_to_or_empty(&most, blank.of(language))
            }
            (
                SettingKind::Number(_)
                | SettingKind::Switch
                | SettingKind::Choice(_)
                | SettingKind::Text(..)
                | SettingKind::Entries(..),
                _,
            ) => self.bounds(language),
        }
    }

    /// The error message for an invalid value; of a list it names the invalid entry.
    pub fn error_message(self, language: Language, submitted: &str) -> String {
        let bounds = self.bounds(language);
        let example = self.input_value(language, &self.definition.default());
        match self.unit() {
            Some(Unit::Count) => language.write_whole_number(&bounds),
            Some(_) if !example.is_empty() => language.write_value_like(&bounds, &example),
            Some(_) | None => {
                let message = language.write_value(&bounds);
                match self.definition.kind.invalid_entry(submitted) {
                    Some(entry) => language.invalid_entry(&message, &entry),
                    None => message,
                }
            }
        }
    }

    /// Whether the setting matches `search_text`, given in lower case.
    pub fn matches(self, search_text: &str) -> bool {
        let SettingTexts {
            group,
            title,
            explanation,
            ..
        } = self.texts;
        let texts = [group.title(), *title, *explanation];
        search_text
            .split_whitespace()
            .all(|term| has_word(self.name(), term) || texts.iter().any(|text| text.has_word(term)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_a_description_of_valid_values_and_choices_have_labels() {
        for SettingEntry { definition, texts } in SettingEntry::all() {
            let is_text = matches!(
                definition.kind,
                SettingKind::Text(..) | SettingKind::Entries(..)
            );
            assert_eq!(texts.expected.is_some(), is_text, "{}", definition.name);
            let words = match definition.kind {
                SettingKind::Choice(words) => words.len(),
                _ => 0,
            };
            assert_eq!(texts.choices.len(), words, "{}", definition.name);
        }
    }
}
