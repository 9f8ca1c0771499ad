//! `/logs`: the log of requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::input::{PathOf, QueryOf};
use crate::api::pages::{limit, parse_cursor};
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock::{self, Timestamp};
use crate::log_download::LogDownload;
use crate::pool::api_token::ApiTokenId;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::pool::request_id::RequestId;
use crate::storage::api_tokens;
use crate::storage::error::{Error, Thing};
use crate::storage::paging::Page;
use crate::storage::request_bodies::{self, BodyForm, KeptBody};
use crate::storage::request_logs::LogKind;
use crate::storage::request_logs::export::ExportFormat;
use crate::storage::request_logs::filter::{LogFilter, OutcomeFilter, StatusFilter};
use crate::storage::request_logs::id_range::LogPosition;
use crate::storage::request_logs::listed::{self, RequestLog};
use crate::storage::request_logs::search::search;
use crate::storage::request_logs::tail::LogTail;

/// After this time a search answers with what it has found, and how to go on.
const SEARCH_TIME_LIMIT: Duration = Duration::from_secs(2);
/// Interval at which the tail reads the log.
const TAIL_INTERVAL: Duration = Duration::from_secs(1);

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(export_csv))
        .routes(routes!(export_jsonl))
        .routes(routes!(tail))
        .routes(routes!(get))
        .routes(routes!(bodies))
}

/// Defines a query with the filters of the log and further parameters.
macro_rules! filter_params {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty),* }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Default, Deserialize, IntoParams)]
        #[serde(default, deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        struct $name {
            /// `request` (default), `check`, or `any`.
            #[param(pattern = "^(request|check|any)$")]
            kind: Option<String>,
            /// The outcome; `failed`: any but success; `running`.
            outcome: Option<String>,
            /// A status such as `404`, or a class such as `4xx`.
            #[param(pattern = "^([1-9][0-9][0-9]|[1-5]xx)$")]
            status: Option<String>,
            /// The requested model.
            model: Option<String>,
            /// The model version that answered.
            model_version: Option<String>,
            client_key_id: Option<ClientKeyId>,
            /// The name of the client key.
            client_key: Option<String>,
            client_ip: Option<String>,
            /// The complete user agent.
            user_agent: Option<String>,
            /// An upstream key that was tried.
            upstream_key_id: Option<UpstreamKeyId>,
            /// The label or the last four characters of an upstream key that was tried.
            upstream_key: Option<String>,
            /// The project of the last attempt: its name or number.
            project: Option<String>,
            /// The egress proxy of any attempt: its label or id.
            egress: Option<String>,
            method: Option<String>,
            /// The complete path.
            path: Option<String>,
            operation: Option<String>,
            streamed: Option<bool>,
            finish_reason: Option<String>,
            service_tier: Option<String>,
            min_duration_ms: Option<u64>,
            min_first_byte_ms: Option<u64>,
            /// Only requests with more than one attempt.
            retried: Option<bool>,
            /// A part of the error.
            error: Option<String>,
            /// Started at or after this time.
            since: Option<Timestamp>,
            /// Started before this time.
            until: Option<Timestamp>,
            /// A part of the error, path, model, user agent, client's name or key's label, or an id.
            q: Option<String>,
            $($(#[$meta])* $field: $type),*
        }

        impl $name {
            fn filter(&self) -> Result<LogFilter, Problem> {
                Ok(LogFilter {
                    kind: kind(self.kind.as_deref())?,
                    outcome: self.outcome.as_deref().map(outcome).transpose()?,
                    status: self.status.as_deref().map(status).transpose()?,
                    model: self.model.clone(),
                    model_version: self.model_version.clone(),
                    client_key_id: self.client_key_id,
                    client_key: self.client_key.clone(),
                    client_ip: self.client_ip.clone(),
                    user_agent: self.user_agent.clone(),
                    upstream_key_id: self.upstream_key_id,
                    upstream_key: self.upstream_key.clone(),
                    project: self.project.clone(),
                    egress: self.egress.clone(),
                    method: self.method.clone(),
                    path: self.path.clone(),
                    operation: self.operation.clone(),
                    streamed: self.streamed,
                    finish_reason: self.finish_reason.clone(),
                    service_tier: self.service_tier.clone(),
                    min_duration_ms: self.min_duration_ms,
                    min_first_byte_ms: self.min_first_byte_ms,
                    retried: self.retried.unwrap_or(false),
                    error: self.error.clone(),
                    since: self.since,
                    until: self.until,
                    text: self.q.clone(),
                })
            }
        }
    };
}

