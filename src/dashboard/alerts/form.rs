//! The form of an alert target: submitted fields and their rendering.

use maud::{Markup, html};
use serde::Deserialize;

use crate::alert_sender::email::MailSecurity;
use crate::alert_sender::message::kind_name;
use crate::alert_sender::target_input::{AlertTargetInput, InvalidField, InvalidFields};
use crate::dashboard::components::{card, field, select, text_input};
use crate::dashboard::translations::Language;
use crate::pool::alerts::AlertKind;
use crate::storage::alert_targets::{AlertLanguage, AlertTargetKind};

/// The fields as submitted by the browser. Secrets and URLs are never filled in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AlertTargetForm {
    pub kind: String,
    name: String,
    url: String,
    address: String,
    secret: String,
    server: String,
    sender: String,
    host: String,
    port: String,
    security: String,
    user: String,
    language: String,
    event: Vec<String>,
    quiet_from: String,
    quiet_to: String,
}

impl AlertTargetForm {
    /// The form filled with what is stored, but for its secrets.
    pub fn of(input: AlertTargetInput) -> Self {
        Self {
            kind: input.kind.name().to_owned(),
            name: input.name,
            url: String::new(),
            address: input.address,
            secret: String::new(),
            server: input.server,
            sender: input.sender,
            host: input.host,
            port: input.port,
            security: input.security,
            user: input.user,
            language: input.language.name().to_owned(),
            event: input
                .events
                .iter()
                .map(|kind| kind.name().to_owned())
                .collect(),
            quiet_from: input.quiet_from,
            quiet_to: input.quiet_to,
        }
    }

    /// What was submitted for a target of this kind, whose quiet hours are in this zone, and whose messages are in this language
    /// if none was chosen.
    pub fn input(
        &self,
        kind: AlertTargetKind,
        zone: &str,
        language: AlertLanguage,
    ) -> AlertTargetInput {
        let events = self.event.iter();
        AlertTargetInput {
            kind,
            name: self.name.clone(),
            url: self.url.clone(),
            address: self.address.clone(),
            secret: self.secret.clone(),
            server: self.server.clone(),
            sender: self.sender.clone(),
            host: self.host.clone(),
            port: self.port.clone(),
            security: self.security.clone(),
            user: self.user.clone(),
            events: events.filter_map(|name| name.parse().ok()).collect(),
            quiet_from: self.quiet_from.clone(),
            quiet_to: self.quiet_to.clone(),
            zone: zone.to_owned(),
            language: self.language.parse().unwrap_or(language),
        }
    }

    /// The fields, with quiet hours in this zone; `is_new`: the target has no secret yet.
    pub fn fields(
        &self,
        language: Language,
        kind: AlertTargetKind,
        zone: &str,
        is_new: bool,
        errors: &InvalidFields,
    ) -> Markup {
        let error = |name: &str| errors.get(name).map(|invalid| text_of(language, *invalid));
        let time =
            |id: &str, value: &str| html! { input #(id) name=(id) type="time" value=(value); };
        let languages: Vec<_> = AlertLanguage::ALL
            .iter()
            .map(|choice| (choice.name(), Language::of_alerts(*choice).native_name()))
            .collect();
        let receiver = html! {
            input type="hidden" name="kind" value=(kind.name());
            (field("name", language.alert_target_name(), None, error("name"), text_input("name", &self.name)))
            (self.receiver_fields(language, kind, is_new, errors))
            (field("language", language.alert_language(), None, None, select("language", "language", &self.language, &languages)))
        };
        let events = html! {
            fieldset {
                legend.visually-hidden { (language.alert_events()) }
                @if let Some(error) = error("events") { p.form-error role="alert" { (error) } }
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
        errors: &InvalidFields,
    ) -> Markup {
        let error = |name: &str| errors.get(name).map(|invalid| text_of(language, *invalid));
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

fn text_of(language: Language, invalid: InvalidField) -> &'static str {
    match invalid {
        InvalidField::Name => language.alert_bad_name(),
        InvalidField::Url => language.alert_bad_url(),
        InvalidField::Secret => language.alert_bad_secret(),
        InvalidField::Token => language.alert_bad_token(),
        InvalidField::SecretOfAnother => language.alert_secret_of_another(),
        InvalidField::Chat => language.alert_bad_chat(),
        InvalidField::Mailbox => language.alert_bad_mailbox(),
        InvalidField::Host => language.alert_bad_host(),
        InvalidField::Port => language.alert_bad_port(),
        InvalidField::Password => language.alert_bad_password(),
        InvalidField::PlainPassword => language.alert_plain_password(),
        InvalidField::Quiet => language.alert_bad_quiet(),
        InvalidField::Events => language.alert_bad_events(),
        InvalidField::NameTaken => language.alert_name_taken(),
    }
}
