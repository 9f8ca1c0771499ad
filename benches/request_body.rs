//! The cost of reading a request's body.
//!
//! `cargo bench --bench request_body`. The budget: 20 ms for 20 MB of files and pictures, 2 µs for a KB of a chat, 10 µs
//! for a KB of short fields.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use gemini_pool::gemini::request_body::reader::read_message;
use serde_json::{Value, json};

const ROUNDS: u32 = 20;

fn main() {
    let pictures = json!({"contents": [{"parts": pictures(20, 1024 * 1024)}]});
    measure("20 MB of pictures and files", &pictures.to_string());
    let batch =
        json!({"batch": {"inputConfig": {"requests": {"requests": vec![request(true); 20_000]}}}});
    measure("a batch that names 20,000 files", &batch.to_string());
    let batch =
        json!({"batch": {"inputConfig": {"requests": {"requests": vec![request(false); 20_000]}}}});
    measure("a batch without names", &batch.to_string());
    measure("the same, indented", &format!("{batch:#}"));
    let turn = json!({"role": "user", "parts": [{"text": "It was a dark and stormy \"night\".\n".repeat(30)}]});
    let chat = json!({"contents": vec![turn; 200], "generationConfig": {"temperature": 0.5}});
    measure("a chat of 200 turns", &chat.to_string());
    let dense = json!({"contents": [{"parts": [{"a": vec![json!({"k": 1, "v": "x"}); 20_000]}]}]});
    measure("nothing but short keys", &dense.to_string());
    measure(
        "a small question",
        r#"{"contents":[{"role":"user","parts":[{"text":"What is the capital of France?"}]}]}"#,
    );
}

fn pictures(count: usize, bytes: usize) -> Vec<Value> {
    let data = "iVBORw0KGgo+/AB0".repeat(bytes / 16);
    let uri = "https://generativelanguage.googleapis.com/v1beta/files";
    let parts = (0..count).flat_map(|number| {
        [
            json!({"inlineData": {"mimeType": "image/png", "data": data}}),
            json!({"fileData": {"mimeType": "image/png", "fileUri": format!("{uri}/f{number}")}}),
        ]
    });
    parts.collect()
}

fn request(has_file: bool) -> Value {
    let mut parts = vec![
        json!({"text": "Say in one sentence what this is about, and in which language it was written."}),
    ];
    if has_file {
        let uri = "https://generativelanguage.googleapis.com/v1beta/files/mwp1gi5it47f";
        parts.push(json!({"fileData": {"mimeType": "application/pdf", "fileUri": uri}}));
    }
    json!({"request": {"model": "models/gemini-2.5-flash", "contents": [{"role": "user", "parts": parts}]}})
}

fn measure(what: &str, body: &str) {
    let mut best = Duration::MAX;
    let mut names = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let (read, unread) = read_message(black_box(body.as_bytes()));
        assert_eq!(unread, None, "{what}");
        names = read.names.len();
        best = best.min(start.elapsed());
    }
    let kilobytes = u32::try_from(body.len().div_ceil(1024)).unwrap_or(u32::MAX);
    println!(
        "{what:32} {kilobytes:6} KB {names:6} names {best:>12.1?} {:>8?} a KB",
        best / kilobytes
    );
}
