//! Authentication of programs by the API token in their `Authorization` header.

use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::clock::Timestamp;
use crate::error::Result;
use crate::pool::api_token::TOKEN_PREFIX;
use crate::storage::api_tokens::{self, ApiToken};
use crate::storage::db::Db;

/// Interval at which a token's last use is stored.
const LAST_USED_INTERVAL: Duration = Duration::from_mins(1);

/// The token of a request; `None`: it has none, an unknown or an expired one.
pub async fn authenticate(
    db: &Db,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Option<ApiToken>> {
    let Some(text) = bearer(headers) else {
        return Ok(None);
    };
    let token = api_tokens::find_by_text(&db.readers, text).await?;
    let token = token.filter(|token| !token.grant().is_expired(now));
    if let Some(token) = &token
        && token
            .last_used_at
            .is_none_or(|last| now - last >= LAST_USED_INTERVAL)
    {
        // In the background: the answer must not wait for the database.
        let (writer, id) = (db.writer.clone(), token.id);
        tokio::spawn(async move { api_tokens::update_last_used(&writer, id, now).await });
    }
    Ok(token)
}

/// The text that may be a token.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, text) = value.split_once(' ')?;
    let text = text.trim();
    (scheme.eq_ignore_ascii_case("bearer") && text.starts_with(TOKEN_PREFIX)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_with_the_prefix_is_one() {
        for (value, expected) in [
            ("Bearer gpa_abc", Some("gpa_abc")),
            ("bearer  gpa_abc ", Some("gpa_abc")),
            ("Basic gpa_abc", None),
            ("gpa_abc", None),
            ("Bearer gp_abc", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            assert_eq!(bearer(&headers), expected, "{value}");
        }
    }
}
