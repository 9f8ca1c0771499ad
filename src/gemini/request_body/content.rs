//! `BodyContent`: what a request's body contains for the pool: models, resource names, flags, and estimated tokens.

use std::collections::BTreeSet;

use crate::gemini::request_body::fields::{FieldMeaning, Place, ReferenceSyntax};
use crate::gemini::request_body::media::{data_url_tokens, is_data_url, text_tokens};
use crate::gemini::request_body::unread::UnreadBody;
use crate::gemini::resources::name::{ResourceKind, ResourceName};
use crate::gemini::target::Target;

/// Maximum size of all names of one request, in bytes: some thousands of files, more than Google accepts.
const MAX_NAMES_BYTES: usize = 1024 * 1024;

/// What a body contains. Where reading failed, it holds what was found before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a finding of its own"
)]
pub struct BodyContent {
    /// The model that answers, or the agent, without `models/`: at the top of a body, or in a session's setup.
    pub model: Option<String>,
    /// Every model and agent that is named, without `models/`; requests inside a batch name their own.
    pub models: BTreeSet<String>,
    /// Whether a stream is asked for.
    pub streams: bool,
    /// The resources that are named.
    pub names: BTreeSet<ResourceName>,
    /// Whether Google stores the interaction that this body creates: unless the client sets it to false.
    pub stores_interaction: bool,
    /// Whether it names an address that Google calls.
    pub has_webhook: bool,
    /// Whether its requests are in a file, which is not read.
    pub has_request_file: bool,
    /// Whether it is the setup of a live session.
    pub has_setup: bool,
    /// How many texts or requests it holds for a method that takes several.
    pub items: u64,
    /// Characters of all texts.
    text_chars: u64,
    /// Tokens of pictures, sound and files.
    media_tokens: u64,
    names_bytes: usize,
}

impl Default for BodyContent {
    fn default() -> Self {
        Self {
            model: None,
            models: BTreeSet::new(),
            streams: false,
            names: BTreeSet::new(),
            stores_interaction: true,
            has_webhook: false,
            has_request_file: false,
            has_setup: false,
            items: 0,
            text_chars: 0,
            media_tokens: 0,
            names_bytes: 0,
        }
    }
}

impl BodyContent {
    /// The same with the resource in the path.
    #[must_use]
    pub fn with_path(mut self, target: &Target) -> Self {
        self.names
            .extend(ResourceName::of_path(&target.path_and_query));
        self
    }

    /// Whether it contains anything that a later message of a live session may not contain for every client.
    pub fn may_be_refused(&self) -> bool {
        !self.names.is_empty() || !self.models.is_empty() || self.has_setup || self.has_webhook
    }

    /// The approximate number of input tokens.
    pub fn tokens(&self) -> u64 {
        text_tokens(self.text_chars) + self.media_tokens
    }

    /// Takes the text of a field.
    pub fn read_text(
        &mut self,
        meaning: FieldMeaning,
        place: Place,
        text: &str,
    ) -> Result<(), UnreadBody> {
        match meaning {
            FieldMeaning::Reference(_) | FieldMeaning::Media if is_data_url(text) => {
                self.add_tokens(data_url_tokens(text));
            }
            FieldMeaning::Reference(syntax) => self.add_name(syntax, text)?,
            FieldMeaning::BatchFile(syntax) => {
                self.has_request_file = true;
                self.add_name(syntax, text)?;
            }
            FieldMeaning::Model => {
                self.add_model(text);
                if place.is_request() {
                    self.model = Some(without_collection(text).to_owned());
                }
                // Nearly all models are Google's own.
                if text.contains(['/', '%']) && !text.starts_with("models/") {
                    let tuned = ReferenceSyntax::FullNameOfKind(ResourceKind::TunedModel);
                    self.add_name(tuned, text)?;
                }
            }
            FieldMeaning::Agent => {
                self.add_model(text);
                if place.is_request() && self.model.is_none() {
                    self.model = Some(without_collection(text).to_owned());
                }
                self.add_name(ReferenceSyntax::Id(ResourceKind::Agent), text)?;
            }
            FieldMeaning::Stream => self.streams = text.eq_ignore_ascii_case("true"),
            FieldMeaning::Text | FieldMeaning::FreeForm | FieldMeaning::Items => {
                let chars = text.bytes().filter(|byte| byte & 0xc0 != 0x80).count();
                self.text_chars += u64::try_from(chars).unwrap_or(u64::MAX);
            }
            FieldMeaning::Webhook => self.has_webhook = true,
            FieldMeaning::Setup => self.has_setup = true,
            FieldMeaning::Store
            | FieldMeaning::Media
            | FieldMeaning::MimeType
            | FieldMeaning::Opaque => {}
        }
        Ok(())
    }

    pub fn add_tokens(&mut self, tokens: u64) {
        self.media_tokens = self.media_tokens.saturating_add(tokens);
    }

    fn add_model(&mut self, text: &str) {
        let model = without_collection(text);
        if !model.is_empty() && !self.models.contains(model) {
            self.models.insert(model.to_owned());
        }
    }

    fn add_name(&mut self, syntax: ReferenceSyntax, text: &str) -> Result<(), UnreadBody> {
        let Some(name) = syntax
            .parse_name(text)
            .map_err(|error| UnreadBody(error.to_string().into()))?
        else {
            return Ok(());
        };
        let bytes = name.as_str().len();
        if self.names.contains(&name) {
            return Ok(());
        }
        if self.names_bytes + bytes > MAX_NAMES_BYTES {
            return Err(UnreadBody("it names too many resources".into()));
        }
        self.names_bytes += bytes;
        self.names.insert(name);
        Ok(())
    }
}

fn without_collection(model: &str) -> &str {
    model.strip_prefix("models/").unwrap_or(model)
}
