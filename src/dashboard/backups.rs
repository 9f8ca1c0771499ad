//! `/backups`: create, download and delete backups of the database.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form;
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::backup_download;
use crate::clock;
use crate::dashboard::components::{
    Tone, ago, badge, bytes, card, confirm_form, empty_state, field, moment, number, until,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::live::{LiveUpdates, SentParts, stream_updates};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::sign_in::check_password;
use crate::dashboard::translations::Language;
use crate::pool::backup_schedule::BackupSchedule;
use crate::storage::backup::BackupStep;
use crate::storage::backups::{self, Backup, BackupKind, BackupStatus};
use crate::storage::copy_encryption;

#[derive(Debug, Deserialize)]
pub struct ConfirmPasswordForm {
    #[serde(default)]
    password: String,
}

pub async fn show(State(app): State<Arc<App>>, context: PageContext) -> Result<Markup, ErrorPage> {
    let database = app.db.path();
    let backups = copy_encryption::with_master_keys(database, backups::list(database)?).await;
    let schedule = BackupSchedule::of(&app.settings());
    let status = backups::status(app.db.path(), &app.backups, schedule, context.now)?;
    Ok(view(&context, &app, &backups, &status))
}

/// Starts a backup without waiting for its end.
pub async fn create(State(app): State<Arc<App>>, context: PageContext) -> Redirect {
    let Some(run) = app.backups.begin(clock::now()) else {
        let notice = Notice::failed(context.language.backup_already_running());
        return context.redirect_with(notice, "/backups").await;
    };
    let actor = context.actor();
    tokio::spawn(async move {
        match run.create(&app.db, BackupKind::Manual, &actor).await {
            Ok(backup) => {
                tracing::info!(bytes = backup.bytes, "created the backup {}", backup.name);
            }
            Err(error) => tracing::error!("a backup failed: {error}"),
        }
    });
    Redirect::to("/backups")
}

/// Streams the progress of the backup, and reloads the page at its end.
pub async fn live(State(app): State<Arc<App>>, context: PageContext) -> impl IntoResponse {
    let updates = BackupUpdates {
        app: app.clone(),
        language: context.language,
        parts: SentParts::default(),
        end_sent: false,
    };
    stream_updates(&app, &context, updates)
}

/// The live updates of the page during a backup.
struct BackupUpdates {
    app: Arc<App>,
    language: Language,
    parts: SentParts,
    end_sent: bool,
}

impl LiveUpdates for BackupUpdates {
    const INTERVAL: Duration = Duration::from_millis(300);

    async fn next_events(&mut self) -> Option<Vec<Event>> {
        if self.end_sent {
            return None;
        }
        let Some(step) = self.app.backups.step() else {
            self.end_sent = true;
            return Some(vec![Event::default().event("navigate").data("/backups")]);
        };
        let progress = progress(self.language, step);
        Some(self.parts.changed([("backup-progress", progress)]))
    }
}

/// Requires the password, so that an unattended browser does not expose the keys.
pub async fn confirm_download(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(name): Path<String>,
) -> Result<Markup, ErrorPage> {
    let backup = find_with_master_key(&app, &name).await?;
    Ok(download_form(&context, &backup, None))
}

pub async fn download(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(name): Path<String>,
    Form(form): Form<ConfirmPasswordForm>,
) -> Result<Response, ErrorPage> {
    let backup = find_with_master_key(&app, &name).await?;
    if let Err(message) = check_password(&app, &context, &form.password).await {
        let page = download_form(&context, &backup, Some(&message));
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    }
    let (actor, now) = (context.actor(), context.now);
    Ok(backup_download::download(&app.db, &backup.name, &actor, now).await?)
}

async fn find_with_master_key(app: &App, name: &str) -> Result<Backup, ErrorPage> {
    let (backup, _) = backups::find(app.db.path(), name)?;
    let found = copy_encryption::with_master_keys(app.db.path(), vec![backup]).await;
    let found = found.into_iter().next();
    Ok(found.expect("as many as were passed"))
}

pub async fn confirm_delete(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(name): Path<String>,
) -> Result<Markup, ErrorPage> {
    let (backup, _) = backups::find(app.db.path(), &name)?;
    let language = context.language;
    let title = language.delete_backup_question(&backup.name);
    let form = confirm_form(
        &context,
        language.delete_backup_text(),
        language.delete_backup(),
        "/backups",
    );
    Ok(layout::question(&context, Section::Backups, &title, form))
}

pub async fn delete(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(name): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let deleted = backups::delete(&app.db, &name, &context.actor(), context.now).await?;
    app.backups.notify_schedule_change();
    let notice = Notice::done(context.language.backup_is_deleted(&deleted.name));
    Ok(context.redirect_with(notice, "/backups").await)
}

fn view(context: &PageContext, app: &App, backups: &[Backup], status: &BackupStatus) -> Markup {
    let language = context.language;
    let step = app.backups.step();
    let begin = html! {
        form method="post" action="/backups" {
            (context.csrf_field())
            button.primary type="submit" disabled[step.is_some()] { (language.back_up_now()) }
        }
    };
    let body = html! {
        (heading(language.backups(), html! { @if !backups.is_empty() || step.is_some() { (begin) } }))
        @if let Some(failed) = &status.failed {
            div.notice.failed role="alert" { p {
                strong { (language.backup_failed()) } " (" (ago(context, failed.at, context.now)) ") " (failed.reason)
            } }
        }
        (schedule_card(context, status))
        @if let Some(step) = step { (progress_card(context, step)) }
        @if !backups.is_empty() {
            (table(context, backups))
        } @else if step.is_none() {
            (empty_state(language.no_backups(), language.no_backups_text(), begin))
        }
        (card(language.keep_and_restore(), instructions(language, app.db.path(), backups)))
    };
    layout::page(context, Section::Backups, language.backups(), body)
}

/// The age of the last backup and the time of the next one.
fn schedule_card(context: &PageContext, status: &BackupStatus) -> Markup {
    let language = context.language;
    let facts = html! {
        dl.facts {
            dt { (language.last_backup()) }
            dd {
                @match &status.last {
                    Some(backup) => (ago(context, backup.made_at, context.now)),
                    None => (language.no_backup()),
                }
            }
            dt { (language.next_backup()) }
            dd {
                (next_backup(context, status)) " "
                a href="/settings/backup_interval_hours" { (language.change_schedule()) }
            }
        }
    };
    card(language.backup_schedule(), facts)
}

/// When the next scheduled backup is due.
pub fn next_backup(context: &PageContext, status: &BackupStatus) -> Markup {
    let language = context.language;
    html! {
        @match status.next_at {
            None => (language.not_scheduled()),
            Some(at) if status.is_overdue => { (badge(Tone::Bad, language.overdue())) " " (ago(context, at, context.now)) }
            Some(at) => (until(context, at, context.now)),
        }
    }
}

fn progress_card(context: &PageContext, step: BackupStep) -> Markup {
    let language = context.language;
    html! {
        section.card data-live="/backups/live" {
            h2 { (language.backup_running()) }
            (progress(language, step))
            p.no-js-only { a.button href="/backups" { (language.reload_page()) } }
        }
    }
}

/// The progress; live updates replace it.
fn progress(language: Language, step: BackupStep) -> Markup {
    html! {
        div.limit #backup-progress {
            @match step {
                BackupStep::Copying(done, whole) => {
                    div.limit-labels {
                        span #backup-step { (language.backup_copying()) }
                        span { (language.backup_copied(&bytes(done), &bytes(whole))) }
                    }
                    progress max=(whole) value=(done) aria-labelledby="backup-step" {}
                }
                BackupStep::Checking => {
                    div.limit-labels { span #backup-step { (language.backup_checking()) } }
                    progress aria-labelledby="backup-step" {}
                }
            }
        }
    }
}

fn table(context: &PageContext, backups: &[Backup]) -> Markup {
    let language = context.language;
    html! {
        div.table { table.stack {
            thead { tr {
                th scope="col" { (language.backup_name()) }
                th scope="col" { (language.backup_made()) }
                th.number scope="col" { (language.backup_size()) }
                th scope="col" { (language.backup_check()) }
                th scope="col" { (language.backup_master_key()) }
                th scope="col" { span.visually-hidden { (language.backup_actions()) } }
            } }
            tbody { @for backup in backups { (row(context, backup)) } }
        } }
    }
}

fn row(context: &PageContext, backup: &Backup) -> Markup {
    let language = context.language;
    let page = format!("/backups/{}", backup.name);
    html! {
        tr {
            th.mono scope="row" data-label=(language.backup_name()) { (backup.name) }
            td data-label=(language.backup_made()) {
                @if backup.kind == BackupKind::Scheduled { (badge(Tone::Info, language.backup_scheduled())) " " }
                span { (moment(context, backup.made_at)) " " span.muted { "(" (ago(context, backup.made_at, context.now)) ")" } }
            }
            td.number data-label=(language.backup_size()) title=(number(backup.bytes)) { (bytes(backup.bytes)) }
            td data-label=(language.backup_check()) {
                span title=(language.backup_verified_hint()) { (badge(Tone::Good, language.backup_verified())) }
            }
            td data-label=(language.backup_master_key()) {
                @match &backup.master_key_id {
                    Some(id) => span.mono { (id) },
                    None => span.muted { (language.backup_not_encrypted()) },
                }
            }
            td.number {
                span.actions {
                    a.button.small href={ (page) "/download" } aria-label=(language.download_of(&backup.name)) { (language.download()) }
                    a.button.small.danger href={ (page) "/delete" } aria-label=(language.delete_of(&backup.name)) { (language.delete()) }
                }
            }
        }
    }
}

fn instructions(language: Language, database: &FilePath, backups: &[Backup]) -> Markup {
    let is_encrypted = |backup: &Backup| backup.master_key_id.is_some();
    let holds = if !backups.is_empty() && backups.iter().all(is_encrypted) {
        language.backup_holds_encrypted()
    } else {
        language.backup_holds()
    };
    let folder = backups::folder(database);
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    html! {
        p { (holds) }
        p { (language.backups_kept_in()) " " code { (folder.display()) } }
        p { (language.restore_lead()) " " code { "gemini-pool restore FILE" } }
        p { (language.regular_lead()) " " code { "gemini-pool backup FOLDER/" } }
    }
}

fn download_form(context: &PageContext, backup: &Backup, error: Option<&str>) -> Markup {
    let language = context.language;
    let title = language.download_of(&backup.name);
    let input = html! {
        input #password type="password" name="password" autocomplete="current-password" required autofocus;
    };
    let body = html! {
        (heading(&title, html! {}))
        form.card.narrow method="post" {
            (context.csrf_field())
            p {
                @if backup.master_key_id.is_some() { (language.download_lead_encrypted()) }
                @else { (language.download_lead()) }
            }
            (field("password", language.password(), None, error, input))
            div.actions {
                button.primary type="submit" { (language.download()) " (" (bytes(backup.bytes)) ")" }
                a.button href="/backups" { (language.cancel()) }
            }
        }
    };
    layout::page(context, Section::Backups, &title, body)
}
