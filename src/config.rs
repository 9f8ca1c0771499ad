//! `Config`: flags and environment, read once at start.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use url::Url;
use zeroize::Zeroizing;
use zxcvbn::{Score, zxcvbn};

use crate::pool::keys::import::client_keys::{self, InvalidEntry};
use crate::pool::keys::import::{self, Expected};
use crate::pool::keys::imported_keys::ImportedKey;
use crate::pool::master_key::{MIN_PASSPHRASE_CHARACTERS, MasterKeyText, ShortPassphrase};
use crate::pool::secret::Secret;

/// Minimum length of a password, in characters.
pub const MIN_PASSWORD_CHARACTERS: usize = 8;

/// The location of the database; an argument of every command.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// The SQLite file, as a URL
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "sqlite://gemini-pool.db",
        global = true
    )]
    pub database_url: String,
    #[command(flatten)]
    pub master_key: MasterKeyArgs,
}

/// The master key of an encrypted database; an argument of every command. Read only where secrets are needed.
#[derive(Debug, Clone, Default, Args)]
pub struct MasterKeyArgs {
    #[arg(long, env = "MASTER_KEY", hide = true, hide_env_values = true, global = true, value_parser = Secret::from_argument)]
    pub master_key: Option<Secret>,
    /// The file with the master key of an encrypted database
    #[arg(long, env = "MASTER_KEY_FILE", hide = true, global = true)]
    pub master_key_file: Option<PathBuf>,
}

/// More than any key or passphrase has.
const MAX_KEY_FILE_BYTES: u64 = 4_096;

impl MasterKeyArgs {
    /// Reads the key; `None`: there is none.
    pub fn read(&self) -> Result<Option<MasterKeyText>, InvalidConfig> {
        match (&self.master_key, &self.master_key_file) {
            (None, None) => Ok(None),
            (Some(key), None) => master_key(key.expose(), "MASTER_KEY").map(Some),
            (None, Some(path)) => master_key_of_file(path, "MASTER_KEY_FILE").map(Some),
            (Some(_), Some(_)) => Err(InvalidConfig::new(
                "MASTER_KEY and MASTER_KEY_FILE are both set: set one of them",
            )),
        }
    }
}

/// Reads a master key from the file that `name` stands for.
pub fn master_key_of_file(path: &Path, name: &str) -> Result<MasterKeyText, InvalidConfig> {
    let read = || -> io::Result<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::new());
        let mut file = File::open(path)?.take(MAX_KEY_FILE_BYTES);
        // So that no reallocation leaves a copy in memory.
        text.reserve_exact(usize::try_from(MAX_KEY_FILE_BYTES).unwrap_or(0) + 1);
        file.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|error| {
        InvalidConfig(format!(
            "{name} cannot be read: {}: {error}",
            path.display()
        ))
    })?;
    master_key(&text, name)
}

/// Reads a master key from the value of the variable or file that `name` stands for, which the error does not show.
pub fn master_key(text: &str, name: &str) -> Result<MasterKeyText, InvalidConfig> {
    MasterKeyText::parse(text).map_err(|ShortPassphrase { characters }| {
        InvalidConfig(format!(
            "{name} has {characters} characters, but a passphrase needs at least {MIN_PASSPHRASE_CHARACTERS}: use 32 random \
             bytes as `gemini-pool master-key generate` prints them, or a longer passphrase"
        ))
    })
}

/// The URL of Google; an argument of every command that sends requests to it.
#[derive(Debug, Clone, Args)]
pub struct UpstreamArgs {
    /// Where requests are sent
    #[arg(
        long,
        env = "UPSTREAM_URL",
        default_value = "https://generativelanguage.googleapis.com"
    )]
    pub upstream_url: String,
}

impl UpstreamArgs {
    /// Validates the URL.
    pub fn url(&self) -> Result<Url, InvalidConfig> {
        let shown = without_userinfo(&self.upstream_url);
        let url = Url::parse(&self.upstream_url).ok();
        let url = url
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none())
            .ok_or_else(|| {
                InvalidConfig(format!(
                    "UPSTREAM_URL must be an http or https address like https://generativelanguage.googleapis.com, not {shown}"
                ))
            })?;
        // Paths of requests begin with a version.
        let last = url
            .path()
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        if is_version(last) {
            let base = shown
                .trim_end_matches('/')
                .trim_end_matches(last)
                .trim_end_matches('/');
            return Err(InvalidConfig(format!(
                "UPSTREAM_URL ends with the version {last}, which is part of each request's path: use {base}"
            )));
        }
        Ok(url)
    }
}

