//! `ResourceReferences`: which resources a request's body names, found as the body passes by.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use serde_json::Value;

use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::gemini::response::json::{ANY_DEPTH, JsonPath, JsonScanner, paths_of};

use ReferenceSyntax::{FullName, FullNameOfKind, Id, StoreFlag};

/// So much is read before what was found is taken out of the scanner.
const CHUNK_BYTES: usize = 64 * 1024;

/// Names of one request, in bytes: some thousands of files, of which Google takes fewer.
const MAX_NAMES_BYTES: usize = 1024 * 1024;

/// Finds the names in one JSON body, however it is cut, in constant memory.
///
/// Only what stands where Google reads a name is one: not what a text mentions, nor what the arguments of a function, a
/// schema or a client's own metadata hold.
#[derive(Debug)]
pub struct ResourceReferences {
    scanner: JsonScanner,
    names: BTreeSet<ResourceName>,
    names_bytes: usize,
    is_complete: bool,
    stores_interaction: bool,
}

/// How the value at a position names a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReferenceSyntax {
    /// In full, as `files/abc` or a URL of Google's; anything else there is the client's own business.
    FullName,
    /// The same, but only a resource of this kind counts.
    FullNameOfKind(ResourceKind),
    /// By its id, or in full.
    Id(ResourceKind),
    /// No name, but whether an interaction is to be kept.
    StoreFlag,
}

/// Where requests name resources: Google's API reference, the requests of its client for Python, and
/// recordings. Both spellings are legal, and a field of a message may stand at any depth: batches and caches hold whole requests.
const REFERENCE_FIELDS: &[(JsonPath, ReferenceSyntax)] = &[
    (&[ANY_DEPTH, "fileUri"], FullName),
    (&[ANY_DEPTH, "file_uri"], FullName),
    // Contents of interactions, and the video that Veo goes on with.
    (&[ANY_DEPTH, "uri"], FullName),
    (
        &[ANY_DEPTH, "cachedContent"],
        FullNameOfKind(ResourceKind::CachedContent),
    ),
    // Also OpenAI's `extra_body.google.cached_content`.
    (
        &[ANY_DEPTH, "cached_content"],
        FullNameOfKind(ResourceKind::CachedContent),
    ),
    // A batch's input, and what is imported into a store.
    (&[ANY_DEPTH, "fileName"], FullNameOfKind(ResourceKind::File)),
    (
        &[ANY_DEPTH, "file_name"],
        FullNameOfKind(ResourceKind::File),
    ),
    (
        &[ANY_DEPTH, "fileSearchStoreNames"],
        FullNameOfKind(ResourceKind::FileSearchStore),
    ),
    (
        &[ANY_DEPTH, "file_search_store_names"],
        FullNameOfKind(ResourceKind::FileSearchStore),
    ),
    // Where the path does not say it; the requests of a batch have the batch's model.
    (&["model"], FullNameOfKind(ResourceKind::TunedModel)),
    (
        &["setup", "model"],
        FullNameOfKind(ResourceKind::TunedModel),
    ),
    (
        &["generateContentRequest", "model"],
        FullNameOfKind(ResourceKind::TunedModel),
    ),
    (
        &["generate_content_request", "model"],
        FullNameOfKind(ResourceKind::TunedModel),
    ),
    (
        &[ANY_DEPTH, "tunedModel"],
        FullNameOfKind(ResourceKind::TunedModel),
    ),
    (
        &[ANY_DEPTH, "tuned_model"],
        FullNameOfKind(ResourceKind::TunedModel),
    ),
    (&["semanticRetriever", "source"], FullName),
    (&["semantic_retriever", "source"], FullName),
    // The OpenAI layer.
    (&[ANY_DEPTH, "file_id"], Id(ResourceKind::File)),
    (&[ANY_DEPTH, "input_file_id"], Id(ResourceKind::File)),
    // Interactions, alone or in a trigger.
    (
        &[ANY_DEPTH, "previousInteractionId"],
        Id(ResourceKind::Interaction),
    ),
    (
        &[ANY_DEPTH, "previous_interaction_id"],
        Id(ResourceKind::Interaction),
    ),
    (&[ANY_DEPTH, "environmentId"], Id(ResourceKind::Environment)),
    (
        &[ANY_DEPTH, "environment_id"],
        Id(ResourceKind::Environment),
    ),
    (
        &[ANY_DEPTH, "baseEnvironment"],
        Id(ResourceKind::Environment),
    ),
    (
        &[ANY_DEPTH, "base_environment"],
        Id(ResourceKind::Environment),
    ),
    (&["environment"], Id(ResourceKind::Environment)),
    (
        &["interaction", "environment"],
        Id(ResourceKind::Environment),
    ),
    (&[ANY_DEPTH, "baseAgent"], Id(ResourceKind::Agent)),
    (&[ANY_DEPTH, "base_agent"], Id(ResourceKind::Agent)),
    (&["agent"], Id(ResourceKind::Agent)),
    (&["interaction", "agent"], Id(ResourceKind::Agent)),
    (&[ANY_DEPTH, "credential"], Id(ResourceKind::Credential)),
    (&[ANY_DEPTH, "voice"], Id(ResourceKind::Voice)),
    (&["store"], StoreFlag),
    // The first frame of a live session.
    (
        &["setup", "sessionResumption", "handle"],
        Id(ResourceKind::LiveSession),
    ),
    (
        &["setup", "session_resumption", "handle"],
        Id(ResourceKind::LiveSession),
    ),
];

