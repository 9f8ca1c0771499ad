//! `/status`: can the pool serve now, with what, and what was asked of it?

use std::sync::Arc;

use axum::extract::State;
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::chart::{Chart, Form, Series, figure};
use crate::dashboard::components::{
    Tone, ago, badge, card, duration_ms, empty_state, href, mark, number, stat, tabs, tokens,
    until, usd,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Place, heading};
use crate::dashboard::texts::Language;
use crate::dashboard::visit::Visit;
use crate::pool::outcome::Outcome;
use crate::pool::overview::Overview;
use crate::pool::standing::Word;
use crate::storage::backups::{self, Backup};
use crate::storage::traffic::{self, Bin, Counts, Span, Traffic, percentile};

#[derive(Debug, Deserialize)]
pub struct Asked {
    /// The span of the charts, as [`Span::name`] has it.
    #[serde(default)]
    span: String,
}

/// What the page shows.
struct Seen {
    span: Span,
    overview: Overview,
    traffic: Traffic,
    pending_rows: usize,
    is_failing: bool,
    waiting: usize,
    last_backup: Option<Backup>,
}

pub async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Result<Markup, ErrorPage> {
    let span = Span::named(&asked.span).unwrap_or(Span::Day);
    let seen = Seen {
        span,
        overview: app.keys.overview(visit.now),
        traffic: traffic::over(&app.db.readers, span, visit.now).await?,
        pending_rows: app.recorder.pending(),
        is_failing: app.recorder.is_failing(),
        waiting: app.waiting.len(),
        last_backup: backups::last(app.db.path())?,
    };
    Ok(view(&visit, &seen))
}

fn view(visit: &Visit, seen: &Seen) -> Markup {
    let language = visit.language;
    let spans = Span::ALL.map(|span| {
        let target = href("/status", &[("span", span.name())]);
        (target, span.name(), span == seen.span)
    });
    let content = html! {
        (heading(language.status(), html! {}))
        (answer(visit, &seen.overview))
        (attention(visit, seen))
        div.cards {
            (card(language.upstream_keys(), words(language, &seen.overview)))
            (card(language.health(), health(visit, seen)))
        }
        (card(language.models(), models(visit, seen)))
        (tabs(language.span_of_time(), &spans))
        (totals(language, &seen.traffic))
        @if seen.traffic.total.sum.requests == 0 {
            p.muted { (language.nothing_asked()) }
        } @else {
            div.cards { (charts(visit, &seen.traffic)) }
        }
    };
    layout::page(visit, Place::Status, language.status(), content)
}

/// The first line: can it serve?
fn answer(visit: &Visit, overview: &Overview) -> Markup {
    let language = visit.language;
    let keys = overview.keys();
    if keys == 0 {
        let command = html! { pre { code { "gemini-pool upstream-keys import FILE" } } };
        return empty_state(language.no_keys_title(), language.no_keys_text(), command);
    }
    let can_serve = overview.usable > 0 && overview.storm_until.is_none();
    let (tone, class, word) = if can_serve {
        (Tone::Good, "done", language.can_serve())
    } else {
        (Tone::Bad, "failed", language.cannot_serve())
    };
    let soonest = overview.soonest.filter(|_| overview.usable == 0);
    html! {
        div.notice.(class) role="status" {
            (mark(tone))
            p {
                strong { (word) } " · " (language.keys_usable(&number(overview.usable), &number(keys)))
                @if let Some(at) = overview.storm_until { " · " (language.storm()) " " (until(visit, at, visit.now)) }
                @if let Some(at) = soonest { " · " (language.first_ready()) " " (until(visit, at, visit.now)) }
            }
        }
    }
}

/// What somebody should do something about.
fn attention(visit: &Visit, seen: &Seen) -> Markup {
    let language = visit.language;
    let count = |word| Some(seen.overview.count(word)).filter(|count| *count > 0);
    let mut told = Vec::new();
    if seen.is_failing {
        told.push((
            Tone::Bad,
            language.database_failing(&number(seen.pending_rows)),
        ));
    }
    if let Some(keys) = count(Word::Leaked) {
        told.push((
            Tone::Bad,
            language.keys_leaked(&language.counted_keys(keys)),
        ));
    }
    if let Some(keys) = count(Word::Invalid) {
        told.push((
            Tone::Bad,
            language.keys_invalid(&language.counted_keys(keys)),
        ));
    }
    let of_projects =
        seen.overview.count(Word::Suspended) + seen.overview.count(Word::Misconfigured);
    if of_projects > 0 {
        told.push((
            Tone::Bad,
            language.keys_suspended(&language.counted_keys(of_projects)),
        ));
    }
    if seen.last_backup.is_none() {
        told.push((Tone::Info, language.no_backup().to_owned()));
    }
    let list = html! {
        ul.attention {
            @for (tone, text) in &told { li { (mark(*tone)) " " (text) } }
            @if told.is_empty() { li { (mark(Tone::Good)) " " (language.nothing_wrong()) } }
        }
    };
    card(language.attention(), list)
}

