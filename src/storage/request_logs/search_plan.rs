//! `SearchPlan`: a log filter as SQL conditions, and the index that finds its rows.

mod sql_fragment;

use std::ops::RangeInclusive;

use sqlx::{QueryBuilder, Sqlite, SqlitePool};

use crate::clock::Timestamp;
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::storage::error::Result;
use crate::storage::json_columns::json_array;
use crate::storage::request_logs::LogKind;
use crate::storage::request_logs::filter::{
    LogFilter, OutcomeFilter, OutcomeSet, RowIndex, StatusFilter, TEXT_COLUMNS,
};
use crate::storage::request_logs::id_range::IdRange;
use crate::storage::request_logs::search_plan::sql_fragment::{
    SqlFragment, SqlValue, json, push, push_all, push_range,
};

/// Number of candidates from which the density of an index scan is estimated.
const PROBE_SIZE: usize = 300;
/// Minimum duration of rows in the index of slow requests.
const SLOW_MS: u64 = 10_000;
/// Maximum number of keys of one name that are each looked up in an index. SQLite joins at most 500 statements.
const MAX_SCANS: usize = 100;

/// A filter with strings and keys replaced by their ids.
#[derive(Debug, Default)]
pub struct SearchPlan(Vec<Predicate>);

/// One condition of the filter.
#[derive(Debug)]
struct Predicate {
    /// A condition on the row `r`; `None` if another predicate contains it.
    condition: Option<SqlFragment>,
    /// Scans all matching rows, and with a condition no others, in the order of their ids.
    scan: Option<IndexScan>,
}

impl Predicate {
    fn new(condition: &'static str, values: Vec<SqlValue>, scan: Option<IndexScan>) -> Self {
        Self {
            condition: Some(SqlFragment(condition, values)),
            scan,
        }
    }

    /// Only another index for the rows.
    fn superset(scan: IndexScan) -> Self {
        Self {
            condition: None,
            scan: Some(scan),
        }
    }
}

/// A scan of an index, or several merged scans.
#[derive(Debug, Clone)]
struct IndexScan {
    index: RowIndex,
    /// The parameters of each scan.
    arguments: Vec<Vec<SqlValue>>,
}

impl IndexScan {
    fn one(index: RowIndex, values: Vec<SqlValue>) -> Self {
        let arguments = vec![values];
        Self { index, arguments }
    }

    /// A scan for each of the values.
    fn each(index: RowIndex, values: impl IntoIterator<Item = SqlValue>) -> Self {
        let arguments = values.into_iter().map(|value| vec![value]).collect();
        Self { index, arguments }
    }
}

/// The result of one step of a search.
#[derive(Debug)]
pub struct SearchStep {
    pub found: Vec<RequestId>,
    /// Number of candidates read.
    pub examined: usize,
    /// The last candidate.
    pub last: Option<i64>,
}

/// Indexes whose conditions leave out the usual value.
mod indexes {
    use super::RowIndex;

    pub const CHECKS: RowIndex = ("request_logs_checks_by_id", "kind = 'check'");
    pub const UNLIKE_SUCCESS: RowIndex = (
        "request_logs_unlike_success",
        "outcome = ? AND outcome <> 'success'",
    );
    pub const RUNNING: RowIndex = ("request_logs_running", "outcome IS NULL");
    pub const STATUS: RowIndex = ("request_logs_by_status", "status = ? AND status <> 200");
    pub const METHOD: RowIndex = ("request_logs_by_method", "method = ? AND method <> 'POST'");
    pub const SLOW: RowIndex = (
        "request_logs_slow",
        "(duration_ms >= 10000 OR first_byte_ms >= 10000)",
    );
    pub const RETRIED: RowIndex = ("request_logs_retried", "attempts > 1");
    pub const WITH_ERROR: RowIndex = ("request_logs_with_error", "error IS NOT NULL");
    pub const CLIENT_KEY: RowIndex = ("request_logs_by_client_key", "client_key_id = ?");
    /// A table, by any attempt.
    pub const PROJECT: RowIndex = ("requests_by_project", "project_id = ?");
    /// The same.
    pub const UPSTREAM_KEY: RowIndex = ("requests_by_upstream_key", "upstream_key_id = ?");
    /// An index of the attempts.
    pub const EGRESS: RowIndex = ("attempts_by_egress", "egress_id = ?");
    /// Tables that do not have the newest requests: see [`key_index`](crate::storage::key_index).
    pub const TABLES: [RowIndex; 2] = [PROJECT, UPSTREAM_KEY];
}

