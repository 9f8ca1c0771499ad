//! `ContentDecoder`: undoes the content encodings of a response as its bytes arrive, in constant memory.

use std::borrow::Cow;
use std::io;

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{
    BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use strum::EnumString;

/// The size of the buffer of each encoding.
const BUFFER_BYTES: usize = 8 * 1024;

/// A body with more encodings is not decoded.
const MAX_ENCODINGS: usize = 4;

/// The largest window of HTTP's zstd is 8 MiB (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// One content encoding of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString)]
#[strum(ascii_case_insensitive)]
pub enum ContentEncoding {
    #[strum(serialize = "gzip", serialize = "x-gzip")]
    Gzip,
    #[strum(serialize = "deflate")]
    Deflate,
    #[strum(serialize = "br")]
    Brotli,
    #[strum(serialize = "zstd")]
    Zstd,
}

/// The encodings of a body, in the order in which they were applied; `None` if one of them is not supported.
pub fn encodings_of(headers: &HeaderMap) -> Option<Vec<ContentEncoding>> {
    let mut encodings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().ok()?.split(',').map(str::trim) {
            if !name.is_empty() && !name.eq_ignore_ascii_case("identity") {
                encodings.push(name.parse().ok()?);
            }
        }
    }
    (encodings.len() <= MAX_ENCODINGS).then_some(encodings)
}

/// Decodes a complete body. `None`: an encoding is not supported or the bytes do not match it, or the result is longer
/// than `max_bytes`.
pub fn decode_body<'a>(
    body: &'a [u8],
    headers: &HeaderMap,
    max_bytes: usize,
) -> Option<Cow<'a, [u8]>> {
    let encodings = encodings_of(headers)?;
    if encodings.is_empty() {
        return Some(Cow::Borrowed(body));
    }
    let mut decoder = ContentDecoder::new(&encodings, max_bytes);
    let mut output = Vec::new();
    let result = decoder.decode(body, |piece| output.extend_from_slice(piece));
    result.is_ok().then_some(Cow::Owned(output))
}

/// The bytes do not match their encoding, or are too many; nothing more can be decoded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a body that cannot be decoded")]
pub struct UndecodableBody;

impl From<io::Error> for UndecodableBody {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// Decodes one body.
pub struct ContentDecoder {
    /// In the order in which the encodings were applied.
    layers: Vec<Layer>,
    /// The number of bytes that may still be returned.
    remaining_bytes: usize,
}

/// One encoding of a body.
struct Layer {
    encoding: ContentEncoding,
    /// Created at the first byte.
    decoder: Option<Box<dyn DecodeV2 + Send + Sync>>,
    has_ended: bool,
    buffer: Box<[u8]>,
}

impl ContentDecoder {
    /// At most `max_bytes` are decoded.
    pub fn new(encodings: &[ContentEncoding], max_bytes: usize) -> Self {
        let layers = encodings.iter().map(|&encoding| Layer {
            encoding,
            decoder: None,
            has_ended: false,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        });
        Self {
            layers: layers.collect(),
            remaining_bytes: max_bytes,
        }
    }

    /// Decodes the next bytes and passes the result on, piece by piece.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        mut out: impl FnMut(&[u8]),
    ) -> Result<(), UndecodableBody> {
        let remaining = &mut self.remaining_bytes;
        decode_layers(&mut self.layers, bytes, &mut |piece| {
            *remaining = remaining.checked_sub(piece.len()).ok_or(UndecodableBody)?;
            out(piece);
            Ok(())
        })
    }
}

/// Undoes the last of these encodings, then the others.
fn decode_layers(
    layers: &mut [Layer],
    bytes: &[u8],
    out: &mut dyn FnMut(&[u8]) -> Result<(), UndecodableBody>,
) -> Result<(), UndecodableBody> {
    let Some((layer, inner)) = layers.split_last_mut() else {
        return out(bytes);
    };
    let Some(&first) = bytes.first() else {
        return Ok(());
    };
    let decoder = layer
        .decoder
        .get_or_insert_with(|| layer.encoding.decoder(first));
    let mut input = PartialBuffer::new(bytes);
    loop {
        let position = input.written_len();
        let is_consumed = position == bytes.len();
        if layer.has_ended && !is_consumed {
            // Gzip and zstd allow several streams in sequence.
            decoder.reinit()?;
            layer.has_ended = false;
        }
        let mut output = WriteBuffer::new_initialized(&mut layer.buffer);
        if is_consumed {
            decoder.flush(&mut output)?;
        } else {
            layer.has_ended = decoder.decode(&mut input, &mut output)?;
        }
        let (length, is_full) = (output.written_len(), output.has_no_spare_space());
        if input.written_len() == position && length == 0 && !is_consumed && !layer.has_ended {
            return Err(UndecodableBody);
        }
        decode_layers(inner, &layer.buffer[..length], out)?;
        if input.written_len() == bytes.len() && !is_full {
            return Ok(());
        }
    }
}

