//! Cached contents: create, get, list, patch, delete, and their tokens in a prompt.

use serde::Serialize;
use serde_json::Value;

use super::page::{self, PageSizes};
use super::referenced_resources;
use super::request_context::{RequestContext, field, timestamp};
use super::resource_store::Resource;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::models::{self, FakeModel};
use crate::demo::fake_gemini::request_body::{self, RequestBody};
use crate::demo::fake_gemini::response::FakeResponse;

/// One hour, if the client does not say (Google's docs on caching).
const LIFE_MS: i64 = 60 * 60 * 1000;

/// Google's form: the fields of recordings, in their order.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    name: String,
    /// With `models/`.
    model: String,
    create_time: String,
    update_time: String,
    expire_time: String,
    display_name: String,
    usage_metadata: Size,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Size {
    total_token_count: u64,
}

pub fn answer(context: &RequestContext, rest: &[&str]) -> Result<FakeResponse, GoogleError> {
    match (context.method(), rest) {
        ("POST", []) => create(context),
        ("GET", []) => {
            let sizes = PageSizes {
                default: 50,
                maximum: 1000,
            };
            page::answer(
                context,
                "cachedContents",
                sizes,
                |_, stored| match &stored.resource {
                    Resource::Cache(cache) => Some(cache.clone()),
                    _ => None,
                },
            )
        }
        ("GET", [id]) => find(context, &name_of(id), view),
        ("PATCH", [id]) => patch(context, &name_of(id)),
        ("DELETE", [id]) => context
            .delete(&name_of(id))
            .ok_or_else(GoogleError::no_such_cache),
        _ => Err(GoogleError::not_found()),
    }
}

/// The tokens that a prompt has from the cache it names, if it names one.
pub fn tokens_used(
    context: &RequestContext,
    model: &FakeModel,
    request_body: &RequestBody,
) -> Result<u64, GoogleError> {
    let Some(cached) = &request_body.cached_content else {
        return Ok(0);
    };
    if request_body.has_instructions {
        return Err(GoogleError::cache_conflict());
    }
    let (of_model, tokens) = find(context, cached, |cache| {
        let tokens = cache.usage_metadata.total_token_count;
        (cache.model.clone(), tokens)
    })?;
    if of_model != format!("models/{}", model.name) {
        let message = format!(
            "Model used by GenerateContent request (models/{}) and CachedContent ({of_model}) has to be the same.",
            model.name
        );
        return Err(GoogleError::plain(400, &message));
    }
    Ok(tokens)
}

fn create(context: &RequestContext) -> Result<FakeResponse, GoogleError> {
    let requested = context.json()?;
    referenced_resources::check_value(context, &requested)?;
    let model = requested["model"].as_str().unwrap_or_default();
    let short = model.trim_start_matches("models/");
    let model = models::find(short, &context.request_target.version)
        .filter(|model| model.supports("createCachedContent"))
        .ok_or_else(|| GoogleError::unknown_model(context.request_target, short))?;

    let name = name_of(&context.new_id(40));
    let expires_ms = expiry(context, &requested)?.unwrap_or(context.now_ms + LIFE_MS);
    let display_name = field(&requested, "displayName", "display_name");
    let cache = Cache {
        name: name.clone(),
        model: format!("models/{}", model.name),
        create_time: timestamp(context.now_ms),
        update_time: timestamp(context.now_ms),
        expire_time: timestamp(expires_ms),
        display_name: display_name.as_str().unwrap_or_default().to_owned(),
        usage_metadata: Size {
            total_token_count: request_body::cached_tokens(context.body)?,
        },
    };
    let answer = view(&cache);
    context.insert(&name, Some(expires_ms), Resource::Cache(cache))?;
    Ok(answer)
}

fn patch(context: &RequestContext, name: &str) -> Result<FakeResponse, GoogleError> {
    let expires_ms = expiry(context, &context.json()?)?;
    let patched = context.with_stored(name, |stored| match &mut stored.resource {
        Resource::Cache(cache) => {
            cache.update_time = timestamp(context.now_ms);
            if let Some(expires_ms) = expires_ms {
                stored.expires_ms = Some(expires_ms);
                cache.expire_time = timestamp(expires_ms);
            }
            Some(view(cache))
        }
        _ => None,
    });
    patched.flatten().ok_or_else(GoogleError::no_such_cache)
}

fn find<T>(
    context: &RequestContext,
    name: &str,
    read: impl FnOnce(&Cache) -> T,
) -> Result<T, GoogleError> {
    let found = context.with_resource(name, |resource| match resource {
        Resource::Cache(cache) => Some(read(cache)),
        _ => None,
    });
    found.flatten().ok_or_else(GoogleError::no_such_cache)
}

/// The end of a cache's life: a `ttl` like `300s`, or a time.
fn expiry(context: &RequestContext, requested: &Value) -> Result<Option<i64>, GoogleError> {
    if let Some(ttl) = requested["ttl"].as_str() {
        let seconds = ttl.strip_suffix('s').and_then(|text| text.parse().ok());
        let seconds: f64 = seconds.ok_or_else(GoogleError::bad_argument)?;
        #[expect(clippy::cast_possible_truncation, reason = "a life in milliseconds")]
        return Ok(Some(context.now_ms + (seconds * 1000.0) as i64));
    }
    let Some(until) = field(requested, "expireTime", "expire_time").as_str() else {
        return Ok(None);
    };
    let until: jiff::Timestamp = until.parse().map_err(|_| GoogleError::bad_argument())?;
    Ok(Some(until.as_millisecond()))
}

fn name_of(id: &str) -> String {
    format!("cachedContents/{id}")
}

fn view(cache: &Cache) -> FakeResponse {
    FakeResponse::json(json::pretty(cache))
}
