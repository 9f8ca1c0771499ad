//! `/upstream-keys`: the Google keys of the pool.

pub mod input;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::etag::{check_match, etag_of, tagged};
use crate::api::input::{JsonBody, PathOf, QueryOf};
use crate::api::jobs::{JobAnswer, accepted};
use crate::api::pages::{limit, parse_cursor};
use crate::api::problem::Problem;
use crate::api::upstream_keys::input::{
    BulkBody, ImportBody, KeyAttributesBody, KeyListParams, KeySelection, TestBody,
};
use crate::app::App;
use crate::clock;
use crate::jobs::{JobWork, KnownKeys};
use crate::key_list;
use crate::pool::keys::import::Expected;
use crate::pool::keys::imported_keys::{self, KeyImport, NotTaken};
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::storage::audit::Act;
use crate::storage::error::{Error, Thing};
use crate::storage::paging::Page;
use crate::storage::upstream_keys::change::{self, KeyChange};
use crate::storage::upstream_keys::imported;
use crate::storage::upstream_keys::listed::{self, ListedUpstreamKey};
use crate::storage::upstream_keys::removal::{self, SecretStatus};

/// Entries that were not taken, listed in an answer.
const MAX_NOT_TAKEN: usize = 100;

/// Routes with the scope `upstream-keys`.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, import_keys))
        .routes(routes!(bulk))
        .routes(routes!(get, update, delete))
        .routes(routes!(enable))
        .routes(routes!(disable))
        .routes(routes!(clear))
        .routes(routes!(restore))
}

/// Routes with the scope `checks`.
pub fn check_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(test_many))
        .routes(routes!(test))
}

/// List keys
///
/// With their state in the running server.
#[utoipa::path(get, path = "/upstream-keys", tag = "upstream keys", params(KeyListParams),
    responses((status = 200, body = Page<ListedUpstreamKey>)))]
async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    QueryOf(params): QueryOf<KeyListParams>,
) -> Result<Json<Page<ListedUpstreamKey>>, Problem> {
    let limit = limit(params.limit)?;
    let cursor: Option<KeyCursor> = parse_cursor(params.cursor.as_deref())?;
    let query = params.query()?;
    let ids = key_list::find(&app.db.readers, &app.keys, &query, caller.now)
        .await?
        .ids;
    let first = cursor.map_or(0, |cursor| cursor.next_index(&ids));
    let ids = ids.get(first..).unwrap_or_default();
    let shown = &ids[..ids.len().min(limit)];
    let items = read_keys(&app, shown, &caller).await?;
    let next = shown.last().filter(|_| ids.len() > limit);
    let next = next.map(|id| format!("{}-{}", first + limit, id.0));
    Ok(Json(Page { items, next }))
}

/// The place of the last key of a page: a list in another order than that of the ids has no other.
struct KeyCursor {
    index: usize,
    id: UpstreamKeyId,
}

impl std::str::FromStr for KeyCursor {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (index, id) = text.split_once('-').unwrap_or((text, ""));
        Ok(Self {
            index: index.parse()?,
            id: UpstreamKeyId(id.parse()?),
        })
    }
}

impl KeyCursor {
    /// Where the list continues, also if keys before it were added or removed.
    fn next_index(&self, ids: &[UpstreamKeyId]) -> usize {
        let is_there = self.index > 0 && ids.get(self.index - 1) == Some(&self.id);
        if is_there {
            return self.index;
        }
        let moved = ids.iter().position(|id| *id == self.id);
        moved.map_or(self.index, |position| position + 1)
    }
}

/// The keys in the order of the ids, with their state in the running server.
async fn read_keys(
    app: &App,
    ids: &[UpstreamKeyId],
    caller: &ApiCaller,
) -> Result<Vec<ListedUpstreamKey>, Problem> {
    let mut rows = listed::list_these(&app.db.readers, ids, caller.now).await?;
    let positions: std::collections::HashMap<_, _> = ids
        .iter()
        .enumerate()
        .map(|(index, id)| (*id, index))
        .collect();
    rows.sort_by_key(|row| positions.get(&row.id).copied());
    let keys = app.keys.lock();
    for row in &mut rows {
        if let Some(status) = keys.key_status(row.id, caller.now) {
            key_list::show_status(row, &status);
        }
    }
    drop(keys);
    Ok(rows)
}

