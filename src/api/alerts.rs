//! `/alert-targets` and `/alert-messages`: where alerts are sent, and what was sent.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::alert_sender::email::MailSecurity;
use crate::alert_sender::target_input::{AlertTargetInput, InvalidField, InvalidFields, time_of};
use crate::alert_sender::test_message::send_test;
use crate::api::authorize::ApiCaller;
use crate::api::etag::{check_match, etag_of, tagged};
use crate::api::idempotency::HasSecret;
use crate::api::input::{JsonBody, PathOf, QueryOf};
use crate::api::pages::{ListOrder, PageQuery, limit, page_of, parse_cursor};
use crate::api::problem::Problem;
use crate::app::App;
use crate::pool::alerts::AlertKind;
use crate::storage::alert_deliveries::{self, ListedAlertDelivery};
use crate::storage::alert_targets::{
    self, AlertLanguage, AlertTarget, AlertTargetId, AlertTargetKind, AlertTargetTerms,
};
use crate::storage::audit::Act;
use crate::storage::paging::{Page, PagePosition};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
        .routes(routes!(test))
        .routes(routes!(list_messages))
}

/// The attributes of a target. A missing member keeps its value; a new target needs `kind`, `name` and its receiver.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct AlertTargetBody {
    /// Cannot be changed.
    kind: Option<AlertTargetKind>,
    #[schema(min_length = 1, max_length = 100, pattern = r"^\S")]
    name: Option<String>,
    enabled: Option<bool>,
    /// Of a webhook, of Slack or of Discord. Never shown.
    url: Option<String>,
    /// The chat of Telegram, or the recipient of mails.
    address: Option<String>,
    /// The signing secret of a webhook (default: a new one), the token of a bot, or the password of a mail server.
    secret: Option<String>,
    /// The bot API of Telegram.
    server: Option<String>,
    /// The address that mails come from.
    sender: Option<String>,
    mail_host: Option<String>,
    mail_port: Option<u16>,
    mail_security: Option<MailSecurity>,
    mail_user: Option<String>,
    /// Empty: all.
    events: Option<Vec<AlertKind>>,
    /// As `22:30`, with `quiet_to`; both empty: no quiet hours.
    quiet_from: Option<String>,
    quiet_to: Option<String>,
    /// The IANA name of the zone of the quiet hours and of times in messages; `Etc/UTC` for a new target.
    zone: Option<String>,
    language: Option<AlertLanguage>,
}

/// A target, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
struct AlertTargetAnswer {
    id: AlertTargetId,
    kind: AlertTargetKind,
    name: String,
    enabled: bool,
    /// Of a URL the host and the last four characters.
    address: String,
    /// The mail server or the bot API.
    server: Option<String>,
    sender: Option<String>,
    /// Empty: all.
    events: Vec<AlertKind>,
    /// As `22:30`; `null`: no quiet hours.
    quiet_from: Option<String>,
    quiet_to: Option<String>,
    zone: String,
    language: AlertLanguage,
}

/// The only answer that contains the signing secret of a webhook.
#[derive(Debug, Serialize, ToSchema)]
struct CreatedAlertTarget {
    #[serde(flatten)]
    target: AlertTargetAnswer,
    /// Shown only now; `null`: the target signs nothing.
    secret: Option<String>,
}

/// The result of a test message.
#[derive(Debug, Serialize, ToSchema)]
struct AlertTestAnswer {
    /// Whether the receiver took it.
    sent: bool,
    error: Option<String>,
}

impl From<AlertTarget> for AlertTargetAnswer {
    fn from(target: AlertTarget) -> Self {
        let address = target.terms.shown_address();
        let AlertTargetTerms {
            kind,
            name,
            server,
            sender,
            events,
            quiet,
            zone,
            language,
            ..
        } = target.terms;
        Self {
            id: target.id,
            kind,
            name,
            enabled: target.enabled,
            address,
            server,
            sender,
            events,
            quiet_from: quiet.map(|quiet| time_of(quiet.from_minute)),
            quiet_to: quiet.map(|quiet| time_of(quiet.to_minute)),
            zone,
            language,
        }
    }
}

