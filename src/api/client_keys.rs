//! `/client-keys`: the keys that clients send to this server.

pub mod bulk;
pub mod fallback;
pub mod limits;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{Sqlite, Transaction};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::client_keys::bulk::ClientKeyListParams;
use crate::api::client_keys::fallback::fallback;
use crate::api::client_keys::limits::LimitsBody;
use crate::api::etag::{check_match, etag_of, tagged};
use crate::api::idempotency::HasSecret;
use crate::api::input::{JsonBody, Patch, PathOf, QueryOf};
use crate::api::pages::{ListOrder, page_of};
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock::{self, Timestamp};
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::clients::scopes::{self, InvalidScope};
use crate::pool::secret::Secret;
use crate::storage::audit::Act;
use crate::storage::client_keys::{self, ClientKeyTerms, ListedClientKey, creation, rotation};
use crate::storage::installation;
use crate::storage::paging::Page;

/// How long the old secret of a rotated key stays valid unless the request says otherwise, and at most.
const KEEP_OLD: Duration = Duration::from_hours(24);
const LONGEST_KEEP_OLD: Duration = Duration::from_hours(24 * 366);

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
        .routes(routes!(rotate))
        .merge(bulk::routes())
}

/// The attributes of a client key. A missing member keeps its value; a new key needs a name.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClientKeyBody {
    #[schema(min_length = 1, max_length = 100, pattern = r"^\S")]
    name: Option<String>,
    #[schema(max_length = 1000)]
    note: Option<String>,
    enabled: Option<bool>,
    /// `null`: never.
    #[serde(default)]
    #[schema(value_type = Option<Timestamp>)]
    expires_at: Patch<Timestamp>,
    #[serde(default)]
    limits: LimitsBody,
    /// Globs; an empty list allows all, here and below.
    models: Option<Vec<String>>,
    paths: Option<Vec<String>>,
    /// Addresses or networks, as in `192.0.2.0/24`.
    addresses: Option<Vec<String>>,
    /// Of the upstream keys that it may use.
    tags: Option<Vec<String>>,
    /// Whether it may receive access to Google that bypasses this server.
    direct_access: Option<bool>,
    /// Chains of models that answer in place of others, as the setting `model_fallback` has them; an empty text: none; `null`:
    /// those of the setting.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    model_fallback: Patch<String>,
}

/// The only answer that contains the secret.
#[derive(Debug, Serialize, ToSchema)]
struct CreatedClientKey {
    #[serde(flatten)]
    key: ListedClientKey,
    /// Shown only now.
    secret: String,
}

/// How a key gets a new secret.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct RotationBody {
    /// How long the old secret stays valid: a day by default, 0 ends it now.
    #[schema(minimum = 0, maximum = 31_622_400)]
    keep_old_seconds: Option<u64>,
}

impl ClientKeyBody {
    /// Applies the members to the terms of a key.
    fn apply(self, terms: &mut ClientKeyTerms, now: Timestamp) -> Result<(), Problem> {
        if let Some(name) = self.name {
            name.trim().clone_into(&mut terms.name);
        }
        let name = &terms.name;
        if name.is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
            let detail = "name must have 1 to 100 characters, on one line";
            return Err(Problem::invalid(detail));
        }
        if let Some(note) = self.note {
            note.trim().clone_into(&mut terms.note);
        }
        if terms.note.chars().count() > 1_000 {
            return Err(Problem::invalid("note has at most 1,000 characters"));
        }
        if matches!(self.expires_at, Patch::Value(at) if at <= now) {
            return Err(Problem::invalid("expires_at is in the past"));
        }
        self.expires_at.apply(&mut terms.expires_at);
        for (limit, most) in self.limits.members()? {
            terms.limits.set(limit, most);
        }
        let lists = [
            (
                self.models,
                &mut terms.models,
                "models",
                scopes::check_model as Check,
            ),
            (self.paths, &mut terms.paths, "paths", scopes::check_path),
            (
                self.addresses,
                &mut terms.addresses,
                "addresses",
                scopes::check_address,
            ),
            (self.tags, &mut terms.tags, "tags", scopes::check_tag),
        ];
        for (items, target, member, check) in lists {
            let Some(items) = items else { continue };
            if let Some(why) = items.iter().find_map(|item| check(item).err()) {
                return Err(Problem::invalid(format!("{member}: {why}")));
            }
            *target = items;
        }
        if let Some(direct_access) = self.direct_access {
            terms.direct_access = direct_access;
        }
        if let Some(fallback) = fallback(self.model_fallback)? {
            terms.model_fallback = fallback;
        }
        Ok(())
    }
}

