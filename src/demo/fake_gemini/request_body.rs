//! `RequestBody`: the content of a request's body, as far as the fake uses it.

use std::borrow::Cow;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::errors::GoogleError;
use super::request_target::{Operation, RequestTarget};
use super::response_shape::token_count;

/// The content of a body.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of one surface's requests"
)]
pub struct RequestBody {
    /// The model, from the path or from the body, without `models/`.
    pub model: Option<String>,
    pub prompt_tokens: u64,
    /// A hash of the prompt: equal prompts get equal answers.
    pub prompt_hash: u64,
    /// One hash for each text to embed.
    pub texts: Vec<u64>,
    pub dimensions: Option<usize>,
    pub delivery: Delivery,
    /// The name of the cache that the prompt begins with.
    pub cached_content: Option<String>,
    /// Whether there are instructions or tools, which a cache must contain instead.
    pub has_instructions: bool,
    /// Whether an interaction runs in the background; its stream can be resumed.
    pub is_background: bool,
    /// Whether an interaction is not stored.
    pub is_unstored: bool,
    /// The id of the interaction before this one.
    pub previous: Option<String>,
    /// `encoding_format: "base64"` of the OpenAI layer.
    pub base64: bool,
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    #[default]
    Whole,
    Stream {
        /// `stream_options.include_usage` of the OpenAI layer.
        include_usage: bool,
    },
    /// An interaction that is polled later.
    Background,
}

impl Delivery {
    fn stream_if(wanted: Option<bool>, include_usage: bool) -> Self {
        match wanted {
            Some(true) => Self::Stream { include_usage },
            Some(false) | None => Self::Whole,
        }
    }
}

impl RequestBody {
    pub fn parse(request_target: &RequestTarget, body: &[u8]) -> Result<Self, GoogleError> {
        let mut request_body = match request_target.operation {
            Operation::Generate | Operation::StreamGenerate => generate(body)?,
            Operation::CountTokens => count_tokens(body)?,
            Operation::Embed => embed_one(body)?,
            Operation::BatchEmbed => {
                let batch: BatchEmbedRequest = parse(body)?;
                embed(&batch.requests)
            }
            Operation::OpenAiChat => openai_chat(body)?,
            Operation::OpenAiEmbeddings => openai_embeddings(body)?,
            Operation::OpenAiImages => openai_images(body)?,
            Operation::CreateInteraction => interact(body)?,
            Operation::ListModels
            | Operation::GetModel
            | Operation::OpenAiListModels
            | Operation::OpenAiGetModel
            | Operation::GetInteraction
            | Operation::BatchGenerate
            | Operation::AsyncBatchEmbed
            | Operation::Predict
            | Operation::Upload
            | Operation::Resource
            | Operation::Unsupported
            | Operation::NotGeminiApi => Self::default(),
        };
        if request_target.operation == Operation::StreamGenerate {
            request_body.delivery = Delivery::stream_if(Some(true), false);
        }
        if request_target.model.is_some() {
            request_body.model.clone_from(&request_target.model);
        }
        Ok(request_body)
    }
}

/// One request to generate.
pub fn generate(body: &[u8]) -> Result<RequestBody, GoogleError> {
    let request: GenerateRequest = parse(body)?;
    if request.contents.is_empty() {
        return Err(GoogleError::plain(
            400,
            "* GenerateContentRequest.contents: contents is not specified\n",
        ));
    }
    let config = request.generation_config.unwrap_or_default();
    if config
        .temperature
        .is_some_and(|t| !(0.0..=2.0).contains(&t))
    {
        return Err(GoogleError::bad_argument());
    }
    let prompt = Prompt::of(request.contents.iter().chain(&request.system_instruction));
    Ok(RequestBody {
        cached_content: request.cached_content.map(Cow::into_owned),
        has_instructions: request.system_instruction.is_some()
            || request.tools.is_some()
            || request.tool_config.is_some(),
        ..prompt.request_body()
    })
}

