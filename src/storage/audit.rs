//! The audit log: changes by admins and commands, with actor, address and the values before and after. Each change is
//! inserted in the transaction that makes it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite, SqliteExecutor, SqlitePool, Transaction};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::clock::Timestamp;
use crate::storage::error::{Error, Result, Thing};
use crate::storage::json_columns::json_array;
use crate::storage::paging::{BidirectionalPage, Page, PagePosition};
use crate::storage::revision;

/// The author of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `admin:NAME`, `token:NAME`, `cli`, `environment`, `schedule` or `demo`.
    pub name: String,
    /// The address of the admin's or program's request.
    pub address: Option<String>,
}

impl Actor {
    /// An admin signed in under this name.
    pub fn admin(username: &str, address: String) -> Self {
        Self {
            name: format!("admin:{username}"),
            address: Some(address),
        }
    }

    /// A program with the API token of this name.
    pub fn token(name: &str, address: String) -> Self {
        Self {
            name: format!("token:{name}"),
            address: Some(address),
        }
    }

    /// The command line.
    pub fn cli() -> Self {
        Self::local("cli")
    }

    /// The server's environment variables, read at its start.
    pub fn environment() -> Self {
        Self::local("environment")
    }

    /// The server, for scheduled backups and for targets of alerts that are gone.
    pub fn schedule() -> Self {
        Self::local("schedule")
    }

    /// The demo, which creates its own keys.
    pub fn demo() -> Self {
        Self::local("demo")
    }

    fn local(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: None,
        }
    }
}

/// Changes made together: the changed rows carry its revision, by which a running server detects them.
#[derive(Debug, Clone)]
pub struct Act {
    pub revision: i64,
    pub now: Timestamp,
    pub actor: Actor,
}

impl Act {
    /// Increments the revision, in the transaction that makes the changes.
    pub async fn begin(
        tx: &mut Transaction<'_, Sqlite>,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Self> {
        Ok(Self {
            revision: revision::bump(tx).await?,
            now,
            actor: actor.clone(),
        })
    }

    /// An act that no server reloads, such as a sign-in: it has no revision and does not increment it.
    pub fn without_revision(actor: Actor, now: Timestamp) -> Self {
        Self {
            revision: 0,
            now,
            actor,
        }
    }
}

/// The kind of a change.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    sqlx::Type,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    utoipa::ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Action {
    Create,
    Update,
    Enable,
    Disable,
    /// An admin cleared a state or cooldowns.
    Clear,
    Delete,
    /// A deletion was undone.
    Restore,
    /// A backup was downloaded.
    Download,
    /// Log rows were exported in the dashboard.
    Export,
    /// The bodies of a request were read in the dashboard.
    View,
    /// A client key got another secret, or its old one was ended.
    Rotate,
    /// A request was sent from the dashboard for a client key.
    Try,
    SignIn,
    /// A sign-in was ended, by its own admin or by a command.
    SignOut,
    /// An admin got a new password.
    ChangePassword,
}

impl Action {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The kind of thing that was changed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    sqlx::Type,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    utoipa::ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Subject {
    UpstreamKey,
    ClientKey,
    Project,
    Setting,
    Admin,
    Backup,
    RequestLog,
    /// The bodies of a request, which is named by its id.
    RequestBodies,
    ApiToken,
    AlertTarget,
    EgressProxy,
    /// The master key, which is named by its id.
    MasterKey,
}

impl Subject {
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it has no id. Things with an id have no index by name alone.
    pub fn is_identified_by_name(self) -> bool {
        match self {
            Self::Setting
            | Self::Backup
            | Self::RequestLog
            | Self::RequestBodies
            | Self::MasterKey => true,
            Self::UpstreamKey
            | Self::ClientKey
            | Self::Project
            | Self::Admin
            | Self::ApiToken
            | Self::AlertTarget
            | Self::EgressProxy => false,
        }
    }
}

/// A change as lists show it; the names are those of the JSON.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ListedChange {
    pub id: i64,
    pub at: Timestamp,
    /// The act's revision, shared by changes made together. 0: a single change.
    pub revision: i64,
    pub actor: String,
    pub address: Option<String>,
    pub action: Action,
    pub subject: Subject,
    pub subject_id: Option<i64>,
    pub name: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl FromRow<'_, SqliteRow> for ListedChange {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let json = |column| {
            let text: Option<String> = row.try_get(column)?;
            Ok::<_, sqlx::Error>(text.and_then(|text| serde_json::from_str(&text).ok()))
        };
        Ok(Self {
            id: row.try_get("id")?,
            at: row.try_get("at_ms")?,
            revision: row.try_get("revision")?,
            actor: row.try_get("actor")?,
            address: row.try_get("address")?,
            action: row.try_get("action")?,
            subject: row.try_get("subject")?,
            subject_id: row.try_get("subject_id")?,
            name: row.try_get("name")?,
            before: json("before")?,
            after: json("after")?,
        })
    }
}

