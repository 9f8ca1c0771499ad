//! `BodyCapture`: copies a request's bodies while they pass, up to a limit, and neither changes nor delays them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::gemini::redact::Redactor;
use crate::gemini::response::content_decoder::{ContentEncoding, encodings_of};
use crate::pool::body_log::BodyLogMode;
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::pool::secret::Secret;

/// How much is captured beyond the limit, so that a key at the limit is found as a whole: keys have up to 1,024 characters.
pub const BEYOND_LIMIT: usize = 1_024;
/// The memory of all captured bodies together. Without it they are cut.
const MAX_MEMORY: usize = 128 * 1024 * 1024;
/// Longer content types are cut.
const MAX_TYPE_BYTES: usize = 128;

/// The bytes that all captured bodies take.
#[derive(Debug, Default)]
pub struct CaptureMemory {
    taken: AtomicUsize,
}

/// The bodies of a running request.
#[derive(Debug)]
pub struct BodyCapture {
    mode: BodyLogMode,
    max_bytes: usize,
    /// The keys at the begin: one may be deleted before the bodies are stored.
    redactor: Arc<Redactor>,
    credential: Option<Secret>,
    request: CapturedBody,
    answer: CapturedBody,
}

/// The bodies of a request that has ended.
#[derive(Debug)]
pub struct CapturedBodies {
    pub request_id: RequestId,
    pub max_bytes: usize,
    pub redactor: Arc<Redactor>,
    pub credential: Option<Secret>,
    pub request: CapturedBody,
    pub answer: CapturedBody,
}

/// One body as far as it was captured.
#[derive(Debug)]
pub struct CapturedBody {
    pub content_type: Option<String>,
    /// `None`: one is not supported.
    pub encodings: Option<Vec<ContentEncoding>>,
    /// Whether it is the content of a file, which is never read.
    pub is_file: bool,
    pub captured: Vec<u8>,
    /// Its whole size.
    pub bytes: u64,
    memory: Arc<CaptureMemory>,
}

impl BodyCapture {
    pub fn new(
        mode: BodyLogMode,
        max_bytes: usize,
        redactor: Arc<Redactor>,
        memory: &Arc<CaptureMemory>,
    ) -> Self {
        Self {
            mode,
            max_bytes,
            redactor,
            credential: None,
            request: CapturedBody::new(memory),
            answer: CapturedBody::new(memory),
        }
    }

    /// The client's credential, which is redacted too.
    pub fn set_credential(&mut self, credential: Secret) {
        self.credential = Some(credential);
    }

    /// Captures the request. Copied, because a reference would hold the whole body for as long as the answer streams.
    pub fn request(&mut self, headers: &HeaderMap, body: &[u8]) {
        self.request.begin(headers, false);
        self.request.add(body, self.max_bytes);
    }

    /// Records the type of a request whose body is a file.
    pub fn uploaded_file(&mut self, headers: &HeaderMap) {
        self.request.begin(headers, true);
    }

    /// Begins an answer.
    pub fn answer(&mut self, headers: &HeaderMap, is_file: bool) {
        self.answer.begin(headers, is_file);
    }

    /// Captures the next bytes of the answer.
    pub fn answer_bytes(&mut self, bytes: &[u8]) {
        self.answer.add(bytes, self.max_bytes);
    }

    /// The bodies of a request that ended like this and had so many bytes; `None`: they are not kept.
    pub fn end(
        mut self,
        request_id: RequestId,
        outcome: Outcome,
        request_bytes: u64,
    ) -> Option<CapturedBodies> {
        self.request.bytes = self.request.bytes.max(request_bytes);
        self.mode.keeps(outcome).then_some(CapturedBodies {
            request_id,
            max_bytes: self.max_bytes,
            redactor: self.redactor,
            credential: self.credential,
            request: self.request,
            answer: self.answer,
        })
    }
}

impl CapturedBody {
    pub fn new(memory: &Arc<CaptureMemory>) -> Self {
        Self {
            content_type: None,
            encodings: Some(Vec::new()),
            is_file: false,
            captured: Vec::new(),
            bytes: 0,
            memory: memory.clone(),
        }
    }

