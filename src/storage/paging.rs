//! `Page`: a part of a list, and where the next one begins.

use serde::Serialize;

/// Some items and the cursor that continues after them; `None` at the end.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` items out of up to one more, whose presence shows that there is a next page.
    pub fn new(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(cursor);
        Self { items, next }
    }

    /// The whole list at once.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}
