//! A setting as a form field: title, explanation, input and error.

use maud::{Markup, html};

use crate::clock::Timestamp;
use crate::dashboard::components::{Tone, badge};
use crate::dashboard::settings::entry::SettingEntry;
use crate::dashboard::settings::value::Unit;
use crate::dashboard::translations::Language;
use crate::pool::settings::SettingKind;
use crate::storage::settings::CurrentSettings;

/// The id of the form for reset buttons, which are nested in other forms.
pub const RESET_FORM: &str = "reset";

/// The data of a setting's field.
#[derive(Debug)]
pub struct SettingField {
    pub entry: SettingEntry,
    /// The current value in row format.
    pub value: String,
    /// `None`: the default applies.
    pub changed_at: Option<Timestamp>,
    /// The submitted value that is invalid.
    pub submitted: Option<String>,
    /// The error message for the submitted value.
    pub error: Option<String>,
}

impl SettingField {
    pub fn of(entry: SettingEntry, present: &CurrentSettings) -> Self {
        Self {
            entry,
            value: entry.definition.value(&present.settings),
            changed_at: present.changed_at.get(entry.name()).copied(),
            submitted: None,
            error: None,
        }
    }

    pub fn is_default(&self) -> bool {
        self.value == self.entry.definition.default()
    }

    /// The setting in the list; `is_first_invalid` makes the browser focus it.
    pub fn row(&self, language: Language, is_first_invalid: bool) -> Markup {
        let (name, title) = (self.entry.name(), self.entry.title(language));
        html! {
            div.setting id={ "setting-" (name) } {
                div.about {
                    div.title {
                        label for=(name) { (title) }
                        @if !self.is_default() { (badge(Tone::Info, language.setting_changed())) }
                    }
                    p #{ (name) "-about" } { (self.entry.texts.explanation.of(language)) }
                    p.small.name {
                        code { (name) }
                        a href=(self.entry.path()) aria-label=(language.setting_history_of(title)) { (language.setting_history()) }
                    }
                }
                (self.control(language, is_first_invalid))
            }
        }
    }

    /// The input with its default and allowed values.
    pub fn control(&self, language: Language, is_first_invalid: bool) -> Markup {
        let (name, title) = (self.entry.name(), self.entry.title(language));
        html! {
            div.field.value.invalid[self.error.is_some()] {
                input type="hidden" name={ "was." (name) } value=(self.value);
                (self.input(language, is_first_invalid))
                @if let Some(error) = &self.error { p.error #{ (name) "-error" } role="alert" { (error) } }
                p.hint #{ (name) "-hint" } {
                    (language.setting_default(&self.entry.display(language, None)))
                    @match &self.entry.definition.kind {
                        // Bounds of counts are too large to be useful.
                        SettingKind::Number(bounds) if self.entry.unit() == Some(Unit::Count) && *bounds.end() >= 1_000_000_000_000 => {}
                        SettingKind::Number(_) => { " · " (self.entry.hint(language)) }
                        SettingKind::Switch | SettingKind::Choice(_) => {}
                        SettingKind::Text(..) | SettingKind::Entries(..) => { br; (self.entry.hint(language)) }
                    }
                }
                @if !self.is_default() {
                    button.small type="submit" form=(RESET_FORM) formaction={ (self.entry.path()) "/reset" }
                        aria-label=(language.reset_setting_of(title)) { (language.reset_setting()) }
                }
            }
        }
    }

    fn input(&self, language: Language, is_first_invalid: bool) -> Markup {
        let name = self.entry.name();
        let described_by = format!("{name}-about {name}-hint");
        let in_use = || self.entry.input_value(language, &self.value);
        let value = self.submitted.clone().unwrap_or_else(in_use);
        let invalid = self.error.is_some().then_some("true");
        let placeholder = self.entry.texts.blank.map(|blank| blank.of(language));
        let list = (name == "day_zone").then_some("zones");
        html! {
            @match &self.entry.definition.kind {
                SettingKind::Switch => {
                    select #(name) name=(name) aria-describedby=(described_by) aria-invalid=[invalid] {
                        @for (choice, label) in [("on", language.switched_on()), ("off", language.switched_off())] {
                            option value=(choice) selected[choice == value] { (label) }
                        }
                    }
                }
                SettingKind::Choice(words) => {
                    select #(name) name=(name) aria-describedby=(described_by) aria-invalid=[invalid] {
                        @for (word, label) in words.iter().zip(self.entry.texts.choices) {
                            option value=(word) selected[*word == value] { (label.of(language)) }
                        }
                    }
                }
                SettingKind::Entries(..) => {
                    // An entry has no space after its comma, so that each gets its line.
                    textarea.short #(name) name=(name) rows="3" placeholder=[placeholder] aria-describedby=(described_by)
                        aria-invalid=[invalid] autofocus[is_first_invalid] autocapitalize="none" spellcheck="false" { (value.replace(", ", "\n")) }
                }
                SettingKind::Number(_) | SettingKind::Text(..) => {
                    input #(name) name=(name) value=(value) placeholder=[placeholder] list=[list]
                        aria-describedby=(described_by) aria-invalid=[invalid] autofocus[is_first_invalid] autocomplete="off"
                        autocapitalize="none" spellcheck="false";
                }
            }
        }
    }
}

/// The suggestions of a time zone field.
pub fn zones() -> Markup {
    html! { datalist #zones { @for name in jiff::tz::db().available() { option value=(name) {} } } }
}
