//! Changes that an admin makes to many client keys at once, and undoing those of their attributes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{Sqlite, Transaction};
use utoipa::ToSchema;

use crate::clock::{self, Timestamp};
use crate::pool::batch_pace::BatchPace;
use crate::pool::clients::client_key::{ClientKeyId, ClientLimit};
use crate::pool::keys::upstream_key::updated_tags;
use crate::pool::model_fallback::ModelFallback;
use crate::storage::audit::{self, Act, Action, Actor, Subject};
use crate::storage::client_keys::{self, ClientKeyTerms, creation};
use crate::storage::db::Db;
use crate::storage::error::{Error, Result};
use crate::storage::undo::{self, UndoableAct};

/// Maximum number of keys changed in one transaction, which blocks the writing of log rows for some milliseconds.
const KEYS_PER_TRANSACTION: u32 = 250;

/// A change of many client keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientKeyChange {
    Enable,
    Disable,
    Delete,
    Update(Vec<TermChange>),
}

/// A change of one attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TermChange {
    /// `None`: never expires.
    Expiry(Option<Timestamp>),
    /// `None`: no limit.
    Limit(ClientLimit, Option<u64>),
    Note(String),
    Models(Vec<String>),
    Paths(Vec<String>),
    Addresses(Vec<String>),
    Tags(Vec<String>),
    DirectAccess(bool),
    /// `None`: the chains of the setting.
    Fallback(Option<ModelFallback>),
    AddTags(Vec<String>),
    RemoveTags(Vec<String>),
}

/// A change that replaces, adds or removes the entries of a list.
pub type ListChange = fn(Vec<String>) -> TermChange;

impl TermChange {
    pub fn apply(&self, terms: &mut ClientKeyTerms) {
        match self {
            Self::Note(note) => terms.note.clone_from(note),
            Self::Models(models) => terms.models.clone_from(models),
            Self::Paths(paths) => terms.paths.clone_from(paths),
            Self::Addresses(addresses) => terms.addresses.clone_from(addresses),
            Self::Tags(tags) => terms.tags.clone_from(tags),
            Self::DirectAccess(direct_access) => terms.direct_access = *direct_access,
            Self::Fallback(fallback) => terms.model_fallback.clone_from(fallback),
            Self::Expiry(at) => terms.expires_at = *at,
            Self::Limit(limit, most) => terms.limits.set(*limit, *most),
            Self::AddTags(tags) => terms.tags = updated_tags(&terms.tags, tags, &[]),
            Self::RemoveTags(tags) => terms.tags = updated_tags(&terms.tags, &[], tags),
        }
    }
}

/// What a change of many keys did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedClientKeys {
    /// How many keys differ from before.
    pub changed: usize,
    /// The acts by which all of it can be undone: many keys are changed in several of them.
    pub undoable_acts: Vec<i64>,
    /// The revisions of the first and the last act; `None`: there was none.
    #[serde(skip)]
    pub revisions: Option<(i64, i64)>,
}

/// Changes any number of keys, in transactions so short, and so far apart, that requests wait for none of them for long.
pub async fn change_all(
    db: &Db,
    actor: &Actor,
    now: Timestamp,
    ids: &[ClientKeyId],
    change: &ClientKeyChange,
) -> Result<ChangedClientKeys> {
    let mut done = ChangedClientKeys::default();
    let (mut rest, mut pace) = (ids, BatchPace::of_job(KEYS_PER_TRANSACTION));
    while !rest.is_empty() {
        let size = usize::try_from(pace.size()).unwrap_or(usize::MAX);
        let (batch, after) = rest.split_at(size.min(rest.len()));
        let mut tx = db.begin().await?;
        let begin = clock::instant();
        let act = Act::begin(&mut tx, actor, now).await?;
        done.changed += apply(&mut tx, batch, change, &act).await?;
        tx.commit().await?;
        let took = begin.elapsed();
        let (first, _) = done.revisions.unwrap_or((act.revision, act.revision));
        done.revisions = Some((first, act.revision));
        rest = after;
        let pause = pace.after(u32::try_from(batch.len()).unwrap_or(u32::MAX), took);
        if !rest.is_empty() {
            tokio::time::sleep(pause).await;
        }
    }
    if let Some(revisions) = done.revisions {
        let undoable = undo::list_of_revisions(&db.readers, now, revisions).await?;
        let undoable = undoable.into_iter().rev().filter(is_of(actor));
        done.undoable_acts = undoable.map(|act| act.id).collect();
    }
    Ok(done)
}

