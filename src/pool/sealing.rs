//! Sealing of secrets: authenticated encryption of the value of one column of one row. Nonces are passed in.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce: so many that random ones never repeat.
pub const NONCE_BYTES: usize = 24;
/// Begins the associated data; another format of sealed values would get another one.
const FORMAT: &str = "gemini-pool sealed 1";

/// A key that seals values. Its bytes are overwritten when it is dropped.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; KEY_BYTES]>);

/// Where a value is stored. A sealed value opens there only, so that it cannot be moved to another row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPlace<'a> {
    pub table: &'static str,
    pub column: &'static str,
    /// What identifies the row, in a text without NUL.
    pub row: &'a str,
}

impl SealingKey {
    pub fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    /// The bytes, to be sealed by another key.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Seals a value: the nonce, then ciphertext and tag.
    pub fn seal(&self, nonce: [u8; NONCE_BYTES], place: StoredPlace, value: &[u8]) -> Vec<u8> {
        let associated = place.associated_data();
        let payload = Payload {
            msg: value,
            aad: &associated,
        };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("no value is longer than 256 GiB");
        [&nonce[..], &sealed].concat()
    }

    /// Opens a sealed value; `None`: another key sealed it, for another place, or it was changed.
    pub fn open(&self, place: StoredPlace, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let associated = place.associated_data();
        let payload = Payload {
            msg: sealed,
            aad: &associated,
        };
        let opened = self.cipher().decrypt(&XNonce::from(*nonce), payload);
        opened.ok().map(Zeroizing::new)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.expose().into())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

impl StoredPlace<'_> {
    /// Unambiguous, because none of the parts contains a NUL.
    fn associated_data(&self) -> Vec<u8> {
        [FORMAT, self.table, self.column, self.row]
            .join("\0")
            .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: StoredPlace = StoredPlace {
        table: "upstream_keys",
        column: "secret",
        row: "7",
    };

    fn key(byte: u8) -> SealingKey {
        SealingKey::new(Zeroizing::new([byte; KEY_BYTES]))
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_to_the_same_value(
            value in prop::collection::vec(any::<u8>(), 0..200),
            nonce in any::<[u8; NONCE_BYTES]>(),
        ) {
            let sealed = key(1).seal(nonce, PLACE, &value);

            prop_assert_eq!(sealed.len(), NONCE_BYTES + value.len() + 16);
            let opened = key(1).open(PLACE, &sealed);
            prop_assert_eq!(opened.map(|opened| opened.to_vec()), Some(value));
        }

        #[test]
        fn any_changed_bit_is_refused(
            value in prop::collection::vec(any::<u8>(), 0..60),
            nonce in any::<[u8; NONCE_BYTES]>(),
            bit in any::<prop::sample::Index>(),
        ) {
            let mut sealed = key(1).seal(nonce, PLACE, &value);
            let bit = bit.index(sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);

            prop_assert!(key(1).open(PLACE, &sealed).is_none());
        }

        #[test]
        fn a_cut_value_is_refused(length in 0..NONCE_BYTES + 20) {
            let sealed = key(1).seal([3; NONCE_BYTES], PLACE, b"four");

            prop_assert_eq!(sealed.len(), NONCE_BYTES + 20);
            prop_assert!(key(1).open(PLACE, &sealed[..length]).is_none());
        }

        #[test]
        fn a_value_opens_in_its_own_row_only(row in "[0-9a-z_]{1,12}", other in "[0-9a-z_]{1,12}") {
            let place = StoredPlace { row: &row, ..PLACE };
            let sealed = key(1).seal([3; NONCE_BYTES], place, b"value");

            let opened = key(1).open(StoredPlace { row: &other, ..PLACE }, &sealed);
            prop_assert_eq!(opened.is_some(), row == other);
        }
    }

    #[test]
    fn another_key_table_or_column_opens_nothing() {
        let sealed = key(1).seal([3; NONCE_BYTES], PLACE, b"value");

        assert!(key(2).open(PLACE, &sealed).is_none());
        for (table, column, row) in [
            ("alert_targets", "secret", "7"),
            ("upstream_keys", "address", "7"),
            ("upstream_keys", "secret", "8"),
        ] {
            let place = StoredPlace { table, column, row };
            assert!(key(1).open(place, &sealed).is_none(), "{place:?}");
        }
    }

    #[test]
    fn a_key_does_not_print_itself() {
        assert_eq!(format!("{:?}", key(65)), "SealingKey");
    }
}
