//! The rows with secrets: how many are encrypted, and encrypting them with the active data key, or decrypting them.

use std::time::Duration;

use sqlx::{Sqlite, SqliteExecutor, Transaction};
use strum::VariantArray;

use crate::clock;
use crate::pool::request_id::RequestId;
use crate::storage::data_keys::{DataKeyId, DataKeys};
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::{alert_targets, egress_proxies, installation, request_bodies, upstream_keys};

/// A table with secrets. A new one needs a column `data_key_id`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum SecretTable {
    InstallationSecrets,
    UpstreamKeys,
    AlertTargets,
    EgressProxies,
    RequestBodies,
}

/// What a transaction has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResealedRows {
    pub rows: u32,
    /// How long the transaction kept other writers waiting.
    pub took: Duration,
}

/// Rows of a table by the data key of their secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsOfKey {
    /// `None`: not encrypted.
    pub data_key_id: Option<DataKeyId>,
    pub rows: u64,
}

impl SecretTable {
    pub const ALL: &[Self] = Self::VARIANTS;

    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Counts the rows with secrets by their data key.
    pub async fn count(self, db: impl SqliteExecutor<'_>) -> Result<Vec<RowsOfKey>> {
        Ok(match self {
            Self::InstallationSecrets => {
                let counts = sqlx::query_as!(
                    RowsOfKey,
                    r#"
                    SELECT data_key_id AS "data_key_id: DataKeyId", count(*) AS "rows!: u64"
                    FROM installation_secrets
                    GROUP BY data_key_id
                    "#
                );
                counts.fetch_all(db).await?
            }
            Self::UpstreamKeys => {
                let counts = sqlx::query_as!(
                    RowsOfKey,
                    r#"
                    SELECT data_key_id AS "data_key_id: DataKeyId", count(*) AS "rows!: u64"
                    FROM upstream_keys
                    WHERE secret IS NOT NULL
                    GROUP BY data_key_id
                    "#
                );
                counts.fetch_all(db).await?
            }
            Self::AlertTargets => {
                let counts = sqlx::query_as!(
                    RowsOfKey,
                    r#"
                    SELECT data_key_id AS "data_key_id: DataKeyId", count(*) AS "rows!: u64"
                    FROM alert_targets
                    GROUP BY data_key_id
                    "#
                );
                counts.fetch_all(db).await?
            }
            Self::EgressProxies => {
                let counts = sqlx::query_as!(
                    RowsOfKey,
                    r#"
                    SELECT data_key_id AS "data_key_id: DataKeyId", count(*) AS "rows!: u64"
                    FROM egress_proxies
                    WHERE credential <> ''
                    GROUP BY data_key_id
                    "#
                );
                counts.fetch_all(db).await?
            }
            Self::RequestBodies => {
                let counts = sqlx::query_as!(
                    RowsOfKey,
                    r#"
                    SELECT data_key_id AS "data_key_id: DataKeyId", count(*) AS "rows!: u64"
                    FROM request_bodies
                    GROUP BY data_key_id
                    "#
                );
                counts.fetch_all(db).await?
            }
        })
    }

    async fn reseal(
        self,
        tx: &mut Transaction<'_, Sqlite>,
        data_keys: &DataKeys,
        stale: Option<DataKeyId>,
        limit: u32,
    ) -> Result<u32> {
        match self {
            Self::InstallationSecrets => {
                reseal_installation_secrets(tx, data_keys, stale, limit).await
            }
            Self::UpstreamKeys => reseal_upstream_keys(tx, data_keys, stale, limit).await,
            Self::AlertTargets => reseal_alert_targets(tx, data_keys, stale, limit).await,
            Self::EgressProxies => reseal_egress_proxies(tx, data_keys, stale, limit).await,
            Self::RequestBodies => reseal_request_bodies(tx, data_keys, stale, limit).await,
        }
    }
}

/// Brings up to `limit` rows of a table under the active data key, in one transaction; without an active one, to plain text.
/// None are left when it returns no rows.
pub async fn reseal(db: &Db, table: SecretTable, limit: u32) -> Result<ResealedRows> {
    let mut tx = db.begin().await?;
    let begun = clock::instant();
    // Within the transaction: what is active now is so until its end.
    let data_keys = db.data_keys.load(&mut tx).await?;
    let stale = sqlx::query_scalar!(
        r#"SELECT id AS "id!: DataKeyId" FROM data_keys WHERE state = 'retiring' ORDER BY id"#
    );
    let stale = stale.fetch_all(&mut *tx).await?;
    let plain = data_keys.active().map(|_| None);
    erase_deleted(&mut tx, true).await?;
    let mut rows = 0;
    for stale in plain.into_iter().chain(stale.into_iter().map(Some)) {
        if rows < limit {
            rows += table
                .reseal(&mut tx, &data_keys, stale, limit - rows)
                .await?;
        }
    }
    erase_deleted(&mut tx, false).await?;
    tx.commit().await?;
    Ok(ResealedRows {
        rows,
        took: begun.elapsed(),
    })
}

/// Whether the connection overwrites what it deletes in the file with zeros. Off for log rows, of which there are many.
pub async fn erase_deleted(tx: &mut Transaction<'_, Sqlite>, is_on: bool) -> Result<()> {
    let pragma = if is_on {
        "PRAGMA secure_delete = on"
    } else {
        "PRAGMA secure_delete = off"
    };
    // A pragma takes no parameters.
    sqlx::query(pragma).execute(&mut **tx).await?;
    Ok(())
}