/// Whether a path segment is a version of an API, such as `v1beta`.
fn is_version(segment: &str) -> bool {
    let number = segment.strip_prefix('v').unwrap_or_default();
    number.starts_with(|digit: char| digit.is_ascii_digit()) || segment == "openai"
}

/// A URL without its user and password, which no message may contain.
pub fn without_userinfo(url: &str) -> String {
    let (scheme, rest) = url.split_once("//").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) if scheme.is_empty() => rest[at + 1..].to_owned(),
        Some(at) => format!("{scheme}//{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// The arguments of `serve`. Empty variables count as unset.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The address to listen on
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8000", value_parser = listen_address)]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub upstream: UpstreamArgs,
    #[arg(long, env = "ADMIN_USERNAME", hide = true)]
    pub admin_username: Option<String>,
    #[arg(long, env = "ADMIN_PASSWORD", hide = true, hide_env_values = true)]
    pub admin_password: Option<String>,
    /// Client keys to add at the start, separated by commas or new lines
    #[arg(long, env = "ALLOWED_API_KEYS", hide = true, hide_env_values = true)]
    pub allowed_api_keys: Option<String>,
    /// Upstream keys to add at the start, separated by commas or new lines
    #[arg(long, env = "GEMINI_API_KEYS", hide = true, hide_env_values = true)]
    pub gemini_api_keys: Option<String>,
    /// Addresses or networks of proxies in front whose `x-forwarded-for` is trusted
    #[arg(long, env = "TRUSTED_PROXIES", hide = true)]
    pub trusted_proxies: Option<String>,
    /// URL at which clients reach the server
    #[arg(long, env = "PUBLIC_URL", hide = true)]
    pub public_url: Option<String>,
    /// Format of the log
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// Reads an address to listen on: `8000`, `:8000`, `localhost:8000`, `127.0.0.1:8000`, `[::1]:8000`, or an address
/// without a port.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    const PORT: u16 = 8000;
    let text = text.trim();
    let any = IpAddr::from([0, 0, 0, 0]);
    let unbracketed = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(ip) = unbracketed.unwrap_or(text).parse() {
        return Ok(SocketAddr::new(ip, PORT));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or_else(|| {
        let is_port = text.bytes().all(|byte| byte.is_ascii_digit());
        if is_port { ("", text) } else { (text, "8000") }
    });
    let ip = match host {
        "" | "*" => Some(any),
        _ if host.eq_ignore_ascii_case("localhost") => Some(IpAddr::from([127, 0, 0, 1])),
        _ => None,
    };
    match (ip, port.parse()) {
        (Some(ip), Ok(port)) => Ok(SocketAddr::new(ip, port)),
        _ => Err(format!(
            "{text:?} is no address to listen on: set LISTEN or --listen to a port such as 8000, or to an IP address and a \
             port such as 0.0.0.0:8000, [::1]:8000 or localhost:8000"
        )),
    }
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// The validated configuration of a server.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub database_url: String,
    pub upstream_url: Url,
    pub client_keys: Vec<Secret>,
    pub upstream_keys: Vec<ImportedKey>,
    pub trusted_proxies: Vec<IpNet>,
    pub public_url: Option<String>,
    pub first_admin: FirstAdmin,
}

/// The admin to create if there is none.
#[derive(Debug, Clone)]
pub struct FirstAdmin {
    pub username: String,
    /// `None`: a password is generated and printed.
    pub password: Option<Secret>,
}

impl Default for FirstAdmin {
    fn default() -> Self {
        Self {
            username: "admin".to_owned(),
            password: None,
        }
    }
}

/// A flag or variable that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

impl InvalidConfig {
    pub fn new(message: &str) -> Self {
        Self(message.to_owned())
    }
}

impl Config {
    /// Validates the arguments.
    pub fn new(database: DatabaseArgs, serve: ServeArgs) -> Result<Self, InvalidConfig> {
        let password = serve.admin_password.filter(|password| !password.is_empty());
        if let Some(password) = &password {
            check_password(password, serve.listen)?;
        }
        let username = serve.admin_username.filter(|name| !name.is_empty());
        let upstream_url = serve.upstream.url()?;
        Ok(Self {
            listen: serve.listen,
            database_url: database.database_url,
            upstream_url,
            client_keys: allowed_api_keys(serve.allowed_api_keys.as_deref().unwrap_or_default())?,
            upstream_keys: gemini_api_keys(serve.gemini_api_keys.as_deref().unwrap_or_default())?,
            trusted_proxies: networks(serve.trusted_proxies.as_deref().unwrap_or_default())?,
            public_url: public_url(serve.public_url.as_deref().unwrap_or_default())?,
            first_admin: FirstAdmin {
                username: username.unwrap_or_else(|| FirstAdmin::default().username),
                password: password.as_deref().map(Secret::new),
            },
        })
    }
}

/// Whether `text` can be sent in a header, as a key must be.
pub fn is_header_safe(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1_024 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn public_url(text: &str) -> Result<Option<String>, InvalidConfig> {
    if text.is_empty() {
        return Ok(None);
    }
    let url = Url::parse(text).ok();
    let is_fit = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
    };
    match url.filter(is_fit) {
        Some(url) if url.path() != "/" => {
            let base = url.origin().ascii_serialization();
            Err(InvalidConfig(format!(
                "PUBLIC_URL has a path, but the server answers at the root of its host: use {base}, not {text}"
            )))
        }
        Some(_) => Ok(Some(text.trim_end_matches('/').to_owned())),
        None => Err(InvalidConfig(format!(
            "PUBLIC_URL must be the address at which clients reach the server, like https://gemini.example.com, not {text}"
        ))),
    }
}

/// Whether a password is on a well-known list, or made of such words: fewer than a million guesses find it.
pub fn is_common_password(password: &str) -> bool {
    const OWN_WORDS: [&str; 3] = ["gemini", "gemini-pool", "admin"];
    zxcvbn(password, &OWN_WORDS).score() <= Score::One
}

fn check_password(password: &str, listen: SocketAddr) -> Result<(), InvalidConfig> {
    let is_weak =
        password.chars().count() < MIN_PASSWORD_CHARACTERS || is_common_password(password);
    if is_weak && !listen.ip().is_loopback() {
        return Err(InvalidConfig(
            "ADMIN_PASSWORD is shorter than 8 characters or easily guessed: choose a better one, or listen on \
             127.0.0.1 only"
                .to_owned(),
        ));
    }
    Ok(())
}

/// The client keys of `ALLOWED_API_KEYS`. The error shows the value without its keys.
fn allowed_api_keys(text: &str) -> Result<Vec<Secret>, InvalidConfig> {
    client_keys::read(text).map_err(|InvalidEntry { number, character }| {
        let fault = match character {
            Some(character) => format!("contains {character:?}"),
            None => "is too long".to_owned(),
        };
        InvalidConfig(format!(
            "ALLOWED_API_KEYS: entry {number} {fault}, which no key does: separate keys by commas or new lines, without \
             quotes or brackets. Read was: {}",
            client_keys::masked(text)
        ))
    })
}

/// The upstream keys of `GEMINI_API_KEYS`. The error shows the value without its keys.
fn gemini_api_keys(text: &str) -> Result<Vec<ImportedKey>, InvalidConfig> {
    let read = import::read(text, Expected::KeysOnly);
    let fault = match read.not_taken.first() {
        Some(entry) => format!(
            "line {}: {}: {}…",
            entry.line,
            entry.reason.text(),
            entry.start
        ),
        None if read.keys.is_empty() && !text.trim().is_empty() => "it contains no key".to_owned(),
        None => return Ok(read.keys),
    };
    Err(InvalidConfig(format!(
        "GEMINI_API_KEYS: {fault}. A key has at least 8 visible characters, and commas or new lines separate keys. Read \
         was: {}",
        client_keys::masked(text)
    )))
}

fn networks(text: &str) -> Result<Vec<IpNet>, InvalidConfig> {
    let parts = text
        .split([',', ' ', '\n'])
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let network = |part: &str| {
        let parsed = part
            .parse::<IpNet>()
            .or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
        parsed.map_err(|_| {
            InvalidConfig(format!(
                "TRUSTED_PROXIES: {part} is neither an address nor a network like 10.0.0.0/8"
            ))
        })
    };
    parts.map(network).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn config(arguments: &[&str]) -> Result<Config, String> {
        let command = Command::parse_from([&["serve"], arguments].concat());
        Config::new(command.database, command.serve).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_separated_by_commas_and_new_lines() {
        let config = config(&["--allowed-api-keys", "one, two\nthree,,\r\n"]).unwrap();

        let keys: Vec<_> = config.client_keys.iter().map(Secret::expose).collect();
        assert_eq!(keys, ["one", "two", "three"]);
    }

    #[test]
    fn a_text_with_keys_gives_its_keys_or_an_error_without_them() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let table = std::fs::read(folder.join("pasted_keys.json")).unwrap();
        let table: serde_json::Value = serde_json::from_slice(&table).unwrap();
        for (name, example) in table.as_object().unwrap() {
            let Ok(text) = std::fs::read_to_string(folder.join("pasted_keys").join(name)) else {
                // A variable is no UTF-16.
                continue;
            };
            let keys = example["only_keys"].as_array().cloned().unwrap_or_else(|| {
                let keys = example["keys"].as_array().unwrap().iter();
                keys.map(|key| key["key"].clone()).collect()
            });
            let expected: Vec<_> = keys.iter().filter_map(|key| key.as_str()).collect();
            match gemini_api_keys(&text) {
                Ok(read) => {
                    let read: Vec<_> = read.iter().map(|key| key.secret.expose()).collect();
                    assert_eq!(read, expected, "{name}");
                }
                Err(error) => {
                    let shown = error.to_string();
                    assert!(!expected.iter().any(|key| shown.contains(key)), "{shown}");
                    for word in ["MadeUp", "hunter2", "s3cret", "correct-horse", "sk-proj"] {
                        assert!(!shown.contains(word), "{name}: {shown}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_master_key_is_one_of_two_and_no_error_shows_it() {
        let args = |key: Option<&str>, file: Option<&str>| MasterKeyArgs {
            master_key: key.map(Secret::new),
            master_key_file: file.map(PathBuf::from),
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        std::fs::write(&file, "0123456789abcdef".repeat(4) + "\n").unwrap();
        let file = file.to_str();

        let read = args(None, file).read().unwrap().unwrap();
        assert!(!read.is_passphrase());
        assert!(args(None, None).read().unwrap().is_none());
        for (key, file, message) in [
            (Some("too short"), None, "MASTER_KEY has 9 characters"),
            (Some("a long enough passphrase"), file, "are both set"),
            (
                None,
                Some("/missing/key"),
                "MASTER_KEY_FILE cannot be read: /missing/key",
            ),
        ] {
            let error = args(key, file).read().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
            assert!(!error.contains("too short"), "{error}");
        }
    }

    #[test]
    fn unsafe_and_unusable_values_are_refused() {
        let cases: [&[&str]; 12] = [
            &["--public-url", "gemini.example.com"],
            &["--public-url", "https://example.com/gemini"],
            &["--upstream-url", "https://example.com/v1beta"],
            &["--upstream-url", "https://example.com/relay/v1/"],
            &["--admin-password", "qwertyuiop"],
            &["--admin-password", "Passw0rd1"],
            &["--admin-password", "iloveyou1"],
            &["--admin-password", "short"],
            &["--admin-password", "ChangeMe"],
            &["--upstream-url", "ftp://example.com"],
            &["--trusted-proxies", "10.0.0.0/8,everyone"],
            &["--gemini-api-keys", "has a space"],
        ];
        for arguments in cases {
            assert!(config(arguments).is_err(), "{arguments:?}");
        }

        assert!(config(&["--admin-password", "short", "--listen", "127.0.0.1:0"]).is_ok());
    }

    #[test]
    fn an_upstream_url_with_a_version_is_refused_with_the_right_one_and_no_password_is_shown() {
        let error = |url| config(&["--upstream-url", url]).unwrap_err();

        assert!(
            error("https://example.com/relay/v1beta/").ends_with("use https://example.com/relay")
        );
        assert!(config(&["--upstream-url", "https://example.com/relay"]).is_ok());
        for url in [
            "ftp://user:secret-word@example.com",
            "https://user:secret-word@example.com/v1",
            "https://user:secret-word@",
            "user:secret-word@example.com",
        ] {
            assert!(!error(url).contains("secret-word"), "{}", error(url));
        }
    }

    #[test]
    fn an_address_to_listen_on_can_be_a_port_a_name_or_an_address() {
        for (text, expected) in [
            ("8000", "0.0.0.0:8000"),
            (":8001", "0.0.0.0:8001"),
            ("*:8001", "0.0.0.0:8001"),
            ("localhost:8001", "127.0.0.1:8001"),
            ("localhost", "127.0.0.1:8000"),
            ("[::1]:8001", "[::1]:8001"),
            ("[::1]", "[::1]:8000"),
            ("::1", "[::1]:8000"),
            ("127.0.0.1", "127.0.0.1:8000"),
            (" 127.0.0.1:8001 ", "127.0.0.1:8001"),
        ] {
            assert_eq!(
                listen_address(text).unwrap().to_string(),
                expected,
                "{text}"
            );
        }
        for text in [
            "",
            "80000",
            "example.com:80",
            "http://0.0.0.0:8000",
            "127.0.0.1:port",
            ":",
            "1.2.3",
        ] {
            let error = listen_address(text).unwrap_err();
            assert!(error.starts_with(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_public_url_with_a_path_is_refused_with_the_right_one() {
        let error = config(&["--public-url", "https://example.com:8443/pool/"]).unwrap_err();
        assert!(error.contains("use https://example.com:8443,"), "{error}");
    }
}