/// The changes of one act to things of one kind: a line of the audit page.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct ListedAct {
    /// Its first change.
    #[sqlx(flatten)]
    pub first: ListedChange,
    /// The number of its changes.
    pub changes: u64,
}

/// Selects changes; `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub subject: Option<Subject>,
    pub subject_id: Option<i64>,
    /// The subject's name at that time.
    pub name: Option<String>,
    pub actor: Option<String>,
    pub action: Option<Action>,
    pub since: Option<Timestamp>,
    /// Exclusive.
    pub until: Option<Timestamp>,
    /// The revision of one act.
    pub revision: Option<i64>,
}

/// Inserts a change of a subject, which has an id unless its name identifies it. The values before and after are JSON objects
/// of the changed entries only, never of a secret; `None`: the subject did not exist, or no longer exists.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    act: &Act,
    action: Action,
    (subject, subject_id): (Subject, Option<i64>),
    name: &str,
    (before, after): (Option<Value>, Option<Value>),
) -> Result<i64> {
    let before = before.map(|value| value.to_string());
    let after = after.map(|value| value.to_string());
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO audit_log (
            at_ms, revision, actor, address, action, subject, subject_id, name, before, after
        )
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        RETURNING id AS "id!"
        "#,
        act.now,
        act.revision,
        act.actor.name,
        act.actor.address,
        action,
        subject,
        subject_id,
        name,
        before,
        after,
    );
    Ok(id.fetch_one(&mut **tx).await?)
}

/// A subject that an act created.
#[derive(Debug, Serialize)]
pub struct CreatedSubject<'a, A> {
    pub id: i64,
    pub name: &'a str,
    /// A JSON object without secrets.
    pub after: A,
}

/// Records the creation of many subjects of one kind.
pub async fn insert_created(
    tx: &mut Transaction<'_, Sqlite>,
    act: &Act,
    subject: Subject,
    created: &[CreatedSubject<'_, impl Serialize>],
) -> Result<()> {
    let created = json_array(created);
    let inserted = sqlx::query!(
        "
        INSERT INTO audit_log (at_ms, revision, actor, address, action, subject, subject_id, name, after)
        SELECT ?2, ?3, ?4, ?5, ?6, ?7, value ->> 'id', value ->> 'name', value -> 'after'
        FROM json_each(?1)
        ORDER BY key
        ",
        created,
        act.now,
        act.revision,
        act.actor.name,
        act.actor.address,
        Action::Create,
        subject,
    );
    inserted.execute(&mut **tx).await?;
    Ok(())
}

/// The entries that differ between two JSON objects; `None` if they are equal.
pub fn difference(before: Value, after: Value) -> Option<(Value, Value)> {
    let (Value::Object(mut before), Value::Object(mut after)) = (before, after) else {
        return None;
    };
    before.retain(|name, value| {
        let same = after.get(name) == Some(value);
        if same {
            after.remove(name);
        }
        !same
    });
    let is_same = before.is_empty() && after.is_empty();
    (!is_same).then_some((Value::Object(before), Value::Object(after)))
}

/// One change.
pub async fn find(db: impl SqliteExecutor<'_>, id: i64) -> Result<ListedChange> {
    let mut query = select_changes();
    query.push(" AND id = ").push_bind(id);
    let found = query.build_query_as().fetch_optional(db).await?;
    found.ok_or_else(|| Error::NotFound(Thing::Change, id.to_string()))
}

/// Changes older than `cursor`, newest first.
pub async fn list(
    db: impl SqliteExecutor<'_>,
    filter: &AuditFilter,
    cursor: Option<i64>,
    limit: usize,
) -> Result<Page<ListedChange>> {
    let mut query = select_changes();
    push_filter(&mut query, "", filter);
    if let Some(cursor) = cursor {
        query.push(" AND id < ").push_bind(cursor);
    }
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    query.push(" ORDER BY id DESC LIMIT ").push_bind(one_more);
    let changes: Vec<ListedChange> = query.build_query_as().fetch_all(db).await?;
    Ok(Page::new(changes, limit, |change| change.id.to_string()))
}

/// A page of the audit, newest first. A filter for one subject or one act lists single changes, any other lists acts.
pub async fn list_acts(
    db: &SqlitePool,
    filter: &AuditFilter,
    position: PagePosition,
    limit: usize,
) -> Result<BidirectionalPage<ListedAct>> {
    let id = |act: &ListedAct| act.first.id;
    let mut acts = acts_query(filter, position, limit);
    let read = acts.build_query_as().fetch_all(db).await?;
    // The newest page is always full: a partial one would shift when a change is added.
    if matches!(position, PagePosition::NewerThan(_)) && read.len() < limit {
        let mut acts = acts_query(filter, PagePosition::Newest, limit);
        let read = acts.build_query_as().fetch_all(db).await?;
        return Ok(BidirectionalPage::new(
            read,
            PagePosition::Newest,
            limit,
            id,
        ));
    }
    Ok(BidirectionalPage::new(read, position, limit, id))
}

/// Changes of one subject or act have an index; all other filters use the indexed table of acts, so that a filter without
/// matches does not read every change.
fn acts_query(
    filter: &AuditFilter,
    position: PagePosition,
    limit: usize,
) -> QueryBuilder<'_, Sqlite> {
    let is_single =
        filter.revision.is_some() || filter.subject_id.is_some() || filter.name.is_some();
    let mut query = QueryBuilder::new(
        "
        SELECT
            c.id, c.at_ms, c.revision, c.actor, c.address, c.action, c.subject, c.subject_id, c.name, c.before, c.after,",
    );
    let table = if is_single {
        query.push(" 1 AS changes FROM audit_log AS c WHERE true");
        "c."
    } else {
        query.push(
            " a.changes FROM audit_acts AS a CROSS JOIN audit_log AS c ON c.id = a.id WHERE true",
        );
        "a."
    };
    push_filter(&mut query, table, filter);
    if !is_single {
        push_time_bounds(&mut query, filter);
    }
    let (comparison, order) = match position {
        PagePosition::Newest => (None, "DESC"),
        PagePosition::OlderThan(id) => (Some(("<", id)), "DESC"),
        PagePosition::NewerThan(id) => (Some((">", id)), "ASC"),
    };
    if let Some((sign, id)) = comparison {
        query.push(format!(" AND {table}id {sign} ")).push_bind(id);
    }
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    query
        .push(format!(" ORDER BY {table}id {order} LIMIT "))
        .push_bind(one_more);
    query
}

