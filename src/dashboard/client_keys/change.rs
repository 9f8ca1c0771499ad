//! Making, changing and deleting client keys.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form;
use http::StatusCode;
use maud::{Markup, html};

use crate::app::App;
use crate::clock;
use crate::dashboard::client_keys::form::{TermsForm, Wrong};
use crate::dashboard::client_keys::{id_in, page_of};
use crate::dashboard::components::{card, copyable, empty_state};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Place, heading};
use crate::dashboard::snippets::snippets;
use crate::dashboard::visit::{Notice, Visit};
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::secret::Secret;
use crate::storage::audit::Act;
use crate::storage::client_keys::{self, ListedKey, NewClientKey};
use crate::storage::installation;

/// The empty form.
pub async fn new(visit: Visit) -> Markup {
    new_form(&visit, &TermsForm::default(), &Wrong::new())
}

/// Makes a key. Its secret waits in memory for the page that shows it, so that reloading makes no second one.
pub async fn create(
    State(app): State<Arc<App>>,
    visit: Visit,
    Form(form): Form<TermsForm>,
) -> Result<Response, ErrorPage> {
    let terms = match form.terms(&visit, None) {
        Ok(terms) => terms,
        Err(wrong) => {
            let page = new_form(&visit, &form, &wrong);
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let secret = Secret::generate(&mut rand::rng());
    let mut tx = app.db.begin().await?;
    let hash_key = installation::hash_key(&mut tx).await?;
    let act = Act::begin(&mut tx, &visit.actor(), visit.now).await?;
    let key = NewClientKey {
        name: &terms.name,
        note: &terms.note,
        secret: &secret,
        expires_at: terms.expires_at,
    };
    let made = client_keys::insert(&mut tx, &hash_key, &key, &act).await?;
    let id = made.expect("240 random bits were never a key before");
    client_keys::update(&mut tx, id, &terms, &act).await?;
    tx.commit().await?;
    app.one_time_secrets()
        .insert(id, visit.admin.id.0, secret, visit.now);
    app.reload(clock::now()).await?;
    Ok(Redirect::to(&format!("{}/created", page_of(id))).into_response())
}

/// The new key, this once.
pub async fn created(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let key = client_keys::find(&app.db.readers, id_in(&id)?).await?;
    let secret = app
        .one_time_secrets()
        .take(key.id, visit.admin.id.0, visit.now);
    let language = visit.language;
    let title = language.client_key_is_made(&key.name);
    let to_page = html! { a.button href=(page_of(key.id)) { (language.to_its_page()) } };
    let content = if let Some(secret) = &secret {
        html! {
            (heading(&title, to_page))
            (card(language.client_key_secret(), html! {
                div.secret { (copyable(language, "secret", secret.expose())) }
                p { strong { (language.copy_it_now()) } }
            }))
            (usage_card(&visit, secret.expose(), &key))
        }
    } else {
        let text = language.shown_already_text();
        html! {
            (heading(&title, html! {}))
            (empty_state(language.shown_already(), text, to_page))
        }
    };
    Ok(layout::page(&visit, Place::ClientKeys, &title, content))
}

/// How programs use a key.
pub fn usage_card(visit: &Visit, secret: &str, key: &ListedKey) -> Markup {
    let language = visit.language;
    card(
        language.use_it(),
        html! {
            p { (language.use_it_lead()) " " code { (visit.base_url) } }
            (snippets(language, &visit.base_url, secret, &key.models))
        },
    )
}

/// The form with what the key has.
pub async fn edit(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let id = id_in(&id)?;
    let terms = client_keys::find_terms(&mut app.db.readers.begin().await?, id).await?;
    let form = TermsForm::of(&terms, &visit.zone);
    Ok(edit_form(&visit, id, &terms.name, &form, &Wrong::new()))
}

pub async fn update(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
    Form(form): Form<TermsForm>,
) -> Result<Response, ErrorPage> {
    let id = id_in(&id)?;
    let mut tx = app.db.begin().await?;
    let before = client_keys::find_terms(&mut tx, id).await?;
    let terms = match form.terms(&visit, Some(&before)) {
        Ok(terms) => terms,
        Err(wrong) => {
            let page = edit_form(&visit, id, &before.name, &form, &wrong);
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let act = Act::begin(&mut tx, &visit.actor(), visit.now).await?;
    client_keys::update(&mut tx, id, &terms, &act).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let notice = Notice::done(visit.language.client_key_saved(&terms.name));
    visit.notify(notice).await;
    Ok(Redirect::to(&page_of(id)).into_response())
}

pub async fn enable(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    switch(&app, &visit, id_in(&id)?, true).await
}

pub async fn disable(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    switch(&app, &visit, id_in(&id)?, false).await
}

async fn switch(
    app: &App,
    visit: &Visit,
    id: ClientKeyId,
    enabled: bool,
) -> Result<Redirect, ErrorPage> {
    let key = client_keys::find(&app.db.readers, id).await?;
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &visit.actor(), visit.now).await?;
    client_keys::update_enabled(&mut tx, id, enabled, &act).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let (text, back) = if enabled {
        (visit.language.client_key_enabled(&key.name), "disable")
    } else {
        (visit.language.client_key_disabled(&key.name), "enable")
    };
    let back = format!("{}/{back}", page_of(id));
    visit.notify(Notice::done(text).with_undo(back)).await;
    Ok(Redirect::to(&page_of(id)))
}

/// Asks whether the key shall go.
pub async fn confirm_delete(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let key = client_keys::find(&app.db.readers, id_in(&id)?).await?;
    let language = visit.language;
    let title = language.delete_client_key_question(&key.name);
    let content = html! {
        (heading(&title, html! {}))
        form.card method="post" {
            (visit.csrf_field())
            p { (language.delete_client_key_text()) }
            div.actions {
                button.danger.primary type="submit" { (language.delete_client_key()) }
                a.button href=(page_of(key.id)) { (language.cancel()) }
            }
        }
    };
    Ok(layout::page(&visit, Place::ClientKeys, &title, content))
}

pub async fn delete(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let key = client_keys::find(&app.db.readers, id_in(&id)?).await?;
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &visit.actor(), visit.now).await?;
    client_keys::delete(&mut tx, key.id, &act).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let notice = Notice::done(visit.language.client_key_deleted(&key.name));
    visit.notify(notice).await;
    Ok(Redirect::to("/client-keys"))
}

fn new_form(visit: &Visit, form: &TermsForm, wrong: &Wrong) -> Markup {
    let language = visit.language;
    let (title, submit) = (language.new_client_key(), language.create_client_key());
    form_page(
        visit,
        title,
        "/client-keys",
        submit,
        form.fields(visit, wrong),
    )
}

fn edit_form(
    visit: &Visit,
    id: ClientKeyId,
    name: &str,
    form: &TermsForm,
    wrong: &Wrong,
) -> Markup {
    let language = visit.language;
    let title = language.edit_client_key(name);
    form_page(
        visit,
        &title,
        &page_of(id),
        language.save(),
        form.fields(visit, wrong),
    )
}

/// A form that is sent to the page it came from.
fn form_page(visit: &Visit, title: &str, page: &str, submit: &str, fields: Markup) -> Markup {
    let content = html! {
        (heading(title, html! {}))
        form.stacked method="post" action=(page) {
            (visit.csrf_field())
            (fields)
            div.actions {
                button.primary type="submit" { (submit) }
                a.button href=(page) { (visit.language.cancel()) }
            }
        }
    };
    layout::page(visit, Place::ClientKeys, title, content)
}