impl AlertTargetBody {
    /// Applies the members to what is stored, or to the defaults of a new target.
    fn apply(self, input: &mut AlertTargetInput) -> Result<(), Problem> {
        for (member, target) in [
            (self.name, &mut input.name),
            (self.url, &mut input.url),
            (self.address, &mut input.address),
            (self.secret, &mut input.secret),
            (self.server, &mut input.server),
            (self.sender, &mut input.sender),
            (self.mail_host, &mut input.host),
            (self.mail_port.map(|port| port.to_string()), &mut input.port),
            (
                self.mail_security
                    .map(|security| security.name().to_owned()),
                &mut input.security,
            ),
            (self.mail_user, &mut input.user),
            (self.quiet_from, &mut input.quiet_from),
            (self.quiet_to, &mut input.quiet_to),
        ] {
            if let Some(member) = member {
                *target = member;
            }
        }
        match self.events {
            Some(events) if events.is_empty() => input.events = AlertKind::ALL.to_vec(),
            Some(events) => input.events = events,
            None => {}
        }
        if let Some(zone) = self.zone {
            if TimeZone::get(&zone).is_err() {
                return Err(Problem::invalid(
                    "zone must be an IANA name such as Asia/Taipei",
                ));
            }
            input.zone = zone;
        }
        input.language = self.language.unwrap_or(input.language);
        Ok(())
    }
}

/// The problem of invalid fields, by the names of the members.
fn problem_of(invalid: &InvalidFields) -> Problem {
    let member = |field: &'static str| match field {
        "host" => "mail_host",
        "port" => "mail_port",
        "user" => "mail_user",
        field => field,
    };
    let texts = invalid
        .iter()
        .map(|(field, why)| format!("{} {why}", member(field)));
    Problem::invalid(texts.collect::<Vec<_>>().join("; "))
}

fn name_taken() -> Problem {
    Problem::conflict(format!("name: {}", InvalidField::NameTaken))
}

/// The tag of what a PATCH changes.
fn etag(target: &AlertTargetAnswer) -> String {
    etag_of(target)
}

/// List alert targets
#[utoipa::path(get, path = "/alert-targets", tag = "alerts", params(PageQuery),
    responses((status = 200, body = Page<AlertTargetAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Json<Page<AlertTargetAnswer>>, Problem> {
    let mut targets = alert_targets::list(&app.db).await?;
    targets.sort_by_key(|target| target.id);
    let targets = targets.into_iter().map(AlertTargetAnswer::from).collect();
    let page = page_of(targets, &query, ListOrder::OldestFirst, |target| {
        target.id.0
    })?;
    Ok(Json(page))
}

/// Create an alert target
///
/// The answer is the only one with the signing secret of a webhook.
#[utoipa::path(post, path = "/alert-targets", tag = "alerts", request_body = AlertTargetBody,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 201, body = CreatedAlertTarget, headers(("location" = String), ("etag" = String))),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another target has this name")))]
async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    JsonBody(body): JsonBody<AlertTargetBody>,
) -> Result<Response, Problem> {
    let Some(kind) = body.kind else {
        return Err(Problem::invalid("kind is missing"));
    };
    let is_disabled = body.enabled == Some(false);
    let mut input = AlertTargetInput::new(kind, "Etc/UTC", AlertLanguage::English);
    body.apply(&mut input)?;
    let terms = input.terms(None).map_err(|invalid| problem_of(&invalid))?;
    let mut tx = app.db.begin().await?;
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    let act = Act::without_revision(caller.actor(), caller.now);
    let id = alert_targets::insert(&mut tx, &data_keys, &terms, &act).await?;
    let id = id.ok_or_else(name_taken)?;
    if is_disabled {
        alert_targets::update_enabled(&mut tx, id, false, &act).await?;
    }
    let target = alert_targets::find_in(&mut tx, &data_keys, id).await?;
    tx.commit().await?;
    let signs = kind == AlertTargetKind::Webhook;
    let secret = signs.then(|| target.terms.secret.expose().to_owned());
    let target = AlertTargetAnswer::from(target);
    let etag = etag(&target);
    let answer = tagged(&CreatedAlertTarget { target, secret }, &etag);
    let location = format!("/api/v1/alert-targets/{id}");
    let mut answer = (StatusCode::CREATED, [(LOCATION, location)], answer).into_response();
    answer.extensions_mut().insert(HasSecret);
    Ok(answer)
}

/// Get an alert target
#[utoipa::path(get, path = "/alert-targets/{id}", tag = "alerts", params(("id" = AlertTargetId, Path)),
    responses((status = 200, body = AlertTargetAnswer, headers(("etag" = String)))))]
