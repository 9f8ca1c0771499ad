//! The way from nothing to the first answer, step by step: paste keys, let them be checked, make a client key, use it.

use maud::{Markup, html};

use crate::app::App;
use crate::dashboard::components::{Tone, card, mark, number};
use crate::dashboard::logs::words::outcome_meaning;
use crate::dashboard::snippets::{PLACEHOLDER, snippets};
use crate::dashboard::visit::Visit;
use crate::error::Error;
use crate::pool::keys::overview::PoolOverview;
use crate::pool::outcome::Outcome;
use crate::pool::request_id::RequestId;
use crate::storage::request_logs;
use crate::storage::spending;

/// How far somebody has come.
#[derive(Debug, Default)]
pub struct Onboarding {
    keys: usize,
    usable: usize,
    /// New keys whose check is still to come.
    unchecked: usize,
    has_client_key: bool,
    /// The request that came last, with how it ended, as long as none succeeded.
    newest: Option<(RequestId, Outcome)>,
    has_succeeded: bool,
    /// Somebody has watched it from before the first success: the end is told too.
    was_seen: bool,
}

/// Where one of the steps is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Done,
    Now,
    Later,
}

impl Onboarding {
    /// How far it is now.
    pub async fn at(app: &App, overview: &PoolOverview) -> Result<Self, Error> {
        let db = &app.db.readers;
        let has_succeeded = spending::has_succeeded(db).await?;
        let newest = if has_succeeded {
            None
        } else {
            request_logs::newest_outcome(db).await?
        };
        Ok(Self {
            keys: overview.keys(),
            usable: overview.usable,
            unchecked: app.keys.lock().unchecked_keys(),
            has_client_key: !app.client_keys().is_empty(),
            newest,
            has_succeeded,
            was_seen: false,
        })
    }

    /// Nobody has seen anything yet.
    pub fn over() -> Self {
        Self {
            keys: 1,
            has_client_key: true,
            has_succeeded: true,
            ..Self::default()
        }
    }

    /// The same, later: who has seen a step is told of the end.
    pub fn after(self, before: &Self) -> Self {
        Self {
            was_seen: before.was_seen || !before.is_over(),
            ..self
        }
    }

    /// Whether nothing is left to do.
    pub fn is_over(&self) -> bool {
        self.keys > 0 && self.has_client_key && self.has_succeeded
    }

    fn progress(&self) -> [Progress; 4] {
        let done = [
            self.keys > 0,
            self.keys > 0 && self.unchecked == 0 && self.usable > 0,
            self.has_client_key,
            self.has_succeeded,
        ];
        let mut is_first = true;
        done.map(|done| match (done, is_first) {
            (true, _) => Progress::Done,
            (false, true) => {
                is_first = false;
                Progress::Now
            }
            (false, false) => Progress::Later,
        })
    }
}

/// The steps, or nothing where there is nothing left to do.
pub fn view(visit: &Visit, onboarding: &Onboarding) -> Markup {
    let language = visit.language;
    if onboarding.is_over() {
        return html! { @if onboarding.was_seen { (done(visit)) } };
    }
    let [paste, check, create, ask] = onboarding.progress();
    let steps = html! {
        ol.steps {
            (step(paste, language.step_paste(), paste_form(visit)))
            (step(check, language.step_check(), checking(visit, onboarding)))
            (step(create, language.step_client_key(), html! {
                p.muted { (language.step_client_key_text()) }
                div.actions { a.button.primary href="/client-keys/new" { (language.create_client_key()) } }
            }))
            (step(ask, language.step_ask(), asking(visit, onboarding)))
        }
    };
    card(language.first_steps(), steps)
}

fn step(progress: Progress, title: &str, content: Markup) -> Markup {
    html! {
        li.(match progress { Progress::Done => "done", Progress::Now => "now", Progress::Later => "later" })
            aria-current=[(progress == Progress::Now).then_some("step")]
        {
            h3 { (mark(match progress { Progress::Done => Tone::Good, Progress::Now => Tone::Info, Progress::Later => Tone::Quiet })) " " (title) }
            @if progress == Progress::Now { div.step { (content) } }
        }
    }
}

fn paste_form(visit: &Visit) -> Markup {
    let language = visit.language;
    html! {
        form method="post" action="/upstream-keys/import" {
            (visit.csrf_field())
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

/// How far the checks of new keys are, or that none of them is usable.
fn checking(visit: &Visit, onboarding: &Onboarding) -> Markup {
    let language = visit.language;
    let (keys, left) = (onboarding.keys, onboarding.unchecked);
    html! {
        @if left > 0 {
            p #checking { (language.still_to_check(&number(left))) }
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

fn asking(visit: &Visit, onboarding: &Onboarding) -> Markup {
    let language = visit.language;
    html! {
        p.muted { (language.step_ask_text()) }
        (snippets(language, &visit.base_url, PLACEHOLDER, &[]))
        p.waiting role="status" {
            @match onboarding.newest {
                None => { (mark(Tone::Wait)) " " (language.waiting_for_first()) }
                Some((id, outcome)) => {
                    (mark(Tone::Bad)) " " (language.first_failed()) " " (outcome_meaning(language, Some(outcome))) " "
                    a href={ "/logs/" (id.0) } { (language.see_the_request()) }
                }
            }
        }
        p.no-js-only { a.button href="/status" { (language.look_again()) } }
    }
}

fn done(visit: &Visit) -> Markup {
    let language = visit.language;
    html! {
        div.notice.done role="status" {
            (mark(Tone::Good)) p { strong { (language.first_came()) } " " a href="/logs" { (language.see_the_request()) } }
        }
    }
}
