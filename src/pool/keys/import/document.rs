//! `Node`: a text as a tree of lists and members, read from JSON, YAML or TOML.

use saphyr_parser::{Event, Parser, ScalarStyle};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Maximum depth of a document; a deeper one is read as plain text.
const MAX_DEPTH: usize = 64;

/// A value of a document with the line where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Counted from 1.
    pub line: usize,
    pub value: NodeValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeValue {
    /// A string, or a number or another scalar as it is written.
    Text(String),
    /// A string whose lines are lines of the document too.
    Block(String),
    List(Vec<Node>),
    /// In order of appearance; a name can repeat.
    Members(Vec<Member>),
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub line: usize,
    pub node: Node,
}

impl Node {
    pub fn text(line: usize, text: &str) -> Self {
        Self {
            line,
            value: NodeValue::Text(text.to_owned()),
        }
    }

    /// Changes all line numbers, for a document within a text.
    pub fn change_lines(&mut self, change: &dyn Fn(usize) -> usize) {
        self.line = change(self.line);
        match &mut self.value {
            NodeValue::Text(_) | NodeValue::Block(_) => (),
            NodeValue::List(items) => items.iter_mut().for_each(|item| item.change_lines(change)),
            NodeValue::Members(members) => {
                for member in members {
                    member.line = change(member.line);
                    member.node.change_lines(change);
                }
            }
        }
    }

    /// The text of a scalar.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Text(text) | NodeValue::Block(text) => Some(text),
            NodeValue::List(_) | NodeValue::Members(_) => None,
        }
    }
}

/// Reads a JSON, YAML or TOML document; `None`: `text` is none, or a single scalar.
///
/// JSON is read as YAML, of which it is a part, because that parser reports the line of each value.
pub fn parse(text: &str) -> Option<Node> {
    let unquoted = text.trim();
    // `'["A","B"]'`, as environment files quote JSON.
    let inner = ['\'', '"', '`'].iter().find_map(|quote| {
        let inner = unquoted.strip_prefix(*quote)?.strip_suffix(*quote)?;
        inner.trim_start().starts_with(['[', '{']).then_some(inner)
    });
    if let Some(inner) = inner {
        let skipped = text.find(inner).unwrap_or(0);
        let above = text[..skipped].matches('\n').count();
        return yaml(inner, above);
    }
    yaml(text, 0).or_else(|| toml(text))
}

/// Containers that are not closed yet.
enum Open {
    List(usize, Vec<Node>),
    Members(usize, Vec<Member>, Option<(String, usize)>),
}

