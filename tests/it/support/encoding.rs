//! Bodies in chunks and with compression.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};

/// The bytes in chunks of this size.
pub fn pieces(bytes: &[u8], size: usize) -> Vec<Bytes> {
    let pieces = bytes.chunks(size);
    pieces.map(Bytes::copy_from_slice).collect()
}

pub fn gzipped(text: &str) -> Vec<u8> {
    gzipped_in_pieces(&[text]).concat()
}

/// One gzip stream, flushed after each text.
pub fn gzipped_in_pieces(texts: &[&str]) -> Vec<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let (last, before) = texts.split_last().unwrap();
    let mut pieces = Vec::new();
    for text in before {
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.flush().unwrap();
        pieces.push(std::mem::take(encoder.get_mut()).into());
    }
    encoder.write_all(last.as_bytes()).unwrap();
    pieces.push(encoder.finish().unwrap().into());
    pieces
}

pub fn deflated(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
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
