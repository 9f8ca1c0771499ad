//! `CsrfToken`: proves that a form was sent from a page of the dashboard.

use std::fmt::Write;

const BYTES: usize = 16;

/// A random value that a session, or the cookie of a signed-out browser, shares with its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsrfToken([u8; BYTES]);

impl CsrfToken {
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// The stored form.
    pub fn to_text(self) -> String {
        hex(&self.0)
    }

    pub fn from_text(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }

    /// The form field's value: never twice the same, because a page is compressed together with text that others can
    /// choose, and a repeated value could be guessed from the compressed size.
    pub fn masked(self) -> String {
        let mask: [u8; BYTES] = rand::random();
        hex(&mask) + &hex(&xor(mask, self.0))
    }

    /// Whether a form contains this token; compared in constant time.
    pub fn is_shown_by(self, masked: &str) -> bool {
        let halves = masked.split_at_checked(2 * BYTES);
        let halves = halves.and_then(|(mask, rest)| Some((unhex(mask)?, unhex(rest)?)));
        halves.is_some_and(|(mask, rest)| {
            let differing = xor(xor(mask, rest), self.0);
            differing.iter().fold(0, |all, byte| all | byte) == 0
        })
    }
}

fn xor(mut one: [u8; BYTES], other: [u8; BYTES]) -> [u8; BYTES] {
    for (byte, other) in one.iter_mut().zip(other) {
        *byte ^= other;
    }
    one
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; BYTES]> {
    if text.len() != 2 * BYTES || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_token_matches_only_its_own_token() {
        let (token, other) = (CsrfToken::generate(), CsrfToken::generate());
        let (one, again) = (token.masked(), token.masked());

        assert_ne!(one, again);
        assert!(token.is_shown_by(&one) && token.is_shown_by(&again));
        assert!(!other.is_shown_by(&one));
        for wrong in ["", "00", &one[1..], &format!("{one}00"), &"é".repeat(32)] {
            assert!(!token.is_shown_by(wrong), "{wrong}");
        }
        assert_eq!(CsrfToken::from_text(&token.to_text()), Some(token));
    }
}
