//! Checks that log rows, rollups and statistics agree. Only reads.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection, SqlitePool};

use crate::storage::error::Result;
use crate::storage::key_index;

/// A counter that differs between tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inconsistency {
    /// The count and the key or model it belongs to.
    pub counter: String,
    /// The value computed from the source rows.
    pub from_rows: i64,
    pub from_statistics: i64,
}

#[expect(
    clippy::too_many_lines,
    reason = "one statement, which is easier to check whole"
)]
/// Compares rollups with their rows, as far as those are not pruned, and statistics with the rollups. Empty when all agree.
pub async fn find_inconsistencies(db: &SqlitePool) -> Result<Vec<Inconsistency>> {
    // One snapshot: requests are recorded meanwhile.
    let mut snapshot = db.begin().await?;
    // Not materialized: a copy of millions of rows would be in memory.
    let rows = sqlx::query!(
        r#"
        WITH pruned AS (
            SELECT until_ms FROM log_pruning
        ),
        pruned_days AS (
            SELECT DISTINCT hour_ms - hour_ms % 86400000 AS day_ms FROM pruned_hours
        ),
        finished AS NOT MATERIALIZED (
            SELECT * FROM request_logs WHERE kind = 'request' AND outcome IS NOT NULL
        ),
        attempts_of_whole_days AS NOT MATERIALIZED (
            SELECT
                a.upstream_key_id, a.egress_id, a.outcome, f.prompt_tokens, f.output_tokens, f.total_tokens, f.cost_nano_usd,
                a.number = f.attempts AS is_last
            FROM attempts AS a
            JOIN finished AS f ON f.id = a.request_id
            WHERE
                a.started_at_ms - a.started_at_ms % 86400000 > (SELECT until_ms FROM pruned)
                AND a.started_at_ms - a.started_at_ms % 86400000 NOT IN (SELECT day_ms FROM pruned_days)
        ),
        from_rows AS (
            SELECT 'upstream key ' || upstream_key_id AS counter, sum(requests) AS requests, sum(successes) AS successes,
                sum(failures) AS failures, sum(prompt_tokens) AS prompt_tokens, sum(output_tokens) AS output_tokens,
                sum(total_tokens) AS total_tokens
            FROM upstream_key_days
            GROUP BY upstream_key_id
            UNION ALL
            SELECT 'days of upstream key ' || upstream_key_id, count(*), sum(outcome = 'success'),
                sum(outcome NOT IN ('success', 'client_error', 'refused', 'client_gone')),
                sum(iif(is_last, ifnull(prompt_tokens, 0), 0)), sum(iif(is_last, ifnull(output_tokens, 0), 0)),
                sum(iif(is_last, ifnull(total_tokens, 0), 0))
            FROM attempts_of_whole_days
            GROUP BY upstream_key_id
            UNION ALL
            SELECT 'days of egress proxy ' || egress_id, count(*), 0, sum(outcome = 'network'), 0, 0, 0
            FROM attempts_of_whole_days
            WHERE egress_id IS NOT NULL
            GROUP BY egress_id
            UNION ALL
            SELECT 'client key ' || client_key_id, sum(requests), sum(successes), sum(failures), sum(prompt_tokens),
                sum(output_tokens), sum(total_tokens)
            FROM client_key_hours
            WHERE client_key_id <> 0
            GROUP BY client_key_id
        ),
        from_statistics AS (
            SELECT 'upstream key ' || id AS counter, requests, successes, failures, prompt_tokens, output_tokens,
                total_tokens
            FROM upstream_keys
            WHERE requests > 0
            UNION ALL
            SELECT 'days of upstream key ' || upstream_key_id, sum(requests), sum(successes), sum(failures),
                sum(prompt_tokens), sum(output_tokens), sum(total_tokens)
            FROM upstream_key_days
            WHERE day_ms > (SELECT until_ms FROM pruned) AND day_ms NOT IN (SELECT day_ms FROM pruned_days)
            GROUP BY upstream_key_id
            UNION ALL
            SELECT 'days of egress proxy ' || egress_proxy_id, sum(attempts), 0, sum(failures), 0, 0, 0
            FROM egress_proxy_days
            WHERE day_ms > (SELECT until_ms FROM pruned) AND day_ms NOT IN (SELECT day_ms FROM pruned_days)
            GROUP BY egress_proxy_id
            UNION ALL
            SELECT 'client key ' || id, requests, successes, failures, prompt_tokens, output_tokens, total_tokens
            FROM client_keys
            WHERE requests > 0
        ),
        -- Grouped, not joined: a full join compares every counter of one side with every one of the other.
        sides AS (
            SELECT
                counter,
                requests AS row_requests, successes AS row_successes, failures AS row_failures,
                prompt_tokens AS row_prompt_tokens, output_tokens AS row_output_tokens, total_tokens AS row_total_tokens,
                0 AS requests, 0 AS successes, 0 AS failures, 0 AS prompt_tokens, 0 AS output_tokens, 0 AS total_tokens
            FROM from_rows
            UNION ALL
            SELECT
                counter, 0, 0, 0, 0, 0, 0, requests, successes, failures, prompt_tokens, output_tokens, total_tokens
            FROM from_statistics
        )
        SELECT
            counter AS "counter!: String",
            sum(row_requests) AS "row_requests!: i64", sum(requests) AS "requests!: i64",
            sum(row_successes) AS "row_successes!: i64", sum(successes) AS "successes!: i64",
            sum(row_failures) AS "row_failures!: i64", sum(failures) AS "failures!: i64",
            sum(row_prompt_tokens) AS "row_prompt_tokens!: i64", sum(prompt_tokens) AS "prompt_tokens!: i64",
            sum(row_output_tokens) AS "row_output_tokens!: i64", sum(output_tokens) AS "output_tokens!: i64",
            sum(row_total_tokens) AS "row_total_tokens!: i64", sum(total_tokens) AS "total_tokens!: i64"
        FROM sides
        GROUP BY counter
        HAVING
            sum(row_requests) <> sum(requests) OR sum(row_successes) <> sum(successes)
            OR sum(row_failures) <> sum(failures) OR sum(row_prompt_tokens) <> sum(prompt_tokens)
            OR sum(row_output_tokens) <> sum(output_tokens) OR sum(row_total_tokens) <> sum(total_tokens)
        ORDER BY 1
        "#,
    );
    let rows = rows.fetch_all(&mut *snapshot).await?;
    let found = rows.into_iter().flat_map(|row| {
        let counts = [
            ("requests", row.row_requests, row.requests),
            ("successes", row.row_successes, row.successes),
            ("failures", row.row_failures, row.failures),
            ("prompt tokens", row.row_prompt_tokens, row.prompt_tokens),
            ("output tokens", row.row_output_tokens, row.output_tokens),
            ("total tokens", row.row_total_tokens, row.total_tokens),
        ];
        let differ = counts
            .into_iter()
            .filter(|(_, from_rows, from_statistics)| from_rows != from_statistics);
        let counter = row.counter;
        differ
            .map(|(count, from_rows, from_statistics)| Inconsistency {
                counter: format!("{count} of {counter}"),
                from_rows,
                from_statistics,
            })
            .collect::<Vec<_>>()
    });
    let mut found: Vec<_> = found.collect();
    for rollups in &ROLLUPS {
        found.extend(compare_sums(&mut snapshot, rollups).await?);
    }
    let differences = key_index::count_differences(&mut *snapshot).await?;
    if differences > 0 {
        found.push(Inconsistency {
            counter: "entries in the indexes of keys and projects that differ from the attempts"
                .to_owned(),
            from_rows: 0,
            from_statistics: differences,
        });
    }
    found.extend(compare_counter(&mut snapshot).await?);
    Ok(found)
}

