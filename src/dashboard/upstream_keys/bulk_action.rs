//! `BulkAction`: the actions of the list and the page of upstream keys, and of their confirmation.

use strum::{EnumString, IntoStaticStr, VariantArray};

/// An action on keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum BulkAction {
    Test,
    Enable,
    Disable,
    Clear,
    Tag,
    Move,
    /// Downloads them, without secrets.
    Export,
    Delete,
}

impl BulkAction {
    /// The name in forms.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
