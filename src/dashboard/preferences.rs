//! Language and theme, stored in cookies so that they apply to the sign-in page too.

use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, SameSite};
use axum_extra::extract::{CookieJar, Form};
use serde::Deserialize;

use crate::dashboard::page_context::{LANGUAGE_COOKIE, THEME_COOKIE, Theme};
use crate::dashboard::sign_in::local_path;
use crate::dashboard::translations::Language;

/// The submitted choices; an absent field stays unchanged.
#[derive(Debug, Deserialize)]
pub struct Preferences {
    language: Option<String>,
    theme: Option<String>,
    #[serde(default)]
    back: String,
}

/// Stores the choices in cookies and returns to the page.
pub async fn update(jar: CookieJar, Form(form): Form<Preferences>) -> Response {
    let keep = |name: &'static str, value: &'static str| {
        Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .permanent()
    };
    let mut jar = jar;
    if let Some(language) = form.language.as_deref().and_then(Language::of_tag) {
        jar = jar.add(keep(LANGUAGE_COOKIE, language.tag()));
    }
    match form.theme.and_then(|name| name.parse().ok()) {
        Some(Theme::System) => jar = jar.remove(Cookie::build(THEME_COOKIE).path("/")),
        Some(theme) => jar = jar.add(keep(THEME_COOKIE, theme.name())),
        None => {}
    }
    (jar, Redirect::to(local_path(&form.back))).into_response()
}
