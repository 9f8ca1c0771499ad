//! What belongs to one project each, as Google keeps it: no other project gets at it.

mod batch_view;
pub mod batches;
pub mod caches;
mod contents;
mod downloads;
mod files;
mod generic;
pub mod interactions;
mod multipart;
mod openai;
mod openai_videos;
mod operations;
mod page;
pub mod received_body;
pub mod referenced_resources;
pub mod request_context;
pub mod resource_store;
mod stores;
pub mod uploads;
pub mod videos;

use request_context::RequestContext;

use super::errors::GoogleError;
use super::response::FakeResponse;

/// The collections in which the fake does no work.
const GENERIC_COLLECTIONS: [&str; 9] = [
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
pub fn answer(context: &RequestContext) -> Result<FakeResponse, GoogleError> {
    let segments = context.segments();
    match segments.as_slice() {
        ["files", rest @ ..] => files::answer(context, rest),
        ["cachedContents", rest @ ..] => caches::answer(context, rest),
        ["batches", rest @ ..] => batches::answer(context, rest),
        ["fileSearchStores", rest @ ..] => stores::answer(context, rest),
        ["openai", "files", rest @ ..] => openai::files(context, rest),
        ["openai", "batches", rest @ ..] => openai::batches(context, rest),
        ["openai", "videos", rest @ ..] => openai_videos::answer(context, rest),
        [
            collection @ ("models" | "tunedModels"),
            model,
            "operations",
            rest @ ..,
        ] => operations::answer(context, &format!("{collection}/{model}/operations"), rest),
        [collection, rest @ ..] if GENERIC_COLLECTIONS.contains(collection) => {
            generic::answer(context, collection, rest)
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
        | ["openai", "files" | "batches" | "videos", ..]
        | ["models", _, "operations", ..] => true,
        // A tuned model is a model when it is asked to generate.
        [collection, rest @ ..] => {
            GENERIC_COLLECTIONS.contains(collection)
                && !matches!(rest, [_, "generateContent" | "streamGenerateContent"])
        }
        [] => false,
    }
}