async fn get(
    State(app): State<Arc<App>>,
    PathOf(id): PathOf<AlertTargetId>,
) -> Result<Response, Problem> {
    let target = AlertTargetAnswer::from(alert_targets::find(&app.db, id).await?);
    Ok(tagged(&target, &etag(&target)))
}

/// Change an alert target
#[utoipa::path(patch, path = "/alert-targets/{id}", tag = "alerts", request_body = AlertTargetBody,
    params(("id" = AlertTargetId, Path), ("if-match" = Option<String>, Header, description = "Change it only if it still has this ETag")),
    responses((status = 200, body = AlertTargetAnswer, headers(("etag" = String))),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another target has this name")))]
async fn update(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<AlertTargetId>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<AlertTargetBody>,
) -> Result<Response, Problem> {
    let mut tx = app.db.begin().await?;
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    let target = alert_targets::find_in(&mut tx, &data_keys, id).await?;
    check_match(&headers, &etag(&AlertTargetAnswer::from(target.clone())))?;
    if body.kind.is_some_and(|kind| kind != target.terms.kind) {
        return Err(Problem::invalid(
            "kind cannot be changed: create another target",
        ));
    }
    let enabled = body.enabled.unwrap_or(target.enabled);
    let mut input = AlertTargetInput::of(&target.terms);
    body.apply(&mut input)?;
    let terms = input.terms(Some(&target.terms));
    let terms = terms.map_err(|invalid| problem_of(&invalid))?;
    // An act with a revision can be undone.
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    if !alert_targets::update(&mut tx, &data_keys, &target, &terms, &act).await? {
        return Err(name_taken());
    }
    if enabled != target.enabled {
        alert_targets::update_enabled(&mut tx, id, enabled, &act).await?;
    }
    let target = AlertTargetAnswer::from(alert_targets::find_in(&mut tx, &data_keys, id).await?);
    tx.commit().await?;
    Ok(tagged(&target, &etag(&target)))
}

/// Delete an alert target, with the messages that wait for it
#[utoipa::path(delete, path = "/alert-targets/{id}", tag = "alerts",
    params(("id" = AlertTargetId, Path), ("if-match" = Option<String>, Header, description = "Delete it only if it still has this ETag")),
    responses((status = 204)))]
async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<AlertTargetId>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin().await?;
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    let target = alert_targets::find_in(&mut tx, &data_keys, id).await?;
    check_match(&headers, &etag(&AlertTargetAnswer::from(target.clone())))?;
    let act = Act::without_revision(caller.actor(), caller.now);
    alert_targets::delete(&mut tx, &target, &act).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send a test message to a target now
#[utoipa::path(post, path = "/alert-targets/{id}/test", tag = "alerts", params(("id" = AlertTargetId, Path)),
    responses((status = 200, body = AlertTestAnswer)))]
async fn test(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<AlertTargetId>,
) -> Result<Json<AlertTestAnswer>, Problem> {
    let target = alert_targets::find(&app.db, id).await?;
    let url = app.config.public_url.as_deref();
    let result = send_test(&app.db, &target, url, caller.now).await?;
    Ok(Json(AlertTestAnswer {
        sent: result.is_ok(),
        error: result.err().map(|failed| failed.error),
    }))
}

/// List the messages to all targets, the newest first
#[utoipa::path(get, path = "/alert-messages", tag = "alerts", params(PageQuery),
    responses((status = 200, body = Page<ListedAlertDelivery>)))]
async fn list_messages(
    State(app): State<Arc<App>>,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Json<Page<ListedAlertDelivery>>, Problem> {
    let limit = limit(query.limit)?;
    let position = PagePosition::of(parse_cursor(query.cursor.as_deref())?, None);
    let read = alert_deliveries::list(&app.db.readers, position, limit).await?;
    Ok(Json(Page {
        items: read.items,
        next: read.older.map(|id| id.to_string()),
    }))
}
