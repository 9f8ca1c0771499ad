//! `ResourceName`: the name of a resource as Google writes it; every spelling of a name parses to the same value.

use std::borrow::Cow;
use std::fmt;
use std::iter;
use std::time::Duration;

use url::Url;

use crate::gemini::url::{VERSIONS, percent_decode};

/// The host of Google's URLs; a file's `uri` begins with it (seen in recordings).
pub const GOOGLE_HOST: &str = "generativelanguage.googleapis.com";

/// Maximum length of a name. Ids of files have 12 characters, of caches 40, of interactions 70 (seen in recordings);
/// handles of live sessions are opaque.
const MAX_NAME_BYTES: usize = 2048;

/// Maximum number of path segments up to the end of a name.
const MAX_SEGMENTS: usize = 12;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// The kind of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    File,
    GeneratedFile,
    CachedContent,
    Batch,
    /// An operation: of a model, of a store, of an upload to a store, of a tuned model.
    Operation,
    FileSearchStore,
    /// A document of a store or of a corpus.
    Document,
    TunedModel,
    Corpus,
    Interaction,
    Agent,
    Environment,
    Trigger,
    Webhook,
    Credential,
    Voice,
    AuthToken,
    /// A video of the OpenAI layer.
    Video,
    /// Resumes a live session; Google calls it a handle and gives it no collection.
    LiveSession,
}

/// The name of a resource: its kind, and its text without host, version, method or query, as in `files/abc`.
///
/// [`ResourceName::of_text`] parses the text that [`ResourceName::as_str`] returns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceName {
    kind: ResourceKind,
    text: Box<str>,
}

/// A URL of Google's API names no resource that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a URL at {GOOGLE_HOST} names no known resource")]
pub struct UnknownGoogleUrl;

impl ResourceName {
    /// The resource in a path, once [`Target`](crate::gemini::target::Target) has resolved our aliases. `None` without
    /// an owned resource: models, collections, methods of collections.
    pub fn of_path(path_and_query: &str) -> Option<Self> {
        let path = path_and_query.split(['?', '#']).next()?;
        if path.len() > MAX_NAME_BYTES {
            return None;
        }
        let path = percent_decode(path.strip_prefix('/')?);
        let segments: Vec<_> = path.split('/').take(MAX_SEGMENTS).collect();
        let versioned = match segments.as_slice() {
            ["resumable", "upload", rest @ ..] | ["upload" | "download", rest @ ..] | rest => rest,
        };
        match versioned {
            [version, ..] if !VERSIONS.contains(version) => None,
            [_, "openai", collection, rest @ ..] => Self::of_openai(collection, rest),
            [_, rest @ ..] => Self::of_segments(rest),
            [] => None,
        }
    }

    /// The resource that a text names in full; see [`Self::read_text`].
    pub fn of_text(text: &str) -> Option<Self> {
        Self::read_text(text).ok().flatten()
    }

