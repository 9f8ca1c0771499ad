//! Traffic: requests by outcome over a span of time, in bins. Read from rollups by hour, for long spans from those by day,
//! and from log rows if hours are too coarse, the rows are few and none of them was deleted.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqlitePool};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::clock::Timestamp;
use crate::pool::outcome::Outcome;
use crate::pool::quota::usage::TokenUsage;
use crate::pool::request_id::RequestId;
use crate::storage::error::Result;
use crate::storage::log_pruning;
use crate::storage::rollups::{Rollup, Sample, begin_of_day};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Maximum number of rows to read; a span with more is shown by the hour.
const MAX_ROWS: u64 = 10_000;

/// A span of time up to now, with its name in URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(const_into_str)]
pub enum TrafficSpan {
    #[strum(serialize = "1h")]
    Hour,
    #[strum(serialize = "6h")]
    SixHours,
    #[strum(serialize = "24h")]
    Day,
    #[strum(serialize = "7d")]
    Week,
    #[strum(serialize = "30d")]
    Month,
}

/// The traffic of a span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    /// Oldest first, including empty bins.
    pub bins: Vec<TrafficBin>,
    pub total: TrafficCounts,
    /// The elapsed part of the span, a day earlier, or for spans longer than a day one span earlier.
    pub previous: TrafficCounts,
    /// By requests, most first.
    pub models: Vec<(Option<String>, TrafficCounts)>,
}

/// A bin of a span.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficBin {
    pub begin: Timestamp,
    pub end: Timestamp,
    pub counts: TrafficCounts,
}

/// The counts of a bin or span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrafficCounts {
    /// Requests by outcome, without zeros.
    pub outcomes: Vec<(Outcome, u64)>,
    /// Without cached and tool tokens and durations: no page shows them over time, and they would take a third of the read.
    pub rollup: Rollup,
}

/// The period of a rollup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RollupPeriod {
    Hour,
    Day,
}

/// Whether models are counted separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelGrouping {
    Separate,
    Combined,
}

/// The counts of an hour, a day or one request.
#[derive(Debug)]
struct TrafficSlice {
    begin: Timestamp,
    /// `None`: the path named no model, or models are counted together.
    model: Option<String>,
    counts: TrafficCounts,
}

impl TrafficSpan {
    /// Its name in URLs.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }

    pub fn length(self) -> Duration {
        match self {
            Self::Hour => HOUR,
            Self::SixHours => HOUR * 6,
            Self::Day => DAY,
            Self::Week => DAY * 7,
            Self::Month => DAY * 30,
        }
    }

    /// The distance to the span it is compared with.
    fn comparison_offset(self) -> Duration {
        self.length().max(DAY)
    }

    /// The period of its bins; the last one is not over.
    fn unit(self) -> RollupPeriod {
        match self {
            Self::Hour | Self::SixHours | Self::Day => RollupPeriod::Hour,
            Self::Week | Self::Month => RollupPeriod::Day,
        }
    }

    /// The width of a bin made from rows; `None`: bins are made from rollups.
    fn fine_bin(self) -> Option<Duration> {
        match self {
            Self::Hour => Some(Duration::from_mins(2)),
            Self::SixHours => Some(Duration::from_mins(10)),
            Self::Day | Self::Week | Self::Month => None,
        }
    }

    /// The width of a bin made from rollups.
    fn coarse_bin(self) -> Duration {
        match self {
            Self::Hour | Self::SixHours | Self::Day => HOUR,
            Self::Week => HOUR * 6,
            Self::Month => DAY,
        }
    }
}

impl RollupPeriod {
    fn length(self) -> Duration {
        match self {
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    /// The start of the period that contains `now`.
    fn begin(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Hour => now.start_of_hour(),
            Self::Day => begin_of_day(now),
        }
    }

    /// Its table, and the column of the period's start.
    fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Hour => ("model_hours", "hour_ms"),
            Self::Day => ("model_days", "day_ms"),
        }
    }
}

impl TrafficCounts {
    fn merge(&mut self, other: &Self) {
        for (outcome, more) in &other.outcomes {
            match self.outcomes.iter_mut().find(|(known, _)| known == outcome) {
                Some((_, count)) => *count += more,
                None => self.outcomes.push((*outcome, *more)),
            }
        }
        self.rollup.merge(&other.rollup);
    }

    /// Scales counts to `part` of `whole`, assuming an even distribution; durations stay.
    fn scale(&mut self, part: u64, whole: u64) {
        for (_, count) in &mut self.outcomes {
            *count = *count * part / whole;
        }
        self.outcomes.retain(|(_, count)| *count > 0);
        self.rollup.scale(part, whole);
    }

