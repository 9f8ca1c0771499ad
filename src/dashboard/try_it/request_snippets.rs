//! A request as programs send it: curl, Python, JavaScript and Go.

use serde_json::Value;

use crate::dashboard::snippets::{PLACEHOLDER, Snippet};
use crate::dashboard::try_it::form::TryRequest;

/// Longer texts in a request are pictures, which a program reads from a file.
const MAX_TEXT_BYTES: usize = 8 * 1024;
const PICTURE: &str = "BASE64_OF_THE_PICTURE";

/// One snippet for each language.
pub fn request_snippets(base_url: &str, request: &TryRequest) -> [Snippet; 4] {
    let body = without_pictures(&request.body);
    let compact = body.to_string();
    let pretty = format!("{body:#}");
    let url = format!("{base_url}{}", request.path);
    let key = PLACEHOLDER;
    let curl = format!(
        "curl --no-buffer '{url}' \\\n  -H 'x-goog-api-key: {key}' \\\n  -H 'content-type: application/json' \\\n  -d '{}'",
        compact.replace('\'', r"'\''")
    );
    let python = format!(
        "# pip install requests\nimport requests\n\nanswer = requests.post(\n    \"{url}\",\n    headers={{\"x-goog-api-key\": \
         \"{key}\"}},\n    json={},\n)\nprint(answer.text)",
        indented(&python_literal(&body), 4)
    );
    let javascript = format!(
        "const answer = await fetch(\"{url}\", {{\n  method: \"POST\",\n  headers: {{ \"x-goog-api-key\": \"{key}\", \
         \"content-type\": \"application/json\" }},\n  body: JSON.stringify({}),\n}});\nconsole.log(await answer.text());",
        indented(&pretty, 2)
    );
    let go = format!(
        "package main\n\nimport (\n\t\"io\"\n\t\"log\"\n\t\"net/http\"\n\t\"os\"\n\t\"strings\"\n)\n\nfunc main() {{\n\
         \tbody := {}\n\trequest, err := http.NewRequest(\"POST\", \"{url}\", strings.NewReader(body))\n\
         \tif err != nil {{\n\t\tlog.Fatal(err)\n\t}}\n\trequest.Header.Set(\"x-goog-api-key\", \"{key}\")\n\
         \trequest.Header.Set(\"content-type\", \"application/json\")\n\tanswer, err := http.DefaultClient.Do(request)\n\
         \tif err != nil {{\n\t\tlog.Fatal(err)\n\t}}\n\tdefer answer.Body.Close()\n\tio.Copy(os.Stdout, answer.Body)\n}}",
        go_literal(&compact)
    );
    [
        Snippet::new("curl", "curl", curl),
        Snippet::new("python", "Python", python),
        Snippet::new("javascript", "JavaScript", javascript),
        Snippet::new("go", "Go", go),
    ]
}

/// The body with a placeholder for each picture.
fn without_pictures(body: &Value) -> Value {
    match body {
        Value::String(text) if text.len() > MAX_TEXT_BYTES || text.starts_with("data:image/") => {
            match text.split_once(";base64,") {
                Some((kind, _)) => format!("{kind};base64,{PICTURE}").into(),
                None => PICTURE.into(),
            }
        }
        Value::Array(items) => items.iter().map(without_pictures).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("data", Value::String(_)) => (name.clone(), PICTURE.into()),
                _ => (name.clone(), without_pictures(value)),
            })
            .collect(),
        other => other.clone(),
    }
}

/// JSON with line breaks in Python's spelling. A JSON string is a Python string.
fn python_literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(python_literal).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                let value = indented(&python_literal(value), 4);
                format!("\n    {}: {value},", Value::from(name.as_str()))
            });
            format!("{{{}\n}}", fields.collect::<String>())
        }
        other => other.to_string(),
    }
}

/// The text as a string of Go: raw unless it contains a backquote.
fn go_literal(text: &str) -> String {
    if text.contains('`') {
        Value::from(text).to_string()
    } else {
        format!("`{text}`")
    }
}

/// The text with spaces before every line but the first.
fn indented(text: &str, spaces: usize) -> String {
    text.replace('\n', &format!("\n{}", " ".repeat(spaces)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quotes_of_the_text_stay_part_of_it_in_each_language() {
        let text = json!({"text": "it's `x` \"y\"", "stream": true});

        assert_eq!(
            go_literal(&text.to_string()),
            Value::from(text.to_string()).to_string()
        );
        assert_eq!(go_literal(r#"{"a":1}"#), r#"`{"a":1}`"#);
        assert_eq!(
            python_literal(&text),
            "{\n    \"stream\": True,\n    \"text\": \"it's `x` \\\"y\\\"\",\n}"
        );
    }

    #[test]
    fn pictures_are_replaced() {
        let body = json!({
            "inlineData": {"data": "AAAA", "mimeType": "image/png"},
            "url": "data:image/png;base64,AAAA",
            "text": "short",
        });

        let expected = json!({
            "inlineData": {"data": PICTURE, "mimeType": "image/png"},
            "url": format!("data:image/png;base64,{PICTURE}"),
            "text": "short",
        });
        assert_eq!(without_pictures(&body), expected);
    }
}