impl ContentEncoding {
    fn decoder(self, first_byte: u8) -> Box<dyn DecodeV2 + Send + Sync> {
        match self {
            Self::Gzip => Box::new(GzipDecoder::new()),
            // `deflate` means zlib, but some servers send it without a zlib header. The low four bits of that header
            // mean "deflate"; real deflate without a header does not begin with them.
            Self::Deflate if first_byte & 0x0f == 8 => Box::new(ZlibDecoder::new()),
            Self::Deflate => Box::new(DeflateDecoder::new()),
            Self::Brotli => Box::new(BrotliDecoder::new()),
            Self::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                Box::new(ZstdDecoder::new_with_params(&[window]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use brotli::CompressorWriter;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use flate2::{Compression, GzBuilder};
    use http::HeaderValue;

    use super::*;

    fn decode_all(encodings: &str, bytes: &[u8], piece: usize) -> Option<Vec<u8>> {
        let encodings = encodings_of(&headers(encodings)).unwrap();
        let mut decoder = ContentDecoder::new(&encodings, 10 << 20);
        let mut output = Vec::new();
        for chunk in bytes.chunks(piece) {
            let result = decoder.decode(chunk, |bytes| output.extend_from_slice(bytes));
            result.ok()?;
        }
        Some(output)
    }

    fn headers(encodings: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, encodings.parse().unwrap())])
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn brotli(plain: &[u8]) -> Vec<u8> {
        let mut encoder = CompressorWriter::new(Vec::new(), 4096, 5, 22);
        encoder.write_all(plain).unwrap();
        encoder.into_inner()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        zstd::encode_all(plain, 3).unwrap()
    }

    #[test]
    fn every_encoding_is_decoded_wherever_it_is_cut() {
        let plain: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        let level = Compression::default();
        let mut named = GzBuilder::new()
            .filename("a")
            .comment("b")
            .extra(b"xyz".as_slice())
            .write(Vec::new(), level);
        let mut zlib = ZlibEncoder::new(Vec::new(), level);
        let mut bare = DeflateEncoder::new(Vec::new(), level);
        named.write_all(&plain).unwrap();
        zlib.write_all(&plain).unwrap();
        bare.write_all(&plain).unwrap();
        let (first, second) = plain.split_at(1000);
        let cases = [
            ("gzip", gzip(&plain)),
            ("X-GZIP", named.finish().unwrap()),
            ("gzip", [gzip(first), gzip(second)].concat()),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", bare.finish().unwrap()),
            ("br", brotli(&plain)),
            ("Zstd", zstd(&plain)),
            ("zstd", [zstd(first), zstd(second)].concat()),
            ("br, , identity,gzip", gzip(&brotli(&plain))),
            ("zstd,zstd,gzip", gzip(&zstd(&zstd(&plain)))),
            ("Identity", plain.clone()),
        ];

        for (encodings, bytes) in cases {
            for piece in [1, 7, 4096, usize::MAX] {
                let decoded = decode_all(encodings, &bytes, piece);
                assert!(decoded.as_ref() == Some(&plain), "{encodings} by {piece}");
            }
        }
    }

    #[test]
    fn flushed_bytes_are_decoded_at_once() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut brotli = CompressorWriter::new(Vec::new(), 4096, 5, 22);
        let mut zstd = zstd::Encoder::new(Vec::new(), 3).unwrap();
        for encoder in [&mut gzip as &mut dyn Write, &mut brotli, &mut zstd] {
            encoder.write_all(b"data: {}\n\n").unwrap();
            encoder.flush().unwrap();
        }

        let flushed = [
            ("gzip", gzip.get_ref()),
            ("br", brotli.get_ref()),
            ("zstd", zstd.get_ref()),
        ];
        for (encoding, bytes) in flushed {
            let decoded = decode_all(encoding, bytes, 3);
            assert_eq!(decoded.unwrap(), b"data: {}\n\n", "{encoding}");
        }
    }

    #[test]
    fn bytes_in_another_encoding_are_refused() {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let decode = |bytes: &[u8]| decode_all(encoding, bytes, 3);
            assert_eq!(decode(&[0xff; 40]), None, "{encoding}");
            assert_eq!(decode(&[]), Some(vec![]), "{encoding}");
            // Deflate without a header has neither a mark nor a checksum.
            let is_recognized = decode(&b"{\"a\":1}".repeat(9)).is_none();
            assert!(is_recognized || encoding == "deflate", "{encoding}");
        }
        assert_eq!(
            decode_all("gzip", &[&gzip(b"x")[..], b"y"].concat(), 9),
            None
        );
        for unsupported in ["compress", "gzip, gzip, gzip, gzip, gzip"] {
            assert_eq!(encodings_of(&headers(unsupported)), None, "{unsupported}");
        }
        let not_ascii = HeaderValue::from_bytes(b"gzip\xff").unwrap();
        let not_ascii = HeaderMap::from_iter([(CONTENT_ENCODING, not_ascii)]);
        assert_eq!(encodings_of(&not_ascii), None);
    }

    #[test]
    fn a_body_is_decoded_up_to_its_limit() {
        let plain = vec![0; 64 << 20];
        for (encoding, bytes) in [
            ("gzip", gzip(&plain)),
            ("gzip, gzip", gzip(&gzip(&plain))),
            ("br", brotli(&plain)),
            ("zstd", zstd(&plain)),
            ("zstd, br", brotli(&zstd(&plain))),
        ] {
            let decode = |max_bytes| decode_body(&bytes, &headers(encoding), max_bytes);
            assert!(decode(plain.len() - 1).is_none(), "{encoding}");
            assert!(decode(plain.len()).is_some(), "{encoding}");
        }
    }

    #[test]
    fn a_zstd_frame_with_a_larger_window_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(24).unwrap();
        encoder.write_all(b"{}").unwrap();
        let bytes = encoder.finish().unwrap();

        assert_eq!(decode_all("zstd", &bytes, 9), None);
    }
}
