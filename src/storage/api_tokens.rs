//! Tokens of the admin API, stored as hashes.

use serde::Serialize;
use serde_json::json;
use sqlx::{Sqlite, SqliteExecutor, Transaction};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::pool::api_token::{self, ApiScope, ApiTokenId, TokenAccess, TokenGrant};
use crate::pool::secret::Secret;
use crate::storage::audit::{self, Act, Action, Subject};
use crate::storage::error::{Error, Result, Thing};
use crate::storage::json_columns::{JsonTexts, json_array};

/// A token as lists show it; the names are those of the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ApiToken {
    pub id: ApiTokenId,
    pub name: String,
    pub last4: String,
    pub access: TokenAccess,
    /// Sorted; empty: all.
    pub scopes: Vec<ApiScope>,
    pub expires_at: Option<Timestamp>,
    /// At most a minute behind.
    pub last_used_at: Option<Timestamp>,
    /// The actor that created it.
    pub created_by: String,
    pub created_at: Timestamp,
}

impl ApiToken {
    pub fn grant(&self) -> TokenGrant {
        TokenGrant::new(self.access, self.scopes.clone(), self.expires_at)
    }
}

/// A row as it is stored.
struct ApiTokenRow {
    id: ApiTokenId,
    name: String,
    last4: String,
    access: TokenAccess,
    scopes: JsonTexts,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    created_by: String,
    created_at: Timestamp,
}

impl ApiTokenRow {
    /// `None` if a scope is unknown: without it the token could have more access than it was given.
    fn token(self) -> Option<ApiToken> {
        let scopes = Vec::<String>::from(self.scopes);
        let scopes: std::result::Result<Vec<ApiScope>, _> =
            scopes.iter().map(|name| name.parse()).collect();
        Some(ApiToken {
            id: self.id,
            name: self.name,
            last4: self.last4,
            access: self.access,
            scopes: scopes.ok()?,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
            created_by: self.created_by,
            created_at: self.created_at,
        })
    }
}

