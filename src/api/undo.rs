//! `/undoable-acts`: the latest acts that can be undone, and undoing one.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::input::{PathOf, QueryOf};
use crate::api::pages::limit;
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock;
use crate::pool::api_token::{ApiScope, TokenAccess};
use crate::storage::audit::{Act, Subject};
use crate::storage::paging::Page;
use crate::storage::undo::{self, UndoableAct, UndoneAct};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(undo_act))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UndoParams {
    /// Maximum number of items.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<usize>,
}

/// List the acts that can be undone
///
/// Those of the last 24 hours whose changes were not changed again since, newest first.
#[utoipa::path(get, path = "/undoable-acts", tag = "audit", params(UndoParams),
    responses((status = 200, body = Page<UndoableAct>)))]
async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    QueryOf(params): QueryOf<UndoParams>,
) -> Result<Json<Page<UndoableAct>>, Problem> {
    let limit = limit(params.limit)?;
    let acts = undo::list(&app.db.readers, caller.now, limit).await?;
    Ok(Json(Page::whole(acts)))
}

/// Get an act that can be undone
#[utoipa::path(get, path = "/undoable-acts/{id}", tag = "audit", params(("id" = i64, Path)),
    responses((status = 200, body = UndoableAct)))]
async fn get(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<i64>,
) -> Result<Json<UndoableAct>, Problem> {
    Ok(Json(undo::find(&app.db.readers, id, caller.now).await?))
}

/// Undo an act
///
/// What was changed again since stays. The token needs the scope of what is changed, too.
#[utoipa::path(post, path = "/undoable-acts/{id}/undo", tag = "audit", params(("id" = i64, Path)),
    responses((status = 200, body = UndoneAct)))]
async fn undo_act(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<i64>,
) -> Result<Json<UndoneAct>, Problem> {
    let mut tx = app.db.begin().await?;
    let undone = undo::find(&mut *tx, id, caller.now).await?;
    if let Some(scope) = scope_of(undone.subject) {
        caller.token.grant().permits(scope, TokenAccess::Write)?;
    }
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    let undone = undo::undo(&mut tx, id, &act).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    Ok(Json(undone))
}

/// The scope of the routes that change such a subject; `None`: there are none.
fn scope_of(subject: Subject) -> Option<ApiScope> {
    match subject {
        Subject::UpstreamKey => Some(ApiScope::UpstreamKeys),
        Subject::ClientKey => Some(ApiScope::ClientKeys),
        Subject::Project => Some(ApiScope::Projects),
        Subject::Setting => Some(ApiScope::Settings),
        Subject::Backup => Some(ApiScope::Backups),
        Subject::RequestLog | Subject::RequestBodies => Some(ApiScope::Logs),
        Subject::ApiToken => Some(ApiScope::Tokens),
        Subject::EgressProxy => Some(ApiScope::EgressProxies),
        Subject::AlertTarget => Some(ApiScope::Alerts),
        Subject::Admin | Subject::MasterKey => None,
    }
}
