//! Exports the traces of requests that have ended, beside them.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::traces::EndedRequest;
use crate::traces::exporter::export;
use crate::traces::spans::spans_of;

/// How many requests one message to the collector has at most.
const MAX_BATCH: usize = 256;
/// How long further requests are waited for.
const GATHER_FOR: Duration = Duration::from_millis(200);

/// Runs for ever. Traces that the collector does not take are lost, and counted.
pub async fn run(app: Arc<App>) {
    let mut is_failing = false;
    loop {
        let mut requests = app.traces.take().await;
        if !app.stopping.is_cancelled() && requests.len() < MAX_BATCH {
            tokio::time::sleep(GATHER_FOR).await;
            requests.extend(app.traces.take_waiting());
        }
        for batch in requests.chunks(MAX_BATCH) {
            let was_failing = is_failing;
            let result = pass(&app, batch).await;
            is_failing = result.is_err();
            match result {
                Err(error) if !was_failing => {
                    tracing::warn!(
                        "traces could not be exported, and are lost until they can be: {error}"
                    );
                }
                Ok(()) if was_failing => tracing::info!("traces are exported again"),
                Ok(()) | Err(_) => {}
            }
            app.traces.finish(batch.len());
        }
    }
}

/// Exports the requests of one batch. Without an endpoint there is nothing to do.
async fn pass(app: &App, requests: &[EndedRequest]) -> Result<(), String> {
    let endpoint = app.settings().otlp_endpoint.clone();
    if endpoint.is_empty() {
        return Ok(());
    }
    let spans = requests
        .iter()
        .flat_map(|request| spans_of(request, || rand::random_range(1..=u64::MAX)));
    let exported = export(&endpoint, spans.collect()).await;
    exported.inspect_err(|_| app.traces.count_dropped(requests.len()))
}
