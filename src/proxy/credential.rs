//! `Credential`: the client key or token of a request, and the places it is read from.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::gemini::headers::API_KEY;
use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::gemini::url::query_parameter;

/// The client key or ephemeral token that a request carries.
#[derive(Debug)]
pub struct Credential<'a> {
    pub text: Cow<'a, str>,
    pub is_bearer: bool,
}

impl Credential<'_> {
    /// The ephemeral token, if the credential is one: their texts are resource names (`auth_tokens/…`).
    pub fn token(&self) -> Option<ResourceName> {
        let name = ResourceName::of_text(&self.text)?;
        (name.kind() == ResourceKind::AuthToken).then_some(name)
    }
}

/// The first credential present decides: Google's header, a bearer token, `x-api-key`, then `?key=`.
pub fn credential<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Option<Credential<'a>> {
    let header = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .filter(|text| !text.is_empty())
    };
    let bearer = || {
        let (scheme, token) = header(AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    };
    let plain = |text: &'a str| Credential {
        text: text.into(),
        is_bearer: false,
    };
    let in_query = || {
        query
            .and_then(|query| query_parameter(query, "key"))
            .filter(|text| !text.is_empty())
    };
    header(API_KEY)
        .map(plain)
        .or_else(|| {
            bearer().map(|text| Credential {
                text: text.into(),
                is_bearer: true,
            })
        })
        .or_else(|| header(http::HeaderName::from_static("x-api-key")).map(plain))
        .or_else(|| {
            in_query().map(|text| Credential {
                text: text.into(),
                is_bearer: false,
            })
        })
}

/// The same for live sessions, for which Google's SDKs also send ephemeral tokens as `Authorization: Token` or as
/// `?access_token=`.
pub fn session_credential<'a>(
    headers: &'a HeaderMap,
    query: Option<&str>,
) -> Option<Credential<'a>> {
    let token = || {
        let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("token")
            .then(|| token.trim().into())
    };
    let in_query = || query_parameter(query?, "access_token").map(Cow::from);
    credential(headers, query).or_else(|| {
        let text = token().or_else(in_query).filter(|text| !text.is_empty())?;
        Some(Credential {
            text,
            is_bearer: false,
        })
    })
}

/// Whether the credential is a bearer token.
pub fn is_bearer(headers: &HeaderMap, query: Option<&str>) -> bool {
    credential(headers, query).is_some_and(|credential| credential.is_bearer)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    #[test]
    fn sessions_take_tokens_too_but_keys_first() {
        type Case<'a> = (&'a [(&'static str, &'static str)], &'a str, Option<&'a str>);
        let token = [("authorization", "Token a")];
        let key = [("authorization", "Token a"), ("x-api-key", "b")];
        let cases: [Case; 5] = [
            (&token, "access_token=c", Some("a")),
            (&token, "key=d&access_token=c", Some("d")),
            (&key, "", Some("b")),
            (&[], "access_token=auth_tokens%2Fc", Some("auth_tokens/c")),
            (&[], "access_token=", None),
        ];
        for (lines, query, expected) in cases {
            let headers = headers(lines);
            let found = session_credential(&headers, Some(query));
            let found = found.as_ref().map(|found| found.text.as_ref());
            assert_eq!(found, expected, "{lines:?} {query:?}");
        }
    }

    #[test]
    fn the_first_credential_present_decides() {
        type Case<'a> = (
            &'a [(&'static str, &'static str)],
            Option<&'a str>,
            Option<(&'a str, bool)>,
        );
        let all = [
            ("authorization", "bearer b"),
            ("x-api-key", "c"),
            ("x-goog-api-key", "a"),
        ];
        let cases: [Case; 6] = [
            (&all, Some("key=d"), Some(("a", false))),
            (&all[..2], Some("key=d"), Some(("b", true))),
            (&all[1..2], Some("key=d"), Some(("c", false))),
            (
                &[("authorization", "Basic b")],
                Some("alt=sse&%6Bey=d%2B"),
                Some(("d+", false)),
            ),
            (&[("x-goog-api-key", "")], None, None),
            (&[], Some("access_token=e"), None),
        ];
        for (lines, query, expected) in cases {
            let headers = headers(lines);
            let found = credential(&headers, query);
            let found = found
                .as_ref()
                .map(|found| (found.text.as_ref(), found.is_bearer));
            assert_eq!(found, expected, "{lines:?} {query:?}");
        }
    }
}
