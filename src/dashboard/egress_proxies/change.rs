//! Adding, changing, testing and deleting egress proxies.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form;
use http::StatusCode;
use maud::{Markup, html};

use crate::app::App;
use crate::dashboard::components::{confirm_form, duration_ms};
use crate::dashboard::egress_proxies::form::{EgressProxyForm, FieldErrors};
use crate::dashboard::egress_proxies::{PATH, serves};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::egress_list::{self, EgressTest};
use crate::error::Error;
use crate::pool::egress::address::ProxyAddress;
use crate::pool::egress::proxy::{EgressProxy, EgressProxyId};
use crate::storage::audit::Act;
use crate::storage::egress_proxies;
use crate::storage::egress_proxies::listed::ListedEgressProxy;
use crate::storage::error::Thing;

/// The form for a new proxy.
pub async fn new(context: PageContext) -> Markup {
    new_form(&context, &EgressProxyForm::default(), &FieldErrors::new())
}

/// Tests a proxy and adds it, disabled if the test fails.
pub async fn create(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<EgressProxyForm>,
) -> Result<Response, ErrorPage> {
    let language = context.language;
    let refuse = |errors: FieldErrors| {
        let page = new_form(&context, &form, &errors);
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    let mut tx = app.db.begin().await?;
    let terms = form.terms(&mut tx, language, None).await?;
    // Not held while the proxy is tested.
    tx.rollback().await?;
    let terms = match terms {
        Ok(terms) => terms,
        Err(errors) => return refuse(errors),
    };
    let tested = test_address(&app, &terms.address).await;
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    let Some(id) = egress_proxies::insert(&mut tx, &data_keys, &terms, &act).await? else {
        let taken = language.egress_label_taken().to_owned();
        return refuse(FieldErrors::from([("label", taken)]));
    };
    if !tested.ok {
        egress_proxies::update_enabled(&mut tx, id, false, &act).await?;
    }
    tx.commit().await?;
    app.reload(context.now).await?;
    let label = &terms.label;
    let notice = match &tested.error {
        None => {
            app.end_egress_probe(id);
            Notice::done(language.egress_added(label, &time(&context, &tested)))
        }
        Some(error) => Notice::failed(language.egress_added_disabled(label, error)),
    };
    Ok(context.redirect_with(notice, PATH).await.into_response())
}

/// The form with the current terms of a proxy, but for its address.
pub async fn edit(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let proxy = find(&app, &context, &id).await?;
    let form = EgressProxyForm::of(&proxy);
    Ok(edit_form(&context, &proxy, &form, &FieldErrors::new()))
}

/// Saves a proxy and tests it.
pub async fn update(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
    Form(form): Form<EgressProxyForm>,
) -> Result<Response, ErrorPage> {
    let language = context.language;
    let listed = find(&app, &context, &id).await?;
    let refuse = |errors: FieldErrors| {
        let page = edit_form(&context, &listed, &form, &errors);
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    let mut tx = app.db.begin().await?;
    let data_keys = app.db.data_keys.load(&mut tx).await?;
    let before = egress_proxies::find_in(&mut tx, &data_keys, listed.id)
        .await?
        .proxy;
    let terms = match form.terms(&mut tx, language, Some(&before)).await? {
        Ok(terms) => terms,
        Err(errors) => return refuse(errors),
    };
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    if !egress_proxies::update(&mut tx, &data_keys, &before, &terms, &act).await? {
        let taken = language.egress_label_taken().to_owned();
        return refuse(FieldErrors::from([("label", taken)]));
    }
    tx.commit().await?;
    app.reload(context.now).await?;
    let tested = test_address(&app, &terms.address).await;
    let label = &terms.label;
    let notice = match &tested.error {
        None => {
            app.end_egress_probe(listed.id);
            Notice::done(language.egress_saved(label, &time(&context, &tested)))
        }
        Some(error) => Notice::failed(language.egress_saved_failing(label, error)),
    };
    Ok(context.redirect_with(notice, PATH).await.into_response())
}

/// Sends a request without a key through a proxy, and shows how long its answer took or why none came.
pub async fn test(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let proxy = find_stored(&app, &id).await?;
    let tested = test_address(&app, &proxy.address).await;
    let (language, time) = (context.language, time(&context, &tested));
    let notice = match &tested.error {
        None => {
            app.end_egress_probe(proxy.id);
            Notice::done(language.egress_answered(&proxy.label, &time))
        }
        Some(error) => Notice::failed(language.egress_failed(&proxy.label, &time, error)),
    };
    Ok(context.redirect_with(notice, PATH).await)
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
    let EgressProxy { id, label, .. } = find_stored(app, id).await?;
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    egress_proxies::update_enabled(&mut tx, id, enabled, &act).await?;
    tx.commit().await?;
    app.reload(context.now).await?;
    let text = if enabled {
        context.language.egress_enabled(&label)
    } else {
        context.language.egress_disabled(&label)
    };
    let notice = Notice::switched(text, &format!("{PATH}/{id}"), enabled);
    Ok(context.redirect_with(notice, PATH).await)
}

/// Has a proxy used again.
pub async fn clear(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let proxy = find_stored(&app, &id).await?;
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    egress_proxies::clear_state(&mut tx, &proxy, &act).await?;
    tx.commit().await?;
    app.reload(context.now).await?;
    let notice = Notice::done(context.language.egress_cleared(&proxy.label));
    Ok(context.redirect_with(notice, PATH).await)
}

/// The confirmation page, which names how many projects the proxy serves.
pub async fn confirm_remove(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let proxy = find(&app, &context, &id).await?;
    let language = context.language;
    let title = language.delete_egress_question(&proxy.label);
    let text = match proxy.serves_projects {
        None | Some(0) => language.delete_unused_egress_text().to_owned(),
        Some(_) => language.delete_egress_text(&serves(language, &proxy)),
    };
    let form = confirm_form(&context, &text, language.delete_egress(), PATH);
    Ok(layout::question(
        &context,
        Section::EgressProxies,
        &title,
        form,
    ))
}

pub async fn remove(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let proxy = find_stored(&app, &id).await?;
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    egress_proxies::delete(&mut tx, &proxy, &act).await?;
    tx.commit().await?;
    app.reload(context.now).await?;
    let notice = Notice::done(context.language.egress_deleted(&proxy.label));
    Ok(context.redirect_with(notice, PATH).await)
}

async fn test_address(app: &App, address: &ProxyAddress) -> EgressTest {
    egress_list::test(&app.gemini, &app.settings(), &app.redactor(), address).await
}

fn time(context: &PageContext, tested: &EgressTest) -> String {
    duration_ms(context.language, tested.duration_ms)
}

async fn find(app: &App, context: &PageContext, id: &str) -> Result<ListedEgressProxy, ErrorPage> {
    let id = parse(id)?;
    Ok(egress_list::find(&app.db.readers, &app.keys, id, context.now).await?)
}

async fn find_stored(app: &App, id: &str) -> Result<EgressProxy, ErrorPage> {
    let id = parse(id)?;
    Ok(egress_proxies::find(&app.db, id).await?.proxy)
}

fn parse(id: &str) -> Result<EgressProxyId, Error> {
    let missing = || Error::NotFound(Thing::EgressProxy, id.to_owned());
    id.parse().map(EgressProxyId).map_err(|_| missing())
}

fn new_form(context: &PageContext, form: &EgressProxyForm, errors: &FieldErrors) -> Markup {
    let language = context.language;
    let fields = form.fields(language, None, errors);
    let title = language.new_egress();
    page(context, title, PATH, fields, language.add_egress())
}

fn edit_form(
    context: &PageContext,
    proxy: &ListedEgressProxy,
    form: &EgressProxyForm,
    errors: &FieldErrors,
) -> Markup {
    let language = context.language;
    let fields = form.fields(language, Some(&proxy.url), errors);
    let action = format!("{PATH}/{}/edit", proxy.id);
    let title = language.edit_egress(&proxy.label);
    page(context, &title, &action, fields, language.save_egress())
}

fn page(context: &PageContext, title: &str, action: &str, fields: Markup, submit: &str) -> Markup {
    let body = html! {
        (heading(title, html! {}))
        form.card method="post" action=(action) {
            (context.csrf_field())
            (fields)
            div.actions {
                button.primary type="submit" { (submit) }
                a.button href=(PATH) { (context.language.cancel()) }
            }
        }
    };
    layout::page(context, Section::EgressProxies, title, body)
}
