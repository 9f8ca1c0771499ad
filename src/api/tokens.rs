//! `/tokens`: tokens of this API.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::authorize::ApiCaller;
use crate::api::idempotency::HasSecret;
use crate::api::input::{JsonBody, PathOf, QueryOf};
use crate::api::pages::{ListOrder, PageQuery, page_of};
use crate::api::problem::Problem;
use crate::app::App;
use crate::clock::Timestamp;
use crate::pool::api_token::{self, ApiScope, ApiTokenId, TokenAccess, TokenGrant};
use crate::storage::api_tokens::{self, ApiToken};
use crate::storage::audit::Act;
use crate::storage::paging::Page;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, revoke))
}

/// A new token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    /// Unlike that of any other token.
    #[schema(min_length = 1, max_length = 100, pattern = r"^\S")]
    name: String,
    access: TokenAccess,
    /// Empty: all.
    #[serde(default)]
    scopes: Vec<ApiScope>,
    /// `null`: never.
    expires_at: Option<Timestamp>,
}

/// The only answer that contains the token.
#[derive(Debug, Serialize, ToSchema)]
struct CreatedToken {
    #[serde(flatten)]
    token: ApiToken,
    /// Shown only now.
    secret: String,
}

/// List tokens
#[utoipa::path(get, path = "/tokens", tag = "tokens", params(PageQuery),
    responses((status = 200, body = Page<ApiToken>)))]
async fn list(
    State(app): State<Arc<App>>,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Json<Page<ApiToken>>, Problem> {
    let tokens = api_tokens::list(&app.db.readers).await?;
    let page = page_of(tokens, &query, ListOrder::NewestFirst, |token| token.id.0)?;
    Ok(Json(page))
}

/// Get a token, without its text
#[utoipa::path(get, path = "/tokens/{id}", tag = "tokens", params(("id" = ApiTokenId, Path)),
    responses((status = 200, body = ApiToken)))]
async fn get(
    State(app): State<Arc<App>>,
    PathOf(id): PathOf<ApiTokenId>,
) -> Result<Json<ApiToken>, Problem> {
    Ok(Json(api_tokens::find(&app.db.readers, id).await?))
}

/// Create a token
///
/// It can have at most the access, the scopes and the lifetime of the token that creates it. The answer is the only one with
/// its text.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = TokenBody,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeated request harmless", min_length = 1, max_length = 255)),
    responses((status = 201, body = CreatedToken, headers(("location" = String))),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another token has this name")))]
async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    JsonBody(body): JsonBody<TokenBody>,
) -> Result<Response, Problem> {
    let name = api_token::parse_name(&body.name).map_err(Problem::invalid)?;
    let grant = TokenGrant::new(body.access, body.scopes, body.expires_at);
    if grant.is_expired(caller.now) {
        return Err(Problem::invalid("expires_at is in the past"));
    }
    if !caller.token.grant().covers(&grant) {
        let detail = "a token creates only tokens with at most its own access, scopes and lifetime: ask for less, or use \
                      another token";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let secret = api_token::generate(&mut rand::rng());
    let mut tx = app.db.begin().await?;
    let act = Act::without_revision(caller.actor(), caller.now);
    let Some(id) = api_tokens::insert(&mut tx, name, &secret, &grant, &act).await? else {
        let detail = format!("a token is named {name}: choose another name");
        return Err(Problem::conflict(detail));
    };
    let token = api_tokens::find(&mut *tx, id).await?;
    tx.commit().await?;
    let created = CreatedToken {
        token,
        secret: secret.expose().to_owned(),
    };
    let location = format!("/api/v1/tokens/{}", id.0);
    let answer = (StatusCode::CREATED, [(LOCATION, location)], Json(created));
    let mut answer = answer.into_response();
    answer.extensions_mut().insert(HasSecret);
    Ok(answer)
}

/// Revoke a token
#[utoipa::path(delete, path = "/tokens/{id}", tag = "tokens", params(("id" = ApiTokenId, Path)),
    responses((status = 204)))]
async fn revoke(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<ApiCaller>,
    PathOf(id): PathOf<ApiTokenId>,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin().await?;
    let act = Act::without_revision(caller.actor(), caller.now);
    api_tokens::delete(&mut tx, id, &act).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
