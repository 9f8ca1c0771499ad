//! `/audit`: every change made by admins, with its author and IP address.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Redirect;
use axum_extra::extract::Query;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;
use strum::VariantArray;

use crate::app::App;
use crate::clock::{self, Timestamp};
use crate::dashboard::changes::{actor_label, field_change_line, field_changes};
use crate::dashboard::components::{empty_state, href, icon, moment, number, pager, select};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::settings::entry::SettingEntry;
use crate::dashboard::sign_in::local_path;
use crate::dashboard::translations::Language;
use crate::storage::admins;
use crate::storage::audit::{
    self, Act, Action, Actor, AuditFilter, ListedAct, ListedChange, Subject,
};
use crate::storage::error::Error as StorageError;
use crate::storage::paging::{BidirectionalPage, PagePosition};
use crate::storage::undo;

const PATH: &str = "/audit";
/// Operations per page.
const PAGE_SIZE: usize = 50;
/// The latest acts that have an undo button.
const MAX_UNDOABLE: usize = 500;

/// The filters in the URL.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AuditQuery {
    actor: String,
    action: String,
    subject: String,
    /// Dates in the admin's time zone, both inclusive.
    from: String,
    to: String,
    /// The id of the subject.
    id: String,
    /// The name of the subject.
    name: String,
    /// The operation whose changes are listed.
    revision: String,
    older: Option<i64>,
    newer: Option<i64>,
}

/// The page to return to after an act is undone.
#[derive(Debug, Deserialize)]
pub struct UndoQuery {
    back: Option<String>,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<AuditQuery>,
) -> Result<Markup, ErrorPage> {
    let db = &app.db.readers;
    let position = PagePosition::of(query.older, query.newer);
    let acts = audit::list_acts(db, &query.filter(&context.zone), position, PAGE_SIZE).await?;
    let actors = admins::list_usernames(db).await?;
    let actors = actors.iter().map(|name| Actor::admin(name, String::new()));
    let others = [
        Actor::cli(),
        Actor::environment(),
        Actor::schedule(),
        Actor::demo(),
    ];
    let actors: Vec<_> = actors.chain(others).map(|actor| actor.name).collect();
    let undoable = undo::list(db, context.now, MAX_UNDOABLE).await?;
    let list = ActList {
        context: &context,
        query: &query,
        undoable: undoable.into_iter().map(|act| act.id).collect(),
    };
    Ok(list.view(&acts, &actors))
}

/// Undoes an operation, except for what was changed again since.
pub async fn undo(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<i64>,
    Query(query): Query<UndoQuery>,
) -> Result<Redirect, ErrorPage> {
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &context.actor(), context.now).await?;
    let language = context.language;
    let notice = match undo::undo(&mut tx, id, &act).await {
        Ok(done) => {
            tx.commit().await?;
            app.reload(clock::now()).await?;
            Notice::done(language.act_undone(done.undone))
        }
        Err(StorageError::NotFound(..)) => Notice::failed(language.act_not_undone()),
        Err(error) => return Err(error.into()),
    };
    let back = query.back.as_deref().map_or(PATH, local_path);
    Ok(context.redirect_with(notice, back).await)
}

impl AuditQuery {
    /// The filter of all valid parameters.
    fn filter(&self, zone: &TimeZone) -> AuditFilter {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let from = date(&self.from);
        let until = date(&self.to).and_then(|date| date.tomorrow().ok());
        let start_of_day = |date: Date| {
            Some(Timestamp::from(
                date.to_zoned(zone.clone()).ok()?.timestamp(),
            ))
        };
        let subject = self.subject.parse::<Subject>().ok();
        // The index needs the kind of the subject; an id alone would scan the table.
        let is_named = subject.is_some_and(Subject::is_identified_by_name);
        AuditFilter {
            subject,
            subject_id: self.id.parse().ok().filter(|_| subject.is_some()),
            name: text(&self.name).filter(|_| is_named),
            actor: text(&self.actor),
            action: self.action.parse().ok(),
            since: from.and_then(start_of_day),
            until: until.and_then(start_of_day),
            // 0 marks changes that belong to no operation.
            revision: self.revision.parse().ok().filter(|revision| *revision > 0),
        }
    }

