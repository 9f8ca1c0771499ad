//! Projects: the assignment of keys to them, by an admin or by the number in Google's errors.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{Sqlite, SqliteExecutor, Transaction};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::pool::keys::project_number;
use crate::pool::keys::upstream_key::{Billing, ProjectId, UpstreamKeyId};
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::error::{Error, Result, Thing};
use crate::storage::paging::Page;
use crate::storage::revision;

/// A project as lists show it; the names are those of the JSON.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ListedProject {
    pub id: ProjectId,
    /// An admin's name for it.
    pub name: Option<String>,
    /// Google's, as in `projects/123`.
    pub number: Option<String>,
    pub billing: Billing,
    /// Number of upstream keys in use.
    pub keys: i64,
    /// Keys that are enabled.
    pub enabled_keys: i64,
    pub created_at: Timestamp,
}

/// Projects with keys in use, by id, after the one of the cursor.
pub async fn list(
    db: impl SqliteExecutor<'_>,
    cursor: Option<i64>,
    limit: usize,
) -> Result<Page<ListedProject>> {
    let rows = list_rows(db, cursor, None, limit.saturating_add(1)).await?;
    Ok(Page::new(rows, limit, |project| project.id.0.to_string()))
}

/// One project with keys in use.
pub async fn find_listed(db: impl SqliteExecutor<'_>, id: ProjectId) -> Result<ListedProject> {
    let found = list_rows(db, None, Some(id), 1).await?.pop();
    found.ok_or_else(|| Error::NotFound(Thing::Project, id.0.to_string()))
}

