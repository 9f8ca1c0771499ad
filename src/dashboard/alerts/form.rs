//! The form of an alert target: submitted fields, validation and rendering.

use std::collections::HashMap;

use maud::{Markup, html};
use serde::Deserialize;
use url::Url;

use crate::alert_sender::chat::TELEGRAM;
use crate::alert_sender::email::{MailSecurity, MailServer, is_mailbox};
use crate::alert_sender::message::kind_name;
use crate::alert_sender::webhook;
use crate::dashboard::components::{card, field, select, text_input};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::pool::alert_schedule::QuietHours;
use crate::pool::alerts::AlertKind;
use crate::pool::secret::Secret;
use crate::storage::alert_targets::{AlertLanguage, AlertTargetKind, AlertTargetTerms};

/// Maximum number of characters of a field.
const MAX_CHARACTERS: usize = 500;

/// Error messages by field name.
pub type FieldErrors = HashMap<&'static str, &'static str>;

/// The fields as submitted by the browser. Secrets and URLs are never filled in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AlertTargetForm {
    pub kind: String,
    pub name: String,
    url: String,
    address: String,
    secret: String,
    server: String,
    sender: String,
    host: String,
    port: String,
    security: String,
    user: String,
    event: Vec<String>,
    quiet_from: String,
    quiet_to: String,
}

impl AlertTargetForm {
    /// An empty form, with every event chosen.
    pub fn new(kind: AlertTargetKind) -> Self {
        Self {
            kind: kind.name().to_owned(),
            server: TELEGRAM.to_owned(),
            port: "587".to_owned(),
            security: MailSecurity::StartTls.name().to_owned(),
            event: names(AlertKind::ALL),
            ..Self::default()
        }
    }

    /// The form filled with the terms of a target.
    pub fn of(terms: &AlertTargetTerms) -> Self {
        let mut form = Self::new(terms.kind);
        form.name.clone_from(&terms.name);
        match terms.kind {
            AlertTargetKind::Webhook | AlertTargetKind::Slack | AlertTargetKind::Discord => {}
            AlertTargetKind::Telegram => {
                terms.address.expose().clone_into(&mut form.address);
                form.server = terms.server.clone().unwrap_or_default();
            }
            AlertTargetKind::Email => {
                terms.address.expose().clone_into(&mut form.address);
                form.sender = terms.sender.clone().unwrap_or_default();
                if let Some(server) = terms.server.as_deref().and_then(MailServer::of_url) {
                    form.host = server.host;
                    form.port = server.port.to_string();
                    server.security.name().clone_into(&mut form.security);
                    form.user = server.user;
                }
            }
        }
        if !terms.events.is_empty() {
            form.event = names(&terms.events);
        }
        if let Some(quiet) = terms.quiet {
            form.quiet_from = time_of(quiet.from_minute);
            form.quiet_to = time_of(quiet.to_minute);
        }
        form
    }

    /// The validated terms; `before` contains the current terms of an existing target.
    pub fn terms(
        &self,
        context: &PageContext,
        language_of_messages: AlertLanguage,
        before: Option<&AlertTargetTerms>,
    ) -> Result<AlertTargetTerms, FieldErrors> {
        let language = context.language;
        let mut errors = FieldErrors::new();
        let kind = before.map(|terms| terms.kind).or(self.kind.parse().ok());
        let kind = kind.unwrap_or(AlertTargetKind::Webhook);
        let name = self.name.trim();
        if name.is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
            errors.insert("name", language.alert_bad_name());
        }
        let mut sender = None;
        let (address, secret, server) = match kind {
            AlertTargetKind::Webhook | AlertTargetKind::Slack | AlertTargetKind::Discord => {
                let address = self.checked_url(language, before, &mut errors);
                let secret = if kind == AlertTargetKind::Webhook {
                    self.signing_secret(language, before, &mut errors)
                } else {
                    Secret::new("")
                };
                (address, secret, None)
            }
            AlertTargetKind::Telegram => {
                let (chat, server) = (self.address.trim(), self.server.trim_end_matches('/'));
                if chat.is_empty()
                    || chat.len() > MAX_CHARACTERS
                    || chat.contains(char::is_whitespace)
                {
                    errors.insert("address", language.alert_bad_chat());
                }
                if !is_url(server) {
                    errors.insert("server", language.alert_bad_url());
                }
                let token = self.bot_token(language, server, before, &mut errors);
                (Secret::new(chat), token, Some(server.to_owned()))
            }
            AlertTargetKind::Email => {
                let (to, from) = (self.address.trim(), self.sender.trim());
                for (name, mailbox) in [("address", to), ("sender", from)] {
                    if !is_mailbox(mailbox) || mailbox.len() > MAX_CHARACTERS {
                        errors.insert(name, language.alert_bad_mailbox());
                    }
                }
                sender = Some(from.to_owned());
                let server = self.mail_server(language, &mut errors);
                let password = self.password(language, server.as_deref(), before, &mut errors);
                (Secret::new(to), password, server)
            }
        };
        let quiet = self.quiet(language, &mut errors);
        let mut events: Vec<AlertKind> = self
            .event
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        if events.is_empty() {
            errors.insert("event", language.alert_bad_events());
        }
        if events.len() == AlertKind::ALL.len() {
            events.clear();
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(AlertTargetTerms {
            kind,
            name: name.to_owned(),
            address,
            secret,
            server,
            sender,
            events,
            quiet,
            zone: context.admin.zone.clone(),
            language: language_of_messages,
        })
    }