    /// Replaces what was captured by the begin of a body with these headers.
    pub fn begin(&mut self, headers: &HeaderMap, is_file: bool) {
        let content_type = headers.get(CONTENT_TYPE);
        self.content_type = content_type.and_then(|value| {
            let text = value.to_str().ok()?;
            Some(text[..text.floor_char_boundary(MAX_TYPE_BYTES)].to_owned())
        });
        self.encodings = encodings_of(headers);
        self.is_file = is_file;
        self.memory.give_back(self.captured.len());
        self.captured = Vec::new();
        self.bytes = 0;
    }

    /// Captures bytes up to the limit and counts them all.
    pub fn add(&mut self, bytes: &[u8], max_bytes: usize) {
        let is_continued = u64::try_from(self.captured.len()) == Ok(self.bytes);
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let room = (max_bytes + BEYOND_LIMIT).saturating_sub(self.captured.len());
        let captured = &bytes[..bytes.len().min(room)];
        // Never with a gap.
        if is_continued && !self.is_file && self.memory.take(captured.len()) {
            self.captured.extend_from_slice(captured);
        }
    }

    /// Whether something of it was not captured.
    pub fn is_cut(&self) -> bool {
        u64::try_from(self.captured.len()) != Ok(self.bytes)
    }
}

impl Drop for CapturedBody {
    fn drop(&mut self) {
        self.memory.give_back(self.captured.len());
    }
}

impl CaptureMemory {
    fn take(&self, bytes: usize) -> bool {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= MAX_MEMORY;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(mode: BodyLogMode, memory: &Arc<CaptureMemory>) -> BodyCapture {
        BodyCapture::new(mode, 1_000, Arc::default(), memory)
    }

    #[test]
    fn a_body_is_captured_up_to_the_limit_and_its_memory_is_returned() {
        let memory = Arc::new(CaptureMemory::default());
        let mut capture = capture(BodyLogMode::All, &memory);
        capture.request(&HeaderMap::new(), &[b'r'; 10]);
        for _ in 0..1_000 {
            capture.answer_bytes(&[b'a'; 100]);
        }

        let kept = capture.end(RequestId(1), Outcome::Success, 0).unwrap();

        assert_eq!((kept.request.bytes, kept.request.is_cut()), (10, false));
        assert_eq!(kept.answer.bytes, 100_000);
        assert_eq!(kept.answer.captured.len(), 1_000 + BEYOND_LIMIT);
        assert!(kept.answer.is_cut());
        let taken = memory.taken.load(Ordering::Relaxed);
        assert_eq!(taken, 10 + 1_000 + BEYOND_LIMIT);
        drop(kept);
        assert_eq!(memory.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn without_memory_a_body_is_cut_and_has_no_gap() {
        let memory = Arc::new(CaptureMemory::default());
        let mut capture = capture(BodyLogMode::All, &memory);
        capture.answer_bytes(b"first");
        assert!(memory.take(MAX_MEMORY - 5));
        capture.answer_bytes(b"second");
        memory.give_back(MAX_MEMORY - 5);
        capture.answer_bytes(b"third");

        let kept = capture.end(RequestId(1), Outcome::Success, 0).unwrap();

        assert_eq!(kept.answer.captured, b"first");
        assert_eq!(kept.answer.bytes, 16);
    }

    #[test]
    fn successes_are_dropped_when_only_errors_are_kept() {
        let memory = Arc::new(CaptureMemory::default());
        for (outcome, is_kept) in [
            (Outcome::Success, false),
            (Outcome::ClientGone, false),
            (Outcome::ClientError, true),
            (Outcome::BrokenOff, true),
        ] {
            let mut capture = capture(BodyLogMode::Errors, &memory);
            capture.answer_bytes(b"an answer");
            let kept = capture.end(RequestId(1), outcome, 0);
            assert_eq!(kept.is_some(), is_kept, "{outcome:?}");
        }
        assert_eq!(memory.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_content_of_a_file_is_not_captured() {
        let memory = Arc::new(CaptureMemory::default());
        let mut capture = capture(BodyLogMode::All, &memory);
        capture.uploaded_file(&HeaderMap::new());
        capture.answer(&HeaderMap::new(), true);
        capture.answer_bytes(b"content");

        let kept = capture.end(RequestId(1), Outcome::Success, 99).unwrap();

        assert_eq!((kept.request.bytes, kept.answer.bytes), (99, 7));
        assert!(kept.answer.captured.is_empty());
    }
}
