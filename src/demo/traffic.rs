//! The demo's clients: gentle, mixed traffic, as people and programs send it.

use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Sends about `rate` requests a second to the pool at `base_url` until `cancel`, then drops the open ones.
/// Answers of the pool are not verified: this is a demo.
pub async fn run(base_url: String, client_keys: Vec<String>, rate: f64, cancel: CancellationToken) {
    let built = Client::builder()
        .no_proxy()
        .timeout(Duration::from_mins(2))
        .build();
    let client = match built {
        Ok(client) => client,
        Err(error) => {
            tracing::warn!(%error, "the demo's clients cannot start: {error}");
            return;
        }
    };
    let requests = TaskTracker::new();
    while let Some(client_key) = choose(&client_keys) {
        let demo_client = DemoClient {
            client: client.clone(),
            base_url: base_url.clone(),
            client_key: client_key.clone(),
        };
        let request = cancel
            .clone()
            .run_until_cancelled_owned(demo_client.send_random_request());
        requests.spawn(request);
        let pause = Duration::from_secs_f64(seconds_until_next_request(rate));
        if cancel
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            break;
        }
    }
    requests.close();
    requests.wait().await;
}

/// The time to the next request: exponentially distributed, at most a minute.
fn seconds_until_next_request(rate: f64) -> f64 {
    let uniform: f64 = rand::rng().random_range(f64::EPSILON..1.0);
    (-uniform.ln() / rate.max(0.001)).min(60.0)
}

/// A client with the request that it sends next.
struct DemoClient {
    client: Client,
    base_url: String,
    client_key: String,
}

impl DemoClient {
    /// Mostly generations, and mostly valid requests.
    async fn send_random_request(self) {
        let kind = rand::rng().random_range(0..100);
        // An error here is the pool refusing or ending: the demo shows that too.
        let _ = match kind {
            0..25 => self.generate().await,
            25..55 => self.stream(false).await,
            55..65 => self.chat(false).await,
            65..77 => self.chat(true).await,
            77..84 => self.embed().await,
            84..89 => self.count_tokens().await,
            89..92 => self.list_models().await,
            92..95 => self.wrong_model().await,
            95..97 => self.wrong_argument().await,
            _ => self.stream(true).await,
        };
    }

    async fn generate(&self) -> reqwest::Result<()> {
        let path = format!("/v1beta/models/{}:generateContent", model());
        read_to_end(self.native(&path, prompt()).send().await?).await
    }

    async fn stream(&self, disconnects: bool) -> reqwest::Result<()> {
        let path = format!("/v1beta/models/{}:streamGenerateContent?alt=sse", model());
        let mut response = self.native(&path, prompt()).send().await?;
        if disconnects {
            for _ in 0..2 {
                response.chunk().await?;
            }
            return Ok(());
        }
        read_to_end(response).await
    }

    async fn chat(&self, is_stream: bool) -> reqwest::Result<()> {
        let body = json!({
            "model": model(),
            "messages": [{"role": "user", "content": question()}],
            "stream": is_stream,
            "stream_options": if is_stream { json!({"include_usage": true}) } else { Value::Null },
        });
        let path = "/v1beta/openai/chat/completions";
        read_to_end(self.openai(path, body).send().await?).await
    }

    async fn embed(&self) -> reqwest::Result<()> {
        let count = rand::rng().random_range(1..=4);
        let request = json!({
            "model": "models/gemini-embedding-001",
            "content": {"parts": [{"text": question()}]},
            "outputDimensionality": 256,
        });
        let body = json!({"requests": vec![request; count]});
        let path = "/v1beta/models/gemini-embedding-001:batchEmbedContents";
        read_to_end(self.native(path, body).send().await?).await
    }

    async fn count_tokens(&self) -> reqwest::Result<()> {
        let path = format!("/v1beta/models/{}:countTokens", model());
        read_to_end(self.native(&path, prompt()).send().await?).await
    }

    async fn list_models(&self) -> reqwest::Result<()> {
        let request = self.client.get(format!("{}/v1beta/models", self.base_url));
        let request = request.header("x-goog-api-key", &self.client_key);
        read_to_end(with_user_agent(request, GOOGLE_AGENTS).send().await?).await
    }