    pub fn count(&self, outcome: Outcome) -> u64 {
        let found = self.outcomes.iter().find(|(known, _)| *known == outcome);
        found.map_or(0, |(_, count)| *count)
    }
}

/// The traffic of the `span` up to `now`.
pub async fn read_traffic(db: &SqlitePool, span: TrafficSpan, now: Timestamp) -> Result<Traffic> {
    let unit = span.unit();
    let end = unit.begin(now) + unit.length();
    let begin = match span.fine_bin() {
        Some(_) => now - span.length(),
        None => end - span.length(),
    };
    let mut parts = read_proportionally(db, unit, ModelGrouping::Separate, begin, end).await?;
    let mut bins = bins(unit.begin(begin), now, span.coarse_bin());
    let requests: u64 = parts.iter().map(|part| part.counts.rollup.requests).sum();
    if let Some(width) = span.fine_bin().filter(|_| requests <= MAX_ROWS)
        && !log_pruning::is_pruned(db, begin, end).await?
    {
        let begin = Timestamp::from_millis(
            (now.as_millis() / millis(width) + 1) * millis(width) - millis(span.length()),
        );
        bins = self::bins(begin, now, width);
        parts = read_rows(db, begin, end).await?;
    }
    let total = merged(parts.iter().map(|part| &part.counts));
    let models = by_model(&parts);
    if span.coarse_bin() < unit.length() {
        parts = read_rollups(db, RollupPeriod::Hour, ModelGrouping::Combined, begin, end).await?;
    }
    for part in &parts {
        if let Some(bin) = bin_at(&mut bins, part.begin) {
            bin.counts.merge(&part.counts);
        }
    }
    let (begin, end) = (
        begin - span.comparison_offset(),
        now - span.comparison_offset(),
    );
    let previous = read_proportionally(db, unit, ModelGrouping::Combined, begin, end).await?;
    Ok(Traffic {
        bins,
        total,
        previous: merged(previous.iter().map(|part| &part.counts)),
        models,
    })
}

/// The counts from `begin` to `end`, with a proportional part of an hour or day that is only partly within.
async fn read_proportionally(
    db: &SqlitePool,
    unit: RollupPeriod,
    models: ModelGrouping,
    begin: Timestamp,
    end: Timestamp,
) -> Result<Vec<TrafficSlice>> {
    let mut parts = read_rollups(db, unit, models, unit.begin(begin), end).await?;
    for part in &mut parts {
        let inside = (part.begin + unit.length()).min(end) - part.begin.max(begin);
        if inside < unit.length() {
            let millis = |duration| u64::try_from(millis(duration)).unwrap_or(0);
            part.counts.scale(millis(inside), millis(unit.length()));
        }
    }
    Ok(parts)
}

fn merged<'a>(counts: impl IntoIterator<Item = &'a TrafficCounts>) -> TrafficCounts {
    let mut all = TrafficCounts::default();
    for counts in counts {
        all.merge(counts);
    }
    all
}

/// The counts by model, most requests first.
fn by_model(parts: &[TrafficSlice]) -> Vec<(Option<String>, TrafficCounts)> {
    let mut models = BTreeMap::<_, TrafficCounts>::new();
    for part in parts {
        let counts = models.entry(&part.model).or_default();
        counts.merge(&part.counts);
    }
    let models = models.into_iter();
    let mut models: Vec<_> = models
        .map(|(model, counts)| (model.clone(), counts))
        .collect();
    models.sort_by_key(|(_, counts)| Reverse(counts.rollup.requests));
    models
}

fn bins(begin: Timestamp, now: Timestamp, width: Duration) -> Vec<TrafficBin> {
    let begins = std::iter::successors(Some(begin), |begin| Some(*begin + width));
    let bins = begins
        .take_while(|begin| *begin <= now)
        .map(|begin| TrafficBin {
            begin,
            end: begin + width,
            counts: TrafficCounts::default(),
        });
    bins.collect()
}

/// The bin that contains `time`.
fn bin_at(bins: &mut [TrafficBin], time: Timestamp) -> Option<&mut TrafficBin> {
    let next = bins.partition_point(|bin| bin.begin <= time);
    let bin = bins.get_mut(next.checked_sub(1)?)?;
    (time < bin.end).then_some(bin)
}