    /// The filters, without the position in the list.
    fn pairs(&self) -> [(&'static str, &str); 8] {
        [
            ("actor", &self.actor),
            ("action", &self.action),
            ("subject", &self.subject),
            ("from", &self.from),
            ("to", &self.to),
            ("id", &self.id),
            ("name", &self.name),
            ("revision", &self.revision),
        ]
    }

    fn is_empty(&self) -> bool {
        self.pairs().iter().all(|(_, value)| value.is_empty())
    }

    /// The URL of this list with one filter set, or removed if `value` is empty.
    fn with(&self, name: &str, value: &str) -> String {
        let pairs = self.pairs().map(|(known, old)| {
            let value = if known == name { value } else { old };
            (known, value)
        });
        href(PATH, &pairs)
    }

    /// The URL of another page of this list.
    fn page_url(&self, direction: &str, id: i64) -> String {
        let id = id.to_string();
        let pairs = self.pairs().into_iter().chain([(direction, id.as_str())]);
        href(PATH, &pairs.collect::<Vec<_>>())
    }
}

fn date(text: &str) -> Option<Date> {
    text.trim().parse().ok()
}

/// What the lines of the list need.
struct ActList<'a> {
    context: &'a PageContext,
    query: &'a AuditQuery,
    /// The ids of the acts that can be undone.
    undoable: HashSet<i64>,
}

impl ActList<'_> {
    fn view(&self, acts: &BidirectionalPage<ListedAct>, actors: &[String]) -> Markup {
        let (context, query) = (self.context, self.query);
        let language = context.language;
        let newer = acts.newer.map(|id| query.page_url("newer", id));
        let older = acts.older.map(|id| query.page_url("older", id));
        let body = html! {
            (heading(language.audit(), html! { span.sub { (language.audit_lead()) } }))
            (filters(language, query, actors))
            (chips(language, query))
            @if !acts.items.is_empty() {
                (self.table(&acts.items))
                (pager(language, newer.as_deref(), older.as_deref()))
            } @else if query.is_empty() && query.older.or(query.newer).is_none() {
                (empty_state(language.nothing_done(), language.nothing_done_text(), html! {}))
            } @else {
                (empty_state(
                    language.no_act_matches(),
                    language.no_act_matches_text(),
                    html! { a.button href=(PATH) { (language.clear_filters()) } },
                ))
            }
        };
        layout::page(context, Section::Audit, language.audit(), body)
    }

    fn table(&self, acts: &[ListedAct]) -> Markup {
        let language = self.context.language;
        html! {
            div.table { table.stack.audit data-keys {
                thead { tr {
                    th scope="col" { (language.changed_at()) } th scope="col" { (language.changed_by()) }
                    th scope="col" { (language.audit_action()) } th scope="col" { (language.audit_subject()) }
                    th scope="col" { (language.audit_details()) }
                } }
                tbody { @for act in acts { (self.row(act)) } }
            } }
        }
    }

    fn row(&self, act: &ListedAct) -> Markup {
        let (context, query) = (self.context, self.query);
        let (language, change) = (context.language, &act.first);
        let can_be_undone = self.undoable.contains(&change.id);
        let field_changes = field_changes(language, &context.zone, change);
        html! {
            tr {
                td data-label=(language.changed_at()) { (moment(context, change.at)) }
                td data-label=(language.changed_by()) {
                    span.lines {
                        a.filter-link href=(query.with("actor", &change.actor)) { (actor_label(language, &change.actor)) }
                        @if let Some(address) = &change.address { span.small.muted { (address) } }
                    }
                }
                td data-label=(language.audit_action()) {
                    a.filter-link.nowrap href=(query.with("action", change.action.name())) { (language.action(change.action)) }
                }
                td data-label=(language.audit_subject()) {
                    span.lines {
                        (subject(language, context, change))
                        span.small.muted {
                            a.filter-link href=(query.with("subject", change.subject.name())) { (language.subject(change.subject)) }
                        }
                    }
                }
                td.details data-label=(language.audit_details()) {
                    @if !field_changes.is_empty() || act.changes > 1 || can_be_undone {
                        div.lines {
                            @for field_change in &field_changes { (field_change_line(field_change)) }
                            @if act.changes > 1 { a.small href=(whole_act_url(change)) { (language.and_more_changes(&number(act.changes - 1))) } }
                            @if can_be_undone { (undo_form(context, change)) }
                        }
                    }
                }
            }
        }
    }
}

