//! `/usage`: requests, tokens and cost from the rollups, which stay when log rows are deleted.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::input::QueryOf;
use crate::api::pages::limit;
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock::Timestamp;
use crate::storage::paging::Page;
use crate::storage::rollups::begin_of_day;
use crate::storage::usage::sums::UsageSums;
use crate::storage::usage::{self, UsageGroup, UsageGrouping, UsageOrder, UsagePeriod, UsageTable};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// The longest span.
const MAX_DAYS: usize = 3_660;
/// The span of a request without one.
const DEFAULT_SPAN: Duration = Duration::from_hours(24 * 30);

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// What usage is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum UsageBy {
    ClientKey,
    Model,
    UpstreamKey,
    Project,
    Tag,
    Day,
}

/// The order of groups, largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    Cost,
    Tokens,
    Requests,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UsageParams {
    #[param(inline)]
    by: UsageBy,
    /// From this UTC day on, or for client keys from this hour on; 30 days ago without it.
    since: Option<Timestamp>,
    /// Before this time; now without it.
    until: Option<Timestamp>,
    /// Days are in their own order.
    #[param(inline)]
    order: Option<Order>,
    /// Maximum number of groups; days are not limited.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<usize>,
}

/// The sums of a group. Upstream keys, projects and tags count attempts, the others requests.
#[derive(Debug, Serialize, ToSchema)]
struct UsageAnswer {
    /// The id of a client key, upstream key or project.
    id: Option<i64>,
    /// The model, label or tag; `null`: what has none, or was removed.
    name: Option<String>,
    day: Option<Timestamp>,
    requests: u64,
    successes: u64,
    failures: u64,
    prompt_tokens: u64,
    output_tokens: u64,
    thought_tokens: u64,
    cached_tokens: u64,
    total_tokens: u64,
    cost_usd: f64,
}

impl UsageAnswer {
    fn new(id: Option<i64>, name: Option<String>, day: Option<Timestamp>, sums: UsageSums) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "JSON has no other number for an amount"
        )]
        let cost_usd = sums.cost_nano_usd as f64 / 1e9;
        Self {
            id,
            name,
            day,
            requests: sums.requests,
            successes: sums.successes,
            failures: sums.failures,
            prompt_tokens: sums.prompt_tokens,
            output_tokens: sums.output_tokens,
            thought_tokens: sums.thought_tokens,
            cached_tokens: sums.cached_tokens,
            total_tokens: sums.total_tokens,
            cost_usd,
        }
    }
}

/// Sum usage by group or day
///
/// The largest groups first; days oldest first.
#[utoipa::path(get, path = "/usage", tag = "usage", params(UsageParams),
    responses((status = 200, body = Page<UsageAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    QueryOf(params): QueryOf<UsageParams>,
) -> Result<Json<Page<UsageAnswer>>, Problem> {
    let limit = u32::try_from(limit(params.limit)?).unwrap_or(u32::MAX);
    let until = params.until.unwrap_or(caller.now);
    let since = params.since.unwrap_or(until - DEFAULT_SPAN);
    let (table, grouping) = match params.by {
        UsageBy::ClientKey => (UsageTable::ClientKeyHours, UsageGrouping::ClientKey),
        UsageBy::Model => (UsageTable::ModelDays, UsageGrouping::Model),
        UsageBy::UpstreamKey => (UsageTable::UpstreamKeyDays, UsageGrouping::UpstreamKey),
        UsageBy::Project => (UsageTable::UpstreamKeyDays, UsageGrouping::Project),
        UsageBy::Tag => (UsageTable::UpstreamKeyDays, UsageGrouping::Tag),
        UsageBy::Day => return Ok(Json(by_day(&app, since, until).await?)),
    };
    let (begin, unit) = match table {
        UsageTable::ClientKeyHours | UsageTable::ModelHours => (since.start_of_hour(), HOUR),
        UsageTable::ModelDays | UsageTable::ClientKeyDays | UsageTable::UpstreamKeyDays => {
            (begin_of_day(since), DAY)
        }
    };
    let mut periods = periods(begin, until, unit)?;
    for period in &mut periods {
        period.bin = 0;
    }
    if periods.is_empty() {
        return Ok(Json(Page::whole(Vec::new())));
    }
    let order = match params.order {
        None | Some(Order::Cost) => UsageOrder::Cost,
        Some(Order::Tokens) => UsageOrder::Tokens,
        Some(Order::Requests) => UsageOrder::Requests,
    };
    let db = &app.db.readers;
    let largest = usage::list_largest(db, table, grouping, None, &periods, (order, limit)).await?;
    let groups: Vec<_> = largest.iter().map(|(group, _)| group.clone()).collect();
    let names = usage::names::list_names(db, grouping, &groups).await?;
    let is_model = grouping == UsageGrouping::Model;
    let items = largest.into_iter().map(|(group, sums)| match group {
        UsageGroup::Id(id) => {
            // The id of a model is that of its name, which means nothing outside.
            let shown = Some(id).filter(|_| !is_model);
            UsageAnswer::new(shown, names.get(&id).cloned(), None, sums)
        }
        UsageGroup::Tag(tag) => UsageAnswer::new(None, Some(tag), None, sums),
        UsageGroup::None => UsageAnswer::new(None, None, None, sums),
    });
    Ok(Json(Page::whole(items.collect())))
}

async fn by_day(
    app: &App,
    since: Timestamp,
    until: Timestamp,
) -> Result<Page<UsageAnswer>, Problem> {
    let periods = periods(begin_of_day(since), until, DAY)?;
    if periods.is_empty() {
        return Ok(Page::whole(Vec::new()));
    }
    let bins = usage::sum_bins(&app.db.readers, UsageTable::ModelDays, None, &periods).await?;
    let items = bins.into_iter().map(|(bin, sums)| {
        let day = periods.get(bin).map(|period| period.begin);
        UsageAnswer::new(None, None, day, sums)
    });
    Ok(Page::whole(items.collect()))
}

/// The hours or days from `begin` to before `until`.
fn periods(
    begin: Timestamp,
    until: Timestamp,
    unit: Duration,
) -> Result<Vec<UsagePeriod>, Problem> {
    let (begin_ms, until_ms) = (begin.as_millis(), until.as_millis());
    let longest = i64::try_from(MAX_DAYS).unwrap_or(i64::MAX) * 86_400_000;
    if until_ms.saturating_sub(begin_ms) > longest {
        return Err(Problem::bad_request(
            "the span is longer than ten years: ask for less",
        ));
    }
    let unit_ms = usize::try_from(unit.as_millis()).unwrap_or(usize::MAX);
    let begins = (begin_ms..until_ms).step_by(unit_ms);
    let periods = begins.enumerate().map(|(bin, ms)| UsagePeriod {
        bin,
        begin: Timestamp::from_millis(ms),
    });
    Ok(periods.collect())
}
