//! `/logs/{id}`: one request with its attempts, their results and its outcome.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum_extra::extract::Query;
use maud::{Markup, html};

use crate::app::App;
use crate::clock;
use crate::dashboard::components::{ago, bytes, card, duration_ms, exact, number, usd};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::logs::bodies;
use crate::dashboard::logs::list::SEARCH_TIME_LIMIT;
use crate::dashboard::logs::outcome_labels::{
    outcome_badge, outcome_description, outcome_label, retry_description, rule_description,
};
use crate::dashboard::logs::query::{LogField, LogQuery, requests_around};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::error::Error;
use crate::pool::health::verdict::Rule;
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::pool::retry::StopReason;
use crate::storage::error::Thing;
use crate::storage::request_bodies;
use crate::storage::request_logs::id_range::LogPosition;
use crate::storage::request_logs::listed::{self, ListedAttempt, RequestLog};
use crate::storage::request_logs::search::search;
use crate::storage::request_logs::{BOUND_BY_PREFERRED_PROJECT, LogKind};

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Path(id): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Markup, ErrorPage> {
    let query = LogQuery::from_pairs(pairs);
    let id: RequestId = id
        .parse()
        .map_err(|_| Error::NotFound(Thing::Request, id.clone()))?;
    let row = listed::find(&app.db.readers, id).await?;
    let has_bodies = request_bodies::exists(&app.db.readers, id).await?;
    let around = neighbours(&app, &context, &query, id).await?;
    Ok(view(&context, &query, &row, has_bodies, around))
}

/// The requests of the same list before and after one, as far as they are found in time.
async fn neighbours(
    app: &App,
    context: &PageContext,
    query: &LogQuery,
    id: RequestId,
) -> Result<[Option<RequestId>; 2], ErrorPage> {
    let (filter, _) = query.filter(&context.zone, context.now);
    let find = async |position| {
        let deadline = Some(clock::instant() + SEARCH_TIME_LIMIT);
        let found = search(&app.db.readers, &filter, position, 1, deadline).await?;
        Ok::<_, ErrorPage>(found.rows.first().map(|row| row.id))
    };
    Ok([
        find(LogPosition::OlderThan(id)).await?,
        find(LogPosition::NewerThan(id)).await?,
    ])
}

fn view(
    context: &PageContext,
    query: &LogQuery,
    row: &RequestLog,
    has_bodies: bool,
    [older, newer]: [Option<RequestId>; 2],
) -> Markup {
    let language = context.language;
    let title = row
        .model
        .as_deref()
        .or(row.operation.as_deref())
        .unwrap_or(&row.path);
    let step = |id: Option<RequestId>, label: &str, rel: &str| {
        html! { @if let Some(id) = id { a.button href=(query.href(&format!("/logs/{id}"))) rel=(rel) { (label) } } }
    };
    let actions = html! {
        (step(newer, language.next_request(), "prev"))
        (step(older, language.previous_request(), "next"))
    };
    let body = html! {
        nav.crumbs {
            a href=(query.href("/logs")) {
                "← " @if query.is_empty() { (language.back_to_logs()) } @else { (language.back_to_results()) }
            }
        }
        (heading(title, actions))
        div.summary {
            (outcome_badge(language, row.outcome))
            @if let Some(status) = row.status { span.mono { (status) } }
            span { (outcome_description(language, row.outcome)) }
        }
        @if let Some(error) = row.error.as_ref().filter(|error| !is_error_of_attempt(row, error)) {
            pre.error-text tabindex="0" { (error) }
        }
        (related(language, row))
        (card(language.the_attempts(), timeline(context, row)))
        div.cards.three {
            (card(language.the_request(), request_facts(context, row)))
            (card(language.the_answer(), response_facts(context, row)))
            (card(language.tokens_and_cost(), token_facts(language, row)))
        }
        @if has_bodies { (bodies::link(language, row.id)) }
    };
    layout::page(context, Section::Logs, title, body)
}

/// Whether an attempt already shows this error.
fn is_error_of_attempt(row: &RequestLog, error: &str) -> bool {
    let mut attempts = row.attempt_list.iter().flatten();
    attempts.any(|attempt| attempt.error.as_deref() == Some(error))
}

/// The attempts in order.
pub fn timeline(context: &PageContext, row: &RequestLog) -> Markup {
    let language = context.language;
    let attempts = row.attempt_list.as_deref().unwrap_or_default();
    html! {
        @if attempts.is_empty() {
            p { strong { (language.no_attempts_title()) } ". " (outcome_description(language, row.outcome)) }
        } @else {
            ol.timeline {
                @for (index, attempt) in attempts.iter().enumerate() {
                    @let before = index.checked_sub(1).map(|index| &attempts[index]);
                    @let is_last = index + 1 == attempts.len();
                    li { (attempt_step(context, row, attempt, before, is_last)) }
                }
            }
        }
    }
}

