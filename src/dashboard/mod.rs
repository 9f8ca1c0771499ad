//! HTML for the admin: the routes of all pages, behind the guard.

pub mod account;
pub mod alerts;
pub mod api_reference;
pub mod assets;
pub mod audit;
pub mod backups;
pub mod bulk;
pub mod changes;
pub mod chart;
pub mod client_keys;
pub mod comparison;
pub mod components;
pub mod egress_proxies;
pub mod erased_handler;
pub mod error_page;
pub mod form_parts;
pub mod guard;
pub mod layout;
pub mod live;
pub mod logs;
pub mod models;
pub mod my_usage;
pub mod page_context;
pub mod policy;
pub mod pool_problem;
pub mod preferences;
pub mod problems;
pub mod quota;
pub mod search;
pub mod secure_cookies;
pub mod settings;
pub mod sign_in;
pub mod snippets;
pub mod status;
pub mod translations;
pub mod try_it;
pub mod upstream_keys;
pub mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{MethodRouter, get};
use http::{Method, Uri};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use crate::app::App;
use crate::auth::session;
use crate::backup_download::FILE_TYPE;
use crate::dashboard::erased_handler::ErasedHandler;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::guard::{Access, accepts_html, guard};
use crate::dashboard::secure_cookies::secure_cookies;
use crate::error::Error;
use crate::storage::error::Thing;

type Route = (&'static str, MethodRouter<Arc<App>>);

/// Routes from lines `"path" => get(handler).post(handler);`.
macro_rules! routes {
    ($($path:literal => $($method:ident($handler:expr)).+;)+) => {
        vec![$(($path, MethodRouter::new()$(.$method(ErasedHandler::new($handler)))+)),+]
    };
}

/// The pages that need no session.
fn public_routes() -> Vec<Route> {
    routes! {
        "/login" => get(sign_in::show).post(sign_in::create);
        "/preferences" => post(preferences::update);
        "/my-usage" => get(my_usage::show).post(my_usage::create);
    }
}

/// The pages that need a session: everything that is not named above.
fn admin_routes() -> Vec<Route> {
    use alerts::change as alert_target;
    use client_keys::change as client_key;
    use client_keys::rotate;
    use egress_proxies::change as egress_proxy;
    use settings::change as setting;
    use upstream_keys::{bulk, deleted, import, job_progress};

    routes! {
        "/" => get(async || Redirect::to("/status"));
        "/status" => get(status::show);
        "/status/live" => get(status::live);
        "/logs" => get(logs::list::show);
        "/logs/columns" => post(logs::list::update_columns);
        "/logs/export.csv" => get(logs::export::csv);
        "/logs/export.jsonl" => get(logs::export::jsonl);
        "/logs/live" => get(logs::live::show);
        "/logs/{id}" => get(logs::detail::show);
        "/logs/{id}/bodies" => get(logs::bodies::show);
        "/account" => get(account::show);
        "/account/password" => post(account::update_password);
        "/account/zone" => post(account::update_zone);
        "/account/sign-ins/end" => post(account::end_sign_ins);
        "/account/tokens" => post(account::tokens::create);
        "/account/tokens/new" => get(account::tokens::new);
        "/account/tokens/{id}/created" => get(account::tokens::created);
        "/account/tokens/{id}/revoke" => get(account::tokens::confirm_revoke).post(account::tokens::revoke);
        "/api-reference" => get(api_reference::show);
        "/backups" => get(backups::show).post(backups::create);
        "/backups/live" => get(backups::live);
        "/backups/{name}/download" => get(backups::confirm_download).post(backups::download);
        "/backups/{name}/delete" => get(backups::confirm_delete).post(backups::delete);
        "/upstream-keys" => get(upstream_keys::list::show);
        "/upstream-keys/bulk" => post(bulk::update);
        "/problems" => get(problems::show);
        "/search" => get(search::show);
        "/search/results" => get(search::results);
        "/logs/views" => post(logs::views::create);
        "/logs/views/{id}" => post(logs::views::update);
        "/upstream-keys/undo" => post(bulk::undo);
        "/upstream-keys/import" => get(import::show).post(import::preview);
        "/upstream-keys/import/{draft}" => get(import::show_preview).post(import::create);
        "/upstream-keys/jobs/{id}" => get(job_progress::show);
        "/upstream-keys/jobs/{id}/live" => get(job_progress::live);
        "/upstream-keys/deleted" => get(deleted::show).post(deleted::restore);
        "/upstream-keys/{id}" => get(upstream_keys::detail::show);
        "/upstream-keys/{id}/edit" => get(upstream_keys::edit::show).post(upstream_keys::edit::update);
        "/usage" => get(usage::show);
        "/quota" => get(quota::show);
        "/quota/what-if" => get(quota::what_if::show).post(quota::what_if::create);
        "/quota/what-if/{id}" => get(quota::what_if::show_job);
        "/quota/what-if/{id}/live" => get(quota::what_if::live);
        "/models" => get(models::list::show);
        "/models/detail" => get(models::detail::show);
        "/usage/export.csv" => get(usage::csv);
        "/try" => get(try_it::show).post(try_it::create);
        "/logout" => post(sign_in::delete);
        "/settings" => get(settings::show).post(settings::update);
        "/settings/undo" => post(setting::undo);
        "/settings/{name}" => get(settings::detail::show).post(settings::detail::update);
        "/settings/{name}/reset" => post(setting::reset);
        "/settings/{name}/back" => post(setting::restore);
        "/alerts" => get(alerts::show);
        "/alerts/targets" => post(alert_target::create);
        "/alerts/targets/new" => get(alert_target::new);
        "/alerts/targets/{id}/created" => get(alert_target::created);
        "/alerts/targets/{id}/edit" => get(alert_target::edit).post(alert_target::update);
        "/alerts/targets/{id}/enable" => post(alert_target::enable);
        "/alerts/targets/{id}/disable" => post(alert_target::disable);
        "/alerts/targets/{id}/test" => post(alert_target::test);
        "/alerts/targets/{id}/delete" => get(alert_target::confirm_delete).post(alert_target::delete);
        "/egress-proxies" => get(egress_proxies::show).post(egress_proxy::create);
        "/egress-proxies/new" => get(egress_proxy::new);
        "/egress-proxies/{id}/edit" => get(egress_proxy::edit).post(egress_proxy::update);
        "/egress-proxies/{id}/test" => post(egress_proxy::test);
        "/egress-proxies/{id}/enable" => post(egress_proxy::enable);
        "/egress-proxies/{id}/disable" => post(egress_proxy::disable);
        "/egress-proxies/{id}/clear" => post(egress_proxy::clear);
        "/egress-proxies/{id}/remove" => get(egress_proxy::confirm_remove).post(egress_proxy::remove);
        "/audit" => get(audit::show);
        "/audit/{id}/undo" => post(audit::undo);
        "/client-keys" => get(client_keys::list::show).post(client_key::create);
        "/client-keys/bulk" => post(client_keys::bulk::update);
        "/client-keys/undo" => post(client_keys::bulk::undo);
        "/client-keys/new" => get(client_key::new);
        "/client-keys/{id}" => get(client_keys::detail::show).post(client_key::update);
        "/client-keys/{id}/created" => get(client_key::created);
        "/client-keys/{id}/rotate" => get(rotate::show).post(rotate::create);
        "/client-keys/{id}/rotated" => get(rotate::created);
        "/client-keys/{id}/old-secret/end" => post(rotate::end);
        "/client-keys/{id}/edit" => get(client_key::edit);
        "/client-keys/{id}/enable" => post(client_key::enable);
        "/client-keys/{id}/disable" => post(client_key::disable);
        "/client-keys/{id}/delete" => get(client_key::confirm_delete).post(client_key::delete);
    }
}

/// The paths of all pages that need a session.
pub fn admin_paths() -> Vec<&'static str> {
    admin_routes().into_iter().map(|(path, _)| path).collect()
}

