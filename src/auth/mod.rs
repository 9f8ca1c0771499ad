//! Authentication of admins. Nothing about client keys.

pub mod api_token;
pub mod csrf;
pub mod known_browser;
pub mod password;
pub mod session;
