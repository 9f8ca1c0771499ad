//! Parses a path: its API surface, operation and model, and the path that Google receives.

use std::borrow::Cow;

use http::Method;

use crate::gemini::resources::name::ResourceName;
use crate::gemini::system_parameters::{ForbiddenParameter, parameter_name, upstream_query};
use crate::gemini::url::{VERSIONS, percent_decode};

/// One of Google's three API surfaces; errors, streams and usage differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// `/v1beta/models/…` and all other paths.
    Native,
    /// `/v1beta/openai/…`.
    OpenAi,
    /// `/v1beta/interactions…`.
    Interactions,
}

impl Surface {
    /// The surface of a path, before the rest is parsed.
    pub fn of_path(path: &str) -> Self {
        if path.contains("/openai/") || resolve_alias(path, false).contains("/openai/") {
            Self::OpenAi
        } else if path.contains("/interactions") {
            Self::Interactions
        } else {
            Self::Native
        }
    }
}

/// The target of a request, read from its method, path and query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub surface: Surface,
    /// The path that Google receives: aliases resolved, credentials removed, otherwise unchanged.
    pub path_and_query: String,
    /// The operation as logged; `None` for an unknown path, which is forwarded all the same.
    pub operation: Option<Cow<'static, str>>,
    /// The model in the path, without `models/`.
    pub model: Option<String>,
    /// Whether the path alone shows that the response is a stream.
    pub is_stream: bool,
}

/// Why a path is not forwarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error(
        "the path is not part of the Gemini API: its paths begin with /v1beta/, /v1/ or /v1alpha/"
    )]
    UnknownPath,
    #[error(
        "the path is ambiguous (dot segments, double slashes, a trailing slash, backslashes or control characters)"
    )]
    UnsafePath,
    #[error("bundled requests (/batch) are not supported: send each request by itself")]
    BatchEndpoint,
    #[error(transparent)]
    ForbiddenParameter(#[from] ForbiddenParameter),
    #[error("the method is not served: send GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")]
    Method,
    #[error("this operation takes no uploads: send the request without /upload")]
    NotAnUpload,
}

/// The methods that are served.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Methods of models, with their names in Google's discovery document of v1beta and in the SDKs.
const MODEL_METHODS: [&str; 16] = [
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
    "asyncBatchEmbedContent",
    "batchGenerateContent",
    "predict",
    "predictLongRunning",
    "generateAnswer",
    "generateMessage",
    "generateText",
    "embedText",
    "batchEmbedText",
    "countMessageTokens",
    "countTextTokens",
];

/// The methods of live sessions.
const SESSION_METHODS: [&str; 3] = [
    "BidiGenerateContent",
    "BidiGenerateContentConstrained",
    "BidiGenerateMusic",
];

/// The methods on resources. Any other word, which a client may invent, is logged as `other`: the log has a list of operations.
const RESOURCE_METHODS: [&str; 18] = [
    "batchCreate",
    "batchDelete",
    "batchUpdate",
    "cancel",
    "content",
    "download",
    "executions",
    "importFile",
    "query",
    "register",
    "resume",
    "rotateSigningSecret",
    "run",
    "transferOwnership",
    "updateEmbedContentBatch",
    "updateGenerateContentBatch",
    "uploadToFileSearchStore",
    "wait",
];

/// Collections whose operations are named after the action on them.
const COLLECTIONS: [&str; 19] = [
    "models",
    "tunedModels",
    "dynamic",
    "files",
    "cachedContents",
    "batches",
    "operations",
    "fileSearchStores",
    "corpora",
    "generatedFiles",
    "interactions",
    "agents",
    "environments",
    "triggers",
    "webhooks",
    "credentials",
    "voices",
    "decisions",
    "auth_tokens",
];

/// OpenAI paths that are also served without a version; Google's OpenAI layer answers them.
const OPENAI_ALIASES: [&str; 6] = [
    "chat/completions",
    "completions",
    "embeddings",
    "images",
    "audio",
    "responses",
];

