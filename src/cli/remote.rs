//! `RemoteServer`: a running server that a command works on by its admin API, instead of on a database file.

pub mod client_keys;
pub mod egress_proxies;
pub mod jobs;
pub mod log_export;
pub mod logs;
pub mod settings;
pub mod upstream_keys;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::cli::output;
use crate::config::{InvalidConfig, without_userinfo};
use crate::gemini::transport::is_local;
use crate::http_post::{ReceiverClient, client_of, user_agent};
use crate::pool::secret::Secret;
use crate::storage::paging::Page;

/// The most items that the API sends at once.
const PAGE: usize = 500;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The server that a command works on; arguments of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "A running server instead of a database file")]
pub struct RemoteArgs {
    /// The server's URL; the command uses its admin API
    #[arg(
        long,
        env = "GEMINI_POOL_SERVER",
        value_name = "URL",
        global = true,
        hide_env_values = true
    )]
    pub server: Option<String>,
    /// A file with a token of the admin API
    #[arg(long, value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// The token itself, which other users of this machine may see in the list of processes: better name it by the variable
    /// or by --token-file
    #[arg(
        long,
        env = "GEMINI_POOL_TOKEN",
        value_name = "TOKEN",
        global = true,
        hide_env_values = true
    )]
    pub token: Option<String>,
}

/// A server with the token for it. Redirects are not followed: the token belongs to this server only.
#[derive(Debug)]
pub struct RemoteServer {
    client: ReceiverClient,
    /// For a proxy that gets each request itself.
    proxy_credential: Option<HeaderValue>,
    /// Where the API begins.
    base: Url,
    /// The header with the token.
    authorization: HeaderValue,
}

/// A successful answer, whose body arrives in parts.
#[derive(Debug)]
pub struct RemoteAnswer {
    body: Incoming,
}

/// The body of an error, as RFC 9457 describes it.
#[derive(Deserialize)]
struct ProblemBody {
    detail: String,
}

impl RemoteArgs {
    /// The server that the arguments name, if they name one.
    pub fn server(&self) -> Result<Option<RemoteServer>> {
        let Some(text) = &self.server else {
            return Ok(None);
        };
        let base = api_url(text)?;
        let token = match (&self.token_file, &self.token) {
            (Some(path), _) => read_token(path)?,
            (None, Some(token)) => Secret::new(token.trim()),
            (None, None) => {
                let wrong = "a server needs a token: set GEMINI_POOL_TOKEN, or name a file with --token-file; \
                             `gemini-pool admin create-token NAME` creates one on the server's machine";
                return Err(InvalidConfig::new(wrong).into());
            }
        };
        RemoteServer::new(base, &token).map(Some)
    }
}

/// The URL of the API of the server at a URL.
fn api_url(text: &str) -> Result<Url, InvalidConfig> {
    let wrong = || {
        let shown = without_userinfo(text);
        InvalidConfig::new(&format!(
            "--server must be an http or https URL like https://pool.example.com, not {shown}"
        ))
    };
    let url = Url::parse(text).ok();
    let is_usable = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    let mut url = url.filter(is_usable).ok_or_else(wrong)?;
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/api/v1").unwrap_or(path);
    url.set_path(&format!("{path}/api/v1"));
    Ok(url)
}

fn read_token(path: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Secret::new(text.trim()))
}

impl RemoteAnswer {
    /// The next part of the body; `None` at its end. An answer that breaks off fails.
    pub async fn next_part(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.context("the answer of the server broke off")?;
            // Trailers are no part of it.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl RemoteServer {
    fn new(base: Url, token: &Secret) -> Result<Self> {
        let host = base.host_str().unwrap_or_default();
        if base.scheme() == "http" && !is_local(host) {
            output::warn(&[format!(
                "the token and all data cross the network to {host} unencrypted: use https"
            )]);
        }
        let client = client_of(&base, CONNECT_TIMEOUT);
        let (client, proxy_credential) = client.map_err(|error| anyhow!(error))?;
        let authorization = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut authorization = authorization
            .map_err(|_| InvalidConfig::new("the token contains characters that no token has"))?;
        authorization.set_sensitive(true);
        Ok(Self {
            client,
            proxy_credential,
            base,
            authorization,
        })
    }

    /// What a GET answers.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T> {
        self.read(self.open(path, query).await?).await
    }

