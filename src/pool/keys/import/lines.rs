//! Reads plain text line by line: keys between other words, variables of environment files, labels above keys.

use std::ops::Range;

use crate::pool::keys::import::candidates::{Collector, Piece, PieceBody, Place, Surroundings};
use crate::pool::keys::import::document;
use crate::pool::keys::import::label::{
    beside, is_heading, is_label, is_numbered, label_above, may_be_password,
};
use crate::pool::keys::import::names::{
    AttributeName, Owner, is_disabled_word, is_variable, names_keys, owner,
};
use crate::pool::keys::import::shape::{
    GoogleText, google_keys, google_texts, is_plausible, is_separator, tokens,
};
use crate::pool::keys::imported_keys::NotTakenReason;

/// A value in quotes or brackets ends within so many lines.
const MAX_VALUE_LINES: usize = 1_000;
/// Where Google's keys stand too, a text of its own line that is shorter than this is a name.
const MIN_LONE_KEY_CHARACTERS: usize = 20;

/// Reads the lines of a text, which begins in line `line` of the whole.
pub fn read(text: &str, piece: &Piece, found: &mut Collector) {
    let mut reader = Lines {
        piece,
        found,
        has_google_keys: !google_keys(text).is_empty(),
        is_pairs: is_pairs(text),
        section: Owner::Unnamed,
        above: None,
        block: None,
        position: Position::Anywhere,
    };
    let lines: Vec<_> = text.split('\n').collect();
    let mut place = 0;
    while place < lines.len() {
        let number = piece.line + if piece.spans_lines { place } else { 0 };
        let used = reader.line(number, &lines[place..]);
        if reader.position != Position::InPrivateKey {
            let is_mail = lines[place].contains('@');
            reader.position = if is_mail {
                Position::BelowMail
            } else {
                Position::Anywhere
            };
        }
        place += used;
    }
    reader.drop_label();
}

struct Lines<'p, 'f> {
    piece: &'p Piece,
    found: &'f mut Collector,
    /// Whether any line contains a key of Google's form.
    has_google_keys: bool,
    /// Whether every line is a name and a key.
    is_pairs: bool,
    /// Whose keys the section of an ini file contains.
    section: Owner,
    /// A name, and its line, that no key has followed yet.
    above: Option<(String, usize)>,
    /// The surroundings of the keys below a name.
    block: Option<Surroundings>,
    position: Position,
}

/// What the lines above say about a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Anywhere,
    /// The line above has a mail address: a password may follow.
    BelowMail,
    InPrivateKey,
}

impl Lines<'_, '_> {
    /// Reads the first of `lines`, and those that continue it. Returns their number.
    fn line(&mut self, number: usize, lines: &[&str]) -> usize {
        let line = lines[0].trim_matches(|char: char| {
            char.is_whitespace() || char == '\u{feff}' || char == '\u{200b}'
        });
        if line.is_empty() {
            self.block = None;
            return 1;
        }
        if let Some(comment) = comment(line) {
            self.comment(number, comment);
            return 1;
        }
        let is_border = line.starts_with("-----") && line.contains("PRIVATE KEY");
        if is_border || self.position == Position::InPrivateKey {
            let is_begin = is_border && line.contains("BEGIN");
            if is_border {
                self.position = if is_begin {
                    Position::InPrivateKey
                } else {
                    Position::Anywhere
                };
            }
            self.drop_label();
            self.found
                .add_not_taken(number, NotTakenReason::NoKey, line);
            return 1;
        }
        if let Some(section) = section(line) {
            self.section = owner(section);
            return 1;
        }
        if !line.contains(char::is_alphanumeric) {
            return 1;
        }
        if let Some((name, value)) = assignment(line) {
            let (value, used) = whole_value(value, &lines[1..]);
            self.assign(number, name, value);
            return used;
        }
        if let Some((name, value)) = line.split_once([':', '：'])
            && AttributeName::read(name) == Some(AttributeName::Label)
            && is_label(value)
        {
            self.set_label(number, value.trim().to_owned());
            return 1;
        }
        if line.starts_with(['{', '['])
            && let Some(document) = document::parse(line)
        {
            self.found.add_piece(Piece {
                body: PieceBody::Document(document),
                line: number,
                surroundings: self.piece.surroundings.clone(),
                depth: self.piece.depth + 1,
                lists_rest: false,
                spans_lines: self.piece.spans_lines,
            });
            return 1;
        }
        self.text(number, line);
        1
    }

