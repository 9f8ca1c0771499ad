//! Does what admins have begun with many upstream keys: a few at a time, so that no request waits for it.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock;
use crate::jobs::{Change, Job, Work};
use crate::pool::keys::import::ImportedKey;
use crate::pool::keys::upstream_key::{KeyAttributes, UpstreamKeyId};
use crate::storage::audit::Act;
use crate::storage::error::{Error, Result};
use crate::storage::upstream_keys::InsertedKey;
use crate::storage::{installation, projects, upstream_keys};

/// So many keys are changed in one transaction, which holds up the log's rows for some ten milliseconds.
const AT_ONCE: usize = 200;
/// While the database cannot be written, they are tried so often again, each time after a rest.
const MOST_TRIES: u32 = 10;
const REST: Duration = Duration::from_secs(1);

/// Does one job after the other for ever.
pub async fn run(app: Arc<App>) {
    loop {
        let (job, work) = app.jobs.next_change().await;
        do_work(&app, &job, work).await;
    }
}

/// Does a job, to its end or to the first failure.
pub async fn do_work(app: &App, job: &Job, work: Work) {
    let done = match &work {
        Work::Change(ids, change) => change_all(app, job, ids, change).await,
        Work::Import { keys, update } => import_all(app, job, keys, *update).await,
        // Not of this line.
        Work::Test(_) => Ok(()),
    };
    drop(work);
    // The server's own keys are as the database has them before anybody is told that it is done. What cannot be read now
    // is read soon, as after every change.
    if let Err(error) = app.reload(clock::now()).await {
        tracing::warn!("changes could not be read: {error}");
    }
    if let Err(error) = &done {
        tracing::error!("upstream keys could not be changed: {error}");
    }
    job.report(|progress| {
        progress.failed = done.err().map(|error| error.to_string());
        progress.ended = true;
    });
}

async fn change_all(app: &App, job: &Job, ids: &[UpstreamKeyId], change: &Change) -> Result<()> {
    for ids in ids.chunks(AT_ONCE) {
        let mut tries = Tries::default();
        while let Err(error) = change_some(app, job, ids, change).await {
            tries.again(error).await?;
        }
    }
    Ok(())
}

async fn change_some(app: &App, job: &Job, ids: &[UpstreamKeyId], change: &Change) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let act = Act::begin(&mut tx, &job.actor, clock::now()).await?;
    // Some may be gone since they were chosen.
    let there = match change {
        Change::Restore => ids.to_vec(),
        _ => upstream_keys::list_in_use(&mut tx, ids).await?,
    };
    let mut changed = there.len();
    let mut wiped = 0;
    match change {
        Change::Enable => {
            upstream_keys::update_enabled(&mut tx, &there, true, &act).await?;
        }
        Change::Disable => {
            upstream_keys::update_enabled(&mut tx, &there, false, &act).await?;
        }
        Change::Clear => {
            upstream_keys::clear_states(&mut tx, &there, &act).await?;
            projects::clear_cooldowns(&mut tx, &there, &act).await?;
        }
        Change::Delete => upstream_keys::delete(&mut tx, &there, &act).await?,
        Change::Restore => {
            let restored = upstream_keys::restore(&mut tx, &there, &act).await?;
            changed = usize::try_from(restored.restored).unwrap_or(usize::MAX);
            wiped = usize::try_from(restored.wiped).unwrap_or(usize::MAX);
        }
        Change::Update {
            attributes,
            add_tags,
            remove_tags,
        } => {
            changed = 0;
            for id in &there {
                let mut attributes = attributes.clone();
                if !add_tags.is_empty() || !remove_tags.is_empty() {
                    let tags = upstream_keys::tags(&mut tx, *id).await?;
                    attributes.tags = Some(retagged(tags, add_tags, remove_tags));
                }
                let is_news = upstream_keys::update(&mut tx, *id, &attributes, &act).await?;
                changed += usize::from(is_news);
            }
        }
    }
    tx.commit().await?;
    job.report(|progress| {
        progress.done += ids.len();
        progress.changed += changed;
        progress.wiped += wiped;
        let first = progress.revisions.map_or(act.revision, |(first, _)| first);
        progress.revisions = Some((first, act.revision));
    });
    Ok(())
}

fn retagged(tags: Vec<String>, add: &[String], remove: &[String]) -> Vec<String> {
    let mut tags: Vec<_> = tags
        .into_iter()
        .filter(|tag| !remove.contains(tag))
        .collect();
    for tag in add {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    tags
}

async fn import_all(app: &App, job: &Job, keys: &[ImportedKey], update: bool) -> Result<()> {
    for keys in keys.chunks(AT_ONCE) {
        let mut tries = Tries::default();
        while let Err(error) = import_some(app, job, keys, update).await {
            tries.again(error).await?;
        }
    }
    Ok(())
}

async fn import_some(app: &App, job: &Job, keys: &[ImportedKey], update: bool) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let hash_key = installation::hash_key(&mut tx).await?;
    let act = Act::begin(&mut tx, &job.actor, clock::now()).await?;
    let (mut new, mut restored, mut known, mut changed) = (0, 0, 0, 0);
    for ImportedKey { secret, attributes } in keys {
        let added = upstream_keys::insert(&mut tx, &hash_key, secret, attributes, true, &act);
        match added.await? {
            InsertedKey::New(_) => new += 1,
            InsertedKey::Restored(_) => restored += 1,
            InsertedKey::Existing(id) => {
                known += 1;
                if update && *attributes != KeyAttributes::default() {
                    let is_news = upstream_keys::update(&mut tx, id, attributes, &act).await?;
                    changed += usize::from(is_news);
                }
            }
        }
    }
    tx.commit().await?;
    job.report(|progress| {
        progress.done += keys.len();
        progress.new += new;
        progress.restored += restored;
        progress.known += known;
        progress.changed += changed;
        let first = progress.revisions.map_or(act.revision, |(first, _)| first);
        progress.revisions = Some((first, act.revision));
    });
    Ok(())
}

/// How often something was tried in vain.
#[derive(Debug, Default)]
struct Tries(u32);

impl Tries {
    /// Rests before the next try, or fails where none would help.
    async fn again(&mut self, error: Error) -> Result<()> {
        if !self.may_go_on(&error) {
            return Err(error);
        }
        tracing::warn!(
            tries = self.0,
            "upstream keys cannot be changed yet: {error}"
        );
        tokio::time::sleep(REST).await;
        Ok(())
    }

    fn may_go_on(&mut self, error: &Error) -> bool {
        self.0 += 1;
        error.is_transient() && self.0 <= MOST_TRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_added_once_and_removed() {
        let texts = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        };

        let tags = retagged(texts(&["a", "b"]), &texts(&["b", "c"]), &texts(&["a", "x"]));

        assert_eq!(tags, ["b", "c"]);
    }

    #[test]
    fn what_cannot_be_written_for_a_while_is_tried_again_and_not_for_ever() {
        let full = Error::Sqlx(sqlx::Error::PoolTimedOut);
        let mut tries = Tries::default();

        for _ in 0..MOST_TRIES {
            assert!(tries.may_go_on(&full));
        }

        assert!(!tries.may_go_on(&full));
        let wrong = Error::Refused("not this".to_owned());
        assert!(!Tries::default().may_go_on(&wrong));
    }
}
