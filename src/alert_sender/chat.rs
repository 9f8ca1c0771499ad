//! Messages in the forms of Slack, Discord and Telegram.

use http::HeaderMap;
use serde_json::json;

use crate::alert_sender::http_post::post_json;
use crate::alert_sender::message::AlertMessage;
use crate::alert_sender::send_error::SendError;
use crate::storage::alert_targets::AlertTargetTerms;

/// The bot API of Telegram itself.
pub const TELEGRAM: &str = "https://api.telegram.org";
/// Maximum number of characters of a Discord message.
const DISCORD_CHARACTERS: usize = 2_000;

pub async fn send_to_slack(
    terms: &AlertTargetTerms,
    message: &AlertMessage,
) -> Result<(), SendError> {
    let text = message.whole_text();
    // Slack's only special characters: the others format, and do no harm.
    let text = text.replace('&', "&amp;");
    let text = text.replace('<', "&lt;").replace('>', "&gt;");
    let body = json!({ "text": text }).to_string();
    post_json(terms.address.expose(), HeaderMap::new(), body).await
}

pub async fn send_to_discord(
    terms: &AlertTargetTerms,
    message: &AlertMessage,
) -> Result<(), SendError> {
    let text: String = message
        .whole_text()
        .chars()
        .take(DISCORD_CHARACTERS)
        .collect();
    // No name in a message mentions a member.
    let body = json!({ "content": text, "allowed_mentions": { "parse": [] } }).to_string();
    post_json(terms.address.expose(), HeaderMap::new(), body).await
}

pub async fn send_to_telegram(
    terms: &AlertTargetTerms,
    message: &AlertMessage,
) -> Result<(), SendError> {
    let server = terms.server.as_deref().unwrap_or(TELEGRAM);
    let url = format!("{server}/bot{}/sendMessage", terms.secret.expose());
    let body = json!({
        "chat_id": terms.address.expose(),
        "text": message.whole_text(),
        "link_preview_options": { "is_disabled": true },
    });
    post_json(&url, HeaderMap::new(), body.to_string()).await
}
