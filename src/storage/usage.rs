//! Usage: sums of rollups over hours or days, by model, client key, upstream key, project or tag. No row of the log is read.

pub mod names;
pub mod sums;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqlitePool};

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::project_number;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::outcome::Outcome;
use crate::storage::error::Result;
use crate::storage::json_columns::json_array;
use crate::storage::usage::sums::UsageSums;

/// The rollups that usage is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageTable {
    ModelHours,
    ModelDays,
    ClientKeyHours,
    ClientKeyDays,
    /// Counts attempts, by UTC days.
    UpstreamKeyDays,
}

/// What usage is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageGrouping {
    Model,
    ClientKey,
    UpstreamKey,
    Project,
    /// A key counts under each of its tags.
    Tag,
}

/// One group: the id of a model's string, a key or a project, or a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageGroup {
    Id(i64),
    Tag(String),
    /// No model, no client key or no tag.
    None,
}

/// Selects usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageFilter {
    Model(String),
    ClientKey(ClientKeyId),
    UpstreamKey(UpstreamKeyId),
    /// The name or number of a project, or `#` and its id.
    Project(String),
    Tag(String),
}

/// The order of groups, largest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UsageOrder {
    #[default]
    Cost,
    Tokens,
    Requests,
}

/// An hour or day, and the bin that it counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsagePeriod {
    pub bin: usize,
    pub begin: Timestamp,
}

/// The sums of one group in one bin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageCell {
    pub bin: usize,
    pub group: UsageGroup,
    pub sums: UsageSums,
}

impl UsageTable {
    /// Its name, and the column of a period's begin.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::ModelHours => ("model_hours", "hour_ms"),
            Self::ModelDays => ("model_days", "day_ms"),
            Self::ClientKeyHours => ("client_key_hours", "hour_ms"),
            Self::ClientKeyDays => ("client_key_days", "day_ms"),
            Self::UpstreamKeyDays => ("upstream_key_days", "day_ms"),
        }
    }

    /// The sums, with the names that [`UsageSums::of_row`] reads.
    fn sums(self) -> String {
        let retried = match self {
            Self::UpstreamKeyDays => "0",
            Self::ModelHours | Self::ModelDays | Self::ClientKeyHours | Self::ClientKeyDays => {
                "ifnull(sum(t.retried_successes), 0)"
            }
        };
        let (successes, failures) = match self {
            Self::ModelHours | Self::ModelDays => {
                let failures = Outcome::ALL.iter().filter(|outcome| outcome.is_failure());
                let failures: Vec<_> = failures
                    .map(|outcome| format!("'{}'", outcome.name()))
                    .collect();
                let failures = failures.join(", ");
                (
                    "ifnull(sum(iif(t.outcome = 'success', t.requests, 0)), 0)".to_owned(),
                    format!("ifnull(sum(iif(t.outcome IN ({failures}), t.requests, 0)), 0)"),
                )
            }
            Self::ClientKeyHours | Self::ClientKeyDays | Self::UpstreamKeyDays => (
                "ifnull(sum(t.successes), 0)".to_owned(),
                "ifnull(sum(t.failures), 0)".to_owned(),
            ),
        };
        let plain = [
            ("requests", "requests"),
            ("prompt_tokens", "prompt"),
            ("output_tokens", "output"),
            ("thought_tokens", "thoughts"),
            ("cached_tokens", "cached"),
            ("total_tokens", "total"),
            ("cost_nano_usd", "cost_nano_usd"),
        ];
        let plain = plain.map(|(column, name)| format!("ifnull(sum(t.{column}), 0) AS {name}"));
        format!(
            "{successes} AS successes, {failures} AS failures, {retried} AS retried, {}",
            plain.join(", ")
        )
    }
}

