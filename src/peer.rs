//! `Peer`: the address of a connection's other end, and the client address that trusted proxies report.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header};
use ipnet::IpNet;

use crate::config::Config;

/// The address of a connection's other end.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Whether an address is one of a trusted proxy.
pub fn is_trusted_proxy(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The client's address: the peer's, or the nearest untrusted address that trusted proxies report.
pub fn client_ip(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.ip().to_canonical();
    if !is_trusted_proxy(peer, trusted) {
        return peer;
    }
    // An invalid entry from the client must not hide the address that a proxy has appended.
    let lists: Vec<_> = headers
        .get_all("x-forwarded-for")
        .into_iter()
        .map(|list| String::from_utf8_lossy(list.as_bytes()))
        .collect();
    let reported = lists.iter().rev().flat_map(|list| list.rsplit(','));
    let addresses = reported.map_while(|address| parse_address(address.trim()));
    let mut nearest = peer;
    for address in addresses.map(|address| address.to_canonical()) {
        nearest = address;
        if !is_trusted_proxy(address, trusted) {
            break;
        }
    }
    nearest
}

/// An address, or one with a port, as some proxies report it.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok();
    address.or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))
}

/// The base URL for clients: `PUBLIC_URL`, else the request's host with the scheme that a trusted proxy reports. No
/// trailing slash.
pub fn base_url(peer: SocketAddr, headers: &HeaderMap, config: &Config) -> String {
    if let Some(url) = &config.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let is_trusted = is_trusted_proxy(peer.ip(), &config.trusted_proxies);
    let reported = |name: &str| {
        let value = headers.get(name).filter(|_| is_trusted)?.to_str().ok()?;
        value.split(',').next().map(str::trim)
    };
    let scheme = match reported("x-forwarded-proto") {
        Some("https") => "https",
        _ => "http",
    };
    let host = reported("x-forwarded-host").or_else(|| headers.get(header::HOST)?.to_str().ok());
    // Only characters of host names: pages show it, and admins copy it into programs.
    let is_host = |host: &&str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        !host.is_empty() && host.bytes().all(is_part)
    };
    match host.filter(is_host) {
        Some(host) => format!("{scheme}://{host}"),
        None => format!("{scheme}://{}", config.listen),
    }
}

/// Whether the client's connection is https: a trusted proxy says so, or `PUBLIC_URL` does. A request for another host, such
/// as an address of the local network, did not come by `PUBLIC_URL`; one for a loopback address may, because a proxy on
/// this machine sends it.
pub fn came_by_https(peer: SocketAddr, headers: &HeaderMap, config: &Config) -> bool {
    let is_trusted = is_trusted_proxy(peer.ip(), &config.trusted_proxies);
    let reported = headers.get("x-forwarded-proto").filter(|_| is_trusted);
    if let Some(scheme) = reported.and_then(|scheme| scheme.to_str().ok()) {
        return scheme.split(',').next().map(str::trim) == Some("https");
    }
    let Some(public_host) = config
        .public_url
        .as_deref()
        .and_then(|url| url.strip_prefix("https://"))
    else {
        return false;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let name = |host: &str| {
        let authority = host.parse::<http::uri::Authority>().ok();
        authority.map(|authority| authority.host().to_ascii_lowercase())
    };
    let Some(host) = host.and_then(name) else {
        return true;
    };
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost"
        || address.is_ok_and(|address| address.is_loopback())
        || name(public_host).as_ref() == Some(&host)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::FirstAdmin;

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
    fn only_trusted_proxies_set_the_client_address() {
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
    fn a_forged_header_does_not_hide_the_clients_address() {
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

    #[test]
    fn a_request_came_by_https_if_a_proxy_or_the_public_url_says_so() {
        let config = |public_url: Option<&str>| Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            database_url: String::new(),
            upstream_url: "http://127.0.0.1".parse().unwrap(),
            client_keys: vec![],
            upstream_keys: vec![],
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            public_url: public_url.map(ToOwned::to_owned),
            first_admin: FirstAdmin::default(),
        };
        let public = Some("https://pool.example.com");
        let cases = [
            (
                public,
                "192.0.2.1:5",
                &[("host", "pool.example.com")][..],
                true,
            ),
            (
                public,
                "192.0.2.1:5",
                &[("host", "Pool.Example.com:443")],
                true,
            ),
            (public, "127.0.0.1:5", &[("host", "127.0.0.1:8080")], true),
            (
                public,
                "192.0.2.1:5",
                &[("host", "192.168.1.5:8080")],
                false,
            ),
            (public, "192.0.2.1:5", &[("host", "pool.lan:8080")], false),
            (
                public,
                "10.0.0.1:5",
                &[("host", "pool.example.com"), ("x-forwarded-proto", "http")],
                false,
            ),
            (
                None,
                "10.0.0.1:5",
                &[("host", "a"), ("x-forwarded-proto", "https")],
                true,
            ),
            (
                None,
                "192.0.2.1:5",
                &[("host", "a"), ("x-forwarded-proto", "https")],
                false,
            ),
            (None, "192.0.2.1:5", &[("host", "a")], false),
            (Some("http://a"), "192.0.2.1:5", &[("host", "a")], false),
        ];
        for (public_url, peer, lines, expected) in cases {
            let came = came_by_https(peer.parse().unwrap(), &headers(lines), &config(public_url));
            assert_eq!(came, expected, "{public_url:?} {peer} {lines:?}");
        }
    }
}
