//! URLs: percent decoding, query parameters, and the parts of a URL that may be logged.

use std::borrow::Cow;

/// The API versions that paths begin with.
pub const VERSIONS: [&str; 5] = ["v1beta", "v1", "v1alpha", "v1beta2", "v1beta3"];

/// The parameter of a session's URL that authorizes its holder.
pub const SESSION_PARAMETER: &str = "upload_id";

/// Parameters whose values say how Google shall answer, and are few.
const LOGGED_PARAMETERS: [&str; 8] = [
    "alt",
    "$alt",
    "prettyPrint",
    "$prettyPrint",
    "pageSize",
    "uploadType",
    "upload_protocol",
    "view",
];
/// The longest value of such a parameter.
const MAX_LOGGED_VALUE: usize = 16;

/// The path and query as logged, even where the target is refused: without credentials, page tokens, ids and whatever else a
/// parameter may hold.
pub fn loggable_path(path: &str, query: Option<&str>) -> String {
    // The path names an ephemeral token.
    let decoded_path = percent_decode(path);
    let path = match decoded_path.split_once("auth_tokens/") {
        Some((before, _)) => &format!("{before}auth_tokens/…"),
        None => path,
    };
    let Some(query) = query else {
        return path.to_owned();
    };
    let is_logged = |part: &&str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric());
        LOGGED_PARAMETERS.contains(&name) && is_plain && value.len() <= MAX_LOGGED_VALUE
    };
    let kept: Vec<_> = query.split('&').filter(is_logged).collect();
    if kept.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", kept.join("&"))
    }
}

/// The value of the first parameter with this name, decoded.
pub fn query_parameter(query: &str, wanted: &str) -> Option<String> {
    query.split('&').find_map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (percent_decode(name) == wanted).then(|| percent_decode(value).into_owned())
    })
}

/// Percent-decodes valid sequences and leaves the rest.
pub fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let code = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned().into()
}

/// Whether a query parameter carries a credential.
pub fn is_credential(parameter: &str) -> bool {
    matches!(parameter, "key" | "access_token" | "oauth_token")
}
