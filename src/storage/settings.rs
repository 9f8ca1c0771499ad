//! Settings that differ from their defaults, and the history of their changes.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use sqlx::{Sqlite, SqliteExecutor, Transaction};

use crate::clock::Timestamp;
use crate::pool::settings::{DEFINITIONS, Definition, Kind, Settings};
use crate::storage::error::Result;
use crate::storage::paging::Page;
use crate::storage::revision;

/// A setting as lists show it. Numbers are numbers there, switches true or false.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListedSetting {
    pub name: &'static str,
    /// `number`, `switch` or `text`.
    pub kind: &'static str,
    pub value: Value,
    pub default: Value,
    pub is_default: bool,
    /// Of a number; `None`: it is none.
    pub minimum: Option<u64>,
    pub maximum: Option<u64>,
    pub explanation: &'static str,
    /// `None`: it has its default.
    pub changed_at: Option<Timestamp>,
}

/// One change of one setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

/// Every setting with the value in use. A row that a server would ignore counts for nothing here too.
pub async fn list_all(db: impl SqliteExecutor<'_>) -> Result<Vec<ListedSetting>> {
    let rows =
        sqlx::query!(r#"SELECT name, value, changed_at_ms AS "at: Timestamp" FROM settings"#);
    let mut settings = Settings::default();
    let mut changed = HashMap::new();
    for row in rows.fetch_all(db).await? {
        if settings.set(&row.name, &row.value).is_ok() {
            changed.insert(row.name, row.at);
        }
    }
    let listed = DEFINITIONS.iter().map(|definition| {
        let changed_at = changed.get(definition.name).copied();
        listed(definition, &settings, changed_at)
    });
    Ok(listed.collect())
}

fn listed(
    definition: &Definition,
    settings: &Settings,
    changed_at: Option<Timestamp>,
) -> ListedSetting {
    let value = |text: String| match definition.kind {
        Kind::Number(_) => text.parse::<u64>().map_or(Value::Null, Value::from),
        Kind::Switch => Value::from(text == "on"),
        Kind::Text(..) => Value::from(text),
    };
    let (kind, bounds) = match &definition.kind {
        Kind::Number(bounds) => ("number", Some(bounds)),
        Kind::Switch => ("switch", None),
        Kind::Text(..) => ("text", None),
    };
    ListedSetting {
        name: definition.name,
        kind,
        value: value(definition.value(settings)),
        default: value(definition.default()),
        is_default: definition.value(settings) == definition.default(),
        minimum: bounds.map(|bounds| *bounds.start()),
        maximum: bounds.map(|bounds| *bounds.end()),
        explanation: definition.explanation,
        changed_at,
    }
}

/// Sets one to what the caller has checked, or back to its default, and keeps that in the history. Returns the change, or
/// nothing where its row says so already.
pub async fn change(
    tx: &mut Transaction<'_, Sqlite>,
    name: &str,
    value: Option<&str>,
    actor: &str,
    now: Timestamp,
) -> Result<Option<SettingChange>> {
    let before = sqlx::query_scalar!("SELECT value FROM settings WHERE name = ?1", name)
        .fetch_optional(&mut **tx)
        .await?;
    if before.as_deref() == value {
        return Ok(None);
    }
    let revision = revision::bump(tx).await?;
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
            now,
            revision,
        );
        upsert.execute(&mut **tx).await?;
    } else {
        sqlx::query!("DELETE FROM settings WHERE name = ?1", name)
            .execute(&mut **tx)
            .await?;
    }
    let change = sqlx::query_as!(
        SettingChange,
        r#"
        INSERT INTO setting_changes (name, before, after, actor, changed_at_ms)
        VALUES (?1, ?2, ?3, ?4, ?5)
        RETURNING id AS "id!", name, before, after, actor, changed_at_ms AS "changed_at: Timestamp"
        "#,
        name,
        before,
        value,
        actor,
        now,
    );
    Ok(Some(change.fetch_one(&mut **tx).await?))
}

/// What was changed, newest first, of one setting or of all.
pub async fn list_changes(
    db: impl SqliteExecutor<'_>,
    name: Option<&str>,
    cursor: Option<i64>,
    limit: usize,
) -> Result<Page<SettingChange>> {
    let before = cursor.unwrap_or(i64::MAX);
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let changes = if let Some(name) = name {
        sqlx::query_as!(
            SettingChange,
            r#"
            SELECT id AS "id!", name, before, after, actor, changed_at_ms AS "changed_at: Timestamp"
            FROM setting_changes
            WHERE name = ?1 AND id < ?2
            ORDER BY id DESC
            LIMIT ?3
            "#,
            name,
            before,
            one_more,
        )
        .fetch_all(db)
        .await?
    } else {
        sqlx::query_as!(
            SettingChange,
            r#"
            SELECT id AS "id!", name, before, after, actor, changed_at_ms AS "changed_at: Timestamp"
            FROM setting_changes
            WHERE id < ?1
            ORDER BY id DESC
            LIMIT ?2
            "#,
            before,
            one_more,
        )
        .fetch_all(db)
        .await?
    };
    Ok(Page::new(changes, limit, |change| change.id.to_string()))
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::db::Db;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[sqlx::test]
    async fn a_change_counts_up_the_revision_and_is_kept_in_the_history(pool: SqlitePool) {
        let mut tx = Db::of(pool).begin().await.unwrap();

        for value in [Some("7"), Some("7"), Some("8"), None, None] {
            change(&mut tx, "max_attempts", value, "cli", NOW)
                .await
                .unwrap();
        }
        change(&mut tx, "day_zone", Some("Asia/Taipei"), "cli", NOW)
            .await
            .unwrap();

        assert_eq!(revision::current(&mut *tx).await.unwrap(), 4);
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
        let mut tx = Db::of(pool).begin().await.unwrap();
        for (name, value) in [
            ("max_attempts", "7"),
            ("upstream_http2", "maybe"),
            ("gone", "1"),
        ] {
            change(&mut tx, name, Some(value), "cli", NOW)
                .await
                .unwrap();
        }

        let listed = list_all(&mut *tx).await.unwrap();

        assert_eq!(listed.len(), DEFINITIONS.len());
        let changed: Vec<_> = listed
            .iter()
            .filter(|setting| !setting.is_default)
            .map(|setting| (setting.name, &setting.value, setting.changed_at))
            .collect();
        assert_eq!(changed, [("max_attempts", &Value::from(7), Some(NOW))]);
    }
}
