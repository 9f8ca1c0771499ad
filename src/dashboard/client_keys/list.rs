//! The list of client keys: search, order, pages and actions on many keys.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;
use strum::{IntoStaticStr, VariantArray};

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::bulk::{bar, heading_cell, row_cell};
use crate::dashboard::client_keys::bulk_action::buttons;
use crate::dashboard::client_keys::key_labels::{last_used, limits, page_of, state_badge};
use crate::dashboard::components::{
    dollars, empty_state, href, number, pager, success_rate, tabs, tokens,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::pool::calendar::day_of;
use crate::pool::clients::client_key::{ClientKeyId, ClientKeyState};
use crate::storage::client_keys::filter::ClientKeyFilter;
use crate::storage::client_keys::{self, ListedClientKey};
use crate::storage::client_usage::{self, ClientKeyUsage};

pub const PATH: &str = "/client-keys";
/// Keys per page.
const PAGE_SIZE: usize = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClientKeyListQuery {
    /// Text in the name, note, tags or last four characters.
    q: String,
    /// A state; empty: all.
    state: String,
    /// What the list is sorted by: the name, or the largest of today.
    sort: ClientKeySort,
    /// Counted from 0.
    page: usize,
}

/// The order of the list.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
enum ClientKeySort {
    #[default]
    Name,
    Requests,
    Tokens,
    Cost,
    LastUsed,
}

/// The list of client keys, by name.
pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<ClientKeyListQuery>,
) -> Result<Markup, ErrorPage> {
    let mut keys = client_keys::list(&app.db.readers).await?;
    let today = day_of(context.now, &context.zone).begins;
    let today = client_usage::list_since(&app.db.readers, today).await?;
    let states = StateCounts::of(&keys, &query, context.now);
    let filter = query.filter();
    keys.retain(|key| filter.matches(key, context.now));
    keys.sort_by_cached_key(|key| {
        let used = today.get(&key.id).copied().unwrap_or_default();
        let largest = match query.sort {
            ClientKeySort::Name => 0,
            ClientKeySort::Requests => used.requests,
            ClientKeySort::Tokens => used.tokens,
            ClientKeySort::Cost => used.cost_nano_usd,
            ClientKeySort::LastUsed => key.last_used_at.map_or(0, Timestamp::as_millis),
        };
        (Reverse(largest), key.name.to_lowercase(), key.id)
    });
    Ok(view(&context, &query, &states, &keys, &today))
}

/// How many keys match the search, by state.
struct StateCounts {
    /// All keys, whether they match or not.
    existing: usize,
    matching: [usize; ClientKeyState::VARIANTS.len()],
}

impl StateCounts {
    fn of(keys: &[ListedClientKey], query: &ClientKeyListQuery, now: Timestamp) -> Self {
        let filter = ClientKeyFilter {
            state: None,
            ..query.filter()
        };
        let mut matching = [0; ClientKeyState::VARIANTS.len()];
        for key in keys.iter().filter(|key| filter.matches(key, now)) {
            matching[key.state(now) as usize] += 1;
        }
        Self {
            existing: keys.len(),
            matching,
        }
    }
}

fn view(
    context: &PageContext,
    query: &ClientKeyListQuery,
    states: &StateCounts,
    keys: &[ListedClientKey],
    today: &HashMap<ClientKeyId, ClientKeyUsage>,
) -> Markup {
    let language = context.language;
    let new = html! { a.button.primary href="/client-keys/new" { (language.new_client_key()) } };
    let title = language.client_keys();
    if states.existing == 0 {
        let body = html! {
            (heading(title, html! {}))
            (empty_state(language.no_client_keys(), language.no_client_keys_text(), new))
        };
        return layout::page(context, Section::ClientKeys, title, body);
    }
    let first = query.page.saturating_mul(PAGE_SIZE).min(keys.len());
    let last = (first + PAGE_SIZE).min(keys.len());
    let page_url = |page| query.with(query.sort, &query.state, page);
    let before = (query.page > 0).then(|| page_url(query.page - 1));
    let after = (last < keys.len()).then(|| page_url(query.page + 1));
    let body = html! {
        (heading(title, new))
        (state_tabs(language, query, states))
        form.filters.one-line method="get" action=(PATH) role="search" {
            input type="search" name="q" value=(query.q) data-search placeholder=(language.client_keys_search())
                aria-label=(language.client_keys_search());
            @if !query.state.is_empty() { input type="hidden" name="state" value=(query.state); }
            button type="submit" { (language.search()) }
        }
        @if keys.is_empty() {
            (empty_state(
                &language.no_client_key_matches(query.q.trim()),
                language.no_client_key_matches_text(),
                html! { a.button href=(PATH) { (language.clear_filters()) } },
            ))
        } @else {
            p.muted.small { (language.client_keys_counted(keys.len())) }
            form.keys method="post" action="/client-keys/bulk" {
                (context.csrf_field())
                input type="hidden" name="back" value=(query.with(query.sort, &query.state, query.page));
                (bar(language, keys.len(), &buttons(language)))
                (table(context, query, &keys[first..last], today))
            }
            (pager(language, before.as_deref(), after.as_deref()))
        }
    };
    layout::page(context, Section::ClientKeys, title, body)
}