async fn list_rows(
    db: impl SqliteExecutor<'_>,
    after: Option<i64>,
    only: Option<ProjectId>,
    limit: usize,
) -> Result<Vec<ListedProject>> {
    let (after, limit) = (after.unwrap_or(0), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = sqlx::query_as!(
        ListedProject,
        r#"
        SELECT
            p.id AS "id!: ProjectId", p.name, p.number, p.billing AS "billing: Billing",
            count(*) AS "keys!: i64", sum(k.enabled) AS "enabled_keys!: i64", p.created_at_ms AS "created_at: Timestamp"
        FROM projects AS p
        JOIN upstream_keys AS k ON k.project_id = p.id AND k.removed_at_ms IS NULL
        WHERE p.id > ?1 AND p.id = coalesce(?2, p.id)
        GROUP BY p.id
        ORDER BY p.id
        LIMIT ?3
        "#,
        after,
        only,
        limit,
    );
    Ok(rows.fetch_all(db).await?)
}

/// Inserts projects without a name. The entries of their keys in the audit log cover them.
pub async fn insert_unnamed(
    tx: &mut Transaction<'_, Sqlite>,
    count: usize,
    act: &Act,
) -> Result<Vec<ProjectId>> {
    let last_id = sqlx::query_scalar!(r#"SELECT coalesce(max(id), 0) AS "id!: i64" FROM projects"#);
    let last_id = last_id.fetch_one(&mut **tx).await?;
    let end = last_id + i64::try_from(count).unwrap_or(i64::MAX - last_id);
    // Without `RETURNING`: each row that SQLite returns wakes a task.
    let inserted = sqlx::query!(
        "
        WITH RECURSIVE numbers (number) AS (
            SELECT ?1 + 1 WHERE ?2 > ?1
            UNION ALL
            SELECT number + 1 FROM numbers WHERE number < ?2
        )
        INSERT INTO projects (id, created_at_ms, revision)
        SELECT number, ?3, ?4 FROM numbers
        ",
        last_id,
        end,
        act.now,
        act.revision,
    );
    inserted.execute(&mut **tx).await?;
    Ok((last_id + 1..=end).map(ProjectId).collect())
}

/// The project with this number of Google (`123`, `projects/123`) or this name of an admin's.
pub async fn find(
    tx: &mut Transaction<'_, Sqlite>,
    name_or_number: &str,
) -> Result<Option<ProjectId>> {
    let number = project_number::parse(name_or_number);
    let id = sqlx::query_scalar!(
        r#"
        SELECT coalesce(merged_into_id, id) AS "id!: ProjectId"
        FROM projects
        WHERE number = ?1 OR name = ?2
        "#,
        number,
        name_or_number,
    );
    Ok(id.fetch_optional(&mut **tx).await?)
}

/// The same, inserted if there is none.
pub async fn find_or_insert(
    tx: &mut Transaction<'_, Sqlite>,
    name_or_number: &str,
    act: &Act,
) -> Result<ProjectId> {
    if let Some(id) = find(tx, name_or_number).await? {
        return Ok(id);
    }
    let number = project_number::parse(name_or_number);
    let name = number.is_none().then_some(name_or_number);
    let id = insert_named(tx, name, number.as_deref(), act.now, act.revision).await?;
    let (subject, values) = (
        (Subject::Project, Some(id.0)),
        (None, Some(json!({ "name": name, "number": number }))),
    );
    let name = name.or(number.as_deref()).unwrap_or_default();
    audit::insert(tx, act, Action::Create, subject, name, values).await?;
    Ok(id)
}

async fn insert_named(
    tx: &mut Transaction<'_, Sqlite>,
    name: Option<&str>,
    number: Option<&str>,
    now: Timestamp,
    revision: i64,
) -> Result<ProjectId> {
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO projects (name, number, created_at_ms, revision)
        VALUES (?1, ?2, ?3, ?4)
        RETURNING id AS "id!: ProjectId"
        "#,
        name,
        number,
        now,
        revision,
    );
    Ok(id.fetch_one(&mut **tx).await?)
}

/// Moves a key to the project with this name or number. Returns the project. The caller records the key's change in the
/// audit log, together with its other changes.
///
/// An unnamed project without another key is merged into that project; one with only a number gets the name, if no other
/// project has it.
pub async fn assign(
    tx: &mut Transaction<'_, Sqlite>,
    key_id: UpstreamKeyId,
    name_or_number: &str,
    act: &Act,
) -> Result<ProjectId> {
    let Some(old) = find_by_key(tx, key_id).await? else {
        return find_or_insert(tx, name_or_number, act).await;
    };
    let found = find(tx, name_or_number).await?;
    let is_name = project_number::parse(name_or_number).is_none();
    if found.is_none()
        && is_name
        && old.name.is_none()
        && let Some(number) = &old.number
    {
        update_names(tx, old.id, Some(name_or_number), Some(number), act.revision).await?;
        let (before, after) = (json!({ "name": null }), json!({ "name": name_or_number }));
        record_update(tx, act, old.id, number, before, after).await?;
        return Ok(old.id);
    }
    let new = match found {
        Some(id) => id,
        None => find_or_insert(tx, name_or_number, act).await?,
    };
    if new == old.id {
        return Ok(new);
    }
    if old.name.is_none() && old.number.is_none() && count_keys(&mut **tx, old.id).await? <= 1 {
        merge(tx, old.id, new, act.revision).await?;
    } else {
        move_key(tx, key_id, new, act.revision).await?;
    }
    Ok(new)
}

/// Moves a key to a new project of its own, and returns that.
pub async fn separate(
    tx: &mut Transaction<'_, Sqlite>,
    key_id: UpstreamKeyId,
    act: &Act,
) -> Result<ProjectId> {
    let new = insert_named(tx, None, None, act.now, act.revision).await?;
    move_key(tx, key_id, new, act.revision).await?;
    Ok(new)
}

/// Stores that Google reports the key's project as `number` (`projects/123`). Returns whether that changed anything; if so
/// the revision is incremented.
pub async fn record_number(
    tx: &mut Transaction<'_, Sqlite>,
    key_id: UpstreamKeyId,
    number: &str,
    now: Timestamp,
) -> Result<bool> {
    let Some(old) = find_by_key(tx, key_id).await? else {
        return Ok(false);
    };
    if old.number.as_deref() == Some(number) {
        return Ok(false);
    }
    let revision = revision::bump(tx).await?;
    match (find(tx, number).await?, old.number) {
        (None, None) => {
            update_names(tx, old.id, old.name.as_deref(), Some(number), revision).await?;
        }
        (Some(new), None) => merge(tx, old.id, new, revision).await?,
        // Google's number overrides the stored one for this key; the other keys of the project stay in it.
        (found, Some(_)) => {
            let new = match found {
                Some(id) => id,
                None => insert_named(tx, None, Some(number), now, revision).await?,
            };
            move_key(tx, key_id, new, revision).await?;
        }
    }
    Ok(true)
}

/// Sets the billing of a project.
pub async fn update_billing(
    tx: &mut Transaction<'_, Sqlite>,
    id: ProjectId,
    billing: Billing,
    act: &Act,
) -> Result<()> {
    let known = sqlx::query!(
        r#"
        SELECT coalesce(name, number, '#' || id) AS "name_or_number!: String", billing AS "billing: Billing"
        FROM projects
        WHERE id = ?1 AND billing <> ?2
        "#,
        id,
        billing,
    );
    let Some(known) = known.fetch_optional(&mut **tx).await? else {
        return Ok(());
    };
    let updated = sqlx::query!(
        "UPDATE projects SET billing = ?2, revision = ?3 WHERE id = ?1",
        id,
        billing,
        act.revision,
    );
    updated.execute(&mut **tx).await?;
    let (before, after) = (
        json!({ "billing": known.billing }),
        json!({ "billing": billing }),
    );
    record_update(tx, act, id, &known.name_or_number, before, after).await
}

async fn record_update(
    tx: &mut Transaction<'_, Sqlite>,
    act: &Act,
    id: ProjectId,
    name: &str,
    before: Value,
    after: Value,
) -> Result<()> {
    let (subject, values) = ((Subject::Project, Some(id.0)), (Some(before), Some(after)));
    audit::insert(tx, act, Action::Update, subject, name, values).await?;
    Ok(())
}

/// Stores the billing that an answer of Google shows, unless it is set. A running server has it already.
pub async fn record_billing(
    tx: &mut Transaction<'_, Sqlite>,
    id: ProjectId,
    billing: Billing,
) -> Result<()> {
    let updated = sqlx::query!(
        "
        UPDATE projects
        SET billing = ?2
        WHERE id = (SELECT coalesce(merged_into_id, id) FROM projects WHERE id = ?1) AND billing = 'unknown'
        ",
        id,
        billing,
    );
    updated.execute(&mut **tx).await?;
    Ok(())
}

/// Clears the cooldowns of the projects of these keys, also those that only a running server has, and their observed
/// limits. Returns how many cooldowns were running at `now`.
pub async fn clear_cooldowns(
    tx: &mut Transaction<'_, Sqlite>,
    key_ids: &[UpstreamKeyId],
    act: &Act,
) -> Result<u64> {
    let key_ids = serde_json::to_string(key_ids).expect("numbers serialize to JSON");
    let updated = sqlx::query!(
        "
        UPDATE projects
        SET cooldowns_cleared_revision = ?2, revision = ?2
        WHERE id IN (
            SELECT project_id
            FROM upstream_keys
            WHERE id IN (SELECT value FROM json_each(?1))
        )
        ",
        key_ids,
        act.revision,
    );
    updated.execute(&mut **tx).await?;
    let running = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!: u32"
        FROM cooldowns
        WHERE until_ms > ?2 AND project_id IN (SELECT id FROM projects WHERE cooldowns_cleared_revision = ?1)
        "#,
        act.revision,
        act.now,
    );
    let running = running.fetch_one(&mut **tx).await?;
    let inserted = sqlx::query!(
        "
        INSERT INTO audit_log (at_ms, revision, actor, address, action, subject, subject_id, name, before, after)
        SELECT
            ?2, ?1, ?3, ?4, 'clear', 'project', p.id, coalesce(p.name, p.number, '#' || p.id),
            json_object('cooldowns', json_group_array(c.model || ': ' || c.rule)), json_object('cooldowns', json_array())
        FROM projects AS p
        JOIN cooldowns AS c ON c.project_id = p.id
        WHERE p.cooldowns_cleared_revision = ?1 AND c.until_ms > ?2
        GROUP BY p.id
        ",
        act.revision,
        act.now,
        act.actor.name,
        act.actor.address,
    );
    inserted.execute(&mut **tx).await?;
    let deleted = sqlx::query!(
        "
        DELETE FROM cooldowns
        WHERE project_id IN (SELECT id FROM projects WHERE cooldowns_cleared_revision = ?1)
        ",
        act.revision,
    );
    deleted.execute(&mut **tx).await?;
    // An observed limit may be wrong.
    let updated = sqlx::query!(
        "
        UPDATE quota_limits
        SET maximum = NULL
        WHERE project_id IN (SELECT id FROM projects WHERE cooldowns_cleared_revision = ?1)
        ",
        act.revision,
    );
    updated.execute(&mut **tx).await?;
    Ok(running.into())
}

