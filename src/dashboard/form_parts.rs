//! Reads submitted forms, with files too: URL-encoded or `multipart/form-data`.

use std::convert::Infallible;

use axum::body::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use multer::{Multipart, parse_boundary};

/// A field of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormPart {
    pub name: String,
    /// The media type of a file; `None`: a text.
    pub file_type: Option<String>,
    pub content: Bytes,
}

impl FormPart {
    /// The content of a text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// The first text field of this name.
pub async fn first_text(headers: &HeaderMap, body: &Bytes, name: &str) -> Option<String> {
    let parts = read(headers, body, Some(name)).await;
    parts.into_iter().next().map(|part| part.text())
}

/// All fields, up to the first that is broken.
pub async fn read_all(headers: &HeaderMap, body: &Bytes) -> Vec<FormPart> {
    read(headers, body, None).await
}

/// All fields, or only the first text field of a name.
async fn read(headers: &HeaderMap, body: &Bytes, only: Option<&str>) -> Vec<FormPart> {
    let content_type = headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let Some(boundary) = content_type.and_then(|text| parse_boundary(text).ok()) else {
        let fields = form_urlencoded::parse(body)
            .filter(|(name, _)| only.is_none_or(|only| name == only))
            .map(|(name, text)| FormPart {
                name: name.into_owned(),
                file_type: None,
                content: Bytes::from(text.into_owned()),
            });
        return match only {
            Some(_) => fields.take(1).collect(),
            None => fields.collect(),
        };
    };
    let whole = stream::iter([Ok::<_, Infallible>(body.clone())]);
    let mut fields = Multipart::new(whole, boundary);
    let mut parts = Vec::new();
    while let Ok(Some(field)) = fields.next_field().await {
        let name = field.name().unwrap_or_default().to_owned();
        let is_file = field.file_name().is_some();
        let kind = field
            .content_type()
            .map(|kind| kind.essence_str().to_owned());
        if only.is_some_and(|only| is_file || name != only) {
            continue;
        }
        let Ok(content) = field.bytes().await else {
            break;
        };
        parts.push(FormPart {
            name,
            file_type: is_file.then(|| kind.unwrap_or_default()),
            content,
        });
        if only.is_some() {
            break;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULTIPART: &str = "--b\r\ncontent-disposition: form-data; name=\"csrf\"; filename=\"x\"\r\n\r\nfile\r\n\
        --b\r\ncontent-disposition: form-data; name=\"csrf\"\r\n\r\ntoken\r\n\
        --b\r\ncontent-disposition: form-data; name=\"picture\"; filename=\"p.png\"\r\ncontent-type: image/png\r\n\r\n\x01\r\n\
        --b--\r\n";

    fn headers(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(kind))])
    }

    #[tokio::test]
    async fn a_field_is_found_in_both_encodings_and_a_file_is_none() {
        let cases = [
            (
                "application/x-www-form-urlencoded",
                "a=1&csrf=token&csrf=b",
                Some("token"),
            ),
            ("application/x-www-form-urlencoded", "a=1", None),
            ("multipart/form-data; boundary=b", MULTIPART, Some("token")),
            ("multipart/form-data; boundary=c", MULTIPART, None),
        ];
        for (kind, body, expected) in cases {
            let found =
                first_text(&headers(kind), &Bytes::from_static(body.as_bytes()), "csrf").await;
            assert_eq!(found.as_deref(), expected, "{kind}: {body}");
        }
    }

    #[tokio::test]
    async fn files_have_their_type() {
        let headers = headers("multipart/form-data; boundary=b");

        let parts = read_all(&headers, &Bytes::from_static(MULTIPART.as_bytes())).await;

        let types: Vec<_> = parts.iter().map(|part| part.file_type.as_deref()).collect();
        assert_eq!(types, [Some(""), None, Some("image/png")]);
        assert_eq!(parts[2].content, Bytes::from_static(&[1]));
    }
}
