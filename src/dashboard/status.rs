//! `/status`: can the pool serve now?

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use crate::app::App;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Place, heading};
use crate::dashboard::visit::Visit;

pub async fn show(State(app): State<Arc<App>>, visit: Visit) -> Result<Markup, ErrorPage> {
    let keys = app.keys.lock().len();
    let content = html! {
        (heading(visit.language.status(), html! {}))
        p { (keys) }
    };
    Ok(layout::page(
        &visit,
        Place::Status,
        visit.language.status(),
        content,
    ))
}
