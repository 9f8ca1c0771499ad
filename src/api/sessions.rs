//! `/sessions`: signed-in browsers of admins.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::input::{PathOf, QueryOf};
use crate::api::pages::{ListOrder, PageQuery, page_of};
use crate::api::problem::Problem;
use crate::app::App;
use crate::storage::audit::Act;
use crate::storage::error::{Error, Thing};
use crate::storage::paging::Page;
use crate::storage::sign_ins::{self, AdminSignIn, SignInId};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(end))
}

/// List the sessions of all admins
#[utoipa::path(get, path = "/sessions", tag = "sessions", params(PageQuery),
    responses((status = 200, body = Page<AdminSignIn>)))]
async fn list(
    State(app): State<Arc<App>>,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Json<Page<AdminSignIn>>, Problem> {
    let sessions = sign_ins::list_all(&app.db.readers).await?;
    let page = page_of(sessions, &query, ListOrder::NewestFirst, |session| {
        session.id.0
    })?;
    Ok(Json(page))
}

/// End a session
#[utoipa::path(delete, path = "/sessions/{id}", tag = "sessions", params(("id" = SignInId, Path)),
    responses((status = 204)))]
async fn end(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<SignInId>,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin().await?;
    let (admin, _) = sign_ins::find_admin(&mut *tx, id)
        .await?
        .ok_or_else(|| Error::NotFound(Thing::Session, id.0.to_string()))?;
    let act = Act::without_revision(caller.actor(), caller.now);
    sign_ins::delete(&mut tx, admin.id, id, &act).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
