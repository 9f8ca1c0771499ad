//! `Answer`: what a request gets, at which pace, and broken where its fate says.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::body::{Ending, Pieces};
use super::call::Form;
use super::errors::GoogleError;
use super::fate::{Fate, StreamErrorForm};
use super::manner::Manner;

/// What a request gets, before it is painted as HTTP.
pub struct Answer {
    pub status: u16,
    pub content_type: Cow<'static, str>,
    pub is_stream: bool,
    pub pieces: Pieces,
    /// Beside those of every answer, before them.
    pub headers: Vec<(&'static str, String)>,
    pub front: Front,
}

/// Which of Google's servers answers, as its headers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    Api,
    /// The one for uploads, and for the bytes of downloads.
    Uploads,
}

impl Answer {
    pub fn json(body: String) -> Self {
        Self {
            status: 200,
            content_type: "application/json; charset=UTF-8".into(),
            is_stream: false,
            pieces: Pieces::whole(body),
            headers: Vec::new(),
            front: Front::Api,
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
        answer.pieces.chunks = events.into_iter().map(Bytes::from).collect();
        answer
    }

    pub fn refusal(error: &GoogleError, form: Form) -> Self {
        Self {
            status: error.status,
            content_type: error.content_type(form).into(),
            ..Self::json(error.body_for(form))
        }
    }

    pub fn paced(mut self, manner: &Manner) -> Self {
        if self.is_stream {
            self.pieces.between = Duration::from_millis(manner.chunk_delay_ms);
        }
        self.pieces.known_length = manner.known_length && !self.is_stream;
        self
    }

    /// Lets a fate break the answer where it says.
    pub fn broken_by(mut self, fate: &Fate, form: Form) -> Self {
        let pieces = &mut self.pieces;
        match fate {
            Fate::CutStream(after) if self.is_stream => {
                pieces.chunks.truncate(*after);
                pieces.ending = Ending::Cut;
            }
            Fate::StallStream(after) if self.is_stream => {
                pieces.chunks.truncate(*after);
                pieces.ending = Ending::Stall;
            }
            Fate::StreamError {
                after,
                code,
                form: error_form,
            } if self.is_stream => {
                let error = GoogleError::in_stream(*code);
                pieces.chunks.truncate(*after);
                pieces.chunks.push(match error_form {
                    StreamErrorForm::Event => error.as_event(form, *after == 0).into(),
                    StreamErrorForm::RawTail => error.body_for(Form::Json).into(),
                });
            }
            Fate::FirstEventError(code) if self.is_stream => {
                let error = GoogleError::in_stream(*code);
                pieces.chunks = vec![error.as_event(form, true).into()];
            }
            Fate::CutBody if !self.is_stream => {
                if let Some(whole) = pieces.chunks.first_mut() {
                    whole.truncate(whole.len() / 2);
                }
                pieces.ending = Ending::Cut;
            }
            _ => (),
        }
        self
    }
}
