//! `References`: which resources a request's body names, found as the body passes by.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use serde_json::Value;

use crate::gemini::json_scan::{ANYWHERE, Path, Scanner, paths_of};
use crate::gemini::resource_name::{ResourceKind, ResourceName};

use Reading::{ById, InFull, InFullOf, Stores};

/// So much is read before what was found is taken out of the scanner.
const PIECE: usize = 64 * 1024;

/// Names of one request, in bytes: some thousands of files, of which Google takes fewer.
const NAMES_LIMIT: usize = 1024 * 1024;

/// Finds the names in one JSON body, however it is cut, in constant memory.
///
/// Only what stands where Google reads a name is one: not what a text mentions, nor what the arguments of a function, a
/// schema or a client's own metadata hold.
#[derive(Debug)]
pub struct References {
    scanner: Scanner,
    names: BTreeSet<ResourceName>,
    names_bytes: usize,
    is_whole: bool,
    stores: bool,
}

/// How the value at a position names a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// In full, as `files/abc` or a URL of Google's; anything else there is the client's own business.
    InFull,
    /// The same, but only a resource of this kind counts.
    InFullOf(ResourceKind),
    /// By its id, or in full.
    ById(ResourceKind),
    /// No name, but whether an interaction is to be kept.
    Stores,
}

/// Where requests name resources: Google's API reference, the requests of its client for Python, and
/// recordings. Both spellings are legal, and a field of a message may stand at any depth: batches and caches hold whole requests.
const POSITIONS: &[(Path, Reading)] = &[
    (&[ANYWHERE, "fileUri"], InFull),
    (&[ANYWHERE, "file_uri"], InFull),
    // Contents of interactions, and the video that Veo goes on with.
    (&[ANYWHERE, "uri"], InFull),
    (
        &[ANYWHERE, "cachedContent"],
        InFullOf(ResourceKind::CachedContent),
    ),
    // Also OpenAI's `extra_body.google.cached_content`.
    (
        &[ANYWHERE, "cached_content"],
        InFullOf(ResourceKind::CachedContent),
    ),
    // A batch's input, and what is imported into a store.
    (&[ANYWHERE, "fileName"], InFullOf(ResourceKind::File)),
    (&[ANYWHERE, "file_name"], InFullOf(ResourceKind::File)),
    (
        &[ANYWHERE, "fileSearchStoreNames"],
        InFullOf(ResourceKind::FileSearchStore),
    ),
    (
        &[ANYWHERE, "file_search_store_names"],
        InFullOf(ResourceKind::FileSearchStore),
    ),
    // Where the path does not say it; the requests of a batch have the batch's model.
    (&["model"], InFullOf(ResourceKind::TunedModel)),
    (&["setup", "model"], InFullOf(ResourceKind::TunedModel)),
    (
        &["generateContentRequest", "model"],
        InFullOf(ResourceKind::TunedModel),
    ),
    (
        &["generate_content_request", "model"],
        InFullOf(ResourceKind::TunedModel),
    ),
    (
        &[ANYWHERE, "tunedModel"],
        InFullOf(ResourceKind::TunedModel),
    ),
    (
        &[ANYWHERE, "tuned_model"],
        InFullOf(ResourceKind::TunedModel),
    ),
    (&["semanticRetriever", "source"], InFull),
    (&["semantic_retriever", "source"], InFull),
    // The OpenAI layer.
    (&[ANYWHERE, "file_id"], ById(ResourceKind::File)),
    (&[ANYWHERE, "input_file_id"], ById(ResourceKind::File)),
    // Interactions, alone or in a trigger.
    (
        &[ANYWHERE, "previousInteractionId"],
        ById(ResourceKind::Interaction),
    ),
    (
        &[ANYWHERE, "previous_interaction_id"],
        ById(ResourceKind::Interaction),
    ),
    (
        &[ANYWHERE, "environmentId"],
        ById(ResourceKind::Environment),
    ),
    (
        &[ANYWHERE, "environment_id"],
        ById(ResourceKind::Environment),
    ),
    (
        &[ANYWHERE, "baseEnvironment"],
        ById(ResourceKind::Environment),
    ),
    (
        &[ANYWHERE, "base_environment"],
        ById(ResourceKind::Environment),
    ),
    (&["environment"], ById(ResourceKind::Environment)),
    (
        &["interaction", "environment"],
        ById(ResourceKind::Environment),
    ),
    (&[ANYWHERE, "baseAgent"], ById(ResourceKind::Agent)),
    (&[ANYWHERE, "base_agent"], ById(ResourceKind::Agent)),
    (&["agent"], ById(ResourceKind::Agent)),
    (&["interaction", "agent"], ById(ResourceKind::Agent)),
    (&[ANYWHERE, "credential"], ById(ResourceKind::Credential)),
    (&[ANYWHERE, "voice"], ById(ResourceKind::Voice)),
    (&["store"], Stores),
    // The first frame of a live session.
    (
        &["setup", "sessionResumption", "handle"],
        ById(ResourceKind::LiveSession),
    ),
    (
        &["setup", "session_resumption", "handle"],
        ById(ResourceKind::LiveSession),
    ),
];

