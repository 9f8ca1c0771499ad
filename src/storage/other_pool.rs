//! Reads the SQLite database of another pool (gemini-balance, gpt-load, one-api, new-api), without changing it.

use std::path::Path;

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::storage::error::{Error, Result};

/// The first bytes of each SQLite file.
const SQLITE_HEADER: &[u8] = b"SQLite format 3\0";
/// The table that only a database of this program has.
const OWN_TABLE: &str = "request_journal";

/// What another pool has stored: rows as JSON objects, with the names that its own exports use.
#[derive(Debug, Default)]
pub struct OtherPool {
    /// Rows with upstream keys.
    pub keys: Vec<Value>,
    /// Rows with the tokens of clients: one-api's tokens, gpt-load's `proxy_keys`, gemini-balance's settings.
    pub clients: Vec<Value>,
}

/// A table of another pool: the rows that are read from it.
struct OtherTable {
    name: &'static str,
    /// A column that tells it from a table of the same name.
    has: &'static str,
    /// A name of the JSON, and the column.
    columns: &'static [(&'static str, &'static str)],
    has_keys: bool,
    has_clients: bool,
}

/// The columns are those of the programs' models; older versions lack some.
const TABLES: &[OtherTable] = &[
    // gemini-balance; its settings have both kinds of keys.
    OtherTable {
        name: "t_settings",
        has: "value",
        columns: &[("key", "key"), ("value", "value")],
        has_keys: true,
        has_clients: true,
    },
    OtherTable {
        name: "t_api_keys",
        has: "key_value",
        columns: &[
            ("key_value", "key_value"),
            ("provider", "service"),
            ("status", "status"),
        ],
        has_keys: true,
        has_clients: false,
    },
    // gpt-load
    OtherTable {
        name: "api_keys",
        has: "key_value",
        columns: &[
            ("key_value", "key_value"),
            ("status", "status"),
            ("label", "notes"),
            ("group_id", "group_id"),
        ],
        has_keys: true,
        has_clients: false,
    },
    OtherTable {
        name: "groups",
        has: "proxy_keys",
        columns: &[
            ("id", "id"),
            ("name", "name"),
            ("channel_type", "channel_type"),
            ("proxy_keys", "proxy_keys"),
        ],
        has_keys: false,
        has_clients: true,
    },
    OtherTable {
        name: "system_settings",
        has: "setting_value",
        columns: &[("key", "setting_key"), ("value", "setting_value")],
        has_keys: false,
        has_clients: true,
    },
    // one-api and new-api
    OtherTable {
        name: "channels",
        has: "key",
        columns: &[
            ("type", "type"),
            ("key", "key"),
            ("status", "status"),
            ("name", "name"),
            ("weight", "weight"),
            ("priority", "priority"),
            ("base_url", "base_url"),
            ("channel_info", "channel_info"),
        ],
        has_keys: true,
        has_clients: false,
    },
    OtherTable {
        name: "tokens",
        has: "key",
        columns: &[
            ("key", "key"),
            ("status", "status"),
            ("name", "name"),
            ("expired_time", "expired_time"),
            ("unlimited_quota", "unlimited_quota"),
            ("remain_quota", "remain_quota"),
            ("models", "models"),
            ("subnet", "subnet"),
            ("model_limits_enabled", "model_limits_enabled"),
            ("model_limits", "model_limits"),
            ("allow_ips", "allow_ips"),
        ],
        has_keys: false,
        has_clients: true,
    },
];

/// Whether a file with these first bytes is an SQLite database.
pub fn is_database(start: &[u8]) -> bool {
    start.starts_with(SQLITE_HEADER)
}