    fn checked_url(
        &self,
        language: Language,
        before: Option<&AlertTargetTerms>,
        errors: &mut FieldErrors,
    ) -> Secret {
        let url = self.url.trim();
        if let (true, Some(before)) = (url.is_empty(), before) {
            return before.address.clone();
        }
        if !is_url(url) {
            errors.insert("url", language.alert_bad_url());
        }
        Secret::new(url)
    }

    fn signing_secret(
        &self,
        language: Language,
        before: Option<&AlertTargetTerms>,
        errors: &mut FieldErrors,
    ) -> Secret {
        let secret = self.secret.trim();
        if secret.is_empty() {
            return match before {
                Some(before) => before.secret.clone(),
                None => webhook::generate_secret(&mut rand::rng()),
            };
        }
        if !webhook::is_secret(secret) {
            errors.insert("secret", language.alert_bad_secret());
        }
        Secret::new(secret)
    }

    /// A token that is kept is never sent to another server.
    fn bot_token(
        &self,
        language: Language,
        server: &str,
        before: Option<&AlertTargetTerms>,
        errors: &mut FieldErrors,
    ) -> Secret {
        let token = self.secret.trim();
        match before {
            Some(before) if token.is_empty() && before.server.as_deref() == Some(server) => {
                before.secret.clone()
            }
            Some(_) if token.is_empty() => {
                errors.insert("secret", language.alert_secret_of_another());
                Secret::new("")
            }
            Some(_) | None => {
                let is_plain = |character: char| {
                    character.is_ascii_alphanumeric() || "_-:".contains(character)
                };
                if !token.contains(':')
                    || !token.chars().all(is_plain)
                    || token.len() > MAX_CHARACTERS
                {
                    errors.insert("secret", language.alert_bad_token());
                }
                Secret::new(token)
            }
        }
    }

    fn mail_server(&self, language: Language, errors: &mut FieldErrors) -> Option<String> {
        let port = self.port.trim().parse().ok().filter(|port| *port > 0);
        if port.is_none() {
            errors.insert("port", language.alert_bad_port());
        }
        let server = MailServer {
            security: self.security.parse().unwrap_or(MailSecurity::StartTls),
            host: self.host.trim().to_owned(),
            port: port.unwrap_or(587),
            user: self.user.trim().to_owned(),
        };
        if server.security == MailSecurity::Plain && !server.user.is_empty() {
            errors.insert("user", language.alert_plain_password());
        }
        let url = server.url();
        if url.is_none() {
            errors.insert("host", language.alert_bad_host());
        }
        url
    }

    /// A password that is kept is never sent to another server.
    fn password(
        &self,
        language: Language,
        server: Option<&str>,
        before: Option<&AlertTargetTerms>,
        errors: &mut FieldErrors,
    ) -> Secret {
        if self.user.trim().is_empty() {
            return Secret::new("");
        }
        let before = before.filter(|before| !before.secret.expose().is_empty());
        match before {
            Some(before) if self.secret.is_empty() && before.server.as_deref() == server => {
                return before.secret.clone();
            }
            Some(_) if self.secret.is_empty() => {
                errors.insert("secret", language.alert_secret_of_another());
            }
            None if self.secret.is_empty() => {
                errors.insert("secret", language.alert_bad_password());
            }
            Some(_) | None => {}
        }
        Secret::new(&self.secret)
    }

    fn quiet(&self, language: Language, errors: &mut FieldErrors) -> Option<QuietHours> {
        let (from, to) = (self.quiet_from.trim(), self.quiet_to.trim());
        if from.is_empty() && to.is_empty() {
            return None;
        }
        let minutes = minute_of(from).zip(minute_of(to));
        let quiet = minutes.and_then(|(from, to)| QuietHours::new(from, to));
        if quiet.is_none() {
            errors.insert("quiet_from", language.alert_bad_quiet());
        }
        quiet
    }

