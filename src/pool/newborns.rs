//! `Newborns`: what was made a moment ago, known before its row is, and afterwards without a query.

use std::collections::{HashMap, VecDeque};

use crate::pool::client_key::ClientKeyId;
use crate::pool::upstream_key::UpstreamKeyId;

/// So many are kept of each; of older ones the rows tell.
const MOST: usize = 10_000;

/// The latest things that answers have told of, by name.
#[derive(Debug, Default)]
pub struct Newborns {
    made: Latest<Newborn>,
    /// Long work whose use is in the row of a request.
    counted: Latest<()>,
}

/// With which key something was made, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newborn {
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
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_name.remove(&oldest);
        }
        true
    }
}

impl Newborns {
    pub fn get(&self, name: &str) -> Option<Newborn> {
        self.made.by_name.get(name).copied()
    }

    /// Notes that something was made. What is here already stays as it is, as its row does: clients choose some names, and
    /// nobody shall move what is another's.
    pub fn note(&mut self, name: &str, newborn: Newborn) {
        self.made.add(name, newborn);
    }

    pub fn is_counted(&self, name: &str) -> bool {
        self.counted.by_name.contains_key(name)
    }

    /// Notes that what long work used goes into a row. Returns whether that is the first time.
    pub fn count(&mut self, name: &str) -> bool {
        self.counted.add(name, ())
    }

    /// Notes that something was deleted, with all that was within it.
    pub fn forget(&mut self, name: &str) {
        let is_within = |other: &str| {
            let rest = other.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.made.by_name.retain(|other, _| !is_within(other));
        self.made.order.retain(|other| !is_within(other));
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
        assert_eq!(newborns.made.by_name.len(), MOST);
        assert_eq!(newborns.made.order.len(), MOST);
    }
}
