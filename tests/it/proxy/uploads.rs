//! Uploads in several requests: the protocol, in words that lead through the pool.

use std::fmt::Write;

use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::outcome::Outcome;
use sha2::{Digest, Sha256};

use crate::support::requests::ClientResponse;
use crate::support::uploads::{
    ClientUpload, FILES, GRANULARITY, KEY, OTHER_CLIENT, OTHER_KEY, config_of_two_projects,
    file_name, get, two_projects,
};
use crate::support::{CLIENT_ID, CLIENT_KEY, TestPool, eventually};

#[tokio::test]
async fn an_upload_goes_in_pieces_to_where_it_began_and_its_file_belongs_there() {
    let pool = two_projects().await;
    let mut bytes = vec![b'a'; GRANULARITY];
    bytes.extend_from_slice(b"the end");

    let upload = pool.begin_upload().await;
    let first = pool
        .send_command(&upload, "upload", 0, &bytes[..GRANULARITY])
        .await;
    let state = pool.send_command(&upload, "query", 0, b"").await;
    let last = pool
        .send_command(
            &upload,
            "upload, finalize",
            GRANULARITY,
            &bytes[GRANULARITY..],
        )
        .await;
    let late = pool.send_command(&upload, "query", 0, b"").await;

    assert_eq!(
        upload.url,
        format!(
            "{}{FILES}?upload_id={}&upload_protocol=resumable",
            pool.url,
            upload.id()
        )
    );
    assert_eq!(upload.id().len(), 43);
    assert_eq!(first.header("x-goog-upload-status"), Some("active"));
    assert_eq!(state.header("x-goog-upload-size-received"), Some("8388608"));
    assert_eq!(last.header("x-goog-upload-status"), Some("final"));
    // Whom the last answer did not reach may ask for it.
    assert_eq!(late.header("x-goog-upload-status"), Some("final"));
    let name = file_name(&last);
    let kept = pool.google.resources().remove(0);
    assert_eq!(kept.name, name);
    assert_eq!(kept.sha256, Some(hex(&Sha256::digest(&bytes))));
    let received = pool.google.received();
    let lengths: Vec<_> = received
        .iter()
        .map(|request| request.header("content-length"))
        .collect();
    assert_eq!(lengths[1..4], [Some("8388608"), Some("0"), Some("7")]);
    let key = received[0].key.clone();
    assert!(
        received.iter().all(|request| request.key == key),
        "{received:?}"
    );

    for _ in 0..4 {
        let got = get(&pool, CLIENT_KEY, &format!("/v1beta/{name}")).await;
        assert_eq!(got.status, 200, "{}", got.text());
    }
    let rows = pool.finished_rows(9).await;
    let reported = |index: usize| {
        let row = &rows[index];
        (
            row.operation.as_deref(),
            row.outcome,
            row.request_bytes,
            row.client_key_id,
        )
    };
    let success = |bytes| {
        (
            Some("files.upload"),
            Some(Outcome::Success),
            bytes,
            Some(CLIENT_ID),
        )
    };
    assert_eq!(reported(0), success(36));
    assert_eq!(reported(1), success(8_388_608));
    assert_eq!(reported(2), success(0));
    assert_eq!(reported(3), success(7));
    assert!(rows[3].response_bytes > 200);
    assert_eq!(reported(4), success(0));
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn nothing_of_googles_session_or_of_the_pools_leaks() {
    let pool = two_projects().await;

    let begun = pool.request_upload(CLIENT_KEY, FILES).await;
    let upload = ClientUpload {
        url: begun.header("x-goog-upload-url").unwrap().to_owned(),
    };
    let part = pool
        .send_command(&upload, "upload, finalize", 0, b"all")
        .await;
    let google = pool.google.uploads().remove(0).upload_id;

    assert_eq!(
        begun.header("x-goog-upload-control-url"),
        Some(upload.url.as_str())
    );
    assert_eq!(
        begun.header("x-goog-upload-chunk-granularity"),
        Some("8388608")
    );
    assert_eq!(begun.header("server"), Some("UploadServer"));
    for response in [&begun, &part] {
        let reported = format!("{:?}{}", response.headers, response.text());
        assert!(!reported.contains(&google), "{reported}");
        assert!(
            !reported.contains(KEY) && !reported.contains(OTHER_KEY),
            "{reported}"
        );
        assert!(
            !reported.contains("uploadid") && !reported.contains("x-goog-upload-header-"),
            "{reported}"
        );
    }
    for row in pool.finished_rows(2).await {
        let row = serde_json::to_string(&row).unwrap();
        assert!(
            !row.contains(&google) && !row.contains(upload.id()),
            "{row}"
        );
        assert!(row.contains(r#""path":"/upload/v1beta/files"#), "{row}");
    }
    // Not even the database knows the id.
    let upload = pool.begin_upload().await;
    let hash: Vec<u8> = sqlx::query_scalar("SELECT id_hash FROM upload_sessions")
        .fetch_one(pool.settled().await)
        .await
        .unwrap();
    assert_ne!(hash, upload.id().as_bytes());
    assert_ne!(hash, Sha256::digest(upload.id()).to_vec());
}

#[tokio::test]
async fn a_session_leads_to_the_host_that_clients_see() {
    let pool = TestPool::behind_proxies(&["127.0.0.0/8"], config_of_two_projects()).await;
    let begin = async |headers: &[(&str, &str)]| {
        let mut request = pool
            .client
            .post(format!("{}/gemini{FILES}?key={CLIENT_KEY}", pool.url))
            .header("x-goog-upload-protocol", "resumable")
            .header("x-goog-upload-command", "start");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = ClientResponse::whole(request.body("{}").send().await.unwrap()).await;
        response.header("x-goog-upload-url").unwrap().to_owned()
    };

    let url = begin(&[
        ("x-forwarded-host", "pool.example"),
        ("x-forwarded-proto", "https"),
    ])
    .await;
    assert!(
        url.starts_with("https://pool.example/upload/v1beta/files?upload_id="),
        "{url}"
    );
    let url = begin(&[("host", "other.example:8080")]).await;
    assert!(
        url.starts_with("http://other.example:8080/upload/v1beta/files?upload_id="),
        "{url}"
    );
    assert!(!url.contains(CLIENT_KEY));
}

#[tokio::test]
async fn a_start_is_tried_with_another_key_and_is_nothing_without_its_row() {
    let pool = TestPool::with_keys([
        FakeKey::new(KEY, "1", Behaviour::Invalid),
        FakeKey::new(OTHER_KEY, "2", Behaviour::Healthy),
    ])
    .await;
    for _ in 0..4 {
        pool.begin_upload().await;
    }
    assert_eq!(pool.google.uploads().len(), 4);

    // A session that could not be gone on with is none.
    sqlx::query("DROP TABLE upload_sessions")
        .execute(&pool.app.db.writer)
        .await
        .unwrap();
    let response = pool.request_upload(CLIENT_KEY, FILES).await;
    assert_eq!(response.status, 503, "{}", response.text());
    assert_eq!(response.header("x-goog-upload-url"), None);
    assert_eq!(pool.row_of(&response).await.outcome, Some(Outcome::Refused));
    eventually("no key is held", async || {
        (pool.leases() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_uploaded_to_a_store_goes_to_its_project() {
    let pool = two_projects().await;
    let made = pool.post("/v1beta/fileSearchStores", r#"{"displayName":"s"}"#);
    let made = ClientResponse::whole(made.send().await.unwrap())
        .await
        .json();
    let store = made["name"].as_str().unwrap();
    let owner = pool.google.last_received().unwrap().key;
    let path = format!("/upload/v1beta/{store}:uploadToFileSearchStore");

    for _ in 0..4 {
        let begun = pool.request_upload(CLIENT_KEY, &path).await;
        let upload = ClientUpload {
            url: begun.header("x-goog-upload-url").unwrap().to_owned(),
        };
        assert!(
            upload
                .url
                .starts_with(&format!("{}{path}?upload_id=", pool.url))
        );
        let ended = pool
            .send_command(&upload, "upload, finalize", 0, b"all")
            .await;
        assert_eq!(ended.status, 200, "{}", ended.text());
        let operation = ended.json()["name"].as_str().unwrap().to_owned();
        let got = get(&pool, CLIENT_KEY, &format!("/v1beta/{operation}")).await;
        assert_eq!(got.status, 200, "{operation}: {}", got.text());
    }

    let raw = pool
        .post(&path, "all")
        .header("x-goog-upload-protocol", "raw");
    let raw = ClientResponse::whole(raw.send().await.unwrap()).await;
    assert_eq!(raw.status, 200, "{}", raw.text());
    assert!(
        pool.google
            .received()
            .iter()
            .all(|request| request.key == owner)
    );
    pool.add_client_key(OTHER_CLIENT).await;
    assert_eq!(pool.request_upload(OTHER_CLIENT, &path).await.status, 404);
}

#[tokio::test]
async fn the_older_protocol_is_served_too() {
    let pool = TestPool::with_keys([FakeKey::healthy(KEY, "1")]).await;
    let google = "https://generativelanguage.googleapis.com/upload/v1beta/files?uploadType=resumable&upload_id=G";
    pool.google.replay([
        ReplayedResponse::new(200, &[("location", google)], ""),
        ReplayedResponse::new(308, &[("range", "bytes=0-2")], ""),
        ReplayedResponse::new(
            200,
            &[("content-type", "application/json")],
            r#"{"file":{"name":"files/old"}}"#,
        ),
    ]);

    let begun = pool.post(&format!("{FILES}?uploadType=resumable"), "{}");
    let begun = ClientResponse::whole(begun.send().await.unwrap()).await;
    let url = begun.header("location").unwrap().to_owned();
    let put = async |range: &str, part: &'static str| {
        let put = pool
            .client
            .put(&url)
            .header("content-range", range)
            .body(part);
        ClientResponse::whole(put.send().await.unwrap()).await
    };
    let more = put("bytes 0-2/5", "abc").await;
    let last = put("bytes 3-4/5", "de").await;

    assert!(
        url.starts_with(&format!("{}{FILES}?upload_id=", pool.url)),
        "{url}"
    );
    assert_eq!(
        (more.status.as_u16(), more.header("range")),
        (308, Some("bytes=0-2"))
    );
    assert_eq!(pool.row_of(&more).await.outcome, Some(Outcome::Success));
    assert_eq!(file_name(&last), "files/old");
    let received = pool.google.last_received().unwrap();
    assert_eq!(received.method, "PUT");
    assert_eq!(
        received.path_and_query,
        "/upload/v1beta/files?uploadType=resumable&upload_id=G"
    );
    assert_eq!(received.header("content-range"), Some("bytes 3-4/5"));
}

#[tokio::test]
async fn browsers_may_read_what_they_need_to_go_on() {
    let pool = two_projects().await;

    let begun = pool.request_upload(CLIENT_KEY, FILES).await;

    let exposed = begun
        .headers
        .get_all("access-control-expose-headers")
        .iter();
    let exposed: Vec<_> = exposed.map(|value| value.to_str().unwrap()).collect();
    assert!(
        exposed.join(", ").contains("x-goog-upload-url"),
        "{exposed:?}"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
