//! `ListPage`: one page of a list, the newest first.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::request_context::RequestContext;
use super::resource_store::StoredResource;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;
use crate::demo::fake_gemini::response::FakeResponse;
use crate::demo::fake_gemini::state::locked;

/// The default and the maximum size of a page.
pub struct PageSizes {
    pub default: usize,
    pub maximum: usize,
}

/// A page of the client's resources, each rendered by `show`, in a field of this name.
pub fn answer<T: Serialize>(
    context: &RequestContext,
    field: &str,
    sizes: PageSizes,
    show: impl Fn(&str, &mut StoredResource) -> Option<T>,
) -> Result<FakeResponse, GoogleError> {
    let page = page(context, field, sizes, show)?;
    Ok(FakeResponse::json(json::pretty(&page)))
}

fn page<'a, T>(
    context: &RequestContext,
    field: &'a str,
    sizes: PageSizes,
    show: impl Fn(&str, &mut StoredResource) -> Option<T>,
) -> Result<ListPage<'a, T>, GoogleError> {
    let size = context.param("pageSize").and_then(|size| size.parse().ok());
    let size = size
        .filter(|size| *size > 0)
        .unwrap_or(sizes.default)
        .min(sizes.maximum);

    let mut view = newest_first(context, show);
    if let Some(token) = context.param("pageToken").filter(|token| !token.is_empty()) {
        let last_seen = view
            .iter()
            .position(|(serial, _)| page_token(context.project, field, *serial) == token)
            .ok_or_else(GoogleError::bad_argument)?;
        view.drain(..=last_seen);
    }
    let next = view
        .get(size.saturating_sub(1))
        .filter(|_| view.len() > size)
        .map(|(serial, _)| page_token(context.project, field, *serial));
    let items = view.into_iter().take(size).map(|(_, item)| item);
    Ok(ListPage {
        field,
        items: items.collect(),
        next,
    })
}

/// The client's resources, rendered, with their serial numbers.
pub fn newest_first<T>(
    context: &RequestContext,
    show: impl Fn(&str, &mut StoredResource) -> Option<T>,
) -> Vec<(u64, T)> {
    let mut resources = locked(&context.resources().resources);
    let mut view: Vec<_> = resources
        .iter_mut()
        .filter(|(_, stored)| stored.project == context.project && stored.is_alive(context.now_ms))
        .filter_map(|(name, stored)| Some((stored.serial, show(name, stored)?)))
        .collect();
    view.sort_by_key(|(serial, _)| std::cmp::Reverse(*serial));
    view
}

/// Only the project that received a token can use it.
fn page_token(project: &str, field: &str, serial: u64) -> String {
    let token = format!("{project}/{field}/{serial}");
    URL_SAFE_NO_PAD.encode(token)
}

struct ListPage<'a, T> {
    field: &'a str,
    items: Vec<T>,
    next: Option<String>,
}

impl<T: Serialize> Serialize for ListPage<'_, T> {
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
