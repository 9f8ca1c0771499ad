//! The frame around every page: head, navigation, notice.

use maud::{DOCTYPE, Markup, html};

use crate::dashboard::assets;
use crate::dashboard::components::{Tone, href, icon, mark};
use crate::dashboard::page_context::{BrowserContext, Notice, NoticeKind, PageContext, Theme};
use crate::dashboard::problems;
use crate::dashboard::translations::Language;

/// Which part of the dashboard a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Status,
    UpstreamKeys,
    ClientKeys,
    Logs,
    Usage,
    Quota,
    Models,
    Try,
    Settings,
    EgressProxies,
    Alerts,
    Audit,
    Backups,
    Account,
    /// A page that the navigation does not name.
    None,
}

impl Section {
    const NAVIGATION: [Self; 13] = [
        Self::Status,
        Self::UpstreamKeys,
        Self::ClientKeys,
        Self::Logs,
        Self::Usage,
        Self::Quota,
        Self::Models,
        Self::Try,
        Self::Settings,
        Self::EgressProxies,
        Self::Alerts,
        Self::Audit,
        Self::Backups,
    ];

    /// The pages with this text in a name or path.
    pub fn matching(text: &str) -> impl Iterator<Item = Self> {
        let part = text.to_lowercase();
        let pages = Self::NAVIGATION.into_iter().chain([Self::Account]);
        pages.filter(move |page| {
            let names = [Language::English, Language::TraditionalChinese]
                .map(|language| page.name(language));
            let mut texts = names.into_iter().chain([page.path()]);
            texts.any(|text| text.to_lowercase().contains(&part))
        })
    }

    pub fn path(self) -> &'static str {
        match self {
            Self::Status | Self::None => "/status",
            Self::UpstreamKeys => "/upstream-keys",
            Self::ClientKeys => "/client-keys",
            Self::Logs => "/logs",
            Self::Usage => "/usage",
            Self::Quota => "/quota",
            Self::Models => "/models",
            Self::Try => "/try",
            Self::Settings => "/settings",
            Self::EgressProxies => "/egress-proxies",
            Self::Alerts => "/alerts",
            Self::Audit => "/audit",
            Self::Backups => "/backups",
            Self::Account => "/account",
        }
    }

    pub fn name(self, language: Language) -> &'static str {
        match self {
            Self::Status | Self::None => language.status(),
            Self::UpstreamKeys => language.upstream_keys(),
            Self::ClientKeys => language.client_keys(),
            Self::Logs => language.logs(),
            Self::Usage => language.usage(),
            Self::Quota => language.quota(),
            Self::Models => language.models_page(),
            Self::Try => language.try_it(),
            Self::Settings => language.settings(),
            Self::EgressProxies => language.egress_proxies(),
            Self::Alerts => language.alerts(),
            Self::Audit => language.audit(),
            Self::Backups => language.backups(),
            Self::Account => language.account(),
        }
    }

    /// Strokes on a field of 16 by 16.
    fn icon(self) -> &'static str {
        match self {
            Self::Status | Self::None => r#"<path d="M1.5 8.5h3l2-5 3 9 2-4h3"/>"#,
            Self::UpstreamKeys => {
                r#"<circle cx="5" cy="11" r="3"/><path d="M7.2 8.8 13.5 2.5M11 5l2 2"/>"#
            }
            Self::ClientKeys => {
                r#"<rect x="2" y="3" width="12" height="10" rx="1.5"/><circle cx="6" cy="7.2" r="1.5"/><path d="M3.8 11c.5-1.2 3.9-1.2 4.4 0M10.5 6.5h1.8M10.5 9h1.8"/>"#
            }
            Self::Logs => r#"<path d="M3 4h10M3 8h10M3 12h6"/>"#,
            Self::Usage => r#"<path d="M2.5 13.5h11M4.5 11V8M8 11V3M11.5 11V6"/>"#,
            Self::Quota => r#"<path d="M2.5 12a5.5 5.5 0 1 1 11 0M8 12l2.8-3.5"/>"#,
            Self::Models => {
                r#"<path d="M8 1.8 13.5 5v6L8 14.2 2.5 11V5zM2.5 5 8 8.2 13.5 5M8 8.2v6"/>"#
            }
            Self::Try => r#"<path d="M2.5 3.5 13.5 8l-11 4.5 2-4.5zM4.5 8h5"/>"#,
            Self::Settings => {
                r#"<path d="M2 5h6M12 5h2M2 11h2M8 11h6"/><circle cx="10" cy="5" r="1.8"/><circle cx="6" cy="11" r="1.8"/>"#
            }
            Self::EgressProxies => {
                r#"<path d="M2 8h4M10 8h4M12 6l2 2-2 2"/><circle cx="8" cy="8" r="2"/>"#
            }
            Self::Alerts => r#"<path d="M3 12h10l-1.3-2V7a3.7 3.7 0 0 0-7.4 0v3zM6.5 14h3"/>"#,
            Self::Audit => r#"<circle cx="8" cy="8" r="6"/><path d="M8 4.5V8l2.5 1.5"/>"#,
            Self::Backups => {
                r#"<ellipse cx="8" cy="4" rx="5" ry="2"/><path d="M3 4v8c0 1.1 2.2 2 5 2s5-.9 5-2V4M3 8c0 1.1 2.2 2 5 2s5-.9 5-2"/>"#
            }
            Self::Account => {
                r#"<circle cx="8" cy="5.5" r="2.8"/><path d="M2.5 14c.8-3.6 10.2-3.6 11 0"/>"#
            }
        }
    }
}

