//! Traffic: what was asked and how it ended, over a span of time in bins. Read from the hourly sums, or from the rows
//! where hours are too coarse and the rows are few.

use std::time::Duration;

use sqlx::SqlitePool;

use crate::clock::Timestamp;
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::pool::usage::Usage;
use crate::storage::error::Result;
use crate::storage::sums::{Addend, Buckets, Sum, bucket_end_ms};

const HOUR: Duration = Duration::from_hours(1);
/// With more rows than this a span is shown by the hour, because reading them would take too long.
const MOST_ROWS: u64 = 20_000;

/// A span of time up to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    Hour,
    SixHours,
    Day,
    Week,
    Month,
}

/// What was asked over a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Oldest first, none left out.
    pub bins: Vec<Bin>,
    pub total: Counts,
    /// The same span a day earlier, or the one before it where it is longer than a day.
    pub before: Counts,
    /// By requests, most first.
    pub models: Vec<(Option<String>, Counts)>,
}

/// A part of a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Bin {
    pub begin: Timestamp,
    pub end: Timestamp,
    pub counts: Counts,
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Those that are not zero.
    pub outcomes: Vec<(Outcome, u64)>,
    pub sum: Sum,
}

impl Span {
    pub const ALL: [Self; 5] = [
        Self::Hour,
        Self::SixHours,
        Self::Day,
        Self::Week,
        Self::Month,
    ];

    /// As URLs call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::SixHours => "6h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|span| span.name() == name)
    }

    pub fn length(self) -> Duration {
        match self {
            Self::Hour => HOUR,
            Self::SixHours => HOUR * 6,
            Self::Day => HOUR * 24,
            Self::Week => HOUR * 24 * 7,
            Self::Month => HOUR * 24 * 30,
        }
    }

    /// How far back that lies which it is compared with.
    fn earlier(self) -> Duration {
        self.length().max(HOUR * 24)
    }

    /// How wide a bin is that is made from rows; `None`: hours do.
    fn fine_bin(self) -> Option<Duration> {
        match self {
            Self::Hour => Some(Duration::from_mins(2)),
            Self::SixHours => Some(Duration::from_mins(10)),
            Self::Day | Self::Week | Self::Month => None,
        }
    }

    /// How wide a bin is that is made from hourly sums.
    fn coarse_bin(self) -> Duration {
        match self {
            Self::Hour | Self::SixHours | Self::Day => HOUR,
            Self::Week => HOUR * 6,
            Self::Month => HOUR * 24,
        }
    }
}

impl Counts {
    fn add(&mut self, outcome: Outcome, sum: &Sum) {
        match self
            .outcomes
            .iter_mut()
            .find(|(known, _)| *known == outcome)
        {
            Some((_, count)) => *count += sum.requests,
            None => self.outcomes.push((outcome, sum.requests)),
        }
        self.sum.merge(sum);
    }

    pub fn count(&self, outcome: Outcome) -> u64 {
        let found = self.outcomes.iter().find(|(known, _)| *known == outcome);
        found.map_or(0, |(_, count)| *count)
    }

    /// Successes of every thousand requests that were not the client's own fault; `None`: there were none.
    pub fn success_per_mille(&self) -> Option<u64> {
        let served = self.sum.successes + self.sum.failures;
        (served > 0).then(|| self.sum.successes * 1_000 / served)
    }
}

/// The time in milliseconds below which `percent` of those counted are, as exact as the buckets allow; `None`: nothing
/// was counted.
pub fn percentile(buckets: &Buckets, percent: u64) -> Option<u64> {
    let all: u64 = buckets.iter().sum();
    if all == 0 {
        return None;
    }
    let wanted = (all * percent).div_ceil(100).max(1);
    let mut below = 0;
    for (place, count) in buckets.iter().enumerate() {
        if below + count >= wanted {
            let begin = place.checked_sub(1).map_or(0, bucket_end_ms);
            let width = bucket_end_ms(place) - begin;
            return Some(begin + width * (wanted - below) / count);
        }
        below += count;
    }
    None
}

