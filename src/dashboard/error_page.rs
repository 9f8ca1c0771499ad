//! Error pages, rendered in the browser's language after a handler has failed.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use crate::dashboard::layout::{self, Section};
use crate::dashboard::page_context::{BrowserContext, PageContext};
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::storage::error::Thing;

/// The error of a page handler, passed to [`render`] as a response extension.
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

/// Replaces a response that carries an error with the error page.
pub fn render(
    response: Response,
    browser: &BrowserContext,
    context: Option<&PageContext>,
) -> Response {
    let Some(ErrorPage(error)) = response.extensions().get() else {
        return response;
    };
    if let Error::Storage(error) = error.as_ref() {
        tracing::error!(
            path = browser.uri.path(),
            "a page could not be rendered: {error}"
        );
    }
    let (title, text) = title_and_text(browser.language, error);
    let body = html! {
        div.empty {
            // A public page has its heading above.
            @if context.is_some() { h1 { (title) } } @else { h2 { (title) } }
            p { (text) }
            @if context.is_some() {
                p { a.button href="/status" { (browser.language.to_status()) } }
            }
        }
    };
    let heading = browser.language.error_title(error.status().as_u16());
    let page = match context {
        Some(context) => layout::page(context, Section::None, &heading, body),
        None => layout::public_page(browser, &heading, body),
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

/// The title and the explanation of an error.
fn title_and_text(language: Language, error: &Error) -> (&'static str, Markup) {
    match error {
        Error::NotFound(thing, name) => (
            language.not_found_title(),
            html! {
                @match thing {
                    Thing::Page => { (language.no_such_page(name)) }
                    Thing::Import => { (language.import_expired()) }
                    thing => { (language.not_found_text(language.thing(*thing), name)) }
                }
            },
        ),
        Error::Invalid(why) => (language.invalid_title(), html! { (why) }),
        Error::InvalidCsrfToken => (language.forged_title(), html! { (language.forged_text()) }),
        Error::TooLarge => (
            language.too_large_title(),
            html! { (language.too_large_text()) },
        ),
        Error::TooSlow => (
            language.too_slow_title(),
            html! { (language.too_slow_text()) },
        ),
        Error::WrongMethod => (
            language.invalid_title(),
            html! { (language.wrong_method_text()) },
        ),
        Error::Storage(error) if error.is_transient() => {
            (language.busy_title(), html! { (language.busy_text()) })
        }
        Error::Storage(_) => (language.broken_title(), html! { (language.broken_text()) }),
    }
}
