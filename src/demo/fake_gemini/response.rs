//! `FakeResponse`: the answer to a request, its pace, and its fault if its behaviour has one.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::behaviour::{Behaviour, StreamErrorFormat};
use super::errors::GoogleError;
use super::request_target::ResponseFormat;
use super::response_body::{BodyChunks, BodyEnd};
use super::response_shape::ResponseShape;

/// An answer, before it becomes HTTP.
pub struct FakeResponse {
    pub status: u16,
    pub content_type: Cow<'static, str>,
    pub is_stream: bool,
    pub body_chunks: BodyChunks,
    /// Headers in addition to those of every answer, and before them.
    pub headers: Vec<(&'static str, String)>,
    pub front_end: FrontEnd,
}

/// The server of Google that answers, as its headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontEnd {
    Api,
    /// The one for uploads, and for the bytes of downloads.
    Uploads,
}

impl FakeResponse {
    pub fn json(body: String) -> Self {
        Self {
            status: 200,
            content_type: "application/json; charset=UTF-8".into(),
            is_stream: false,
            body_chunks: BodyChunks::whole(body),
            headers: Vec::new(),
            front_end: FrontEnd::Api,
        }
    }

    /// The OpenAI layer and Interactions name no charset.
    pub fn compact(body: String) -> Self {
        Self {
            content_type: "application/json".into(),
            ..Self::json(body)
        }
    }

    pub fn events(events: Vec<String>) -> Self {
        let mut answer = Self {
            content_type: "text/event-stream".into(),
            is_stream: true,
            ..Self::json(String::new())
        };
        answer.body_chunks.chunks = events.into_iter().map(Bytes::from).collect();
        answer
    }

    pub fn refusal(error: &GoogleError, format: ResponseFormat) -> Self {
        Self {
            status: error.status,
            content_type: error.content_type(format).into(),
            ..Self::json(error.body_for(format))
        }
    }

    pub fn with_shape(mut self, response_shape: &ResponseShape) -> Self {
        if self.is_stream {
            self.body_chunks.chunk_delay = Duration::from_millis(response_shape.chunk_delay_ms);
        }
        self.body_chunks.has_content_length = response_shape.has_content_length && !self.is_stream;
        self
    }

    /// Breaks the answer where its behaviour says.
    pub fn with_faults(mut self, behaviour: &Behaviour, format: ResponseFormat) -> Self {
        let body_chunks = &mut self.body_chunks;
        match behaviour {
            Behaviour::AbortStream(after) if self.is_stream => {
                body_chunks.chunks.truncate(*after);
                body_chunks.ending = BodyEnd::Aborted;
            }
            Behaviour::StallStream(after) if self.is_stream => {
                body_chunks.chunks.truncate(*after);
                body_chunks.ending = BodyEnd::Stalled;
            }
            Behaviour::StreamError {
                after,
                code,
                format: error_format,
            } if self.is_stream => {
                let error = GoogleError::in_stream(*code);
                body_chunks.chunks.truncate(*after);
                body_chunks.chunks.push(match error_format {
                    StreamErrorFormat::Event => error.as_event(format, *after == 0).into(),
                    StreamErrorFormat::RawTail => error.body_for(ResponseFormat::Json).into(),
                });
            }
            Behaviour::FirstEventError(code) if self.is_stream => {
                let error = GoogleError::in_stream(*code);
                body_chunks.chunks = vec![error.as_event(format, true).into()];
            }
            Behaviour::TruncatedBody if !self.is_stream => {
                if let Some(whole) = body_chunks.chunks.first_mut() {
                    whole.truncate(whole.len() / 2);
                }
                body_chunks.ending = BodyEnd::Aborted;
            }
            _ => (),
        }
        self
    }
}
