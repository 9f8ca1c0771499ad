//! `/client-keys/{id}`: the permissions, limits, usage and instructions of one client key.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::changes::change_table;
use crate::dashboard::chart::{
    self, Chart, ChartBin, ChartKind, ChartUse, Series, Unit, figure, value,
};
use crate::dashboard::client_keys::change::usage_card;
use crate::dashboard::client_keys::key_labels::{last_used, page_of, parse_id, state_badge};
use crate::dashboard::client_keys::limit_usage::{LimitUsage, limit_list, limits};
use crate::dashboard::client_keys::rotate::{old_secret, old_secret_notice};
use crate::dashboard::components::{
    ago, card, dollars, href, number, stat, success_rate, tabs, tokens, until,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::snippets::PLACEHOLDER;
use crate::pool::calendar::{day_of, month_of};
use crate::pool::model_fallback::ModelFallback;
use crate::storage::audit::{self, ListedChange, Subject};
use crate::storage::client_keys::rotation::OldSecret;
use crate::storage::client_keys::{self, ListedClientKey};
use crate::storage::client_usage::{self, ClientKeyUsage};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Changes shown on the page.
const CHANGES: usize = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClientKeyDetailQuery {
    range: ChartRange,
}

/// The time range of the chart.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
enum ChartRange {
    #[default]
    #[serde(rename = "24h")]
    Hours,
    #[serde(rename = "30d")]
    Days,
}

/// The name, colour and value of a series in a usage chart.
type UsageSeries = (&'static str, u8, fn(&ClientKeyUsage) -> i64);

/// All data of the page.
struct ClientKeyDetail {
    key: ListedClientKey,
    limits: Vec<LimitUsage>,
    hours: Vec<(Timestamp, ClientKeyUsage)>,
    today: ClientKeyUsage,
    month: ClientKeyUsage,
    changes: Vec<ListedChange>,
    old_secret: Option<OldSecret>,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
    Query(query): Query<ClientKeyDetailQuery>,
) -> Result<Markup, ErrorPage> {
    let db = &app.db.readers;
    let key = client_keys::find(db, parse_id(&id)?).await?;
    let zone = app.settings().day_zone.clone();
    let month = month_of(context.now, &zone).begins;
    let today = day_of(context.now, &context.zone).begins;
    let since = month.min(context.now - 30 * DAY);
    let hours = client_usage::list_hours(db, key.id, since, context.now).await?;
    let filter = audit::AuditFilter {
        subject: Some(Subject::ClientKey),
        subject_id: Some(key.id.0),
        ..audit::AuditFilter::default()
    };
    let changes = audit::list(db, &filter, None, CHANGES).await?.items;
    let detail = ClientKeyDetail {
        limits: limits(&app, key.id, &key.limits, context.now),
        today: sum(&hours, today),
        month: sum(&hours, month),
        hours,
        old_secret: old_secret(&app, &context, key.id).await?,
        key,
        changes,
    };
    Ok(view(&context, query.range, &detail))
}

/// The usage of all hours that end after `since`.
pub fn sum(hours: &[(Timestamp, ClientKeyUsage)], since: Timestamp) -> ClientKeyUsage {
    let mut sum = ClientKeyUsage::default();
    for (_, used) in hours.iter().filter(|(hour, _)| *hour + HOUR > since) {
        sum += *used;
    }
    sum
}

fn view(context: &PageContext, range: ChartRange, detail: &ClientKeyDetail) -> Markup {
    let (language, key) = (context.language, &detail.key);
    let body = html! {
        nav.crumbs { a href="/client-keys" { "← " (language.client_keys()) } }
        (heading(&key.name, actions(context, key)))
        div.chips {
            (state_badge(context, key))
            @if !key.note.is_empty() { span.muted { (key.note) } }
        }
        @if let Some(old) = &detail.old_secret { (old_secret_notice(context, key, old)) }
        div.live-parts #client-key data-refresh {
            (stats(context, detail))
            (usage(context, range, detail))
        }
        div.cards {
            (card(language.usage_of_limits(), limit_list(context, &context.zone, &detail.limits)))
            (card(language.client_key_scopes(), facts(context, key)))
        }
        (usage_card(context, PLACEHOLDER, key))
        (card(language.changes_title(), change_table(context, &detail.changes)))
    };
    layout::page(context, Section::ClientKeys, &key.name, body)
}

/// The usage over time.
fn usage(context: &PageContext, range: ChartRange, detail: &ClientKeyDetail) -> Markup {
    let (language, key) = (context.language, &detail.key);
    let id = key.id.0.to_string();
    let logs = |outcome: &str| href("/logs", &[("client", &id), ("outcome", outcome)]);
    card(
        language.usage_over_time(),
        html! {
            (tabs(language.usage_over_time(), &[
                (page_of(key.id), language.last_24_hours(), range == ChartRange::Hours),
                (href(&page_of(key.id), &[("range", "30d")]), language.last_30_days(), range == ChartRange::Days),
            ]))
            (usage_charts(context, range, detail))
            div.actions {
                a.button href=(logs("")) { (language.its_requests()) }
                a.button href=(logs("failed")) { (language.recent_failures()) }
                a.button href=(href("/usage", &[("client", &id), ("span", "30d")])) { (language.usage_all()) }
            }
        },
    )
}

fn actions(context: &PageContext, key: &ListedClientKey) -> Markup {
    let (language, page) = (context.language, page_of(key.id));
    let (act, label) = if key.enabled {
        ("disable", language.disable())
    } else {
        ("enable", language.enable())
    };
    html! {
        a.button href=(href("/try", &[("client", &key.id.0.to_string())])) { (language.try_it()) }
        a.button href={ (page) "/edit" } { (language.edit()) }
        a.button href={ (page) "/rotate" } { (language.rotate_client_key()) }
        form method="post" action={ (page) "/" (act) } {
            (context.csrf_field())
            button type="submit" { (label) }
        }
        a.button.danger href={ (page) "/delete" } { (language.delete()) }
    }
}

fn stats(context: &PageContext, detail: &ClientKeyDetail) -> Markup {
    let (language, key) = (context.language, &detail.key);
    let count = |tokens_used: i64| tokens(tokens_used.try_into().unwrap_or(0));
    html! {
        dl.stats {
            (stat(language.client_key_requests(), number(detail.today.requests), language.today_unit()))
            (stat(language.client_key_success(), success_rate(detail.today.successes, detail.today.failures), language.today_unit()))
            (stat(language.client_key_tokens(), count(detail.today.tokens), language.today_unit()))
            (stat(language.client_key_cost(), dollars(detail.month.cost_nano_usd), language.this_month_at_list_price()))
            (stat(language.client_key_requests(), number(key.requests), language.all_time()))
            (stat(language.client_key_tokens(), count(key.total_tokens), language.all_time()))
        }
    }
}

/// Usage per hour, or per day in the admin's time zone.
fn usage_charts(context: &PageContext, range: ChartRange, detail: &ClientKeyDetail) -> Markup {
    let language = context.language;
    let (bins, used): (Vec<_>, Vec<_>) = bins(context, range, &detail.hours).into_iter().unzip();
    let mut sum = ClientKeyUsage::default();
    for used in &used {
        sum += *used;
    }
    if sum == ClientKeyUsage::default() {
        return html! { p.muted { (language.no_requests_in_range()) } };
    }
    let chart = |id, title, total, unit, series: &[UsageSeries]| {
        let unit_size = if unit == Unit::UsDollars { 1e9 } else { 1.0 };
        let series = series.iter().map(|(name, colour, of)| Series {
            name,
            colour: *colour,
            values: used
                .iter()
                .map(|used| Some(value(of(used)) / unit_size))
                .collect(),
            filter: (*name == language.failed_requests()).then(|| ("outcome", "failed".to_owned())),
        });
        let chart = Chart {
            id,
            title,
            total,
            kind: ChartKind::Stacked,
            unit,
            zone: &context.zone,
            bins: &bins,
            series: series.collect(),
            is_last_running: true,
            log: Some(vec![("client", detail.key.id.0.to_string())]),
            purpose: ChartUse::Explore,
        };
        html! { div { (figure(language, &chart)) } }
    };
    html! {
        div.cards.tight {
            (chart("client-key-requests", language.client_key_requests(), number(sum.requests), Unit::Count, &[
                (language.succeeded(), 1, |used| used.requests - used.failures),
                (language.failed_requests(), 4, |used| used.failures),
            ]))
            (chart("client-key-tokens", language.client_key_tokens(), number(sum.tokens), Unit::Tokens, &[
                (language.client_key_tokens(), 2, |used| used.tokens),
            ]))
            (chart("client-key-cost", language.client_key_cost(), dollars(sum.cost_nano_usd), Unit::UsDollars, &[
                (language.client_key_cost(), 3, |used| used.cost_nano_usd),
            ]))
        }
        (chart::scripts())
    }
}

/// All hours or days up to now without gaps, each with its usage.
fn bins(
    context: &PageContext,
    range: ChartRange,
    hours: &[(Timestamp, ClientKeyUsage)],
) -> Vec<(ChartBin, ClientKeyUsage)> {
    let (count, format) = match range {
        ChartRange::Hours => (24, "%m-%d %H:%M"),
        ChartRange::Days => (30 * 24, "%Y-%m-%d"),
    };
    let last = context.now.start_of_hour();
    let mut bins: Vec<(ChartBin, ClientKeyUsage)> = Vec::new();
    for ago in (0..count).rev() {
        let begin = last - ago * HOUR;
        let end = begin + HOUR;
        let local = begin.to_jiff().to_zoned(context.zone.clone());
        let label = local.strftime(format).to_string();
        let index = hours.binary_search_by_key(&begin, |(hour, _)| *hour);
        let used = index.map_or_else(|_| ClientKeyUsage::default(), |index| hours[index].1);
        match bins.last_mut() {
            Some((bin, sum)) if bin.label == label => {
                bin.end = end;
                *sum += used;
            }
            Some(_) | None => bins.push((ChartBin { begin, end, label }, used)),
        }
    }
    bins
}

fn facts(context: &PageContext, key: &ListedClientKey) -> Markup {
    let language = context.language;
    let lists = [
        (language.models_field(), &key.models),
        (language.paths_field(), &key.paths),
        (language.addresses_field(), &key.addresses),
        (language.tags_short(), &key.tags),
    ];
    html! {
        dl.facts {
            dt { (language.client_key_secret()) } dd.mono { "…" (key.last4) }
            @for (name, list) in lists {
                dt { (name) }
                dd {
                    @if list.is_empty() { span.muted { (language.all()) } }
                    span.lines { @for item in list { code { (item) } } }
                }
            }
            @if key.direct_access { dt { (language.direct_access()) } dd { (language.allowed()) } }
            @if let Some(chains) = &key.model_fallback {
                dt { (language.own_fallback()) } dd { code { (ModelFallback::own_text(Some(chains))) } }
            }
            dt { (language.client_key_expires()) }
            dd { @match key.expires_at {
                Some(at) if at <= context.now => (ago(context, at, context.now)),
                Some(at) => (until(context, at, context.now)),
                None => span.muted { (language.token_no_expiry()) },
            } }
            dt { (language.client_key_created()) } dd { (ago(context, key.created_at, context.now)) }
            dt { (language.client_key_last_used()) } dd { (last_used(context, key.last_used_at)) }
        }
    }
}
