//! Sessions of uploads: whose they are, how long they last, and with which keys they go on.

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::resources::uploads::UploadStatus;
use gemini_pool::pool::keys::upstream_key::{KeyAttributes, UpstreamKeyId};
use gemini_pool::storage::{client_keys, upstream_keys};
use gemini_pool::tasks::prune_logs;

use crate::support::requests::ClientResponse;
use crate::support::uploads::{
    ClientUpload, GRANULARITY, KEY, OTHER_CLIENT, file_name, get, two_projects,
};
use crate::support::{CLIENT_ID, CLIENT_KEY, TestPool, act};

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let pool = two_projects().await;
    let upload = pool.begin_upload().await;
    pool.send_command(&upload, "upload", 0, &vec![b'a'; GRANULARITY])
        .await;

    let pool = pool.restart().await;
    let upload = upload.at(&pool);
    let state = pool.send_command(&upload, "query", 0, b"").await;
    let last = pool
        .send_command(&upload, "upload, finalize", GRANULARITY, b"end")
        .await;

    assert_eq!(state.header("x-goog-upload-size-received"), Some("8388608"));
    file_name(&last);
    assert_eq!(pool.google.resources()[0].bytes, Some(8_388_611));
}

#[tokio::test]
async fn an_upload_is_its_clients_who_needs_not_say_so() {
    let pool = two_projects().await;
    pool.add_client_key(OTHER_CLIENT).await;
    let upload = pool.begin_upload().await;
    let send_request = async |key: &str| {
        let query = pool.part(&upload, "query", 0).header("x-goog-api-key", key);
        ClientResponse::whole(query.send().await.unwrap()).await
    };

    assert_eq!(send_request(CLIENT_KEY).await.status, 200);
    assert_eq!(
        pool.send_command(&upload, "query", 0, b"").await.status,
        200
    );
    let others = send_request(OTHER_CLIENT).await;
    assert_eq!(
        (others.status.as_u16(), &others.json()["error"]["status"]),
        (404, &"NOT_FOUND".into())
    );
    assert_eq!(send_request("no such key").await.status, 401);

    set_client_enabled(&pool, false).await;
    assert_eq!(
        pool.send_command(&upload, "query", 0, b"").await.status,
        403
    );
    set_client_enabled(&pool, true).await;
    assert_eq!(
        pool.send_command(&upload, "query", 0, b"").await.status,
        200
    );
    pool.allow(|terms| terms.paths = vec!["/v1beta/*".to_owned()])
        .await;
    assert_eq!(
        pool.send_command(&upload, "query", 0, b"").await.status,
        403
    );
    pool.allow(|terms| terms.paths.clear()).await;

    let mut tx = pool.app.db.begin().await.unwrap();
    let act = act(&mut tx).await;
    client_keys::delete(&mut tx, CLIENT_ID, &act).await.unwrap();
    tx.commit().await.unwrap();
    pool.app.reload(clock::now()).await.unwrap();
    assert_eq!(
        pool.send_command(&upload, "query", 0, b"").await.status,
        404
    );
}

#[tokio::test]
async fn two_clients_upload_at_once_each_to_its_own() {
    let pool = two_projects().await;
    pool.add_client_key(OTHER_CLIENT).await;
    let (one, other) = tokio::join!(pool.begin_upload(), pool.begin_upload_with(OTHER_CLIENT));

    let (ones, others) = tokio::join!(
        pool.send_command(&one, "upload, finalize", 0, b"one's"),
        pool.send_command(&other, "upload, finalize", 0, b"the other's"),
    );

    let (ones, others) = (file_name(&ones), file_name(&others));
    let bytes = |name: &str| {
        let resources = pool.google.resources();
        let found = resources.iter().find(|belonging| belonging.name == name);
        found.unwrap().bytes
    };
    assert_eq!((bytes(&ones), bytes(&others)), (Some(5), Some(11)));
    for (key, name, status) in [
        (CLIENT_KEY, &ones, 200),
        (CLIENT_KEY, &others, 404),
        (OTHER_CLIENT, &others, 200),
        (OTHER_CLIENT, &ones, 404),
    ] {
        let got = get(&pool, key, &format!("/v1beta/{name}")).await;
        assert_eq!(got.status, status, "{key} {name}: {}", got.text());
    }
}

