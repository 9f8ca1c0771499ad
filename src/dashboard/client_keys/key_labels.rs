//! Labels of a client key on its pages: state, limits, last use and path.

use maud::{Markup, html};

use crate::clock::Timestamp;
use crate::dashboard::components::{Tone, ago, badge, dollars, number};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::pool::clients::client_key::{ClientKeyId, ClientKeyState, ClientLimit, ClientLimits};
use crate::storage::client_keys::ListedClientKey;
use crate::storage::error::Thing;

/// A badge with the key's state: enabled, disabled or expired.
pub fn state_badge(context: &PageContext, key: &ListedClientKey) -> Markup {
    let language = context.language;
    let state = key.state(context.now);
    let tone = match state {
        ClientKeyState::Enabled => Tone::Good,
        ClientKeyState::Disabled => Tone::Quiet,
        ClientKeyState::Expired => Tone::Bad,
    };
    badge(tone, language.client_key_state_label(state))
}

/// The limits of the key, one per line.
pub fn limits(language: Language, limits: &ClientLimits) -> Markup {
    let set = ClientLimit::ALL
        .iter()
        .copied()
        .filter_map(|limit| Some((limit, limits.most(limit)?)));
    html! {
        @if limits.any() {
            span.lines { @for (limit, most) in set { span.nowrap { (language.limit_of(limit, &limit_amount(limit, most))) } } }
        } @else {
            span.muted { (language.no_limits()) }
        }
    }
}

/// An amount in the unit of the limit.
pub fn limit_amount(limit: ClientLimit, amount: u64) -> String {
    match limit {
        ClientLimit::CostPerMonth => dollars(i64::try_from(amount).unwrap_or(i64::MAX)),
        _ => number(amount),
    }
}

pub fn last_used(context: &PageContext, at: Option<Timestamp>) -> Markup {
    html! {
        @if let Some(at) = at { (ago(context, at, context.now)) } @else { span.muted { (context.language.never()) } }
    }
}

/// The path of a key's page.
pub fn page_of(id: ClientKeyId) -> String {
    format!("/client-keys/{}", id.0)
}

/// The key id in a path.
pub fn parse_id(path: &str) -> Result<ClientKeyId, Error> {
    let id = path.parse().map(ClientKeyId);
    id.map_err(|_| Error::NotFound(Thing::ClientKey, path.to_owned()))
}
