//! The cost of a lease among 50,000 keys, and the figures of three days of heavy traffic over 200 projects.
//!
//! `cargo bench --bench selection`. The traffic is that of the simulation in `tests/it/simulation`, with much higher
//! load.
#![expect(clippy::unwrap_used, reason = "a bench may panic on an error")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

#[path = "../tests/it/simulation/simulator.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod simulator;

use std::time::{Duration, Instant};

use gemini_pool::gemini::errors::classify::success;
use gemini_pool::pool::health::cooldown::Cooldown;
use gemini_pool::pool::health::settle::AttemptTiming;
use gemini_pool::pool::health::verdict::Rule;
use gemini_pool::pool::keys::registry::{KeyRegistry, LeasedKey};
use gemini_pool::pool::keys::selection::{LeaseRequest, TriedKeys};
use gemini_pool::pool::keys::upstream_key::ProjectId;
use gemini_pool::pool::quota::google_clock::end_of_google_day;
use gemini_pool::pool::quota::limits::{Measure, ObservedLimit};
use gemini_pool::pool::quota::windows::QuotaAmount;

use simulator::{ModelLoad, Simulator, key, model_load, start};

const KEYS: i64 = 50_000;
const SELECTIONS: u32 = 200_000;
const PROJECTS: u64 = 200;
const MODELS: [&str; 4] = ["flash", "pro", "lite", "embedding"];

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
    select_among_many("all ready", |_| ());
    select_among_many("half cool down for the model", |keys| {
        for project in (1..=KEYS).step_by(2) {
            keys.set_cooldown(ProjectId(project), "flash", cooldown());
        }
    });
    select_among_many("with known quotas, four models in turns", |keys| {
        for project in 1..=KEYS {
            for model in MODELS {
                let observed = ObservedLimit::Limit(10_000);
                keys.restore_limit(
                    ProjectId(project),
                    model,
                    Measure::RequestsPerDay,
                    observed,
                    start(),
                );
            }
        }
    });
    select_among_many("all but ten cool down", |keys| {
        for project in 11..=KEYS {
            keys.set_cooldown(ProjectId(project), "flash", cooldown());
        }
    });
    simulate();
}

/// Leases, settles and releases keys, 32 requests at a time.
fn select_among_many(what: &str, prepare: impl Fn(&mut KeyRegistry)) {
    let mut keys = KeyRegistry::default();
    for number in 1..=KEYS {
        keys.put(key(number), number, start());
    }
    prepare(&mut keys);
    let models = if what.contains("four") {
        &MODELS[..]
    } else {
        &MODELS[..1]
    };
    let (mut now, mut in_flight) = (start(), Vec::<(LeasedKey, &str)>::new());
    let mut selection_times = Vec::with_capacity(usize::try_from(SELECTIONS).unwrap());
    let mut settling = Duration::ZERO;
    let select = |keys: &mut KeyRegistry, model, now| {
        let amount = QuotaAmount {
            requests: 1,
            tokens: 100,
        };
        keys.lease(
            &LeaseRequest {
                model,
                amount,
                tags: &[],
                project: None,
            },
            &TriedKeys::default(),
            now,
        )
    };
    // The first requests build the ready indexes, once.
    let began = Instant::now();
    for model in models {
        in_flight.push((select(&mut keys, model, now).unwrap(), model));
    }
    let first = began.elapsed();
    for number in 0..SELECTIONS {
        now = now + Duration::from_millis(u64::from(number % 2));
        let model = models[usize::try_from(number).unwrap() % models.len()];
        let began = Instant::now();
        let leased = select(&mut keys, model, now);
        selection_times.push(began.elapsed());
        in_flight.push((leased.unwrap(), model));
        if in_flight.len() > 32 {
            let (leased, model) = in_flight.swap_remove(0);
            let timing = AttemptTiming {
                began: now,
                now,
                chance: 0.5,
                answer_had_begun: false,
                client: None,
            };
            let began = Instant::now();
            keys.settle(&leased, model, &success(200), timing);
            keys.release(&leased);
            settling += began.elapsed();
        }
    }
    selection_times.sort_unstable();
    let sum: Duration = selection_times.iter().sum();
    println!(
        "lending one of {KEYS} keys, {what}: mean {:.2} µs, median {:.2}, 99 of 100 below {:.2}, longest {:.0}; \
         settling and giving back {:.2} µs; making the lines at first {:.0} ms",
        micros(sum / SELECTIONS),
        micros(selection_times[selection_times.len() / 2]),
        micros(selection_times[selection_times.len() * 99 / 100]),
        micros(selection_times[selection_times.len() - 1]),
        micros(settling / SELECTIONS),
        micros(first) / 1_000.0,
    );
}

fn simulate() {
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

fn cooldown() -> Cooldown {
    Cooldown {
        rule: Rule::QuotaPerDay,
        step: 0,
        since: start(),
        until: end_of_google_day(start()),
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
