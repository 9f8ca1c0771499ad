//! The first steps: paste keys, wait for their checks, create a client key, send the first request.

use maud::{Markup, html};

use crate::app::App;
use crate::dashboard::components::{Tone, card, mark, number};
use crate::dashboard::logs::outcome_labels::outcome_description;
use crate::dashboard::page_context::PageContext;
use crate::dashboard::snippets::{PLACEHOLDER, snippets};
use crate::error::Error;
use crate::pool::keys::overview::PoolOverview;
use crate::storage::client_usage;
use crate::storage::request_logs::{self, RequestEnd};

/// The progress of the first steps.
#[derive(Debug, Default)]
pub struct Onboarding {
    keys: usize,
    usable: usize,
    /// New keys without a finished check.
    unchecked: usize,
    has_client_key: bool,
    /// The end of the last request, until a request succeeds.
    newest: Option<RequestEnd>,
    has_succeeded: bool,
    /// The open page showed the steps before the first success, so it shows their end too.
    was_shown: bool,
}

/// The state of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepState {
    Done,
    Current,
    Pending,
}

impl Onboarding {
    /// Reads the current progress.
    pub async fn load(app: &App, overview: &PoolOverview) -> Result<Self, Error> {
        let db = &app.db.readers;
        let has_succeeded = client_usage::has_succeeded(db).await?;
        let newest = if has_succeeded {
            None
        } else {
            request_logs::newest_end(db).await?
        };
        Ok(Self {
            keys: overview.keys(),
            usable: overview.usable,
            unchecked: app.keys.lock().unchecked_keys(),
            has_client_key: !app.client_keys().is_empty(),
            newest,
            has_succeeded,
            was_shown: false,
        })
    }

    pub fn finished() -> Self {
        Self {
            keys: 1,
            has_client_key: true,
            has_succeeded: true,
            ..Self::default()
        }
    }

    /// The new progress; a page that showed the steps shows their end too.
    pub fn after(self, before: &Self) -> Self {
        Self {
            was_shown: before.was_shown || !before.is_finished(),
            ..self
        }
    }

    /// Whether all steps are done.
    pub fn is_finished(&self) -> bool {
        self.keys > 0 && self.has_client_key && self.has_succeeded
    }

    fn step_states(&self) -> [StepState; 4] {
        let done = [
            self.keys > 0,
            self.keys > 0 && self.unchecked == 0 && self.usable > 0,
            self.has_client_key,
            self.has_succeeded,
        ];
        let mut is_first = true;
        done.map(|done| match (done, is_first) {
            (true, _) => StepState::Done,
            (false, true) => {
                is_first = false;
                StepState::Current
            }
            (false, false) => StepState::Pending,
        })
    }
}

/// The list of steps; nothing when all are done.
pub fn view(context: &PageContext, onboarding: &Onboarding) -> Markup {
    let language = context.language;
    if onboarding.is_finished() {
        return html! { @if onboarding.was_shown { (finished_notice(context)) } };
    }
    let [paste, check, create, send] = onboarding.step_states();
    let steps = html! {
        ol.steps {
            (step(paste, language.step_paste(), paste_form(context)))
            (step(check, language.step_check(), check_step(context, onboarding)))
            (step(create, language.step_client_key(), html! {
                p.muted { (language.step_client_key_text()) }
                div.actions { a.button.primary href="/client-keys/new" { (language.create_client_key()) } }
            }))
            (step(send, language.step_request(), first_request_step(context, onboarding)))
        }
    };
    card(language.first_steps(), steps)
}

fn step(state: StepState, title: &str, content: Markup) -> Markup {
    html! {
        li.(match state { StepState::Done => "done", StepState::Current => "current", StepState::Pending => "pending" })
            aria-current=[(state == StepState::Current).then_some("step")]
        {
            h3 { (mark(match state { StepState::Done => Tone::Good, StepState::Current => Tone::Info, StepState::Pending => Tone::Quiet })) " " (title) }
            @if state == StepState::Current { div.step { (content) } }
        }
    }
}

fn paste_form(context: &PageContext) -> Markup {
    let language = context.language;
    html! {
        form method="post" action="/upstream-keys/import" {
            (context.csrf_field())
            label.visually-hidden for="text" { (language.import_text()) }
            textarea #text name="text" rows="6" required autocomplete="off" spellcheck="false" placeholder="AIza…" aria-describedby="text-hint" {}
            p.muted.small #text-hint { (language.import_hint()) }
            div.actions {
                button.primary type="submit" { (language.import_preview()) }
                a href="https://aistudio.google.com/apikey" rel="noreferrer" { (language.where_keys_come_from()) }
            }
        }
    }
}

/// The progress of the checks of new keys, or a note that none is usable.
fn check_step(context: &PageContext, onboarding: &Onboarding) -> Markup {
    let language = context.language;
    let (keys, left) = (onboarding.keys, onboarding.unchecked);
    html! {
        @if left > 0 {
            p #checking { (language.keys_unchecked(&number(left))) }
            progress max=(keys) value=(keys.saturating_sub(left)) aria-labelledby="checking" {}
        } @else {
            p { (language.no_key_usable()) }
            div.actions {
                a.button href="/upstream-keys" { (language.see_why()) }
                a.button href="/upstream-keys/import" { (language.import_again()) }
            }
        }
    }
}

fn first_request_step(context: &PageContext, onboarding: &Onboarding) -> Markup {
    let language = context.language;
    html! {
        p.muted { (language.step_request_here()) }
        div.actions { a.button.primary href="/try" { (language.try_it()) } }
        p.muted { (language.step_request_text()) }
        (snippets(language, &context.base_url, PLACEHOLDER, &[]))
        p.waiting role="status" {
            @match &onboarding.newest {
                None => { (mark(Tone::Wait)) " " (language.waiting_for_first()) }
                Some(RequestEnd { id, outcome, error }) => {
                    (mark(Tone::Bad)) " " (language.first_failed()) " " (outcome_description(language, Some(*outcome))) " "
                    @if let Some(error) = error { code { (error) } " " }
                    a href={ "/logs/" (id) } { (language.see_the_request()) }
                }
            }
        }
        p.no-js-only { a.button href="/status" { (language.reload_page()) } }
    }
}

fn finished_notice(context: &PageContext) -> Markup {
    let language = context.language;
    html! {
        div.notice.done role="status" {
            (mark(Tone::Good)) p { strong { (language.first_succeeded()) } " " a href="/logs" { (language.see_the_request()) } }
        }
    }
}