async fn read_key(
    app: &App,
    id: UpstreamKeyId,
    caller: &ApiCaller,
) -> Result<ListedUpstreamKey, Problem> {
    let found = read_keys(app, &[id], caller).await?.pop();
    found.ok_or_else(|| Error::NotFound(Thing::UpstreamKey, id.0.to_string()).into())
}

/// The tag of what a PATCH, `enable` and `disable` change.
fn etag(key: &ListedUpstreamKey) -> String {
    etag_of(&json!([
        key.label,
        key.project,
        key.billing,
        key.priority,
        key.weight,
        key.tags,
        key.enabled,
    ]))
}

/// Get a key
#[utoipa::path(get, path = "/upstream-keys/{id}", tag = "upstream keys",
    params(("id" = UpstreamKeyId, Path)),
    responses((status = 200, body = ListedUpstreamKey, headers(("etag" = String)))))]
async fn get(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<UpstreamKeyId>,
) -> Result<Response, Problem> {
    let key = read_key(&app, id, &caller).await?;
    Ok(tagged(&key, &etag(&key)))
}

/// Change the attributes of a key
#[utoipa::path(patch, path = "/upstream-keys/{id}", tag = "upstream keys",
    params(("id" = UpstreamKeyId, Path), ("if-match" = Option<String>, Header, description = "Change it only if it still has this ETag")),
    request_body = KeyAttributesBody,
    responses((status = 200, body = ListedUpstreamKey, headers(("etag" = String)))))]
async fn update(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<UpstreamKeyId>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<KeyAttributesBody>,
) -> Result<Response, Problem> {
    let change = KeyChange::Update {
        attributes: body.attributes()?,
        add_tags: Vec::new(),
        remove_tags: Vec::new(),
    };
    change_one(&app, &caller, id, &headers, &change).await?;
    let key = read_key(&app, id, &caller).await?;
    Ok(tagged(&key, &etag(&key)))
}

/// Changes one key at once, without waiting for the jobs of others.
async fn change_one(
    app: &App,
    caller: &ApiCaller,
    id: UpstreamKeyId,
    headers: &HeaderMap,
    change: &KeyChange,
) -> Result<(), Problem> {
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    if *change != KeyChange::Restore {
        let found = listed::list_these(&mut *tx, &[id], caller.now).await?.pop();
        let key = found.ok_or_else(|| Error::NotFound(Thing::UpstreamKey, id.0.to_string()))?;
        check_match(headers, &etag(&key))?;
    }
    let counts = change::apply(&mut tx, &[id], change, &act).await?;
    if *change == KeyChange::Restore && counts.changed == 0 {
        let detail = format!(
            "upstream key {} is not deleted, or its secret was erased 24 hours after that: import the key again",
            id.0
        );
        return Err(Problem::conflict(detail));
    }
    tx.commit().await?;
    app.reload(clock::now()).await?;
    Ok(())
}

/// Delete a key
///
/// It can be restored for 24 hours; its requests stay in the log.
#[utoipa::path(delete, path = "/upstream-keys/{id}", tag = "upstream keys",
    params(("id" = UpstreamKeyId, Path), ("if-match" = Option<String>, Header, description = "Delete it only if it still has this ETag")),
    responses((status = 204)))]
async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<UpstreamKeyId>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    change_one(&app, &caller, id, &headers, &KeyChange::Delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Enable a key
#[utoipa::path(post, path = "/upstream-keys/{id}/enable", tag = "upstream keys",
    params(("id" = UpstreamKeyId, Path)), responses((status = 200, body = ListedUpstreamKey)))]
async fn enable(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<UpstreamKeyId>,
) -> Result<Json<ListedUpstreamKey>, Problem> {
    change_one(&app, &caller, id, &HeaderMap::new(), &KeyChange::Enable).await?;
    Ok(Json(read_key(&app, id, &caller).await?))
}

