//! `/client-keys`: the keys that clients authenticate with.

pub mod change;
pub mod detail;
pub mod form;
pub mod limit_usage;
pub mod rotate;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;
use strum::IntoStaticStr;

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::components::{
    Tone, ago, badge, dollars, empty_state, href, number, pager, success_rate, tokens,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::pool::calendar::day_of;
use crate::pool::clients::client_key::{ClientKeyId, ClientLimit, ClientLimits};
use crate::pool::money::usd;
use crate::storage::client_keys::{self, ListedClientKey};
use crate::storage::client_usage::{self, ClientKeyUsage};
use crate::storage::error::Thing;

/// Keys per page.
const PAGE_SIZE: usize = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClientKeyListQuery {
    /// Text in the name, note, tags or last four characters.
    q: String,
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
    let count = keys.len();
    let search = query.q.trim().to_lowercase();
    keys.retain(|key| matches(key, &search));
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
    Ok(view(&context, &query, count, &keys, &today))
}

fn matches(key: &ListedClientKey, search: &str) -> bool {
    let contains = |text: &String| text.to_lowercase().contains(search);
    [&key.name, &key.note, &key.last4].into_iter().any(contains) || key.tags.iter().any(contains)
}

fn view(
    context: &PageContext,
    query: &ClientKeyListQuery,
    count: usize,
    keys: &[ListedClientKey],
    today: &HashMap<ClientKeyId, ClientKeyUsage>,
) -> Markup {
    let language = context.language;
    let new = html! { a.button.primary href="/client-keys/new" { (language.new_client_key()) } };
    let title = language.client_keys();
    if count == 0 {
        let body = html! {
            (heading(title, html! {}))
            (empty_state(language.no_client_keys(), language.no_client_keys_text(), new))
        };
        return layout::page(context, Section::ClientKeys, title, body);
    }
    let first = query.page.saturating_mul(PAGE_SIZE).min(keys.len());
    let last = (first + PAGE_SIZE).min(keys.len());
    let page_url = |page: usize| {
        let page = Some(page)
            .filter(|page| *page > 0)
            .map(|page| page.to_string());
        href(
            "/client-keys",
            &[
                ("q", query.q.as_str()),
                ("sort", query.sort_name()),
                ("page", &page.unwrap_or_default()),
            ],
        )
    };
    let before = (query.page > 0).then(|| page_url(query.page - 1));
    let after = (last < keys.len()).then(|| page_url(query.page + 1));
    let body = html! {
        (heading(title, new))
        form.filters method="get" action="/client-keys" role="search" {
            input type="search" name="q" value=(query.q) data-search placeholder=(language.client_keys_search())
                aria-label=(language.client_keys_search());
            button type="submit" { (language.search()) }
        }
        @if keys.is_empty() {
            (empty_state(
                &language.no_client_key_matches(query.q.trim()),
                language.no_client_key_matches_text(),
                html! { a.button href="/client-keys" { (language.clear_filters()) } },
            ))
        } @else {
            p.muted.small { (language.client_keys_counted(keys.len())) }
            (table(context, query, &keys[first..last], today))
            (pager(language, before.as_deref(), after.as_deref()))
        }
    };
    layout::page(context, Section::ClientKeys, title, body)
}

impl ClientKeyListQuery {
    /// The name of the order in URLs; empty for the usual one.
    fn sort_name(&self) -> &'static str {
        match self.sort {
            ClientKeySort::Name => "",
            sort => sort.into(),
        }
    }
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
        let sorted = ClientKeyListQuery {
            sort,
            ..ClientKeyListQuery::default()
        };
        let target = href(
            "/client-keys",
            &[("q", &query.q), ("sort", sorted.sort_name())],
        );
        let is_number = !matches!(sort, ClientKeySort::Name | ClientKeySort::LastUsed);
        html! { th.number[is_number] scope="col" aria-sort=[order] { a href=(target) { (label) (arrow) } } }
    };
    html! {
        div.table #client-key-list data-refresh { table.stack.paired data-keys {
            thead { tr {
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
            th scope="row" data-label=(language.client_key_name()) {
                span.named {
                    a data-row-link href=(page_of(key.id)) { (key.name) }
                    @if !key.note.is_empty() { span.note.muted { (key.note) } }
                }
            }
            td.mono data-label=(language.client_key_secret()) { "…" (key.last4) }
            td data-label=(language.client_key_state()) { (state_badge(context, key)) }
            td.limits data-label=(language.client_key_limits()) { (limits(language, &key.limits)) }
            td.number data-label=(language.requests_today()) { (number(today.requests)) }
            td.number data-label=(language.success_today()) { (success_rate(today.successes, today.failures)) }
            td.number data-label=(language.tokens_today()) title=(number(today.tokens)) { (tokens(today.tokens.unsigned_abs())) }
            td.number data-label=(language.cost_today()) title=(language.list_price()) { (dollars(today.cost_nano_usd)) }
            td data-label=(language.client_key_last_used()) { (last_used(context, key.last_used_at)) }
        }
    }
}

/// A badge with the key's state: enabled, disabled or expired.
pub fn state_badge(context: &PageContext, key: &ListedClientKey) -> Markup {
    let language = context.language;
    match key.expires_at {
        _ if !key.enabled => badge(Tone::Quiet, language.client_key_off()),
        Some(at) if at <= context.now => badge(Tone::Bad, language.client_key_expired()),
        Some(_) | None => badge(Tone::Good, language.client_key_on()),
    }
}

/// The limits of the key, one per line.
fn limits(language: Language, limits: &ClientLimits) -> Markup {
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
        ClientLimit::CostPerMonth => usd(amount),
        _ => number(amount),
    }
}

fn last_used(context: &PageContext, at: Option<Timestamp>) -> Markup {
    html! {
        @if let Some(at) = at { (ago(context, at, context.now)) } @else { span.muted { (context.language.never()) } }
    }
}

/// The path of a key's page.
fn page_of(id: ClientKeyId) -> String {
    format!("/client-keys/{}", id.0)
}

/// The key id in a path.
fn parse_id(path: &str) -> Result<ClientKeyId, Error> {
    let id = path.parse().map(ClientKeyId);
    id.map_err(|_| Error::NotFound(Thing::ClientKey, path.to_owned()))
}
