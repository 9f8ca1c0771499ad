//! Downloads: the redirect, which repeats the request's own headers, and the bytes behind it.

use super::files::{self, FileSource};
use super::request_context::RequestContext;
use crate::demo::fake_gemini::errors::GoogleError;
use crate::demo::fake_gemini::response::{FakeResponse, FrontEnd};
use crate::demo::fake_gemini::response_body::BodyChunks;

/// The request headers that a recorded redirect repeats; the front end marks some with what it undid.
const REPEATED: [(&str, &str); 5] = [
    ("x-goog-api-key", ""),
    ("accept", ""),
    ("host", ""),
    ("accept-encoding", ",gzip(gfe)"),
    ("user-agent", ",gzip(gfe)"),
];

pub fn answer(context: &RequestContext, id: &str) -> Result<FakeResponse, GoogleError> {
    let (source, mime_type, contents) = files::find(context, id, |file| {
        let mime_type = file.view.mime_type.clone();
        (file.view.source, mime_type, file.contents.clone())
    })?;
    if source != FileSource::Generated {
        return Err(GoogleError::plain(
            400,
            "Only generated files can be downloaded.",
        ));
    }
    if context.param("alt") != Some("media") {
        return Err(GoogleError::bad_argument());
    }
    if !context.head.uri.path().starts_with("/download/") {
        return Ok(redirect(context, id));
    }
    Ok(FakeResponse {
        content_type: mime_type.into(),
        body_chunks: BodyChunks {
            has_content_length: true,
            ..BodyChunks::whole(contents.beginning)
        },
        front_end: FrontEnd::Uploads,
        headers: vec![
            ("cache-control", "private".to_owned()),
            (
                "x-guploader-uploadid",
                format!("fake{}", context.new_id(40)),
            ),
        ],
        ..FakeResponse::json(String::new())
    })
}

fn redirect(context: &RequestContext, id: &str) -> FakeResponse {
    let repeated = REPEATED.iter().filter_map(|(name, mark)| {
        let value = context.head.headers.get(*name)?.to_str().ok()?;
        Some((*name, format!("{value}{mark}")))
    });
    let location = format!(
        "{}/download/{}/files/{id}:download?alt=media",
        context.resources().base_url,
        context.request_target.version
    );
    FakeResponse {
        status: 302,
        headers: repeated.chain([("location", location)]).collect(),
        ..FakeResponse::json(
            "{\n  \"error\": {\n    \"code\": 302,\n    \"message\": \"Unknown Error.\",\n    \"status\": \"UNKNOWN\"\n  }\n}\n"
                .to_owned(),
        )
    }
}
