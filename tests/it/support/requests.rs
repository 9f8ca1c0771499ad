//! `TestRequest`: the requests of test clients, by surface and delivery; `ClientResponse`: their responses.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use http::{HeaderMap, StatusCode};

/// The native body of every test request.
pub const GENERATE_BODY: &str =
    r#"{"contents":[{"role":"user","parts":[{"text":"Why is the sky blue?"}]}]}"#;

/// A request by surface and by delivery of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestRequest {
    Generate,
    StreamSse,
    StreamArray,
    Chat,
    ChatStream,
    Interaction,
    InteractionStream,
}

impl TestRequest {
    pub const ALL: [Self; 7] = [
        Self::Generate,
        Self::StreamSse,
        Self::StreamArray,
        Self::Chat,
        Self::ChatStream,
        Self::Interaction,
        Self::InteractionStream,
    ];
    /// One for each surface, without a stream.
    pub const SURFACES: [Self; 3] = [Self::Generate, Self::Chat, Self::Interaction];

    pub fn path(self) -> &'static str {
        match self {
            Self::Generate => "/v1beta/models/gemini-2.5-flash:generateContent",
            Self::StreamSse => "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            Self::StreamArray => "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            Self::Chat | Self::ChatStream => "/v1beta/openai/chat/completions",
            Self::Interaction | Self::InteractionStream => "/v1beta/interactions",
        }
    }

    pub fn body(self) -> &'static str {
        match self {
            Self::Generate | Self::StreamSse | Self::StreamArray => GENERATE_BODY,
            Self::Chat => {
                r#"{"model":"gemini-2.5-flash","messages":[{"role":"user","content":"Why is the sky blue?"}]}"#
            }
            Self::ChatStream => {
                r#"{"model":"gemini-2.5-flash","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Why is the sky blue?"}]}"#
            }
            Self::Interaction => r#"{"model":"gemini-2.5-flash","input":"Why is the sky blue?"}"#,
            Self::InteractionStream => {
                r#"{"model":"gemini-2.5-flash","input":"Why is the sky blue?","stream":true}"#
            }
        }
    }
}

/// A response as a client received it.
#[derive(Debug)]
pub struct ClientResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The connection broke before the end of the response.
    pub is_truncated: bool,
}

impl ClientResponse {
    /// Reads the whole response.
    pub async fn whole(mut response: reqwest::Response) -> Self {
        let mut read = Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: Vec::new(),
            is_truncated: false,
        };
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => read.body.extend_from_slice(&chunk),
                Ok(None) => return read,
                Err(_) => {
                    read.is_truncated = true;
                    return read;
                }
            }
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("response headers are text"))
    }

    /// The id of the request's row.
    pub fn id(&self) -> &str {
        self.header("x-request-id")
            .unwrap_or_else(|| panic!("no x-request-id: {self:?}"))
    }

    /// Asserts that the response contains nothing of the pool's keys.
    pub fn assert_reveals_nothing_of(&self, keys: &[FakeKey]) {
        let mut text = format!("{:?}", self.headers);
        text += &self.text();
        assert!(!text.contains("API key"), "{text}");
        assert!(!text.contains("API_KEY"), "{text}");
        for key in keys {
            assert!(!text.contains(&key.secret), "{}: {text}", key.secret);
            assert!(!text.contains(&key.project), "{}: {text}", key.project);
        }
    }
}
