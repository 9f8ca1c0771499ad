//! Extracts upstream keys and their attributes from pasted text: lines, CSV, JSON or an environment file.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::pool::keys::upstream_key::{KeyAttributes, MAX_WEIGHT, parse_tags};
use crate::pool::secret::Secret;

/// The result of parsing a text.
#[derive(Debug, Default)]
pub struct KeyImport {
    /// Each key once, in order of appearance.
    pub keys: Vec<ImportedKey>,
    /// Number of repeated keys.
    pub duplicates: usize,
    /// Entries that could not be used.
    pub unusable: Vec<UnusableEntry>,
}

/// A key with its attributes from the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedKey {
    pub secret: Secret,
    pub attributes: KeyAttributes,
}

/// An entry that is not what its place requires. If it is not a key, its row's key is imported without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableEntry {
    /// Counted from 1.
    pub line: usize,
    /// What the place requires: `key`, `weight` and so on.
    pub expected: &'static str,
    /// Its first characters: at most four, and at most a quarter of it, because it may be a mistyped key. A text too
    /// short for a key is shown whole where another attribute was expected.
    pub start: String,
}

/// Prefixes of Google's keys: standard keys and auth keys.
const GOOGLES: [&str; 2] = ["AIza", "AQ."];
/// Minimum length of a Google key inside other text; shorter ones are accepted only as a whole entry.
const TOKEN_CHARACTERS: usize = 23;
const FEWEST_CHARACTERS: usize = 8;
const MOST_CHARACTERS: usize = 1_024;
/// Maximum length of a label or project name.
const MOST_NAME_CHARACTERS: usize = 200;

/// Extracts the keys in `text`.
///
/// Texts in the form of a Google key (`AIza…`, `AQ.…`) are found anywhere. In a line, CSV cell or JSON string without
/// one, the whole text is taken if it could be a key. Attributes come from the columns of a table with a heading or
/// from the JSON members beside a key.
pub fn parse(text: &str) -> KeyImport {
    let mut found = KeyCollector::default();
    let text = text.trim_start_matches('\u{feff}');
    if let Some(json) = json(text) {
        found.json(&json, true, &KeyAttributes::default(), &|entry| {
            line_of(text, entry)
        });
        return found.import;
    }
    let mut columns = None;
    let mut is_first = true;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
            continue;
        }
        if is_first {
            is_first = false;
            columns = TableColumns::of_heading(line);
            if columns.is_some() {
                continue;
            }
        }
        let is_row = assignment(line).is_none() && json(line).is_none();
        match columns.as_ref().filter(|_| is_row) {
            Some(columns) => found.row(number, line, columns),
            None => found.line(number, line),
        }
    }
    found.import
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

#[derive(Default)]
struct KeyCollector {
    import: KeyImport,
    seen: HashSet<Secret>,
}

impl KeyCollector {
    fn line(&mut self, number: usize, line: &str) {
        let (is_place, value) = match assignment(line) {
            Some((name, value)) => (names_keys(name), value),
            None => (true, line),
        };
        if let Some(json) = json(value) {
            self.json(&json, is_place, &KeyAttributes::default(), &|_| number);
            return;
        }
        let tokens = tokens(value);
        if !tokens.is_empty() {
            self.keys(tokens, &KeyAttributes::default());
            return;
        }
        if !is_place {
            return;
        }
        let bullets = ["- ", "* "];
        let value = bullets
            .iter()
            .find_map(|bullet| value.strip_prefix(bullet))
            .unwrap_or(value);
        let cells: Vec<_> = cells(value).collect();
        self.entries(number, &cells);
    }

    /// Adds the key of a table row with the attributes in its other cells.
    fn row(&mut self, number: usize, line: &str, columns: &TableColumns) {
        let cells = columns.cells(line);
        let cell = cells.get(columns.key).map_or("", String::as_str);
        let elsewhere = tokens(line);
        if tokens(cell).is_empty() && !elsewhere.is_empty() {
            // The row does not match the heading, so its attributes are unreliable.
            self.keys(elsewhere, &KeyAttributes::default());
            return;
        }
        let mut attributes = KeyAttributes::default();
        for (place, column) in &columns.others {
            let text = cells.get(*place).map_or("", String::as_str);
            self.read(*column, text, number, &mut attributes);
        }
        let found = tokens(cell);
        if found.is_empty() {
            self.entry(number, unwrapped(cell), &attributes);
        } else {
            self.keys(found, &attributes);
        }
    }

    /// Adds the cells that begin like Google's keys, or else all.
    fn entries(&mut self, number: usize, cells: &[&str]) {
        let alike = cells.iter().any(|cell| is_like_googles(cell));
        for cell in cells.iter().filter(|cell| !cell.is_empty()) {
            if !alike || is_like_googles(cell) {
                self.entry(number, cell, &KeyAttributes::default());
            }
        }
    }

