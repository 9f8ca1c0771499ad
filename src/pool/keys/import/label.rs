//! Labels of keys in plain text: above a key or beside it in its line.

use crate::pool::keys::import::names::{is_disabled_word, names_keys};
use crate::pool::keys::import::shape::{google_texts, is_example};

const MAX_LABEL_CHARACTERS: usize = 60;
const MAX_LABEL_WORDS: usize = 4;
/// First words of lines that are no names.
const NO_NAMES: &[&str] = &[
    "bearer",
    "authorization",
    "curl",
    "export",
    "import",
    "hi",
    "hello",
    "hey",
    "dear",
    "thanks",
    "thank",
    "regards",
    "best",
    "cheers",
    "sincerely",
];

/// Words that numbers follow without a space.
const NUMBERED_WORDS: &[&str] = &["account", "acc", "key", "project", "proj", "gemini", "team"];

/// Whether `text` is a name rather than a sentence, a mail address, a password or a heading of keys.
pub fn is_label(text: &str) -> bool {
    is_name(text) && !names_keys(text) && !is_like_key(text)
}

/// Whether a name may be a password: one word of letters mixed with digits or signs, as `hunter2`. Words of letters alone are
/// names (`Ann`, `team-blue`), with a number too if it is set apart (`Project-3`) or follows a common word (`account3`).
pub fn may_be_password(name: &str) -> bool {
    let name = name.trim();
    let is_numbered_word = || {
        let word = name.trim_end_matches(|char: char| char.is_ascii_digit());
        !word.is_ascii() || NUMBERED_WORDS.contains(&word.to_lowercase().as_str())
    };
    let is_word = |word: &str| {
        let rest = word.get(1..).unwrap_or_default();
        let is_cased = rest == rest.to_lowercase() || word == word.to_uppercase();
        word.chars().all(char::is_alphabetic) && is_cased
    };
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let are_words = || {
        let mut parts = name.split(['-', '_', '#']);
        parts.next().is_some_and(is_word) && parts.all(|part| is_word(part) || is_number(part))
    };
    !name.contains(char::is_whitespace) && !are_words() && !is_numbered_word()
}

/// Whether `text` is a heading that says that keys follow.
pub fn is_heading(text: &str) -> bool {
    is_name(text)
        && !text.contains(|char: char| char.is_ascii_digit())
        && !is_example(text)
        && names_keys(text)
}

/// Whether `text` looks like a key of another service.
fn is_like_key(text: &str) -> bool {
    let text = text.trim();
    let starts = ["sk-", "gp_", "gpa_", "gsk_", "xai-", "hf_", "ghp_", "eyJ"];
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    let is_mixed =
        has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    starts.iter().any(|start| text.starts_with(start))
        || (is_mixed && text.len() >= 16 && !text.contains(char::is_whitespace))
}

/// Whether a name in the line below a mail address is a numbered name, and not the password of the account.
pub fn is_numbered(name: &str) -> bool {
    let (name, number) = name.rsplit_once(['-', '_', ' ', '#']).unwrap_or_default();
    !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && name.chars().all(|char| char.is_alphabetic() || char == ' ')
}

fn is_name(text: &str) -> bool {
    let text = text.trim().trim_end_matches([':', '：']);
    let is_inside = |char: char| char.is_alphanumeric() || " -_.#()/&'+".contains(char);
    let first = text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_lowercase();
    text.chars().count() <= MAX_LABEL_CHARACTERS
        && text.split_whitespace().count() <= MAX_LABEL_WORDS
        && text.chars().all(is_inside)
        && text.contains(char::is_alphabetic)
        && !text.ends_with('.')
        && !text.contains("--")
        && !NO_NAMES.contains(&first.as_str())
        && google_texts(text).is_empty()
}

