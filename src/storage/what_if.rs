//! The requests and attempts of the log for a replay with another setting.

use std::collections::HashMap;

use sqlx::SqlitePool;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use crate::pool::outcome::Outcome;
use crate::pool::quota::google_clock::{begin_of_google_day, end_of_google_day};
use crate::pool::quota::limits::ObservedLimit;
use crate::pool::quota::windows::QuotaAmount;
use crate::pool::request_id::RequestId;
use crate::pool::what_if::{
    KnownLimit, LoggedAttempt, LoggedRequest, ReplayEnd, ReplayInput, UsedBefore,
};
use crate::storage::error::Result;
use crate::storage::quotas;

/// The largest number of requests that are replayed: the latest ones.
pub const MAX_REQUESTS: u32 = 20_000;
/// How long an answer takes where none of its model is known.
const USUAL_MS: u64 = 2_000;

/// The log's part of a replay's input, and how many earlier requests of the span it leaves out.
#[derive(Debug)]
pub struct LoggedSpan {
    pub input: ReplayInput,
    pub left_out: u64,
}

/// Reads the latest requests since a time. Keys and settings are not part of it.
pub async fn load(db: &SqlitePool, since: Timestamp) -> Result<LoggedSpan> {
    let first = RequestId::first_at(since);
    let count = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!: i64"
        FROM request_logs AS r
        LEFT JOIN strings AS o ON o.id = r.operation_id
        WHERE r.id >= ?1 AND r.kind = 'request' AND r.model_id IS NOT NULL AND r.outcome IS NOT NULL
            AND coalesce(o.value, '') <> 'countTokens'
        "#,
        first,
    );
    let count = count.fetch_one(db).await?;
    let rows = sqlx::query!(
        r#"
        SELECT
            r.id AS "id!: RequestId", r.started_at_ms AS "at: Timestamp", r.client_key_id AS "client: ClientKeyId",
            m.value AS model, r.outcome AS "outcome!: Outcome", r.wait_ms AS "wait_ms: u64", r.attempts AS "attempts: u32",
            coalesce(r.duration_ms, 0) AS "duration_ms!: u64", coalesce(r.prompt_tokens, 0) AS "tokens!: i64"
        FROM request_logs AS r
        JOIN strings AS m ON m.id = r.model_id
        LEFT JOIN strings AS o ON o.id = r.operation_id
        WHERE r.id >= ?1 AND r.kind = 'request' AND r.outcome IS NOT NULL AND coalesce(o.value, '') <> 'countTokens'
        ORDER BY r.id DESC
        LIMIT ?2
        "#,
        first,
        MAX_REQUESTS,
    );
    let rows = rows.fetch_all(db).await?;
    let (mut input, mut numbers) = (ReplayInput::default(), HashMap::new());
    let mut models_of = HashMap::new();
    let read = u64::try_from(rows.len()).unwrap_or(0);
    for row in rows.into_iter().rev() {
        let Some(end) = ReplayEnd::of(row.outcome) else {
            continue;
        };
        let models = &mut input.models;
        let model = *numbers.entry(row.model).or_insert_with_key(|name| {
            models.push(name.clone());
            models.len() - 1
        });
        models_of.insert(row.id, model);
        input.requests.push(LoggedRequest {
            at: row.at,
            client: row.client.unwrap_or(ClientKeyId(0)),
            model,
            amount: QuotaAmount {
                requests: 1,
                tokens: u64::try_from(row.tokens).unwrap_or(0),
            },
            wait_ms: row.wait_ms,
            attempts: row.attempts,
            service_ms: row.duration_ms.saturating_sub(row.wait_ms),
            end,
        });
    }
    set_usual_times(&mut input);
    load_attempts(db, &mut input, &models_of).await?;
    let limits = quotas::list_limits(db).await?.into_iter();
    let limits = limits.filter_map(|known| match known.observed {
        ObservedLimit::Limit(limit) => Some(KnownLimit {
            project: known.project_id,
            model: *numbers.get(&known.model)?,
            measure: known.measure,
            limit,
        }),
        ObservedLimit::Unknown | ObservedLimit::Contradicted => None,
    });
    input.limits = limits.collect();
    load_usage(db, &mut input, &numbers).await?;
    let left_out = u64::try_from(count).unwrap_or(0).saturating_sub(read);
    Ok(LoggedSpan { input, left_out })
}

/// A request without an answer would have taken as long as the median answer of its model.
fn set_usual_times(input: &mut ReplayInput) {
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); input.models.len()];
    for request in &input.requests {
        if request.end == ReplayEnd::Answered {
            times[request.model].push(request.service_ms);
        }
    }
    for times in &mut times {
        times.sort_unstable();
    }
    for request in &mut input.requests {
        if request.end != ReplayEnd::Answered {
            let times = &times[request.model];
            request.service_ms = times.get(times.len() / 2).copied().unwrap_or(USUAL_MS);
        }
    }
}

async fn load_attempts(
    db: &SqlitePool,
    input: &mut ReplayInput,
    models_of: &HashMap<RequestId, usize>,
) -> Result<()> {
    let (first, last) = (models_of.keys().min(), models_of.keys().max());
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(());
    };
    let attempts = sqlx::query!(
        r#"
        SELECT
            request_id AS "request_id!: RequestId", project_id AS "project: ProjectId", started_at_ms AS "at: Timestamp",
            rule AS "rule!: String"
        FROM attempts
        WHERE request_id BETWEEN ?1 AND ?2 AND rule IS NOT NULL
        ORDER BY started_at_ms
        "#,
        first,
        last,
    );
    let attempts = attempts.fetch_all(db).await?.into_iter();
    let attempts = attempts.filter_map(|attempt| {
        Some(LoggedAttempt {
            at: attempt.at,
            project: attempt.project,
            model: *models_of.get(&attempt.request_id)?,
            rule: Rule::named(&attempt.rule)?,
        })
    });
    input.attempts = attempts.collect();
    Ok(())
}

/// What was used of the day of the first request before it: the day's count without that of the replayed requests.
async fn load_usage(
    db: &SqlitePool,
    input: &mut ReplayInput,
    numbers: &HashMap<String, usize>,
) -> Result<()> {
    let Some(first) = input.requests.first().map(|request| request.at) else {
        return Ok(());
    };
    let day = begin_of_google_day(first);
    let mut used: HashMap<(UpstreamKeyId, usize), QuotaAmount> = HashMap::new();
    for usage in quotas::list_usage_of_day(db, day).await? {
        if let Some(model) = numbers.get(&usage.model) {
            used.insert((usage.id, *model), usage.amount);
        }
    }
    for usage in quotas::list_usage_since(db, first, end_of_google_day(first)).await? {
        let Some(model) = numbers.get(&usage.model) else {
            continue;
        };
        if let Some(amount) = used.get_mut(&(usage.id, *model)) {
            amount.requests = amount.requests.saturating_sub(usage.amount.requests);
            amount.tokens = amount.tokens.saturating_sub(usage.amount.tokens);
        }
    }
    let used = used.into_iter().filter(|(_, amount)| amount.requests > 0);
    input.used = used
        .map(|((key, model), amount)| UsedBefore { key, model, amount })
        .collect();
    Ok(())
}
