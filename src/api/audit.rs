//! `/audit`: every change, with its actor.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::input::QueryOf;
use crate::api::pages::{limit, parse_cursor};
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock::Timestamp;
use crate::storage::audit::{self, Action, AuditFilter, ListedChange, Subject};
use crate::storage::paging::Page;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditParams {
    subject: Option<Subject>,
    subject_id: Option<i64>,
    /// The subject's name at that time.
    name: Option<String>,
    /// `admin:NAME`, `token:NAME`, `cli`, `environment`, `schedule` or `demo`.
    actor: Option<String>,
    action: Option<Action>,
    since: Option<Timestamp>,
    /// Exclusive.
    until: Option<Timestamp>,
    /// The number that changes made together share.
    revision: Option<i64>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Maximum number of items.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<usize>,
}

/// List changes
///
/// Newest first.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditParams),
    responses((status = 200, body = Page<ListedChange>)))]
async fn list(
    State(app): State<Arc<App>>,
    QueryOf(params): QueryOf<AuditParams>,
) -> Result<Json<Page<ListedChange>>, Problem> {
    let (limit, cursor) = (
        limit(params.limit)?,
        parse_cursor(params.cursor.as_deref())?,
    );
    let filter = AuditFilter {
        subject: params.subject,
        subject_id: params.subject_id,
        name: params.name,
        actor: params.actor,
        action: params.action,
        since: params.since,
        until: params.until,
        revision: params.revision,
    };
    Ok(Json(
        audit::list(&app.db.readers, &filter, cursor, limit).await?,
    ))
}
