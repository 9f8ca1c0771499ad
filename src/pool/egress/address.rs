//! `ProxyAddress`: the URL of a proxy, with its credential apart.

use std::fmt;

use crate::pool::secret::Secret;

const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];
const MAX_BYTES: usize = 500;

/// Where a proxy is, and the user and password that it gets.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    /// Without the credential: `socks5h://proxy.example.com:1080`.
    pub url: String,
    /// `user:password` as it stands in a URL, percent-encoded; empty: none.
    pub credential: Secret,
}

/// The text is no address of a proxy. The message never repeats it, because it may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address of a proxy must have a scheme, a host and a port, as in http://proxy.example.com:3128 or \
     socks5h://user:password@192.0.2.7:1080; the schemes are http, https, socks5 and socks5h, and special characters of \
     a password are percent-encoded"
)]
pub struct InvalidProxyAddress;

impl ProxyAddress {
    pub fn parse(text: &str) -> Result<Self, InvalidProxyAddress> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(InvalidProxyAddress)?;
        let scheme = scheme.to_ascii_lowercase();
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credential, place) = match rest.split_once('@') {
            Some((credential, place)) => (credential, place),
            None => ("", rest),
        };
        let is_empty_credential = rest.starts_with('@');
        let (host, port) = place.rsplit_once(':').ok_or(InvalidProxyAddress)?;
        let port: u16 = port.parse().map_err(|_| InvalidProxyAddress)?;
        let is_fit = SCHEMES.contains(&scheme.as_str())
            && text.len() <= MAX_BYTES
            && is_host(host)
            && port > 0
            && !is_empty_credential
            && is_credential(credential);
        if !is_fit {
            return Err(InvalidProxyAddress);
        }
        Ok(Self {
            url: format!("{scheme}://{}:{port}", host.to_ascii_lowercase()),
            credential: Secret::new(credential),
        })
    }

    /// The URL with the credential, for what opens connections.
    pub fn with_credential(&self) -> Secret {
        let credential = self.credential.expose();
        match self.url.split_once("://") {
            Some((scheme, place)) if !credential.is_empty() => {
                Secret::new(&format!("{scheme}://{credential}@{place}"))
            }
            _ => Secret::new(&self.url),
        }
    }

    /// The parts of the credential that must not stand anywhere: the whole, the password, and what it is decoded to.
    pub fn secrets(&self) -> Vec<String> {
        let credential = self.credential.expose();
        let (user, password) = credential.split_once(':').unwrap_or((credential, ""));
        let secret = if password.is_empty() { user } else { password };
        let mut secrets = vec![credential.to_owned(), secret.to_owned(), decoded(secret)];
        // A word of few letters stands in many texts.
        secrets.retain(|secret| secret.len() >= MIN_REDACTED_BYTES);
        secrets.dedup();
        secrets
    }
}

/// Shorter passwords are not searched for in texts.
const MIN_REDACTED_BYTES: usize = 6;

/// As lists, logs and errors show it: `http://…@proxy.example.com:3128`.
impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.url.split_once("://") {
            Some((scheme, place)) if !self.credential.expose().is_empty() => {
                write!(f, "{scheme}://…@{place}")
            }
            _ => f.write_str(&self.url),
        }
    }
}

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !host.is_empty()
        && host.bytes().all(is_fit)
        && host.starts_with(|first: char| first.is_ascii_alphanumeric())
}

fn is_credential(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%".contains(&byte);
    let mut bytes = text.bytes();
    let is_escaped = text
        .match_indices('%')
        .all(|(at, _)| hex_byte(&text.as_bytes()[at + 1..]).is_some());
    bytes.all(is_fit) && is_escaped && !text.starts_with(':')
}

fn hex_byte(text: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(..2)?).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let escaped = if *first == b'%' {
            hex_byte(after)
        } else {
            None
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_credential_apart() {
        for (text, url, credential, shown) in [
            (
                "http://proxy.example.com:3128",
                "http://proxy.example.com:3128",
                "",
                "http://proxy.example.com:3128",
            ),
            (
                " HTTPS://User:pass%40word@Proxy:443/ ",
                "https://proxy:443",
                "User:pass%40word",
                "https://…@proxy:443",
            ),
            (
                "socks5h://token@[::1]:1080",
                "socks5h://[::1]:1080",
                "token",
                "socks5h://…@[::1]:1080",
            ),
        ] {
            let address = ProxyAddress::parse(text).unwrap();
            assert_eq!(address.url, url);
            assert_eq!(address.credential.expose(), credential);
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), shown);
            let whole = address.with_credential();
            assert_eq!(ProxyAddress::parse(whole.expose()), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_of_a_proxy_is_refused_without_its_password() {
        for text in [
            "",
            "proxy:3128",
            "http://proxy",
            "http://proxy:0",
            "http://proxy:99999",
            "http://:3128",
            "http://@proxy:3128",
            "http://:word@proxy:3128",
            "socks4://proxy:1080",
            "ftp://proxy:21",
            "http://proxy:3128/path",
            "http://proxy:3128?x",
            "http://us er:pass-word@proxy:3128",
            "http://user:pass-word@x@proxy:3128",
            "http://user:100%@proxy:3128",
            "http://[::g]:3128",
            "http://pro xy:3128",
        ] {
            let error = ProxyAddress::parse(text).unwrap_err().to_string();
            assert!(!error.contains("pass-word"), "{text}");
        }
    }

    #[test]
    fn what_is_redacted_is_the_credential_its_password_and_what_it_means() {
        let secrets = |text| ProxyAddress::parse(text).unwrap().secrets();
        assert_eq!(
            secrets("http://user:pass%40word@proxy:1"),
            ["user:pass%40word", "pass%40word", "pass@word"]
        );
        assert_eq!(secrets("http://a-long-token@proxy:1"), ["a-long-token"]);
        assert_eq!(secrets("http://user:abc@proxy:1"), ["user:abc"]);
        assert!(secrets("http://proxy:1").is_empty());
    }
}
