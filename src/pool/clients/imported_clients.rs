//! Reads the tokens of another pool's clients, so that the clients keep theirs: gemini-balance's `ALLOWED_TOKENS`,
//! gpt-load's `proxy_keys`, one-api's and new-api's tokens.
//!
//! The names of fields are those of the programs' tables and exports.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::pool::clients::scopes;
use crate::pool::secret::Secret;

const MAX_NAME_CHARACTERS: usize = 100;
const MAX_SECRET_CHARACTERS: usize = 1_024;
/// The setting of gemini-balance with its clients' tokens. `AUTH_TOKEN` is the admin's.
const ALLOWED_TOKENS: &str = "ALLOWED_TOKENS";
/// The setting of gpt-load with the tokens that are valid for all groups.
const PROXY_KEYS: &str = "proxy_keys";
/// one-api's status of a token that may be used.
const ONE_API_ENABLED: i64 = 1;

/// A client of another pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedClient {
    pub secret: Secret,
    pub name: String,
    pub is_disabled: bool,
    pub expires_at: Option<Timestamp>,
    /// Patterns; empty: all models.
    pub models: Vec<String>,
    /// Networks; empty: all addresses.
    pub addresses: Vec<String>,
    /// A limit that this pool cannot express.
    pub lost: Option<LostLimit>,
}

/// A limit of the other pool that is not taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum LostLimit {
    #[strum(serialize = "its quota is not taken over: set limits of requests, tokens or cost")]
    Quota,
    #[strum(
        serialize = "added disabled, because its models or addresses cannot be read: set them, then enable it"
    )]
    UnreadScope,
}

/// The clients of a text: an environment file, or JSON as the other pool's API lists it.
pub fn read_text(text: &str) -> Vec<ImportedClient> {
    let text = text.trim_start_matches('\u{feff}');
    if let Ok(document) = serde_json::from_str::<Value>(text) {
        let mut rows = Vec::new();
        collect_rows(document, &mut rows);
        return read_rows(&rows);
    }
    let settings = text.lines().filter_map(|line| {
        let line = line.trim();
        let (name, value) = line
            .strip_prefix("export ")
            .unwrap_or(line)
            .split_once('=')?;
        let value = value.trim().trim_matches('\'');
        Some(setting(name.trim(), value))
    });
    read_rows(&settings.collect::<Vec<_>>())
}

fn setting(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": value })
}