/// Whether the proxy handles a path.
pub fn is_proxied(path: &str) -> bool {
    let first = path
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    VERSIONS.contains(&first)
        || [
            "upload",
            "resumable",
            "download",
            "ws",
            "gemini",
            "openai",
            "batch",
        ]
        .contains(&first)
}

/// Whether a path opens a live session.
pub fn is_live_path(path: &str) -> bool {
    resolve_alias(path, false).starts_with("/ws/")
}

impl Target {
    /// Reads a request's method, path and query; `has_bearer_token` when its credential is a bearer token, which alone
    /// decides the meaning of `/v1/models`.
    pub fn read(
        method: &Method,
        path: &str,
        query: Option<&str>,
        has_bearer_token: bool,
    ) -> Result<Self, TargetError> {
        if !METHODS.contains(&method.as_str()) {
            return Err(TargetError::Method);
        }
        let path = resolve_alias(path, has_bearer_token);
        if !is_safe(&path) {
            return Err(TargetError::UnsafePath);
        }
        let mut segments = path.trim_start_matches('/').split('/');
        let first = segments.next().unwrap_or_default();
        match first {
            "batch" => return Err(TargetError::BatchEndpoint),
            "upload" | "resumable" | "download" | "ws" => {}
            version if VERSIONS.contains(&version) => {}
            _ => return Err(TargetError::UnknownPath),
        }
        let query = query
            .map(upstream_query)
            .transpose()?
            .filter(|query| !query.is_empty());
        let path_and_query =
            query.map_or_else(|| path.to_string(), |query| format!("{path}?{query}"));
        let rest: Vec<_> = segments.map(percent_decode).collect();
        let rest: Vec<_> = rest.iter().map(AsRef::as_ref).collect();
        let mut target = Self {
            surface: Surface::Native,
            path_and_query,
            operation: None,
            model: None,
            is_stream: false,
        };
        if !has_plain_methods(&path, &rest) {
            return Err(TargetError::UnsafePath);
        }
        match first {
            "ws" => target.read_session(&rest),
            "upload" | "resumable" | "download" => {
                let version = rest.iter().find(|segment| **segment != "upload");
                if !version.is_some_and(|version| VERSIONS.contains(version)) {
                    return Err(TargetError::UnknownPath);
                }
                target.read_transfer(method, &rest);
                if first != "download" && !target.takes_upload() {
                    return Err(TargetError::NotAnUpload);
                }
            }
            _ => target.read_resource(method, &rest),
        }
        if ResourceName::has_unreadable_name(&target.path_and_query) {
            return Err(TargetError::UnsafePath);
        }
        Ok(target)
    }

    /// Live sessions, whose path is a method's full name.
    fn read_session(&mut self, segments: &[&str]) {
        let [name] = segments else { return };
        let method = name.rsplit('.').next();
        let known = SESSION_METHODS.iter().find(|known| Some(**known) == method);
        self.operation = known.map(|known| (*known).into());
        self.is_stream = true;
    }

    /// Whether the answer holds only the fields that the client selects, so that usage or names may be missing.
    pub fn selects_fields(&self) -> bool {
        let query = self
            .path_and_query
            .split_once('?')
            .map_or("", |(_, query)| query);
        let mut names = query.split('&').map(parameter_name);
        names.any(|name| matches!(name.as_ref(), "fields" | "$fields"))
    }

    /// Whether the operation takes an upload (Google's discovery document, and its client for Python).
    fn takes_upload(&self) -> bool {
        let operation = self.operation.as_deref().unwrap_or_default();
        matches!(
            operation,
            "files.upload" | "fileSearchStores.uploadToFileSearchStore"
        ) || operation.starts_with("environments.files.")
    }

    /// Whether the response is the content of a file, with no text of Google's own.
    pub fn is_download(&self) -> bool {
        let operation = self.operation.as_deref().unwrap_or_default();
        operation.ends_with(".download") || operation == "files.content"
    }

