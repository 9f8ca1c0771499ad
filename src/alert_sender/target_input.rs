//! `AlertTargetInput`: what an admin or a program submits for an alert target, and whether it is valid.

use std::collections::BTreeMap;

use strum::Display;
use url::Url;

use crate::alert_sender::chat::TELEGRAM;
use crate::alert_sender::email::{MailSecurity, MailServer, is_mailbox};
use crate::alert_sender::webhook;
use crate::pool::alert_schedule::QuietHours;
use crate::pool::alerts::AlertKind;
use crate::pool::secret::Secret;
use crate::storage::alert_targets::{AlertLanguage, AlertTargetKind, AlertTargetTerms};

/// Maximum number of characters of a field.
const MAX_CHARACTERS: usize = 500;

/// What is wrong with fields, by their names.
pub type InvalidFields = BTreeMap<&'static str, InvalidField>;

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display)]
pub enum InvalidField {
    #[strum(serialize = "must have 1 to 100 characters")]
    Name,
    #[strum(serialize = "another target has this name")]
    NameTaken,
    #[strum(serialize = "must be a URL that begins with https:// or http://")]
    Url,
    #[strum(serialize = "must begin with whsec_, followed by 24 to 64 bytes in Base64")]
    Secret,
    #[strum(serialize = "must be the token of the bot")]
    Token,
    #[strum(serialize = "must be given again for another server")]
    SecretOfAnother,
    #[strum(serialize = "must be the id of the chat")]
    Chat,
    #[strum(serialize = "must be a mail address")]
    Mailbox,
    #[strum(serialize = "must be the host name of the mail server")]
    Host,
    #[strum(serialize = "must be a port from 1 to 65535")]
    Port,
    #[strum(serialize = "must be the password of the user")]
    Password,
    #[strum(serialize = "must be empty without encryption: no password is sent then")]
    PlainPassword,
    #[strum(serialize = "must be two different times, or both empty")]
    Quiet,
    #[strum(serialize = "must name at least one event")]
    Events,
}

/// The submitted fields. In a change an empty URL or secret keeps the one that is stored.
#[derive(Debug, Clone)]
pub struct AlertTargetInput {
    pub kind: AlertTargetKind,
    pub name: String,
    pub url: String,
    /// The chat, or the recipient of mails.
    pub address: String,
    pub secret: String,
    /// The bot API.
    pub server: String,
    pub sender: String,
    /// Of the mail server.
    pub host: String,
    pub port: String,
    pub security: String,
    pub user: String,
    pub events: Vec<AlertKind>,
    /// Times such as `22:30`; both empty: none.
    pub quiet_from: String,
    pub quiet_to: String,
    /// The IANA name of the zone of the quiet hours and of times in messages.
    pub zone: String,
    pub language: AlertLanguage,
}

impl AlertTargetInput {
    /// Without a receiver, for every event.
    pub fn new(kind: AlertTargetKind, zone: &str, language: AlertLanguage) -> Self {
        Self {
            kind,
            name: String::new(),
            url: String::new(),
            address: String::new(),
            secret: String::new(),
            server: TELEGRAM.to_owned(),
            sender: String::new(),
            host: String::new(),
            port: "587".to_owned(),
            security: MailSecurity::StartTls.name().to_owned(),
            user: String::new(),
            events: AlertKind::ALL.to_vec(),
            quiet_from: String::new(),
            quiet_to: String::new(),
            zone: zone.to_owned(),
            language,
        }
    }

    /// The terms of a target, without its URL and its secret.
    pub fn of(terms: &AlertTargetTerms) -> Self {
        let mut input = Self::new(terms.kind, &terms.zone, terms.language);
        input.name.clone_from(&terms.name);
        match terms.kind {
            AlertTargetKind::Webhook | AlertTargetKind::Slack | AlertTargetKind::Discord => {}
            AlertTargetKind::Telegram => {
                terms.address.expose().clone_into(&mut input.address);
                input.server = terms.server.clone().unwrap_or_default();
            }
            AlertTargetKind::Email => {
                terms.address.expose().clone_into(&mut input.address);
                input.sender = terms.sender.clone().unwrap_or_default();
                if let Some(server) = terms.server.as_deref().and_then(MailServer::of_url) {
                    input.host = server.host;
                    input.port = server.port.to_string();
                    server.security.name().clone_into(&mut input.security);
                    input.user = server.user;
                }
            }
        }
        if !terms.events.is_empty() {
            input.events.clone_from(&terms.events);
        }
        if let Some(quiet) = terms.quiet {
            input.quiet_from = time_of(quiet.from_minute);
            input.quiet_to = time_of(quiet.to_minute);
        }
        input
    }

