//! Targets of alerts: where messages are sent, with their secrets.

use std::fmt;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{Sqlite, SqliteConnection, SqliteExecutor, Transaction};
use strum::{EnumString, IntoStaticStr, VariantArray};
use url::Url;

use crate::pool::alert_schedule::QuietHours;
use crate::pool::alerts::AlertKind;
use crate::pool::sealing::StoredPlace;
use crate::pool::secret::Secret;
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::data_keys::{DataKeyId, DataKeys};
use crate::storage::db::Db;
use crate::storage::error::{Error, Result, Thing};
use crate::storage::json_columns::{JsonTexts, json_array};

/// The id of a target; never used again.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    sqlx::Type,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct AlertTargetId(pub i64);

impl fmt::Display for AlertTargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The form of messages.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    sqlx::Type,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    utoipa::ToSchema,
)]
#[sqlx(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AlertTargetKind {
    Webhook,
    Slack,
    Discord,
    Telegram,
    Email,
}

impl AlertTargetKind {
    pub const ALL: &[Self] = Self::VARIANTS;

    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The language of messages.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    sqlx::Type,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    utoipa::ToSchema,
)]
pub enum AlertLanguage {
    #[sqlx(rename = "en")]
    #[serde(rename = "en")]
    #[strum(serialize = "en")]
    English,
    #[sqlx(rename = "zh-Hant-TW")]
    #[serde(rename = "zh-Hant-TW")]
    #[strum(serialize = "zh-Hant-TW")]
    TraditionalChinese,
}

impl AlertLanguage {
    pub const ALL: &[Self] = Self::VARIANTS;

    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What an admin chooses for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertTargetTerms {
    pub kind: AlertTargetKind,
    pub name: String,
    /// The URL, the chat, or the recipient.
    pub address: Secret,
    /// The signing secret of a webhook, the token of a bot, or the password of a mail server; may be empty.
    pub secret: Secret,
    /// The mail server or the bot API; `None`: the address is a URL.
    pub server: Option<String>,
    /// The address that mails come from.
    pub sender: Option<String>,
    /// Empty: all.
    pub events: Vec<AlertKind>,
    pub quiet: Option<QuietHours>,
    /// The IANA name of the zone of the quiet hours and of times in messages.
    pub zone: String,
    pub language: AlertLanguage,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertTarget {
    pub id: AlertTargetId,
    pub enabled: bool,
    pub terms: AlertTargetTerms,
}

impl AlertTargetTerms {
    /// Where messages are sent, without a secret: of a URL the host and the last four characters.
    pub fn shown_address(&self) -> String {
        match self.kind {
            AlertTargetKind::Webhook | AlertTargetKind::Slack | AlertTargetKind::Discord => {
                let url = Url::parse(self.address.expose()).ok();
                let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
                format!("{host} …{}", self.address.last4())
            }
            AlertTargetKind::Telegram => {
                format!("{} · bot …{}", self.address.expose(), self.secret.last4())
            }
            AlertTargetKind::Email => self.address.expose().to_owned(),
        }
    }

    pub fn wants(&self, kind: AlertKind) -> bool {
        self.events.is_empty() || self.events.contains(&kind)
    }

    pub fn time_zone(&self) -> TimeZone {
        TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC)
    }

    /// The values for the audit, without a secret.
    fn audited(&self) -> Value {
        json!({
            "kind": self.kind, "name": self.name, "address": self.shown_address(), "server": self.server,
            "sender": self.sender, "events": self.events, "quiet_hours": self.quiet, "zone": self.zone,
            "language": self.language,
        })
    }
}

/// A row as it is stored.
struct AlertTargetRow {
    id: AlertTargetId,
    kind: AlertTargetKind,
    name: String,
    address: String,
    secret: String,
    data_key_id: Option<DataKeyId>,
    server: Option<String>,
    sender: Option<String>,
    enabled: bool,
    events: JsonTexts,
    quiet_from: Option<u16>,
    quiet_to: Option<u16>,
    zone: String,
    language: AlertLanguage,
}

impl AlertTargetRow {
    fn target(self, data_keys: &DataKeys) -> Result<AlertTarget> {
        let open = |column, stored| {
            let id = self.id.to_string();
            let opened = data_keys.open_text(place(column, &id), self.data_key_id, stored)?;
            Ok::<_, Error>(Secret::new(&opened))
        };
        let events = Vec::<String>::from(self.events);
        let quiet = self.quiet_from.zip(self.quiet_to);
        Ok(AlertTarget {
            id: self.id,
            enabled: self.enabled,
            terms: AlertTargetTerms {
                kind: self.kind,
                name: self.name,
                address: open("address", self.address)?,
                secret: open("secret", self.secret)?,
                server: self.server,
                sender: self.sender,
                events: events.iter().filter_map(|kind| kind.parse().ok()).collect(),
                quiet: quiet.and_then(|(from, to)| QuietHours::new(from, to)),
                zone: self.zone,
                language: self.language,
            },
        })
    }
}

/// Where a secret of the target with this id is stored.
pub fn place<'a>(column: &'static str, id: &'a str) -> StoredPlace<'a> {
    StoredPlace {
        table: "alert_targets",
        column,
        row: id,
    }
}

/// All targets, by name.
pub async fn list(db: &Db) -> Result<Vec<AlertTarget>> {
    // One transaction, so that the data keys are those of the rows.
    let mut tx = db.readers.begin().await?;
    let data_keys = db.data_keys.load(&mut tx).await?;
    list_in(&mut tx, &data_keys).await
}

async fn list_in(tx: &mut SqliteConnection, data_keys: &DataKeys) -> Result<Vec<AlertTarget>> {
    let rows = sqlx::query_as!(
        AlertTargetRow,
        r#"
        SELECT
            id AS "id!: AlertTargetId", kind AS "kind: AlertTargetKind", name, address, secret,
            data_key_id AS "data_key_id: DataKeyId", server, sender, enabled AS "enabled: bool", events AS "events: JsonTexts", quiet_from AS "quiet_from: u16",
            quiet_to AS "quiet_to: u16", zone, language AS "language: AlertLanguage"
        FROM alert_targets
        ORDER BY name
        "#
    );
    let rows = rows.fetch_all(tx).await?.into_iter();
    rows.map(|row| row.target(data_keys)).collect()
}

/// One target.
pub async fn find(db: &Db, id: AlertTargetId) -> Result<AlertTarget> {
    let found = list(db).await?.into_iter().find(|target| target.id == id);
    found.ok_or_else(|| missing(id))
}

/// The same within a transaction.
pub async fn find_in(
    tx: &mut SqliteConnection,
    data_keys: &DataKeys,
    id: AlertTargetId,
) -> Result<AlertTarget> {
    let targets = list_in(tx, data_keys).await?.into_iter();
    let mut found = targets.filter(|target| target.id == id);
    found.next().ok_or_else(|| missing(id))
}

/// Whether there is no target.
pub async fn is_empty(db: impl SqliteExecutor<'_>) -> Result<bool> {
    let exists =
        sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM alert_targets) AS "exists: bool""#);
    Ok(!exists.fetch_one(db).await?)
}

