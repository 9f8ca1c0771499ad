//! Data keys of envelope encryption: they encrypt the secrets in rows, and are stored encrypted by the master key.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parking_lot::{Mutex, RwLock};
use sqlx::{SqliteConnection, SqliteExecutor};
use zeroize::Zeroizing;

use crate::config::MasterKeyArgs;
use crate::pool::master_key::{self, MasterKey, MasterKeyId, MasterKeyText};
use crate::pool::sealing::{SealingKey, StoredPlace};
use crate::storage::error::{Error, GivenMasterKey, Result};

/// The id of a data key; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct DataKeyId(pub i64);

/// The data keys of a database, opened with the master key of this process when they are first needed.
#[derive(Debug, Clone, Default)]
pub struct DataKeyStore(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    args: RwLock<MasterKeyArgs>,
    /// Stretching a passphrase takes some tenths of a second.
    stretched: Mutex<Vec<(Vec<u8>, MasterKeyText, MasterKey)>>,
    /// A server keeps the data key that it has loaded when a rotation has replaced its master key.
    opened: Mutex<Arc<BTreeMap<DataKeyId, SealingKey>>>,
}

/// The data keys as one transaction sees them. Valid within it only: a rotation may replace them afterwards.
#[derive(Debug, Clone, Default)]
pub struct DataKeys {
    opened: Arc<BTreeMap<DataKeyId, SealingKey>>,
    active: Option<DataKeyId>,
}

struct StoredDataKey {
    id: DataKeyId,
    is_active: bool,
    handover: Option<Vec<u8>>,
}

struct WrappedDataKey {
    data_key_id: DataKeyId,
    master_key_id: MasterKeyId,
    salt: Option<Vec<u8>>,
    wrapped: Vec<u8>,
}

impl DataKeyStore {
    pub fn new(args: MasterKeyArgs) -> Self {
        let store = Self::default();
        store.set_master_key(args);
        store
    }

    /// Sets where the master key of this process is.
    pub fn set_master_key(&self, args: MasterKeyArgs) {
        *self.0.args.write() = args;
    }

    /// The master key of this process; `None`: none is given.
    pub fn master_key(&self) -> Result<Option<MasterKeyText>> {
        let args = self.0.args.read().clone();
        let key = args.read();
        key.map_err(|error| Error::Refused(error.to_string()))
    }

    /// Whether the master key of this process has to be stretched, for which no other writer should wait.
    pub fn has_passphrase(&self) -> bool {
        let key = self.master_key().ok().flatten();
        key.is_some_and(|key| key.is_passphrase())
    }

    /// Loads the data keys within a transaction. Fails if they cannot be opened with the master key of this process.
    pub async fn load(&self, connection: &mut SqliteConnection) -> Result<DataKeys> {
        let stored = sqlx::query_as!(
            StoredDataKey,
            r#"
            SELECT id AS "id!: DataKeyId", state = 'active' AS "is_active!: bool", handover
            FROM data_keys
            ORDER BY id
            "#
        );
        let stored = stored.fetch_all(&mut *connection).await?;
        let mut opened = self.0.opened.lock().clone();
        if stored.iter().any(|key| !opened.contains_key(&key.id)) {
            opened = Arc::new(self.open(connection, &stored, &opened).await?);
            *self.0.opened.lock() = opened.clone();
        }
        let active = stored.iter().find(|key| key.is_active).map(|key| key.id);
        Ok(DataKeys { opened, active })
    }

    /// Opens those of the stored data keys that are not opened yet.
    async fn open(
        &self,
        connection: &mut SqliteConnection,
        stored: &[StoredDataKey],
        known: &BTreeMap<DataKeyId, SealingKey>,
    ) -> Result<BTreeMap<DataKeyId, SealingKey>> {
        let wrapped = list_wrapped(connection).await?;
        let given = self.master_key()?;
        let mut opened = known.clone();
        for key in stored {
            if opened.contains_key(&key.id) {
                continue;
            }
            let (mut found, mut damaged) = (None, None);
            if let Some(given) = &given {
                for wrapped in wrapped.iter().filter(|entry| entry.data_key_id == key.id) {
                    let master = self.stretch(given, wrapped.salt.as_deref()).await;
                    let master = master.filter(|master| master.id() == wrapped.master_key_id);
                    let Some(master) = master else {
                        continue;
                    };
                    found = master.unwrap(key.id.0, &wrapped.wrapped);
                    if found.is_some() {
                        break;
                    }
                    damaged = Some(master.id());
                }
            }
            if let (None, Some(handover)) = (&found, &key.handover) {
                let mut earlier = opened.values();
                found = earlier.find_map(|by| master_key::unwrap(by, key.id.0, handover));
            }
            let Some(found) = found else {
                return Err(match damaged {
                    Some(right) => Error::DamagedDataKey(right),
                    None => self.locked(&wrapped, given.as_ref()).await,
                });
            };
            opened.insert(key.id, found);
        }
        Ok(opened)
    }

    /// The master key of a text, with the salt of a stored key; `None`: a passphrase, where the stored key is none.
    pub async fn stretch(&self, text: &MasterKeyText, salt: Option<&[u8]>) -> Option<MasterKey> {
        let salt = match (salt, text.is_passphrase()) {
            (_, false) => return Some(text.key(&[])),
            (None, true) => return None,
            (Some(salt), true) => salt.to_vec(),
        };
        let known = self.find_stretched(text, &salt);
        if known.is_some() {
            return known;
        }
        let (passphrase, used) = (text.clone(), salt.clone());
        let key = tokio::task::spawn_blocking(move || passphrase.key(&used)).await;
        let key = key.expect("stretching does not panic");
        let mut stretched = self.0.stretched.lock();
        stretched.push((salt, text.clone(), key.clone()));
        Some(key)
    }