    /// The validated terms; `before` contains the current terms of an existing target.
    pub fn terms(
        &self,
        before: Option<&AlertTargetTerms>,
    ) -> Result<AlertTargetTerms, InvalidFields> {
        let mut errors = InvalidFields::new();
        let kind = before.map_or(self.kind, |terms| terms.kind);
        let name = self.name.trim();
        if name.is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
            errors.insert("name", InvalidField::Name);
        }
        let mut sender = None;
        let (address, secret, server) = match kind {
            AlertTargetKind::Webhook | AlertTargetKind::Slack | AlertTargetKind::Discord => {
                let address = self.checked_url(before, &mut errors);
                let secret = if kind == AlertTargetKind::Webhook {
                    self.signing_secret(before, &mut errors)
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
                    errors.insert("address", InvalidField::Chat);
                }
                if !is_url(server) {
                    errors.insert("server", InvalidField::Url);
                }
                let token = self.bot_token(server, before, &mut errors);
                (Secret::new(chat), token, Some(server.to_owned()))
            }
            AlertTargetKind::Email => {
                let (to, from) = (self.address.trim(), self.sender.trim());
                for (name, mailbox) in [("address", to), ("sender", from)] {
                    if !is_mailbox(mailbox) || mailbox.len() > MAX_CHARACTERS {
                        errors.insert(name, InvalidField::Mailbox);
                    }
                }
                sender = Some(from.to_owned());
                let server = self.mail_server(&mut errors);
                let password = self.password(server.as_deref(), before, &mut errors);
                (Secret::new(to), password, server)
            }
        };
        let quiet = self.quiet(&mut errors);
        let mut events = self.events.clone();
        if events.is_empty() {
            errors.insert("events", InvalidField::Events);
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
            zone: self.zone.clone(),
            language: self.language,
        })
    }

    fn checked_url(&self, before: Option<&AlertTargetTerms>, errors: &mut InvalidFields) -> Secret {
        let url = self.url.trim();
        if let (true, Some(before)) = (url.is_empty(), before) {
            return before.address.clone();
        }
        if !is_url(url) {
            errors.insert("url", InvalidField::Url);
        }
        Secret::new(url)
    }

    fn signing_secret(
        &self,
        before: Option<&AlertTargetTerms>,
        errors: &mut InvalidFields,
    ) -> Secret {
        let secret = self.secret.trim();
        if secret.is_empty() {
            return match before {
                Some(before) => before.secret.clone(),
                None => webhook::generate_secret(&mut rand::rng()),
            };
        }
        if !webhook::is_secret(secret) {
            errors.insert("secret", InvalidField::Secret);
        }
        Secret::new(secret)
    }

    /// A token that is kept is never sent to another server.
    fn bot_token(
        &self,
        server: &str,
        before: Option<&AlertTargetTerms>,
        errors: &mut InvalidFields,
    ) -> Secret {
        let token = self.secret.trim();
        match before {
            Some(before) if token.is_empty() && before.server.as_deref() == Some(server) => {
                before.secret.clone()
            }
            Some(_) if token.is_empty() => {
                errors.insert("secret", InvalidField::SecretOfAnother);
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
                    errors.insert("secret", InvalidField::Token);
                }
                Secret::new(token)
            }
        }
    }

    fn mail_server(&self, errors: &mut InvalidFields) -> Option<String> {
        let port = self.port.trim().parse().ok().filter(|port| *port > 0);
        if port.is_none() {
            errors.insert("port", InvalidField::Port);
        }
        let server = MailServer {
            security: self.security.parse().unwrap_or(MailSecurity::StartTls),
            host: self.host.trim().to_owned(),
            port: port.unwrap_or(587),
            user: self.user.trim().to_owned(),
        };
        if server.security == MailSecurity::Plain && !server.user.is_empty() {
            errors.insert("user", InvalidField::PlainPassword);
        }
        let url = server.url();
        if url.is_none() {
            errors.insert("host", InvalidField::Host);
        }
        url
    }

    /// A password that is kept is never sent to another server.
    fn password(
        &self,
        server: Option<&str>,
        before: Option<&AlertTargetTerms>,
        errors: &mut InvalidFields,
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
                errors.insert("secret", InvalidField::SecretOfAnother);
            }
            None if self.secret.is_empty() => {
                errors.insert("secret", InvalidField::Password);
            }
            Some(_) | None => {}
        }
        Secret::new(&self.secret)
    }

    fn quiet(&self, errors: &mut InvalidFields) -> Option<QuietHours> {
        let (from, to) = (self.quiet_from.trim(), self.quiet_to.trim());
        if from.is_empty() && to.is_empty() {
            return None;
        }
        let minutes = minute_of(from).zip(minute_of(to));
        let quiet = minutes.and_then(|(from, to)| QuietHours::new(from, to));
        if quiet.is_none() {
            errors.insert("quiet_from", InvalidField::Quiet);
        }
        quiet
    }
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

/// A minute of the day as a text.
pub fn time_of(minute: u16) -> String {
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