/// Creates a target. `None`, without a change, if a target has this name.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    terms: &AlertTargetTerms,
    act: &Act,
) -> Result<Option<AlertTargetId>> {
    let events = json_array(&terms.events);
    let (from, to) = (
        terms.quiet.map(|quiet| quiet.from_minute),
        terms.quiet.map(|quiet| quiet.to_minute),
    );
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO alert_targets (
            kind, name, address, secret, server, sender, enabled, events, quiet_from, quiet_to, zone, language,
            created_by, created_at_ms
        )
        VALUES (?1, ?2, '', '', ?3, ?4, 1, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT (name) DO NOTHING
        RETURNING id AS "id!: AlertTargetId"
        "#,
        terms.kind,
        terms.name,
        terms.server,
        terms.sender,
        events,
        from,
        to,
        terms.zone,
        terms.language,
        act.actor.name,
        act.now,
    );
    let Some(id) = id.fetch_optional(&mut **tx).await? else {
        return Ok(None);
    };
    update_secrets(tx, data_keys, id, terms).await?;
    let values = (None, Some(terms.audited()));
    record_change(tx, act, Action::Create, id, &terms.name, values).await?;
    Ok(Some(id))
}

/// Changes a target; its kind stays. Returns `false`, without a change, if another target has this name.
pub async fn update(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    before: &AlertTarget,
    terms: &AlertTargetTerms,
    act: &Act,
) -> Result<bool> {
    let id = before.id;
    let taken = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM alert_targets WHERE name = ?1 AND id <> ?2) AS "taken: bool""#,
        terms.name,
        id,
    );
    if taken.fetch_one(&mut **tx).await? {
        return Ok(false);
    }
    let events = json_array(&terms.events);
    let (from, to) = (
        terms.quiet.map(|quiet| quiet.from_minute),
        terms.quiet.map(|quiet| quiet.to_minute),
    );
    let updated = sqlx::query!(
        r#"
        UPDATE alert_targets
        SET name = ?2, server = ?3, sender = ?4, events = ?5, quiet_from = ?6, quiet_to = ?7, zone = ?8, language = ?9
        WHERE id = ?1
        "#,
        id,
        terms.name,
        terms.server,
        terms.sender,
        events,
        from,
        to,
        terms.zone,
        terms.language,
    );
    updated.execute(&mut **tx).await?;
    update_secrets(tx, data_keys, id, terms).await?;
    let mut after = terms.audited();
    if before.terms.secret != terms.secret {
        // The value stays out of the audit.
        after["secret"] = json!("changed");
    }
    if let Some((before, after)) = audit::difference(before.terms.audited(), after) {
        let values = (Some(before), Some(after));
        record_change(tx, act, Action::Update, id, &terms.name, values).await?;
    }
    Ok(true)
}