/// The name in a line of its own above keys.
pub fn label_above(line: &str) -> Option<String> {
    let line = line
        .trim()
        .trim_start_matches(['#', '/', '*', '-', '=', '[', ' ']);
    let line = line.trim_end_matches([':', '：', '*', '-', '=', ']', ' ']);
    (is_label(line) && !may_be_password(line)).then(|| line.to_owned())
}

/// What stands beside a key in its line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Beside {
    pub label: Option<String>,
    pub is_disabled: Option<bool>,
}

/// Reads the texts before and after the keys of a line. A label is the only text beside a key: of several, as in
/// `mail----password----key`, one may be a password.
pub fn beside(before: &str, after: &str) -> Beside {
    let separators = ['|', ',', ';', '\t', '，', '；', '｜'];
    let mut beside = Beside::default();
    let mut names = Vec::new();
    let parts = before.split(separators).chain(after.split(separators));
    for part in parts
        .map(unwrapped)
        .filter(|part| part.contains(char::is_alphabetic))
    {
        match is_disabled_word(part) {
            Some(is_disabled) => beside.is_disabled = beside.is_disabled.or(Some(is_disabled)),
            None => names.push(part),
        }
    }
    let is_account = before.contains('@') || before.trim_end().ends_with("--");
    if let ([name], false) = (names.as_slice(), is_account)
        && is_label(name)
        && !may_be_password(name)
    {
        beside.label = Some((*name).to_owned());
    }
    beside
}

/// A part of a line without quotes, brackets, bullets and numbers of lists.
fn unwrapped(part: &str) -> &str {
    let is_around = |char: char| {
        char.is_whitespace() || "\"'`“”‘’「」『』（）【】[](){}<>:：=-–—→#/*•·.".contains(char)
    };
    let part = part.trim_matches(is_around);
    let unnumbered = part.trim_start_matches(|char: char| char.is_ascii_digit());
    match unnumbered.strip_prefix(['.', ')', '、']) {
        Some(rest) if unnumbered.len() < part.len() => {
            rest.trim_start_matches(|char: char| !char.is_alphanumeric())
        }
        _ => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels_and_sentences_are_none() {
        for text in [
            "Project-3",
            "Project 4:",
            "帳號一",
            "ann",
            "team blue (paid)",
            "key of Ann",
        ] {
            assert!(is_label(text), "{text}");
        }
        for text in [
            "",
            "ann@example.com",
            "hunter2!",
            "Hi Tom,",
            "here are all of the keys",
            "API keys:",
            "Hello",
            "https://example.com",
            "2024-01-02",
            "a sentence.",
        ] {
            assert!(!is_label(text), "{text}");
        }
    }

    #[test]
    fn the_only_text_beside_a_key_is_its_label() {
        let cases = [
            ("Project-3|", "", Some("Project-3"), None),
            ("1. Ann: ", "", Some("Ann"), None),
            ("- ", " (ann)", Some("ann"), None),
            ("", " # team blue", Some("team blue"), None),
            ("ann\t", "\tdisabled", Some("ann"), Some(true)),
            ("ann,", ",active,1", Some("ann"), Some(false)),
            ("user,hunter2,", "", None, None),
            ("ann@example.com|hunter2|", "", None, None),
            ("hunter2----", "", None, None),
            ("hunter2|", "", None, None),
            ("", " hunter2", None, None),
            ("hunter2:", "", None, None),
            ("tr0ub4dor&3,", ",disabled", None, Some(true)),
            ("cOrReCtHorse\t", "", None, None),
            ("account3|", "", Some("account3"), None),
            ("帳號3：", "", Some("帳號3"), None),
            ("team-blue_3|", "", Some("team-blue_3"), None),
            ("hunter 2|", "", Some("hunter 2"), None),
            ("my key: ", "", None, None),
            ("https://example.com/?key=", "&a=b", None, None),
        ];
        for (before, after, label, is_disabled) in cases {
            let label = label.map(str::to_owned);
            assert_eq!(
                beside(before, after),
                Beside { label, is_disabled },
                "{before}KEY{after}"
            );
        }
    }
}
