//! `/quota`, `/capacity` and `/models`: quota windows of projects, what is left for a model, and the models with their
//! availability, from the running server.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::input::QueryOf;
use crate::api::pages::{limit, parse_cursor};
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock::Timestamp;
use crate::gemini::prices;
use crate::pool::keys::key_status::LimitSource;
use crate::pool::keys::overview::ModelAvailability;
use crate::pool::keys::project_quota::{ModelCapacity, ProjectWindow};
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::model_prices::ModelPrices;
use crate::pool::quota::limits::Measure;
use crate::storage::model_lists::{self, OfferedModels};
use crate::storage::paging::Page;
use crate::storage::request_logs::listed::list_models;

/// Age of the oldest requests whose models are listed.
const MODELS_OF: std::time::Duration = std::time::Duration::from_hours(24 * 30);

/// Routes with the scope `quota`.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(capacity))
}

/// Routes with the scope `models`.
pub fn model_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(models))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct QuotaParams {
    /// The name or number of a project.
    project: Option<String>,
    model: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Maximum number of projects.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<usize>,
}

/// Usage and limit of a running minute or day.
#[derive(Debug, Serialize, ToSchema)]
struct QuotaAnswer {
    project_id: ProjectId,
    project: Option<String>,
    /// `null`: all models together, limited by a setting.
    model: Option<String>,
    measure: Measure,
    used: u64,
    /// `null`: unknown.
    limit: Option<u64>,
    /// `named`: by Google for this project; `inherited`: from projects with the same billing; `contradicted`: more was
    /// used than that; `setting`: by an admin; `unknown`.
    source: &'static str,
    /// When the present usage no longer counts; `null`: no usage.
    resets_at: Option<Timestamp>,
}

impl From<ProjectWindow> for QuotaAnswer {
    fn from(window: ProjectWindow) -> Self {
        Self {
            project_id: window.project_id,
            project: window.project,
            model: window.model,
            measure: window.status.measure,
            used: window.status.used,
            limit: window.status.limit,
            source: match window.status.source {
                LimitSource::Named => "named",
                LimitSource::Inherited => "inherited",
                LimitSource::Contradicted => "contradicted",
                LimitSource::Unknown => "unknown",
                LimitSource::Setting => "setting",
            },
            resets_at: window.status.resets_at,
        }
    }
}

