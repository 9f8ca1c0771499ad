//! The text of a file in UTF-8 or UTF-16.

/// Decodes a file: UTF-16 by its byte order mark or its zero bytes, else UTF-8. Invalid bytes are replaced.
pub fn decode(bytes: &[u8]) -> String {
    let (is_utf16, is_big_endian) = match bytes {
        [0xFF, 0xFE, ..] => (true, false),
        [0xFE, 0xFF, ..] => (true, true),
        // ASCII characters in UTF-16 have a zero byte each.
        [0, high, ..] => (*high != 0, true),
        [low, 0, ..] => (*low != 0, false),
        _ => (false, false),
    };
    let text = if is_utf16 {
        let unit = |pair: &[u8]| {
            let pair = [pair[0], pair[1]];
            if is_big_endian {
                u16::from_be_bytes(pair)
            } else {
                u16::from_le_bytes(pair)
            }
        };
        let units: Vec<_> = bytes.chunks_exact(2).map(unit).collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    };
    text.trim_start_matches('\u{feff}').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_8_and_utf_16_are_decoded() {
        let text = "AIza 金鑰\n";
        let little: Vec<_> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<_> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();

        for bytes in [
            text.as_bytes().to_vec(),
            marked(b"\xEF\xBB\xBF", text.as_bytes()),
            marked(b"\xFF\xFE", &little),
            marked(b"\xFE\xFF", &big),
            little.clone(),
            big.clone(),
        ] {
            assert_eq!(decode(&bytes), text);
        }
        assert_eq!(decode(b""), "");
        assert_eq!(decode(b"AIza \xA4"), "AIza \u{fffd}");
    }
}