/// A page for an admin: the whole document.
pub fn page(context: &PageContext, section: Section, title: &str, main_content: Markup) -> Markup {
    let language = context.language;
    let body = html! {
        a.skip href="#content" { (language.skip_to_content()) }
        div.frame {
            header.side {
                a.brand href="/status" { (logo()) "gemini-pool" }
                a.find href="/search" data-find aria-label=(language.search_everything()) aria-keyshortcuts="/ Control+K Meta+K" {
                    (icon(r#"<circle cx="7" cy="7" r="4.5"/><path d="M10.5 10.5 14 14"/>"#))
                    span { (language.search()) }
                    kbd aria-hidden="true" { "/" }
                }
                (collapsed_navigation(context, section))
                div.unfolded { (navigation(context, section)) }
            }
            main #content tabindex="-1" {
                (connection(context, section))
                @if let Some(notice) = &context.notice { (notice_banner(context, notice)) }
                (main_content)
                footer.zone.muted.small { a href="/account#zone" { (language.times_in(&zone_name(context))) } }
            }
        }
        dialog.find-dialog aria-label=(language.search_everything()) {
            form method="get" action="/search" role="search" {
                input type="search" name="q" autocomplete="off" aria-label=(language.search()) placeholder=(language.search_hint());
            }
            div.found { p.muted { (language.search_help()) } }
        }
    };
    document(context, title, body)
}

/// What is wrong with the pool, and with the connection of the page: scripts read it again while the page is open.
fn connection(context: &PageContext, section: Section) -> Markup {
    let language = context.language;
    let zone = context.zone.iana_name().unwrap_or("UTC");
    html! {
        div.notice.failed data-connection-lost data-zone=(zone) role="alert" hidden {
            (mark(Tone::Bad))
            p { strong { (language.connection_lost()) } " " (language.last_update()) " " time {} }
        }
        div.notice.failed data-session-over role="alert" hidden {
            (mark(Tone::Bad))
            p { strong { (language.session_over()) } " " (language.session_over_hint()) }
            a href=(href("/login", &[("next", context.return_path())])) { (language.sign_in()) }
        }
        // The status page has its own, with all details.
        div data-problems=(problems::PATH) data-hidden[section == Section::Status] {
            @if section != Section::Status { (problems::view(language, &context.problems)) }
        }
    }
}

/// For example `Asia/Taipei (+08:00)`.
fn zone_name(context: &PageContext) -> String {
    let name = context.zone.iana_name().unwrap_or("UTC");
    let offset = context.now.to_jiff().to_zoned(context.zone.clone());
    match name {
        "UTC" => name.to_owned(),
        name => format!("{name} ({})", offset.strftime("%:z")),
    }
}

/// A page without a session, as wide as its form.
pub fn public_page(browser: &BrowserContext, title: &str, main_content: Markup) -> Markup {
    bare_page(browser, "bare", title, main_content)
}

/// A page without a session that shows figures.
pub fn public_report(browser: &BrowserContext, title: &str, main_content: Markup) -> Markup {
    bare_page(browser, "bare wide", title, main_content)
}

fn bare_page(browser: &BrowserContext, class: &str, title: &str, main_content: Markup) -> Markup {
    let body = html! {
        main #content class=(class) {
            div.brand { (logo()) "gemini-pool" }
            h1 { (title) }
            (main_content)
            div.preferences { (preferences(browser.language, browser.theme, browser.csrf_field(), browser.return_path())) }
        }
    };
    document(browser, title, body)
}

