//! The list of keys: search, filters, order, pages and actions on many keys.

use std::sync::Arc;

use axum::extract::State;
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;
use strum::VariantArray;

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::bulk::{self, BulkButton};
use crate::dashboard::components::{
    ago, empty_state, field, href, number, select, success_rate, tabs, tokens, until,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::dashboard::upstream_keys::bulk_action::BulkAction;
use crate::dashboard::upstream_keys::key_labels::{fullest_window, quota};
use crate::dashboard::upstream_keys::{job_progress, key_labels};
use crate::key_list::{self, MatchingKeys};
use crate::pool::keys::key_status::{KeyStatus, KeyStatusKind};
use crate::pool::keys::upstream_key::Billing;
use crate::storage::rollups::begin_of_day;
use crate::storage::upstream_keys::removal;
use crate::storage::upstream_keys::search::{
    self, DashboardKey, UpstreamKeyFilter, UpstreamKeySort,
};

/// Keys per page.
const PAGE_SIZE: usize = 50;
pub const PATH: &str = "/upstream-keys";
/// The page of deleted keys.
pub const DELETED: &str = "/upstream-keys/deleted";

/// The query of the list. All fields are text, so that an edited URL never fails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct KeyListQuery {
    pub q: String,
    pub state: String,
    pub project: String,
    pub billing: String,
    pub tag: String,
    pub priority: String,
    /// `1`: only keys with failures today.
    pub failing: String,
    /// A column, with a leading `-` for descending order.
    pub sort: String,
    pub page: String,
}

impl KeyListQuery {
    pub fn filter(&self) -> UpstreamKeyFilter {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        UpstreamKeyFilter {
            text: text(&self.q),
            project: text(&self.project),
            billing: self.billing.parse().ok(),
            tag: text(&self.tag),
            priority: self.priority.trim().parse().ok(),
            failing: self.failing == "1",
        }
    }

    fn state(&self) -> Option<KeyStatusKind> {
        self.state.parse().ok()
    }

    /// The column, and whether descending; `None` for the state, which is not in the database.
    fn order(&self) -> (Option<UpstreamKeySort>, bool) {
        let (name, descending) = match self.sort.strip_prefix('-') {
            Some(name) => (name, true),
            None => (self.sort.as_str(), false),
        };
        let sort = match name {
            "label" => Some(UpstreamKeySort::Label),
            "state" => None,
            "project" => Some(UpstreamKeySort::Project),
            "priority" => Some(UpstreamKeySort::Priority),
            "requests" => Some(UpstreamKeySort::Requests),
            "success" => Some(UpstreamKeySort::Success),
            "tokens" => Some(UpstreamKeySort::Tokens),
            "used" => Some(UpstreamKeySort::LastUsed),
            _ => Some(UpstreamKeySort::Created),
        };
        (sort, descending)
    }

    /// The URL of the first page with one parameter changed.
    fn with(&self, name: &str, value: &str) -> String {
        let mut query = self.clone();
        query.page.clear();
        match name {
            "state" => value.clone_into(&mut query.state),
            "sort" => value.clone_into(&mut query.sort),
            "page" => value.clone_into(&mut query.page),
            _ => {}
        }
        query.href()
    }

    /// The URL of this page of the list.
    pub fn href(&self) -> String {
        href(PATH, &self.pairs())
    }