/// Counts the finished rows, which limits of the log take from their counter.
async fn compare_counter(db: &mut SqliteConnection) -> Result<Option<Inconsistency>> {
    let counts = sqlx::query!(
        r#"
        SELECT (SELECT count(*) FROM request_logs WHERE outcome IS NOT NULL) AS "rows!: i64", finished_rows
        FROM log_counter
        "#,
    );
    let counts = counts.fetch_one(db).await?;
    let differ = counts.rows != counts.finished_rows;
    Ok(differ.then(|| Inconsistency {
        counter: "finished rows of the log".to_owned(),
        from_rows: counts.rows,
        from_statistics: counts.finished_rows,
    }))
}

/// A table of rollups by requests.
struct RollupTable {
    name: &'static str,
    /// The column of the period's start, and the period.
    begin: &'static str,
    period_ms: i64,
    /// The column of the key, and its value in a row of the log.
    key: &'static str,
    key_of_row: &'static str,
    outcome: &'static str,
    /// Whether it counts successes, failures, and the requests that were sent, in place of outcomes.
    is_by_client: bool,
    has_sketches: bool,
}

const MODEL_OF_ROW: &str = "coalesce(rollup_model_id, model_id, 0)";

const ROLLUPS: [RollupTable; 4] = [
    RollupTable {
        name: "model_hours",
        begin: "hour_ms",
        period_ms: 3_600_000,
        key: "model_id",
        key_of_row: MODEL_OF_ROW,
        outcome: "outcome",
        is_by_client: false,
        has_sketches: true,
    },
    RollupTable {
        name: "model_days",
        begin: "day_ms",
        period_ms: 86_400_000,
        key: "model_id",
        key_of_row: MODEL_OF_ROW,
        outcome: "outcome",
        is_by_client: false,
        has_sketches: true,
    },
    RollupTable {
        name: "client_key_hours",
        begin: "hour_ms",
        period_ms: 3_600_000,
        key: "client_key_id",
        key_of_row: "ifnull(client_key_id, 0)",
        outcome: "''",
        is_by_client: true,
        has_sketches: true,
    },
    RollupTable {
        name: "client_key_days",
        begin: "day_ms",
        period_ms: 86_400_000,
        key: "client_key_id",
        key_of_row: "ifnull(client_key_id, 0)",
        outcome: "''",
        is_by_client: true,
        has_sketches: false,
    },
];

