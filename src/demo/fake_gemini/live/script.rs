//! A session word for word, as a recording has it.

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use super::{LiveSession, SessionEnd, SessionStep};
use crate::websocket::close_frame;

impl LiveSession {
    /// Does all steps, then hears whatever comes until the client ends the session.
    pub(super) async fn play(&mut self, steps: Vec<SessionStep>) -> SessionEnd {
        for step in steps {
            let done = match step {
                SessionStep::Receive => self.receive().await.map(drop),
                SessionStep::Send(message) => {
                    let sent = self.socket.send(message).await;
                    sent.map_err(|_| SessionEnd::ClientDropped)
                }
                SessionStep::Close(code, reason) => Err(self.close(code, &reason).await),
                SessionStep::CloseWithoutCode => {
                    let _ = self.socket.send(Message::Close(None)).await;
                    self.receive_until_end().await;
                    Err(SessionEnd::FakeClosed)
                }
                SessionStep::DropConnection => Err(SessionEnd::FakeDropped),
            };
            if let Err(ended) = done {
                return ended;
            }
        }
        self.receive_until_end().await
    }

    /// Closes the session and waits for the client's answer.
    pub(super) async fn close(&mut self, code: u16, reason: &str) -> SessionEnd {
        let frame = close_frame(code, reason);
        if self.socket.send(Message::Close(Some(frame))).await.is_err() {
            return SessionEnd::ClientDropped;
        }
        self.receive_until_end().await;
        SessionEnd::FakeClosed
    }
}
