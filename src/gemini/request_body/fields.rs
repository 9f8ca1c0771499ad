//! `FieldMeaning`: the fields of a request that have a meaning for the pool, by name and place.

use std::borrow::Cow;

use crate::gemini::resources::name::{ResourceKind, ResourceName, UnknownGoogleUrl};

use FieldMeaning::{
    Agent, BatchFile, FreeForm, Items, Media, MimeType, Model, Opaque, Reference, Setup, Store,
    Stream, Text, Webhook,
};
use ReferenceSyntax::{FullName, FullNameOfKind, Id};

/// The meaning of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldMeaning {
    /// Any other field; its text is counted as tokens.
    Text,
    /// Free content, in which no other field has a meaning: arguments and results of functions, schemas, metadata.
    FreeForm,
    /// The name of a resource.
    Reference(ReferenceSyntax),
    /// A model, which may be a tuned one.
    Model,
    /// An agent, which is a resource and takes the place of a model.
    Agent,
    /// The file with the requests of a batch.
    BatchFile(ReferenceSyntax),
    /// Whether a stream is asked for.
    Stream,
    /// Whether an interaction is stored.
    Store,
    /// An address that Google calls.
    Webhook,
    /// The setup of a live session.
    Setup,
    /// Base64, counted by its kind.
    Media,
    MimeType,
    /// The texts or requests of a method that takes several.
    Items,
    /// Signatures and ids, which use no tokens.
    Opaque,
}

/// The syntax of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceSyntax {
    /// In full, as `files/abc` or one of Google's URLs; any other value is ignored.
    FullName,
    /// In full, but only a resource of this kind counts.
    FullNameOfKind(ResourceKind),
    /// By its id, or in full.
    Id(ResourceKind),
}

/// Where an object stands in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    parent: Parent,
    /// The number of fields around it.
    depth: usize,
}

/// The field that contains an object, where that changes the meaning of its own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    Interaction,
    SemanticRetriever,
    InputConfig,
    SessionResumption,
    Setup,
    Other,
}

impl Place {
    pub const ROOT: Self = Place {
        parent: Parent::Other,
        depth: 0,
    };

    pub fn inside(self, key: &str) -> Self {
        let parent = match key {
            "interaction" => Parent::Interaction,
            "semanticRetriever" => Parent::SemanticRetriever,
            "inputConfig" => Parent::InputConfig,
            "sessionResumption" => Parent::SessionResumption,
            "setup" => Parent::Setup,
            _ => Parent::Other,
        };
        Self {
            parent,
            depth: self.depth + 1,
        }
    }

    /// Whether it is the whole document, or the setup of a session.
    pub fn is_request(self) -> bool {
        self.depth == 0 || self.is_in(Parent::Setup)
    }

    /// Whether it is the object of this field at the top.
    fn is_in(self, parent: Parent) -> bool {
        self.depth == 1 && self.parent == parent
    }
}

/// A key in lower camel case, as protobuf's JSON spells `file_uri` and `fileUri`, which are the same field.
pub fn canonical(key: Cow<'_, str>) -> Cow<'_, str> {
    if !key.contains('_') {
        return key;
    }
    let mut camel = String::with_capacity(key.len());
    let mut after_underscore = false;
    for letter in key.chars() {
        match letter {
            '_' => after_underscore = true,
            _ if after_underscore => {
                camel.push(letter.to_ascii_uppercase());
                after_underscore = false;
            }
            _ => camel.push(letter),
        }
    }
    camel.into()
}

/// The meaning of the field with this [`canonical`] key.
///
/// From Google's API reference, the requests of its clients, OpenAI's API, and recordings. A message occurs at any depth,
/// because batches and caches contain whole requests.
pub fn meaning_of(key: &str, place: Place) -> FieldMeaning {
    let Place { parent, depth } = place;
    match key {
        "fileUri" | "fileUrl" | "gcsUri" | "uri" | "url" | "imageUrl" | "videoUrl" | "audioUrl" => {
            Reference(FullName)
        }
        "source" if parent == Parent::SemanticRetriever => Reference(FullName),
        "cachedContent" => Reference(FullNameOfKind(ResourceKind::CachedContent)),
        "fileName" if parent == Parent::InputConfig => {
            BatchFile(FullNameOfKind(ResourceKind::File))
        }
        // Files imported into a store.
        "fileName" => Reference(FullNameOfKind(ResourceKind::File)),
        "fileSearchStoreNames" | "fileSearchStoreName" => {
            Reference(FullNameOfKind(ResourceKind::FileSearchStore))
        }
        "tunedModel" => Reference(FullNameOfKind(ResourceKind::TunedModel)),
        "inputFileId" => BatchFile(Id(ResourceKind::File)),
        "fileId" | "fileIds" | "file" => Reference(Id(ResourceKind::File)),
        "model" | "baseModel" => Model,
        "agent" if depth == 0 || place.is_in(Parent::Interaction) => Agent,
        "baseAgent" => Agent,
        "previousInteractionId" => Reference(Id(ResourceKind::Interaction)),
        "environmentId" | "baseEnvironment" => Reference(Id(ResourceKind::Environment)),
        "environment" if depth == 0 || place.is_in(Parent::Interaction) => {
            Reference(Id(ResourceKind::Environment))
        }
        "credential" => Reference(Id(ResourceKind::Credential)),
        "voice" => Reference(Id(ResourceKind::Voice)),
        "handle" if parent == Parent::SessionResumption => Reference(Id(ResourceKind::LiveSession)),
        "stream" if depth == 0 => Stream,
        "store" if depth == 0 => Store,
        "webhookConfig" => Webhook,
        "setup" if depth == 0 => Setup,
        "data" | "bytesBase64Encoded" | "imageBytes" | "videoBytes" | "fileData" | "b64Json" => {
            Media
        }
        "requests" => Items,
        "input" if depth == 0 => Items,
        "mimeType" | "format" => MimeType,
        "thoughtSignature" | "signature" | "encryptedContent" | "id" | "callId" | "toolCallId" => {
            Opaque
        }
        "args"
        | "arguments"
        | "response"
        | "parameters"
        | "parametersJsonSchema"
        | "responseSchema"
        | "responseJsonSchema"
        | "jsonSchema"
        | "schema"
        | "metadata"
        | "userMetadata"
        | "labels" => FreeForm,
        _ => Text,
    }
}

impl ReferenceSyntax {
    /// Whether the field may name a file, whose content uses tokens.
    pub fn may_name_file(self) -> bool {
        matches!(self, FullName | Id(ResourceKind::File))
    }

    /// The resource that a text names; an error for a URL of Google that names none.
    pub fn parse_name(self, text: &str) -> Result<Option<ResourceName>, UnknownGoogleUrl> {
        let name = ResourceName::read_text(text)?;
        Ok(match self {
            FullName => name,
            FullNameOfKind(kind) => name.filter(|name| name.kind() == kind),
            // Requests a new environment (Google's guide to agents).
            Id(ResourceKind::Environment) if text == "remote" => None,
            Id(kind) => name.or_else(|| ResourceName::of_id(kind, text)),
        })
    }
}
