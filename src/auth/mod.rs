//! Authentication of admins in a browser, and of programs by an API token. Client keys are authenticated in `proxy`.

pub mod api_token;
pub mod csrf;
pub mod known_browser;
pub mod password;
pub mod session;
