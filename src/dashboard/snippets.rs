//! Code snippets that configure a client to use this pool.

use maud::{Markup, html};

use crate::dashboard::components::copyable;
use crate::dashboard::translations::Language;

/// The placeholder for a key that is not shown any more.
pub const PLACEHOLDER: &str = "YOUR_CLIENT_KEY";
/// The model in snippets for keys that may use any model.
const MODEL: &str = "gemini-2.5-flash";

/// The snippet for one client.
pub struct Snippet {
    id: &'static str,
    client: &'static str,
    text: String,
}

impl Snippet {
    pub fn new(id: &'static str, client: &'static str, text: String) -> Self {
        Self { id, client, text }
    }
}

/// Snippets for the clients that are used most.
pub fn snippets(language: Language, base_url: &str, key: &str, models: &[String]) -> Markup {
    tabs(language, &all(base_url, key, model_among(models)))
}

/// Tabs with one snippet each, made of radio buttons so that they need no script.
pub fn tabs(language: Language, snippets: &[Snippet]) -> Markup {
    html! {
        fieldset.snippets {
            legend.visually-hidden { (language.snippet_client()) }
            @for (number, snippet) in snippets.iter().enumerate() {
                input type="radio" name="snippet" id={ "tab-" (snippet.id) } checked[number == 0];
                label for={ "tab-" (snippet.id) } { (snippet.client) }
            }
            @for snippet in snippets {
                div.snippet { (copyable(language, &format!("snippet-{}", snippet.id), &snippet.text)) }
            }
        }
    }
}

/// The first model scope without a wildcard.
pub fn model_among(models: &[String]) -> &str {
    let is_whole = |model: &&String| !model.contains(['*', '?', '[', '{']);
    let named = models.iter().find(is_whole).map(String::as_str);
    named.map_or(MODEL, |model| {
        model.strip_prefix("models/").unwrap_or(model)
    })
}

fn all(base_url: &str, key: &str, model: &str) -> [Snippet; 5] {
    let curl = format!(
        r#"curl '{base_url}/v1beta/models/{model}:generateContent' \
  -H 'x-goog-api-key: {key}' \
  -H 'content-type: application/json' \
  -d '{{"contents":[{{"parts":[{{"text":"Why is the sky blue?"}}]}}]}}'"#
    );
    let python = format!(
        r#"# pip install google-genai
from google import genai

client = genai.Client(
    api_key="{key}",
    http_options={{"base_url": "{base_url}"}},
)
answer = client.models.generate_content(
    model="{model}", contents="Why is the sky blue?"
)
print(answer.text)"#
    );
    let javascript = format!(
        r#"// npm install @google/genai
import {{ GoogleGenAI }} from "@google/genai";

const client = new GoogleGenAI({{
  apiKey: "{key}",
  httpOptions: {{ baseUrl: "{base_url}" }},
}});
const answer = await client.models.generateContent({{
  model: "{model}",
  contents: "Why is the sky blue?",
}});
console.log(answer.text);"#
    );
    let cli = format!(
        "# npm install --global @google/gemini-cli\n\
         export GEMINI_API_KEY='{key}'\n\
         export GOOGLE_GEMINI_BASE_URL='{base_url}'\n\
         gemini --model {model}"
    );
    let openai = format!(
        r#"# pip install openai
from openai import OpenAI

client = OpenAI(
    api_key="{key}",
    base_url="{base_url}/openai/v1",
)
answer = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "Why is the sky blue?"}}],
)
print(answer.choices[0].message.content)"#
    );
    [
        Snippet::new("curl", "curl", curl),
        Snippet::new("python", "Python", python),
        Snippet::new("javascript", "JavaScript", javascript),
        Snippet::new("gemini-cli", "gemini-cli", cli),
        Snippet::new("openai", "OpenAI SDK", openai),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_of_a_snippet_is_allowed_for_the_key() {
        let cases: [(&[&str], &str); 4] = [
            (&[], MODEL),
            (&["gemini-3-*"], MODEL),
            (&["gemini-3-*", "gemini-3-pro"], "gemini-3-pro"),
            (&["models/gemini-3-pro"], "gemini-3-pro"),
        ];
        for (models, expected) in cases {
            let models: Vec<_> = models.iter().map(ToString::to_string).collect();
            assert_eq!(model_among(&models), expected, "{models:?}");
        }
    }

    #[test]
    fn every_snippet_names_the_url_and_the_key() {
        for snippet in all("https://pool.example", "gp_key", MODEL) {
            assert!(
                snippet.text.contains("https://pool.example"),
                "{}",
                snippet.text
            );
            assert!(snippet.text.contains("gp_key"), "{}", snippet.text);
        }
    }
}
