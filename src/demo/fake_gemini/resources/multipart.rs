//! `Multipart`: bodies of several parts (`multipart/related`, `multipart/form-data`), read as they pass.

use memchr::memmem;

use super::contents::{Contents, StreamedContents};

/// One part: its head as text, and what is remembered of its bytes.
#[derive(Debug, Clone)]
pub struct FormPart {
    pub head: String,
    pub contents: Contents,
}

/// Reads a body, however it is cut, without holding it.
pub struct Multipart {
    /// What stands between two parts.
    delimiter: Vec<u8>,
    /// What was not understood yet: a head, or bytes that may be the beginning of a delimiter.
    pending: Vec<u8>,
    state: ParseState,
    parts: Vec<FormPart>,
}

enum ParseState {
    /// Before the first part, or after a delimiter.
    Between,
    In {
        head: String,
        streamed: StreamedContents,
    },
    /// After the last delimiter.
    Over,
}

impl FormPart {
    /// A header of the part.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The field of a form that the part is.
    pub fn field(&self) -> Option<&str> {
        self.quoted("name=\"")
    }

    pub fn filename(&self) -> Option<&str> {
        self.quoted("filename=\"")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.contents.beginning).into_owned()
    }

    fn quoted(&self, before: &str) -> Option<&str> {
        let disposition = self.header("content-disposition")?;
        let mut fields = disposition.split(';').map(str::trim);
        let value = fields.find_map(|field| field.strip_prefix(before))?;
        value.split('"').next()
    }
}

impl Multipart {
    /// `None` without a boundary in the content type.
    pub fn new(content_type: &str) -> Option<Self> {
        let mut fields = content_type.split(';').map(str::trim);
        let boundary = fields.find_map(|field| field.strip_prefix("boundary="))?;
        Some(Self {
            delimiter: format!("\r\n--{}", boundary.trim_matches('"')).into_bytes(),
            // The first delimiter has no line before it.
            pending: b"\r\n".to_vec(),
            state: ParseState::In {
                head: String::new(),
                streamed: StreamedContents::default(),
            },
            parts: Vec::new(),
        })
    }

    pub fn add(&mut self, piece: &[u8]) {
        self.pending.extend_from_slice(piece);
        while self.step() {}
    }

    /// The parts. What stands before the first delimiter is no part.
    pub fn parts(self) -> Vec<FormPart> {
        self.parts.into_iter().skip(1).collect()
    }

    /// Understands a little more of what is pending; `false` when more must come first.
    fn step(&mut self) -> bool {
        match &mut self.state {
            ParseState::Over => {
                self.pending.clear();
                false
            }
            ParseState::Between if self.pending.starts_with(b"--") => {
                self.state = ParseState::Over;
                true
            }
            ParseState::Between => {
                let Some(end) = memmem::find(&self.pending, b"\r\n\r\n") else {
                    return false;
                };
                let head = String::from_utf8_lossy(&self.pending[..end]).into_owned();
                self.pending.drain(..end + 4);
                self.state = ParseState::In {
                    head,
                    streamed: StreamedContents::default(),
                };
                true
            }
            ParseState::In { head, streamed } => {
                let Some(end) = memmem::find(&self.pending, &self.delimiter) else {
                    let kept = self.pending.len().min(self.delimiter.len() - 1);
                    let sure = self.pending.len() - kept;
                    streamed.add(&self.pending[..sure]);
                    self.pending.drain(..sure);
                    return false;
                };
                streamed.add(&self.pending[..end]);
                self.parts.push(FormPart {
                    head: std::mem::take(head),
                    contents: streamed.contents(),
                });
                self.pending.drain(..end + self.delimiter.len());
                self.state = ParseState::Between;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_same_wherever_the_body_is_cut() {
        let body = b"--b\r\nContent-Type: application/json\r\n\r\n{\"file\":{}}\r\n--b\r\nContent-Disposition: \
            form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nHi\r\n--\r\n--b--\r\n";

        for size in 1..body.len() {
            let mut multipart = Multipart::new("multipart/related; boundary=\"b\"").unwrap();
            body.chunks(size).for_each(|piece| multipart.add(piece));
            let parts = multipart.parts();

            assert_eq!(parts.len(), 2, "{size}");
            assert_eq!(parts[0].text(), "{\"file\":{}}", "{size}");
            assert_eq!(parts[1].text(), "Hi\r\n--", "{size}");
            assert_eq!(parts[1].field(), Some("file"), "{size}");
            assert_eq!(parts[1].filename(), Some("a.txt"), "{size}");
            assert_eq!(parts[1].header("content-type"), Some("text/plain"));
        }
    }
}
