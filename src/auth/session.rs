//! Sessions of signed-in browsers.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tower_sessions::cookie::SameSite;
use tower_sessions::cookie::time::Duration;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;
use tower_sessions::{ExpiredDeletion, Expiry, Session, SessionManagerLayer, SessionStore};
use tower_sessions_sqlx_store::SqliteStore;

use crate::auth::csrf::CsrfToken;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::storage::admins::Admin;
use crate::storage::audit::{Act, Actor};
use crate::storage::db::Db;
use crate::storage::sign_ins::{self, SignInId};

/// The session's cookie.
pub const COOKIE: &str = "gemini_pool_session";
/// Lifetime of an unused session.
pub const SESSION_LIFETIME: std::time::Duration = std::time::Duration::from_hours(14 * 24);
/// Interval at which a session's last use is stored.
const LAST_SEEN_INTERVAL: std::time::Duration = std::time::Duration::from_mins(1);
/// Interval at which the lifetime of the session and its cookie is renewed.
const RENEWAL_INTERVAL: std::time::Duration = std::time::Duration::from_hours(12);
const SIGN_IN: &str = "sign_in";

/// Sessions as rows: read beside the writer, so that the dashboard works while the database cannot be written.
#[derive(Debug, Clone)]
pub struct DatabaseSessionStore {
    reader: SqliteStore,
    writer: SqliteStore,
}

/// The data of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SessionData {
    sign_in: i64,
    csrf: String,
    renewed_at_ms: i64,
}

/// The signed-in admin.
#[derive(Debug, Clone)]
pub struct SignedInAdmin {
    pub id: SignInId,
    pub admin: Admin,
    pub csrf: CsrfToken,
}

/// The layer that reads and sets the session's cookie. Whether the cookie is `Secure` depends on the request: the caller
/// marks it.
pub fn layer(db: &Db) -> SessionManagerLayer<DatabaseSessionStore> {
    let sessions = DatabaseSessionStore {
        reader: SqliteStore::new(db.readers.clone()),
        writer: SqliteStore::new(db.writer.clone()),
    };
    let seconds = i64::try_from(SESSION_LIFETIME.as_secs()).unwrap_or(i64::MAX);
    SessionManagerLayer::new(sessions)
        .with_name(COOKIE)
        .with_secure(false)
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_expiry(Expiry::OnInactivity(Duration::seconds(seconds)))
}

/// Signs an admin in, with a new session id.
pub async fn start(
    db: &Db,
    session: &Session,
    admin: &Admin,
    address: &str,
    user_agent: &str,
    now: Timestamp,
) -> Result<()> {
    let act = Act::without_revision(Actor::admin(&admin.username, address.to_owned()), now);
    let mut tx = db.begin().await?;
    let id = sign_ins::insert(&mut tx, admin.id, address, user_agent, &act).await?;
    tx.commit().await?;
    let data = SessionData {
        sign_in: id.0,
        csrf: CsrfToken::generate().to_text(),
        renewed_at_ms: now.as_millis(),
    };
    session.clear().await;
    store_data(session, &data).await?;
    session.cycle_id().await.map_err(session_store_error)
}

/// The admin of this session; stores its last use from time to time.
pub async fn find_signed_in(
    db: &Db,
    session: &Session,
    now: Timestamp,
) -> Result<Option<SignedInAdmin>> {
    let Some((mut data, signed_in, last_seen_at)) = read(db, session, now).await? else {
        return Ok(None);
    };
    if now - last_seen_at >= LAST_SEEN_INTERVAL {
        // In the background: the page must be served even if the database cannot be written.
        let (writer, id) = (db.writer.clone(), signed_in.id);
        tokio::spawn(async move { sign_ins::update_last_seen(&writer, id, now).await });
    }
    if now - Timestamp::from_millis(data.renewed_at_ms) >= RENEWAL_INTERVAL {
        data.renewed_at_ms = now.as_millis();
        store_data(session, &data).await?;
    }
    Ok(Some(signed_in))
}

/// Whether the session is an admin's. Changes nothing, so that no cookie is set.
pub async fn is_signed_in(db: &Db, session: &Session, now: Timestamp) -> Result<bool> {
    Ok(read(db, session, now).await?.is_some())
}

/// The session's data, its admin, and when it was last seen.
async fn read(
    db: &Db,
    session: &Session,
    now: Timestamp,
) -> Result<Option<(SessionData, SignedInAdmin, Timestamp)>> {
    let data = session.get::<SessionData>(SIGN_IN).await;
    let Some(data) = data.map_err(session_store_error)? else {
        return Ok(None);
    };
    let id = SignInId(data.sign_in);
    let found = sign_ins::find_admin(&db.readers, id).await?;
    let (Some((admin, last_seen_at)), Some(csrf)) = (found, CsrfToken::from_text(&data.csrf))
    else {
        return Ok(None);
    };
    if now - last_seen_at >= SESSION_LIFETIME {
        return Ok(None);
    }
    let signed_in = SignedInAdmin { id, admin, csrf };
    Ok(Some((data, signed_in, last_seen_at)))
}

