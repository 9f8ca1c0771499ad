//! `RecentResources`: what was made a moment ago, known before its row is, and afterwards without a query.

use std::collections::{HashMap, VecDeque};

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;

/// So many are kept of each; of older ones the rows tell.
const MAX_NAMES: usize = 10_000;

/// The latest things that answers have told of, by name.
#[derive(Debug, Default)]
pub struct RecentResources {
    created: Latest<RecentResource>,
    /// Long work whose use is in the row of a request.
    counted: Latest<()>,
}

/// With which key something was made, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentResource {
    pub upstream_key_id: UpstreamKeyId,
    pub maker: Option<ClientKeyId>,
}

/// What was put in last, by name.
#[derive(Debug)]
struct Latest<T> {
    by_name: HashMap<String, T>,
    /// The oldest first.
    order: VecDeque<String>,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T> Latest<T> {
    /// Puts in what is not there yet. Returns whether that was so.
    fn add(&mut self, name: &str, value: T) -> bool {
        if self.by_name.contains_key(name) {
            return false;
        }
        self.by_name.insert(name.to_owned(), value);
        self.order.push_back(name.to_owned());
        if self.order.len() > MAX_NAMES
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_name.remove(&oldest);
        }
        true
    }
}

impl RecentResources {
    pub fn get(&self, name: &str) -> Option<RecentResource> {
        self.created.by_name.get(name).copied()
    }

    /// Notes that something was made. What is here already stays as it is, as its row does: clients choose some names, and
    /// nobody shall move what is another's.
    pub fn record_created(&mut self, name: &str, resource: RecentResource) {
        self.created.add(name, resource);
    }

    pub fn is_counted(&self, name: &str) -> bool {
        self.counted.by_name.contains_key(name)
    }

    /// Notes that what long work used goes into a row. Returns whether that is the first time.
    pub fn mark_counted(&mut self, name: &str) -> bool {
        self.counted.add(name, ())
    }

    /// Notes that something was deleted, with all that was within it.
    pub fn remove(&mut self, name: &str) {
        let is_within = |other: &str| {
            let rest = other.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.created.by_name.retain(|other, _| !is_within(other));
        self.created.order.retain(|other| !is_within(other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(key: i64, maker: i64) -> RecentResource {
        RecentResource {
            upstream_key_id: UpstreamKeyId(key),
            maker: Some(ClientKeyId(maker)),
        }
    }

    #[test]
    fn what_is_told_again_stays_whose_and_where_it_is() {
        let mut resources = RecentResources::default();
        resources.record_created("files/a", resource(1, 1));
        resources.record_created("files/a", resource(2, 2));

        assert_eq!(resources.get("files/a"), Some(resource(1, 1)));
        assert_eq!(resources.get("files/b"), None);
    }

    #[test]
    fn long_work_is_counted_once() {
        let mut resources = RecentResources::default();
        assert!(!resources.is_counted("batches/a"));
        assert!(resources.mark_counted("batches/a"));
        assert!(!resources.mark_counted("batches/a"));
        assert!(resources.is_counted("batches/a"));

        for number in 0..MAX_NAMES {
            resources.mark_counted(&number.to_string());
        }
        assert!(!resources.is_counted("batches/a"));
        assert!(resources.is_counted("0"));
    }

    #[test]
    fn what_is_deleted_takes_along_what_is_within_it() {
        let mut resources = RecentResources::default();
        for name in ["stores/a", "stores/a/documents/b", "stores/ab"] {
            resources.record_created(name, resource(1, 1));
        }

        resources.remove("stores/a");

        assert_eq!(resources.get("stores/a"), None);
        assert_eq!(resources.get("stores/a/documents/b"), None);
        assert_eq!(resources.get("stores/ab"), Some(resource(1, 1)));
    }

    #[test]
    fn only_the_latest_stay() {
        let mut resources = RecentResources::default();
        for number in 0..=MAX_NAMES {
            resources.record_created(&format!("files/{number}"), resource(1, 1));
        }

        assert_eq!(resources.get("files/0"), None);
        assert_eq!(resources.get("files/1"), Some(resource(1, 1)));
        assert_eq!(resources.created.by_name.len(), MAX_NAMES);
        assert_eq!(resources.created.order.len(), MAX_NAMES);
    }
}
