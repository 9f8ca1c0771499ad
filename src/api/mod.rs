//! For programs: the server's health, its metrics, and the admin API below `/api/v1`, a file for each resource.

pub mod alerts;
pub mod audit;
pub mod authorize;
pub mod backups;
pub mod client_keys;
pub mod document;
pub mod egress_proxies;
pub mod etag;
pub mod health;
pub mod idempotency;
pub mod input;
pub mod jobs;
pub mod logs;
pub mod metrics;
pub mod pages;
pub mod problem;
pub mod projects;
pub mod quota;
pub mod sessions;
pub mod settings;
pub mod tokens;
pub mod undo;
pub mod upstream_keys;
pub mod usage;
pub mod what_if;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use axum::{Extension, Router};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode, Uri};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::api::authorize::{authenticate, authorize};
use crate::api::document::BASE_PATH;
use crate::api::idempotency::replay;
use crate::api::problem::Problem;
use crate::app::App;
use crate::pool::api_token::ApiScope;

/// The API behind its tokens, and its document.
pub fn router(app: &Arc<App>) -> (Router<Arc<App>>, Arc<OpenApi>) {
    let scoped = |scope: ApiScope, routes: OpenApiRouter<Arc<App>>| {
        routes.route_layer(from_fn_with_state(scope, authorize))
    };
    let resources = vec![
        (ApiScope::UpstreamKeys, upstream_keys::routes()),
        (ApiScope::Checks, upstream_keys::check_routes()),
        (ApiScope::ClientKeys, client_keys::routes()),
        (ApiScope::Projects, projects::routes()),
        (ApiScope::EgressProxies, egress_proxies::routes()),
        (ApiScope::Quota, quota::routes().merge(what_if::routes())),
        (ApiScope::Models, quota::model_routes()),
        (ApiScope::Logs, logs::routes()),
        (ApiScope::Usage, usage::routes()),
        (ApiScope::Settings, settings::routes()),
        (ApiScope::Alerts, alerts::routes()),
        (ApiScope::Audit, audit::routes()),
        (ApiScope::Audit, undo::routes()),
        (ApiScope::Backups, backups::routes()),
        (ApiScope::Sessions, sessions::routes()),
        (ApiScope::Tokens, tokens::routes()),
    ];
    let mut router = OpenApiRouter::new().merge(jobs::routes());
    for (scope, routes) in resources {
        router = router.merge(scoped(scope, routes));
    }
    let (router, paths) = router.split_for_parts();
    let document = Arc::new(document::complete(paths));
    let json = document.to_json().expect("the document serializes to JSON");
    let json: Arc<str> = json.into();
    let router = router
        .route("/openapi.json", get(show_document).layer(Extension(json)))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), replay));
    let router = Router::new()
        .nest(BASE_PATH, router)
        // Not nested: what is nested begins after the slash.
        .route(&format!("{BASE_PATH}/"), any(unknown_path))
        .layer(from_fn_with_state(app.clone(), authenticate))
        // A handler limits what it reads.
        .layer(DefaultBodyLimit::disable());
    (router, document)
}

/// The `OpenAPI` document of the routes, for any token.
async fn show_document(Extension(json): Extension<Arc<str>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], json.to_string())
}

async fn unknown_path(uri: Uri) -> Problem {
    // Nested handlers get the path after the base.
    let path = uri.path();
    let path = path.strip_prefix(BASE_PATH).unwrap_or(path);
    Problem::not_found(format!(
        "the API has no path {BASE_PATH}{path}: {BASE_PATH}/openapi.json lists its paths"
    ))
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!(
        "{BASE_PATH}{} does not take {method}: {BASE_PATH}/openapi.json lists its methods",
        uri.path()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
