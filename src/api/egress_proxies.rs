//! `/egress-proxies`: proxies for connections to Google.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use sqlx::{Sqlite, Transaction};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::etag::{check_match, etag_of, tagged};
use crate::api::input::{JsonBody, PathOf, QueryOf};
use crate::api::pages::{ListOrder, PageQuery, page_of};
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock;
use crate::egress_list::{self, EgressTest};
use crate::pool::egress::address::ProxyAddress;
use crate::pool::egress::proxy::{EgressProxyId, EgressScope, parse_label};
use crate::pool::keys::upstream_key::ProjectId;
use crate::storage::audit::Act;
use crate::storage::egress_proxies::listed::ListedEgressProxy;
use crate::storage::egress_proxies::{self, EgressProxyTerms};
use crate::storage::paging::Page;
use crate::storage::projects;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
        .routes(routes!(test))
        .routes(routes!(clear))
}

/// The attributes of an egress proxy. A missing member keeps its value; a new proxy needs a label and a URL.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EgressProxyBody {
    #[schema(min_length = 1, max_length = 100, pattern = r"^\S")]
    label: Option<String>,
    /// `http`, `https`, `socks5` or `socks5h`, with a port, and user and password if the proxy wants them.
    #[schema(
        max_length = 500,
        examples("socks5h://user:password@proxy.example.com:1080")
    )]
    url: Option<String>,
    enabled: Option<bool>,
    /// The projects whose requests go through it.
    project_ids: Option<Vec<ProjectId>>,
    /// The tags of upstream keys whose requests go through it; without tags and projects those of all keys.
    tags: Option<Vec<String>>,
}

impl EgressProxyBody {
    /// The terms of a proxy with these members replaced.
    fn apply(self, before: Option<EgressProxyTerms>) -> Result<EgressProxyTerms, Problem> {
        let label = match (self.label, &before) {
            (Some(label), _) => label,
            (None, Some(before)) => before.label.clone(),
            (None, None) => return Err(Problem::invalid("a new egress proxy needs a label")),
        };
        let label = parse_label(&label).map_err(|why| Problem::invalid(why.to_string()))?;
        let address = match (self.url, &before) {
            (Some(url), _) => {
                ProxyAddress::parse(&url).map_err(|why| Problem::invalid(why.to_string()))?
            }
            (None, Some(before)) => before.address.clone(),
            (None, None) => return Err(Problem::invalid("a new egress proxy needs a url")),
        };
        let scope = before.map_or(EgressScope::All, |before| before.scope);
        let scope = match (self.project_ids, self.tags) {
            (None, None) => scope,
            (project_ids, tags) => {
                let scope =
                    EgressScope::of(project_ids.unwrap_or_default(), tags.unwrap_or_default());
                scope.map_err(|why| Problem::invalid(why.to_string()))?
            }
        };
        Ok(EgressProxyTerms {
            label,
            address,
            scope,
        })
    }
}

/// The tag of what a PATCH changes.
fn etag(listed: &ListedEgressProxy) -> String {
    etag_of(&json!([
        listed.label,
        listed.url,
        listed.enabled,
        listed.project_ids,
        listed.tags,
    ]))
}

fn taken(label: &str) -> Problem {
    Problem::conflict(format!(
        "an egress proxy is named {label}: choose another label"
    ))
}

/// Refuses projects that do not exist.
async fn check_projects(
    tx: &mut Transaction<'_, Sqlite>,
    scope: &EgressScope,
) -> Result<(), Problem> {
    if let EgressScope::Projects(ids) = scope {
        for id in ids {
            projects::find_listed(&mut **tx, *id).await?;
        }
    }
    Ok(())
}

/// List egress proxies
#[utoipa::path(get, path = "/egress-proxies", tag = "egress proxies", params(PageQuery),
    responses((status = 200, body = Page<ListedEgressProxy>)))]
async fn list(
    State(app): State<Arc<App>>,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Json<Page<ListedEgressProxy>>, Problem> {
    let proxies = egress_list::list(&app.db.readers, &app.keys, clock::now()).await?;
    let page = page_of(proxies, &query, ListOrder::OldestFirst, |proxy| proxy.id.0)?;
    Ok(Json(page))
}

/// Create an egress proxy
#[utoipa::path(post, path = "/egress-proxies", tag = "egress proxies", request_body = EgressProxyBody,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 201, body = ListedEgressProxy, headers(("location" = String), ("etag" = String))),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another egress proxy has this label")))]
async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    JsonBody(body): JsonBody<EgressProxyBody>,
) -> Result<Response, Problem> {
    let is_disabled = body.enabled == Some(false);
    let terms = body.apply(None)?;
    let mut tx = app.db.begin().await?;
    check_projects(&mut tx, &terms.scope).await?;
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    let Some(id) = egress_proxies::insert(&mut tx, &data_keys, &terms, &act).await? else {
        return Err(taken(&terms.label));
    };
    if is_disabled {
        egress_proxies::update_enabled(&mut tx, id, false, &act).await?;
    }
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let created = egress_list::find(&app.db.readers, &app.keys, id, caller.now).await?;
    let location = format!("/api/v1/egress-proxies/{id}");
    let answer = tagged(&created, &etag(&created));
    Ok((StatusCode::CREATED, [(LOCATION, location)], answer).into_response())
}