/// Undoes the acts of an actor with these revisions, each in one transaction, except for what was changed again since.
/// Returns the number of keys.
pub async fn undo_all(
    db: &Db,
    actor: &Actor,
    now: Timestamp,
    revisions: (i64, i64),
) -> Result<usize> {
    let (mut count, mut pace) = (0, BatchPace::of_job(KEYS_PER_TRANSACTION));
    let undoable = undo::list_of_revisions(&db.readers, now, revisions).await?;
    for undone in undoable.into_iter().filter(is_of(actor)) {
        let mut tx = db.begin().await?;
        let begin = clock::instant();
        let act = Act::begin(&mut tx, actor, now).await?;
        let changed = match undo::undo(&mut tx, undone.id, &act).await {
            Ok(done) => done.undone,
            // Changed again since.
            Err(Error::NotFound(..)) => continue,
            Err(error) => return Err(error),
        };
        tx.commit().await?;
        count += changed;
        let changed = u32::try_from(changed).unwrap_or(u32::MAX);
        tokio::time::sleep(pace.after(changed, begin.elapsed())).await;
    }
    Ok(count)
}

/// Whether an act changed client keys, and the actor made it: others may act at the same time.
fn is_of(actor: &Actor) -> impl Fn(&UndoableAct) -> bool {
    |act| act.subject == Subject::ClientKey && act.actor == actor.name
}

/// Changes those of the keys that are in use. Returns how many differ from before.
async fn apply(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[ClientKeyId],
    change: &ClientKeyChange,
    act: &Act,
) -> Result<usize> {
    let mut count = 0;
    // Some keys may have been removed since they were selected.
    for id in client_keys::list_ids_in_use(tx, ids).await? {
        count += usize::from(match change {
            ClientKeyChange::Enable => client_keys::update_enabled(tx, id, true, act).await?,
            ClientKeyChange::Disable => client_keys::update_enabled(tx, id, false, act).await?,
            ClientKeyChange::Delete => {
                client_keys::delete(tx, id, act).await?;
                true
            }
            ClientKeyChange::Update(changes) => {
                let mut terms = client_keys::find_terms(tx, id).await?;
                for change in changes {
                    change.apply(&mut terms);
                }
                client_keys::update(tx, id, &terms, act).await?
            }
        });
    }
    Ok(count)
}

/// Gives a key back the values that an update replaced, from its entry in the audit. Returns whether that changed it.
pub async fn undo_update(
    tx: &mut Transaction<'_, Sqlite>,
    id: ClientKeyId,
    before: &Value,
    act: &Act,
) -> Result<bool> {
    let terms = client_keys::find_terms(tx, id).await?;
    let mut json = terms.to_json();
    if let (Some(json), Some(before)) = (json.as_object_mut(), before.as_object()) {
        json.extend(before.clone());
    }
    let Ok(terms) = serde_json::from_value::<ClientKeyTerms>(json) else {
        return Ok(false);
    };
    creation::refuse_taken_name(tx, &terms.name, id).await?;
    client_keys::update(tx, id, &terms, act).await
}

