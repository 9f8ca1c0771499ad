//! `/projects`: Google projects, to which upstream keys belong.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::input::{JsonBody, PathOf, QueryOf};
use crate::api::pages::{PageQuery, limit, parse_cursor};
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock;
use crate::pool::keys::upstream_key::{Billing, ProjectId};
use crate::storage::audit::Act;
use crate::storage::paging::Page;
use crate::storage::projects::{self, ListedProject};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, update))
}

/// What can be changed of a project.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProjectBody {
    billing: Billing,
}

/// List projects that have keys
#[utoipa::path(get, path = "/projects", tag = "projects", params(PageQuery),
    responses((status = 200, body = Page<ListedProject>)))]
async fn list(
    State(app): State<Arc<App>>,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Json<Page<ListedProject>>, Problem> {
    let (limit, cursor) = (limit(query.limit)?, parse_cursor(query.cursor.as_deref())?);
    Ok(Json(projects::list(&app.db.readers, cursor, limit).await?))
}

/// Get a project
#[utoipa::path(get, path = "/projects/{id}", tag = "projects", params(("id" = ProjectId, Path)),
    responses((status = 200, body = ListedProject)))]
async fn get(
    State(app): State<Arc<App>>,
    PathOf(id): PathOf<ProjectId>,
) -> Result<Json<ListedProject>, Problem> {
    Ok(Json(projects::find_listed(&app.db.readers, id).await?))
}

/// Set the billing of a project
#[utoipa::path(patch, path = "/projects/{id}", tag = "projects", params(("id" = ProjectId, Path)),
    request_body = ProjectBody, responses((status = 200, body = ListedProject)))]
async fn update(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<ProjectId>,
    JsonBody(body): JsonBody<ProjectBody>,
) -> Result<Json<ListedProject>, Problem> {
    let mut tx = app.db.begin().await?;
    projects::find_listed(&mut *tx, id).await?;
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    projects::update_billing(&mut tx, id, body.billing, &act).await?;
    let project = projects::find_listed(&mut *tx, id).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    Ok(Json(project))
}
