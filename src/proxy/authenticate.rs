//! Who is asking: credential → `ClientKey`.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use ipnet::IpNet;

use crate::app::App;
use crate::clock;
use crate::gemini::headers::API_KEY;
use crate::gemini::target::parameter;
use crate::pool::client_key::ClientKey;
use crate::proxy::record::Record;
use crate::proxy::refuse::Refusal;

/// What a client shows to be let in.
#[derive(Debug)]
pub struct Credential<'a> {
    text: Cow<'a, str>,
    pub is_bearer: bool,
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
            .and_then(|query| parameter(query, "key"))
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
    if !client.enabled {
        record.client(&client);
        return Err(Refusal::DisabledClientKey);
    }
    if client.expires_at.is_some_and(|at| at <= clock::now()) {
        record.client(&client);
        return Err(Refusal::ExpiredClientKey);
    }
    Ok(client)
}

/// Counts a failure on its address, which may have to slow down.
fn fail(app: &App, record: &mut Record, refusal: Refusal) -> Refusal {
    let mut guesses = app.guesses.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = guesses.fail(record.client_ip(), clock::now());
    if !answer.recorded {
        record.leave_out();
    }
    answer.slow_down.map_or(refusal, Refusal::TooManyGuesses)
}

/// The client's address: the peer, or what the nearest proxy that is not trusted to say so has reported.
pub fn client_ip(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let peer = peer.ip().to_canonical();
    if !is_trusted(&peer) {
        return peer;
    }
    // Whatever a client has written there itself must not hide the address that a proxy has put behind it.
    let lists: Vec<_> = headers
        .get_all("x-forwarded-for")
        .into_iter()
        .map(|list| String::from_utf8_lossy(list.as_bytes()))
        .collect();
    let reported = lists.iter().rev().flat_map(|list| list.rsplit(','));
    let addresses = reported.map_while(|address| address_in(address.trim()));
    let mut nearest = peer;
    for address in addresses.map(|address| address.to_canonical()) {
        nearest = address;
        if !is_trusted(&address) {
            break;
        }
    }
    nearest
}

/// An address, or one with a port, as some proxies report it.
fn address_in(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok();
    address.or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))
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

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let forwarded = headers(&[
            ("x-forwarded-for", "1.1.1.1, 2.2.2.2"),
            ("x-forwarded-for", "10.0.0.9"),
        ]);
        let ip = |peer: &str| client_ip(peer.parse().unwrap(), &forwarded, &trusted).to_string();

        assert_eq!(ip("10.0.0.1:5"), "2.2.2.2");
        assert_eq!(ip("192.0.2.1:5"), "192.0.2.1");
        assert_eq!(
            client_ip(
                "[::ffff:192.0.2.1]:5".parse().unwrap(),
                &forwarded,
                &trusted
            )
            .to_string(),
            "192.0.2.1"
        );
    }

    #[test]
    fn what_a_client_writes_itself_does_not_hide_its_address() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let cases: [(&[u8], &str); 5] = [
            (b"\xff, 192.0.2.1", "192.0.2.1"),
            (b"10.0.0.7, \xff, 192.0.2.1", "192.0.2.1"),
            (b"192.0.2.1:4711", "192.0.2.1"),
            (b"1.1.1.1, [2001:db8::7]:4711, 10.0.0.2", "2001:db8::7"),
            (b"192.0.2.1, unknown", "10.0.0.1"),
        ];
        for (forwarded, expected) in cases {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_bytes(forwarded).unwrap();
            headers.append("x-forwarded-for", value);
            let found = client_ip("10.0.0.1:5".parse().unwrap(), &headers, &trusted);
            assert_eq!(found.to_string(), expected, "{forwarded:?}");
        }
    }
}