fn attempt_step(
    context: &PageContext,
    row: &RequestLog,
    attempt: &ListedAttempt,
    before: Option<&ListedAttempt>,
    is_last: bool,
) -> Markup {
    let language = context.language;
    let rule = attempt.rule.as_deref().and_then(Rule::named);
    let stop_reason = row.stop_reason.as_deref();
    let stop_reason: Option<StopReason> = stop_reason.and_then(|name| name.parse().ok());
    let after = (attempt.started_at - row.started_at).as_millis();
    let after = u64::try_from(after).unwrap_or(u64::MAX);
    html! {
        div.step-head {
            span.label { (language.attempt_number(attempt.number)) }
            (outcome_badge(language, attempt.outcome))
            @if let Some(status) = attempt.status { span.mono { (status) } }
            span.grow {}
            span.muted title=(exact(&context.zone, attempt.started_at)) {
                (language.after_start(&duration_ms(language, after)))
            }
            span.nowrap { (millis(language, attempt.duration_ms)) }
        }
        dl.facts {
            dt { (language.log_key()) }
            dd {
                (key_link(attempt))
                @if let Some(project) = &attempt.project { span.muted { " · " (project) } }
            }
            @if let Some(egress) = &attempt.egress {
                dt { (language.log_egress()) }
                dd { a href=("/egress-proxies") { (egress) } }
            }
            dt { (language.why_chosen()) }
            dd { (why_chosen(language, row, attempt, before)) }
            dt { (language.attempt_result()) }
            dd {
                @match rule {
                    Some(rule) => {
                        (rule_description(language, rule)) " "
                        @if !is_last {
                            (retry_description(language, rule)) " "
                        } @else if let Some(reason) = stop_reason {
                            (language.stopped_because(reason)) " "
                        }
                        code.tag { (rule.name()) }
                    }
                    None => { (outcome_description(language, attempt.outcome)) }
                }
            }
            @if let Some(error) = &attempt.error {
                dt { (language.google_error()) }
                dd { pre.error-text tabindex="0" { (error) } }
            }
        }
    }
}

fn key_link(attempt: &ListedAttempt) -> Markup {
    let id = attempt.upstream_key_id.0;
    html! {
        a href={ "/upstream-keys/" (id) } { (attempt.upstream_key.as_deref().unwrap_or("#")) @if attempt.upstream_key.is_none() { (id) } }
        @if let Some(last4) = attempt.upstream_key_last4.as_deref().filter(|last4| !last4.is_empty()) {
            " " span.mono.muted { "…" (last4) }
        }
    }
}

/// The reason for selecting this key, derived from the log rows.
fn why_chosen(
    language: Language,
    row: &RequestLog,
    attempt: &ListedAttempt,
    before: Option<&ListedAttempt>,
) -> String {
    let Some(before) = before else {
        match row.bound_by.as_deref() {
            Some(BOUND_BY_PREFERRED_PROJECT) => {
                return language.chosen_preferred_project().to_owned();
            }
            Some(name) => return language.chosen_required_project(name),
            None => {}
        }
        return match (row.kind, u64::try_from(row.wait_ms).unwrap_or(0)) {
            (LogKind::Check, _) => language.chosen_for_check().to_owned(),
            (LogKind::Request, 0) => language.chosen_first().to_owned(),
            (LogKind::Request, ms) => language.chosen_after_wait(&duration_ms(language, ms)),
        };
    };
    let rule = outcome_label(language, before.outcome);
    if before.upstream_key_id == attempt.upstream_key_id {
        language.chosen_same_key(rule)
    } else if before.project_id == attempt.project_id {
        language.chosen_same_project(rule)
    } else {
        language.chosen_other_project(rule)
    }
}

fn request_facts(context: &PageContext, row: &RequestLog) -> Markup {
    let language = context.language;
    html! {
        dl.facts {
            (fact(language.log_id(), html! { span.mono { (row.id) } }))
            (fact(language.log_started(), html! { (exact(&context.zone, row.started_at)) span.muted { " · " (ago(context, row.started_at, context.now)) } }))
            @if row.kind == LogKind::Check { (fact(language.log_kind(), html! { (language.kind_check()) })) }
            @if let Some(name) = &row.client_key {
                (fact(language.log_client(), html! {
                    @if let Some(id) = row.client_key_id { a href={ "/client-keys/" (id.0) } { (name) } } @else { (name) }
                }))
            }
            (text_fact(language.log_ip(), row.client_ip.as_deref()))
            (text_fact(language.log_agent(), row.user_agent.as_deref()))
            (fact(language.log_path(), html! { span.mono { (row.method) " " (row.path) } }))
            (text_fact(language.log_operation(), row.operation.as_deref()))
            (text_fact(language.log_model(), row.model.as_deref()))
            (text_fact(language.log_fallback_model(), row.fallback_model.as_deref()))
            @if let Some(name) = row.bound_by.as_deref().filter(|name| *name != BOUND_BY_PREFERRED_PROJECT) {
                (fact(language.log_routed_by(), html! { span.mono { (name) } }))
            }
            (fact(language.log_streamed(), html! { @if row.streamed { (language.yes()) } @else { (language.no()) } }))
            (fact(language.log_request_bytes(), html! { (size(row.request_bytes)) }))
        }
    }
}