/// Disable a key
#[utoipa::path(post, path = "/upstream-keys/{id}/disable", tag = "upstream keys",
    params(("id" = UpstreamKeyId, Path)), responses((status = 200, body = ListedUpstreamKey)))]
async fn disable(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<UpstreamKeyId>,
) -> Result<Json<ListedUpstreamKey>, Problem> {
    change_one(&app, &caller, id, &HeaderMap::new(), &KeyChange::Disable).await?;
    Ok(Json(read_key(&app, id, &caller).await?))
}

/// Clear the state of a key, and the cooldowns of its project
#[utoipa::path(post, path = "/upstream-keys/{id}/clear", tag = "upstream keys",
    params(("id" = UpstreamKeyId, Path)), responses((status = 200, body = ListedUpstreamKey)))]
async fn clear(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<UpstreamKeyId>,
) -> Result<Json<ListedUpstreamKey>, Problem> {
    change_one(&app, &caller, id, &HeaderMap::new(), &KeyChange::Clear).await?;
    Ok(Json(read_key(&app, id, &caller).await?))
}

/// Restore a deleted key
#[utoipa::path(post, path = "/upstream-keys/{id}/restore", tag = "upstream keys",
    params(("id" = UpstreamKeyId, Path)),
    responses((status = 200, body = ListedUpstreamKey), (status = 409, body = Problem, content_type = "application/problem+json",
        description = "The key is in use, or its secret is erased")))]
async fn restore(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<UpstreamKeyId>,
) -> Result<Json<ListedUpstreamKey>, Problem> {
    if removal::find_removed(&app.db.readers, id).await?.is_none() {
        // Missing, or in use.
        read_key(&app, id, &caller).await?;
    }
    change_one(&app, &caller, id, &HeaderMap::new(), &KeyChange::Restore).await?;
    Ok(Json(read_key(&app, id, &caller).await?))
}

/// The result of an import, or of its dry run.
#[derive(Debug, Serialize, ToSchema)]
struct ImportAnswer {
    /// `null`: a dry run, or no key was found.
    job: Option<JobAnswer>,
    new: usize,
    /// In the pool already.
    known: usize,
    /// Deleted before: they are restored.
    restored: usize,
    /// Of a dry run with `compare` or `update`: known keys whose attributes differ.
    differing: usize,
    /// Repetitions in the text.
    duplicates: usize,
    /// The first hundred parts of the text that are no key.
    not_taken: Vec<NotTakenAnswer>,
    not_taken_count: usize,
}

/// A part of a text that was not taken.
#[derive(Debug, Serialize, ToSchema)]
struct NotTakenAnswer {
    line: usize,
    reason: String,
    /// Its first characters, a quarter of it at most.
    start: String,
}

impl From<&NotTaken> for NotTakenAnswer {
    fn from(part: &NotTaken) -> Self {
        Self {
            line: part.line,
            reason: part.reason.text(),
            start: part.start.clone(),
        }
    }
}

/// Import keys from any text
///
/// The keys are added by a job; without a key in the text, and for a dry run, the answer is 200 without a job.
#[utoipa::path(post, path = "/upstream-keys", tag = "upstream keys", request_body = ImportBody,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 200, body = ImportAnswer), (status = 202, body = ImportAnswer, headers(("location" = String)))))]
async fn import_keys(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    JsonBody(body): JsonBody<ImportBody>,
) -> Result<Response, Problem> {
    let attributes = body.defaults.attributes()?;
    let expected = if body.any {
        Expected::KeysOnly
    } else {
        Expected::AnyText
    };
    let KeyImport {
        mut keys,
        duplicates,
        not_taken,
    } = key_list::read_import(body.text, expected).await;
    let secrets = keys.iter().map(|key| &key.secret);
    let statuses = removal::find_secret_statuses(&app.db.readers, &app.hash_key, secrets).await?;
    let count = |status| statuses.iter().filter(|known| **known == status).count();
    let is_work = !body.dry_run && !keys.is_empty();
    imported_keys::apply_defaults(&mut keys, &attributes);
    let differing = if body.dry_run && (body.compare || body.update) {
        let mut tx = app.db.readers.begin().await.map_err(Error::from)?;
        imported::count_differing(&mut tx, &app.hash_key, &keys).await?
    } else {
        0
    };
    let job = is_work.then(|| {
        let known = match (body.update, body.compare) {
            (true, _) => KnownKeys::Update,
            (false, true) => KnownKeys::Compare,
            (false, false) => KnownKeys::Keep,
        };
        let work = JobWork::Import { keys, known };
        app.jobs.start(work, caller.actor(), caller.now)
    });
    let answer = ImportAnswer {
        job: job.as_deref().map(JobAnswer::of),
        new: count(SecretStatus::New),
        known: count(SecretStatus::InUse),
        restored: count(SecretStatus::Removed),
        differing,
        duplicates,
        not_taken: not_taken
            .iter()
            .take(MAX_NOT_TAKEN)
            .map(NotTakenAnswer::from)
            .collect(),
        not_taken_count: not_taken.len(),
    };
    Ok(match job {
        Some(job) => accepted(&job, &answer),
        None => Json(answer).into_response(),
    })
}

