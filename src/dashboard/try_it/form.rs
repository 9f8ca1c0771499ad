//! The form of a request to try, and the request it describes.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use serde_json::{Value, json};

use crate::dashboard::components::{field, select};
use crate::dashboard::form_parts::FormPart;
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::gemini::target::Surface;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;

/// The types of pictures that Gemini reads.
const PICTURE_TYPES: [&str; 6] = [
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/heic",
    "image/heif",
    "image/gif",
];

/// Error messages by field.
pub type FieldErrors = BTreeMap<&'static str, &'static str>;

/// What the admin may choose from.
#[derive(Debug)]
pub struct TryChoices {
    /// Ids and names.
    pub clients: Vec<(String, String)>,
    pub models: Vec<String>,
}

/// The fields as the admin filled them in.
#[derive(Debug, Default)]
pub struct TryForm {
    pub client: String,
    pub surface: String,
    pub model: String,
    pub system: String,
    pub text: String,
    pub streams: bool,
    pub upstream_key: String,
    pub picture: Option<TryPicture>,
}

/// A picture that is sent with the text.
#[derive(Debug, Clone)]
pub struct TryPicture {
    pub media_type: String,
    pub base64: String,
}

/// A request that can be sent.
#[derive(Debug)]
pub struct TryRequest {
    pub client: ClientKeyId,
    pub upstream_key: Option<UpstreamKeyId>,
    pub model: String,
    pub surface: Surface,
    /// With its query.
    pub path: String,
    pub body: Value,
}

impl TryForm {
    pub fn of(parts: Vec<FormPart>) -> Self {
        let mut form = Self::default();
        for part in parts {
            if let Some(media_type) = &part.file_type {
                // A field without a file arrives as an empty one.
                if part.name == "picture" && !part.content.is_empty() {
                    form.picture = Some(TryPicture {
                        media_type: media_type.to_ascii_lowercase(),
                        base64: STANDARD.encode(&part.content),
                    });
                }
                continue;
            }
            let text = part.text();
            match part.name.as_str() {
                "client" => form.client = text,
                "surface" => form.surface = text,
                "model" => form.model = text,
                "system" => form.system = text,
                "text" => form.text = text,
                "stream" => form.streams = true,
                "upstream_key" => form.upstream_key = text,
                _ => {}
            }
        }
        form
    }

    /// The request, or what is wrong with the fields. `has_key` says whether an upstream key exists.
    pub fn request(
        &self,
        language: Language,
        choices: &TryChoices,
        has_key: impl FnOnce(UpstreamKeyId) -> bool,
    ) -> Result<TryRequest, FieldErrors> {
        let mut errors = FieldErrors::new();
        let is_offered = choices.clients.iter().any(|(id, _)| *id == self.client);
        let client = self.client.parse().ok().filter(|_| is_offered);
        if client.is_none() {
            errors.insert("client", language.try_bad_client());
        }
        let model = self.model.trim().trim_start_matches("models/");
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/".contains(&byte);
        if model.is_empty() || !model.bytes().all(is_part) || model.starts_with('/') {
            errors.insert("model", language.try_bad_model());
        }
        if self.text.trim().is_empty() && self.picture.is_none() {
            errors.insert("text", language.try_bad_text());
        }
        let picture = self.picture.as_ref();
        if picture.is_some_and(|picture| !PICTURE_TYPES.contains(&picture.media_type.as_str())) {
            errors.insert("picture", language.try_bad_picture());
        }
        let upstream_key = self.upstream_key.trim();
        let chosen = upstream_key.parse().ok().map(UpstreamKeyId);
        if !upstream_key.is_empty() && !chosen.is_some_and(has_key) {
            errors.insert("upstream_key", language.try_bad_upstream_key());
        }
        match client {
            Some(client) if errors.is_empty() => {
                let surface = self.surface();
                Ok(TryRequest {
                    client: ClientKeyId(client),
                    upstream_key: chosen,
                    model: model.to_owned(),
                    surface,
                    path: self.path(surface, model),
                    body: self.body(surface, model),
                })
            }
            Some(_) | None => Err(errors),
        }
    }

