//! What operators at a terminal are promised.

mod settings;
mod test_keys;
