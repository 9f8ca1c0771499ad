//! `/quota/what-if`: starts replays of the log with one setting changed.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::input::JsonBody;
use crate::api::jobs::{JobAnswer, accepted};
use crate::api::problem::Problem;
use crate::app::App;
use crate::jobs::{JobWork, WhatIfQuestion};
use crate::pool::what_if::{WhatIfChange, WhatIfSetting};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(ask_what_if))
}

/// A question to a replay of the log.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WhatIfBody {
    /// The one thing that is changed.
    setting: WhatIfSetting,
    /// Its other value: a number, or an order of keys: `one_priority`, `free_first`, `paid_first`.
    value: String,
    /// How far back the requests go: the latest 20,000 of them are replayed.
    #[serde(default = "default_hours")]
    #[schema(minimum = 1, maximum = 168)]
    hours: u32,
}

fn default_hours() -> u32 {
    24
}

/// Replay the log with one setting changed
///
/// The job's `what_if` has the figures of what happened, of a replay with the present settings, and of one with the change.
#[utoipa::path(post, path = "/quota/what-if", tag = "quota", request_body = WhatIfBody,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 202, body = JobAnswer, headers(("location" = String)))))]
async fn ask_what_if(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    JsonBody(body): JsonBody<WhatIfBody>,
) -> Result<Response, Problem> {
    let change = WhatIfChange::parse(body.setting, &body.value);
    let change = change.ok_or_else(|| Problem::invalid("value is not one of this setting"))?;
    if !(1..=168).contains(&body.hours) {
        return Err(Problem::invalid("hours must be a number from 1 to 168"));
    }
    let span = Duration::from_hours(body.hours.into());
    let work = JobWork::WhatIf(WhatIfQuestion { change, span });
    let job = app.jobs.start(work, caller.actor(), caller.now);
    Ok(accepted(&job, &JobAnswer::of(&job)))
}
