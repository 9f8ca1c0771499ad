//! `TableWriter`: writes rows with their attempts, statistics and rollups, and state changes, to their tables. Folds entries of the
//! journal.

use sqlx::{Connection, Sqlite, Transaction};

use crate::clock;
use crate::pool::health::state_change::StateChange;
use crate::pool::request_id::RequestId;
use crate::storage::db::Db;
use crate::storage::error::{Error, Result};
use crate::storage::recorder::journal::{self, Write};
use crate::storage::recorder::statistics::BatchStatistics;
use crate::storage::recorder::stored_sketches::AppendedSketches;
use crate::storage::recorder::tables::{LogBatch, LogStatements};
use crate::storage::request_logs::LogKind;
use crate::storage::resources::{self, NewResource};
use crate::storage::strings::Strings;
use crate::storage::upstream_keys::{Evidence, states};
use crate::storage::{cooldowns, egress_proxies, key_index, projects, quotas};

/// The number of entries that are read at once.
const ENTRIES: u32 = 64;

/// Writes to the tables, with what it remembers of them.
#[derive(Debug, Default)]
pub struct TableWriter {
    strings: Strings,
    sketches: AppendedSketches,
    statements: LogStatements,
    /// What `indexed_requests` has, as far as no other process can have changed it.
    pub indexed_until: Option<RequestId>,
}

/// A write that the database refused, by its position.
#[derive(Debug)]
pub struct RefusedWrite {
    pub index: usize,
    pub error: Error,
}

/// Resources that requests created or deleted one after the other.
#[derive(Debug)]
enum ResourceChange<'a> {
    Created(Vec<NewResource<'a>>),
    Deleted(Vec<&'a str>),
}

impl TableWriter {
    /// Writes to the tables and deletes the entries that held these writes, in one transaction. Returns the writes that the database
    /// refused, each by itself; all others are committed.
    pub async fn write(
        &mut self,
        db: &Db,
        writes: &[&Write],
        entries: &[i64],
    ) -> Result<Vec<RefusedWrite>> {
        let mut written = self.write_together(db, writes, entries).await;
        if let Err(error) = &written
            && error.is_refusal()
        {
            self.forget();
            written = self.write_separately(db, writes, entries).await;
        }
        if written.is_err() {
            self.forget();
        }
        written
    }

    /// Forgets what a transaction that failed would have stored.
    fn forget(&mut self) {
        self.strings = Strings::default();
        self.sketches = AppendedSketches::default();
    }

    async fn write_together(
        &mut self,
        db: &Db,
        writes: &[&Write],
        entries: &[i64],
    ) -> Result<Vec<RefusedWrite>> {
        let mut tx = db.begin().await?;
        self.strings.begin(&db.string_deletions);
        self.write_in(&mut tx, writes).await?;
        commit(db, tx, entries).await?;
        Ok(Vec::new())
    }

    /// Each write in a savepoint of its own.
    async fn write_separately(
        &mut self,
        db: &Db,
        writes: &[&Write],
        entries: &[i64],
    ) -> Result<Vec<RefusedWrite>> {
        let mut tx = db.begin().await?;
        self.strings.begin(&db.string_deletions);
        let mut refused = Vec::new();
        for (index, write) in writes.iter().enumerate() {
            let mut savepoint = tx.begin().await?;
            match self.write_in(&mut savepoint, &[write]).await {
                Ok(()) => savepoint.commit().await?,
                Err(error) if error.is_refusal() => {
                    savepoint.rollback().await?;
                    self.forget();
                    refused.push(RefusedWrite { index, error });
                }
                Err(error) => return Err(error),
            }
        }
        commit(db, tx, entries).await?;
        Ok(refused)
    }

    /// Rows, attempts, statistics and rollups, which so always agree, and what requests have created.
    async fn write_in(
        &mut self,
        tx: &mut Transaction<'_, Sqlite>,
        writes: &[&Write],
    ) -> Result<()> {
        let mut rows = LogBatch::default();
        let mut batch_statistics = BatchStatistics::default();
        let (mut changes, mut checked) = (Vec::new(), Vec::new());
        let mut resource_changes = Vec::new();
        for write in writes {
            match write {
                Write::Row(row) => {
                    // A row may be opened and finished in one batch: the later line stands.
                    let model = rows.add_row(row, tx, &mut self.strings).await?;
                    let deleted = row.deleted_resources.iter().map(String::as_str);
                    add_deleted(&mut resource_changes, deleted.collect());
                    add_created(
                        &mut resource_changes,
                        NewResource::created_by(row).collect(),
                    );
                    batch_statistics.finished_rows += u64::from(row.outcome.is_some());
                    if row.outcome.is_some() && row.kind == LogKind::Request {
                        batch_statistics.add_row(row, model);
                    }
                    if row.kind == LogKind::Check {
                        batch_statistics.add_check(row, model);
                        checked.extend(row.attempts.first());
                    }
                }
                Write::Change(change, evidence) => changes.push((change, evidence)),
            }
        }
        rows.add_statistics(batch_statistics, tx, &mut self.sketches)
            .await?;
        for (change, evidence) in changes {
            apply(tx, change, evidence).await?;
        }
        for attempt in checked {
            let (id, at) = (attempt.upstream_key_id, attempt.started_at);
            states::update_checked_at(&mut **tx, id, at).await?;
        }
        rows.write(tx, &mut self.statements).await?;
        self.index_late(tx, writes).await?;
        // Apart from the rows, because few requests create anything.
        for change in resource_changes {
            match change {
                ResourceChange::Created(created) => resources::upsert(&mut **tx, &created).await?,
                ResourceChange::Deleted(names) => resources::delete(&mut **tx, &names).await?,
            }
        }
        Ok(())
    }

    /// Adds requests to the indexes of keys and projects that are there already for those after them.
    async fn index_late(&self, tx: &mut Transaction<'_, Sqlite>, writes: &[&Write]) -> Result<()> {
        let until = match self.indexed_until {
            Some(until) => until,
            None => key_index::indexed_until(&mut **tx).await?,
        };
        let late = writes.iter().filter_map(|write| match write {
            Write::Row(row) if row.id <= until && !row.attempts.is_empty() => Some(row.id),
            Write::Row(_) | Write::Change(..) => None,
        });
        let late: Vec<_> = late.collect();
        if late.is_empty() {
            return Ok(());
        }
        key_index::add_late(tx, &late).await
    }

    /// Writes what is in the journal to the tables: what a process left that ended. Returns how many writes those are.
    ///
    /// An entry that this program cannot read is set aside, with a line in the log.
    pub async fn fold_journal(&mut self, db: &Db) -> Result<u64> {
        let (mut last, mut folded) = (0, 0);
        loop {
            let entries = journal::list_after(&db.writer, last, ENTRIES).await?;
            let Some(newest) = entries.last() else {
                return Ok(folded);
            };
            last = newest.id;
            let (mut ids, mut writes) = (Vec::new(), Vec::new());
            for entry in entries {
                if let Some(of_entry) = entry.writes {
                    ids.push(entry.id);
                    writes.extend(of_entry);
                } else {
                    tracing::error!(
                        "entry {} of request_journal cannot be read: it stays there as {}, and its requests have no row",
                        entry.id,
                        -entry.id
                    );
                    journal::set_aside(&db.writer, entry.id).await?;
                }
            }
            let writes: Vec<_> = writes.iter().collect();
            for refused in self.write(db, &writes, &ids).await? {
                report_refused(writes[refused.index], &refused.error);
            }
            folded += u64::try_from(writes.len()).unwrap_or(u64::MAX);
        }
    }
}

/// Deletes the entries and commits.
async fn commit(db: &Db, mut tx: Transaction<'_, Sqlite>, entries: &[i64]) -> Result<()> {
    if !entries.is_empty() && !journal::delete(&mut tx, entries).await? {
        // Written twice, requests would count twice.
        tx.rollback().await?;
        tracing::warn!("entries of the journal were folded already");
        return Ok(());
    }
    // As late as possible: what is committed to a file that is gone would be acknowledged, and lost.
    db.check_file()?;
    tx.commit().await?;
    Ok(())
}

/// Logs that a write is lost.
pub fn report_refused(write: &Write, error: &Error) {
    match write {
        Write::Row(row) => {
            let id = row.id;
            tracing::error!(request.id = %id, "the log row {id} is lost, the database refused it: {error}");
        }
        Write::Change(change, _) => {
            tracing::error!("a change is lost, the database refused it: {error}: {change:?}");
        }
    }
}

fn add_created<'a>(changes: &mut Vec<ResourceChange<'a>>, created: Vec<NewResource<'a>>) {
    if created.is_empty() {
        return;
    }
    match changes.last_mut() {
        Some(ResourceChange::Created(earlier)) => earlier.extend(created),
        _ => changes.push(ResourceChange::Created(created)),
    }
}

