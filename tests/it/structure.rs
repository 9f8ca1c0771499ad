//! The structure of the source: files that import each other, folders that import against the order, and retired words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files that may import each other, and why one file for both would be worse.
const ALLOWED_CIRCLES: &[(&[&str], &str)] = &[];

/// A file that is longer is about more than one thing.
const MAX_LINES: usize = 600;

/// The folders and top-level files of `src`, lowest first. A line imports lines above it only, never a neighbour.
const LAYERS: &[&[&str]] = &[
    &["clock"],
    &["pool"],
    &["config"],
    &["storage", "gemini", "key_queue", "body_memory"],
    &["http_post"],
    &[
        "jobs",
        "body_log",
        "key_list",
        "egress_list",
        "log_download",
        "backup_download",
        "in_process",
        "alert_sender",
        "traces",
    ],
    &["peer", "websocket", "client_connections", "app", "error"],
    &["auth"],
    &["proxy", "dashboard", "api", "tasks", "demo"],
    &["server"],
    &["cli"],
    &["main"],
];

/// Words that were replaced by the field's own terms, with the term to use. Matched as whole words, in any case.
const RETIRED_WORDS: &[(&str, &str)] = &[
    ("lent", "leased"),
    ("lend", "lease"),
    ("lends", "leases"),
    ("lending", "selection"),
    ("waiting room", "queue"),
    ("seat", "queued request"),
    ("seats", "queued requests"),
    ("storm", "address throttle"),
    ("weather", "address throttle"),
    ("gate", "circuit breaker"),
    ("standing", "key status"),
    ("glance", "key status"),
    ("births", "created resources"),
    ("newborn", "recent resource"),
    ("newborns", "recent resources"),
    ("belongings", "resources"),
    ("stranger", "client"),
    ("strangers", "clients"),
    ("asker", "client"),
    ("way out", "egress"),
    ("ways out", "egress"),
    ("settle down", "affinity"),
    ("presumed", "inherited"),
    ("farewell", "close reply"),
    ("somebody", "a named subject"),
    ("nobody", "a named subject"),
    ("whoever", "a named subject"),
];

/// The source files of a folder, by module path: `pool::keys::lease` → text without comments and unit tests.
fn modules() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    for path in files_below(&root, &["rs"]) {
        let relative = path.strip_prefix(&root).unwrap().with_extension("");
        let mut parts: Vec<_> = relative.iter().map(|part| part.to_str().unwrap()).collect();
        if parts.last() == Some(&"mod") {
            parts.pop();
        }
        let text = fs::read_to_string(&path).unwrap();
        // Unit tests are the last item of a file, and no other file imports them.
        let text = text.replace("#[cfg(test)]\npub mod tests {", "#[cfg(test)]\nmod tests {");
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code: Vec<_> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        modules.insert(parts.join("::"), code.join("\n"));
    }
    modules
}

fn files_below(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            files.extend(files_below(&path, extensions));
        } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
            files.push(path);
        }
    }
    files
}

/// The paths that a file names: in its `use` lines, and spelt out from `crate` in its code.
fn named_paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let is_statement = rest[..at]
            .lines()
            .last()
            .is_none_or(|before| before.trim().is_empty() || before.trim().starts_with("pub"));
        rest = &rest[at + 4..];
        if is_statement && let Some(end) = rest.find(';') {
            expand(&rest[..end], &[], &mut paths);
            rest = &rest[end..];
        }
    }
    for (at, _) in code.match_indices("crate::") {
        let path = code[at..]
            .split(|character: char| !character.is_alphanumeric() && !"_:".contains(character));
        let path = path.into_iter().next().unwrap();
        paths.push(path.split("::").map(ToOwned::to_owned).collect());
    }
    paths
}

/// Writes out the groups of a `use` line: `a::{b, c::D}` names `a::b` and `a::c::D`.
fn expand(tree: &str, before: &[String], paths: &mut Vec<Vec<String>>) {
    let Some((head, group)) = tree.split_once('{') else {
        let alias = tree.split(" as ").next().unwrap();
        let parts = alias.split("::").map(|part| part.trim().to_owned());
        paths.push(before.iter().cloned().chain(parts).collect());
        return;
    };
    let head = head.trim().trim_end_matches("::");
    let parts = head.split("::").map(|part| part.trim().to_owned());
    let before: Vec<String> = before
        .iter()
        .cloned()
        .chain(parts.filter(|part| !part.is_empty()))
        .collect();
    let group = &group[..group.rfind('}').unwrap_or(group.len())];
    let (mut depth, mut begin) = (0, 0);
    for (at, character) in group.char_indices().chain([(group.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[begin..at].trim().is_empty() {
                    expand(&group[begin..at], &before, paths);
                }
                begin = (at + 1).min(group.len());
            }
            _ => {}
        }
    }
}

