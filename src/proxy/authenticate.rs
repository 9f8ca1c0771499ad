//! Who is asking: credential → `ClientKey`.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError};

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::app::App;
use crate::clock;
use crate::gemini::headers::API_KEY;
use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::gemini::url::query_parameter;
use crate::pool::clients::client_key::ClientKey;
use crate::proxy::bind::{look_up, not_looked_up};
use crate::proxy::record::Record;
use crate::proxy::refuse::Refusal;

/// What a client shows to be let in.
#[derive(Debug)]
pub struct Credential<'a> {
    text: Cow<'a, str>,
    pub is_bearer: bool,
}

impl Credential<'_> {
    /// The ephemeral token that it is, if it is one: Google gives them the names of resources.
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

/// The same for live sessions, which take what Google's SDKs send for ephemeral tokens besides: `Authorization: Token`,
/// then `?access_token=`.
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

/// Finds the client key, or says why there is none.
pub fn authenticate(
    app: &App,
    credential: Option<&Credential>,
    record: &mut Record,
) -> Result<Arc<ClientKey>, Refusal> {
    let Some(credential) = credential else {
        return Err(fail(app, record, Refusal::NoClientKey));
    };
    let Some(client) = app.client_keys().find(&credential.text) else {
        return Err(fail(app, record, Refusal::WrongClientKey));
    };
    check_standing(&client).inspect_err(|_| record.client(&client))?;
    Ok(client)
}

/// Finds the client key with which an ephemeral token was made, here and not elsewhere: what the token may do was up to who
/// has that key, who must still be allowed to hand out tokens.
pub async fn authenticate_token(
    app: &App,
    token: &ResourceName,
    record: &mut Record,
) -> Result<Arc<ClientKey>, Refusal> {
    let known = look_up(app, &[token.as_str()].into()).await;
    let known = known.map_err(not_looked_up)?.pop();
    let maker = known.and_then(|known| app.client_keys().find_by_id(known.maker?));
    let Some(client) = maker else {
        return Err(fail(app, record, Refusal::UnknownToken));
    };
    record.client(&client);
    check_standing(&client)?;
    if !client.direct_access {
        return Err(Refusal::DirectAccess);
    }
    Ok(client)
}

/// Whether a client key may be used at all.
pub fn check_standing(client: &ClientKey) -> Result<(), Refusal> {
    if !client.enabled {
        return Err(Refusal::DisabledClientKey);
    }
    if client.expires_at.is_some_and(|at| at <= clock::now()) {
        return Err(Refusal::ExpiredClientKey);
    }
    Ok(())
}

/// Counts a failure on its address, which may have to slow down.
pub fn fail(app: &App, record: &mut Record, refusal: Refusal) -> Refusal {
    let mut failures = app
        .auth_failures
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let answer = failures.record(record.client_ip(), clock::now());
    if !answer.is_recorded {
        record.leave_out();
    }
    answer.retry_after.map_or(refusal, Refusal::TooManyGuesses)
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