/// One request of a batch of embeddings.
pub fn embed_one(body: &[u8]) -> Result<RequestBody, GoogleError> {
    Ok(embed(&[parse(body)?]))
}

/// The tokens of the content to cache.
pub fn cached_tokens(body: &[u8]) -> Result<u64, GoogleError> {
    let request: GenerateRequest = parse(body)?;
    Ok(Prompt::of(request.contents.iter().chain(&request.system_instruction)).tokens())
}

fn count_tokens(body: &[u8]) -> Result<RequestBody, GoogleError> {
    let request: CountRequest = parse(body)?;
    let inner = request.generate_content_request.unwrap_or_default();
    let contents = request.contents.iter().chain(&inner.contents);
    Ok(Prompt::of(contents.chain(&inner.system_instruction)).request_body())
}

fn embed(requests: &[EmbedRequest]) -> RequestBody {
    let each: Vec<_> = requests
        .iter()
        .map(|request| Prompt::of(&request.content))
        .collect();
    RequestBody {
        prompt_tokens: each.iter().map(Prompt::tokens).sum(),
        texts: each.iter().map(|prompt| prompt.hash).collect(),
        dimensions: requests
            .first()
            .and_then(|request| request.output_dimensionality),
        ..RequestBody::default()
    }
}

/// One request to chat, of the OpenAI layer.
pub fn openai_chat(body: &[u8]) -> Result<RequestBody, GoogleError> {
    let request: ChatRequest = parse(body)?;
    if request.messages.is_empty() {
        return Err(GoogleError::bad_argument());
    }
    let mut prompt = Prompt::default();
    for message in &request.messages {
        match &message.content {
            Some(MessageText::Plain(text)) => prompt.add(text),
            Some(MessageText::Parts(parts)) => parts
                .iter()
                .filter_map(|part| part.text.as_deref())
                .for_each(|text| prompt.add(text)),
            None => (),
        }
    }
    Ok(RequestBody {
        model: Some(plain_model(&request.model)),
        delivery: Delivery::stream_if(
            request.stream,
            request
                .stream_options
                .is_some_and(|options| options.include_usage),
        ),
        ..prompt.request_body()
    })
}

fn openai_embeddings(body: &[u8]) -> Result<RequestBody, GoogleError> {
    let request: OpenAiEmbedRequest = parse(body)?;
    let texts = match request.input {
        EmbeddingInput::One(text) => vec![text],
        EmbeddingInput::Many(texts) => texts,
    };
    Ok(RequestBody {
        model: Some(plain_model(&request.model)),
        prompt_tokens: texts.iter().map(|text| token_count(text.len())).sum(),
        texts: texts.iter().map(|text| hash_of(0, text)).collect(),
        dimensions: request.dimensions,
        base64: request.encoding_format.as_deref() == Some("base64"),
        ..RequestBody::default()
    })
}

fn openai_images(body: &[u8]) -> Result<RequestBody, GoogleError> {
    let request: ImagesRequest = parse(body)?;
    let mut prompt = Prompt::default();
    prompt.add(&request.prompt);
    Ok(RequestBody {
        model: Some(plain_model(&request.model)),
        ..prompt.request_body()
    })
}

fn interact(body: &[u8]) -> Result<RequestBody, GoogleError> {
    let request: InteractRequest = parse(body)?;
    let Some(model) = request.model.or(request.agent) else {
        return Err(GoogleError::bad_argument());
    };
    let mut prompt = Prompt::default();
    // Input is a text, or parts of many kinds: their JSON will do.
    prompt.add(request.input.get());
    Ok(RequestBody {
        model: Some(plain_model(&model)),
        delivery: match (request.stream, request.background) {
            (Some(false) | None, Some(true)) => Delivery::Background,
            (stream, _) => Delivery::stream_if(stream, false),
        },
        is_background: request.background == Some(true),
        is_unstored: request.store == Some(false),
        previous: request
            .previous_interaction_id
            .filter(|previous| !previous.is_empty()),
        ..prompt.request_body()
    })
}