impl UsageGrouping {
    /// The column of the table that has the group, or the key that leads to it.
    fn column(self) -> &'static str {
        match self {
            Self::Model => "t.model_id",
            Self::ClientKey => "t.client_key_id",
            Self::UpstreamKey | Self::Project | Self::Tag => "t.upstream_key_id",
        }
    }

    /// The group, and the join that it needs.
    fn group(self) -> (&'static str, &'static str) {
        const KEYS: &str = " CROSS JOIN upstream_keys AS k ON k.id = t.upstream_key_id";
        const TAGS: &str = " CROSS JOIN upstream_keys AS k ON k.id = t.upstream_key_id \
             LEFT JOIN json_each(k.tags) AS g";
        match self {
            Self::Model | Self::ClientKey | Self::UpstreamKey => (self.column(), ""),
            Self::Project => ("k.project_id", KEYS),
            Self::Tag => ("g.value", TAGS),
        }
    }

    /// Whether there may be so many groups that most time is spent on sums of groups that are not among the largest.
    fn is_ranked_first(self) -> bool {
        match self {
            Self::UpstreamKey | Self::Project => true,
            Self::Model | Self::ClientKey | Self::Tag => false,
        }
    }

    /// Whether there are so few groups that all of their bins are read at once.
    pub fn has_few_groups(self) -> bool {
        match self {
            Self::Model | Self::ClientKey | Self::Tag => true,
            Self::UpstreamKey | Self::Project => false,
        }
    }

    /// The condition on the column before and after a list of groups.
    fn is_one_of(self) -> (&'static str, &'static str) {
        match self {
            Self::Model | Self::ClientKey | Self::UpstreamKey => {
                (" IN (SELECT value FROM json_each(", "))")
            }
            Self::Project => (
                " IN (SELECT id FROM upstream_keys WHERE project_id IN (SELECT value FROM json_each(",
                ")))",
            ),
            Self::Tag => (
                " IN (SELECT o.id FROM upstream_keys AS o, json_each(o.tags) AS own \
                 WHERE own.value IN (SELECT value FROM json_each(",
                ")))",
            ),
        }
    }

    fn group_of(self, row: &SqliteRow) -> sqlx::Result<UsageGroup> {
        if self == Self::Tag {
            let tag: Option<String> = row.try_get("of")?;
            return Ok(tag.map_or(UsageGroup::None, UsageGroup::Tag));
        }
        let id: i64 = row.try_get("of")?;
        let has_none = matches!(self, Self::Model | Self::ClientKey);
        Ok(if id == 0 && has_none {
            UsageGroup::None
        } else {
            UsageGroup::Id(id)
        })
    }
}

impl UsageGroup {
    fn value(&self) -> Value {
        match self {
            Self::Id(id) => json!(id),
            Self::Tag(tag) => json!(tag),
            Self::None => json!(0),
        }
    }
}

impl UsageOrder {
    /// What groups are compared by, largest first.
    pub fn rank(self, sums: &UsageSums) -> Reverse<(i64, u64, u64)> {
        let (cost, total, requests) = (sums.cost_nano_usd, sums.total_tokens, sums.requests);
        Reverse(match self {
            Self::Cost => (cost, total, requests),
            Self::Tokens => (0, total, requests),
            Self::Requests => (0, requests, total),
        })
    }

    fn columns(self) -> &'static str {
        match self {
            Self::Cost => "cost_nano_usd DESC, total DESC, requests DESC",
            Self::Tokens => "total DESC, requests DESC",
            Self::Requests => "requests DESC, total DESC",
        }
    }
}

/// The sums that groups are ordered by.
const ORDER_SUMS: &str = "ifnull(sum(t.cost_nano_usd), 0) AS cost_nano_usd, ifnull(sum(t.total_tokens), 0) AS total, \
    ifnull(sum(t.requests), 0) AS requests";

/// How the periods of a table are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookup {
    Range,
    /// For a condition on the second column of the primary key.
    EachPeriod,
}