    fn surface(&self) -> Surface {
        match self.surface.as_str() {
            "openai" => Surface::OpenAi,
            "interactions" => Surface::Interactions,
            _ => Surface::Native,
        }
    }

    fn path(&self, surface: Surface, model: &str) -> String {
        match surface {
            Surface::Native => {
                let collection = if model.contains('/') { "" } else { "models/" };
                let method = if self.streams {
                    "streamGenerateContent?alt=sse"
                } else {
                    "generateContent"
                };
                format!("/v1beta/{collection}{model}:{method}")
            }
            Surface::OpenAi => "/v1beta/openai/chat/completions".to_owned(),
            Surface::Interactions => "/v1beta/interactions".to_owned(),
        }
    }

    fn body(&self, surface: Surface, model: &str) -> Value {
        let (text, system) = (self.text.trim(), self.system.trim());
        let mut body = match surface {
            Surface::Native => {
                json!({"contents": [{"role": "user", "parts": self.native_parts()}]})
            }
            Surface::OpenAi => json!({"model": model, "messages": []}),
            // Nothing of it is kept by Google.
            Surface::Interactions => json!({"model": model, "input": text, "store": false}),
        };
        match surface {
            Surface::Native => {
                if !system.is_empty() {
                    body["systemInstruction"] = json!({"parts": [{"text": system}]});
                }
                return body;
            }
            Surface::OpenAi => {
                let mut messages = Vec::new();
                if !system.is_empty() {
                    messages.push(json!({"role": "system", "content": system}));
                }
                let content = match &self.picture {
                    None => json!(text),
                    Some(picture) => {
                        let url = format!("data:{};base64,{}", picture.media_type, picture.base64);
                        let picture = json!({"type": "image_url", "image_url": {"url": url}});
                        let text =
                            (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
                        Value::Array(text.into_iter().chain([picture]).collect())
                    }
                };
                messages.push(json!({"role": "user", "content": content}));
                body["messages"] = Value::Array(messages);
                if self.streams {
                    body["stream_options"] = json!({"include_usage": true});
                }
            }
            Surface::Interactions => {
                if let Some(TryPicture { media_type, base64 }) = &self.picture {
                    let picture = json!({"type": "image", "mime_type": media_type, "data": base64});
                    let text = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
                    body["input"] = Value::Array(text.into_iter().chain([picture]).collect());
                }
                if !system.is_empty() {
                    body["system_instruction"] = json!(system);
                }
            }
        }
        if self.streams {
            body["stream"] = json!(true);
        }
        body
    }

    fn native_parts(&self) -> Vec<Value> {
        let text = self.text.trim();
        let text = (!text.is_empty()).then(|| json!({"text": text}));
        let picture = self.picture.as_ref().map(|TryPicture { media_type, base64 }| {
            json!({"inlineData": {"mimeType": media_type, "data": base64}})
        });
        text.into_iter().chain(picture).collect()
    }

    /// The form with its error messages.
    pub fn view(
        &self,
        context: &PageContext,
        choices: &TryChoices,
        errors: &FieldErrors,
    ) -> Markup {
        let language = context.language;
        let error = |name: &str| errors.get(name).copied();
        let clients = choices.clients.iter();
        let clients: Vec<_> = clients
            .map(|(id, name)| (id.as_str(), name.as_str()))
            .collect();
        let surfaces = [
            ("gemini", language.try_native()),
            ("openai", language.try_openai()),
            ("interactions", language.try_interactions()),
        ];
        let client = select("client", "client", &self.client, &clients);
        let surface = select("surface", "surface", &self.surface, &surfaces);
        let model = html! {
            input #model name="model" value=(self.model) list="known-models" autocomplete="off" spellcheck="false"
                autocapitalize="none" required;
            datalist #known-models { @for model in &choices.models { option value=(model) {} } }
        };
        let text = html! { textarea.short #text name="text" rows="5" { (self.text) } };
        let system = html! { textarea.short #system name="system" rows="2" { (self.system) } };
        let picture =
            html! { input #picture type="file" name="picture" accept=(PICTURE_TYPES.join(",")); };
        let upstream_key = html! {
            input #upstream_key name="upstream_key" value=(self.upstream_key) inputmode="numeric" autocomplete="off";
        };
        let is_more_open =
            !self.system.is_empty() || !self.upstream_key.is_empty() || !errors.is_empty();
        html! {
            form.card.try method="post" action="/try" enctype="multipart/form-data" data-try data-stopped=(language.try_stopped())
                data-lost=(language.try_lost())
            {
                (context.csrf_field())
                h2 { (language.try_request()) }
                div.fields {
                    (field("client", language.try_client(), None, error("client"), client))
                    (field("surface", language.try_surface(), None, None, surface))
                }
                (field("model", language.try_model(), None, error("model"), model))
                (field("text", language.try_text(), None, error("text"), text))
                label.check {
                    input type="checkbox" name="stream" value="on" checked[self.streams];
                    (language.try_stream())
                }
                details.options open[is_more_open] {
                    summary { (language.try_more()) }
                    (field("system", language.try_system(), Some(language.optional()), None, system))
                    (field("picture", language.try_picture(), Some(language.optional()), error("picture"), picture))
                    (field("upstream_key", language.try_upstream_key(), Some(language.try_upstream_key_hint()),
                        error("upstream_key"), upstream_key))
                }
                div.actions {
                    button.primary type="submit" { (language.try_send()) }
                    button type="button" data-try-stop hidden { (language.try_stop()) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(surface: &str) -> TryForm {
        TryForm {
            client: "1".to_owned(),
            surface: surface.to_owned(),
            model: "models/gemini-2.5-flash".to_owned(),
            system: "Be brief.".to_owned(),
            text: "Hello".to_owned(),
            streams: true,
            picture: Some(TryPicture {
                media_type: "image/png".to_owned(),
                base64: "AAAA".to_owned(),
            }),
            ..TryForm::default()
        }
    }

    fn choices() -> TryChoices {
        TryChoices {
            clients: vec![("1".to_owned(), "notebook".to_owned())],
            models: Vec::new(),
        }
    }

    #[test]
    fn each_surface_has_its_own_form_of_the_same_request() {
        let cases = [
            (
                "gemini",
                "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
                json!({
                    "contents": [{"role": "user", "parts": [
                        {"text": "Hello"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                    ]}],
                    "systemInstruction": {"parts": [{"text": "Be brief."}]},
                }),
            ),
            (
                "openai",
                "/v1beta/openai/chat/completions",
                json!({
                    "model": "gemini-2.5-flash", "stream": true, "stream_options": {"include_usage": true},
                    "messages": [
                        {"role": "system", "content": "Be brief."},
                        {"role": "user", "content": [
                            {"type": "text", "text": "Hello"},
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                        ]},
                    ],
                }),
            ),
            (
                "interactions",
                "/v1beta/interactions",
                json!({
                    "model": "gemini-2.5-flash", "store": false, "stream": true, "system_instruction": "Be brief.",
                    "input": [
                        {"type": "text", "text": "Hello"},
                        {"type": "image", "mime_type": "image/png", "data": "AAAA"},
                    ],
                }),
            ),
        ];
        for (surface, path, body) in cases {
            let request = form(surface).request(Language::English, &choices(), |_| true);
            let request = request.unwrap();
            assert_eq!(
                (request.path.as_str(), request.body),
                (path, body),
                "{surface}"
            );
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        let wrong = TryForm {
            client: "2".to_owned(),
            model: "a?b".to_owned(),
            text: " ".to_owned(),
            upstream_key: "7".to_owned(),
            picture: None,
            ..form("gemini")
        };
        let errors = wrong.request(Language::English, &choices(), |_| false);
        let errors: Vec<_> = errors.unwrap_err().into_keys().collect();
        assert_eq!(errors, ["client", "model", "text", "upstream_key"]);

        let mut wrong = form("gemini");
        wrong.picture.as_mut().unwrap().media_type = "text/html".to_owned();
        let errors = wrong.request(Language::English, &choices(), |_| true);
        assert_eq!(
            errors.unwrap_err().into_keys().collect::<Vec<_>>(),
            ["picture"]
        );
    }
}
