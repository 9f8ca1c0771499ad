//! Searches log rows in steps that each read a bounded number of rows, so that a search can stop at its deadline.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use sqlx::SqlitePool;

use crate::clock::{self, Timestamp};
use crate::pool::request_id::RequestId;
use crate::storage::error::Result;
use crate::storage::request_logs::filter::LogFilter;
use crate::storage::request_logs::id_range::{IdRange, LogPosition};
use crate::storage::request_logs::listed::{self, RequestLog};
use crate::storage::request_logs::search_plan::SearchPlan;

/// Number of rows that the first step reads.
const FIRST_STEP: usize = 400;
/// Target duration of a step, so that the search stops near its deadline.
const STEP: Duration = Duration::from_millis(8);

/// Rows, and the next position.
#[derive(Debug)]
pub struct LogSearchResult {
    /// Newest first, with their attempts.
    pub rows: Vec<RequestLog>,
    /// The id after which the search continues in its direction; `None` at the end.
    pub next: Option<RequestId>,
    /// Whether the deadline stopped the search.
    pub stopped: bool,
}

/// Up to `limit` rows from `place` on. At `deadline` the search stops, to be continued by the next one.
pub async fn search(
    db: &SqlitePool,
    filter: &LogFilter,
    position: LogPosition,
    limit: usize,
    deadline: Option<Instant>,
) -> Result<LogSearchResult> {
    let nothing = LogSearchResult {
        rows: Vec::new(),
        next: None,
        stopped: false,
    };
    if let Some(row) = find_by_id(db, filter).await? {
        return Ok(LogSearchResult {
            rows: if position == LogPosition::Newest {
                vec![row]
            } else {
                Vec::new()
            },
            ..nothing
        });
    }
    let Some(plan) = SearchPlan::of(db, filter).await? else {
        return Ok(nothing);
    };
    let range = IdRange::of(filter, position);
    let found = find_ids(db, &plan, range, limit, deadline).await?;
    let rows = listed::list(db, &found.ids).await?;
    Ok(LogSearchResult {
        rows,
        next: found.next,
        stopped: found.stopped,
    })
}

/// Up to `limit` matching requests after `after` that are finished, oldest first, without those whose end is in `spared`.
pub async fn find_finished(
    db: &SqlitePool,
    filter: &LogFilter,
    spared: &RangeInclusive<Timestamp>,
    after: RequestId,
    limit: usize,
) -> Result<Vec<RequestId>> {
    if let Some(row) = find_by_id(db, filter).await? {
        let duration_ms = row.duration_ms.unwrap_or(0);
        let end = Timestamp::from_millis(row.started_at.as_millis() + duration_ms);
        let is_found = row.id > after && row.outcome.is_some() && !spared.contains(&end);
        return Ok(if is_found { vec![row.id] } else { Vec::new() });
    }
    let Some(mut plan) = SearchPlan::of(db, filter).await? else {
        return Ok(Vec::new());
    };
    plan.add_finished(spared);
    let range = IdRange::of(filter, LogPosition::NewerThan(after));
    Ok(find_ids(db, &plan, range, limit, None).await?.ids)
}

/// Ids in the order of their range, and the next position.
pub struct FoundIds {
    pub ids: Vec<RequestId>,
    pub next: Option<RequestId>,
    pub stopped: bool,
}

