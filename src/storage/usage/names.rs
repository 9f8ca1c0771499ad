//! The names of the groups of usage: models, client keys, upstream keys and projects by their ids.

use std::collections::HashMap;

use sqlx::SqliteExecutor;

use crate::storage::error::Result;
use crate::storage::json_columns::json_array;
use crate::storage::usage::{UsageGroup, UsageGrouping};

/// The names of groups; a group that is gone has none.
pub async fn list_names(
    db: impl SqliteExecutor<'_>,
    grouping: UsageGrouping,
    groups: &[UsageGroup],
) -> Result<HashMap<i64, String>> {
    let ids = groups.iter().filter_map(|group| match group {
        UsageGroup::Id(id) => Some(*id),
        UsageGroup::Tag(_) | UsageGroup::None => None,
    });
    let ids = json_array(&ids.collect::<Vec<_>>());
    let names: Vec<(i64, String)> = match grouping {
        UsageGrouping::Model => {
            let names = sqlx::query!(
                r#"SELECT id AS "id!: i64", value AS name FROM strings WHERE id IN (SELECT value FROM json_each(?1))"#,
                ids
            );
            let names = names.fetch_all(db).await?.into_iter();
            names.map(|row| (row.id, row.name)).collect()
        }
        UsageGrouping::ClientKey => {
            let names = sqlx::query!(
                r#"SELECT id AS "id!: i64", name FROM client_keys WHERE id IN (SELECT value FROM json_each(?1))"#,
                ids
            );
            let names = names.fetch_all(db).await?.into_iter();
            names.map(|row| (row.id, row.name)).collect()
        }
        UsageGrouping::UpstreamKey => {
            let names = sqlx::query!(
                r#"SELECT id AS "id!: i64", label AS name FROM upstream_keys WHERE id IN (SELECT value FROM json_each(?1))"#,
                ids
            );
            let names = names.fetch_all(db).await?.into_iter();
            names.map(|row| (row.id, row.name)).collect()
        }
        UsageGrouping::Project => {
            let names = sqlx::query!(
                r#"
                SELECT id AS "id!: i64", coalesce(name, number, '#' || id) AS "name!: String"
                FROM projects
                WHERE id IN (SELECT value FROM json_each(?1))
                "#,
                ids
            );
            let names = names.fetch_all(db).await?.into_iter();
            names.map(|row| (row.id, row.name)).collect()
        }
        UsageGrouping::Tag => Vec::new(),
    };
    Ok(names.into_iter().collect())
}