/// Appends the conditions of a filter on a table's columns, which have this prefix.
fn push_filter<'a>(query: &mut QueryBuilder<'a, Sqlite>, table: &str, filter: &'a AuditFilter) {
    let and = |comparison: &str| format!(" AND {table}{comparison}");
    // An index by time would require sorting all rows of a long span by id.
    let unindexed = |comparison: &str| format!(" AND +{table}{comparison}");
    if let Some(subject) = filter.subject {
        query.push(and("subject = ")).push_bind(subject);
    }
    if let Some(id) = filter.subject_id {
        query.push(and("subject_id = ")).push_bind(id);
    }
    if let Some(name) = &filter.name {
        query.push(and("name = ")).push_bind(name);
        if filter.subject.is_some_and(Subject::is_identified_by_name) {
            // Redundant condition that makes the partial index usable.
            query.push(and("subject_id IS NULL"));
        }
    }
    if let Some(actor) = &filter.actor {
        query.push(and("actor = ")).push_bind(actor);
    }
    if let Some(action) = filter.action {
        query.push(and("action = ")).push_bind(action);
    }
    if let Some(since) = filter.since {
        query.push(unindexed("at_ms >= ")).push_bind(since);
    }
    if let Some(until) = filter.until {
        query.push(unindexed("at_ms < ")).push_bind(until);
    }
    if let Some(revision) = filter.revision {
        query.push(and("revision = ")).push_bind(revision);
    }
}

/// Limits ids to those of the first and last act within a filter's span of time, because the list is ordered by id, for
/// which an index by time does not help. If the clock was set back, acts of that time may be missing.
fn push_time_bounds<'a>(query: &mut QueryBuilder<'a, Sqlite>, filter: &'a AuditFilter) {
    if let Some(since) = filter.since {
        query
            .push(" AND a.id >= (SELECT id FROM audit_acts WHERE at_ms >= ")
            .push_bind(since)
            .push(" ORDER BY at_ms, id LIMIT 1)");
    }
    if let Some(until) = filter.until {
        query
            .push(" AND a.id <= (SELECT id FROM audit_acts WHERE at_ms < ")
            .push_bind(until)
            .push(" ORDER BY at_ms DESC, id DESC LIMIT 1)");
    }
}

/// Built at run time, like the log search: `(?1 IS NULL OR …)` cannot use an index.
fn select_changes<'a>() -> QueryBuilder<'a, Sqlite> {
    QueryBuilder::new(
        "
        SELECT id, at_ms, revision, actor, address, action, subject, subject_id, name, before, after
        FROM audit_log
        WHERE true",
    )
}

#[cfg(test)]
pub mod tests;
