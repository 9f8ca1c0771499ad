//! `CreatedResourcesReader`: reads resource names and the state of asynchronous jobs from a streamed response.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::gemini::response::events::{EventFraming, EventReader};
use crate::gemini::response::json::{JsonPath, JsonScanner, paths_of};
use crate::gemini::response::usage;
use crate::gemini::target::{Surface, Target};
use crate::pool::quota::usage::TokenUsage;

use FieldMeaning::{
    AnswerUsage, DerivedResource, Done, Error, Expiry, Id, Model, Name, RepeatedUsage, Response,
    State,
};

/// After this many bytes the values found so far are taken from the scanner.
const CHUNK_BYTES: usize = 64 * 1024;

/// Maximum number of names per response; a page of a list has at most 100 files, and 1000 resources of any kind
/// (Google's API reference).
const MAX_NAMES: usize = 1000;

/// The resources that a response contained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedResources {
    pub resources: Vec<ObservedResource>,
    pub job: Option<AsyncJob>,
}

/// A resource that a response named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedResource {
    pub name: ResourceName,
    /// Whether the response created the resource; otherwise it may be long known. Clients can choose the names of
    /// files, so a created resource may have the name of another project's.
    pub is_created: bool,
    /// `None`: not stated, and [`ResourceKind::default_lifetime`] applies.
    pub expires_at: Option<Timestamp>,
}

/// Work that continues after the response has ended: a batch, an operation, an interaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsyncJob {
    pub name: ResourceName,
    pub state: AsyncJobState,
    /// The total usage of the responses in the batch; every read of a completed batch repeats it.
    pub usage: TokenUsage,
    /// Number of these responses.
    pub answers: u64,
    /// The model, without `models/`, if the batch states it.
    pub model: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsyncJobState {
    Running,
    Succeeded,
    /// Ended without a complete result: also cancelled or expired.
    Failed,
}

/// Reads one response beside the stream, in constant memory.
#[derive(Debug)]
pub struct CreatedResourcesReader {
    reader: EventReader,
    positions: &'static [(JsonPath, FieldMeaning)],
    intent: RequestIntent,
    names: Vec<ResourceName>,
    expiries: Vec<Timestamp>,
    derived: Vec<ResourceName>,
    job_fields: JobFields,
}

/// The intent of a request.
#[derive(Debug, Clone, Copy)]
struct RequestIntent {
    /// The kind of the resources that the response names, apart from asynchronous jobs.
    kind: ResourceKind,
    /// Whether the response names the resource by its id.
    by_id: bool,
    action: ResourceAction,
    /// Whether the id can be used later: not if Google does not store the resource, nor for a run of a trigger.
    is_stored: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResourceAction {
    Create,
    /// Reads, changes or stops an existing resource.
    Access,
    List,
}

/// The fields of the response about an asynchronous job.
#[derive(Debug, Default)]
struct JobFields {
    is_done: bool,
    has_response: bool,
    has_error: bool,
    state: Option<String>,
    model: Option<String>,
    usage: TokenUsage,
    answers: u64,
    repeated_usage: TokenUsage,
    repeated_answers: u64,
}

/// The meaning of the value at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldMeaning {
    Name,
    Id,
    Expiry,
    /// A resource of this kind that resulted from the request.
    DerivedResource(ResourceKind),
    Done,
    Response,
    Error,
    State,
    Model,
    AnswerUsage,
    /// The usage of the same responses again.
    RepeatedUsage,
}

