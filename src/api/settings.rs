//! `/settings` and `/setting-changes`: settings, their history, and undoing changes.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::etag::{check_match, etag_of, tagged};
use crate::api::input::{JsonBody, PathOf, QueryOf};
use crate::api::pages::{limit, parse_cursor};
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock;
use crate::pool::settings::{SettingDefinition, definition};
use crate::storage::audit::{self, Act, Subject};
use crate::storage::error::{Error, Thing};
use crate::storage::paging::Page;
use crate::storage::settings::{self, ListedSetting, SettingChange};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, update, reset))
        .routes(routes!(list_changes))
        .routes(routes!(undo))
}

/// A new value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SettingBody {
    value: SettingValue,
}

/// A number, a switch, or a text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum SettingValue {
    Switch(bool),
    Number(u64),
    Text(String),
}

impl SettingValue {
    fn text(self) -> String {
        match self {
            Self::Switch(true) => "on".to_owned(),
            Self::Switch(false) => "off".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ChangeParams {
    /// Only changes of this setting.
    name: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Maximum number of items.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<usize>,
}

/// List all settings
#[utoipa::path(get, path = "/settings", tag = "settings", responses((status = 200, body = Page<ListedSetting>)))]
async fn list(State(app): State<Arc<App>>) -> Result<Json<Page<ListedSetting>>, Problem> {
    Ok(Json(Page::whole(
        settings::list_all(&app.db.readers).await?,
    )))
}

fn find_definition(name: &str) -> Result<&'static SettingDefinition, Problem> {
    let missing = || Error::NotFound(Thing::Setting, name.to_owned());
    Ok(definition(name).ok_or_else(missing)?)
}

/// The setting in a list of all.
fn pick(all: Vec<ListedSetting>, name: &str) -> Result<ListedSetting, Problem> {
    let found = all.into_iter().find(|setting| setting.name == name);
    found.ok_or_else(|| Error::NotFound(Thing::Setting, name.to_owned()).into())
}

fn etag(setting: &ListedSetting) -> String {
    etag_of(&setting.value)
}

/// Get a setting
#[utoipa::path(get, path = "/settings/{name}", tag = "settings", params(("name" = String, Path)),
    responses((status = 200, body = ListedSetting, headers(("etag" = String)))))]
async fn get(
    State(app): State<Arc<App>>,
    PathOf(name): PathOf<String>,
) -> Result<Response, Problem> {
    let setting = pick(settings::list_all(&app.db.readers).await?, &name)?;
    Ok(tagged(&setting, &etag(&setting)))
}

/// Change a setting
#[utoipa::path(put, path = "/settings/{name}", tag = "settings", request_body = SettingBody,
    params(("name" = String, Path), ("if-match" = Option<String>, Header, description = "Change it only if it still has this ETag")),
    responses((status = 200, body = ListedSetting, headers(("etag" = String)))))]
async fn update(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(name): PathOf<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<SettingBody>,
) -> Result<Response, Problem> {
    let definition = find_definition(&name)?;
    let value = definition.row_value(&body.value.text());
    let value = value.map_err(|error| Problem::invalid(error.to_string()))?;
    save(&app, &caller, definition.name, value.as_deref(), &headers).await
}

/// Reset a setting to its default
#[utoipa::path(delete, path = "/settings/{name}", tag = "settings",
    params(("name" = String, Path), ("if-match" = Option<String>, Header, description = "Reset it only if it still has this ETag")),
    responses((status = 200, body = ListedSetting, headers(("etag" = String)))))]
async fn reset(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(name): PathOf<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let definition = find_definition(&name)?;
    save(&app, &caller, definition.name, None, &headers).await
}

/// Saves a value that was validated; `None`: the default.
async fn save(
    app: &App,
    caller: &ApiCaller,
    name: &'static str,
    value: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let mut tx = app.db.begin().await?;
    let before = pick(settings::list_all(&mut *tx).await?, name)?;
    check_match(headers, &etag(&before))?;
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    settings::change(&mut tx, name, value, &act).await?;
    let after = pick(settings::list_all(&mut *tx).await?, name)?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    Ok(tagged(&after, &etag(&after)))
}

/// List changes of settings
///
/// Newest first.
#[utoipa::path(get, path = "/setting-changes", tag = "settings", params(ChangeParams),
    responses((status = 200, body = Page<SettingChange>)))]
async fn list_changes(
    State(app): State<Arc<App>>,
    QueryOf(params): QueryOf<ChangeParams>,
) -> Result<Json<Page<SettingChange>>, Problem> {
    let (limit, cursor) = (
        limit(params.limit)?,
        parse_cursor(params.cursor.as_deref())?,
    );
    let name = params.name.as_deref();
    let page = settings::list_changes(&app.db.readers, name, cursor, limit).await?;
    Ok(Json(page))
}

/// Undo a change, with all that was changed together with it
///
/// Settings that were changed again since keep their values. The answer contains the changes that undo it.
#[utoipa::path(post, path = "/setting-changes/{id}/undo", tag = "settings", params(("id" = i64, Path)),
    responses((status = 200, body = Page<SettingChange>), (status = 409, body = Problem, content_type = "application/problem+json",
        description = "All of it was changed again since")))]
async fn undo(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<i64>,
) -> Result<Json<Page<SettingChange>>, Problem> {
    let change = audit::find(&app.db.readers, id).await?;
    if change.subject != Subject::Setting {
        return Err(Error::NotFound(Thing::Change, id.to_string()).into());
    }
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    let saved = settings::undo(&mut tx, change.revision, &act).await?;
    if saved.is_empty() {
        let detail = "nothing to undo: these settings were changed again since";
        return Err(Problem::conflict(detail));
    }
    tx.commit().await?;
    app.reload(clock::now()).await?;
    Ok(Json(Page::whole(saved)))
}
