//! Counts the requests of a filter over time: from rollups where they give the same answer, otherwise from rows, as far
//! back as the deadline allows.

use std::time::Instant;

use sqlx::{SqliteExecutor, SqlitePool};

use crate::clock::Timestamp;
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::storage::error::Result;
use crate::storage::log_pruning;
use crate::storage::request_logs::LogKind;
use crate::storage::request_logs::filter::{LogFilter, OutcomeFilter};
use crate::storage::request_logs::id_range::{IdRange, LogPosition};
use crate::storage::request_logs::search::find_ids;
use crate::storage::request_logs::search_plan::SearchPlan;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Widths of bins in milliseconds, from a second to 30 days.
const WIDTHS_MS: [i64; 18] = [
    1_000,
    5_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    HOUR_MS,
    2 * HOUR_MS,
    3 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    DAY_MS,
    2 * DAY_MS,
    7 * DAY_MS,
    30 * DAY_MS,
];
/// Maximum number of whole bins.
const MAX_BINS: i64 = 60;

/// Requests over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHistogram {
    /// The counted span of time.
    pub since: Timestamp,
    pub until: Timestamp,
    /// Oldest first, without gaps. The first and the last may be partly outside of the span.
    pub bins: Vec<HistogramBin>,
    /// The deadline stopped the count: nothing before this was counted.
    pub counted_from: Option<Timestamp>,
}

/// A bin with the number of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistogramBin {
    pub begin: Timestamp,
    pub end: Timestamp,
    pub requests: u64,
}

/// Where the requests of a span of time are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Rows,
    Hours,
    Days,
}

/// A span of time in milliseconds with its source.
type Segment = (Source, i64, i64);

impl LogHistogram {
    /// Empty bins from `since` to `until`; those shorter than a day begin at full hours of a zone with this offset.
    fn new(since: Timestamp, until: Timestamp, offset_ms: i64) -> Self {
        let (first, last) = (
            since.as_millis(),
            until.as_millis().max(since.as_millis() + 1),
        );
        let width = width_ms(last - first);
        // Days are those of UTC, as in rollups; so are hours in a zone with another offset.
        let offset = if width < DAY_MS {
            offset_ms / HOUR_MS * HOUR_MS
        } else {
            0
        };
        let mut begin = (first + offset).div_euclid(width) * width - offset;
        let mut bins = Vec::new();
        while begin < last {
            bins.push(HistogramBin {
                begin: Timestamp::from_millis(begin),
                end: Timestamp::from_millis(begin + width),
                requests: 0,
            });
            begin += width;
        }
        Self {
            since,
            until,
            bins,
            counted_from: None,
        }
    }

    /// The number of counted requests.
    pub fn requests(&self) -> u64 {
        self.bins.iter().map(|bin| bin.requests).sum()
    }

    fn add(&mut self, at: Timestamp, requests: u64) {
        let next = self.bins.partition_point(|bin| bin.begin <= at);
        if let Some(bin) = next
            .checked_sub(1)
            .and_then(|index| self.bins.get_mut(index))
        {
            bin.requests += requests;
        }
    }

    fn width_ms(&self) -> i64 {
        self.bins
            .first()
            .map_or(1, |bin| bin.end.as_millis() - bin.begin.as_millis())
    }
}

fn width_ms(span: i64) -> i64 {
    let fitting = WIDTHS_MS.into_iter().find(|width| span / width <= MAX_BINS);
    fitting.unwrap_or(span / MAX_BINS / DAY_MS * DAY_MS + DAY_MS)
}

