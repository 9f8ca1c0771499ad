//! How long the commits that requests wait for take: 200 a second alone, and while 100,000 more rows are journalled and folded.
//!
//! `cargo bench --bench fold`
#![expect(clippy::unwrap_used, reason = "a bench may panic on an error")]
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::pool::keys::upstream_key::{ProjectId, UpstreamKeyId};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::pool::request_id::{IdsInUse, RequestIdGenerator};
use gemini_pool::storage::db::Db;
use gemini_pool::storage::recorder::Recorder;
use gemini_pool::storage::request_logs::{NewAttempt, NewRequestLog};
use tokio::time::{MissedTickBehavior, interval, sleep};

const ROWS: u32 = 100_000;
const KEYS: i64 = 100;
/// Rows that are submitted at once, and the pause after them: about 20,000 a second.
const BURST: u32 = 100;
const PAUSE: Duration = Duration::from_millis(5);
/// The time between two commits that are measured.
const PERIOD: Duration = Duration::from_millis(5);
/// How many commits are measured without a load.
const ALONE: usize = 2_000;
/// The upper bounds of the histogram in milliseconds.
const BOUNDS: [f64; 9] = [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, f64::INFINITY];

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open_file(&folder.path().join("fold.db")).await.unwrap();
    db.migrate().await.unwrap();
    let (recorder, writer) = Recorder::new(db.clone());
    let running = tokio::spawn(writer.run());
    let ids = RequestIdGenerator::after(&IdsInUse::default());

    let mut alone = Vec::new();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..ALONE {
        ticks.tick().await;
        alone.push(commit(&recorder, row(&ids, number)).await);
    }
    print("alone", &mut alone);

    let burst = async {
        let begin = clock::instant();
        let mut last = None;
        for number in 0..ROWS {
            last = Some(recorder.record_finished(Box::new(row(&ids, number as usize))));
            if number % BURST == BURST - 1 {
                sleep(PAUSE).await;
            }
        }
        last.unwrap().await.unwrap();
        recorder.flush().await.unwrap();
        println!(
            "{ROWS} rows were in their tables after {:.1?}",
            begin.elapsed()
        );
    };
    let measured = async {
        let mut during = Vec::new();
        for number in 0.. {
            ticks.tick().await;
            during.push(commit(&recorder, row(&ids, number)).await);
            if during.len() >= ALONE && recorder.pending() == 0 {
                break;
            }
        }
        during
    };
    let ((), mut during) = tokio::join!(burst, measured);
    print("during the folds", &mut during);
    drop(recorder);
    running.await.unwrap();
}

async fn commit(recorder: &Recorder, row: NewRequestLog) -> Duration {
    let begin = clock::instant();
    recorder.record_finished(Box::new(row)).await.unwrap();
    begin.elapsed()
}

fn row(ids: &RequestIdGenerator, number: usize) -> NewRequestLog {
    let now = clock::now();
    let key = i64::try_from(number).unwrap() % KEYS + 1;
    let path = "/v1beta/models/gemini-2.5-flash:generateContent".to_owned();
    NewRequestLog {
        client_ip: Some("192.0.2.1".to_owned()),
        user_agent: Some("google-genai-sdk/1.0 gl-python/3.12".to_owned()),
        model: Some("gemini-2.5-flash".to_owned()),
        model_version: Some("gemini-2.5-flash".to_owned()),
        operation: Some("generateContent".to_owned()),
        finish_reason: Some("STOP".to_owned()),
        status: Some(200),
        outcome: Some(Outcome::Success),
        first_byte_ms: Some(412),
        duration_ms: Some(1_380),
        request_bytes: 900,
        response_bytes: 1_500,
        attempts: vec![NewAttempt {
            upstream_key_id: UpstreamKeyId(key),
            project_id: ProjectId(key),
            status: Some(200),
            outcome: Some(Outcome::Success),
            rule: Some("success".into()),
            error: None,
            started_at: now,
            first_byte_ms: Some(411),
            duration_ms: Some(1_379),
            egress_id: None,
        }],
        ..NewRequestLog::started(ids.next(now), now, "POST".to_owned(), path)
    }
}

fn print(name: &str, durations: &mut [Duration]) {
    durations.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a position within a list"
        )]
        let index = (durations.len() as f64 * share) as usize;
        durations[index.min(durations.len() - 1)]
    };
    println!(
        "{name}: {} commits, median {:.2?}, 99 % {:.2?}, longest {:.2?}",
        durations.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    let mut below = 0;
    for bound in BOUNDS {
        let to_here = durations.partition_point(|took| took.as_secs_f64() * 1_000.0 <= bound);
        println!("  to {bound:>5} ms: {}", to_here - below);
        below = to_here;
    }
}
