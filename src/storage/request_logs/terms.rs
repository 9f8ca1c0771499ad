//! `Terms`: a filter as SQL, and by which index such rows are found.

use sqlx::{QueryBuilder, Sqlite, SqlitePool};

use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::storage::error::Result;
use crate::storage::request_logs::Kind;
use crate::storage::request_logs::filter::{Ending, Filter, Statuses};
use crate::storage::request_logs::search::Place;

/// How many candidates tell how far apart those of a source lie.
const PROBE: usize = 300;
/// What is slow enough for the index of slow requests.
const SLOW_MS: u64 = 10_000;

/// A filter, with the numbers of the texts and keys that it names in place of them.
#[derive(Debug, Default)]
pub struct Terms(Vec<Term>);

/// One thing a row must be.
#[derive(Debug)]
struct Term {
    /// Of the row `r`; `None`: another term has it.
    condition: Option<Sql>,
    /// What has all such rows, and with a condition no others, in the order of their ids.
    source: Option<Source>,
}

impl Term {
    fn new(condition: &'static str, values: Vec<Value>, source: Option<Source>) -> Self {
        Self {
            condition: Some(Sql(condition, values)),
            source,
        }
    }

    /// Only another way to find rows.
    fn wider(select: &'static str) -> Self {
        Self {
            condition: None,
            source: Some(Source::one(select, vec![])),
        }
    }
}

