//! The pages agree with the program: each error message has a heading, and both languages of a page have the same commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Messages in the tables of refusals that are part of a longer one, or none.
const NO_REFUSALS: &[&str] = &[
    "in the project that owns …",
    "the table holds valid statuses",
    "for clients of OpenAI",
    "for clients of Gemini, which append the version themselves",
];
/// The sources of the messages with which a start or a command fails before it has done anything.
const SOURCES_OF_START: &[&str] = &[
    "src/config.rs",
    "src/cli/mod.rs",
    "src/cli/serve.rs",
    "src/cli/database.rs",
    "src/cli/health.rs",
    "src/server.rs",
    "src/server/service_manager.rs",
    "src/storage/lock.rs",
    "src/storage/ownership.rs",
    "src/storage/error.rs",
    "src/storage/db.rs",
    "src/gemini/proxy_variables.rs",
    "src/gemini/tls.rs",
];
/// What stands before the text of an error.
const MAKERS: &[&str] = &[
    "InvalidConfig(",
    "InvalidConfig::new(",
    "bail!(",
    "anyhow!(",
    "context(",
    "Refused(",
    "#[error(",
    "format!(",
];
/// What they make beside errors, and parts of longer messages.
const NO_ERRORS: &[&str] = &[
    "…   (shown only once; change it under Account)",
    "\\n  Dashboard   …/\\n  User name   …\\n  Password    …\\n",
    ", or run this as its owner, user …",
    "give it to this user (chown … …)…",
    "PRAGMA … = …",
    "line …",
    "… … not found",
];
const FEWEST_WORDS: usize = 4;
const TROUBLESHOOTING: &[&str] = &["docs/troubleshooting.md", "docs/zh-TW/troubleshooting.md"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A text between quotation marks in Rust code.
struct Literal {
    /// The code before it, without spaces.
    before: String,
    text: String,
}

/// The strings of code, without its comments and unit tests.
fn literals(code: &str) -> Vec<Literal> {
    let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code: Vec<_> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut literals = Vec::new();
    let mut rest = code.as_str();
    while let Some(begin) = rest.find('"') {
        let before: String = rest[..begin].split_whitespace().collect();
        let mut end = begin + 1;
        while !rest[end..].starts_with('"') {
            let is_escape = rest[end..].starts_with('\\');
            end += rest[end..].chars().next().unwrap().len_utf8() + usize::from(is_escape);
        }
        let text = &rest[begin + 1..end];
        // A line end after a backslash is no part of the text, nor are the spaces behind it.
        let mut parts = text.split("\\\n");
        let first = parts.next().unwrap().to_owned();
        let text = parts.fold(first, |text, part| text + part.trim_start());
        literals.push(Literal { before, text });
        rest = &rest[end + 1..];
    }
    literals
}

/// The beginning of a message as a heading has it: `…` for what differs, up to the end of the first clause.
fn heading_of(text: &str) -> String {
    let mut heading = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find('{') {
        let Some(end) = rest[begin..].find('}') else {
            break;
        };
        heading += &rest[..begin];
        heading += "…";
        rest = &rest[begin + end + 1..];
    }
    heading += rest;
    for end in [". ", ": "] {
        heading = heading.split(end).next().unwrap().to_owned();
    }
    heading.trim().trim_end_matches(['.', ':']).to_owned()
}

fn is_sentence(text: &str) -> bool {
    text.split_whitespace().count() >= FEWEST_WORDS
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).unwrap();
    rest.split_once(end).unwrap().0
}

/// What the pool answers to clients.
fn messages_to_clients() -> BTreeSet<String> {
    let refusals = read("src/proxy/refusal.rs");
    let table = between(&refusals, "pub fn describe", "pub fn is_unavailability");
    let parts = between(&refusals, "fn wrong_base_message", "fn count(");
    let table = literals(table).into_iter().chain(literals(parts));
    let table = table.filter(|literal| is_sentence(&literal.text));
    let target = literals(&read("src/gemini/target.rs"));
    let target = target
        .into_iter()
        .filter(|literal| literal.before.ends_with("#[error("));
    let messages = table
        .chain(target)
        .map(|literal| heading_of(&literal.text))
        .filter(|message| is_sentence(&message.replace('…', "")));
    let mut messages: BTreeSet<_> = messages.collect();
    for part in NO_REFUSALS {
        assert!(messages.remove(*part), "is no longer there: {part}");
    }
    messages
}

