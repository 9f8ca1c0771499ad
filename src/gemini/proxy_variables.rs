//! The proxy for connections to the upstream, which the environment names: checked, because the HTTP client would
//! silently ignore a value that it cannot use.

use http::Uri;
use url::Url;

use crate::config::without_userinfo;

const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// A variable that names a proxy and cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable} must be the address of a proxy like http://proxy.example.com:3128 or socks5h://127.0.0.1:1080, not \
     {value}"
)]
pub struct InvalidProxy {
    variable: &'static str,
    /// Without user and password.
    value: String,
}

/// Refuses proxies for `upstream` that could not be used.
pub fn check(upstream: &Url) -> Result<(), InvalidProxy> {
    check_variables(upstream, |name| std::env::var(name).ok())
}

fn check_variables(
    upstream: &Url,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), InvalidProxy> {
    let own = match upstream.scheme() {
        "https" => ["HTTPS_PROXY", "https_proxy"],
        _ => ["HTTP_PROXY", "http_proxy"],
    };
    for names in [own, ["ALL_PROXY", "all_proxy"]] {
        let set = names
            .into_iter()
            .find_map(|name| Some((name, variable(name)?)));
        if let Some((variable, value)) = set
            && !value.is_empty()
            && !is_proxy(&value)
        {
            let value = without_userinfo(&value);
            return Err(InvalidProxy { variable, value });
        }
    }
    Ok(())
}

fn is_proxy(value: &str) -> bool {
    let Ok(uri) = value.parse::<Uri>() else {
        return false;
    };
    let is_known = uri
        .scheme_str()
        .is_none_or(|scheme| SCHEMES.contains(&scheme));
    is_known && uri.host().is_some_and(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(upstream: &str, name: &str, value: &str) -> Option<String> {
        let variable = |other: &str| (other == name).then(|| value.to_owned());
        let checked = check_variables(&upstream.parse().unwrap(), variable);
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn a_proxy_that_would_be_ignored_is_refused_without_its_password() {
        let google = "https://generativelanguage.googleapis.com";
        for value in [
            "",
            "http://proxy:3128",
            "proxy:3128",
            "socks5://user:password@[::1]:1080",
            "socks5h://127.0.0.1:1080/",
        ] {
            assert_eq!(error(google, "HTTPS_PROXY", value), None, "{value}");
        }
        for value in [
            "socks://proxy:1080",
            "ftp://user:password@proxy",
            "http://",
            "a b",
        ] {
            for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
                let message = error(google, name, value).unwrap();
                assert!(
                    message.starts_with(name) && !message.contains("password"),
                    "{message}"
                );
            }
        }
        assert_eq!(error(google, "HTTP_PROXY", "ftp://proxy"), None);
        assert!(error("http://example.com", "HTTP_PROXY", "ftp://proxy").is_some());
    }
}
