//! `/logs/{id}/bodies`: the kept bodies of a request. Each view is in the audit log.

use std::sync::Arc;

use axum::extract::{Path, State};
use maud::{Markup, html};

use crate::app::App;
use crate::dashboard::components::{bytes, card};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::logs::body_text::ReadableBody;
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::pool::request_id::RequestId;
use crate::storage::error::Thing;
use crate::storage::request_bodies::{self, BodyForm, KeptBody};

/// A longer body is folded.
const MAX_OPEN_BYTES: usize = 20_000;

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let no_bodies = || Error::NotFound(Thing::RequestBodies, id.clone());
    let request_id: RequestId = id.parse().map_err(|_| no_bodies())?;
    let bodies = request_bodies::find(&app.db, request_id).await?;
    let bodies = bodies.ok_or_else(no_bodies)?;
    // Before they are shown: a view that cannot be recorded is refused.
    request_bodies::record_view(&app.db, &context.actor(), context.now, request_id).await?;
    let language = context.language;
    let body = html! {
        nav.crumbs { a href={ "/logs/" (request_id) } { "← " (language.back_to_request()) } }
        (heading(language.kept_bodies(), html! {}))
        p.muted { (language.bodies_view_is_recorded()) }
        (card(language.the_request(), view(language, &bodies.request)))
        (card(language.the_answer(), view(language, &bodies.answer)))
    };
    Ok(layout::page(
        &context,
        Section::Logs,
        language.kept_bodies(),
        body,
    ))
}

/// The card on the page of a request, which leads to its bodies.
pub fn link(language: Language, id: RequestId) -> Markup {
    let content = html! {
        p { (language.bodies_are_kept()) }
        p { a.button href={ "/logs/" (id) "/bodies" } { (language.view_bodies()) } }
    };
    card(language.kept_bodies(), content)
}

fn view(language: Language, body: &KeptBody) -> Markup {
    let note = match body.form {
        BodyForm::Whole if body.bytes == 0 => Some(language.body_is_empty()),
        BodyForm::Whole => None,
        BodyForm::Cut => Some(language.body_is_cut()),
        BodyForm::Binary => Some(language.body_is_binary()),
        BodyForm::Encoded => Some(language.body_is_encoded()),
    };
    let text = body.text();
    html! {
        p.muted {
            @if let Some(content_type) = &body.content_type { span.mono { (content_type) } " · " }
            (bytes(body.bytes))
            @if let Some(note) = note { " · " (note) }
        }
        @match text {
            Ok(Some(text)) => { (readable(language, &ReadableBody::read(&text))) }
            Ok(None) => {}
            Err(_) => { p { (language.body_is_damaged()) } }
        }
    }
}

/// A body with its text, its pictures and what was sent.
pub fn readable(language: Language, body: &ReadableBody) -> Markup {
    let label = if body.is_stream {
        language.body_events()
    } else {
        language.body_content()
    };
    html! {
        @for answer in &body.answers { (folded(language.body_text(), answer)) }
        @if !body.pictures.is_empty() {
            div.thumbnails {
                @for picture in &body.pictures {
                    @let name = format!("{}, {}", picture.media_type, bytes(picture.bytes));
                    img src={ "data:" (picture.media_type) ";base64," (picture.base64) } alt=(name) title=(name);
                }
            }
        }
        (folded(label, &body.text))
    }
}

/// A body, open unless it is long: the admin has asked for it.
fn folded(label: &str, text: &str) -> Markup {
    html! {
        details.body open[text.len() <= MAX_OPEN_BYTES] {
            summary { (label) }
            pre.body-text tabindex="0" { (text) }
        }
    }
}