/// A prompt while it is gathered.
#[derive(Default)]
struct Prompt {
    bytes: usize,
    media: u64,
    hash: u64,
}

impl Prompt {
    fn of<'a>(contents: impl IntoIterator<Item = &'a PromptContent<'a>>) -> Self {
        let mut prompt = Self::default();
        for part in contents.into_iter().flat_map(|content| &content.parts) {
            if let Some(text) = &part.text {
                prompt.add(text);
            }
            prompt.media += u64::from(part.inline_data.is_some() || part.file_data.is_some());
        }
        prompt
    }

    fn add(&mut self, text: &str) {
        self.bytes += text.len();
        self.hash = hash_of(self.hash, text);
    }

    fn tokens(&self) -> u64 {
        // An image counts 258 tokens in recordings; the fake takes every medium for one.
        token_count(self.bytes) + 258 * self.media
    }

    fn request_body(&self) -> RequestBody {
        RequestBody {
            prompt_tokens: self.tokens(),
            prompt_hash: self.hash,
            ..RequestBody::default()
        }
    }
}

fn hash_of(before: u64, text: &str) -> u64 {
    // The default hasher has fixed keys here: answers must not change from run to run.
    BuildHasherDefault::<DefaultHasher>::default().hash_one((before, text))
}

fn plain_model(name: &str) -> String {
    name.strip_prefix("models/").unwrap_or(name).to_owned()
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, GoogleError> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("Invalid JSON payload received. {error}");
        GoogleError::plain(400, &message)
    })
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct GenerateRequest<'a> {
    #[serde(borrow)]
    contents: Vec<PromptContent<'a>>,
    #[serde(alias = "system_instruction", borrow)]
    system_instruction: Option<PromptContent<'a>>,
    #[serde(alias = "cached_content", borrow)]
    cached_content: Option<Cow<'a, str>>,
    tools: Option<IgnoredAny>,
    #[serde(alias = "tool_config")]
    tool_config: Option<IgnoredAny>,
    #[serde(alias = "generation_config")]
    generation_config: Option<GenerationConfig>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct GenerationConfig {
    temperature: Option<f64>,
}

#[derive(Deserialize)]
struct PromptContent<'a> {
    #[serde(default, borrow)]
    parts: Vec<PromptPart<'a>>,
}

#[derive(Deserialize)]
struct PromptPart<'a> {
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(default, rename = "inlineData", alias = "inline_data")]
    inline_data: Option<IgnoredAny>,
    #[serde(default, rename = "fileData", alias = "file_data")]
    file_data: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CountRequest<'a> {
    #[serde(default, borrow)]
    contents: Vec<PromptContent<'a>>,
    #[serde(default, alias = "generate_content_request", borrow)]
    generate_content_request: Option<GenerateRequest<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EmbedRequest<'a> {
    #[serde(borrow)]
    content: Option<PromptContent<'a>>,
    #[serde(default, alias = "output_dimensionality")]
    output_dimensionality: Option<usize>,
}

#[derive(Deserialize)]
struct BatchEmbedRequest<'a> {
    #[serde(borrow)]
    requests: Vec<EmbedRequest<'a>>,
}

#[derive(Deserialize)]
struct ChatRequest {
    model: String,
    #[serde(default)]
    messages: Vec<ChatMessage>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct ChatMessage {
    content: Option<MessageText>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MessageText {
    Plain(String),
    Parts(Vec<TextPart>),
}

#[derive(Deserialize)]
struct TextPart {
    text: Option<String>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct OpenAiEmbedRequest {
    model: String,
    input: EmbeddingInput,
    encoding_format: Option<String>,
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EmbeddingInput {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct ImagesRequest {
    model: String,
    prompt: String,
}

#[derive(Deserialize)]
struct InteractRequest<'a> {
    model: Option<String>,
    agent: Option<String>,
    #[serde(borrow)]
    input: &'a serde_json::value::RawValue,
    stream: Option<bool>,
    background: Option<bool>,
    store: Option<bool>,
    previous_interaction_id: Option<String>,
}
