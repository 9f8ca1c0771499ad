//! Videos of Veo: an operation that ends in a generated file.

use serde_json::{Value, json};

use super::contents::Contents;
use super::files::{self, FileMetadata, FileSource};
use super::operations;
use super::request_context::RequestContext;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::models::FakeModel;
use crate::demo::fake_gemini::response::FakeResponse;

/// How a file of this kind begins.
const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom";

/// `predictLongRunning`. The file is there at once, but the operation does not name it before it is done.
pub fn create(context: &RequestContext, model: &FakeModel) -> Result<FakeResponse, GoogleError> {
    if context.json()?["instances"][0].is_null() {
        return Err(GoogleError::bad_argument());
    }
    let mut bytes = MP4.to_vec();
    bytes.resize(
        context
            .response_shape
            .text_bytes
            .unwrap_or(4096)
            .max(MP4.len()),
        b'v',
    );
    let metadata = FileMetadata {
        mime_type: Some("video/mp4".to_owned()),
        ..FileMetadata::default()
    };
    let file = files::make(
        context,
        metadata,
        Contents::whole(bytes),
        FileSource::Generated,
    )?;
    let response = json!({
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse",
        "generateVideoResponse": {
            "generatedSamples": [{"video": {"uri": file.download_uri}}],
        },
    });
    let name = format!("models/{}/operations/{}", model.name, context.new_id(12));
    operations::begin(context, &name, Value::Null, response)
}
