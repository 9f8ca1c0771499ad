//! `Births`: the names of resources that an answer tells as it passes, and whether long work is done.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::gemini::event_reader::{EventReader, Framing};
use crate::gemini::json_scan::{Path, Scanner, paths_of};
use crate::gemini::resource_name::{ResourceKind, ResourceName};
use crate::gemini::target::{Surface, Target};
use crate::gemini::usage;
use crate::pool::quota::usage::TokenUsage;

use Says::{Count, CountAgain, Done, Error, Expiry, Id, Model, Name, Part, Response, State};

/// So much is read before what was found is taken out of the scanner.
const PIECE: usize = 64 * 1024;

/// Names of one answer; a page of a list has 100 files at most, and 1000 of anything (Google's API reference).
const NAMES_LIMIT: usize = 1000;

/// What an answer told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub resources: Vec<Sighting>,
    pub job: Option<Job>,
}

/// A resource that an answer named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub name: ResourceName,
    /// Whether this answer is the first that can have told it; else it may be long known. Clients can choose the names of
    /// files, so even a born one may be told of another project.
    pub is_born: bool,
    /// `None`: it was not said, and [`ResourceKind::lives_for`] holds.
    pub expires_at: Option<Timestamp>,
}

/// Work that goes on when the answer has ended: a batch, an operation, an interaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub name: ResourceName,
    pub progress: Progress,
    /// What the answers inside the batch have used, all together; each look at a batch that is done tells it again.
    pub usage: TokenUsage,
    /// How many answers that was.
    pub answers: u64,
    /// The model, without `models/`, where the batch says it.
    pub model: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Running,
    Succeeded,
    /// Over without the whole result: also what was cancelled or has expired.
    Failed,
}

/// Reads one answer beside the stream. It stays in constant memory.
#[derive(Debug)]
pub struct Births {
    reader: EventReader,
    positions: &'static [(Path, Says)],
    asked: Asked,
    names: Vec<ResourceName>,
    expiries: Vec<Timestamp>,
    parts: Vec<ResourceName>,
    work: Work,
}

/// What a request was after.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// What the answer names, beside long work.
    kind: ResourceKind,
    /// Whether the answer calls it by its id.
    by_id: bool,
    way: Way,
    /// Whether the id leads back to it: not if Google does not keep it, nor for a run of a trigger.
    stores: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Makes,
    /// Reads, changes or stops one that is there.
    Looks,
    Lists,
}

/// What of the answer is about long work.
#[derive(Debug, Default)]
struct Work {
    is_done: bool,
    has_response: bool,
    has_error: bool,
    state: Option<String>,
    model: Option<String>,
    usage: TokenUsage,
    answers: u64,
    usage_again: TokenUsage,
    answers_again: u64,
}

/// What the value at a position says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Name,
    Id,
    Expiry,
    /// Something else of this kind that came of it.
    Part(ResourceKind),
    Done,
    Response,
    Error,
    State,
    Model,
    Count,
    /// The same answers once more.
    CountAgain,
}

/// From Google's API reference: as recorded for files, caches, batches, stores and the operations of Veo and of uploads;
/// for what has an `id`, as Google's client for Python reads it.
const NATIVE: &[(Path, Says)] = &[
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
    (&["response", "documentName"], Part(ResourceKind::Document)),
    (&["response", "responsesFile"], Part(ResourceKind::File)),
    (
        &["metadata", "output", "responsesFile"],
        Part(ResourceKind::File),
    ),
    (&["dest", "responsesFile"], Part(ResourceKind::File)),
    (
        &[
            "response",
            "generateVideoResponse",
            "generatedSamples",
            "video",
            "uri",
        ],
        Part(ResourceKind::File),
    ),
    (
        &["response", "generatedSamples", "video", "uri"],
        Part(ResourceKind::File),
    ),
    (&["metadata", "tunedModel"], Part(ResourceKind::TunedModel)),
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
        Count,
    ),
    (
        &[
            "response",
            "inlinedEmbedContentResponses",
            "inlinedResponses",
            "response",
            "usageMetadata",
        ],
        Count,
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
        CountAgain,
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
        CountAgain,
    ),
    // What a run of a trigger works in and makes.
    (&["environment_id"], Part(ResourceKind::Environment)),
    (&["interaction_id"], Part(ResourceKind::Interaction)),
];