/// An encrypted secret is bound to the id of its row.
async fn update_secrets(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    id: AlertTargetId,
    terms: &AlertTargetTerms,
) -> Result<()> {
    let row = id.to_string();
    let address = data_keys.seal_text(place("address", &row), terms.address.expose());
    let secret = data_keys.seal_text(place("secret", &row), terms.secret.expose());
    let data_key_id = data_keys.active();
    let updated = sqlx::query!(
        "UPDATE alert_targets SET address = ?2, secret = ?3, data_key_id = ?4 WHERE id = ?1",
        id,
        address,
        secret,
        data_key_id,
    );
    updated.execute(&mut **tx).await?;
    Ok(())
}

/// Enables or disables a target.
pub async fn update_enabled(
    tx: &mut Transaction<'_, Sqlite>,
    id: AlertTargetId,
    enabled: bool,
    act: &Act,
) -> Result<()> {
    let name = sqlx::query_scalar!(
        "UPDATE alert_targets SET enabled = ?2 WHERE id = ?1 RETURNING name",
        id,
        enabled,
    );
    let name = name.fetch_optional(&mut **tx).await?;
    let name = name.ok_or_else(|| missing(id))?;
    let action = if enabled {
        Action::Enable
    } else {
        Action::Disable
    };
    let values = (
        Some(json!({ "enabled": !enabled })),
        Some(json!({ "enabled": enabled })),
    );
    record_change(tx, act, action, id, &name, values).await
}

/// Deletes a target and its messages.
pub async fn delete(
    tx: &mut Transaction<'_, Sqlite>,
    target: &AlertTarget,
    act: &Act,
) -> Result<()> {
    let id = target.id;
    let deleted = sqlx::query!("DELETE FROM alert_targets WHERE id = ?1", id);
    if deleted.execute(&mut **tx).await?.rows_affected() == 0 {
        return Err(missing(id));
    }
    let (name, values) = (&target.terms.name, (Some(target.terms.audited()), None));
    record_change(tx, act, Action::Delete, id, name, values).await
}

async fn record_change(
    tx: &mut Transaction<'_, Sqlite>,
    act: &Act,
    action: Action,
    id: AlertTargetId,
    name: &str,
    values: (Option<Value>, Option<Value>),
) -> Result<()> {
    let subject = (Subject::AlertTarget, Some(id.0));
    audit::insert(tx, act, action, subject, name, values).await?;
    Ok(())
}

fn missing(id: AlertTargetId) -> Error {
    Error::NotFound(Thing::AlertTarget, id.to_string())
}

#[cfg(test)]
pub mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::clock::Timestamp;
    use crate::storage::audit::Actor;
    use crate::storage::audit::tests::describe_changes;

    /// A webhook with these events.
    pub fn webhook(name: &str, events: &[AlertKind]) -> AlertTargetTerms {
        AlertTargetTerms {
            kind: AlertTargetKind::Webhook,
            name: name.to_owned(),
            address: Secret::new("https://hooks.example.com/a-secret-path-of-the-hook"),
            secret: Secret::new("whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiB0YXJnZXRz"),
            server: None,
            sender: None,
            events: events.to_vec(),
            quiet: QuietHours::new(60, 120),
            zone: "Asia/Taipei".to_owned(),
            language: AlertLanguage::TraditionalChinese,
        }
    }

    #[sqlx::test]
    async fn a_target_is_changed_and_no_secret_is_audited(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        let keys = DataKeys::default();
        let act = Act::without_revision(Actor::cli(), Timestamp::from_millis(1));
        let terms = webhook("ops", &[AlertKind::NoKey]);

        let mut tx = db.begin().await.unwrap();
        let id = insert(&mut tx, &keys, &terms, &act).await.unwrap().unwrap();
        assert_eq!(insert(&mut tx, &keys, &terms, &act).await.unwrap(), None);
        tx.commit().await.unwrap();
        let target = find(&db, id).await.unwrap();
        assert_eq!((&target.terms, target.enabled), (&terms, true));
        let other = webhook("other", &[]);
        let mut tx = db.begin().await.unwrap();
        insert(&mut tx, &keys, &other, &act).await.unwrap().unwrap();
        assert!(!update(&mut tx, &keys, &target, &other, &act).await.unwrap());
        let changed = AlertTargetTerms {
            secret: Secret::new("whsec_another-secret-of-the-tests"),
            quiet: None,
            ..webhook("ops 2", &[])
        };
        assert!(
            update(&mut tx, &keys, &target, &changed, &act)
                .await
                .unwrap()
        );
        update_enabled(&mut tx, id, false, &act).await.unwrap();
        tx.commit().await.unwrap();
        let target = find(&db, id).await.unwrap();
        assert_eq!((&target.terms, target.enabled), (&changed, false));
        let mut tx = db.begin().await.unwrap();
        delete(&mut tx, &target, &act).await.unwrap();
        let changes = describe_changes(&mut tx).await.join("\n");
        tx.commit().await.unwrap();

        let missing = find(&db, id).await.unwrap_err();
        assert_eq!(missing.to_string(), format!("alert target {id} not found"));
        assert!(changes.contains("hooks.example.com …hook"), "{changes}");
        for secret in ["whsec_", "a-secret-path"] {
            assert!(!changes.contains(secret), "{changes}");
        }
    }
}
