//! Selects client keys: the filter of the list, of the API and of changes of all keys that match.

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyState;
use crate::storage::client_keys::ListedClientKey;

/// Selects client keys; `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientKeyFilter {
    /// Text in the name, note, tags or last four characters.
    pub text: Option<String>,
    pub state: Option<ClientKeyState>,
    pub tag: Option<String>,
}

impl ClientKeyFilter {
    pub fn matches(&self, key: &ListedClientKey, now: Timestamp) -> bool {
        let text = self.text.as_ref().map(|text| text.to_lowercase());
        let contains = |field: &String| {
            text.as_ref()
                .is_none_or(|text| field.to_lowercase().contains(text))
        };
        let is_found = [&key.name, &key.note, &key.last4].into_iter().any(contains)
            || key.tags.iter().any(contains);
        is_found
            && self.state.is_none_or(|state| key.state(now) == state)
            && self.tag.as_ref().is_none_or(|tag| key.tags.contains(tag))
    }
}
