//! Days of simulated traffic over many projects with the limits of Google's free tier.

mod incidents;
mod optional_retries;
mod simulator;

use std::time::Duration;

use gemini_pool::app::App;
use gemini_pool::clock::Timestamp;
use gemini_pool::gemini::transport::GeminiClient;
use gemini_pool::pool::keys::registry::KeyRegistry;
use gemini_pool::pool::keys::upstream_key::KeyAttributes;
use gemini_pool::pool::quota::google_clock::end_of_google_day;
use gemini_pool::pool::request_id::RequestId;
use gemini_pool::pool::settings::Settings;
use gemini_pool::storage::audit::{Act, Actor};
use gemini_pool::storage::db::Db;
use gemini_pool::storage::recorder::Recorder;
use gemini_pool::storage::upstream_keys::Evidence;
use gemini_pool::storage::{installation, upstream_keys};

use simulator::{ModelLoad, Simulator, WrittenRow, key, model_load, start};

use crate::support::config;

const PROJECTS: u64 = 200;

/// More requests than the quotas allow for the scarce models, and some for models that no free-tier project has.
const MODEL_LOADS: [ModelLoad; 6] = [
    model_load("gemini-2.5-flash", 6_000, 2_000, 0, 20),
    model_load("gemini-3.5-flash", 5_000, 8_000, 0, 20),
    model_load("gemini-2.5-flash-lite", 6_000, 1_000, 0, 20),
    model_load("gemini-3.1-flash-lite", 25_000, 1_000, 0, 500),
    model_load("gemini-embedding-001", 5_500, 500, 100, 1_000),
    model_load("gemini-2.5-pro", 500, 2_000, 0, 0),
];

fn assert_good(simulator: &Simulator) {
    let figures = &simulator.figures;
    assert_eq!(
        figures.calls_during_cooldown, 0,
        "calls during a known cooldown"
    );
    let refused = simulator.refused_share();
    let throughput = simulator.throughput(PROJECTS);
    let report = format!(
        "{} calls, {:.2} % refused: {:?}\n{throughput:?}",
        figures.calls,
        refused * 100.0,
        figures.refused_by
    );
    println!("{report}");
    assert!(refused < 0.01, "{report}");
    for (day, model, share) in throughput {
        assert!(share >= 0.97, "{model} on {day}: {share}\n{report}");
    }
}

/// Runs three days, calls a function each hour, and checks the pool a minute after each midnight.
async fn three_days(simulator: &mut Simulator, mut each_hour: impl AsyncFnMut(&mut Simulator)) {
    for _ in 0..3 {
        let midnight = end_of_google_day(simulator.now);
        let served_before = |simulator: &Simulator| simulator.figures.served.clone();
        simulator.burst(20);
        let (day, begun) = (simulator.now, served_before(simulator));
        simulator.run_until(day + Duration::from_mins(1));
        for model_load in MODEL_LOADS.iter().filter(|model_load| model_load.quota > 0) {
            let key = (day, model_load.model);
            let served = simulator.figures.served.get(&key).copied().unwrap_or(0);
            let before = begun.get(&key).copied().unwrap_or(0);
            assert!(
                served - before >= 20,
                "{} a minute after {day}: {served}",
                model_load.model
            );
        }
        let mut hour = day + Duration::from_hours(1);
        while hour < midnight {
            simulator.run_until(hour);
            each_hour(simulator).await;
            hour = hour + Duration::from_hours(1);
        }
        simulator.run_until(midnight);
    }
}

#[tokio::test]
async fn three_days_of_traffic_use_up_the_quotas_with_hardly_a_refusal() {
    let mut keys = KeyRegistry::default();
    for number in 1..=i64::try_from(PROJECTS).unwrap() {
        keys.put(key(number), number, start());
    }
    let mut simulator = Simulator::new(keys, &MODEL_LOADS, start(), 1);

    three_days(&mut simulator, async |simulator| simulator.written.clear()).await;

    assert_good(&simulator);
}

#[tokio::test]
async fn hourly_restarts_lose_no_important_state() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("pool.db").display());
    let db = Db::open(&url).await.unwrap();
    db.migrate().await.unwrap();
    add_keys(&db).await;
    let keys = load(&db, &url, start()).await;
    let mut simulator = Simulator::new(keys, &MODEL_LOADS, start(), 2);

    three_days(&mut simulator, async |simulator| {
        simulator.end_running_requests();
        write(&db, std::mem::take(&mut simulator.written)).await;
        simulator.keys = load(&db, &url, simulator.now).await;
    })
    .await;

    assert_good(&simulator);
}

/// The same keys as rows: the database gives each a project, and both ids equal the key's number.
async fn add_keys(db: &Db) {
    let mut tx = db.begin().await.unwrap();
    let keys = installation::keys(&mut tx, &db.data_keys).await.unwrap();
    let act = Act::begin(&mut tx, &Actor::cli(), start()).await.unwrap();
    for number in 1..=i64::try_from(PROJECTS).unwrap() {
        let secret = key(number).secret;
        let attributes = KeyAttributes::default();
        upstream_keys::insert(&mut tx, &keys, &secret, &attributes, true, &act)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

/// The registry of a server that starts at `now`.
async fn load(db: &Db, url: &str, now: Timestamp) -> KeyRegistry {
    let config = config(url, "http://127.0.0.1:9");
    let (recorder, _writer) = Recorder::new(db.clone());
    let gemini = GeminiClient::new(&config.upstream_url, &Settings::default()).unwrap();
    let app = App::load(config, gemini, db.clone(), recorder, now);
    let app = app.await.unwrap();
    std::mem::take(&mut *app.keys.lock())
}

/// Writes the rows of a server, in its order.
async fn write(db: &Db, written: Vec<WrittenRow>) {
    let (recorder, writer) = Recorder::new(db.clone());
    for written in written {
        match written {
            WrittenRow::Row(row) => drop(recorder.record_finished(row)),
            WrittenRow::Change(change) => recorder.record_change(
                change,
                Evidence {
                    status: Some(429),
                    message: String::new(),
                    request_id: RequestId(1),
                },
            ),
        }
    }
    drop(recorder);
    writer.run().await;
}
