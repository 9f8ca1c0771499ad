//! What operators at a terminal are promised.

mod settings;
