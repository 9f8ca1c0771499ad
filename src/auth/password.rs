//! Passwords: hashing, verification, generation.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use rand::distr::{Distribution, Uniform};
use tokio::sync::Semaphore;

use crate::config::{self, MIN_PASSWORD_CHARACTERS};

/// Longer passwords are refused, so that a request cannot make hashing expensive.
pub const MAX_CHARACTERS: usize = 200;
/// The characters of a generated password: none that is easily mistaken for another.
const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
const GROUP_COUNT: usize = 4;
const GROUP_LENGTH: usize = 5;

/// Each hash needs 19 MiB, so few are computed at once.
static HASHING_PERMITS: Semaphore = Semaphore::const_new(2);
/// Verified in place of an admin that does not exist, so that this takes as long.
static DUMMY_HASH: LazyLock<String> = LazyLock::new(|| hash_blocking(&generate()));

/// The reason why a password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordWeakness {
    TooShort,
    TooLong,
    Common,
}

/// The weakness of a new password, if any.
pub fn weakness(password: &str) -> Option<PasswordWeakness> {
    let characters = password.chars().count();
    if characters < MIN_PASSWORD_CHARACTERS {
        Some(PasswordWeakness::TooShort)
    } else if characters > MAX_CHARACTERS {
        Some(PasswordWeakness::TooLong)
    } else {
        config::is_common_password(password).then_some(PasswordWeakness::Common)
    }
}

/// A password of 20 random letters and digits (100 bits), in groups that can be read aloud.
pub fn generate() -> String {
    let index = Uniform::new(0, ALPHABET.len()).expect("there are letters");
    let mut random = rand::rng();
    let groups = (0..GROUP_COUNT).map(|_| {
        let letters = (0..GROUP_LENGTH).map(|_| char::from(ALPHABET[index.sample(&mut random)]));
        letters.collect::<String>()
    });
    groups.collect::<Vec<_>>().join("-")
}

/// Hashes a password with a salt of its own: an argon2id PHC string. Takes tens of milliseconds.
pub async fn hash(password: &str) -> String {
    let password = password.to_owned();
    run_blocking(move || hash_blocking(&password)).await
}

/// Whether `password` has this hash. `None`, for an admin that does not exist, takes as long and is never valid.
pub async fn verify(password: &str, hash: Option<&str>) -> bool {
    let (password, hash) = (password.to_owned(), hash.map(ToOwned::to_owned));
    run_blocking(move || {
        let is_right = matches(&password, hash.as_deref().unwrap_or(&DUMMY_HASH));
        is_right && hash.is_some()
    })
    .await
}

fn hash_blocking(password: &str) -> String {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).expect("16 bytes are a salt");
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.expect("argon2 takes any password").to_string()
}

fn matches(password: &str, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else {
        return false;
    };
    let verified = Argon2::default().verify_password(password.as_bytes(), &hash);
    password.chars().count() <= MAX_CHARACTERS && verified.is_ok()
}

async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let _permit = HASHING_PERMITS.acquire().await.expect("it is never closed");
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("hashing does not panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_only_its_own_hash() {
        let (one, again) = (
            hash("correct horse battery").await,
            hash("correct horse battery").await,
        );

        assert!(one.starts_with("$argon2id$"), "{one}");
        assert_ne!(one, again);
        assert!(verify("correct horse battery", Some(&one)).await);
        assert!(!verify("correct horse", Some(&one)).await);
        assert!(!verify("correct horse battery", None).await);
        assert!(!verify("correct horse battery", Some("no hash")).await);
    }

    #[test]
    fn generated_passwords_differ_and_are_strong() {
        let (one, other) = (generate(), generate());

        assert_ne!(one, other);
        assert_eq!(one.len(), 23);
        assert_eq!(weakness(&one), None);
    }

    #[test]
    fn every_weakness_is_recognized() {
        for (password, expected) in [
            ("short", Some(PasswordWeakness::TooShort)),
            ("Password123", Some(PasswordWeakness::Common)),
            (&"x".repeat(201), Some(PasswordWeakness::TooLong)),
            ("1qaz2wsx", Some(PasswordWeakness::Common)),
            ("這是我的通關密語", None),
        ] {
            assert_eq!(weakness(password), expected, "{password}");
        }
    }
}