/// The projects whose cooldowns an admin has cleared after `revision`.
pub async fn list_cleared(db: impl SqliteExecutor<'_>, revision: i64) -> Result<Vec<ProjectId>> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!: ProjectId"
        FROM projects
        WHERE revision > ?1 AND cooldowns_cleared_revision > ?1
        ORDER BY id
        "#,
        revision,
    );
    Ok(ids.fetch_all(db).await?)
}

/// How many keys in use a project has.
async fn count_keys(db: impl SqliteExecutor<'_>, id: ProjectId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!: u32"
        FROM upstream_keys
        WHERE project_id = ?1 AND removed_at_ms IS NULL
        "#,
        id,
    );
    Ok(count.fetch_one(db).await?)
}

struct ProjectNames {
    id: ProjectId,
    name: Option<String>,
    number: Option<String>,
}

async fn find_by_key(
    tx: &mut Transaction<'_, Sqlite>,
    id: UpstreamKeyId,
) -> Result<Option<ProjectNames>> {
    let project = sqlx::query_as!(
        ProjectNames,
        r#"
        SELECT p.id AS "id!: ProjectId", p.name, p.number
        FROM upstream_keys AS k
        JOIN projects AS p ON p.id = k.project_id
        WHERE k.id = ?1
        "#,
        id,
    );
    Ok(project.fetch_optional(&mut **tx).await?)
}

