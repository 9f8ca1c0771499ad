//! Kept bodies: which are kept, that they contain no secret, who has read them, and when they are deleted.

use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::request_id::RequestId;
use gemini_pool::storage::audit::{self, Action, AuditFilter, Subject};
use gemini_pool::storage::request_bodies::{self, BodyForm, RequestBodies};
use gemini_pool::tasks::prune_logs;
use reqwest::Method;

use crate::support::admin::AdminClient;
use crate::support::requests::{ClientResponse, GENERATE_BODY, TestRequest};
use crate::support::{CLIENT_KEY, TestPool, eventually};

const SECRET: &str = "AIza-key-in-the-bodies-00000001";
const PROJECT: &str = "123456789";
const PATH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

async fn pool(behaviour: Behaviour, mode: &str) -> TestPool {
    let pool = TestPool::with_keys([FakeKey::new(SECRET, PROJECT, behaviour)]).await;
    pool.set(&[("body_log_mode", mode)]).await;
    pool
}

/// The kept bodies of a request.
async fn kept(pool: &TestPool, id: &str) -> Option<RequestBodies> {
    pool.app.body_log.settle().await;
    let id: RequestId = id.parse().unwrap();
    request_bodies::find(&pool.app.db, id).await.unwrap()
}

async fn kept_ids(pool: &TestPool) -> Vec<i64> {
    pool.app.body_log.settle().await;
    sqlx::query_scalar("SELECT request_id FROM request_bodies ORDER BY request_id")
        .fetch_all(&pool.app.db.readers)
        .await
        .unwrap()
}

async fn post(pool: &TestPool, body: &str) -> ClientResponse {
    ClientResponse::whole(pool.post(PATH, body).send().await.unwrap()).await
}