/// Get an egress proxy
#[utoipa::path(get, path = "/egress-proxies/{id}", tag = "egress proxies", params(("id" = EgressProxyId, Path)),
    responses((status = 200, body = ListedEgressProxy, headers(("etag" = String)))))]
async fn get(
    State(app): State<Arc<App>>,
    PathOf(id): PathOf<EgressProxyId>,
) -> Result<Response, Problem> {
    let found = egress_list::find(&app.db.readers, &app.keys, id, clock::now()).await?;
    Ok(tagged(&found, &etag(&found)))
}

/// Change an egress proxy
///
/// A URL without user and password removes them.
#[utoipa::path(patch, path = "/egress-proxies/{id}", tag = "egress proxies",
    params(("id" = EgressProxyId, Path), ("if-match" = Option<String>, Header, description = "Change it only if it still has this ETag")),
    request_body = EgressProxyBody,
    responses((status = 200, body = ListedEgressProxy, headers(("etag" = String))),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another egress proxy has this label")))]
async fn update(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<EgressProxyId>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<EgressProxyBody>,
) -> Result<Response, Problem> {
    let before = egress_list::find(&app.db.readers, &app.keys, id, caller.now).await?;
    check_match(&headers, &etag(&before))?;
    let mut tx = app.db.begin().await?;
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    let proxy = egress_proxies::find_in(&mut tx, &data_keys, id)
        .await?
        .proxy;
    let enabled = body.enabled.unwrap_or(proxy.enabled);
    let terms = body.apply(Some(EgressProxyTerms::of(&proxy)))?;
    check_projects(&mut tx, &terms.scope).await?;
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    if !egress_proxies::update(&mut tx, &data_keys, &proxy, &terms, &act).await? {
        return Err(taken(&terms.label));
    }
    if enabled != proxy.enabled {
        egress_proxies::update_enabled(&mut tx, id, enabled, &act).await?;
    }
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let changed = egress_list::find(&app.db.readers, &app.keys, id, caller.now).await?;
    Ok(tagged(&changed, &etag(&changed)))
}

/// Remove an egress proxy
///
/// Its requests stay in the log. Within a day the removal can be undone.
#[utoipa::path(delete, path = "/egress-proxies/{id}", tag = "egress proxies",
    params(("id" = EgressProxyId, Path), ("if-match" = Option<String>, Header, description = "Remove it only if it still has this ETag")),
    responses((status = 204)))]
async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<EgressProxyId>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let before = egress_list::find(&app.db.readers, &app.keys, id, caller.now).await?;
    check_match(&headers, &etag(&before))?;
    let mut tx = app.db.begin().await?;
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    let proxy = egress_proxies::find_in(&mut tx, &data_keys, id)
        .await?
        .proxy;
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    egress_proxies::delete(&mut tx, &proxy, &act).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Test an egress proxy
///
/// Sends one request without a key to Google through it; any answer shows that it works.
#[utoipa::path(post, path = "/egress-proxies/{id}/test", tag = "egress proxies", params(("id" = EgressProxyId, Path)),
    responses((status = 200, body = EgressTest)))]
async fn test(
    State(app): State<Arc<App>>,
    PathOf(id): PathOf<EgressProxyId>,
) -> Result<Json<EgressTest>, Problem> {
    let proxy = egress_proxies::find(&app.db, id).await?.proxy;
    let (settings, redactor) = (app.settings(), app.redactor());
    let tested = egress_list::test(&app.gemini, &settings, &redactor, &proxy.address).await;
    if tested.ok {
        app.end_egress_probe(id);
    }
    Ok(Json(tested))
}

/// Clear the state of an egress proxy
///
/// It counts as working until an attempt shows otherwise.
#[utoipa::path(post, path = "/egress-proxies/{id}/clear", tag = "egress proxies", params(("id" = EgressProxyId, Path)),
    responses((status = 200, body = ListedEgressProxy)))]
async fn clear(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<EgressProxyId>,
) -> Result<Response, Problem> {
    let mut tx = app.db.begin().await?;
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    let proxy = egress_proxies::find_in(&mut tx, &data_keys, id)
        .await?
        .proxy;
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    egress_proxies::clear_state(&mut tx, &proxy, &act).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let found = egress_list::find(&app.db.readers, &app.keys, id, caller.now).await?;
    Ok(tagged(&found, &etag(&found)))
}
