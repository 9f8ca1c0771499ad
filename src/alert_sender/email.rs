//! Messages as e-mail, by SMTP with TLS or STARTTLS.

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncTransport, Tokio1Executor};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};
use url::Url;

use crate::alert_sender::message::AlertMessage;
use crate::alert_sender::send_error::{SEND_TIMEOUT, SendError};
use crate::storage::alert_targets::AlertTargetTerms;

/// How the connection to the mail server is encrypted; the name is the scheme of its URL.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    utoipa::ToSchema,
)]
pub enum MailSecurity {
    /// TLS from the first byte.
    #[serde(rename = "smtps")]
    #[strum(serialize = "smtps")]
    Tls,
    #[serde(rename = "smtp+starttls")]
    #[strum(serialize = "smtp+starttls")]
    StartTls,
    /// None, for a mail server on the same machine: no password is sent.
    #[serde(rename = "smtp")]
    #[strum(serialize = "smtp")]
    Plain,
}

impl MailSecurity {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A mail server, stored as a URL such as `smtp+starttls://user@mail.example.com:587`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    pub security: MailSecurity,
    pub host: String,
    pub port: u16,
    /// Empty: no authentication.
    pub user: String,
}

impl MailServer {
    /// `None`: not a mail server.
    pub fn of_url(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let user = percent_decode_str(url.username()).decode_utf8().ok()?;
        Some(Self {
            security: url.scheme().parse().ok()?,
            host: url.host_str()?.to_owned(),
            port: url.port()?,
            user: user.into_owned(),
        })
    }

    /// `None`: the host is not one.
    pub fn url(&self) -> Option<String> {
        let (scheme, host) = (self.security.name(), &self.host);
        let mut url = Url::parse(&format!("{scheme}://{host}:{}", self.port)).ok()?;
        url.set_username(&self.user).ok()?;
        let text = url.to_string();
        (Self::of_url(&text).as_ref() == Some(self)).then_some(text)
    }
}

/// Whether a text is the address of a mailbox.
pub fn is_mailbox(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

pub async fn send(terms: &AlertTargetTerms, message: &AlertMessage) -> Result<(), SendError> {
    let server = terms.server.as_deref().and_then(MailServer::of_url);
    let server =
        server.ok_or_else(|| SendError::Failed("the mail server is not valid".to_owned()))?;
    let mail = mail(terms, message).map_err(|error| SendError::Failed(error.clone()))?;
    let failed = |error: lettre::transport::smtp::Error| SendError::Failed(error.to_string());
    let tls = match server.security {
        MailSecurity::Tls => Tls::Wrapper(TlsParameters::new(server.host.clone()).map_err(failed)?),
        MailSecurity::StartTls => {
            Tls::Required(TlsParameters::new(server.host.clone()).map_err(failed)?)
        }
        MailSecurity::Plain => Tls::None,
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
        .port(server.port)
        .tls(tls)
        .timeout(Some(SEND_TIMEOUT));
    if !server.user.is_empty() {
        let password = terms.secret.expose().to_owned();
        transport = transport.credentials(Credentials::new(server.user, password));
    }
    transport.build().send(mail).await.map_err(failed)?;
    Ok(())
}

fn mail(terms: &AlertTargetTerms, message: &AlertMessage) -> Result<Message, String> {
    let mailbox = |text: &str| -> Result<Mailbox, String> {
        text.parse()
            .map_err(|error| format!("{text} is no mail address: {error}"))
    };
    let sender = mailbox(terms.sender.as_deref().unwrap_or_default())?;
    let builder = Message::builder()
        .message_id(Some(format!("<{}@{}>", message.id, sender.email.domain())))
        .from(sender)
        .to(mailbox(terms.address.expose())?)
        .subject(format!("[gemini-pool] {}", message.title))
        .header(ContentType::TEXT_PLAIN);
    let mail = builder.body(message.whole_text());
    mail.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_is_stored_as_a_url() {
        for (server, expected) in [
            (
                ("smtps", "mail.example.com", 465, "ops@example.com"),
                Some("smtps://ops%40example.com@mail.example.com:465"),
            ),
            (
                ("smtp+starttls", "mail.example.com", 587, "ops"),
                Some("smtp+starttls://ops@mail.example.com:587"),
            ),
            (("smtp", "127.0.0.1", 25, ""), Some("smtp://127.0.0.1:25")),
            (("smtp", "a b", 25, ""), None),
            (("smtp", "host/path", 25, ""), None),
        ] {
            let (security, host, port, user) = server;
            let server = MailServer {
                security: security.parse().unwrap(),
                host: host.to_owned(),
                port,
                user: user.to_owned(),
            };
            assert_eq!(server.url().as_deref(), expected, "{server:?}");
        }
    }
}
