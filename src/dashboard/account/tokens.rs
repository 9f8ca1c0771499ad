//! API tokens of programs: the list on the account's page, and creating and revoking them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::Form;
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::components::{
    Tone, ago, badge, card, confirm_form, copyable, empty_state, field, moment, select,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::{Notice, PageContext};
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::pool::api_token::{
    self, ApiScope, ApiTokenId, MAX_NAME_CHARACTERS, TokenAccess, TokenGrant,
};
use crate::pool::clients::one_time_secrets::SecretOwner;
use crate::storage::api_tokens::{self, ApiToken};
use crate::storage::audit::Act;
use crate::storage::error::Thing;

/// The list of tokens on the account's page.
const LIST: &str = "/account#tokens";
/// The lifetimes that the form offers, in days; 0: unlimited.
const LIFETIMES: [u64; 4] = [30, 90, 365, 0];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TokenForm {
    name: String,
    access: String,
    /// In days; empty or 0: unlimited.
    lifetime: String,
    scope: Vec<String>,
}

impl TokenForm {
    /// What the token may do; `None`: the form was edited. An unknown scope must not be ignored: no scope means all.
    fn grant(&self, now: Timestamp) -> Option<TokenGrant> {
        let scopes = self.scope.iter().map(|name| name.parse().ok());
        let scopes: Option<Vec<ApiScope>> = scopes.collect();
        let days = self.lifetime.parse().ok();
        let days = days.filter(|days| LIFETIMES.contains(days))?;
        let expires_at = (days > 0).then(|| now + Duration::from_hours(24 * days));
        Some(TokenGrant::new(
            self.access.parse().ok()?,
            scopes?,
            expires_at,
        ))
    }
}

/// The form for a new token.
pub async fn new(context: PageContext) -> Markup {
    form_page(&context, &TokenForm::default(), None)
}

/// Creates a token. Its text stays in memory for the next page, so that a reload creates no second one.
pub async fn create(
    State(app): State<Arc<App>>,
    context: PageContext,
    Form(form): Form<TokenForm>,
) -> Result<Response, ErrorPage> {
    let language = context.language;
    let refuse = |error| {
        let page = form_page(&context, &form, Some(error));
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    let Ok(name) = api_token::parse_name(&form.name) else {
        return refuse(language.token_name_wrong());
    };
    let Some(grant) = form.grant(context.now) else {
        return Err(Error::Invalid(language.unknown_action().to_owned()).into());
    };
    let secret = api_token::generate(&mut rand::rng());
    let mut tx = app.db.begin().await?;
    let act = Act::without_revision(context.actor(), context.now);
    let Some(id) = api_tokens::insert(&mut tx, name, &secret, &grant, &act).await? else {
        return refuse(language.token_name_taken());
    };
    tx.commit().await?;
    let admin_id = context.admin.id.0;
    app.one_time_secrets
        .lock()
        .insert(SecretOwner::ApiToken(id), admin_id, secret, context.now);
    Ok(Redirect::to(&format!("/account/tokens/{}/created", id.0)).into_response())
}

/// Shows the text of a new token once.
pub async fn created(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let token = find(&app, &id).await?;
    let mut secrets = app.one_time_secrets.lock();
    let owner = SecretOwner::ApiToken(token.id);
    let secret = secrets.take(owner, context.admin.id.0, context.now);
    drop(secrets);
    let language = context.language;
    let title = language.token_is_made(&token.name);
    let to_list = html! { a.button href=(LIST) { (language.to_tokens()) } };
    let body = if let Some(secret) = &secret {
        let request = format!(
            "curl -H \"Authorization: Bearer {}\" {}/api/v1/upstream-keys",
            secret.expose(),
            context.base_url
        );
        html! {
            (heading(&title, to_list))
            (card(language.token(), html! {
                div.secret { (copyable(language, "secret", secret.expose())) }
                p { strong { (language.token_copy_it_now()) } }
            }))
            (card(language.use_it(), copyable(language, "request", &request)))
        }
    } else {
        html! {
            (heading(&title, html! {}))
            (empty_state(language.token_already_shown(), language.token_already_shown_text(), to_list))
        }
    };
    Ok(layout::page(&context, Section::Account, &title, body))
}

/// The confirmation page for revoking a token.
pub async fn confirm_revoke(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Markup, ErrorPage> {
    let token = find(&app, &id).await?;
    let language = context.language;
    let title = language.revoke_token_question(&token.name);
    let (text, submit) = (language.revoke_token_text(), language.revoke_token());
    let body = html! {
        (heading(&title, html! {}))
        (confirm_form(&context, text, submit, LIST))
    };
    Ok(layout::page(&context, Section::Account, &title, body))
}

pub async fn revoke(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let token = find(&app, &id).await?;
    let mut tx = app.db.begin().await?;
    let act = Act::without_revision(context.actor(), context.now);
    api_tokens::delete(&mut tx, token.id, &act).await?;
    tx.commit().await?;
    let notice = Notice::done(context.language.token_revoked(&token.name));
    Ok(context.redirect_with(notice, LIST).await)
}

async fn find(app: &App, id: &str) -> Result<ApiToken, ErrorPage> {
    let missing = || Error::NotFound(Thing::ApiToken, id.to_owned());
    let id = id.parse().map(ApiTokenId).map_err(|_| missing())?;
    Ok(api_tokens::find(&app.db.readers, id).await?)
}

/// The list of tokens.
pub fn list(context: &PageContext, tokens: &[ApiToken]) -> Markup {
    let language = context.language;
    html! {
        section.card #tokens {
            h2 { (language.tokens_title()) }
            p.muted { (language.tokens_lead()) }
            @if !tokens.is_empty() { (table(context, tokens)) }
            div.actions {
                a.button href="/account/tokens/new" { (language.new_token()) }
                a.button.plain href="/api-reference" { (language.api_reference()) }
            }
        }
    }
}

fn table(context: &PageContext, tokens: &[ApiToken]) -> Markup {
    let language = context.language;
    html! {
        div.table { table.stack {
            thead { tr {
                th scope="col" { (language.token_name()) } th scope="col" { (language.token_access()) }
                th scope="col" { (language.token_scopes()) } th scope="col" { (language.client_key_expires()) }
                th scope="col" { (language.client_key_last_used()) }
                th scope="col" { span.visually-hidden { (language.revoke_token()) } }
            } }
            tbody { @for token in tokens { tr {
                td data-label=(language.token_name()) { span { (token.name) " " span.mono.muted.nowrap { "…" (token.last4) } } }
                td data-label=(language.token_access()) { (access_label(language, token.access)) }
                td data-label=(language.token_scopes()) { (scopes(language, token)) }
                td data-label=(language.client_key_expires()) { (expiry(context, token)) }
                td data-label=(language.client_key_last_used()) {
                    @if let Some(at) = token.last_used_at { (ago(context, at, context.now)) } @else { (language.never()) }
                }
                td.number { a.button.small.danger href={ "/account/tokens/" (token.id.0) "/revoke" } { (language.revoke_token()) } }
            } } }
        } }
    }
}

fn access_label(language: Language, access: TokenAccess) -> &'static str {
    match access {
        TokenAccess::Read => language.token_read(),
        TokenAccess::Write => language.token_write(),
    }
}

fn scopes(language: Language, token: &ApiToken) -> Markup {
    html! {
        @if token.scopes.is_empty() { (language.token_all_scopes()) }
        @for scope in &token.scopes { span.tag { (language.api_scope(*scope)) } " " }
    }
}

fn expiry(context: &PageContext, token: &ApiToken) -> Markup {
    let language = context.language;
    html! {
        @match token.expires_at {
            Some(_) if token.grant().is_expired(context.now) => { (badge(Tone::Bad, language.client_key_expired())) }
            Some(at) => { (moment(context, at)) }
            None => { (language.token_no_expiry()) }
        }
    }
}

fn form_page(context: &PageContext, form: &TokenForm, error: Option<&str>) -> Markup {
    let language = context.language;
    let title = language.new_token();
    let name = html! {
        input #name name="name" value=(form.name) maxlength=(MAX_NAME_CHARACTERS) autocomplete="off" required;
    };
    let accesses = [
        ("read", language.token_read()),
        ("write", language.token_write()),
    ];
    let lifetimes = LIFETIMES.map(|days| (days.to_string(), language.lifetime(days)));
    let lifetimes: Vec<_> = lifetimes
        .iter()
        .map(|(value, label)| (value.as_str(), label.as_str()))
        .collect();
    let body = html! {
        (heading(title, html! {}))
        form.card.narrow method="post" action="/account/tokens" {
            (context.csrf_field())
            (field("name", language.token_name(), Some(language.token_name_hint()), error, name))
            (field("access", language.token_access(), Some(language.token_access_hint()), None,
                select("access", "access", &form.access, &accesses)))
            (field("lifetime", language.client_key_expires(), None, None,
                select("lifetime", "lifetime", &form.lifetime, &lifetimes)))
            fieldset {
                legend { (language.token_scopes()) }
                p.hint.small { (language.token_scopes_hint()) }
                @for scope in ApiScope::ALL.iter().copied() {
                    label.check {
                        input type="checkbox" name="scope" value=(scope.name()) checked[form.scope.iter().any(|name| name == scope.name())];
                        (language.api_scope(scope))
                    }
                }
            }
            div.actions {
                button.primary type="submit" { (language.create_token()) }
                a.button href=(LIST) { (language.cancel()) }
            }
        }
    };
    layout::page(context, Section::Account, title, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_with_an_unknown_value_grants_nothing() {
        let now = Timestamp::from_millis(0);
        let form = |access: &str, lifetime: &str, scope: &str| TokenForm {
            name: "deploy".to_owned(),
            access: access.to_owned(),
            lifetime: lifetime.to_owned(),
            scope: vec![scope.to_owned()],
        };

        let grant = form("write", "30", "logs").grant(now).unwrap();

        assert_eq!(grant.access, TokenAccess::Write);
        assert_eq!(grant.scopes, [ApiScope::Logs]);
        assert_eq!(grant.expires_at, Some(now + Duration::from_hours(24 * 30)));
        for edited in [
            form("root", "30", "logs"),
            form("read", "31", "logs"),
            form("read", "30", "everything"),
        ] {
            assert_eq!(edited.grant(now), None, "{edited:?}");
        }
    }
}