/// The objects of a document that may be rows: those in lists, and the members of an object of settings.
fn collect_rows(node: Value, rows: &mut Vec<Value>) {
    match node {
        Value::Array(nodes) => nodes.into_iter().for_each(|node| collect_rows(node, rows)),
        Value::Object(members) => {
            for (name, member) in &members {
                match member {
                    Value::Array(_) if name == ALLOWED_TOKENS => {
                        rows.push(setting(name, &member.to_string()));
                    }
                    Value::Array(_) | Value::Object(_) => collect_rows(member.clone(), rows),
                    Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => (),
                }
            }
            rows.push(Value::Object(members));
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => (),
    }
}

/// The clients in rows of the tables `tokens`, `groups`, `system_settings` and `t_settings`, each secret once.
pub fn read_rows(rows: &[Value]) -> Vec<ImportedClient> {
    let mut known = HashSet::new();
    let clients = rows.iter().flat_map(read_row);
    let is_secret = |client: &ImportedClient| {
        let secret = client.secret.expose();
        let length = 1..=MAX_SECRET_CHARACTERS;
        length.contains(&secret.len()) && secret.bytes().all(|byte| byte.is_ascii_graphic())
    };
    clients
        .filter(is_secret)
        .filter(|client| known.insert(client.secret.expose().to_owned()))
        .collect()
}

fn read_row(row: &Value) -> Vec<ImportedClient> {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    if let (Some(name), Some(value)) = (text("key"), text("value")) {
        return match name {
            ALLOWED_TOKENS => clients(&listed(value), "gemini-balance"),
            PROXY_KEYS => clients(&listed(value), "gpt-load"),
            _ => Vec::new(),
        };
    }
    if let Some(keys) = text(PROXY_KEYS) {
        return clients(&listed(keys), text("name").unwrap_or("gpt-load"));
    }
    let is_token = row.get("expired_time").is_some() || row.get("unlimited_quota").is_some();
    let is_deleted = ["deleted_at", "DeletedAt"]
        .iter()
        .any(|name| row.get(*name).is_some_and(|time| !time.is_null()));
    match text("key") {
        Some(key) if is_token && !is_deleted => vec![one_api_client(key, row)],
        Some(_) | None => Vec::new(),
    }
}

/// A list of tokens: as JSON, or separated by commas or lines.
fn listed(text: &str) -> Vec<String> {
    let texts = serde_json::from_str::<Vec<String>>(text)
        .unwrap_or_else(|_| text.split([',', '\n']).map(str::to_owned).collect());
    let texts = texts
        .iter()
        .map(|text| text.trim().trim_matches('"').to_owned());
    texts.filter(|text| !text.is_empty()).collect()
}

/// Clients without limits, named after their place.
fn clients(secrets: &[String], place: &str) -> Vec<ImportedClient> {
    let client = |(number, secret): (usize, &String)| ImportedClient {
        secret: Secret::new(secret),
        name: valid_name(&format!("{place} {number}")),
        is_disabled: false,
        expires_at: None,
        models: Vec::new(),
        addresses: Vec::new(),
        lost: None,
    };
    (1..).zip(secrets).map(client).collect()
}

/// A token of one-api or new-api, whose clients send `sk-` before what is stored.
fn one_api_client(key: &str, row: &Value) -> ImportedClient {
    let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_set = |name: &str| {
        let value = row.get(name);
        value.is_some_and(|value| value == &Value::Bool(true) || value.as_i64() == Some(1))
    };
    let mut models = listed(text("models"));
    let mut is_read = true;
    if is_set("model_limits_enabled") {
        let limits = listed(text("model_limits"));
        is_read = !limits.is_empty();
        models.extend(limits);
    }
    let mut addresses = listed(text("subnet"));
    addresses.extend(listed(text("allow_ips")));
    is_read &= models
        .iter()
        .all(|model| scopes::check_model(model).is_ok())
        && addresses
            .iter()
            .all(|address| scopes::check_address(address).is_ok());
    let expires = row
        .get("expired_time")
        .and_then(Value::as_i64)
        .unwrap_or(-1);
    let status = row.get("status").and_then(Value::as_i64);
    let is_unlimited = is_set("unlimited_quota");
    let left = row.get("remain_quota").and_then(Value::as_i64);
    let is_exhausted = !is_unlimited && left.is_some_and(|left| left <= 0);
    let lost = if !is_read {
        Some(LostLimit::UnreadScope)
    } else if is_unlimited {
        None
    } else {
        Some(LostLimit::Quota)
    };
    ImportedClient {
        secret: Secret::new(&format!("sk-{}", key.strip_prefix("sk-").unwrap_or(key))),
        name: valid_name(text("name")),
        is_disabled: !is_read
            || is_exhausted
            || status.is_some_and(|status| status != ONE_API_ENABLED),
        // In seconds; -1: never.
        expires_at: (expires > 0).then(|| Timestamp::from_millis(expires.saturating_mul(1_000))),
        models: if is_read { models } else { Vec::new() },
        addresses: if is_read { addresses } else { Vec::new() },
        lost,
    }
}

fn valid_name(name: &str) -> String {
    let visible = name.chars().filter(|char| !char.is_control());
    let name: String = visible.take(MAX_NAME_CHARACTERS).collect();
    match name.trim() {
        "" => "client".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_and_secrets(clients: &[ImportedClient]) -> Vec<(&str, &str)> {
        let clients = clients.iter();
        clients
            .map(|client| (client.name.as_str(), client.secret.expose()))
            .collect()
    }

    #[test]
    fn tokens_of_gemini_balance_are_clients_and_the_admins_is_not() {
        let environment = "API_KEYS=[\"AIzaSyMadeUp\"]\nexport ALLOWED_TOKENS='[\"sk-one\", \"sk-two\"]'\nAUTH_TOKEN=sk-admin\n";

        let clients = read_text(environment);

        assert_eq!(
            names_and_secrets(&clients),
            [
                ("gemini-balance 1", "sk-one"),
                ("gemini-balance 2", "sk-two")
            ]
        );
        let document = json!({ "ALLOWED_TOKENS": ["sk-one", "sk-two"], "AUTH_TOKEN": "sk-admin" });
        assert_eq!(read_text(&document.to_string()), clients);
    }

    #[test]
    fn proxy_keys_of_gpt_load_are_named_after_their_group() {
        let rows = [
            json!({ "key": "proxy_keys", "value": "sk-all, sk-other" }),
            json!({ "id": 1, "name": "gemini", "proxy_keys": "sk-all,sk-group" }),
            json!({ "id": 2, "name": "openai", "proxy_keys": "" }),
        ];

        let clients = read_rows(&rows);

        assert_eq!(
            names_and_secrets(&clients),
            [
                ("gpt-load 1", "sk-all"),
                ("gpt-load 2", "sk-other"),
                ("gemini 2", "sk-group")
            ]
        );
    }

    #[test]
    fn tokens_of_one_api_keep_name_state_end_and_scopes() {
        let rows = [
            json!({
                "key": "aaaa", "status": 1, "name": "ann\n", "expired_time": 1_800_000_000, "unlimited_quota": true,
                "models": "gemini-2.5-pro,gemini-2.5-flash", "subnet": "10.0.0.0/8"
            }),
            json!({ "key": "bbbb", "status": 2, "name": "", "expired_time": -1, "unlimited_quota": 0 }),
            json!({
                "key": "cccc", "status": 1, "name": "carl", "expired_time": -1, "unlimited_quota": 1,
                "model_limits_enabled": 0, "model_limits": "gemini-2.5-pro", "allow_ips": "not an address"
            }),
            json!({
                "key": "dddd", "status": 1, "name": "spent", "expired_time": -1, "unlimited_quota": 0, "remain_quota": 0
            }),
            json!({ "key": "eeee", "status": 1, "name": "gone", "expired_time": -1, "DeletedAt": "2026-01-01T00:00:00Z" }),
            // A channel is no client.
            json!({ "key": "AIza", "status": 1, "name": "channel", "type": 24 }),
        ];

        let clients = read_rows(&rows);

        let [ann, bob, carl, spent] = clients.as_slice() else {
            panic!("{clients:?}");
        };
        assert_eq!((ann.name.as_str(), ann.secret.expose()), ("ann", "sk-aaaa"));
        assert_eq!(
            ann.expires_at,
            Some(Timestamp::from_millis(1_800_000_000_000))
        );
        assert_eq!(ann.models, ["gemini-2.5-pro", "gemini-2.5-flash"]);
        assert_eq!(ann.addresses, ["10.0.0.0/8"]);
        assert_eq!((ann.is_disabled, ann.lost), (false, None));
        assert_eq!(bob.name, "client");
        assert_eq!((bob.is_disabled, bob.lost), (true, Some(LostLimit::Quota)));
        assert!(spent.is_disabled);
        assert!(carl.models.is_empty() && carl.addresses.is_empty());
        assert_eq!(
            (carl.is_disabled, carl.lost),
            (true, Some(LostLimit::UnreadScope))
        );
    }

    #[test]
    fn a_secret_that_no_header_can_have_is_left_out() {
        let rows = [json!({ "key": "proxy_keys", "value": "with space,sk-good,sk-good,ünï" })];

        assert_eq!(
            names_and_secrets(&read_rows(&rows)),
            [("gpt-load 2", "sk-good")]
        );
    }
}
