//! The mark of a browser in which an admin has signed in: distinguishes the owner from an attacker who guesses
//! passwords. It authorizes nothing.

use crate::auth::csrf::hex;
use crate::pool::clients::client_key::HashKey;

/// A new mark for browsers of this admin: a random number and its proof.
pub fn issue_mark(key: &HashKey, username: &str) -> String {
    let number = hex(&rand::random::<[u8; 16]>());
    let proof = proof(key, &number, username);
    format!("{number}.{proof}")
}

/// Whether the mark was issued to a browser of this admin.
pub fn is_valid_mark(key: &HashKey, mark: &str, username: &str) -> bool {
    mark.split_once('.')
        .is_some_and(|(number, shown)| shown == proof(key, number, username))
}

fn proof(key: &HashKey, number: &str, username: &str) -> String {
    hex(&key.hash(&format!("known browser:{number}:{username}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_valid_for_its_admin_only_and_cannot_be_forged() {
        let key = HashKey::new(&[7; 32]);
        let mark = issue_mark(&key, "admin");

        assert!(is_valid_mark(&key, &mark, "admin"));
        assert!(!is_valid_mark(&key, &mark, "other"));
        assert!(!is_valid_mark(&HashKey::new(&[8; 32]), &mark, "admin"));
        assert!(!is_valid_mark(&key, "00.11", "admin"));
        assert!(!is_valid_mark(&key, "", "admin"));
    }
}
