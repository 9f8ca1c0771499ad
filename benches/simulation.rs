//! The figures of three days of heavy traffic over 200 projects: how much of the quotas is used, and what is refused.
//!
//! `cargo bench --bench simulation`. The traffic is that of the simulation in `tests/it/simulation`, with much higher
//! load.
#![expect(clippy::unwrap_used, reason = "a bench may panic on an error")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

#[path = "../tests/it/simulation/simulator.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod simulator;

use std::time::Instant;

use gemini_pool::pool::keys::registry::KeyRegistry;
use gemini_pool::pool::quota::google_clock::end_of_google_day;

use simulator::{ModelLoad, Simulator, key, model_load, start};

const PROJECTS: u64 = 200;

/// Google's free tier, with more requests than it allows except for the largest quota.
const MODEL_LOADS: [ModelLoad; 8] = [
    model_load("gemini-2.5-flash", 6_000, 2_000, 0, 20),
    model_load("gemini-3-flash-preview", 6_000, 4_000, 0, 20),
    model_load("gemini-3.5-flash", 5_000, 8_000, 0, 20),
    model_load("gemini-2.5-flash-lite", 6_000, 1_000, 0, 20),
    model_load("gemini-3.1-flash-lite", 130_000, 1_000, 0, 500),
    model_load("gemini-embedding-001", 5_500, 500, 100, 1_000),
    model_load("gemma-3-27b-it", 400_000, 600, 0, 14_400),
    model_load("gemini-2.5-pro", 2_000, 2_000, 0, 0),
];

fn main() {
    let mut keys = KeyRegistry::default();
    for number in 1..=i64::try_from(PROJECTS).unwrap() {
        keys.put(key(number), number, start());
    }
    let mut simulator = Simulator::new(keys, &MODEL_LOADS, start(), 1);
    let began = Instant::now();
    let mut end = start();
    for _ in 0..3 {
        end = end_of_google_day(end);
        simulator.run_until(end);
        simulator.written.clear();
    }
    let figures = &simulator.figures;
    println!(
        "three days over {PROJECTS} projects in {:.1} s: {} calls, {} of them during a known cooldown, {:.3} % refused {:?}",
        began.elapsed().as_secs_f64(),
        figures.calls,
        figures.calls_during_cooldown,
        simulator.refused_share() * 100.0,
        figures.refused_by,
    );
    for (day, model, share) in simulator.throughput(PROJECTS) {
        println!(
            "  {day} {model}: {:.1} % of the smaller of quota and demand",
            share * 100.0
        );
    }
}
