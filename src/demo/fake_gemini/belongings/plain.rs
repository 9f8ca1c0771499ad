//! Things that the fake only keeps: tuned models, agents, environments and the like.

use serde_json::{Map, Value, json};

use super::asks::{Asks, time};
use super::operations;
use super::owned::Thing;
use super::page::{self, Sizes};
use crate::demo::fake_gemini::answer::Answer;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;

/// Answers for one collection of such things.
pub fn answer(asks: &Asks, collection: &str, rest: &[&str]) -> Result<Answer, GoogleError> {
    match (asks.method(), rest) {
        ("POST", []) => create(asks, collection),
        ("GET", []) => {
            let sizes = Sizes {
                default: 10,
                most: 1000,
            };
            let inside = format!("{collection}/");
            page::answer(asks, collection, sizes, |name, owned| match &owned.thing {
                Thing::Plain(fields) if name.starts_with(&inside) => Some(fields.clone()),
                _ => None,
            })
        }
        ("GET", [id]) => change(asks, &format!("{collection}/{id}"), Map::new()),
        ("PATCH", [id]) => match asks.json()? {
            Value::Object(fields) => change(asks, &format!("{collection}/{id}"), fields),
            _ => Err(GoogleError::bad_argument()),
        },
        ("DELETE", [id]) => asks
            .delete(&format!("{collection}/{id}"))
            .ok_or_else(GoogleError::not_found),
        _ => Err(GoogleError::not_found()),
    }
}

fn create(asks: &Asks, collection: &str) -> Result<Answer, GoogleError> {
    let Value::Object(mut fields) = asks.json()? else {
        return Err(GoogleError::bad_argument());
    };
    // Clients may choose an id, as Google's client for Python shows.
    let id = match &fields.get("id") {
        Some(Value::String(id)) => id.clone(),
        _ => asks.id(12),
    };
    let name = format!("{collection}/{id}");
    // The older collections have names, the newer ones ids.
    let is_named = matches!(collection, "tunedModels" | "corpora" | "auth_tokens");
    if is_named {
        fields.insert("name".to_owned(), name.clone().into());
        fields.insert("createTime".to_owned(), time(asks.now_ms).into());
    } else {
        fields.insert("id".to_owned(), id.into());
        fields.insert("created".to_owned(), time(asks.now_ms).into());
    }
    asks.keep(&name, None, Thing::Plain(fields.clone()))?;
    if collection == "tunedModels" {
        let operation = format!("{name}/operations/{}", asks.id(12));
        let metadata = json!({"tunedModel": name});
        return operations::begin(asks, &operation, metadata, fields.into());
    }
    Ok(Answer::json(json::pretty(&fields)))
}

/// Changes fields, if there are any, and answers with all.
fn change(asks: &Asks, name: &str, fields: Map<String, Value>) -> Result<Answer, GoogleError> {
    let shown = asks.look(name, |thing| match thing {
        Thing::Plain(known) => {
            known.extend(fields);
            Some(json::pretty(known))
        }
        _ => None,
    });
    let shown = shown.flatten().ok_or_else(GoogleError::not_found)?;
    Ok(Answer::json(shown))
}
