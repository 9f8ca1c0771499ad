//! Labels of a model on its pages: price, token limits, use and path.

use maud::{Markup, html};

use crate::dashboard::components::{dollars, href, number, success_rate, tokens};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::gemini::prices::{self, ListPrice};
use crate::pool::model_lists::ListedModel;
use crate::pool::model_prices::ModelPrices;
use crate::pool::money::usd;
use crate::storage::usage::sums::UsageSums;

/// The path of a model's page.
pub fn page_of(name: &str) -> String {
    href("/models/detail", &[("name", name)])
}

/// As in `1M in · 65K out`; `None`: not said.
pub fn token_limits(language: Language, model: &ListedModel) -> Option<String> {
    let input = model.input_token_limit.map(|limit| tokens(limit.into()));
    let output = model.output_token_limit.map(|limit| tokens(limit.into()));
    match (input, output) {
        (None, None) => None,
        (input, output) => {
            let text = |limit: Option<String>| limit.unwrap_or_else(|| "–".to_owned());
            Some(language.models_token_limits(&text(input), &text(output)))
        }
    }
}

/// Requests with their success, tokens and cost.
pub fn use_cell(language: Language, sums: &UsageSums) -> Markup {
    html! {
        span.lines {
            span {
                @if sums.requests == 0 { "0" } @else {
                    (language.requests_counted(sums.requests))
                    span.small.muted title=(language.success_rate()) { " · " (success_rate(sums.successes, sums.failures)) }
                }
            }
            @if sums.requests > 0 {
                span.small.muted {
                    span title=(number(sums.total_tokens)) { (language.models_tokens_used(&tokens(sums.total_tokens))) } " · " (dollars(sums.cost_nano_usd))
                }
            }
        }
    }
}

/// Dollars for a million tokens of input and output: the admin's own, else Google's.
pub fn price(context: &PageContext, own: &ModelPrices, name: &str) -> Markup {
    let language = context.language;
    if let Some(own) = own.find(name) {
        let text = pair(own.input_nano_usd, Some(own.output_nano_usd));
        return html! {
            span.lines { span { (text) } a.small href="/settings/model_prices" { (language.models_own_price()) } }
        };
    }
    let Some(listed) = prices::list_price(name, context.now) else {
        return html! { span.muted.nowrap { (language.models_no_price()) } };
    };
    let text = pair(listed.input_nano_usd, listed.output_nano_usd);
    html! {
        span.lines {
            span { (text) }
            @if let Some(note) = note(language, &listed) { span.small.muted { (note) } }
        }
    }
}

fn pair(input: u64, output: Option<u64>) -> String {
    let output = output.map_or_else(|| "–".to_owned(), |output| format!("${}", usd(output)));
    format!("${} / {output}", usd(input))
}

fn note(language: Language, listed: &ListPrice) -> Option<String> {
    match listed.long_prompt_tokens {
        Some(above) => Some(language.models_long_prompts(&tokens(above))),
        None => listed.since.map(|since| language.quota_since(since)),
    }
}