/// Whether a browser opens a path that the dashboard may have a page for.
pub fn opens_page(request: &Request) -> bool {
    request.method() == Method::GET && accepts_html(request.headers())
}

/// Answers that there is no such page, to a signed-in admin. Others are sent to the sign-in page.
pub fn unknown_page(app: &Arc<App>) -> Router<Arc<App>> {
    let not_found =
        async |uri: Uri| ErrorPage::from(Error::NotFound(Thing::Page, uri.path().to_owned()));
    Router::new()
        .fallback(not_found)
        .layer(from_fn_with_state((app.clone(), Access::SignedIn), guard))
        .layer(session::layer(&app.db))
        .layer(from_fn_with_state(app.clone(), secure_cookies))
}

/// The dashboard behind its guard.
pub fn router(app: &Arc<App>) -> Router<Arc<App>> {
    // A download has an announced length, and streams as fast as it can be read.
    let is_page = DefaultPredicate::new().and(NotForContentType::const_new(FILE_TYPE));
    let guarded = |routes: Vec<Route>, access| {
        let join = |router: Router<_>, (path, handlers)| router.route(path, handlers);
        let router = routes.into_iter().fold(Router::new(), join);
        // The guard has measured the body already.
        let router = router.route_layer(DefaultBodyLimit::disable());
        router.route_layer(from_fn_with_state((app.clone(), access), guard))
    };
    guarded(public_routes(), Access::Public)
        .merge(guarded(admin_routes(), Access::SignedIn))
        .route_layer(session::layer(&app.db))
        .route_layer(from_fn_with_state(app.clone(), secure_cookies))
        .route_layer(CompressionLayer::new().compress_when(is_page))
        .route("/assets/{name}", get(assets::show))
}
