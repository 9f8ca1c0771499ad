//! Paths that a client sends when its base URL is wrong: without a version, with two, or with another program's prefix.

use crate::gemini::target::Surface;
use crate::gemini::url::{VERSIONS, percent_decode};

/// A path below a wrong base URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongBase {
    pub surface: Surface,
    /// The path of the same operation below the right base URL.
    pub right_path: String,
    /// The path of the right base URL; empty: the root, to which Gemini's clients append the version themselves.
    pub base_path: &'static str,
    /// Whether the path is refused as ambiguous, because it has two slashes in a row.
    pub is_ambiguous: bool,
}

/// The base URL of the OpenAI surface.
const OPENAI_BASE: &str = "/v1beta/openai";
/// Segments of base URLs, of ours and of other programs.
const BASE_SEGMENTS: [&str; 10] = [
    "openai",
    "gemini",
    "api",
    "google",
    "genai",
    "proxy",
    "compatible-mode",
    "generativelanguage.googleapis.com",
    "v2",
    "v3",
];
/// Segments before the version of uploads and downloads.
const TRANSFERS: [&str; 3] = ["upload", "resumable", "download"];
/// The first segments of operations of the OpenAI surface that have one.
const OPENAI_OPERATIONS: [&str; 5] = ["completions", "embeddings", "images", "audio", "responses"];
/// Collections that clients name first after the version.
const COLLECTIONS: [&str; 7] = [
    "models",
    "tunedModels",
    "files",
    "cachedContents",
    "interactions",
    "batches",
    "fileSearchStores",
];

/// The right base URL for a path, if the path looks like an operation below a wrong one.
///
/// `has_bearer_token`, whether the credential is a bearer token, decides whether a list of models is OpenAI's.
pub fn find(path: &str, has_bearer_token: impl Fn() -> bool) -> Option<WrongBase> {
    // The path of most requests.
    if path.starts_with("/v1beta/models/") && !path.contains("//") {
        return None;
    }
    let decoded = percent_decode(path);
    let segments: Vec<_> = decoded
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let start = operation_start(&segments)?;
    let (base, operation) = segments.split_at(start);
    let is_version = |segment: &&&str| VERSIONS.contains(*segment);
    let versions = base.iter().filter(is_version).count();
    let transfers = base
        .iter()
        .filter(|segment| TRANSFERS.contains(segment))
        .count();
    let has_openai = base.contains(&"openai");
    let has_method = operation.len() > 1 && operation[1].contains(':');
    let is_models = operation[0] == "models" && !has_method;
    let is_openai = is_openai_operation(operation)
        || (has_openai && !has_method)
        || (is_models && has_bearer_token());
    let is_ambiguous = path.contains("//") && !path.starts_with("//ws/");
    let is_right = match base {
        [version] | ["gemini", version] => {
            VERSIONS.contains(version) && (!is_openai_operation(operation) || *version == "v1")
        }
        ["openai", "v1"] | ["gemini", "openai", "v1"] => is_openai || !has_method,
        [version, "openai"] | ["gemini", version, "openai"] => {
            VERSIONS.contains(version) && !has_method
        }
        [transfer, rest @ ..] if TRANSFERS.contains(transfer) => {
            transfers == 1 + usize::from(rest.contains(&"upload")) && versions == 1
        }
        ["gemini", transfer, _] => TRANSFERS.contains(transfer) && versions == 1,
        _ => false,
    };
    if is_right && !is_ambiguous {
        return None;
    }
    let is_base = |segment: &&str| {
        VERSIONS.contains(segment) || TRANSFERS.contains(segment) || BASE_SEGMENTS.contains(segment)
    };
    let is_certain = has_method || operation.starts_with(&["chat", "completions"]);
    if !is_certain && !base.iter().all(is_base) {
        return None;
    }
    let operation = operation.join("/");
    let version = base.iter().find(is_version).unwrap_or(&"v1beta");
    let transfer = base.iter().find(|segment| TRANSFERS.contains(segment));
    let (surface, base_path, right_path) = if is_openai {
        (
            Surface::OpenAi,
            OPENAI_BASE,
            format!("{OPENAI_BASE}/{operation}"),
        )
    } else {
        let transfer = transfer
            .map(|transfer| format!("/{transfer}"))
            .unwrap_or_default();
        let right_path = format!("{transfer}/{version}/{operation}");
        (Surface::of_path(&right_path), "", right_path)
    };
    Some(WrongBase {
        surface,
        right_path,
        base_path,
        is_ambiguous,
    })
}

