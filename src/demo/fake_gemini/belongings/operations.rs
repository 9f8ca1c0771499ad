//! Operations: long work that is done after some looks at it.

use serde::Serialize;
use serde_json::Value;

use super::asks::Asks;
use super::owned::Thing;
use super::page::{self, Sizes};
use crate::demo::fake_gemini::answer::Answer;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;

pub struct Operation {
    /// At how many more looks it is not done.
    pub looks_left: u32,
    /// What can be said of it from the beginning.
    pub metadata: Value,
    /// What it will have come to.
    pub response: Value,
}

/// As recorded: `done` is left out until it is.
#[derive(Serialize)]
pub struct Shown<'a> {
    pub name: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub metadata: Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Value>,
}

/// Operations under one parent: `collection` is what stands before their ids.
pub fn answer(asks: &Asks, collection: &str, rest: &[&str]) -> Result<Answer, GoogleError> {
    match (asks.method(), rest) {
        ("GET", []) => {
            let sizes = Sizes {
                default: 50,
                most: 100,
            };
            page::answer(asks, "operations", sizes, |name, owned| {
                let id = name.strip_prefix(collection)?.strip_prefix('/')?;
                match &owned.thing {
                    Thing::Operation(operation) if !id.contains('/') => {
                        serde_json::to_value(operation.shown(name)).ok()
                    }
                    _ => None,
                }
            })
        }
        ("GET", [id]) => {
            let name = format!("{collection}/{id}");
            let shown = asks.look(&name, |thing| match thing {
                Thing::Operation(operation) => {
                    operation.looks_left = operation.looks_left.saturating_sub(1);
                    Some(json::pretty(&operation.shown(&name)))
                }
                _ => None,
            });
            let shown = shown.flatten().ok_or_else(GoogleError::not_found)?;
            Ok(Answer::json(shown))
        }
        _ => Err(GoogleError::not_found()),
    }
}

/// Begins work of the asker's, and answers with its name.
pub fn begin(
    asks: &Asks,
    name: &str,
    metadata: Value,
    response: Value,
) -> Result<Answer, GoogleError> {
    let operation = Operation {
        looks_left: asks.google.looks_until_done,
        metadata,
        response,
    };
    let shown = Shown {
        done: false,
        response: None,
        ..operation.shown(name)
    };
    let answer = Answer::json(json::pretty(&shown));
    asks.keep(name, None, Thing::Operation(operation))?;
    Ok(answer)
}

impl Operation {
    fn shown<'a>(&self, name: &'a str) -> Shown<'a> {
        let done = self.looks_left == 0;
        Shown {
            name,
            metadata: self.metadata.clone(),
            done,
            response: done.then(|| self.response.clone()),
        }
    }
}