/// The rows `t` of a table in some periods.
///
/// Not checked macros: they cannot take a table, so that each sum would be written ten times. Only constants are inserted
/// into the text. With a filter the periods come as a list, so that a key or model is looked up in each of them; without one
/// a range is read faster.
fn push_select(
    query: &mut QueryBuilder<'_, Sqlite>,
    table: UsageTable,
    (columns, join): (&str, &str),
    filter: Option<&UsageFilter>,
    periods: &[UsagePeriod],
    lookup: Lookup,
) {
    let (name, begin) = table.names();
    query.push(format!("SELECT {columns}"));
    let begins: Vec<_> = periods
        .iter()
        .map(|period| period.begin.as_millis())
        .collect();
    if lookup == Lookup::EachPeriod || filter.is_some() {
        query
            .push(" FROM json_each(")
            .push_bind(json_array(&begins));
        query.push(format!(
            ") AS p CROSS JOIN {name} AS t ON t.{begin} = p.value{join} WHERE TRUE"
        ));
    } else {
        // Periods follow each other without gaps, in either direction.
        let (first, last) = (begins.iter().min().copied(), begins.iter().max().copied());
        query
            .push(format!(" FROM {name} AS t{join} WHERE t.{begin} >= "))
            .push_bind(first)
            .push(format!(" AND t.{begin} <= "))
            .push_bind(last);
    }
    match filter {
        None => {}
        Some(UsageFilter::Model(model)) => {
            query
                .push(" AND t.model_id = (SELECT id FROM strings WHERE value = ")
                .push_bind(model.clone())
                .push(")");
        }
        Some(UsageFilter::ClientKey(id)) => {
            query.push(" AND t.client_key_id = ").push_bind(*id);
        }
        Some(UsageFilter::UpstreamKey(id)) => {
            query.push(" AND t.upstream_key_id = ").push_bind(*id);
        }
        Some(UsageFilter::Project(project)) => {
            let number = project_number::parse(project);
            let id = project.strip_prefix('#').and_then(|id| id.parse().ok());
            query
                .push(
                    " AND t.upstream_key_id IN (SELECT id FROM upstream_keys WHERE project_id = (\
                     SELECT coalesce(merged_into_id, id) FROM projects WHERE name = ",
                )
                .push_bind(project.clone())
                .push(" OR number = ")
                .push_bind(number)
                .push(" OR id = ")
                .push_bind::<Option<i64>>(id)
                .push("))");
        }
        Some(UsageFilter::Tag(tag)) => {
            query
                .push(
                    " AND t.upstream_key_id IN (SELECT owner.id FROM upstream_keys AS owner, \
                     json_each(owner.tags) AS own WHERE own.value = ",
                )
                .push_bind(tag.clone())
                .push(")");
        }
    }
}

/// The sums of each bin that has any.
pub async fn sum_bins(
    db: &SqlitePool,
    table: UsageTable,
    filter: Option<&UsageFilter>,
    periods: &[UsagePeriod],
) -> Result<Vec<(usize, UsageSums)>> {
    let columns = format!("t.{} AS begin_ms, {}", table.names().1, table.sums());
    let mut query = QueryBuilder::new("");
    let (columns, lookup) = ((columns.as_str(), ""), Lookup::Range);
    push_select(&mut query, table, columns, filter, periods, lookup);
    query.push(" GROUP BY 1");
    let bins = bins_of(periods);
    let mut sums = BTreeMap::<usize, UsageSums>::new();
    for row in query.build().fetch_all(db).await? {
        let begin: i64 = row.try_get("begin_ms")?;
        let bin = bins.get(&begin).copied().unwrap_or(0);
        *sums.entry(bin).or_default() += UsageSums::of_row(&row)?;
    }
    Ok(sums.into_iter().collect())
}

fn bins_of(periods: &[UsagePeriod]) -> HashMap<i64, usize> {
    let bins = periods
        .iter()
        .map(|period| (period.begin.as_millis(), period.bin));
    bins.collect()
}

