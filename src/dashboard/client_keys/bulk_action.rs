//! `ClientKeyAction`: the actions of the list of client keys on many of them.

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::dashboard::bulk::BulkButton;
use crate::dashboard::translations::Language;

/// An action on client keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ClientKeyAction {
    Enable,
    Disable,
    Update,
    Delete,
}

impl ClientKeyAction {
    /// The name in forms.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The buttons of the list.
pub fn buttons(language: Language) -> Vec<BulkButton> {
    let button = |action: &ClientKeyAction| BulkButton {
        name: action.name(),
        label: language.client_key_action(*action),
        is_danger: *action == ClientKeyAction::Delete,
    };
    ClientKeyAction::VARIANTS.iter().map(button).collect()
}