    pub fn pairs(&self) -> [(&'static str, &str); 9] {
        [
            ("q", &self.q),
            ("state", &self.state),
            ("project", &self.project),
            ("billing", &self.billing),
            ("tag", &self.tag),
            ("priority", &self.priority),
            ("failing", &self.failing),
            ("sort", &self.sort),
            ("page", &self.page),
        ]
    }

    fn is_filtered(&self) -> bool {
        self.filter() != UpstreamKeyFilter::default() || self.state().is_some()
    }

    /// Whether a filter other than the search is in use.
    fn has_more_filters(&self) -> bool {
        let mut filter = self.filter();
        filter.text = None;
        filter != UpstreamKeyFilter::default()
    }
}

/// Finds the matching keys.
pub async fn find(
    app: &App,
    query: &KeyListQuery,
    now: Timestamp,
) -> Result<MatchingKeys, ErrorPage> {
    let (sort, descending) = query.order();
    let query = key_list::KeyListQuery {
        filter: query.filter(),
        states: query.state().into_iter().collect(),
        sort,
        descending,
    };
    Ok(key_list::find(&app.db.readers, &app.keys, &query, now).await?)
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<KeyListQuery>,
) -> Result<Markup, ErrorPage> {
    let matching_keys = find(&app, &query, context.now).await?;
    let pages = matching_keys.ids.len().div_ceil(PAGE_SIZE).max(1);
    let page = query.page.parse().unwrap_or(1).clamp(1, pages);
    let page_ids = matching_keys.ids.chunks(PAGE_SIZE).nth(page - 1);
    let (db, day) = (&app.db.readers, begin_of_day(context.now));
    let rows = search::list_for_dashboard(db, page_ids.unwrap_or_default(), day).await?;
    let key_statuses: Vec<_> = {
        let keys = app.keys.lock();
        let statuses = rows.iter().map(|row| keys.key_status(row.id, context.now));
        statuses.collect()
    };
    let deleted = removal::count_restorable(db).await?;
    let language = context.language;
    let actions = html! {
        @if deleted > 0 { a.button href=(DELETED) { (language.deleted_keys_counted(&number(deleted))) } }
        a.button.primary href="/upstream-keys/import" { (language.add_keys()) }
    };
    let body = html! {
        (heading(language.upstream_keys(), actions))
        (job_progress::running_jobs(&context, &app.jobs.running()))
        @if matching_keys.all == 0 && !query.is_filtered() {
            (empty_state(language.no_keys_yet(), language.no_keys_text(), html! {
                a.button.primary href="/upstream-keys/import" { (language.add_keys()) }
            }))
        } @else {
            (state_tabs(language, &query, &matching_keys))
            (filters(language, &query))
            @if rows.is_empty() {
                (empty_state(language.no_match(), language.no_match_text(), html! {
                    a.button href=(PATH) { (language.clear_filters()) }
                }))
            } @else {
                form.keys method="post" action="/upstream-keys/bulk" {
                    (context.csrf_field())
                    input type="hidden" name="back" value=(query.href());
                    (bulk_bar(language, matching_keys.ids.len()))
                    (table(&context, &query, &rows, &key_statuses))
                }
                (pages_bar(language, &query, page, pages, matching_keys.ids.len()))
            }
        }
    };
    let title = language.upstream_keys();
    Ok(layout::page(&context, Section::UpstreamKeys, title, body))
}

fn state_tabs(language: Language, query: &KeyListQuery, matching_keys: &MatchingKeys) -> Markup {
    let current = query.state();
    let label = |label: &str, count: usize| format!("{label} {}", number(count as u64));
    let mut links = vec![(
        query.with("state", ""),
        label(language.all(), matching_keys.all),
        current.is_none(),
    )];
    for kind in KeyStatusKind::ALL.iter().copied() {
        let count = matching_keys.counts.get(&kind).copied().unwrap_or(0);
        if count > 0 || current == Some(kind) {
            links.push((
                query.with("state", kind.name()),
                label(language.key_state(kind), count),
                current == Some(kind),
            ));
        }
    }
    let links = links.iter();
    let links =
        links.map(|(target, label, is_current)| (target.clone(), label.as_str(), *is_current));
    tabs(language.states(), &links.collect::<Vec<_>>())
}

fn filters(language: Language, query: &KeyListQuery) -> Markup {
    let billings = [
        ("", language.any()),
        ("free", language.billing_label(Billing::Free)),
        ("paid", language.billing_label(Billing::Paid)),
        ("unknown", language.unknown()),
    ];
    let text = |name: &str, value: &str| {
        html! { input #{ "filter-" (name) } name=(name) value=(value) autocomplete="off"; }
    };
    html! {
        form.log-filters method="get" action=(PATH) role="search" {
            div.filters {
                input type="search" name="q" value=(query.q) placeholder=(language.search_keys()) aria-label=(language.search_keys()) data-search;
                @if !query.state.is_empty() { input type="hidden" name="state" value=(query.state); }
                button type="submit" { (language.search()) }
                @if query.is_filtered() { a.button.plain href=(PATH) { (language.clear_filters()) } }
            }
            details #more-filters open[query.has_more_filters()] {
                summary { (language.more_filters()) }
                div.fields {
                    (field("filter-project", language.project(), None, None, text("project", &query.project)))
                    (field("filter-tag", language.one_tag(), None, None, text("tag", &query.tag)))
                    (field("filter-priority", language.priority(), None, None, text("priority", &query.priority)))
                    (field("filter-billing", language.billing(), None, None, select("filter-billing", "billing", &query.billing, &billings)))
                    (field("filter-sort", language.sorted_by(), None, None, select("filter-sort", "sort", &query.sort, &sort_options(language))))
                    label.check { input type="checkbox" name="failing" value="1" checked[query.failing == "1"]; (language.failing_today()) }
                }
            }
        }
    }
}

/// The sort orders of the column headings, for narrow screens without headings.
fn sort_options(language: Language) -> Vec<(&'static str, &'static str)> {
    vec![
        ("", language.sort_oldest()),
        ("-created", language.sort_newest()),
        ("label", language.label()),
        ("-label", language.sort_label_down()),
        ("state", language.sort_state()),
        ("-state", language.sort_state_down()),
        ("project", language.project()),
        ("-project", language.sort_project_down()),
        ("priority", language.sort_priority()),
        ("-priority", language.sort_priority_down()),
        ("-requests", language.sort_most_requests()),
        ("requests", language.sort_fewest_requests()),
        ("-success", language.sort_most_success()),
        ("success", language.sort_least_success()),
        ("-tokens", language.sort_most_tokens()),
        ("tokens", language.sort_fewest_tokens()),
        ("-used", language.sort_used_last()),
        ("used", language.sort_unused_longest()),
    ]
}

fn bulk_bar(language: Language, matching: usize) -> Markup {
    let button = |action: &BulkAction| BulkButton {
        name: action.name(),
        label: language.bulk_action(*action),
        is_danger: *action == BulkAction::Delete,
    };
    let buttons: Vec<_> = BulkAction::VARIANTS.iter().map(button).collect();
    bulk::bar(language, matching, &buttons)
}

fn table(
    context: &PageContext,
    query: &KeyListQuery,
    rows: &[DashboardKey],
    key_statuses: &[Option<KeyStatus>],
) -> Markup {
    let language = context.language;
    let column = |name: &str, label: &str, is_number: bool| {
        let (up, down) = (query.sort == name, query.sort == format!("-{name}"));
        // Numbers are sorted from the largest first.
        let descends = up || (is_number && !down);
        let next = format!("{}{name}", if descends { "-" } else { "" });
        let (order, arrow) = match (up, down) {
            (true, _) => (Some("ascending"), " ↑"),
            (false, true) => (Some("descending"), " ↓"),
            (false, false) => (None, ""),
        };
        html! {
            th.number[is_number] scope="col" aria-sort=[order] {
                a href=(query.with("sort", &next)) { (label) (arrow) }
            }
        }
    };
    html! {
        div.table #upstream-key-list data-refresh {
            table.stack.keys data-keys {
                thead { tr {
                    (bulk::heading_cell(language))
                    (column("label", language.label(), false))
                    (column("state", language.state_heading(), false))
                    (column("project", language.project(), false))
                    (column("priority", language.priority(), true))
                    (column("requests", language.requests(), true))
                    (column("success", language.success_today(), true))
                    (column("tokens", language.tokens_used(), true))
                    th scope="col" { (language.quota_used()) }
                    (column("used", language.last_used(), false))
                } }
                tbody {
                    @for (row, key_status) in rows.iter().zip(key_statuses) { (table_row(context, row, key_status.as_ref())) }
                }
            }
        }
    }
}

