//! Reads upstream keys and their attributes from any text: lists, mails, tables, environment files, JSON, YAML, TOML.
//!
//! The whole text is read into candidates first; then [`candidates`] decides which of them are keys, so that one part
//! of the text can determine the meaning of the others.

mod candidates;
pub mod client_keys;
pub mod decode;
mod document;
mod label;
mod lines;
mod members;
mod names;
mod shape;
mod table;

use crate::pool::keys::import::candidates::{Collector, Piece, PieceBody, Place, Surroundings};
use crate::pool::keys::import::document::Node;
use crate::pool::keys::import::names::Owner;
use crate::pool::keys::import::shape::google_texts;
use crate::pool::keys::import::table::Table;
use crate::pool::keys::imported_keys::{KeyImport, NotTakenReason};
use crate::pool::keys::upstream_key::KeyAttributes;

/// Maximum number of texts in each other, as JSON in a string.
const MAX_DEPTH: usize = 16;

/// What a text may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Anything: keys have Google's form (`AIza…`, `AQ.…`), unless a heading or a name says that they are keys.
    AnyText,
    /// Only keys: each is a token of 8 or more visible characters, whatever its form.
    KeysOnly,
}

/// Reads the keys in `text`.
pub fn read(text: &str, expected: Expected) -> KeyImport {
    let text = text
        .trim_start_matches('\u{feff}')
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let mut found = Collector::default();
    let root = Surroundings {
        place: Place {
            owner: Owner::Unnamed,
            expects_keys: expected == Expected::KeysOnly,
            list: String::new(),
            is_unspecific: false,
            is_in_document: false,
        },
        attributes: KeyAttributes::default(),
        is_disabled: false,
        group: 0,
    };
    let is_structured = read_text(
        &text,
        &Piece {
            body: PieceBody::Text(String::new()),
            line: 1,
            surroundings: root.clone(),
            depth: 0,
            lists_rest: true,
            spans_lines: true,
        },
        &mut found,
    );
    while let Some(piece) = found.next_piece() {
        match &piece.body {
            PieceBody::Text(text) => {
                read_text(text, &piece, &mut found);
            }
            PieceBody::Document(node) => {
                members::read(
                    node,
                    &in_document(&piece.surroundings),
                    piece.depth,
                    &mut found,
                );
            }
        }
    }
    if is_structured {
        add_unread(&text, &root, &mut found);
    }
    found.decide()
}

/// Reads a text as a document, a table or lines. Returns whether it is a document or a table.
fn read_text(text: &str, piece: &Piece, found: &mut Collector) -> bool {
    // Other texts of a single line are no documents, and too many to try.
    let is_long = text.contains('\n')
        || text
            .trim()
            .trim_matches(['\'', '"', '`'])
            .starts_with(['[', '{']);
    if is_long && piece.depth < MAX_DEPTH {
        if let Some(mut node) = document::parse(text) {
            place(&mut node, piece);
            members::read(&node, &in_document(&piece.surroundings), piece.depth, found);
            return true;
        }
        match table::parse(text) {
            Some(Table::Rows(mut node)) => {
                place(&mut node, piece);
                members::read(&node, &piece.surroundings, piece.depth, found);
                return true;
            }
            Some(Table::Column(below, line)) => {
                let mut surroundings = piece.surroundings.clone();
                surroundings.place.expects_keys = true;
                let column = Piece {
                    body: PieceBody::Text(String::new()),
                    line: piece.line + if piece.spans_lines { line - 1 } else { 0 },
                    surroundings,
                    ..*piece
                };
                lines::read(below, &column, found);
                return false;
            }
            None => (),
        }
    }
    lines::read(text, piece, found);
    false
}

/// Changes the lines of a document in a piece to those of the whole text.
fn place(node: &mut Node, piece: &Piece) {
    if piece.spans_lines {
        node.change_lines(&|line| line + piece.line - 1);
    } else {
        node.change_lines(&|_| piece.line);
    }
}

fn in_document(surroundings: &Surroundings) -> Surroundings {
    let mut surroundings = surroundings.clone();
    surroundings.place.is_in_document = true;
    surroundings
}

/// Adds what has a Google key's form and was in no value of a document or table: comments, and texts between its parts.
fn add_unread(text: &str, root: &Surroundings, found: &mut Collector) {
    let known = found.texts();
    let surroundings = in_document(root);
    for (number, line) in (1..).zip(text.lines()) {
        for google in google_texts(line) {
            let key = &line[google.range.clone()];
            let before = &line[..google.range.start];
            if known.contains(key) || google.is_incomplete {
                continue;
            }
            if before.trim_start().starts_with(['#', '/'])
                || before.contains(" #")
                || before.contains(" //")
            {
                found.add_not_taken(number, NotTakenReason::Comment, key);
            } else {
                found.add_google_key(key, number, &surroundings);
            }
        }
    }
}

#[cfg(test)]
mod tests;
