//! `/my-usage`: the usage of a client key for its holder, without a session.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::Form;
use http::StatusCode;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::clock::{self, Timestamp};
use crate::dashboard::client_keys::detail::sum;
use crate::dashboard::client_keys::limit_usage::{LimitUsage, limit_list, limits};
use crate::dashboard::components::{
    card, dollars, exact, number, stat, success_rate, tokens, until_in,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout;
use crate::dashboard::page_context::BrowserContext;
use crate::dashboard::sign_in::throttled;
use crate::error::Error;
use crate::pool::calendar::{day_of, month_of};
use crate::pool::clients::client_key::{ClientKeyId, FoundClientKey};
use crate::pool::clients::login_throttle::LoginSource;
use crate::storage::client_keys::{self, ListedClientKey};
use crate::storage::client_usage::{self, ClientKeyUsage};
use crate::storage::error::Thing;

const DAYS_SHOWN: usize = 30;

#[derive(Debug, Deserialize)]
pub struct ClientKeyForm {
    #[serde(default)]
    client_key: String,
}

/// All data of the page.
struct MyUsage {
    key: ListedClientKey,
    limits: Vec<LimitUsage>,
    today: ClientKeyUsage,
    month: ClientKeyUsage,
    /// The newest first, with their dates.
    days: Vec<(String, ClientKeyUsage)>,
    /// The zone in which the days and months of limits begin.
    zone: TimeZone,
}

/// The form for the client key; not found unless the setting is on.
pub async fn show(
    State(app): State<Arc<App>>,
    browser: BrowserContext,
) -> Result<Markup, ErrorPage> {
    check_offered(&app)?;
    Ok(form(&browser, None))
}

/// Shows the usage of the client key in the form. Attempts are throttled as at sign-in, by a count of their own.
pub async fn create(
    State(app): State<Arc<App>>,
    browser: BrowserContext,
    Form(submitted): Form<ClientKeyForm>,
) -> Result<Response, ErrorPage> {
    check_offered(&app)?;
    let (language, source) = (
        browser.language,
        LoginSource::from_address(browser.client_ip),
    );
    let admitted = app
        .my_usage_throttle
        .lock()
        .begin(&source, "", clock::now());
    if let Err(wait) = admitted {
        return Ok(throttled(language, wait, |text| form(&browser, Some(text))));
    }
    let found = app
        .client_keys()
        .find(submitted.client_key.trim(), clock::now);
    let Some(id) = found.and_then(|found| may_see(&found, &browser)) else {
        let page = form(&browser, Some(language.my_usage_unknown_key()));
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    app.my_usage_throttle.lock().record_success(&source, "");
    let usage = read(&app, id, browser.now).await?;
    Ok(view(&browser, &usage).into_response())
}

fn check_offered(app: &App) -> Result<(), ErrorPage> {
    if app.settings().my_usage {
        return Ok(());
    }
    Err(Error::NotFound(Thing::Page, "/my-usage".to_owned()).into())
}

/// The key, if it may be used from the browser's address. One that is off or has expired still shows its usage.
fn may_see(found: &FoundClientKey, browser: &BrowserContext) -> Option<ClientKeyId> {
    let scopes = found.key.scopes.as_ref()?;
    scopes
        .allows_address(browser.client_ip)
        .then_some(found.key.id)
}

async fn read(app: &App, id: ClientKeyId, now: Timestamp) -> Result<MyUsage, ErrorPage> {
    let db = &app.db.readers;
    let key = client_keys::find(db, id).await?;
    let zone = app.settings().day_zone.clone();
    let (today, month) = (day_of(now, &zone).begins, month_of(now, &zone).begins);
    let since = month.min(now - Duration::from_hours(24 * 30));
    let hours = client_usage::list_hours(db, id, since, now).await?;
    Ok(MyUsage {
        limits: limits(app, id, &key.limits, now),
        today: sum(&hours, today),
        month: sum(&hours, month),
        days: days(&hours, &zone),
        key,
        zone,
    })
}

/// The usage of each day that has any, the newest first.
fn days(hours: &[(Timestamp, ClientKeyUsage)], zone: &TimeZone) -> Vec<(String, ClientKeyUsage)> {
    let mut days: Vec<(String, ClientKeyUsage)> = Vec::new();
    for (hour, used) in hours.iter().rev() {
        let date = hour.to_jiff().to_zoned(zone.clone());
        let date = date.strftime("%Y-%m-%d").to_string();
        match days.last_mut() {
            Some((last, sum)) if *last == date => *sum += *used,
            Some(_) | None => days.push((date, *used)),
        }
    }
    days.retain(|(_, used)| *used != ClientKeyUsage::default());
    days.truncate(DAYS_SHOWN);
    days
}

fn form(browser: &BrowserContext, error: Option<&str>) -> Markup {
    let language = browser.language;
    let body = html! {
        form.sign-in method="post" action="/my-usage" {
            (browser.csrf_field())
            @if let Some(error) = error {
                p.form-error role="alert" { (error) }
            }
            div.field {
                label for="client-key" { (language.my_usage_client_key()) }
                // Not a password of this site: browsers must not offer to keep it.
                input #client-key type="password" name="client_key" autocomplete="off" autocapitalize="none"
                    spellcheck="false" required autofocus aria-describedby="client-key-hint";
                p #client-key-hint.muted.small { (language.my_usage_hint()) }
            }
            button.primary type="submit" { (language.my_usage_show()) }
        }
    };
    layout::public_page(browser, language.my_usage(), body)
}

fn view(browser: &BrowserContext, usage: &MyUsage) -> Markup {
    let (language, key) = (browser.language, &usage.key);
    let body = html! {
        p { strong { (key.name) } " " span.mono.muted { "…" (key.last4) } }
        @if let Some(problem) = problem(browser, usage) { p.form-error role="alert" { (problem) } }
        (stats(browser, usage))
        @if usage.limits.is_empty() {
            p { (language.my_usage_no_limits()) }
        } @else {
            (card(language.usage_of_limits(), limit_list(browser, &usage.zone, &usage.limits)))
        }
        @if !key.models.is_empty() {
            (card(language.models_field(), html! { span.lines { @for model in &key.models { code { (model) } } } }))
        }
        (card(language.my_usage_days(), day_table(browser, &usage.days)))
        p.muted.small { (language.times_in(usage.zone.iana_name().unwrap_or("UTC"))) }
        p { a.button href="/my-usage" { (language.my_usage_other_key()) } }
    };
    layout::public_report(browser, language.my_usage(), body)
}

/// Why the key cannot be used now, or when it ends.
fn problem(browser: &BrowserContext, usage: &MyUsage) -> Option<Markup> {
    let (language, key) = (browser.language, &usage.key);
    match key.expires_at {
        _ if !key.enabled => Some(html! { (language.my_usage_disabled()) }),
        Some(at) if at <= browser.now => {
            Some(html! { (language.my_usage_expired()) " " (exact(&usage.zone, at)) })
        }
        Some(at) => Some(html! {
            (language.client_key_expires()) " " (until_in(language, &usage.zone, at, browser.now))
        }),
        None => None,
    }
}

fn stats(browser: &BrowserContext, usage: &MyUsage) -> Markup {
    let (language, today, month) = (browser.language, &usage.today, &usage.month);
    let count = |used: i64| tokens(used.try_into().unwrap_or(0));
    html! {
        dl.stats {
            (stat(language.client_key_requests(), number(today.requests), language.today_unit()))
            (stat(language.client_key_success(), success_rate(today.successes, today.failures), language.today_unit()))
            (stat(language.client_key_tokens(), count(today.tokens), language.today_unit()))
            (stat(language.client_key_cost(), dollars(month.cost_nano_usd), language.this_month_at_list_price()))
            (stat(language.client_key_requests(), number(month.requests), language.this_month()))
            (stat(language.client_key_tokens(), count(month.tokens), language.this_month()))
        }
    }
}

fn day_table(browser: &BrowserContext, days: &[(String, ClientKeyUsage)]) -> Markup {
    let language = browser.language;
    html! {
        @if days.is_empty() {
            p.muted { (language.my_usage_none()) }
        } @else {
            div.table { table.stack {
                thead { tr {
                    th { (language.my_usage_day()) }
                    th.number { (language.client_key_requests()) }
                    th.number { (language.failed_requests()) }
                    th.number { (language.client_key_tokens()) }
                    th.number { (language.client_key_cost()) }
                } }
                tbody { @for (date, used) in days {
                    tr {
                        td data-label=(language.my_usage_day()) { (date) }
                        td.number data-label=(language.client_key_requests()) { (number(used.requests)) }
                        td.number data-label=(language.failed_requests()) { (number(used.failures)) }
                        td.number data-label=(language.client_key_tokens()) { (tokens(used.tokens.try_into().unwrap_or(0))) }
                        td.number data-label=(language.client_key_cost()) { (dollars(used.cost_nano_usd)) }
                    }
                } }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_in_the_zone_of_the_limits_and_those_without_usage_are_left_out() {
        let used = |requests| ClientKeyUsage {
            requests,
            ..ClientKeyUsage::default()
        };
        let hour = |hour: i64| Timestamp::from_millis(hour * 3_600_000);
        let hours = [
            (hour(1), used(1)),
            (hour(15), used(2)),
            (hour(16), used(3)),
            (hour(50), used(0)),
        ];
        let taipei = TimeZone::get("Asia/Taipei").unwrap();

        let days = days(&hours, &taipei);

        let expected = [("1970-01-02", 3), ("1970-01-01", 3)];
        let days: Vec<_> = days
            .iter()
            .map(|(date, used)| (date.as_str(), used.requests))
            .collect();
        assert_eq!(days, expected);
    }
}
