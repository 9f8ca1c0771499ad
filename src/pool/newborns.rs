//! `Newborns`: what was made a moment ago, known before its row is, and afterwards without a query.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::pool::client_key::ClientKeyId;
use crate::pool::upstream_key::UpstreamKeyId;

/// So many are kept of each; of older ones the rows tell.
const MOST: usize = 10_000;

/// The latest things that answers have told of, by name.
#[derive(Debug, Default)]
pub struct Newborns {
    by_name: HashMap<String, Newborn>,
    /// The oldest first.
    order: VecDeque<String>,
    /// Long work whose use is in the row of a request.
    counted: HashSet<String>,
    counted_order: VecDeque<String>,
}

/// With which key something was made, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newborn {
    pub upstream_key_id: UpstreamKeyId,
    pub maker: Option<ClientKeyId>,
}

impl Newborns {
    pub fn get(&self, name: &str) -> Option<Newborn> {
        self.by_name.get(name).copied()
    }

    /// Notes that something was made. What is here already stays as it is, as its row does: clients choose some names, and
    /// nobody shall move what is another's.
    pub fn note(&mut self, name: &str, newborn: Newborn) {
        if self.by_name.contains_key(name) {
            return;
        }
        self.by_name.insert(name.to_owned(), newborn);
        self.order.push_back(name.to_owned());
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_name.remove(&oldest);
        }
    }

    pub fn is_counted(&self, name: &str) -> bool {
        self.counted.contains(name)
    }

    /// Notes that what long work used goes into a row. Returns whether that is the first time.
    pub fn count(&mut self, name: &str) -> bool {
        let is_first = self.counted.insert(name.to_owned());
        if is_first {
            self.counted_order.push_back(name.to_owned());
        }
        if self.counted_order.len() > MOST
            && let Some(oldest) = self.counted_order.pop_front()
        {
            self.counted.remove(&oldest);
        }
        is_first
    }

    /// Notes that something was deleted, with all that was within it.
    pub fn forget(&mut self, name: &str) {
        let is_within = |other: &str| {
            let rest = other.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.by_name.retain(|other, _| !is_within(other));
        self.order.retain(|other| !is_within(other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newborn(key: i64, maker: i64) -> Newborn {
        Newborn {
            upstream_key_id: UpstreamKeyId(key),
            maker: Some(ClientKeyId(maker)),
        }
    }

    #[test]
    fn what_is_told_again_stays_whose_and_where_it_is() {
        let mut newborns = Newborns::default();
        newborns.note("files/a", newborn(1, 1));
        newborns.note("files/a", newborn(2, 2));

        assert_eq!(newborns.get("files/a"), Some(newborn(1, 1)));
        assert_eq!(newborns.get("files/b"), None);
    }

    #[test]
    fn long_work_is_counted_once() {
        let mut newborns = Newborns::default();
        assert!(!newborns.is_counted("batches/a"));
        assert!(newborns.count("batches/a"));
        assert!(!newborns.count("batches/a"));
        assert!(newborns.is_counted("batches/a"));

        for number in 0..MOST {
            newborns.count(&number.to_string());
        }
        assert!(!newborns.is_counted("batches/a"));
        assert!(newborns.is_counted("0"));
    }

    #[test]
    fn what_is_deleted_takes_along_what_is_within_it() {
        let mut newborns = Newborns::default();
        for name in ["stores/a", "stores/a/documents/b", "stores/ab"] {
            newborns.note(name, newborn(1, 1));
        }

        newborns.forget("stores/a");

        assert_eq!(newborns.get("stores/a"), None);
        assert_eq!(newborns.get("stores/a/documents/b"), None);
        assert_eq!(newborns.get("stores/ab"), Some(newborn(1, 1)));
    }

    #[test]
    fn only_the_latest_stay() {
        let mut newborns = Newborns::default();
        for number in 0..=MOST {
            newborns.note(&format!("files/{number}"), newborn(1, 1));
        }

        assert_eq!(newborns.get("files/0"), None);
        assert_eq!(newborns.get("files/1"), Some(newborn(1, 1)));
        assert_eq!(newborns.by_name.len(), MOST);
        assert_eq!(newborns.order.len(), MOST);
    }
}