    fn entry(&mut self, number: usize, entry: &str, attributes: &KeyAttributes) {
        if is_plausible(entry) {
            self.key(entry, attributes);
        } else {
            self.add_unusable(number, "key", entry);
        }
    }

    fn add_unusable(&mut self, line: usize, expected: &'static str, entry: &str) {
        let length = entry.chars().count();
        let shown = if expected != "key" && length < FEWEST_CHARACTERS {
            length
        } else {
            (length / 4).min(4)
        };
        let start = entry.chars().take(shown).collect();
        self.import.unusable.push(UnusableEntry {
            line,
            expected,
            start,
        });
    }

    fn keys(&mut self, texts: Vec<&str>, attributes: &KeyAttributes) {
        for text in texts {
            self.key(text, attributes);
        }
    }

    fn key(&mut self, text: &str, attributes: &KeyAttributes) {
        let secret = Secret::new(text);
        if self.seen.insert(secret.clone()) {
            self.import.keys.push(ImportedKey {
                secret,
                attributes: attributes.clone(),
            });
        } else {
            self.import.duplicates += 1;
        }
    }

    /// Sets an attribute from a cell or a JSON member; an invalid value is recorded as unusable, an empty one is
    /// ignored.
    fn read(
        &mut self,
        column: AttributeColumn,
        text: &str,
        line: usize,
        attributes: &mut KeyAttributes,
    ) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let is_name = text.chars().count() <= MOST_NAME_CHARACTERS
            && !text.contains(char::is_control)
            && tokens(text).is_empty();
        let name = is_name.then(|| text.to_owned());
        let is_read = match column {
            AttributeColumn::Label => set(&mut attributes.label, name),
            AttributeColumn::Project => set(&mut attributes.project, name),
            AttributeColumn::Billing => set(&mut attributes.billing, text.parse().ok()),
            AttributeColumn::Priority => set(&mut attributes.priority, text.parse().ok()),
            AttributeColumn::Weight => {
                let weight = text.parse().ok();
                let is_weight = |weight: &u32| (1..=MAX_WEIGHT).contains(weight);
                set(&mut attributes.weight, weight.filter(is_weight))
            }
            AttributeColumn::Tags => set(&mut attributes.tags, name.map(|text| parse_tags(&text))),
        };
        if !is_read {
            self.add_unusable(line, column.name(), text);
        }
    }

    /// Adds Google's keys, and other strings where a key is expected (`is_place`).
    fn json(
        &mut self,
        value: &Value,
        is_place: bool,
        attributes: &KeyAttributes,
        line_of: &dyn Fn(&str) -> usize,
    ) {
        match value {
            Value::String(text) => {
                let tokens = tokens(text);
                if tokens.is_empty() && is_place {
                    self.entry(line_of(text), text.trim(), attributes);
                }
                self.keys(tokens, attributes);
            }
            Value::Array(items) => {
                for item in items {
                    self.json(item, is_place, attributes, line_of);
                }
            }
            Value::Object(members) => {
                let has_token = |text: &str| !tokens(text).is_empty();
                let has_named_key = members.iter().any(|(name, member)| {
                    names_keys(name) || has_token(name) || member.as_str().is_some_and(has_token)
                });
                let own = self.attributes_of(members, attributes, line_of);
                // One label for all keys of a list would not distinguish them.
                let own_without_label = KeyAttributes {
                    label: None,
                    ..own.clone()
                };
                for (name, member) in members {
                    self.keys(tokens(name), &KeyAttributes::default());
                    // The members beside a key are its label, project and so on.
                    let is_place = names_keys(name) || (is_place && !has_named_key);
                    let attributes = if member.is_string() {
                        &own
                    } else {
                        &own_without_label
                    };
                    self.json(member, is_place, attributes, line_of);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => (),
        }
    }

    /// The attributes that a JSON object gives its keys, completed from `around`.
    fn attributes_of(
        &mut self,
        members: &Map<String, Value>,
        around: &KeyAttributes,
        line_of: &dyn Fn(&str) -> usize,
    ) -> KeyAttributes {
        let mut attributes = KeyAttributes::default();
        if !members.keys().any(|name| names_keys(name)) {
            return around.clone();
        }
        for (name, member) in members {
            let Some(column) = AttributeColumn::named(name).filter(|_| !names_keys(name)) else {
                continue;
            };
            let text = match member {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Array(items) => {
                    let words: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                    words.join(" ")
                }
                Value::Null | Value::Bool(_) | Value::Object(_) => continue,
            };
            self.read(column, &text, line_of(&text), &mut attributes);
        }
        attributes.or(around)
    }
}

/// Sets `place` to the value; `false` when there is none.
fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_some = value.is_some();
    *place = value;
    is_some
}

/// The attribute in a table column or a JSON member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttributeColumn {
    Label,
    Project,
    Billing,
    Priority,
    Weight,
    Tags,
}