fn add_deleted<'a>(changes: &mut Vec<ResourceChange<'a>>, names: Vec<&'a str>) {
    if names.is_empty() {
        return;
    }
    match changes.last_mut() {
        Some(ResourceChange::Deleted(earlier)) => earlier.extend(names),
        _ => changes.push(ResourceChange::Deleted(names)),
    }
}

async fn apply(
    tx: &mut Transaction<'_, Sqlite>,
    change: &StateChange,
    evidence: &Evidence,
) -> Result<()> {
    match change {
        StateChange::Key { id, condition } => {
            states::update_condition(&mut **tx, *id, condition, evidence).await
        }
        StateChange::Checked { id, condition } => {
            states::update_checked_condition(&mut **tx, *id, condition).await
        }
        StateChange::Cooldown {
            project_id,
            model,
            cooldown,
        } => cooldowns::upsert(&mut **tx, *project_id, model, cooldown, evidence).await,
        StateChange::CooldownLifted { project_id, model } => {
            cooldowns::delete(&mut **tx, *project_id, model).await
        }
        StateChange::Limit {
            project_id,
            model,
            measure,
            limit,
            at,
            is_known: _,
        } => {
            let (id, db) = (*project_id, &mut **tx);
            quotas::upsert_limit(db, id, model, *measure, *limit, *at, evidence).await
        }
        StateChange::Billing {
            project_id,
            billing,
        } => projects::record_billing(tx, *project_id, *billing).await,
        StateChange::Project { id, number } => {
            projects::record_number(tx, *id, number, clock::now()).await?;
            Ok(())
        }
        StateChange::Egress { id, condition } => {
            egress_proxies::update_condition(&mut **tx, *id, condition, evidence).await
        }
    }
}