impl SearchPlan {
    /// `None`: no row can match the filter.
    pub async fn of(db: &SqlitePool, filter: &LogFilter) -> Result<Option<Self>> {
        let mut plan = Self::default();
        plan.add_columns(filter);
        if let Some(status) = filter.status {
            plan.add_statuses(db, status).await?;
        }
        if let Some(text) = &filter.text {
            plan.add_text(db, text).await?;
        }
        let possible = plan.add_strings(db, filter).await? && plan.add_keys(db, filter).await?;
        Ok(possible.then_some(plan))
    }

    /// Requires an end that is not in `spared`.
    pub fn add_finished(&mut self, spared: &RangeInclusive<Timestamp>) {
        let ends = [spared.start(), spared.end()].map(|end| end.as_millis().into());
        self.0.push(Predicate::new(
            "r.outcome IS NOT NULL AND r.started_at_ms + ifnull(r.duration_ms, 0) NOT BETWEEN ? AND ?",
            ends.into(),
            None,
        ));
    }

    fn add(&mut self, condition: &'static str, value: Option<SqlValue>, index: Option<RowIndex>) {
        let values: Vec<_> = value.into_iter().collect();
        let scan = index.map(|index| IndexScan::one(index, values.clone()));
        self.0.push(Predicate::new(condition, values, scan));
    }

    /// Adds predicates that need no look-up.
    fn add_columns(&mut self, filter: &LogFilter) {
        match filter.kind {
            None => (),
            Some(LogKind::Request) => self.add("r.kind = 'request'", None, None),
            Some(LogKind::Check) => self.add("r.kind = 'check'", None, Some(indexes::CHECKS)),
        }
        match filter.outcome {
            None => (),
            Some(OutcomeFilter::Is(Outcome::Success)) => {
                self.add("r.outcome = 'success'", None, None);
            }
            Some(OutcomeFilter::Is(outcome)) => {
                let scan = Some(indexes::UNLIKE_SUCCESS);
                self.add("r.outcome = ?", Some(outcome.name().into()), scan);
            }
            Some(OutcomeFilter::AnyOf(set)) => self.add_outcomes(set),
            Some(OutcomeFilter::Failed) => {
                let all = Outcome::ALL.iter().copied();
                self.add_outcomes(all.filter(|outcome| outcome.is_failure()).collect());
            }
            Some(OutcomeFilter::Running) => {
                self.add("r.outcome IS NULL", None, Some(indexes::RUNNING));
            }
        }
        if let Some(method) = filter.method.as_deref() {
            let scan = (method != "POST").then_some(indexes::METHOD);
            self.add("r.method = ?", Some(method.into()), scan);
        }
        if let Some(streamed) = filter.streamed {
            self.add("r.streamed = ?", Some(i64::from(streamed).into()), None);
        }
        let times = [
            ("r.duration_ms >= ?", filter.min_duration_ms),
            ("r.first_byte_ms >= ?", filter.min_first_byte_ms),
        ];
        for (condition, ms) in times {
            let Some(ms) = ms else { continue };
            let most = i64::try_from(ms).unwrap_or(i64::MAX);
            self.add(condition, Some(most.into()), None);
            if ms >= SLOW_MS {
                self.0
                    .push(Predicate::superset(IndexScan::one(indexes::SLOW, vec![])));
            }
        }
        if filter.retried {
            self.add("r.attempts > 1", None, Some(indexes::RETRIED));
        }
        if let Some(part) = &filter.error {
            let part = part.to_ascii_lowercase();
            self.add(
                "instr(lower(r.error), ?) > 0",
                Some(part.as_str().into()),
                None,
            );
            self.0.push(Predicate::superset(IndexScan::one(
                indexes::WITH_ERROR,
                vec![],
            )));
        }
    }

    fn add_outcomes(&mut self, set: OutcomeSet) {
        let names: Vec<_> = set.iter().map(Outcome::name).collect();
        let list = json_array(&names);
        let scan = (!set.contains(Outcome::Success)).then(|| {
            IndexScan::each(
                indexes::UNLIKE_SUCCESS,
                names.into_iter().map(SqlValue::from),
            )
        });
        self.0.push(Predicate::new(
            "r.outcome IN (SELECT value FROM json_each(?))",
            vec![list.as_str().into()],
            scan,
        ));
    }