fn table_row(context: &PageContext, row: &DashboardKey, key_status: Option<&KeyStatus>) -> Markup {
    let language = context.language;
    let in_flight = key_status.map_or(0, |key_status| key_status.in_flight);
    let billing = key_status.map_or(row.billing, |key_status| key_status.billing);
    let fullest_window = key_status.and_then(fullest_window);
    let is_used_up = key_status.is_some_and(KeyStatus::has_used_up_day);
    html! {
        tr {
            (bulk::row_cell(language, row.id.0, &row.label))
            th scope="row" {
                span.lines {
                    a data-row-link href={ (PATH) "/" (row.id.0) } { (row.label) }
                    span {
                        span.mono.muted.nowrap { "…" (row.last4) }
                        @for tag in &row.tags { " " span.tag { (tag) } }
                    }
                }
            }
            td.key-status { (state_cell(context, row, key_status)) }
            td.project.absent[row.project.is_none() && billing == Billing::Unknown] data-label=(language.project()) {
                span.lines {
                    @if let Some(project) = &row.project {
                        span.clipped title=(project) { (project.strip_prefix("projects/").unwrap_or(project)) }
                    } @else if billing == Billing::Unknown {
                        span.muted { "–" }
                    }
                    @if billing != Billing::Unknown { span.small.muted { (language.billing_label(billing)) } }
                }
            }
            td.number.absent[row.priority == 0] data-label=(language.priority()) { (row.priority) }
            td.number data-label=(language.requests()) {
                span.lines {
                    span { (number(row.today.requests)) }
                    @if in_flight > 0 { span.small.muted { (language.in_flight_now(in_flight)) } }
                }
            }
            td.number data-label=(language.success_today()) { (success(language, row)) }
            td.number data-label=(language.tokens_used()) title=(number(row.today.tokens)) {
                (tokens(row.today.tokens.unsigned_abs()))
            }
            td.quota.absent[fullest_window.is_none() && !is_used_up] data-label=(language.quota_used()) {
                @if fullest_window.is_none() && is_used_up {
                    span.small { (language.quota_used_up()) }
                } @else {
                    (quota(language, fullest_window))
                }
            }
            td data-label=(language.last_used()) {
                @if let Some(at) = row.last_used_at { (ago(context, at, context.now)) } @else { span.muted { (language.never()) } }
            }
        }
    }
}