    /// Whether the operation would give access to Google that bypasses this server: an ephemeral token, a permission, a
    /// transfer of ownership, an address that Google calls, a credential (Google's API reference).
    pub fn grants_direct_access(&self) -> bool {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        let path = percent_decode(path);
        let mut segments = path.split('/');
        segments.any(|segment| {
            let (name, method) = segment.split_once(':').unwrap_or((segment, ""));
            let collections = ["auth_tokens", "permissions", "webhooks", "credentials"];
            collections.contains(&name) || method == "transferOwnership"
        })
    }

    /// Uploads and downloads, whose version is in the middle of the path.
    fn read_transfer(&mut self, method: &Method, segments: &[&str]) {
        let after_version = segments
            .iter()
            .position(|segment| VERSIONS.contains(segment))
            .and_then(|at| segments.get(at + 1..))
            .unwrap_or_default();
        self.operation = match after_version {
            ["files"] => Some("files.upload".into()),
            [collection, rest @ ..] if COLLECTIONS.contains(collection) => {
                Some(resource_operation(method, collection, rest))
            }
            _ => None,
        };
    }

    fn read_resource(&mut self, method: &Method, segments: &[&str]) {
        match segments {
            ["openai", rest @ ..] => {
                self.surface = Surface::OpenAi;
                self.operation = openai_operation(method, rest);
            }
            [collection @ ("models" | "tunedModels" | "dynamic"), name] => {
                let (name, custom) = name
                    .split_once(':')
                    .map_or((*name, None), |(name, custom)| (name, Some(custom)));
                self.model = Some(match *collection {
                    "models" => name.to_owned(),
                    _ => format!("{collection}/{name}"),
                });
                self.is_stream = custom == Some("streamGenerateContent");
                self.operation = match custom {
                    Some(custom) => MODEL_METHODS
                        .iter()
                        .find(|known| **known == custom)
                        .map(|known| (*known).into()),
                    None => Some(format!("{collection}.{}", verb(method, false)).into()),
                };
            }
            ["files:register"] => self.operation = Some("files.register".into()),
            [collection, rest @ ..] if COLLECTIONS.contains(collection) => {
                if *collection == "interactions" {
                    self.surface = Surface::Interactions;
                }
                self.operation = Some(resource_operation(method, collection, rest));
            }
            _ => {}
        }
    }

    /// Whether the answer is a reply of a model: text, function calls or media in parts.
    pub fn generates_text(&self) -> bool {
        let generates = [
            "generateContent",
            "streamGenerateContent",
            "chat.completions",
        ];
        let operation = self.operation.as_deref();
        operation.is_some_and(|operation| generates.contains(&operation))
    }
}

/// `chat.completions`, `embeddings`, `models.list`: operations in OpenAI's terms.
fn openai_operation(method: &Method, segments: &[&str]) -> Option<Cow<'static, str>> {
    let operation = match segments {
        ["chat", "completions"] => "chat.completions",
        ["completions"] => "completions",
        ["embeddings"] => "embeddings",
        ["responses"] => "responses",
        ["models"] => "models.list",
        ["models", ..] => "models.get",
        ["images", "generations"] => "images.generations",
        ["images", "edits"] => "images.edits",
        ["audio", "speech"] => "audio.speech",
        ["audio", "transcriptions"] => "audio.transcriptions",
        [collection @ ("files" | "batches" | "videos"), rest @ ..] => {
            return Some(resource_operation(method, collection, rest));
        }
        _ => return None,
    };
    Some(operation.into())
}

/// `files.list`, `cachedContents.create`, `batches.cancel`.
fn resource_operation(method: &Method, collection: &str, rest: &[&str]) -> Cow<'static, str> {
    let custom = match rest {
        [name] => name.split_once(':').map(|(_, custom)| custom),
        [_, custom @ ("cancel" | "content" | "executions")] => Some(*custom),
        _ => None,
    };
    let custom = custom.map(|custom| {
        let known = RESOURCE_METHODS.iter().find(|known| **known == custom);
        known.copied().unwrap_or("other")
    });
    let nested = rest
        .iter()
        .skip(1)
        .step_by(2)
        .find(|nested| COLLECTIONS.contains(nested) || **nested == "documents");
    match (custom, nested) {
        (Some(custom), _) => format!("{collection}.{custom}").into(),
        (None, Some(nested)) => format!(
            "{collection}.{nested}.{}",
            verb(method, rest.len().is_multiple_of(2))
        )
        .into(),
        (None, None) => format!("{collection}.{}", verb(method, rest.is_empty())).into(),
    }
}