/// Where the operation begins in the segments of a path, after all that can belong to a base URL.
fn operation_start(segments: &[&str]) -> Option<usize> {
    let is_start = |place: &usize| {
        let operation = &segments[*place..];
        is_openai_operation(operation) || COLLECTIONS.contains(&operation[0])
    };
    (0..segments.len().min(8)).find(is_start)
}

fn is_openai_operation(operation: &[&str]) -> bool {
    operation.starts_with(&["chat", "completions"]) || OPENAI_OPERATIONS.contains(&operation[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_paths_are_not_wrong() {
        for path in [
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "/v1beta/models",
            "/v1/models/gemini-2.5-flash",
            "/v1alpha/files/abc",
            "/gemini/v1beta/models",
            "/v1/chat/completions",
            "/v1/embeddings",
            "/openai/v1/chat/completions",
            "/openai/v1/models",
            "/v1beta/openai/chat/completions",
            "/v1beta/openai/models",
            "/v1beta/openai/files/abc",
            "/upload/v1beta/files",
            "/resumable/upload/v1beta/files",
            "/download/v1beta/files/abc:download",
            "/v1beta/interactions",
            "/v1beta/unknown",
            "/v1beta/corpora/models/files",
            "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
            "//ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
            "/login",
            "/favicon.ico",
            "/blog/models",
            "/",
        ] {
            for has_bearer_token in [false, true] {
                assert_eq!(find(path, || has_bearer_token), None, "{path}");
            }
        }
    }

    #[test]
    fn a_wrong_base_is_found_with_the_right_path() {
        let native = "/v1beta/models/gemini-2.5-flash:generateContent";
        let cases = [
            ("/models/gemini-2.5-flash:generateContent", native),
            (
                "/v1beta/v1beta/models/gemini-2.5-flash:generateContent",
                native,
            ),
            (
                "/v1beta/%76%31beta/models/gemini-2.5-flash:generateContent",
                native,
            ),
            ("/v1beta/v1/models/gemini-2.5-flash:generateContent", native),
            (
                "/api/v1beta/models/gemini-2.5-flash:generateContent",
                native,
            ),
            (
                "/some/proxy/v1beta/models/gemini-2.5-flash:generateContent",
                native,
            ),
            (
                "/gemini/v1beta/v1beta/models/gemini-2.5-flash:generateContent",
                native,
            ),
            (
                "/v1beta/openai/models/gemini-2.5-flash:generateContent",
                native,
            ),
            ("/upload/v1beta/v1beta/files", "/upload/v1beta/files"),
            ("/upload/files", "/upload/v1beta/files"),
            ("/v1beta/upload/v1beta/files", "/upload/v1beta/files"),
            ("/files", "/v1beta/files"),
            ("/chat/completions", "/v1beta/openai/chat/completions"),
            ("/v1/v1/chat/completions", "/v1beta/openai/chat/completions"),
            (
                "/openai/chat/completions",
                "/v1beta/openai/chat/completions",
            ),
            (
                "/api/v1/chat/completions",
                "/v1beta/openai/chat/completions",
            ),
            (
                "/v1beta/chat/completions",
                "/v1beta/openai/chat/completions",
            ),
            (
                "/v1beta/openai/v1/chat/completions",
                "/v1beta/openai/chat/completions",
            ),
            ("/openai/v1/v1/models", "/v1beta/openai/models"),
            ("/v1beta/openai/v1/files", "/v1beta/openai/files"),
            ("/embeddings", "/v1beta/openai/embeddings"),
        ];
        for (path, right_path) in cases {
            let wrong = find(path, || false);
            let wrong = wrong.unwrap_or_else(|| panic!("{path} is not found"));
            assert_eq!(wrong.right_path, right_path, "{path}");
            assert_eq!(
                wrong.surface == Surface::OpenAi,
                wrong.base_path == OPENAI_BASE,
                "{path}"
            );
            assert!(!wrong.is_ambiguous);
            assert_eq!(find(&wrong.right_path, || false), None, "{right_path}");
        }
        assert_eq!(find("/models", || true).unwrap().surface, Surface::OpenAi);
        assert_eq!(find("/models", || false).unwrap().surface, Surface::Native);
        for path in [
            "//v1beta/models",
            "/v1beta//models",
            "//v1beta//models/gemini:generateContent",
        ] {
            assert!(find(path, || false).unwrap().is_ambiguous, "{path}");
        }
    }
}
