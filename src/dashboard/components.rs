//! Components shared by several pages: badge, time, number, field, pager.

use jiff::tz::TimeZone;
use maud::{Markup, PreEscaped, Render, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use strum::IntoStaticStr;

use crate::clock::Timestamp;
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::{Language, grouped};

/// The severity of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Tone {
    Good,
    /// Recovers automatically.
    Wait,
    Bad,
    Quiet,
    Info,
}

impl Tone {
    pub fn class(self) -> &'static str {
        self.into()
    }
}

/// A label with a mark whose colour and shape show the tone.
pub fn badge(tone: Tone, label: &str) -> Markup {
    html! { span.badge.(tone.class()) { (mark(tone)) (label) } }
}

/// The mark of a tone. Each tone has its own shape, for readers who cannot distinguish the colours.
pub fn mark(tone: Tone) -> Markup {
    html! {
        svg.mark.(tone.class()) viewBox="0 0 10 10" width="10" height="10" aria-hidden="true" {
            @match tone {
                Tone::Good => { circle cx="5" cy="5" r="4" {} }
                Tone::Wait => { path d="M5 1a4 4 0 1 0 0 8a4 4 0 1 0 0-8zM5 3v2.2l1.6 1" fill="none" stroke-width="1.6" stroke-linecap="round" {} }
                Tone::Bad => { path d="M2 2l6 6M8 2l-6 6" fill="none" stroke-width="2" stroke-linecap="round" {} }
                Tone::Quiet => { path d="M2 5h6" fill="none" stroke-width="2" stroke-linecap="round" {} }
                Tone::Info => { path d="M5 1l4 4l-4 4l-4-4z" {} }
            }
        }
    }
}

/// A moment in the admin's time zone, to the second; exact on hover.
pub fn moment(context: &PageContext, at: Timestamp) -> Markup {
    let text = clock_text(&context.zone, at, context.now);
    html! { time datetime=(at.to_rfc3339()) title=(exact(&context.zone, at)) { (text) } }
}

/// The time left until `at`; JavaScript counts it down.
pub fn until(context: &PageContext, at: Timestamp, now: Timestamp) -> Markup {
    until_in(context.language, &context.zone, at, now)
}

/// The same for a page without a session.
pub fn until_in(language: Language, zone: &TimeZone, at: Timestamp, now: Timestamp) -> Markup {
    // Rounded up to whole seconds, like the countdown script.
    let seconds = (at - now).as_millis().div_ceil(1_000);
    let text = match seconds.try_into().unwrap_or(u64::MAX) {
        0 => language.now_due().to_owned(),
        seconds => language.in_span(&language.span(seconds)),
    };
    html! {
        time datetime=(at.to_rfc3339()) title=(exact(zone, at)) data-countdown { (text) }
    }
}

/// The time since `at`.
pub fn ago(context: &PageContext, at: Timestamp, now: Timestamp) -> Markup {
    let language = context.language;
    let seconds = (now - at).as_secs();
    let text = if seconds < 5 {
        language.just_now().to_owned()
    } else {
        language.span_ago(&language.span(seconds))
    };
    html! { time datetime=(at.to_rfc3339()) title=(exact(&context.zone, at)) { (text) } }
}

/// For example `2026-11-22 16:00:03.120 +08 (Asia/Taipei)`.
pub fn exact(zone: &TimeZone, at: Timestamp) -> String {
    let zoned = at.to_jiff().to_zoned(zone.clone());
    let name = zone.iana_name().unwrap_or("UTC");
    format!("{} ({name})", zoned.strftime("%Y-%m-%d %H:%M:%S%.3f %:z"))
}

/// The time of day, with the date unless it is today.
fn clock_text(zone: &TimeZone, at: Timestamp, now: Timestamp) -> String {
    let at = at.to_jiff().to_zoned(zone.clone());
    let now = now.to_jiff().to_zoned(zone.clone());
    let format = if at.date() == now.date() {
        "%H:%M:%S"
    } else if at.year() == now.year() {
        "%m-%d %H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M"
    };
    at.strftime(format).to_string()
}

