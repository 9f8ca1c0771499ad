//! What the demo's past is made of: clients, models, failures, and how often each comes.

use rand::RngExt;
use rand::rngs::ThreadRng;

use crate::clock::Timestamp;
use crate::pool::health::verdict::Rule;
use crate::pool::outcome::Outcome;

/// Clients beyond those that send requests now.
pub const CLIENTS: [&str; 21] = [
    "search service",
    "support bot",
    "mobile app",
    "translations",
    "nightly reports",
    "invoice reader",
    "moderation",
    "data team",
    "image captions",
    "alice",
    "bob",
    "chen wei",
    "code review bot",
    "meeting notes",
    "product tagging",
    "chat widget",
    "staging",
    "load test",
    "onboarding mails",
    "embeddings job",
    "internal wiki",
];

pub const TAGS: [&str; 6] = [
    "search", "support", "mobile", "research", "reports", "shared",
];

pub const AGENTS: [&str; 8] = [
    "google-genai-sdk/3.4.0 gl-python/3.13.3",
    "google-genai-sdk/3.1.0 gl-node/v24.1.0",
    "OpenAI/Python 3.54.0",
    "GeminiCLI-tui/0.61.0/gemini-3.8-flash (linux; x64)",
    "OpenAI/JS 6.49.0",
    "curl/8.14.1",
    "okhttp/5.1.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
];

/// A model, and how it answers.
pub struct SampleModel {
    pub name: &'static str,
    pub version: &'static str,
    pub weight: u32,
    pub first_byte_ms: f64,
    /// Tenths of a millisecond.
    pub tenths_of_ms_per_token: u64,
    pub has_thoughts: bool,
}

const fn model(
    name: &'static str,
    version: &'static str,
    weight: u32,
    first_byte_ms: f64,
    tenths_of_ms_per_token: u64,
    has_thoughts: bool,
) -> SampleModel {
    SampleModel {
        name,
        version,
        weight,
        first_byte_ms,
        tenths_of_ms_per_token,
        has_thoughts,
    }
}

pub const MODELS: [SampleModel; 7] = [
    model("gemini-2.5-flash", "gemini-2.5-flash", 38, 480.0, 52, true),
    model("gemini-3.8-flash", "gemini-3.8-flash", 21, 420.0, 41, true),
    model(
        "gemini-flash-lite-latest",
        "gemini-3.5-flash-lite",
        16,
        290.0,
        24,
        false,
    ),
    model("gemini-2.5-pro", "gemini-2.5-pro", 11, 1_650.0, 98, true),
    model(
        "gemini-flash-latest",
        "gemini-3.8-flash",
        8,
        450.0,
        41,
        true,
    ),
    model(
        "gemini-3.1-pro-preview",
        "gemini-3.1-pro-preview",
        5,
        2_200.0,
        120,
        true,
    ),
    model(
        "gemini-2.5-flash-lite",
        "gemini-2.5-flash-lite",
        1,
        260.0,
        22,
        false,
    ),
];

const EMBEDDING: SampleModel = model(
    "gemini-embedding-001",
    "gemini-embedding-001",
    1,
    130.0,
    1,
    false,
);

/// A way to ask.
pub struct SampleSurface {
    pub operation: &'static str,
    pub weight: u32,
    pub is_streamed: bool,
    /// Whether the answer is text that a model writes.
    pub generates_text: bool,
    /// Where only one model does it.
    pub model: Option<&'static SampleModel>,
    path: &'static str,
}

const fn surface(
    operation: &'static str,
    path: &'static str,
    weight: u32,
    is_streamed: bool,
    generates_text: bool,
) -> SampleSurface {
    SampleSurface {
        operation,
        weight,
        is_streamed,
        generates_text,
        model: None,
        path,
    }
}

pub const SURFACES: [SampleSurface; 6] = [
    surface(
        "generateContent",
        "/v1beta/models/{}:generateContent",
        40,
        false,
        true,
    ),
    surface(
        "streamGenerateContent",
        "/v1beta/models/{}:streamGenerateContent?alt=sse",
        34,
        true,
        true,
    ),
    surface(
        "chat.completions",
        "/v1beta/openai/chat/completions",
        9,
        false,
        true,
    ),
    surface(
        "chat.completions",
        "/v1beta/openai/chat/completions",
        7,
        true,
        true,
    ),
    surface(
        "countTokens",
        "/v1beta/models/{}:countTokens",
        4,
        false,
        false,
    ),
    SampleSurface {
        model: Some(&EMBEDDING),
        ..surface(
            "embedContent",
            "/v1beta/models/{}:embedContent",
            6,
            false,
            false,
        )
    },
];

impl SampleSurface {
    pub fn path_of(&self, model: &SampleModel) -> String {
        self.path.replace("{}", model.name)
    }
}

/// A way to fail, and what is told of it.
#[derive(Debug, Clone, Copy)]
pub struct SampleFailure {
    pub rule: Rule,
    /// How the row says it.
    pub outcome: Outcome,
    pub status: Option<u16>,
    /// Google's words; `{}` stands for the model.
    pub message: &'static str,
    pub weight: u32,
    pub is_retried: bool,
    pub typical_ms: f64,
}

