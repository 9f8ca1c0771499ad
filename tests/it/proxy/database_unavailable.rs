//! The database stays away for a while, or the program is told to end: no row is lost.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::consistency;
use gemini_pool::storage::request_logs::listed::{self, RequestLog};
use sqlx::Connection;

use crate::support::admin::AdminClient;
use crate::support::process::{PoolProcess, database};
use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{CLIENT_KEY, TestPool, eventually, http_client, newest_rows};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_locked_for_ten_seconds_stops_no_answer_and_loses_no_row() {
    let fake_config = FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]);
    let pool = TestPool::start_with(fake_config, &[("commit_wait_ms", "500")]).await;
    assert_eq!(readiness(&pool).await, 200);
    let stop = AtomicBool::new(false);

    let clients =
        join_all((0..8).map(|number| keep_sending(&pool, TestRequest::ALL[number % 7], &stop)));
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
async fn a_database_that_was_full_takes_every_row_a_sign_in_and_a_setting_once_it_has_room() {
    let fake_config = FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]);
    let pool = TestPool::start_with(fake_config, &[("commit_wait_ms", "100")]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let mut attempts = numbers();
    let stop = AtomicBool::new(false);

    let clients =
        join_all((0..8).map(|number| keep_sending(&pool, TestRequest::ALL[number % 7], &stop)));
    let filling = async {
        eventually("rows are written", async || {
            (pool.rows().await.len() > 50).then_some(())
        })
        .await;
        pool.allow_pages(1).await;
        eventually("it says that it is not ready", async || {
            (readiness(&pool).await == 503).then_some(())
        })
        .await;
        eventually("no setting can be changed", async || {
            let value = attempts.next()?;
            let answer = admin.submit("/settings", &[("max_attempts", &value)]).await;
            (answer.status() == 503).then_some(())
        })
        .await;
        eventually("many rows wait", async || {
            (pool.app.recorder.pending() > 100).then_some(())
        })
        .await;
        pool.allow_pages(u32::MAX / 4).await;
        eventually("it is ready again", async || {
            (readiness(&pool).await == 200).then_some(())
        })
        .await;
        let answer = admin.submit("/settings", &[("max_attempts", "17")]).await;
        assert_eq!(answer.status(), 303);
        AdminClient::sign_in(&pool).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (answered, ()) = tokio::join!(clients, filling);

    let answered: HashSet<String> = answered.into_iter().flatten().collect();
    let rows = pool.finished_rows(answered.len()).await;
    let ids: HashSet<String> = rows.iter().map(|row| row.id.to_string()).collect();
    assert_eq!(ids, answered);
    assert_eq!(pool.app.settings().max_attempts, 17);
    pool.assert_sums_agree().await;
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_took_no_commit_takes_every_row_a_sign_in_and_a_setting_once_it_has_room() {
    let google = google(Behaviour::Healthy).await;
    let folder = tempfile::tempdir().unwrap();
    let keys = [KEY.to_owned()];
    let (path, url) = (folder.path(), google.url());
    let pool = PoolProcess::start_with_largest_file(path, &url, &keys, 4 * 1024).await;
    let db = database(path).await;
    let client = http_client().build().unwrap();
    let mut admin = AdminClient::arrive_at(client.clone(), &pool.url).await;
    let stranger = admin.clone();
    assert_eq!(admin.submit_login().await.status(), 303);
    admin.get_page("/account").await;
    // While somebody reads it, the log's beginning is in use: the log grows to the limit, and no commit has room.
    let mut reader = db.readers.begin().await.unwrap();
    let counted = sqlx::query("SELECT count(*) FROM request_logs");
    counted.execute(&mut *reader).await.unwrap();
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut attempts = numbers();
    let is_ready = async || {
        let answer = client.get(format!("{}/readyz", pool.url)).send().await;
        answer.unwrap().status() == 200
    };

    let clients = join_all((0..8).map(async |number| {
        let mut ids = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let answer =
                send_with_shape(&client, &pool.url, TestRequest::ALL[number % 7], "").await;
            let response = ClientResponse::whole(answer.unwrap()).await;
            assert!(
                response.status == 200 && !response.is_truncated,
                "{response:?}"
            );
            ids.push(response.id().to_owned());
            answers.fetch_add(1, Ordering::Relaxed);
        }
        ids
    }));
    let reading = async {
        eventually("the log is full", async || {
            (!is_ready().await).then_some(())
        })
        .await;
        let before = answers.load(Ordering::Relaxed);
        eventually("clients are answered nevertheless", async || {
            (answers.load(Ordering::Relaxed) > before + 20).then_some(())
        })
        .await;
        // What is small may still find room behind the last commit.
        eventually("no setting can be changed", async || {
            let value = attempts.next()?;
            let answer = admin.submit("/settings", &[("max_attempts", &value)]).await;
            (answer.status() == 503).then_some(())
        })
        .await;
        eventually("nobody can sign in", async || {
            (stranger.clone().submit_login().await.status() == 503).then_some(())
        })
        .await;
        assert!(!is_ready().await, "{}", pool.log());
        reader.rollback().await.unwrap();
        eventually("it is ready again", async || is_ready().await.then_some(())).await;
        // Between two checkpoints the log may be full once more.
        eventually("an admin signs in", async || {
            (stranger.clone().submit_login().await.status() == 303).then_some(())
        })
        .await;
        eventually("a setting is changed", async || {
            let setting = [("max_attempts", "17")];
            (admin.submit("/settings", &setting).await.status() == 303).then_some(())
        })
        .await;
        stop.store(true, Ordering::Relaxed);
    };
    let (answered, ()) = tokio::join!(clients, reading);

    let answered: HashSet<String> = answered.into_iter().flatten().collect();
    let rows = eventually("all rows are written", async || {
        let rows = newest_rows(&db).await;
        (rows.len() >= answered.len()).then_some(rows)
    })
    .await;
    let ids: HashSet<String> = rows.iter().map(|row| row.id.to_string()).collect();
    assert_eq!(ids, answered, "{}", pool.log());
    assert_eq!(
        consistency::find_inconsistencies(&db.readers)
            .await
            .unwrap(),
        []
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_too_many_rows_in_memory_new_requests_are_refused_until_they_are_written() {
    let fake_config = FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]);
    let settings = [("max_pending_rows", "5"), ("commit_wait_ms", "10")];
    let pool = TestPool::start_with(fake_config, &settings).await;
    let locked = pool.lock_database().await;

    let mut answers = Vec::new();
    let refusal = eventually("a request is refused", async || {
        let response = pool.fetch(TestRequest::Generate).await;
        if response.status == 503 {
            return Some(response);
        }
        assert_eq!(response.status, 200);
        answers.push(response);
        None
    })
    .await;
    assert!(answers.len() >= 5);
    assert!(refusal.text().contains("database"), "{}", refusal.text());
    assert!(refusal.header("retry-after").is_some());
    let openai = pool.fetch(TestRequest::Chat).await;
    assert_eq!(openai.json()["error"]["type"], "server_error");

    locked.close().await.unwrap();
    eventually("requests are served again", async || {
        (pool.fetch(TestRequest::Generate).await.status == 200).then_some(())
    })
    .await;
    // A request may be served before the rows that waited are committed.
    eventually("the waiting rows are written", async || {
        (pool.app.recorder.pending() == 0).then_some(())
    })
    .await;
    for response in answers {
        assert_eq!(pool.row_of(&response).await.outcome, Some(Outcome::Success));
    }
    // What was refused when no more rows fitted into memory is told in one.
    eventually("the refusals are told", async || {
        let rows = pool.rows().await;
        let reported = |row: &RequestLog| {
            row.error
                .as_deref()
                .is_some_and(|error| error.contains("could not be written"))
        };
        rows.iter()
            .any(|row| reported(row) && row.outcome == Some(Outcome::Refused))
            .then_some(())
    })
    .await;
    pool.assert_sums_agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_told_to_end_under_load_finishes_its_answers_and_their_rows() {
    let google = google(Behaviour::Healthy).await;
    let folder = tempfile::tempdir().unwrap();
    let mut pool = PoolProcess::start(folder.path(), &google.url(), &[KEY.to_owned()]).await;
    let shapes = [
        (TestRequest::Generate, "chunks=1"),
        (TestRequest::StreamSse, "chunks=20,delay=100"),
    ];

    let clients = (0..32).map(|number| {
        let (url, (test_request, shape)) = (pool.url.clone(), shapes[number % 2]);
        tokio::spawn(async move {
            let client = http_client().build().unwrap();
            let mut whole = Vec::new();
            // The connection closes, or none is taken any more.
            while let Ok(answer) = send_with_shape(&client, &url, test_request, shape).await {
                let response = ClientResponse::whole(answer).await;
                assert!(
                    response.status == 200 && !response.is_truncated,
                    "{response:?}"
                );
                whole.push(response.id().to_owned());
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
    assert_eq!(
        consistency::find_inconsistencies(&db.readers)
            .await
            .unwrap(),
        []
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_is_cut_off_and_told_so_on_its_row() {
    let google = google(Behaviour::StallStream(2)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut pool = PoolProcess::start(folder.path(), &google.url(), &[KEY.to_owned()]).await;
    let h2c = http_client().http2_prior_knowledge().build().unwrap();
    let mut streams = Vec::new();
    for client in [http_client().build().unwrap(), h2c] {
        for _ in 0..4 {
            let answer = send_with_shape(&client, &pool.url, TestRequest::StreamSse, "")
                .await
                .unwrap();
            streams.push(tokio::spawn(ClientResponse::whole(answer)));
        }
    }

    pool.terminate();
    let ended = pool.ended().await;

    assert!(ended.success(), "{}", pool.log());
    let db = database(folder.path()).await;
    for response in join_all(streams).await {
        let response = response.unwrap();
        assert!(
            response.text().contains("the pool is stopping"),
            "{}",
            response.text()
        );
        assert!(!response.is_truncated);
        let row = listed::find(&db.readers, response.id().parse().unwrap()).await;
        let row = row.unwrap();
        assert_eq!(row.outcome, Some(Outcome::Interrupted), "{row:?}");
        assert!(row.total_tokens.is_some(), "{row:?}");
    }
    assert_eq!(
        consistency::find_inconsistencies(&db.readers)
            .await
            .unwrap(),
        []
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_told_twice_ends_at_once() {
    let google = google(Behaviour::StallStream(2)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut pool = PoolProcess::start(folder.path(), &google.url(), &[KEY.to_owned()]).await;
    let client = http_client().build().unwrap();
    let answer = send_with_shape(&client, &pool.url, TestRequest::StreamSse, "")
        .await
        .unwrap();

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

async fn google(behaviour: Behaviour) -> FakeGemini {
    let fake_config = FakeConfig::with_keys([FakeKey::new(KEY, "1", behaviour)]);
    FakeGemini::start(fake_config).await.unwrap()
}

async fn send_with_shape(
    client: &reqwest::Client,
    url: &str,
    test_request: TestRequest,
    shape: &str,
) -> reqwest::Result<reqwest::Response> {
    let request = client.post(format!("{url}{}", test_request.path()));
    let request = request
        .header("x-goog-api-key", CLIENT_KEY)
        .header("x-fake-gemini", shape);
    request.body(test_request.body()).send().await
}

/// Asks until told to stop. Returns the ids of the answers.
async fn keep_sending(
    pool: &TestPool,
    test_request: TestRequest,
    stop: &AtomicBool,
) -> Vec<String> {
    let mut ids = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let response = pool.fetch(test_request).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(!response.is_truncated);
        ids.push(response.id().to_owned());
    }
    ids
}

/// Values of a setting, each of which is a change.
fn numbers() -> impl Iterator<Item = String> {
    (1..).map(|number| (1 + number % 9).to_string())
}

async fn readiness(pool: &TestPool) -> u16 {
    let answer = pool.client.get(format!("{}/readyz", pool.url)).send().await;
    answer.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_is_told_though_nobody_writes() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    let locked = pool.lock_database().await;

    let is = async |status| (readiness(&pool).await == status).then_some(());
    eventually("the server is not ready", async || is(503).await).await;

    locked.close().await.unwrap();
    eventually("the server is ready again", async || is(200).await).await;
}
