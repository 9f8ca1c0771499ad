//! `ResourceStore`: resources by name, with their owners.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::batches::BatchJob;
use super::caches::Cache;
use super::contents::Contents;
use super::files::File;
use super::interactions::Interaction;
use super::operations::LongRunningOperation;
use super::stores::{Document, Store};
use super::uploads::{UploadSession, UploadStatus};
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::state::locked;

/// Maximum number of resources; the oldest are dropped first, because a demo runs for days.
const MAX_RESOURCES: usize = 20_000;

/// All resources with their owners.
pub struct ResourceStore {
    /// The base URL of the fake, for the URLs in its answers.
    pub base_url: String,
    pub resources: Mutex<BTreeMap<String, StoredResource>>,
    pub uploads: Mutex<HashMap<String, Arc<Mutex<UploadSession>>>>,
}

/// A resource and its owner.
pub struct StoredResource {
    pub project: String,
    /// Newer resources have higher numbers.
    pub serial: u64,
    pub expires_ms: Option<i64>,
    pub resource: Resource,
}

pub enum Resource {
    File(File),
    Cache(Cache),
    Batch(BatchJob),
    Operation(LongRunningOperation),
    Store(Store),
    Document(Document),
    Interaction(Interaction),
    Generic(Map<String, Value>),
}

/// A resource of a project, for tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceSummary {
    /// As Google names it, like `files/abc`.
    pub name: String,
    /// The number of the project.
    pub project: String,
    /// The uploaded or created content.
    pub bytes: Option<u64>,
    /// Of these bytes, in hex.
    pub sha256: Option<String>,
}

/// An upload in several requests, for tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSummary {
    pub upload_id: String,
    pub project: String,
    pub status: UploadStatus,
    pub received_bytes: u64,
    /// Of what has come up to now, in hex.
    pub sha256: String,
}

impl ResourceStore {
    pub fn new(base_url: String) -> Self {
        Self {
            base_url,
            resources: Mutex::default(),
            uploads: Mutex::default(),
        }
    }

    /// All resources at this time, by name.
    pub fn list(&self, now_ms: i64) -> Vec<ResourceSummary> {
        let resources = locked(&self.resources);
        let alive = resources
            .iter()
            .filter(|(_, stored)| stored.is_alive(now_ms));
        alive
            .map(|(name, stored)| ResourceSummary {
                name: name.clone(),
                project: stored.project.clone(),
                bytes: stored.resource.contents().map(|contents| contents.bytes),
                sha256: stored
                    .resource
                    .contents()
                    .map(|contents| contents.sha256.clone()),
            })
            .collect()
    }

    /// Uploads in several requests, ended ones too, in no order.
    pub fn uploads(&self) -> Vec<UploadSummary> {
        let uploads = locked(&self.uploads);
        uploads
            .iter()
            .map(|(upload_id, session)| locked(session).summary(upload_id))
            .collect()
    }

    pub fn is_owned(&self, name: &str, project: &str, now_ms: i64) -> bool {
        self.with_resource(name, project, now_ms, |_| ()).is_some()
    }

    /// A resource of this project; `None` for resources of other projects and expired ones.
    pub fn with_resource<T>(
        &self,
        name: &str,
        project: &str,
        now_ms: i64,
        read: impl FnOnce(&mut StoredResource) -> T,
    ) -> Option<T> {
        let mut resources = locked(&self.resources);
        let stored = resources.get_mut(name)?;
        (stored.project == project && stored.is_alive(now_ms)).then(|| read(stored))
    }

    pub fn insert(
        &self,
        name: &str,
        stored: StoredResource,
        now_ms: i64,
    ) -> Result<(), GoogleError> {
        self.check_name_is_free(name, now_ms)?;
        let mut resources = locked(&self.resources);
        if resources.len() >= MAX_RESOURCES {
            // Half at once, so that the next ones need not look for the oldest again.
            let mut serials: Vec<_> = resources.values().map(|stored| stored.serial).collect();
            let (_, &mut middle, _) = serials.select_nth_unstable(MAX_RESOURCES / 2);
            resources.retain(|_, stored| stored.serial > middle && stored.is_alive(now_ms));
        }
        resources.insert(name.to_owned(), stored);
        Ok(())
    }

    /// Fails for an existing name, in whatever project.
    pub fn check_name_is_free(&self, name: &str, now_ms: i64) -> Result<(), GoogleError> {
        match locked(&self.resources).get(name) {
            Some(other) if other.is_alive(now_ms) => Err(GoogleError::already_exists()),
            Some(_) | None => Ok(()),
        }
    }

    /// Deletes the resources of this project whose names begin with this one.
    pub fn remove_children(&self, parent: &str, project: &str) {
        let parent = format!("{parent}/");
        locked(&self.resources)
            .retain(|name, stored| stored.project != project || !name.starts_with(&parent));
    }

    /// Removes a resource of this project. Returns whether there was one.
    pub fn remove(&self, name: &str, project: &str, now_ms: i64) -> bool {
        let is_owned = self.is_owned(name, project, now_ms);
        if is_owned {
            locked(&self.resources).remove(name);
        }
        is_owned
    }
}

impl StoredResource {
    pub fn is_alive(&self, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)
    }
}

impl Resource {
    fn contents(&self) -> Option<&Contents> {
        match self {
            Self::File(file) => Some(&file.contents),
            Self::Document(document) => Some(&document.contents),
            Self::Cache(_)
            | Self::Batch(_)
            | Self::Operation(_)
            | Self::Store(_)
            | Self::Interaction(_)
            | Self::Generic(_) => None,
        }
    }
}