const PATHS: [Path; POSITIONS.len()] = paths_of(POSITIONS);

/// What clients fill as they like: arguments and results of functions, schemas, metadata.
const FREE_FORM: &[&str] = &[
    "args",
    "arguments",
    "response",
    "parameters",
    "parametersJsonSchema",
    "parameters_json_schema",
    "responseSchema",
    "response_schema",
    "responseJsonSchema",
    "response_json_schema",
    "json_schema",
    "schema",
    "metadata",
    "user_metadata",
    "labels",
];

impl Default for References {
    fn default() -> Self {
        let all: Vec<_> = (0..PATHS.len()).collect();
        Self {
            scanner: Scanner::new(&PATHS)
                .keeping_every(&all)
                .passing_over(FREE_FORM),
            names: BTreeSet::new(),
            names_bytes: 0,
            is_whole: true,
            stores: true,
        }
    }
}

impl References {
    /// What a body that is here whole refers to.
    pub fn of_body(body: &[u8]) -> Self {
        let mut references = Self::default();
        if may_refer(body) {
            references.feed(body);
        }
        references
    }

    /// Reads on. What is no JSON has no more names; those that came before stay.
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            self.scanner.feed(piece);
            for (index, &(_, reading)) in POSITIONS.iter().enumerate() {
                self.take(index, reading);
            }
        }
    }

    /// The names found so far, each once, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &ResourceName> {
        self.names.iter()
    }

    /// Whether there was room for all names.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether an interaction that this body asks for is kept by Google; it is unless the client says no.
    pub fn stores(&self) -> bool {
        self.stores
    }

    fn take(&mut self, index: usize, reading: Reading) {
        let mut take = |raw: &[u8]| {
            if reading == Stores {
                self.stores = raw != b"false";
                return;
            }
            for name in texts_of(raw)
                .iter()
                .filter_map(|text| reading.name_of(text))
            {
                let bytes = name.as_str().len();
                if self.names.contains(&name) {
                    continue;
                }
                if self.names_bytes + bytes > NAMES_LIMIT {
                    self.is_whole = false;
                    continue;
                }
                self.names_bytes += bytes;
                self.names.insert(name);
            }
        };
        let kept = self.scanner.drain_kept(index, &mut take);
        let pending = self.scanner.drain_pending(index, &mut take);
        self.is_whole &= kept && pending;
    }
}

/// Whether anything in a body looks like what is read here; most bodies have nothing, and are not read as JSON.
fn may_refer(body: &[u8]) -> bool {
    let searcher = HINTS.as_ref();
    searcher.is_none_or(|searcher| searcher.find(body).is_some())
}

/// Finds the keys of [`POSITIONS`] as they are nearly always written, and the beginning of escapes in which letters could be
/// hidden; `None` where the processor has no way to do that fast.
static HINTS: LazyLock<Option<Searcher>> = LazyLock::new(|| {
    // Nearly every body says `model`, few a tuned one.
    let keys = PATHS.iter().filter_map(|path| path.last());
    let keys = keys.filter(|key| **key != "model");
    let keys: BTreeSet<_> = keys.map(|key| format!("\"{key}\"")).collect();
    let escapes = (2..8).map(|digit| format!("\\u00{digit}"));
    let tuned = ResourceKind::TunedModel.collection().to_owned();
    let hints: Vec<_> = keys.into_iter().chain(escapes).chain([tuned]).collect();
    Searcher::new(&hints)
});

impl Reading {
    fn name_of(self, text: &str) -> Option<ResourceName> {
        match self {
            Self::InFull => ResourceName::of_text(text),
            Self::InFullOf(kind) => ResourceName::of_text(text).filter(|name| name.kind() == kind),
            // Asks for a new environment (Google's guide to agents).
            Self::ById(ResourceKind::Environment) if text == "remote" => None,
            Self::ById(kind) => ResourceName::of_id(kind, text),
            Self::Stores => None,
        }
    }
}

/// The strings of a raw value that is one, or an array of them.
fn texts_of(raw: &[u8]) -> Vec<Cow<'_, str>> {
    if let Some(text) = plain_text_of(raw) {
        return vec![text.into()];
    }
    match serde_json::from_slice(raw) {
        Ok(Value::String(text)) => vec![text.into()],
        Ok(Value::Array(elements)) => elements
            .iter()
            .filter_map(Value::as_str)
            .map(|text| text.to_owned().into())
            .collect(),
        _ => vec![],
    }
}

/// The text of a string without escapes, which nearly all are.
fn plain_text_of(raw: &[u8]) -> Option<&str> {
    let text = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_plain = text.iter().all(|byte| *byte >= b' ' && *byte != b'\\');
    std::str::from_utf8(text).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests;
