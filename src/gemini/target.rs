//! Parses a path: its API surface, operation and model, and the path that Google receives.

use std::borrow::Cow;

use http::Method;

use crate::gemini::resources::name::ResourceName;
use crate::gemini::url::{VERSIONS, is_credential, percent_decode};

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
    #[error(
        "the query parameter {0} is not allowed: it would change what Google does with the request"
    )]
    ForbiddenParameter(String),
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
        let method = name.rsplit('.').next().filter(|method| is_word(method));
        self.operation = method.map(|method| method.to_owned().into());
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
    let known = custom.filter(|custom| is_word(custom));
    let nested = rest
        .iter()
        .skip(1)
        .step_by(2)
        .find(|nested| COLLECTIONS.contains(nested) || **nested == "documents");
    match (known, nested) {
        (Some(custom), _) => format!("{collection}.{custom}").into(),
        (None, Some(nested)) => format!(
            "{collection}.{nested}.{}",
            verb(method, rest.len().is_multiple_of(2))
        )
        .into(),
        (None, None) => format!("{collection}.{}", verb(method, rest.is_empty())).into(),
    }
}

/// Whether the text has the form of a method's name.
fn is_word(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
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

/// The query without credentials, otherwise in its original order and spelling. Refuses system parameters that are not on
/// the list; an operation's own parameters pass.
fn upstream_query(query: &str) -> Result<String, TargetError> {
    let mut kept = Vec::new();
    for part in query.split('&') {
        let name = parameter_name(part);
        if is_credential(&name) {
            continue;
        }
        let value = percent_decode(part.split_once('=').map_or("", |(_, value)| value));
        if !is_parameter_allowed(&name, &value) {
            return Err(TargetError::ForbiddenParameter(
                name.chars().take(40).collect(),
            ));
        }
        kept.push(part);
    }
    Ok(kept.join("&"))
}

/// The name in a part of a query; `+` is a space there.
fn parameter_name(part: &str) -> Cow<'_, str> {
    percent_decode(part.split('=').next().unwrap_or_default())
}