    /// The fields; `is_new`: the target has no secret yet.
    pub fn fields(
        &self,
        context: &PageContext,
        kind: AlertTargetKind,
        is_new: bool,
        errors: &FieldErrors,
    ) -> Markup {
        let language = context.language;
        let error = |name: &str| errors.get(name).copied();
        let zone = context.zone.iana_name().unwrap_or("UTC");
        let time =
            |id: &str, value: &str| html! { input #(id) name=(id) type="time" value=(value); };
        let receiver = html! {
            input type="hidden" name="kind" value=(kind.name());
            (field("name", language.alert_target_name(), None, error("name"), text_input("name", &self.name)))
            (self.receiver_fields(language, kind, is_new, errors))
        };
        let events = html! {
            fieldset {
                legend.visually-hidden { (language.alert_events()) }
                @if let Some(error) = error("event") { p.form-error role="alert" { (error) } }
                @for event in AlertKind::ALL.iter().copied() {
                    label.check {
                        input type="checkbox" name="event" value=(event.name()) checked[self.event.iter().any(|name| name == event.name())];
                        (kind_name(language.of_messages(), event))
                    }
                }
            }
        };
        let quiet = html! {
            p.muted { (language.quiet_hint(zone)) }
            div.fields {
                (field("quiet_from", language.quiet_from(), None, error("quiet_from"), time("quiet_from", &self.quiet_from)))
                (field("quiet_to", language.quiet_to(), None, None, time("quiet_to", &self.quiet_to)))
            }
        };
        html! {
            (card(language.alert_target_kind_name(kind), receiver))
            (card(language.alert_events(), events))
            (card(language.quiet_hours(), quiet))
        }
    }

    fn receiver_fields(
        &self,
        language: Language,
        kind: AlertTargetKind,
        is_new: bool,
        errors: &FieldErrors,
    ) -> Markup {
        let error = |name: &str| errors.get(name).copied();
        let keep = (!is_new).then(|| language.alert_keep_blank());
        let url = |hint: &str| {
            let input =
                html! { input #url name="url" type="url" autocomplete="off" spellcheck="false"; };
            field(
                "url",
                language.alert_url(),
                keep.or(Some(hint)),
                error("url"),
                input,
            )
        };
        let secret = |label: &str, hint: Option<&str>| {
            let input =
                html! { input #secret name="secret" type="password" autocomplete="new-password"; };
            field("secret", label, keep.or(hint), error("secret"), input)
        };
        let text = |id: &str, label: &str, hint: Option<&str>, value: &str| {
            field(id, label, hint, error(id), text_input(id, value))
        };
        let securities = [
            (MailSecurity::StartTls.name(), language.mail_starttls()),
            (MailSecurity::Tls.name(), language.mail_tls()),
            (MailSecurity::Plain.name(), language.mail_plain()),
        ];
        html! {
            @match kind {
                AlertTargetKind::Webhook => {
                    (url(language.alert_url_hint()))
                    (secret(language.signing_secret(), Some(language.alert_secret_hint())))
                }
                AlertTargetKind::Slack => (url(language.slack_hint())),
                AlertTargetKind::Discord => (url(language.discord_hint())),
                AlertTargetKind::Telegram => {
                    (secret(language.telegram_token(), Some(language.telegram_token_hint())))
                    (text("address", language.telegram_chat(), Some(language.telegram_chat_hint()), &self.address))
                    (text("server", language.telegram_server(), None, &self.server))
                }
                AlertTargetKind::Email => {
                    div.fields {
                        (text("address", language.mail_to(), None, &self.address))
                        (text("sender", language.mail_from(), None, &self.sender))
                        (text("host", language.mail_host(), None, &self.host))
                        (text("port", language.mail_port(), None, &self.port))
                        (field("security", language.mail_security(), None, None, select("security", "security", &self.security, &securities)))
                        (text("user", language.mail_user(), Some(language.mail_user_hint()), &self.user))
                        (secret(language.password(), None))
                    }
                }
            }
        }
    }
}

fn names(kinds: &[AlertKind]) -> Vec<String> {
    kinds.iter().map(|kind| kind.name().to_owned()).collect()
}

/// Whether messages can be posted to it.
fn is_url(text: &str) -> bool {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    text.len() <= MAX_CHARACTERS && url.is_some_and(|url| url.has_host())
}

/// The minute of the day of a text such as `07:30`.
fn minute_of(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

fn time_of(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_urls_are_read() {
        for (text, expected) in [
            ("07:30", Some(450)),
            ("00:00", Some(0)),
            ("24:00", None),
            ("7", None),
            ("", None),
        ] {
            assert_eq!(minute_of(text), expected, "{text}");
        }
        assert_eq!(time_of(450), "07:30");
        for (text, expected) in [
            ("https://hooks.example.com/x", true),
            ("http://127.0.0.1:9000", true),
            ("ftp://example.com", false),
            ("https://", false),
            ("hooks.example.com", false),
        ] {
            assert_eq!(is_url(text), expected, "{text}");
        }
    }
}