filter_params! {
    /// The filters of an export and of the tail.
    LogFilterParams {}
}

filter_params! {
    /// The filters and the position of the list.
    LogListParams {
        /// With the attempts of each request.
        attempts: Option<bool>,
        /// The `next` of the page before.
        cursor: Option<String>,
        /// Maximum number of items.
        #[param(minimum = 1, maximum = 500, default = 50)]
        limit: Option<usize>
    }
}

fn kind(text: Option<&str>) -> Result<Option<LogKind>, Problem> {
    match text {
        None => Ok(Some(LogKind::Request)),
        Some("any") => Ok(None),
        Some(name) => {
            let kind = name.parse().map(Some);
            kind.map_err(|_| Problem::bad_request("kind must be request, check or any"))
        }
    }
}

fn outcome(text: &str) -> Result<OutcomeFilter, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("outcome: {error}, failed or running")))
}

fn status(text: &str) -> Result<StatusFilter, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("status {error}")))
}

/// List requests
///
/// Newest first. A search that takes long answers with the requests found so far, which may be none; `next` continues it.
#[utoipa::path(get, path = "/logs", tag = "logs", params(LogListParams),
    responses((status = 200, body = Page<RequestLog>)))]
async fn list(
    State(app): State<Arc<App>>,
    QueryOf(params): QueryOf<LogListParams>,
) -> Result<Json<Page<RequestLog>>, Problem> {
    let (filter, limit) = (params.filter()?, limit(params.limit)?);
    let cursor = parse_cursor(params.cursor.as_deref())?;
    let position = cursor.map_or(LogPosition::Newest, LogPosition::OlderThan);
    let deadline = clock::instant() + SEARCH_TIME_LIMIT;
    let mut found = search(&app.db.readers, &filter, position, limit, Some(deadline)).await?;
    if !params.attempts.unwrap_or(false) {
        for row in &mut found.rows {
            row.attempt_list = None;
        }
    }
    Ok(Json(Page {
        items: found.rows,
        next: found.next.map(|id| id.to_string()),
    }))
}

/// Get a request with its attempts
#[utoipa::path(get, path = "/logs/{id}", tag = "logs", params(("id" = RequestId, Path)),
    responses((status = 200, body = RequestLog)))]
async fn get(
    State(app): State<Arc<App>>,
    PathOf(id): PathOf<String>,
) -> Result<Json<RequestLog>, Problem> {
    let id = request_id(&id)?;
    Ok(Json(listed::find(&app.db.readers, id).await?))
}

/// One body of a request.
#[derive(Debug, Serialize, ToSchema)]
struct BodyAnswer {
    /// `whole`, `cut`: its beginning, or `binary` and `encoded`: nothing.
    form: BodyForm,
    content_type: Option<String>,
    /// Its size as sent.
    bytes: u64,
    /// Redacted; `null`: empty, or not kept.
    text: Option<String>,
}

/// The kept bodies of a request.
#[derive(Debug, Serialize, ToSchema)]
struct BodiesAnswer {
    id: RequestId,
    request: BodyAnswer,
    response: BodyAnswer,
}

impl BodyAnswer {
    fn of(body: KeptBody) -> Self {
        // A damaged body is shown as one that is not kept.
        let text = body.text().ok().flatten();
        Self {
            form: body.form,
            content_type: body.content_type,
            bytes: body.bytes,
            text,
        }
    }
}

/// Get the kept bodies of a request
///
/// Those that `body_log_mode` keeps. Each view is in the audit.
#[utoipa::path(get, path = "/logs/{id}/bodies", tag = "logs", params(("id" = RequestId, Path)),
    responses((status = 200, body = BodiesAnswer)))]
