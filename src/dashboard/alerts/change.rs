//! Creating, changing, testing and deleting alert targets.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::{Form, Query};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use crate::alert_sender::target_input::{AlertTargetInput, InvalidField, InvalidFields};
use crate::alert_sender::test_message::send_test;
use crate::app::App;
use crate::dashboard::alerts::PATH;
use crate::dashboard::alerts::form::AlertTargetForm;
use crate::dashboard::components::{card, confirm_form, copyable, empty_state, href, tabs};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::error::Error;
use crate::pool::clients::one_time_secrets::SecretOwner;
use crate::storage::alert_targets::{self, AlertTarget, AlertTargetId, AlertTargetKind};
use crate::storage::audit::Act;
use crate::storage::error::Thing;

const NEW: &str = "/alerts/targets/new";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NewQuery {
    kind: String,
}

/// The form for a new target of a kind.
pub async fn new(context: PageContext, Query(query): Query<NewQuery>) -> Markup {
    let kind = query.kind.parse().unwrap_or(AlertTargetKind::Webhook);
    let language = context.language.of_messages();
    let form = AlertTargetForm::of(AlertTargetInput::new(kind, &context.admin.zone, language));
    new_form(&context, &form, kind, &InvalidFields::new())
}

/// Creates a target. The signing secret of a webhook stays in memory for the next page.
pub async fn create(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<AlertTargetForm>,
) -> Result<Response, ErrorPage> {
    let language = context.language;
    let Ok(kind) = form.kind.parse() else {
        return Err(Error::Invalid(language.unknown_action().to_owned()).into());
    };
    let refuse = |errors: InvalidFields| {
        let page = new_form(&context, &form, kind, &errors);
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    let terms = match form
        .input(kind, &context.admin.zone, language.of_messages())
        .terms(None)
    {
        Ok(terms) => terms,
        Err(errors) => return refuse(errors),
    };
    let mut tx = app.db.begin().await?;
    let act = Act::without_revision(context.actor(), context.now);
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    let Some(id) = alert_targets::insert(&mut tx, &data_keys, &terms, &act).await? else {
        return refuse(InvalidFields::from([("name", InvalidField::NameTaken)]));
    };
    tx.commit().await?;
    if kind == AlertTargetKind::Webhook {
        let owner = SecretOwner::AlertTarget(id.0);
        let (admin_id, secret) = (context.admin.id.0, terms.secret);
        let mut secrets = app.one_time_secrets.lock();
        secrets.insert(owner, admin_id, secret, context.now);
        return Ok(Redirect::to(&format!("/alerts/targets/{id}/created")).into_response());
    }
    let notice = Notice::done(language.alert_target_is_made(&terms.name));
    Ok(context.redirect_with(notice, PATH).await.into_response())
}

/// Shows the signing secret of a new webhook once.
pub async fn created(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let target = find(&app, &id).await?;
    let mut secrets = app.one_time_secrets.lock();
    let owner = SecretOwner::AlertTarget(target.id.0);
    let secret = secrets.take(owner, context.admin.id.0, context.now);
    drop(secrets);
    let language = context.language;
    let title = language.alert_target_is_made(&target.terms.name);
    let to_page = html! { a.button href=(PATH) { (language.to_alerts()) } };
    let body = if let Some(secret) = &secret {
        html! {
            (heading(&title, to_page))
            (card(language.signing_secret(), html! {
                p { (language.signing_secret_text()) }
                div.secret { (copyable(language, "secret", secret.expose())) }
                p { strong { (language.signing_secret_now()) } }
            }))
        }
    } else {
        let text = language.secret_shown_already_text();
        html! {
            (heading(&title, html! {}))
            (empty_state(language.secret_shown_already(), text, to_page))
        }
    };
    Ok(layout::page(&context, Section::Alerts, &title, body))
}

/// The form with the current terms of a target, but for its secrets.
pub async fn edit(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let target = find(&app, &id).await?;
    let form = AlertTargetForm::of(AlertTargetInput::of(&target.terms));
    Ok(edit_form(&context, &target, &form, &InvalidFields::new()))
}

pub async fn update(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
    Form(form): Form<AlertTargetForm>,
) -> Result<Response, ErrorPage> {
    let language = context.language;
    let target = find(&app, &id).await?;
    let refuse = |errors: InvalidFields| {
        let page = edit_form(&context, &target, &form, &errors);
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    let terms = match form
        .input(target.terms.kind, &target.terms.zone, target.terms.language)
        .terms(Some(&target.terms))
    {
        Ok(terms) => terms,
        Err(errors) => return refuse(errors),
    };
    let mut tx = app.db.begin().await?;
    let act = Act::without_revision(context.actor(), context.now);
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    if !alert_targets::update(&mut tx, &data_keys, &target, &terms, &act).await? {
        return refuse(InvalidFields::from([("name", InvalidField::NameTaken)]));
    }
    tx.commit().await?;
    let notice = Notice::done(language.alert_target_saved(&terms.name));
    Ok(context.redirect_with(notice, PATH).await.into_response())
}

pub async fn enable(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    set_enabled(&app, &context, &id, true).await
}

pub async fn disable(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    set_enabled(&app, &context, &id, false).await
}

async fn set_enabled(
    app: &App,
    context: &PageContext,
    id: &str,
    enabled: bool,
) -> Result<Redirect, ErrorPage> {
    let AlertTarget { id, terms, .. } = find(app, id).await?;
    let mut tx = app.db.begin().await?;
    // An act with a revision can be undone.
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    alert_targets::update_enabled(&mut tx, id, enabled, &act).await?;
    tx.commit().await?;
    let text = if enabled {
        context.language.alert_target_enabled(&terms.name)
    } else {
        context.language.alert_target_disabled(&terms.name)
    };
    let notice = Notice::switched(text, &format!("/alerts/targets/{id}"), enabled);
    Ok(context.redirect_with(notice, PATH).await)
}

/// Sends a test message at once, and shows the result.
pub async fn test(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let (target, now, language) = (find(&app, &id).await?, context.now, context.language);
    let (terms, url) = (&target.terms, app.config.public_url.as_deref());
    let result = send_test(&app.db, &target, url, now).await?;
    let notice = match &result {
        Ok(()) => Notice::done(language.alert_test_sent(&terms.name)),
        Err(failed) => Notice::failed(language.alert_test_failed(&terms.name, &failed.error)),
    };
    Ok(context.redirect_with(notice, PATH).await)
}

/// The confirmation page for deleting a target.
pub async fn confirm_delete(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let target = find(&app, &id).await?;
    let language = context.language;
    let title = language.delete_alert_target_question(&target.terms.name);
    let (text, submit) = (
        language.delete_alert_target_text(),
        language.delete_alert_target(),
    );
    let form = confirm_form(&context, text, submit, PATH);
    Ok(layout::question(&context, Section::Alerts, &title, form))
}

pub async fn delete(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let target = find(&app, &id).await?;
    let mut tx = app.db.begin().await?;
    let act = Act::without_revision(context.actor(), context.now);
    alert_targets::delete(&mut tx, &target, &act).await?;
    tx.commit().await?;
    let notice = Notice::done(context.language.alert_target_deleted(&target.terms.name));
    Ok(context.redirect_with(notice, PATH).await)
}

async fn find(app: &App, id: &str) -> Result<AlertTarget, ErrorPage> {
    let missing = || Error::NotFound(Thing::AlertTarget, id.to_owned());
    let id = id.parse().map(AlertTargetId).map_err(|_| missing())?;
    Ok(alert_targets::find(&app.db, id).await?)
}

fn new_form(
    context: &PageContext,
    form: &AlertTargetForm,
    kind: AlertTargetKind,
    errors: &InvalidFields,
) -> Markup {
    let language = context.language;
    let kinds = AlertTargetKind::ALL.iter().copied().map(|choice| {
        let target = href(NEW, &[("kind", choice.name())]);
        (
            target,
            language.alert_target_kind_name(choice),
            choice == kind,
        )
    });
    let kinds: Vec<_> = kinds.collect();
    let submit = language.create_alert_target();
    let zone = context.zone.iana_name().unwrap_or("UTC");
    let fields = form.fields(language, kind, zone, true, errors);
    let tabs = tabs(language.alert_target_kind(), &kinds);
    let title = language.new_alert_target();
    form_page(context, title, tabs, "/alerts/targets", submit, fields)
}

fn edit_form(
    context: &PageContext,
    target: &AlertTarget,
    form: &AlertTargetForm,
    errors: &InvalidFields,
) -> Markup {
    let language = context.language;
    let title = language.edit_alert_target(&target.terms.name);
    let action = format!("/alerts/targets/{}/edit", target.id);
    let fields = form.fields(
        language,
        target.terms.kind,
        &target.terms.zone,
        false,
        errors,
    );
    let address = html! { p.muted { (language.alert_address()) (language.colon()) span.mono { (target.terms.shown_address()) } } };
    form_page(context, &title, address, &action, language.save(), fields)
}

fn form_page(
    context: &PageContext,
    title: &str,
    above: Markup,
    action: &str,
    submit: &str,
    fields: Markup,
) -> Markup {
    let body = html! {
        (heading(title, html! {}))
        (above)
        form.stacked method="post" action=(action) {
            (context.csrf_field())
            (fields)
            div.actions {
                button.primary type="submit" { (submit) }
                a.button href=(PATH) { (context.language.cancel()) }
            }
        }
    };
    layout::page(context, Section::Alerts, title, body)
}