/// Up to `limit` ids of the range; it stops near the deadline.
pub async fn find_ids(
    db: &SqlitePool,
    plan: &SearchPlan,
    mut range: IdRange,
    limit: usize,
    deadline: Option<Instant>,
) -> Result<FoundIds> {
    let scan = plan.best_scan(db, range).await?;
    let mut ids: Vec<RequestId> = Vec::new();
    // One more shows that there is a next page.
    let wanted = limit.saturating_add(1);
    let mut size = if plan.is_exact(scan) && wanted < FIRST_STEP {
        wanted
    } else {
        FIRST_STEP
    };
    let mut stopped = false;
    loop {
        let begun = clock::instant();
        let step = plan.step(db, scan, range, size, wanted - ids.len()).await?;
        ids.extend(step.found);
        let (Some(last), false) = (step.last, ids.len() == wanted || step.examined < size) else {
            break;
        };
        range.advance(last);
        let now = clock::instant();
        if deadline.is_some_and(|deadline| now + STEP / 2 >= deadline) {
            stopped = true;
            break;
        }
        size = next_size(size, now - begun, deadline.map(|deadline| deadline - now));
    }
    let next = if ids.len() == wanted {
        ids.truncate(limit);
        ids.last().copied()
    } else if stopped {
        Some(range.resume_position())
    } else {
        None
    };
    Ok(FoundIds { ids, next, stopped })
}

/// The row whose id equals the searched text.
async fn find_by_id(db: &SqlitePool, filter: &LogFilter) -> Result<Option<RequestLog>> {
    let Some(id) = filter.text.as_deref().and_then(|text| text.parse().ok()) else {
        return Ok(None);
    };
    let row = listed::list(db, &[id]).await?.into_iter().next();
    Ok(row.filter(|row| filter.matches(row)))
}

