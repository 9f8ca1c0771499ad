//! An upstream that is not Gemini's API is told apart from keys at fault.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::outcome::Outcome;

use crate::support::admin::AdminClient;
use crate::support::process::PoolProcess;
use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{CLIENT_KEY, TestPool, http_client};

const KEYS: [&str; 2] = [
    "AIzaSyTheSecretOfTheFirstKeyOfThePool01",
    "AIzaSyTheSecretOfTheOtherKeyOfThePool02",
];
const HTML: (&str, &str) = ("content-type", "text/html; charset=UTF-8");
const PAGE: &str = "<!DOCTYPE html><html><body>Not what you want</body></html>";

async fn pool() -> TestPool {
    TestPool::with_keys([
        FakeKey::healthy(KEYS[0], "1"),
        FakeKey::healthy(KEYS[1], "2"),
    ])
    .await
}

async fn assert_no_key_is_blamed(pool: &TestPool) {
    for key in pool.keys().await {
        assert_eq!(key.state, "ready");
    }
}

#[tokio::test]
async fn no_redirect_leads_a_client_or_a_key_elsewhere() {
    for location in [
        "https://elsewhere.example.com/collect",
        "//elsewhere.example.com/collect",
        "/v1beta/models/other:generateContent",
        "https://generativelanguage.googleapis.com/v1beta/models",
    ] {
        for status in [301, 302, 303, 307, 308] {
            for test_request in [TestRequest::Generate, TestRequest::ChatStream] {
                let pool = pool().await;
                let headers = [("location", location)];
                pool.google
                    .replay([ReplayedResponse::new(status, &headers, "")]);

                let response = pool.fetch(test_request).await;

                assert_eq!(
                    response.status,
                    502,
                    "{status} {location}: {}",
                    response.text()
                );
                assert_eq!(response.header("location"), None);
                assert!(
                    response.json()["error"]["message"]
                        .as_str()
                        .unwrap()
                        .contains("redirect")
                );
                let row = pool.row_of(&response).await;
                assert!(row.error.unwrap().contains(location), "{location}");
                assert_eq!(pool.google.requests(), 1);
                assert_no_key_is_blamed(&pool).await;
            }
        }
    }
}

#[tokio::test]
async fn a_web_page_proves_nothing_about_a_key() {
    let page = |status| ReplayedResponse::new(status, &[HTML], PAGE);
    // Its status, the number of attempts, and the status for the client.
    for (status, attempts, expected) in [
        (200, 2, 502),
        (400, 1, 400),
        (401, 1, 401),
        (403, 1, 403),
        (404, 1, 404),
        (413, 1, 413),
        (429, 1, 429),
        (500, 2, 500),
        (502, 2, 502),
        (503, 2, 503),
    ] {
        let pool = pool().await;
        pool.google.replay([page(status), page(status)]);

        let response = pool.fetch(TestRequest::Generate).await;

        let row = pool.row_of(&response).await;
        let shown = format!("{status}: {row:?}");
        assert_eq!(row.attempts, attempts, "{shown}");
        assert_eq!(response.status.as_u16(), expected, "{shown}");
        assert_no_key_is_blamed(&pool).await;
    }
    // One page among good answers is tried elsewhere.
    let pool = pool().await;
    pool.google.replay([page(200)]);
    let response = pool.fetch(TestRequest::StreamSse).await;
    assert_eq!(response.status, 200);
    assert_eq!(pool.row_of(&response).await.outcome, Some(Outcome::Success));
}

#[tokio::test]
async fn a_page_from_an_operation_that_is_not_known_passes() {
    let pool = pool().await;
    pool.google
        .replay([ReplayedResponse::new(200, &[HTML], PAGE)]);
    let response = pool
        .post("/v1beta/brandNew/thing", "{}")
        .send()
        .await
        .unwrap();
    let response = ClientResponse::whole(response).await;
    assert_eq!(
        (response.status.as_u16(), response.text().as_str()),
        (200, PAGE)
    );
}

#[tokio::test]
async fn the_dashboard_says_that_the_upstream_is_wrong_until_it_answers_again() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    assert!(admin.get_page("/status").await.contains("Ready to serve"));
    let page = || ReplayedResponse::new(404, &[HTML], PAGE);
    pool.google.replay([page(), page(), page(), page(), page()]);
    for _ in 0..5 {
        assert_eq!(pool.fetch(TestRequest::Generate).await.status, 404);
    }

    let status = admin.get_page("/status").await;

    assert!(status.contains("Check UPSTREAM_URL"), "{status}");
    assert!(!status.contains("Ready to serve"), "{status}");
    let ready = admin.get_page("/readyz").await;
    assert!(ready.contains("upstream keys: 2 of 2 ready"), "{ready}");
    assert!(ready.contains("check UPSTREAM_URL"), "{ready}");
    let public = pool.client.get(format!("{}/readyz", pool.url)).send().await;
    assert_eq!(public.unwrap().text().await.unwrap(), "ok\n");
    assert_eq!(pool.fetch(TestRequest::Generate).await.status, 200);
    assert!(
        !admin
            .get_page("/status")
            .await
            .contains("Check UPSTREAM_URL")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_cannot_be_reached_is_one_line_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    // Free, so that no program listens there.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let keys = [
        "AIza-key-number-0001".to_owned(),
        "AIza-key-number-0002".to_owned(),
    ];
    let pool = PoolProcess::start(folder.path(), &url, &keys).await;
    let client = http_client().build().unwrap();

    for _ in 0..10 {
        let url = format!("{}{}", pool.url, TestRequest::Generate.path());
        let request = client.post(url).header("x-goog-api-key", CLIENT_KEY);
        let answer = request.body(TestRequest::Generate.body()).send().await;
        assert_eq!(answer.unwrap().status(), 503);
    }

    let log = pool.log();
    assert_eq!(
        log.matches("the upstream cannot be reached").count(),
        1,
        "{log}"
    );
    assert_eq!(
        log.matches(" WARN ").count(),
        2,
        "the other is of the short client key: {log}"
    );
}
