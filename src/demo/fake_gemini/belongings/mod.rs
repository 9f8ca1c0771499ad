//! What belongs to one project each, as Google keeps it: no other project gets at it.

pub mod asks;
pub mod batches;
pub mod caches;
mod contents;
mod downloads;
mod files;
mod multipart;
pub mod named;
mod operations;
pub mod owned;
mod page;
pub mod uploads;
pub mod videos;

use asks::Asks;

use super::answer::Answer;
use super::errors::GoogleError;

/// Answers what asks for something in the collections of a project.
pub fn answer(asks: &Asks) -> Result<Answer, GoogleError> {
    match asks.segments().as_slice() {
        ["cachedContents", rest @ ..] => caches::answer(asks, rest),
        ["batches", rest @ ..] => batches::answer(asks, rest),
        ["models", model, "operations", rest @ ..] => {
            operations::answer(asks, &format!("models/{model}/operations"), rest)
        }
        ["files", rest @ ..] => files::answer(asks, rest),
        _ => Err(GoogleError::not_found()),
    }
}

/// Whether a path under a version is one of such a collection.
pub fn is_collection(rest: &str) -> bool {
    let segments: Vec<_> = rest.split(['/', ':']).collect();
    matches!(
        segments.as_slice(),
        ["batches" | "cachedContents" | "files", ..] | ["models", _, "operations", ..]
    )
}