fn response_facts(context: &PageContext, row: &RequestLog) -> Markup {
    let language = context.language;
    html! {
        dl.facts {
            (fact(language.log_outcome(), outcome_badge(language, row.outcome)))
            (fact(language.log_status(), html! { @match row.status { Some(status) => (status), None => (language.not_sent()) } }))
            @if let Some(code) = row.close_code { (fact(language.log_close_code(), html! { (code) })) }
            @if let Some(turns) = row.turns { (fact(language.log_turns(), html! { (number(turns)) })) }
            (text_fact(language.log_version(), row.model_version.as_deref()))
            (text_fact(language.log_finish_reason(), row.finish_reason.as_deref()))
            (text_fact(language.log_service_tier(), row.service_tier.as_deref()))
            (text_fact(language.log_project(), row.project.as_deref()))
            (text_fact(language.log_egress(), row.egress.as_deref()))
            (fact(language.log_attempts(), html! { (number(row.attempts)) }))
            @if row.wait_ms > 0 { (fact(language.log_queue_time(), html! { (millis(language, Some(row.wait_ms))) })) }
            @if row.first_byte_ms.is_some() { (fact(language.log_first_byte(), html! { (millis(language, row.first_byte_ms)) })) }
            (fact(language.log_duration(), html! { (millis(language, row.duration_ms)) }))
            (fact(language.log_response_bytes(), html! { (size(row.response_bytes)) }))
        }
    }
}

/// The tokens and the cost of a request.
pub fn token_facts(language: Language, row: &RequestLog) -> Markup {
    let count = |name: &str, count: Option<i64>, beside: &str| {
        html! {
            @if let Some(count) = count {
                dt { (name) }
                dd { (number(count)) @if !beside.is_empty() { span.muted { " · " (beside) } } }
            }
        }
    };
    html! {
        @if row.total_tokens.is_none() && row.prompt_tokens.is_none() {
            p.muted { (language.no_tokens()) }
        }
        @if row.usage_estimated {
            p.muted { (language.tokens_estimated()) }
        }
        dl.facts {
            (count(language.log_prompt_tokens(), row.prompt_tokens, ""))
            (count(language.log_cached_tokens(), row.cached_tokens, language.of_prompt()))
            (count(language.log_output_tokens(), row.output_tokens, ""))
            (count(language.log_thought_tokens(), row.thought_tokens, ""))
            (count(language.log_tool_tokens(), row.tool_tokens, ""))
            (count(language.log_total_tokens(), row.total_tokens, ""))
            dt { (language.log_cost()) }
            dd {
                @match row.cost_usd {
                    Some(cost) => (usd(cost)),
                    None if row.total_tokens.is_some() => (language.cost_unknown()),
                    None => "–",
                }
            }
        }
    }
}

/// Links to requests with the same client, key, model, address or outcome.
fn related(language: Language, row: &RequestLog) -> Markup {
    let any = LogQuery::default();
    let mut links = vec![(language.same_client_around(), requests_around(row))];
    if let Some(id) = row.upstream_key_id {
        links.push((
            language.same_key_requests(),
            any.with(LogField::Key, &id.0.to_string()),
        ));
    }
    if let Some(model) = &row.model {
        links.push((
            language.same_model_requests(),
            any.with(LogField::Model, model),
        ));
        if let Some(outcome) = row.outcome.filter(|outcome| *outcome != Outcome::Success) {
            let same = any
                .with(LogField::Model, model)
                .with(LogField::Outcome, outcome.name());
            links.push((language.same_outcome_requests(), same));
        }
    }
    if let Some(ip) = &row.client_ip {
        links.push((language.same_address_requests(), any.with(LogField::Ip, ip)));
    }
    html! {
        nav.chips.related aria-label=(language.related_requests()) {
            span.muted { (language.related_requests()) }
            @for (label, query) in links { a.chip href=(query.href("/logs")) { (label) } }
        }
    }
}

fn fact(name: &str, value: Markup) -> Markup {
    html! { dt { (name) } dd { (value) } }
}

fn text_fact(name: &str, text: Option<&str>) -> Markup {
    html! { @if let Some(text) = text { (fact(name, html! { (text) })) } }
}

/// A duration; a request without one is running.
pub fn millis(language: Language, ms: Option<i64>) -> String {
    match ms {
        Some(ms) => duration_ms(language, u64::try_from(ms).unwrap_or(0)),
        None => language.still_running().to_owned(),
    }
}

fn size(size: i64) -> String {
    bytes(u64::try_from(size).unwrap_or(0))
}
