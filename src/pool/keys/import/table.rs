//! Tables with a heading: CSV, TSV, pasted cells of a spreadsheet, Markdown.

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::pool::keys::import::document::{Member, Node, NodeValue};
use crate::pool::keys::import::label::is_heading;
use crate::pool::keys::import::names::is_variable;
use crate::pool::keys::import::shape::google_keys;

const SEPARATORS: [u8; 4] = [b'\t', b';', b',', b'|'];
/// The heading is searched in so many lines, because a title may stand above it.
const MAX_LINES_ABOVE_HEADING: usize = 5;

/// A text below a heading that names keys.
pub enum Table<'t> {
    /// Its rows as objects.
    Rows(Node),
    /// A single column: the text below the heading, and its first line.
    Column(&'t str, usize),
}

/// The table in `text`; `None`: it has no heading with a column of keys.
pub fn parse(text: &str) -> Option<Table<'_>> {
    let mut start = 0;
    let lines = (1..).zip(text.split_inclusive('\n'));
    let lines = lines.map(|(number, line)| {
        start += line.len();
        (number, line.trim(), start)
    });
    let lines = lines.filter(|(_, line, _)| !line.is_empty() && !line.starts_with(['#', '/']));
    let mut above = 0;
    for (number, line, end) in lines.take(MAX_LINES_ABOVE_HEADING) {
        if !google_keys(line).is_empty() || line.contains('=') {
            return None;
        }
        let Some((separator, heading)) = heading(line) else {
            above += 1;
            continue;
        };
        let below = &text[end..];
        return match separator {
            Some(separator) => Some(Table::Rows(rows(below, number, separator, &heading)?)),
            // A name in the middle of a text is no heading.
            None if above == 0 && !below.trim().is_empty() => {
                Some(Table::Column(below, number + 1))
            }
            None => None,
        };
    }
    None
}

/// The cells of a heading and their separator, if one of them names keys.
fn heading(line: &str) -> Option<(Option<u8>, Vec<String>)> {
    let of_separator = |separator: u8| {
        let cells = cells(&records(line, separator).next()?.ok()?);
        let named = cells.iter().filter(|cell| !cell.is_empty()).count();
        let is_heading = cells.len() > 1 && named > 0 && cells.iter().any(|cell| is_heading(cell));
        is_heading.then_some((Some(separator), cells))
    };
    let widest = SEPARATORS.into_iter().filter_map(of_separator);
    if let Some(widest) = widest.max_by_key(|(_, cells)| cells.len()) {
        return Some(widest);
    }
    is_heading(line).then(|| (None, vec![line.to_owned()]))
}

fn records(text: &str, separator: u8) -> impl Iterator<Item = csv::Result<StringRecord>> {
    let mut reader = ReaderBuilder::new();
    let reader = reader
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All);
    reader.from_reader(text.as_bytes()).into_records()
}

fn cells(record: &StringRecord) -> Vec<String> {
    let cells = record
        .iter()
        .map(|cell| cell.trim_matches(['`', '\'', ' ', '\u{a0}']));
    cells.map(without_defusing).collect()
}

/// The cell without the apostrophes that our exports put before what a spreadsheet would run as a formula, wherever one with
/// another separator would begin a cell. One at the beginning is gone with the quotes.
fn without_defusing(cell: &str) -> String {
    let parts = cell.split_inclusive([';', '\t', '\r', '\n']);
    let parts = parts.map(|part| match part.strip_prefix('\'') {
        Some(rest) if is_formula(rest) => rest,
        Some(_) | None => part,
    });
    parts.collect()
}

fn is_formula(text: &str) -> bool {
    text.trim_start_matches(['"', '\'', ' '])
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}

/// The rows below a heading in line `above`.
fn rows(text: &str, above: usize, separator: u8, heading: &[String]) -> Option<Node> {
    let mut rows = Vec::new();
    for record in records(text, separator) {
        let record = record.ok()?;
        let line = above + usize::try_from(record.position()?.line()).ok()?;
        let cells = cells(&record);
        let is_rule = cells
            .iter()
            .all(|cell| cell.chars().all(|char| "-: ".contains(char)));
        if !is_rule {
            rows.push(row(line, cells, heading));
        }
    }
    Some(Node {
        line: above,
        value: NodeValue::List(rows),
    })
}

fn row(line: usize, cells: Vec<String>, heading: &[String]) -> Node {
    let has_key = |cell: &String| !google_keys(cell).is_empty();
    let key_columns = || {
        heading
            .iter()
            .zip(&cells)
            .filter(|(name, _)| is_heading(name))
    };
    let is_assignment = cells.len() == 1
        && cells[0]
            .split_once('=')
            .is_some_and(|(name, _)| is_variable(name.trim()));
    let is_shifted = !key_columns().any(|(_, cell)| has_key(cell)) && cells.iter().any(has_key);
    if is_assignment || is_shifted {
        // The row does not match the heading, so its attributes are unreliable.
        let keys: Vec<_> = cells
            .iter()
            .filter(|cell| is_assignment || has_key(cell))
            .cloned()
            .collect();
        return Node::text(line, &keys.join(" "));
    }
    let members = heading
        .iter()
        .zip(cells)
        .filter(|(name, cell)| !name.is_empty() && !cell.is_empty());
    let members = members.map(|(name, cell)| Member {
        name: name.clone(),
        line,
        node: Node::text(line, &cell),
    });
    Node {
        line,
        value: NodeValue::Members(members.collect()),
    }
}
