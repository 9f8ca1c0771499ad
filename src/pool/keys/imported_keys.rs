//! `KeyImport`: the keys read from a text with their attributes, and the parts of the text that were not taken.

use crate::pool::keys::upstream_key::KeyAttributes;
use crate::pool::secret::Secret;

/// The result of reading a text.
#[derive(Debug, Default)]
pub struct KeyImport {
    /// Each key once, in order of appearance.
    pub keys: Vec<ImportedKey>,
    /// Number of repeated keys.
    pub duplicates: usize,
    /// In order of lines.
    pub not_taken: Vec<NotTaken>,
}

/// A key with its attributes from the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedKey {
    pub secret: Secret,
    pub attributes: KeyAttributes,
    /// Whether the text marks the key as disabled; such a key is added disabled.
    pub is_disabled: bool,
    /// Counted from 1.
    pub line: usize,
}

impl ImportedKey {
    /// A key without attributes from the text.
    pub fn new(secret: Secret, line: usize) -> Self {
        Self {
            secret,
            attributes: KeyAttributes::default(),
            is_disabled: false,
            line,
        }
    }
}

/// A part of the text that is no key, or no valid attribute of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Counted from 1.
    pub line: usize,
    pub reason: NotTakenReason,
    /// Its first characters: at most four, and at most a quarter of it, because it may be a mistyped key. A text too
    /// short for a key is shown whole where an attribute was expected.
    pub start: String,
}

/// Why a part of the text was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTakenReason {
    /// The line contains no key.
    NoKey,
    /// It could be a key, but not one of Google's, and nothing in the text says that it is one.
    UnknownForm,
    /// A key that was shortened or masked, or an example of one.
    Incomplete,
    /// A key of another service, or a client key of another pool, by its name.
    OtherService,
    /// It stands outside the lists of keys of a configuration.
    OutsideKeyLists,
    Comment,
    /// An attribute with an invalid value: the key is taken without it.
    Attribute(&'static str),
}

impl NotTakenReason {
    /// The reason as a sentence without its end.
    pub fn text(self) -> String {
        match self {
            Self::NoKey => "no key".to_owned(),
            Self::UnknownForm => "not in the form of a Google key (AIza…, AQ.…)".to_owned(),
            Self::Incomplete => "a shortened key or an example of one".to_owned(),
            Self::OtherService => "a key of another service or a client's, by its name".to_owned(),
            Self::OutsideKeyLists => "outside the lists of keys".to_owned(),
            Self::Comment => "in a comment".to_owned(),
            Self::Attribute(name) => format!("invalid {name}, the key is added without it"),
        }
    }
}

/// Characters of the shortest text that can be a key.
pub const MIN_KEY_CHARACTERS: usize = 8;

impl NotTaken {
    /// Shows at most the start of `text`.
    pub fn new(line: usize, reason: NotTakenReason, text: &str) -> Self {
        let length = text.chars().count();
        let is_attribute = matches!(reason, NotTakenReason::Attribute(_));
        let shown = if is_attribute && length < MIN_KEY_CHARACTERS {
            length
        } else {
            (length / 4).min(4)
        };
        Self {
            line,
            reason,
            start: text.chars().take(shown).collect(),
        }
    }
}

/// Fills missing attributes of the keys from `attributes`.
pub fn apply_defaults(keys: &mut [ImportedKey], attributes: &KeyAttributes) {
    let labels = numbered_labels(keys.len(), attributes.label.as_deref());
    for (key, label) in keys.iter_mut().zip(labels) {
        let attributes = KeyAttributes {
            label,
            ..attributes.clone()
        };
        key.attributes = key.attributes.or(&attributes);
    }
}

/// The label of each of `count` keys.
pub fn numbered_labels(count: usize, label: Option<&str>) -> Vec<Option<String>> {
    match label {
        None => vec![None; count],
        Some(label) if count == 1 => vec![Some(label.to_owned())],
        Some(label) => (1..=count)
            .map(|number| Some(format!("{label}-{number}")))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_keys_with_one_label_are_numbered() {
        let some = |label: &str| Some(label.to_owned());

        assert_eq!(
            numbered_labels(2, Some("team")),
            [some("team-1"), some("team-2")]
        );
        assert_eq!(numbered_labels(1, Some("team")), [some("team")]);
        assert_eq!(numbered_labels(2, None), [None, None]);
    }

    #[test]
    fn at_most_a_quarter_of_what_may_be_a_key_is_shown() {
        let start = |reason, text: &str| NotTaken::new(1, reason, text).start;

        assert_eq!(start(NotTakenReason::NoKey, "hunter2!"), "hu");
        assert_eq!(start(NotTakenReason::Attribute("weight"), "1001"), "1001");
        assert_eq!(
            start(NotTakenReason::Attribute("project"), "AIzaSyMadeUp000000"),
            "AIza"
        );
    }
}