/// The `limit` largest groups.
pub async fn list_largest(
    db: &SqlitePool,
    table: UsageTable,
    grouping: UsageGrouping,
    filter: Option<&UsageFilter>,
    periods: &[UsagePeriod],
    order: (UsageOrder, u32),
) -> Result<Vec<(UsageGroup, UsageSums)>> {
    let (order, limit) = order;
    let (group, join) = grouping.group();
    let sums = if grouping.is_ranked_first() {
        ORDER_SUMS.to_owned()
    } else {
        table.sums()
    };
    let columns = format!("{group} AS \"of\", {sums}");
    let mut query = QueryBuilder::new("");
    let (columns, lookup) = ((columns.as_str(), join), Lookup::Range);
    push_select(&mut query, table, columns, filter, periods, lookup);
    query.push(" GROUP BY 1 ORDER BY ");
    query.push(order.columns());
    query.push(", 1 LIMIT ").push_bind(limit);
    let rows = query.build().fetch_all(db).await?;
    let groups = rows.iter().map(|row| grouping.group_of(row));
    let groups = groups.collect::<sqlx::Result<Vec<_>>>()?;
    if !grouping.is_ranked_first() {
        let sums = rows.iter().map(UsageSums::of_row);
        let sums = sums.collect::<sqlx::Result<Vec<_>>>()?;
        return Ok(groups.into_iter().zip(sums).collect());
    }
    let cells = list_cells(db, table, grouping, filter, periods, &groups).await?;
    let mut sums = HashMap::<_, UsageSums>::new();
    for cell in cells {
        *sums.entry(cell.group).or_default() += cell.sums;
    }
    let with_sums = groups.into_iter().map(|group| {
        let sums = sums.get(&group).copied().unwrap_or_default();
        (group, sums)
    });
    Ok(with_sums.collect())
}

/// The sums of each bin, and of all groups in each bin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageCells {
    /// By bin, those that have any.
    pub bins: BTreeMap<usize, UsageSums>,
    pub cells: Vec<UsageCell>,
}

/// The sums of all groups in each bin, read once; see [`UsageGrouping::has_few_groups`].
pub async fn list_all_cells(
    db: &SqlitePool,
    table: UsageTable,
    grouping: UsageGrouping,
    filter: Option<&UsageFilter>,
    periods: &[UsagePeriod],
) -> Result<UsageCells> {
    if grouping == UsageGrouping::Tag {
        return list_cells_of_tags(db, table, filter, periods).await;
    }
    let (name, begin) = table.names();
    let (column, sums) = (grouping.column(), table.sums());
    let bins: Vec<_> = periods
        .iter()
        .map(|period| (period.begin.as_millis(), period.bin))
        .collect();
    let mut query = QueryBuilder::new(
        "WITH p AS MATERIALIZED (SELECT value ->> 0 AS begin_ms, value ->> 1 AS bin FROM json_each(",
    );
    query.push_bind(json_array(&bins)).push(format!(
        ")) SELECT p.bin AS bin, {column} AS \"of\", {sums} \
         FROM p CROSS JOIN {name} AS t ON t.{begin} = p.begin_ms GROUP BY 1, 2"
    ));
    let mut found = UsageCells::default();
    for row in query.build().fetch_all(db).await? {
        let bin: i64 = row.try_get("bin")?;
        let cell = UsageCell {
            bin: usize::try_from(bin).unwrap_or(0),
            group: grouping.group_of(&row)?,
            sums: UsageSums::of_row(&row)?,
        };
        *found.bins.entry(cell.bin).or_default() += cell.sums;
        found.cells.push(cell);
    }
    Ok(found)
}

