//! `/upstream-keys/deleted`: keys that were deleted, and can be restored as long as their secrets are kept.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Redirect;
use axum_extra::extract::Form;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::dashboard::bulk::{heading_cell, select_page};
use crate::dashboard::components::{ago, empty_state, href, until};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::upstream_keys::bulk::start_job;
use crate::dashboard::upstream_keys::list::{DELETED, PATH};
use crate::jobs::JobWork;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::storage::upstream_keys::change::KeyChange;
use crate::storage::upstream_keys::removal::{self, RemovedKey, SECRET_KEPT};

/// Keys on the page.
const MAX_KEYS: u32 = 500;

/// The keys to restore.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RestoreForm {
    id: Vec<i64>,
}

pub async fn show(State(app): State<Arc<App>>, context: PageContext) -> Result<Markup, ErrorPage> {
    let keys = removal::list_restorable(&app.db.readers, MAX_KEYS).await?;
    let language = context.language;
    let body = html! {
        nav.crumbs { a href=(PATH) { "← " (language.upstream_keys()) } }
        (heading(language.deleted_keys(), html! {}))
        @if keys.is_empty() {
            (empty_state(language.no_deleted_keys(), language.deleted_keys_text(), html! { a.button href=(PATH) { (language.upstream_keys()) } }))
        } @else {
            p.muted { (language.deleted_keys_text()) }
            (table(&context, &keys))
        }
    };
    Ok(layout::page(
        &context,
        Section::UpstreamKeys,
        language.deleted_keys(),
        body,
    ))
}

/// Restores keys.
pub async fn restore(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<RestoreForm>,
) -> Redirect {
    let ids: Vec<_> = form.id.into_iter().map(UpstreamKeyId).collect();
    let back = match ids.as_slice() {
        [] => {
            let notice = Notice::failed(context.language.no_keys_selected());
            return context.redirect_with(notice, DELETED).await;
        }
        [id] => format!("{PATH}/{}", id.0),
        _ => PATH.to_owned(),
    };
    let work = JobWork::Change(ids, KeyChange::Restore);
    start_job(&app, &context, work, &back).await
}

fn table(context: &PageContext, keys: &[RemovedKey]) -> Markup {
    let language = context.language;
    html! {
        form method="post" action=(DELETED) {
            (context.csrf_field())
            (select_page(language))
            div.table { table.stack {
                thead { tr {
                    (heading_cell(language))
                    th { (language.label()) } th { (language.deleted_at()) } th { (language.secret_erased()) }
                } }
                tbody { @for key in keys { tr {
                    td { input type="checkbox" name="id" value=(key.id.0) data-select aria-label=(language.select_key(&key.label)); }
                    th scope="row" { a href={ (PATH) "/" (key.id.0) } { (key.label) } " " span.mono.muted { "…" (key.last4) } }
                    td data-label=(language.deleted_at()) { (ago(context, key.removed_at, context.now)) }
                    td data-label=(language.secret_erased()) { (until(context, key.removed_at + SECRET_KEPT, context.now)) }
                } } }
            } }
            div.actions { button.primary type="submit" { (language.restore_selected()) } }
        }
    }
}

/// The page of a key that was deleted.
pub fn tombstone(context: &PageContext, key: &RemovedKey) -> Markup {
    let language = context.language;
    let id = key.id.0.to_string();
    let body = html! {
        nav.crumbs { a href=(PATH) { "← " (language.upstream_keys()) } }
        (heading(&key.label, html! {}))
        section.card {
            p { span.mono { "…" (key.last4) } " · " (language.deleted_at()) " " (ago(context, key.removed_at, context.now)) }
            @if key.is_restorable {
                p { (language.restorable_until()) " " (until(context, key.removed_at + SECRET_KEPT, context.now)) }
            } @else {
                p { (language.not_restorable()) }
            }
            div.actions {
                @if key.is_restorable {
                    form method="post" action=(DELETED) {
                        (context.csrf_field())
                        input type="hidden" name="id" value=(id);
                        button.primary type="submit" { (language.restore_key()) }
                    }
                }
                a.button href=(href("/logs", &[("key", &id)])) { (language.requests_of_key()) }
            }
        }
    };
    layout::page(context, Section::UpstreamKeys, &key.label, body)
}
