//! `Secret`: a key's text, which never shows itself.

use std::fmt;
use std::sync::Arc;

/// The text of a key. Prints as its last four characters at most.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The whole text: for the wire and for the database, for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be shown of it: the last four characters, but at most a quarter of it.
    pub fn last4(&self) -> String {
        let count = self.0.chars().count();
        let shown = (count / 4).min(4);
        self.0.chars().skip(count - shown).collect()
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
    fn a_secret_shows_at_most_a_quarter_of_itself() {
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