/// OpenAI's API reference, as Google's layer follows it.
const OPENAI: &[(Path, Says)] = &[
    (&["error"], Error),
    (&["id"], Id),
    (&["expires_at"], Expiry),
    (&["data", "id"], Id),
    (&["data", "expires_at"], Expiry),
    (&["output_file_id"], Part(ResourceKind::File)),
    (&["error_file_id"], Part(ResourceKind::File)),
    (&["data", "output_file_id"], Part(ResourceKind::File)),
    (&["status"], State),
    (&["model"], Model),
];

/// Whole answers have at the root what the events of a stream have inside `interaction` (seen in recordings).
const INTERACTIONS: &[(Path, Says)] = &[
    (&["error"], Error),
    (&["id"], Id),
    (&["interaction", "id"], Id),
    (&["status"], State),
    (&["interaction", "status"], State),
    (&["environment_id"], Part(ResourceKind::Environment)),
    (
        &["interaction", "environment_id"],
        Part(ResourceKind::Environment),
    ),
];

const NATIVE_PATHS: [Path; NATIVE.len()] = paths_of(NATIVE);
const OPENAI_PATHS: [Path; OPENAI.len()] = paths_of(OPENAI);
const INTERACTIONS_PATHS: [Path; INTERACTIONS.len()] = paths_of(INTERACTIONS);

/// `error` comes first among the paths of every surface.
const ERROR: usize = 0;

impl Births {
    /// What to read in the answer to `target`; `None` where no answer names what belongs to somebody. `stores`: what
    /// [`References`](crate::gemini::references::References) found the request to say.
    pub fn of(target: &Target, stores: bool, content_type: Option<&str>) -> Option<Self> {
        let asked = Asked::of(target, stores)?;
        let framing = Framing::of_content_type(content_type)?;
        let (positions, paths): (_, &'static [Path]) = match target.surface {
            Surface::Native => (NATIVE, &NATIVE_PATHS),
            Surface::OpenAi => (OPENAI, &OPENAI_PATHS),
            Surface::Interactions => (INTERACTIONS, &INTERACTIONS_PATHS),
        };
        let all: Vec<_> = (0..paths.len()).collect();
        let scanner = Scanner::new(paths).keeping_every(&all);
        Some(Self {
            reader: EventReader::new(scanner, ERROR, framing),
            positions,
            asked,
            names: Vec::new(),
            expiries: Vec::new(),
            parts: Vec::new(),
            work: Work::default(),
        })
    }

    /// The kind of what a request to `target` makes; `None`: nothing that stays.
    pub fn kind_made_by(target: &Target, stores: bool) -> Option<ResourceKind> {
        let asked = Asked::of(target, stores)?;
        (asked.way == Way::Makes && asked.stores).then_some(asked.kind)
    }

    /// How many names were told so far.
    pub fn count(&self) -> usize {
        self.names.len() + self.parts.len()
    }

