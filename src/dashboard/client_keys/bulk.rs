//! Actions on many client keys, with a confirmation page where needed.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::{Form, Query};
use http::{StatusCode, Uri};
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::clock;
use crate::dashboard::bulk::{self, Confirmation, MAX_LISTED, SelectedRows, SelectionFields};
use crate::dashboard::client_keys::bulk_action::ClientKeyAction;
use crate::dashboard::client_keys::form::{FieldErrors, parse_expiry, parse_limit};
use crate::dashboard::client_keys::list::{ClientKeyListQuery, PATH};
use crate::dashboard::components::{error_summary, field, href, text_input};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::Section;
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::sign_in::local_path;
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::pool::clients::client_key::{ClientKeyId, ClientLimit};
use crate::pool::clients::scopes;
use crate::pool::keys::upstream_key::parse_tags;
use crate::pool::model_fallback::{DEFAULT, ModelFallback};
use crate::storage::client_keys;
use crate::storage::client_keys::change::{
    self, ChangedClientKeys, ClientKeyChange, ListChange, TermChange,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClientKeyBulkForm {
    action: String,
    scope: String,
    id: Vec<i64>,
    back: String,
    confirmed: String,
    matched: String,
    expires: String,
    /// Not empty: without an expiry.
    never_expires: String,
    requests_per_minute: String,
    requests_per_day: String,
    tokens_per_minute: String,
    tokens_per_day: String,
    concurrency: String,
    cost_per_month: String,
    add_tags: String,
    remove_tags: String,
    /// Blank: unchanged; [`DEFAULT`]: the chains of the setting.
    model_fallback: String,
}

/// The revisions of the acts to undo.
#[derive(Debug, Deserialize)]
pub struct UndoQuery {
    from: i64,
    to: i64,
    #[serde(default)]
    back: String,
}

impl ClientKeyBulkForm {
    fn selection(&self) -> SelectionFields<'_> {
        SelectionFields {
            scope: &self.scope,
            ids: &self.id,
            back: &self.back,
            confirmed: &self.confirmed,
            matched: &self.matched,
        }
    }

    /// Whether a confirmation page is required first.
    fn needs_confirmation(&self, action: ClientKeyAction) -> bool {
        match action {
            ClientKeyAction::Update | ClientKeyAction::Delete => true,
            ClientKeyAction::Enable | ClientKeyAction::Disable => self.selection().is_all(),
        }
    }

    /// The change of the form, or the errors by field.
    fn change(
        &self,
        context: &PageContext,
        action: ClientKeyAction,
    ) -> Result<ClientKeyChange, FieldErrors> {
        match action {
            ClientKeyAction::Enable => Ok(ClientKeyChange::Enable),
            ClientKeyAction::Disable => Ok(ClientKeyChange::Disable),
            ClientKeyAction::Delete => Ok(ClientKeyChange::Delete),
            ClientKeyAction::Update => Ok(ClientKeyChange::Update(self.term_changes(context)?)),
        }
    }

    fn term_changes(&self, context: &PageContext) -> Result<Vec<TermChange>, FieldErrors> {
        let language = context.language;
        let (mut changes, mut errors) = (Vec::new(), FieldErrors::new());
        match parse_expiry(context, &self.expires) {
            _ if !self.never_expires.is_empty() => changes.push(TermChange::Expiry(None)),
            Ok(Some(at)) => changes.push(TermChange::Expiry(Some(at))),
            Ok(None) => {}
            Err(message) => {
                errors.insert("expires", message.to_owned());
            }
        }
        for limit in ClientLimit::ALL.iter().copied() {
            match self.text_of(limit).trim() {
                "" => {}
                "0" => changes.push(TermChange::Limit(limit, None)),
                text => match parse_limit(limit, text) {
                    Some(most) => changes.push(TermChange::Limit(limit, most)),
                    None => {
                        errors.insert(limit.name(), language.bad_bulk_limit().to_owned());
                    }
                },
            }
        }
        let lists: [(_, _, ListChange); 2] = [
            ("add_tags", &self.add_tags, TermChange::AddTags),
            ("remove_tags", &self.remove_tags, TermChange::RemoveTags),
        ];
        for (name, text, to_change) in lists {
            let tags = parse_tags(text);
            if let Some(error) = tags.iter().find_map(|tag| scopes::check_tag(tag).err()) {
                errors.insert(name, language.bad_scope(&error));
            } else if !tags.is_empty() {
                changes.push(to_change(tags));
            }
        }
        match self.model_fallback.trim() {
            "" => {}
            DEFAULT => changes.push(TermChange::Fallback(None)),
            text => match ModelFallback::parse_own(text) {
                Some(chains) => changes.push(TermChange::Fallback(chains)),
                None => {
                    errors.insert("model_fallback", language.bad_fallback().to_owned());
                }
            },
        }
        if changes.is_empty() && errors.is_empty() {
            errors.insert("expires", language.no_change_given().to_owned());
        }
        if errors.is_empty() {
            Ok(changes)
        } else {
            Err(errors)
        }
    }

    fn text_of(&self, limit: ClientLimit) -> &str {
        match limit {
            ClientLimit::RequestsPerMinute => &self.requests_per_minute,
            ClientLimit::RequestsPerDay => &self.requests_per_day,
            ClientLimit::TokensPerMinute => &self.tokens_per_minute,
            ClientLimit::TokensPerDay => &self.tokens_per_day,
            ClientLimit::Concurrency => &self.concurrency,
            ClientLimit::CostPerMonth => &self.cost_per_month,
        }
    }

    fn value_fields(&self, context: &PageContext, errors: &FieldErrors) -> Markup {
        let language = context.language;
        let error = |name: &str| errors.get(name).map(String::as_str);
        let zone = context.zone.iana_name().unwrap_or("UTC");
        let expires =
            html! { input #expires type="datetime-local" name="expires" value=(self.expires); };
        let hint = language.bulk_expires_hint(zone);
        let limit_field = |limit: ClientLimit| {
            let name = limit.name();
            let input = html! {
                input #(name) name=(name) value=(self.text_of(limit)) inputmode="decimal" autocomplete="off"
                    placeholder=(language.unchanged());
            };
            field(name, language.limit(limit), None, error(name), input)
        };
        let tags = Some(language.tags_hint());
        let fallback = html! {
            input #model_fallback name="model_fallback" value=(self.model_fallback) autocomplete="off" spellcheck="false"
                autocapitalize="none" placeholder=(language.unchanged());
        };
        let fallback_hint = Some(language.bulk_fallback_hint());
        html! {
            (field("expires", language.client_key_expires(), Some(&hint), error("expires"), expires))
            label.check {
                input type="checkbox" name="never_expires" value="on" checked[!self.never_expires.is_empty()];
                (language.never_expires())
            }
            fieldset {
                legend { (language.client_key_limits()) }
                p.hint.small { (language.bulk_limits_lead()) }
                div.fields { @for limit in ClientLimit::ALL.iter().copied() { (limit_field(limit)) } }
            }
            (field("add_tags", language.add_tags(), tags, error("add_tags"), text_input("add_tags", &self.add_tags)))
            (field("remove_tags", language.remove_tags(), tags, error("remove_tags"), text_input("remove_tags", &self.remove_tags)))
            (field("model_fallback", language.own_fallback(), fallback_hint, error("model_fallback"), fallback))
        }
    }
}

pub async fn update(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<ClientKeyBulkForm>,
) -> Result<Response, ErrorPage> {
    let language = context.language;
    let Ok(action) = form.action.parse::<ClientKeyAction>() else {
        return Err(Error::Invalid(language.unknown_action().to_owned()).into());
    };
    let selection = form.selection();
    let back = selection.back_to(PATH);
    let find = async {
        let uri: Uri = back.parse().unwrap_or_default();
        let query = axum::extract::Query::<ClientKeyListQuery>::try_from_uri(&uri);
        let filter = query.map(|query| query.0).unwrap_or_default().filter();
        let keys = client_keys::list(&app.db.readers).await?;
        let matching = keys.iter().filter(|key| filter.matches(key, context.now));
        Ok::<_, ErrorPage>(matching.map(|key| key.id).collect())
    };
    let pending = &app.jobs.matched_clients;
    let rows = selection.rows(pending, context.now, ClientKeyId, find);
    let SelectedRows {
        ids,
        is_as_confirmed,
    } = rows.await?;
    if ids.is_empty() {
        let notice = Notice::failed(language.no_keys_selected());
        return Ok(context.redirect_with(notice, back).await.into_response());
    }
    let none = FieldErrors::new();
    let page = async |error, errors: &FieldErrors| {
        confirmation_page(&app, &context, &form, action, &ids, error, errors).await
    };
    if form.needs_confirmation(action) && !selection.is_confirmed() {
        return Ok(page(None, &none).await?.into_response());
    }
    if !is_as_confirmed {
        let page = page(Some(language.confirmation_expired()), &none).await?;
        return Ok((StatusCode::CONFLICT, page).into_response());
    }
    let change = match form.change(&context, action) {
        Ok(change) => change,
        Err(errors) => {
            let page = page(None, &errors).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let (actor, now) = (context.actor(), context.now);
    let done = change::change_all(&app.db, &actor, now, &ids, &change).await?;
    app.reload(clock::now()).await?;
    let notice = notice(language, action, &done, back);
    Ok(context.redirect_with(notice, back).await.into_response())
}

/// Undoes what the admin's last change of many keys did, except for what was changed again since.
pub async fn undo(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<UndoQuery>,
) -> Result<Redirect, ErrorPage> {
    let (actor, revisions) = (context.actor(), (query.from, query.to));
    let undone = change::undo_all(&app.db, &actor, context.now, revisions).await?;
    app.reload(clock::now()).await?;
    let notice = match undone {
        0 => Notice::failed(context.language.act_not_undone()),
        undone => Notice::done(context.language.act_undone(undone)),
    };
    let back = if query.back.starts_with(PATH) {
        local_path(&query.back)
    } else {
        PATH
    };
    Ok(context.redirect_with(notice, back).await)
}

/// The result, with an undo button.
fn notice(
    language: Language,
    action: ClientKeyAction,
    done: &ChangedClientKeys,
    back: &str,
) -> Notice {
    let keys = language.client_keys_counted(done.changed);
    let notice = Notice::done(match action {
        ClientKeyAction::Enable => language.keys_enabled(&keys),
        ClientKeyAction::Disable => language.keys_disabled(&keys),
        ClientKeyAction::Update => language.keys_changed(&keys),
        ClientKeyAction::Delete => language.keys_deleted(&keys),
    });
    match done.revisions {
        Some((from, to)) if !done.undoable_acts.is_empty() => {
            let (from, to) = (from.to_string(), to.to_string());
            let range = [("from", from.as_str()), ("to", &to), ("back", back)];
            notice.with_undo(href(&format!("{PATH}/undo"), &range))
        }
        _ => notice,
    }
}

/// The confirmation page: the action, some of its keys, and further input it needs.
async fn confirmation_page(
    app: &App,
    context: &PageContext,
    form: &ClientKeyBulkForm,
    action: ClientKeyAction,
    ids: &[ClientKeyId],
    error: Option<&str>,
    errors: &FieldErrors,
) -> Result<Markup, ErrorPage> {
    let language = context.language;
    let selection = form.selection();
    let mut first = Vec::new();
    for key in client_keys::list(&app.db.readers).await? {
        if first.len() < MAX_LISTED && ids.binary_search(&key.id).is_ok() {
            first.push((key.name, key.last4));
        }
    }
    let is_all = selection.is_all();
    let pending = &app.jobs.matched_clients;
    let is_update = action == ClientKeyAction::Update;
    let labelled: Vec<_> = errors
        .iter()
        .map(|(name, error)| (*name, field_label(language, name), error.as_str()))
        .collect();
    let fields = html! {
        (error_summary(language, &labelled))
        @if is_update { (form.value_fields(context, errors)) }
    };
    let confirmation = Confirmation {
        section: Section::ClientKeys,
        list_title: language.client_keys(),
        list_path: PATH,
        title: &language.confirm_client_keys(action, &language.client_keys_counted(ids.len())),
        text: language.client_key_action_means(action),
        action: action.name(),
        is_danger: action == ClientKeyAction::Delete,
        count: ids.len(),
        first,
        matched: is_all.then(|| pending.insert(ids.to_vec(), context.now)),
        fields,
        error,
    };
    Ok(bulk::confirmation_page(context, &selection, confirmation))
}

fn field_label(language: Language, name: &str) -> &'static str {
    match name {
        "expires" => language.client_key_expires(),
        "add_tags" => language.add_tags(),
        "remove_tags" => language.remove_tags(),
        "model_fallback" => language.own_fallback(),
        name => name.parse().map_or("", |limit| language.limit(limit)),
    }
}
