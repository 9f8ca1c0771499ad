//! `Secret`: the text of a key, which is never printed.

use std::convert::Infallible;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rand::distr::Alphanumeric;
use rand::{CryptoRng, RngExt};
use zeroize::Zeroizing;

/// The text of a key. `Debug` prints at most its last four characters. Its bytes are overwritten when the last copy is dropped.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Box<str>>>);

/// Number of random characters of a client key; each adds almost six bits.
const RANDOM_CHARACTERS: usize = 40;

impl Secret {
    /// Makes a client key: `gp_` and random letters and digits.
    pub fn generate(random: &mut impl CryptoRng) -> Self {
        let random = random.sample_iter(Alphanumeric).take(RANDOM_CHARACTERS);
        let text: String = "gp_".chars().chain(random.map(char::from)).collect();
        Self::new(&text)
    }

    /// The value of a flag or a variable, for the parser of the command line.
    pub fn from_argument(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }

    pub fn new(text: &str) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// The whole text: only for requests to Google and the database.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The part that may be shown: the last four characters, but at most a quarter.
    pub fn last4(&self) -> String {
        let count = self.0.chars().count();
        let shown = (count / 4).min(4);
        self.0.chars().skip(count - shown).collect()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.last4())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_secrets_are_recognizable_and_unique() {
        let (one, other) = (
            Secret::generate(&mut rand::rng()),
            Secret::generate(&mut rand::rng()),
        );

        assert_ne!(one, other);
        let random = one.expose().strip_prefix("gp_").unwrap();
        assert_eq!(random.len(), 40);
        assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }

    #[test]
    fn at_most_a_quarter_of_a_secret_is_shown() {
        for (text, shown) in [
            ("abcdefghijklmnop", "mnop"),
            ("abcdefgh", "gh"),
            ("abc", ""),
            ("", ""),
        ] {
            assert_eq!(Secret::new(text).last4(), shown, "{text}");
        }

        assert_eq!(
            format!("{:?}", Secret::new("AIzaSy-very-secret-1234")),
            "…1234"
        );
    }
}
