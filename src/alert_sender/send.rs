//! Sends one message once. No error contains a secret.

use tokio::time::timeout;
use url::Url;

use crate::alert_sender::message::AlertMessage;
use crate::alert_sender::send_error::{SEND_TIMEOUT, SendError};
use crate::alert_sender::{chat, email, webhook};
use crate::clock::Timestamp;
use crate::storage::alert_deliveries::FailedAttempt;
use crate::storage::alert_targets::{AlertTargetKind, AlertTargetTerms};

/// Maximum number of characters of an error.
const MAX_ERROR_CHARACTERS: usize = 300;

/// Sends a message once.
pub async fn send(
    terms: &AlertTargetTerms,
    message: &AlertMessage,
    now: Timestamp,
) -> Result<(), FailedAttempt> {
    let sending = async {
        match terms.kind {
            AlertTargetKind::Webhook => webhook::send(terms, message, now).await,
            AlertTargetKind::Slack => chat::send_to_slack(terms, message).await,
            AlertTargetKind::Discord => chat::send_to_discord(terms, message).await,
            AlertTargetKind::Telegram => chat::send_to_telegram(terms, message).await,
            AlertTargetKind::Email => email::send(terms, message).await,
        }
    };
    let sent = timeout(SEND_TIMEOUT, sending).await.unwrap_or_else(|_| {
        let seconds = SEND_TIMEOUT.as_secs();
        Err(SendError::Failed(format!(
            "no answer within {seconds} seconds"
        )))
    });
    sent.map_err(|error| FailedAttempt {
        is_gone: matches!(error, SendError::Gone),
        error: redact(&error.to_string(), terms),
    })
}

/// A text without the secrets of a target.
fn redact(text: &str, terms: &AlertTargetTerms) -> String {
    let mut text = text.to_owned();
    let address = match terms.kind {
        AlertTargetKind::Webhook | AlertTargetKind::Slack | AlertTargetKind::Discord => {
            terms.address.expose()
        }
        AlertTargetKind::Telegram | AlertTargetKind::Email => "",
    };
    // Path and query of a URL are its secret parts.
    let url = Url::parse(address).ok();
    let path = url.as_ref().map_or("", Url::path);
    let query = url.as_ref().and_then(Url::query).unwrap_or("");
    for secret in [address, path, query, terms.secret.expose()] {
        if secret.len() > 1 {
            text = text.replace(secret, "…");
        }
    }
    text.chars().take(MAX_ERROR_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::alert_targets::tests as targets;

    #[test]
    fn an_error_has_no_secret() {
        let terms = targets::webhook("ops", &[]);
        let (url, secret) = (terms.address.expose(), terms.secret.expose());
        let error = format!("POST {url} failed: /a-secret-path-of-the-hook {secret}");

        let redacted = redact(&error, &terms);

        assert_eq!(redacted, "POST … failed: … …");
        assert_eq!(
            redact(&"x".repeat(1_000), &terms).len(),
            MAX_ERROR_CHARACTERS
        );
    }
}
