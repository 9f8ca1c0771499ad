//! Captures the bodies of a request, if they may be kept.

use http::HeaderMap;
use http::request::Parts;

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::pool::secret::Secret;
use crate::pool::settings::Settings;
use crate::proxy::credential::credential;
use crate::proxy::record::Record;

impl Record {
    /// Begins to capture the bodies of an authorized request, if the settings say so.
    pub fn capture_bodies(&mut self, settings: &Settings, client: ClientKeyId, head: &Parts) {
        let sample = || rand::random_range(0..100);
        let redactor = || self.app.redactor();
        self.bodies = self.app.body_log.begin(settings, client, sample, redactor);
        if let Some(bodies) = &mut self.bodies
            && let Some(credential) = credential(&head.headers, head.uri.query())
        {
            bodies.set_credential(Secret::new(&credential.text));
        }
    }

    /// Captures the request; of one whose body streams, its type only.
    pub fn request_body(&mut self, headers: &HeaderMap, body: &[u8], is_streaming: bool) {
        match &mut self.bodies {
            Some(bodies) if is_streaming => bodies.uploaded_file(headers),
            Some(bodies) => bodies.request(headers, body),
            None => {}
        }
    }

    /// Begins to capture an answer; `is_file`: its content is a file.
    pub fn answer_head(&mut self, headers: &HeaderMap, is_file: bool) {
        if let Some(bodies) = &mut self.bodies {
            bodies.answer(headers, is_file);
        }
    }

    /// Captures the next bytes of the answer.
    pub fn answer_bytes(&mut self, bytes: &[u8]) {
        if let Some(bodies) = &mut self.bodies {
            bodies.answer_bytes(bytes);
        }
    }

    /// Submits what was captured, after the row: neither the row nor the answer waits for it.
    pub(super) fn submit_bodies(&mut self, id: RequestId, outcome: Option<Outcome>, bytes: u64) {
        if let Some(bodies) = self.bodies.take()
            && let Some(bodies) = outcome.and_then(|outcome| bodies.end(id, outcome, bytes))
        {
            self.app.body_log.submit(bodies);
        }
    }
}
