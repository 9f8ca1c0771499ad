//! The audit log: changes by admins and commands, with actor, address and the values before and after. Each change is
//! inserted in the transaction that makes it.

use serde::Serialize;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite, SqliteExecutor, SqlitePool, Transaction};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::clock::Timestamp;
use crate::storage::error::{Error, Result};
use crate::storage::paging::{BidirectionalPage, Page, PagePosition};
use crate::storage::revision;

/// The author of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `admin:NAME`, `cli`, `environment` or `demo`.
    pub name: String,
    /// The address of the admin's request.
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

    /// The command line.
    pub fn cli() -> Self {
        Self::local("cli")
    }

    /// The server's environment variables, read at its start.
    pub fn environment() -> Self {
        Self::local("environment")
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
    EnumString,
    IntoStaticStr,
    VariantArray,
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
    EnumString,
    IntoStaticStr,
    VariantArray,
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
}

impl Subject {
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it has no id. Things with an id have no index by name alone.
    pub fn is_identified_by_name(self) -> bool {
        match self {
            Self::Setting | Self::Backup => true,
            Self::UpstreamKey | Self::ClientKey | Self::Project | Self::Admin => false,
        }
    }
}

/// A change as lists show it; the names are those of the JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    found.ok_or_else(|| Error::NotFound(format!("change {id}")))
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
pub mod tests {
    use serde_json::json;
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::db::{Db, MIGRATOR};

    const NOW: Timestamp = Timestamp::from_millis(1_000);
    const LATER: Timestamp = Timestamp::from_millis(2_000);

    /// An act of the command line.
    pub async fn act(tx: &mut Transaction<'_, Sqlite>, now: Timestamp) -> Act {
        Act::begin(tx, &Actor::cli(), now).await.unwrap()
    }

    /// The changes as text, oldest first: action, subject, name, before, after.
    pub async fn describe_changes(tx: &mut Transaction<'_, Sqlite>) -> Vec<String> {
        let page = list(&mut **tx, &AuditFilter::default(), None, 100).await;
        let changes = page.unwrap().items.into_iter().rev();
        let text = |value: Option<Value>| value.map_or("-".to_owned(), |value| value.to_string());
        changes
            .map(|change| {
                let change_json = serde_json::to_value(&change).unwrap();
                let word = |name: &str| change_json[name].as_str().unwrap().to_owned();
                let (action, subject) = (word("action"), word("subject"));
                let (before, after) = (text(change.before), text(change.after));
                format!("{action} {subject} {}: {before} → {after}", change.name)
            })
            .collect()
    }

    /// Inserts a change of an upstream key.
    async fn change(
        tx: &mut Transaction<'_, Sqlite>,
        act: &Act,
        name: &str,
        action: Action,
    ) -> i64 {
        let subject = (Subject::UpstreamKey, Some(7));
        let values = (None, Some(json!({"label": name})));
        insert(tx, act, action, subject, name, values)
            .await
            .unwrap()
    }

    fn filter(set: &dyn Fn(&mut AuditFilter)) -> AuditFilter {
        let mut filter = AuditFilter::default();
        set(&mut filter);
        filter
    }

    #[sqlx::test]
    async fn changes_are_found_by_every_filter_and_page_by_page(pool: SqlitePool) {
        let mut tx = Db::from_pool(pool).begin().await.unwrap();
        let first = act(&mut tx, NOW).await;
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            ids.push(change(&mut tx, &first, name, Action::Create).await);
        }
        let admin = Actor::admin("ann", "192.0.2.1".to_owned());
        let second = Act::begin(&mut tx, &admin, LATER).await.unwrap();
        let (subject, values) = (
            (Subject::Setting, None),
            (None, Some(json!({"label": "d"}))),
        );
        let setting = insert(&mut tx, &second, Action::Update, subject, "d", values).await;
        ids.push(setting.unwrap());

        let cases: [(&dyn Fn(&mut AuditFilter), _); 9] = [
            (&|_| (), &ids[..]),
            (&|filter| filter.subject = Some(Subject::Setting), &ids[3..]),
            (&|filter| filter.subject_id = Some(7), &ids[..3]),
            (&|filter| filter.name = Some("b".to_owned()), &ids[1..2]),
            (
                &|filter| filter.actor = Some("admin:ann".to_owned()),
                &ids[3..],
            ),
            (&|filter| filter.action = Some(Action::Create), &ids[..3]),
            (&|filter| filter.since = Some(LATER), &ids[3..]),
            (&|filter| filter.until = Some(LATER), &ids[..3]),
            (&|filter| filter.revision = Some(first.revision), &ids[..3]),
        ];
        for (set, expected) in cases {
            let filter = filter(set);
            let page = list(&mut *tx, &filter, None, 10).await.unwrap();
            let mut found: Vec<_> = page.items.iter().map(|change| change.id).collect();
            found.reverse();
            assert_eq!(found, expected, "{filter:?}");
        }

