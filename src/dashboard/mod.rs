//! HTML for the admin: which URL shows which page.

pub mod account;
pub mod assets;
pub mod components;
pub mod error_page;
pub mod guard;
pub mod layout;
pub mod preferences;
pub mod sign_in;
pub mod status;
pub mod texts;
pub mod visit;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{MethodRouter, get, post};
use tower_http::compression::CompressionLayer;

use crate::app::App;
use crate::auth::session;
use crate::dashboard::guard::{Access, guard};

type Route = (&'static str, MethodRouter<Arc<App>>);

/// What anybody may see.
fn open_routes() -> Vec<Route> {
    vec![
        ("/login", get(sign_in::show).post(sign_in::create)),
        ("/preferences", post(preferences::update)),
    ]
}

/// What only an admin may see. Everything that is not named above belongs here.
fn routes() -> Vec<Route> {
    vec![
        ("/", get(async || Redirect::to("/status"))),
        ("/status", get(status::show)),
        ("/account", get(account::show)),
        ("/account/password", post(account::update_password)),
        ("/account/zone", post(account::update_zone)),
        ("/account/sign-ins/end", post(account::end_sign_ins)),
        ("/logout", post(sign_in::delete)),
    ]
}

/// The paths of all pages that only an admin may see.
pub fn closed_paths() -> Vec<&'static str> {
    routes().into_iter().map(|(path, _)| path).collect()
}

/// The dashboard behind its guard.
pub fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let is_secure = app
        .config
        .public_url
        .as_deref()
        .is_some_and(|url| url.starts_with("https:"));
    let guarded = |routes: Vec<Route>, access| {
        let router = routes
            .into_iter()
            .fold(Router::new(), |router, (path, methods)| {
                router.route(path, methods)
            });
        router.route_layer(from_fn_with_state((app.clone(), access), guard))
    };
    guarded(open_routes(), Access::Anybody)
        .merge(guarded(routes(), Access::SignedIn))
        .route_layer(session::layer(&app.db, is_secure))
        .route_layer(CompressionLayer::new())
        .route("/assets/{name}", get(assets::show))
}