/// Creates a token. `None`, without a change, if a token has this name.
pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    name: &str,
    secret: &Secret,
    grant: &TokenGrant,
    act: &Act,
) -> Result<Option<ApiTokenId>> {
    let hash = api_token::hash(secret.expose()).to_vec();
    let (last4, scopes) = (secret.last4(), json_array(&grant.scopes));
    let id = sqlx::query_scalar!(
        r#"
        INSERT INTO api_tokens (name, hash, last4, access, scopes, expires_at_ms, created_by, created_at_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (name) DO NOTHING
        RETURNING id AS "id!: ApiTokenId"
        "#,
        name,
        hash,
        last4,
        grant.access,
        scopes,
        grant.expires_at,
        act.actor.name,
        act.now,
    );
    let Some(id) = id.fetch_optional(&mut **tx).await? else {
        return Ok(None);
    };
    let after = json!({
        "last4": last4, "access": grant.access, "scopes": grant.scopes, "expires_at": grant.expires_at,
    });
    let (subject, values) = ((Subject::ApiToken, Some(id.0)), (None, Some(after)));
    audit::insert(tx, act, Action::Create, subject, name, values).await?;
    Ok(Some(id))
}

/// All tokens, newest first.
pub async fn list(db: impl SqliteExecutor<'_>) -> Result<Vec<ApiToken>> {
    let rows = sqlx::query_as!(
        ApiTokenRow,
        r#"
        SELECT
            id AS "id!: ApiTokenId", name, last4, access AS "access: TokenAccess", scopes AS "scopes: JsonTexts",
            expires_at_ms AS "expires_at: Timestamp", last_used_at_ms AS "last_used_at: Timestamp", created_by,
            created_at_ms AS "created_at: Timestamp"
        FROM api_tokens
        ORDER BY id DESC
        "#
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().filter_map(ApiTokenRow::token).collect())
}

/// One token.
pub async fn find(db: impl SqliteExecutor<'_>, id: ApiTokenId) -> Result<ApiToken> {
    let found = list(db).await?.into_iter().find(|token| token.id == id);
    found.ok_or_else(|| missing(id))
}

/// The token with this text; `None`: there is none, or its row cannot be read.
pub async fn find_by_text(db: impl SqliteExecutor<'_>, text: &str) -> Result<Option<ApiToken>> {
    let hash = api_token::hash(text).to_vec();
    let row = sqlx::query_as!(
        ApiTokenRow,
        r#"
        SELECT
            id AS "id!: ApiTokenId", name, last4, access AS "access: TokenAccess", scopes AS "scopes: JsonTexts",
            expires_at_ms AS "expires_at: Timestamp", last_used_at_ms AS "last_used_at: Timestamp", created_by,
            created_at_ms AS "created_at: Timestamp"
        FROM api_tokens
        WHERE hash = ?1
        "#,
        hash,
    );
    Ok(row.fetch_optional(db).await?.and_then(ApiTokenRow::token))
}

/// Stores the time of a token's last use.
pub async fn update_last_used(
    db: impl SqliteExecutor<'_>,
    id: ApiTokenId,
    now: Timestamp,
) -> Result<()> {
    let updated = sqlx::query!(
        "UPDATE api_tokens SET last_used_at_ms = ?2 WHERE id = ?1",
        id,
        now
    );
    updated.execute(db).await?;
    Ok(())
}

/// Revokes a token.
pub async fn delete(tx: &mut Transaction<'_, Sqlite>, id: ApiTokenId, act: &Act) -> Result<()> {
    let deleted = sqlx::query!(
        "DELETE FROM api_tokens WHERE id = ?1 RETURNING name, last4",
        id
    );
    let deleted = deleted.fetch_optional(&mut **tx).await?;
    let deleted = deleted.ok_or_else(|| missing(id))?;
    let before = json!({ "last4": deleted.last4 });
    let (subject, values) = ((Subject::ApiToken, Some(id.0)), (Some(before), None));
    audit::insert(tx, act, Action::Delete, subject, &deleted.name, values).await?;
    Ok(())
}

fn missing(id: ApiTokenId) -> Error {
    Error::NotFound(Thing::ApiToken, id.0.to_string())
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::audit::Actor;
    use crate::storage::audit::tests::describe_changes;
    use crate::storage::db::Db;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[sqlx::test]
    async fn a_token_is_found_by_its_text_until_it_is_revoked(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        let mut tx = db.begin().await.unwrap();
        let act = Act::without_revision(Actor::cli(), NOW);
        let secret = api_token::generate(&mut rand::rng());
        let scopes = vec![ApiScope::UpstreamKeys, ApiScope::Logs];
        let grant = TokenGrant::new(TokenAccess::Write, scopes, Some(NOW));

        let id = insert(&mut tx, "deploy", &secret, &grant, &act)
            .await
            .unwrap();
        let again = api_token::generate(&mut rand::rng());
        let again = insert(&mut tx, "deploy", &again, &grant, &act).await;

        assert_eq!(again.unwrap(), None);
        tx.commit().await.unwrap();
        let id = id.unwrap();
        let found = find_by_text(&pool, secret.expose()).await.unwrap().unwrap();
        assert_eq!((found.id, found.grant()), (id, grant));
        assert_eq!(found.created_by, "cli");
        assert!(find_by_text(&pool, "gpa_other").await.unwrap().is_none());
        update_last_used(&pool, id, NOW).await.unwrap();
        assert_eq!(find(&pool, id).await.unwrap().last_used_at, Some(NOW));

        let mut tx = db.begin().await.unwrap();
        delete(&mut tx, id, &act).await.unwrap();
        let missing = delete(&mut tx, id, &act).await.unwrap_err();
        assert_eq!(missing.to_string(), format!("API token {} not found", id.0));
        let changes = describe_changes(&mut tx).await;
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!(!changes.join("").contains(secret.expose()), "{changes:?}");
        tx.commit().await.unwrap();
        assert!(
            find_by_text(&pool, secret.expose())
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(list(&pool).await.unwrap(), []);
    }

    #[sqlx::test]
    async fn a_token_with_an_unknown_scope_grants_nothing(pool: SqlitePool) {
        let db = Db::from_pool(pool.clone());
        let mut tx = db.begin().await.unwrap();
        let act = Act::without_revision(Actor::cli(), NOW);
        let secret = api_token::generate(&mut rand::rng());
        let grant = TokenGrant::new(TokenAccess::Read, vec![ApiScope::Logs], None);
        insert(&mut tx, "later", &secret, &grant, &act)
            .await
            .unwrap();
        tx.commit().await.unwrap();

        sqlx::query(r#"UPDATE api_tokens SET scopes = '["later"]'"#)
            .execute(&db.writer)
            .await
            .unwrap();

        assert!(
            find_by_text(&pool, secret.expose())
                .await
                .unwrap()
                .is_none()
        );
    }
}