async fn update_names(
    tx: &mut Transaction<'_, Sqlite>,
    id: ProjectId,
    name: Option<&str>,
    number: Option<&str>,
    revision: i64,
) -> Result<()> {
    let updated = sqlx::query!(
        "UPDATE projects SET name = ?2, number = ?3, revision = ?4 WHERE id = ?1",
        id,
        name,
        number,
        revision,
    );
    updated.execute(&mut **tx).await?;
    Ok(())
}

async fn move_key(
    tx: &mut Transaction<'_, Sqlite>,
    id: UpstreamKeyId,
    to: ProjectId,
    revision: i64,
) -> Result<()> {
    let updated = sqlx::query!(
        "UPDATE upstream_keys SET project_id = ?2, revision = ?3 WHERE id = ?1",
        id,
        to,
        revision,
    );
    updated.execute(&mut **tx).await?;
    let updated = sqlx::query!(
        "UPDATE projects SET revision = ?2 WHERE id = ?1",
        to,
        revision
    );
    updated.execute(&mut **tx).await?;
    Ok(())
}

/// Merges `from` into `to`: all rows of `from` move, and an admin's attributes of `from` apply where `to` has none. The row
/// of `from` stays for the log rows that reference it.
async fn merge(
    tx: &mut Transaction<'_, Sqlite>,
    from: ProjectId,
    to: ProjectId,
    revision: i64,
) -> Result<()> {
    let updated = sqlx::query!(
        "UPDATE upstream_keys SET project_id = ?2, revision = ?3 WHERE project_id = ?1",
        from,
        to,
        revision,
    );
    updated.execute(&mut **tx).await?;
    let source = sqlx::query!(
        r#"
        SELECT
            a.name, a.billing AS "billing: Billing", b.name AS known_name,
            EXISTS (SELECT 1 FROM cooldowns WHERE project_id = a.id)
                OR EXISTS (SELECT 1 FROM quota_limits WHERE project_id = a.id) AS "has_cooldowns_or_limits!: bool"
        FROM projects AS a
        JOIN projects AS b ON b.id = ?2
        WHERE a.id = ?1
        "#,
        from,
        to,
    );
    let source = source.fetch_one(&mut **tx).await?;
    if source.has_cooldowns_or_limits {
        move_cooldowns_and_limits(tx, from, to).await?;
    }
    // A second name stays on the merged row, by which the project is found.
    let is_name_taken_over = source.known_name.is_none();
    let updated = sqlx::query!(
        "
        UPDATE projects
        SET
            name = CASE WHEN id = ?1 AND ?3 THEN NULL ELSE name END, merged_into_id = ?2, revision = ?4
        WHERE id = ?1 OR merged_into_id = ?1
        ",
        from,
        to,
        is_name_taken_over,
        revision,
    );
    updated.execute(&mut **tx).await?;
    let has_changes = source.has_cooldowns_or_limits
        || (is_name_taken_over && source.name.is_some())
        || source.billing != Billing::Unknown;
    if !has_changes {
        return Ok(());
    }
    let updated = sqlx::query!(
        "
        UPDATE projects
        SET
            name = coalesce(name, ?2), billing = CASE billing WHEN 'unknown' THEN ?3 ELSE billing END, revision = ?4
        WHERE id = ?1
        ",
        to,
        source.name,
        source.billing,
        revision,
    );
    updated.execute(&mut **tx).await?;
    Ok(())
}