fn document(browser: &BrowserContext, title: &str, body: Markup) -> Markup {
    let script = "dashboard.js";
    html! {
        (DOCTYPE)
        html lang=(browser.language.tag()) data-theme=(browser.theme.name()) data-now=(browser.now.to_rfc3339()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · gemini-pool" }
                link rel="icon" type="image/svg+xml" href=(assets::url("icon.svg"));
                link rel="stylesheet" nonce=(browser.nonce) href=(assets::url("style.css"));
                script src=(assets::url(script)) integrity=(assets::integrity(script)) defer {}
            }
            body { (body) }
        }
    }
}

/// The navigation on narrow screens, folded until it is opened.
fn collapsed_navigation(context: &PageContext, section: Section) -> Markup {
    html! {
        details.folded {
            summary aria-label=(context.language.menu()) { (icon(r#"<path d="M2 4.5h12M2 8h12M2 11.5h12"/>"#)) }
            (navigation(context, section))
        }
    }
}

fn navigation(context: &PageContext, section: Section) -> Markup {
    let language = context.language;
    let link = |target: Section| {
        html! {
            a href=(target.path()) aria-current=[(target == section).then_some("page")] {
                (icon(target.icon())) (target.name(language))
            }
        }
    };
    html! {
        nav aria-label=(language.main_navigation()) {
            ul { @for target in Section::NAVIGATION { li { (link(target)) } } }
        }
        div.own {
            (link(Section::Account))
            form method="post" action="/logout" {
                (context.csrf_field())
                button.plain type="submit" title=(language.signed_in_as(&context.admin.username)) {
                    (icon(r#"<path d="M6 2.5H3v11h3M7 8h7M11.5 5.5 14 8l-2.5 2.5"/>"#)) (language.sign_out())
                }
            }
            div.preferences { (preferences(language, context.theme, context.csrf_field(), context.return_path())) }
        }
    }
}

/// Switches of language and appearance, which return to `return_path`.
fn preferences(language: Language, theme: Theme, csrf_field: Markup, return_path: &str) -> Markup {
    let other = match language {
        Language::English => Language::TraditionalChinese,
        Language::TraditionalChinese => Language::English,
    };
    let theme_button = |choice: Theme, label: &str, strokes: &'static str| {
        html! {
            button type="submit" name="theme" value=(choice.name()) aria-pressed=(choice == theme) aria-label=(label) title=(label) {
                (icon(strokes))
            }
        }
    };
    html! {
        form method="post" action="/preferences" {
            (csrf_field)
            input type="hidden" name="back" value=(return_path);
            button.plain type="submit" name="language" value=(other.tag()) lang=(other.tag()) { (other.native_name()) }
            div.segments role="group" aria-label=(language.theme()) {
                (theme_button(Theme::System, language.theme_system(), r#"<rect x="2" y="3" width="12" height="8" rx="1"/><path d="M5.5 13.5h5"/>"#))
                (theme_button(Theme::Light, language.theme_light(), r#"<circle cx="8" cy="8" r="2.8"/><path d="M8 1.5v1.4M8 13.1v1.4M1.5 8h1.4M13.1 8h1.4M3.4 3.4l1 1M11.6 11.6l1 1M12.6 3.4l-1 1M4.4 11.6l-1 1"/>"#))
                (theme_button(Theme::Dark, language.theme_dark(), r#"<path d="M13.5 9.5A6 6 0 0 1 6.5 2.500a6 6 0 1 0 7 7z"/>"#))
            }
        }
    }
}

fn notice_banner(context: &PageContext, notice: &Notice) -> Markup {
    let (class, tone, role) = match notice.kind {
        NoticeKind::Done => ("done", Tone::Good, "status"),
        NoticeKind::Failed => ("failed", Tone::Bad, "alert"),
    };
    html! {
        div.notice.(class) role=(role) {
            (mark(tone)) p { (notice.text) }
            @if let Some(path) = &notice.undo {
                form method="post" action=(path) {
                    (context.csrf_field())
                    button type="submit" { (context.language.undo()) }
                }
            }
        }
    }
}

/// Several keys that become one way.
fn logo() -> Markup {
    html! {
        svg.logo viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" {
            path d="M3 4h3c4 0 4 6 8 6h3M3 10h14M3 16h3c4 0 4-6 8-6" {}
        }
    }
}

/// A page that asks before something is done, by the form that does it.
pub fn question(context: &PageContext, section: Section, title: &str, form: Markup) -> Markup {
    page(
        context,
        section,
        title,
        html! { (heading(title, html! {})) (form) },
    )
}

/// The heading of a page with its actions at the right.
pub fn heading(title: &str, actions: Markup) -> Markup {
    html! { div.heading { h1 { (title) } div.actions { (actions) } } }
}
