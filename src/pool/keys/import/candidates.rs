//! `Collector`: gathers what could be keys in a whole text, and then decides which of them are.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::pool::keys::import::document::Node;
use crate::pool::keys::import::names::Owner;
use crate::pool::keys::imported_keys::{
    ImportedKey, KeyImport, NotTaken, NotTakenReason, numbered_labels,
};
use crate::pool::keys::upstream_key::KeyAttributes;
use crate::pool::secret::Secret;

/// The place of a text within the whole.
#[derive(Debug, Clone)]
pub struct Place {
    pub owner: Owner,
    /// Whether only keys stand here: they can have any form.
    pub expects_keys: bool,
    /// The names above, equal for all items of a list.
    pub list: String,
    /// Whether it is a list at the top of the document whose name says nothing but that it contains keys.
    pub is_unspecific: bool,
    /// Whether it is a member of a document, whose other members say which keys are meant.
    pub is_in_document: bool,
}

/// The place of a text and the attributes that keys in it have.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub place: Place,
    pub attributes: KeyAttributes,
    pub is_disabled: bool,
    /// Keys with one label and one number here are numbered.
    pub group: usize,
}

/// A part of the text to read.
#[derive(Debug)]
pub struct Piece {
    pub body: PieceBody,
    /// The line of its first character, counted from 1.
    pub line: usize,
    pub surroundings: Surroundings,
    /// How many texts it is nested in.
    pub depth: usize,
    /// Whether its lines without a key are listed.
    pub lists_rest: bool,
    /// Whether its lines are lines of the whole text; otherwise all of it stands in one line.
    pub spans_lines: bool,
}

#[derive(Debug)]
pub enum PieceBody {
    Text(String),
    Document(Node),
}

#[derive(Debug)]
struct Candidate {
    text: String,
    is_googles: bool,
    line: usize,
    surroundings: Surroundings,
}

/// What was found so far, and the pieces still to read.
#[derive(Debug, Default)]
pub struct Collector {
    candidates: Vec<Candidate>,
    not_taken: Vec<NotTaken>,
    pieces: VecDeque<Piece>,
    groups: usize,
}

impl Collector {
    pub fn add_piece(&mut self, piece: Piece) {
        self.pieces.push_back(piece);
    }

    pub fn next_piece(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }

    /// A number for keys that share a label.
    pub fn new_group(&mut self) -> usize {
        self.groups += 1;
        self.groups
    }

    /// Adds a text of a Google key's form.
    pub fn add_google_key(&mut self, text: &str, line: usize, surroundings: &Surroundings) {
        self.add(text, true, line, surroundings);
    }

    /// Adds a text of another form where a key is expected.
    pub fn add_other_key(&mut self, text: &str, line: usize, surroundings: &Surroundings) {
        self.add(text, false, line, surroundings);
    }

    fn add(&mut self, text: &str, is_googles: bool, line: usize, surroundings: &Surroundings) {
        self.candidates.push(Candidate {
            text: text.to_owned(),
            is_googles,
            line,
            surroundings: surroundings.clone(),
        });
    }

    pub fn add_not_taken(&mut self, line: usize, reason: NotTakenReason, text: &str) {
        self.not_taken.push(NotTaken::new(line, reason, text));
    }

    /// The texts that were found to be keys or candidates.
    pub fn texts(&self) -> HashSet<String> {
        self.candidates
            .iter()
            .map(|candidate| candidate.text.clone())
            .collect()
    }

    /// Decides for all candidates together.
    pub fn decide(mut self) -> KeyImport {
        let lists = KeyLists::of(&self.candidates);
        let mut import = KeyImport {
            not_taken: self.not_taken,
            ..KeyImport::default()
        };
        // Pieces are read out of order.
        self.candidates.sort_by_key(|candidate| candidate.line);
        let mut seen = HashSet::new();
        let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
        for candidate in self.candidates {
            if let Some(reason) = lists.refuse(&candidate) {
                import
                    .not_taken
                    .push(NotTaken::new(candidate.line, reason, &candidate.text));
                continue;
            }
            let Surroundings {
                attributes,
                is_disabled,
                group,
                ..
            } = candidate.surroundings;
            let secret = Secret::new(&candidate.text);
            if !seen.insert(secret.clone()) {
                import.duplicates += 1;
                continue;
            }
            if attributes.label.is_some() {
                groups.entry(group).or_default().push(import.keys.len());
            }
            import.keys.push(ImportedKey {
                attributes,
                is_disabled,
                ..ImportedKey::new(secret, candidate.line)
            });
        }
        for places in groups.into_values() {
            let label = import.keys[places[0]].attributes.label.clone();
            for (place, label) in places
                .iter()
                .zip(numbered_labels(places.len(), label.as_deref()))
            {
                import.keys[*place].attributes.label = label;
            }
        }
        import.not_taken.sort_by_key(|entry| entry.line);
        import
    }
}

/// The lists of keys in the whole text.
struct KeyLists {
    has_gemini_list: bool,
    has_google_keys_in_lists: bool,
    /// The lists with a key of Google's form.
    with_google_keys: HashSet<String>,
}

impl KeyLists {
    fn of(candidates: &[Candidate]) -> Self {
        let places = || {
            let googles = candidates.iter().filter(|candidate| candidate.is_googles);
            let places = googles.map(|candidate| &candidate.surroundings.place);
            places.filter(|place| place.owner != Owner::Excluded)
        };
        Self {
            has_gemini_list: candidates.iter().any(|candidate| {
                let place = &candidate.surroundings.place;
                place.expects_keys && place.owner == Owner::Gemini
            }),
            has_google_keys_in_lists: places().any(|place| place.expects_keys),
            with_google_keys: places().map(|place| place.list.clone()).collect(),
        }
    }

    /// Why the candidate is no key; `None`: it is one.
    fn refuse(&self, candidate: &Candidate) -> Option<NotTakenReason> {
        let place = &candidate.surroundings.place;
        let is_elsewhere =
            !self.with_google_keys.is_empty() && !self.with_google_keys.contains(&place.list);
        match (place.owner, candidate.is_googles) {
            (Owner::Excluded, _) | (Owner::Other, false) => Some(NotTakenReason::OtherService),
            (Owner::Gemini, _) => None,
            // Beside a list that names Gemini, the list without a name is that of the other pool's clients.
            (Owner::Unnamed, _) if place.is_unspecific && self.has_gemini_list => {
                Some(NotTakenReason::OtherService)
            }
            (Owner::Unnamed | Owner::Other, true) => {
                let is_outside =
                    place.is_in_document && !place.expects_keys && self.has_google_keys_in_lists;
                is_outside.then_some(NotTakenReason::OutsideKeyLists)
            }
            (Owner::Unnamed, false) => is_elsewhere.then_some(NotTakenReason::UnknownForm),
        }
    }
}