/// The state with its end, and the reason below.
fn state_cell(context: &PageContext, row: &DashboardKey, key_status: Option<&KeyStatus>) -> Markup {
    let language = context.language;
    let kind = match key_status {
        Some(key_status) => key_status.kind,
        None if row.enabled => KeyStatusKind::Ready,
        None => KeyStatusKind::Disabled,
    };
    let current_cooldown = key_status.and_then(KeyStatus::deciding_cooldown);
    let more = match kind {
        KeyStatusKind::PartlyCoolingDown => key_status.map_or(0, |key_status| {
            key_status.effective_cooldowns().len().saturating_sub(1)
        }),
        _ => 0,
    };
    let next_check = key_status.and_then(|key_status| key_status.condition.next_check);
    let is_checked = matches!(
        kind,
        KeyStatusKind::Invalid | KeyStatusKind::Suspended | KeyStatusKind::Misconfigured
    );
    let reason = row.state_rule.as_deref();
    html! {
        span.lines {
            span.state {
                (key_labels::state_badge(language, kind))
                @if let Some(cooldown) = current_cooldown { span.small { (language.cooldown_ends()) " " (until(context, cooldown.until, context.now)) } }
            }
            @match kind {
                KeyStatusKind::PartlyCoolingDown | KeyStatusKind::CoolingDown => {
                    @if let Some(cooldown) = current_cooldown {
                        span.small.muted.clipped { (key_labels::cooldown_line(language, cooldown)) }
                        @if more > 0 { span.small.muted { (language.and_more(more)) } }
                    }
                }
                KeyStatusKind::Ready => {
                    @let missing = key_status.map(KeyStatus::missing_models).unwrap_or_default();
                    @if !missing.is_empty() {
                        span.small.muted.clipped { (language.without_models(&missing.join(language.list_comma()))) }
                    }
                }
                KeyStatusKind::Disabled => {}
                KeyStatusKind::Trial | KeyStatusKind::Invalid | KeyStatusKind::Leaked | KeyStatusKind::Suspended | KeyStatusKind::Misconfigured => {
                    @if let Some(rule) = reason {
                        span.small.muted.clipped title=[row.state_message.as_deref()] { (key_labels::label_of_rule_name(language, rule)) }
                    }
                }
            }
            @if let Some(at) = next_check.filter(|_| is_checked) {
                span.small.muted { (language.next_check()) " " (until(context, at, context.now)) }
            }
        }
    }
}

