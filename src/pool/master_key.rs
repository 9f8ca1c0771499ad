//! The master key of envelope encryption: how it is written, its id, and how it seals the data keys that are stored.

use std::fmt::{self, Write as _};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::pool::sealing::{KEY_BYTES, NONCE_BYTES, SealingKey, StoredPlace};

/// Minimum length of a passphrase, in characters.
pub const MIN_PASSPHRASE_CHARACTERS: usize = 16;
/// Bytes of the salt of a passphrase.
pub const SALT_BYTES: usize = 16;
/// A guess at a passphrase takes so much memory, and some tenths of a second.
const STRETCHING_KIBIBYTES: u32 = 64 * 1024;
const STRETCHING_PASSES: u32 = 3;

/// What the operator gives: a key, or a passphrase from which a salt makes one.
#[derive(Clone)]
pub enum MasterKeyText {
    Key(MasterKey),
    Passphrase(Zeroizing<String>),
}

/// A passphrase of fewer than [`MIN_PASSPHRASE_CHARACTERS`] characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortPassphrase {
    pub characters: usize,
}

/// The key that seals the data keys. It is stored nowhere.
#[derive(Clone)]
pub struct MasterKey(SealingKey);

/// Names a master key without revealing it. Shown to admins, so that they find the right key.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    sqlx::Type,
    utoipa::ToSchema,
)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct MasterKeyId(String);

impl MasterKeyText {
    /// Reads 32 bytes as 64 hexadecimal or 44 base64 characters, else a passphrase. White space around it does not count: a
    /// file ends with a new line.
    pub fn parse(text: &str) -> Result<Self, ShortPassphrase> {
        let text = text.trim();
        let key = decode_hex(text).or_else(|| decode_base64(text));
        if let Some(key) = key {
            return Ok(Self::Key(MasterKey(SealingKey::new(key))));
        }
        let characters = text.chars().count();
        if characters < MIN_PASSPHRASE_CHARACTERS {
            return Err(ShortPassphrase { characters });
        }
        Ok(Self::Passphrase(Zeroizing::new(text.to_owned())))
    }

    pub fn is_passphrase(&self) -> bool {
        matches!(self, Self::Passphrase(_))
    }

    /// Whether both are the same passphrase.
    pub fn is_same_passphrase(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Passphrase(one), Self::Passphrase(two)) if **one == **two)
    }

    /// The key; of a passphrase by stretching it with this salt, which takes some tenths of a second.
    pub fn key(&self, salt: &[u8]) -> MasterKey {
        let passphrase = match self {
            Self::Key(key) => return key.clone(),
            Self::Passphrase(passphrase) => passphrase,
        };
        let params = Params::new(STRETCHING_KIBIBYTES, STRETCHING_PASSES, 1, Some(KEY_BYTES));
        let params = params.expect("the parameters are within argon2's limits");
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
            .expect("a salt has 8 bytes or more");
        MasterKey(SealingKey::new(key))
    }
}

impl MasterKey {
    pub fn id(&self) -> MasterKeyId {
        let derived = self.derive("id");
        let mut id = String::new();
        for (number, byte) in derived.iter().take(8).enumerate() {
            if number == 4 {
                id.push('-');
            }
            // Writing to a `String` cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        MasterKeyId(id)
    }

    /// Seals the data key with this id.
    pub fn wrap(&self, nonce: [u8; NONCE_BYTES], data_key_id: i64, key: &SealingKey) -> Vec<u8> {
        let wrapping = SealingKey::new(self.derive("wrapping of data keys"));
        wrap(&wrapping, nonce, data_key_id, key)
    }

    /// Opens the data key with this id; `None`: another master key sealed it.
    pub fn unwrap(&self, data_key_id: i64, wrapped: &[u8]) -> Option<SealingKey> {
        let wrapping = SealingKey::new(self.derive("wrapping of data keys"));
        unwrap(&wrapping, data_key_id, wrapped)
    }

    fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        let hmac = Hmac::<Sha256>::new_from_slice(self.0.expose());
        let mut hmac = hmac.expect("HMAC takes keys of any length");
        hmac.update(b"gemini-pool master key: ");
        hmac.update(purpose.as_bytes());
        Zeroizing::new(hmac.finalize().into_bytes().into())
    }
}

