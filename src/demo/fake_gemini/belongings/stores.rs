//! File search stores: the stores, what is uploaded to or imported into them, and their documents.

use serde::Serialize;
use serde_json::{Value, json};

use super::asks::{Asks, field, time};
use super::contents::Contents;
use super::files::{self, Wish};
use super::operations;
use super::owned::Thing;
use super::page::{self, Sizes};
use crate::demo::fake_gemini::answer::Answer;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::json;

const SIZES: Sizes = Sizes {
    default: 10,
    most: 20,
};

/// As Google shows it.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    name: String,
    display_name: String,
    create_time: String,
    update_time: String,
}

pub struct Document {
    shown: ShownDocument,
    pub contents: Contents,
}

/// As Google shows it.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownDocument {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    create_time: String,
    update_time: String,
    state: &'static str,
    size_bytes: String,
    mime_type: String,
}

pub fn answer(asks: &Asks, rest: &[&str]) -> Result<Answer, GoogleError> {
    let [id, inside @ ..] = rest else {
        return match asks.method() {
            "POST" => create(asks),
            "GET" => page::answer(asks, "fileSearchStores", SIZES, |_, owned| {
                match &owned.thing {
                    Thing::Store(store) => Some(store.clone()),
                    _ => None,
                }
            }),
            _ => Err(GoogleError::not_found()),
        };
    };
    let store = format!("fileSearchStores/{id}");
    if !asks.owns(&store) {
        return Err(GoogleError::not_found());
    }
    match (asks.method(), inside) {
        ("GET", []) => {
            let shown = asks.look(&store, |thing| match thing {
                Thing::Store(store) => Some(json::pretty(store)),
                _ => None,
            });
            let shown = shown.flatten().ok_or_else(GoogleError::not_found)?;
            Ok(Answer::json(shown))
        }
        ("DELETE", []) => delete(asks, &store),
        ("POST", ["importFile"]) => import(asks, &store),
        (_, ["documents", rest @ ..]) => documents(asks, &store, rest),
        (_, ["operations", rest @ ..]) => {
            operations::answer(asks, &format!("{store}/operations"), rest)
        }
        (_, ["upload", "operations", rest @ ..]) => {
            operations::answer(asks, &format!("{store}/upload/operations"), rest)
        }
        _ => Err(GoogleError::not_found()),
    }
}

/// Makes a document of what was uploaded. The answer has the whole response, as recorded, but does not say `done`.
pub fn take(
    asks: &Asks,
    store: &str,
    wish: Wish,
    contents: Contents,
) -> Result<Answer, GoogleError> {
    let document = add(asks, store, wish, contents)?;
    let id = document.name.rsplit('/').next().unwrap_or_default();
    let operation = format!("{store}/upload/operations/{id}");
    let response = json!({
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.UploadToFileSearchStoreResponse",
        "documentName": document.name,
        "mimeType": document.mime_type,
        "parent": store,
        "sizeBytes": document.size_bytes,
    });
    operations::begin(asks, &operation, Value::Null, response.clone())?;
    let told = json!({"name": operation, "response": response});
    Ok(Answer::json(json::pretty(&told)))
}

fn create(asks: &Asks) -> Result<Answer, GoogleError> {
    let wish = asks.json()?;
    let display_name = field(&wish, "displayName", "display_name").as_str();
    let display_name = display_name.unwrap_or_default();
    // The id begins with the small letters of the display name, as recorded.
    let mut letters = display_name.to_ascii_lowercase();
    letters.retain(|letter| letter.is_ascii_alphanumeric());
    letters.truncate(20);
    let store = Store {
        name: format!("fileSearchStores/{letters}-{}", asks.id(12)),
        display_name: display_name.to_owned(),
        create_time: time(asks.now_ms),
        update_time: time(asks.now_ms),
    };
    let answer = Answer::json(json::pretty(&store));
    let name = store.name.clone();
    asks.keep(&name, None, Thing::Store(store))?;
    Ok(answer)
}

/// A store with documents must be forced.
fn delete(asks: &Asks, store: &str) -> Result<Answer, GoogleError> {
    let documents = format!("{store}/documents/");
    let is_empty = page::newest_first(asks, |name, _| name.starts_with(&documents).then_some(()));
    let is_forced = asks
        .param("force")
        .is_some_and(|force| force.eq_ignore_ascii_case("true"));
    if !is_empty.is_empty() && !is_forced {
        return Err(GoogleError::bad_argument());
    }
    asks.belongings().remove_inside(store, asks.project);
    asks.delete(store).ok_or_else(GoogleError::not_found)
}

fn import(asks: &Asks, store: &str) -> Result<Answer, GoogleError> {
    let body = asks.json()?;
    let file = field(&body, "fileName", "file_name").as_str();
    let id = file.unwrap_or_default().trim_start_matches("files/");
    let (wish, contents) = files::find(asks, id, |file| {
        let wish = Wish {
            name: None,
            display_name: file.shown.display_name.clone(),
            mime_type: Some(file.shown.mime_type.clone()),
        };
        (wish, file.contents.clone())
    })?;
    let document = add(asks, store, wish, contents)?;
    let response = json!({
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.ImportFileResponse",
        "documentName": document.name,
        "parent": store,
    });
    let operation = format!("{store}/operations/{}", asks.id(12));
    operations::begin(asks, &operation, Value::Null, response)
}

fn add(
    asks: &Asks,
    store: &str,
    wish: Wish,
    contents: Contents,
) -> Result<ShownDocument, GoogleError> {
    let shown = ShownDocument {
        name: format!("{store}/documents/{}-{}", asks.id(12), asks.id(12)),
        display_name: wish.display_name,
        create_time: time(asks.now_ms),
        update_time: time(asks.now_ms),
        state: "STATE_ACTIVE",
        size_bytes: contents.bytes.to_string(),
        mime_type: wish.mime_type.unwrap_or_else(|| "text/plain".to_owned()),
    };
    let document = Document {
        shown: shown.clone(),
        contents,
    };
    asks.keep(&shown.name, None, Thing::Document(document))?;
    Ok(shown)
}

fn documents(asks: &Asks, store: &str, rest: &[&str]) -> Result<Answer, GoogleError> {
    match (asks.method(), rest) {
        ("GET", []) => {
            let inside = format!("{store}/documents/");
            page::answer(asks, "documents", SIZES, |name, owned| match &owned.thing {
                Thing::Document(document) if name.starts_with(&inside) => {
                    Some(document.shown.clone())
                }
                _ => None,
            })
        }
        ("GET", [id]) => {
            let name = format!("{store}/documents/{id}");
            let shown = asks.look(&name, |thing| match thing {
                Thing::Document(document) => Some(json::pretty(&document.shown)),
                _ => None,
            });
            let shown = shown.flatten().ok_or_else(GoogleError::not_found)?;
            Ok(Answer::json(shown))
        }
        ("DELETE", [id]) => asks
            .delete(&format!("{store}/documents/{id}"))
            .ok_or_else(GoogleError::not_found),
        _ => Err(GoogleError::not_found()),
    }
}