/// A whole number with thousands separators; negative numbers become 0.
pub fn number(number: impl TryInto<u64>) -> String {
    grouped(number.try_into().unwrap_or(0))
}

/// The share of successes among requests that succeeded or failed, as in `97.9 %`. Rounding never makes it 100 % or 0 %.
pub fn success_rate(successes: impl TryInto<u64>, failures: impl TryInto<u64>) -> String {
    let [successes, failures] = [
        successes.try_into().unwrap_or(0),
        failures.try_into().unwrap_or(0),
    ];
    match (successes, failures) {
        (0, 0) => "–".to_owned(),
        (_, 0) => "100\u{a0}%".to_owned(),
        (successes, failures) => {
            let per_mille = successes.saturating_mul(1_000) / (successes + failures);
            let per_mille = per_mille.max(u64::from(successes > 0));
            format!("{}.{}\u{a0}%", per_mille / 10, per_mille % 10)
        }
    }
}

/// For example `950 ms`, `1.25 s`, `3 min 20 s`, with no line break between a number and its unit.
pub fn duration_ms(language: Language, millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis}\u{a0}ms"),
        1_000..10_000 => format!("{}.{:02}\u{a0}s", millis / 1_000, millis % 1_000 / 10),
        10_000..60_000 => format!("{}.{}\u{a0}s", millis / 1_000, millis % 1_000 / 100),
        _ => language.span(millis / 1_000),
    }
}

/// For example `812 B`, `1.5 KiB`, `20 MiB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes, 1_024, &["B", "KiB", "MiB", "GiB", "TiB"], " ")
}

/// For example `950`, `1.5K`, `20M`; callers put the exact number into a tooltip.
pub fn tokens(tokens: u64) -> String {
    scaled(tokens, 1_000, &["", "K", "M", "B", "T"], "")
}

fn scaled(number: u64, step: u64, units: &[&str], between: &str) -> String {
    let (mut unit, mut scale) = (0, 1);
    while number / scale >= step && unit + 1 < units.len() {
        scale *= step;
        unit += 1;
    }
    let (whole, tenth) = (number / scale, number % scale * 10 / scale);
    let text = if unit > 0 && whole < 100 && tenth > 0 {
        format!("{whole}.{tenth}")
    } else {
        whole.to_string()
    };
    format!("{text}{between}{}", units[unit])
        .trim_end()
        .to_owned()
}

/// A cost in nano-dollars as dollars.
#[expect(clippy::cast_precision_loss, reason = "dollars are only displayed")]
pub fn dollars(nano_usd: i64) -> String {
    usd(nano_usd as f64 / 1e9)
}

/// Dollars, with more decimals for small amounts: `$12.30`, `$0.0042`.
pub fn usd(dollars: f64) -> String {
    if dollars == 0.0 || dollars >= 1.0 {
        format!("${dollars:.2}")
    } else if dollars >= 0.01 {
        format!("${dollars:.3}")
    } else {
        format!("${dollars:.6}")
    }
}

/// The characters of a query's value that need no encoding.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'*')
    .remove(b',');

/// A path with a query; empty values are omitted.
pub fn href(path: &str, query: &[(&str, &str)]) -> String {
    let mut url = path.to_owned();
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        url.push(if url.len() == path.len() { '?' } else { '&' });
        url.extend([name, "="]);
        url.extend(utf8_percent_encode(value, QUERY_VALUE));
    }
    url
}