    async fn add_statuses(&mut self, db: &SqlitePool, statuses: StatusFilter) -> Result<()> {
        let (least, most) = statuses.range();
        let scan = match statuses {
            StatusFilter::Is(200) | StatusFilter::Class(2) => None,
            StatusFilter::Is(status) => Some(vec![i64::from(status)]),
            StatusFilter::Class(_) => {
                // One look-up for each existing value.
                let found = sqlx::query_scalar!(
                    r#"
                    WITH RECURSIVE found (status) AS (
                        SELECT min(status) FROM request_logs WHERE status <> 200 AND status >= ?1
                        UNION ALL
                        SELECT (SELECT min(status) FROM request_logs WHERE status <> 200 AND status > found.status)
                        FROM found
                        WHERE status IS NOT NULL
                    )
                    SELECT status AS "status!: i64" FROM found WHERE status <= ?2
                    "#,
                    least,
                    most,
                );
                Some(found.fetch_all(db).await?)
            }
        };
        let scan = scan
            .map(|found| IndexScan::each(indexes::STATUS, found.into_iter().map(SqlValue::from)));
        let values = vec![i64::from(least).into(), i64::from(most).into()];
        self.0
            .push(Predicate::new("r.status BETWEEN ? AND ?", values, scan));
        Ok(())
    }

