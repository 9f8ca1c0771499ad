//! The request path: selects the requests that are proxied, answers preflights, and sandboxes every answer.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;

use crate::app::App;
use crate::client_connections::ClientConnection;
use crate::gemini::upload::is_upload_path;
use crate::gemini::{target, wrong_base};

mod admit;
mod answer;
mod attempt;
mod authorize;
mod body_pace;
mod browsers;
mod caller;
mod charge;
mod committed;
mod credential;
mod dialect;
mod download;
mod forward;
mod handler;
mod hedge;
mod incoming;
mod lease;
mod list;
mod live;
mod model_fallback;
mod pipeline;
mod pool_headers;
mod read_answer;
mod record;
mod refusal;
mod refuse;
mod request_facts;
mod resource_lookup;
mod retry;
mod route;
mod route_constraint;
mod streaming_body;
mod upload;

/// Serves every path that the dashboard does not.
pub async fn serve(app: Arc<App>, connection: ClientConnection, request: Request) -> Response {
    let path = request.uri().path();
    let (is_proxied, is_upload) = (target::is_proxied(path), is_upload_path(path));
    let settings = app.settings();
    let is_bearer = || credential::is_bearer(request.headers(), request.uri().query());
    // An ambiguous path of ours is refused after the credential.
    let wrong_base = wrong_base::find(path, is_bearer)
        .filter(|wrong_base| !(is_proxied && wrong_base.is_ambiguous));
    let is_api = is_proxied || wrong_base.is_some();
    let mut response = if !is_api {
        refuse::unknown_path()
    } else if browsers::is_preflight(&request) {
        browsers::answer_preflight(&request)
    } else if let Some(wrong_base) = wrong_base {
        handler::refuse_wrong_base(&app, request, connection.peer(), wrong_base).await
    } else {
        handler::handle(&app, request, &connection).await
    };
    // Here every answer passes, so that none can be without.
    browsers::sandbox(response.headers_mut());
    if is_api {
        browsers::allow_origin(
            response.headers_mut(),
            &settings.cors_allow_origin,
            is_upload,
        );
    }
    response
}
