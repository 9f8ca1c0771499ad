//! Which query parameters pass to Google: system parameters by a list, an operation's own as they are.

use std::borrow::Cow;

use crate::gemini::url::{is_credential, percent_decode};

/// A system parameter that does not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the query parameter {0} is not allowed: it would change what Google does with the request"
)]
pub struct ForbiddenParameter(pub String);

/// The query without credentials, otherwise in its original order and spelling. Refuses system parameters that are not on
/// the list; an operation's own parameters pass.
pub fn upstream_query(query: &str) -> Result<String, ForbiddenParameter> {
    let mut kept = Vec::new();
    for part in query.split('&') {
        let name = parameter_name(part);
        if is_credential(&name) {
            continue;
        }
        let value = percent_decode(part.split_once('=').map_or("", |(_, value)| value));
        if !is_parameter_allowed(&name, &value) {
            return Err(ForbiddenParameter(name.chars().take(40).collect()));
        }
        kept.push(part);
    }
    Ok(kept.join("&"))
}

/// The name in a part of a query, decoded.
pub fn parameter_name(part: &str) -> Cow<'_, str> {
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
