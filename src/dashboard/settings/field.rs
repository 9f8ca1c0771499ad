//! A setting as a form field: title, explanation, input and error.

use maud::{Markup, html};

use crate::clock::Timestamp;
use crate::dashboard::components::{Tone, badge};
use crate::dashboard::settings::catalogue::CATALOGUE;
use crate::dashboard::settings::entry::{SettingEntry, ValueFormat};
use crate::dashboard::settings::paths::path_of;
use crate::dashboard::settings::value::Unit;
use crate::dashboard::translations::Language;
use crate::pool::settings::{SettingDefinition, SettingKind};
use crate::storage::settings::CurrentSettings;

/// The id of the form for reset buttons, which are nested in other forms.
pub const RESET_FORM: &str = "reset";

/// The data of a setting's field.
#[derive(Debug)]
pub struct SettingField {
    pub definition: &'static SettingDefinition,
    pub entry: &'static SettingEntry,
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
    pub fn of(definition: &'static SettingDefinition, present: &CurrentSettings) -> Self {
        Self {
            definition,
            entry: CATALOGUE.of(definition),
            value: definition.value(&present.settings),
            changed_at: present.changed_at.get(definition.name).copied(),
            submitted: None,
            error: None,
        }
    }

    pub fn is_default(&self) -> bool {
        self.value == self.definition.default()
    }

    pub fn title(&self, language: Language) -> &'static str {
        self.entry.title.of(language)
    }

    /// The setting in the list; `is_first_invalid` makes the browser focus it.
    pub fn row(&self, language: Language, is_first_invalid: bool) -> Markup {
        let name = self.definition.name;
        let title = self.title(language);
        html! {
            div.setting id={ "setting-" (name) } {
                div.about {
                    div.title {
                        label for=(name) { (title) }
                        @if !self.is_default() { (badge(Tone::Info, language.setting_changed())) }
                    }
                    p #{ (name) "-about" } { (self.entry.explanation.of(language)) }
                    p.small.name {
                        code { (name) }
                        a href=(path_of(name)) aria-label=(language.setting_history_of(title)) { (language.setting_history()) }
                    }
                }
                (self.control(language, is_first_invalid))
            }
        }
    }

    /// The input with its default and allowed values.
    pub fn control(&self, language: Language, is_first_invalid: bool) -> Markup {
        let name = self.definition.name;
        let title = self.title(language);
        let default = self.entry.display(language, &self.definition.default());
        html! {
            div.field.value.invalid[self.error.is_some()] {
                input type="hidden" name={ "was." (name) } value=(self.value);
                (self.input(language, is_first_invalid))
                @if let Some(error) = &self.error { p.error #{ (name) "-error" } role="alert" { (error) } }
                p.hint #{ (name) "-hint" } {
                    (language.setting_default(&default))
                    @match &self.entry.format {
                        ValueFormat::Number { .. } if self.shows_bounds() => { " · " (self.entry.hint(language, self.definition)) }
                        ValueFormat::Number { .. } | ValueFormat::Switch => {}
                        ValueFormat::Text { .. } => { br; (self.entry.hint(language, self.definition)) }
                    }
                }
                @if !self.is_default() {
                    button.small type="submit" form=(RESET_FORM) formaction={ (path_of(name)) "/reset" }
                        aria-label=(language.reset_setting_of(title)) { (language.reset_setting()) }
                }
            }
        }
    }

    /// Whether the list shows the bounds; bounds of counts are too large to be useful.
    fn shows_bounds(&self) -> bool {
        match (&self.definition.kind, &self.entry.format) {
            (
                SettingKind::Number(bounds),
                ValueFormat::Number {
                    unit: Unit::Count, ..
                },
            ) => *bounds.end() < 1_000_000_000_000,
            (SettingKind::Number(_) | SettingKind::Switch | SettingKind::Text(..), _) => true,
        }
    }

    fn input(&self, language: Language, is_first_invalid: bool) -> Markup {
        let name = self.definition.name;
        let described_by = format!("{name}-about {name}-hint");
        let in_use = || self.entry.input_value(language, &self.value);
        let value = self.submitted.clone().unwrap_or_else(in_use);
        let invalid = self.error.is_some().then_some("true");
        match &self.entry.format {
            ValueFormat::Switch => html! {
                select #(name) name=(name) aria-describedby=(described_by) aria-invalid=[invalid] {
                    @for (choice, label) in [("on", language.switched_on()), ("off", language.switched_off())] {
                        option value=(choice) selected[choice == value] { (label) }
                    }
                }
            },
            ValueFormat::Number { .. } | ValueFormat::Text { .. } => {
                let list = (name == "day_zone").then_some("zones");
                html! {
                    input #(name) name=(name) value=(value) placeholder=[self.entry.placeholder(language)] list=[list]
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
