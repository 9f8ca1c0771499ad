//! Settings that differ from their defaults, and the history of their changes.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::clock::Timestamp;
use crate::pool::settings::{DEFINITIONS, SettingDefinition, SettingKind, Settings, definition};
use crate::storage::audit::{self, Act, Action, ListedChange, Subject};
use crate::storage::error::{Error, Result, Thing};
use crate::storage::paging::Page;

/// A setting as lists show it, with numbers and booleans as JSON values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ListedSetting {
    pub name: Cow<'static, str>,
    /// `number`, `switch` or `text`.
    pub kind: Cow<'static, str>,
    pub value: Value,
    pub default: Value,
    pub is_default: bool,
    /// Of a number; `None` for other kinds.
    pub minimum: Option<u64>,
    pub maximum: Option<u64>,
    pub explanation: Cow<'static, str>,
    /// `None`: the default applies.
    pub changed_at: Option<Timestamp>,
}

/// One change of one setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SettingChange {
    pub id: i64,
    pub name: String,
    /// `None`, here and in `after`: the default.
    pub before: Option<String>,
    pub after: Option<String>,
    pub actor: String,
    pub changed_at: Timestamp,
}

/// All rows, by name.
pub async fn list(db: impl SqliteExecutor<'_>) -> Result<Vec<(String, String)>> {
    let rows = sqlx::query!("SELECT name, value FROM settings ORDER BY name")
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.value)).collect())
}

/// The settings that a server would load now.
#[derive(Debug)]
pub struct CurrentSettings {
    pub settings: Settings,
    /// When each setting without its default was changed.
    pub changed_at: HashMap<String, Timestamp>,
}