/// The requests of a filter over its span, which begins with the oldest row and ends now unless the filter says otherwise.
/// `None`: no row can match.
pub async fn count(
    db: &SqlitePool,
    filter: &LogFilter,
    offset_ms: i64,
    now: Timestamp,
    deadline: Option<Instant>,
) -> Result<Option<LogHistogram>> {
    let until = filter.until.unwrap_or(now).min(now);
    let since = match filter.since {
        Some(since) => since,
        None => oldest(db).await?.unwrap_or(now),
    };
    if since >= until {
        return Ok(None);
    }
    let mut histogram = LogHistogram::new(since, until, offset_ms);
    let is_rolled_up = is_in_rollups(filter) && !log_pruning::is_pruned(db, since, until).await?;
    let segments = if is_rolled_up {
        segments(since.as_millis(), until.as_millis(), histogram.width_ms())
    } else {
        vec![(Source::Rows, since.as_millis(), until.as_millis())]
    };
    // Newest first, so that what is left out is the oldest.
    for (source, begin, end) in segments.into_iter().rev() {
        let span = (Timestamp::from_millis(begin), Timestamp::from_millis(end));
        let sums = match source {
            Source::Rows => {
                let stopped = count_rows(db, filter, span, deadline, &mut histogram).await?;
                if stopped.is_some() {
                    histogram.counted_from = stopped;
                    return Ok(Some(histogram));
                }
                continue;
            }
            Source::Hours => sum_hours(db, span).await?,
            Source::Days => sum_days(db, span).await?,
        };
        for sum in sums {
            let outcome = Some(sum.outcome);
            if filter.outcome.is_none_or(|filter| filter.matches(outcome)) {
                histogram.add(sum.begin, sum.requests);
            }
        }
        if filter.outcome.is_none() {
            let running = LogFilter {
                outcome: Some(OutcomeFilter::Running),
                ..filter.clone()
            };
            // There are as many as open connections, and an index has them.
            count_rows(db, &running, span, None, &mut histogram).await?;
        }
    }
    Ok(Some(histogram))
}

/// Whether rollups have what the filter compares. Running requests are in none, and models under other names.
fn is_in_rollups(filter: &LogFilter) -> bool {
    let others = LogFilter {
        kind: None,
        outcome: None,
        since: None,
        until: None,
        ..filter.clone()
    };
    others.is_empty()
        && filter.kind == Some(LogKind::Request)
        && filter.outcome != Some(OutcomeFilter::Running)
}

/// Whole days and hours from rollups, and the rest from rows, in the order of time, as far as bins are as wide as these.
fn segments(begin: i64, end: i64, width: i64) -> Vec<Segment> {
    let mut units = vec![(Source::Days, DAY_MS), (Source::Hours, HOUR_MS)];
    units.retain(|(_, length)| width % length == 0);
    split(begin, end, &units)
}

fn split(begin: i64, end: i64, units: &[(Source, i64)]) -> Vec<Segment> {
    if begin >= end {
        return Vec::new();
    }
    let Some(((source, length), finer)) = units.split_first() else {
        return vec![(Source::Rows, begin, end)];
    };
    let first = (begin + length - 1).div_euclid(*length) * length;
    let last = end.div_euclid(*length) * length;
    if first >= last {
        return split(begin, end, finer);
    }
    let mut segments = split(begin, first, finer);
    segments.push((*source, first, last));
    segments.extend(split(last, end, finer));
    segments
}

/// Counts rows, newest first. Returns the time before which none was counted, if the deadline stopped it.
async fn count_rows(
    db: &SqlitePool,
    filter: &LogFilter,
    (since, until): (Timestamp, Timestamp),
    deadline: Option<Instant>,
    histogram: &mut LogHistogram,
) -> Result<Option<Timestamp>> {
    let filter = LogFilter {
        since: Some(since),
        until: Some(until),
        ..filter.clone()
    };
    let Some(plan) = SearchPlan::of(db, &filter).await? else {
        return Ok(None);
    };
    let range = IdRange::of(&filter, LogPosition::Newest);
    let found = find_ids(db, &plan, range, usize::MAX, deadline).await?;
    for id in found.ids {
        histogram.add(id.time(), 1);
    }
    Ok(found.next.filter(|_| found.stopped).map(RequestId::time))
}