fn words(language: Language, overview: &Overview) -> Markup {
    html! {
        dl.facts {
            @for (word, count) in &overview.words {
                @let (tone, text) = word_of(language, *word);
                dt { (badge(tone, text)) } dd { (number(*count)) }
            }
        }
    }
}

/// A state of keys in words.
fn word_of(language: Language, word: Word) -> (Tone, &'static str) {
    match word {
        Word::Ready => (Tone::Good, language.state_ready()),
        Word::PartlyResting => (Tone::Wait, language.state_partly()),
        Word::Resting => (Tone::Wait, language.state_resting()),
        Word::Trial => (Tone::Info, language.state_trial()),
        Word::Invalid => (Tone::Bad, language.state_invalid()),
        Word::Leaked => (Tone::Bad, language.state_leaked()),
        Word::Suspended => (Tone::Bad, language.state_suspended()),
        Word::Misconfigured => (Tone::Bad, language.state_misconfigured()),
        Word::Disabled => (Tone::Quiet, language.state_disabled()),
    }
}

fn health(visit: &Visit, seen: &Seen) -> Markup {
    let language = visit.language;
    let (tone, word) = if seen.is_failing {
        (Tone::Bad, language.writer_failing())
    } else {
        (Tone::Good, language.writer_fine())
    };
    html! {
        dl.facts {
            dt { (language.writer()) }
            dd { (badge(tone, word)) " " span.muted { (language.rows_waiting(&number(seen.pending_rows))) } }
            dt { (language.under_way()) } dd { (number(seen.overview.in_flight)) }
            dt { (language.waiting_requests()) } dd { (number(seen.waiting)) }
            dt { (language.last_backup()) }
            dd { a href="/backups" {
                @match &seen.last_backup {
                    Some(backup) => (ago(visit, backup.made_at, visit.now)),
                    None => (language.never()),
                }
            } }
        }
    }
}

/// The models that were asked for in the span, and those of which something is known.
fn models(visit: &Visit, seen: &Seen) -> Markup {
    let language = visit.language;
    let asked = seen.traffic.models.iter();
    let known = seen.overview.models.keys().filter(|name| {
        let mut models = seen.traffic.models.iter();
        !models.any(|(model, _)| model.as_ref() == Some(*name))
    });
    let none = Counts::default();
    let rows: Vec<(Option<&str>, &Counts)> = asked
        .map(|(model, counts)| (model.as_deref(), counts))
        .chain(known.map(|name| (Some(name.as_str()), &none)))
        .collect();
    html! {
        div.table { table.stack {
            thead { tr {
                th { (language.model()) } th.number { (language.usable()) } th.number { (language.resting()) }
                th { (language.soonest()) } th.number { (language.requests()) " · " (seen.span.name()) }
                th.number { (language.success_rate()) } th.number { (language.tokens_used()) } th.number { (language.cost()) }
            } }
            tbody { @for (model, counts) in rows { (model_row(visit, seen, model, counts)) } }
        } }
    }
}

fn model_row(visit: &Visit, seen: &Seen, model: Option<&str>, counts: &Counts) -> Markup {
    let language = visit.language;
    let standing = model.map(|name| seen.overview.model(name));
    html! {
        tr {
            th scope="row" { @match model {
                Some(name) => { a href=(href("/logs", &[("model", name)])) { (name) } }
                None => { span.muted { (language.no_model()) } }
            } }
            @if let Some(standing) = standing {
                td.number data-label=(language.usable()) { (number(standing.usable)) }
                td.number data-label=(language.resting()) { (number(standing.resting)) }
                td data-label=(language.soonest()) {
                    @if let Some(at) = standing.overloaded_until {
                        (badge(Tone::Wait, language.overloaded())) " " (until(visit, at, visit.now))
                    } @else if let Some(at) = standing.soonest {
                        (until(visit, at, visit.now))
                    }
                }
            } @else { td {} td {} td {} }
            td.number data-label=(language.requests()) { (number(counts.sum.requests)) }
            td.number data-label=(language.success_rate()) { (success(counts)) }
            td.number data-label=(language.tokens_used()) title=(number(counts.sum.total_tokens)) { (tokens(counts.sum.total_tokens)) }
            td.number data-label=(language.cost()) { (dollars(counts.sum.cost_nano_usd)) }
        }
    }
}

fn totals(language: Language, traffic: &Traffic) -> Markup {
    let (total, before) = (&traffic.total, &traffic.before);
    let compared = |text: String| language.compared(&text);
    let median = |counts: &Counts| {
        let millis = percentile(&counts.sum.first_byte, 50);
        millis.map_or_else(|| "–".to_owned(), |millis| duration_ms(language, millis))
    };
    html! {
        dl.stats {
            (stat(language.requests(), number(total.sum.requests), compared(number(before.sum.requests))))
            (stat(language.success_rate(), html! { span title=(language.success_hint()) { (success(total)) } }, compared(success(before))))
            (stat(language.first_byte(), html! { span title=(language.median()) { (median(total)) } }, compared(median(before))))
            (stat(language.tokens_used(), tokens(total.sum.total_tokens), compared(tokens(before.sum.total_tokens))))
            (stat(language.cost(), html! { span title=(language.list_price()) { (dollars(total.sum.cost_nano_usd)) } }, compared(dollars(before.sum.cost_nano_usd))))
        }
    }
}

