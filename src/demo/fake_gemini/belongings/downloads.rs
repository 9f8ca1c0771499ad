//! Downloads: the redirect, which repeats the request's own headers, and the bytes behind it.

use super::asks::Asks;
use super::files::{self, Source};
use crate::demo::fake_gemini::answer::{Answer, Front};
use crate::demo::fake_gemini::body::Pieces;
use crate::demo::fake_gemini::errors::GoogleError;

/// The request headers that a recorded redirect repeats; the front end marks some with what it undid.
const REPEATED: [(&str, &str); 5] = [
    ("x-goog-api-key", ""),
    ("accept", ""),
    ("host", ""),
    ("accept-encoding", ",gzip(gfe)"),
    ("user-agent", ",gzip(gfe)"),
];

pub fn answer(asks: &Asks, id: &str) -> Result<Answer, GoogleError> {
    let (source, mime_type, contents) = files::find(asks, id, |file| {
        let mime_type = file.shown.mime_type.clone();
        (file.shown.source, mime_type, file.contents.clone())
    })?;
    if source != Source::Generated {
        return Err(GoogleError::plain(
            400,
            "Only generated files can be downloaded.",
        ));
    }
    if asks.param("alt") != Some("media") {
        return Err(GoogleError::bad_argument());
    }
    if !asks.head.uri.path().starts_with("/download/") {
        return Ok(redirect(asks, id));
    }
    Ok(Answer {
        content_type: mime_type.into(),
        pieces: Pieces {
            known_length: true,
            ..Pieces::whole(contents.beginning)
        },
        front: Front::Uploads,
        headers: vec![
            ("cache-control", "private".to_owned()),
            ("x-guploader-uploadid", format!("fake{}", asks.id(40))),
        ],
        ..Answer::json(String::new())
    })
}

fn redirect(asks: &Asks, id: &str) -> Answer {
    let repeated = REPEATED.iter().filter_map(|(name, mark)| {
        let value = asks.head.headers.get(*name)?.to_str().ok()?;
        Some((*name, format!("{value}{mark}")))
    });
    let location = format!(
        "{}/download/{}/files/{id}:download?alt=media",
        asks.belongings().base_url,
        asks.call.version
    );
    Answer {
        status: 302,
        headers: repeated.chain([("location", location)]).collect(),
        ..Answer::json(
            "{\n  \"error\": {\n    \"code\": 302,\n    \"message\": \"Unknown Error.\",\n    \"status\": \"UNKNOWN\"\n  }\n}\n"
                .to_owned(),
        )
    }
}