/// Brings back a deleted key with the secret that it had. Returns whether it was deleted.
pub async fn restore(tx: &mut Transaction<'_, Sqlite>, id: ClientKeyId, act: &Act) -> Result<bool> {
    let restored = sqlx::query!(
        "
        UPDATE client_keys
        SET removed_at_ms = NULL, revision = ?2
        WHERE id = ?1 AND removed_at_ms IS NOT NULL
        RETURNING name, last4
        ",
        id,
        act.revision,
    );
    let Some(restored) = restored.fetch_optional(&mut **tx).await? else {
        return Ok(false);
    };
    creation::refuse_taken_name(tx, &restored.name, id).await?;
    let after = json!({ "name": restored.name, "last4": restored.last4 });
    let (subject, values) = ((Subject::ClientKey, Some(id.0)), (None, Some(after)));
    audit::insert(tx, act, Action::Restore, subject, &restored.name, values).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::pool::clients::client_key::HashKey;
    use crate::pool::secret::Secret;
    use crate::storage::audit::tests::{act, describe_changes};

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[sqlx::test]
    async fn many_keys_change_in_one_act_and_missing_ones_are_skipped(pool: SqlitePool) {
        let db = Db::from_pool(pool);
        let mut tx = db.begin().await.unwrap();
        let first = act(&mut tx, NOW).await;
        let (hash_key, mut ids) = (HashKey::new(b"key"), Vec::new());
        for name in ["a", "b", "c"] {
            let terms = ClientKeyTerms {
                name: name.to_owned(),
                tags: vec!["old".to_owned()],
                ..ClientKeyTerms::default()
            };
            let secret = Secret::new(&format!("secret-of-{name}"));
            let id = creation::create(&mut tx, &hash_key, &secret, &terms, &first);
            ids.push(id.await.unwrap().unwrap());
        }
        client_keys::delete(&mut tx, ids[2], &first).await.unwrap();
        let change = ClientKeyChange::Update(vec![
            TermChange::Limit(ClientLimit::Concurrency, Some(2)),
            TermChange::Expiry(Some(NOW)),
            TermChange::AddTags(vec!["new".to_owned()]),
            TermChange::RemoveTags(vec!["old".to_owned()]),
        ]);
        let second = act(&mut tx, NOW).await;

        let changed = apply(&mut tx, &ids, &change, &second).await.unwrap();
        let again = apply(&mut tx, &ids, &change, &second).await.unwrap();

        assert_eq!((changed, again), (2, 0));
        for id in &ids[..2] {
            let terms = client_keys::find_terms(&mut tx, *id).await.unwrap();
            assert_eq!(terms.limits.concurrency, Some(2));
            assert_eq!(
                (terms.expires_at, terms.tags),
                (Some(NOW), vec!["new".to_owned()])
            );
        }
        let before = json!({ "concurrency": null, "expires_at": null, "tags": ["old"] });
        let undone = undo_update(&mut tx, ids[0], &before, &second).await;
        assert!(undone.unwrap());
        let terms = client_keys::find_terms(&mut tx, ids[0]).await.unwrap();
        assert_eq!((terms.limits.concurrency, terms.expires_at), (None, None));
        assert_eq!(terms.tags, ["old"]);
        assert!(restore(&mut tx, ids[2], &second).await.unwrap());
        assert!(!restore(&mut tx, ids[2], &second).await.unwrap());
        // A key is created with all its attributes in one entry.
        let changes = describe_changes(&mut tx).await;
        let created = changes.iter().filter(|change| change.contains("create"));
        assert_eq!(created.count(), 3, "{changes:?}");
    }

    #[sqlx::test]
    async fn a_change_of_many_keys_is_several_transactions_that_are_undone_together(
        pool: SqlitePool,
    ) {
        let db = Db::from_pool(pool);
        let mut tx = db.begin().await.unwrap();
        let first = act(&mut tx, NOW).await;
        let (hash_key, mut ids) = (HashKey::new(b"key"), Vec::new());
        for number in 0..60 {
            let terms = ClientKeyTerms {
                name: format!("team-{number}"),
                ..ClientKeyTerms::default()
            };
            let secret = Secret::new(&format!("secret-{number}"));
            let id = creation::create(&mut tx, &hash_key, &secret, &terms, &first);
            ids.push(id.await.unwrap().unwrap());
        }
        tx.commit().await.unwrap();

        let changes = [ClientKeyChange::Disable, ClientKeyChange::Delete];
        for change in changes {
            let done = change_all(&db, &first.actor, NOW, &ids, &change);
            let done = done.await.unwrap();

            let acts = done.undoable_acts.len();
            assert_eq!(done.changed, 60);
            assert!((3..=60).contains(&acts), "{change:?} in {acts} acts");
            let mut tx = db.begin().await.unwrap();
            let enabled = client_keys::list_ids(&mut tx, true).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(enabled, []);
            let revisions = done.revisions.unwrap();
            let another = undo_all(&db, &Actor::environment(), NOW, revisions).await;
            let undone = undo_all(&db, &first.actor, NOW, revisions).await;
            let again = undo_all(&db, &first.actor, NOW, revisions).await;
            let counts = [another, undone, again].map(Result::unwrap);
            assert_eq!(counts, [0, 60, 0], "{change:?}");
            let mut tx = db.begin().await.unwrap();
            let enabled = client_keys::list_ids(&mut tx, true).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(enabled, ids);
        }
    }
}
