//! The encodings and formats in which a request's body can be read.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};

use crate::gemini::request_body::unread::UnreadBody;

/// A body that is packed more often is not unpacked.
const MAX_LAYERS: usize = 2;

/// The format of an unpacked body.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyFormat<'a> {
    /// Whatever the content type: `curl -d` names a form, and `fetch` a text.
    Json,
    /// `multipart/form-data`.
    Form { boundary: &'a str },
}

/// The format that the headers announce; an error for one that is not read.
pub fn format_of(headers: &HeaderMap) -> Result<BodyFormat<'_>, UnreadBody> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let Some(content_type) = types.next() else {
        return Ok(BodyFormat::Json);
    };
    if types.next().is_some() {
        return Err(UnreadBody("it has two content types".into()));
    }
    let content_type = content_type
        .to_str()
        .map_err(|_| UnreadBody("its content type is not ASCII".into()))?;
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let charset = parameter(parameters, "charset").unwrap_or("utf-8");
    if !["utf-8", "utf8", "us-ascii"].contains(&charset.to_ascii_lowercase().as_str()) {
        return Err(UnreadBody("its charset is not UTF-8".into()));
    }
    match essence.as_str() {
        "multipart/form-data" => parameter(parameters, "boundary")
            .filter(|boundary| !boundary.is_empty())
            .map(|boundary| BodyFormat::Form { boundary })
            .ok_or_else(|| UnreadBody("its content type names no boundary".into())),
        // Parts of other kinds are not known.
        other if other.starts_with("multipart/") || other.contains(',') => Err(UnreadBody(
            format!("its content type {other} is not read").into(),
        )),
        other
            if ["protobuf", "proto", "grpc"]
                .iter()
                .any(|kind| other.contains(kind)) =>
        {
            Err(UnreadBody("it is a protocol buffer".into()))
        }
        _ => Ok(BodyFormat::Json),
    }
}

/// A parameter of a content type, without quotes. One that occurs twice has no value.
fn parameter<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    let mut values = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_wanted = name.trim().eq_ignore_ascii_case(wanted);
        is_wanted.then(|| value.trim().trim_matches('"'))
    });
    let value = values.next()?;
    Some(if values.next().is_some() { "" } else { value })
}

/// The body without its content encodings, at most `most_bytes` long.
pub fn unpack<'a>(
    body: &'a [u8],
    headers: &HeaderMap,
    most_bytes: u64,
) -> Result<Cow<'a, [u8]>, UnreadBody> {
    let encodings = list_of(headers, &CONTENT_ENCODING)
        .ok_or_else(|| UnreadBody("its content encoding is not ASCII".into()))?;
    let packed: Vec<_> = encodings
        .iter()
        .filter(|encoding| *encoding != "identity")
        .collect();
    if packed.len() > MAX_LAYERS {
        return Err(UnreadBody("it has too many content encodings".into()));
    }
    let mut body = Cow::Borrowed(body);
    for encoding in packed.into_iter().rev() {
        let unpacked = match encoding.as_str() {
            "gzip" | "x-gzip" => bounded(MultiGzDecoder::new(&*body), most_bytes),
            "deflate" => bounded(ZlibDecoder::new(&*body), most_bytes)
                // Some clients send it without the header of zlib.
                .or_else(|_| bounded(DeflateDecoder::new(&*body), most_bytes)),
            other => {
                let why = format!("its content encoding {other:?} is not gzip or deflate");
                return Err(UnreadBody(why.into()));
            }
        };
        let why = |error: io::Error| {
            UnreadBody(format!("its {encoding} encoding is broken: {error}").into())
        };
        body = unpacked.map_err(why)?.into();
    }
    Ok(body)
}

/// The words of a header's lists, in lower case; `None` where one is not ASCII.
fn list_of(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for value in headers.get_all(name) {
        let list = value.to_str().ok()?.to_ascii_lowercase();
        words.extend(list.split(',').map(|word| word.trim().to_owned()));
    }
    words.retain(|word| !word.is_empty());
    Some(words)
}

/// All that a decoder returns; an error above the bound, or where bytes follow the end.
fn bounded<'a>(mut decoder: impl Read + Inner<'a>, most_bytes: u64) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    let length = decoder
        .by_ref()
        .take(most_bytes.saturating_add(1))
        .read_to_end(&mut unpacked)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > most_bytes {
        return Err(io::Error::other(format!(
            "it unpacks to more than {most_bytes} bytes"
        )));
    }
    if !decoder.rest().is_empty() {
        return Err(io::Error::other("bytes follow its end"));
    }
    Ok(unpacked)
}

/// A decoder that gives access to the bytes that it has not consumed.
trait Inner<'a> {
    fn rest(&self) -> &'a [u8];
}

impl<'a> Inner<'a> for MultiGzDecoder<&'a [u8]> {
    fn rest(&self) -> &'a [u8] {
        self.get_ref()
    }
}

impl<'a> Inner<'a> for ZlibDecoder<&'a [u8]> {
    fn rest(&self) -> &'a [u8] {
        self.get_ref()
    }
}

impl<'a> Inner<'a> for DeflateDecoder<&'a [u8]> {
    fn rest(&self) -> &'a [u8] {
        self.get_ref()
    }
}
