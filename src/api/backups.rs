//! `/backups`: copies of the database.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::input::PathOf;
use crate::api::problem::Problem;
use crate::app::App;
use crate::backup_download;
use crate::pool::api_token::{ApiScope, TokenAccess};
use crate::storage::backups::{self, Backup, BackupKind};
use crate::storage::copy_encryption;
use crate::storage::paging::Page;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, delete))
        .routes(routes!(download))
}

/// List backups
///
/// Newest first.
#[utoipa::path(get, path = "/backups", tag = "backups", responses((status = 200, body = Page<Backup>)))]
async fn list(State(app): State<Arc<App>>) -> Result<Json<Page<Backup>>, Problem> {
    let database = app.db.path();
    let listed = copy_encryption::with_master_keys(database, backups::list(database)?).await;
    Ok(Json(Page::whole(listed)))
}

/// Create a backup
///
/// The answer comes when the copy is complete and checked, which takes minutes for a large database. The backup is made
/// even if the connection is closed before.
#[utoipa::path(post, path = "/backups", tag = "backups",
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 201, body = Backup), (status = 409, body = Problem, content_type = "application/problem+json",
        description = "A backup is running")))]
async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
) -> Result<Response, Problem> {
    let Some(run) = app.backups.begin(caller.now) else {
        let detail = "a backup is running: wait until it is in the list";
        return Err(Problem::conflict(detail));
    };
    let (db, actor) = (app.db.clone(), caller.actor());
    let made = tokio::spawn(async move { run.create(&db, BackupKind::Manual, &actor).await });
    let made = made.await.map_err(|error| {
        tracing::error!("a backup failed: {error}");
        let detail = "the backup failed: the log of the server says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    let made = copy_encryption::with_master_keys(app.db.path(), vec![made?]).await;
    Ok((StatusCode::CREATED, Json(&made[0])).into_response())
}

/// Get a backup
#[utoipa::path(get, path = "/backups/{name}", tag = "backups", params(("name" = String, Path)),
    responses((status = 200, body = Backup)))]
async fn get(
    State(app): State<Arc<App>>,
    PathOf(name): PathOf<String>,
) -> Result<Json<Backup>, Problem> {
    let database = app.db.path();
    let (backup, _) = backups::find(database, &name)?;
    let mut found = copy_encryption::with_master_keys(database, vec![backup]).await;
    Ok(Json(found.remove(0)))
}

/// Download a backup
///
/// It contains all keys, so the token needs write access. Each download is in the audit.
#[utoipa::path(get, path = "/backups/{name}/download", tag = "backups", params(("name" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/vnd.sqlite3")))]
async fn download(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(name): PathOf<String>,
) -> Result<Response, Problem> {
    let grant = caller.token.grant();
    grant.permits(ApiScope::Backups, TokenAccess::Write)?;
    let (actor, now) = (caller.actor(), caller.now);
    Ok(backup_download::download(&app.db, &name, &actor, now).await?)
}

/// Delete a backup
#[utoipa::path(delete, path = "/backups/{name}", tag = "backups", params(("name" = String, Path)),
    responses((status = 204)))]
async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(name): PathOf<String>,
) -> Result<StatusCode, Problem> {
    backups::delete(&app.db, &name, &caller.actor(), caller.now).await?;
    app.backups.notify_schedule_change();
    Ok(StatusCode::NO_CONTENT)
}