type Check = fn(&str) -> Result<(), InvalidScope>;

/// The tag of what a PATCH changes.
fn etag(key: &ListedClientKey) -> String {
    etag_of(&json!([
        key.name,
        key.note,
        key.enabled,
        key.expires_at,
        key.limits,
        key.models,
        key.paths,
        key.addresses,
        key.tags,
        key.direct_access,
        key.model_fallback,
    ]))
}

/// Two keys of one name could not be told apart by the filters of the log.
async fn refuse_taken_name(
    tx: &mut Transaction<'_, Sqlite>,
    name: &str,
    except: Option<ClientKeyId>,
) -> Result<(), Problem> {
    if creation::is_name_taken(&mut **tx, name, except).await? {
        let detail = format!("another client key has the name {name:?}");
        return Err(Problem::invalid(detail));
    }
    Ok(())
}

/// List client keys
#[utoipa::path(get, path = "/client-keys", tag = "client keys", params(ClientKeyListParams),
    responses((status = 200, body = Page<ListedClientKey>)))]
async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    QueryOf(query): QueryOf<ClientKeyListParams>,
) -> Result<Json<Page<ListedClientKey>>, Problem> {
    let mut keys = client_keys::list(&app.db.readers).await?;
    let (filter, query) = query.split();
    keys.retain(|key| filter.matches(key, caller.now));
    let page = page_of(keys, &query, ListOrder::OldestFirst, |key| key.id.0)?;
    Ok(Json(page))
}

/// Create a client key
///
/// The answer is the only one with its secret.
#[utoipa::path(post, path = "/client-keys", tag = "client keys", request_body = ClientKeyBody,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 201, body = CreatedClientKey, headers(("location" = String), ("etag" = String)))))]
async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    JsonBody(body): JsonBody<ClientKeyBody>,
) -> Result<Response, Problem> {
    let mut terms = ClientKeyTerms::default();
    let is_disabled = body.enabled == Some(false);
    body.apply(&mut terms, caller.now)?;
    let secret = Secret::generate(&mut rand::rng());
    let mut tx = app.db.begin().await?;
    refuse_taken_name(&mut tx, &terms.name, None).await?;
    let keys = installation::keys(&mut tx, &app.db.data_keys).await?;
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    let created = creation::create(&mut tx, &keys.hash_key, &secret, &terms, &act).await?;
    let id = created.expect("240 random bits are unique");
    if is_disabled {
        client_keys::update_enabled(&mut tx, id, false, &act).await?;
    }
    let key = client_keys::find(&mut *tx, id).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let etag = etag(&key);
    let created = CreatedClientKey {
        key,
        secret: secret.expose().to_owned(),
    };
    let location = format!("/api/v1/client-keys/{}", id.0);
    let answer = tagged(&created, &etag);
    let mut answer = (StatusCode::CREATED, [(LOCATION, location)], answer).into_response();
    answer.extensions_mut().insert(HasSecret);
    Ok(answer)
}

/// Get a client key
#[utoipa::path(get, path = "/client-keys/{id}", tag = "client keys", params(("id" = ClientKeyId, Path)),
    responses((status = 200, body = ListedClientKey, headers(("etag" = String)))))]
async fn get(
    State(app): State<Arc<App>>,
    PathOf(id): PathOf<ClientKeyId>,
) -> Result<Response, Problem> {
    let key = client_keys::find(&app.db.readers, id).await?;
    Ok(tagged(&key, &etag(&key)))
}

/// Change a client key
#[utoipa::path(patch, path = "/client-keys/{id}", tag = "client keys",
    params(("id" = ClientKeyId, Path), ("if-match" = Option<String>, Header, description = "Change it only if it still has this ETag")),
    request_body = ClientKeyBody,
    responses((status = 200, body = ListedClientKey, headers(("etag" = String)))))]
async fn update(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<ClientKeyId>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<ClientKeyBody>,
) -> Result<Response, Problem> {
    let mut tx = app.db.begin().await?;
    let key = client_keys::find(&mut *tx, id).await?;
    check_match(&headers, &etag(&key))?;
    let mut terms = client_keys::find_terms(&mut tx, id).await?;
    let enabled = body.enabled.unwrap_or(key.enabled);
    body.apply(&mut terms, caller.now)?;
    if terms.name != key.name {
        refuse_taken_name(&mut tx, &terms.name, Some(id)).await?;
    }
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    client_keys::update(&mut tx, id, &terms, &act).await?;
    client_keys::update_enabled(&mut tx, id, enabled, &act).await?;
    let key = client_keys::find(&mut *tx, id).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    Ok(tagged(&key, &etag(&key)))
}

