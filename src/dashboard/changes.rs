//! The table of changes on the page of one subject, with author and IP address.

mod values;

use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde_json::Value;

use crate::dashboard::changes::values::{ChangeFormatter, FieldChange};
use crate::dashboard::components::moment;
use crate::dashboard::page_context::PageContext;
use crate::dashboard::settings::entry::SettingEntry;
use crate::dashboard::translations::Language;
use crate::storage::audit::{Action, ListedChange, Subject};

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::storage::audit::Subject;

    /// The lines of a change with these values.
    fn lines(
        language: Language,
        (action, subject): (Action, Subject),
        name: &str,
        (before, after): (Option<Value>, Option<Value>),
    ) -> Vec<String> {
        let change = ListedChange {
            id: 1,
            at: Timestamp::from_millis(0),
            revision: 1,
            actor: "cli".to_owned(),
            address: None,
            action,
            subject,
            subject_id: Some(1),
            name: name.to_owned(),
            before,
            after,
        };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let line = |field_change: &FieldChange| {
            let (before, after) = (text(&field_change.before), text(&field_change.after));
            format!("{}: {before} → {after}", field_change.field)
        };
        let changes = field_changes(language, &TimeZone::UTC, &change);
        changes.iter().map(line).collect()
    }

    #[test]
    fn an_update_is_listed_field_by_field() {
        let before = json!({"note": "", "limits": {"concurrency": null, "requests_per_day": 5}});
        let after = json!({"note": "new", "limits": {"concurrency": 2, "requests_per_day": 5}});
        let kind = (Action::Update, Subject::ClientKey);
        assert_eq!(
            lines(
                Language::English,
                kind,
                "alice",
                (Some(before), Some(after))
            ),
            ["Concurrent requests: – → 2", "Note: – → new"]
        );
        let before = json!({"name": "alice", "last4": "wxyz", "note": ""});
        let kind = (Action::Delete, Subject::ClientKey);
        assert_eq!(
            lines(Language::English, kind, "alice", (Some(before), None)),
            ["Key: …wxyz → "]
        );
        let after = json!({"value": "1500"});
        let kind = (Action::Update, Subject::Setting);
        assert_eq!(
            lines(
                Language::English,
                kind,
                "idle_timeout_ms",
                (None, Some(after))
            ),
            ["Value: 5 min → 1,500 ms"]
        );
    }

    #[test]
    fn words_times_and_filters_have_labels() {
        let before = json!({"state": "invalid", "billing": "unknown", "enabled": true});
        let after = json!({"state": "ready", "billing": "free", "enabled": false});
        let (chinese, update) = (Language::TraditionalChinese, Action::Update);
        assert_eq!(
            lines(
                chinese,
                (update, Subject::UpstreamKey),
                "key",
                (Some(before), Some(after))
            ),
            ["計費: 未知 → 免費", "啟用: 是 → 否", "狀態: 無效 → 可用"]
        );
        let before = json!({"quiet_hours": null, "events": [], "language": "en"});
        let after = json!({
            "quiet_hours": {"from_minute": 1_320, "to_minute": 390}, "events": ["no_key", "key_dead"],
            "language": "zh-Hant-TW", "secret": "changed",
        });
        let kind = (update, Subject::AlertTarget);
        assert_eq!(
            lines(Language::English, kind, "mail", (Some(before), Some(after))),
            [
                "Events: – → No usable key for a model, Upstream key refused by Google",
                "Language: English → 繁體中文",
                "Quiet hours: – → 22:00–06:30",
                "Secret: – → replaced",
            ]
        );
        let after = json!({"access": "write", "scopes": ["logs", "client-keys"]});
        let kind = (Action::Create, Subject::ApiToken);
        assert_eq!(
            lines(chinese, kind, "script", (None, Some(after))),
            ["存取權:  → 讀取與寫入", "範圍:  → 請求記錄、用戶端金鑰"]
        );
        let filter =
            json!({"outcome": "failed", "upstream_key_id": 1_234, "since": "1970-01-01T00:00:00Z"});
        let after = json!({"rows": 1_200, "filter": filter});
        let kind = (Action::Delete, Subject::RequestLog);
        assert_eq!(
            lines(chinese, kind, "rows", (None, Some(after))),
            [
                "篩選條件:  → 結果 所有失敗、從 1970-01-01 00:00:00.000 +00:00 (UTC)、上游金鑰 1234",
                "列數:  → 1,200",
            ]
        );
    }
}