    /// The resource that a text names in full: `files/abc`, its URL at Google, or the path of that URL, with or without
    /// a version. An error for a URL of Google's API that names none.
    pub fn read_text(text: &str) -> Result<Option<Self>, UnknownGoogleUrl> {
        let collection = ResourceKind::LiveSession.collection();
        if let Some(handle) = text
            .strip_prefix(collection)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            return Ok(Self::of_handle(handle));
        }
        match google_path(text) {
            Some(path) => match Self::of_loose_path(&path) {
                Some(name) => Ok(Some(name)),
                None => Err(UnknownGoogleUrl),
            },
            None => Ok(Self::of_loose_path(text)),
        }
    }

    /// The resource of a path that may lack its first slash or its version.
    fn of_loose_path(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next()?;
        if path.len() > MAX_NAME_BYTES || path.contains("://") {
            return None;
        }
        let path = percent_decode(path);
        let mut segments = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .peekable();
        let is_prefix = |segment: &&str| {
            matches!(*segment, "resumable" | "upload" | "download") || VERSIONS.contains(segment)
        };
        while segments.next_if(is_prefix).is_some() {}
        let is_openai = segments.next_if_eq(&"openai").is_some();
        let segments: Vec<_> = segments.take(MAX_SEGMENTS).collect();
        match segments.as_slice() {
            [collection, rest @ ..] if is_openai => Self::of_openai(collection, rest),
            segments => Self::of_segments(segments),
        }
    }

    /// The resource of this kind with this id, or the one that the id names in full (OpenAI ids at Google).
    pub fn of_id(kind: ResourceKind, id: &str) -> Option<Self> {
        if kind == ResourceKind::LiveSession {
            return Self::of_handle(id);
        }
        Self::of_text(id).or_else(|| is_id(id).then(|| Self::new(kind, in_collection(kind, id)))?)
    }

    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A name for pages and logs: the names of ephemeral tokens and live sessions are credentials.
    pub fn without_secret(name: &str) -> Cow<'_, str> {
        let secrets = [ResourceKind::LiveSession, ResourceKind::AuthToken];
        match name.split_once('/') {
            Some((collection, _))
                if secrets.map(ResourceKind::collection).contains(&collection) =>
            {
                format!("{collection}/…").into()
            }
            _ => name.into(),
        }
    }

    /// The resource that contains this one, as a store contains a document; both have the same owner.
    pub fn parent(&self) -> Option<Self> {
        if self.kind == ResourceKind::LiveSession {
            return None;
        }
        let segments: Vec<_> = self.text.split('/').collect();
        match segments.as_slice() {
            [collection, id, _, ..] => Self::of_segments(&[collection, id]),
            _ => None,
        }
    }

    /// This name, then its parents: the first one with a known owner decides.
    pub fn lineage(&self) -> impl Iterator<Item = Self> {
        iter::successors(Some(self.clone()), Self::parent)
    }

    /// An id of the OpenAI layer may be Google's full name, as in `/openai/batches/batches%2Fabc` (from OpenAI's client).
    fn of_openai(collection: &str, rest: &[&str]) -> Option<Self> {
        let kind = match collection {
            "files" => ResourceKind::File,
            "batches" => ResourceKind::Batch,
            "videos" => ResourceKind::Video,
            _ => return None,
        };
        Self::of_segments(rest).or_else(|| Self::of_id(kind, rest.first()?))
    }

    /// The resource of a path, unless the path continues to something inside it, such as a permission.
    pub fn of_whole_path(path_and_query: &str) -> Option<Self> {
        let path = path_and_query.split(['?', '#']).next()?;
        let path = percent_decode(path);
        Self::of_path(path_and_query).filter(|name| path.ends_with(&format!("/{name}")))
    }

    /// Whether a path has a resource whose name cannot be determined: forwarded, it could reach any resource.
    pub fn has_unreadable_name(path_and_query: &str) -> bool {
        let path = path_and_query.split(['?', '#']).next().unwrap_or_default();
        let path = percent_decode(path);
        let mut segments = path
            .trim_start_matches('/')
            .split('/')
            .skip_while(|segment| {
                matches!(*segment, "resumable" | "upload" | "download" | "openai")
                    || VERSIONS.contains(segment)
            });
        let collection = segments.next().unwrap_or_default();
        ResourceKind::of_collection(collection).is_some()
            && segments.next().is_some()
            && Self::of_path(path_and_query).is_none()
    }

    /// The innermost resource of these segments; parts that are not resources, such as permissions, belong to it.
    fn of_segments<'a>(segments: &[&'a str]) -> Option<Self> {
        // A method follows a colon, as in `files/abc:download`.
        let plain = |segment: &&'a str| segment.split(':').next().unwrap_or_default();
        let (kind, length) = match segments {
            ["models", _, "operations", _, ..] => (ResourceKind::Operation, 4),
            // The snapshot of an environment (Google's guide to agents).
            ["files", id, ..] if id.starts_with("environment-") => {
                let id = plain(id).trim_start_matches("environment-");
                return Self::of_id(ResourceKind::Environment, id);
            }
            [collection, _, rest @ ..] => {
                let kind = ResourceKind::of_collection(collection)?;
                match rest {
                    ["operations", _, ..] => (ResourceKind::Operation, 4),
                    ["upload", "operations", _, ..] => (ResourceKind::Operation, 5),
                    ["documents", _, ..] if kind.has_documents() => (ResourceKind::Document, 4),
                    _ => (kind, 2),
                }
            }
            _ => return None,
        };
        let names: Vec<_> = segments[..length].iter().map(plain).collect();
        let is_name = names.iter().all(|name| is_id(name));
        is_name.then(|| Self::new(kind, names.join("/")))?
    }

    fn of_handle(handle: &str) -> Option<Self> {
        let is_handle = !handle.is_empty() && handle.bytes().all(|byte| byte.is_ascii_graphic());
        let text = || in_collection(ResourceKind::LiveSession, handle);
        is_handle.then(|| Self::new(ResourceKind::LiveSession, text()))?
    }

    fn new(kind: ResourceKind, text: String) -> Option<Self> {
        (text.len() <= MAX_NAME_BYTES).then(|| Self {
            kind,
            text: text.into(),
        })
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl ResourceKind {
    const ALL: [Self; 19] = [
        Self::File,
        Self::GeneratedFile,
        Self::CachedContent,
        Self::Batch,
        Self::Operation,
        Self::FileSearchStore,
        Self::Document,
        Self::TunedModel,
        Self::Corpus,
        Self::Interaction,
        Self::Agent,
        Self::Environment,
        Self::Trigger,
        Self::Webhook,
        Self::Credential,
        Self::Voice,
        Self::AuthToken,
        Self::Video,
        Self::LiveSession,
    ];

    /// The kind of resource in a collection; `None` for collections without owners, such as models.
    pub fn of_collection(collection: &str) -> Option<Self> {
        let mut kinds = Self::ALL.into_iter();
        kinds.find(|kind| kind.collection() == collection && *kind != Self::LiveSession)
    }

    /// The collection at the beginning of such names; that of operations and documents is usually inside another.
    pub fn collection(self) -> &'static str {
        match self {
            Self::File => "files",
            Self::GeneratedFile => "generatedFiles",
            Self::CachedContent => "cachedContents",
            Self::Batch => "batches",
            Self::Operation => "operations",
            Self::FileSearchStore => "fileSearchStores",
            Self::Document => "documents",
            Self::TunedModel => "tunedModels",
            Self::Corpus => "corpora",
            Self::Interaction => "interactions",
            Self::Agent => "agents",
            Self::Environment => "environments",
            Self::Trigger => "triggers",
            Self::Webhook => "webhooks",
            Self::Credential => "credentials",
            Self::Voice => "voices",
            Self::AuthToken => "auth_tokens",
            Self::Video => "videos",
            Self::LiveSession => "liveSessions",
        }
    }

    /// Maximum lifetime after creation, unless the response states one; `None`: until it is deleted.
    ///
    /// From Google's guides, except for undocumented kinds: operations and the results of batches. Their lifetimes are
    /// generous, since a name deleted too early cannot be found, and one kept too long does no harm.
    pub fn default_lifetime(self) -> Option<Duration> {
        match self {
            Self::File | Self::Video | Self::Operation => Some(2 * DAY),
            Self::CachedContent => Some(HOUR),
            // Two days until the batch expires, and two for its results.
            Self::Batch => Some(4 * DAY),
            // With billing; without it one day.
            Self::Interaction => Some(55 * DAY),
            Self::AuthToken | Self::LiveSession => Some(DAY),
            Self::GeneratedFile
            | Self::FileSearchStore
            | Self::Document
            | Self::TunedModel
            | Self::Corpus
            | Self::Agent
            | Self::Environment
            | Self::Trigger
            | Self::Webhook
            | Self::Credential
            | Self::Voice => None,
        }
    }

    /// Whether a resource has an owner even if its creation was not observed: agents and voices may be Google's own.
    pub fn always_has_owner(self) -> bool {
        !matches!(self, Self::Agent | Self::Voice)
    }

    /// Whether requests combine resources of this kind, so that a client's should be in one project. Others, such as
    /// interactions, are created in any project, which spreads the load.
    pub fn is_combined(self) -> bool {
        match self {
            Self::File
            | Self::GeneratedFile
            | Self::CachedContent
            | Self::FileSearchStore
            | Self::Document
            | Self::Corpus
            | Self::Agent
            | Self::Environment
            | Self::Trigger
            | Self::Webhook
            | Self::Credential
            | Self::Voice => true,
            Self::Batch
            | Self::Operation
            | Self::TunedModel
            | Self::Interaction
            | Self::AuthToken
            | Self::Video
            | Self::LiveSession => false,
        }
    }

    /// The collections of resources that requests combine.
    pub fn combined_collections() -> Vec<&'static str> {
        let combined = Self::ALL.into_iter().filter(|kind| kind.is_combined());
        combined.map(Self::collection).collect()
    }

    /// Whether resources of this kind have their name in `id`; the others have it in `name`. In Google's clients `id`
    /// is used by the kinds of the Interactions API, whose `name` is free text.
    pub fn is_named_by_id(self) -> bool {
        matches!(
            self,
            Self::Interaction
                | Self::Agent
                | Self::Environment
                | Self::Trigger
                | Self::Webhook
                | Self::Credential
                | Self::Voice
                | Self::Video
        )
    }

    fn has_documents(self) -> bool {
        matches!(self, Self::FileSearchStore | Self::Corpus)
    }
}