async fn bodies(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<String>,
) -> Result<Json<BodiesAnswer>, Problem> {
    let id = request_id(&id)?;
    let found = request_bodies::find(&app.db, id).await?;
    let found = found.ok_or_else(|| Error::NotFound(Thing::RequestBodies, id.to_string()))?;
    // Before they are sent: a view that cannot be recorded is refused.
    request_bodies::record_view(&app.db, &caller.actor(), caller.now, id).await?;
    Ok(Json(BodiesAnswer {
        id,
        request: BodyAnswer::of(found.request),
        response: BodyAnswer::of(found.answer),
    }))
}

fn request_id(text: &str) -> Result<RequestId, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("{text}: {error}")))
}

/// Export requests as CSV
#[utoipa::path(get, path = "/logs/export.csv", tag = "logs", params(LogFilterParams),
    responses((status = 200, body = String, content_type = "text/csv")))]
async fn export_csv(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    RawQuery(query): RawQuery,
    QueryOf(params): QueryOf<LogFilterParams>,
) -> Result<Response, Problem> {
    export(&app, &caller, query, &params, ExportFormat::Csv)
}

/// Export requests with their attempts as JSON Lines
#[utoipa::path(get, path = "/logs/export.jsonl", tag = "logs", params(LogFilterParams),
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
async fn export_jsonl(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    RawQuery(query): RawQuery,
    QueryOf(params): QueryOf<LogFilterParams>,
) -> Result<Response, Problem> {
    export(&app, &caller, query, &params, ExportFormat::Jsonl)
}

fn export(
    app: &App,
    caller: &ApiCaller,
    query: Option<String>,
    params: &LogFilterParams,
    format: ExportFormat,
) -> Result<Response, Problem> {
    let server = (app.db.clone(), app.cutting_off.clone());
    let filter = (params.filter()?, query.unwrap_or_default());
    let download = LogDownload::new(server, filter, format, caller.actor(), caller.now);
    Ok(download.into_response(format))
}

/// Follow the log
///
/// Server-sent events: `started` when a request has run for a second, `finished` at its end, each with the request as
/// JSON. The stream ends when the token is revoked or expires, and when the server stops.
#[utoipa::path(get, path = "/logs/tail", tag = "logs", params(LogFilterParams),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
async fn tail(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    QueryOf(params): QueryOf<LogFilterParams>,
) -> Result<Response, Problem> {
    let followed = FollowedLog {
        filter: params.filter()?,
        token: caller.token.id,
        tail: LogTail::begin(&app.db, caller.now).await?,
        app,
    };
    let batches = stream::unfold(followed, async |mut followed| {
        let events = followed.next_events().await?;
        Some((
            stream::iter(events.into_iter().map(Ok::<_, Infallible>)),
            followed,
        ))
    });
    let events = Sse::new(batches.flatten()).keep_alive(KeepAlive::default());
    Ok(events.into_response())
}

/// The log as one program follows it.
struct FollowedLog {
    app: Arc<App>,
    token: ApiTokenId,
    filter: LogFilter,
    tail: LogTail,
}

impl FollowedLog {
    /// The events since the last call; `None`: the stream ends.
    async fn next_events(&mut self) -> Option<Vec<Event>> {
        let pause = tokio::time::sleep(TAIL_INTERVAL);
        self.app.stopping.run_until_cancelled(pause).await?;
        let (db, now) = (&self.app.db, clock::now());
        let token = api_tokens::find(&db.readers, self.token).await.ok()?;
        if token.grant().is_expired(now) {
            return None;
        }
        let updates = match self.tail.next(db, now).await {
            Ok(updates) => updates,
            Err(error) => {
                tracing::warn!("the log could not be followed: {error}");
                return None;
            }
        };
        let started = updates.started.iter().rev().map(|row| ("started", row));
        let finished = updates.finished.iter().map(|row| ("finished", row));
        let matching = started
            .chain(finished)
            .filter(|(_, row)| self.filter.matches(row));
        Some(matching.map(|(name, row)| event(name, row)).collect())
    }
}

fn event(name: &str, row: &RequestLog) -> Event {
    let json = serde_json::to_string(row).expect("rows serialize to JSON");
    Event::default().event(name).data(json)
}
