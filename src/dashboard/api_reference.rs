//! `/api-reference`: the routes of the admin API, from its document. The text of the document is English in both languages.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use maud::{Markup, html};
use serde_json::{Map, Value};
use utoipa::openapi::OpenApi;

use crate::dashboard::components::{card, copyable};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::error::Error;

/// An operation of the document.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    json: &'a Value,
}

pub async fn show(
    context: PageContext,
    Extension(document): Extension<Arc<OpenApi>>,
) -> Result<Markup, ErrorPage> {
    let document = serde_json::to_value(document.as_ref());
    let document = document.map_err(|error| Error::Invalid(error.to_string()))?;
    Ok(view(&context, &document))
}

fn view(context: &PageContext, document: &Value) -> Markup {
    let language = context.language;
    let base = document["servers"][0]["url"].as_str().unwrap_or_default();
    let example = format!(
        "curl -H \"Authorization: Bearer gpa_…\" {}{base}/upstream-keys",
        context.base_url
    );
    let groups = operations_by_tag(document);
    let body = html! {
        (heading(language.api_reference(), html! { a.button href="/account#tokens" { (language.tokens_title()) } }))
        p.muted { (language.api_reference_lead(base)) }
        (copyable(language, "request", &example))
        @for (tag, operations) in &groups {
            (card(tag, html! { @for operation in operations { (operation_details(language, operation)) } }))
        }
        (card(language.api_objects(), html! {
            @for (name, schema) in object(&document["components"]["schemas"]) { (schema_details(name, schema)) }
        }))
    };
    layout::page(context, Section::Account, language.api_reference(), body)
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

fn operations_by_tag(document: &Value) -> BTreeMap<&str, Vec<Operation<'_>>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (path, item) in object(&document["paths"]) {
        for (method, json) in object(item) {
            let tag = json["tags"][0].as_str().unwrap_or("other");
            groups
                .entry(tag)
                .or_default()
                .push(Operation { method, path, json });
        }
    }
    groups
}

fn operation_details(language: Language, operation: &Operation) -> Markup {
    let Operation { method, path, json } = operation;
    let parameters = json["parameters"].as_array();
    let body = &json["requestBody"]["content"]["application/json"]["schema"];
    html! {
        details {
            summary {
                code { (method.to_uppercase()) " " (path) }
                " " span.muted { (text(json, "summary")) }
            }
            @if let Some(description) = json["description"].as_str() { p { (description) } }
            @if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
                (rows(&[language.api_parameter(), language.api_place(), language.api_type(), language.api_meaning()],
                    parameters.iter().map(|parameter| [
                        text(parameter, "name").to_owned(),
                        text(parameter, "in").to_owned(),
                        type_name(&parameter["schema"]),
                        text(parameter, "description").to_owned(),
                    ])))
            }
            @if !body.is_null() { p { (language.api_body()) " " code { (type_name(body)) } } }
            (rows(&[language.api_status(), language.api_type(), language.api_meaning()],
                object(&json["responses"]).map(|(status, response)| [
                    status.clone(),
                    object(&response["content"]).next().map_or_else(String::new, |(_, content)| type_name(&content["schema"])),
                    text(response, "description").to_owned(),
                ])))
        }
    }
}

fn schema_details(name: &str, schema: &Value) -> Markup {
    let values = schema["enum"].as_array();
    html! {
        details {
            summary { code { (name) } " " span.muted { (text(schema, "description")) } }
            @if let Some(values) = values {
                p { @for value in values { code { (value.as_str().unwrap_or_default()) } " " } }
            }
            @let parts = schema["allOf"].as_array().into_iter().flatten();
            @for part in std::iter::once(schema).chain(parts) {
                @if part["properties"].is_object() {
                    dl.facts { @for (name, property) in object(&part["properties"]) {
                        dt { code { (name) } }
                        dd { (type_name(property)) " " span.muted { (text(property, "description")) } }
                    } }
                } @else if part["$ref"].is_string() {
                    p { code { (type_name(part)) } }
                }
            }
        }
    }
}

fn rows<const N: usize>(headings: &[&str; N], cells: impl Iterator<Item = [String; N]>) -> Markup {
    html! {
        div.table { table.stack {
            thead { tr { @for heading in headings { th scope="col" { (heading) } } } }
            tbody { @for row in cells { tr {
                @for (heading, cell) in headings.iter().zip(&row) { td data-label=(heading) { (cell) } }
            } } }
        } }
    }
}

/// `string`, `integer | null`, `[UpstreamKey]`.
fn type_name(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let names: Vec<_> = choices.iter().map(type_name).collect();
        return names.join(" | ");
    }
    let names: Vec<_> = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    };
    let shown = names.iter().map(|name| match *name {
        "array" => format!("[{}]", type_name(&schema["items"])),
        "null" => "null".to_owned(),
        name => schema["format"]
            .as_str()
            .map_or_else(|| name.to_owned(), |format| format!("{name} ({format})")),
    });
    shown.collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_named_in_one_line() {
        for (schema, expected) in [
            (json!({ "type": "string" }), "string"),
            (json!({ "$ref": "#/components/schemas/Job" }), "Job"),
            (
                json!({ "type": ["integer", "null"], "format": "int64" }),
                "integer (int64) | null",
            ),
            (
                json!({ "type": "array", "items": { "$ref": "#/components/schemas/Key" } }),
                "[Key]",
            ),
            (
                json!({ "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Key" }] }),
                "null | Key",
            ),
        ] {
            assert_eq!(type_name(&schema), expected);
        }
    }
}