/// The path of a URL at Google's host, in any spelling that a lenient parser takes for one; `None` for any other text.
fn google_path(text: &str) -> Option<String> {
    let text = text.trim_matches(|letter: char| letter.is_whitespace() || letter.is_control());
    // Without a dot, as itself or encoded, there is no host.
    let may_have_host = text.contains(['.', '%']) || !text.is_ascii();
    if !may_have_host || text.len() > MAX_NAME_BYTES {
        return None;
    }
    let at_google = |url: &str| {
        let url = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let host = url.host_str()?.trim_end_matches('.');
        let is_google = host == GOOGLE_HOST
            // The address for client certificates.
            || host.starts_with("generativelanguage.") && host.ends_with(".googleapis.com");
        is_google.then(|| url.path().to_owned())
    };
    // Without its scheme, or without its slashes too.
    at_google(text)
        .or_else(|| at_google(&format!("https:{text}")).filter(|_| text.starts_with("//")))
        .or_else(|| at_google(&format!("https://{text}")).filter(|_| !text.starts_with('/')))
}

fn in_collection(kind: ResourceKind, id: &str) -> String {
    format!("{}/{id}", kind.collection())
}

/// Whether a text can be one segment of a name: without characters that have a meaning in URLs, paths or logs.
fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'=' | b'+')
    };
    // `-` is a wildcard in Google's APIs.
    text.bytes().any(|byte| byte.is_ascii_alphanumeric()) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests;