/// The requests from `begin` to `end`, one slice each.
async fn read_rows(db: &SqlitePool, begin: Timestamp, end: Timestamp) -> Result<Vec<TrafficSlice>> {
    let (first, end) = (RequestId::first_at(begin), RequestId::first_at(end));
    let rows = sqlx::query!(
        r#"
        SELECT
            started_at_ms AS "started_at: Timestamp", outcome AS "outcome!: Outcome", first_byte_ms AS "first_byte_ms: u32",
            (SELECT value FROM strings WHERE id = coalesce(rollup_model_id, model_id)) AS "model: String",
            prompt_tokens AS "prompt: u32", output_tokens AS "output: u32", thought_tokens AS "thoughts: u32",
            total_tokens AS "total: u32", cost_nano_usd
        FROM request_logs
        WHERE id >= ?1 AND id < ?2 AND kind = 'request' AND outcome IS NOT NULL
        "#,
        first,
        end,
    );
    let rows = rows.fetch_all(db).await?.into_iter().map(|row| {
        let usage = TokenUsage {
            prompt: row.prompt.map(u64::from),
            output: row.output.map(u64::from),
            thoughts: row.thoughts.map(u64::from),
            total: row.total.map(u64::from),
            ..TokenUsage::default()
        };
        let mut rollup = Rollup::default();
        rollup.add(Sample {
            outcome: row.outcome,
            attempts: 0, // The page shows nothing of them.
            usage: &usage,
            cost_nano_usd: row.cost_nano_usd,
            first_byte_ms: row.first_byte_ms.map(u64::from),
            duration_ms: None,
        });
        TrafficSlice {
            begin: row.started_at,
            model: row.model,
            counts: TrafficCounts {
                outcomes: vec![(row.outcome, 1)],
                rollup,
            },
        }
    });
    Ok(rows.collect())
}

/// The rollups by `unit` from `begin` to `end`.
///
/// Not a checked macro: it cannot take a table name, so its columns would be written twice. Only constant names are
/// inserted into the text. Grouped in the order of the primary key, so that SQLite sums while reading: sorting these wide
/// rows by outcome takes longer than reading them. SQLite concatenates the sketches of a group, which are merged here.
async fn read_rollups(
    db: &SqlitePool,
    unit: RollupPeriod,
    models: ModelGrouping,
    begin: Timestamp,
    end: Timestamp,
) -> Result<Vec<TrafficSlice>> {
    let (table, time) = unit.table();
    let (model, and_model) = match models {
        ModelGrouping::Separate => (
            "(SELECT value FROM strings WHERE id = model_id)",
            ", model_id",
        ),
        ModelGrouping::Combined => ("NULL", ""),
    };
    let outcomes = Outcome::ALL.iter().map(|outcome| {
        let name = outcome.name();
        format!("ifnull(sum(requests) FILTER (WHERE outcome = '{name}'), 0) AS {name}")
    });
    let sql = format!(
        "
        SELECT
            {time} AS begin_ms, {model} AS model, {outcomes},
            sum(prompt_tokens) AS prompt, sum(output_tokens) AS output, sum(thought_tokens) AS thoughts,
            sum(total_tokens) AS total, sum(cost_nano_usd) AS cost_nano_usd,
            group_concat(first_byte_sketch, '') AS first_byte
        FROM {table}
        WHERE {time} >= ?1 AND {time} < ?2
        GROUP BY {time}{and_model}
        ",
        outcomes = outcomes.collect::<Vec<_>>().join(", "),
    );
    let parts = sqlx::query_as(&sql).bind(begin).bind(end);
    Ok(parts.fetch_all(db).await?)
}

impl FromRow<'_, SqliteRow> for TrafficSlice {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let count = |name: &str| {
            row.try_get(name)
                .map(|count: i64| u64::try_from(count).unwrap_or(0))
        };
        let mut counts = TrafficCounts::default();
        for outcome in Outcome::ALL.iter().copied() {
            let requests = count(outcome.name())?;
            if requests > 0 {
                counts.outcomes.push((outcome, requests));
            }
            counts.rollup.requests += requests;
            if outcome.is_failure() {
                counts.rollup.failures += requests;
            }
        }
        counts.rollup.successes = counts.count(Outcome::Success);
        counts.rollup.prompt_tokens = count("prompt")?;
        counts.rollup.output_tokens = count("output")?;
        counts.rollup.thought_tokens = count("thoughts")?;
        counts.rollup.total_tokens = count("total")?;
        counts.rollup.cost_nano_usd = row.try_get("cost_nano_usd")?;
        counts
            .rollup
            .first_byte
            .merge_json(row.try_get("first_byte")?);
        let model: Option<String> = row.try_get("model")?;
        Ok(Self {
            begin: row.try_get("begin_ms")?,
            model: model.filter(|name| !name.is_empty()),
            counts,
        })
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
