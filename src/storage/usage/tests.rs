//! Tests of usage.

use super::*;
use crate::pool::keys::upstream_key::ProjectId;
use crate::storage::db::Db;
use crate::storage::recorder::tests::{add_keys, write};
use crate::storage::request_logs::NewRequestLog;
use crate::storage::request_logs::tests::row;
use crate::storage::rollups::begin_of_day;

const HOUR: i64 = 3_600;
const TABLES: [UsageTable; 5] = [
    UsageTable::ModelHours,
    UsageTable::ModelDays,
    UsageTable::ClientKeyHours,
    UsageTable::ClientKeyDays,
    UsageTable::UpstreamKeyDays,
];

/// A request by another client with another key and model.
fn of_another(seconds: i64) -> NewRequestLog {
    let mut row = row(seconds);
    row.client_key_id = Some(ClientKeyId(2));
    row.model = Some("gemini-2.5-pro".to_owned());
    row.attempts[0].upstream_key_id = UpstreamKeyId(2);
    row.attempts[0].project_id = ProjectId(2);
    row.cost_nano_usd = Some(9_000_000_000);
    row
}

/// A success whose first attempt, with the other key, had failed.
fn retried(seconds: i64) -> NewRequestLog {
    let mut row = row(seconds);
    let mut failed = row.attempts[0].clone();
    failed.upstream_key_id = UpstreamKeyId(2);
    (failed.outcome, failed.status) = (Some(Outcome::UpstreamError), Some(500));
    row.attempts.insert(0, failed);
    row
}

fn refused(seconds: i64) -> NewRequestLog {
    let mut row = row(seconds);
    row.outcome = Some(Outcome::Refused);
    row.client_key_id = None;
    row.attempts.clear();
    row
}

fn failed(seconds: i64) -> NewRequestLog {
    let mut row = row(seconds);
    row.outcome = Some(Outcome::UpstreamError);
    row.attempts[0].outcome = Some(Outcome::UpstreamError);
    row
}

async fn filled(pool: SqlitePool) -> Db {
    let db = Db::from_pool(pool);
    add_keys(&db).await;
    for sql in [
        "UPDATE upstream_keys SET tags = '[\"a\",\"b\"]' WHERE id = 1",
        "UPDATE projects SET name = 'team', number = 'projects/7' WHERE id = 2",
    ] {
        sqlx::query(sql).execute(&db.writer).await.unwrap();
    }
    let rows = vec![
        row(0),
        of_another(1),
        retried(2),
        refused(3),
        failed(HOUR),
        of_another(2 * HOUR),
        // Outside of the periods.
        row(30 * HOUR),
    ];
    write(&db, rows).await;
    db
}

fn hours() -> Vec<UsagePeriod> {
    let first = row(0).started_at.start_of_hour().as_millis();
    let hour = |bin: i64| Timestamp::from_millis(first + bin * HOUR * 1_000);
    (0..3)
        .map(|bin| UsagePeriod {
            bin: usize::try_from(bin).unwrap(),
            begin: hour(bin),
        })
        .collect()
}

fn day() -> Vec<UsagePeriod> {
    let begin = begin_of_day(row(0).started_at);
    vec![UsagePeriod { bin: 0, begin }]
}

fn periods(table: UsageTable) -> Vec<UsagePeriod> {
    match table {
        UsageTable::ModelHours | UsageTable::ClientKeyHours => hours(),
        UsageTable::ModelDays | UsageTable::ClientKeyDays | UsageTable::UpstreamKeyDays => day(),
    }
}

#[sqlx::test]
async fn every_table_sums_the_same_requests_and_keys_their_attempts(pool: SqlitePool) {
    let db = filled(pool).await;
    for table in TABLES {
        let bins = sum_bins(&db.readers, table, None, &periods(table)).await;
        let mut sum = UsageSums::default();
        for (_, sums) in bins.unwrap() {
            sum += sums;
        }
        let counts = (
            sum.requests,
            sum.successes,
            sum.failures,
            sum.retried_successes,
        );
        let expected = match table {
            UsageTable::UpstreamKeyDays => (6, 4, 2, 0),
            _ => (6, 4, 1, 1),
        };
        assert_eq!(counts, expected, "{table:?}");
        assert_eq!(
            sum.total_tokens,
            if table == UsageTable::UpstreamKeyDays {
                35
            } else {
                42
            }
        );
    }
    let bins = sum_bins(&db.readers, UsageTable::ModelHours, None, &hours()).await;
    let requests: Vec<_> = bins
        .unwrap()
        .iter()
        .map(|(bin, sums)| (*bin, sums.requests))
        .collect();
    assert_eq!(requests, [(0, 4), (1, 1), (2, 1)]);
}