    fn comment(&mut self, number: usize, comment: &str) {
        let texts = google_texts(comment);
        for text in &texts {
            self.found.add_not_taken(
                number,
                NotTakenReason::Comment,
                &comment[text.range.clone()],
            );
        }
        if let (true, Some(label)) = (texts.is_empty(), label_above(comment)) {
            // A comment that is no label is nothing to report.
            self.drop_label();
            self.above = Some((label, 0));
        }
    }

    /// Reads the value of a variable.
    fn assign(&mut self, number: usize, name: &str, value: String) {
        let around = &self.piece.surroundings;
        let owner = match owner(name) {
            Owner::Unnamed => self.section,
            named => named,
        };
        let mut surroundings = Surroundings {
            place: Place {
                owner,
                expects_keys: names_keys(name),
                list: format!("{}/{name}", around.place.list),
                is_unspecific: false,
                is_in_document: false,
            },
            ..around.clone()
        };
        // Only a comment is about a variable.
        let comment = self.above.take_if(|(_, line)| *line == 0);
        self.drop_label();
        if let Some((label, _)) = comment.filter(|_| surroundings.place.expects_keys) {
            surroundings.attributes.label = Some(label);
            surroundings.group = self.found.new_group();
        }
        self.found.add_piece(Piece {
            body: PieceBody::Text(value),
            line: number,
            surroundings,
            depth: self.piece.depth + 1,
            lists_rest: false,
            spans_lines: self.piece.spans_lines,
        });
    }

    /// Reads a line of words.
    fn text(&mut self, number: usize, line: &str) {
        let expects_keys = self.piece.surroundings.place.expects_keys;
        let words = tokens(line);
        let is_key = |text: &GoogleText| {
            let is_short =
                || words.contains(&text.range) && is_plausible(&line[text.range.clone()]);
            !text.is_incomplete || (expects_keys && is_short())
        };
        let (keys, incomplete): (Vec<_>, Vec<_>) = google_texts(line).into_iter().partition(is_key);
        for text in &incomplete {
            self.found.add_not_taken(
                number,
                NotTakenReason::Incomplete,
                &line[text.range.clone()],
            );
        }
        if !keys.is_empty() {
            self.keys(number, line, &keys);
        } else if !incomplete.is_empty() {
            self.drop_label();
        } else if expects_keys {
            self.other_keys(number, line);
        } else {
            self.no_key(number, line);
        }
    }

    /// Adds the keys of Google's form in a line, and others between the same commas where only keys are expected.
    fn keys(&mut self, number: usize, line: &str, keys: &[GoogleText]) {
        let (first, last) = (keys[0].range.start, keys[keys.len() - 1].range.end);
        let (before, after) = (&line[..first], &line[last..]);
        let expects_keys = self.piece.surroundings.place.expects_keys;
        let rest: Vec<_> = tokens(line)
            .into_iter()
            .filter(|token| !overlaps(keys, token))
            .filter(|token| is_word(&line[token.clone()]))
            .collect();
        let is_list = expects_keys && !self.is_pairs && !rest.is_empty() && is_list(line);
        if !is_list
            && expects_keys
            && rest.len() > 1
            && !self.piece.surroundings.place.is_in_document
        {
            let reason = NotTakenReason::NoKey;
            self.found
                .add_not_taken(number, reason, &line[rest[0].clone()]);
        }
        let mut beside = beside(before, after);
        let opened = before.trim_end_matches(|char| char != ':' && is_separator(char));
        if is_list || (keys.len() > 1 && !opened.ends_with([':', '：'])) {
            beside.label = None;
        }
        let mut surroundings = self.block_surroundings();
        surroundings.is_disabled = beside.is_disabled.unwrap_or(surroundings.is_disabled);
        if let Some(label) = beside.label
            && self.piece.surroundings.attributes.label.is_none()
        {
            surroundings.attributes.label = Some(label);
            surroundings.group = self.found.new_group();
        }
        let mut others = rest.into_iter().filter(|_| is_list).peekable();
        for key in keys {
            while let Some(token) = others.next_if(|token| token.start < key.range.start) {
                self.token(number, &line[token]);
            }
            let key = &line[key.range.clone()];
            self.found.add_google_key(key, number, &surroundings);
        }
        for token in others {
            self.token(number, &line[token]);
        }
    }