fn yaml(text: &str, lines_above: usize) -> Option<Node> {
    let text = joined_surrogates(text);
    let mut roots = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(&text) {
        let (event, span) = event.ok()?;
        let line = span.start.line() + lines_above;
        let closed = match event {
            Event::SequenceStart(..) => {
                open.push(Open::List(line, Vec::new()));
                None
            }
            Event::MappingStart(..) => {
                open.push(Open::Members(line, Vec::new(), None));
                None
            }
            Event::Scalar(text, ScalarStyle::Literal | ScalarStyle::Folded, ..) => Some(Node {
                line,
                value: NodeValue::Block(text.into_owned()),
            }),
            Event::Scalar(text, ..) => Some(Node::text(line, &text)),
            // The anchor's own place is read.
            Event::Alias(_) => Some(Node::text(line, "")),
            Event::SequenceEnd | Event::MappingEnd => match open.pop()? {
                Open::List(line, items) => Some(Node {
                    line,
                    value: NodeValue::List(items),
                }),
                Open::Members(line, members, _) => Some(Node {
                    line,
                    value: NodeValue::Members(members),
                }),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => None,
        };
        if open.len() > MAX_DEPTH {
            return None;
        }
        if let Some(node) = closed {
            place(node, &mut open, &mut roots);
        }
    }
    let is_scalar = |node: &Node| node.as_text().is_some_and(|text| !text.is_empty());
    if roots.is_empty() || roots.iter().any(is_scalar) {
        return None;
    }
    if roots.len() == 1 {
        return roots.pop();
    }
    Some(Node {
        line: 1,
        value: NodeValue::List(roots),
    })
}

/// Adds a complete node to the container around it.
fn place(node: Node, open: &mut [Open], roots: &mut Vec<Node>) {
    match open.last_mut() {
        None => roots.push(node),
        Some(Open::List(_, items)) => items.push(node),
        Some(Open::Members(_, members, name)) => match name.take() {
            Some((name, line)) => members.push(Member { name, line, node }),
            None => *name = Some((node.as_text().unwrap_or_default().to_owned(), node.line)),
        },
    }
}

/// Replaces JSON's escapes of characters outside the basic plane, which YAML does not have.
fn joined_surrogates(text: &str) -> String {
    const ESCAPED: usize = r"\ud83d\ude00".len();
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find(r"\u") {
        let pair = rest.get(place..place + ESCAPED);
        let quoted = pair
            .filter(|pair| !pair.contains('"'))
            .map(|pair| format!("\"{pair}\""));
        let char = quoted.and_then(|quoted| serde_json::from_str::<String>(&quoted).ok());
        let char = char.filter(|text| text.chars().count() == 1);
        joined.push_str(&rest[..place]);
        joined.push_str(char.as_deref().unwrap_or(r"\u"));
        let used = if char.is_some() { ESCAPED } else { 2 };
        rest = &rest[place + used..];
    }
    joined.push_str(rest);
    joined
}

fn toml(text: &str) -> Option<Node> {
    let table = DeTable::parse(text).ok()?;
    let starts: Vec<_> = text.match_indices('\n').map(|(place, _)| place).collect();
    let line_at = |place| starts.partition_point(|start| *start < place) + 1;
    let is_empty = table.get_ref().is_empty();
    (!is_empty).then(|| toml_table(1, table.get_ref(), &line_at))
}

fn toml_table(line: usize, table: &DeTable<'_>, line_at: &dyn Fn(usize) -> usize) -> Node {
    let mut members: Vec<_> = table.iter().collect();
    members.sort_by_key(|(name, _)| name.span().start);
    let member = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| Member {
        name: AsRef::<str>::as_ref(name.get_ref()).to_owned(),
        line: line_at(name.span().start),
        node: toml_value(value, line_at),
    };
    Node {
        line,
        value: NodeValue::Members(members.into_iter().map(member).collect()),
    }
}

fn toml_value(value: &Spanned<DeValue<'_>>, line_at: &dyn Fn(usize) -> usize) -> Node {
    let line = line_at(value.span().start);
    match value.get_ref() {
        // The first line of a string of several lines stands below its quotes.
        DeValue::String(text) if line_at(value.span().end) > line => Node {
            line: line + 1,
            value: NodeValue::Block(text.to_string()),
        },
        DeValue::String(text) => Node::text(line, text),
        DeValue::Integer(number) => Node::text(line, number.as_str()),
        DeValue::Float(number) => Node::text(line, number.as_str()),
        DeValue::Boolean(is_true) => Node::text(line, if *is_true { "true" } else { "false" }),
        DeValue::Datetime(time) => Node::text(line, &time.to_string()),
        DeValue::Array(items) => Node {
            line,
            value: NodeValue::List(items.iter().map(|item| toml_value(item, line_at)).collect()),
        },
        DeValue::Table(table) => toml_table(line, table, line_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scalars of a document with their lines and the names above them.
    fn scalars(text: &str) -> Vec<(String, usize, String)> {
        fn collect(node: &Node, path: &str, found: &mut Vec<(String, usize, String)>) {
            match &node.value {
                NodeValue::Text(text) | NodeValue::Block(text) => {
                    found.push((path.to_owned(), node.line, text.clone()));
                }
                NodeValue::List(items) => {
                    for item in items {
                        collect(item, path, found);
                    }
                }
                NodeValue::Members(members) => {
                    for member in members {
                        collect(&member.node, &format!("{path}/{}", member.name), found);
                    }
                }
            }
        }
        let mut found = Vec::new();
        collect(&parse(text).unwrap(), "", &mut found);
        found
    }

    #[test]
    fn each_format_is_read_with_its_lines() {
        let cases = [
            "{\n\t\"a\": [\n\t\t\"x\",\n\t\t\"y\"\n\t],\n\t\"a\": 1\n}",
            "\na:\n- x\n- y # note\n\na: 1",
            "a = [\n  1,\n]\n[b]\nc = \"\"\"\nx\"\"\"",
            "'[\"x\",\n\"y\"]'",
            "a: |\n  x\n  y\nd: >-\n  z\n---\nb: &q x\nc: *q",
        ];
        let expected: [&[(&str, usize, &str)]; 5] = [
            &[("/a", 3, "x"), ("/a", 4, "y"), ("/a", 6, "1")],
            &[("/a", 3, "x"), ("/a", 4, "y"), ("/a", 6, "1")],
            &[("/a", 2, "1"), ("/b/c", 6, "x")],
            &[("", 1, "x"), ("", 2, "y")],
            &[
                ("/a", 2, "x\ny\n"),
                ("/d", 5, "z"),
                ("/b", 7, "x"),
                ("/c", 8, ""),
            ],
        ];
        for (text, expected) in cases.iter().zip(expected) {
            let found = scalars(text);
            let found: Vec<_> = found
                .iter()
                .map(|(path, line, text)| (path.as_str(), *line, text.as_str()))
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn json_escapes_are_read() {
        let found = scalars(r#"{"a": "\ud83d\ude00\u91d1\/\n", "b": "\\u"}"#);
        assert_eq!(
            (found[0].2.as_str(), found[1].2.as_str()),
            ("😀金/\n", r"\u")
        );
    }

    #[test]
    fn plain_text_is_no_document() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "one",
            "one\ntwo",
            "a: b\nplain text",
            "KEY=value\nOTHER=value",
            &deep,
        ] {
            assert_eq!(parse(text), None);
        }
    }
}
