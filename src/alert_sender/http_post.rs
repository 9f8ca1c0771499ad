//! A POST of a JSON text to a receiver of alerts.

use http::{HeaderMap, StatusCode};

use crate::alert_sender::send_error::{SEND_TIMEOUT, SendError};
use crate::http_post::post;

/// Maximum number of characters of an answer in an error.
const QUOTED_CHARACTERS: usize = 120;

/// Sends a JSON text. Any status but 2xx is an error.
pub async fn post_json(url: &str, headers: HeaderMap, body: String) -> Result<(), SendError> {
    let sent = post(url, headers, "application/json", body.into(), SEND_TIMEOUT).await;
    let (status, answer) = sent.map_err(SendError::Failed)?;
    if status.is_success() {
        return Ok(());
    }
    if status == StatusCode::GONE {
        return Err(SendError::Gone);
    }
    let answer = String::from_utf8_lossy(&answer);
    let quoted: String = answer.chars().take(QUOTED_CHARACTERS).collect();
    let quoted = quoted.split_whitespace().collect::<Vec<_>>().join(" ");
    let status = status.as_u16();
    Err(SendError::Failed(match quoted.as_str() {
        "" => format!("status {status}"),
        quoted => format!("status {status}: {quoted}"),
    }))
}