        let all = AuditFilter::default();
        let page = list(&mut *tx, &all, None, 3).await.unwrap();
        let cursor = page.next.unwrap().parse().ok();
        let rest = list(&mut *tx, &all, cursor, 3).await.unwrap();
        assert_eq!((rest.items.len(), rest.next), (1, None));
        let found = find(&mut *tx, ids[3]).await.unwrap();
        assert_eq!(found, page.items[0]);
        assert_eq!(found.address.as_deref(), Some("192.0.2.1"));
        assert_eq!(found.after, Some(json!({"label": "d"})));
        let missing = find(&mut *tx, 99).await.unwrap_err();
        assert_eq!(missing.to_string(), "change 99 not found");
    }

    #[sqlx::test]
    async fn an_act_is_one_line_however_many_changes_it_has(pool: SqlitePool) {
        let mut tx = Db::from_pool(pool.clone()).begin().await.unwrap();
        let import = act(&mut tx, NOW).await;
        for name in ["a", "b", "c"] {
            change(&mut tx, &import, name, Action::Create).await;
        }
        let sign_in = Act::without_revision(Actor::admin("ann", "192.0.2.1".to_owned()), LATER);
        for _ in 0..2 {
            let (subject, values) = ((Subject::Admin, Some(7)), (None, None));
            let signed_in = insert(&mut tx, &sign_in, Action::SignIn, subject, "ann", values).await;
            signed_in.unwrap();
        }
        let removal = act(&mut tx, LATER).await;
        change(&mut tx, &removal, "a", Action::Delete).await;
        tx.commit().await.unwrap();
        let list = async |filter: &AuditFilter, position, limit| {
            let acts = list_acts(&pool, filter, position, limit).await.unwrap();
            let lines = acts.items.iter();
            let lines = lines.map(|act| format!("{} x{}", act.first.name, act.changes));
            (lines.collect::<Vec<_>>().join(" "), acts.newer, acts.older)
        };

        for (position, limit, lines, newer, older) in [
            (
                PagePosition::Newest,
                9,
                "a x1 ann x1 ann x1 a x3",
                None,
                None,
            ),
            (PagePosition::Newest, 2, "a x1 ann x1", None, Some(5)),
            (PagePosition::OlderThan(5), 2, "ann x1 a x3", Some(4), None),
            (PagePosition::NewerThan(4), 2, "a x1 ann x1", None, Some(5)),
            // No page before the newest is half full.
            (PagePosition::NewerThan(5), 2, "a x1 ann x1", None, Some(5)),
        ] {
            let found = list(&AuditFilter::default(), position, limit).await;
            assert_eq!(found, (lines.to_owned(), newer, older), "{position:?}");
        }
        let cases: [(&dyn Fn(&mut AuditFilter), _); 4] = [
            (
                &|filter| filter.revision = Some(import.revision),
                "c x1 b x1 a x1",
            ),
            (
                &|filter| {
                    (filter.subject, filter.subject_id) = (Some(Subject::UpstreamKey), Some(7));
                    filter.until = Some(LATER);
                },
                "c x1 b x1 a x1",
            ),
            (
                &|filter| {
                    (filter.subject, filter.since) = (Some(Subject::UpstreamKey), Some(LATER))
                },
                "a x1",
            ),
            (
                &|filter| {
                    filter.actor = Some("admin:ann".to_owned());
                    filter.action = Some(Action::SignIn);
                },
                "ann x1 ann x1",
            ),
        ];
        for (set, expected) in cases {
            let filter = filter(set);
            let (lines, ..) = list(&filter, PagePosition::Newest, 9).await;
            assert_eq!(lines, expected, "{filter:?}");
        }
    }

    #[test]
    fn a_difference_contains_only_changed_entries() {
        let before = json!({"label": "a", "weight": 1, "note": "old"});
        let after = json!({"label": "b", "weight": 1, "tags": ["t"]});

        let told = difference(before.clone(), after);

        let expected = (
            json!({"label": "a", "note": "old"}),
            json!({"label": "b", "tags": ["t"]}),
        );
        assert_eq!(told, Some(expected));
        assert_eq!(difference(before.clone(), before), None);
    }

    #[sqlx::test(migrations = false)]
    async fn the_migration_moves_the_history_of_settings_into_the_audit_log(pool: SqlitePool) {
        let mut connection = pool.acquire().await.unwrap();
        let (ours, earlier): (Vec<_>, Vec<_>) = MIGRATOR
            .iter()
            .filter(|migration| migration.version <= 20_261_125_000_200)
            .partition(|migration| migration.version == 20_261_125_000_200);
        for migration in earlier {
            sqlx::raw_sql(&migration.sql)
                .execute(&mut *connection)
                .await
                .unwrap();
        }
        sqlx::query(
            "
            INSERT INTO setting_changes (name, before, after, actor, changed_at_ms)
            VALUES ('max_attempts', NULL, '7', 'cli', 1000), ('max_attempts', '7', NULL, 'cli', 2000)
            ",
        )
        .execute(&mut *connection)
        .await
        .unwrap();
        sqlx::raw_sql(&ours[0].sql)
            .execute(&mut *connection)
            .await
            .unwrap();
        drop(connection);

        let mut tx = Db::from_pool(pool).begin().await.unwrap();

        let expected = [
            r#"update setting max_attempts: - → {"value":"7"}"#,
            r#"update setting max_attempts: {"value":"7"} → -"#,
        ];
        assert_eq!(describe_changes(&mut tx).await, expected);
    }
}