const REFERENCE_PATHS: [JsonPath; REFERENCE_FIELDS.len()] = paths_of(REFERENCE_FIELDS);

/// What clients fill as they like: arguments and results of functions, schemas, metadata.
const FREE_FORM_KEYS: &[&str] = &[
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

impl Default for ResourceReferences {
    fn default() -> Self {
        let all: Vec<_> = (0..REFERENCE_PATHS.len()).collect();
        Self {
            scanner: JsonScanner::new(&REFERENCE_PATHS)
                .keep_all_values(&all)
                .skip_keys(FREE_FORM_KEYS),
            names: BTreeSet::new(),
            names_bytes: 0,
            is_complete: true,
            stores_interaction: true,
        }
    }
}

impl ResourceReferences {
    /// What a body that is here whole refers to.
    pub fn from_body(body: &[u8]) -> Self {
        let mut references = Self::default();
        if may_contain_references(body) {
            references.feed(body);
        }
        references
    }

    /// Reads on. What is no JSON has no more names; those that came before stay.
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(CHUNK_BYTES) {
            self.scanner.feed(piece);
            for (index, &(_, syntax)) in REFERENCE_FIELDS.iter().enumerate() {
                self.collect(index, syntax);
            }
        }
    }

    /// The names found so far, each once, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &ResourceName> {
        self.names.iter()
    }

    /// Whether there was room for all names.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether an interaction that this body asks for is kept by Google; it is unless the client says no.
    pub fn stores_interaction(&self) -> bool {
        self.stores_interaction
    }

    fn collect(&mut self, index: usize, syntax: ReferenceSyntax) {
        let mut collect = |raw: &[u8]| {
            if syntax == StoreFlag {
                self.stores_interaction = raw != b"false";
                return;
            }
            for name in strings_in(raw)
                .iter()
                .filter_map(|text| syntax.parse_name(text))
            {
                let bytes = name.as_str().len();
                if self.names.contains(&name) {
                    continue;
                }
                if self.names_bytes + bytes > MAX_NAMES_BYTES {
                    self.is_complete = false;
                    continue;
                }
                self.names_bytes += bytes;
                self.names.insert(name);
            }
        };
        let kept = self.scanner.drain_complete(index, &mut collect);
        let pending = self.scanner.drain_pending(index, &mut collect);
        self.is_complete &= kept && pending;
    }
}

/// Whether anything in a body looks like what is read here; most bodies have nothing, and are not read as JSON.
fn may_contain_references(body: &[u8]) -> bool {
    let searcher = HINT_SEARCHER.as_ref();
    searcher.is_none_or(|searcher| searcher.find(body).is_some())
}

/// Finds the keys of [`REFERENCE_FIELDS`] as they are nearly always written, and the beginning of escapes in which letters could be
/// hidden; `None` where the processor has no way to do that fast.
static HINT_SEARCHER: LazyLock<Option<Searcher>> = LazyLock::new(|| {
    // Nearly every body says `model`, few a tuned one.
    let keys = REFERENCE_PATHS.iter().filter_map(|path| path.last());
    let keys = keys.filter(|key| **key != "model");
    let keys: BTreeSet<_> = keys.map(|key| format!("\"{key}\"")).collect();
    let escapes = (2..8).map(|digit| format!("\\u00{digit}"));
    let tuned = ResourceKind::TunedModel.collection().to_owned();
    let hints: Vec<_> = keys.into_iter().chain(escapes).chain([tuned]).collect();
    Searcher::new(&hints)
});

impl ReferenceSyntax {
    fn parse_name(self, text: &str) -> Option<ResourceName> {
        match self {
            Self::FullName => ResourceName::of_text(text),
            Self::FullNameOfKind(kind) => {
                ResourceName::of_text(text).filter(|name| name.kind() == kind)
            }
            // Asks for a new environment (Google's guide to agents).
            Self::Id(ResourceKind::Environment) if text == "remote" => None,
            Self::Id(kind) => ResourceName::of_id(kind, text),
            Self::StoreFlag => None,
        }
    }
}

/// The strings of a raw value that is one, or an array of them.
fn strings_in(raw: &[u8]) -> Vec<Cow<'_, str>> {
    if let Some(text) = unescaped_string(raw) {
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
fn unescaped_string(raw: &[u8]) -> Option<&str> {
    let text = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_plain = text.iter().all(|byte| *byte >= b' ' && *byte != b'\\');
    std::str::from_utf8(text).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests;
