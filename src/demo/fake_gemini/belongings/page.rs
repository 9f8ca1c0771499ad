//! `Page`: one page of a list, the newest first.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::asks::Asks;
use super::owned::Owned;
use crate::demo::fake_gemini::answer::Answer;
use crate::demo::fake_gemini::base64::base64;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::google::locked;
use crate::demo::fake_gemini::json;

/// How long pages are, if the query does not say, and at most.
pub struct Sizes {
    pub default: usize,
    pub most: usize,
}

/// The things of the asker's that `show` shows, by their names and themselves, in a field of this name.
pub fn answer<T: Serialize>(
    asks: &Asks,
    field: &str,
    sizes: Sizes,
    show: impl Fn(&str, &mut Owned) -> Option<T>,
) -> Result<Answer, GoogleError> {
    let page = page(asks, field, sizes, show)?;
    Ok(Answer::json(json::pretty(&page)))
}

fn page<'a, T>(
    asks: &Asks,
    field: &'a str,
    sizes: Sizes,
    show: impl Fn(&str, &mut Owned) -> Option<T>,
) -> Result<Page<'a, T>, GoogleError> {
    let size = asks.param("pageSize").and_then(|size| size.parse().ok());
    let size = size
        .filter(|size| *size > 0)
        .unwrap_or(sizes.default)
        .min(sizes.most);

    let mut shown = newest_first(asks, show);
    if let Some(token) = asks.param("pageToken").filter(|token| !token.is_empty()) {
        let last_seen = shown
            .iter()
            .position(|(serial, _)| page_token(asks.project, field, *serial) == token)
            .ok_or_else(GoogleError::bad_argument)?;
        shown.drain(..=last_seen);
    }
    let next = shown
        .get(size.saturating_sub(1))
        .filter(|_| shown.len() > size)
        .map(|(serial, _)| page_token(asks.project, field, *serial));
    let items = shown.into_iter().take(size).map(|(_, item)| item);
    Ok(Page {
        field,
        items: items.collect(),
        next,
    })
}

/// What is shown of the asker's, with its serial number.
pub fn newest_first<T>(asks: &Asks, show: impl Fn(&str, &mut Owned) -> Option<T>) -> Vec<(u64, T)> {
    let mut things = locked(&asks.belongings().things);
    let mut shown: Vec<_> = things
        .iter_mut()
        .filter(|(_, owned)| owned.project == asks.project && owned.is_alive(asks.now_ms))
        .filter_map(|(name, owned)| Some((owned.serial, show(name, owned)?)))
        .collect();
    shown.sort_by_key(|(serial, _)| std::cmp::Reverse(*serial));
    shown
}

/// Only the project that was given a token can go on with it.
fn page_token(project: &str, field: &str, serial: u64) -> String {
    let token = format!("{project}/{field}/{serial}");
    base64(token.as_bytes())
        .replace('=', "")
        .replace('/', "_")
        .replace('+', "-")
}

struct Page<'a, T> {
    field: &'a str,
    items: Vec<T>,
    next: Option<String>,
}

impl<T: Serialize> Serialize for Page<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        // What is empty is left out: an empty list is `{}`.
        if !self.items.is_empty() {
            map.serialize_entry(self.field, &self.items)?;
        }
        if let Some(next) = &self.next {
            map.serialize_entry("nextPageToken", next)?;
        }
        map.end()
    }
}
