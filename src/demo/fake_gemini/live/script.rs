//! A session word for word, as a recording has it.

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use super::{Ended, Session};
use crate::websocket::close_frame;

/// What the fake does next in a session that is given word for word.
#[derive(Debug, Clone)]
pub enum Step {
    /// Waits for one message of the client's, whatever it says.
    Hear,
    Say(Message),
    /// Closes with a code and a reason.
    Close(u16, String),
    /// Closes without either.
    CloseSilently,
    /// Closes the connection without a word.
    Vanish,
}

impl Session {
    /// Does all steps, then hears whatever comes until the client ends the session.
    pub(super) async fn play(&mut self, steps: Vec<Step>) -> Ended {
        for step in steps {
            let done = match step {
                Step::Hear => self.hear().await.map(drop),
                Step::Say(message) => {
                    let sent = self.socket.send(message).await;
                    sent.map_err(|_| Ended::ClientVanished)
                }
                Step::Close(code, reason) => Err(self.close(code, &reason).await),
                Step::CloseSilently => {
                    let _ = self.socket.send(Message::Close(None)).await;
                    self.listen().await;
                    Err(Ended::FakeClosed)
                }
                Step::Vanish => Err(Ended::FakeVanished),
            };
            if let Err(ended) = done {
                return ended;
            }
        }
        self.listen().await
    }

    /// Closes the session and waits for the client's answer.
    pub(super) async fn close(&mut self, code: u16, reason: &str) -> Ended {
        let frame = close_frame(code, reason);
        if self.socket.send(Message::Close(Some(frame))).await.is_err() {
            return Ended::ClientVanished;
        }
        self.listen().await;
        Ended::FakeClosed
    }
}
