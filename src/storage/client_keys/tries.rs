//! Records in the audit log which requests an admin sends for a client key on the page `/try`.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::storage::audit::{self, Act, Action, Actor, Subject};
use crate::storage::db::Db;
use crate::storage::error::Result;

/// Records a request for the key of this id and name; `request` describes it without its text.
pub async fn insert(
    db: &Db,
    actor: &Actor,
    now: Timestamp,
    (id, name): (ClientKeyId, &str),
    request: Value,
) -> Result<()> {
    let mut tx = db.begin().await?;
    // It changes nothing that a server would have to reload.
    let act = Act::without_revision(actor.clone(), now);
    let (subject, values) = ((Subject::ClientKey, Some(id.0)), (None, Some(request)));
    audit::insert(&mut tx, &act, Action::Try, subject, name, values).await?;
    tx.commit().await?;
    Ok(())
}
