//! `Belongings`: things by their names, and whose they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};

use super::batches::Batch;
use super::caches::Cache;
use super::contents::Contents;
use super::files::File;
use super::interactions::Interaction;
use super::operations::Operation;
use super::stores::{Document, Store};
use super::uploads::{Session, Status};
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::google::locked;

/// Beyond so many things the oldest give way: a demo runs for days.
const KEPT: usize = 20_000;

/// All that belongs to somebody.
pub struct Belongings {
    /// Where the fake is reached, for the URLs it gives out.
    pub base_url: String,
    pub things: Mutex<BTreeMap<String, Owned>>,
    pub uploads: Mutex<HashMap<String, Arc<Mutex<Session>>>>,
}

/// A thing and whose it is.
pub struct Owned {
    pub project: String,
    /// Newer things have higher numbers.
    pub serial: u64,
    pub expires_ms: Option<i64>,
    pub thing: Thing,
}

pub enum Thing {
    File(File),
    Cache(Cache),
    Batch(Batch),
    Operation(Operation),
    Store(Store),
    Document(Document),
    Interaction(Interaction),
    Plain(Map<String, Value>),
}

/// Something that belongs to a project, for tests to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Belonging {
    /// As Google names it, like `files/abc`.
    pub name: String,
    /// The number of the project.
    pub project: String,
    /// What was uploaded, or made.
    pub bytes: Option<u64>,
    /// Of these bytes, in hex.
    pub sha256: Option<String>,
}

/// An upload in several requests, for tests to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub upload_id: String,
    pub project: String,
    pub status: Status,
    pub received_bytes: u64,
    /// Of what has come up to now, in hex.
    pub sha256: String,
}

impl Belongings {
    pub fn new(base_url: String) -> Self {
        Self {
            base_url,
            things: Mutex::default(),
            uploads: Mutex::default(),
        }
    }

    /// What belongs to anybody at this time, by name.
    pub fn all(&self, now_ms: i64) -> Vec<Belonging> {
        let things = locked(&self.things);
        let alive = things.iter().filter(|(_, owned)| owned.is_alive(now_ms));
        alive
            .map(|(name, owned)| Belonging {
                name: name.clone(),
                project: owned.project.clone(),
                bytes: owned.thing.contents().map(|contents| contents.bytes),
                sha256: owned
                    .thing
                    .contents()
                    .map(|contents| contents.sha256.clone()),
            })
            .collect()
    }

    /// Uploads in several requests, also those that are over, in no order.
    pub fn uploads(&self) -> Vec<Upload> {
        let uploads = locked(&self.uploads);
        uploads
            .iter()
            .map(|(upload_id, session)| locked(session).shown(upload_id))
            .collect()
    }

    pub fn is_owned(&self, name: &str, project: &str, now_ms: i64) -> bool {
        self.look(name, project, now_ms, |_| ()).is_some()
    }

    /// Looks at a thing of this project; `None` for any other's, and for what has expired.
    pub fn look<T>(
        &self,
        name: &str,
        project: &str,
        now_ms: i64,
        look: impl FnOnce(&mut Owned) -> T,
    ) -> Option<T> {
        let mut things = locked(&self.things);
        let owned = things.get_mut(name)?;
        (owned.project == project && owned.is_alive(now_ms)).then(|| look(owned))
    }

    pub fn keep(&self, name: &str, owned: Owned, now_ms: i64) -> Result<(), GoogleError> {
        self.is_free(name, now_ms)?;
        let mut things = locked(&self.things);
        if things.len() >= KEPT {
            // Half at once, so that the next ones need not look for the oldest again.
            let mut serials: Vec<_> = things.values().map(|owned| owned.serial).collect();
            let (_, &mut middle, _) = serials.select_nth_unstable(KEPT / 2);
            things.retain(|_, owned| owned.serial > middle && owned.is_alive(now_ms));
        }
        things.insert(name.to_owned(), owned);
        Ok(())
    }

    /// A name that lives, whoever has it, is taken.
    pub fn is_free(&self, name: &str, now_ms: i64) -> Result<(), GoogleError> {
        match locked(&self.things).get(name) {
            Some(other) if other.is_alive(now_ms) => Err(GoogleError::already_exists()),
            Some(_) | None => Ok(()),
        }
    }

    /// Forgets all of this project's that a name is the beginning of.
    pub fn remove_inside(&self, parent: &str, project: &str) {
        let parent = format!("{parent}/");
        locked(&self.things)
            .retain(|name, owned| owned.project != project || !name.starts_with(&parent));
    }

    /// Whether there was such a thing of this project.
    pub fn remove(&self, name: &str, project: &str, now_ms: i64) -> bool {
        let is_owned = self.is_owned(name, project, now_ms);
        if is_owned {
            locked(&self.things).remove(name);
        }
        is_owned
    }
}

impl Owned {
    pub fn is_alive(&self, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)
    }
}

impl Thing {
    fn contents(&self) -> Option<&Contents> {
        match self {
            Self::File(file) => Some(&file.contents),
            Self::Document(document) => Some(&document.contents),
            Self::Cache(_)
            | Self::Batch(_)
            | Self::Operation(_)
            | Self::Store(_)
            | Self::Interaction(_)
            | Self::Plain(_) => None,
        }
    }
}