/// The requests of an hour or day with one outcome.
struct OutcomeSum {
    begin: Timestamp,
    outcome: Outcome,
    requests: u64,
}

async fn sum_hours(
    db: impl SqliteExecutor<'_>,
    (begin, end): (Timestamp, Timestamp),
) -> Result<Vec<OutcomeSum>> {
    let sums = sqlx::query!(
        r#"
        SELECT hour_ms AS "begin: Timestamp", outcome AS "outcome: Outcome", sum(requests) AS "requests!: i64"
        FROM model_hours
        WHERE hour_ms >= ?1 AND hour_ms < ?2
        GROUP BY hour_ms, outcome
        "#,
        begin,
        end,
    );
    let sums = sums.fetch_all(db).await?.into_iter();
    Ok(sums
        .map(|sum| OutcomeSum {
            begin: sum.begin,
            outcome: sum.outcome,
            requests: sum.requests.unsigned_abs(),
        })
        .collect())
}

async fn sum_days(
    db: impl SqliteExecutor<'_>,
    (begin, end): (Timestamp, Timestamp),
) -> Result<Vec<OutcomeSum>> {
    let sums = sqlx::query!(
        r#"
        SELECT day_ms AS "begin: Timestamp", outcome AS "outcome: Outcome", sum(requests) AS "requests!: i64"
        FROM model_days
        WHERE day_ms >= ?1 AND day_ms < ?2
        GROUP BY day_ms, outcome
        "#,
        begin,
        end,
    );
    let sums = sums.fetch_all(db).await?.into_iter();
    Ok(sums
        .map(|sum| OutcomeSum {
            begin: sum.begin,
            outcome: sum.outcome,
            requests: sum.requests.unsigned_abs(),
        })
        .collect())
}