/// What was asked in the `span` up to `now`.
pub async fn over(db: &SqlitePool, span: Span, now: Timestamp) -> Result<Traffic> {
    let end = now.begin_of_hour() + HOUR;
    let begin = end - span.length();
    let mut traffic = Traffic {
        bins: bins(begin, now, span.coarse_bin()),
        total: Counts::default(),
        before: Counts::default(),
        models: by_model(db, begin).await?,
    };
    for (place, outcome, sum) in by_hours(db, begin, end, span.coarse_bin()).await? {
        traffic.total.add(outcome, &sum);
        if let Some(bin) = traffic.bins.get_mut(place) {
            bin.counts.add(outcome, &sum);
        }
    }
    let rows = traffic.total.sum.requests;
    if let Some(width) = span.fine_bin().filter(|_| rows <= MOST_ROWS) {
        let begin = Timestamp::from_millis(
            (now.as_millis() / millis(width) + 1) * millis(width) - millis(span.length()),
        );
        traffic.bins = bins(begin, now, width);
        traffic.total = Counts::default();
        add_rows(db, begin, &mut traffic, width).await?;
    }
    traffic.before = before(db, span, begin, now).await?;
    Ok(traffic)
}

/// The counts that the running ones are compared with: of the hour that still runs only the part that has passed.
async fn before(db: &SqlitePool, span: Span, begin: Timestamp, now: Timestamp) -> Result<Counts> {
    let (begin, end) = (
        begin - span.earlier(),
        now.begin_of_hour() + HOUR - span.earlier(),
    );
    let mut counts = Counts::default();
    let hours = usize::try_from(span.length().as_secs() / HOUR.as_secs()).unwrap_or(usize::MAX);
    let passed = u64::try_from(now.as_millis() % millis(HOUR)).unwrap_or(0);
    for (place, outcome, mut sum) in by_hours(db, begin, end, HOUR).await? {
        if place + 1 == hours {
            sum.scale(passed, 3_600_000);
        }
        counts.add(outcome, &sum);
    }
    Ok(counts)
}

fn bins(begin: Timestamp, now: Timestamp, width: Duration) -> Vec<Bin> {
    let begins = std::iter::successors(Some(begin), |begin| Some(*begin + width));
    let bins = begins.take_while(|begin| *begin <= now).map(|begin| Bin {
        begin,
        end: begin + width,
        counts: Counts::default(),
    });
    bins.collect()
}

/// Adds the rows since `begin` to their bins and to the total.
async fn add_rows(
    db: &SqlitePool,
    begin: Timestamp,
    traffic: &mut Traffic,
    width: Duration,
) -> Result<()> {
    let first = RequestId::first_at(begin);
    let rows = sqlx::query!(
        r#"
        SELECT
            started_at_ms, outcome AS "outcome!: Outcome", first_byte_ms AS "first_byte_ms: u32",
            duration_ms AS "duration_ms: u32", prompt_tokens AS "prompt: u32", output_tokens AS "output: u32",
            thought_tokens AS "thoughts: u32", cached_tokens AS "cached: u32", tool_tokens AS "tool: u32",
            total_tokens AS "total: u32", cost_nano_usd
        FROM request_logs
        WHERE id >= ?1 AND kind = 'request' AND outcome IS NOT NULL
        "#,
        first,
    );
    for row in rows.fetch_all(db).await? {
        let usage = Usage {
            prompt: row.prompt.map(u64::from),
            output: row.output.map(u64::from),
            thoughts: row.thoughts.map(u64::from),
            cached: row.cached.map(u64::from),
            tool: row.tool.map(u64::from),
            total: row.total.map(u64::from),
            ..Usage::default()
        };
        let mut sum = Sum::default();
        sum.add(Addend {
            outcome: row.outcome,
            usage: &usage,
            cost_nano_usd: row.cost_nano_usd,
            first_byte_ms: row.first_byte_ms.map(u64::from),
            duration_ms: row.duration_ms.map(u64::from),
        });
        let place = (row.started_at_ms - begin.as_millis()) / millis(width);
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if let Some(bin) = traffic.bins.get_mut(place) {
            bin.counts.add(row.outcome, &sum);
            traffic.total.add(row.outcome, &sum);
        }
    }
    Ok(())
}

