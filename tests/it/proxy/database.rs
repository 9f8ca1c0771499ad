//! The database stays away for a while, or the program is told to end: no row is lost.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use gemini_pool::demo::fake_gemini::fate::{FakeKey, Fate};
use gemini_pool::demo::fake_gemini::{FakeGemini, Rules};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::request_logs::listed::{self, RequestLog};
use gemini_pool::storage::stats;
use sqlx::Connection;

use crate::support::asking::{Ask, Heard};
use crate::support::process::{PoolProcess, database};
use crate::support::{CLIENT_KEY, TestPool, eventually, http_client, newest_rows};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_locked_for_ten_seconds_stops_no_answer_and_loses_no_row() {
    let rules = Rules::with_keys([FakeKey::healthy(KEY, "1")]);
    let pool = TestPool::start_with(rules, &[("commit_wait_ms", "500")]).await;
    assert_eq!(readiness(&pool).await, 200);
    let stop = AtomicBool::new(false);

    let clients = join_all((0..8).map(|number| keep_asking(&pool, Ask::ALL[number % 7], &stop)));
    let locking = async {
        eventually("rows are written", async || {
            (pool.rows().await.len() > 50).then_some(())
        })
        .await;
        let locked = pool.lock_database().await;
        eventually("it says that it is not ready", async || {
            (readiness(&pool).await == 503).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(readiness(&pool).await, 503);
        assert!(pool.app.recorder.pending() > 0);
        locked.close().await.unwrap();
        eventually("it is ready again", async || {
            (readiness(&pool).await == 200).then_some(())
        })
        .await;
        stop.store(true, Ordering::Relaxed);
    };
    let (answered, ()) = tokio::join!(clients, locking);

    let answered: HashSet<String> = answered.into_iter().flatten().collect();
    let rows = pool.finished_rows(answered.len()).await;
    assert!(rows.iter().all(|row| row.outcome == Some(Outcome::Success)));
    let ids: HashSet<String> = rows.iter().map(|row| row.id.to_string()).collect();
    assert_eq!(ids, answered);
    println!("{} answers, all of them rows", ids.len());
    pool.assert_sums_agree().await;
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_too_many_rows_in_memory_new_requests_are_refused_until_they_are_written() {
    let rules = Rules::with_keys([FakeKey::healthy(KEY, "1")]);
    let settings = [("max_pending_rows", "5"), ("commit_wait_ms", "10")];
    let pool = TestPool::start_with(rules, &settings).await;
    let locked = pool.lock_database().await;

    let mut answers = Vec::new();
    let refusal = eventually("a request is refused", async || {
        let heard = pool.hear(Ask::Whole).await;
        if heard.status == 503 {
            return Some(heard);
        }
        assert_eq!(heard.status, 200);
        answers.push(heard);
        None
    })
    .await;
    assert!(answers.len() >= 5);
    assert!(refusal.text().contains("database"), "{}", refusal.text());
    assert!(refusal.header("retry-after").is_some());
    let openai = pool.hear(Ask::OpenAi).await;
    assert_eq!(openai.json()["error"]["type"], "server_error");

    locked.close().await.unwrap();
    eventually("requests are served again", async || {
        (pool.hear(Ask::Whole).await.status == 200).then_some(())
    })
    .await;
    for heard in answers {
        assert_eq!(pool.row_of(&heard).await.outcome, Some(Outcome::Success));
    }
    // What was refused when no more rows fitted into memory is told in one.
    eventually("the refusals are told", async || {
        let rows = pool.rows().await;
        let told = |row: &RequestLog| {
            row.error
                .as_deref()
                .is_some_and(|error| error.contains("could not be written"))
        };
        rows.iter()
            .any(|row| told(row) && row.outcome == Some(Outcome::Refused))
            .then_some(())
    })
    .await;
    pool.assert_sums_agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_told_to_end_under_load_finishes_its_answers_and_their_rows() {
    let google = google(Fate::Healthy).await;
    let folder = tempfile::tempdir().unwrap();
    let mut pool = PoolProcess::start(folder.path(), &google.url(), &[KEY.to_owned()]).await;
    let manners = [
        (Ask::Whole, "chunks=1"),
        (Ask::Events, "chunks=20,delay=100"),
    ];

    let clients = (0..32).map(|number| {
        let (url, (ask, manner)) = (pool.url.clone(), manners[number % 2]);
        tokio::spawn(async move {
            let client = http_client().build().unwrap();
            let mut whole = Vec::new();
            // The connection closes, or none is taken any more.
            while let Ok(answer) = ask_with(&client, &url, ask, manner).await {
                let heard = Heard::whole(answer).await;
                assert!(heard.status == 200 && !heard.broke_off, "{heard:?}");
                whole.push(heard.id().to_owned());
            }
            whole
        })
    });
    let clients: Vec<_> = clients.collect();
    eventually("streams run", async || {
        (google.open_streams() >= 16).then_some(())
    })
    .await;
    pool.terminate();
    let ended = pool.ended().await;
    assert!(ended.success(), "{}", pool.log());

    let answered = join_all(clients).await.into_iter().flat_map(Result::unwrap);
    let answered: HashSet<String> = answered.collect();
    let db = database(folder.path()).await;
    let rows = newest_rows(&db).await;
    assert!(rows.iter().all(|row| row.outcome == Some(Outcome::Success)));
    let ids: HashSet<String> = rows.iter().map(|row| row.id.to_string()).collect();
    assert_eq!(ids, answered);
    assert_eq!(stats::disagreements(&db.readers).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_is_cut_off_and_told_so_on_its_row() {
    let google = google(Fate::StallStream(2)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut pool = PoolProcess::start(folder.path(), &google.url(), &[KEY.to_owned()]).await;
    let h2c = http_client().http2_prior_knowledge().build().unwrap();
    let mut streams = Vec::new();
    for client in [http_client().build().unwrap(), h2c] {
        for _ in 0..4 {
            let answer = ask_with(&client, &pool.url, Ask::Events, "").await.unwrap();
            streams.push(tokio::spawn(Heard::whole(answer)));
        }
    }

    pool.terminate();
    let ended = pool.ended().await;

    assert!(ended.success(), "{}", pool.log());
    let db = database(folder.path()).await;
    for heard in join_all(streams).await {
        let heard = heard.unwrap();
        assert!(heard.broke_off);
        let row = listed::find(&db.readers, heard.id().parse().unwrap()).await;
        let row = row.unwrap();
        assert_eq!(row.outcome, Some(Outcome::Interrupted), "{row:?}");
        assert!(row.total_tokens.is_some(), "{row:?}");
    }
    assert_eq!(stats::disagreements(&db.readers).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_told_twice_ends_at_once() {
    let google = google(Fate::StallStream(2)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut pool = PoolProcess::start(folder.path(), &google.url(), &[KEY.to_owned()]).await;
    let client = http_client().build().unwrap();
    let answer = ask_with(&client, &pool.url, Ask::Events, "").await.unwrap();

    pool.terminate();
    eventually("it stops", async || {
        pool.log().contains("stopping").then_some(())
    })
    .await;
    pool.terminate();

    let ended = pool.ended().await;
    assert_eq!(ended.code(), Some(1));
    assert!(!pool.log().contains("cutting off"), "{}", pool.log());
    drop(answer);
}

async fn google(fate: Fate) -> FakeGemini {
    let rules = Rules::with_keys([FakeKey::new(KEY, "1", fate)]);
    FakeGemini::start(rules).await.unwrap()
}

async fn ask_with(
    client: &reqwest::Client,
    url: &str,
    ask: Ask,
    manner: &str,
) -> reqwest::Result<reqwest::Response> {
    let request = client.post(format!("{url}{}", ask.path()));
    let request = request
        .header("x-goog-api-key", CLIENT_KEY)
        .header("x-fake-gemini", manner);
    request.body(ask.body()).send().await
}

/// Asks until told to stop. Returns the ids of the answers.
async fn keep_asking(pool: &TestPool, ask: Ask, stop: &AtomicBool) -> Vec<String> {
    let mut ids = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let heard = pool.hear(ask).await;
        assert_eq!(heard.status, 200, "{}", heard.text());
        assert!(!heard.broke_off);
        ids.push(heard.id().to_owned());
    }
    ids
}

async fn readiness(pool: &TestPool) -> u16 {
    let answer = pool.client.get(format!("{}/readyz", pool.url)).send().await;
    answer.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_is_told_though_nobody_writes() {
    let pool = TestPool::of([FakeKey::healthy(KEY, "1")]).await;
    let locked = pool.lock_database().await;

    let is = async |status| (readiness(&pool).await == status).then_some(());
    eventually("the server is not ready", async || is(503).await).await;

    locked.close().await.unwrap();
    eventually("the server is ready again", async || is(200).await).await;
}