/// Delete a client key
///
/// Its requests stay in the log. It can be undone for a day.
#[utoipa::path(delete, path = "/client-keys/{id}", tag = "client keys",
    params(("id" = ClientKeyId, Path), ("if-match" = Option<String>, Header, description = "Delete it only if it still has this ETag")),
    responses((status = 204)))]
async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<ClientKeyId>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin().await?;
    let key = client_keys::find(&mut *tx, id).await?;
    check_match(&headers, &etag(&key))?;
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    client_keys::delete(&mut tx, id, &act).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a client key a new secret
///
/// The answer is the only one with the secret. The old one stays valid for a time.
#[utoipa::path(post, path = "/client-keys/{id}/rotate", tag = "client keys", request_body = RotationBody,
    params(("id" = ClientKeyId, Path), ("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 200, body = CreatedClientKey, headers(("etag" = String)))))]
async fn rotate(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<ClientKeyId>,
    JsonBody(body): JsonBody<RotationBody>,
) -> Result<Response, Problem> {
    let keep_old = body.keep_old_seconds.map_or(KEEP_OLD, Duration::from_secs);
    if keep_old > LONGEST_KEEP_OLD {
        let detail = "keep_old_seconds is at most a year: 31622400";
        return Err(Problem::invalid(detail));
    }
    let secret = Secret::generate(&mut rand::rng());
    let mut tx = app.db.begin().await?;
    let keys = installation::keys(&mut tx, &app.db.data_keys).await?;
    let act = Act::begin(&mut tx, &caller.actor(), caller.now).await?;
    rotation::rotate(
        &mut tx,
        &keys.hash_key,
        id,
        &secret,
        caller.now + keep_old,
        &act,
    )
    .await?;
    let key = client_keys::find(&mut *tx, id).await?;
    tx.commit().await?;
    app.old_secret_uses.lock().remove(&id);
    app.reload(clock::now()).await?;
    let etag = etag(&key);
    let secret = secret.expose().to_owned();
    let mut answer = tagged(&CreatedClientKey { key, secret }, &etag);
    answer.extensions_mut().insert(HasSecret);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn applied(json: &str, terms: &mut ClientKeyTerms) -> Result<(), Problem> {
        let body: ClientKeyBody = serde_json::from_str(json).unwrap();
        body.apply(terms, NOW)
    }

    #[test]
    fn missing_members_keep_their_values_and_null_removes_them() {
        let mut terms = ClientKeyTerms::default();

        let first = r#"{"name": " a ", "expires_at": "2030-01-01T00:00:00Z", "models": ["gemini-*"],
            "limits": {"requests_per_day": 5, "cost_per_month": 2.5}}"#;
        applied(first, &mut terms).unwrap();
        assert_eq!(terms.name, "a");
        assert_eq!(terms.limits.cost_per_month_nano_usd, Some(2_500_000_000));
        applied(
            r#"{"note": "x", "limits": {"cost_per_month": null}}"#,
            &mut terms,
        )
        .unwrap();

        assert_eq!(terms.limits.requests_per_day, Some(5));
        assert_eq!(terms.limits.cost_per_month_nano_usd, None);
        assert_eq!((terms.models.len(), terms.note.as_str()), (1, "x"));
        applied(r#"{"expires_at": null, "models": []}"#, &mut terms).unwrap();
        assert_eq!((terms.expires_at, terms.models), (None, vec![]));
    }

    #[test]
    fn unusable_values_are_refused() {
        for json in [
            "{}",
            r#"{"name": " "}"#,
            r#"{"name": "a", "expires_at": "2020-01-01T00:00:00Z"}"#,
            r#"{"name": "a", "limits": {"concurrency": 0}}"#,
            r#"{"name": "a", "limits": {"cost_per_month": -1}}"#,
            r#"{"name": "a", "limits": {"cost_per_month": 1e300}}"#,
            r#"{"name": "a", "addresses": ["example.com"]}"#,
            r#"{"name": "a", "models": [""]}"#,
            r#"{"name": "a", "tags": ["a b"]}"#,
        ] {
            let refused = applied(json, &mut ClientKeyTerms::default());
            assert!(refused.is_err(), "{json}");
        }
    }
}
