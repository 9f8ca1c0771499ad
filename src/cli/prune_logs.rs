//! `logs prune`: deletes logged requests that match a filter, beside a running server.

use std::io::{IsTerminal, stdin};

use anyhow::{Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::cli::log_filter::FilterArgs;
use crate::cli::output;
use crate::cli::progress::spinner;
use crate::clock::{self, Timestamp};
use crate::pool::request_id::RequestId;
use crate::pool::retention::{LogSize, RetentionLimits, spared_ends};
use crate::storage::audit::{Act, Actor};
use crate::storage::db::Db;
use crate::storage::log_pruning::{PruneScope, record_prune};
use crate::storage::log_size;
use crate::storage::request_logs::filter::LogFilter;
use crate::storage::request_logs::search::find_finished;
use crate::tasks::log_pruner::LogPruner;

/// How many ids are held in memory at once.
const PAGE: usize = 5_000;
/// What a request with one attempt takes at most, with its indexes.
const MAX_BYTES_PER_ROW: u64 = 400;

#[derive(Debug, Args)]
pub struct PruneArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Delete without confirmation
    #[arg(long, short)]
    yes: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// The requests that match.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct MatchingRequests {
    requests: u64,
    /// The starts of the first and the last one; `None` without any.
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
    /// Of the database file.
    estimated_bytes: u64,
}

#[derive(Debug, Serialize)]
struct PruneReport {
    #[serde(flatten)]
    matching: MatchingRequests,
    dry_run: bool,
    deleted: u64,
    /// Bytes by which the file shrinks; the rest of the room is used by the next rows.
    returned_bytes: u64,
}

/// What is deleted: finished requests until the start of the command.
struct PruneSelection {
    filter: LogFilter,
    now: Timestamp,
}

pub async fn run(db: &Db, arguments: PruneArgs) -> Result<()> {
    let now = clock::now();
    let mut filter = arguments.filter.filter();
    // What comes in while the command runs is not deleted.
    filter.until = Some(filter.until.map_or(now, |until| until.min(now)));
    let selection = PruneSelection { filter, now };
    let progress = spinner("counting the requests");
    let matching = selection.count(db, &progress).await;
    // The question follows.
    progress.finish_and_clear();
    let matching = matching?;
    let mut report = PruneReport {
        matching,
        dry_run: arguments.dry_run,
        deleted: 0,
        returned_bytes: 0,
    };
    if matching.requests > 0 && !arguments.dry_run {
        if !arguments.yes && !is_confirmed(&matching)? {
            bail!("nothing was deleted");
        }
        let mut pruner = LogPruner::new(db, PruneScope::Selected);
        let deleting = selection.delete(db, &mut pruner, matching.requests, &mut report.deleted);
        let result = deleting.await;
        // It changes nothing that a server would have to reload.
        let act = Act::without_revision(Actor::cli(), now);
        record_prune(db, &act, &selection.filter, report.deleted).await?;
        result?;
        let bytes =
            RetentionLimits::default().bytes_to_return(log_size::find(&db.readers).await?, None);
        report.returned_bytes = pruner.return_bytes(bytes).await?;
    }
    if arguments.json {
        return output::json(&report);
    }
    output::line(report.text())
}

impl PruneSelection {
    /// Counts the matching requests without loading them.
    async fn count(&self, db: &Db, progress: &ProgressBar) -> Result<MatchingRequests> {
        let mut matching = MatchingRequests::default();
        let mut after = RequestId(0);
        loop {
            let ids = self.next(db, after).await?;
            let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
                break;
            };
            matching.requests += u64::try_from(ids.len()).unwrap_or(u64::MAX);
            matching.oldest.get_or_insert(first.time());
            matching.newest = Some(last.time());
            after = *last;
            let found = matching.requests;
            progress.set_message(format!("{found} requests found so far"));
        }
        let size = log_size::find(&db.readers).await?;
        matching.estimated_bytes = estimated_bytes(matching.requests, size);
        Ok(matching)
    }

    /// Deletes them, oldest first, and counts them in `deleted`.
    async fn delete(
        &self,
        db: &Db,
        pruner: &mut LogPruner<'_>,
        requests: u64,
        deleted: &mut u64,
    ) -> Result<()> {
        let progress = spinner("deleting requests");
        let mut after = RequestId(0);
        loop {
            let ids = self.next(db, after).await?;
            let Some(last) = ids.last() else {
                progress.finish_and_clear();
                return Ok(());
            };
            after = *last;
            let mut rest = ids.as_slice();
            while !rest.is_empty() {
                let size = usize::try_from(pruner.batch_size()).unwrap_or(1);
                let (batch, others) = rest.split_at(size.min(rest.len()));
                *deleted += pruner.delete(batch).await?;
                rest = others;
                progress.set_message(format!("{deleted} of {requests} requests deleted"));
            }
        }
    }

    async fn next(&self, db: &Db, after: RequestId) -> Result<Vec<RequestId>> {
        let spared = spared_ends(self.now);
        Ok(find_finished(&db.readers, &self.filter, &spared, after, PAGE).await?)
    }
}

