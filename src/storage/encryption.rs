//! The encryption of a database: how it begins, moves to another master key (rotation) and ends, and its progress.

use rand::Rng;
use sqlx::{Sqlite, SqliteConnection, SqliteExecutor, Transaction};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::pool::master_key::{self, MasterKey, MasterKeyId, MasterKeyText, SALT_BYTES};
use crate::pool::sealing::{KEY_BYTES, SealingKey};
use crate::storage::audit::{self, Act, Action, Actor, Subject};
use crate::storage::data_keys::DataKeyId;
use crate::storage::db::Db;
use crate::storage::error::{Error, Result};
use crate::storage::sealed_rows::{SecretTable, erase_deleted};

/// How far the encryption of a database is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncryptionState {
    /// The master key that opens the database; `None`: nothing is encrypted.
    pub master_key: Option<MasterKeyId>,
    /// The master key before it, during a rotation.
    pub retiring_master_key: Option<MasterKeyId>,
    /// Whether new secrets are encrypted.
    pub is_active: bool,
    /// Whether data keys of before remain: a rotation or decryption was not finished.
    pub is_unfinished: bool,
    /// Whether the file was rewritten since secrets were stored unencrypted in it.
    pub is_file_clean: bool,
    /// Rows with secrets, by table.
    pub tables: Vec<TableState>,
}

/// How many rows of a table have encrypted secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct TableState {
    pub table: &'static str,
    /// Encrypted by the active data key.
    pub encrypted: u64,
    /// Encrypted by an earlier one.
    pub retiring: u64,
    pub unencrypted: u64,
}

/// A stored master key.
struct StoredMasterKey {
    id: MasterKeyId,
    salt: Option<Vec<u8>>,
    is_current: bool,
}

/// What a rotation has begun with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    pub from: Option<MasterKeyId>,
    pub to: MasterKeyId,
    /// Whether an earlier command had begun it.
    pub is_resumed: bool,
}

impl EncryptionState {
    /// Rows that the encryption has not reached.
    pub fn unencrypted(&self) -> u64 {
        self.tables.iter().map(|table| table.unencrypted).sum()
    }

    /// All rows with secrets.
    pub fn rows(&self) -> u64 {
        let rows = |table: &TableState| table.encrypted + table.retiring + table.unencrypted;
        self.tables.iter().map(rows).sum()
    }

    /// Rows that are not as new ones are.
    pub fn stale(&self) -> u64 {
        let stale = |table: &TableState| {
            table.retiring + if self.is_active { table.unencrypted } else { 0 }
        };
        self.tables.iter().map(stale).sum()
    }
}

/// Reads how far the encryption is. Needs no master key.
pub async fn state(connection: &mut SqliteConnection) -> Result<EncryptionState> {
    Ok(EncryptionState {
        tables: count_tables(&mut *connection).await?,
        ..state_of_keys(connection).await?
    })
}

/// The same for a page that is read often: rows are counted only while some are not encrypted as they should be.
pub async fn progress(connection: &mut SqliteConnection) -> Result<EncryptionState> {
    let state = state_of_keys(&mut *connection).await?;
    if state.is_unfinished || state.is_active && has_unencrypted(&mut *connection).await? {
        return self::state(connection).await;
    }
    Ok(state)
}

async fn state_of_keys(connection: &mut SqliteConnection) -> Result<EncryptionState> {
    let masters = list_master_keys(&mut *connection).await?;
    let keys = sqlx::query!(
        r#"SELECT id AS "id!: DataKeyId", state = 'active' AS "is_active!: bool", is_file_clean AS "is_file_clean: bool" FROM data_keys"#
    );
    let keys = keys.fetch_all(&mut *connection).await?;
    let active = keys.iter().find(|key| key.is_active);
    let of = |is_current| {
        let mut masters = masters.iter();
        let master = masters.find(|master| master.is_current == is_current);
        master.map(|master| master.id.clone())
    };
    Ok(EncryptionState {
        master_key: of(true),
        retiring_master_key: of(false),
        is_active: active.is_some(),
        is_unfinished: keys.iter().any(|key| !key.is_active) || masters.len() > 1,
        is_file_clean: active.is_none_or(|active| active.is_file_clean),
        tables: Vec::new(),
    })
}