impl ClientKeyListQuery {
    pub fn filter(&self) -> ClientKeyFilter {
        ClientKeyFilter {
            text: Some(self.q.trim().to_owned()).filter(|text| !text.is_empty()),
            state: self.state.parse().ok(),
            tag: None,
        }
    }

    /// The URL of a page of this search.
    fn with(&self, sort: ClientKeySort, state: &str, page: usize) -> String {
        let page = Some(page).filter(|page| *page > 0);
        let page = page.map(|page| page.to_string()).unwrap_or_default();
        let sort = match sort {
            ClientKeySort::Name => "",
            sort => sort.into(),
        };
        let pairs = [
            ("q", self.q.as_str()),
            ("state", state),
            ("sort", sort),
            ("page", &page),
        ];
        href(PATH, &pairs)
    }
}

fn state_tabs(language: Language, query: &ClientKeyListQuery, states: &StateCounts) -> Markup {
    let current = query.filter().state;
    let all: usize = states.matching.iter().sum();
    let label = |label: &str, count: usize| format!("{label} {}", number(count as u64));
    let target = |state: &str| query.with(query.sort, state, 0);
    let mut links = vec![(target(""), label(language.all(), all), current.is_none())];
    for state in ClientKeyState::VARIANTS.iter().copied() {
        let count = states.matching[state as usize];
        if count > 0 || current == Some(state) {
            let text = label(language.client_key_state_label(state), count);
            links.push((target(state.name()), text, current == Some(state)));
        }
    }
    let links = links.iter();
    let links =
        links.map(|(target, label, is_current)| (target.clone(), label.as_str(), *is_current));
    tabs(language.states(), &links.collect::<Vec<_>>())
}

fn table(
    context: &PageContext,
    query: &ClientKeyListQuery,
    keys: &[ListedClientKey],
    today: &HashMap<ClientKeyId, ClientKeyUsage>,
) -> Markup {
    let language = context.language;
    let sortable = |label: &str, sort: ClientKeySort| {
        let is_name = sort == ClientKeySort::Name;
        let (order, arrow) = match (query.sort == sort, is_name) {
            (true, true) => (Some("ascending"), " ↑"),
            (true, false) => (Some("descending"), " ↓"),
            (false, _) => (None, ""),
        };
        let target = query.with(sort, &query.state, 0);
        let is_number = !matches!(sort, ClientKeySort::Name | ClientKeySort::LastUsed);
        html! { th.number[is_number] scope="col" aria-sort=[order] { a href=(target) { (label) (arrow) } } }
    };
    html! {
        div.table #client-key-list data-refresh { table.stack.keys.clients data-keys {
            thead { tr {
                (heading_cell(language))
                (sortable(language.client_key_name(), ClientKeySort::Name))
                th scope="col" { (language.client_key_secret()) }
                th scope="col" { (language.client_key_state()) } th scope="col" { (language.client_key_limits()) }
                (sortable(language.requests_today(), ClientKeySort::Requests))
                th.number scope="col" { (language.success_today()) }
                (sortable(language.tokens_today(), ClientKeySort::Tokens))
                (sortable(language.cost_today(), ClientKeySort::Cost))
                (sortable(language.client_key_last_used(), ClientKeySort::LastUsed))
            } }
            tbody { @for key in keys { (row(context, key, today.get(&key.id).copied().unwrap_or_default())) } }
        } }
    }
}

fn row(context: &PageContext, key: &ListedClientKey, today: ClientKeyUsage) -> Markup {
    let language = context.language;
    html! {
        tr {
            (row_cell(language, key.id.0, &key.name))
            th scope="row" {
                span.named {
                    a data-row-link href=(page_of(key.id)) { (key.name) }
                    @if !key.note.is_empty() { span.note.muted { (key.note) } }
                }
            }
            td.mono data-label=(language.client_key_secret()) { "…" (key.last4) }
            td data-label=(language.client_key_state()) { (state_badge(context, key)) }
            td.limits.absent[!key.limits.any()] data-label=(language.client_key_limits()) { (limits(language, &key.limits)) }
            td.number data-label=(language.requests_today()) { (number(today.requests)) }
            td.number data-label=(language.success_today()) { (success_rate(today.successes, today.failures)) }
            td.number data-label=(language.tokens_today()) title=(number(today.tokens)) { (tokens(today.tokens.unsigned_abs())) }
            td.number data-label=(language.cost_today()) title=(language.list_price()) { (dollars(today.cost_nano_usd)) }
            td data-label=(language.client_key_last_used()) { (last_used(context, key.last_used_at)) }
        }
    }
}