#[tokio::test]
async fn both_bodies_of_every_kind_of_request_are_kept_as_they_were_sent() {
    let pool = pool(Behaviour::Healthy, "all").await;
    for request in TestRequest::ALL {
        let response = pool.fetch(request).await;
        assert_eq!(response.status, 200);

        let bodies = kept(&pool, response.id()).await.unwrap();

        assert_eq!(bodies.request.form, BodyForm::Whole, "{request:?}");
        assert_eq!(bodies.answer.form, BodyForm::Whole, "{request:?}");
        let sent = bodies.request.text().unwrap().unwrap();
        assert_eq!(sent, request.body(), "{request:?}");
        let answered = bodies.answer.text().unwrap().unwrap();
        assert_eq!(answered, response.text(), "{request:?}");
        let length = u64::try_from(response.body.len()).unwrap();
        assert_eq!(bodies.answer.bytes, length, "{request:?}");
    }
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn no_bodies_are_kept_when_the_setting_excludes_the_request() {
    let pool = pool(Behaviour::Healthy, "off").await;
    pool.fetch(TestRequest::StreamSse).await;
    assert_eq!(kept_ids(&pool).await, [0; 0]);

    for (settings, is_kept) in [
        (
            [("body_log_mode", "errors"), ("body_log_client_keys", "")],
            false,
        ),
        (
            [("body_log_mode", "all"), ("body_log_client_keys", "99")],
            false,
        ),
        (
            [("body_log_mode", "all"), ("body_log_client_keys", "99, 1")],
            true,
        ),
    ] {
        pool.set(&settings).await;
        let response = pool.fetch(TestRequest::Generate).await;
        let found = kept(&pool, response.id()).await;
        assert_eq!(found.is_some(), is_kept, "{settings:?}");
    }
    // Without a valid client key nothing is kept.
    let before = kept_ids(&pool).await;
    let request = pool.client.post(format!("{}{PATH}", pool.url));
    let response = request.header("x-goog-api-key", "wrong").body("{}");
    assert_eq!(response.send().await.unwrap().status(), 401);
    assert_eq!(kept_ids(&pool).await, before);
}

#[tokio::test]
async fn errors_are_kept_without_any_secret() {
    let answer = format!(
        r#"{{"error":{{"code":400,"message":"bad {SECRET} of projects/{PROJECT}","status":"INVALID_ARGUMENT"}}}}"#
    );
    let behaviour = Behaviour::Sequence(vec![
        Behaviour::FixedResponse(400, answer),
        Behaviour::Healthy,
    ]);
    let pool = pool(behaviour, "errors").await;
    let body =
        format!(r#"{{"contents":[{{"parts":[{{"text":"{CLIENT_KEY} and {SECRET}<b>"}}]}}]}}"#);
    let failed = post(&pool, &body).await;
    let succeeded = post(&pool, &body).await;
    assert_eq!(
        (failed.status.as_u16(), succeeded.status.as_u16()),
        (400, 200)
    );

    let bodies = kept(&pool, failed.id()).await.unwrap();
    assert_eq!(kept(&pool, succeeded.id()).await, None);
    let mut admin = AdminClient::sign_in(&pool).await;
    let page = admin
        .get_page(&format!("/logs/{}/bodies", failed.id()))
        .await;

    let request = bodies.request.text().unwrap().unwrap();
    assert!(
        request.contains("[redacted] and [redacted]<b>"),
        "{request}"
    );
    let answer = bodies.answer.text().unwrap().unwrap();
    assert!(
        answer.contains("bad [redacted] of projects/[redacted]"),
        "{answer}"
    );
    assert!(page.contains("[redacted]&lt;b&gt;"), "{page}");
    for text in [request, answer, page] {
        for secret in [SECRET, CLIENT_KEY, PROJECT] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

#[tokio::test]
async fn a_view_of_bodies_is_in_the_audit_and_puts_a_stream_together() {
    let pool = pool(Behaviour::Healthy, "all").await;
    let response = pool.fetch(TestRequest::StreamSse).await;
    pool.app.body_log.settle().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let views = async || {
        let filter = AuditFilter {
            action: Some(Action::View),
            ..AuditFilter::default()
        };
        let page = audit::list(pool.settled().await, &filter, None, 9).await;
        page.unwrap().items
    };

    let detail = admin.get_page(&format!("/logs/{}", response.id())).await;
    let path = format!("/logs/{}/bodies", response.id());
    assert!(detail.contains(&format!("href=\"{path}\"")));
    assert!(!detail.contains("Why is the sky blue?"));
    assert_eq!(views().await, []);
    let page = admin.get_page(&path).await;

    assert!(page.contains("Why is the sky blue?"), "{page}");
    assert!(page.contains("<summary>Text</summary>"), "{page}");
    assert!(page.contains("<summary>Events</summary>"), "{page}");
    let views = views().await;
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].subject, Subject::RequestBodies);
    assert_eq!(views[0].name, response.id());
    assert!(views[0].actor.starts_with("admin:"));
    let audit = admin.get_page("/audit").await;
    assert!(audit.contains("viewed") && audit.contains(response.id()));
    let api = pool.admin_api().await;
    let bodies = api.get(&path).await;
    assert_eq!(bodies["request"]["text"], TestRequest::StreamSse.body());
    assert_eq!(bodies["response"]["form"], "whole", "{bodies}");
    let last = &api.get("/audit?action=view").await["items"][0];
    assert_eq!(last["actor"], "token:tests", "{last}");
    let unknown = format!("/logs/{}/bodies", RequestId(1));
    let answer = admin.request(Method::GET, &unknown).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    // Exports and lists contain no bodies.
    let export = admin.get_page("/logs/export.jsonl").await;
    assert!(export.contains(response.id()) && !export.contains("sky blue"));
}

#[tokio::test]
async fn a_long_body_is_cut_for_the_record_only() {
    let pool = pool(Behaviour::Healthy, "all").await;
    pool.set(&[("body_log_max_bytes", "1024")]).await;
    let text = "sky ".repeat(2_000);
    let body = GENERATE_BODY.replace("Why", &text);

    let response = post(&pool, &body).await;

    assert_eq!(response.status, 200);
    let bodies = kept(&pool, response.id()).await.unwrap();
    assert_eq!(bodies.request.form, BodyForm::Cut);
    assert_eq!(bodies.request.text().unwrap().unwrap(), body[..1_024]);
    assert_eq!(bodies.request.bytes, u64::try_from(body.len()).unwrap());
}

#[tokio::test]
async fn bodies_are_deleted_by_their_own_limits_and_with_their_rows() {
    let pool = pool(Behaviour::Healthy, "all").await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let id: RequestId = pool
            .fetch(TestRequest::Generate)
            .await
            .id()
            .parse()
            .unwrap();
        ids.push(id.0);
    }
    assert_eq!(kept_ids(&pool).await, ids);
    let total = request_bodies::total_bytes(&pool.app.db.readers)
        .await
        .unwrap();

    let limit = (total - 1).to_string();
    pool.set(&[("body_log_max_total_bytes", &limit)]).await;
    // The task of the server sees the change and deletes the body; a pass of the test beside it would delete one more.
    eventually("the oldest body is deleted", async || {
        (kept_ids(&pool).await.len() < ids.len()).then_some(())
    })
    .await;
    assert_eq!(kept_ids(&pool).await, ids[1..]);

    let later = clock::now() + Duration::from_hours(4 * 24);
    prune_logs::pass(&pool.app, later).await.unwrap();
    assert_eq!(kept_ids(&pool).await, [0; 0]);
    assert_eq!(pool.rows().await.len(), 4);

    pool.fetch(TestRequest::Generate).await;
    assert_eq!(kept_ids(&pool).await.len(), 1);
    pool.set(&[("body_log_retention_days", "1000")]).await;
    let much_later = clock::now() + Duration::from_hours(100 * 24);
    prune_logs::pass(&pool.app, much_later).await.unwrap();
    assert_eq!(pool.rows().await.len(), 0);
    assert_eq!(kept_ids(&pool).await, [0; 0]);
}
