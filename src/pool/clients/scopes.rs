//! `Scopes`: the addresses, models and paths for which a client key may be used.

use std::net::IpAddr;

use globset::{Glob, GlobSet, GlobSetBuilder};
use ipnet::IpNet;

/// The addresses, models and paths for which a client key may be used.
#[derive(Debug, Clone, Default)]
pub struct Scopes {
    pub models: PatternList,
    pub paths: PatternList,
    addresses: Vec<IpNet>,
}

/// The text is no valid pattern, address or tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    #[error("a pattern is empty")]
    Empty,
    #[error("{0}")]
    Glob(String),
    #[error("a path begins with / as in /v1beta/models/*")]
    Path,
    #[error(
        "that is an alias, and what counts is Google's own path: /v1beta/models/* or /v1beta/openai/*"
    )]
    Alias,
    #[error("{0:?} is no address: write it like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")]
    Address(String),
    #[error("a tag is a word, without spaces, `;` or `|`")]
    Tag,
}

/// Whether the text is a valid pattern of models.
pub fn check_model(text: &str) -> Result<(), InvalidScope> {
    PatternList::new(vec![text.to_owned()]).map(drop)
}

/// Whether the text is a pattern that some path of Google's can match; any other would exclude the key from everything.
pub fn check_path(text: &str) -> Result<(), InvalidScope> {
    PatternList::new(vec![text.to_owned()])?;
    let begins = |begin: &str| text.starts_with(begin);
    if !["/", "*", "?", "["].into_iter().any(begins) {
        return Err(InvalidScope::Path);
    }
    let aliases = [
        "/gemini/",
        "/openai/",
        "/v1/chat/",
        "/v1/completions",
        "/v1/embeddings",
    ];
    if aliases.into_iter().any(begins) {
        return Err(InvalidScope::Alias);
    }
    Ok(())
}

/// Whether the text is an address or a network.
pub fn check_address(text: &str) -> Result<(), InvalidScope> {
    network(text).map(drop)
}

/// Whether the text is a valid tag.
pub fn check_tag(text: &str) -> Result<(), InvalidScope> {
    let separates = |char: char| char.is_whitespace() || char.is_control() || ";|".contains(char);
    if text.is_empty() || text.contains(separates) {
        return Err(InvalidScope::Tag);
    }
    Ok(())
}

impl Scopes {
    pub fn new(
        models: &[String],
        paths: &[String],
        addresses: &[String],
    ) -> Result<Self, InvalidScope> {
        // Lists of models prefix each name with `models/`; a request's model has no prefix.
        let models = models.iter().map(|model| {
            let name = model.strip_prefix("models/");
            name.unwrap_or(model).to_owned()
        });
        let addresses = addresses.iter().map(|text| network(text));
        Ok(Self {
            models: PatternList::new(models.collect())?,
            paths: PatternList::new(paths.to_vec())?,
            addresses: addresses.collect::<Result<_, _>>()?,
        })
    }

    /// Whether the key may be used from this address.
    pub fn allows_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.addresses.is_empty()
            || self
                .addresses
                .iter()
                .any(|network| network.contains(&address))
    }
}

/// Patterns of which one must match; without patterns everything matches.
#[derive(Debug, Clone, Default)]
pub struct PatternList {
    patterns: Vec<String>,
    compiled: GlobSet,
}

