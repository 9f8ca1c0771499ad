//! Tests of traffic.

use super::*;
use crate::storage::db::Db;
use crate::storage::recorder::tests::write;
use crate::storage::request_logs::{self, NewRequestLog};

/// Thirty minutes after a full hour.
const NOW: Timestamp = Timestamp::from_millis(1_764_014_400_000 + 1_800_000);

fn row(ago: Duration, outcome: Outcome, first_byte_ms: u64) -> NewRequestLog {
    let at = NOW - ago;
    let id = RequestId(RequestId::first_at(at).0 + i64::try_from(first_byte_ms).unwrap());
    NewRequestLog {
        model: Some("flash".to_owned()),
        outcome: Some(outcome),
        first_byte_ms: Some(first_byte_ms),
        duration_ms: Some(2 * first_byte_ms),
        usage: TokenUsage {
            total: Some(10),
            ..TokenUsage::default()
        },
        cost_nano_usd: Some(1_000),
        attempts: request_logs::tests::row(0).attempts,
        ..NewRequestLog::started(id, at, "POST".to_owned(), "/v1beta".to_owned())
    }
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
    write(&Db::from_pool(pool.clone()), rows).await;

    for (span, bins, requests, before) in [
        // The same hour of yesterday has two requests; half of it counts.
        (TrafficSpan::Hour, 30, 3, 1),
        (TrafficSpan::SixHours, 36, 4, 1),
        (TrafficSpan::Day, 24, 4, 1),
        (TrafficSpan::Week, 28, 7, 0),
        (TrafficSpan::Month, 30, 7, 0),
    ] {
        let traffic = read_traffic(&pool, span, NOW).await.unwrap();

        let sum_of_bins: u64 = traffic
            .bins
            .iter()
            .map(|bin| bin.counts.rollup.requests)
            .sum();
        assert_eq!(traffic.bins.len(), bins, "{span:?}");
        assert_eq!(
            (traffic.total.rollup.requests, sum_of_bins),
            (requests, requests),
            "{span:?}"
        );
        assert_eq!(traffic.previous.rollup.requests, before, "{span:?}");
        assert!(traffic.bins.last().unwrap().end > NOW, "{span:?}");
        assert_eq!(traffic.models[0].0.as_deref(), Some("flash"));
    }
    let hour = read_traffic(&pool, TrafficSpan::Hour, NOW).await.unwrap();
    assert_eq!(hour.total.count(Outcome::Quota), 1);
    assert_eq!(
        (hour.total.rollup.successes, hour.total.rollup.failures),
        (2, 1)
    );
    assert_eq!(hour.total.rollup.cost_nano_usd, 3_000);
}

#[sqlx::test]
async fn the_last_hour_is_compared_with_the_same_minutes_of_yesterday(pool: sqlx::SqlitePool) {
    let minutes = |ago: u64| row(Duration::from_mins(ago), Outcome::Success, 100);
    let day = 24 * 60;
    // Six requests in the last sixty minutes, and six in the clock hour of yesterday of which half is compared.
    let today = (1..60).step_by(10).map(minutes);
    let yesterday = (31..91).step_by(10).map(|ago| minutes(day + ago));
    write(
        &Db::from_pool(pool.clone()),
        today.chain(yesterday).collect(),
    )
    .await;

    let traffic = read_traffic(&pool, TrafficSpan::Hour, NOW).await.unwrap();

    assert_eq!(traffic.total.rollup.requests, 6);
    assert_eq!(traffic.previous.rollup.requests, 3);
    assert_eq!(traffic.models[0].1.rollup.requests, 6);
}

#[sqlx::test]
async fn rollups_by_day_agree_with_those_by_hour_and_with_rows(pool: sqlx::SqlitePool) {
    let outcomes = [Outcome::Success, Outcome::Quota, Outcome::ClientGone];
    let all: Vec<_> = (0..50)
        .zip(outcomes.into_iter().cycle())
        .map(|(number, outcome)| (HOUR * 17 * number, outcome))
        .collect();
    let rows = all.iter().map(|(ago, outcome)| row(*ago, *outcome, 100));
    write(&Db::from_pool(pool.clone()), rows.collect()).await;

    for span in [TrafficSpan::Week, TrafficSpan::Month] {
        let traffic = read_traffic(&pool, span, NOW).await.unwrap();

        let begin = begin_of_day(NOW) + DAY - span.length();
        let expected = |outcome| {
            let rows = all.iter().filter(|(ago, _)| NOW - *ago >= begin);
            rows.filter(|(_, of)| *of == outcome).count() as u64
        };
        let bins = merged(traffic.bins.iter().map(|bin| &bin.counts));
        let models = merged(traffic.models.iter().map(|(_, counts)| counts));
        for counts in [&traffic.total, &bins, &models] {
            assert_eq!(counts.rollup, traffic.total.rollup, "{span:?}");
            for outcome in outcomes {
                assert_eq!(counts.count(outcome), expected(outcome), "{span:?}");
            }
        }
        let requests = outcomes.map(expected).iter().sum::<u64>();
        assert_eq!(traffic.total.rollup.requests, requests, "{span:?}");
        assert_eq!(traffic.total.rollup.total_tokens, 10 * requests, "{span:?}");
        let first_byte = &traffic.total.rollup.first_byte;
        assert_eq!(first_byte.percentile(99), Some(98), "{span:?}");
    }
}

#[sqlx::test]
async fn only_the_elapsed_part_of_the_current_day_is_compared(pool: sqlx::SqlitePool) {
    let midnight = begin_of_day(NOW) - DAY * 7;
    let rows = (0..24).map(|hour| row(NOW - (midnight + HOUR * hour), Outcome::Success, 100));
    let day_before = row(NOW - (midnight - HOUR), Outcome::Quota, 100);
    write(
        &Db::from_pool(pool.clone()),
        rows.chain([day_before]).collect(),
    )
    .await;

    let traffic = read_traffic(&pool, TrafficSpan::Week, NOW).await.unwrap();

    // At 20:30, 20.5 of 24 hours have passed.
    assert_eq!(traffic.previous.count(Outcome::Success), 20);
    assert_eq!(traffic.previous.count(Outcome::Quota), 1);
    assert_eq!(traffic.previous.rollup.requests, 21);
    assert_eq!(traffic.total, TrafficCounts::default());
}