/// Deletes expired sessions and sign-ins.
pub async fn delete_expired_sessions(db: &Db, now: Timestamp) -> Result<()> {
    let sessions = SqliteStore::new(db.writer.clone());
    sessions
        .delete_expired()
        .await
        .map_err(|error| session_store_error(error.into()))?;
    sign_ins::delete_unseen(&db.writer, now - SESSION_LIFETIME).await?;
    Ok(())
}

/// Ends this session.
pub async fn end(db: &Db, session: &Session, signed_in: &SignedInAdmin, act: &Act) -> Result<()> {
    let mut tx = db.begin().await?;
    sign_ins::delete(&mut tx, signed_in.admin.id, signed_in.id, act).await?;
    tx.commit().await?;
    session.flush().await.map_err(session_store_error)
}

async fn store_data(session: &Session, data: &SessionData) -> Result<()> {
    session
        .insert(SIGN_IN, data)
        .await
        .map_err(session_store_error)
}

/// A session that cannot be read or written is a database error.
pub fn session_store_error(error: tower_sessions::session::Error) -> crate::error::Error {
    sqlx::Error::Io(std::io::Error::other(error)).into()
}

#[async_trait]
impl SessionStore for DatabaseSessionStore {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        self.writer.create(record).await
    }

    /// Changes of an existing session, such as a notice that was shown, may be lost; the page must be served.
    async fn save(&self, record: &Record) -> session_store::Result<()> {
        if let Err(error) = self.writer.save(record).await {
            tracing::warn!("a session could not be written: {error}");
        }
        Ok(())
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        self.reader.load(id).await
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.writer.delete(id).await
    }
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;
    use tower_sessions::cookie::time::OffsetDateTime;

    use super::*;
    use crate::storage::admins;

    #[tokio::test]
    async fn a_session_begins_once_a_full_database_has_room() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_file(&folder.path().join("pool.db")).await.unwrap();
        db.migrate().await.unwrap();
        let sessions = SqliteStore::new(db.writer.clone());
        let create = async |bytes| {
            let mut record = Record {
                id: Id::default(),
                data: [("text".to_owned(), "x".repeat(bytes).into())].into(),
                expiry_date: OffsetDateTime::UNIX_EPOCH,
            };
            sessions.create(&mut record).await
        };
        db.set_up_writer("max_page_count", "1").await.unwrap();
        for _ in 0..2 {
            create(100_000).await.unwrap_err();
        }

        db.set_up_writer("max_page_count", "1000000").await.unwrap();

        create(100_000).await.unwrap();
        assert!(db.begin().await.is_ok());
    }

    #[sqlx::test]
    async fn expired_sessions_are_deleted(pool: SqlitePool) {
        let db = Db::from_pool(pool);
        let sessions = SqliteStore::new(db.writer.clone());
        // The store reads the system's clock.
        let far = OffsetDateTime::from_unix_timestamp(32_503_680_000).unwrap();
        for expiry_date in [OffsetDateTime::UNIX_EPOCH, far] {
            let mut record = Record {
                id: Id::default(),
                data: std::collections::HashMap::new(),
                expiry_date,
            };
            sessions.create(&mut record).await.unwrap();
        }
        let (first, last) = (
            Timestamp::from_millis(0),
            Timestamp::from_millis(0) + SESSION_LIFETIME,
        );
        let mut tx = db.begin().await.unwrap();
        let act = Act::without_revision(Actor::cli(), first);
        let admin = admins::insert(&mut tx, "ann", "hash", &act).await.unwrap();
        for now in [first, last] {
            let act = Act::without_revision(Actor::cli(), now);
            sign_ins::insert(&mut tx, admin, "192.0.2.1", "Firefox", &act)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();

        delete_expired_sessions(&db, last + LAST_SEEN_INTERVAL)
            .await
            .unwrap();

        let left: Vec<String> =
            sqlx::query_scalar("SELECT CAST(expiry_date AS TEXT) FROM tower_sessions")
                .fetch_all(&db.readers)
                .await
                .unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].starts_with("3000-"), "{left:?}");
        let seen = sign_ins::list(&db.readers, admin).await.unwrap();
        let seen: Vec<_> = seen.iter().map(|sign_in| sign_in.last_seen_at).collect();
        assert_eq!(seen, [last]);
    }
}