/// From Google's API reference; as recorded for files, caches, batches, stores and the operations of Veo and of
/// uploads; for resources with an `id`, as Google's client for Python reads them.
const NATIVE: &[(JsonPath, FieldMeaning)] = &[
    (&["error"], Error),
    (&["name"], Name),
    (&["id"], Id),
    (&["expirationTime"], Expiry),
    (&["expireTime"], Expiry),
    (&["expire_time"], Expiry),
    // The end of an upload.
    (&["file", "name"], Name),
    (&["file", "expirationTime"], Expiry),
    // Lists.
    (&["files", "name"], Name),
    (&["files", "expirationTime"], Expiry),
    (&["generatedFiles", "name"], Name),
    (&["cachedContents", "name"], Name),
    (&["cachedContents", "expireTime"], Expiry),
    (&["operations", "name"], Name),
    (&["batches", "name"], Name),
    (&["fileSearchStores", "name"], Name),
    (&["documents", "name"], Name),
    (&["tunedModels", "name"], Name),
    (&["corpora", "name"], Name),
    (&["agents", "id"], Id),
    (&["environments", "id"], Id),
    (&["triggers", "id"], Id),
    (&["webhooks", "id"], Id),
    (&["credentials", "id"], Id),
    (&["voices", "id"], Id),
    // Operations.
    (&["done"], Done),
    (&["response", "@type"], Response),
    (
        &["response", "documentName"],
        DerivedResource(ResourceKind::Document),
    ),
    (
        &["response", "responsesFile"],
        DerivedResource(ResourceKind::File),
    ),
    (
        &["metadata", "output", "responsesFile"],
        DerivedResource(ResourceKind::File),
    ),
    (
        &["dest", "responsesFile"],
        DerivedResource(ResourceKind::File),
    ),
    (
        &[
            "response",
            "generateVideoResponse",
            "generatedSamples",
            "video",
            "uri",
        ],
        DerivedResource(ResourceKind::File),
    ),
    (
        &["response", "generatedSamples", "video", "uri"],
        DerivedResource(ResourceKind::File),
    ),
    (
        &["metadata", "tunedModel"],
        DerivedResource(ResourceKind::TunedModel),
    ),
    (&["metadata", "state"], State),
    (&["metadata", "model"], Model),
    (
        &[
            "response",
            "inlinedResponses",
            "inlinedResponses",
            "response",
            "usageMetadata",
        ],
        AnswerUsage,
    ),
    (
        &[
            "response",
            "inlinedEmbedContentResponses",
            "inlinedResponses",
            "response",
            "usageMetadata",
        ],
        AnswerUsage,
    ),
    (
        &[
            "metadata",
            "output",
            "inlinedResponses",
            "inlinedResponses",
            "response",
            "usageMetadata",
        ],
        RepeatedUsage,
    ),
    (
        &[
            "metadata",
            "output",
            "inlinedEmbedContentResponses",
            "inlinedResponses",
            "response",
            "usageMetadata",
        ],
        RepeatedUsage,
    ),
    // The environment and the files of a trigger's run.
    (
        &["environment_id"],
        DerivedResource(ResourceKind::Environment),
    ),
    (
        &["interaction_id"],
        DerivedResource(ResourceKind::Interaction),
    ),
];

/// OpenAI's API reference, as Google's layer follows it.
const OPENAI: &[(JsonPath, FieldMeaning)] = &[
    (&["error"], Error),
    (&["id"], Id),
    (&["expires_at"], Expiry),
    (&["data", "id"], Id),
    (&["data", "expires_at"], Expiry),
    (&["output_file_id"], DerivedResource(ResourceKind::File)),
    (&["error_file_id"], DerivedResource(ResourceKind::File)),
    (
        &["data", "output_file_id"],
        DerivedResource(ResourceKind::File),
    ),
    (&["status"], State),
    (&["model"], Model),
];

/// Complete responses have these fields at the root, events of a stream inside `interaction` (seen in recordings).
const INTERACTIONS: &[(JsonPath, FieldMeaning)] = &[
    (&["error"], Error),
    (&["id"], Id),
    (&["interaction", "id"], Id),
    (&["status"], State),
    (&["interaction", "status"], State),
    (
        &["environment_id"],
        DerivedResource(ResourceKind::Environment),
    ),
    (
        &["interaction", "environment_id"],
        DerivedResource(ResourceKind::Environment),
    ),
];

const NATIVE_PATHS: [JsonPath; NATIVE.len()] = paths_of(NATIVE);
const OPENAI_PATHS: [JsonPath; OPENAI.len()] = paths_of(OPENAI);
const INTERACTIONS_PATHS: [JsonPath; INTERACTIONS.len()] = paths_of(INTERACTIONS);

/// `error` is the first path of every surface.
const ERROR: usize = 0;

