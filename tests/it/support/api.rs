//! `ApiClient`: a program that uses the admin API with a token.

use gemini_pool::clock;
use gemini_pool::pool::api_token::{self, ApiScope, TokenAccess, TokenGrant};
use gemini_pool::storage::api_tokens;
use gemini_pool::storage::audit::{Act, Actor};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::{TestPool, eventually};

/// A client with the text of its token.
#[derive(Debug, Clone)]
pub struct ApiClient {
    pub client: reqwest::Client,
    pub url: String,
    pub token: String,
}

/// An answer, read completely.
#[derive(Debug)]
pub struct ApiAnswer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    /// `null` without a body.
    pub json: Value,
}

impl TestPool {
    /// A client with a new token.
    pub async fn api(&self, name: &str, access: TokenAccess, scopes: &[ApiScope]) -> ApiClient {
        let secret = api_token::generate(&mut rand::rng());
        let grant = TokenGrant::new(access, scopes.to_vec(), None);
        let mut tx = self.app.db.begin().await.unwrap();
        let act = Act::without_revision(Actor::cli(), clock::now());
        let id = api_tokens::insert(&mut tx, name, &secret, &grant, &act).await;
        assert!(id.unwrap().is_some(), "{name} is new");
        tx.commit().await.unwrap();
        ApiClient {
            client: self.client.clone(),
            url: format!("{}/api/v1", self.url),
            token: secret.expose().to_owned(),
        }
    }

    /// A client that may do everything.
    pub async fn admin_api(&self) -> ApiClient {
        self.api("tests", TokenAccess::Write, &[]).await
    }
}

impl ApiClient {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        request.bearer_auth(&self.token)
    }

    pub async fn send(&self, request: RequestBuilder) -> ApiAnswer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let json = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        ApiAnswer {
            status,
            headers,
            json,
        }
    }

    /// The JSON of a successful GET.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.send(self.request(Method::GET, path)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json
    }

    /// Sends a JSON body.
    pub async fn submit(&self, method: Method, path: &str, body: &Value) -> ApiAnswer {
        let request = self
            .request(method, path)
            .header("content-type", "application/json")
            .body(body.to_string());
        self.send(request).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> ApiAnswer {
        self.submit(Method::POST, path, body).await
    }

    /// The job of an answer once it has ended.
    pub async fn ended_job(&self, answer: &ApiAnswer) -> Value {
        assert_eq!(answer.status, 202, "{answer:?}");
        let location = answer.headers["location"].to_str().unwrap();
        let path = location.strip_prefix("/api/v1").unwrap().to_owned();
        eventually("the job ends", async || {
            let job = self.get(&path).await;
            (job["ended"] == true).then_some(job)
        })
        .await
    }

    /// All items of a list, read page by page with so many items each.
    pub async fn all_items(&self, path: &str, limit: usize) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        let sign = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self
                .get(&format!("{path}{sign}limit={limit}{cursor}"))
                .await;
            let read = page["items"].as_array().unwrap();
            assert!(read.len() <= limit, "{page}");
            items.extend_from_slice(read);
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}
