//! The paths of the settings pages.

/// The list of all settings.
pub const PATH: &str = "/settings";

/// The path of a setting's page.
pub fn path_of(name: &str) -> String {
    format!("{PATH}/{name}")
}
