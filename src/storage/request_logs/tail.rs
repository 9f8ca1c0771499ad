//! `LogTail`: follows the log and lists requests as they start and end.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::request_id::RequestId;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::request_logs::listed::{self, RequestLog};
use crate::storage::request_logs::{list_finished_ids, list_running_ids};

/// Maximum delay from a request's start to its row: rows are not inserted in the order of their ids.
const MAX_ROW_DELAY: Duration = Duration::from_mins(1);

/// The requests already listed, so that each one is listed once at its end.
#[derive(Debug)]
pub struct LogTail {
    /// Finished requests that must not be listed again, removed when they are too old for that.
    reported: BTreeSet<RequestId>,
    running: BTreeSet<RequestId>,
}

/// Requests that started or finished since the last call.
#[derive(Debug, Default)]
pub struct LogUpdates {
    /// New running requests, newest first.
    pub started: Vec<RequestLog>,
    /// Oldest first.
    pub finished: Vec<RequestLog>,
}

impl LogTail {
    /// Starts now: requests finished before are not listed.
    pub async fn begin(db: &Db, now: Timestamp) -> Result<Self> {
        let running = running(db).await?;
        let finished = list_finished_ids(&db.readers, earliest(now), &running).await?;
        Ok(Self {
            reported: finished.into_iter().collect(),
            running,
        })
    }

    /// The requests that started or finished since the last call.
    pub async fn next(&mut self, db: &Db, now: Timestamp) -> Result<LogUpdates> {
        let earliest = earliest(now);
        let mut finished = list_finished_ids(&db.readers, earliest, &self.running).await?;
        finished.retain(|id| {
            self.running.remove(id);
            self.reported.insert(*id)
        });
        let mut started: Vec<_> = running(db).await?.into_iter().collect();
        started.retain(|id| self.running.insert(*id));
        self.reported = self.reported.split_off(&earliest);
        let mut updates = LogUpdates {
            started: listed::list(&db.readers, &started).await?,
            // Pruned rows are gone.
            finished: listed::list(&db.readers, &finished).await?,
        };
        // A request may have ended between the two queries.
        updates.started.retain(|row| row.outcome.is_none());
        updates.finished.reverse();
        Ok(updates)
    }
}

fn earliest(now: Timestamp) -> RequestId {
    RequestId::first_at(now - MAX_ROW_DELAY)
}

async fn running(db: &Db) -> Result<BTreeSet<RequestId>> {
    let running = list_running_ids(&db.readers).await?;
    Ok(running.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::storage::recorder::tests::write;
    use crate::storage::request_logs::tests::{row, running};

    #[sqlx::test]
    async fn each_request_is_told_once_when_it_has_ended(pool: SqlitePool) {
        let db = Db::from_pool(pool);
        let ids = |rows: Vec<RequestLog>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        let now = row(2).started_at;
        write(&db, vec![row(0), running(1)]).await;
        let mut tail = LogTail::begin(&db, now).await.unwrap();

        write(&db, vec![row(3), running(4)]).await;
        let updates = tail.next(&db, now).await.unwrap();
        assert_eq!(ids(updates.finished), [row(3).id]);
        assert_eq!(ids(updates.started), [row(4).id]);

        // It began before a request that was already listed.
        write(&db, vec![row(2), row(1)]).await;
        let updates = tail.next(&db, now).await.unwrap();
        assert_eq!(ids(updates.finished), [row(1).id, row(2).id]);
        assert!(updates.started.is_empty());

        let much_later = now + 60 * MAX_ROW_DELAY;
        write(&db, vec![row(4)]).await;
        let updates = tail.next(&db, much_later).await.unwrap();
        assert_eq!(ids(updates.finished), [row(4).id]);
        let updates = tail.next(&db, much_later).await.unwrap();
        assert!(updates.finished.is_empty() && updates.started.is_empty());
        assert!(tail.reported.is_empty() && tail.running.is_empty());
    }
}