/// The sums from `begin` to `end`, by the place of their bin and by outcome.
async fn by_hours(
    db: &SqlitePool,
    begin: Timestamp,
    end: Timestamp,
    width: Duration,
) -> Result<Vec<(usize, Outcome, Sum)>> {
    let width = millis(width);
    let rows = sqlx::query!(
        r#"
        SELECT
            (hour_ms - ?1) / ?3 AS "place!: u32", outcome AS "outcome!: Outcome", sum(requests) AS "requests!: i64",
            sum(prompt_tokens) AS "prompt!: i64", sum(output_tokens) AS "output!: i64",
            sum(thought_tokens) AS "thoughts!: i64", sum(cached_tokens) AS "cached!: i64", sum(tool_tokens) AS "tool!: i64",
            sum(total_tokens) AS "total!: i64", sum(cost_nano_usd) AS "cost_nano_usd!: i64",
            sum(first_byte_0) AS "first_byte_0!: i64", sum(first_byte_1) AS "first_byte_1!: i64", sum(first_byte_2) AS "first_byte_2!: i64",
            sum(first_byte_3) AS "first_byte_3!: i64", sum(first_byte_4) AS "first_byte_4!: i64", sum(first_byte_5) AS "first_byte_5!: i64",
            sum(first_byte_6) AS "first_byte_6!: i64", sum(first_byte_7) AS "first_byte_7!: i64", sum(first_byte_8) AS "first_byte_8!: i64",
            sum(first_byte_9) AS "first_byte_9!: i64", sum(first_byte_10) AS "first_byte_10!: i64", sum(first_byte_11) AS "first_byte_11!: i64",
            sum(duration_0) AS "duration_0!: i64", sum(duration_1) AS "duration_1!: i64", sum(duration_2) AS "duration_2!: i64",
            sum(duration_3) AS "duration_3!: i64", sum(duration_4) AS "duration_4!: i64", sum(duration_5) AS "duration_5!: i64",
            sum(duration_6) AS "duration_6!: i64", sum(duration_7) AS "duration_7!: i64", sum(duration_8) AS "duration_8!: i64",
            sum(duration_9) AS "duration_9!: i64", sum(duration_10) AS "duration_10!: i64", sum(duration_11) AS "duration_11!: i64"
        FROM model_hours
        WHERE hour_ms >= ?1 AND hour_ms < ?2
        GROUP BY 1, 2
        "#,
        begin,
        end,
        width,
    );
    let rows = rows.fetch_all(db).await?;
    let sums = rows.into_iter().map(|row| {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let sum = Sum {
            requests: count(row.requests),
            successes: if row.outcome == Outcome::Success {
                count(row.requests)
            } else {
                0
            },
            failures: if row.outcome.is_failure() {
                count(row.requests)
            } else {
                0
            },
            prompt_tokens: count(row.prompt),
            output_tokens: count(row.output),
            thought_tokens: count(row.thoughts),
            cached_tokens: count(row.cached),
            tool_tokens: count(row.tool),
            total_tokens: count(row.total),
            cost_nano_usd: row.cost_nano_usd,
            first_byte: [
                row.first_byte_0,
                row.first_byte_1,
                row.first_byte_2,
                row.first_byte_3,
                row.first_byte_4,
                row.first_byte_5,
                row.first_byte_6,
                row.first_byte_7,
                row.first_byte_8,
                row.first_byte_9,
                row.first_byte_10,
                row.first_byte_11,
            ]
            .map(count),
            duration: [
                row.duration_0,
                row.duration_1,
                row.duration_2,
                row.duration_3,
                row.duration_4,
                row.duration_5,
                row.duration_6,
                row.duration_7,
                row.duration_8,
                row.duration_9,
                row.duration_10,
                row.duration_11,
            ]
            .map(count),
        };
        (
            usize::try_from(row.place).unwrap_or(usize::MAX),
            row.outcome,
            sum,
        )
    });
    Ok(sums.collect())
}