/// Seals a data key by another key.
pub fn wrap(
    by: &SealingKey,
    nonce: [u8; NONCE_BYTES],
    data_key_id: i64,
    key: &SealingKey,
) -> Vec<u8> {
    by.seal(nonce, place(&data_key_id.to_string()), key.expose())
}

/// Opens a data key that [`wrap`] sealed.
pub fn unwrap(by: &SealingKey, data_key_id: i64, wrapped: &[u8]) -> Option<SealingKey> {
    let opened = by.open(place(&data_key_id.to_string()), wrapped)?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    if opened.len() != KEY_BYTES {
        return None;
    }
    key.copy_from_slice(&opened);
    Some(SealingKey::new(key))
}

fn place(row: &str) -> StoredPlace<'_> {
    StoredPlace {
        table: "data_keys",
        column: "wrapped",
        row,
    }
}

fn decode_hex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let text = text.as_bytes();
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (byte, digits) in key.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let value = digit(digits[0])? * 16 + digit(digits[1])?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(key)
}

fn decode_base64(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if text.len() != 44 {
        return None;
    }
    let decoded = Zeroizing::new(BASE64_STANDARD.decode(text).ok()?);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    if decoded.len() != KEY_BYTES {
        return None;
    }
    key.copy_from_slice(&decoded);
    Some(key)
}

impl fmt::Debug for MasterKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKeyText")
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id())
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; SALT_BYTES] = [5; SALT_BYTES];

    fn id(text: &str) -> String {
        MasterKeyText::parse(text).unwrap().key(&SALT).id().0
    }

    #[test]
    fn a_key_is_read_in_either_form_and_anything_else_is_a_passphrase() {
        let bytes = [0xab; KEY_BYTES];
        let (hex, base64) = ("aB".repeat(32), BASE64_STANDARD.encode(bytes));

        assert_eq!(id(&hex), id(&base64));
        assert_eq!(id(&hex), id(&format!("  {hex}\r\n")));
        for (text, is_passphrase) in [
            (hex.as_str(), false),
            (&base64, false),
            (&hex[1..], true),
            (&hex.replace('a', "g"), true),
            (&base64.replace('=', "!"), true),
            ("sixteen letters!", true),
            ("十六個字的通關密語也算是足夠長了", true),
        ] {
            let read = MasterKeyText::parse(text).unwrap();
            assert_eq!(read.is_passphrase(), is_passphrase, "{text}");
        }
        for (text, characters) in [("", 0), ("short", 5), (" fifteen letter ", 14)] {
            let short = MasterKeyText::parse(text).unwrap_err();
            assert_eq!(short.characters, characters, "{text:?}");
        }
    }

    #[test]
    fn a_passphrase_depends_on_its_salt_and_a_key_does_not() {
        let passphrase = MasterKeyText::parse("correct horse battery staple").unwrap();
        let key = MasterKeyText::parse(&"07".repeat(32)).unwrap();
        let other = [6; SALT_BYTES];

        assert_ne!(passphrase.key(&SALT).id(), passphrase.key(&other).id());
        assert_eq!(key.key(&SALT).id(), key.key(&other).id());
    }

    #[test]
    fn only_its_master_key_opens_a_data_key_and_only_under_its_id() {
        let [one, other] = ["01", "02"].map(|byte| {
            let text = MasterKeyText::parse(&byte.repeat(32)).unwrap();
            text.key(&SALT)
        });
        let data_key = SealingKey::new(Zeroizing::new([9; KEY_BYTES]));

        let wrapped = one.wrap([3; NONCE_BYTES], 7, &data_key);

        let opened = one.unwrap(7, &wrapped).unwrap();
        assert_eq!(opened.expose(), data_key.expose());
        assert!(one.unwrap(8, &wrapped).is_none());
        assert!(other.unwrap(7, &wrapped).is_none());
        assert_ne!(one.id(), other.id());
    }

    #[test]
    fn an_id_is_short_and_debug_prints_nothing_else() {
        let key = MasterKeyText::parse(&"01".repeat(32)).unwrap();
        let printed = format!("{key:?} {:?}", key.key(&SALT));

        assert_eq!(
            printed,
            format!("MasterKeyText MasterKey({})", id(&"01".repeat(32)))
        );
        assert_eq!(id(&"01".repeat(32)).len(), 17);
        assert!(!printed.contains("0101"), "{printed}");
    }
}
