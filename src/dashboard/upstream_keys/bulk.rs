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
use crate::dashboard::bulk::{self, Confirmation, MAX_LISTED, SelectedRows, SelectionFields};
use crate::dashboard::components::{field, href, select, text_input};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::Section;
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::translations::Language;
use crate::dashboard::upstream_keys::bulk_action::BulkAction;
use crate::dashboard::upstream_keys::list::{self, KeyListQuery};
use crate::dashboard::upstream_keys::{edit, export, key_labels};
use crate::error::Error;
use crate::jobs::{Job, JobKind, JobProgress, JobWork, TestResult};
use crate::pool::keys::upstream_key::{KeyAttributes, UpstreamKeyId, parse_tags};
use crate::storage::audit::Subject;
use crate::storage::rollups::begin_of_day;
use crate::storage::undo::{self, UndoableAct};
use crate::storage::upstream_keys::change::KeyChange;
use crate::storage::upstream_keys::search;

/// The time to wait for a job before the response shows its progress page.
const MAX_WAIT: Duration = Duration::from_millis(800);
/// The time to wait for a test of one key, so that the response contains its result.
const MAX_WAIT_FOR_TEST: Duration = Duration::from_secs(6);

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
    billing: String,
    weight: String,
}

/// The revisions of the acts to undo.
#[derive(Debug, Deserialize)]
pub struct UndoQuery {
    from: i64,
    to: i64,
}

impl BulkForm {
    /// Whether a confirmation page is required first.
    fn needs_confirmation(&self, action: BulkAction) -> bool {
        match action {
            BulkAction::Tag | BulkAction::Move | BulkAction::Delete => true,
            BulkAction::Export => false,
            BulkAction::Test | BulkAction::Enable | BulkAction::Disable | BulkAction::Clear => {
                self.selection().is_all()
            }
        }
    }