/// A form field: `input` contains the control with the id `id`; `error` explains how to correct its value.
///
/// The control gets the attributes that tie it to hint and error, and the first invalid one of a page the focus.
pub fn field(
    id: &str,
    label: &str,
    hint: Option<&str>,
    error: Option<&str>,
    input: Markup,
) -> Markup {
    html! {
        div.field.invalid[error.is_some()] {
            label for=(id) { (label) }
            (described(id, hint.is_some(), error.is_some(), input))
            @if let Some(error) = error { p.error #{ (id) "-error" } { (error) } }
            @if let Some(hint) = hint { p.hint #{ (id) "-hint" } { (hint) } }
        }
    }
}

/// The control with the attributes that name its hint and its error.
fn described(id: &str, has_hint: bool, is_invalid: bool, input: Markup) -> Markup {
    let error = is_invalid.then(|| format!("{id}-error"));
    let hint = has_hint.then(|| format!("{id}-hint"));
    let described_by: Vec<_> = error.into_iter().chain(hint).collect();
    if described_by.is_empty() {
        return input;
    }
    let own = format!(r#" id="{id}""#);
    let mut attributes = format!(r#"{own} aria-describedby="{}""#, described_by.join(" "));
    if is_invalid {
        attributes.push_str(r#" aria-invalid="true" autofocus"#);
    }
    PreEscaped(input.0.replacen(&own, &attributes, 1))
}

/// The list of what has to be corrected above a form that was not saved: each error leads to its field.
pub fn error_summary(language: Language, errors: &[(&str, &str, &str)]) -> Markup {
    html! {
        @if !errors.is_empty() {
            div.form-error role="alert" {
                p { (language.not_saved()) }
                ul { @for (id, label, error) in errors { li { a href={ "#" (id) } { (label) } ": " (error) } } }
            }
        }
    }
}

/// The text field of a [`field`].
pub fn text_input(id: &str, value: &str) -> Markup {
    html! { input #(id) name=(id) value=(value) autocomplete="off" spellcheck="false"; }
}

/// The form of a page that confirms a deletion.
pub fn confirm_form(context: &PageContext, text: &str, submit: &str, back: &str) -> Markup {
    html! {
        form.card method="post" {
            (context.csrf_field())
            p { (text) }
            div.actions {
                button.danger.primary type="submit" { (submit) }
                a.button href=(back) { (context.language.cancel()) }
            }
        }
    }
}

/// A drop-down list of `(value, label)`.
pub fn select(id: &str, name: &str, selected_value: &str, choices: &[(&str, &str)]) -> Markup {
    html! {
        select #(id) name=(name) {
            @for (value, label) in choices {
                option value=(value) selected[*value == selected_value] { (label) }
            }
        }
    }
}

/// Links to newer and older rows; a missing link is shown as disabled.
pub fn pager(language: Language, newer: Option<&str>, older: Option<&str>) -> Markup {
    let link = |target: Option<&str>, rel: &str, label: &str| {
        html! {
            @if let Some(target) = target {
                a.button href=(target) rel=(rel) { (label) }
            } @else {
                span.button.off aria-disabled="true" { (label) }
            }
        }
    };
    html! {
        @if newer.is_some() || older.is_some() {
            nav.pager aria-label=(language.pages()) {
                (link(newer, "prev", language.newer()))
                (link(older, "next", language.older()))
            }
        }
    }
}

/// A message and an action for an empty page.
pub fn empty_state(title: &str, text: &str, action: Markup) -> Markup {
    html! {
        div.empty {
            h2 { (title) }
            p { (text) }
            div.actions { (action) }
        }
    }
}

/// A card with a heading.
pub fn card(title: &str, content: Markup) -> Markup {
    html! { section.card { h2 { (title) } (content) } }
}

/// A number with its name and a note beside it.
pub fn stat(name: &str, value: impl Render, beside: impl Render) -> Markup {
    html! {
        div.stat {
            dt { (name) }
            dd { span.value { (value) } span.beside { (beside) } }
        }
    }
}

/// Tabs as links: `(target, label, is current)`.
pub fn tabs(name: &str, links: &[(String, &str, bool)]) -> Markup {
    html! {
        nav.tabs aria-label=(name) {
            @for (target, label, is_current) in links {
                a href=(target) aria-current=[is_current.then_some("page")] { (label) }
            }
        }
    }
}

/// A text with a copy button; the button needs JavaScript.
pub fn copyable(language: Language, id: &str, text: &str) -> Markup {
    html! {
        div.copyable {
            pre #(id) tabindex="0" { code { (text) } }
            button.copy.js-only type="button" data-copy={ "#" (id) } data-done=(language.copied()) { (language.copy()) }
        }
    }
}

/// The button that pauses live updates.
pub fn live_switch(language: Language) -> Markup {
    html! {
        button.live.js-only type="button" data-live-switch aria-pressed="true" data-live=(language.live()) data-paused=(language.paused())
            data-lost=(language.disconnected())
        {
            (mark(Tone::Good)) span { (language.live()) }
        }
    }
}

/// An icon of the layout's set.
pub fn icon(path: &'static str) -> Markup {
    html! {
        svg.icon viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" { (PreEscaped(path)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact() {
        for (number, as_bytes, as_tokens) in [
            (0, "0 B", "0"),
            (999, "999 B", "999"),
            (1_024, "1 KiB", "1K"),
            (1_550, "1.5 KiB", "1.5K"),
            (150_000, "146 KiB", "150K"),
            (1_990_000, "1.8 MiB", "1.9M"),
        ] {
            assert_eq!(
                (bytes(number).as_str(), tokens(number).as_str()),
                (as_bytes, as_tokens)
            );
        }
        for (millis, text) in [
            (0, "0\u{a0}ms"),
            (1_005, "1.00\u{a0}s"),
            (12_340, "12.3\u{a0}s"),
            (200_000, "3\u{a0}min 20\u{a0}s"),
        ] {
            assert_eq!(duration_ms(Language::English, millis), text);
        }
        for (dollars, text) in [
            (0.0, "$0.00"),
            (0.000_123, "$0.000123"),
            (0.25, "$0.250"),
            (12.3, "$12.30"),
        ] {
            assert_eq!(usd(dollars), text);
        }
    }

    #[test]
    fn a_success_rate_is_never_rounded_to_all_or_none() {
        for (successes, failures, text) in [
            (0, 0, "–"),
            (7, 0, "100\u{a0}%"),
            (0, 7, "0.0\u{a0}%"),
            (1, 1_999, "0.1\u{a0}%"),
            (1_999, 1, "99.9\u{a0}%"),
            (8, 1, "88.8\u{a0}%"),
        ] {
            assert_eq!(success_rate(successes, failures), text);
        }
    }

    #[test]
    fn a_control_names_its_hint_and_its_error() {
        let plain = field("a", "A", None, None, text_input("a", "x")).0;
        assert!(!plain.contains("aria-"), "{plain}");
        let invalid = field("a", "A", Some("hint"), Some("error"), text_input("a", "x")).0;
        let expected = r#"<input id="a" aria-describedby="a-error a-hint" aria-invalid="true" autofocus name="a""#;
        assert!(invalid.contains(expected), "{invalid}");
        for id in ["a-error", "a-hint"] {
            assert!(invalid.contains(&format!(r#"id="{id}""#)), "{invalid}");
        }
    }

    #[test]
    fn a_query_encodes_any_value() {
        let url = href(
            "/logs",
            &[("q", "a b&c=é"), ("empty", ""), ("model", "gemini-2.5-pro")],
        );

        assert_eq!(url, "/logs?q=a%20b%26c%3D%C3%A9&model=gemini-2.5-pro");
    }

    #[test]
    fn a_moment_on_another_day_is_shown_with_its_date() {
        let zone = TimeZone::get("Asia/Taipei").unwrap();
        let at: Timestamp = "2026-11-22T15:59:59Z".parse().unwrap();
        for (now, expected) in [
            ("2026-11-22T15:00:00Z", "23:59:59"),
            ("2026-11-22T16:00:00Z", "11-22 23:59:59"),
            ("2027-11-22T16:00:00Z", "2026-11-22 23:59"),
        ] {
            assert_eq!(clock_text(&zone, at, now.parse().unwrap()), expected);
        }
        assert_eq!(
            exact(&zone, at),
            "2026-11-22 23:59:59.000 +08:00 (Asia/Taipei)"
        );
    }
}
