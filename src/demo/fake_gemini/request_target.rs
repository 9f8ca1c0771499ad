//! `RequestTarget`: the operation of a request, read from its path, query and credentials.

use http::request::Parts;

use super::models::FakeModel;
use super::resources;

/// The operation of a request, before its body is read.
#[derive(Debug, Clone)]
pub struct RequestTarget {
    /// `v1beta`, `v1` …
    pub version: String,
    /// The path after the version, with its slashes and colons decoded.
    pub resource_path: String,
    pub operation: Operation,
    /// The model in the path, without `models/`; or the interaction.
    pub model: Option<String>,
    pub format: ResponseFormat,
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
    BatchGenerate,
    AsyncBatchEmbed,
    /// A video.
    Predict,
    ListModels,
    GetModel,
    OpenAiChat,
    OpenAiEmbeddings,
    OpenAiListModels,
    OpenAiGetModel,
    OpenAiImages,
    CreateInteraction,
    GetInteraction,
    /// A request of an upload.
    Upload,
    /// A resource in the collections of a project, or its bytes.
    Resource,
    /// A path below a version that the fake does not implement.
    Unsupported,
    /// Not Google's API at all.
    NotGeminiApi,
}

/// The form of answers and errors that a client expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFormat {
    Json,
    Sse,
    JsonArray,
    OpenAi,
    Interactions,
}

/// Why a request is refused before its key is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCredentials {
    Missing,
    Several,
    /// A Bearer key on a native path.
    BearerOnNative,
}

impl RequestTarget {
    pub fn parse(head: &Parts) -> Self {
        let query = head.uri.query().unwrap_or_default();
        let path = head.uri.path().replace("%3A", ":").replace("%2F", "/");
        let path = path.trim_matches('/');
        let (prefix, path) = ["resumable/upload/", "upload/", "download/"]
            .into_iter()
            .find_map(|prefix| Some((prefix, path.strip_prefix(prefix)?)))
            .unwrap_or(("", path));
        let mut segments = path.splitn(2, '/');
        let version = segments.next().unwrap_or_default().to_owned();
        let resource_path = segments.next().unwrap_or_default();

        let is_get = head.method == http::Method::GET;
        let (operation, model) = match version.as_str() {
            "v1" | "v1beta" | "v1alpha" | "v1beta2" | "v1beta3" => match prefix {
                "" => parse_operation(resource_path, is_get),
                "download/" => (Operation::Resource, None),
                _ => (Operation::Upload, None),
            },
            _ => (Operation::NotGeminiApi, None),
        };
        let format = match operation {
            Operation::StreamGenerate if param(query, "alt") == Some("sse") => ResponseFormat::Sse,
            Operation::StreamGenerate => ResponseFormat::JsonArray,
            Operation::CreateInteraction | Operation::GetInteraction => {
                ResponseFormat::Interactions
            }
            _ if resource_path.starts_with("openai/") => ResponseFormat::OpenAi,
            _ => ResponseFormat::Json,
        };
        Self {
            resource_path: resource_path.to_owned(),
            version,
            operation,
            model,
            format,
            enum_ints: query.contains("enum-encoding=int") || query.contains("enum-encoding%3Dint"),
        }
    }

    /// The full name of Google's method, as in errors.
    pub fn method_name(&self) -> String {
        let method = match self.operation {
            Operation::Generate => "GenerativeService.GenerateContent",
            Operation::StreamGenerate => "GenerativeService.StreamGenerateContent",
            Operation::CountTokens => "GenerativeService.CountTokens",
            Operation::Embed => "GenerativeService.EmbedContent",
            Operation::BatchEmbed => "GenerativeService.BatchEmbedContents",
            Operation::BatchGenerate => "BatchService.BatchGenerateContent",
            Operation::AsyncBatchEmbed => "BatchService.AsyncBatchEmbedContent",
            Operation::Predict => "PredictionService.PredictLongRunning",
            Operation::ListModels | Operation::OpenAiListModels => "ModelService.ListModels",
            Operation::GetModel | Operation::OpenAiGetModel => "ModelService.GetModel",
            Operation::OpenAiChat => "OpenAiService.ChatCompletions",
            Operation::OpenAiEmbeddings => "OpenAiService.Embeddings",
            Operation::OpenAiImages => "OpenAiService.GenerateImages",
            Operation::CreateInteraction => "InteractionService.CreateInteraction",
            Operation::GetInteraction => "InteractionService.GetInteraction",
            Operation::Upload => "FileService.CreateFile",
            Operation::Resource | Operation::Unsupported | Operation::NotGeminiApi => {
                "GenerativeService.Unknown"
            }
        };
        format!("{}.{method}", self.version)
    }
}

