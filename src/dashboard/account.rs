//! `/account`: password, time zone, and where one is signed in.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form;
use http::StatusCode;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::auth::password::{self, Weakness};
use crate::dashboard::components::{Tone, ago, badge, card, field, moment};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Place, heading};
use crate::dashboard::sign_in::check_password;
use crate::dashboard::texts::Language;
use crate::dashboard::visit::{Notice, Visit};
use crate::storage::admins;
use crate::storage::audit::Act;
use crate::storage::sign_ins::{self, SignIn, SignInId};

/// What is wrong with what was sent.
#[derive(Debug, Default)]
struct Wrong {
    current: Option<String>,
    new: Option<&'static str>,
    repeated: Option<&'static str>,
    zone: Option<&'static str>,
}

#[derive(Debug, Deserialize)]
pub struct PasswordForm {
    current: String,
    new: String,
    repeated: String,
}

#[derive(Debug, Deserialize)]
pub struct ZoneForm {
    zone: String,
}

#[derive(Debug, Deserialize)]
pub struct EndForm {
    /// `None`: all but this one.
    id: Option<i64>,
}

pub async fn show(State(app): State<Arc<App>>, visit: Visit) -> Result<Markup, ErrorPage> {
    let sign_ins = sign_ins::list(&app.db.readers, visit.admin.id).await?;
    Ok(view(
        &visit,
        &sign_ins,
        &visit.admin.zone,
        &Wrong::default(),
    ))
}

/// Changes the password, and ends what others may have begun with the old one.
pub async fn update_password(
    State(app): State<Arc<App>>,
    visit: Visit,
    Form(form): Form<PasswordForm>,
) -> Result<Response, ErrorPage> {
    let language = visit.language;
    let wrong = Wrong {
        new: password::weakness(&form.new).map(|weakness| words(language, weakness)),
        repeated: (form.new != form.repeated).then_some(language.passwords_differ()),
        ..Wrong::default()
    };
    if wrong.new.is_some() || wrong.repeated.is_some() {
        return refuse(&app, &visit, &visit.admin.zone, &wrong).await;
    }
    if let Err(told) = check_password(&app, &visit, &form.current).await {
        let wrong = Wrong {
            current: Some(told),
            ..Wrong::default()
        };
        return refuse(&app, &visit, &visit.admin.zone, &wrong).await;
    }
    let hash = password::hash(&form.new).await;
    let mut tx = app.db.begin().await?;
    let (act, id) = (Act::aside(visit.actor(), visit.now), visit.admin.id);
    admins::update_password(&mut tx, id, &hash, &act).await?;
    let ended = sign_ins::delete_others(&mut tx, id, Some(visit.sign_in_id), &act).await?;
    tx.commit().await?;
    visit
        .notify(Notice::done(language.password_changed(ended)))
        .await;
    Ok(Redirect::to("/account").into_response())
}

pub async fn update_zone(
    State(app): State<Arc<App>>,
    visit: Visit,
    Form(form): Form<ZoneForm>,
) -> Result<Response, ErrorPage> {
    let zone = TimeZone::get(form.zone.trim()).ok();
    let name = zone.as_ref().and_then(TimeZone::iana_name);
    let Some(name) = name else {
        let wrong = Wrong {
            zone: Some(visit.language.zone_unknown()),
            ..Wrong::default()
        };
        return refuse(&app, &visit, &form.zone, &wrong).await;
    };
    let mut tx = app.db.begin().await?;
    let act = Act::aside(visit.actor(), visit.now);
    admins::update_zone(&mut tx, visit.admin.id, name, &act).await?;
    tx.commit().await?;
    visit
        .notify(Notice::done(visit.language.zone_saved(name)))
        .await;
    Ok(Redirect::to("/account").into_response())
}

/// Ends one sign-in, or all the others.
pub async fn end_sign_ins(
    State(app): State<Arc<App>>,
    visit: Visit,
    Form(form): Form<EndForm>,
) -> Result<Redirect, ErrorPage> {
    let mut tx = app.db.begin().await?;
    let language = visit.language;
    let act = Act::aside(visit.actor(), visit.now);
    let notice = if let Some(id) = form.id {
        sign_ins::delete(&mut tx, visit.admin.id, SignInId(id), &act).await?;
        language.sign_in_ended().to_owned()
    } else {
        let this = Some(visit.sign_in_id);
        let others = sign_ins::delete_others(&mut tx, visit.admin.id, this, &act);
        language.sign_ins_ended(others.await?)
    };
    tx.commit().await?;
    visit.notify(Notice::done(notice)).await;
    Ok(Redirect::to("/account"))
}

