//! `/problems`: why requests cannot be served or recorded now, at the top of every page, which reads it again every two seconds.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use crate::app::App;
use crate::dashboard::components::{Tone, mark};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::pool_problem::{self, PoolProblem};
use crate::dashboard::translations::Language;
use crate::pool::keys::overview::ServiceProblem;
use crate::storage::write_health::WriteProblem;

pub const PATH: &str = "/problems";

/// The problems for an open page.
pub async fn show(State(app): State<Arc<App>>, context: PageContext) -> Markup {
    app.probe_requests.refresh().await;
    view(context.language, &pool_problem::find(&app))
}

/// One notice with all problems; nothing without any.
pub fn view(language: Language, problems: &[PoolProblem]) -> Markup {
    if problems.is_empty() {
        return html! {};
    }
    let is_serving = !problems.iter().any(PoolProblem::stops_service);
    html! {
        div.notice.failed role="alert" {
            (mark(Tone::Bad))
            p {
                @if !is_serving { strong { (language.cannot_serve()) } " · " }
                @for (index, problem) in problems.iter().enumerate() {
                    @if index > 0 { (language.sentence_space()) }
                    (text(language, problem))
                }
            }
            a href="/status" { (language.details()) }
        }
    }
}

fn text(language: Language, problem: &PoolProblem) -> String {
    match problem {
        PoolProblem::Service(ServiceProblem::Unreachable(error)) => {
            language.problem_unreachable(error)
        }
        PoolProblem::Service(ServiceProblem::WrongAnswer(answer)) => {
            language.problem_wrong_answer(answer)
        }
        PoolProblem::Service(ServiceProblem::AddressThrottled(_)) => {
            language.problem_throttled().to_owned()
        }
        PoolProblem::Service(ServiceProblem::NoUsableKey) => {
            language.problem_no_usable_key().to_owned()
        }
        PoolProblem::TooManyPendingRows => language.problem_pending_rows().to_owned(),
        PoolProblem::Write(WriteProblem::Disk) => language.problem_disk().to_owned(),
        PoolProblem::Write(
            WriteProblem::Moved
            | WriteProblem::Damaged
            | WriteProblem::Locked
            | WriteProblem::Other,
        ) => language.problem_write().to_owned(),
        PoolProblem::LowDisk => language.problem_low_disk().to_owned(),
    }
}
