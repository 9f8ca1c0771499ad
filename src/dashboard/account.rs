//! `/account`: password, time zone and sign-in sessions of the admin, and API tokens.

pub mod tokens;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form;
use http::StatusCode;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::auth::password;
use crate::dashboard::components::{Tone, ago, badge, card, field, moment};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::settings::field::zones;
use crate::dashboard::sign_in::check_password;
use crate::storage::admins;
use crate::storage::api_tokens;
use crate::storage::audit::Act;
use crate::storage::sign_ins::{self, SignIn, SignInId};

/// The error message of each field.
#[derive(Debug, Default)]
struct AccountFormErrors {
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
pub struct EndSignInForm {
    /// `None`: all sessions except the current one.
    id: Option<i64>,
}

pub async fn show(State(app): State<Arc<App>>, context: PageContext) -> Result<Markup, ErrorPage> {
    let errors = AccountFormErrors::default();
    view(&app, &context, &context.admin.zone, &errors).await
}

/// Changes the password and signs out all other sessions.
pub async fn update_password(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<PasswordForm>,
) -> Result<Response, ErrorPage> {
    let language = context.language;
    let errors = AccountFormErrors {
        new: password::weakness(&form.new).map(|weakness| language.password_weakness(weakness)),
        repeated: (form.new != form.repeated).then_some(language.passwords_differ()),
        ..AccountFormErrors::default()
    };
    if errors.new.is_some() || errors.repeated.is_some() {
        return show_errors(&app, &context, &context.admin.zone, &errors).await;
    }
    if let Err(message) = check_password(&app, &context, &form.current).await {
        let errors = AccountFormErrors {
            current: Some(message),
            ..errors
        };
        return show_errors(&app, &context, &context.admin.zone, &errors).await;
    }
    let hash = password::hash(&form.new).await;
    let mut tx = app.db.begin().await?;
    let act = Act::without_revision(context.actor(), context.now);
    let id = context.admin.id;
    admins::update_password(&mut tx, id, &hash, &act).await?;
    let ended = sign_ins::delete_others(&mut tx, id, Some(context.sign_in_id), &act).await?;
    tx.commit().await?;
    let notice = Notice::done(language.password_changed(ended));
    Ok(context
        .redirect_with(notice, "/account")
        .await
        .into_response())
}

pub async fn update_zone(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<ZoneForm>,
) -> Result<Response, ErrorPage> {
    let zone = TimeZone::get(form.zone.trim()).ok();
    let name = zone.as_ref().and_then(TimeZone::iana_name);
    let Some(name) = name else {
        let errors = AccountFormErrors {
            zone: Some(context.language.zone_unknown()),
            ..AccountFormErrors::default()
        };
        return show_errors(&app, &context, &form.zone, &errors).await;
    };
    let mut tx = app.db.begin().await?;
    let act = Act::without_revision(context.actor(), context.now);
    admins::update_zone(&mut tx, context.admin.id, name, &act).await?;
    tx.commit().await?;
    let notice = Notice::done(context.language.zone_saved(name));
    Ok(context
        .redirect_with(notice, "/account")
        .await
        .into_response())
}

/// Signs out one session, or all other sessions.
pub async fn end_sign_ins(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<EndSignInForm>,
) -> Result<Redirect, ErrorPage> {
    let mut tx = app.db.begin().await?;
    let language = context.language;
    let act = Act::without_revision(context.actor(), context.now);
    let notice = if let Some(id) = form.id {
        sign_ins::delete(&mut tx, context.admin.id, SignInId(id), &act).await?;
        language.sign_in_ended().to_owned()
    } else {
        let this = Some(context.sign_in_id);
        let others = sign_ins::delete_others(&mut tx, context.admin.id, this, &act);
        language.sign_ins_ended(others.await?)
    };
    tx.commit().await?;
    Ok(context
        .redirect_with(Notice::done(notice), "/account")
        .await)
}

async fn show_errors(
    app: &App,
    context: &PageContext,
    zone: &str,
    errors: &AccountFormErrors,
) -> Result<Response, ErrorPage> {
    let page = view(app, context, zone, errors).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn view(
    app: &App,
    context: &PageContext,
    zone: &str,
    errors: &AccountFormErrors,
) -> Result<Markup, ErrorPage> {
    let language = context.language;
    let sign_ins = sign_ins::list(&app.db.readers, context.admin.id).await?;
    let api_tokens = api_tokens::list(&app.db.readers).await?;
    let body = html! {
        (heading(language.account(), html! { span.muted { (language.signed_in_as(&context.admin.username)) } }))
        div.cards {
            (card(language.change_password(), password_form(context, errors)))
            (card(language.time_zone(), zone_form(context, zone, errors)))
        }
        (card(language.sign_ins(), sign_in_table(context, &sign_ins)))
        (tokens::list(context, &api_tokens))
    };
    let title = language.account();
    Ok(layout::page(context, Section::Account, title, body))
}

fn password_form(context: &PageContext, errors: &AccountFormErrors) -> Markup {
    let language = context.language;
    let input = |id: &str, completion: &str| {
        html! { input #(id) type="password" name=(id) autocomplete=(completion) required; }
    };
    html! {
        form.stacked method="post" action="/account/password" {
            (context.csrf_field())
            (field("current", language.current_password(), None, errors.current.as_deref(), input("current", "current-password")))
            (field("new", language.new_password(), Some(language.password_hint()), errors.new, input("new", "new-password")))
            (field("repeated", language.repeat_password(), None, errors.repeated, input("repeated", "new-password")))
            div.actions {
                button.primary type="submit" { (language.change_password()) }
                span.muted.small { (language.password_since()) " " (ago(context, context.admin.password_changed_at, context.now)) }
            }
        }
    }
}

fn zone_form(context: &PageContext, zone: &str, errors: &AccountFormErrors) -> Markup {
    let language = context.language;
    let input = html! { input #zone name="zone" value=(zone) list="zones" autocomplete="off" spellcheck="false" required; };
    html! {
        form.stacked method="post" action="/account/zone" {
            (context.csrf_field())
            (field("zone", language.choose_zone(), Some(language.zone_hint()), errors.zone, input))
            (zones())
            div.actions { button.primary type="submit" { (language.save()) } }
        }
    }
}

fn sign_in_table(context: &PageContext, sign_ins: &[SignIn]) -> Markup {
    let language = context.language;
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
                    td data-label=(language.since()) { (moment(context, sign_in.created_at)) }
                    td data-label=(language.last_seen()) { (ago(context, sign_in.last_seen_at, context.now)) }
                    td.number { (end_sign_in_button(context, sign_in)) }
                }
            } }
        } }
        @if sign_ins.len() > 1 {
            form method="post" action="/account/sign-ins/end" {
                (context.csrf_field())
                button.danger type="submit" { (language.end_others()) }
            }
        }
    }
}

fn end_sign_in_button(context: &PageContext, sign_in: &SignIn) -> Markup {
    html! {
        @if sign_in.id == context.sign_in_id {
            (badge(Tone::Info, context.language.this_browser()))
        } @else {
            form method="post" action="/account/sign-ins/end" {
                (context.csrf_field())
                button.small.danger type="submit" name="id" value=(sign_in.id.0) { (context.language.end_sign_in()) }
            }
        }
    }
}