    fn selection(&self) -> SelectionFields<'_> {
        SelectionFields {
            scope: &self.scope,
            ids: &self.id,
            back: &self.back,
            confirmed: &self.confirmed,
            matched: &self.matched,
        }
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
    let selection = form.selection();
    let back = selection.back_to(list::PATH);
    let find = async {
        let uri: Uri = back.parse().unwrap_or_default();
        let query = axum::extract::Query::<KeyListQuery>::try_from_uri(&uri);
        let query = query.map(|query| query.0).unwrap_or_default();
        let found = list::find(&app, &query, context.now).await?;
        Ok::<_, ErrorPage>(found.ids)
    };
    let rows = selection.rows(&app.jobs.matched, context.now, UpstreamKeyId, find);
    let SelectedRows {
        ids,
        is_as_confirmed,
    } = rows.await?;
    if ids.is_empty() {
        let notice = Notice::failed(language.no_keys_selected());
        let redirect = context.redirect_with(notice, back).await;
        return Ok(redirect.into_response());
    }
    if action == BulkAction::Export {
        return Ok(export::file(&app, &context, &ids).await?);
    }
    let page = async |error| confirmation_page(&app, &context, &form, action, &ids, error).await;
    if form.needs_confirmation(action) && !selection.is_confirmed() {
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
    let is_of_page = action == BulkAction::Delete && !back.contains('?');
    let back = if is_of_page { list::PATH } else { back };
    Ok(start_job(&app, &context, work, back).await.into_response())
}

/// Undoes what the admin's last acts changed, except for what was changed again since.
pub async fn undo(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<UndoQuery>,
) -> Result<Redirect, ErrorPage> {
    let revisions = (query.from, query.to);
    let acts = undo::list_of_revisions(&app.db.readers, context.now, revisions).await?;
    let actor = context.actor();
    // The billing of projects changes with their keys.
    let of_keys = |act: &UndoableAct| {
        matches!(act.subject, Subject::UpstreamKey | Subject::Project) && act.actor == actor.name
    };
    let acts: Vec<_> = acts.into_iter().filter(of_keys).collect();
    Ok(start_job(&app, &context, JobWork::Undo(acts), list::PATH).await)
}

/// The change of the form, or its error; `None`: the action is a test.
fn change(
    language: Language,
    form: &BulkForm,
    action: BulkAction,
) -> Result<Option<KeyChange>, &'static str> {
    let (attributes, add_tags, remove_tags) = match action {
        // An export changes nothing and needs no job.
        BulkAction::Test | BulkAction::Export => return Ok(None),
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
                billing: form.billing.parse().ok(),
                priority: edit::parse_integer(language, &form.priority)?,
                weight: edit::parse_weight(language, &form.weight)?,
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
        JobKind::Import | JobKind::WhatIf(_) => true,
        JobKind::Change(_) | JobKind::Undo => false,
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
        JobKind::Undo if progress.changed == 0 => {
            return Notice::failed(language.act_not_undone());
        }
        JobKind::Undo => return Notice::done(language.act_undone(progress.changed)),
        JobKind::WhatIf(_) => return Notice::done(language.what_if()),
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

/// Adds an undo button to changes of which a state before is known, including interrupted ones. What the pool observed of
/// keys before their cooldowns were cleared is gone.
fn with_undo(notice: Notice, job: &Job, progress: &JobProgress) -> Notice {
    let can_be_undone = match &job.kind {
        JobKind::Change(change) => match change {
            KeyChange::Enable
            | KeyChange::Disable
            | KeyChange::Delete
            | KeyChange::Update { .. } => progress.changed > 0,
            KeyChange::Clear | KeyChange::Restore => false,
        },
        JobKind::Import | JobKind::Test | JobKind::Undo | JobKind::WhatIf(_) => false,
    };
    match progress.revisions {
        Some((from, to)) if can_be_undone => {
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
    let selection = form.selection();
    let is_all = selection.is_all();
    let first = &ids[..ids.len().min(MAX_LISTED)];
    let today = begin_of_day(context.now);
    let first = search::list_for_dashboard(&app.db.readers, first, today).await?;
    let confirmation = Confirmation {
        section: Section::UpstreamKeys,
        list_title: language.upstream_keys(),
        list_path: list::PATH,
        title: &language.confirm(action, &language.keys_counted(ids.len())),
        text: language.bulk_action_means(action),
        action: action.name(),
        is_danger: action == BulkAction::Delete,
        count: ids.len(),
        first: first
            .into_iter()
            .map(|key| (key.label, key.last4))
            .collect(),
        matched: is_all.then(|| app.jobs.matched.insert(ids.to_vec(), context.now)),
        fields: value_fields(language, form, action),
        error,
    };
    Ok(bulk::confirmation_page(context, &selection, confirmation))
}

fn value_fields(language: Language, form: &BulkForm, action: BulkAction) -> Markup {
    let tags = Some(language.tags_hint());
    let mut billings = vec![("", language.unchanged())];
    billings.extend(edit::billing_options(language));
    html! {
        @if action == BulkAction::Tag {
            (field("add_tags", language.add_tags(), tags, None, text_input("add_tags", &form.add_tags)))
            (field("remove_tags", language.remove_tags(), tags, None, text_input("remove_tags", &form.remove_tags)))
        }
        @if action == BulkAction::Move {
            (field("project", language.project(), Some(language.project_hint()), None, text_input("project", &form.project)))
            (field("billing", language.billing(), Some(language.billing_hint()), None,
                select("billing", "billing", &form.billing, &billings)))
            div.fields {
                (field("priority", language.priority(), Some(language.priority_hint()), None, text_input("priority", &form.priority)))
                (field("weight", language.weight(), Some(language.weight_hint()), None, text_input("weight", &form.weight)))
            }
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
    fn an_interrupted_change_can_be_undone_unless_it_cleared_states() {
        let ids = vec![UpstreamKeyId(1)];
        let now = Timestamp::from_millis(1_000_000);
        let progress = JobProgress {
            failed: Some("the disk is full".to_owned()),
            revisions: Some((7, 9)),
            changed: 1,
            ..JobProgress::default()
        };
        let notice_of = |change, progress: &JobProgress| {
            let work = JobWork::Change(ids.clone(), change);
            let job = Jobs::default().start(work, Actor::cli(), now);
            job_notice(Language::English, &job, progress)
        };

        for change in [KeyChange::Delete, KeyChange::Disable, KeyChange::Enable] {
            let undo = notice_of(change, &progress).undo;
            assert_eq!(undo.as_deref(), Some("/upstream-keys/undo?from=7&to=9"));
        }
        assert_eq!(notice_of(KeyChange::Clear, &progress).undo, None);
        let nothing = JobProgress {
            revisions: None,
            ..progress
        };
        assert_eq!(notice_of(KeyChange::Delete, &nothing).undo, None);
    }
}
