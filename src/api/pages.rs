//! Cursor pages of lists.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::problem::Problem;
use crate::storage::paging::Page;

/// Items of a page where the request names no number.
pub const DEFAULT_LIMIT: usize = 50;
pub const MAX_LIMIT: usize = 500;

/// The position in a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// Maximum number of items.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: Option<usize>,
}

/// The number of items that a request asks for.
pub fn limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit {
        None => Ok(DEFAULT_LIMIT),
        Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::bad_request(format!(
            "limit must be a number from 1 to {MAX_LIMIT}"
        ))),
    }
}

/// A cursor as the list made it.
pub fn parse_cursor<T: std::str::FromStr>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    let parsed = cursor.map(str::parse).transpose();
    parsed.map_err(|_| {
        Problem::bad_request("the cursor is not one of this list: use the `next` of an answer")
    })
}

/// The order of a list in memory, by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListOrder {
    OldestFirst,
    NewestFirst,
}

/// A page of a list that is in memory as a whole, after the id of the cursor.
pub fn page_of<T>(
    mut items: Vec<T>,
    query: &PageQuery,
    order: ListOrder,
    id: impl Fn(&T) -> i64,
) -> Result<Page<T>, Problem> {
    let limit = limit(query.limit)?;
    if let Some(cursor) = parse_cursor(query.cursor.as_deref())? {
        items.retain(|item| match order {
            ListOrder::OldestFirst => id(item) > cursor,
            ListOrder::NewestFirst => id(item) < cursor,
        });
    }
    items.truncate(limit + 1);
    Ok(Page::new(items, limit, |item| id(item).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_memory_is_paged_by_id_in_both_orders() {
        let query = |cursor: Option<&str>| PageQuery {
            cursor: cursor.map(str::to_owned),
            limit: Some(2),
        };
        for (items, order, pages) in [
            (
                vec![1, 2, 5, 7, 8],
                ListOrder::OldestFirst,
                [vec![1, 2], vec![5, 7], vec![8]],
            ),
            (
                vec![8, 7, 5, 2, 1],
                ListOrder::NewestFirst,
                [vec![8, 7], vec![5, 2], vec![1]],
            ),
        ] {
            let mut cursor = None;
            for expected in pages {
                let page = page_of(items.clone(), &query(cursor.as_deref()), order, |id| *id);
                let page = page.unwrap();
                assert_eq!(page.items, expected);
                cursor = page.next;
            }
            assert_eq!(cursor, None);
        }
        assert!(page_of(vec![1], &query(Some("x")), ListOrder::OldestFirst, |id| *id).is_err());
        assert!(limit(Some(0)).is_err() && limit(Some(501)).is_err());
    }
}