    fn find_stretched(&self, text: &MasterKeyText, salt: &[u8]) -> Option<MasterKey> {
        let stretched = self.0.stretched.lock();
        let mut known = stretched.iter();
        let known = known.find(|(of, by, _)| of == salt && by.is_same_passphrase(text));
        known.map(|(_, _, key)| key.clone())
    }

    /// The error for a database whose master key is not the one given.
    async fn locked(&self, wrapped: &[WrappedDataKey], given: Option<&MasterKeyText>) -> Error {
        let mut wanted: Vec<_> = wrapped.iter().map(|key| &key.master_key_id).collect();
        wanted.sort();
        wanted.dedup();
        let wanted: Vec<_> = wanted.into_iter().map(ToString::to_string).collect();
        let wanted = wanted.join(" or ");
        let salt = wrapped.iter().find_map(|key| key.salt.as_deref());
        let given = match given {
            None => GivenMasterKey::Missing,
            Some(text) => match self.stretch(text, salt).await {
                None => GivenMasterKey::OtherPassphrase,
                Some(key) => GivenMasterKey::Other(key.id()),
            },
        };
        Error::Locked { wanted, given }
    }
}

async fn list_wrapped(db: impl SqliteExecutor<'_>) -> Result<Vec<WrappedDataKey>> {
    let wrapped = sqlx::query_as!(
        WrappedDataKey,
        r#"
        SELECT
            w.data_key_id AS "data_key_id: DataKeyId", w.master_key_id AS "master_key_id: MasterKeyId", m.salt, w.wrapped
        FROM wrapped_data_keys AS w
        JOIN master_keys AS m ON m.id = w.master_key_id
        ORDER BY w.data_key_id, w.master_key_id
        "#
    );
    Ok(wrapped.fetch_all(db).await?)
}

impl DataKeys {
    /// The key that encrypts what is written now; `None`: nothing is encrypted. Stored in the row beside what it sealed.
    pub fn active(&self) -> Option<DataKeyId> {
        self.active
    }

    /// All keys that are opened, those that were replaced too.
    pub fn iter(&self) -> impl Iterator<Item = (DataKeyId, &SealingKey)> {
        self.opened.iter().map(|(id, key)| (*id, key))
    }

    pub fn get(&self, id: DataKeyId) -> Option<&SealingKey> {
        self.opened.get(&id)
    }

    /// A text as it is stored: as base64 where it is sealed.
    pub fn seal_text(&self, place: StoredPlace, text: &str) -> String {
        match self.sealed(place, text.as_bytes()) {
            Some(sealed) => BASE64_STANDARD.encode(sealed),
            None => text.to_owned(),
        }
    }

    /// Bytes as they are stored.
    pub fn seal_bytes(&self, place: StoredPlace, bytes: &[u8]) -> Vec<u8> {
        let sealed = self.sealed(place, bytes);
        sealed.unwrap_or_else(|| bytes.to_vec())
    }

    fn sealed(&self, place: StoredPlace, value: &[u8]) -> Option<Vec<u8>> {
        let key = self.opened.get(&self.active?)?;
        Some(key.seal(rand::random(), place, value))
    }

    /// Opens a text that the data key of its row sealed.
    pub fn open_text(
        &self,
        place: StoredPlace,
        data_key_id: Option<DataKeyId>,
        stored: String,
    ) -> Result<Zeroizing<String>> {
        let stored = Zeroizing::new(stored);
        let Some(id) = data_key_id else {
            return Ok(stored);
        };
        let sealed = BASE64_STANDARD.decode(stored.as_bytes()).ok();
        let opened = sealed.and_then(|sealed| self.get(id)?.open(place, &sealed));
        let text = opened.and_then(|opened| {
            let text = std::str::from_utf8(&opened).ok()?;
            Some(Zeroizing::new(text.to_owned()))
        });
        text.ok_or_else(|| unreadable(place))
    }

    /// A stored text as the active data key stores it.
    pub fn reseal_text(
        &self,
        place: StoredPlace,
        data_key_id: Option<DataKeyId>,
        stored: String,
    ) -> Result<String> {
        let text = self.open_text(place, data_key_id, stored)?;
        Ok(self.seal_text(place, &text))
    }

    /// The same for bytes.
    pub fn reseal_bytes(
        &self,
        place: StoredPlace,
        data_key_id: Option<DataKeyId>,
        stored: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let bytes = self.open_bytes(place, data_key_id, stored)?;
        Ok(self.seal_bytes(place, &bytes))
    }

    /// Opens bytes that the data key of their row sealed.
    pub fn open_bytes(
        &self,
        place: StoredPlace,
        data_key_id: Option<DataKeyId>,
        stored: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let stored = Zeroizing::new(stored);
        let Some(id) = data_key_id else {
            return Ok(stored);
        };
        let opened = self.get(id).and_then(|key| key.open(place, &stored));
        opened.ok_or_else(|| unreadable(place))
    }
}

fn unreadable(place: StoredPlace) -> Error {
    let StoredPlace { table, column, row } = place;
    Error::Refused(format!(
        "the {column} of row {row} of {table} cannot be decrypted: another program has changed it, or moved it from another row"
    ))
}
