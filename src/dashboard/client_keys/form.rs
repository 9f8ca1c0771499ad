//! The client key form: submitted fields, validation and rendering.

use std::collections::HashMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use crate::clock::Timestamp;
use crate::dashboard::components::{card, error_summary, field};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::pool::clients::client_key::{ClientLimit, ClientLimits};
use crate::pool::clients::scopes::{self, InvalidScope};
use crate::pool::model_fallback::ModelFallback;
use crate::pool::money::{nano_usd, usd};
use crate::storage::client_keys::ClientKeyTerms;

/// Error messages by field name.
pub type FieldErrors = HashMap<&'static str, String>;

/// The fields as submitted by the browser.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClientKeyForm {
    name: String,
    note: String,
    expires: String,
    requests_per_minute: String,
    requests_per_day: String,
    tokens_per_minute: String,
    tokens_per_day: String,
    concurrency: String,
    cost_per_month: String,
    models: String,
    paths: String,
    addresses: String,
    tags: String,
    direct_access: String,
    model_fallback: String,
}

impl ClientKeyForm {
    /// The form filled with the terms of a key.
    pub fn of(terms: &ClientKeyTerms, zone: &TimeZone) -> Self {
        let limit = |limit| match terms.limits.most(limit) {
            None => String::new(),
            Some(amount) if is_cost(limit) => usd(amount),
            Some(amount) => amount.to_string(),
        };
        let expires = terms.expires_at.map(|at| field_time(at, zone));
        Self {
            name: terms.name.clone(),
            note: terms.note.clone(),
            expires: expires.unwrap_or_default(),
            requests_per_minute: limit(ClientLimit::RequestsPerMinute),
            requests_per_day: limit(ClientLimit::RequestsPerDay),
            tokens_per_minute: limit(ClientLimit::TokensPerMinute),
            tokens_per_day: limit(ClientLimit::TokensPerDay),
            concurrency: limit(ClientLimit::Concurrency),
            cost_per_month: limit(ClientLimit::CostPerMonth),
            models: terms.models.join("\n"),
            paths: terms.paths.join("\n"),
            addresses: terms.addresses.join("\n"),
            tags: terms.tags.join("\n"),
            direct_access: if terms.direct_access { "on" } else { "" }.to_owned(),
            model_fallback: ModelFallback::own_text(terms.model_fallback.as_ref()),
        }
    }