impl CreatedResourcesReader {
    /// The reader for the response to `target`; `None` if the response names no resource with an owner. `is_stored`:
    /// the result of [`BodyContent`](crate::gemini::request_body::content::BodyContent).
    pub fn of(target: &Target, is_stored: bool, content_type: Option<&str>) -> Option<Self> {
        let intent = RequestIntent::of(target, is_stored)?;
        let framing = EventFraming::of_content_type(content_type)?;
        let (positions, paths): (_, &'static [JsonPath]) = match target.surface {
            Surface::Native => (NATIVE, &NATIVE_PATHS),
            Surface::OpenAi => (OPENAI, &OPENAI_PATHS),
            Surface::Interactions => (INTERACTIONS, &INTERACTIONS_PATHS),
        };
        let all: Vec<_> = (0..paths.len()).collect();
        let scanner = JsonScanner::new(paths).keep_all_values(&all);
        Some(Self {
            reader: EventReader::new(scanner, ERROR, framing),
            positions,
            intent,
            names: Vec::new(),
            expiries: Vec::new(),
            derived: Vec::new(),
            job_fields: JobFields::default(),
        })
    }

    /// The kind of resource that a request to `target` creates; `None`: none that is stored.
    pub fn kind_created_by(target: &Target, is_stored: bool) -> Option<ResourceKind> {
        let intent = RequestIntent::of(target, is_stored)?;
        (intent.action == ResourceAction::Create && intent.is_stored).then_some(intent.kind)
    }

    /// Number of names read so far.
    pub fn name_count(&self) -> usize {
        self.names.len() + self.derived.len()
    }

    /// Reads the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(CHUNK_BYTES) {
            self.reader.feed(piece);
            let is_document = self.reader.is_document();
            for (index, &(_, meaning)) in self.positions.iter().enumerate() {
                let scanner = &mut self.reader.scanner;
                let mut raws = Vec::new();
                scanner.drain_complete(index, |raw| raws.push(raw.to_vec()));
                if is_document {
                    // A document may be cut off, but the resources in it exist. An incomplete event is ignored.
                    scanner.drain_pending(index, |raw| raws.push(raw.to_vec()));
                }
                for raw in raws {
                    if let Ok(value) = serde_json::from_slice(&raw) {
                        self.read_value(meaning, &value);
                    }
                }
            }
        }
    }

    /// The resources read so far.
    pub fn observed(&self) -> ObservedResources {
        if self.reader.is_document() && self.reader.had_error() {
            return ObservedResources::default();
        }
        let mut resources = Vec::new();
        // Where some resources have no expiry, expiries cannot be paired with names.
        let are_paired = self.names.len() == self.expiries.len();
        for (index, name) in self.names.iter().enumerate() {
            resources.push(ObservedResource {
                name: name.clone(),
                is_created: self.intent.action == ResourceAction::Create,
                expires_at: self.expiries.get(index).copied().filter(|_| are_paired),
            });
        }
        for name in &self.derived {
            resources.push(ObservedResource {
                name: name.clone(),
                // The environment may have existed before the request.
                is_created: name.kind() != ResourceKind::Environment,
                expires_at: None,
            });
        }
        ObservedResources {
            resources,
            job: self.job(),
        }
    }

    fn read_value(&mut self, meaning: FieldMeaning, value: &Value) {
        let text = value.as_str();
        match meaning {
            Name if !self.intent.by_id => {
                let name = text.and_then(ResourceName::of_text);
                self.add_name(name.filter(|name| self.intent.can_be_named(name.kind())));
            }
            Id if self.intent.by_id && self.intent.is_stored => {
                let name = text.and_then(|id| ResourceName::of_id(self.intent.kind, id));
                self.add_name(name);
            }
            // An expired batch is no longer processed, but still exists.
            Expiry if self.intent.kind != ResourceKind::Batch => {
                let moment = text.and_then(|text| text.parse().ok());
                let moment = moment.or_else(|| from_unix_seconds(value));
                if let Some(moment) = moment
                    && self.expiries.len() < MAX_NAMES
                {
                    self.expiries.push(moment);
                }
            }
            Name | Id | Expiry => {}
            DerivedResource(kind) => {
                let name = text.and_then(|id| ResourceName::of_id(kind, id));
                let is_new =
                    |name: &ResourceName| name.kind() == kind && !self.derived.contains(name);
                if let Some(name) = name.filter(is_new)
                    && self.derived.len() < MAX_NAMES
                {
                    self.derived.push(name);
                }
            }
            Done => self.job_fields.is_done |= value == &Value::Bool(true),
            Response => self.job_fields.has_response = true,
            Error => self.job_fields.has_error = true,
            State => self.job_fields.state = text.map(str::to_ascii_uppercase),
            Model => self.job_fields.model = text.map(str::to_owned),
            AnswerUsage => {
                self.job_fields.usage += usage::of_native(&value.into());
                self.job_fields.answers += 1;
            }
            RepeatedUsage => {
                self.job_fields.repeated_usage += usage::of_native(&value.into());
                self.job_fields.repeated_answers += 1;
            }
        }
    }

    fn add_name(&mut self, name: Option<ResourceName>) {
        if let Some(name) = name
            && self.names.len() < MAX_NAMES
            && (self.intent.action == ResourceAction::List || !self.names.contains(&name))
        {
            self.names.push(name);
        }
    }

    fn job(&self) -> Option<AsyncJob> {
        let name = self
            .names
            .first()
            .filter(|_| self.intent.action != ResourceAction::List)?;
        let is_async = matches!(
            name.kind(),
            ResourceKind::Batch
                | ResourceKind::Operation
                | ResourceKind::Interaction
                | ResourceKind::Video
        );
        let job_fields = &self.job_fields;
        let (usage, answers) = if job_fields.answers > 0 {
            (job_fields.usage, job_fields.answers)
        } else {
            (job_fields.repeated_usage, job_fields.repeated_answers)
        };
        let model = job_fields.model.as_deref();
        is_async.then(|| AsyncJob {
            name: name.clone(),
            state: job_fields.state(),
            usage,
            answers,
            model: model.map(|model| model.strip_prefix("models/").unwrap_or(model).to_owned()),
        })
    }
}