    /// Adds predicates on string ids. Returns whether all of these strings exist.
    async fn add_strings(&mut self, db: &SqlitePool, filter: &LogFilter) -> Result<bool> {
        for column in &TEXT_COLUMNS {
            let Some(text) = (column.wanted)(filter) else {
                continue;
            };
            let id =
                sqlx::query_scalar!(r#"SELECT id AS "id!" FROM strings WHERE value = ?1"#, text);
            let Some(id) = id.fetch_optional(db).await? else {
                return Ok(false);
            };
            self.add(column.condition, Some(id.into()), column.index);
        }
        Ok(true)
    }

    /// Adds predicates on keys and projects. Returns whether they exist.
    async fn add_keys(&mut self, db: &SqlitePool, filter: &LogFilter) -> Result<bool> {
        if let Some(id) = filter.client_key_id {
            let scan = Some(indexes::CLIENT_KEY);
            self.add("r.client_key_id = ?", Some(id.0.into()), scan);
        }
        if let Some(name) = &filter.client_key {
            let ids = sqlx::query_scalar!("SELECT id FROM client_keys WHERE name = ?1", name);
            let ids = ids.fetch_all(db).await?;
            let condition = "r.client_key_id IN (SELECT value FROM json_each(?))";
            if !self.add_any_of(condition, indexes::CLIENT_KEY, &ids) {
                return Ok(false);
            }
        }
        if let Some(name) = &filter.project {
            let ids = sqlx::query_scalar!(
                r#"
                WITH called AS (SELECT id FROM projects WHERE coalesce(name, number) = ?1)
                SELECT id AS "id!" FROM called
                UNION
                SELECT merged.id FROM projects AS merged JOIN called ON merged.merged_into_id = called.id
                "#,
                name,
            );
            let ids = ids.fetch_all(db).await?;
            if ids.is_empty() {
                return Ok(false);
            }
            let condition = "r.project_id IN (SELECT value FROM json_each(?))";
            self.add(condition, Some(json(&ids)), None);
            let scan = IndexScan::each(indexes::PROJECT, ids.into_iter().map(SqlValue::from));
            self.0.push(Predicate::superset(scan));
        }
        if let Some(egress) = &filter.egress {
            let ids = sqlx::query_scalar!(
                r#"SELECT id AS "id!" FROM egress_proxies WHERE label = ?1 OR CAST(id AS TEXT) = ?1"#,
                egress,
            );
            let ids = ids.fetch_all(db).await?;
            let condition = "
                EXISTS (
                    SELECT 1 FROM attempts AS a
                    WHERE a.request_id = r.id AND a.egress_id IN (SELECT value FROM json_each(?))
                )";
            if !self.add_any_of(condition, indexes::EGRESS, &ids) {
                return Ok(false);
            }
        }
        if let Some(id) = filter.upstream_key_id {
            self.add(
                "EXISTS (SELECT 1 FROM attempts AS a WHERE a.request_id = r.id AND a.upstream_key_id = ?)",
                Some(id.0.into()),
                Some(indexes::UPSTREAM_KEY),
            );
        }
        if let Some(key) = &filter.upstream_key {
            let ids = sqlx::query_scalar!(
                "SELECT id FROM upstream_keys WHERE label = ?1 OR last4 = ?1",
                key,
            );
            let ids = ids.fetch_all(db).await?;
            let condition = "
                EXISTS (
                    SELECT 1 FROM attempts AS a
                    WHERE a.request_id = r.id AND a.upstream_key_id IN (SELECT value FROM json_each(?))
                )";
            self.add(condition, Some(json(&ids)), None);
            if ids.len() <= MAX_SCANS {
                let values = ids.iter().map(|id| SqlValue::Number(*id));
                let scan = IndexScan::each(indexes::UPSTREAM_KEY, values);
                self.0.push(Predicate::superset(scan));
            }
            return Ok(!ids.is_empty());
        }
        Ok(true)
    }

    /// Returns whether any exist.
    fn add_any_of(&mut self, condition: &'static str, index: RowIndex, ids: &[i64]) -> bool {
        let scan = IndexScan::each(index, ids.iter().map(|id| SqlValue::Number(*id)));
        self.0
            .push(Predicate::new(condition, vec![json(ids)], Some(scan)));
        !ids.is_empty()
    }

    /// Adds the search for a text in any displayed column.
    async fn add_text(&mut self, db: &SqlitePool, text: &str) -> Result<()> {
        let part = text.to_ascii_lowercase();
        let texts = sqlx::query_scalar!(
            r#"SELECT id AS "id!" FROM strings WHERE id <> 0 AND instr(lower(value), ?1) > 0"#,
            part
        );
        let clients = sqlx::query_scalar!(
            "SELECT id FROM client_keys WHERE instr(lower(name), ?1) > 0",
            part
        );
        let keys = sqlx::query_scalar!(
            "SELECT id FROM upstream_keys WHERE instr(lower(label), ?1) > 0 OR last4 = ?2",
            part,
            text,
        );
        let texts = json(&texts.fetch_all(db).await?);
        let clients = json(&clients.fetch_all(db).await?);
        let keys = json(&keys.fetch_all(db).await?);
        let condition = "
            (
                instr(lower(r.error), ?) > 0
                OR r.path_id IN (SELECT value FROM json_each(?))
                OR r.model_id IN (SELECT value FROM json_each(?))
                OR r.user_agent_id IN (SELECT value FROM json_each(?))
                OR r.client_key_id IN (SELECT value FROM json_each(?))
                OR r.upstream_key_id IN (SELECT value FROM json_each(?))
            )";
        let part = SqlValue::Text(part);
        let values = vec![part, texts.clone(), texts.clone(), texts, clients, keys];
        self.0.push(Predicate::new(condition, values, None));
        Ok(())
    }

    /// The index scan with the lowest density, which reads the fewest rows; `None`: scan all rows.
    pub async fn best_scan(&self, db: &SqlitePool, range: IdRange) -> Result<Option<usize>> {
        let with_scan = (0..self.0.len()).filter(|index| self.0[*index].scan.is_some());
        let indexes: Vec<_> = with_scan.collect();
        if indexes.len() < 2 {
            return Ok(indexes.first().copied());
        }
        let mut best = None;
        for index in indexes {
            let step = self
                .run_step(db, Some(index), range, PROBE_SIZE, 0, &[])
                .await?;
            let reached = step.last.filter(|_| step.examined == PROBE_SIZE);
            // Fewest candidates first, then the largest distance in ids.
            let distance = match reached {
                None => i64::MAX - i64::try_from(step.examined).unwrap_or(0),
                Some(last) if range.is_upwards => last - range.least,
                Some(last) => i64::MAX / 2 - last,
            };
            if best.is_none_or(|(farthest, _)| distance > farthest) {
                best = Some((distance, index));
            }
        }
        Ok(best.map(|(_, index)| index))
    }

    /// Whether every row of the scan matches.
    pub fn is_exact(&self, scan: Option<usize>) -> bool {
        self.other_conditions(scan).is_empty()
    }

    fn other_conditions(&self, scan: Option<usize>) -> Vec<&SqlFragment> {
        let others = self.0.iter().enumerate();
        let others = others.filter(|(index, _)| Some(*index) != scan);
        others
            .filter_map(|(_, predicate)| predicate.condition.as_ref())
            .collect()
    }

    /// Reads the next `size` rows of the scan and returns at most `most` matches.
    pub async fn step(
        &self,
        db: &SqlitePool,
        scan: Option<usize>,
        range: IdRange,
        size: usize,
        max_found: usize,
    ) -> Result<SearchStep> {
        let conditions = self.other_conditions(scan);
        self.run_step(db, scan, range, size, max_found, &conditions)
            .await
    }

    async fn run_step(
        &self,
        db: &SqlitePool,
        scan: Option<usize>,
        range: IdRange,
        size: usize,
        max_found: usize,
        conditions: &[&SqlFragment],
    ) -> Result<SearchStep> {
        let mut query = self.step_query(scan, range, size, max_found, conditions);
        let (examined, last, found): (i64, Option<i64>, String) =
            query.build_query_as().fetch_one(db).await?;
        let found: Vec<i64> = serde_json::from_str(&found).unwrap_or_default();
        Ok(SearchStep {
            found: found.into_iter().map(RequestId).collect(),
            examined: usize::try_from(examined).unwrap_or(0),
            last,
        })
    }

    /// Built at run time, because `(?1 IS NULL OR …)` cannot use an index.
    fn step_query(
        &self,
        scan: Option<usize>,
        range: IdRange,
        size: usize,
        max_found: usize,
        conditions: &[&SqlFragment],
    ) -> QueryBuilder<'_, Sqlite> {
        let limit = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new("WITH step AS MATERIALIZED (SELECT c.id, (");
        push_all(&mut query, conditions);
        query.push(") AS fits FROM ");
        let scan = scan.and_then(|index| self.0[index].scan.as_ref());
        match scan {
            None => {
                query.push("request_logs AS c");
            }
            Some(scan) => {
                query.push("(SELECT id FROM (");
                // A request may have tried several keys.
                let is_of_attempts =
                    indexes::TABLES.contains(&scan.index) || scan.index == indexes::EGRESS;
                let union = if is_of_attempts {
                    " UNION "
                } else {
                    " UNION ALL "
                };
                for (number, values) in scan.arguments.iter().enumerate() {
                    query.push(if number > 0 { union } else { "" });
                    push_scan(&mut query, scan.index, values, range, limit(size));
                }
                if scan.arguments.is_empty() {
                    query.push("SELECT id FROM request_logs WHERE false");
                }
                query.push(")) AS c");
            }
        }
        if !conditions.is_empty() {
            query.push(" CROSS JOIN request_logs AS r ON r.id = c.id");
        }
        push_range(&mut query, "c.id", range, " WHERE ");
        query.push(format_args!(" ORDER BY c.id{} LIMIT ", range.order()));
        query.push_bind(limit(size));
        let last = if range.is_upwards { "max" } else { "min" };
        query.push(format_args!(
            ") SELECT count(*), {last}(id), (SELECT json_group_array(id) FROM (SELECT id FROM step WHERE fits \
             ORDER BY id{} LIMIT ",
            range.order(),
        ));
        query.push_bind(limit(max_found)).push(")) FROM step");
        query
    }
}

