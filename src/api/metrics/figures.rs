//! `Figures`: the values of the metrics at one moment.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::api::metrics::process::ProcessFigures;
use crate::app::App;
use crate::clock;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::egress::condition::EgressState;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::keys::overview::PoolOverview;
use crate::pool::keys::project_quota::ModelFigures;
use crate::pool::traffic_counters::TrafficCounters;
use crate::storage::recorder::journal;

/// Maximum number of models with figures of their own.
const MAX_MODELS: usize = 50;

/// The values of the metrics.
#[derive(Debug)]
pub struct Figures {
    pub traffic: TrafficCounters,
    /// The names of the client keys in use.
    pub client_keys: BTreeMap<ClientKeyId, String>,
    pub overview: PoolOverview,
    /// The labels of the egress proxies in use; whether each works, `None`: it is disabled.
    pub egress: BTreeMap<EgressProxyId, (String, Option<bool>)>,
    /// By name, at most [`MAX_MODELS`].
    pub models: BTreeMap<String, ModelFigures>,
    pub queued: usize,
    pub live_sessions: usize,
    pub held_body_bytes: u64,
    pub pending_rows: usize,
    pub written: u64,
    /// How long it took until everything submitted before was in its tables.
    pub writer_lag: Duration,
    pub is_write_failing: bool,
    /// `None`: it could not be read.
    pub journal_entries: Option<i64>,
    pub database_bytes: u64,
    pub wal_bytes: u64,
    pub process: ProcessFigures,
}

impl Figures {
    pub async fn read(app: &Arc<App>) -> Self {
        let journal_entries = journal::count(&app.db.readers).await.ok();
        let begin = clock::instant();
        app.recorder.settle().await;
        let writer_lag = begin.elapsed();
        let now = clock::now();
        let overview = app.overview(now).await;
        // With many keys this takes some milliseconds.
        let mut models = {
            let keys = app.keys.clone();
            let computed = spawn_blocking(move || keys.model_figures(now));
            computed.await.expect("figures never panic")
        };
        while models.len() > MAX_MODELS {
            models.pop_last();
        }
        let clients = app.client_keys();
        let client_keys = clients
            .iter()
            .map(|client| (client.id, client.name.clone()));
        let egress = app.keys.lock().egress().rows().to_vec().into_iter();
        let egress = egress.map(|row| {
            let works = row.condition.state != EgressState::Broken;
            (row.id, (row.label, row.enabled.then_some(works)))
        });
        let path = app.db.path();
        Self {
            egress: egress.collect(),
            traffic: app.recorder.traffic(),
            client_keys: client_keys.collect(),
            overview,
            models,
            queued: app.key_queue.len(),
            live_sessions: app.live_sessions.len(),
            held_body_bytes: app.body_memory.total(),
            pending_rows: app.recorder.pending(),
            written: app.recorder.committed(),
            writer_lag,
            is_write_failing: app.recorder.is_failing(),
            journal_entries,
            database_bytes: size(path),
            wal_bytes: size(&path.with_extension("db-wal")),
            process: ProcessFigures::read(),
        }
    }
}

/// 0: there is no such file.
fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
