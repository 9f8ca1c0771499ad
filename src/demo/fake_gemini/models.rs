//! The models the fake knows: those of a recorded list, and the newer ones of 2026.
//!
//! `models.json` is a recorded answer of `models.list` (posit-dev/chatlas at ea45311, MIT, file
//! `tests/_vcr/test_provider_google/test_google_list_models.yaml`) with newer models added in its form.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json;
use super::request_target::param;

/// The models, in the order of the list.
pub static MODELS: LazyLock<Vec<FakeModel>> = LazyLock::new(|| {
    let list: ModelList = serde_json::from_str(include_str!("models.json"))
        .expect("the list of models is part of the program");
    list.models
        .iter()
        .map(|text| FakeModel::new(text))
        .collect()
});

pub struct FakeModel {
    /// Without `models/`.
    pub name: String,
    display_name: String,
    /// Its text in the list, indented by four.
    text: String,
    methods: Vec<String>,
    /// Whether its answers have thoughts.
    pub thinks: bool,
}

impl FakeModel {
    fn new(text: &RawValue) -> Self {
        let head: ModelHead = serde_json::from_str(text.get()).expect("every model has a name");
        Self {
            name: head.name.trim_start_matches("models/").to_owned(),
            display_name: head.display_name.unwrap_or_default(),
            text: text.get().to_owned(),
            methods: head.supported_generation_methods,
            thinks: head.thinking,
        }
    }

    pub fn supports(&self, method: &str) -> bool {
        // The lists name only `embedContent`, which stands for the batch too.
        let method = method.replace("batchEmbedContents", "embedContent");
        self.methods.contains(&method)
    }
}

/// The model of a name: itself, or the model of a `-latest` alias, which `/v1` does not have.
pub fn find(name: &str, version: &str) -> Option<&'static FakeModel> {
    let is_alias = name.ends_with("-latest");
    if is_alias && version == "v1" {
        return None;
    }
    let name = match name {
        // Whose they are is looked at elsewhere.
        name if name.starts_with("tunedModels/") => "gemini-2.5-flash",
        "gemini-flash-latest" => "gemini-3.8-flash",
        "gemini-flash-lite-latest" => "gemini-3.5-flash-lite",
        "gemini-pro-latest" => "gemini-3.1-pro-preview",
        other => other,
    };
    MODELS.iter().find(|model| model.name == name)
}

/// The model itself, as `models.get` shows it.
pub fn get(model: &FakeModel) -> String {
    model.text.replace("\n    ", "\n") + "\n"
}

/// One page of `models.list`, 50 models unless the query asks otherwise. A project's list has no model that it may not use.
pub fn list(query: &str, left_out: Option<&str>) -> String {
    let size = param(query, "pageSize")
        .and_then(|size| size.parse().ok())
        .filter(|size| *size > 0)
        .unwrap_or(50)
        .min(1000);
    let first = param(query, "pageToken")
        .and_then(|token| {
            let last_seen = MODELS
                .iter()
                .position(|model| page_token(&model.name) == token)?;
            Some(last_seen + 1)
        })
        .unwrap_or(0);
    let listed = MODELS.iter().skip(first);
    let listed = listed.filter(|model| left_out != Some(model.name.as_str()));
    let page: Vec<_> = listed.take(size).collect();
    let texts: Vec<_> = page.iter().map(|model| model.text.as_str()).collect();
    let next = match page.last() {
        Some(last) if first + size < MODELS.len() => {
            format!(",\n  \"nextPageToken\": \"{}\"", page_token(&last.name))
        }
        _ => String::new(),
    };
    format!(
        "{{\n  \"models\": [\n    {}\n  ]{next}\n}}\n",
        texts.join(",\n    ")
    )
}

/// As Google makes it: a protobuf with the name, in base64.
fn page_token(name: &str) -> String {
    let name = format!("models/{name}");
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![0x0a, length];
    bytes.extend_from_slice(name.as_bytes());
    STANDARD_NO_PAD.encode(&bytes)
}

/// The list of the OpenAI layer.
pub fn openai_list() -> String {
    let models: Vec<_> = MODELS.iter().map(openai_model).collect();
    format!("{{\"object\":\"list\",\"data\":[{}]}}", models.join(","))
}

pub fn openai_model(model: &FakeModel) -> String {
    format!(
        "{{\"id\":\"models/{}\",\"object\":\"model\",\"owned_by\":\"google\",\"display_name\":{}}}",
        model.name,
        json::compact(&model.display_name)
    )
}

#[derive(Deserialize)]
struct ModelList<'a> {
    #[serde(borrow)]
    models: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelHead {
    name: String,
    display_name: Option<String>,
    #[serde(default)]
    supported_generation_methods: Vec<String>,
    #[serde(default)]
    thinking: bool,
}
