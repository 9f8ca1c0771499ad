//! `/healthz` and `/readyz`: liveness and readiness for process managers and load balancers. Only a signed-in admin
//! reads details.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use tower_sessions::Session;

use crate::app::App;
use crate::auth::session;
use crate::clock;

/// The process responds.
pub async fn liveness() -> &'static str {
    "ok\n"
}

/// The database is migrated, or the server would not have started, and can be written. A signed-in admin also reads
/// whether the pool can serve.
pub async fn readiness(State(app): State<Arc<App>>, session: Session) -> (StatusCode, String) {
    app.probe_requests.refresh().await;
    let (status, mut text) = if app.recorder.is_failing() {
        let text =
            "the database cannot be written: the status page and the log of the server say why\n";
        (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
    } else {
        (StatusCode::OK, "ok\n".to_owned())
    };
    if let Ok(true) = session::is_signed_in(&app.db, &session, clock::now()).await {
        text.push_str(&detail(&app).await);
    }
    (status, text)
}

/// A line for each fact about the pool.
async fn detail(app: &App) -> String {
    let overview = app.overview(clock::now()).await;
    let (usable, keys) = (overview.usable, overview.keys());
    let mut text = format!("upstream keys: {usable} of {keys} ready\n");
    if let Some(answer) = overview.wrong_answer {
        let line =
            format!("upstream: not Gemini, the last answer was {answer}; check UPSTREAM_URL\n");
        text.push_str(&line);
    }
    if let Some(error) = overview.connection_error {
        let line = format!("upstream: Google cannot be reached: {error}\n");
        text.push_str(&line);
    }
    if overview.address_throttled_until.is_some() {
        text.push_str("upstream: Google throttles the address of this server\n");
    }
    text
}