async fn refuse(
    app: &App,
    visit: &Visit,
    zone: &str,
    wrong: &Wrong,
) -> Result<Response, ErrorPage> {
    let sign_ins = sign_ins::list(&app.db.readers, visit.admin.id).await?;
    let page = view(visit, &sign_ins, zone, wrong);
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

fn words(language: Language, weakness: Weakness) -> &'static str {
    match weakness {
        Weakness::TooShort => language.password_too_short(),
        Weakness::TooLong => language.password_too_long(),
        Weakness::WellKnown => language.password_well_known(),
    }
}

fn view(visit: &Visit, sign_ins: &[SignIn], zone: &str, wrong: &Wrong) -> Markup {
    let language = visit.language;
    let content = html! {
        (heading(language.account(), html! { span.muted { (language.signed_in_as(&visit.admin.username)) } }))
        div.cards {
            (card(language.change_password(), password_form(visit, wrong)))
            (card(language.time_zone(), zone_form(visit, zone, wrong)))
        }
        (card(language.sign_ins(), sign_in_table(visit, sign_ins)))
    };
    layout::page(visit, Place::Account, language.account(), content)
}

fn password_form(visit: &Visit, wrong: &Wrong) -> Markup {
    let language = visit.language;
    let input = |id: &str, completion: &str| {
        html! { input #(id) type="password" name=(id) autocomplete=(completion) required; }
    };
    let (current, new, repeated) = (
        input("current", "current-password"),
        input("new", "new-password"),
        input("repeated", "new-password"),
    );
    html! {
        form.stacked method="post" action="/account/password" {
            (visit.csrf_field())
            (field("current", language.current_password(), None, wrong.current.as_deref(), current))
            (field("new", language.new_password(), Some(language.password_hint()), wrong.new, new))
            (field("repeated", language.repeat_password(), None, wrong.repeated, repeated))
            div.actions {
                button.primary type="submit" { (language.change_password()) }
                span.muted.small { (language.password_since()) " " (ago(visit, visit.admin.password_changed_at, visit.now)) }
            }
        }
    }
}

fn zone_form(visit: &Visit, zone: &str, wrong: &Wrong) -> Markup {
    let language = visit.language;
    let input = html! { input #zone name="zone" value=(zone) list="zones" autocomplete="off" spellcheck="false" required; };
    html! {
        form.stacked method="post" action="/account/zone" {
            (visit.csrf_field())
            (field("zone", language.choose_zone(), Some(language.zone_hint()), wrong.zone, input))
            datalist #zones { @for name in jiff::tz::db().available() { option value=(name) {} } }
            div.actions { button.primary type="submit" { (language.save()) } }
        }
    }
}

fn sign_in_table(visit: &Visit, sign_ins: &[SignIn]) -> Markup {
    let language = visit.language;
    html! {
        div.table { table.stack {
            thead { tr {
                th { (language.address()) } th { (language.browser()) } th { (language.since()) } th { (language.last_seen()) }
                th { span.visually-hidden { (language.end_sign_in()) } }
            } }
            tbody { @for sign_in in sign_ins {
                tr {
                    td data-label=(language.address()) { (sign_in.address) }
                    td.clip data-label=(language.browser()) title=(sign_in.user_agent) { (sign_in.user_agent) }
                    td data-label=(language.since()) { (moment(visit, sign_in.created_at)) }
                    td data-label=(language.last_seen()) { (ago(visit, sign_in.last_seen_at, visit.now)) }
                    td.number { (ending(visit, sign_in)) }
                }
            } }
        } }
        @if sign_ins.len() > 1 {
            form method="post" action="/account/sign-ins/end" {
                (visit.csrf_field())
                button.danger type="submit" { (language.end_others()) }
            }
        }
    }
}

fn ending(visit: &Visit, sign_in: &SignIn) -> Markup {
    html! {
        @if sign_in.id == visit.sign_in_id {
            (badge(Tone::Info, visit.language.this_browser()))
        } @else {
            form method="post" action="/account/sign-ins/end" {
                (visit.csrf_field())
                button.small type="submit" name="id" value=(sign_in.id.0) { (visit.language.end_sign_in()) }
            }
        }
    }
}