impl JobFields {
    /// An operation states `done`, a completed upload to a store has only a response. A batch's state is decisive.
    fn state(&self) -> AsyncJobState {
        let state = self.state.as_deref().unwrap_or_default();
        let state = state.rsplit('_').next().unwrap_or_default();
        match state {
            "SUCCEEDED" | "COMPLETED" => AsyncJobState::Succeeded,
            "FAILED" | "CANCELLED" | "CANCELED" | "EXPIRED" | "INCOMPLETE" => AsyncJobState::Failed,
            _ if self.has_error => AsyncJobState::Failed,
            _ if self.is_done || self.has_response => AsyncJobState::Succeeded,
            _ => AsyncJobState::Running,
        }
    }
}

impl RequestIntent {
    fn of(target: &Target, is_stored: bool) -> Option<Self> {
        let words: Vec<_> = target.operation.as_deref()?.split('.').collect();
        let (&verb, collections) = words.split_last()?;
        let kind = match (collections, verb) {
            ([], "batchGenerateContent" | "asyncBatchEmbedContent") => ResourceKind::Batch,
            ([], "predictLongRunning") | ([_], "importFile" | "uploadToFileSearchStore") => {
                ResourceKind::Operation
            }
            // Files in an environment have names of their own.
            ([] | [_, "files"], _) | (_, "delete") | ([_], "content" | "download") => {
                return None;
            }
            ([.., collection], _) => ResourceKind::of_collection(collection)?,
        };
        Some(Self {
            kind,
            // OpenAI's resources have only ids.
            by_id: target.surface == Surface::OpenAi || kind.is_named_by_id(),
            action: match verb {
                "list" => ResourceAction::List,
                "create" | "upload" | "register" | "importFile" | "uploadToFileSearchStore" => {
                    ResourceAction::Create
                }
                _ if collections.is_empty() => ResourceAction::Create,
                _ => ResourceAction::Access,
            },
            is_stored: is_stored && verb != "executions",
        })
    }

    /// Whether a response can name a resource of this kind: some responses name an operation in its place.
    fn can_be_named(self, kind: ResourceKind) -> bool {
        kind == self.kind || kind == ResourceKind::Operation
    }
}

/// OpenAI's timestamps.
fn from_unix_seconds(value: &Value) -> Option<Timestamp> {
    let millis = value.as_i64()?.checked_mul(1000)?;
    Some(Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests;
