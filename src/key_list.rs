//! The list of upstream keys as the dashboard and the API show it: rows from the database, states from the running server.
//! And the texts from which both import keys.

use std::collections::HashMap;

use sqlx::SqlitePool;
use tokio::join;
use tokio::task::spawn_blocking;

use crate::clock::Timestamp;
use crate::pool::keys::import::{self, Expected};
use crate::pool::keys::imported_keys::KeyImport;
use crate::pool::keys::key_status::{KeyStatus, KeyStatusKind, KeyStatusSummary};
use crate::pool::keys::lease::SharedKeyRegistry;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::storage::error::Result;
use crate::storage::rollups::begin_of_day;
use crate::storage::upstream_keys::listed::ListedUpstreamKey;
use crate::storage::upstream_keys::search::{self, UpstreamKeyFilter, UpstreamKeySort};

/// Selects and orders keys.
#[derive(Debug, Clone, Default)]
pub struct KeyListQuery {
    pub filter: UpstreamKeyFilter,
    /// Empty: any.
    pub states: Vec<KeyStatusKind>,
    /// `None`: by state, which is not in the database.
    pub sort: Option<UpstreamKeySort>,
    pub descending: bool,
}

/// The keys that match a query, sorted.
#[derive(Debug)]
pub struct MatchingKeys {
    pub ids: Vec<UpstreamKeyId>,
    /// The counts of all keys that match without the state filter.
    pub counts: HashMap<KeyStatusKind, usize>,
    pub all: usize,
}

/// Reads keys from any text beside the requests: of 50,000 keys, that takes some hundred milliseconds.
pub async fn read_import(text: String, expected: Expected) -> KeyImport {
    let read = spawn_blocking(move || import::read(&text, expected)).await;
    read.expect("reading a text does not panic")
}

/// Finds the matching keys.
pub async fn find(
    db: &SqlitePool,
    keys: &SharedKeyRegistry,
    query: &KeyListQuery,
    now: Timestamp,
) -> Result<MatchingKeys> {
    let (day, column) = (begin_of_day(now), query.sort.unwrap_or_default());
    let matching_keys = search::search(db, &query.filter, column, query.descending, day);
    // With many keys both take long, so they run in parallel.
    let summaries = {
        let keys = keys.clone();
        spawn_blocking(move || keys.key_status_summaries(now))
    };
    let (ids, summaries) = join!(matching_keys, summaries);
    let (ids, known) = (ids?, summaries.expect("summaries never panic"));
    let all = ids.len();
    // A key added a moment ago is not loaded yet.
    let summaries = ids.into_iter().map(|id| {
        known.get(&id).copied().unwrap_or(KeyStatusSummary {
            id,
            kind: KeyStatusKind::Ready,
            until: None,
        })
    });
    let mut summaries: Vec<_> = summaries.collect();
    let mut counts = HashMap::new();
    for summary in &summaries {
        *counts.entry(summary.kind).or_insert(0) += 1;
    }
    if !query.states.is_empty() {
        summaries.retain(|summary| query.states.contains(&summary.kind));
    }
    if query.sort.is_none() {
        summaries.sort_by_key(|summary| {
            let KeyStatusSummary { id, kind, until } = *summary;
            (kind, until.is_none(), until, id)
        });
        if query.descending {
            summaries.reverse();
        }
    }
    let ids = summaries.iter().map(|summary| summary.id).collect();
    Ok(MatchingKeys { ids, counts, all })
}

/// Replaces the state of a row by that of the running server, which knows more and sooner.
pub fn show_status(row: &mut ListedUpstreamKey, status: &KeyStatus) {
    let condition = &status.condition;
    let cooling = || {
        let cooldowns = status.effective_cooldowns().into_iter();
        // A model that the project has never had is no reason to wait.
        cooldowns.filter(|cooldown| !cooldown.reason.is_missing_model())
    };
    row.in_flight = Some(status.in_flight);
    let (state, until) = match status.kind {
        KeyStatusKind::CoolingDown | KeyStatusKind::PartlyCoolingDown => {
            let reasons: Vec<_> = cooling()
                .map(|cooldown| {
                    let model = cooldown.model.as_deref().unwrap_or("*");
                    format!("{model}: {}", cooldown.reason.name())
                })
                .collect();
            row.state_reason = Some(reasons.join(", "));
            row.state_since = cooling()
                .filter_map(|cooldown| cooldown.since)
                .min()
                .unwrap_or(condition.since);
            let until = cooling().map(|cooldown| cooldown.until).max();
            ("cooling_down", until)
        }
        KeyStatusKind::Ready => {
            row.state_reason = None;
            row.state_since = condition.since;
            ("ready", None)
        }
        KeyStatusKind::Disabled => ("disabled", None),
        KeyStatusKind::Trial
        | KeyStatusKind::Invalid
        | KeyStatusKind::Leaked
        | KeyStatusKind::Suspended
        | KeyStatusKind::Misconfigured => {
            let name = status.kind.name();
            if row.state != name {
                row.state_reason = condition.rule.map(|rule| rule.name().to_owned());
            }
            row.state_since = condition.since;
            (
                name,
                condition
                    .until
                    .filter(|_| status.kind != KeyStatusKind::Trial),
            )
        }
    };
    state.clone_into(&mut row.state);
    row.state_until = until;
    row.next_check_at = condition.next_check.filter(|_| row.enabled);
}