/// Whether a parameter has no effect beyond its operation. System parameters change the form of an answer, its encoding,
/// or whom Google charges (Google's discovery document and its list of system parameters).
fn is_parameter_allowed(name: &str, value: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|letter| !matches!(letter, '_' | '-' | ' ' | '+'))
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    match plain.trim_start_matches('$') {
        "alt" => {
            let (format, options) = value.split_once(';').unwrap_or((value, ""));
            let has_known_options = options.is_empty() || options.starts_with("enum-encoding=");
            match format {
                "json" | "sse" => has_known_options && matches!(name, "alt" | "$alt"),
                "media" => name == "alt" && options.is_empty(),
                _ => false,
            }
        }
        "prettyprint" => matches!(name, "prettyPrint" | "$prettyPrint"),
        ".xgafv" => name == "$.xgafv",
        "fields" => matches!(name, "fields" | "$fields"),
        "callback" | "jsonp" | "userproject" | "quotauser" | "userip" | "bearertoken" | "key"
        | "accesstoken" | "oauthtoken" | "ct" | "httpheaders" | "httpmethod" | "outputdefaults"
        | "apiversion" => false,
        system if system.starts_with("xgoog") => false,
        _ => !name.starts_with('$'),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gemini::url::{loggable_path, query_parameter};

    fn read(line: &str) -> Result<Target, TargetError> {
        let (method, uri) = line.split_once(' ').unwrap();
        let (path, query) = uri
            .split_once('?')
            .map_or((uri, None), |(path, query)| (path, Some(query)));
        Target::read(&method.parse().unwrap(), path, query, false)
    }

    #[test]
    fn operations_that_bypass_the_server_are_recognized() {
        for (line, expected) in [
            ("POST /v1alpha/auth_tokens", true),
            ("POST /v1alpha/auth%5Ftokens", true),
            ("POST /v1beta/tunedModels/x/permissions", true),
            ("GET /v1beta/corpora/x/permissions/y?a=b", true),
            ("POST /v1beta/tunedModels/x:transferOwnership", true),
            ("POST /v1beta/webhooks/x:rotateSigningSecret", true),
            ("POST /v1beta/credentials", true),
            ("GET /v1beta/files?pageToken=permissions", false),
            ("POST /v1beta/interactions", false),
        ] {
            assert_eq!(
                read(line).unwrap().grants_direct_access(),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn paths_name_their_operation_and_model() {
        let cases = [
            (
                "POST /v1beta/models/gemini-2.5-flash:generateContent",
                "generateContent",
                "gemini-2.5-flash",
            ),
            (
                "POST /v1/models/gemini-2.5-flash%3AgenerateContent",
                "generateContent",
                "gemini-2.5-flash",
            ),
            (
                "POST /v1beta/tunedModels/mine:generateContent",
                "generateContent",
                "tunedModels/mine",
            ),
            ("POST /v1beta/models/m:somethingNew", "", "m"),
            ("GET /v1beta/models", "models.list", ""),
            ("GET /v1beta/models/m", "models.get", "m"),
            (
                "GET /v1beta/models/m/operations/x",
                "models.operations.get",
                "",
            ),
            ("GET /v1beta/cachedContents", "cachedContents.list", ""),
            ("POST /v1beta/cachedContents", "cachedContents.create", ""),
            (
                "PATCH /v1beta/cachedContents/x?updateMask=ttl",
                "cachedContents.update",
                "",
            ),
            ("DELETE /v1beta/files/x", "files.delete", ""),
            ("POST /v1beta/batches/x:cancel", "batches.cancel", ""),
            (
                "POST /v1beta/openai/chat/completions",
                "chat.completions",
                "",
            ),
            ("POST /v1beta/openai/embeddings", "embeddings", ""),
            ("GET /v1beta/openai/batches%2Fb1", "", ""),
            ("POST /v1beta/interactions", "interactions.create", ""),
            (
                "POST /v1beta/interactions/x/cancel",
                "interactions.cancel",
                "",
            ),
            (
                "POST /v1beta/fileSearchStores/s/documents",
                "fileSearchStores.documents.create",
                "",
            ),
            ("POST /v1beta/files:register", "files.register", ""),
            ("POST /upload/v1beta/files", "files.upload", ""),
            (
                "POST /resumable/upload/v1beta/files?upload_id=x",
                "files.upload",
                "",
            ),
            (
                "POST /upload/v1beta/fileSearchStores/s:uploadToFileSearchStore",
                "fileSearchStores.uploadToFileSearchStore",
                "",
            ),
            (
                "GET /download/v1beta/files/f:download?alt=media",
                "files.download",
                "",
            ),
            (
                "GET /ws/google.ai.X.BidiGenerateContent",
                "BidiGenerateContent",
                "",
            ),
            (
                "GET /gemini//ws/google.ai.X.BidiGenerateMusic?key=x",
                "BidiGenerateMusic",
                "",
            ),
            ("GET /ws/google.ai.X.Bidi-x", "", ""),
            ("GET /v1beta/brandNew/thing", "", ""),
        ];
        for (line, operation, model) in cases {
            let target = read(line).unwrap();

            assert_eq!(
                target.operation.as_deref().unwrap_or_default(),
                operation,
                "{line}"
            );
            assert_eq!(target.model.as_deref().unwrap_or_default(), model, "{line}");
        }
    }

    #[test]
    fn aliases_become_googles_paths_and_credentials_are_removed() {
        let cases = [
            ("GET /gemini/v1beta/models", "/v1beta/models"),
            (
                "POST /openai/v1/chat/completions",
                "/v1beta/openai/chat/completions",
            ),
            (
                "POST /v1/chat/completions?x=1",
                "/v1beta/openai/chat/completions?x=1",
            ),
            ("POST /gemini/v1/embeddings", "/v1beta/openai/embeddings"),
            (
                "POST /v1/images/generations",
                "/v1beta/openai/images/generations",
            ),
            ("POST /v1/imagesX", "/v1/imagesX"),
            ("GET /v1/files", "/v1/files"),
            ("GET /v1/models/m?key=SECRET", "/v1/models/m"),
            (
                "GET /v1beta/models?pageSize=5&%6Bey=SECRET&%24alt=json%3Benum-encoding%3Dint",
                "/v1beta/models?pageSize=5&%24alt=json%3Benum-encoding%3Dint",
            ),
            (
                "GET /v1beta/models?access_token=a&oauth_token=b&alt=sse",
                "/v1beta/models?alt=sse",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(read(line).unwrap().path_and_query, expected, "{line}");
        }
    }

    #[test]
    fn rows_contain_neither_credentials_nor_upload_sessions() {
        let cases = [
            (None, "/upload/v1beta/files"),
            (Some("upload_id=SECRET"), "/upload/v1beta/files"),
            (
                Some("a=b&upload%5Fid=SECRET&upload_protocol=resumable&key=SECRET"),
                "/upload/v1beta/files?a=b&upload_protocol=resumable",
            ),
        ];
        for (query, expected) in cases {
            assert_eq!(loggable_path("/upload/v1beta/files", query), expected);
        }
    }

    #[test]
    fn only_a_bearer_token_makes_v1_models_an_openai_path() {
        let read = |path, has_bearer_token| {
            Target::read(&Method::GET, path, None, has_bearer_token).unwrap()
        };

        assert_eq!(
            read("/v1/models", true).path_and_query,
            "/v1beta/openai/models"
        );
        assert_eq!(read("/v1/models/m", true).surface, Surface::OpenAi);
        assert_eq!(read("/v1/models", false).path_and_query, "/v1/models");
        assert_eq!(
            read("/v1/models/m:generateContent", true).surface,
            Surface::Native
        );
    }

    #[test]
    fn only_listed_system_parameters_pass() {
        let query =
            |query: &str| Target::read(&Method::GET, "/v1beta/models/m", Some(query), false);
        for passed in [
            "alt=json",
            "alt=sse",
            "alt=media",
            "%24alt=json%3Benum-encoding%3Dint",
            "$alt=sse;enum-encoding=int",
            "$prettyPrint=false",
            "prettyPrint=true",
            "$.xgafv=2",
            "uploadType=media",
            "upload_protocol=raw",
            "pageSize=5",
            "updateMask=ttl",
            "force=true",
            "somethingNew=1",
            "fields=a",
            "$fields=a",
        ] {
            assert_eq!(
                query(passed).unwrap().path_and_query,
                format!("/v1beta/models/m?{passed}")
            );
        }
        for refused in [
            "$key=x",
            "$userProject=p",
            "userProject=p",
            "user_project=p",
            "bearer_token=t",
            "$callback=f",
            "callback=f",
            "c%61llback=f",
            "alt=proto",
            "alt=json;charset=x",
            "%61lt=proto",
            "$alt=proto",
            "$ct=x",
            "$httpMethod=DELETE",
            "quotaUser=u",
            "$unknown=1",
            "x-goog-fieldmask=a",
            "X_Goog_User_Project=p",
            "KEY=x",
            "alt",
            "$alt=media",
            "Alt=json",
        ] {
            assert!(
                matches!(query(refused), Err(TargetError::ForbiddenParameter(_))),
                "{refused}"
            );
        }
        assert!(query("fields=usage&x=1").unwrap().selects_fields());
        assert!(!query("x=fields").unwrap().selects_fields());
    }

    #[test]
    fn models_and_methods_are_plain_and_uploads_are_for_operations_that_take_them() {
        for path in [
            "/v1beta/models/a%2Fb:generateContent",
            "/v1beta/models/a%252Fb:generateContent",
            "/v1beta/models/m;x=1:generateContent",
            "/v1beta/models/m%3Bx:generateContent",
            "/v1beta/models/m%3F:generateContent",
            "/v1beta/models/m%23:generateContent",
            "/v1beta/models/m:countTokens:generateContent",
            "/v1beta/models/m%3AcountTokens:generateContent",
            "/v1beta/tunedModels/t:generate%2FContent",
            "/v1beta/files/f:download%3Fx",
            "/v1beta/files/f:a:b",
            "/v1beta/dynamic/d;x:generateContent",
        ] {
            let read = Target::read(&Method::POST, path, None, false);
            assert_eq!(read, Err(TargetError::UnsafePath), "{path}");
        }
        for path in [
            "/v1beta/openai/batches/batches%2Fb1",
            "/v1beta/openai/files/files%2Ff/content",
            "/v1beta/openai/models/models%2Fm",
            "/v1beta/environments/e/files/a%2Fb;c%3F:d:e",
            "/upload/v1beta/environments/e/files/a%2Fb",
            "/upload/v1beta/files",
            "/resumable/upload/v1beta/files",
            "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore",
        ] {
            let read = Target::read(&Method::POST, path, None, false);
            assert_eq!(
                read.map(|target| target.path_and_query),
                Ok(path.to_owned())
            );
        }
        for path in [
            "/upload/v1beta/models/m:generateContent",
            "/upload/v1beta/cachedContents",
            "/resumable/upload/v1beta/models/m:batchGenerateContent",
            "/upload/v1beta/somethingNew",
        ] {
            let read = Target::read(&Method::POST, path, None, false);
            assert_eq!(read, Err(TargetError::NotAnUpload), "{path}");
        }
        for method in ["TRACE", "CONNECT", "PROPFIND", "get"] {
            let read = Target::read(&method.parse().unwrap(), "/v1beta/models", None, false);
            assert_eq!(read, Err(TargetError::Method), "{method}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for path in [
            "/v1beta/../admin",
            "/v1beta/./models",
            "/v1beta/%2e%2E/x",
            "/v1beta/models/..%2f..%2fx",
            "/v1beta//models",
            "/v1beta/models\\x",
            "/v1beta/models/%5c",
            "/v1beta/models/%0d%0aHost",
            "v1beta",
        ] {
            assert_eq!(
                Target::read(&Method::GET, path, None, false),
                Err(TargetError::UnsafePath),
                "{path}"
            );
        }
        assert_eq!(read("POST /batch/v1beta"), Err(TargetError::BatchEndpoint));
        assert_eq!(
            read("GET /v1beta/models?callback=f"),
            Err(TargetError::ForbiddenParameter("callback".to_owned()))
        );
        assert_eq!(
            read("GET /v1beta/models?%24httpHeaders=f"),
            Err(TargetError::ForbiddenParameter("$httpHeaders".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn no_credential_is_left_in_any_query(query in "[a-z%0-9=&+$;]{0,60}") {
            if let Ok(left) = upstream_query(&query) {
                for name in ["key", "access_token", "oauth_token"] {
                    prop_assert_eq!(query_parameter(&left, name), None);
                }
            }
        }

        #[test]
        fn a_path_is_forwarded_unchanged_or_not_at_all(path in "/v1beta/[ -~]{0,40}") {
            if let Ok(target) = Target::read(&Method::POST, &path, None, false) {
                prop_assert_eq!(target.path_and_query, path);
            }
        }
    }
}
