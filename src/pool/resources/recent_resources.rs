//! `RecentResources`: the latest created resources, known before their rows are written and without a query.

use std::collections::{HashMap, VecDeque};

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;

/// Maximum number of names of each kind; older ones are read from their rows.
const MAX_NAMES: usize = 10_000;

/// The latest resources reported by answers, by name.
#[derive(Debug, Default)]
pub struct RecentResources {
    created: Latest<RecentResource>,
    /// Long operations whose usage is stored in a request's row.
    counted: Latest<()>,
}

/// The key's project and the client of a created resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentResource {
    pub upstream_key_id: UpstreamKeyId,
    pub maker: Option<ClientKeyId>,
}

/// The latest entries, by name.
#[derive(Debug)]
struct Latest<T> {
    by_name: HashMap<String, T>,
    /// Oldest first.
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
    /// Adds an entry unless it is present. Returns whether it was added.
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

    /// Records a created resource. A known name keeps its resource, as its row does: clients choose some names, and
    /// none may take over another client's resource.
    pub fn record_created(&mut self, name: &str, resource: RecentResource) {
        self.created.add(name, resource);
    }

    pub fn is_counted(&self, name: &str) -> bool {
        self.counted.by_name.contains_key(name)
    }

    /// Marks the usage of a long operation as stored in a row. Returns whether this is the first time.
    pub fn mark_counted(&mut self, name: &str) -> bool {
        self.counted.add(name, ())
    }

    /// Removes a deleted resource and all that it contains.
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
    fn a_resource_recorded_twice_keeps_its_client_and_project() {
        let mut resources = RecentResources::default();
        resources.record_created("files/a", resource(1, 1));
        resources.record_created("files/a", resource(2, 2));

        assert_eq!(resources.get("files/a"), Some(resource(1, 1)));
        assert_eq!(resources.get("files/b"), None);
    }

    #[test]
    fn a_long_operation_is_counted_once() {
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
    fn a_deleted_resource_is_removed_with_its_contents() {
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
    fn only_the_latest_are_kept() {
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
