//! Reads the answer of a tried request: its text as it arrives, and all that was sent.

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::dashboard::logs::body_text;
use crate::pool::request_id::RequestId;

/// More of an answer is not kept for the page; its text still arrives.
const MAX_KEPT_BYTES: usize = 2 * 1024 * 1024;

/// An answer of the pool that is being read.
#[derive(Debug)]
pub struct TriedAnswer {
    /// The id of the log row.
    pub id: Option<RequestId>,
    pub status: StatusCode,
    /// The text of the model so far.
    pub text: String,
    /// What was sent, up to a maximum.
    pub sent: Vec<u8>,
    /// The end of the connection came before that of the answer.
    pub is_broken: bool,
    is_stream: bool,
    /// The beginning of a line that continues in the next chunk.
    line: Vec<u8>,
    body: Body,
}

impl TriedAnswer {
    pub fn new(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let header = |name: &str| head.headers.get(name)?.to_str().ok();
        let content_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
        Self {
            id: header("x-request-id").and_then(|id| id.parse().ok()),
            status: head.status,
            text: String::new(),
            sent: Vec::new(),
            is_broken: false,
            is_stream: content_type.starts_with("text/event-stream"),
            line: Vec::new(),
            body,
        }
    }

    /// Waits for more of the answer and returns its text, which may be empty; `None`: the answer has ended.
    pub async fn next_text(&mut self) -> Option<String> {
        let Ok(frame) = self.body.frame().await? else {
            self.is_broken = true;
            return None;
        };
        let text = frame.into_data().map(|data| self.read(&data));
        let text = text.unwrap_or_default();
        self.text.push_str(&text);
        Some(text)
    }

    /// Reads the answer to its end.
    pub async fn read_to_end(&mut self) {
        while self.next_text().await.is_some() {}
        self.finish();
    }

    /// Reads the text of an answer that is no stream, once it is complete.
    pub fn finish(&mut self) {
        if !self.is_stream
            && let Ok(value) = serde_json::from_slice::<Value>(&self.sent)
        {
            self.text = text_of(&value);
        }
    }

    /// The message of an error, on every surface.
    pub fn error_message(&self) -> Option<String> {
        if self.status.is_success() {
            return None;
        }
        let value: Value = serde_json::from_slice(&self.sent).ok()?;
        let error = if value.is_array() {
            &value[0]["error"]
        } else {
            &value["error"]
        };
        error["message"].as_str().map(ToOwned::to_owned)
    }

    fn read(&mut self, data: &Bytes) -> String {
        let room = MAX_KEPT_BYTES.saturating_sub(self.sent.len());
        self.sent.extend_from_slice(&data[..data.len().min(room)]);
        let mut text = String::new();
        if !self.is_stream {
            return text;
        }
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if !piece.ends_with(b"\n") {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if let Some(event) = line.strip_prefix(b"data:")
                && let Ok(value) = serde_json::from_slice::<Value>(event)
            {
                text.push_str(&text_of(&value));
            }
        }
        text
    }
}

/// The text of the first candidate.
fn text_of(value: &Value) -> String {
    let answers = body_text::answers(std::slice::from_ref(value));
    answers.into_iter().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content_type: &str, chunks: Vec<&'static str>) -> TriedAnswer {
        let chunks = chunks.into_iter().map(Ok::<_, std::convert::Infallible>);
        let body = Body::from_stream(futures_util::stream::iter(chunks));
        let response = Response::builder()
            .status(status)
            .header("content-type", content_type);
        TriedAnswer::new(response.body(body).unwrap())
    }

    #[tokio::test]
    async fn the_text_of_a_stream_arrives_whatever_the_chunks() {
        let chunks = vec![
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Sca\"}]}}]}\r\n\r\nda",
            "ta: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"tter\"}]}}]}\r\n\r\n",
            "data: [DONE]\n\n",
        ];
        let mut answer = answer(200, "text/event-stream", chunks);
        let mut texts = Vec::new();
        while let Some(text) = answer.next_text().await {
            texts.push(text);
        }

        assert_eq!(texts, ["Sca", "tter", ""]);
        assert_eq!(answer.text, "Scatter");
    }

    #[tokio::test]
    async fn a_whole_answer_is_read_on_every_surface() {
        let cases = [
            r#"{"candidates":[{"content":{"parts":[{"text":"blue"}]}}]}"#,
            r#"{"choices":[{"message":{"content":"blue"}}]}"#,
            r#"{"steps":[{"type":"thought","signature":"x"},{"type":"model_output","content":[{"type":"text","text":"blue"}]}]}"#,
        ];
        for body in cases {
            let mut answer = answer(200, "application/json", vec![body]);
            answer.read_to_end().await;
            assert_eq!(
                (answer.text.as_str(), answer.error_message()),
                ("blue", None),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn the_message_of_an_error_is_found() {
        for body in [
            r#"{"error":{"code":429,"message":"wait"}}"#,
            r#"[{"error":{"code":429,"message":"wait"}}]"#,
        ] {
            let mut answer = answer(429, "application/json", vec![body]);
            answer.read_to_end().await;
            assert_eq!(answer.error_message().as_deref(), Some("wait"), "{body}");
        }
    }
}