#[tokio::test]
async fn guessed_ids_are_unknown_and_guessing_is_slowed_down() {
    let pool = two_projects().await;
    let upload = pool.begin_upload().await;
    let guess = |number: usize| ClientUpload {
        url: upload.url.replace(upload.id(), &format!("{number:043}")),
    };

    for number in 0..20 {
        let response = pool.send_command(&guess(number), "query", 0, b"").await;
        assert_eq!(response.status, 404, "{}", response.text());
        assert_eq!(response.json()["error"]["status"], "NOT_FOUND");
    }
    let response = pool.send_command(&guess(20), "query", 0, b"").await;
    assert_eq!(response.status, 429, "{}", response.text());
    assert!(response.header("retry-after").is_some());
    assert_eq!(
        pool.send_command(&upload, "query", 0, b"").await.status,
        200,
        "a right one still passes"
    );

    let rows = pool.finished_rows(12).await;
    assert_eq!(rows.len(), 12, "ten guesses have rows of their own");
    assert_eq!(rows[1].client_key_id, None);
    assert_eq!(pool.google.requests(), 2);
}

#[tokio::test]
async fn a_session_is_forgotten_when_it_is_cancelled_or_has_expired() {
    let pool = two_projects().await;
    let (cancelled, expired) = (pool.begin_upload().await, pool.begin_upload().await);

    let response = pool.send_command(&cancelled, "cancel", 0, b"").await;
    assert_eq!(response.header("x-goog-upload-status"), Some("cancelled"));
    assert_eq!(
        pool.send_command(&cancelled, "query", 0, b"").await.status,
        404
    );
    let statuses: Vec<_> = pool
        .google
        .uploads()
        .iter()
        .map(|upload| upload.status)
        .collect();
    assert!(statuses.contains(&UploadStatus::Cancelled), "{statuses:?}");

    sqlx::query("UPDATE upload_sessions SET expires_at_ms = 1")
        .execute(&pool.app.db.writer)
        .await
        .unwrap();
    assert_eq!(
        pool.send_command(&expired, "query", 0, b"").await.status,
        404
    );
    prune_logs::pass(&pool.app, clock::now()).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM upload_sessions")
        .fetch_one(pool.settled().await)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_part_goes_with_another_key_of_the_project_when_the_first_is_off() {
    let pool = two_projects().await;
    for id in [1, 2] {
        let attributes = KeyAttributes {
            project: Some("shared".to_owned()),
            ..KeyAttributes::default()
        };
        let mut tx = pool.app.db.begin().await.unwrap();
        let act = act(&mut tx).await;
        upstream_keys::update(&mut tx, UpstreamKeyId(id), &attributes, &act)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    pool.app.reload(clock::now()).await.unwrap();
    let upload = pool.begin_upload().await;
    let first = pool.google.last_received().unwrap().key.unwrap();
    for _ in 0..3 {
        pool.send_command(&upload, "query", 0, b"").await;
        assert_eq!(
            pool.google.last_received().unwrap().key.as_ref(),
            Some(&first)
        );
    }

    let id = if first == KEY { 1 } else { 2 };
    set_enabled(&pool, &[id], false).await;
    let response = pool.send_command(&upload, "query", 0, b"").await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_ne!(pool.google.last_received().unwrap().key, Some(first));
    set_enabled(&pool, &[1, 2], false).await;
    let response = pool.send_command(&upload, "query", 0, b"").await;
    assert_eq!(response.status, 503, "{}", response.text());
    assert!(
        response
            .text()
            .contains("the project that owns this upload has no usable key")
    );
}

#[tokio::test]
async fn an_upload_goes_on_while_its_project_has_no_quota_left() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    pool.set(&[("wait_for_key_seconds", "0")]).await;
    let upload = pool.begin_upload().await;
    pool.google.set_behaviour(KEY, Behaviour::Exhausted);

    assert_eq!(pool.generate().await.status(), 429);
    assert_eq!(pool.generate().await.status(), 429);

    let last = pool
        .send_command(&upload, "upload, finalize", 0, b"all")
        .await;
    file_name(&last);
}

async fn set_enabled(pool: &TestPool, ids: &[i64], enabled: bool) {
    let ids: Vec<_> = ids.iter().copied().map(UpstreamKeyId).collect();
    let mut tx = pool.app.db.begin().await.unwrap();
    let act = act(&mut tx).await;
    upstream_keys::states::update_enabled(&mut tx, &ids, enabled, &act)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    pool.app.reload(clock::now()).await.unwrap();
}

async fn set_client_enabled(pool: &TestPool, enabled: bool) {
    let mut tx = pool.app.db.begin().await.unwrap();
    let act = act(&mut tx).await;
    client_keys::update_enabled(&mut tx, CLIENT_ID, enabled, &act)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    pool.app.reload(clock::now()).await.unwrap();
}
