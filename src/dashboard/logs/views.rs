//! Saved views of the log: filters that an admin keeps under a name.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Redirect;
use axum_extra::extract::Form;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::clock;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::logs::query::LogQuery;
use crate::dashboard::page_context::{Notice, PageContext};
use crate::storage::log_views::{self, LogView, LogViewId};
use crate::storage::request_logs::id_range::LogPosition;

/// Maximum length of a name, in characters.
const MAX_NAME: usize = 60;

#[derive(Debug, Deserialize)]
pub struct ViewForm {
    #[serde(default)]
    name: String,
    /// The query of the list: of the new view, and to return to.
    #[serde(default)]
    back: String,
    /// Whether to delete the view instead of renaming it.
    delete: Option<String>,
}

impl ViewForm {
    /// Only a query of the list: a redirect to another site must be impossible.
    fn query(&self) -> LogQuery {
        let back = self.back.trim_start_matches('?');
        let pairs = Query::try_from_uri(&format!("/logs?{back}").parse().unwrap_or_default());
        let query = pairs.map(|Query(pairs)| LogQuery::from_pairs(pairs));
        query.unwrap_or_default().at(LogPosition::Newest)
    }

    fn name(&self) -> Option<&str> {
        let name = self.name.trim();
        (!name.is_empty() && name.chars().count() <= MAX_NAME).then_some(name)
    }
}

pub async fn create(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<ViewForm>,
) -> Result<Redirect, ErrorPage> {
    let (language, query) = (context.language, form.query());
    let target = query.href("/logs");
    let Some(name) = form.name() else {
        let notice = Notice::failed(language.view_needs_name(&MAX_NAME.to_string()));
        return Ok(context.redirect_with(notice, &target).await);
    };
    let saved = query.href("");
    let mut tx = app.db.begin().await?;
    let saved = saved.trim_start_matches('?');
    let has_room = log_views::save(&mut tx, context.admin.id, name, saved, clock::now()).await?;
    tx.commit().await?;
    let notice = if has_room {
        Notice::done(language.view_saved(name))
    } else {
        Notice::failed(language.views_are_full())
    };
    Ok(context.redirect_with(notice, &target).await)
}

/// Renames or deletes a view.
pub async fn update(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<i64>,
    Form(form): Form<ViewForm>,
) -> Result<Redirect, ErrorPage> {
    let (language, admin, id) = (context.language, context.admin.id, LogViewId(id));
    let mut tx = app.db.begin().await?;
    let notice = match (&form.delete, form.name()) {
        (Some(_), _) => {
            log_views::delete(&mut tx, admin, id).await?;
            Notice::done(language.view_deleted())
        }
        (None, Some(name)) if log_views::rename(&mut tx, admin, id, name).await? => {
            Notice::done(language.view_renamed(name))
        }
        (None, Some(_)) => Notice::failed(language.view_name_taken()),
        (None, None) => Notice::failed(language.view_needs_name(&MAX_NAME.to_string())),
    };
    tx.commit().await?;
    let target = form.query().href("/logs");
    Ok(context.redirect_with(notice, &target).await)
}

/// The link of each view, marked if the list shows it.
pub fn links(context: &PageContext, query: &LogQuery, views: &[LogView]) -> Markup {
    let current = query.at(LogPosition::Newest).href("/logs");
    html! {
        @if !views.is_empty() {
            nav.chips aria-label=(context.language.saved_views()) {
                span.muted.small { (context.language.saved_views()) }
                @for view in views {
                    @let target = href(view);
                    a.chip.view href=(target) aria-current=[(target == current).then_some("page")] { (view.name) }
                }
            }
        }
    }
}

fn href(view: &LogView) -> String {
    match view.query.as_str() {
        "" => "/logs".to_owned(),
        query => format!("/logs?{query}"),
    }
}

/// The forms that save the filters of the list as a view, and rename or delete views.
pub fn menu(context: &PageContext, query: &LogQuery, views: &[LogView]) -> Markup {
    let language = context.language;
    let back = query.at(LogPosition::Newest).href("");
    let back = html! { (context.csrf_field()) input type="hidden" name="back" value=(back); };
    html! {
        details.menu #views {
            summary.button { (language.saved_views()) }
            div.menu-body {
                form.view-form method="post" action="/logs/views" {
                    (back)
                    label for="view-name" { (language.save_view()) }
                    div.actions {
                        input #view-name name="name" required maxlength=(MAX_NAME) placeholder=(language.view_name()) autocomplete="off";
                        button.primary type="submit" { (language.save()) }
                    }
                }
                @for view in views {
                    form.view-form.actions method="post" action={ "/logs/views/" (view.id.0) } {
                        (back)
                        input name="name" value=(view.name) required maxlength=(MAX_NAME) aria-label=(language.name_of_view(&view.name)) autocomplete="off";
                        button.small type="submit" { (language.rename()) }
                        button.small.danger type="submit" name="delete" value="yes" aria-label=(language.delete_view(&view.name)) { (language.delete_now()) }
                    }
                }
                @if views.is_empty() { p.hint { (language.no_views()) } }
            }
        }
    }
}
