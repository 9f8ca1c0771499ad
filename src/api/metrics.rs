//! `/metrics`: figures for Prometheus, read at each scrape.

pub mod exposition;
pub mod figures;
pub mod process;

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

use crate::api::authorize::find_caller;
use crate::api::metrics::exposition::Exposition;
use crate::api::metrics::figures::Figures;
use crate::api::problem::Problem;
use crate::app::App;
use crate::peer::Peer;
use crate::pool::api_token::{ApiScope, TokenAccess};

/// The figures, for a token with the scope `metrics`, or for all while `metrics_open` is on.
pub async fn show(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    if !app.settings().metrics_open {
        let caller = match find_caller(&app, peer, &headers).await {
            Ok(caller) => caller,
            Err(refusal) => return refusal,
        };
        let permitted = caller
            .token
            .grant()
            .permits(ApiScope::Metrics, TokenAccess::Read);
        if let Err(why) = permitted {
            return Problem::from(why).into_response();
        }
    }
    let figures = Figures::read(&app).await;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition(figures)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a string takes any text");
    ([(CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], text).into_response()
}