fn filters(language: Language, query: &AuditQuery, actors: &[String]) -> Markup {
    let any = [("", language.any_action())].into_iter();
    let actions = Action::VARIANTS.iter();
    let actions = actions.map(|action| (action.name(), language.action(*action)));
    let actions: Vec<_> = any.clone().chain(actions).collect();
    let subjects = Subject::VARIANTS.iter();
    let subjects = subjects.map(|subject| (subject.name(), language.subject(*subject)));
    let subjects: Vec<_> = any.chain(subjects).collect();
    let control = |id: &str, label: &str, control: Markup| {
        html! { div.filter { label for=(id) { (label) } (control) } }
    };
    html! {
        form.filters method="get" action=(PATH) role="search" {
            @for (name, value) in [("id", &query.id), ("name", &query.name), ("revision", &query.revision)] {
                @if !value.is_empty() { input type="hidden" name=(name) value=(value); }
            }
            (control("actor", language.changed_by(), html! {
                input #actor name="actor" value=(query.actor) list="actors" data-search autocomplete="off" spellcheck="false";
                datalist #actors { @for actor in actors { option value=(actor) {} } }
            }))
            (control("action", language.audit_action(), select("action", "action", &query.action, &actions)))
            (control("subject", language.audit_subject(), select("subject", "subject", &query.subject, &subjects)))
            (control("from", language.audit_from(), html! { input #from type="date" name="from" value=(query.from); }))
            (control("to", language.audit_to(), html! { input #to type="date" name="to" value=(query.to); }))
            button.primary type="submit" { (language.apply()) }
        }
    }
}

/// The filters without a form field, and a link that clears all filters.
fn chips(language: Language, query: &AuditQuery) -> Markup {
    let hidden_filters = [
        ("id", language.audit_id(), &query.id),
        ("name", language.audit_name(), &query.name),
        ("revision", language.audit_act(), &query.revision),
    ];
    html! {
        @if !query.is_empty() {
            div.chips role="group" aria-label=(language.filters_active()) {
                @for (name, label, value) in hidden_filters.into_iter().filter(|(.., value)| !value.is_empty()) {
                    span.chip {
                        span.muted { (label) }
                        span.value { (value) }
                        a.remove href=(query.with(name, "")) aria-label=(language.remove_filter(label)) {
                            (icon(r#"<path d="M4.5 4.5l7 7M11.5 4.5l-7 7"/>"#))
                        }
                    }
                }
                a.small href=(PATH) { (language.clear_filters()) }
            }
        }
    }
}

/// The button that undoes an operation.
fn undo_form(context: &PageContext, first: &ListedChange) -> Markup {
    let language = context.language;
    html! {
        form method="post" action=(format!("{PATH}/{}/undo", first.id)) {
            (context.csrf_field())
            button.small type="submit" aria-label=(language.undo_act(&first.name)) { (language.undo()) }
        }
    }
}

/// The URL that lists every change of an operation.
fn whole_act_url(change: &ListedChange) -> String {
    let revision = change.revision.to_string();
    let pairs = [
        ("revision", revision.as_str()),
        ("subject", change.subject.name()),
        ("action", change.action.name()),
    ];
    href(PATH, &pairs)
}

/// The name of the changed subject, linked to its page if it has one.
fn subject(language: Language, context: &PageContext, change: &ListedChange) -> Markup {
    let id = change.subject_id.unwrap_or_default();
    let is_gone = change.action == Action::Delete;
    let page = match change.subject {
        Subject::UpstreamKey => Some(format!("/upstream-keys/{id}")),
        Subject::ClientKey => Some(format!("/client-keys/{id}")),
        Subject::Project => Some(href("/upstream-keys", &[("project", &change.name)])),
        Subject::Setting => Some(format!("/settings/{}", change.name)),
        Subject::Admin => (id == context.admin.id.0).then(|| "/account".to_owned()),
        Subject::Backup => Some("/backups".to_owned()),
        Subject::RequestLog => Some("/logs".to_owned()),
        Subject::RequestBodies => Some(format!("/logs/{}", change.name)),
        Subject::ApiToken => Some("/account#tokens".to_owned()),
        Subject::AlertTarget => Some(format!("/alerts/targets/{id}/edit")),
        Subject::EgressProxy => Some(format!("/egress-proxies/{id}/edit")),
        Subject::MasterKey => None,
    };
    let setting = SettingEntry::find(&change.name).filter(|_| change.subject == Subject::Setting);
    let title = setting.map_or(change.name.as_str(), |setting| setting.title(language));
    html! {
        @match page.filter(|_| !is_gone) {
            Some(page) => { a.name data-row-link href=(page) { (title) } }
            None => { span.name { (title) } }
        }
    }
}
