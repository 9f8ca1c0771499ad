//! The cost of the rules that each request passes: choose a key among 50,000, read a body, count usage, classify an error, redact.
//!
//! `cargo bench --bench rules`, or with a part of a name: `cargo bench --bench rules -- redact`. Budgets for bodies: 20 ms for 20 MB
//! of files and pictures, 2 µs for a KB of a chat, 10 µs for a KB of short fields.
#![expect(clippy::unwrap_used, reason = "a bench may panic on an error")]

#[path = "../tests/it/simulation/simulator.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod simulator;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use gemini_pool::clock::Timestamp;
use gemini_pool::gemini::errors::classify::{ErrorContext, classify, success};
use gemini_pool::gemini::errors::error_body::ErrorBody;
use gemini_pool::gemini::redact::Redactor;
use gemini_pool::gemini::request_body::reader::read_message;
use gemini_pool::gemini::response::tap::ResponseTap;
use gemini_pool::gemini::target::Surface;
use gemini_pool::pool::health::cooldown::Cooldown;
use gemini_pool::pool::health::settle::AttemptTiming;
use gemini_pool::pool::health::verdict::Rule;
use gemini_pool::pool::keys::registry::KeyRegistry;
use gemini_pool::pool::keys::selection::{LeaseRequest, TriedKeys};
use gemini_pool::pool::keys::upstream_key::ProjectId;
use gemini_pool::pool::quota::google_clock::end_of_google_day;
use gemini_pool::pool::quota::limits::{Measure, ObservedLimit};
use gemini_pool::pool::quota::windows::QuotaAmount;

use simulator::{key, start};

const KEYS: i64 = 50_000;
const MODELS: [&str; 4] = ["flash", "pro", "lite", "embedding"];
/// The same bodies of errors as in the tests of their meaning.
const REPORTED_ERRORS: &str = include_str!("../tests/data/reported-errors.json");

criterion_group!(
    rules,
    choose_a_key,
    read_a_body,
    count_usage,
    classify_errors,
    redact
);
criterion_main!(rules);

/// Leases, settles and releases a key among 50,000.
fn choose_a_key(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choose a key among 50,000");
    let mut bench = |name: &str, models: &[&str], prepare: &dyn Fn(&mut KeyRegistry)| {
        let mut keys = KeyRegistry::default();
        for number in 1..=KEYS {
            keys.put(key(number), number, start());
        }
        prepare(&mut keys);
        let (mut now, mut models) = (start(), models.iter().cycle());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                now = now + Duration::from_millis(1);
                lease_settle_and_release(&mut keys, models.next().unwrap(), now);
            });
        });
    };
    bench("all ready", &MODELS[..1], &|_| ());
    bench("half cool down", &MODELS[..1], &|keys| {
        for project in (1..=KEYS).step_by(2) {
            keys.set_cooldown(ProjectId(project), MODELS[0], cooldown());
        }
    });
    bench("all but ten cool down", &MODELS[..1], &|keys| {
        for project in 11..=KEYS {
            keys.set_cooldown(ProjectId(project), MODELS[0], cooldown());
        }
    });
    bench("known quotas, four models in turns", &MODELS, &|keys| {
        for project in 1..=KEYS {
            for model in MODELS {
                let (measure, limit) = (Measure::RequestsPerDay, ObservedLimit::Limit(100_000));
                keys.restore_limit(ProjectId(project), model, measure, limit, start());
            }
        }
    });
    group.finish();
}

fn lease_settle_and_release(keys: &mut KeyRegistry, model: &str, now: Timestamp) {
    let request = LeaseRequest {
        model,
        amount: QuotaAmount {
            requests: 1,
            tokens: 100,
        },
        tags: &[],
        project: None,
    };
    let leased = keys.lease(&request, &TriedKeys::default(), now).unwrap();
    let timing = AttemptTiming {
        began: now,
        now,
        chance: 0.5,
        answer_had_begun: false,
        client: None,
    };
    keys.settle(&leased, model, &success(200), timing);
    keys.release(&leased);
}

/// Until later than any bench runs.
fn cooldown() -> Cooldown {
    Cooldown {
        rule: Rule::QuotaPerDay,
        step: 0,
        since: start(),
        until: end_of_google_day(start()),
    }
}

/// Reads request bodies of several kinds.
fn read_a_body(criterion: &mut Criterion) {
    let requests = |has_file| json!({"batch": {"inputConfig": {"requests": {"requests": vec![request(has_file); 20_000]}}}});
    let turn = json!({"role": "user", "parts": [{"text": "It was a dark and stormy \"night\".\n".repeat(30)}]});
    let chat = json!({"contents": vec![turn; 200], "generationConfig": {"temperature": 0.5}});
    let dense = json!({"contents": [{"parts": [{"a": vec![json!({"k": 1, "v": "x"}); 20_000]}]}]});
    let pictures = json!({"contents": [{"parts": pictures(20, 1024 * 1024)}]});
    let question = json!({"contents": [{"role": "user", "parts": [{"text": "What is the capital of France?"}]}]});
    let bodies = [
        ("a small question", question.to_string()),
        ("a chat of 200 turns", chat.to_string()),
        ("nothing but short keys", dense.to_string()),
        ("20 MB of pictures and files", pictures.to_string()),
        (
            "a batch that names 20,000 files",
            requests(true).to_string(),
        ),
        ("a batch without names", requests(false).to_string()),
        ("the same, indented", format!("{:#}", requests(false))),
    ];
    let mut group = criterion.benchmark_group("read a body");
    for (name, body) in bodies {
        assert_eq!(read_message(body.as_bytes()).1, None, "{name}");
        group.throughput(Throughput::Bytes(body.len().try_into().unwrap()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| read_message(black_box(body.as_bytes())));
        });
    }
    group.finish();
}

