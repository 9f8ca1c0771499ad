//! The table of changes on the page of one subject, with author and IP address.

use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::dashboard::components::{bytes, exact, moment};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::settings::entry::SettingEntry;
use crate::dashboard::translations::{Language, grouped};
use crate::pool::clients::client_key::ClientLimit;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::key_status::KeyStatusKind;
use crate::pool::keys::upstream_key::Billing;
use crate::storage::audit::{Action, ListedChange, Subject};

/// One field of a change: created fields have only `after`, deleted fields only `before`.
#[derive(Debug, PartialEq, Eq)]
pub struct FieldChange {
    pub field: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// The changes, newest first.
pub fn change_table(context: &PageContext, changes: &[ListedChange]) -> Markup {
    let language = context.language;
    html! {
        @if changes.is_empty() {
            p.muted { (language.no_changes()) }
        } @else {
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.changed_at()) } th scope="col" { (language.changed_by()) }
                    th scope="col" { (language.what_changed()) }
                } }
                tbody { @for change in changes { (row(context, change)) } }
            } }
        }
    }
}

fn row(context: &PageContext, change: &ListedChange) -> Markup {
    let language = context.language;
    html! {
        tr {
            td data-label=(language.changed_at()) { (moment(context, change.at)) }
            td data-label=(language.changed_by()) {
                span { (actor_label(language, &change.actor)) @if let Some(address) = &change.address { " " span.muted { (address) } } }
            }
            td data-label=(language.what_changed()) {
                span.lines {
                    span { (language.action(change.action)) }
                    // The label of every other action is sufficient.
                    @if matches!(change.action, Action::Update | Action::Rotate) {
                        @for field_change in field_changes(language, &context.zone, change) { (field_change_line(&field_change)) }
                    }
                }
            }
        }
    }
}

/// The author of a change: an admin by name alone.
pub fn actor_label(language: Language, actor: &str) -> String {
    match actor.split_once(':') {
        Some(("admin", name)) => name.to_owned(),
        Some(("token", name)) => language.actor_token(name),
        _ => match actor {
            "cli" => language.actor_cli().to_owned(),
            "environment" => language.actor_environment().to_owned(),
            "schedule" => language.actor_schedule().to_owned(),
            "demo" => language.actor_demo().to_owned(),
            other => other.to_owned(),
        },
    }
}

/// The label and both values of a changed field.
pub fn field_change_line(field_change: &FieldChange) -> Markup {
    html! {
        span.small {
            span.muted { (field_change.field) } " "
            @if let Some(before) = &field_change.before { (before) }
            @if field_change.before.is_some() && field_change.after.is_some() { " → " }
            @if let Some(after) = &field_change.after { (after) }
        }
    }
}

/// The changed fields of a change.
pub fn field_changes(
    language: Language,
    zone: &TimeZone,
    change: &ListedChange,
) -> Vec<FieldChange> {
    if change.subject == Subject::Setting {
        return setting_change(language, change).into_iter().collect();
    }
    let formatter = ChangeFormatter { language, zone };
    let mut all = Vec::new();
    match (&change.before, &change.after) {
        (before, Some(Value::Object(after)))
            if matches!(change.action, Action::Update | Action::Rotate) =>
        {
            for (field, after) in after {
                let before = before.as_ref().and_then(|before| before.get(field));
                formatter.update(field, before, after, &mut all);
            }
        }
        // No field was created or deleted: the action's label is sufficient.
        (Some(_), Some(_)) | (None, None) => {}
        (Some(object), None) | (None, Some(object)) => {
            for (field, value) in formatter.values(object, &change.name) {
                let (before, after) = match &change.after {
                    None => (Some(value), None),
                    Some(_) => (None, Some(value)),
                };
                all.push(FieldChange {
                    field,
                    before,
                    after,
                });
            }
        }
    }
    all
}

/// The formatted values of a setting; `None` for a setting that no longer exists.
fn setting_change(language: Language, change: &ListedChange) -> Option<FieldChange> {
    let entry = SettingEntry::find(&change.name)?;
    let value = |json: &Option<Value>| {
        let value = json.as_ref().and_then(|json| json.get("value")?.as_str());
        entry.display(language, value)
    };
    Some(FieldChange {
        field: language.setting_value().to_owned(),
        before: Some(value(&change.before)),
        after: Some(value(&change.after)),
    })
}