/// Reads the tables of all known programs. Fails for a database that has none of them, and for one of this program.
pub async fn read(path: &Path) -> Result<OtherPool> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut db = options.connect().await?;
    if !columns_of(&mut db, OWN_TABLE).await?.is_empty() {
        let refused = "the file is a database of gemini-pool: `restore` puts it in place, and \
                       `upstream-keys export --secrets` writes its keys as a text to import";
        return Err(Error::Refused(refused.to_owned()));
    }
    let mut pool = OtherPool::default();
    let mut known_tables = 0;
    let mut groups = Vec::new();
    for table in TABLES {
        let present = columns_of(&mut db, table.name).await?;
        if !present.iter().any(|column| column == table.has) {
            continue;
        }
        known_tables += 1;
        let rows = rows_of(&mut db, table, &present).await?;
        if table.name == "groups" {
            groups.clone_from(&rows);
        }
        if table.has_keys {
            pool.keys.extend(rows.iter().cloned());
        }
        if table.has_clients {
            pool.clients.extend(rows);
        }
    }
    db.close().await?;
    if known_tables == 0 {
        let refused =
            "the database has none of the tables of gemini-balance, gpt-load, one-api or new-api";
        return Err(Error::Refused(refused.to_owned()));
    }
    name_providers(&mut pool.keys, &groups);
    Ok(pool)
}

async fn columns_of(db: &mut SqliteConnection, table: &str) -> Result<Vec<String>> {
    let columns = sqlx::query_scalar("SELECT name FROM pragma_table_info(?1)");
    Ok(columns.bind(table).fetch_all(db).await?)
}

/// All rows. The statement is built of the names above only: the macros know this program's schema and no other.
async fn rows_of(
    db: &mut SqliteConnection,
    table: &OtherTable,
    present: &[String],
) -> Result<Vec<Value>> {
    let columns = table.columns.iter();
    let columns = columns.filter(|(_, column)| present.iter().any(|name| name == column));
    // gorm stores JSON as bytes.
    let pairs = columns.map(|(name, column)| {
        format!(
            r#"'{name}', iif(typeof("{column}") = 'blob', CAST("{column}" AS TEXT), "{column}")"#
        )
    });
    let pairs = pairs.collect::<Vec<_>>().join(", ");
    // gorm keeps what was deleted.
    let kept = if present.iter().any(|column| column == "deleted_at") {
        "WHERE deleted_at IS NULL"
    } else {
        ""
    };
    let statement = format!(
        r#"SELECT json_object({pairs}) FROM "{}" {kept} ORDER BY rowid"#,
        table.name
    );
    let rows: Vec<String> = sqlx::query_scalar(&statement).fetch_all(db).await?;
    let rows = rows.iter().map(|row| serde_json::from_str(row));
    let mut rows: Vec<Value> = rows
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| {
            Error::Refused(format!("a row of {} cannot be read: {error}", table.name))
        })?;
    for row in &mut rows {
        read_channel_info(row);
    }
    Ok(rows)
}

/// Replaces the text of `channel_info` with the object in it, as new-api's own API shows it.
fn read_channel_info(row: &mut Value) {
    let text = row.get("channel_info").and_then(Value::as_str);
    if let Some(info) = text.and_then(|text| serde_json::from_str(text).ok()) {
        row["channel_info"] = info;
    }
}

/// Gives gpt-load's keys the provider and the name of their group, in place of its number.
fn name_providers(keys: &mut [Value], groups: &[Value]) {
    for key in keys {
        let Some(number) = key.get("group_id").cloned() else {
            continue;
        };
        let group = groups.iter().find(|group| group.get("id") == Some(&number));
        let Some(fields) = key.as_object_mut() else {
            continue;
        };
        fields.remove("group_id");
        if let Some(group) = group {
            fields.insert("provider".to_owned(), group["channel_type"].clone());
            fields.insert("tags".to_owned(), group["name"].clone());
        }
    }
}

impl OtherPool {
    /// The rows with upstream keys as a text that [`read`](crate::pool::keys::import::read) reads: line N is row N.
    pub fn keys_text(&self) -> String {
        let lines = self
            .keys
            .iter()
            .map(|row| match (row.get("key"), row.get("value")) {
                // A setting, as in an environment file.
                (Some(Value::String(name)), Some(value)) => {
                    Value::from_iter([(name.clone(), value.clone())]).to_string()
                }
                _ => row.to_string(),
            });
        lines.fold(String::new(), |text, line| text + &line + "\n")
    }

    /// Whether its keys are encrypted by gpt-load's `ENCRYPTION_KEY`: hexadecimal, and longer than a key of Google.
    pub fn is_encrypted(&self) -> bool {
        let mut values = self
            .keys
            .iter()
            .filter_map(|row| row["key_value"].as_str())
            .peekable();
        let is_cipher =
            |text: &str| text.len() >= 80 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        values.peek().is_some() && values.all(is_cipher)
    }
}