/// The settings in use. Rows that a server ignores are ignored here too.
pub async fn find_current(db: impl SqliteExecutor<'_>) -> Result<CurrentSettings> {
    let rows =
        sqlx::query!(r#"SELECT name, value, changed_at_ms AS "at: Timestamp" FROM settings"#);
    let mut current = CurrentSettings {
        settings: Settings::default(),
        changed_at: HashMap::new(),
    };
    for row in rows.fetch_all(db).await? {
        if current.settings.set(&row.name, &row.value).is_ok() {
            current.changed_at.insert(row.name, row.at);
        }
    }
    Ok(current)
}

/// Every setting with the value in use.
pub async fn list_all(db: impl SqliteExecutor<'_>) -> Result<Vec<ListedSetting>> {
    let current = find_current(db).await?;
    let listed = DEFINITIONS.iter().map(|definition| {
        let changed_at = current.changed_at.get(definition.name).copied();
        listed_setting(definition, &current.settings, changed_at)
    });
    Ok(listed.collect())
}

fn listed_setting(
    definition: &SettingDefinition,
    settings: &Settings,
    changed_at: Option<Timestamp>,
) -> ListedSetting {
    let value = |text: String| match definition.kind {
        SettingKind::Number(_) => text.parse::<u64>().map_or(Value::Null, Value::from),
        SettingKind::Switch => Value::from(text == "on"),
        SettingKind::Choice(_) | SettingKind::Text(..) | SettingKind::Entries(..) => {
            Value::from(text)
        }
    };
    let (kind, bounds) = match &definition.kind {
        SettingKind::Number(bounds) => ("number", Some(bounds)),
        SettingKind::Switch => ("switch", None),
        SettingKind::Choice(_) | SettingKind::Text(..) | SettingKind::Entries(..) => ("text", None),
    };
    ListedSetting {
        name: definition.name.into(),
        kind: kind.into(),
        value: value(definition.value(settings)),
        default: value(definition.default()),
        is_default: definition.value(settings) == definition.default(),
        minimum: bounds.map(|bounds| *bounds.start()),
        maximum: bounds.map(|bounds| *bounds.end()),
        explanation: definition.explanation.into(),
        changed_at,
    }
}

/// Sets one setting to a value that the caller has validated, or to its default, and records it in the audit log. Returns
/// the change, or nothing if the row has this value already.
pub async fn change(
    tx: &mut Transaction<'_, Sqlite>,
    name: &str,
    value: Option<&str>,
    act: &Act,
) -> Result<Option<SettingChange>> {
    let before = sqlx::query_scalar!("SELECT value FROM settings WHERE name = ?1", name)
        .fetch_optional(&mut **tx)
        .await?;
    if before.as_deref() == value {
        return Ok(None);
    }
    if value.is_some() {
        let upsert = sqlx::query!(
            "
            INSERT INTO settings (name, value, changed_at_ms, revision)
            VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (name) DO UPDATE
            SET value = excluded.value, changed_at_ms = excluded.changed_at_ms, revision = excluded.revision
            ",
            name,
            value,
            act.now,
            act.revision,
        );
        upsert.execute(&mut **tx).await?;
    } else {
        sqlx::query!("DELETE FROM settings WHERE name = ?1", name)
            .execute(&mut **tx)
            .await?;
    }
    let json_of = |value: Option<&str>| value.map(|value| json!({ "value": value }));
    let values = (json_of(before.as_deref()), json_of(value));
    let id = audit::insert(
        tx,
        act,
        Action::Update,
        (Subject::Setting, None),
        name,
        values,
    )
    .await?;
    Ok(Some(SettingChange {
        id,
        name: name.to_owned(),
        before,
        after: value.map(str::to_owned),
        actor: act.actor.name.clone(),
        changed_at: act.now,
    }))
}

/// Changes of one setting or of all, newest first.
pub async fn list_changes(
    db: impl SqliteExecutor<'_>,
    name: Option<&str>,
    cursor: Option<i64>,
    limit: usize,
) -> Result<Page<SettingChange>> {
    let filter = audit::AuditFilter {
        subject: Some(Subject::Setting),
        name: name.map(str::to_owned),
        ..audit::AuditFilter::default()
    };
    let page = audit::list(db, &filter, cursor, limit).await?;
    Ok(Page {
        items: page.items.into_iter().map(SettingChange::of).collect(),
        next: page.next,
    })
}

/// The values that undo an act, by name; `None`: the default. Settings that were changed again since are not among them.
pub async fn reversal_of(
    tx: &mut Transaction<'_, Sqlite>,
    revision: i64,
) -> Result<Vec<(&'static str, Option<String>)>> {
    if revision <= 0 {
        return Err(Error::NotFound(Thing::Change, revision.to_string()));
    }
    let filter = audit::AuditFilter {
        subject: Some(Subject::Setting),
        revision: Some(revision),
        ..audit::AuditFilter::default()
    };
    let act = audit::list(&mut **tx, &filter, None, DEFINITIONS.len()).await?;
    let present: HashMap<_, _> = list(&mut **tx).await?.into_iter().collect();
    let reversed = act.items.into_iter().filter_map(|change| {
        let change = SettingChange::of(change);
        let definition = definition(&change.name)?;
        let is_current = present.get(&change.name) == change.after.as_ref();
        (is_current && definition.allows(change.before.as_deref()))
            .then_some((definition.name, change.before))
    });
    Ok(reversed.collect())
}

/// Undoes an act, except for settings that were changed again since. Returns the changes that undo it.
pub async fn undo(
    tx: &mut Transaction<'_, Sqlite>,
    revision: i64,
    act: &Act,
) -> Result<Vec<SettingChange>> {
    let mut changes = Vec::new();
    for (name, value) in reversal_of(tx, revision).await? {
        changes.extend(change(tx, name, value.as_deref(), act).await?);
    }
    Ok(changes)
}

impl SettingChange {
    /// The entries of a setting in the audit log.
    pub fn of(change: ListedChange) -> Self {
        let value = |json: Option<Value>| Some(json?.get("value")?.as_str()?.to_owned());
        Self {
            id: change.id,
            name: change.name,
            before: value(change.before),
            after: value(change.after),
            actor: change.actor,
            changed_at: change.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::audit::tests::act;
    use crate::storage::db::Db;
    use crate::storage::revision;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[sqlx::test]
    async fn a_change_increments_the_revision_and_is_in_the_history(pool: SqlitePool) {
        let mut tx = Db::from_pool(pool).begin().await.unwrap();

        for value in [Some("7"), Some("7"), Some("8"), None, None] {
            let act = act(&mut tx, NOW).await;
            change(&mut tx, "max_attempts", value, &act).await.unwrap();
        }
        let act = act(&mut tx, NOW).await;
        change(&mut tx, "day_zone", Some("Asia/Taipei"), &act)
            .await
            .unwrap();

        assert_eq!(revision::current(&mut *tx).await.unwrap(), act.revision);
        let rows = list(&mut *tx).await.unwrap();
        assert_eq!(rows, [("day_zone".to_owned(), "Asia/Taipei".to_owned())]);
        let page = list_changes(&mut *tx, Some("max_attempts"), None, 2)
            .await
            .unwrap();
        let values = |page: &Page<SettingChange>| {
            let changes = page.items.iter();
            changes
                .map(|change| (change.before.clone(), change.after.clone()))
                .collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(values(&page), [(text("8"), None), (text("7"), text("8"))]);
        let cursor = page.next.unwrap().parse().ok();
        let page = list_changes(&mut *tx, Some("max_attempts"), cursor, 2)
            .await
            .unwrap();
        assert_eq!(values(&page), [(None, text("7"))]);
        assert_eq!(page.next, None);
        let all = list_changes(&mut *tx, None, None, 50).await.unwrap();
        assert_eq!(all.items.len(), 4);
    }

    #[sqlx::test]
    async fn a_list_shows_every_setting_and_ignores_rows_that_cannot_be_used(pool: SqlitePool) {
        let mut tx = Db::from_pool(pool).begin().await.unwrap();
        let act = act(&mut tx, NOW).await;
        for (name, value) in [
            ("max_attempts", "7"),
            ("upstream_http2", "maybe"),
            ("gone", "1"),
        ] {
            change(&mut tx, name, Some(value), &act).await.unwrap();
        }

        let listed = list_all(&mut *tx).await.unwrap();

        assert_eq!(listed.len(), DEFINITIONS.len());
        let changed: Vec<_> = listed
            .iter()
            .filter(|setting| !setting.is_default)
            .map(|setting| (setting.name.as_ref(), &setting.value, setting.changed_at))
            .collect();
        assert_eq!(changed, [("max_attempts", &Value::from(7), Some(NOW))]);
    }
}
