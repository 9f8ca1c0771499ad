//! Tests of the names that a row stores.

use super::*;

#[test]
fn a_name_is_cut_between_two_characters() {
    let longest = "a".repeat(MAX_NAME_BYTES);

    assert_eq!(cut_name("gemini-flash-latest"), "gemini-flash-latest");
    assert_eq!(cut_name(&format!("{longest}b")), longest);
    assert_eq!(cut_name(&format!("{}示", &longest[1..])), longest[1..]);
}
