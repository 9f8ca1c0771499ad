//! What was changed on one thing, by whom and from where, as its page shows it.

use maud::{Markup, html};
use serde_json::Value;

use crate::dashboard::components::moment;
use crate::dashboard::texts::Language;
use crate::dashboard::visit::Visit;
use crate::storage::audit::{Action, ListedChange};

/// The changes, newest first.
pub fn changes(visit: &Visit, changes: &[ListedChange]) -> Markup {
    let language = visit.language;
    html! {
        @if changes.is_empty() {
            p.muted { (language.no_changes()) }
        } @else {
            div.table { table.stack {
                thead { tr {
                    th scope="col" { (language.changed_at()) }
                    th scope="col" { (language.changed_by()) }
                    th scope="col" { (language.what_changed()) }
                } }
                tbody { @for change in changes { (row(visit, change)) } }
            } }
        }
    }
}

fn row(visit: &Visit, change: &ListedChange) -> Markup {
    let language = visit.language;
    html! {
        tr {
            td data-label=(language.changed_at()) { (moment(visit, change.at)) }
            td data-label=(language.changed_by()) {
                span { (change.actor) @if let Some(address) = &change.address { " " span.muted { (address) } } }
            }
            td data-label=(language.what_changed()) {
                span.lines {
                    span { (word(language, change.action)) }
                    @for (field, before, after) in fields(change) {
                        span.small { span.muted { (field) } " " (before) " → " (after) }
                    }
                }
            }
        }
    }
}

fn word(language: Language, action: Action) -> &'static str {
    match action {
        Action::Create => language.action_create(),
        Action::Update => language.action_update(),
        Action::Enable => language.action_enable(),
        Action::Disable => language.action_disable(),
        Action::Clear => language.action_clear(),
        Action::Delete => language.action_delete(),
        Action::Restore => language.action_restore(),
        Action::Download => language.action_download(),
        Action::SignIn => language.action_sign_in(),
        Action::SignOut => language.action_sign_out(),
        Action::ChangePassword => language.action_change_password(),
    }
}

/// What an update changed: field, before, after. The other acts are told by their word.
fn fields(change: &ListedChange) -> Vec<(String, String, String)> {
    let (Action::Update, Some(Value::Object(after))) = (change.action, &change.after) else {
        return Vec::new();
    };
    let before = |field: &str| change.before.as_ref().and_then(|before| before.get(field));
    let mut fields = Vec::new();
    for (field, after) in after {
        flatten(field, before(field), after, &mut fields);
    }
    fields
}

/// Objects are told by what differs within them.
fn flatten(
    field: &str,
    before: Option<&Value>,
    after: &Value,
    fields: &mut Vec<(String, String, String)>,
) {
    if let Value::Object(inner) = after {
        for (name, after) in inner {
            let before = before.and_then(|before| before.get(name));
            if before != Some(after) {
                flatten(name, before, after, fields);
            }
        }
        return;
    }
    fields.push((field.to_owned(), text(before), text(Some(after))));
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.is_empty() => "–".to_owned(),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| text(Some(item))).collect();
            items.join(", ")
        }
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::storage::audit::Subject;

    #[test]
    fn an_update_is_told_field_by_field() {
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

        let told = fields(&change);
        let told: Vec<_> = told
            .iter()
            .map(|(field, before, after)| format!("{field}: {before} → {after}"))
            .collect();
        assert_eq!(told, ["concurrency: – → 2", "note: – → new"]);
    }
}