/// A piece of a statement: fixed text, and the values for its question marks.
#[derive(Debug, Clone)]
struct Sql(&'static str, Vec<Value>);

#[derive(Debug, Clone)]
enum Value {
    Number(i64),
    Text(String),
}

/// A walk through an index, or several that are merged.
#[derive(Debug, Clone)]
struct Source {
    /// Selects `id`s; the end of its condition is added to it.
    select: &'static str,
    /// The values for each walk's question marks.
    walks: Vec<Vec<Value>>,
}

impl Source {
    fn one(select: &'static str, values: Vec<Value>) -> Self {
        Self {
            select,
            walks: vec![values],
        }
    }

    /// A walk for each of the values.
    fn each(select: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        Self {
            select,
            walks: values.into_iter().map(|value| vec![value]).collect(),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// What one step of a search came to.
#[derive(Debug)]
pub struct Step {
    pub found: Vec<RequestId>,
    /// How many candidates it looked at.
    pub seen: usize,
    /// The last of them.
    pub last: Option<i64>,
}

/// The ids that are looked at: from `least` on, before `end`.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    least: i64,
    end: i64,
    /// Oldest first.
    is_upwards: bool,
}

impl Range {
    pub fn of(filter: &Filter, place: Place) -> Self {
        let mut range = Self {
            least: filter.since.map_or(0, |since| RequestId::first_at(since).0),
            end: filter
                .until
                .map_or(i64::MAX, |until| RequestId::first_at(until).0),
            is_upwards: matches!(place, Place::NewerThan(_)),
        };
        match place {
            Place::Newest => (),
            Place::OlderThan(id) => range.end = range.end.min(id.0),
            Place::NewerThan(id) => range.least = range.least.max(id.0.saturating_add(1)),
        }
        range
    }

    /// Leaves out what has been looked at.
    pub fn go_on(&mut self, last: i64) {
        if self.is_upwards {
            self.least = last + 1;
        } else {
            self.end = last;
        }
    }

    /// What a search that goes on here is told.
    pub fn edge(self) -> RequestId {
        RequestId(if self.is_upwards {
            self.least - 1
        } else {
            self.end
        })
    }

    fn order(self) -> &'static str {
        if self.is_upwards { "" } else { " DESC" }
    }
}

/// Which table and index know the rows of a condition, in the order of their ids.
mod sources {
    pub const CHECKS: &str =
        "SELECT id FROM request_logs INDEXED BY request_logs_checks_by_id WHERE kind = 'check'";
    pub const UNLIKE_SUCCESS: &str = "SELECT id FROM request_logs INDEXED BY request_logs_unlike_success \
        WHERE outcome = ? AND outcome <> 'success'";
    pub const RUNNING: &str =
        "SELECT id FROM request_logs INDEXED BY request_logs_running WHERE outcome IS NULL";
    pub const STATUS: &str = "SELECT id FROM request_logs INDEXED BY request_logs_by_status \
        WHERE status = ? AND status <> 200";
    pub const METHOD: &str = "SELECT id FROM request_logs INDEXED BY request_logs_by_method \
        WHERE method = ? AND method <> 'POST'";
    pub const SLOW: &str = "SELECT id FROM request_logs INDEXED BY request_logs_slow \
        WHERE (duration_ms >= 10000 OR first_byte_ms >= 10000)";
    pub const RETRIED: &str =
        "SELECT id FROM request_logs INDEXED BY request_logs_retried WHERE attempts > 1";
    pub const WITH_ERROR: &str =
        "SELECT id FROM request_logs INDEXED BY request_logs_with_error WHERE error IS NOT NULL";
    pub const MODEL: &str =
        "SELECT id FROM request_logs INDEXED BY request_logs_by_model WHERE model_id = ?";
    pub const CLIENT_IP: &str =
        "SELECT id FROM request_logs INDEXED BY request_logs_by_client_ip WHERE client_ip_id = ?";
    pub const CLIENT_KEY: &str =
        "SELECT id FROM request_logs INDEXED BY request_logs_by_client_key WHERE client_key_id = ?";
    pub const USER_AGENT: &str =
        "SELECT id FROM request_logs INDEXED BY request_logs_by_user_agent WHERE user_agent_id = ?";
    pub const PATH: &str =
        "SELECT id FROM request_logs INDEXED BY request_logs_by_path WHERE path_id = ?";
    pub const PROJECT: &str =
        "SELECT id FROM request_logs INDEXED BY request_logs_by_project WHERE project_id = ?";
    pub const TRIED: &str = "SELECT DISTINCT request_id AS id FROM attempts INDEXED BY attempts_by_upstream_key \
        WHERE upstream_key_id = ?";
}

impl Terms {
    /// `None`: the filter names what no row can have.
    pub async fn of(db: &SqlitePool, filter: &Filter) -> Result<Option<Self>> {
        let mut terms = Self::default();
        terms.add_plain(filter);
        if let Some(status) = filter.status {
            terms.add_statuses(db, status).await?;
        }
        if let Some(text) = &filter.text {
            terms.add_mentioned(db, text).await?;
        }
        let possible = terms.add_texts(db, filter).await? && terms.add_keys(db, filter).await?;
        Ok(possible.then_some(terms))
    }

    fn add(&mut self, condition: &'static str, value: Option<Value>, source: Option<&'static str>) {
        let values: Vec<_> = value.into_iter().collect();
        let source = source.map(|select| Source::one(select, values.clone()));
        self.0.push(Term::new(condition, values, source));
    }

    /// What needs no look-up.
    fn add_plain(&mut self, filter: &Filter) {
        match filter.kind {
            None => (),
            Some(Kind::Request) => self.add("r.kind = 'request'", None, None),
            Some(Kind::Check) => self.add("r.kind = 'check'", None, Some(sources::CHECKS)),
        }
        match filter.ending {
            None => (),
            Some(Ending::Was(Outcome::Success)) => self.add("r.outcome = 'success'", None, None),
            Some(Ending::Was(outcome)) => {
                let source = Some(sources::UNLIKE_SUCCESS);
                self.add("r.outcome = ?", Some(outcome.name().into()), source);
            }
            Some(Ending::Failed) => {
                let failures = Outcome::ALL.into_iter();
                let failures = failures.filter(|outcome| *outcome != Outcome::Success);
                let names = failures.map(|outcome| outcome.name().into());
                let source = Source::each(sources::UNLIKE_SUCCESS, names);
                self.0
                    .push(Term::new("r.outcome <> 'success'", vec![], Some(source)));
            }
            Some(Ending::Running) => {
                self.add("r.outcome IS NULL", None, Some(sources::RUNNING));
            }
        }
        if let Some(method) = filter.method.as_deref() {
            let source = (method != "POST").then_some(sources::METHOD);
            self.add("r.method = ?", Some(method.into()), source);
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
                self.0.push(Term::wider(sources::SLOW));
            }
        }
        if filter.retried {
            self.add("r.attempts > 1", None, Some(sources::RETRIED));
        }
        if let Some(part) = &filter.error {
            let part = part.to_ascii_lowercase();
            self.add(
                "instr(lower(r.error), ?) > 0",
                Some(part.as_str().into()),
                None,
            );
            self.0.push(Term::wider(sources::WITH_ERROR));
        }
    }

    async fn add_statuses(&mut self, db: &SqlitePool, statuses: Statuses) -> Result<()> {
        let (least, most) = statuses.range();
        let source = match statuses {
            Statuses::Is(200) | Statuses::Class(2) => None,
            Statuses::Is(status) => Some(vec![i64::from(status)]),
            Statuses::Class(_) => {
                // One look-up for each that there is.
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
        let source =
            source.map(|found| Source::each(sources::STATUS, found.into_iter().map(Value::from)));
        let values = vec![i64::from(least).into(), i64::from(most).into()];
        self.0
            .push(Term::new("r.status BETWEEN ? AND ?", values, source));
        Ok(())
    }

    /// What rows name by the number of a text. Returns whether there are all of those texts.
    async fn add_texts(&mut self, db: &SqlitePool, filter: &Filter) -> Result<bool> {
        let wanted = [
            (&filter.model, "r.model_id = ?", Some(sources::MODEL)),
            (&filter.model_version, "r.model_version_id = ?", None),
            (
                &filter.client_ip,
                "r.client_ip_id = ?",
                Some(sources::CLIENT_IP),
            ),
            (
                &filter.user_agent,
                "r.user_agent_id = ?",
                Some(sources::USER_AGENT),
            ),
            (&filter.path, "r.path_id = ?", Some(sources::PATH)),
            (&filter.operation, "r.operation_id = ?", None),
            (&filter.finish_reason, "r.finish_reason_id = ?", None),
            (&filter.service_tier, "r.service_tier_id = ?", None),
        ];
        for (text, condition, source) in wanted {
            let Some(text) = text else { continue };
            let id = sqlx::query_scalar!(r#"SELECT id AS "id!" FROM texts WHERE text = ?1"#, text);
            let Some(id) = id.fetch_optional(db).await? else {
                return Ok(false);
            };
            self.add(condition, Some(id.into()), source);
        }
        Ok(true)
    }

    /// Keys and projects. Returns whether there are such.
    async fn add_keys(&mut self, db: &SqlitePool, filter: &Filter) -> Result<bool> {
        if let Some(id) = filter.client_key_id {
            let source = Some(sources::CLIENT_KEY);
            self.add("r.client_key_id = ?", Some(id.0.into()), source);
        }
        if let Some(name) = &filter.client_key {
            let ids = sqlx::query_scalar!("SELECT id FROM client_keys WHERE name = ?1", name);
            let ids = ids.fetch_all(db).await?;
            let condition = "r.client_key_id IN (SELECT value FROM json_each(?))";
            if !self.add_any_of(condition, sources::CLIENT_KEY, &ids) {
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
            let condition = "r.project_id IN (SELECT value FROM json_each(?))";
            if !self.add_any_of(condition, sources::PROJECT, &ids) {
                return Ok(false);
            }
        }
        if let Some(id) = filter.upstream_key_id {
            self.add(
                "EXISTS (SELECT 1 FROM attempts AS a WHERE a.request_id = r.id AND a.upstream_key_id = ?)",
                Some(id.0.into()),
                Some(sources::TRIED),
            );
        }
        Ok(true)
    }

    /// Returns whether there are any.
    fn add_any_of(&mut self, condition: &'static str, select: &'static str, ids: &[i64]) -> bool {
        let source = Source::each(select, ids.iter().map(|id| Value::Number(*id)));
        self.0
            .push(Term::new(condition, vec![json(ids)], Some(source)));
        !ids.is_empty()
    }

    /// A text anywhere in what a row shows.
    async fn add_mentioned(&mut self, db: &SqlitePool, text: &str) -> Result<()> {
        let part = text.to_ascii_lowercase();
        let texts = sqlx::query_scalar!(
            "SELECT id FROM texts WHERE id <> 0 AND instr(lower(text), ?1) > 0",
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
        let part = Value::Text(part);
        let values = vec![part, texts.clone(), texts.clone(), texts, clients, keys];
        self.0.push(Term::new(condition, values, None));
        Ok(())
    }

    /// The source whose rows lie farthest apart, so that the fewest have to be looked at; `None`: all rows, one after another.
    pub async fn best_source(&self, db: &SqlitePool, range: Range) -> Result<Option<usize>> {
        let with_source = (0..self.0.len()).filter(|place| self.0[*place].source.is_some());
        let places: Vec<_> = with_source.collect();
        if places.len() < 2 {
            return Ok(places.first().copied());
        }
        let mut best = None;
        for place in places {
            let step = self.walk(db, Some(place), range, PROBE, 0, &[]).await?;
            let reached = step.last.filter(|_| step.seen == PROBE);
            // The fewer, the better; else the one that has come the farthest.
            let distance = match reached {
                None => i64::MAX - i64::try_from(step.seen).unwrap_or(0),
                Some(last) if range.is_upwards => last - range.least,
                Some(last) => i64::MAX / 2 - last,
            };
            if best.is_none_or(|(farthest, _)| distance > farthest) {
                best = Some((distance, place));
            }
        }
        Ok(best.map(|(_, place)| place))
    }

    /// Whether all that the source has is what is sought.
    pub fn is_all(&self, source: Option<usize>) -> bool {
        self.conditions_beside(source).is_empty()
    }

    fn conditions_beside(&self, source: Option<usize>) -> Vec<&Sql> {
        let others = self.0.iter().enumerate();
        let others = others.filter(|(place, _)| Some(*place) != source);
        others
            .filter_map(|(_, term)| term.condition.as_ref())
            .collect()
    }

    /// Looks at the next `size` rows of the source, and finds at most `most`.
    pub async fn step(
        &self,
        db: &SqlitePool,
        source: Option<usize>,
        range: Range,
        size: usize,
        most: usize,
    ) -> Result<Step> {
        let conditions = self.conditions_beside(source);
        self.walk(db, source, range, size, most, &conditions).await
    }

    /// The one statement that is put together at run time: `(?1 IS NULL OR …)` could not use an index.
    async fn walk(
        &self,
        db: &SqlitePool,
        source: Option<usize>,
        range: Range,
        size: usize,
        most: usize,
        conditions: &[&Sql],
    ) -> Result<Step> {
        let limit = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new("WITH step AS MATERIALIZED (SELECT c.id, (");
        push_all(&mut query, conditions);
        query.push(") AS fits FROM ");
        let source = source.and_then(|place| self.0[place].source.as_ref());
        match source {
            None => {
                query.push("request_logs AS c");
            }
            Some(source) => {
                query.push("(SELECT id FROM (");
                for (place, values) in source.walks.iter().enumerate() {
                    query.push(if place == 0 {
                        "SELECT id FROM ("
                    } else {
                        " UNION ALL SELECT id FROM ("
                    });
                    push(&mut query, source.select, values);
                    let id = if source.select == sources::TRIED {
                        "request_id"
                    } else {
                        "id"
                    };
                    push_range(&mut query, id, range, " AND ");
                    query.push(format_args!(" ORDER BY {id}{} LIMIT ", range.order()));
                    query.push_bind(limit(size)).push(")");
                }
                if source.walks.is_empty() {
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
        query.push_bind(limit(most)).push(")) FROM step");
        let (seen, last, found): (i64, Option<i64>, String) =
            query.build_query_as().fetch_one(db).await?;
        let found: Vec<i64> = serde_json::from_str(&found).unwrap_or_default();
        Ok(Step {
            found: found.into_iter().map(RequestId).collect(),
            seen: usize::try_from(seen).unwrap_or(0),
            last,
        })
    }
}

fn json(ids: &[i64]) -> Value {
    Value::Text(serde_json::to_string(ids).expect("numbers become JSON"))
}

fn push_all(query: &mut QueryBuilder<Sqlite>, conditions: &[&Sql]) {
    query.push("true");
    for Sql(text, values) in conditions {
        query.push(" AND ");
        push(query, text, values);
    }
}

/// Adds the text, with the values in place of its question marks.
fn push(query: &mut QueryBuilder<Sqlite>, text: &'static str, values: &[Value]) {
    let mut values = values.iter();
    for (place, part) in text.split('?').enumerate() {
        if place > 0 {
            match values.next() {
                Some(Value::Number(number)) => query.push_bind(*number),
                Some(Value::Text(text)) => query.push_bind(text.clone()),
                None => query.push("NULL"),
            };
        }
        query.push(part);
    }
}

fn push_range(query: &mut QueryBuilder<Sqlite>, id: &str, range: Range, before: &str) {
    query.push(format_args!("{before}{id} >= "));
    query.push_bind(range.least);
    query.push(format_args!(" AND {id} < "));
    query.push_bind(range.end);
}
