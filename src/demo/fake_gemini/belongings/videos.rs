//! Videos of Veo: an operation that ends in a generated file.

use serde_json::{Value, json};

use super::asks::Asks;
use super::contents::Contents;
use super::files::{self, Source, Wish};
use super::operations;
use crate::demo::fake_gemini::answer::Answer;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::models::FakeModel;

/// How a file of this kind begins.
const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom";

/// `predictLongRunning`. The file is there at once, but the operation does not name it before it is done.
pub fn create(asks: &Asks, model: &FakeModel) -> Result<Answer, GoogleError> {
    if asks.json()?["instances"][0].is_null() {
        return Err(GoogleError::bad_argument());
    }
    let mut bytes = MP4.to_vec();
    bytes.resize(
        asks.manner.answer_bytes.unwrap_or(4096).max(MP4.len()),
        b'v',
    );
    let wish = Wish {
        mime_type: Some("video/mp4".to_owned()),
        ..Wish::default()
    };
    let file = files::make(asks, wish, Contents::whole(bytes), Source::Generated)?;
    let response = json!({
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse",
        "generateVideoResponse": {
            "generatedSamples": [{"video": {"uri": file.download_uri}}],
        },
    });
    let name = format!("models/{}/operations/{}", model.name, asks.id(12));
    operations::begin(asks, &name, Value::Null, response)
}
