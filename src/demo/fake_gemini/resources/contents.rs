//! `Contents`: the number, SHA-256 and beginning of uploaded bytes.

use std::fmt::Write;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Number of bytes kept: enough for the input of a batch; a file of 2 GiB must not be held.
const MAX_KEPT_BYTES: usize = 1024 * 1024;

/// Bytes that have arrived completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub bytes: u64,
    /// In hex.
    pub sha256: String,
    pub beginning: Bytes,
}

impl Contents {
    /// Content that the fake creates is held completely, whatever its size.
    pub fn whole(body: impl Into<Bytes>) -> Self {
        let beginning = body.into();
        Self {
            bytes: beginning.len() as u64,
            sha256: hex(&Sha256::digest(&beginning)),
            beginning,
        }
    }
}

/// Bytes that are arriving.
#[derive(Debug, Clone, Default)]
pub struct StreamedContents {
    pub bytes: u64,
    hash: Sha256,
    beginning: Vec<u8>,
}

impl StreamedContents {
    pub fn add(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.hash.update(piece);
        let room = MAX_KEPT_BYTES - self.beginning.len();
        self.beginning
            .extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// The content received so far.
    pub fn contents(&self) -> Contents {
        Contents {
            bytes: self.bytes,
            sha256: hex(&self.hash.clone().finalize()),
            beginning: Bytes::copy_from_slice(&self.beginning),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}
