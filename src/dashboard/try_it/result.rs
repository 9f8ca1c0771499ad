//! The answer of a tried request on the page, with facts of its log row.

use maud::{Markup, html};

use crate::dashboard::components::{Tone, card, mark};
use crate::dashboard::logs::bodies::readable;
use crate::dashboard::logs::body_text::ReadableBody;
use crate::dashboard::logs::detail::{millis, timeline, token_facts};
use crate::dashboard::logs::outcome_labels::{outcome_badge, outcome_description};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::snippets::tabs;
use crate::dashboard::try_it::answer::TriedAnswer;
use crate::dashboard::try_it::form::TryRequest;
use crate::dashboard::try_it::request_snippets::request_snippets;
use crate::storage::request_logs::listed::RequestLog;

/// Before the first request.
pub fn nothing(context: &PageContext) -> Markup {
    let language = context.language;
    html! {
        div.result #result {
            (card(language.try_answer(), html! { p.muted { (language.try_nothing_sent()) } }))
        }
    }
}

/// While the answer arrives; a script fills in the text.
pub fn running(context: &PageContext) -> Markup {
    let language = context.language;
    html! {
        div.result #result {
            (card(language.try_answer(), html! {
                p.waiting data-try-state role="status" { (mark(Tone::Wait)) " " span { (language.try_waiting()) } }
                pre.body-text data-try-text tabindex="0" hidden {}
            }))
        }
    }
}

/// The whole answer.
pub fn view(
    context: &PageContext,
    tried: &TryRequest,
    answer: &TriedAnswer,
    row: Option<&RequestLog>,
) -> Markup {
    let language = context.language;
    html! {
        div.result #result {
            (card(language.try_answer(), html! {
                (summary(context, answer, row))
                @if let Some(message) = answer.error_message() {
                    pre.error-text tabindex="0" { (message) }
                } @else if answer.text.is_empty() {
                    p.muted { (language.try_no_text()) }
                } @else {
                    pre.body-text data-try-text tabindex="0" { (answer.text) }
                }
                @if answer.is_broken { p.form-error { (language.try_lost()) } }
                (readable(language, &sent(answer)))
            }))
            @if let Some(row) = row {
                (card(language.the_attempts(), timeline(context, row)))
                (card(language.tokens_and_cost(), html! {
                    (token_facts(language, row))
                    dl.facts {
                        dt { (language.try_first_byte()) } dd { (millis(language, row.first_byte_ms.or(row.duration_ms))) }
                        dt { (language.try_duration()) } dd { (millis(language, row.duration_ms)) }
                    }
                }))
            }
            (card(language.try_same_request(), html! {
                p.muted { (language.try_same_request_lead()) }
                (tabs(language, &request_snippets(&context.base_url, tried)))
            }))
        }
    }
}

/// What came of the request, and what that means.
fn summary(context: &PageContext, answer: &TriedAnswer, row: Option<&RequestLog>) -> Markup {
    let language = context.language;
    html! {
        div.summary role="status" {
            @match row {
                Some(row) => {
                    (outcome_badge(language, row.outcome))
                    span.mono { (answer.status.as_u16()) }
                    span { (outcome_description(language, row.outcome)) }
                    a href={ "/logs/" (row.id) } { (language.try_view_log()) }
                }
                None => {
                    span.mono { (answer.status.as_u16()) }
                    span { (language.try_no_row()) }
                }
            }
        }
    }
}

/// What the client received, without the text that is shown already.
fn sent(answer: &TriedAnswer) -> ReadableBody {
    let mut body = ReadableBody::read(&String::from_utf8_lossy(&answer.sent));
    body.answers.clear();
    body
}
