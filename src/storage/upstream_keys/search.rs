//! Searches upstream keys for the list of the dashboard and the API: filtered, sorted and read in pages.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::Deserialize;
use sqlx::{QueryBuilder, Sqlite, SqliteExecutor, SqlitePool};
use tokio::try_join;

use crate::clock::Timestamp;
use crate::pool::keys::upstream_key::{Billing, ProjectId, UpstreamKeyId};
use crate::pool::request_id::RequestId;
use crate::storage::error::{Error, Result, Thing};

/// Selects keys; `None` matches all. Key states are filtered by the running server, not here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamKeyFilter {
    /// Words that must all occur in the label, last characters, project name or number, or tags.
    pub text: Option<String>,
    /// The name or number of its project.
    pub project: Option<String>,
    pub billing: Option<Billing>,
    pub tag: Option<String>,
    pub priority: Option<i64>,
    /// Only keys with failures today.
    pub failing: bool,
}

/// The order of keys. Keys without a value come last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamKeySort {
    #[default]
    Created,
    Label,
    Project,
    Priority,
    /// Today's, like the next two.
    Requests,
    Success,
    Tokens,
    LastUsed,
}

/// A key for the dashboard, with its requests since midnight UTC.
#[derive(Debug, Clone)]
pub struct DashboardKey {
    pub id: UpstreamKeyId,
    pub label: String,
    pub last4: String,
    pub project_id: ProjectId,
    /// The admin's name for it, else Google's number.
    pub project: Option<String>,
    pub billing: Billing,
    pub priority: i64,
    pub weight: i64,
    pub tags: Vec<String>,
    pub enabled: bool,
    /// The rule that set the state, and Google's message, redacted.
    pub state_rule: Option<String>,
    pub state_status: Option<u16>,
    pub state_message: Option<String>,
    pub state_request_id: Option<RequestId>,
    pub today: AttemptCounts,
    pub all_time: AttemptCounts,
    pub last_used_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub checked_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// Attempts with a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttemptCounts {
    pub requests: i64,
    pub successes: i64,
    pub failures: i64,
    pub tokens: i64,
}

/// The name of a key's project, else its number.
const PROJECT: &str = "coalesce(p.name, p.number)";

/// The ids of matching keys in use, in order. `day` is the start of today.
pub async fn search(
    db: &SqlitePool,
    filter: &UpstreamKeyFilter,
    sort: UpstreamKeySort,
    descending: bool,
    day: Timestamp,
) -> Result<Vec<UpstreamKeyId>> {
    let by_today = |expression| by_today(db, filter, expression, descending, day);
    match sort {
        UpstreamKeySort::Created => {
            let (mut ids, _) = matching(db, filter, "NULL", day).await?;
            ids.sort_unstable();
            if descending {
                ids.reverse();
            }
            Ok(ids)
        }
        UpstreamKeySort::Label | UpstreamKeySort::Project => {
            let expression = if sort == UpstreamKeySort::Label {
                "k.label"
            } else {
                PROJECT
            };
            let (mut ids, values) = matching(db, filter, expression, day).await?;
            let values: Vec<Option<String>> =
                serde_json::from_str(&values).expect("the query returns JSON with strings");
            let values = values
                .into_iter()
                .map(|text| text.map(|text| text.to_ascii_lowercase()));
            sort_by(&mut ids, values, descending, Ord::cmp);
            Ok(ids)
        }
        UpstreamKeySort::Priority | UpstreamKeySort::LastUsed => {
            let expression = if sort == UpstreamKeySort::Priority {
                "k.priority"
            } else {
                "k.last_used_at_ms"
            };
            let (mut ids, values) = matching(db, filter, expression, day).await?;
            let values = numbers_of(&values).into_iter();
            sort_by(&mut ids, values, descending, f64::total_cmp);
            Ok(ids)
        }
        UpstreamKeySort::Requests => by_today("requests").await,
        UpstreamKeySort::Success => {
            by_today("successes * 1.0 / nullif(successes + failures, 0)").await
        }
        UpstreamKeySort::Tokens => by_today("total_tokens").await,
    }
}