/// How many rows there were, as a count of transactions' work.
fn count(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

async fn reseal_installation_secrets(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    stale: Option<DataKeyId>,
    limit: u32,
) -> Result<u32> {
    let rows = sqlx::query!(
        "SELECT name, value FROM installation_secrets WHERE data_key_id IS ?1 LIMIT ?2",
        stale,
        limit,
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    let done = count(rows.len());
    for row in rows {
        let place = installation::place(&row.name);
        let value = data_keys.reseal_bytes(place, stale, row.value)?;
        let active = data_keys.active();
        let updated = sqlx::query!(
            "UPDATE installation_secrets SET value = ?2, data_key_id = ?3 WHERE name = ?1",
            row.name,
            value,
            active,
        );
        updated.execute(&mut **tx).await?;
    }
    Ok(done)
}

async fn reseal_upstream_keys(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    stale: Option<DataKeyId>,
    limit: u32,
) -> Result<u32> {
    let rows = sqlx::query!(
        r#"
        SELECT id AS "id!", secret AS "secret!"
        FROM upstream_keys
        WHERE data_key_id IS ?1 AND secret IS NOT NULL
        LIMIT ?2
        "#,
        stale,
        limit,
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    let done = count(rows.len());
    for row in rows {
        let id = row.id.to_string();
        let secret = data_keys.reseal_text(upstream_keys::place(&id), stale, row.secret)?;
        let active = data_keys.active();
        let updated = sqlx::query!(
            "UPDATE upstream_keys SET secret = ?2, data_key_id = ?3 WHERE id = ?1",
            row.id,
            secret,
            active,
        );
        updated.execute(&mut **tx).await?;
    }
    Ok(done)
}

async fn reseal_alert_targets(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    stale: Option<DataKeyId>,
    limit: u32,
) -> Result<u32> {
    let rows = sqlx::query!(
        "SELECT id, address, secret FROM alert_targets WHERE data_key_id IS ?1 LIMIT ?2",
        stale,
        limit,
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    let done = count(rows.len());
    for row in rows {
        let id = row.id.to_string();
        let place = |column| alert_targets::place(column, &id);
        let address = data_keys.reseal_text(place("address"), stale, row.address)?;
        let secret = data_keys.reseal_text(place("secret"), stale, row.secret)?;
        let active = data_keys.active();
        let updated = sqlx::query!(
            "UPDATE alert_targets SET address = ?2, secret = ?3, data_key_id = ?4 WHERE id = ?1",
            row.id,
            address,
            secret,
            active,
        );
        updated.execute(&mut **tx).await?;
    }
    Ok(done)
}

async fn reseal_egress_proxies(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    stale: Option<DataKeyId>,
    limit: u32,
) -> Result<u32> {
    let rows = sqlx::query!(
        r#"
        SELECT id, credential AS "credential!"
        FROM egress_proxies
        WHERE data_key_id IS ?1 AND credential <> ''
        LIMIT ?2
        "#,
        stale,
        limit,
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    let done = count(rows.len());
    for row in rows {
        let id = row.id.to_string();
        let place = egress_proxies::place(&id);
        let credential = data_keys.reseal_text(place, stale, row.credential)?;
        let active = data_keys.active();
        let updated = sqlx::query!(
            "UPDATE egress_proxies SET credential = ?2, data_key_id = ?3 WHERE id = ?1",
            row.id,
            credential,
            active,
        );
        updated.execute(&mut **tx).await?;
    }
    Ok(done)
}

async fn reseal_request_bodies(
    tx: &mut Transaction<'_, Sqlite>,
    data_keys: &DataKeys,
    stale: Option<DataKeyId>,
    limit: u32,
) -> Result<u32> {
    let rows = sqlx::query!(
        r#"
        SELECT request_id AS "request_id!: RequestId", request_content, answer_content, stored_bytes
        FROM request_bodies
        WHERE data_key_id IS ?1
        LIMIT ?2
        "#,
        stale,
        limit,
    );
    let rows = rows.fetch_all(&mut **tx).await?;
    let done = count(rows.len());
    for row in rows {
        let id = row.request_id.to_string();
        let mut stored_bytes = row.stored_bytes;
        let mut reseal = |column, stored: Option<Vec<u8>>| {
            let Some(stored) = stored else {
                return Ok::<_, crate::storage::error::Error>(None);
            };
            let place = request_bodies::place(column, &id);
            let before = stored.len();
            let sealed = data_keys.reseal_bytes(place, stale, stored)?;
            let size = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
            stored_bytes += size(sealed.len()) - size(before);
            Ok(Some(sealed))
        };
        let request = reseal("request_content", row.request_content)?;
        let answer = reseal("answer_content", row.answer_content)?;
        let active = data_keys.active();
        let updated = sqlx::query!(
            "
            UPDATE request_bodies
            SET request_content = ?2, answer_content = ?3, stored_bytes = ?4, data_key_id = ?5
            WHERE request_id = ?1
            ",
            row.request_id,
            request,
            answer,
            stored_bytes,
            active,
        );
        updated.execute(&mut **tx).await?;
    }
    Ok(done)
}