    async fn wrong_model(&self) -> reqwest::Result<()> {
        let path = "/v1beta/models/gemini-9-dream:generateContent";
        read_to_end(self.native(path, prompt()).send().await?).await
    }

    async fn wrong_argument(&self) -> reqwest::Result<()> {
        let path = format!("/v1beta/models/{}:generateContent", model());
        let mut body = prompt();
        body["generationConfig"] = json!({"temperature": 7});
        read_to_end(self.native(&path, body).send().await?).await
    }

    fn native(&self, path: &str, body: Value) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.base_url));
        let request = request
            .header("x-goog-api-key", &self.client_key)
            .header("content-type", "application/json")
            .body(body.to_string());
        with_user_agent(request, GOOGLE_AGENTS)
    }

    fn openai(&self, path: &str, body: Value) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.base_url));
        let request = request
            .bearer_auth(&self.client_key)
            .header("content-type", "application/json")
            .body(body.to_string());
        with_user_agent(request, OPENAI_AGENTS)
    }
}

const GOOGLE_AGENTS: &[&str] = &[
    "google-genai-sdk/3.4.0 gl-python/3.13.3",
    "google-genai-sdk/3.1.0 gl-node/v24.1.0",
    "GeminiCLI-tui/0.61.0/gemini-3.8-flash (linux; x64)",
    "curl/8.14.1",
];

const OPENAI_AGENTS: &[&str] = &["OpenAI/Python 3.54.0", "OpenAI/JS 6.49.0"];

fn with_user_agent(request: RequestBuilder, agents: &[&'static str]) -> RequestBuilder {
    match choose(agents) {
        Some(agent) => request.header("user-agent", *agent),
        None => request,
    }
}

/// Reads an answer to its end, as a client does.
async fn read_to_end(mut response: Response) -> reqwest::Result<()> {
    while response.chunk().await?.is_some() {}
    Ok(())
}

fn choose<T>(choices: &[T]) -> Option<&T> {
    choices.choose(&mut rand::rng())
}

fn model() -> &'static str {
    const MODELS: [&str; 6] = [
        "gemini-2.5-flash",
        "gemini-2.5-flash",
        "gemini-3.8-flash",
        "gemini-3.5-flash-lite",
        "gemini-flash-lite-latest",
        "gemini-2.5-pro",
    ];
    choose(&MODELS).unwrap_or(&MODELS[0])
}

fn question() -> &'static str {
    const QUESTIONS: [&str; 8] = [
        "Why is the sky blue?",
        "Give me three names for a pet pelican.",
        "Summarise the rules of Go in two sentences.",
        "What should I cook with leeks, eggs and yesterday's rice?",
        "Explain a race condition to a ten-year-old.",
        "Translate 'the early bird catches the worm' into Latin.",
        "How do tides work, and why are there two a day?",
        "Write a haiku about a queue that never ends.",
    ];
    choose(&QUESTIONS).unwrap_or(&QUESTIONS[0])
}

fn prompt() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": question()}]}]})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
    use crate::demo::fake_gemini::{FakeConfig, FakeGemini};

    #[tokio::test]
    async fn traffic_flows_until_it_is_cancelled_and_minds_no_refusal() {
        let often_closed = Behaviour::EveryNth(3, Box::new(Behaviour::CloseConnection));
        let config = FakeConfig::with_keys([FakeKey::new("client", "1", often_closed)]);
        let fake = FakeGemini::start(config).await.unwrap();
        let cancel = CancellationToken::new();

        let running = tokio::spawn(run(
            fake.url(),
            vec!["client".to_owned()],
            500.0,
            cancel.clone(),
        ));
        while fake.requests() < 100 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();

        running.await.unwrap();
        let received = fake.received();
        let count = |word: &str| {
            received
                .iter()
                .filter(|r| r.path_and_query.contains(word))
                .count()
        };
        assert!(count(":streamGenerateContent?alt=sse") > 0);
        assert!(count("/openai/chat/completions") > 0);
    }
}
