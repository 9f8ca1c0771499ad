//! `/jobs`: the progress and results of background jobs: imports, tests, changes of many keys, undoing them, and
//! replays.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::input::PathOf;
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock::Timestamp;
use crate::jobs::{Job, JobKind, TestedKey};
use crate::pool::api_token::{ApiScope, NotPermitted, TokenAccess};
use crate::pool::what_if::WhatIfResult;
use crate::storage::error::{Error, Thing};
use crate::storage::paging::Page;
use crate::storage::upstream_keys::change::KeyChange;

/// A job and its progress.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobAnswer {
    /// Valid until the server stops, or fifty later jobs have ended.
    id: String,
    /// `import`, `test`, `enable`, `disable`, `clear`, `delete`, `restore`, `update`, `undo` or `what_if`.
    kind: &'static str,
    actor: String,
    started_at: Timestamp,
    /// The number of keys to process, and of those processed; of a replay, 100 and the per cent done.
    total: usize,
    done: usize,
    ended: bool,
    /// The error that ended it early.
    failed: Option<String>,
    /// Keys that changed.
    changed: usize,
    /// Of an import.
    new: usize,
    restored: usize,
    known: usize,
    /// With `compare`: known keys whose attributes differ from those of the import, and stay.
    differing: usize,
    /// Of a restore: keys whose secrets are erased.
    wiped: usize,
    /// Of `clear`: the states and the cooldowns that there were.
    cleared_states: usize,
    cleared_cooldowns: usize,
    /// Of a test.
    alive: usize,
    refused: usize,
    unclear: usize,
    /// Of a test, failed ones first, at most 200.
    results: Vec<TestedKey>,
    /// Of a replay of the log, when it has ended.
    what_if: Option<WhatIfResult>,
}

impl JobAnswer {
    pub fn of(job: &Job) -> Self {
        let progress = job.progress();
        Self {
            id: format!("{:016x}", job.id),
            kind: kind(&job.kind),
            actor: job.actor.name.clone(),
            started_at: job.started_at,
            total: job.total,
            done: progress.done,
            ended: progress.ended,
            failed: progress.failed,
            changed: progress.changed,
            new: progress.new,
            restored: progress.restored,
            known: progress.known,
            differing: progress.differing,
            wiped: progress.wiped,
            cleared_states: progress.cleared_states,
            cleared_cooldowns: progress.cleared_cooldowns,
            alive: progress.alive,
            refused: progress.refused,
            unclear: progress.unclear,
            results: progress.results,
            what_if: progress.what_if,
        }
    }
}

fn kind(kind: &JobKind) -> &'static str {
    match kind {
        JobKind::Test => "test",
        JobKind::Import => "import",
        JobKind::Undo => "undo",
        JobKind::WhatIf(_) => "what_if",
        JobKind::Change(KeyChange::Enable) => "enable",
        JobKind::Change(KeyChange::Disable) => "disable",
        JobKind::Change(KeyChange::Clear) => "clear",
        JobKind::Change(KeyChange::Delete) => "delete",
        JobKind::Change(KeyChange::Restore) => "restore",
        JobKind::Change(KeyChange::Update { .. }) => "update",
    }
}

/// The answer that a job was started.
pub fn accepted(job: &Job, answer: &impl Serialize) -> Response {
    let location = format!("/api/v1/jobs/{:016x}", job.id);
    (StatusCode::ACCEPTED, [(LOCATION, location)], Json(answer)).into_response()
}

/// Jobs have the scope of what they do, which the handlers check.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
}

/// The scope of a job.
fn scope(job: &Job) -> ApiScope {
    match job.kind {
        JobKind::Test => ApiScope::Checks,
        JobKind::Import | JobKind::Change(_) | JobKind::Undo => ApiScope::UpstreamKeys,
        JobKind::WhatIf(_) => ApiScope::Quota,
    }
}

/// Refuses tokens that may read no job.
fn check_any_scope(caller: &ApiCaller) -> Result<(), NotPermitted> {
    let grant = caller.token.grant();
    let read = |scope| grant.permits(scope, TokenAccess::Read);
    read(ApiScope::Checks)
        .or_else(|_| read(ApiScope::UpstreamKeys))
        .or_else(|_| read(ApiScope::Quota))
}

/// List the jobs that run or wait
#[utoipa::path(get, path = "/jobs", tag = "jobs", responses((status = 200, body = Page<JobAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
) -> Result<Json<Page<JobAnswer>>, Problem> {
    check_any_scope(&caller)?;
    let grant = caller.token.grant();
    let running = app.jobs.running();
    let readable = running
        .iter()
        .filter(|job| grant.permits(scope(job), TokenAccess::Read).is_ok());
    let items = readable.map(|job| JobAnswer::of(job)).collect();
    Ok(Json(Page::whole(items)))
}

/// Get a job and its progress
#[utoipa::path(get, path = "/jobs/{id}", tag = "jobs",
    params(("id" = String, Path, description = "As the answer that started it names it")),
    responses((status = 200, body = JobAnswer)))]
async fn get(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<String>,
) -> Result<Json<JobAnswer>, Problem> {
    check_any_scope(&caller)?;
    let job = u64::from_str_radix(&id, 16).ok();
    let job = job.and_then(|id| app.jobs.find(id));
    let job = job.ok_or(Error::NotFound(Thing::Job, id))?;
    caller
        .token
        .grant()
        .permits(scope(&job), TokenAccess::Read)?;
    Ok(Json(JobAnswer::of(&job)))
}