fn success(counts: &Counts) -> String {
    let share = counts.success_per_mille();
    share.map_or_else(
        || "–".to_owned(),
        |share| format!("{}.{} %", share / 10, share % 10),
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "dollars are shown, not added up"
)]
fn dollars(nano_usd: i64) -> String {
    usd(nano_usd as f64 / 1e9)
}

fn charts(visit: &Visit, traffic: &Traffic) -> Markup {
    let language = visit.language;
    let bins = &traffic.bins;
    let names: Vec<_> = bins.iter().map(|bin| name_of(visit, bin)).collect();
    let chart = |title, total, series, unit| Chart {
        title,
        total,
        bins: names.clone(),
        series,
        unit,
    };
    let sum = &traffic.total.sum;
    let outcomes = chart(
        language.requests_by_outcome(),
        number(sum.requests),
        outcomes(language, bins),
        whole,
    );
    let latency = chart(
        language.latency(),
        String::new(),
        latency(language, bins),
        millis,
    );
    let kinds = chart(
        language.tokens_by_kind(),
        tokens(sum.total_tokens),
        kinds(language, bins),
        thousands,
    );
    let costs = vec![series(language.cost(), 2, bins, |bin| {
        Some(float(u64::try_from(bin.counts.sum.cost_nano_usd).unwrap_or(0)) / 1e9)
    })];
    let costs = chart(
        language.cost_over_time(),
        dollars(sum.cost_nano_usd),
        costs,
        usd,
    );
    html! {
        div.card { (figure(language, Form::Stacked, &outcomes)) }
        div.card { (figure(language, Form::Lines, &latency)) }
        div.card { (figure(language, Form::Stacked, &kinds)) }
        div.card { (figure(language, Form::Stacked, &costs)) }
    }
}

fn outcomes(language: Language, bins: &[Bin]) -> Vec<Series<'static>> {
    let of = |name, colour, outcomes: &'static [Outcome]| {
        series(name, colour, bins, move |bin| {
            let counts = outcomes.iter().map(|outcome| bin.counts.count(*outcome));
            Some(float(counts.sum()))
        })
    };
    vec![
        of(language.succeeded(), 1, &[Outcome::Success]),
        of(
            language.clients_fault(),
            3,
            &[Outcome::ClientError, Outcome::Refused],
        ),
        of(language.no_quota(), 5, &[Outcome::Quota, Outcome::NoKey]),
        of(
            language.upstream_failed(),
            4,
            &[Outcome::KeyFault, Outcome::UpstreamError, Outcome::Network],
        ),
        of(
            language.broken_off(),
            6,
            &[
                Outcome::ClientGone,
                Outcome::BrokenOff,
                Outcome::Interrupted,
            ],
        ),
    ]
}

fn latency(language: Language, bins: &[Bin]) -> Vec<Series<'static>> {
    let of = |name, colour, percent| {
        series(name, colour, bins, move |bin| {
            percentile(&bin.counts.sum.first_byte, percent).map(float)
        })
    };
    vec![of(language.median(), 2, 50), of("p95", 3, 95)]
}

fn kinds(language: Language, bins: &[Bin]) -> Vec<Series<'static>> {
    vec![
        series(language.prompt(), 2, bins, |bin| {
            Some(float(bin.counts.sum.prompt_tokens))
        }),
        series(language.output(), 1, bins, |bin| {
            Some(float(bin.counts.sum.output_tokens))
        }),
        series(language.thoughts(), 5, bins, |bin| {
            Some(float(bin.counts.sum.thought_tokens))
        }),
    ]
}

fn series(
    name: &'static str,
    colour: u8,
    bins: &[Bin],
    value: impl Fn(&Bin) -> Option<f64>,
) -> Series<'static> {
    Series {
        name,
        colour,
        values: bins.iter().map(value).collect(),
    }
}

/// A bin's name on the axis, and in full.
fn name_of(visit: &Visit, bin: &Bin) -> (String, String) {
    let text = |at: Timestamp, format: &str| {
        at.to_jiff()
            .to_zoned(visit.zone.clone())
            .strftime(format)
            .to_string()
    };
    let is_long = (bin.end - bin.begin).as_secs() > 3_600;
    let short = text(bin.begin, if is_long { "%m-%d" } else { "%H:%M" });
    let until = text(bin.end, if is_long { "%m-%d %H:%M" } else { "%H:%M" });
    (
        short,
        format!("{} – {until}", text(bin.begin, "%m-%d %H:%M")),
    )
}

#[expect(clippy::cast_precision_loss, reason = "what is drawn needs no more")]
fn float(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are not negative, and small"
)]
fn count(value: f64) -> u64 {
    value.round() as u64
}

fn whole(value: f64) -> String {
    if value > 0.0 && value < 1.0 {
        "0.5".to_owned()
    } else {
        number(count(value))
    }
}

fn millis(value: f64) -> String {
    duration_ms(Language::English, count(value))
}

fn thousands(value: f64) -> String {
    tokens(count(value))
}
