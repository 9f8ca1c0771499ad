//! `Tail`: requests as they end.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::request_id::RequestId;
use crate::storage::db::Db;
use crate::storage::error::Result;
use crate::storage::request_logs::listed::{self, RequestLog};
use crate::storage::request_logs::{list_finished_ids, list_running_ids};

/// How long after its start a request may get its row: rows do not come in the order of their ids.
const LATEST: Duration = Duration::from_mins(1);

/// What has been seen, so that each request is shown once, when it has ended.
#[derive(Debug)]
pub struct Tail {
    /// Finished and shown, or finished before; forgotten when they cannot come again.
    seen: BTreeSet<RequestId>,
    running: BTreeSet<RequestId>,
}

/// What has happened since the last look.
#[derive(Debug, Default)]
pub struct News {
    /// Still running, and not seen before; newest first.
    pub begun: Vec<RequestLog>,
    /// Oldest first.
    pub ended: Vec<RequestLog>,
}

impl Tail {
    /// From now on: what has ended by now is not shown.
    pub async fn begin(db: &Db, now: Timestamp) -> Result<Self> {
        let running = running(db).await?;
        let finished = list_finished_ids(&db.readers, earliest(now), &running).await?;
        Ok(Self {
            seen: finished.into_iter().collect(),
            running,
        })
    }

    /// What has begun or ended since the last call.
    pub async fn next(&mut self, db: &Db, now: Timestamp) -> Result<News> {
        let earliest = earliest(now);
        let mut ended = list_finished_ids(&db.readers, earliest, &self.running).await?;
        ended.retain(|id| {
            self.running.remove(id);
            self.seen.insert(*id)
        });
        let mut begun: Vec<_> = running(db).await?.into_iter().collect();
        begun.retain(|id| self.running.insert(*id));
        self.seen = self.seen.split_off(&earliest);
        let mut news = News {
            begun: listed::list(&db.readers, &begun).await?,
            // Without those that were deleted for their age meanwhile.
            ended: listed::list(&db.readers, &ended).await?,
        };
        // One may have ended in between.
        news.begun.retain(|row| row.outcome.is_none());
        news.ended.reverse();
        Ok(news)
    }
}

fn earliest(now: Timestamp) -> RequestId {
    RequestId::first_at(now - LATEST)
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
        let db = Db::of(pool);
        let ids = |rows: Vec<RequestLog>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        let now = row(2).started_at;
        write(&db, vec![row(0), running(1)]).await;
        let mut tail = Tail::begin(&db, now).await.unwrap();

        write(&db, vec![row(3), running(4)]).await;
        let news = tail.next(&db, now).await.unwrap();
        assert_eq!(ids(news.ended), [row(3).id]);
        assert_eq!(ids(news.begun), [row(4).id]);

        // It began before one that was shown already.
        write(&db, vec![row(2), row(1)]).await;
        let news = tail.next(&db, now).await.unwrap();
        assert_eq!(ids(news.ended), [row(1).id, row(2).id]);
        assert!(news.begun.is_empty());

        let much_later = now + 60 * LATEST;
        write(&db, vec![row(4)]).await;
        let news = tail.next(&db, much_later).await.unwrap();
        assert_eq!(ids(news.ended), [row(4).id]);
        let news = tail.next(&db, much_later).await.unwrap();
        assert!(news.ended.is_empty() && news.begun.is_empty());
        assert!(tail.seen.is_empty() && tail.running.is_empty());
    }
}
