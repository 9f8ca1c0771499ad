//! `Ask`: the questions clients ask, one for each surface and delivery, and `Heard`: what they heard.

use gemini_pool::demo::fake_gemini::fate::FakeKey;
use http::{HeaderMap, StatusCode};

/// What every test asks, natively.
pub const QUESTION: &str =
    r#"{"contents":[{"role":"user","parts":[{"text":"Why is the sky blue?"}]}]}"#;

/// A question by surface and by how the answer is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Whole,
    Events,
    Array,
    OpenAi,
    OpenAiEvents,
    Interaction,
    InteractionEvents,
}

impl Ask {
    pub const ALL: [Self; 7] = [
        Self::Whole,
        Self::Events,
        Self::Array,
        Self::OpenAi,
        Self::OpenAiEvents,
        Self::Interaction,
        Self::InteractionEvents,
    ];
    /// One for each surface, answered whole.
    pub const SURFACES: [Self; 3] = [Self::Whole, Self::OpenAi, Self::Interaction];

    pub fn path(self) -> &'static str {
        match self {
            Self::Whole => "/v1beta/models/gemini-2.5-flash:generateContent",
            Self::Events => "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            Self::Array => "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            Self::OpenAi | Self::OpenAiEvents => "/v1beta/openai/chat/completions",
            Self::Interaction | Self::InteractionEvents => "/v1beta/interactions",
        }
    }

    pub fn body(self) -> &'static str {
        match self {
            Self::Whole | Self::Events | Self::Array => QUESTION,
            Self::OpenAi => {
                r#"{"model":"gemini-2.5-flash","messages":[{"role":"user","content":"Why is the sky blue?"}]}"#
            }
            Self::OpenAiEvents => {
                r#"{"model":"gemini-2.5-flash","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Why is the sky blue?"}]}"#
            }
            Self::Interaction => r#"{"model":"gemini-2.5-flash","input":"Why is the sky blue?"}"#,
            Self::InteractionEvents => {
                r#"{"model":"gemini-2.5-flash","input":"Why is the sky blue?","stream":true}"#
            }
        }
    }
}

/// An answer as a client heard it.
#[derive(Debug)]
pub struct Heard {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The connection broke before the answer's end.
    pub broke_off: bool,
}

impl Heard {
    /// Listens to the end.
    pub async fn whole(mut response: reqwest::Response) -> Self {
        let mut heard = Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: Vec::new(),
            broke_off: false,
        };
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => heard.body.extend_from_slice(&chunk),
                Ok(None) => return heard,
                Err(_) => {
                    heard.broke_off = true;
                    return heard;
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
            .map(|value| value.to_str().expect("headers of answers are text"))
    }

    /// The id of the request's row.
    pub fn id(&self) -> &str {
        self.header("x-request-id")
            .unwrap_or_else(|| panic!("no x-request-id: {self:?}"))
    }

    /// Fails where the answer tells anything of the pool's keys.
    pub fn assert_tells_nothing_of(&self, keys: &[FakeKey]) {
        let mut told = format!("{:?}", self.headers);
        told += &self.text();
        assert!(!told.contains("API key"), "{told}");
        assert!(!told.contains("API_KEY"), "{told}");
        for key in keys {
            assert!(!told.contains(&key.secret), "{}: {told}", key.secret);
            assert!(!told.contains(&key.project), "{}: {told}", key.project);
        }
    }
}