    /// The surroundings of the next key: with the name above, if there is one.
    fn block_surroundings(&mut self) -> Surroundings {
        if let Some((label, _)) = self.above.take() {
            let mut surroundings = self.piece.surroundings.clone();
            surroundings.attributes.label = Some(label);
            surroundings.group = self.found.new_group();
            self.block = Some(surroundings);
        }
        self.block
            .clone()
            .unwrap_or_else(|| self.piece.surroundings.clone())
    }

    /// Reads a line without a key of Google's form where only keys are expected.
    fn other_keys(&mut self, number: usize, line: &str) {
        let words: Vec<_> = tokens(line)
            .into_iter()
            .map(|token| &line[token])
            .filter(|word| is_word(word))
            .collect();
        // `${NAME}`, `{{ name }}` and `$(command)` are filled in later.
        let is_template = ["${", "{{", "$("].iter().any(|start| line.contains(start));
        let are_keys = self.position != Position::BelowMail
            && !is_template
            && words.iter().all(|word| is_plausible(word));
        let [first, .., last] = words.as_slice() else {
            match words.first() {
                Some(word) if are_keys && (!self.has_google_keys || is_lone_key(word)) => {
                    self.token(number, word);
                }
                _ => self.no_key(number, line),
            }
            return;
        };
        if self.is_pairs && is_plausible(last) && words.len() == 2 {
            if !may_be_password(first) {
                self.above = Some(((*first).to_owned(), number));
            }
            let surroundings = self.block_surroundings();
            self.found.add_other_key(last, number, &surroundings);
            self.block = None;
        } else if !is_template
            && (is_list(line) || (are_keys && !self.has_google_keys && !are_plain(&words)))
        {
            for word in words {
                self.token(number, word);
            }
        } else {
            self.no_key(number, line);
        }
    }

    /// Adds a token where only keys are expected.
    fn token(&mut self, number: usize, token: &str) {
        if is_plausible(token) {
            let surroundings = self.block_surroundings();
            self.found.add_other_key(token, number, &surroundings);
        } else {
            self.found
                .add_not_taken(number, NotTakenReason::NoKey, token);
        }
    }

    /// Remembers a line as the name of the keys below it, or lists it.
    fn no_key(&mut self, number: usize, line: &str) {
        let place = &self.piece.surroundings.place;
        if !self.piece.lists_rest && !place.expects_keys {
            return;
        }
        if let Some(label) = label_above(line).filter(|_| self.piece.lists_rest) {
            self.set_label(number, label);
        } else {
            self.drop_label();
            self.list(number, line);
        }
    }

    fn list(&mut self, number: usize, line: &str) {
        // A heading is no lost key.
        if self.piece.lists_rest && is_heading(line) {
            return;
        }
        let is_key = is_plausible(line.trim_matches(['"', '\'', ',', ';']));
        let reason = if is_key {
            NotTakenReason::UnknownForm
        } else {
            NotTakenReason::NoKey
        };
        self.found.add_not_taken(number, reason, line);
    }

    fn set_label(&mut self, number: usize, label: String) {
        self.drop_label();
        if let Some(is_disabled) = is_disabled_word(&label) {
            // The state of the keys below.
            let mut surroundings = self.piece.surroundings.clone();
            surroundings.is_disabled = is_disabled;
            self.block = Some(surroundings);
        } else if self.position == Position::BelowMail && !is_numbered(&label) {
            self.list(number, &label);
        } else {
            self.above = Some((label, number));
        }
    }

    /// Lists a name that no key has followed.
    fn drop_label(&mut self) {
        self.block = None;
        if let Some((label, line)) = self.above.take()
            && line > 0
        {
            self.list(line, &label);
        }
    }
}

/// Whether a text in a line of its own, in a text with Google's keys, is a key of another form and no name.
fn is_lone_key(word: &str) -> bool {
    let word = word.trim_end_matches('=');
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    word.bytes().all(is_inside)
        && (word.len() >= MIN_LONE_KEY_CHARACTERS || (has_digit && !is_numbered(word)))
}