    /// Reads on.
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            self.reader.feed(piece);
            let is_document = self.reader.is_document();
            for (index, &(_, says)) in self.positions.iter().enumerate() {
                let scanner = &mut self.reader.scanner;
                let mut raws = Vec::new();
                scanner.drain_kept(index, |raw| raws.push(raw.to_vec()));
                if is_document {
                    // It may be cut off, and what it has named is born all the same. A half event never happened.
                    scanner.drain_pending(index, |raw| raws.push(raw.to_vec()));
                }
                for raw in raws {
                    if let Ok(value) = serde_json::from_slice(&raw) {
                        self.take(says, &value);
                    }
                }
            }
        }
    }

    /// What was told so far.
    pub fn told(&self) -> Told {
        if self.reader.is_document() && self.reader.had_error() {
            return Told::default();
        }
        let mut resources = Vec::new();
        // Where some have no expiry, none can be said to be whose.
        let are_paired = self.names.len() == self.expiries.len();
        for (index, name) in self.names.iter().enumerate() {
            resources.push(Sighting {
                name: name.clone(),
                is_born: self.asked.way == Way::Makes,
                expires_at: self.expiries.get(index).copied().filter(|_| are_paired),
            });
        }
        for name in &self.parts {
            resources.push(Sighting {
                name: name.clone(),
                // An environment may have been there before, and only be worked in.
                is_born: name.kind() != ResourceKind::Environment,
                expires_at: None,
            });
        }
        Told {
            resources,
            job: self.job(),
        }
    }

    fn take(&mut self, says: Says, value: &Value) {
        let text = value.as_str();
        match says {
            Name if !self.asked.by_id => {
                let name = text.and_then(ResourceName::of_text);
                self.see(name.filter(|name| self.asked.can_name(name.kind())));
            }
            Id if self.asked.by_id && self.asked.stores => {
                let name = text.and_then(|id| ResourceName::of_id(self.asked.kind, id));
                self.see(name);
            }
            // When a batch expires it is given up, but not forgotten.
            Expiry if self.asked.kind != ResourceKind::Batch => {
                let moment = text.and_then(|text| text.parse().ok());
                let moment = moment.or_else(|| of_unix_seconds(value));
                if let Some(moment) = moment
                    && self.expiries.len() < NAMES_LIMIT
                {
                    self.expiries.push(moment);
                }
            }
            Name | Id | Expiry => {}
            Part(kind) => {
                let name = text.and_then(|id| ResourceName::of_id(kind, id));
                let is_new =
                    |name: &ResourceName| name.kind() == kind && !self.parts.contains(name);
                if let Some(name) = name.filter(is_new)
                    && self.parts.len() < NAMES_LIMIT
                {
                    self.parts.push(name);
                }
            }
            Done => self.work.is_done |= value == &Value::Bool(true),
            Response => self.work.has_response = true,
            Error => self.work.has_error = true,
            State => self.work.state = text.map(str::to_ascii_uppercase),
            Model => self.work.model = text.map(str::to_owned),
            Count => {
                self.work.usage += usage::of_native(value);
                self.work.answers += 1;
            }
            CountAgain => {
                self.work.usage_again += usage::of_native(value);
                self.work.answers_again += 1;
            }
        }
    }

    fn see(&mut self, name: Option<ResourceName>) {
        if let Some(name) = name
            && self.names.len() < NAMES_LIMIT
            && (self.asked.way == Way::Lists || !self.names.contains(&name))
        {
            self.names.push(name);
        }
    }

    fn job(&self) -> Option<Job> {
        let name = self
            .names
            .first()
            .filter(|_| self.asked.way != Way::Lists)?;
        let is_work = matches!(
            name.kind(),
            ResourceKind::Batch
                | ResourceKind::Operation
                | ResourceKind::Interaction
                | ResourceKind::Video
        );
        let work = &self.work;
        let (usage, answers) = if work.answers > 0 {
            (work.usage, work.answers)
        } else {
            (work.usage_again, work.answers_again)
        };
        let model = work.model.as_deref();
        is_work.then(|| Job {
            name: name.clone(),
            progress: work.progress(),
            usage,
            answers,
            model: model.map(|model| model.strip_prefix("models/").unwrap_or(model).to_owned()),
        })
    }
}

impl Work {
    /// An operation says `done`, but of an upload to a store that is done only its response was seen. A batch's state
    /// is told earlier than that.
    fn progress(&self) -> Progress {
        let state = self.state.as_deref().unwrap_or_default();
        let state = state.rsplit('_').next().unwrap_or_default();
        match state {
            "SUCCEEDED" | "COMPLETED" => Progress::Succeeded,
            "FAILED" | "CANCELLED" | "CANCELED" | "EXPIRED" | "INCOMPLETE" => Progress::Failed,
            _ if self.has_error => Progress::Failed,
            _ if self.is_done || self.has_response => Progress::Succeeded,
            _ => Progress::Running,
        }
    }
}

impl Asked {
    fn of(target: &Target, stores: bool) -> Option<Self> {
        let words: Vec<_> = target.operation.as_deref()?.split('.').collect();
        let (&verb, collections) = words.split_last()?;
        let kind = match (collections, verb) {
            ([], "batchGenerateContent" | "asyncBatchEmbedContent") => ResourceKind::Batch,
            ([], "predictLongRunning") | ([_], "importFile" | "uploadToFileSearchStore") => {
                ResourceKind::Operation
            }
            // What an environment calls a file is its own.
            ([] | [_, "files"], _) | (_, "delete") | ([_], "content" | "download") => {
                return None;
            }
            ([.., collection], _) => ResourceKind::of_collection(collection)?,
        };
        Some(Self {
            kind,
            // OpenAI has nothing but ids.
            by_id: target.surface == Surface::OpenAi || kind.is_named_by_id(),
            way: match verb {
                "list" => Way::Lists,
                "create" | "upload" | "register" | "importFile" | "uploadToFileSearchStore" => {
                    Way::Makes
                }
                _ if collections.is_empty() => Way::Makes,
                _ => Way::Looks,
            },
            stores: stores && verb != "executions",
        })
    }

    /// Whether an answer can name what is of this kind: work may be given for the thing itself.
    fn can_name(self, kind: ResourceKind) -> bool {
        kind == self.kind || kind == ResourceKind::Operation
    }
}

/// OpenAI's moments.
fn of_unix_seconds(value: &Value) -> Option<Timestamp> {
    let millis = value.as_i64()?.checked_mul(1000)?;
    Some(Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests;