/// Moves cooldowns and limits to another project: the longer of two cooldowns and the later of two limits are kept.
async fn move_cooldowns_and_limits(
    tx: &mut Transaction<'_, Sqlite>,
    from: ProjectId,
    to: ProjectId,
) -> Result<()> {
    let inserted = sqlx::query!(
        "
        INSERT INTO cooldowns (project_id, model, rule, step, status, message, request_id, since_ms, until_ms)
        SELECT ?2, model, rule, step, status, message, request_id, since_ms, until_ms
        FROM cooldowns
        WHERE project_id = ?1
        ON CONFLICT (project_id, model) DO UPDATE
        SET
            rule = excluded.rule, step = excluded.step, status = excluded.status, message = excluded.message,
            request_id = excluded.request_id, since_ms = excluded.since_ms, until_ms = excluded.until_ms
        WHERE excluded.until_ms > until_ms
        ",
        from,
        to,
    );
    inserted.execute(&mut **tx).await?;
    sqlx::query!("DELETE FROM cooldowns WHERE project_id = ?1", from)
        .execute(&mut **tx)
        .await?;
    let inserted = sqlx::query!(
        "
        INSERT INTO quota_limits (project_id, model, measure, maximum, message, request_id, observed_at_ms)
        SELECT ?2, model, measure, maximum, message, request_id, observed_at_ms
        FROM quota_limits
        WHERE project_id = ?1
        ON CONFLICT (project_id, model, measure) DO UPDATE
        SET
            maximum = excluded.maximum, message = excluded.message, request_id = excluded.request_id,
            observed_at_ms = excluded.observed_at_ms
        WHERE excluded.observed_at_ms > observed_at_ms
        ",
        from,
        to,
    );
    inserted.execute(&mut **tx).await?;
    sqlx::query!("DELETE FROM quota_limits WHERE project_id = ?1", from)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
