//! `/client-keys/{id}`: what one key may do, what it has used, and how programs use it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::changes::changes;
use crate::dashboard::chart::{Chart, Form, Series, count, figure, value};
use crate::dashboard::client_keys::change::usage_card;
use crate::dashboard::client_keys::form::field_of;
use crate::dashboard::client_keys::{amount, id_in, last_used, page_of, share, state};
use crate::dashboard::components::{
    ago, card, dollars, href, number, stat, tabs, tokens, until, usd,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Place, heading};
use crate::dashboard::snippets::PLACEHOLDER;
use crate::dashboard::visit::Visit;
use crate::pool::calendar::{day_of, month_of};
use crate::pool::clients::client_key::ClientLimit;
use crate::storage::audit::{self, ListedChange, Subject};
use crate::storage::client_keys::{self, ListedKey};
use crate::storage::spending::{self, Use};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// How many changes a page shows.
const CHANGES: usize = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    range: Range,
}

/// How far back the chart looks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Range {
    #[default]
    #[serde(rename = "24h")]
    Hours,
    #[serde(rename = "30d")]
    Days,
}

/// How much of a limit is used now.
struct LimitUse {
    limit: ClientLimit,
    used: u64,
    most: u64,
    /// When it begins anew, if it does so at once.
    ends: Option<Timestamp>,
}

/// All that the page shows.
struct Shown {
    key: ListedKey,
    limits: Vec<LimitUse>,
    hours: Vec<(Timestamp, Use)>,
    today: Use,
    month: Use,
    changes: Vec<ListedChange>,
}

pub async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, ErrorPage> {
    let db = &app.db.readers;
    let key = client_keys::find(db, id_in(&id)?).await?;
    let zone = app.settings().day_zone.clone();
    let month = month_of(visit.now, &zone).begins;
    let today = day_of(visit.now, &visit.zone).begins;
    let since = month.min(visit.now - 30 * DAY);
    let hours = spending::hours(db, key.id, since, visit.now).await?;
    let filter = audit::Filter {
        subject: Some(Subject::ClientKey),
        subject_id: Some(key.id.0),
        ..audit::Filter::default()
    };
    let changes = audit::list(db, &filter, None, CHANGES).await?.items;
    let shown = Shown {
        limits: limits(&app, &visit, &key),
        today: sum(&hours, today),
        month: sum(&hours, month),
        hours,
        key,
        changes,
    };
    Ok(view(&visit, asked.range, &shown))
}

fn limits(app: &App, visit: &Visit, key: &ListedKey) -> Vec<LimitUse> {
    let settings = app.settings();
    let mut admission = app.admission.lock();
    let set = ClientLimit::ALL
        .into_iter()
        .filter_map(|limit| Some((limit, key.limits.most(limit)?)));
    let uses = set.map(|(limit, most)| LimitUse {
        limit,
        used: admission.used(key.id, limit, visit.now),
        most,
        ends: match limit {
            ClientLimit::RequestsPerDay | ClientLimit::TokensPerDay => {
                Some(day_of(visit.now, &settings.day_zone).ends)
            }
            ClientLimit::CostPerMonth => Some(month_of(visit.now, &settings.day_zone).ends),
            ClientLimit::RequestsPerMinute
            | ClientLimit::TokensPerMinute
            | ClientLimit::Concurrency => None,
        },
    });
    uses.collect()
}

fn sum(hours: &[(Timestamp, Use)], since: Timestamp) -> Use {
    let mut sum = Use::default();
    for (_, used) in hours
        .iter()
        .filter(|(hour, _)| *hour + Duration::from_hours(1) > since)
    {
        sum += *used;
    }
    sum
}

fn view(visit: &Visit, range: Range, shown: &Shown) -> Markup {
    let (language, key) = (visit.language, &shown.key);
    let logs = |outcome: &str| {
        href(
            "/logs",
            &[("client", &key.id.0.to_string()), ("outcome", outcome)],
        )
    };
    let content = html! {
        (heading(&key.name, actions(visit, key)))
        div.chips {
            (state(visit, key))
            @if !key.note.is_empty() { span.muted { (key.note) } }
        }
        (stats(visit, shown))
        div.cards {
            (card(language.used_of_limits(), limit_list(visit, &shown.limits)))
            (card(language.client_key_scopes(), facts(visit, key)))
        }
        (card(language.use_over_time(), html! {
            (tabs(language.use_over_time(), &[
                (page_of(key.id), language.last_24_hours(), range == Range::Hours),
                (href(&page_of(key.id), &[("range", "30d")]), language.last_30_days(), range == Range::Days),
            ]))
            (use_charts(visit, range, &shown.hours))
            div.actions {
                a.button href=(logs("")) { (language.its_requests()) }
                a.button href=(logs("failed")) { (language.recent_failures()) }
            }
        }))
        (usage_card(visit, PLACEHOLDER, key))
        (card(language.changes_title(), changes(visit, &shown.changes)))
    };
    layout::page(visit, Place::ClientKeys, &key.name, content)
}