/// Change many keys
#[utoipa::path(post, path = "/upstream-keys/bulk", tag = "upstream keys", request_body = BulkBody,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 202, body = JobAnswer, headers(("location" = String)))))]
async fn bulk(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    JsonBody(body): JsonBody<BulkBody>,
) -> Result<Response, Problem> {
    let (change, selection) = body.change()?;
    let ids = select(&app, &caller, selection).await?;
    let job = app
        .jobs
        .start(JobWork::Change(ids, change), caller.actor(), caller.now);
    Ok(accepted(&job, &JobAnswer::of(&job)))
}

async fn select(
    app: &App,
    caller: &ApiCaller,
    selection: KeySelection,
) -> Result<Vec<UpstreamKeyId>, Problem> {
    Ok(match selection {
        KeySelection::Ids(ids) => ids,
        KeySelection::Matching(query) => {
            let found = key_list::find(&app.db.readers, &app.keys, &query, caller.now);
            found.await?.ids
        }
    })
}

/// Test many keys
///
/// Asks Google whether each key works, without using quota unless `check_with_generate` is on.
#[utoipa::path(post, path = "/upstream-keys/test", tag = "upstream keys", request_body = TestBody,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 202, body = JobAnswer, headers(("location" = String)))))]
async fn test_many(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    JsonBody(body): JsonBody<TestBody>,
) -> Result<Response, Problem> {
    let selection = KeySelection::new(body.ids, body.filter)?;
    let ids = select(&app, &caller, selection).await?;
    let job = app
        .jobs
        .start(JobWork::Test(ids), caller.actor(), caller.now);
    Ok(accepted(&job, &JobAnswer::of(&job)))
}

/// Test a key
#[utoipa::path(post, path = "/upstream-keys/{id}/test", tag = "upstream keys",
    params(("id" = UpstreamKeyId, Path),
        ("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 202, body = JobAnswer, headers(("location" = String)))))]
async fn test(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<UpstreamKeyId>,
) -> Result<Response, Problem> {
    read_key(&app, id, &caller).await?;
    let work = JobWork::Test(vec![id]);
    let job = app.jobs.start(work, caller.actor(), caller.now);
    Ok(accepted(&job, &JobAnswer::of(&job)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_continues_where_keys_were_added_or_removed() {
        let ids = |ids: &[i64]| -> Vec<UpstreamKeyId> {
            ids.iter().copied().map(UpstreamKeyId).collect()
        };
        let cursor: KeyCursor = "2-7".parse().unwrap();

        assert_eq!(cursor.next_index(&ids(&[5, 7, 9])), 2);
        assert_eq!(cursor.next_index(&ids(&[1, 5, 7, 9])), 3);
        assert_eq!(cursor.next_index(&ids(&[7, 9])), 1);
        assert_eq!(cursor.next_index(&ids(&[5, 9, 11])), 2);
        for text in ["", "2", "-7", "a-7", "2-"] {
            assert!(text.parse::<KeyCursor>().is_err(), "{text}");
        }
    }
}
