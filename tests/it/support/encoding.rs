//! Bodies in chunks and with compression.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use zstd::Encoder as ZstdEncoder;

/// The bytes in chunks of this size.
pub fn pieces(bytes: &[u8], size: usize) -> Vec<Bytes> {
    let pieces = bytes.chunks(size);
    pieces.map(Bytes::copy_from_slice).collect()
}

/// The text with all encodings of a `content-encoding`.
pub fn encoded(text: &str, encodings: &str) -> Vec<u8> {
    let encodings = encodings.split(',').map(str::trim);
    encodings.fold(text.as_bytes().to_vec(), |bytes, encoding| {
        encode(&[&bytes], encoding).concat()
    })
}

/// One stream with this encoding, flushed after each text.
pub fn encoded_in_pieces(texts: &[&str], encoding: &str) -> Vec<Bytes> {
    let texts: Vec<_> = texts.iter().map(|text| text.as_bytes()).collect();
    encode(&texts, encoding)
}

fn encode(pieces: &[&[u8]], encoding: &str) -> Vec<Bytes> {
    let output = PieceWriter::default();
    let mut encoder: Box<dyn Write> = match encoding.to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => Box::new(GzEncoder::new(output.clone(), Compression::fast())),
        "deflate" => Box::new(ZlibEncoder::new(output.clone(), Compression::fast())),
        "br" => Box::new(CompressorWriter::new(output.clone(), 4096, 5, 22)),
        "zstd" => Box::new(ZstdEncoder::new(output.clone(), 3).unwrap().auto_finish()),
        "identity" => Box::new(output.clone()),
        other => panic!("{other}"),
    };
    let mut chunks = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        encoder.write_all(piece).unwrap();
        if index + 1 < pieces.len() {
            encoder.flush().unwrap();
            chunks.push(output.take());
        }
    }
    // Dropping an encoder writes the end of its stream.
    drop(encoder);
    chunks.push(output.take());
    chunks
}

/// A buffer that can be read while an encoder owns it.
#[derive(Clone, Default)]
struct PieceWriter(Rc<RefCell<Vec<u8>>>);

impl PieceWriter {
    fn take(&self) -> Bytes {
        self.0.take().into()
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decompresses as much as possible.
pub fn unzipped(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    let mut decoder = GzDecoder::new(bytes);
    while let Ok(1) = decoder.read(&mut byte) {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}
