//! Gives a client key a new secret, beside which the old one stays valid for a time.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Redirect;
use axum_extra::extract::Form;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::clock;
use crate::dashboard::client_keys::change::show_once;
use crate::dashboard::client_keys::key_labels::{page_of, parse_id};
use crate::dashboard::components::{Tone, ago, exact, field, mark, select, until};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::clients::one_time_secrets::SecretOwner;
use crate::pool::secret::Secret;
use crate::storage::audit::Act;
use crate::storage::client_keys::rotation::{self, OldSecret};
use crate::storage::client_keys::{self, ListedClientKey};
use crate::storage::installation;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const WEEK: Duration = Duration::from_hours(7 * 24);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RotationForm {
    keep_old: KeptFor,
}

/// How long the old secret stays valid.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeptFor {
    Not,
    Hour,
    #[default]
    Day,
    Week,
}

impl KeptFor {
    fn duration(self) -> Duration {
        match self {
            Self::Not => Duration::ZERO,
            Self::Hour => HOUR,
            Self::Day => DAY,
            Self::Week => WEEK,
        }
    }
}

/// The form that asks how long the old secret stays valid.
pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let key = client_keys::find(&app.db.readers, parse_id(&id)?).await?;
    let language = context.language;
    let title = language.rotate_client_key_title(&key.name);
    let choices = [
        ("not", language.keep_old_not()),
        ("hour", language.keep_old_hour()),
        ("day", language.keep_old_day()),
        ("week", language.keep_old_week()),
    ];
    let choice = select("keep_old", "keep_old", "day", &choices);
    let body = html! {
        (heading(&title, html! {}))
        form.card.narrow method="post" {
            (context.csrf_field())
            p { (language.rotate_client_key_text()) }
            (field("keep_old", language.keep_old_secret(), None, None, choice))
            div.actions {
                button.primary type="submit" { (language.make_new_secret()) }
                a.button href=(page_of(key.id)) { (language.cancel()) }
            }
        }
    };
    Ok(layout::page(&context, Section::ClientKeys, &title, body))
}

/// Makes the new secret. It stays in memory for the next page, so that a reload makes no other.
pub async fn create(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
    Form(form): Form<RotationForm>,
) -> Result<Redirect, ErrorPage> {
    let id = parse_id(&id)?;
    let secret = Secret::generate(&mut rand::rng());
    let keep_until = context.now + form.keep_old.duration();
    let mut tx = app.db.begin().await?;
    let keys = installation::keys(&mut tx, &app.db.data_keys).await?;
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    rotation::rotate(&mut tx, &keys.hash_key, id, &secret, keep_until, &act).await?;
    tx.commit().await?;
    let (owner, admin_id) = (SecretOwner::ClientKey(id), context.admin.id.0);
    app.one_time_secrets
        .lock()
        .insert(owner, admin_id, secret, context.now);
    app.old_secret_uses.lock().remove(&id);
    app.reload(clock::now()).await?;
    Ok(Redirect::to(&format!("{}/rotated", page_of(id))))
}

/// Shows the new secret once.
pub async fn created(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let key = client_keys::find(&app.db.readers, parse_id(&id)?).await?;
    let title = context.language.client_key_is_rotated(&key.name);
    Ok(show_once(&app, &context, &key, &title))
}

/// Ends the old secret.
pub async fn end(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let key = client_keys::find(&app.db.readers, parse_id(&id)?).await?;
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    rotation::end(&mut tx, key.id, &key.name, &act).await?;
    tx.commit().await?;
    app.reload(clock::now()).await?;
    let notice = Notice::done(context.language.old_secret_ended(&key.name));
    Ok(context.redirect_with(notice, &page_of(key.id)).await)
}

/// The valid old secret of a key, with its last use.
pub async fn old_secret(
    app: &App,
    context: &PageContext,
    id: ClientKeyId,
) -> Result<Option<OldSecret>, ErrorPage> {
    let old = rotation::find(&app.db.readers, id, context.now).await?;
    let used = app.old_secret_uses.lock().get(&id).copied();
    Ok(old.map(|old| OldSecret {
        last_used_at: used.max(old.last_used_at),
        ..old
    }))
}

/// Until when the old secret is valid, and whether it is still used.
pub fn old_secret_notice(context: &PageContext, key: &ListedClientKey, old: &OldSecret) -> Markup {
    let language = context.language;
    html! {
        div.notice.warning {
            (mark(Tone::Wait))
            p {
                (language.old_secret_valid(&old.last4)) " " (until(context, old.valid_until, context.now))
                " (" (exact(&context.zone, old.valid_until)) "). "
                (language.old_secret_last_used()) ": "
                @match old.last_used_at {
                    Some(at) => (ago(context, at, context.now)),
                    None => (language.old_secret_unused()),
                }
            }
            form method="post" action={ (page_of(key.id)) "/old-secret/end" } {
                (context.csrf_field())
                button type="submit" { (language.end_old_secret()) }
            }
        }
    }
}