/// Sorted by `expression` on today's usage. With many keys, one separate read of the day takes half as long as a look-up
/// per key.
async fn by_today(
    db: &SqlitePool,
    filter: &UpstreamKeyFilter,
    expression: &str,
    descending: bool,
    day: Timestamp,
) -> Result<Vec<UpstreamKeyId>> {
    let today = async {
        let sql = format!(
            "
            SELECT json_group_array(upstream_key_id), json_group_array({expression})
            FROM upstream_key_days
            WHERE day_ms = ?
            "
        );
        let row: (String, String) = sqlx::query_as(&sql).bind(day).fetch_one(db).await?;
        Ok(row)
    };
    let ((mut ids, _), (used, values)) = try_join!(matching(db, filter, "NULL", day), today)?;
    let values: HashMap<_, _> = ids_of(&used).into_iter().zip(numbers_of(&values)).collect();
    let of_each: Vec<_> = ids
        .iter()
        .map(|id| values.get(id).copied().flatten())
        .collect();
    sort_by(&mut ids, of_each.into_iter(), descending, f64::total_cmp);
    Ok(ids)
}

/// The ids of matching keys with their `expression`, as one JSON value: one row costs much less than a row per key, and
/// sorting in memory less than in SQLite.
async fn matching(
    db: &SqlitePool,
    filter: &UpstreamKeyFilter,
    expression: &str,
    day: Timestamp,
) -> Result<(Vec<UpstreamKeyId>, String)> {
    // Built at run time, so that it joins and compares only what the filter needs.
    let mut query: QueryBuilder<Sqlite> =
        QueryBuilder::new("SELECT json_group_array(k.id), json_group_array(");
    query.push(expression).push(") FROM upstream_keys AS k");
    if expression == PROJECT
        || filter.project.is_some()
        || filter.billing.is_some()
        || filter.text.is_some()
    {
        query.push(" JOIN projects AS p ON p.id = k.project_id");
    }
    if filter.failing {
        query
            .push(" JOIN upstream_key_days AS d ON d.upstream_key_id = k.id AND d.day_ms = ")
            .push_bind(day);
    }
    query.push(" WHERE k.removed_at_ms IS NULL");
    for word in filter.text.iter().flat_map(|text| text.split_whitespace()) {
        query
            .push(
                " AND k.label || ' ' || k.last4 || ' ' || k.tags || ' ' || coalesce(p.name, '') || ' ' || \
                 coalesce(p.number, '') LIKE ",
            )
            .push_bind(contains(word))
            .push(" ESCAPE '\\'");
    }
    if let Some(project) = &filter.project {
        query.push(" AND (p.name = ").push_bind(project);
        query.push(" OR p.number = ").push_bind(project).push(")");
    }
    if let Some(billing) = filter.billing {
        query.push(" AND p.billing = ").push_bind(billing);
    }
    if let Some(tag) = &filter.tag {
        query
            .push(" AND EXISTS (SELECT 1 FROM json_each(k.tags) WHERE value = ")
            .push_bind(tag)
            .push(")");
    }
    if let Some(priority) = filter.priority {
        query.push(" AND k.priority = ").push_bind(priority);
    }
    if filter.failing {
        query.push(" AND d.failures > 0");
    }
    let (ids, values): (String, String) = query.build_query_as().fetch_one(db).await?;
    Ok((ids_of(&ids), values))
}

fn ids_of(json: &str) -> Vec<UpstreamKeyId> {
    let ids: Vec<i64> =
        serde_json::from_str(json).expect("the query returns a JSON array of numbers");
    ids.into_iter().map(UpstreamKeyId).collect()
}

fn numbers_of(json: &str) -> Vec<Option<f64>> {
    serde_json::from_str(json).expect("the query returns a JSON array of numbers")
}

/// Sorts by value, then by id. Ids without a value come last.
fn sort_by<T>(
    ids: &mut Vec<UpstreamKeyId>,
    values: impl Iterator<Item = Option<T>>,
    descending: bool,
    compare: impl Fn(&T, &T) -> Ordering,
) {
    let mut pairs: Vec<_> = values.zip(ids.iter().copied()).collect();
    let turned = |order: Ordering| if descending { order.reverse() } else { order };
    pairs.sort_unstable_by(|(one, one_id), (other, other_id)| {
        let by_value = match (one, other) {
            (Some(one), Some(other)) => turned(compare(one, other)),
            (one, other) => one.is_none().cmp(&other.is_none()),
        };
        by_value.then_with(|| turned(one_id.cmp(other_id)))
    });
    ids.clear();
    ids.extend(pairs.into_iter().map(|(_, id)| id));
}