/// A count of a rollup.
struct CountedColumn {
    name: &'static str,
    of_row: String,
    of_rollup: String,
}

/// Every sum of a rollup, and the number of durations in its sketches: a sketch has no exact durations.
fn counted_columns(table: &RollupTable) -> Vec<CountedColumn> {
    let sums = [
        "prompt_tokens",
        "output_tokens",
        "thought_tokens",
        "cached_tokens",
        "tool_tokens",
        "total_tokens",
        "cost_nano_usd",
    ];
    let sums = sums.map(|name| (name, format!("ifnull({name}, 0)"), name.to_owned()));
    let sketches = ["first_byte", "duration"].map(|name| {
        // One or several JSON objects, one after the other.
        let objects = format!("'[' || replace({name}_sketch, '}}{{', '}},{{') || ']'");
        let counts = format!("SELECT ifnull(sum(atom), 0) FROM json_tree({objects})");
        let durations = format!("({counts})");
        (name, format!("{name}_ms IS NOT NULL"), durations)
    });
    let sketches = sketches.into_iter().filter(|_| table.has_sketches);
    let requests = ("requests", "1".to_owned(), "requests".to_owned());
    let sent = (
        "sent_requests",
        "(attempts > 0)".to_owned(),
        "sent_requests".to_owned(),
    );
    // Rollups by outcome need neither.
    let results = [
        ("successes", "(outcome = 'success')"),
        (
            "failures",
            "(outcome NOT IN ('success', 'client_error', 'refused', 'client_gone'))",
        ),
    ];
    let results = results.map(|(name, of_row)| (name, of_row.to_owned(), name.to_owned()));
    let of_clients = std::iter::once(sent).chain(results);
    let of_clients = of_clients.filter(|_| table.is_by_client);
    let retried = (
        "retried_successes",
        "(outcome = 'success' AND attempts > 1)".to_owned(),
        "retried_successes".to_owned(),
    );
    let columns = [requests, retried].into_iter().chain(sums).chain(sketches);
    let columns = columns.chain(of_clients);
    let columns = columns.map(|(name, of_row, of_rollup)| CountedColumn {
        name,
        of_row,
        of_rollup,
    });
    columns.collect()
}

/// Compares each sum of each key and outcome. Not checked macros: the columns are too many to be written twice.
async fn compare_sums(
    db: &mut SqliteConnection,
    table: &RollupTable,
) -> Result<Vec<Inconsistency>> {
    let columns = counted_columns(table);
    let RollupTable {
        name,
        begin,
        period_ms,
        key,
        key_of_row,
        outcome,
        is_by_client: _,
        has_sketches: _,
    } = table;
    // The begins of periods of which rows were deleted.
    let pruned = format!("SELECT hour_ms - hour_ms % {period_ms} FROM pruned_hours");
    let sums = |values: Vec<&String>| {
        let sums = values.into_iter().map(|value| format!("sum({value})"));
        sums.collect::<Vec<_>>().join(", ")
    };
    let from_rows = format!(
        "
        SELECT {key_of_row}, {outcome}, {}
        FROM request_logs
        WHERE
            kind = 'request' AND outcome IS NOT NULL
            AND started_at_ms - started_at_ms % {period_ms} > (SELECT until_ms FROM log_pruning)
            AND started_at_ms - started_at_ms % {period_ms} NOT IN ({pruned})
        GROUP BY 1, 2
        ",
        sums(columns.iter().map(|column| &column.of_row).collect())
    );
    let from_rollups = format!(
        "
        SELECT {key}, {outcome}, {}
        FROM {name}
        WHERE {begin} > (SELECT until_ms FROM log_pruning) AND {begin} NOT IN ({pruned})
        GROUP BY 1, 2
        ",
        sums(columns.iter().map(|column| &column.of_rollup).collect())
    );
    let mut by_key: BTreeMap<(i64, String), [Vec<i64>; 2]> = BTreeMap::new();
    for (side, sql) in [from_rows, from_rollups].into_iter().enumerate() {
        for row in sqlx::query(&sql).fetch_all(&mut *db).await? {
            let values = (2..columns.len() + 2).map(|index| row.try_get(index));
            let values = values.collect::<sqlx::Result<Vec<i64>>>()?;
            by_key
                .entry((row.try_get(0)?, row.try_get(1)?))
                .or_default()[side] = values;
        }
    }
    let mut found = Vec::new();
    for ((id, outcome), [rows, rollups]) in by_key {
        for (index, CountedColumn { name: column, .. }) in columns.iter().enumerate() {
            let value = |sums: &[i64]| sums.get(index).copied().unwrap_or(0);
            if value(&rows) != value(&rollups) {
                found.push(Inconsistency {
                    counter: format!("{column} of {outcome} {key} {id} in {name}"),
                    from_rows: value(&rows),
                    from_statistics: value(&rollups),
                });
            }
        }
    }
    Ok(found)
}
