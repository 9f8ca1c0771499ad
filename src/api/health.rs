//! `/healthz` and `/readyz`: for process managers and load balancers, without detail.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use crate::app::App;

/// The process responds.
pub async fn liveness() -> &'static str {
    "ok\n"
}

/// The database is migrated, or the server would not have started, and can be written.
pub async fn readiness(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if app.recorder.is_failing() {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database cannot be written\n",
        )
    } else {
        (StatusCode::OK, "ok\n")
    }
}