/// What each model was asked since the hour `begin`.
async fn by_model(db: &SqlitePool, begin: Timestamp) -> Result<Vec<(Option<String>, Counts)>> {
    let rows = sqlx::query!(
        r#"
        WITH sums AS (
            SELECT
                model_id, outcome, sum(requests) AS requests, sum(total_tokens) AS tokens,
                sum(prompt_tokens) AS prompt_tokens, sum(output_tokens) AS output_tokens,
                sum(cost_nano_usd) AS cost_nano_usd
            FROM model_hours
            WHERE hour_ms >= ?1
            GROUP BY model_id, outcome
        )
        SELECT
            t.text AS "model!: String", s.outcome AS "outcome!: Outcome", s.requests AS "requests!: i64",
            s.tokens AS "tokens!: i64", s.prompt_tokens AS "prompt!: i64", s.output_tokens AS "output!: i64",
            s.cost_nano_usd AS "cost_nano_usd!: i64"
        FROM sums AS s
        JOIN texts AS t ON t.id = s.model_id
        ORDER BY s.model_id
        "#,
        begin,
    );
    let mut models: Vec<(Option<String>, Counts)> = Vec::new();
    for row in rows.fetch_all(db).await? {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let requests = count(row.requests);
        let sum = Sum {
            requests,
            successes: if row.outcome == Outcome::Success {
                requests
            } else {
                0
            },
            failures: if row.outcome.is_failure() {
                requests
            } else {
                0
            },
            prompt_tokens: count(row.prompt),
            output_tokens: count(row.output),
            total_tokens: count(row.tokens),
            cost_nano_usd: row.cost_nano_usd,
            ..Sum::default()
        };
        let name = Some(row.model).filter(|name| !name.is_empty());
        match models.last_mut() {
            Some((last, counts)) if *last == name => counts.add(row.outcome, &sum),
            _ => {
                let mut counts = Counts::default();
                counts.add(row.outcome, &sum);
                models.push((name, counts));
            }
        }
    }
    models.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.sum.requests));
    Ok(models)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::db::Db;
    use crate::storage::recorder::Recorder;
    use crate::storage::request_logs::NewRequestLog;

    /// Half past an hour.
    const NOW: Timestamp = Timestamp::from_millis(1_764_014_400_000 + 1_800_000);

    fn row(ago: Duration, outcome: Outcome, first_byte_ms: u64) -> NewRequestLog {
        let at = NOW - ago;
        let id = RequestId(RequestId::first_at(at).0 + i64::try_from(first_byte_ms).unwrap());
        NewRequestLog {
            model: Some("flash".to_owned()),
            outcome: Some(outcome),
            first_byte_ms: Some(first_byte_ms),
            duration_ms: Some(2 * first_byte_ms),
            usage: Usage {
                total: Some(10),
                ..Usage::default()
            },
            cost_nano_usd: Some(1_000),
            ..NewRequestLog::begun(id, at, "POST".to_owned(), "/v1beta".to_owned())
        }
    }

    async fn write(db: &Db, rows: Vec<NewRequestLog>) {
        let (recorder, writer) = Recorder::new(db.clone());
        let writer = tokio::spawn(writer.run());
        for row in rows {
            recorder.finish(Box::new(row)).await.unwrap();
        }
        writer.abort();
    }

    #[sqlx::test]
    async fn a_span_is_cut_into_bins_and_compared_with_an_earlier_one(pool: sqlx::SqlitePool) {
        let minutes = Duration::from_mins;
        let rows = vec![
            row(minutes(1), Outcome::Success, 100),
            row(minutes(2), Outcome::Quota, 200),
            row(minutes(50), Outcome::Success, 400),
            row(minutes(300), Outcome::ClientError, 800),
            row(minutes(24 * 60 + 10), Outcome::Success, 50),
            row(minutes(24 * 60 + 20), Outcome::Success, 60),
            row(minutes(3 * 24 * 60), Outcome::Success, 70),
        ];
        write(&Db::of(pool.clone()), rows).await;

        for (span, bins, requests, before) in [
            // Of the hour that runs half has passed, and so half of the same hour of yesterday counts.
            (Span::Hour, 30, 3, 1),
            (Span::SixHours, 36, 4, 1),
            (Span::Day, 24, 4, 1),
            (Span::Week, 28, 7, 0),
            (Span::Month, 30, 7, 0),
        ] {
            let traffic = over(&pool, span, NOW).await.unwrap();

            let sum_of_bins: u64 = traffic.bins.iter().map(|bin| bin.counts.sum.requests).sum();
            assert_eq!(traffic.bins.len(), bins, "{span:?}");
            assert_eq!(
                (traffic.total.sum.requests, sum_of_bins),
                (requests, requests),
                "{span:?}"
            );
            assert_eq!(traffic.before.sum.requests, before, "{span:?}");
            assert!(traffic.bins.last().unwrap().end > NOW, "{span:?}");
            assert_eq!(traffic.models[0].0.as_deref(), Some("flash"));
        }
        let hour = over(&pool, Span::Hour, NOW).await.unwrap();
        assert_eq!(hour.total.count(Outcome::Quota), 1);
        assert_eq!(hour.total.success_per_mille(), Some(666));
        assert_eq!(hour.total.sum.cost_nano_usd, 3_000);
    }

    #[test]
    fn percentiles_lie_in_their_bucket() {
        let mut sum = Sum::default();
        for ms in [10, 60, 70, 90, 3_000] {
            sum.first_byte[crate::storage::sums::bucket(ms)] += 1;
        }

        assert_eq!(percentile(&sum.first_byte, 50), Some(50 + 50 * 2 / 3));
        assert_eq!(percentile(&sum.first_byte, 95), Some(3_200));
        assert_eq!(percentile(&Sum::default().first_byte, 50), None);
    }
}