/// List quota windows of projects and models
///
/// Those with usage or a known limit, by project.
#[utoipa::path(get, path = "/quota", tag = "quota", params(QuotaParams),
    responses((status = 200, body = Page<QuotaAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    QueryOf(params): QueryOf<QuotaParams>,
) -> Result<Json<Page<QuotaAnswer>>, Problem> {
    let limit = limit(params.limit)?;
    let after: Option<i64> = parse_cursor(params.cursor.as_deref())?;
    let (project, model) = (params.project.as_deref(), params.model.as_deref());
    let page = app
        .keys
        .project_windows(project, after.map(ProjectId), limit, caller.now);
    let items = page.windows.into_iter();
    let items = items.filter(|window| model.is_none() || window.model.as_deref() == model);
    Ok(Json(Page {
        items: items.map(QuotaAnswer::from).collect(),
        next: page.next.map(|id| id.0.to_string()),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CapacityParams {
    model: String,
}

/// What the pool can still do with a model.
#[derive(Debug, Serialize, ToSchema)]
struct CapacityAnswer {
    model: String,
    /// Keys that can serve it now.
    usable: usize,
    /// Keys that cool down for it.
    cooling_down: usize,
    /// When the first of them can serve it again; `null`: none cools down.
    soonest_at: Option<Timestamp>,
    /// Until when the model is paused because Google is overloaded.
    overloaded_until: Option<Timestamp>,
    /// Until when Google throttles the address of this server.
    address_throttled_until: Option<Timestamp>,
    /// When Google's day ends, and its daily quotas with it.
    day_ends_at: Timestamp,
    /// An estimate of the requests left until then, in projects whose daily limit is known.
    requests_left: u64,
    /// The same for input tokens.
    tokens_left: u64,
    /// Projects with a usable key whose daily limit is unknown, and which may serve more.
    projects_without_limit: usize,
}

/// Get the capacity for a model
#[utoipa::path(get, path = "/capacity", tag = "quota", params(CapacityParams),
    responses((status = 200, body = CapacityAnswer)))]
async fn capacity(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    QueryOf(params): QueryOf<CapacityParams>,
) -> Json<CapacityAnswer> {
    let overview = app.overview(caller.now).await;
    let ModelAvailability {
        usable,
        cooling_down,
        next_ready_at,
        overloaded_until,
    } = overview.model(&params.model);
    let ModelCapacity {
        requests_left,
        tokens_left,
        projects_without_limit,
        day_ends_at,
    } = app.keys.model_capacity(&params.model, caller.now);
    let soonest = [next_ready_at, overview.next_ready_at];
    Json(CapacityAnswer {
        usable,
        cooling_down,
        soonest_at: soonest.into_iter().flatten().min(),
        overloaded_until,
        address_throttled_until: overview.address_throttled_until,
        day_ends_at,
        requests_left,
        tokens_left,
        projects_without_limit,
        model: params.model,
    })
}

/// A model that a project lists, that was used in the last thirty days, or that the running server keeps apart.
#[derive(Debug, Serialize, ToSchema)]
struct ModelAnswer {
    model: String,
    /// How many projects list it. `null`: no list was read yet.
    projects: Option<u64>,
    /// What the lists say of it; `null`: nothing.
    display_name: Option<String>,
    input_token_limit: Option<u32>,
    output_token_limit: Option<u32>,
    /// As in `generateContent`.
    methods: Option<Vec<String>>,
    price: Option<ModelPriceAnswer>,
    /// Keys that can serve it now.
    usable: usize,
    /// Keys that cool down for it.
    cooling_down: usize,
    /// When the first of them can serve it again.
    next_ready_at: Option<Timestamp>,
    /// Until when it is paused because Google is overloaded.
    overloaded_until: Option<Timestamp>,
}

/// The price of a million tokens, in dollars.
#[derive(Debug, Serialize, ToSchema)]
struct ModelPriceAnswer {
    input_usd: f64,
    /// `null`: no output is billed.
    output_usd: Option<f64>,
    /// The date of Google's list price; `null`: a price of the setting `model_prices`.
    as_of: Option<String>,
}

impl ModelPriceAnswer {
    fn of(own: &ModelPrices, model: &str, now: Timestamp) -> Option<Self> {
        if let Some(own) = own.find(model) {
            return Some(Self {
                input_usd: dollars(own.input_nano_usd),
                output_usd: Some(dollars(own.output_nano_usd)),
                as_of: None,
            });
        }
        let listed = prices::list_price(model, now)?;
        Some(Self {
            input_usd: dollars(listed.input_nano_usd),
            output_usd: listed.output_nano_usd.map(dollars),
            as_of: Some(prices::as_of().to_owned()),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a price has few digits")]
fn dollars(nano_usd: u64) -> f64 {
    nano_usd as f64 / 1e9
}

/// List models
#[utoipa::path(get, path = "/models", tag = "models", responses((status = 200, body = Page<ModelAnswer>)))]
async fn models(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
) -> Result<Json<Page<ModelAnswer>>, Problem> {
    let overview = app.overview(caller.now).await;
    let mut names = list_models(&app.db.readers, caller.now - MODELS_OF).await?;
    names.extend(overview.models.keys().cloned());
    let OfferedModels {
        models: mut offered,
        listed_projects,
        ..
    } = model_lists::offered(&app.db.readers).await?;
    names.extend(offered.keys().cloned());
    let own = app.settings().model_prices.clone();
    names.sort_unstable();
    names.dedup();
    let models = names.into_iter().map(|model| {
        let availability = overview.model(&model);
        let listed = offered.remove(&model);
        let count = listed.as_ref().map_or(0, |listed| listed.projects);
        let listed = listed.map(|listed| listed.model);
        ModelAnswer {
            projects: (listed_projects > 0).then_some(count),
            display_name: listed.as_ref().map(|listed| listed.display_name.clone()),
            input_token_limit: listed.as_ref().and_then(|listed| listed.input_token_limit),
            output_token_limit: listed.as_ref().and_then(|listed| listed.output_token_limit),
            methods: listed.map(|listed| listed.methods),
            price: ModelPriceAnswer::of(&own, &model, caller.now),
            model,
            usable: availability.usable,
            cooling_down: availability.cooling_down,
            next_ready_at: availability.next_ready_at,
            overloaded_until: availability.overloaded_until,
        }
    });
    Ok(Json(Page::whole(models.collect())))
}
