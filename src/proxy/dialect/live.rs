//! The close frames by which a live session is refused.

use http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::proxy::refusal::Refusal;
use crate::websocket::close_frame;

/// The close frame of a refusal.
pub fn close_of(refusal: &Refusal) -> CloseFrame {
    let description = refusal.describe();
    close_frame(close_code(description.status), &description.message)
}

/// The close code that Google sends for a status.
pub fn close_code(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 1007,
        413 => 1009,
        429 | 500.. => 1011,
        _ => 1008,
    }
}
