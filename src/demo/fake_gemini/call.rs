//! `Call`: what a request asks of Google, read from its path, query and credentials.

use http::request::Parts;

use super::belongings;
use super::models::FakeModel;

/// What a request asks, before its body is looked at.
#[derive(Debug, Clone)]
pub struct Call {
    /// `v1beta`, `v1` …
    pub version: String,
    /// What follows the version, with its slashes and colons decoded.
    pub rest: String,
    pub operation: Operation,
    /// The model in the path, without `models/`; or the interaction.
    pub model: Option<String>,
    pub form: Form,
    /// Old gapic clients want enums as integers: `$alt=json;enum-encoding=int`.
    pub enum_ints: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Generate,
    StreamGenerate,
    CountTokens,
    Embed,
    BatchEmbed,
    BatchJob,
    BatchEmbedJob,
    /// A video.
    Predict,
    ListModels,
    GetModel,
    OpenAiChat,
    OpenAiEmbeddings,
    OpenAiListModels,
    OpenAiGetModel,
    OpenAiImages,
    Interact,
    GetInteraction,
    /// A request of an upload.
    Upload,
    /// Something in the collections of a project, or its bytes.
    Belongings,
    /// Something under a version prefix that the fake does not play.
    Unknown,
    /// Not Google's API at all.
    Outside,
}

/// The form in which a caller reads answers, and so errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Sse,
    JsonArray,
    OpenAi,
    Interactions,
}

/// Why a request is not let in before its key is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCredentials {
    Missing,
    Several,
    /// A Bearer key on a native path.
    BearerOnNative,
}

impl Call {
    pub fn read(head: &Parts) -> Self {
        let query = head.uri.query().unwrap_or_default();
        let path = head.uri.path().replace("%3A", ":").replace("%2F", "/");
        let path = path.trim_matches('/');
        let (door, path) = ["resumable/upload/", "upload/", "download/"]
            .into_iter()
            .find_map(|door| Some((door, path.strip_prefix(door)?)))
            .unwrap_or(("", path));
        let mut segments = path.splitn(2, '/');
        let version = segments.next().unwrap_or_default().to_owned();
        let rest = segments.next().unwrap_or_default();

        let is_get = head.method == http::Method::GET;
        let (operation, model) = match version.as_str() {
            "v1" | "v1beta" | "v1alpha" | "v1beta2" | "v1beta3" => match door {
                "" => operation(rest, is_get),
                "download/" => (Operation::Belongings, None),
                _ => (Operation::Upload, None),
            },
            _ => (Operation::Outside, None),
        };
        let form = match operation {
            Operation::StreamGenerate if param(query, "alt") == Some("sse") => Form::Sse,
            Operation::StreamGenerate => Form::JsonArray,
            Operation::Interact | Operation::GetInteraction => Form::Interactions,
            _ if rest.starts_with("openai/") => Form::OpenAi,
            _ => Form::Json,
        };
        Self {
            rest: rest.to_owned(),
            version,
            operation,
            model,
            form,
            enum_ints: query.contains("enum-encoding=int") || query.contains("enum-encoding%3Dint"),
        }
    }

    /// The full name of Google's method, as errors give it.
    pub fn method_name(&self) -> String {
        let method = match self.operation {
            Operation::Generate => "GenerativeService.GenerateContent",
            Operation::StreamGenerate => "GenerativeService.StreamGenerateContent",
            Operation::CountTokens => "GenerativeService.CountTokens",
            Operation::Embed => "GenerativeService.EmbedContent",
            Operation::BatchEmbed => "GenerativeService.BatchEmbedContents",
            Operation::BatchJob => "BatchService.BatchGenerateContent",
            Operation::BatchEmbedJob => "BatchService.AsyncBatchEmbedContent",
            Operation::Predict => "PredictionService.PredictLongRunning",
            Operation::ListModels | Operation::OpenAiListModels => "ModelService.ListModels",
            Operation::GetModel | Operation::OpenAiGetModel => "ModelService.GetModel",
            Operation::OpenAiChat => "OpenAiService.ChatCompletions",
            Operation::OpenAiEmbeddings => "OpenAiService.Embeddings",
            Operation::OpenAiImages => "OpenAiService.GenerateImages",
            Operation::Interact => "InteractionService.CreateInteraction",
            Operation::GetInteraction => "InteractionService.GetInteraction",
            Operation::Upload => "FileService.CreateFile",
            Operation::Belongings | Operation::Unknown | Operation::Outside => {
                "GenerativeService.Unknown"
            }
        };
        format!("{}.{method}", self.version)
    }
}

impl Operation {
    /// Whether a model has to work for it: what quotas count, and what overload hits.
    pub fn spends(self) -> bool {
        match self {
            Self::Generate
            | Self::StreamGenerate
            | Self::Embed
            | Self::BatchEmbed
            | Self::BatchJob
            | Self::BatchEmbedJob
            | Self::Predict
            | Self::OpenAiChat
            | Self::OpenAiEmbeddings
            | Self::OpenAiImages
            | Self::Interact => true,
            Self::CountTokens
            | Self::ListModels
            | Self::GetModel
            | Self::OpenAiListModels
            | Self::OpenAiGetModel
            | Self::GetInteraction
            | Self::Upload
            | Self::Belongings
            | Self::Unknown
            | Self::Outside => false,
        }
    }

