//! `ResourceReferences`: finds the resources that a request's body names, while the body streams.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use serde_json::Value;

use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::gemini::response::json::{ANY_DEPTH, JsonPath, JsonScanner, paths_of};

use ReferenceSyntax::{FullName, FullNameOfKind, Id, StoreFlag};

/// After this many bytes the values found so far are taken from the scanner.
const CHUNK_BYTES: usize = 64 * 1024;

/// Maximum size of all names of one request, in bytes: some thousands of files, more than Google accepts.
const MAX_NAMES_BYTES: usize = 1024 * 1024;

/// Finds the names in one JSON body, split into chunks anywhere, in constant memory.
///
/// Only fields in which Google reads a name count: not texts, function arguments, schemas or a client's own metadata.
#[derive(Debug)]
pub struct ResourceReferences {
    scanner: JsonScanner,
    names: BTreeSet<ResourceName>,
    names_bytes: usize,
    is_complete: bool,
    stores_interaction: bool,
}

/// The syntax of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReferenceSyntax {
    /// In full, as `files/abc` or one of Google's URLs; any other value is ignored.
    FullName,
    /// In full, but only a resource of this kind counts.
    FullNameOfKind(ResourceKind),
    /// By its id, or in full.
    Id(ResourceKind),
    /// Not a name: whether an interaction is stored.
    StoreFlag,
}

/// Fields with resource names: from Google's API reference, the requests of its client for Python, and recordings. Both
/// spellings are valid, and a field of a message may occur at any depth: batches and caches contain whole requests.
const REFERENCE_FIELDS: &[(JsonPath, ReferenceSyntax)] = &[
    (&[ANY_DEPTH, "fileUri"], FullName),
    (&[ANY_DEPTH, "file_uri"], FullName),
    // Contents of interactions, and the video that Veo continues.
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
    // A batch's input, and files imported into a store.
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
    // Where the path lacks the model; the requests of a batch use the batch's model.
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

/// Fields with free content: arguments and results of functions, schemas, metadata.
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
    /// The references in a complete body.
    pub fn from_body(body: &[u8]) -> Self {
        let mut references = Self::default();
        if may_contain_references(body) {
            references.feed(body);
        }
        references
    }

    /// Reads the next bytes. After invalid JSON no more names are read; earlier ones are kept.
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(CHUNK_BYTES) {
            self.scanner.feed(piece);
            for (index, &(_, syntax)) in REFERENCE_FIELDS.iter().enumerate() {
                self.collect(index, syntax);
            }
        }
    }

    /// The names found so far, each once, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &ResourceName> {
        self.names.iter()
    }

    /// Whether all names fitted into memory.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether Google stores the interaction that this body creates; true unless the client sets it to false.
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

/// Whether a body may contain references; most bodies do not, and are not parsed as JSON.
fn may_contain_references(body: &[u8]) -> bool {
    let searcher = HINT_SEARCHER.as_ref();
    searcher.is_none_or(|searcher| searcher.find(body).is_some())
}

/// Searches for the keys of [`REFERENCE_FIELDS`] in their usual spelling, and for escapes that could hide letters;
/// `None` if the processor cannot do that fast.
static HINT_SEARCHER: LazyLock<Option<Searcher>> = LazyLock::new(|| {
    // Nearly every body contains `model`, few of them a tuned one.
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
            // Requests a new environment (Google's guide to agents).
            Self::Id(ResourceKind::Environment) if text == "remote" => None,
            Self::Id(kind) => ResourceName::of_id(kind, text),
            Self::StoreFlag => None,
        }
    }
}

/// The strings of a raw value that is a string or an array of strings.
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

/// The text of a string without escapes, the usual case.
fn unescaped_string(raw: &[u8]) -> Option<&str> {
    let text = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_plain = text.iter().all(|byte| *byte >= b' ' && *byte != b'\\');
    std::str::from_utf8(text).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests;