/// Whether secrets of upstream keys, alert targets, egress proxies or bodies are stored unencrypted.
async fn has_unencrypted(db: impl SqliteExecutor<'_>) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT 1 FROM upstream_keys WHERE data_key_id IS NULL AND secret IS NOT NULL)
            OR EXISTS (SELECT 1 FROM alert_targets WHERE data_key_id IS NULL)
            OR EXISTS (SELECT 1 FROM egress_proxies WHERE data_key_id IS NULL AND credential <> '')
            OR EXISTS (SELECT 1 FROM request_bodies WHERE data_key_id IS NULL)
            AS "found!: bool"
        "#
    );
    Ok(found.fetch_one(db).await?)
}

async fn count_tables(connection: &mut SqliteConnection) -> Result<Vec<TableState>> {
    let active = sqlx::query_scalar!(
        r#"SELECT id AS "id!: DataKeyId" FROM data_keys WHERE state = 'active'"#
    );
    let active = active.fetch_optional(&mut *connection).await?;
    let mut tables = Vec::new();
    for table in SecretTable::ALL {
        let mut state = TableState {
            table: table.name(),
            encrypted: 0,
            retiring: 0,
            unencrypted: 0,
        };
        for counted in table.count(&mut *connection).await? {
            match counted.data_key_id {
                None => state.unencrypted += counted.rows,
                Some(id) if active == Some(id) => state.encrypted += counted.rows,
                Some(_) => state.retiring += counted.rows,
            }
        }
        tables.push(state);
    }
    Ok(tables)
}

/// Begins to encrypt new secrets with the master key of this process. Does nothing if they are encrypted already; fails if by another
/// master key.
pub async fn begin(db: &Db, actor: &Actor, now: Timestamp) -> Result<MasterKeyId> {
    let Some(given) = db.data_keys.master_key()? else {
        return Err(Error::Refused(
            "no master key is given: set MASTER_KEY or MASTER_KEY_FILE".to_owned(),
        ));
    };
    let (salt, new) = new_master_key(db, &given).await?;
    let mut tx = db.begin().await?;
    let data_keys = db.data_keys.load(&mut tx).await?;
    let masters = list_master_keys(&mut *tx).await?;
    let current = masters.iter().find(|master| master.is_current);
    if let (Some(current), Some(_)) = (current, data_keys.active()) {
        return Ok(current.id.clone());
    }
    let act = Act::begin(&mut tx, actor, now).await?;
    // An unfinished decryption has left its master key.
    let (id, master) = if let Some(current) = current {
        let master = db.data_keys.stretch(&given, current.salt.as_deref()).await;
        let master = master.filter(|master| master.id() == current.id);
        (current.id.clone(), master.ok_or_else(not_current)?)
    } else {
        insert_master_key(&mut tx, &new, salt.as_deref(), now).await?;
        (new.id(), new)
    };
    let data_key = new_data_key();
    let data_key_id = insert_data_key(&mut tx, now).await?;
    wrap(&mut tx, &master, data_key_id, &data_key).await?;
    record(&mut tx, &act, Action::Enable, &id).await?;
    tx.commit().await?;
    Ok(id)
}

