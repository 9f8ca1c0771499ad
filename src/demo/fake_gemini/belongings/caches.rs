//! Cached contents: create, get, list, patch, delete, and what a prompt has of them.

use serde::Serialize;
use serde_json::Value;

use super::asks::{Asks, field, time};
use super::named;
use super::owned::Thing;
use super::page::{self, Sizes};
use crate::demo::fake_gemini::answer::Answer;
use crate::demo::fake_gemini::asked::{self, Asked};
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::models::{self, FakeModel};

/// One hour, if the client does not say (Google's docs on caching).
const LIFE_MS: i64 = 60 * 60 * 1000;

/// As Google shows it: the fields of recordings, in their order.
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

pub fn answer(asks: &Asks, rest: &[&str]) -> Result<Answer, GoogleError> {
    match (asks.method(), rest) {
        ("POST", []) => create(asks),
        ("GET", []) => {
            let sizes = Sizes {
                default: 50,
                most: 1000,
            };
            page::answer(asks, "cachedContents", sizes, |_, owned| {
                match &owned.thing {
                    Thing::Cache(cache) => Some(cache.clone()),
                    _ => None,
                }
            })
        }
        ("GET", [id]) => find(asks, &name_of(id), shown),
        ("PATCH", [id]) => patch(asks, &name_of(id)),
        ("DELETE", [id]) => asks
            .delete(&name_of(id))
            .ok_or_else(GoogleError::no_such_cache),
        _ => Err(GoogleError::not_found()),
    }
}

/// The tokens that a prompt has from the cache it names, if it names one.
pub fn tokens_used(asks: &Asks, model: &FakeModel, asked: &Asked) -> Result<u64, GoogleError> {
    let Some(cached) = &asked.cached_content else {
        return Ok(0);
    };
    if asked.has_instructions {
        return Err(GoogleError::cache_conflict());
    }
    let (of_model, tokens) = find(asks, cached, |cache| {
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

fn create(asks: &Asks) -> Result<Answer, GoogleError> {
    let wish = asks.json()?;
    named::check_value(asks, &wish)?;
    let model = wish["model"].as_str().unwrap_or_default();
    let short = model.trim_start_matches("models/");
    let model = models::find(short, &asks.call.version)
        .filter(|model| model.does("createCachedContent"))
        .ok_or_else(|| GoogleError::unknown_model(asks.call, short))?;

    let name = name_of(&asks.id(40));
    let expires_ms = expiry(asks, &wish)?.unwrap_or(asks.now_ms + LIFE_MS);
    let display_name = field(&wish, "displayName", "display_name");
    let cache = Cache {
        name: name.clone(),
        model: format!("models/{}", model.name),
        create_time: time(asks.now_ms),
        update_time: time(asks.now_ms),
        expire_time: time(expires_ms),
        display_name: display_name.as_str().unwrap_or_default().to_owned(),
        usage_metadata: Size {
            total_token_count: asked::cached_tokens(asks.body)?,
        },
    };
    let answer = shown(&cache);
    asks.keep(&name, Some(expires_ms), Thing::Cache(cache))?;
    Ok(answer)
}

fn patch(asks: &Asks, name: &str) -> Result<Answer, GoogleError> {
    let expires_ms = expiry(asks, &asks.json()?)?;
    let patched = asks.look_owned(name, |owned| match &mut owned.thing {
        Thing::Cache(cache) => {
            cache.update_time = time(asks.now_ms);
            if let Some(expires_ms) = expires_ms {
                owned.expires_ms = Some(expires_ms);
                cache.expire_time = time(expires_ms);
            }
            Some(shown(cache))
        }
        _ => None,
    });
    patched.flatten().ok_or_else(GoogleError::no_such_cache)
}

fn find<T>(asks: &Asks, name: &str, look: impl FnOnce(&Cache) -> T) -> Result<T, GoogleError> {
    let found = asks.look(name, |thing| match thing {
        Thing::Cache(cache) => Some(look(cache)),
        _ => None,
    });
    found.flatten().ok_or_else(GoogleError::no_such_cache)
}

/// Until when a cache shall live: a `ttl` like `300s`, or a time.
fn expiry(asks: &Asks, wish: &Value) -> Result<Option<i64>, GoogleError> {
    if let Some(ttl) = wish["ttl"].as_str() {
        let seconds = ttl.strip_suffix('s').and_then(|text| text.parse().ok());
        let seconds: f64 = seconds.ok_or_else(GoogleError::bad_argument)?;
        #[expect(clippy::cast_possible_truncation, reason = "a life in milliseconds")]
        return Ok(Some(asks.now_ms + (seconds * 1000.0) as i64));
    }
    let Some(until) = field(wish, "expireTime", "expire_time").as_str() else {
        return Ok(None);
    };
    let until: jiff::Timestamp = until.parse().map_err(|_| GoogleError::bad_argument())?;
    Ok(Some(until.as_millisecond()))
}

fn name_of(id: &str) -> String {
    format!("cachedContents/{id}")
}

fn shown(cache: &Cache) -> Answer {
    Answer::json(json::pretty(cache))
}
