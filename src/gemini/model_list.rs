//! Reads an answer of `models.list`.

use serde::Deserialize;

use crate::pool::model_lists::ListedModel;

/// The largest page, which contains all models.
pub const PATH: &str = "/v1beta/models?pageSize=1000";
/// What is kept of a list.
const MAX_MODELS: usize = 1_000;
const MAX_METHODS: usize = 20;
const MAX_CHARACTERS: usize = 200;

#[derive(Debug, Deserialize)]
struct ModelList {
    models: Vec<ModelEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelEntry {
    name: String,
    #[serde(default)]
    display_name: String,
    input_token_limit: Option<u32>,
    output_token_limit: Option<u32>,
    #[serde(default)]
    supported_generation_methods: Vec<String>,
}

/// The models of an answer by name, each once; `None`: it is no list of models.
pub fn parse(body: &[u8]) -> Option<Vec<ListedModel>> {
    let list: ModelList = serde_json::from_slice(body).ok()?;
    let mut models: Vec<_> = list.models.into_iter().filter_map(listed).collect();
    models.sort_by(|one, other| one.name.cmp(&other.name));
    models.dedup_by(|one, other| one.name == other.name);
    models.truncate(MAX_MODELS);
    Some(models)
}

/// `None`: its name is not one of a model.
fn listed(entry: ModelEntry) -> Option<ListedModel> {
    let name = entry.name.strip_prefix("models/")?;
    let is_plain =
        |text: &str| text.chars().count() <= MAX_CHARACTERS && !text.contains(char::is_control);
    if name.is_empty() || !is_plain(name) {
        return None;
    }
    let methods = entry.supported_generation_methods.into_iter();
    Some(ListedModel {
        name: name.to_owned(),
        display_name: Some(entry.display_name)
            .filter(|name| is_plain(name))
            .unwrap_or_default(),
        input_token_limit: entry.input_token_limit,
        output_token_limit: entry.output_token_limit,
        methods: methods
            .filter(|method| is_plain(method))
            .take(MAX_METHODS)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_by_name_and_what_is_no_model_is_left_out() {
        let body = r#"{"models": [
            {"name": "models/gemini-b", "displayName": "B", "inputTokenLimit": 1048576, "outputTokenLimit": 8192,
             "supportedGenerationMethods": ["generateContent", "countTokens"], "thinking": true},
            {"name": "models/gemini-a"},
            {"name": "models/gemini-a", "displayName": "twice"},
            {"name": "models/"},
            {"name": "tunedModels/mine"},
            {"name": "models/with\nline"}
        ], "nextPageToken": ""}"#;

        let models = parse(body.as_bytes()).unwrap();

        let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["gemini-a", "gemini-b"]);
        assert_eq!(models[1].input_token_limit, Some(1_048_576));
        assert_eq!(models[1].methods, ["generateContent", "countTokens"]);
        assert_eq!(models[0].output_token_limit, None);
        for wrong in ["", "{}", "[]", r#"{"models": 1}"#, "<html>"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