impl PatternList {
    /// In each pattern, `*` matches any characters including `/`, `?` one, `[ab]` one of these.
    pub fn new(patterns: Vec<String>) -> Result<Self, InvalidScope> {
        let mut compiled = GlobSetBuilder::new();
        for pattern in &patterns {
            if pattern.trim().is_empty() {
                return Err(InvalidScope::Empty);
            }
            let glob = Glob::new(pattern).map_err(|error| InvalidScope::Glob(error.to_string()))?;
            compiled.add(glob);
        }
        let compiled = compiled.build();
        Ok(Self {
            patterns,
            compiled: compiled.map_err(|error| InvalidScope::Glob(error.to_string()))?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    pub fn matches(&self, text: &str) -> bool {
        self.is_empty() || self.compiled.is_match(text)
    }

    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

/// Parses a network; a single address is a network of one. IPv4 mapped to IPv6 is IPv4.
fn network(text: &str) -> Result<IpNet, InvalidScope> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse::<IpNet>());
    let network = network.map_err(|_| InvalidScope::Address(text.to_owned()))?;
    let wrapped = |network: &IpNet| {
        let prefix = network.prefix_len().checked_sub(96)?;
        match network.network().to_canonical() {
            IpAddr::V4(address) => IpNet::new(address.into(), prefix).ok(),
            IpAddr::V6(_) => None,
        }
    };
    Ok(match network {
        IpNet::V4(_) => network.trunc(),
        IpNet::V6(_) => wrapped(&network).unwrap_or_else(|| network.trunc()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(models: &[&str], paths: &[&str], addresses: &[&str]) -> Result<Scopes, InvalidScope> {
        let owned =
            |texts: &[&str]| -> Vec<String> { texts.iter().map(ToString::to_string).collect() };
        Scopes::new(&owned(models), &owned(paths), &owned(addresses))
    }

    #[test]
    fn an_empty_list_matches_everything_and_others_only_their_patterns() {
        let cases: [(&[&str], &str, bool); 9] = [
            (&[], "anything", true),
            (&["gemini-2.5-*"], "gemini-2.5-flash", true),
            (&["gemini-2.5-*"], "gemini-3-pro", false),
            (&["gemini-2.5-*"], "not-gemini-2.5-flash", false),
            (&["models/gemini-2.5-*"], "gemini-2.5-flash", true),
            (&["gemini-2.5-flash"], "gemini-2x5-flash", false),
            (&["gemini-?.5-flash", "*-pro"], "gemini-3-pro", true),
            (&["*"], "tunedModels/mine", true),
            (&["gemini-2.5-flash"], "Gemini-2.5-Flash", false),
        ];
        for (patterns, model, admitted) in cases {
            let scopes = scopes(patterns, &[], &[]).unwrap();
            assert_eq!(
                scopes.models.matches(model),
                admitted,
                "{patterns:?} {model}"
            );
        }
        let paths = scopes(&[], &["/v1beta/models/*", "*:countTokens"], &[])
            .unwrap()
            .paths;
        assert!(paths.matches("/v1beta/models/m:generateContent"));
        assert!(paths.matches("/v1/models/m:countTokens"));
        assert!(!paths.matches("/v1beta/files"));
    }

    #[test]
    fn addresses_and_networks_are_accepted_in_every_notation() {
        let cases = [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.7/24", "192.0.2.200", true),
            ("192.0.2.0/24", "::ffff:192.0.2.9", true),
            ("::ffff:192.0.2.0/120", "192.0.2.9", true),
            ("::ffff:192.0.2.9", "192.0.2.9", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "192.0.2.9", false),
            ("::/0", "192.0.2.9", false),
            ("0.0.0.0/0", "192.0.2.9", true),
        ];
        for (network, address, admitted) in cases {
            let scopes = scopes(&[], &[], &["203.0.113.1", network]).unwrap();
            let found = scopes.allows_address(address.parse().unwrap());
            assert_eq!(found, admitted, "{address} of {network}");
        }
        assert!(Scopes::default().allows_address("192.0.2.9".parse().unwrap()));
    }

    #[test]
    fn a_pattern_that_matches_no_path_is_refused() {
        let cases = [
            ("/v1beta/models/*", Ok(())),
            ("*:countTokens", Ok(())),
            ("v1beta/models/*", Err(InvalidScope::Path)),
            ("/openai/v1/*", Err(InvalidScope::Alias)),
            ("", Err(InvalidScope::Empty)),
        ];
        for (path, expected) in cases {
            assert_eq!(check_path(path), expected, "{path}");
        }
        assert_eq!(check_tag("team a"), Err(InvalidScope::Tag));
        assert_eq!(check_tag("team-a"), Ok(()));
    }

    #[test]
    fn an_invalid_scope_has_a_clear_message() {
        let address = |text| scopes(&[], &[], &[text]).unwrap_err().to_string();
        assert_eq!(
            address("example.com"),
            r#""example.com" is no address: write it like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"#
        );
        assert!(address("192.0.2.0/33").contains("192.0.2.0/33"));
        assert_eq!(scopes(&[""], &[], &[]).unwrap_err(), InvalidScope::Empty);
        let glob = scopes(&[], &["/v1beta/[a"], &[]).unwrap_err().to_string();
        assert!(glob.contains("/v1beta/[a"), "{glob}");
    }
}
