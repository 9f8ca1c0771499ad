//! Pages of lists: with a cursor to the next page, or with positions in both directions.

use serde::{Deserialize, Serialize};

/// Some items and the cursor that continues after them; `None` at the end.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
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

/// The position of a page in a list, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PagePosition {
    Newest,
    OlderThan(i64),
    NewerThan(i64),
}

impl PagePosition {
    /// From the query of a URL, which has at most one of the two.
    pub fn of(older_than: Option<i64>, newer_than: Option<i64>) -> Self {
        match (older_than, newer_than) {
            (Some(id), _) => Self::OlderThan(id),
            (None, Some(id)) => Self::NewerThan(id),
            (None, None) => Self::Newest,
        }
    }
}

/// A page of a list, newest first, with positions of the newer and older page.
#[derive(Debug, PartialEq, Eq)]
pub struct BidirectionalPage<T> {
    pub items: Vec<T>,
    /// `None`: there are no newer items.
    pub newer: Option<i64>,
    /// `None`: there are no older items.
    pub older: Option<i64>,
}

impl<T> BidirectionalPage<T> {
    /// Makes a page of at most `limit` items out of up to one more, in the order read from `position`.
    pub fn new(
        mut items: Vec<T>,
        position: PagePosition,
        limit: usize,
        id: impl Fn(&T) -> i64,
    ) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let (more_newer, more_older) = match position {
            PagePosition::Newest => (false, more),
            PagePosition::OlderThan(_) => (true, more),
            PagePosition::NewerThan(_) => {
                items.reverse();
                (more, true)
            }
        };
        let newer = items.first().filter(|_| more_newer).map(&id);
        let older = items.last().filter(|_| more_older).map(&id);
        Self {
            items,
            newer,
            older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_positions_only_where_more_items_follow() {
        for (read, position, items, newer, older) in [
            (vec![], PagePosition::Newest, vec![], None, None),
            (vec![9, 8], PagePosition::Newest, vec![9, 8], None, None),
            (
                vec![9, 8, 7],
                PagePosition::Newest,
                vec![9, 8],
                None,
                Some(8),
            ),
            (
                vec![7, 6, 5],
                PagePosition::OlderThan(8),
                vec![7, 6],
                Some(7),
                Some(6),
            ),
            (vec![7], PagePosition::OlderThan(8), vec![7], Some(7), None),
            (
                vec![6, 7, 8],
                PagePosition::NewerThan(5),
                vec![7, 6],
                Some(7),
                Some(6),
            ),
            (vec![9], PagePosition::NewerThan(8), vec![9], None, Some(9)),
        ] {
            let page = BidirectionalPage::new(read, position, 2, |id| *id);

            assert_eq!(
                (page.items, page.newer, page.older),
                (items, newer, older),
                "{position:?}"
            );
        }
    }
}
