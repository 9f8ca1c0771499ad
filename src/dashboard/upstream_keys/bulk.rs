//! Actions on one or many keys, with a confirmation page where needed.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::{Form, Query};
use http::{StatusCode, Uri};
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::dashboard::components::{field, href, text_input};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::translations::Language;
use crate::dashboard::upstream_keys::bulk_action::BulkAction;
use crate::dashboard::upstream_keys::list::{self, KeyListQuery};
use crate::dashboard::upstream_keys::{edit, key_labels};
use crate::error::Error;
use crate::jobs::{Job, JobKind, JobProgress, JobWork, TestResult};
use crate::pool::keys::upstream_key::{KeyAttributes, UpstreamKeyId, parse_tags};
use crate::storage::rollups::begin_of_day;
use crate::storage::upstream_keys::change::KeyChange;
use crate::storage::upstream_keys::{self, search};

/// The time to wait for a job before the response shows its progress page.
const MAX_WAIT: Duration = Duration::from_millis(800);
/// The time to wait for a test of one key, so that the response contains its result.
const MAX_WAIT_FOR_TEST: Duration = Duration::from_secs(6);

/// Keys listed on the confirmation page.
const MAX_LISTED_KEYS: usize = 12;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BulkForm {
    action: String,
    /// `all`: all keys that match the list at `back`.
    scope: String,
    id: Vec<i64>,
    back: String,
    confirmed: String,
    /// The id of the stored set of matching keys that the confirmation page was about.
    matched: String,
    add_tags: String,
    remove_tags: String,
    project: String,
    priority: String,
}

/// The removals to undo.
#[derive(Debug, Deserialize)]
pub struct RemovalUndoQuery {
    from: i64,
    to: i64,
}

impl BulkForm {
    /// Whether a confirmation page is required first.
    fn needs_confirmation(&self, action: BulkAction) -> bool {
        match action {
            BulkAction::Tag | BulkAction::Move | BulkAction::Delete => true,
            BulkAction::Test | BulkAction::Enable | BulkAction::Disable | BulkAction::Clear => {
                self.scope == "all"
            }
        }
    }

    /// The page of this server to return to.
    fn back(&self) -> &str {
        let is_ours = self.back.starts_with(list::PATH) && self.back.parse::<Uri>().is_ok();
        if is_ours { &self.back } else { list::PATH }
    }
}