/// Formats the values of a change.
struct ChangeFormatter<'a> {
    language: Language,
    zone: &'a TimeZone,
}

impl ChangeFormatter<'_> {
    /// Objects are compared field by field.
    fn update(
        &self,
        field: &str,
        before: Option<&Value>,
        after: &Value,
        all: &mut Vec<FieldChange>,
    ) {
        if let Value::Object(inner) = after {
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
    fn values<'a>(
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
            Value::String(text) if field == "last4" => Some(format!("…{text}")),
            Value::String(text) if ["expires_at", "old_secret_until"].contains(&field) => {
                let at = text.parse::<Timestamp>();
                Some(at.map_or_else(|_| text.clone(), |at| exact(self.zone, at)))
            }
            Value::String(text) if field == "billing" => Some(match text.parse() {
                Ok(Billing::Unknown) => self.language.unknown().to_owned(),
                Ok(billing @ (Billing::Free | Billing::Paid)) => {
                    self.language.billing_label(billing).to_owned()
                }
                Err(_) => text.clone(),
            }),
            Value::String(text) if field == "state" => {
                let kind = text.parse::<KeyStatusKind>();
                let label = kind.map(|kind| self.language.key_state(kind).to_owned());
                Some(label.unwrap_or_else(|_| text.clone()))
            }
            Value::String(text) if field == "rule" => {
                let rule = Rule::named(text).map(|rule| self.language.rule(rule));
                Some(rule.unwrap_or(text).to_owned())
            }
            Value::String(text) => Some(text.clone()),
            Value::Array(items) => {
                let items = items.iter();
                let items: Vec<_> = items
                    .filter_map(|item| self.text(field, Some(item)))
                    .collect();
                (!items.is_empty()).then(|| items.join(", "))
            }
            Value::Number(number) if field == "bytes" => Some(bytes(number.as_u64().unwrap_or(0))),
            Value::Number(number) => {
                Some(number.as_u64().map_or_else(|| number.to_string(), grouped))
            }
            Value::Bool(true) => Some(self.language.yes().to_owned()),
            Value::Bool(false) => Some(self.language.no().to_owned()),
            value @ Value::Object(_) => Some(value.to_string()),
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::storage::audit::Subject;

    #[test]
    fn an_update_is_listed_field_by_field() {
        let change = ListedChange {
            id: 1,
            at: Timestamp::from_millis(0),
            revision: 1,
            actor: "cli".to_owned(),
            address: None,
            action: Action::Update,
            subject: Subject::ClientKey,
            subject_id: Some(1),
            name: "alice".to_owned(),
            before: Some(
                json!({"note": "", "limits": {"concurrency": null, "requests_per_day": 5}}),
            ),
            after: Some(
                json!({"note": "new", "limits": {"concurrency": 2, "requests_per_day": 5}}),
            ),
        };

        let line = |field_change: &FieldChange| {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let (before, after) = (text(&field_change.before), text(&field_change.after));
            format!("{}: {before} → {after}", field_change.field)
        };
        let lines = |change: &ListedChange| {
            let field_changes = field_changes(Language::English, &TimeZone::UTC, change);
            field_changes.iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(
            lines(&change),
            ["Concurrent requests: – → 2", "Note: – → new"]
        );
        let deletion = ListedChange {
            action: Action::Delete,
            before: Some(json!({"name": "alice", "last4": "wxyz", "note": ""})),
            after: None,
            ..change.clone()
        };
        assert_eq!(lines(&deletion), ["Key: …wxyz → "]);
        let setting = ListedChange {
            subject: Subject::Setting,
            subject_id: None,
            name: "idle_timeout_ms".to_owned(),
            before: None,
            after: Some(json!({"value": "1500"})),
            ..change
        };
        assert_eq!(lines(&setting), ["Value: 5 min → 1,500 ms"]);
        let cleared = ListedChange {
            subject: Subject::UpstreamKey,
            before: Some(json!({"state": "invalid", "billing": "unknown", "enabled": true})),
            after: Some(json!({"state": "ready", "billing": "free", "enabled": false})),
            ..setting
        };
        let chinese = field_changes(Language::TraditionalChinese, &TimeZone::UTC, &cleared);
        let chinese: Vec<_> = chinese.iter().map(line).collect();
        assert_eq!(
            chinese,
            ["計費: 未知 → 免費", "啟用: 是 → 否", "狀態: 無效 → 可用"]
        );
    }
}