/// Number of rows that the next step reads, after a step of `size` rows with this duration.
fn next_size(size: usize, took: Duration, left: Option<Duration>) -> usize {
    let aim = left.map_or(STEP, |left| STEP.min(left));
    let (aim, took) = (aim.as_micros().max(1), took.as_micros().max(1));
    let fitting = u128::try_from(size).unwrap_or(u128::MAX) * aim / took;
    let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
    // The next rows may not be cached as the last ones were.
    fitting.clamp(size / 8, size * 3).max(FIRST_STEP / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::clients::client_key::ClientKeyId;
    use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
    use crate::pool::outcome::Outcome;
    use crate::pool::quota::usage::TokenUsage;
    use crate::storage::db::Db;
    use crate::storage::recorder::tests::{add_keys, write};
    use crate::storage::request_logs::filter::{OutcomeFilter, StatusFilter};
    use crate::storage::request_logs::search_plan::PlanLine;
    use crate::storage::request_logs::tests::{row, running};
    use crate::storage::request_logs::{LogKind, NewRequestLog};

    /// Rows that differ in each filtered column, with another period for each.
    fn varied(number: i64) -> NewRequestLog {
        let mut row = if number % 13 == 12 {
            running(number)
        } else {
            row(number)
        };
        let every = |period: i64| number % period == 0;
        if every(2) {
            row.model = Some("Gemini-Pro".to_owned());
        }
        if every(3) {
            (row.client_key_id, row.streamed) = (Some(ClientKeyId(2)), true);
            row.client_ip = Some("2001:db8::1".to_owned());
        }
        if every(4) && row.outcome.is_some() {
            let outcome = Outcome::ALL[usize::try_from(number / 4).unwrap() % Outcome::ALL.len()];
            row.outcome = Some(outcome);
            row.status = Some(if every(8) { 429 } else { 503 });
            row.error = Some(format!("Quota exceeded for METRIC {}", number % 5));
        }
        if every(5) {
            (row.method, row.path) = ("GET".to_owned(), "/v1beta/models".to_owned());
            (row.operation, row.model) = (Some("models.list".to_owned()), None);
            row.kind = LogKind::Check;
        }
        if every(7) {
            row.user_agent = Some("curl/8".to_owned());
            row.model_version = Some("gemini-pro-001".to_owned());
            row.duration_ms = row.duration_ms.map(|_| 12_000);
            row.first_byte_ms = Some(11_000);
            row.finish_reason = Some("MAX_TOKENS".to_owned());
            row.service_tier = Some("flex".to_owned());
        }
        if every(6) {
            let mut first = row.attempts[0].clone();
            (first.upstream_key_id, first.project_id) = (UpstreamKeyId(2), ProjectId(2));
            row.attempts.insert(0, first.clone());
            row.attempts.insert(0, first);
        }
        if every(11) {
            row.attempts.clear();
            row.usage = TokenUsage::default();
            (row.client_key_id, row.client_ip) = (None, None);
        }
        row
    }

    fn filters() -> Vec<LogFilter> {
        let text = |text: &str| Some(text.to_owned());
        let at = |seconds| Some(row(seconds).started_at);
        let sets: [&dyn Fn(&mut LogFilter); 43] = [
            &|_| (),
            &|filter| filter.kind = Some(LogKind::Request),
            &|filter| filter.kind = Some(LogKind::Check),
            &|filter| filter.outcome = Some(OutcomeFilter::Failed),
            &|filter| filter.outcome = Some(OutcomeFilter::Running),
            &|filter| filter.model = text("Gemini-Pro"),
            &|filter| filter.model = text("no such model"),
            &|filter| filter.model_version = text("gemini-pro-001"),
            &|filter| filter.client_key_id = Some(ClientKeyId(2)),
            &|filter| filter.client_key = text("client"),
            &|filter| filter.client_key = text("no client"),
            &|filter| filter.client_ip = text("2001:db8::1"),
            &|filter| filter.user_agent = text("curl/8"),
            &|filter| filter.upstream_key_id = Some(UpstreamKeyId(1)),
            &|filter| filter.upstream_key_id = Some(UpstreamKeyId(2)),
            &|filter| filter.upstream_key = text("cret"),
            &|filter| filter.project = text("projects/22"),
            &|filter| filter.project = text("Ours"),
            &|filter| filter.method = text("GET"),
            &|filter| filter.method = text("POST"),
            &|filter| filter.path = text("/v1beta/models"),
            &|filter| filter.operation = text("models.list"),
            &|filter| filter.streamed = Some(true),
            &|filter| filter.streamed = Some(false),
            &|filter| filter.finish_reason = text("MAX_TOKENS"),
            &|filter| filter.service_tier = text("flex"),
            &|filter| filter.min_duration_ms = Some(100),
            &|filter| filter.min_duration_ms = Some(11_500),
            &|filter| filter.min_first_byte_ms = Some(11_000),
            &|filter| filter.retried = true,
            &|filter| filter.error = text("metric 3"),
            &|filter| filter.error = text("100%_"),
            &|filter| (filter.since, filter.until) = (at(20), at(50)),
            &|filter| filter.text = text("pro"),
            &|filter| filter.text = text("EXCEEDED"),
            &|filter| filter.text = text("cret"),
            &|filter| filter.text = text("key-"),
            &|filter| filter.text = text("curl"),
            &|filter| filter.text = text("client"),
            &|filter| filter.text = Some(row(17).id.to_string()),
            &|filter| {
                (filter.outcome, filter.model) = (Some(OutcomeFilter::Failed), text("Gemini-Pro"));
                filter.client_key_id = Some(ClientKeyId(2));
            },
            &|filter| (filter.retried, filter.text, filter.since) = (true, text("quota"), at(10)),
            &|filter| {
                filter.upstream_key_id = Some(UpstreamKeyId(2));
                filter.status = Some(StatusFilter::Class(4));
            },
        ];
        let mut filters: Vec<_> = sets.into_iter().map(with).collect();
        filters.extend(
            Outcome::ALL
                .iter()
                .map(|outcome| with(&|filter| filter.outcome = Some(OutcomeFilter::Is(*outcome)))),
        );
        for set in [
            [Outcome::Quota, Outcome::NoKey],
            [Outcome::Success, Outcome::Network],
        ] {
            let set = OutcomeFilter::AnyOf(set.into_iter().collect());
            filters.push(with(&|filter| filter.outcome = Some(set)));
        }
        let statuses = [
            StatusFilter::Is(200),
            StatusFilter::Is(429),
            StatusFilter::Class(2),
            StatusFilter::Class(4),
            StatusFilter::Class(5),
        ];
        filters.extend(statuses.map(|status| with(&|filter| filter.status = Some(status))));
        filters
    }

    fn with(set: &dyn Fn(&mut LogFilter)) -> LogFilter {
        let mut filter = LogFilter::default();
        set(&mut filter);
        filter
    }

    async fn fill(pool: &SqlitePool) -> Vec<RequestLog> {
        let db = Db::from_pool(pool.clone());
        add_keys(&db).await;
        sqlx::query(
            "
            UPDATE projects SET number = 'projects/22' WHERE id = 2;
            UPDATE projects SET name = 'Ours' WHERE id = 1;
            INSERT INTO client_keys (id, name, hash, last4, created_at_ms, revision) VALUES (2, 'Bob', x'00', '', 0, 1);
            ",
        )
        .execute(pool)
        .await
        .unwrap();
        write(&db, (0..120).map(varied).collect()).await;
        let ids: Vec<_> = (0..120).map(|number| row(number).id).collect();
        listed::list(pool, &ids).await.unwrap()
    }

    /// The rows of all pages; a search stopped at its deadline is continued.
    async fn all(
        pool: &SqlitePool,
        filter: &LogFilter,
        begin: LogPosition,
        limit: usize,
        deadline: Option<Instant>,
    ) -> Vec<RequestId> {
        let (mut ids, mut position) = (Vec::new(), begin);
        loop {
            let found = search(pool, filter, position, limit, deadline)
                .await
                .unwrap();
            let page: Vec<_> = found.rows.iter().map(|row| row.id).collect();
            assert!(
                page.len() <= limit && page.is_sorted_by(|a, b| a > b),
                "{filter:?}: {page:?}"
            );
            position = match (position, found.next) {
                (LogPosition::NewerThan(_), next) => {
                    ids.splice(0..0, page);
                    let Some(next) = next else { break };
                    LogPosition::NewerThan(next)
                }
                (_, next) => {
                    ids.extend(page);
                    let Some(next) = next else { break };
                    LogPosition::OlderThan(next)
                }
            };
        }
        ids
    }

    #[sqlx::test]
    async fn rows_are_found_as_they_match_in_memory_whichever_way_and_wherever_it_stops(
        pool: SqlitePool,
    ) {
        let rows = fill(&pool).await;
        assert_eq!(rows.len(), 120);
        let long_ago = Some(clock::instant());
        let oldest = LogPosition::NewerThan(RequestId(0));

        for filter in filters() {
            let matching = rows.iter().filter(|row| filter.matches(row));
            let matching: Vec<_> = matching.map(|row| row.id).collect();

            for limit in [1, 7, 500] {
                let found = all(&pool, &filter, LogPosition::Newest, limit, None).await;
                assert_eq!(found, matching, "{filter:?}, {limit} a page");
            }
            if filter
                .text
                .as_deref()
                .is_none_or(|text| text.parse::<RequestId>().is_err())
            {
                let found = all(&pool, &filter, oldest, 7, None).await;
                assert_eq!(found, matching, "{filter:?}, from the oldest on");
                let found = all(&pool, &filter, oldest, 7, long_ago).await;
                assert_eq!(
                    found, matching,
                    "{filter:?}, from the oldest on, with stops"
                );
            }
            let found = all(&pool, &filter, LogPosition::Newest, 7, long_ago).await;
            assert_eq!(found, matching, "{filter:?}, with stops");
        }
    }

    #[sqlx::test]
    async fn finished_rows_are_found_oldest_first_without_those_that_ended_just_now(
        pool: SqlitePool,
    ) {
        let rows = fill(&pool).await;
        let spared = row(100).started_at..=row(105).started_at;
        let is_spared = |row: &RequestLog| {
            let duration_ms = row.duration_ms.unwrap_or(0);
            spared.contains(&Timestamp::from_millis(
                row.started_at.as_millis() + duration_ms,
            ))
        };
        assert!(rows.iter().any(is_spared));

        for filter in filters() {
            let matching = rows.iter().filter(|row| filter.matches(row));
            let finished = matching.filter(|row| row.outcome.is_some() && !is_spared(row));
            let mut finished: Vec<_> = finished.map(|row| row.id).collect();
            finished.reverse();

            let (mut found, mut after) = (Vec::new(), RequestId(0));
            loop {
                let page = find_finished(&pool, &filter, &spared, after, 7)
                    .await
                    .unwrap();
                let Some(last) = page.last() else { break };
                after = *last;
                found.extend(page);
            }
            assert_eq!(found, finished, "{filter:?}");
        }
    }

    #[sqlx::test]
    async fn most_filters_of_the_test_find_some_rows_and_not_all(pool: SqlitePool) {
        let rows = fill(&pool).await;

        let telling = filters().into_iter().filter(|filter| {
            let count = rows.iter().filter(|row| filter.matches(row)).count();
            (1..rows.len()).contains(&count)
        });
        assert!(telling.count() > filters().len() - 8);
    }

    #[sqlx::test]
    async fn a_search_without_time_says_how_far_it_looked(pool: SqlitePool) {
        fill(&pool).await;
        sqlx::query(
            "
            INSERT INTO request_logs (id, started_at_ms, kind, method, path_id, streamed, attempts, wait_ms, request_bytes, response_bytes)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
            SELECT i, 0, 'check', 'POST', 0, 0, 0, 0, 0, 0 FROM n
            ",
        )
        .execute(&pool)
        .await
        .unwrap();
        let filter = LogFilter {
            text: Some("is nowhere".to_owned()),
            ..LogFilter::default()
        };

        let found = search(
            &pool,
            &filter,
            LogPosition::Newest,
            50,
            Some(clock::instant()),
        )
        .await
        .unwrap();

        assert!(found.stopped && found.rows.is_empty());
        assert_eq!(found.next, Some(RequestId(3_120 - 400 + 1)));
        let whole = search(&pool, &filter, LogPosition::Newest, 50, None)
            .await
            .unwrap();
        assert!(!whole.stopped && whole.next.is_none());
        assert_eq!(Timestamp::from_millis(0), RequestId(1).time());
    }

    /// What a step reads is bounded by its size only if each table is entered at a place of the range, and read in order.
    #[sqlx::test]
    async fn every_filter_reads_its_rows_from_an_index_in_their_order(pool: SqlitePool) {
        fill(&pool).await;
        let tables = [
            "request_logs",
            "attempts",
            "requests_by_project",
            "requests_by_upstream_key",
            "c",
            "r",
            "a",
        ];
        let is_table = |line: &PlanLine| {
            let name = line.detail.split_whitespace().nth(1);
            name.is_some_and(|name| tables.contains(&name))
        };
        let mut seen = 0;
        for filter in filters() {
            let Some(plan) = SearchPlan::of(&pool, &filter).await.unwrap() else {
                continue;
            };
            for position in [LogPosition::Newest, LogPosition::NewerThan(RequestId(0))] {
                let range = IdRange::of(&filter, position);
                for (index, lines) in plan.explain(&pool, range).await {
                    let reads: Vec<_> = lines.iter().filter(|line| is_table(line)).collect();
                    for read in &reads {
                        assert!(read.detail.starts_with("SEARCH "), "{filter:?}: {lines:#?}");
                        let sorts = lines.iter().any(|line| {
                            line.parent == read.parent && line.detail.starts_with("USE TEMP B-TREE")
                        });
                        let is_one_row = read.detail.contains("=?)");
                        assert!(!sorts || is_one_row, "{filter:?}: {lines:#?}");
                    }
                    let is_used = reads.iter().any(|read| read.detail.contains(index));
                    let has_values = reads
                        .iter()
                        .any(|read| !read.detail.starts_with("SEARCH r "));
                    assert!(is_used || !has_values, "{filter:?} {index}: {lines:#?}");
                    seen += reads.len();
                }
            }
        }
        assert!(seen > 300, "{seen} tables were read");
    }
}