/// Groups by whole lists of tags, of which there are few: to take each list apart in SQL costs as much as all the sums.
async fn list_cells_of_tags(
    db: &SqlitePool,
    table: UsageTable,
    filter: Option<&UsageFilter>,
    periods: &[UsagePeriod],
) -> Result<UsageCells> {
    let (_, join) = UsageGrouping::Project.group();
    let columns = format!(
        "t.{} AS begin_ms, k.tags AS tags, {}",
        table.names().1,
        table.sums()
    );
    let mut query = QueryBuilder::new("");
    let (columns, lookup) = ((columns.as_str(), join), Lookup::Range);
    push_select(&mut query, table, columns, filter, periods, lookup);
    query.push(" GROUP BY 1, 2");
    let bins = bins_of(periods);
    let mut found = UsageCells::default();
    let mut cells = BTreeMap::<_, UsageSums>::new();
    for row in query.build().fetch_all(db).await? {
        let (begin, tags): (i64, String) = (row.try_get("begin_ms")?, row.try_get("tags")?);
        let (bin, sums) = (
            bins.get(&begin).copied().unwrap_or(0),
            UsageSums::of_row(&row)?,
        );
        *found.bins.entry(bin).or_default() += sums;
        let tags: BTreeSet<String> = serde_json::from_str(&tags).unwrap_or_default();
        if tags.is_empty() {
            *cells.entry((bin, UsageGroup::None)).or_default() += sums;
        }
        for tag in tags {
            *cells.entry((bin, UsageGroup::Tag(tag))).or_default() += sums;
        }
    }
    let cells = cells.into_iter();
    let cells = cells.map(|((bin, group), sums)| UsageCell { bin, group, sums });
    found.cells = cells.collect();
    Ok(found)
}

/// The sums of some groups in each bin.
pub async fn list_cells(
    db: &SqlitePool,
    table: UsageTable,
    grouping: UsageGrouping,
    filter: Option<&UsageFilter>,
    periods: &[UsagePeriod],
    groups: &[UsageGroup],
) -> Result<Vec<UsageCell>> {
    let values: Vec<_> = groups.iter().map(UsageGroup::value).collect();
    let values = json_array(&values);
    let (group, join) = grouping.group();
    let (column, begin) = (grouping.column(), table.names().1);
    let columns = format!("t.{begin} AS begin_ms, {group} AS \"of\", {}", table.sums());
    let mut query = QueryBuilder::new("");
    let (columns, lookup) = ((columns.as_str(), join), Lookup::EachPeriod);
    push_select(&mut query, table, columns, filter, periods, lookup);
    let (before, after) = grouping.is_one_of();
    query
        .push(format!(" AND {column}{before}"))
        .push_bind(values.clone())
        .push(format!(
            "{after} AND {group} IN (SELECT value FROM json_each("
        ))
        .push_bind(values)
        .push(")) GROUP BY 1, 2");
    let bins = bins_of(periods);
    let mut cells = HashMap::<_, UsageSums>::new();
    for row in query.build().fetch_all(db).await? {
        let begin: i64 = row.try_get("begin_ms")?;
        let bin = bins.get(&begin).copied().unwrap_or(0);
        let cell = cells.entry((bin, grouping.group_of(&row)?));
        *cell.or_default() += UsageSums::of_row(&row)?;
    }
    let cells = cells.into_iter();
    let cells = cells.map(|((bin, group), sums)| UsageCell { bin, group, sums });
    Ok(cells.collect())
}

/// The number of rows that a table has at most in a period.
pub async fn rows_per_period(db: &SqlitePool, table: UsageTable) -> Result<u64> {
    let rows = match table {
        UsageTable::ModelHours | UsageTable::ModelDays => return Ok(1),
        UsageTable::ClientKeyHours | UsageTable::ClientKeyDays => {
            sqlx::query_scalar!("SELECT count(*) FROM client_keys")
                .fetch_one(db)
                .await?
        }
        UsageTable::UpstreamKeyDays => {
            sqlx::query_scalar!("SELECT count(*) FROM upstream_keys")
                .fetch_one(db)
                .await?
        }
    };
    Ok(u64::try_from(rows).unwrap_or(0))
}

#[cfg(test)]
mod tests;