    /// The validated terms; `before` contains the current terms of an existing key.
    pub fn terms(
        &self,
        context: &PageContext,
        before: Option<&ClientKeyTerms>,
    ) -> Result<ClientKeyTerms, FieldErrors> {
        let language = context.language;
        let mut errors = FieldErrors::new();
        let name = self.name.trim();
        if name.is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
            errors.insert("name", language.bad_name().to_owned());
        }
        let note = self.note.trim();
        if note.chars().count() > 1_000 {
            errors.insert("note", language.bad_note().to_owned());
        }
        let previous = before.and_then(|terms| terms.expires_at);
        let expires_at = self.expiry(context, previous).unwrap_or_else(|message| {
            errors.insert("expires", message.to_owned());
            None
        });
        let limits = self.limits(language, &mut errors);
        let model_fallback = ModelFallback::parse_own(&self.model_fallback).unwrap_or_else(|| {
            errors.insert("model_fallback", language.bad_fallback().to_owned());
            None
        });
        let mut list = |field, text: &str, check: fn(&str) -> Result<(), InvalidScope>| {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let lines: Vec<_> = lines.map(str::to_owned).collect();
            if let Some(error) = lines.iter().find_map(|line| check(line).err()) {
                errors.insert(field, language.bad_scope(&error));
            }
            lines
        };
        let terms = ClientKeyTerms {
            name: name.to_owned(),
            note: note.to_owned(),
            expires_at,
            limits,
            models: list("models", &self.models, scopes::check_model),
            paths: list("paths", &self.paths, scopes::check_path),
            addresses: list("addresses", &self.addresses, scopes::check_address),
            tags: list("tags", &self.tags.replace(',', "\n"), scopes::check_tag),
            direct_access: !self.direct_access.is_empty(),
            model_fallback,
        };
        if errors.is_empty() {
            Ok(terms)
        } else {
            Err(errors)
        }
    }

    fn expiry(
        &self,
        context: &PageContext,
        previous: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, &'static str> {
        let text = self.expires.trim();
        if text.is_empty() {
            return Ok(None);
        }
        // The field has minute precision; an unchanged value keeps its seconds, and may be in the past.
        if previous.is_some_and(|at| field_time(at, &context.zone) == text) {
            return Ok(previous);
        }
        parse_expiry(context, text)
    }

    fn limits(&self, language: Language, errors: &mut FieldErrors) -> ClientLimits {
        let mut read = |limit| {
            parse_limit(limit, self.text_of(limit)).unwrap_or_else(|| {
                let message = match limit {
                    ClientLimit::CostPerMonth => language.bad_cost(),
                    _ => language.bad_limit(),
                };
                errors.insert(limit.name(), message.to_owned());
                None
            })
        };
        ClientLimits {
            requests_per_minute: read(ClientLimit::RequestsPerMinute),
            requests_per_day: read(ClientLimit::RequestsPerDay),
            tokens_per_minute: read(ClientLimit::TokensPerMinute),
            tokens_per_day: read(ClientLimit::TokensPerDay),
            concurrency: read(ClientLimit::Concurrency),
            cost_per_month_nano_usd: read(ClientLimit::CostPerMonth),
        }
    }

    fn text_of(&self, limit: ClientLimit) -> &str {
        match limit {
            ClientLimit::RequestsPerMinute => &self.requests_per_minute,
            ClientLimit::RequestsPerDay => &self.requests_per_day,
            ClientLimit::TokensPerMinute => &self.tokens_per_minute,
            ClientLimit::TokensPerDay => &self.tokens_per_day,
            ClientLimit::Concurrency => &self.concurrency,
            ClientLimit::CostPerMonth => &self.cost_per_month,
        }
    }

    /// All fields with their error messages.
    pub fn fields(&self, context: &PageContext, errors: &FieldErrors) -> Markup {
        let language = context.language;
        html! {
            (error_summary(language, &labelled(language, errors)))
            (card(language.identification(), self.name_fields(context, errors)))
            (card(language.client_key_limits(), html! {
                p.hint.small { (language.limits_lead()) }
                div.fields { @for limit in ClientLimit::ALL.iter().copied() { (self.limit_field(language, limit, errors)) } }
            }))
            (card(language.scopes_title(), html! {
                p.hint.small { (language.scopes_lead()) }
                div.fields.wide { (self.scope_fields(language, errors)) }
                label.check {
                    input type="checkbox" name="direct_access" value="on" checked[!self.direct_access.is_empty()];
                    (language.direct_access())
                }
                p.hint.small { (language.direct_access_hint()) }
                (self.fallback_field(language, errors))
            }))
        }
    }

    fn fallback_field(&self, language: Language, errors: &FieldErrors) -> Markup {
        let (name, hint) = ("model_fallback", language.own_fallback_hint());
        let input = html! {
            input #(name) name=(name) value=(self.model_fallback) autocomplete="off" spellcheck="false" autocapitalize="none"
                placeholder=(language.own_fallback_blank());
        };
        let label = language.own_fallback();
        field(name, label, Some(hint), error_of(errors, name), input)
    }

    fn name_fields(&self, context: &PageContext, errors: &FieldErrors) -> Markup {
        let language = context.language;
        let zone = context.zone.iana_name().unwrap_or("UTC");
        let name = html! { input #name name="name" value=(self.name) maxlength="100" autocomplete="off" required; };
        let note = html! { input #note name="note" value=(self.note) maxlength="1000" autocomplete="off"; };
        let expires =
            html! { input #expires type="datetime-local" name="expires" value=(self.expires); };
        let hint = language.client_key_expires_hint(zone);
        html! {
            div.fields.wide {
                (field("name", language.client_key_name(), Some(language.client_key_name_hint()), error_of(errors, "name"), name))
                (field("note", language.client_key_note(), Some(language.optional()), error_of(errors, "note"), note))
                (field("expires", language.client_key_expires(), Some(&hint), error_of(errors, "expires"), expires))
            }
        }
    }

    fn limit_field(&self, language: Language, limit: ClientLimit, errors: &FieldErrors) -> Markup {
        let (name, error) = (limit.name(), error_of(errors, limit.name()));
        let mode = if is_cost(limit) { "decimal" } else { "numeric" };
        let input = html! {
            input #(name) name=(name) value=(self.text_of(limit)) inputmode=(mode) autocomplete="off"
                placeholder=(language.no_limit());
        };
        field(name, language.limit(limit), None, error, input)
    }

    fn scope_fields(&self, language: Language, errors: &FieldErrors) -> Markup {
        let scope = |name: &str, label: &str, hint: &str, text: &str| {
            let input = html! {
                textarea.short #(name) name=(name) rows="3" spellcheck="false" autocapitalize="none" { (text) }
            };
            field(name, label, Some(hint), error_of(errors, name), input)
        };
        html! {
            (scope("models", language.models_field(), language.models_hint(), &self.models))
            (scope("paths", language.paths_field(), language.paths_hint(), &self.paths))
            (scope("addresses", language.addresses_field(), language.addresses_hint(), &self.addresses))
            (scope("tags", language.key_tags_field(), language.key_tags_hint(), &self.tags))
        }
    }
}

/// A time in the admin's zone that is not past; `None`: blank.
pub fn parse_expiry(context: &PageContext, text: &str) -> Result<Option<Timestamp>, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let moment = text.parse::<DateTime>().ok();
    let moment = moment.and_then(|moment| moment.to_zoned(context.zone.clone()).ok());
    let moment = moment.ok_or(context.language.bad_time())?;
    let at = moment.timestamp().into();
    if at <= context.now {
        return Err(context.language.past_time());
    }
    Ok(Some(at))
}

/// `None`: invalid; `Some(None)`: blank.
pub fn parse_limit(limit: ClientLimit, text: &str) -> Option<Option<u64>> {
    // Pages write large numbers with commas.
    let text = text.trim().replace(',', "");
    if text.is_empty() {
        return Some(None);
    }
    let (most, largest) = if is_cost(limit) {
        (nano_usd(&text)?, i64::MAX.unsigned_abs())
    } else {
        (text.parse().ok()?, ClientLimits::LARGEST)
    };
    (1..=largest).contains(&most).then_some(Some(most))
}

fn is_cost(limit: ClientLimit) -> bool {
    limit == ClientLimit::CostPerMonth
}

/// The errors in the order of the fields, each with its field's id and label.
fn labelled(language: Language, errors: &FieldErrors) -> Vec<(&'static str, &'static str, &str)> {
    let before = [
        ("name", language.client_key_name()),
        ("note", language.client_key_note()),
        ("expires", language.client_key_expires()),
    ];
    let limits = ClientLimit::ALL.iter();
    let limits = limits.map(|limit| (limit.name(), language.limit(*limit)));
    let after = [
        ("models", language.models_field()),
        ("paths", language.paths_field()),
        ("addresses", language.addresses_field()),
        ("model_fallback", language.own_fallback()),
        ("tags", language.key_tags_field()),
    ];
    let fields = before.into_iter().chain(limits).chain(after);
    let errors = fields.filter_map(|(id, label)| Some((id, label, errors.get(id)?.as_str())));
    errors.collect()
}

fn error_of<'a>(errors: &'a FieldErrors, field: &str) -> Option<&'a str> {
    errors.get(field).map(String::as_str)
}

/// The value of a datetime-local field: `2027-01-31T08:00`.
fn field_time(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_jiff().to_zoned(zone.clone());
    at.strftime("%Y-%m-%dT%H:%M").to_string()
}
