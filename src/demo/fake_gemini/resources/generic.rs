//! Resources that the fake only stores: tuned models, agents, environments.

use serde_json::{Map, Value, json};

use super::operations;
use super::page::{self, PageSizes};
use super::request_context::{RequestContext, timestamp};
use super::resource_store::Resource;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::response::FakeResponse;

/// Answers the requests of one such collection.
pub fn answer(
    context: &RequestContext,
    collection: &str,
    rest: &[&str],
) -> Result<FakeResponse, GoogleError> {
    match (context.method(), rest) {
        ("POST", []) => create(context, collection),
        ("GET", []) => {
            let sizes = PageSizes {
                default: 10,
                maximum: 1000,
            };
            let inside = format!("{collection}/");
            page::answer(context, collection, sizes, |name, stored| {
                match &stored.resource {
                    Resource::Generic(fields) if name.starts_with(&inside) => Some(fields.clone()),
                    _ => None,
                }
            })
        }
        ("GET", [id]) => change(context, &format!("{collection}/{id}"), Map::new()),
        ("PATCH", [id]) => match context.json()? {
            Value::Object(fields) => change(context, &format!("{collection}/{id}"), fields),
            _ => Err(GoogleError::bad_argument()),
        },
        ("DELETE", [id]) => context
            .delete(&format!("{collection}/{id}"))
            .ok_or_else(GoogleError::not_found),
        _ => Err(GoogleError::not_found()),
    }
}

fn create(context: &RequestContext, collection: &str) -> Result<FakeResponse, GoogleError> {
    let Value::Object(mut fields) = context.json()? else {
        return Err(GoogleError::bad_argument());
    };
    // Clients may choose an id, as Google's client for Python shows.
    let id = match &fields.get("id") {
        Some(Value::String(id)) => id.clone(),
        _ => context.new_id(12),
    };
    let name = format!("{collection}/{id}");
    // The older collections have names, the newer ones ids.
    let is_named = matches!(collection, "tunedModels" | "corpora" | "auth_tokens");
    if is_named {
        fields.insert("name".to_owned(), name.clone().into());
        fields.insert("createTime".to_owned(), timestamp(context.now_ms).into());
    } else {
        fields.insert("id".to_owned(), id.into());
        fields.insert("created".to_owned(), timestamp(context.now_ms).into());
    }
    context.insert(&name, None, Resource::Generic(fields.clone()))?;
    if collection == "tunedModels" {
        let operation = format!("{name}/operations/{}", context.new_id(12));
        let metadata = json!({"tunedModel": name});
        return operations::begin(context, &operation, metadata, fields.into());
    }
    Ok(FakeResponse::json(json::pretty(&fields)))
}

/// Changes fields, if there are any, and answers with all.
fn change(
    context: &RequestContext,
    name: &str,
    fields: Map<String, Value>,
) -> Result<FakeResponse, GoogleError> {
    let view = context.with_resource(name, |resource| match resource {
        Resource::Generic(known) => {
            known.extend(fields);
            Some(json::pretty(known))
        }
        _ => None,
    });
    let view = view.flatten().ok_or_else(GoogleError::not_found)?;
    Ok(FakeResponse::json(view))
}
