//! The values of a change as texts: labels of words, local times, the conditions of a filter.

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use crate::alert_sender::message::kind_name;
use crate::clock::Timestamp;
use crate::dashboard::components::{bytes, exact};
use crate::dashboard::logs::outcome_labels::outcome_label;
use crate::dashboard::translations::{Language, grouped};
use crate::pool::alert_schedule::QuietHours;
use crate::pool::api_token::TokenAccess;
use crate::pool::clients::client_key::ClientLimit;
use crate::pool::egress::condition::EgressState;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::Billing;

/// One field of a change: created fields have only `after`, deleted fields only `before`.
#[derive(Debug, PartialEq, Eq)]
pub struct FieldChange {
    pub field: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Formats the values of a change.
pub struct ChangeFormatter<'a> {
    pub language: Language,
    pub zone: &'a TimeZone,
}

impl ChangeFormatter<'_> {
    /// Objects are compared field by field.
    pub fn update(
        &self,
        field: &str,
        before: Option<&Value>,
        after: &Value,
        all: &mut Vec<FieldChange>,
    ) {
        if let Value::Object(inner) = after
            && field != "quiet_hours"
        {
            for (name, after) in inner {
                let before = before.and_then(|before| before.get(name));
                if before != Some(after) {
                    self.update(name, before, after, all);
                }
            }
            return;
        }
        let text = |value| Some(self.text(field, value).unwrap_or_else(|| "–".to_owned()));
        all.push(FieldChange {
            field: field_label(self.language, field).to_owned(),
            before: text(before),
            after: text(Some(after)),
        });
    }

    /// All fields of a created or deleted subject, except empty fields and the name.
    pub fn values<'a>(
        &'a self,
        object: &'a Value,
        name: &'a str,
    ) -> impl Iterator<Item = (String, String)> {
        let fields = object.as_object().into_iter().flatten();
        fields.filter_map(move |(field, value)| {
            let text = self.text(field, Some(value))?;
            (text != name).then(|| (field_label(self.language, field).to_owned(), text))
        })
    }

    /// `None`: there is no value.
    fn text(&self, field: &str, value: Option<&Value>) -> Option<String> {
        match value? {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(self.text_of_string(field, text)),
            Value::Array(items) => {
                let items = items.iter();
                let items: Vec<_> = items
                    .filter_map(|item| self.text(field, Some(item)))
                    .collect();
                (!items.is_empty()).then(|| items.join(self.language.list_comma()))
            }
            Value::Number(number) if field == "bytes" => Some(bytes(number.as_u64().unwrap_or(0))),
            // Ids are not grouped.
            Value::Number(number) if field.ends_with("_id") || field.ends_with("_ids") => {
                Some(number.to_string())
            }
            Value::Number(number) => {
                Some(number.as_u64().map_or_else(|| number.to_string(), grouped))
            }
            Value::Bool(true) => Some(self.language.yes().to_owned()),
            Value::Bool(false) => Some(self.language.no().to_owned()),
            Value::Object(_) if field == "quiet_hours" => {
                let hours = QuietHours::deserialize(value?).ok()?;
                let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
                Some(format!(
                    "{}–{}",
                    time(hours.from_minute),
                    time(hours.to_minute)
                ))
            }
            Value::Object(entries) => {
                let entries = entries.iter().filter_map(|(name, value)| {
                    let text = self.text(name, Some(value))?;
                    Some(format!("{} {text}", condition_label(self.language, name)))
                });
                let entries: Vec<_> = entries.collect();
                (!entries.is_empty()).then(|| entries.join(self.language.list_comma()))
            }
        }
    }

    fn text_of_string(&self, field: &str, text: &str) -> String {
        match field {
            "last4" => format!("…{text}"),
            "expires_at" | "old_secret_until" | "since" | "until" => {
                let at = text.parse::<Timestamp>();
                at.map_or_else(|_| text.to_owned(), |at| exact(self.zone, at))
            }
            _ => word_label(self.language, field, text)
                .unwrap_or(text)
                .to_owned(),
        }
    }
}