/// Whether a key lies within a token; `keys` are in order.
fn overlaps(keys: &[GoogleText], token: &Range<usize>) -> bool {
    let next = keys.partition_point(|key| key.range.end <= token.start);
    keys.get(next)
        .is_some_and(|key| key.range.start < token.end)
}

/// Whether a token is more than a bullet or a number of a list.
fn is_word(token: &str) -> bool {
    token.chars().filter(|char| char.is_alphanumeric()).count() > 2
        || token.contains(char::is_alphabetic)
}

/// Whether words are those of a sentence or a passphrase.
fn are_plain(words: &[&str]) -> bool {
    let mut letters = words.iter().flat_map(|word| word.chars());
    letters.all(char::is_alphabetic)
}

/// Whether the parts of a line are separated by commas or semicolons, with one word in each.
fn is_list(line: &str) -> bool {
    let parts: Vec<_> = line.split([',', ';', '，', '；']).collect();
    let is_single = |part: &&str| tokens(part).len() <= 1;
    parts.len() > 1 && !line.contains(['@', '|']) && parts.iter().all(is_single)
}

/// Whether each line of several is a name, a separator and a key.
fn is_pairs(text: &str) -> bool {
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let is_pair = |line: &&str| {
        let parts: Vec<_> = line.split(['|', ',', '\t', ';']).collect();
        let [name, key] = parts.as_slice() else {
            return false;
        };
        let is_key = |text: &str| google_keys(text) == [text.trim()];
        // A list of keys has commas too.
        is_label(name)
            && !is_key(name)
            && (is_key(key) || (line.contains('|') && is_plausible(key.trim())))
    };
    let is_bars = lines.len() == 1 && lines[0].contains('|');
    (lines.len() > 1 || is_bars) && lines.iter().all(is_pair)
}

/// The text of a comment line.
fn comment(line: &str) -> Option<&str> {
    let starts = ["#", "//", "<!--", "REM ", "-- "];
    starts.iter().find_map(|start| line.strip_prefix(start))
}

/// The name of a section: `[gemini]`.
fn section(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.strip_suffix(']')?;
    (is_variable(name) && google_keys(name).is_empty()).then_some(name)
}

/// `NAME=value` of environment files, shells, ini files and Dockerfiles. Only upper-case names, and names of keys,
/// count, because a key may contain `=`.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let starts = [
        "export ", "set ", "setx ", "ENV ", "$env:", "- ", "-e ", "--env ",
    ];
    let line = starts
        .iter()
        .find_map(|start| line.strip_prefix(start))
        .unwrap_or(line);
    let place = line.find(['=', ':', '：'])?;
    let separator = line[place..].chars().next()?;
    let name = line[..place].trim_end();
    let value = line[place + separator.len_utf8()..].trim();
    let name = name
        .trim_start_matches(['"', '\'', '-', ' '])
        .trim_end_matches(['"', '\'']);
    let is_upper = separator == '=' && !name.contains(|char: char| char.is_ascii_lowercase());
    let is_named =
        is_variable(name) && google_keys(name).is_empty() && (is_upper || names_keys(name));
    // The padding of a key in base64 is no value.
    let is_empty = value.is_empty() && name.contains('_');
    let has_value = is_empty || value.bytes().any(|byte| byte != b'=');
    (is_named && has_value).then_some((name, value))
}

/// The value of a variable, with the lines that continue it in quotes or brackets, and the number of all its lines.
fn whole_value(value: &str, below: &[&str]) -> (String, usize) {
    let close = match value.chars().next() {
        Some('[') => ']',
        Some('(') => ')',
        Some('{') => '}',
        Some(quote @ ('"' | '\'' | '`')) => quote,
        _ => return (value.to_owned(), 1),
    };
    if value[1..].contains(close) {
        return (value.to_owned(), 1);
    }
    let end = below
        .iter()
        .take(MAX_VALUE_LINES)
        .position(|line| line.contains(close));
    match end {
        Some(end) => {
            let lines: Vec<_> = [value]
                .into_iter()
                .chain(below[..=end].iter().copied())
                .collect();
            (lines.join("\n"), end + 2)
        }
        None => (value.to_owned(), 1),
    }
}