impl Operation {
    /// Whether a model works for it: only then quotas count it and an overload concerns it.
    pub fn uses_quota(self) -> bool {
        match self {
            Self::Generate
            | Self::StreamGenerate
            | Self::Embed
            | Self::BatchEmbed
            | Self::BatchGenerate
            | Self::AsyncBatchEmbed
            | Self::Predict
            | Self::OpenAiChat
            | Self::OpenAiEmbeddings
            | Self::OpenAiImages
            | Self::CreateInteraction => true,
            Self::CountTokens
            | Self::ListModels
            | Self::GetModel
            | Self::OpenAiListModels
            | Self::OpenAiGetModel
            | Self::GetInteraction
            | Self::Upload
            | Self::Resource
            | Self::Unsupported
            | Self::NotGeminiApi => false,
        }
    }

    /// Whether the list of models contains this method for this model.
    pub fn is_supported_by(self, model: &FakeModel) -> bool {
        match self {
            Self::Generate
            | Self::StreamGenerate
            | Self::CountTokens
            | Self::Embed
            | Self::BatchEmbed
            | Self::BatchGenerate
            | Self::AsyncBatchEmbed
            | Self::Predict
            | Self::OpenAiEmbeddings
            | Self::OpenAiChat => model.supports(self.short_name()),
            Self::ListModels
            | Self::GetModel
            | Self::OpenAiListModels
            | Self::OpenAiGetModel
            | Self::OpenAiImages
            | Self::CreateInteraction
            | Self::GetInteraction
            | Self::Upload
            | Self::Resource
            | Self::Unsupported
            | Self::NotGeminiApi => true,
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
            Self::BatchGenerate => "batchGenerateContent",
            Self::AsyncBatchEmbed => "asyncBatchEmbedContent",
            Self::Predict => "predictLongRunning",
            _ => "generateContent",
        }
    }
}

/// The only key of a request; two keys are an error, like none.
pub fn credential(head: &Parts, format: ResponseFormat) -> Result<String, BadCredentials> {
    let header = |name: &str| {
        let value = head.headers.get(name)?.to_str().ok()?;
        (!value.is_empty()).then_some(value)
    };
    let bearer = header("authorization").map(|value| value.trim_start_matches("Bearer ").trim());
    let in_query = head.uri.query().and_then(|query| param(query, "key"));
    let keys = [header("x-goog-api-key"), bearer, in_query];
    // The OpenAI layer takes these for a second credential.
    let organization = format == ResponseFormat::OpenAi
        && ["openai-organization", "openai-project"]
            .iter()
            .any(|name| head.headers.contains_key(*name));

    let mut given = keys.into_iter().flatten();
    match (given.next(), given.next()) {
        (None, _) => Err(BadCredentials::Missing),
        (Some(_), Some(_)) => Err(BadCredentials::Several),
        (Some(_), None) if organization => Err(BadCredentials::Several),
        (Some(_), None) if bearer.is_some() && format != ResponseFormat::OpenAi => {
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

/// Reads the path after the version: the operation, and the model if there is one.
fn parse_operation(resource_path: &str, is_get: bool) -> (Operation, Option<String>) {
    let plain = match resource_path {
        "models" if is_get => Operation::ListModels,
        "openai/chat/completions" => Operation::OpenAiChat,
        "openai/embeddings" => Operation::OpenAiEmbeddings,
        "openai/models" => Operation::OpenAiListModels,
        "openai/images/generations" => Operation::OpenAiImages,
        "interactions" if !is_get => Operation::CreateInteraction,
        _ => Operation::Unsupported,
    };
    if plain != Operation::Unsupported {
        return (plain, None);
    }
    if let Some(model) = resource_path.strip_prefix("openai/models/") {
        let model = model.trim_start_matches("models/");
        return (Operation::OpenAiGetModel, Some(model.to_owned()));
    }
    if let Some(id) = resource_path.strip_prefix("interactions/") {
        return (Operation::GetInteraction, Some(id.to_owned()));
    }
    if resources::is_collection(resource_path) {
        return (Operation::Resource, None);
    }
    // Tuned models answer under their whole name.
    let tuned = resource_path
        .starts_with("tunedModels/")
        .then_some(resource_path);
    let Some(model) = resource_path.strip_prefix("models/").or(tuned) else {
        return (Operation::Unsupported, None);
    };
    let (model, operation) = match model.split_once(':') {
        None if is_get && !model.contains('/') => (model, Operation::GetModel),
        Some((model, "generateContent")) => (model, Operation::Generate),
        Some((model, "streamGenerateContent")) => (model, Operation::StreamGenerate),
        Some((model, "countTokens")) => (model, Operation::CountTokens),
        Some((model, "embedContent")) => (model, Operation::Embed),
        Some((model, "batchGenerateContent")) => (model, Operation::BatchGenerate),
        Some((model, "asyncBatchEmbedContent")) => (model, Operation::AsyncBatchEmbed),
        Some((model, "predictLongRunning")) => (model, Operation::Predict),
        Some((model, "batchEmbedContents")) => (model, Operation::BatchEmbed),
        _ => (model, Operation::Unsupported),
    };
    (operation, Some(model.to_owned()))
}