fn pictures(count: usize, bytes: usize) -> Vec<Value> {
    let data = "iVBORw0KGgo+/AB0".repeat(bytes / 16);
    let uri = "https://generativelanguage.googleapis.com/v1beta/files";
    let parts = (0..count).flat_map(|number| {
        [
            json!({"inlineData": {"mimeType": "image/png", "data": data}}),
            json!({"fileData": {"mimeType": "image/png", "fileUri": format!("{uri}/f{number}")}}),
        ]
    });
    parts.collect()
}

fn request(has_file: bool) -> Value {
    let mut parts = vec![
        json!({"text": "Say in one sentence what this is about, and in which language it was written."}),
    ];
    if has_file {
        let uri = "https://generativelanguage.googleapis.com/v1beta/files/mwp1gi5it47f";
        parts.push(json!({"fileData": {"mimeType": "application/pdf", "fileUri": uri}}));
    }
    json!({"request": {"model": "models/gemini-2.5-flash", "contents": [{"role": "user", "parts": parts}]}})
}

/// Reads the events of a stream chunk by chunk, as they are passed on, and its usage at the end.
fn count_usage(criterion: &mut Criterion) {
    let event = |number: u32| {
        let text = "Once upon a time, in a \"land\" far away, there was a proxy.\n";
        let event = json!({
            "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
            "usageMetadata": {
                "promptTokenCount": 11, "candidatesTokenCount": 12 * number, "totalTokenCount": 11 + 12 * number,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 11}]
            },
            "modelVersion": "gemini-2.5-flash", "responseId": "mwp1gi5it47f"
        });
        format!("data: {event}\r\n\r\n")
    };
    let chunks: Vec<_> = (1..=50).map(event).collect();
    let content_type = "text/event-stream".parse().unwrap();
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
    let new_tap = || ResponseTap::new(Surface::Native, &headers);
    let bytes: usize = chunks.iter().map(String::len).sum();
    let read = |mut tap: ResponseTap| {
        for chunk in &chunks {
            black_box(tap.feed(black_box(chunk.as_bytes())));
        }
        tap.summary()
    };
    assert_eq!(read(new_tap()).usage.total, Some(611));
    let mut group = criterion.benchmark_group("count usage over a stream");
    group.throughput(Throughput::Bytes(bytes.try_into().unwrap()));
    group.bench_function("50 chunks", |bencher| {
        bencher.iter_batched(new_tap, read, BatchSize::SmallInput);
    });
    group.finish();
}

/// Reads and classifies each of the errors that were reported of Google.
fn classify_errors(criterion: &mut Criterion) {
    let reported: Value = serde_json::from_str(REPORTED_ERRORS).unwrap();
    let errors = reported["errors"].as_array().unwrap().iter();
    let errors: Vec<_> = errors
        .map(|error| {
            let text = |name: &str| error[name].as_str().unwrap();
            let status = u16::try_from(error["status"].as_u64().unwrap()).unwrap();
            (status, text("content_type"), text("body"))
        })
        .filter(|(status, ..)| *status != 200)
        .collect();
    let context = ErrorContext {
        surface: Surface::Native,
        client_deadline: false,
    };
    let mut group = criterion.benchmark_group("classify an error");
    group.throughput(Throughput::Elements(errors.len().try_into().unwrap()));
    group.bench_function("each of those reported", |bencher| {
        bencher.iter(|| {
            for (status, content_type, body) in black_box(&errors) {
                let body = ErrorBody::read(body.as_bytes());
                black_box(classify(*status, Some(content_type), &body, context));
            }
        });
    });
    group.finish();
}

/// Looks for the secrets of 50,000 keys in a text.
fn redact(criterion: &mut Criterion) {
    let keys: Vec<_> = (0..KEYS)
        .map(|number| format!("AIzaSy{number:033}"))
        .collect();
    let redactor = Redactor::new(keys.iter().map(String::as_str), []);
    let clean = "It was a dark and stormy night; the API key was not in this text.\n".repeat(1_600);
    let mut secret = clean.clone();
    secret.insert_str(clean.len() / 2, &keys[7]);
    assert!(redactor.redact(clean.as_bytes()).is_none());
    assert!(redactor.redact(secret.as_bytes()).is_some());
    let mut group = criterion.benchmark_group("redact");
    group.throughput(Throughput::Bytes(clean.len().try_into().unwrap()));
    for (name, text) in [
        ("100 KB without a key", &clean),
        ("100 KB with a key", &secret),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| redactor.redact(black_box(text.as_bytes())));
        });
    }
    let message = "Quota exceeded for quota metric 'Generate requests' of consumer 'project_number:123456789012'.";
    group.throughput(Throughput::Bytes(message.len().try_into().unwrap()));
    group.bench_function("an error of a row", |bencher| {
        bencher.iter(|| redactor.redact_for_row(black_box(message)));
    });
    group.finish();
}