/// Begins to move to another master key, or continues: a new data key encrypts what is written from now on, and either master key
/// opens the database until [`finish`].
pub async fn begin_rotation(
    db: &Db,
    new: Option<&MasterKeyText>,
    actor: &Actor,
    now: Timestamp,
) -> Result<Rotation> {
    let prepared = match new {
        Some(new) => Some(new_master_key(db, new).await?),
        None => None,
    };
    let mut tx = db.begin().await?;
    let data_keys = db.data_keys.load(&mut tx).await?;
    let masters = list_master_keys(&mut *tx).await?;
    let current = masters.iter().find(|master| master.is_current);
    let (Some(current), Some(active)) = (current, data_keys.active()) else {
        return Err(Error::Refused(
            "nothing is encrypted: run `gemini-pool master-key encrypt` first".to_owned(),
        ));
    };
    let is_current = async |text: &MasterKeyText| {
        let stretched = db.data_keys.stretch(text, current.salt.as_deref()).await;
        stretched.filter(|master| master.id() == current.id)
    };
    let new_is_current = match new {
        Some(new) => is_current(new).await.is_some(),
        None => false,
    };
    let retiring = masters.iter().find(|master| !master.is_current);
    if let Some(retiring) = retiring {
        if new.is_some() && !new_is_current {
            return Err(Error::Refused(format!(
                "a rotation to the master key {} is not finished: finish it first, with this key as the new one",
                current.id
            )));
        }
        return Ok(Rotation {
            from: Some(retiring.id.clone()),
            to: current.id.clone(),
            is_resumed: true,
        });
    }
    let Some((salt, master)) = prepared else {
        return Err(Error::Refused(
            "no new master key is given: set NEW_MASTER_KEY or --new-key-file".to_owned(),
        ));
    };
    if new_is_current {
        return Err(Error::Refused(format!(
            "the new master key is the current one, {}: choose another",
            current.id
        )));
    }
    let given = db.data_keys.master_key()?;
    let old = match &given {
        Some(given) => is_current(given).await,
        None => None,
    };
    let old = old.ok_or_else(not_current)?;
    let act = Act::begin(&mut tx, actor, now).await?;
    let retired = sqlx::query!("UPDATE master_keys SET state = 'retiring'");
    retired.execute(&mut *tx).await?;
    insert_master_key(&mut tx, &master, salt.as_deref(), now).await?;
    let is_file_clean = retire_data_keys(&mut tx).await?;
    // Of the old rows, so that either master key opens everything meanwhile.
    for (id, data_key) in data_keys.iter() {
        wrap(&mut tx, &master, id, data_key).await?;
    }
    let data_key = new_data_key();
    let id = insert_data_key(&mut tx, now).await?;
    wrap(&mut tx, &master, id, &data_key).await?;
    wrap(&mut tx, &old, id, &data_key).await?;
    let before = data_keys.get(active).expect("the active key is loaded");
    let handover = master_key::wrap(before, rand::random(), id.0, &data_key);
    let handed = sqlx::query!(
        "UPDATE data_keys SET handover = ?2, is_file_clean = ?3 WHERE id = ?1",
        id,
        handover,
        is_file_clean,
    );
    handed.execute(&mut *tx).await?;
    record(&mut tx, &act, Action::Rotate, &master.id()).await?;
    let rotation = Rotation {
        from: Some(current.id.clone()),
        to: master.id(),
        is_resumed: false,
    };
    tx.commit().await?;
    Ok(rotation)
}

/// Begins to store secrets unencrypted again. Returns the master key that is needed until [`finish`].
pub async fn begin_decryption(
    db: &Db,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<MasterKeyId>> {
    let mut tx = db.begin().await?;
    // Fails here if it could not open the rows.
    let data_keys = db.data_keys.load(&mut tx).await?;
    let masters = list_master_keys(&mut *tx).await?;
    let Some(current) = masters.into_iter().find(|master| master.is_current) else {
        return Ok(None);
    };
    if data_keys.active().is_some() {
        let act = Act::begin(&mut tx, actor, now).await?;
        retire_data_keys(&mut tx).await?;
        record(&mut tx, &act, Action::Disable, &current.id).await?;
        tx.commit().await?;
    }
    Ok(Some(current.id))
}

/// Deletes the data keys and the master key of before, if no row needs them any more. Returns whether none is left.
pub async fn finish(db: &Db) -> Result<bool> {
    let mut tx = db.begin().await?;
    let now = state(&mut tx).await?;
    if now.tables.iter().any(|table| table.retiring > 0) {
        return Ok(false);
    }
    erase_deleted(&mut tx, true).await?;
    for statement in [
        sqlx::query!(
            "DELETE FROM wrapped_data_keys
            WHERE data_key_id IN (SELECT id FROM data_keys WHERE state = 'retiring')
                OR master_key_id IN (SELECT id FROM master_keys WHERE state = 'retiring')"
        ),
        sqlx::query!("UPDATE data_keys SET handover = NULL"),
        sqlx::query!("DELETE FROM data_keys WHERE state = 'retiring'"),
        sqlx::query!(
            "DELETE FROM master_keys WHERE state = 'retiring' OR NOT EXISTS (SELECT 1 FROM data_keys)"
        ),
    ] {
        statement.execute(&mut *tx).await?;
    }
    erase_deleted(&mut tx, false).await?;
    tx.commit().await?;
    Ok(true)
}

/// Loads the data keys, and records that the running server has the active one.
pub async fn record_loaded(db: &Db) -> Result<()> {
    let mut connection = db.readers.acquire().await?;
    let active = db.data_keys.load(&mut connection).await?.active();
    let is_new = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM data_keys WHERE id = ?1 AND is_loaded = 0) AS "is_new: bool""#,
        active,
    );
    if is_new.fetch_one(&mut *connection).await? {
        let updated = sqlx::query!("UPDATE data_keys SET is_loaded = 1 WHERE id = ?1", active);
        updated.execute(&db.writer).await?;
    }
    Ok(())
}

