//! Who may administer. Nothing about client keys.

pub mod csrf;
pub mod mark;
pub mod password;
pub mod session;