const fn failure(
    rule: Rule,
    outcome: Outcome,
    status: u16,
    weight: u32,
    is_retried: bool,
    message: &'static str,
) -> SampleFailure {
    let status = if status == 0 { None } else { Some(status) };
    SampleFailure {
        rule,
        outcome,
        status,
        message,
        weight,
        is_retried,
        typical_ms: 180.0,
    }
}

const QUOTA: &str = "You exceeded your current quota, please check your plan and billing details. For more information on this error, \
    head to: https://ai.google.dev/gemini-api/docs/rate-limits. * Quota exceeded for metric: \
    generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 20, model: {}";
const OVERLOADED: &str = "The model is overloaded. Please try again later.";
const INTERNAL: &str = "An internal error has occurred. Please retry or report in \
    https://developers.generativeai.google/guide/troubleshooting";

pub const FAILURES: [SampleFailure; 17] = [
    failure(Rule::QuotaPerMinute, Outcome::Quota, 429, 60, true, QUOTA),
    failure(Rule::QuotaPerDay, Outcome::Quota, 429, 14, true, QUOTA),
    failure(
        Rule::QuotaWithoutDetail,
        Outcome::Quota,
        429,
        5,
        true,
        "Resource has been exhausted (e.g. check quota).",
    ),
    failure(
        Rule::Overloaded,
        Outcome::UpstreamError,
        503,
        14,
        true,
        OVERLOADED,
    ),
    failure(
        Rule::InternalError,
        Outcome::UpstreamError,
        500,
        4,
        true,
        INTERNAL,
    ),
    failure(
        Rule::ConnectionBroken,
        Outcome::Network,
        0,
        3,
        true,
        "connection closed before message completed",
    ),
    // The rest of the rules that make a request go on are those of keys that are set aside.
    failure(
        Rule::ApiKeyInvalid,
        Outcome::KeyFault,
        400,
        0,
        true,
        "API key not valid. Please pass a valid API key.",
    ),
    failure(
        Rule::KeyLeaked,
        Outcome::KeyFault,
        403,
        0,
        true,
        "Your API key was reported as leaked. Please use another API key.",
    ),
    failure(
        Rule::ConsumerSuspended,
        Outcome::KeyFault,
        403,
        0,
        true,
        "Permission denied: Consumer 'api_key:[redacted]' has been suspended.",
    ),
    failure(
        Rule::BillingEmpty,
        Outcome::KeyFault,
        402,
        0,
        true,
        "Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects to manage your project and billing.",
    ),
    failure(
        Rule::ServiceDisabled,
        Outcome::KeyFault,
        403,
        0,
        true,
        "Generative Language API has not been used in project [redacted] before or it is disabled.",
    ),
    failure(
        Rule::InvalidRequest,
        Outcome::ClientError,
        400,
        30,
        false,
        "Request contains an invalid argument.",
    ),
    failure(
        Rule::ModelNotFound,
        Outcome::ClientError,
        404,
        9,
        false,
        "models/{} is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods.",
    ),
    failure(
        Rule::Overloaded,
        Outcome::UpstreamError,
        503,
        22,
        false,
        OVERLOADED,
    ),
    failure(Rule::QuotaPerDay, Outcome::Quota, 429, 18, false, QUOTA),
    failure(
        Rule::Cancelled,
        Outcome::ClientGone,
        0,
        14,
        false,
        "the client hung up",
    ),
    failure(
        Rule::ConnectionBroken,
        Outcome::BrokenOff,
        200,
        6,
        false,
        "the answer broke off: error reading a body from connection",
    ),
];

impl SampleFailure {
    /// The first way to fail by this rule.
    pub fn of(rule: Rule) -> Self {
        let found = FAILURES.iter().find(|failure| failure.rule == rule);
        *found.unwrap_or(&FAILURES[0])
    }

    pub fn message_for(&self, model: &str) -> String {
        self.message.replace("{}", model)
    }
}

/// How many requests there are in the hour that begins then, beside others.
pub fn hourly_weight(at: Timestamp) -> u64 {
    // From midnight, UTC.
    const BY_HOUR: [u64; 24] = [
        34, 28, 25, 24, 26, 33, 45, 62, 80, 92, 97, 95, 90, 96, 100, 98, 93, 84, 76, 70, 64, 57,
        49, 41,
    ];
    let hours = at.as_millis() / 3_600_000;
    let hour = usize::try_from(hours.rem_euclid(24)).unwrap_or(0);
    // The first day of the count was a Thursday.
    let is_sunday = (hours / 24 + 4).rem_euclid(7) == 0;
    if is_sunday {
        BY_HOUR[hour] / 2
    } else {
        BY_HOUR[hour]
    }
}

/// Whether Google had a bad hour then.
pub fn is_incident_hour(at: Timestamp) -> bool {
    let hours = at.as_millis() / 3_600_000;
    hours % 83 == 5 || hours % 211 == 17
}

pub fn choose<T: Copy>(rng: &mut ThreadRng, choices: &[T]) -> T {
    choices[rng.random_range(0..choices.len())]
}

/// One of them, by its weight.
pub fn choose_weighted<'a, T>(
    rng: &mut ThreadRng,
    choices: &'a [T],
    weight: impl Fn(&T) -> u32,
) -> &'a T {
    let total: u32 = choices.iter().map(&weight).sum();
    let mut point = rng.random_range(0..total);
    for choice in choices {
        match point.checked_sub(weight(choice)) {
            Some(rest) => point = rest,
            None => return choice,
        }
    }
    &choices[0]
}
