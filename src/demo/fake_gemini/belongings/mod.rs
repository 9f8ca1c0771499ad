//! What belongs to one project each, as Google keeps it: no other project gets at it.

pub mod asks;
mod batch_shown;
pub mod batches;
pub mod caches;
mod contents;
mod downloads;
mod files;
pub mod interactions;
mod multipart;
pub mod named;
mod openai;
mod operations;
pub mod owned;
mod page;
mod plain;
pub mod sent;
mod stores;
pub mod uploads;
pub mod videos;

use asks::Asks;

use super::answer::Answer;
use super::errors::GoogleError;

/// The collections in which the fake does no work.
const PLAIN: [&str; 9] = [
    "tunedModels",
    "corpora",
    "agents",
    "environments",
    "triggers",
    "webhooks",
    "credentials",
    "voices",
    "auth_tokens",
];

/// Answers what asks for something in the collections of a project.
pub fn answer(asks: &Asks) -> Result<Answer, GoogleError> {
    let segments = asks.segments();
    match segments.as_slice() {
        ["files", rest @ ..] => files::answer(asks, rest),
        ["cachedContents", rest @ ..] => caches::answer(asks, rest),
        ["batches", rest @ ..] => batches::answer(asks, rest),
        ["fileSearchStores", rest @ ..] => stores::answer(asks, rest),
        ["openai", "files", rest @ ..] => openai::files(asks, rest),
        ["openai", "batches", rest @ ..] => openai::batches(asks, rest),
        [
            collection @ ("models" | "tunedModels"),
            model,
            "operations",
            rest @ ..,
        ] => operations::answer(asks, &format!("{collection}/{model}/operations"), rest),
        [collection, rest @ ..] if PLAIN.contains(collection) => {
            plain::answer(asks, collection, rest)
        }
        _ => Err(GoogleError::not_found()),
    }
}

/// Whether a path under a version is one of such a collection.
pub fn is_collection(rest: &str) -> bool {
    let segments: Vec<_> = rest.split(['/', ':']).collect();
    match segments.as_slice() {
        [
            "files" | "cachedContents" | "batches" | "fileSearchStores",
            ..,
        ]
        | ["openai", "files" | "batches", ..]
        | ["models", _, "operations", ..] => true,
        // A tuned model is a model when it is asked to generate.
        [collection, rest @ ..] => {
            PLAIN.contains(collection)
                && !matches!(rest, [_, "generateContent" | "streamGenerateContent"])
        }
        [] => false,
    }
}