fn verb(method: &Method, on_collection: bool) -> &'static str {
    match (method.as_str(), on_collection) {
        ("GET" | "HEAD", true) => "list",
        ("GET" | "HEAD", false) => "get",
        ("DELETE", _) => "delete",
        ("PATCH" | "PUT", _) => "update",
        _ => "create",
    }
}

/// Google's path for one of our aliases.
fn resolve_alias(path: &str, has_bearer_token: bool) -> Cow<'_, str> {
    let path = match path.strip_prefix("/gemini/") {
        // The slash before the rest stays.
        Some(rest) => &path[path.len() - rest.len() - 1..],
        None => path,
    };
    if path.starts_with("//ws/") {
        // Google's SDK for JavaScript appends this path to a base URL that ends with a slash.
        return path[1..].into();
    }
    if let Some(rest) = path.strip_prefix("/openai/v1/") {
        return format!("/v1beta/openai/{rest}").into();
    }
    let Some(rest) = path.strip_prefix("/v1/") else {
        return path.into();
    };
    let is = |alias: &str| {
        rest.strip_prefix(alias)
            .is_some_and(|after| after.is_empty() || after.starts_with('/'))
    };
    let is_openai = OPENAI_ALIASES.into_iter().any(is);
    // Google separates a method with a colon; OpenAI has none.
    let is_openai_model =
        has_bearer_token && is("models") && !rest.contains(':') && !rest.contains("%3A");
    if is_openai || is_openai_model {
        format!("/v1beta/openai/{rest}").into()
    } else {
        path.into()
    }
}

/// Whether every server on the way interprets the path alike.
fn is_safe(path: &str) -> bool {
    let bytes = path.as_bytes();
    let encoded = |hex: [u8; 2]| {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        digit(hex[0])
            .zip(digit(hex[1]))
            .map(|(high, low)| high * 16 + low)
    };
    let plain = (0..bytes.len()).all(|at| match bytes[at] {
        b'\\' | 0..=0x20 | 0x7f.. => false,
        b'%' => {
            let code = bytes
                .get(at + 1..at + 3)
                .and_then(|hex| encoded([hex[0], hex[1]]));
            !matches!(code, Some(0..0x20 | 0x5c | 0x7f))
        }
        _ => true,
    });
    let decoded = percent_decode(path);
    let dots = |segment: &str| segment == "." || segment == "..";
    plain && path.starts_with('/') && !path.contains("//") && !decoded.split('/').any(dots)
}

/// Whether no segment with a model or a method could be divided otherwise by Google. Ids of the OpenAI layer and paths of
/// an environment's files may contain encoded slashes.
fn has_plain_methods(path: &str, decoded: &[&str]) -> bool {
    if decoded.first() == Some(&"openai") {
        return true;
    }
    let files_of_environment = match decoded {
        ["environments", _, "files", ..] => 3,
        [_, "environments", _, "files", ..] => 4,
        [_, _, "environments", _, "files", ..] => 5,
        _ => decoded.len(),
    };
    let raw = path.trim_start_matches('/').split('/').skip(1);
    let segments = raw.zip(decoded).take(files_of_environment);
    let mut before = "";
    for (raw, decoded) in segments {
        let holds_model = matches!(before, "models" | "tunedModels" | "dynamic");
        let holds_method = decoded.contains(':');
        let is_plain =
            !decoded.contains(['/', ';', '?', '#', '%']) && decoded.matches(':').count() <= 1;
        if (holds_model || holds_method) && (!is_plain || raw.contains(';')) {
            return false;
        }
        before = decoded;
    }
    true
}

#[cfg(test)]
mod tests;