/// What a start or a command fails with.
fn messages_of_start() -> BTreeSet<String> {
    let found = SOURCES_OF_START
        .iter()
        .flat_map(|source| literals(&read(source)));
    let errors = found.filter(|literal| {
        let made = MAKERS.iter().any(|maker| literal.before.ends_with(maker));
        made && is_sentence(&literal.text)
    });
    let mut messages: BTreeSet<_> = errors.map(|literal| heading_of(&literal.text)).collect();
    for part in NO_ERRORS {
        assert!(messages.remove(*part), "is no longer there: {part}");
    }
    messages
}

fn headings(page: &str) -> BTreeSet<String> {
    let page = read(page);
    let headings = page.lines().filter_map(|line| line.strip_prefix("#### "));
    headings.map(ToOwned::to_owned).collect()
}

#[test]
fn every_message_has_a_heading_in_troubleshooting() {
    let mut messages = messages_to_clients();
    assert!(messages.len() > 50, "{messages:#?}");
    messages.extend(messages_of_start());
    assert!(messages.len() > 80, "{messages:#?}");

    for page in TROUBLESHOOTING {
        let headings = headings(page);
        let missing: Vec<_> = messages.difference(&headings).collect();
        assert!(missing.is_empty(), "{page} has no heading for {missing:#?}");
    }
}

#[test]
fn a_message_becomes_a_heading() {
    for (text, heading) in [
        ("this key is disabled", "this key is disabled"),
        ("no key: send one", "no key"),
        ("{a} is {b:?}. Mend it", "… is …"),
        ("it costs 2.50 USD.", "it costs 2.50 USD"),
    ] {
        assert_eq!(heading_of(text), heading);
    }
    let code = "// \"not this\"\nlet x = f(\n    \"one \\\"two\\\" \\\n        three\"\n);";
    let found = literals(code);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].before, "letx=f(");
    assert_eq!(found[0].text, "one \\\"two\\\" three");
}

#[test]
fn both_readmes_have_the_same_code() {
    let blocks = |page: &str| -> Vec<String> {
        let page = read(page);
        let blocks = page.split("```").skip(1).step_by(2);
        blocks.map(ToOwned::to_owned).collect()
    };
    let (english, chinese) = (blocks("README.md"), blocks("README.zh-TW.md"));

    assert!(english.len() >= 8, "{english:#?}");
    assert_eq!(english, chinese);
}

#[test]
fn the_links_of_the_pages_lead_to_a_file_and_a_heading() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for part in text.split("](").skip(1) {
            let link = part.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            let is_there = target.exists() && (anchor.is_empty() || has_anchor(&target, anchor));
            if !is_there {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether a page has a heading with this anchor, by the rules of GitHub.
fn has_anchor(page: &Path, anchor: &str) -> bool {
    let text = fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let mut anchors = headings.map(|heading| -> String {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|character| {
            character.is_alphanumeric() || matches!(character, ' ' | '-' | '_')
        });
        kept.map(|character| if character == ' ' { '-' } else { character })
            .collect()
    });
    anchors.any(|found| found == anchor)
}

/// The pages for people, in both languages.
pub fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![
        root.join("README.md"),
        root.join("README.zh-TW.md"),
        root.join("CHANGELOG.md"),
    ];
    for folder in ["docs", "docs/zh-TW"] {
        let files = fs::read_dir(root.join(folder)).unwrap();
        let files = files.map(|file| file.unwrap().path());
        pages.extend(files.filter(|file| file.extension().is_some_and(|end| end == "md")));
    }
    pages.sort();
    pages
}

/// The blocks of shell commands of a page.
pub fn shell_blocks(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let blocks = text.split("```").skip(1).step_by(2);
    let blocks = blocks.filter_map(|block| block.strip_prefix("sh\n"));
    blocks.map(ToOwned::to_owned).collect()
}