fn actions(visit: &Visit, key: &ListedKey) -> Markup {
    let (language, page) = (visit.language, page_of(key.id));
    let (act, word) = if key.enabled {
        ("disable", language.disable())
    } else {
        ("enable", language.enable())
    };
    html! {
        a.button href={ (page) "/edit" } { (language.edit()) }
        form method="post" action={ (page) "/" (act) } {
            (visit.csrf_field())
            button type="submit" { (word) }
        }
        a.button.danger href={ (page) "/delete" } { (language.delete()) }
    }
}

fn stats(visit: &Visit, shown: &Shown) -> Markup {
    let (language, key) = (visit.language, &shown.key);
    let count = |tokens_used: i64| tokens(tokens_used.try_into().unwrap_or(0));
    html! {
        dl.stats {
            (stat(language.client_key_today(), number(shown.today.requests), language.requests_unit()))
            (stat(language.client_key_success(), share(shown.today.successes, shown.today.requests), language.today_unit()))
            (stat(language.client_key_tokens(), count(shown.today.tokens), language.today_unit()))
            (stat(language.this_month(), dollars(shown.month.cost_nano_usd), language.at_list_price()))
            (stat(language.all_time(), number(key.requests), language.requests_unit()))
            (stat(language.all_time(), count(key.total_tokens), language.tokens_unit()))
        }
    }
}

fn limit_list(visit: &Visit, limits: &[LimitUse]) -> Markup {
    let language = visit.language;
    html! {
        @if limits.is_empty() { p.muted { (language.no_limits_text()) } }
        @for LimitUse { limit, used, most, ends } in limits {
            div.limit {
                div.limit-words {
                    span #{ "limit-" (field_of(*limit)) } { (language.limit(*limit)) }
                    span { (language.used_of(&amount(*limit, *used), &amount(*limit, *most))) }
                }
                meter min="0" max=(most) high=(most - most / 10) optimum="0" value=(used)
                    aria-labelledby={ "limit-" (field_of(*limit)) } {}
                @if let Some(ends) = ends {
                    span.muted.small { (language.begins_anew()) " " (until(visit, *ends, visit.now)) }
                }
            }
        }
    }
}

/// What was used, by the hour or by the day of the visitor.
fn use_charts(visit: &Visit, range: Range, hours: &[(Timestamp, Use)]) -> Markup {
    let language = visit.language;
    let bins = bins(visit, range, hours);
    let mut sum = Use::default();
    for (_, used) in &bins {
        sum += *used;
    }
    if sum == Use::default() {
        return html! { p.muted { (language.not_used_yet()) } };
    }
    let series = |name, colour, of: fn(&Use) -> i64| Series {
        name,
        colour,
        values: bins.iter().map(|(_, used)| Some(value(of(used)))).collect(),
    };
    let chart = |title, total, series, unit| {
        let bins = bins.iter().map(|(name, _)| name.clone()).collect();
        let chart = Chart {
            title,
            total,
            bins,
            series,
            unit,
        };
        html! { div { (figure(language, Form::Stacked, &chart)) } }
    };
    let requests = vec![
        series(language.succeeded(), 1, |used| {
            used.requests - used.failures
        }),
        series(language.failed_requests(), 4, |used| used.failures),
    ];
    let spent = vec![series(language.client_key_tokens(), 2, |used| used.tokens)];
    let cost = vec![series(language.client_key_cost(), 3, |used| {
        used.cost_nano_usd
    })];
    html! {
        div.cards.tight {
            (chart(language.client_key_requests(), number(sum.requests), requests, counted))
            (chart(language.client_key_tokens(), number(sum.tokens), spent, |value| tokens(count(value))))
            (chart(language.client_key_cost(), dollars(sum.cost_nano_usd), cost, |nano_usd| usd(nano_usd / 1e9)))
        }
    }
}

/// The hours or days up to now, none left out, each with its name on the axis and in full.
fn bins(visit: &Visit, range: Range, hours: &[(Timestamp, Use)]) -> Vec<((String, String), Use)> {
    let (count, short, exact) = match range {
        Range::Hours => (24, "%H:%M", "%m-%d %H:%M"),
        Range::Days => (30 * 24, "%m-%d", "%Y-%m-%d"),
    };
    let last = visit.now.begin_of_hour();
    let mut bins: Vec<((String, String), Use)> = Vec::new();
    for ago in (0..count).rev() {
        let hour = last - ago * HOUR;
        let local = hour.to_jiff().to_zoned(visit.zone.clone());
        let name = local.strftime(exact).to_string();
        let place = hours.binary_search_by_key(&hour, |(hour, _)| *hour);
        let used = place.map_or_else(|_| Use::default(), |place| hours[place].1);
        match bins.last_mut() {
            Some(((_, last), sum)) if *last == name => *sum += used,
            Some(_) | None => bins.push(((local.strftime(short).to_string(), name), used)),
        }
    }
    bins
}

fn counted(value: f64) -> String {
    number(count(value))
}

fn facts(visit: &Visit, key: &ListedKey) -> Markup {
    let language = visit.language;
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
            dt { (language.client_key_expires()) }
            dd { @match key.expires_at {
                Some(at) if at <= visit.now => (ago(visit, at, visit.now)),
                Some(at) => (until(visit, at, visit.now)),
                None => span.muted { (language.never()) },
            } }
            dt { (language.client_key_created()) } dd { (ago(visit, key.created_at, visit.now)) }
            dt { (language.client_key_last_used()) } dd { (last_used(visit, key.last_used_at)) }
        }
    }
}