/// The module that a path leads to from within `module`: the longest beginning of it that is a file.
fn resolve(path: &[String], module: &str, modules: &BTreeMap<String, String>) -> Option<String> {
    let here: Vec<&str> = module.split("::").collect();
    let mut full: Vec<&str> = Vec::new();
    let mut parts = path.iter().map(String::as_str).peekable();
    match parts.peek().copied() {
        Some("crate") => {
            parts.next();
        }
        Some("self" | "super") => {
            full = here.clone();
            while let Some(part) = parts.next_if(|part| matches!(*part, "self" | "super")) {
                if part == "super" {
                    full.pop();
                }
            }
        }
        Some(first) if modules.contains_key(&format!("{module}::{first}")) => full = here,
        _ => return None,
    }
    full.extend(parts);
    while !full.is_empty() && !modules.contains_key(&full.join("::")) {
        full.pop();
    }
    (!full.is_empty()).then(|| full.join("::"))
}

fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules();
    let imports = modules.iter().map(|(module, code)| {
        let named = named_paths(code);
        let mut imported: BTreeSet<String> = named
            .iter()
            .filter_map(|path| resolve(path, module, &modules))
            .collect();
        imported.remove(module);
        (module.clone(), imported)
    });
    imports.collect()
}

fn reachable<'a>(
    from: &'a str,
    imports: &'a BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for next in imports.get(module).into_iter().flatten() {
            if reached.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    reached
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let imports = imports();
    let reached: BTreeMap<&str, BTreeSet<&str>> = imports
        .keys()
        .map(|module| (module.as_str(), reachable(module, &imports)))
        .collect();
    let mut circles = BTreeSet::new();
    for (module, others) in &reached {
        let circle: BTreeSet<&str> = others
            .iter()
            .copied()
            .filter(|other| reached[other].contains(module))
            .collect();
        if !circle.is_empty() {
            circles.insert(circle.into_iter().collect::<Vec<_>>());
        }
    }
    for (files, reason) in ALLOWED_CIRCLES {
        assert!(!reason.is_empty(), "{files:?} needs a reason");
        let allowed: Vec<&str> = files.to_vec();
        assert!(circles.remove(&allowed), "{files:?} is no circle any more");
    }
    assert!(
        circles.is_empty(),
        "files that import each other: {circles:#?}"
    );
}

#[test]
fn folders_import_only_what_lies_below_them() {
    let layer_of = |module: &str| {
        let folder = module.split("::").next().unwrap();
        LAYERS
            .iter()
            .position(|layer| layer.contains(&folder))
            .map(|layer| (layer, folder.to_owned()))
    };
    let mut wrong = Vec::new();
    for (module, imported) in imports() {
        let Some((layer, folder)) = layer_of(&module) else {
            assert!(
                matches!(module.as_str(), "lib" | "build"),
                "{module} has no layer"
            );
            continue;
        };
        for other in imported {
            let (other_layer, other_folder) = layer_of(&other).unwrap();
            if other_folder != folder && other_layer >= layer {
                wrong.push(format!("{module} imports {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the order: {wrong:#?}");
}

#[test]
fn no_file_is_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut long = Vec::new();
    for path in files_below(&root.join("src"), &["rs"]) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        if lines > MAX_LINES {
            let path = path.strip_prefix(root).unwrap().display().to_string();
            long.push((path, lines));
        }
    }
    assert_eq!(long, [], "files of more than {MAX_LINES} lines");
}

#[test]
fn retired_words_stand_nowhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = files_below(&root.join("src"), &["rs", "md", "sql", "css", "js"]);
    files.extend(files_below(&root.join("docs"), &["md"]));
    files.push(root.join("README.md"));
    let mut found = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            // Names of code are words too: `lend_key`, `KeySeat`.
            let words = spelt_out(line);
            for (retired, term) in RETIRED_WORDS {
                if words.contains(&format!(" {retired} ")) {
                    let path = path.strip_prefix(root).unwrap().display();
                    found.push(format!("{path}:{}: {retired} (say {term})", number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A line in lower case, its words parted by single spaces, also those within `snake_case` and `CamelCase`.
fn spelt_out(line: &str) -> String {
    let mut words = String::from(" ");
    let mut before = ' ';
    for character in line.chars() {
        if character.is_alphanumeric() {
            if character.is_uppercase() && before.is_lowercase() {
                words.push(' ');
            }
            words.extend(character.to_lowercase());
        } else if !words.ends_with(' ') {
            words.push(' ');
        }
        before = character;
    }
    words.push(' ');
    words
}

#[test]
fn a_use_line_is_written_out() {
    let code =
        "use crate::a::{self, b::{C, D as E}, f};\npub use self::g::H;\nlet x = crate::i::j();";
    let paths = named_paths(code);
    let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();

    for expected in [
        "crate::a::self",
        "crate::a::b::C",
        "crate::a::b::D",
        "crate::a::f",
        "self::g::H",
        "crate::i::j",
    ] {
        assert!(
            paths.iter().any(|path| path == expected),
            "{expected}: {paths:?}"
        );
    }
}