/// A pattern that matches texts containing `word`.
fn contains(word: &str) -> String {
    let mut pattern = "%".to_owned();
    for char in word.chars() {
        if matches!(char, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern.push('%');
    pattern
}

/// The keys of these ids that are in use, in the order of the ids.
pub async fn list_for_dashboard(
    db: impl SqliteExecutor<'_>,
    ids: &[UpstreamKeyId],
    day: Timestamp,
) -> Result<Vec<DashboardKey>> {
    let ids = serde_json::to_string(ids).expect("numbers serialize to JSON");
    let rows = sqlx::query!(
        r#"
        SELECT
            k.id AS "id!: UpstreamKeyId", k.label, k.last4, k.project_id AS "project_id: ProjectId",
            coalesce(p.name, p.number) AS "project?: String", p.billing AS "billing: Billing", k.priority, k.weight,
            k.tags, k.enabled AS "enabled: bool", k.state_rule, k.state_status AS "state_status: u16", k.state_message,
            k.state_request_id AS "state_request_id: RequestId", k.requests, k.successes, k.failures, k.total_tokens,
            d.requests AS "today_requests?", d.successes AS "today_successes?", d.failures AS "today_failures?",
            d.total_tokens AS "today_tokens?", k.last_used_at_ms AS "last_used_at: Timestamp", k.last_error,
            k.checked_at_ms AS "checked_at: Timestamp", k.created_at_ms AS "created_at: Timestamp"
        FROM json_each(?1) AS requested
        JOIN upstream_keys AS k ON k.id = requested.value
        JOIN projects AS p ON p.id = k.project_id
        LEFT JOIN upstream_key_days AS d ON d.upstream_key_id = k.id AND d.day_ms = ?2
        WHERE k.removed_at_ms IS NULL
        ORDER BY requested.key
        "#,
        ids,
        day,
    );
    let rows = rows.fetch_all(db).await?;
    let shown = rows.into_iter().map(|row| DashboardKey {
        id: row.id,
        label: row.label,
        last4: row.last4,
        project_id: row.project_id,
        project: row.project,
        billing: row.billing,
        priority: row.priority,
        weight: row.weight,
        tags: serde_json::from_str(&row.tags).unwrap_or_default(),
        enabled: row.enabled,
        state_rule: row.state_rule,
        state_status: row.state_status,
        state_message: row.state_message.filter(|message| !message.is_empty()),
        state_request_id: row.state_request_id,
        today: AttemptCounts {
            requests: row.today_requests.unwrap_or(0),
            successes: row.today_successes.unwrap_or(0),
            failures: row.today_failures.unwrap_or(0),
            tokens: row.today_tokens.unwrap_or(0),
        },
        all_time: AttemptCounts {
            requests: row.requests,
            successes: row.successes,
            failures: row.failures,
            tokens: row.total_tokens,
        },
        last_used_at: row.last_used_at,
        last_error: row.last_error,
        checked_at: row.checked_at,
        created_at: row.created_at,
    });
    Ok(shown.collect())
}

/// One key in use.
pub async fn find_for_dashboard(
    db: impl SqliteExecutor<'_>,
    id: UpstreamKeyId,
    day: Timestamp,
) -> Result<DashboardKey> {
    let found = list_for_dashboard(db, &[id], day).await?.pop();
    found.ok_or_else(|| Error::NotFound(Thing::UpstreamKey, id.0.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::keys::upstream_key::KeyAttributes;
    use crate::pool::secret::Secret;
    use crate::storage::audit::tests::act;
    use crate::storage::data_keys::DataKeyStore;
    use crate::storage::db::Db;
    use crate::storage::{installation, upstream_keys};

    const DAY: Timestamp = Timestamp::from_millis(86_400_000);

    async fn add(db: &Db, secret: &str, attributes: KeyAttributes) {
        let mut tx = db.begin().await.unwrap();
        let keys = installation::keys(&mut tx, &DataKeyStore::default())
            .await
            .unwrap();
        let act = act(&mut tx, DAY).await;
        let secret = Secret::new(secret);
        upstream_keys::insert(&mut tx, &keys, &secret, &attributes, false, &act)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    fn said(label: &str, project: Option<&str>, priority: i64, tags: &[&str]) -> KeyAttributes {
        KeyAttributes {
            label: Some(label.to_owned()),
            project: project.map(str::to_owned),
            billing: (priority > 0).then_some(Billing::Paid),
            priority: Some(priority),
            tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()),
            ..KeyAttributes::default()
        }
    }

    /// Three keys: the second was used today, the third yesterday.
    async fn filled(pool: SqlitePool) -> Db {
        let db = Db::from_pool(pool);
        let [first, second, third] =
            ["aaaa", "bbbb", "cccc"].map(|end| format!("secret-of-the-key-{end}"));
        add(&db, &first, said("beta", Some("7"), 0, &["eu"])).await;
        add(&db, &second, said("Alpha 10%", Some("team"), 2, &[])).await;
        add(&db, &third, said("gamma", None, 1, &["eu", "us_1"])).await;
        for (id, day) in [(2, DAY.as_millis()), (3, 0)] {
            let sql = format!(
                "
                INSERT INTO upstream_key_days (
                    day_ms, upstream_key_id, requests, successes, failures, prompt_tokens, output_tokens, thought_tokens,
                    cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_sketch, duration_sketch
                )
                VALUES ({day}, {id}, 4, 3, 1, 0, 0, 0, 0, 0, 70, 0, '{{}}', '{{}}')
                "
            );
            sqlx::query(&sql).execute(&db.writer).await.unwrap();
        }
        sqlx::query("UPDATE upstream_keys SET last_used_at_ms = id WHERE id > 1")
            .execute(&db.writer)
            .await
            .unwrap();
        db
    }

    #[sqlx::test]
    async fn every_filter_finds_its_keys(pool: SqlitePool) {
        type SetFilter<'a> = &'a dyn Fn(&mut UpstreamKeyFilter);
        let db = filled(pool).await;
        let text = |text: &str| Some(text.to_owned());
        let cases: [(SetFilter, &[i64]); 13] = [
            (&|_| (), &[1, 2, 3]),
            (&|filter| filter.text = text("ALPHA"), &[2]),
            (&|filter| filter.text = text("a bbbb"), &[2]),
            (&|filter| filter.text = text("projects/7"), &[1]),
            (&|filter| filter.text = text("%"), &[2]),
            (&|filter| filter.text = text("us_"), &[3]),
            (&|filter| filter.text = text("nothing"), &[]),
            (&|filter| filter.project = text("team"), &[2]),
            (&|filter| filter.project = text("projects/7"), &[1]),
            (&|filter| filter.billing = Some(Billing::Paid), &[2, 3]),
            (&|filter| filter.tag = text("eu"), &[1, 3]),
            (&|filter| filter.priority = Some(2), &[2]),
            (&|filter| filter.failing = true, &[2]),
        ];
        for (set, expected) in cases {
            let mut filter = UpstreamKeyFilter::default();
            set(&mut filter);
            let found = search(&db.readers, &filter, UpstreamKeySort::Created, false, DAY).await;
            let found: Vec<_> = found.unwrap().iter().map(|id| id.0).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
    }

    #[sqlx::test]
    async fn every_order_sorts_both_ways_with_missing_values_last(pool: SqlitePool) {
        let db = filled(pool).await;
        for (sort, up, down) in [
            (UpstreamKeySort::Created, [1, 2, 3], [3, 2, 1]),
            (UpstreamKeySort::Label, [2, 1, 3], [3, 1, 2]),
            (UpstreamKeySort::Project, [1, 2, 3], [2, 1, 3]),
            (UpstreamKeySort::Priority, [1, 3, 2], [2, 3, 1]),
            (UpstreamKeySort::Requests, [2, 1, 3], [2, 3, 1]),
            (UpstreamKeySort::Success, [2, 1, 3], [2, 3, 1]),
            (UpstreamKeySort::Tokens, [2, 1, 3], [2, 3, 1]),
            (UpstreamKeySort::LastUsed, [2, 3, 1], [3, 2, 1]),
        ] {
            for (descending, expected) in [(false, up), (true, down)] {
                let all = UpstreamKeyFilter::default();
                let found = search(&db.readers, &all, sort, descending, DAY).await;
                let found: Vec<_> = found.unwrap().iter().map(|id| id.0).collect();
                assert_eq!(found, expected, "{sort:?} {descending}");
            }
        }
    }

    #[sqlx::test]
    async fn keys_are_returned_in_the_order_of_the_ids(pool: SqlitePool) {
        let db = filled(pool).await;
        let ids = [3, 9, 2].map(UpstreamKeyId);

        let shown = list_for_dashboard(&db.readers, &ids, DAY).await.unwrap();

        let labels: Vec<_> = shown.iter().map(|key| key.label.as_str()).collect();
        assert_eq!(labels, ["gamma", "Alpha 10%"]);
        assert_eq!(shown[0].today, AttemptCounts::default());
        let today = AttemptCounts {
            requests: 4,
            successes: 3,
            failures: 1,
            tokens: 70,
        };
        assert_eq!(shown[1].today, today);
        assert_eq!(shown[1].project.as_deref(), Some("team"));
        assert_eq!(shown[1].last4, "bbbb");
        let missing = find_for_dashboard(&db.readers, UpstreamKeyId(9), DAY).await;
        assert_eq!(missing.unwrap_err().to_string(), "upstream key 9 not found");
    }
}