/// Appends the scan of an index for one value, up to `limit` rows in the order of their ids.
fn push_scan(
    query: &mut QueryBuilder<Sqlite>,
    index: RowIndex,
    values: &[SqlValue],
    range: IdRange,
    limit: i64,
) {
    let (name, condition) = index;
    let order = range.order();
    let mut push_part = |select: &str, id: &str| {
        query.push(select);
        push(query, condition, values);
        push_range(query, id, range, " AND ");
        query.push(format_args!(" ORDER BY {id}{order} LIMIT "));
        query.push_bind(limit).push(")");
    };
    if index == indexes::EGRESS {
        let select = format!(
            "SELECT id FROM (SELECT DISTINCT request_id AS id FROM attempts INDEXED BY {name} WHERE "
        );
        push_part(&select, "request_id");
        return;
    }
    if !indexes::TABLES.contains(&index) {
        let select =
            format!("SELECT id FROM (SELECT id FROM request_logs INDEXED BY {name} WHERE ");
        push_part(&select, "id");
        return;
    }
    let select = format!("SELECT id FROM (SELECT request_id AS id FROM {name} WHERE ");
    push_part(&select, "request_id");
    let newest = " UNION ALL SELECT id FROM (SELECT DISTINCT request_id AS id FROM attempts \
                  WHERE request_id > (SELECT until_id FROM indexed_requests) AND ";
    push_part(newest, "request_id");
}

/// A line of `EXPLAIN QUERY PLAN`.
#[cfg(test)]
#[derive(Debug, sqlx::FromRow)]
pub struct PlanLine {
    pub parent: i64,
    pub detail: String,
}

#[cfg(test)]
impl SearchPlan {
    /// SQLite's plan of a step for each index that can find its rows, and for none.
    pub async fn explain(&self, db: &SqlitePool, range: IdRange) -> Vec<(&str, Vec<PlanLine>)> {
        let mut plans = Vec::new();
        let scans = (0..self.0.len()).filter(|index| self.0[*index].scan.is_some());
        for scan in std::iter::once(None).chain(scans.map(Some)) {
            let conditions = self.other_conditions(scan);
            let query = self.step_query(scan, range, 400, 50, &conditions);
            let statement = format!("EXPLAIN QUERY PLAN {}", query.sql());
            let lines = sqlx::query_as(&statement).fetch_all(db).await.unwrap();
            let index = scan.and_then(|index| self.0[index].scan.as_ref());
            plans.push((index.map_or("PRIMARY KEY", |scan| scan.index.0), lines));
        }
        plans
    }
}