pub async fn update(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<BulkForm>,
) -> Result<Response, ErrorPage> {
    let language = context.language;
    let Ok(action) = form.action.parse::<BulkAction>() else {
        return Err(Error::Invalid(language.unknown_action().to_owned()).into());
    };
    let (ids, is_as_confirmed) = selected_keys(&app, &context, &form).await?;
    if ids.is_empty() {
        let notice = Notice::failed(language.no_keys_selected());
        let redirect = context.redirect_with(notice, form.back()).await;
        return Ok(redirect.into_response());
    }
    let page = async |error| confirmation_page(&app, &context, &form, action, &ids, error).await;
    if form.needs_confirmation(action) && form.confirmed.is_empty() {
        return Ok(page(None).await?.into_response());
    }
    if !is_as_confirmed {
        let page = page(Some(language.confirmation_expired())).await?;
        return Ok((StatusCode::CONFLICT, page).into_response());
    }
    let change = match change(language, &form, action) {
        Ok(change) => change,
        Err(error) => {
            let page = page(Some(error)).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let work = match change {
        Some(change) => JobWork::Change(ids, change),
        None => JobWork::Test(ids),
    };
    // A deleted key has no page any more.
    let is_of_page = action == BulkAction::Delete && !form.back().contains('?');
    let back = if is_of_page { list::PATH } else { form.back() };
    Ok(start_job(&app, &context, work, back).await.into_response())
}

/// Undoes removals as long as the secrets are not erased.
pub async fn undo(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(undo): Query<RemovalUndoQuery>,
) -> Result<Redirect, ErrorPage> {
    let mut tx = app.db.begin().await?;
    let actor = context.actor();
    let acts = (undo.from, undo.to);
    let ids = upstream_keys::removal::list_removed_by(&mut tx, &actor.name, acts).await?;
    tx.rollback().await?;
    let work = JobWork::Change(ids, KeyChange::Restore);
    Ok(start_job(&app, &context, work, list::PATH).await)
}

/// The keys that a form applies to, and whether these are the keys of its confirmation page, whose set may have expired.
async fn selected_keys(
    app: &Arc<App>,
    context: &PageContext,
    form: &BulkForm,
) -> Result<(Vec<UpstreamKeyId>, bool), ErrorPage> {
    if form.scope != "all" {
        let mut ids: Vec<_> = form.id.iter().copied().map(UpstreamKeyId).collect();
        ids.sort_unstable();
        ids.dedup();
        return Ok((ids, true));
    }
    let matched = u64::from_str_radix(&form.matched, 16).ok();
    if let Some(ids) = matched.and_then(|id| app.jobs.matched.get(id, context.now)) {
        return Ok((ids.to_vec(), true));
    }
    let uri: Uri = form.back().parse().unwrap_or_default();
    let query = axum::extract::Query::<KeyListQuery>::try_from_uri(&uri);
    let query = query.map(|query| query.0).unwrap_or_default();
    let ids = list::find(app, &query, context.now).await?.ids;
    // A confirmation of another set of keys does not apply to these.
    Ok((ids, form.matched.is_empty()))
}

/// The change of the form, or its error; `None`: the action is a test.
fn change(
    language: Language,
    form: &BulkForm,
    action: BulkAction,
) -> Result<Option<KeyChange>, &'static str> {
    let (attributes, add_tags, remove_tags) = match action {
        BulkAction::Test => return Ok(None),
        BulkAction::Enable => return Ok(Some(KeyChange::Enable)),
        BulkAction::Disable => return Ok(Some(KeyChange::Disable)),
        BulkAction::Clear => return Ok(Some(KeyChange::Clear)),
        BulkAction::Delete => return Ok(Some(KeyChange::Delete)),
        BulkAction::Tag => {
            let (add, remove) = (parse_tags(&form.add_tags), parse_tags(&form.remove_tags));
            (KeyAttributes::default(), add, remove)
        }
        BulkAction::Move => {
            let attributes = KeyAttributes {
                project: edit::parse_name(language, &form.project)?,
                priority: edit::parse_integer(language, &form.priority)?,
                ..KeyAttributes::default()
            };
            (attributes, Vec::new(), Vec::new())
        }
    };
    if attributes == KeyAttributes::default() && add_tags.is_empty() && remove_tags.is_empty() {
        return Err(language.no_change_given());
    }
    Ok(Some(KeyChange::Update {
        attributes,
        add_tags,
        remove_tags,
    }))
}

/// Runs the job. A short job ends with a notice on the current page, a longer one has its own page.
pub async fn start_job(
    app: &Arc<App>,
    context: &PageContext,
    work: JobWork,
    back: &str,
) -> Redirect {
    let max_wait = match &work {
        JobWork::Test(ids) if ids.len() == 1 => MAX_WAIT_FOR_TEST,
        _ => MAX_WAIT,
    };
    let job = app.jobs.start(work, context.actor(), context.now);
    let progress = job.wait_until_ended(max_wait).await;
    // Results of many keys are shown on the job's page.
    let has_page = match job.kind {
        JobKind::Test => job.total > 1,
        JobKind::Import => true,
        JobKind::Change(_) => false,
    };
    if !progress.ended || has_page {
        return Redirect::to(&job_path(&job));
    }
    let notice = job_notice(context.language, &job, &progress);
    context.redirect_with(notice, back).await
}

pub fn job_path(job: &Job) -> String {
    format!("{}/jobs/{:016x}", list::PATH, job.id)
}

/// The notice of a finished job, with an undo button if the job can be undone.
pub fn job_notice(language: Language, job: &Job, progress: &JobProgress) -> Notice {
    if let Some(why) = &progress.failed {
        return with_undo(Notice::failed(language.job_failed(why)), job, progress);
    }
    let keys = language.keys_counted(progress.changed);
    let done = match &job.kind {
        JobKind::Change(change) => match change {
            KeyChange::Enable => language.keys_enabled(&keys),
            KeyChange::Disable => language.keys_disabled(&keys),
            KeyChange::Clear => language.keys_cleared(&keys),
            KeyChange::Update { .. } => language.keys_changed(&keys),
            KeyChange::Restore if progress.wiped > 0 => {
                return Notice::failed(language.keys_restored_but(&keys, progress.wiped));
            }
            KeyChange::Restore => language.keys_restored(&keys),
            KeyChange::Delete => language.keys_deleted(&keys),
        },
        JobKind::Import => language.keys_imported(progress.new, progress.restored, progress.known),
        JobKind::Test => {
            let Some(tested) = progress.results.first() else {
                return Notice::failed(language.not_changed());
            };
            let why = key_labels::label_of_rule_name(
                language,
                tested.rule.as_deref().unwrap_or("success"),
            );
            let refused = match tested.result {
                TestResult::Alive => return Notice::done(language.tested_accepted(&tested.label)),
                TestResult::Refused => language.tested_refused(&tested.label, why),
                TestResult::Unclear => language.tested_inconclusive(&tested.label, why),
            };
            return Notice::failed(refused);
        }
    };
    with_undo(Notice::done(done), job, progress)
}

/// Adds an undo button to removals, including interrupted ones; other changes have none.
fn with_undo(notice: Notice, job: &Job, progress: &JobProgress) -> Notice {
    match (&job.kind, progress.revisions) {
        (JobKind::Change(KeyChange::Delete), Some((from, to))) => {
            let (from, to) = (from.to_string(), to.to_string());
            notice.with_undo(href("/upstream-keys/undo", &[("from", &from), ("to", &to)]))
        }
        _ => notice,
    }
}

/// The confirmation page: the action, some of its keys, and further input it needs.
async fn confirmation_page(
    app: &Arc<App>,
    context: &PageContext,
    form: &BulkForm,
    action: BulkAction,
    ids: &[UpstreamKeyId],
    error: Option<&str>,
) -> Result<Markup, ErrorPage> {
    let language = context.language;
    let count = ids.len();
    let title = language.confirm(action, &language.keys_counted(count));
    let text = language.bulk_action_means(action);
    let is_danger = matches!(action, BulkAction::Disable | BulkAction::Delete);
    let is_all = form.scope == "all";
    let matched = is_all.then(|| app.jobs.matched.insert(ids.to_vec(), context.now));
    let first = &ids[..count.min(MAX_LISTED_KEYS)];
    let today = begin_of_day(context.now);
    let named = search::list_for_dashboard(&app.db.readers, first, today).await?;
    let body = html! {
        nav.crumbs { a href=(form.back()) { "← " (language.upstream_keys()) } }
        (heading(&title, html! {}))
        form.card.narrow method="post" action="/upstream-keys/bulk" {
            (context.csrf_field())
            input type="hidden" name="action" value=(action.name());
            input type="hidden" name="scope" value=(form.scope);
            input type="hidden" name="back" value=(form.back());
            input type="hidden" name="confirmed" value="1";
            @if let Some(matched) = matched {
                input type="hidden" name="matched" value=(format!("{matched:016x}"));
            } @else {
                @for id in &form.id { input type="hidden" name="id" value=(id); }
            }
            @if let Some(error) = error { p.form-error role="alert" { (error) } }
            @if !text.is_empty() { p { (text) } }
            p.chips {
                @for key in &named { span.chip { span.value { (key.label) } span.mono.muted { "…" (key.last4) } } }
                @if count > named.len() { span.muted.small { (language.and_more(count - named.len())) } }
            }
            (value_fields(language, form, action))
            div.actions {
                button.primary.danger[is_danger] type="submit" { (title) }
                a.button href=(form.back()) { (language.cancel()) }
            }
        }
    };
    Ok(layout::page(context, Section::UpstreamKeys, &title, body))
}

fn value_fields(language: Language, form: &BulkForm, action: BulkAction) -> Markup {
    let tags = Some(language.tags_hint());
    html! {
        @if action == BulkAction::Tag {
            (field("add_tags", language.add_tags(), tags, None, text_input("add_tags", &form.add_tags)))
            (field("remove_tags", language.remove_tags(), tags, None, text_input("remove_tags", &form.remove_tags)))
        }
        @if action == BulkAction::Move {
            (field("project", language.project(), Some(language.project_hint()), None, text_input("project", &form.project)))
            (field("priority", language.priority(), Some(language.priority_hint()), None, text_input("priority", &form.priority)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::jobs::Jobs;
    use crate::storage::audit::Actor;

    #[test]
    fn an_interrupted_removal_can_be_undone() {
        let ids = vec![UpstreamKeyId(1)];
        let now = Timestamp::from_millis(1_000_000);
        let progress = JobProgress {
            failed: Some("the disk is full".to_owned()),
            revisions: Some((7, 9)),
            ..JobProgress::default()
        };
        let notice_of = |change, progress: &JobProgress| {
            let work = JobWork::Change(ids.clone(), change);
            let job = Jobs::default().start(work, Actor::cli(), now);
            job_notice(Language::English, &job, progress)
        };

        let undo = notice_of(KeyChange::Delete, &progress).undo;

        assert_eq!(undo.as_deref(), Some("/upstream-keys/undo?from=7&to=9"));
        assert_eq!(notice_of(KeyChange::Disable, &progress).undo, None);
        let nothing = JobProgress {
            revisions: None,
            ..progress
        };
        assert_eq!(notice_of(KeyChange::Delete, &nothing).undo, None);
    }
}