#[sqlx::test]
async fn the_largest_groups_come_first_and_their_cells_add_up(pool: SqlitePool) {
    let db = filled(pool).await;
    let cases = [
        (
            UsageTable::ModelHours,
            UsageGrouping::Model,
            vec!["gemini-2.5-pro", "gemini-flash-latest", "other"],
        ),
        (
            UsageTable::ModelDays,
            UsageGrouping::Model,
            vec!["gemini-2.5-pro", "gemini-flash-latest", "other"],
        ),
        (
            UsageTable::ClientKeyHours,
            UsageGrouping::ClientKey,
            vec!["?", "client", "-"],
        ),
        (
            UsageTable::UpstreamKeyDays,
            UsageGrouping::UpstreamKey,
            vec!["key-cret", "key-cret"],
        ),
        (
            UsageTable::UpstreamKeyDays,
            UsageGrouping::Project,
            vec!["team", "#1"],
        ),
        (
            UsageTable::UpstreamKeyDays,
            UsageGrouping::Tag,
            vec!["-", "a", "b"],
        ),
    ];
    for (table, grouping, expected) in cases {
        let of = periods(table);
        let order = (UsageOrder::Cost, 10);
        let found = list_largest(&db.readers, table, grouping, None, &of, order)
            .await
            .unwrap();
        let groups: Vec<_> = found.iter().map(|(group, _)| group.clone()).collect();
        let names = names::list_names(&db.readers, grouping, &groups)
            .await
            .unwrap();
        let shown = groups.iter().map(|group| match group {
            UsageGroup::Id(id) => names.get(id).map_or("?", String::as_str),
            UsageGroup::Tag(tag) => tag,
            UsageGroup::None => "-",
        });
        let shown: Vec<_> = shown
            .map(|name| name.split(' ').next().unwrap_or_default())
            .collect();
        assert_eq!(shown.len(), expected.len(), "{grouping:?} {shown:?}");
        if grouping != UsageGrouping::UpstreamKey {
            assert_eq!(shown, expected, "{grouping:?}");
        }

        let cells = list_cells(&db.readers, table, grouping, None, &of, &groups)
            .await
            .unwrap();
        for (group, sums) in &found {
            if *group == UsageGroup::None && grouping == UsageGrouping::Tag {
                continue;
            }
            let mut sum = UsageSums::default();
            for cell in cells.iter().filter(|cell| cell.group == *group) {
                sum += cell.sums;
            }
            assert_eq!(sum, *sums, "{grouping:?} {group:?}");
        }
        let order = (UsageOrder::Requests, 1);
        let first = list_largest(&db.readers, table, grouping, None, &of, order)
            .await
            .unwrap();
        let most = found.iter().map(|(_, sums)| sums.requests).max();
        assert_eq!((first.len(), Some(first[0].1.requests)), (1, most));
    }
}

#[sqlx::test]
async fn each_filter_selects_its_requests_or_attempts(pool: SqlitePool) {
    let db = filled(pool).await;
    let text = str::to_owned;
    for (table, filter, expected) in [
        (
            UsageTable::ModelHours,
            UsageFilter::Model(text("gemini-2.5-pro")),
            2,
        ),
        (
            UsageTable::ModelDays,
            UsageFilter::Model(text("gemini-flash-latest")),
            3,
        ),
        (
            UsageTable::ModelDays,
            UsageFilter::Model(text("unknown")),
            0,
        ),
        (
            UsageTable::ClientKeyHours,
            UsageFilter::ClientKey(ClientKeyId(1)),
            3,
        ),
        (
            UsageTable::UpstreamKeyDays,
            UsageFilter::UpstreamKey(UpstreamKeyId(2)),
            3,
        ),
        (
            UsageTable::UpstreamKeyDays,
            UsageFilter::Project(text("team")),
            3,
        ),
        (
            UsageTable::UpstreamKeyDays,
            UsageFilter::Project(text("7")),
            3,
        ),
        (
            UsageTable::UpstreamKeyDays,
            UsageFilter::Project(text("#1")),
            3,
        ),
        (
            UsageTable::UpstreamKeyDays,
            UsageFilter::Project(text("none")),
            0,
        ),
        (UsageTable::UpstreamKeyDays, UsageFilter::Tag(text("b")), 3),
    ] {
        let bins = sum_bins(&db.readers, table, Some(&filter), &periods(table)).await;
        let requests: u64 = bins.unwrap().iter().map(|(_, sums)| sums.requests).sum();
        assert_eq!(requests, expected, "{filter:?}");
    }
}

#[test]
fn a_part_of_a_period_has_a_part_of_its_sums() {
    let sums = UsageSums {
        requests: 100,
        cost_nano_usd: 1_000_000_000_000_000,
        ..UsageSums::default()
    };

    let half = sums.scaled(1, 2);

    assert_eq!(
        (half.requests, half.cost_nano_usd),
        (50, 500_000_000_000_000)
    );
    assert_eq!(sums.without(&half), half);
    assert_eq!(half.without(&sums), UsageSums::default());
}