/// The success rate of today; failures and the last error on hover.
fn success(language: Language, row: &DashboardKey) -> Markup {
    let today = row.today;
    let counted = today.successes + today.failures;
    let mut tooltip = language.failures_of(&number(today.failures), &number(counted));
    if let Some(error) = row.last_error.as_ref().filter(|_| today.failures > 0) {
        tooltip.extend(["\n", error]);
    }
    html! {
        @if counted == 0 {
            span.muted { "–" }
        } @else {
            span.down[today.failures * 10 > counted] title=(tooltip) {
                (success_rate(today.successes, today.failures))
            }
        }
    }
}

fn pages_bar(
    language: Language,
    query: &KeyListQuery,
    page: usize,
    pages: usize,
    matching: usize,
) -> Markup {
    let first = (page - 1) * PAGE_SIZE + 1;
    let last = (page * PAGE_SIZE).min(matching);
    let label = [first, last, matching].map(|count| number(count as u64));
    let to = |page: usize| query.with("page", &page.to_string());
    html! {
        nav.pager aria-label=(language.pages()) {
            span.muted.small.grow {
                (language.page_of(&label[0], &label[1], &label[2])) " · " (language.numbers_of_today())
            }
            @if page > 1 {
                a.button rel="prev" href=(to(page - 1)) { (language.previous_page()) }
            } @else if pages > 1 {
                span.button.off aria-disabled="true" { (language.previous_page()) }
            }
            @if page < pages {
                a.button rel="next" href=(to(page + 1)) { (language.next_page()) }
            } @else if pages > 1 {
                span.button.off aria-disabled="true" { (language.next_page()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_url_never_fails_and_keeps_its_valid_parts() {
        let query = KeyListQuery {
            q: " a ".to_owned(),
            state: "sleepy".to_owned(),
            billing: "free".to_owned(),
            priority: "high".to_owned(),
            sort: "-tokens".to_owned(),
            ..KeyListQuery::default()
        };

        let expected = UpstreamKeyFilter {
            text: Some("a".to_owned()),
            billing: Some(Billing::Free),
            ..UpstreamKeyFilter::default()
        };
        assert_eq!(query.filter(), expected);
        assert_eq!(query.state(), None);
        assert_eq!(query.order(), (Some(UpstreamKeySort::Tokens), true));
        let of_state = KeyListQuery {
            sort: "state".to_owned(),
            ..KeyListQuery::default()
        };
        assert_eq!(of_state.order(), (None, false));
    }

    #[test]
    fn a_link_changes_one_parameter_and_resets_the_page() {
        let query = KeyListQuery {
            q: "team".to_owned(),
            sort: "label".to_owned(),
            page: "7".to_owned(),
            ..KeyListQuery::default()
        };

        let invalid = "/upstream-keys?q=team&state=invalid&sort=label";
        assert_eq!(query.with("state", "invalid"), invalid);
        let next_page = "/upstream-keys?q=team&sort=label&page=8";
        assert_eq!(query.with("page", "8"), next_page);
    }
}