/// When the oldest row began.
async fn oldest(db: impl SqliteExecutor<'_>) -> Result<Option<Timestamp>> {
    let id = sqlx::query_scalar!(r#"SELECT min(id) AS "id: RequestId" FROM request_logs"#);
    Ok(id.fetch_one(db).await?.map(RequestId::time))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::storage::db::Db;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::NewRequestLog;
    use crate::storage::request_logs::listed;
    use crate::storage::request_logs::tests::{row, running};

    /// A request every 20 minutes over five days, every 16th of them running.
    fn spread(number: i64) -> NewRequestLog {
        let at = row(0).started_at + Duration::from_mins(20) * u32::try_from(number).unwrap();
        let outcome = Outcome::ALL[usize::try_from(number).unwrap() % Outcome::ALL.len()];
        let mut spread = if number % 16 == 0 {
            running(number)
        } else {
            let mut finished = row(number);
            finished.outcome = Some(outcome);
            finished
        };
        (spread.id, spread.started_at) = (RequestId::first_at(at), at);
        for attempt in &mut spread.attempts {
            attempt.started_at = at;
        }
        if number % 7 == 0 {
            spread.kind = LogKind::Check;
        }
        spread
    }

    #[sqlx::test]
    async fn rollups_and_rows_count_what_the_list_shows(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        write(&db, (0..360).map(spread).collect()).await;
        let ids: Vec<_> = (0..360).map(|number| spread(number).id).collect();
        let rows = listed::list(&pool, &ids).await.unwrap();
        let begin = row(0).started_at;
        let minutes = |count| Some(begin + Duration::from_mins(count));
        let now = minutes(360 * 20).unwrap();
        let requests = || LogFilter {
            kind: Some(LogKind::Request),
            ..LogFilter::default()
        };
        let with = |change: &dyn Fn(&mut LogFilter)| {
            let mut filter = requests();
            change(&mut filter);
            filter
        };
        let failed = Some(OutcomeFilter::Failed);
        for filter in [
            requests(),
            LogFilter::default(),
            with(&|filter| filter.outcome = failed),
            with(&|filter| filter.outcome = Some(OutcomeFilter::Running)),
            with(&|filter| (filter.since, filter.until) = (minutes(95), minutes(1_000))),
            with(&|filter| (filter.since, filter.outcome) = (minutes(3_333), failed)),
            with(&|filter| (filter.since, filter.until) = (minutes(50), minutes(55))),
            with(&|filter| filter.model = Some("gemini-pro".to_owned())),
            with(&|filter| filter.min_duration_ms = Some(1)),
        ] {
            for offset_hours in [0, 8, -5] {
                let offset_ms = offset_hours * HOUR_MS;
                let counted = count(&pool, &filter, offset_ms, now, None).await.unwrap();
                let counted = counted.unwrap();
                assert_eq!(counted.counted_from, None);
                assert!(counted.bins.len() <= 62, "{}", counted.bins.len());
                assert!(counted.bins[0].begin <= counted.since);
                assert!(counted.bins.last().unwrap().end >= counted.until);
                for bin in &counted.bins {
                    let inside = |row: &&listed::RequestLog| {
                        row.started_at >= bin.begin && row.started_at < bin.end
                    };
                    let matching = rows.iter().filter(|row| filter.matches(row));
                    let expected = matching.filter(inside).count();
                    assert_eq!(bin.requests, expected as u64, "{filter:?} {bin:?}");
                }
            }
        }
    }

    #[sqlx::test]
    async fn a_count_that_is_stopped_says_from_when_on_it_is_complete(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        write(&db, (0..900).map(spread).collect()).await;
        let now = spread(900).started_at;
        let filter = LogFilter {
            streamed: Some(spread(0).streamed),
            ..LogFilter::default()
        };
        let long_ago = Some(clock::instant());

        let counted = count(&pool, &filter, 0, now, long_ago).await.unwrap();

        let counted = counted.unwrap();
        let from = counted.counted_from.unwrap();
        let newer = (0..900).filter(|number| spread(*number).started_at >= from);
        assert_eq!(counted.requests(), newer.count() as u64);
        assert!(counted.requests() >= 400 && counted.requests() < 900);
    }

    #[sqlx::test]
    async fn pruned_hours_are_counted_from_what_is_left_of_them(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        write(&db, (0..30).map(spread).collect()).await;
        let now = spread(30).started_at;
        let filter = LogFilter {
            kind: Some(LogKind::Request),
            since: Some(spread(0).started_at),
            ..LogFilter::default()
        };
        let before = count(&pool, &filter, 0, now, None).await.unwrap().unwrap();
        let pruned = [spread(1).id, spread(2).id];
        log_pruning::delete(&db, &pruned, log_pruning::PruneScope::Selected)
            .await
            .unwrap();

        let after = count(&pool, &filter, 0, now, None).await.unwrap().unwrap();

        assert_eq!(after.requests(), before.requests() - 2);
    }

    #[test]
    fn a_span_is_split_into_days_hours_and_rows() {
        let (hour, day) = (HOUR_MS, DAY_MS);
        assert_eq!(
            segments(day - hour - 5, 3 * day + hour + 7, day),
            [
                (Source::Rows, day - hour - 5, day - hour),
                (Source::Hours, day - hour, day),
                (Source::Days, day, 3 * day),
                (Source::Hours, 3 * day, 3 * day + hour),
                (Source::Rows, 3 * day + hour, 3 * day + hour + 7),
            ]
        );
        assert_eq!(segments(5, hour - 5, hour), [(Source::Rows, 5, hour - 5)]);
        assert_eq!(segments(0, hour, 60_000), [(Source::Rows, 0, hour)]);
    }

    #[test]
    fn any_span_has_a_moderate_number_of_bins() {
        let begin = row(0).started_at;
        for minutes in [1, 15, 60, 360, 1_440, 10_080, 43_200, 525_600, 5_256_000] {
            let until = begin + Duration::from_mins(minutes);
            let bins = LogHistogram::new(begin, until, 0).bins.len();
            assert!((12..=62).contains(&bins), "{minutes}: {bins}");
        }
    }
}
