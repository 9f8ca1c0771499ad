//! Webhooks by the Standard Webhooks specification: JSON with an id, a time and a signature.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use rand::{CryptoRng, RngExt};
use serde_json::json;
use sha2::Sha256;

use crate::alert_sender::http_post::post_json;
use crate::alert_sender::message::AlertMessage;
use crate::alert_sender::send_error::SendError;
use crate::clock::Timestamp;
use crate::pool::secret::Secret;
use crate::storage::alert_targets::AlertTargetTerms;

/// Before the Base64 of a secret.
const PREFIX: &str = "whsec_";
/// Bytes of a new secret.
const SECRET_BYTES: usize = 32;

/// A new secret.
pub fn generate_secret(random: &mut impl CryptoRng) -> Secret {
    let bytes: [u8; SECRET_BYTES] = random.random();
    Secret::new(&format!("{PREFIX}{}", STANDARD.encode(bytes)))
}

/// Whether a text is a secret of 24 to 64 bytes, as the specification wants.
pub fn is_secret(text: &str) -> bool {
    key_of(text).is_some_and(|key| (24..=64).contains(&key.len()))
}

fn key_of(secret: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()
}

/// Sends a message with its signature.
pub async fn send(
    terms: &AlertTargetTerms,
    message: &AlertMessage,
    now: Timestamp,
) -> Result<(), SendError> {
    let body = json!({
        "type": format!("alert.{}", message.phase_name()),
        "timestamp": message.at.to_rfc3339(),
        "data": {
            "kind": message.event.as_ref().map(|event| event.kind),
            "severity": message.event.as_ref().map(|event| event.severity),
            "subject": message.event.as_ref().map(|event| &event.subject),
            "detail": message.event.as_ref().map(|event| &event.detail),
            "key_state": message.event.as_ref().and_then(|event| event.key_state),
            "began_at": message.event.as_ref().map(|event| event.began_at.to_rfc3339()),
            "ended_at": message.event.as_ref().and_then(|event| event.ended_at).map(Timestamp::to_rfc3339),
            "title": message.title,
            "text": message.text,
            "url": message.link,
        },
    });
    let (body, seconds) = (body.to_string(), now.as_millis() / 1_000);
    let key = key_of(terms.secret.expose());
    let key = key.ok_or_else(|| SendError::Failed("the signing secret is not valid".to_owned()))?;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("webhook-id", message.id.clone()),
        ("webhook-timestamp", seconds.to_string()),
        (
            "webhook-signature",
            signature(&key, &message.id, seconds, &body),
        ),
    ] {
        let value = HeaderValue::from_str(&value).expect("letters, digits and Base64");
        headers.insert(HeaderName::from_static(name), value);
    }
    post_json(terms.address.expose(), headers, body).await
}

fn signature(key: &[u8], id: &str, seconds: i64, body: &str) -> String {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    hmac.update(format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(hmac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the specification's libraries.
        let key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );

        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_generated_secret_is_one() {
        let secret = generate_secret(&mut rand::rng());

        assert!(is_secret(secret.expose()));
        for text in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            assert!(!is_secret(text), "{text}");
        }
    }
}