/// Whether the server that ran last has loaded the active data key; true without one.
pub async fn is_loaded(db: impl SqliteExecutor<'_>) -> Result<bool> {
    let missing = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM data_keys WHERE state = 'active' AND is_loaded = 0) AS "missing: bool""#
    );
    Ok(!missing.fetch_one(db).await?)
}

/// Records that no page of the file holds an unencrypted secret any more.
pub async fn record_clean_file(db: impl SqliteExecutor<'_>) -> Result<()> {
    let updated = sqlx::query!("UPDATE data_keys SET is_file_clean = 1 WHERE state = 'active'");
    updated.execute(db).await?;
    Ok(())
}

async fn list_master_keys(db: impl SqliteExecutor<'_>) -> Result<Vec<StoredMasterKey>> {
    let keys = sqlx::query_as!(
        StoredMasterKey,
        r#"
        SELECT id AS "id: MasterKeyId", salt, state = 'current' AS "is_current!: bool"
        FROM master_keys
        ORDER BY created_at_ms, id
        "#
    );
    Ok(keys.fetch_all(db).await?)
}

/// The key of a text, for a passphrase with a new salt. Before a transaction, because it takes a while.
async fn new_master_key(db: &Db, text: &MasterKeyText) -> Result<(Option<Vec<u8>>, MasterKey)> {
    let mut salt = [0; SALT_BYTES];
    rand::rng().fill_bytes(&mut salt);
    let salt = text.is_passphrase().then(|| salt.to_vec());
    let key = db.data_keys.stretch(text, salt.as_deref()).await;
    Ok((salt, key.ok_or_else(not_current)?))
}

fn new_data_key() -> SealingKey {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    rand::rng().fill_bytes(&mut *key);
    SealingKey::new(key)
}

async fn insert_master_key(
    tx: &mut Transaction<'_, Sqlite>,
    key: &MasterKey,
    salt: Option<&[u8]>,
    now: Timestamp,
) -> Result<()> {
    let id = key.id();
    let inserted = sqlx::query!(
        "INSERT INTO master_keys (id, salt, state, created_at_ms) VALUES (?1, ?2, 'current', ?3)",
        id,
        salt,
        now,
    );
    inserted.execute(&mut **tx).await?;
    Ok(())
}

async fn insert_data_key(tx: &mut Transaction<'_, Sqlite>, now: Timestamp) -> Result<DataKeyId> {
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO data_keys (state, created_at_ms)
        VALUES ('active', ?1)
        RETURNING id AS "id!: DataKeyId"
        "#,
        now,
    );
    Ok(id.fetch_one(&mut **tx).await?)
}

/// Returns whether the file had been rewritten.
async fn retire_data_keys(tx: &mut Transaction<'_, Sqlite>) -> Result<bool> {
    let is_clean = sqlx::query_scalar!(
        r#"
        UPDATE data_keys
        SET state = 'retiring'
        WHERE state = 'active'
        RETURNING is_file_clean AS "is_file_clean: bool"
        "#
    );
    Ok(is_clean.fetch_optional(&mut **tx).await?.unwrap_or(false))
}

async fn wrap(
    tx: &mut Transaction<'_, Sqlite>,
    by: &MasterKey,
    id: DataKeyId,
    key: &SealingKey,
) -> Result<()> {
    let (master_key_id, wrapped) = (by.id(), by.wrap(rand::random(), id.0, key));
    let inserted = sqlx::query!(
        "
        INSERT INTO wrapped_data_keys (data_key_id, master_key_id, wrapped)
        VALUES (?1, ?2, ?3)
        ON CONFLICT DO NOTHING
        ",
        id,
        master_key_id,
        wrapped,
    );
    inserted.execute(&mut **tx).await?;
    Ok(())
}

async fn record(
    tx: &mut Transaction<'_, Sqlite>,
    act: &Act,
    action: Action,
    id: &MasterKeyId,
) -> Result<()> {
    let subject = (Subject::MasterKey, None);
    audit::insert(tx, act, action, subject, &id.to_string(), (None, None)).await?;
    Ok(())
}

fn not_current() -> Error {
    Error::Refused(
        "MASTER_KEY is not the current master key of the database: `gemini-pool master-key status` shows its id"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests;
