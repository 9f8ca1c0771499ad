//! An `Error` as a page, painted in the visitor's language once the handler has failed.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use crate::dashboard::layout::{self, Place};
use crate::dashboard::texts::Language;
use crate::dashboard::visit::{Viewer, Visit};
use crate::error::Error;

/// Why a handler of a page fails. It travels as an extension of the response to [`paint`].
#[derive(Debug, Clone)]
pub struct ErrorPage(Arc<Error>);

impl<E: Into<Error>> From<E> for ErrorPage {
    fn from(error: E) -> Self {
        Self(Arc::new(error.into()))
    }
}

impl IntoResponse for ErrorPage {
    fn into_response(self) -> Response {
        let mut response = self.0.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Puts the page of an error in the place of a response that carries one.
pub fn paint(response: Response, viewer: &Viewer, visit: Option<&Visit>) -> Response {
    let Some(ErrorPage(error)) = response.extensions().get() else {
        return response;
    };
    if let Error::Storage(error) = error.as_ref() {
        tracing::error!(
            path = viewer.uri.path(),
            "a page could not be made: {error}"
        );
    }
    let (title, text) = words(viewer.language, error);
    let content = html! {
        div.empty {
            h2 { (title) }
            p { (text) }
            @if visit.is_some() {
                p { a.button href="/status" { (viewer.language.to_status()) } }
            }
        }
    };
    let heading = viewer.language.error_title(error.status().as_u16());
    let page = match visit {
        Some(visit) => layout::page(visit, Place::Nowhere, &heading, content),
        None => layout::bare(viewer, &heading, content),
    };
    let retry =
        (error.status() == http::StatusCode::SERVICE_UNAVAILABLE).then_some([("retry-after", "2")]);
    (
        error.status(),
        retry.map(axum::response::AppendHeaders),
        page,
    )
        .into_response()
}

/// What happened, and what to do about it.
fn words(language: Language, error: &Error) -> (&'static str, Markup) {
    match error {
        Error::NotFound(what) => (
            language.not_found_title(),
            html! { (language.not_found_text(what)) },
        ),
        Error::Invalid(why) => (language.invalid_title(), html! { (why) }),
        Error::Forged => (language.forged_title(), html! { (language.forged_text()) }),
        Error::TooLarge => (
            language.too_large_title(),
            html! { (language.too_large_text()) },
        ),
        Error::WrongMethod => (
            language.invalid_title(),
            html! { (language.wrong_method_text()) },
        ),
        Error::Storage(error) if error.is_passing() => {
            (language.busy_title(), html! { (language.busy_text()) })
        }
        Error::Storage(_) => (language.broken_title(), html! { (language.broken_text()) }),
    }
}