impl AttributeColumn {
    fn named(name: &str) -> Option<Self> {
        match plain(name).as_str() {
            "label" | "name" | "keyname" => Some(Self::Label),
            "project" | "projectid" | "projectnumber" | "projectname" => Some(Self::Project),
            "billing" | "tier" | "billingtier" => Some(Self::Billing),
            "priority" => Some(Self::Priority),
            "weight" => Some(Self::Weight),
            "tags" | "tag" => Some(Self::Tags),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Project => "project",
            Self::Billing => "billing",
            Self::Priority => "priority",
            Self::Weight => "weight",
            Self::Tags => "tags",
        }
    }
}

/// The columns of a table, read from its heading.
#[derive(Debug)]
struct TableColumns {
    separator: char,
    key: usize,
    others: Vec<(usize, AttributeColumn)>,
}

impl TableColumns {
    /// `None`: `line` is no heading with a key column.
    fn of_heading(line: &str) -> Option<Self> {
        if assignment(line).is_some() || !tokens(line).is_empty() {
            return None;
        }
        let of_separator = |separator| {
            let cells = split(line, separator);
            let key = cells.iter().position(|cell| names_keys(cell))?;
            let others = cells.iter().enumerate().filter(|(place, _)| *place != key);
            let others =
                others.filter_map(|(place, cell)| Some((place, AttributeColumn::named(cell)?)));
            let others = others.collect();
            Some((
                cells.len(),
                Self {
                    separator,
                    key,
                    others,
                },
            ))
        };
        let separators = [',', ';', '\t'].into_iter().rev();
        let widest = separators
            .filter_map(of_separator)
            .max_by_key(|(width, _)| *width);
        widest.map(|(_, columns)| columns)
    }

    fn cells(&self, line: &str) -> Vec<String> {
        split(line, self.separator)
    }
}

/// The cells of a table line. Within quotes a separator is plain text, and two quotes stand for one.
fn split(line: &str, separator: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let cell = cells.last_mut().expect("there is always a cell");
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' if is_quoted || cell.trim().is_empty() => is_quoted = !is_quoted,
            _ if letter == separator && !is_quoted => cells.push(String::new()),
            _ => cell.push(letter),
        }
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

fn json(text: &str) -> Option<Value> {
    let text = text.trim().trim_matches(['\'', '`']);
    let is_some = text.starts_with(['[', '{', '"']);
    is_some.then(|| serde_json::from_str(text).ok())?
}

/// The line where a JSON string first appears; the JSON parser does not report positions.
fn line_of(text: &str, entry: &str) -> usize {
    let place = text.find(entry).filter(|_| !entry.is_empty()).unwrap_or(0);
    text[..place].matches('\n').count() + 1
}

/// `NAME=value` as in environment files. Only upper-case names count, because a key may contain `=`.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim_end(), value.trim());
    let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    (is_name && value.bytes().any(|byte| byte != b'=')).then_some((name, value))
}

/// Whether a variable, column or JSON member of this name contains upstream keys.
fn names_keys(name: &str) -> bool {
    let name = plain(name);
    let others = ["allowed", "client", "public", "admin", "openai", "master"];
    let ends = ["apikey", "apikeys", "upstreamkey", "upstreamkeys"];
    let whole = [
        "key", "keys", "secret", "secrets", "token", "tokens", "value",
    ];
    !others.iter().any(|other| name.contains(other))
        && (whole.contains(&name.as_str()) || ends.iter().any(|end| name.ends_with(end)))
}

/// A name reduced to its letters and digits, in lower case.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

/// The parts of a line, without their quotes and brackets.
fn cells(line: &str) -> impl Iterator<Item = &str> {
    let line = line.trim_end_matches([',', ';']);
    line.split([',', ';', '\t']).map(unwrapped)
}

fn unwrapped(cell: &str) -> &str {
    cell.trim_matches(|char: char| char.is_whitespace() || "\"'`[](){}<>".contains(char))
}

fn is_like_googles(text: &str) -> bool {
    GOOGLES.iter().any(|beginning| text.starts_with(beginning))
}

/// The texts in the form of a Google key: a known prefix, then letters, digits, `_` and `-`.
fn tokens(text: &str) -> Vec<&str> {
    let is_inside = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.');
    let token = |word| {
        let word: &str = word;
        let word = word.trim_start_matches(['-', '_', '.']);
        let beginning = GOOGLES
            .iter()
            .find(|beginning| word.starts_with(**beginning))?;
        let rest = &word[beginning.len()..];
        let end = beginning.len() + rest.find('.').unwrap_or(rest.len());
        (end >= TOKEN_CHARACTERS).then(|| &word[..end])
    };
    text.split(|char| !is_inside(char))
        .filter_map(token)
        .collect()
}

/// Whether `text` could be a key of an unknown form.
fn is_plausible(text: &str) -> bool {
    (FEWEST_CHARACTERS..=MOST_CHARACTERS).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"'`[](){}<>\\,;".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
        // A URL, or a masked key.
        && !["://", "***", "..."].iter().any(|part| text.contains(part))
}

#[cfg(test)]
mod tests;
