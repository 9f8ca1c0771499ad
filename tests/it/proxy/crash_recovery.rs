//! The program is killed in the middle of its work.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use gemini_pool::clock::{self, Timestamp};
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::journal::RecordingLevel;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::consistency;

use crate::support::process::{PoolProcess, database};
use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{CLIENT_KEY, eventually, http_client, newest_rows};

/// What the clients ask, and how slowly they are answered.
const SHAPES: [(TestRequest, &str); 4] = [
    (TestRequest::Generate, "chunks=4"),
    (TestRequest::Generate, "first_byte=8000"),
    (TestRequest::StreamSse, "chunks=80,delay=100"),
    (TestRequest::ChatStream, "chunks=5,delay=10"),
];

/// What ran for so long by its client's clock ran for a second in the pool, however busy the machine.
const LONG: Duration = Duration::from_millis(2_500);

/// A request as its client remembers it.
struct SentRequest {
    /// Its user agent, which no other request has.
    name: String,
    began: Timestamp,
    /// The id of an answer that came whole.
    whole: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_no_answered_request_and_none_that_ran_for_a_second() {
    let keys: Vec<_> = (0..20)
        .map(|n| format!("AIzaSyTheSecretOfKey-{n:04}"))
        .collect();
    let fakes = keys.iter().map(|secret| FakeKey::healthy(secret, "1"));
    let google = FakeGemini::start(FakeConfig {
        recording: RecordingLevel::Counts,
        ..FakeConfig::with_keys(fakes)
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let names = Arc::new(AtomicU64::new(0));
    let (mut answers, mut interrupted, mut long) = (0, 0, 0);
    let mut journalled = 0;

    for round in 0..10 {
        let pool = PoolProcess::start(folder.path(), &google.url(), &keys).await;
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..64).map(|n| {
            let (url, names, stop) = (pool.url.clone(), names.clone(), stop.clone());
            tokio::spawn(async move { keep_sending(&url, SHAPES[n % 4], &names, &stop).await })
        });
        let clients: Vec<_> = clients.collect();
        running_rows(folder.path(), 20).await;
        // Not always at the same point of what goes on.
        tokio::time::sleep(Duration::from_millis(1_600 + round * 37)).await;
        let killed_at = clock::now();
        pool.kill();
        stop.store(true, Ordering::Relaxed);
        let sent_requests: Vec<SentRequest> = join_all(clients)
            .await
            .into_iter()
            .flat_map(Result::unwrap)
            .collect();

        journalled += journal_entries(folder.path()).await;
        let pool = PoolProcess::start(folder.path(), &google.url(), &keys).await;
        assert_eq!(journal_entries(folder.path()).await, 0);
        let db = database(folder.path()).await;
        let rows = newest_rows(&db).await;
        assert_eq!(
            consistency::find_inconsistencies(&db.readers)
                .await
                .unwrap(),
            []
        );
        db.close().await;
        pool.kill();

        let by_name: HashMap<_, _> = rows
            .iter()
            .map(|row| (row.user_agent.as_deref().unwrap(), row))
            .collect();
        for sent_request in &sent_requests {
            let row = by_name.get(sent_request.name.as_str());
            if let Some(id) = &sent_request.whole {
                let row = row.unwrap_or_else(|| panic!("no row for {id}"));
                assert_eq!(
                    (row.id.to_string(), row.outcome),
                    (id.clone(), Some(Outcome::Success))
                );
                answers += 1;
            } else if killed_at - sent_request.began > LONG {
                long += 1;
                assert!(
                    row.is_some(),
                    "{} ran from {} to {killed_at}",
                    sent_request.name,
                    sent_request.began
                );
            }
        }
        assert!(rows.iter().all(|row| row.outcome.is_some()));
        let ended = rows
            .iter()
            .filter(|row| row.outcome == Some(Outcome::Interrupted));
        let ended = ended.count();
        assert!(
            ended > interrupted,
            "something ran for a second in round {round}"
        );
        interrupted = ended;
    }
    assert!(long > 0, "some request was that old");
    assert!(journalled > 0, "some crash left a journal");
    println!(
        "{answers} answers, {interrupted} interrupted and {long} older than {LONG:?} over 10 crashes"
    );
}

/// Asks one after another until the pool is gone.
async fn keep_sending(
    url: &str,
    (test_request, shape): (TestRequest, &str),
    names: &AtomicU64,
    stop: &AtomicBool,
) -> Vec<SentRequest> {
    let client = http_client().build().unwrap();
    let mut sent_requests = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let name = format!("client/{}", names.fetch_add(1, Ordering::Relaxed));
        let began = clock::now();
        let request = client
            .post(format!("{url}{}", test_request.path()))
            .header("x-goog-api-key", CLIENT_KEY)
            .header("user-agent", &name)
            .header("x-fake-gemini", shape);
        let mut whole = None;
        let answer = request.body(test_request.body()).send().await;
        let is_over = answer.is_err();
        if let Ok(answer) = answer {
            let response = ClientResponse::whole(answer).await;
            assert_eq!(response.status, 200, "{}", response.text());
            whole = Some(response.id().to_owned()).filter(|_| !response.is_truncated);
        }
        sent_requests.push(SentRequest { name, began, whole });
        if is_over {
            break;
        }
    }
    sent_requests
}

/// The number of entries in the journal.
async fn journal_entries(folder: &Path) -> i64 {
    let db = database(folder).await;
    let counted = sqlx::query_scalar("SELECT count(*) FROM request_journal");
    let count = counted.fetch_one(&db.readers).await.unwrap();
    db.close().await;
    count
}

/// Waits until so many requests are in the database while they run.
async fn running_rows(folder: &Path, count: i64) {
    let db = database(folder).await;
    eventually("enough requests run for a second", async || {
        // Not all rows, which take longer each round: the long requests would end meanwhile.
        let running = sqlx::query_scalar("SELECT count(*) FROM request_logs WHERE outcome IS NULL");
        let running: i64 = running.fetch_one(&db.readers).await.unwrap();
        (running >= count).then_some(())
    })
    .await;
    db.close().await;
}