    /// Whether the list of models says that this one does it.
    pub fn is_done_by(self, model: &FakeModel) -> bool {
        match self {
            Self::Generate
            | Self::StreamGenerate
            | Self::CountTokens
            | Self::Embed
            | Self::BatchEmbed
            | Self::BatchJob
            | Self::BatchEmbedJob
            | Self::Predict
            | Self::OpenAiEmbeddings
            | Self::OpenAiChat => model.does(self.short_name()),
            Self::ListModels
            | Self::GetModel
            | Self::OpenAiListModels
            | Self::OpenAiGetModel
            | Self::OpenAiImages
            | Self::Interact
            | Self::GetInteraction
            | Self::Upload
            | Self::Belongings
            | Self::Unknown
            | Self::Outside => true,
        }
    }

    pub fn is_list(self) -> bool {
        matches!(self, Self::ListModels | Self::OpenAiListModels)
    }

    /// The name of the method in "is not supported for …".
    pub fn short_name(self) -> &'static str {
        match self {
            Self::CountTokens => "countTokens",
            Self::Embed => "embedContent",
            Self::BatchEmbed | Self::OpenAiEmbeddings => "batchEmbedContents",
            Self::BatchJob => "batchGenerateContent",
            Self::BatchEmbedJob => "asyncBatchEmbedContent",
            Self::Predict => "predictLongRunning",
            _ => "generateContent",
        }
    }
}

/// The one key a request carries; two are as wrong as none.
pub fn credential(head: &Parts, form: Form) -> Result<String, BadCredentials> {
    let header = |name: &str| {
        let value = head.headers.get(name)?.to_str().ok()?;
        (!value.is_empty()).then_some(value)
    };
    let bearer = header("authorization").map(|value| value.trim_start_matches("Bearer ").trim());
    let in_query = head.uri.query().and_then(|query| param(query, "key"));
    let keys = [header("x-goog-api-key"), bearer, in_query];
    // The OpenAI layer takes these for a second credential.
    let organization = form == Form::OpenAi
        && ["openai-organization", "openai-project"]
            .iter()
            .any(|name| head.headers.contains_key(*name));

    let mut given = keys.into_iter().flatten();
    match (given.next(), given.next()) {
        (None, _) => Err(BadCredentials::Missing),
        (Some(_), Some(_)) => Err(BadCredentials::Several),
        (Some(_), None) if organization => Err(BadCredentials::Several),
        (Some(_), None) if bearer.is_some() && form != Form::OpenAi => {
            Err(BadCredentials::BearerOnNative)
        }
        (Some(key), None) => Ok(key.to_owned()),
    }
}

/// The raw value of a query parameter.
pub fn param<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Reads what follows the version: the operation, and the model if it stands there.
fn operation(rest: &str, is_get: bool) -> (Operation, Option<String>) {
    let plain = match rest {
        "models" if is_get => Operation::ListModels,
        "openai/chat/completions" => Operation::OpenAiChat,
        "openai/embeddings" => Operation::OpenAiEmbeddings,
        "openai/models" => Operation::OpenAiListModels,
        "openai/images/generations" => Operation::OpenAiImages,
        "interactions" if !is_get => Operation::Interact,
        _ => Operation::Unknown,
    };
    if plain != Operation::Unknown {
        return (plain, None);
    }
    if let Some(model) = rest.strip_prefix("openai/models/") {
        let model = model.trim_start_matches("models/");
        return (Operation::OpenAiGetModel, Some(model.to_owned()));
    }
    if let Some(id) = rest.strip_prefix("interactions/") {
        return (Operation::GetInteraction, Some(id.to_owned()));
    }
    if belongings::is_collection(rest) {
        return (Operation::Belongings, None);
    }
    // Tuned models answer under their whole name.
    let tuned = rest.starts_with("tunedModels/").then_some(rest);
    let Some(model) = rest.strip_prefix("models/").or(tuned) else {
        return (Operation::Unknown, None);
    };
    let (model, operation) = match model.split_once(':') {
        None if is_get && !model.contains('/') => (model, Operation::GetModel),
        Some((model, "generateContent")) => (model, Operation::Generate),
        Some((model, "streamGenerateContent")) => (model, Operation::StreamGenerate),
        Some((model, "countTokens")) => (model, Operation::CountTokens),
        Some((model, "embedContent")) => (model, Operation::Embed),
        Some((model, "batchGenerateContent")) => (model, Operation::BatchJob),
        Some((model, "asyncBatchEmbedContent")) => (model, Operation::BatchEmbedJob),
        Some((model, "predictLongRunning")) => (model, Operation::Predict),
        Some((model, "batchEmbedContents")) => (model, Operation::BatchEmbed),
        _ => (model, Operation::Unknown),
    };
    (operation, Some(model.to_owned()))
}