/// The share of these rows in the file, and no more than rows usually take: a small log is a small part of its file.
fn estimated_bytes(requests: u64, size: LogSize) -> u64 {
    let bytes_per_row = size.used_bytes / size.rows.max(1);
    requests.saturating_mul(bytes_per_row.min(MAX_BYTES_PER_ROW))
}

/// Asks at a terminal. A command without one needs `--yes`.
fn is_confirmed(matching: &MatchingRequests) -> Result<bool> {
    if !stdin().is_terminal() {
        bail!("{} would be deleted: confirm with --yes", matching.text());
    }
    eprint!("delete {}? [y/N] ", matching.text());
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

impl MatchingRequests {
    /// `3 requests from 2027-01-31 08:00:00Z to 2027-01-31 09:00:00Z (about 2 KiB)`.
    fn text(&self) -> String {
        let count = output::count(
            usize::try_from(self.requests).unwrap_or(usize::MAX),
            "request",
        );
        if self.requests == 0 {
            return count;
        }
        let (oldest, newest) = (
            output::timestamp(self.oldest),
            output::timestamp(self.newest),
        );
        let kibibytes = self.estimated_bytes.div_ceil(1024);
        format!("{count} from {oldest} to {newest} (about {kibibytes} KiB)")
    }
}

impl PruneReport {
    fn text(&self) -> String {
        if self.matching.requests == 0 {
            return "no requests match".to_owned();
        }
        if self.dry_run {
            return format!("{} would be deleted", self.matching.text());
        }
        let deleted = output::count(
            usize::try_from(self.deleted).unwrap_or(usize::MAX),
            "request",
        );
        let kibibytes = self.returned_bytes / 1024;
        match self.returned_bytes {
            0 => format!("{deleted} deleted; the next rows use their room in the file"),
            _ => format!("{deleted} deleted; the file is {kibibytes} KiB smaller"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_goes_and_what_went() {
        let matching = MatchingRequests {
            requests: 2,
            oldest: Some("2026-11-22T08:00:00Z".parse().unwrap()),
            newest: Some("2026-11-22T09:30:00Z".parse().unwrap()),
            estimated_bytes: 800,
        };
        let report = |matching, dry_run, returned_bytes| PruneReport {
            matching,
            dry_run,
            deleted: matching.requests,
            returned_bytes,
        };
        for (report, text) in [
            (
                report(matching, true, 0),
                "2 requests from 2026-11-22 08:00:00Z to 2026-11-22 09:30:00Z (about 1 KiB) would be deleted",
            ),
            (
                report(matching, false, 0),
                "2 requests deleted; the next rows use their room in the file",
            ),
            (
                report(matching, false, 5_000_000),
                "2 requests deleted; the file is 4882 KiB smaller",
            ),
            (
                report(MatchingRequests::default(), false, 0),
                "no requests match",
            ),
        ] {
            assert_eq!(report.text(), text);
        }
    }

    #[test]
    fn the_estimate_is_a_share_of_the_file_and_no_more_than_rows_take() {
        let size = |rows, used_bytes| LogSize {
            rows,
            used_bytes,
            free_bytes: 1 << 30,
        };
        for (requests, size, bytes) in [
            (10, size(100, 20_000), 2_000),
            (10, size(20, 1_000_000), 4_000),
            (0, size(0, 400_000), 0),
        ] {
            assert_eq!(estimated_bytes(requests, size), bytes, "{size:?}");
        }
    }
}
