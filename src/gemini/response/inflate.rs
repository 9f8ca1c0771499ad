//! `Inflater`: decompresses gzip and deflate as the bytes arrive, in constant memory.

use flate2::{Decompress, FlushDecompress, Status};

const BUFFER_BYTES: usize = 8 * 1024;

/// The bytes do not match their encoding; nothing more can be read.
#[derive(Debug, PartialEq, Eq)]
pub struct CorruptInput;

/// One compressed body.
#[derive(Debug)]
pub struct Inflater {
    stage: Stage,
    inner: Decompress,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
enum Stage {
    GzipHeader(GzipHeader),
    /// `deflate` means zlib, but some servers send it without a zlib header: the first byte decides.
    DeflateStart,
    Body,
    Ended,
}

/// The part of a gzip header that is still expected.
#[derive(Debug, Default)]
struct GzipHeader {
    position: usize,
    flags: u8,
    extra_bytes: Option<u16>,
}

impl Inflater {
    /// `None`: an unsupported encoding.
    pub fn new(content_encoding: &str) -> Option<Self> {
        let stage = match content_encoding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Stage::GzipHeader(GzipHeader::default()),
            "deflate" => Stage::DeflateStart,
            _ => return None,
        };
        let inner = Decompress::new(false);
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Some(Self {
            stage,
            inner,
            buffer,
        })
    }

    /// Decompresses these bytes and passes the output on, piece by piece.
    pub fn inflate(
        &mut self,
        mut bytes: &[u8],
        mut out: impl FnMut(&[u8]),
    ) -> Result<(), CorruptInput> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match &mut self.stage {
                Stage::Body | Stage::Ended => break,
                Stage::DeflateStart => {
                    // The low four bits of a zlib header mean "deflate"; no real raw deflate begins so.
                    self.inner = Decompress::new(byte & 0x0f == 8);
                    self.stage = Stage::Body;
                }
                Stage::GzipHeader(header) => {
                    if header.read(byte)? {
                        self.stage = Stage::Body;
                    }
                    bytes = rest;
                }
            }
        }
        while matches!(self.stage, Stage::Body) {
            let (before_in, before_out) = (self.inner.total_in(), self.inner.total_out());
            let status = self
                .inner
                .decompress(bytes, &mut self.buffer, FlushDecompress::None);
            let status = status.map_err(|_| CorruptInput)?;
            let consumed = difference(before_in, self.inner.total_in());
            let produced = difference(before_out, self.inner.total_out());
            out(&self.buffer[..produced]);
            bytes = &bytes[consumed..];
            if status == Status::StreamEnd {
                self.stage = Stage::Ended;
            }
            if consumed == 0 && produced == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn difference(before: u64, after: u64) -> usize {
    usize::try_from(after - before).unwrap_or(0)
}

impl GzipHeader {
    /// Reads one byte; `true`: it is the last of the header (RFC 1952).
    fn read(&mut self, byte: u8) -> Result<bool, CorruptInput> {
        const EXTRA: u8 = 4;
        const NAME: u8 = 8;
        const COMMENT: u8 = 16;
        const CHECKSUM: u8 = 2;
        match self.position {
            0 if byte != 0x1f => return Err(CorruptInput),
            1 if byte != 0x8b => return Err(CorruptInput),
            2 if byte != 8 => return Err(CorruptInput),
            3 => self.flags = byte,
            0..=9 => {}
            _ if self.flags & EXTRA != 0 => match (self.position, self.extra_bytes) {
                (10, _) => self.extra_bytes = Some(u16::from(byte)),
                (11, Some(low)) => self.extra(low | u16::from(byte) << 8),
                (_, left) => self.extra(left.unwrap_or(1).saturating_sub(1)),
            },
            _ if self.flags & NAME != 0 => self.clear_at_zero(NAME, byte),
            _ if self.flags & COMMENT != 0 => self.clear_at_zero(COMMENT, byte),
            // Two bytes: the first sets a marker.
            _ if self.flags & CHECKSUM != 0 => match self.extra_bytes {
                Some(u16::MAX) => self.flags &= !CHECKSUM,
                _ => self.extra_bytes = Some(u16::MAX),
            },
            _ => {}
        }
        self.position += 1;
        Ok(self.position >= 10 && self.flags & (EXTRA | NAME | COMMENT | CHECKSUM) == 0)
    }

    fn extra(&mut self, left: u16) {
        self.extra_bytes = Some(left);
        if left == 0 {
            self.flags &= !4;
        }
    }

    fn clear_at_zero(&mut self, flag: u8, byte: u8) {
        if byte == 0 {
            self.flags &= !flag;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use flate2::{Compression, GzBuilder};

    use super::*;

    fn inflate_all(encoding: &str, bytes: &[u8], piece: usize) -> Result<Vec<u8>, CorruptInput> {
        let mut inflate = Inflater::new(encoding).unwrap();
        let mut out = Vec::new();
        for chunk in bytes.chunks(piece) {
            inflate.inflate(chunk, |bytes| out.extend_from_slice(bytes))?;
        }
        Ok(out)
    }

    #[test]
    fn every_encoding_is_decompressed_wherever_it_is_cut() {
        let plain: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        let level = Compression::default();
        let mut gzip = GzEncoder::new(Vec::new(), level);
        let mut named = GzBuilder::new()
            .filename("a")
            .comment("b")
            .extra(b"xyz".as_slice())
            .write(Vec::new(), level);
        let mut zlib = ZlibEncoder::new(Vec::new(), level);
        let mut bare = DeflateEncoder::new(Vec::new(), level);
        gzip.write_all(&plain).unwrap();
        named.write_all(&plain).unwrap();
        zlib.write_all(&plain).unwrap();
        bare.write_all(&plain).unwrap();
        let forms = [
            ("gzip", gzip.finish().unwrap()),
            ("X-GZIP", named.finish().unwrap()),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", bare.finish().unwrap()),
        ];

        for (encoding, bytes) in forms {
            for piece in [1, 7, 4096, usize::MAX] {
                assert!(
                    inflate_all(encoding, &bytes, piece) == Ok(plain.clone()),
                    "{encoding} by {piece}"
                );
            }
        }
    }

    #[test]
    fn uncompressed_bytes_are_corrupt_and_a_truncated_body_gives_its_beginning() {
        assert_eq!(inflate_all("gzip", b"{\"a\":1}", 3), Err(CorruptInput));
        assert_eq!(inflate_all("deflate", &[0xff; 40], 3), Err(CorruptInput));
        assert_eq!(inflate_all("gzip", &[], 1), Ok(vec![]));
        assert!(Inflater::new("br").is_none());
    }
}
