//! Creating, changing and deleting client keys.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form;
use http::StatusCode;
use maud::{Markup, html};

use crate::app::App;
use crate::clock;
use crate::dashboard::client_keys::form::{ClientKeyForm, FieldErrors};
use crate::dashboard::client_keys::key_labels::{page_of, parse_id};
use crate::dashboard::client_keys::list::PATH;
use crate::dashboard::components::{card, confirm_form, copyable, empty_state, href};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::snippets::snippets;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::clients::one_time_secrets::SecretOwner;
use crate::pool::secret::Secret;
use crate::storage::audit::Act;
use crate::storage::client_keys::{self, ListedClientKey, creation};
use crate::storage::{installation, undo};

/// The form for a new client key.
pub async fn new(context: PageContext) -> Markup {
    new_form(&context, &ClientKeyForm::default(), &FieldErrors::new())
}

/// Creates a key. Its secret stays in memory for the next page, so that a reload creates no second key.
pub async fn create(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<ClientKeyForm>,
) -> Result<Response, ErrorPage> {
    let mut tx = app.db.begin().await?;
    let mut terms = form.terms(&context, None);
    if let Ok(given) = &terms
        && creation::is_name_taken(&mut *tx, &given.name, None).await?
    {
        terms = Err(name_taken(&context));
    }
    let terms = match terms {
        Ok(terms) => terms,
        Err(errors) => {
            let page = new_form(&context, &form, &errors);
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let secret = Secret::generate(&mut rand::rng());
    let keys = installation::keys(&mut tx, &app.db.data_keys).await?;
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    let created = creation::create(&mut tx, &keys.hash_key, &secret, &terms, &act).await?;
    let id = created.expect("240 random bits are unique");
    tx.commit().await?;
    let admin_id = context.admin.id.0;
    app.one_time_secrets
        .lock()
        .insert(SecretOwner::ClientKey(id), admin_id, secret, context.now);
    app.reload(clock::now()).await?;
    Ok(Redirect::to(&format!("{}/created", page_of(id))).into_response())
}

/// Shows the secret of a new key once.
pub async fn created(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let key = client_keys::find(&app.db.readers, parse_id(&id)?).await?;
    let title = context.language.client_key_is_made(&key.name);
    Ok(show_once(&app, &context, &key, &title))
}

/// The page with a secret, which is shown once.
pub fn show_once(app: &App, context: &PageContext, key: &ListedClientKey, title: &str) -> Markup {
    let mut secrets = app.one_time_secrets.lock();
    let owner = SecretOwner::ClientKey(key.id);
    let secret = secrets.take(owner, context.admin.id.0, context.now);
    drop(secrets);
    let language = context.language;
    let to_page = html! {
        a.button href=(href("/try", &[("client", &key.id.0.to_string())])) { (language.try_it()) }
        a.button href=(page_of(key.id)) { (language.to_its_page()) }
    };
    let body = if let Some(secret) = &secret {
        html! {
            (heading(title, to_page))
            (card(language.client_key_secret(), html! {
                div.secret { (copyable(language, "secret", secret.expose())) }
                p { strong { (language.copy_it_now()) } }
            }))
            (usage_card(context, secret.expose(), key))
        }
    } else {
        let text = language.already_shown_text();
        html! {
            (heading(title, html! {}))
            (empty_state(language.already_shown(), text, to_page))
        }
    };
    layout::page(context, Section::ClientKeys, title, body)
}

/// Instructions for using the key in programs.
pub fn usage_card(context: &PageContext, secret: &str, key: &ListedClientKey) -> Markup {
    let (language, base_url) = (context.language, &context.base_url);
    let usage = html! {
        p { (language.use_it_lead()) " " code { (base_url) } }
        (snippets(language, base_url, secret, &key.models))
    };
    card(language.use_it(), usage)
}

/// The form with the current values of the key.
pub async fn edit(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let id = parse_id(&id)?;
    let terms = client_keys::find_terms(&mut app.db.readers.begin().await?, id).await?;
    let form = ClientKeyForm::of(&terms, &context.zone);
    let errors = FieldErrors::new();
    Ok(edit_form(&context, id, &terms.name, &form, &errors))
}

pub async fn update(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
    Form(form): Form<ClientKeyForm>,
) -> Result<Response, ErrorPage> {
    let id = parse_id(&id)?;
    let mut tx = app.db.begin().await?;
    let before = client_keys::find_terms(&mut tx, id).await?;
    let mut terms = form.terms(&context, Some(&before));
    if let Ok(given) = &terms
        && given.name != before.name
        && creation::is_name_taken(&mut *tx, &given.name, Some(id)).await?
    {
        terms = Err(name_taken(&context));
    }
    let terms = match terms {
        Ok(terms) => terms,
        Err(errors) => {
            let page = edit_form(&context, id, &before.name, &form, &errors);
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    client_keys::update(&mut tx, id, &terms, &act).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let notice = Notice::done(context.language.client_key_saved(&terms.name));
    let redirect = context.redirect_with(notice, &page_of(id)).await;
    Ok(redirect.into_response())
}

pub async fn enable(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    set_enabled(&app, &context, parse_id(&id)?, true).await
}

pub async fn disable(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    set_enabled(&app, &context, parse_id(&id)?, false).await
}

async fn set_enabled(
    app: &App,
    context: &PageContext,
    id: ClientKeyId,
    enabled: bool,
) -> Result<Redirect, ErrorPage> {
    let key = client_keys::find(&app.db.readers, id).await?;
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    client_keys::update_enabled(&mut tx, id, enabled, &act).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let text = if enabled {
        context.language.client_key_enabled(&key.name)
    } else {
        context.language.client_key_disabled(&key.name)
    };
    let page = page_of(id);
    let notice = Notice::switched(text, &page, enabled);
    Ok(context.redirect_with(notice, &page).await)
}

/// The confirmation page for deleting a key.
pub async fn confirm_delete(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let key = client_keys::find(&app.db.readers, parse_id(&id)?).await?;
    let language = context.language;
    let title = language.delete_client_key_question(&key.name);
    let (text, submit) = (
        language.delete_client_key_text(),
        language.delete_client_key(),
    );
    let form = confirm_form(&context, text, submit, &page_of(key.id));
    Ok(layout::question(
        &context,
        Section::ClientKeys,
        &title,
        form,
    ))
}

pub async fn delete(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let key = client_keys::find(&app.db.readers, parse_id(&id)?).await?;
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    client_keys::delete(&mut tx, key.id, &act).await?;
    let revisions = (act.revision, act.revision);
    let undoable = undo::list_of_revisions(&mut *tx, context.now, revisions).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let notice = Notice::done(context.language.client_key_deleted(&key.name));
    let notice = match undoable.first() {
        Some(act) => {
            let undo = format!("/audit/{}/undo", act.id);
            notice.with_undo(href(&undo, &[("back", PATH)]))
        }
        None => notice,
    };
    Ok(context.redirect_with(notice, PATH).await)
}

/// Two keys of one name could not be told apart by the filters of the log.
fn name_taken(context: &PageContext) -> FieldErrors {
    FieldErrors::from([("name", context.language.name_is_taken().to_owned())])
}

fn new_form(context: &PageContext, form: &ClientKeyForm, errors: &FieldErrors) -> Markup {
    let language = context.language;
    let (title, submit) = (language.new_client_key(), language.create_client_key());
    let fields = form.fields(context, errors);
    form_page(context, title, PATH, submit, fields)
}

fn edit_form(
    context: &PageContext,
    id: ClientKeyId,
    name: &str,
    form: &ClientKeyForm,
    errors: &FieldErrors,
) -> Markup {
    let language = context.language;
    let (title, submit) = (language.edit_client_key(name), language.save());
    let fields = form.fields(context, errors);
    form_page(context, &title, &page_of(id), submit, fields)
}

/// A form that is submitted to the URL of its own page.
fn form_page(
    context: &PageContext,
    title: &str,
    page: &str,
    submit: &str,
    fields: Markup,
) -> Markup {
    let body = html! {
        (heading(title, html! {}))
        form.stacked method="post" action=(page) {
            (context.csrf_field())
            (fields)
            div.actions {
                button.primary type="submit" { (submit) }
                a.button href=(page) { (context.language.cancel()) }
            }
        }
    };
    layout::page(context, Section::ClientKeys, title, body)
}
