//! The readers of bytes from outside, on the corpus of the fuzz targets and on what is near it.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Changed copies of each file; another number in this variable.
const CHANGED_COPIES: usize = 100;
const CHANGED_COPIES_VARIABLE: &str = "FUZZ_COPIES";
/// Bytes that mean something to one of the readers.
const SPECIAL: &[u8] = b"{}[]\",:\\/%?=&;-\r\n \0\xff";

/// Cuts, changes, repeats and removes some bytes.
fn change(data: &mut Vec<u8>, rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..4) {
        if data.is_empty() {
            return;
        }
        let at = rng.random_range(0..data.len());
        match rng.random_range(0..5) {
            0 => data.truncate(at),
            1 => data[at] = rng.random(),
            2 => data[at] = SPECIAL[rng.random_range(0..SPECIAL.len())],
            3 => {
                let end = data.len().min(at + rng.random_range(1..40));
                let repeated = data[at..end].to_vec();
                data.splice(at..at, repeated);
            }
            _ => {
                let end = data.len().min(at + rng.random_range(1..10));
                data.drain(at..end);
            }
        }
    }
}

#[test]
fn the_readers_hold_on_the_corpus_and_near_it() {
    let copies = std::env::var(CHANGED_COPIES_VARIABLE);
    let copies = copies.map_or(CHANGED_COPIES, |copies| copies.parse().unwrap());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::ALL {
        let mut files: Vec<_> = fs::read_dir(corpus.join(name))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        assert!(files.len() >= 5, "{name}");
        for file in files {
            let original = fs::read(&file).unwrap();
            target(&original);
            // The same copies each time: a failure repeats, and prints what it failed on.
            let mut rng = StdRng::seed_from_u64(1);
            for copy in 0..copies {
                let mut data = original.clone();
                change(&mut data, &mut rng);
                let held = std::panic::catch_unwind(|| target(&data));
                let shown = String::from_utf8_lossy(&data);
                assert!(
                    held.is_ok(),
                    "{name}: copy {copy} of {}: {shown:?}",
                    file.display()
                );
            }
        }
    }
}