    /// What another method answers, with a body of JSON or without one.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<T> {
        let answer = self.exchange(method, &self.url(path), body).await?;
        self.read(answer).await
    }

    /// Deletes a thing.
    pub async fn delete(&self, path: &[&str]) -> Result<()> {
        self.exchange(Method::DELETE, &self.url(path), None).await?;
        Ok(())
    }

    /// The answer of a GET, whose body follows.
    pub async fn open(&self, path: &[&str], query: &[(&str, String)]) -> Result<RemoteAnswer> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.exchange(Method::GET, &url, None).await
    }

    /// Up to `limit` items of a list after a cursor.
    pub async fn page<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        mut cursor: Option<String>,
        limit: usize,
    ) -> Result<Page<T>> {
        let mut items = Vec::new();
        loop {
            let mut query = query.to_vec();
            query.push(("limit", (limit - items.len()).clamp(1, PAGE).to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.get(path, &query).await?;
            items.extend(page.items);
            cursor = page.next;
            if cursor.is_none() || items.len() >= limit {
                items.truncate(limit);
                return Ok(Page {
                    items,
                    next: cursor,
                });
            }
        }
    }

    /// A whole list.
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Vec<T>> {
        Ok(self.page(path, query, None, usize::MAX).await?.items)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        let segments = url.path_segments_mut();
        segments
            .expect("an http URL has segments")
            .pop_if_empty()
            .extend(path);
        url
    }

    /// A successful answer; an error says what the server says.
    async fn exchange(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Value>,
    ) -> Result<RemoteAnswer> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::new(Full::from(text));
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse()?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, user_agent());
        headers.insert(AUTHORIZATION, self.authorization.clone());
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(credential) = &self.proxy_credential {
            headers.insert(PROXY_AUTHORIZATION, credential.clone());
        }
        let answer = self.client.request(request).await;
        let answer = answer.with_context(|| format!("no answer from {}", self.base))?;
        if answer.status().is_success() {
            return Ok(RemoteAnswer {
                body: answer.into_body(),
            });
        }
        self.refusal(answer).await
    }

    /// The error that an answer says.
    async fn refusal<T>(&self, answer: Response<Incoming>) -> Result<T> {
        let (status, base) = (answer.status(), &self.base);
        let body = answer.into_body().collect().await;
        let body = body.map(Collected::to_bytes).unwrap_or_default();
        match serde_json::from_slice::<ProblemBody>(&body) {
            Ok(problem) => bail!("{} ({status})", output::printable(&problem.detail)),
            Err(_) if status.is_redirection() => {
                bail!("{base} redirects to another URL ({status}): name that one with --server")
            }
            Err(_) => bail!("{base} answered {status}: is it a gemini-pool of this version?"),
        }
    }

    async fn read<T: DeserializeOwned>(&self, mut answer: RemoteAnswer) -> Result<T> {
        let mut body = Vec::new();
        while let Some(part) = answer.next_part().await? {
            body.extend_from_slice(&part);
        }
        serde_json::from_slice(&body).map_err(|error| {
            anyhow!(
                "{} answered something else than expected, maybe of another version: {error}",
                self.base
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_below_the_url_of_the_server() {
        for (server, expected) in [
            (
                "http://localhost:8000",
                Some("http://localhost:8000/api/v1"),
            ),
            ("https://a.example/", Some("https://a.example/api/v1")),
            (
                "https://a.example/pool/",
                Some("https://a.example/pool/api/v1"),
            ),
            (
                "https://a.example/api/v1/",
                Some("https://a.example/api/v1"),
            ),
            ("localhost:8000", None),
            ("ftp://a.example", None),
            ("https://user:pass@a.example", None),
            ("https://a.example/?key=x", None),
            ("", None),
        ] {
            let url = api_url(server).ok();
            assert_eq!(url.as_ref().map(Url::as_str), expected, "{server}");
        }
        let error = api_url("https://user:hunter2@a.example").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_name_in_a_path_is_one_segment() {
        let base = api_url("http://127.0.0.1:1").unwrap();
        let server = RemoteServer::new(base, &Secret::new("gpa_x"));

        let url = server.unwrap().url(&["backups", "a/../b?c d"]);

        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:1/api/v1/backups/a%2F..%2Fb%3Fc%20d"
        );
    }
}