/// The label of a word from a closed list; `None`: the text of this field is no such word.
fn word_label(language: Language, field: &str, word: &str) -> Option<&'static str> {
    match field {
        "billing" => match word.parse().ok()? {
            Billing::Unknown => Some(language.unknown()),
            billing @ (Billing::Free | Billing::Paid) => Some(language.billing_label(billing)),
        },
        "state" => {
            let of_key = word.parse().ok().map(|kind| language.key_state(kind));
            of_key.or_else(|| Some(egress_state(language, word.parse().ok()?)))
        }
        "rule" => Rule::named(word).map(|rule| language.rule(rule)),
        "kind" => {
            let kind = word.parse().ok();
            let of_log = match word {
                "check" => Some(language.kind_check()),
                "request" => Some(language.kind_request()),
                _ => None,
            };
            kind.map(|kind| language.alert_target_kind_name(kind))
                .or(of_log)
        }
        "events" => {
            let event = word.parse().ok()?;
            Some(kind_name(language.of_messages(), event))
        }
        "access" => match word.parse().ok()? {
            TokenAccess::Read => Some(language.token_read()),
            TokenAccess::Write => Some(language.token_write()),
        },
        "scopes" => word.parse().ok().map(|scope| language.api_scope(scope)),
        "language" => Some(Language::of_alerts(word.parse().ok()?).native_name()),
        "outcome" => match word {
            "failed" => Some(language.outcome_failed()),
            "running" => Some(language.outcome_running()),
            _ => Some(outcome_label(language, Some(word.parse().ok()?))),
        },
        // A secret that was replaced.
        "credential" | "secret" if word == "changed" => Some(language.value_replaced()),
        _ => None,
    }
}

fn egress_state(language: Language, state: EgressState) -> &'static str {
    match state {
        EgressState::Untested => language.egress_untested(),
        EgressState::Working => language.egress_working(),
        EgressState::Broken => language.egress_broken(),
        EgressState::LocationRefused => language.egress_location_refused(),
    }
}

/// The label of a condition of a filter of the log; an unknown one is labelled by its JSON name.
fn condition_label(language: Language, condition: &str) -> &str {
    match condition {
        "kind" => language.log_kind(),
        "outcome" => language.log_outcome(),
        "status" => language.log_status(),
        "model" => language.log_model(),
        "model_version" => language.log_version(),
        "client_key_id" | "client_key" => language.log_client(),
        "client_ip" => language.log_ip(),
        "user_agent" => language.log_agent(),
        "upstream_key_id" | "upstream_key" => language.log_key(),
        "project" => language.log_project(),
        "egress" => language.log_egress(),
        "method" => language.log_method(),
        "path" => language.log_path(),
        "operation" => language.log_operation(),
        "streamed" => language.log_streamed(),
        "retried" => language.log_retried(),
        "min_duration_ms" => language.log_min_duration(),
        "min_first_byte_ms" => language.log_min_first_byte(),
        "finish_reason" => language.log_finish_reason(),
        "service_tier" => language.log_service_tier(),
        "error" => language.log_error(),
        "since" => language.log_since(),
        "until" => language.log_until(),
        "text" => language.log_text(),
        other => other,
    }
}

/// The label of a field; an unknown field is labelled by its JSON name.
fn field_label(language: Language, field: &str) -> &str {
    match field {
        "name" => language.client_key_name(),
        "note" => language.client_key_note(),
        "last4" => language.client_key_secret(),
        "expires_at" => language.client_key_expires(),
        "old_secret_until" => language.old_secret_until(),
        "models" => language.models_field(),
        "paths" => language.paths_field(),
        "addresses" => language.addresses_field(),
        "direct_access" => language.direct_access(),
        "model_fallback" => language.own_fallback(),
        "label" => language.label(),
        "project" => language.project(),
        "billing" => language.billing(),
        "priority" => language.priority(),
        "weight" => language.weight(),
        "tags" => language.tags(),
        "number" => language.project_number(),
        "bytes" => language.backup_size(),
        "rows" => language.exported_rows(),
        "filter" => language.exported_filter(),
        "complete" => language.exported_completely(),
        "sha256" => "SHA-256",
        "browser" => language.browser(),
        // Of a network, a receiver of alerts or a proxy.
        "address" => language.changed_address(),
        "url" => "URL",
        "kind" => language.alert_target_kind(),
        "events" => language.alert_events(),
        "quiet_hours" => language.quiet_hours(),
        "server" => language.changed_server(),
        "sender" => language.mail_from(),
        "language" => language.changed_language(),
        "secret" => language.changed_secret(),
        "credential" => language.changed_credential(),
        "project_ids" => language.changed_project_ids(),
        "access" => language.token_access(),
        "scopes" => language.token_scopes(),
        "zone" => language.time_zone(),
        "state" => language.state_heading(),
        "rule" => language.reason(),
        "enabled" => language.in_use(),
        field => field
            .parse()
            .map_or(field, |limit: ClientLimit| language.limit(limit)),
    }
}
