//! An admin adds, finds, tests, changes and deletes upstream keys by forms.

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::keys::upstream_key::UpstreamKeyId;
use gemini_pool::storage::audit::{self, AuditFilter, Subject};
use reqwest::header::LOCATION;
use reqwest::{Method, Response};

use crate::support::admin::AdminClient;
use crate::support::{TestPool, eventually};

const FIRST: &str = "AIzaSyTheFirstKeyOfThePoolUnderTest0001";
const SECOND: &str = "AIzaSyTheSecondKeyOfThePoolUnderTest002";
const LEAKED: &str = "AIzaSyTheLeakedKeyOfThePoolUnderTest003";

fn pool_of_three() -> [FakeKey; 3] {
    [
        FakeKey::healthy(FIRST, "projects/1"),
        FakeKey::healthy(SECOND, "projects/2"),
        FakeKey::new(LEAKED, "projects/3", Behaviour::Leaked),
    ]
}

fn target(answer: &Response) -> String {
    assert_eq!(answer.status(), 303);
    answer.headers()[LOCATION].to_str().unwrap().to_owned()
}

fn assert_shows_no_secret(page: &str) {
    for secret in [FIRST, SECOND, LEAKED] {
        assert!(!page.contains(secret), "{page}");
    }
}

async fn actions(pool: &TestPool) -> Vec<String> {
    let page = audit::list(pool.settled().await, &AuditFilter::default(), None, 100).await;
    let changes = page.unwrap().items.into_iter().rev();
    changes
        .filter(|change| change.actor == "admin:admin" && change.subject == Subject::UpstreamKey)
        .map(|change| {
            assert_eq!(change.address.as_deref(), Some("127.0.0.1"));
            let action = serde_json::to_value(change.action).unwrap();
            format!("{} {}", action.as_str().unwrap(), change.name)
        })
        .collect()
}

#[tokio::test]
async fn pasted_keys_are_shown_masked_and_added_after_confirmation() {
    let known = FakeKey::healthy(FIRST, "projects/1");
    let google = FakeConfig::with_keys(pool_of_three());
    let google = gemini_pool::demo::fake_gemini::FakeGemini::start(google)
        .await
        .unwrap();
    let pool = TestPool::with_upstream(
        google,
        vec![known.secret.clone()],
        &[("check_new_keys", "on")],
    )
    .await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let text = format!("key,label,tags\n{SECOND},second,a b\n{LEAKED},third,\n{FIRST},,\nx y,,\n");
    admin.get_page("/upstream-keys/import").await;

    let answer = admin
        .submit("/upstream-keys/import", &[("text", &text)])
        .await;

    let preview = target(&answer);
    let page = admin.get_page(&preview).await;
    assert_shows_no_secret(&page);
    for shown in [
        "second",
        "third",
        "Already in the pool",
        "Not taken",
        "t002",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let invalid = admin.submit(&preview, &[("priority", "high")]).await;
    assert_eq!(invalid.status(), 422);
    let job = target(&admin.submit(&preview, &[("project", "team")]).await);
    let page = admin.get_page(&job).await;
    assert!(
        page.contains("2 added, 0 restored, 1 already in the pool"),
        "{page}"
    );
    let again = admin.request(Method::GET, &preview).send().await.unwrap();
    assert_eq!(
        again.status(),
        404,
        "the pasted text is erased after the import"
    );

    let keys = pool.keys().await;
    let stored: Vec<_> = keys
        .iter()
        .map(|key| (key.label.as_str(), key.project.as_deref()))
        .collect();
    assert_eq!(
        stored[1..],
        [("second", Some("team")), ("third", Some("team"))]
    );
    assert_eq!(keys[1].tags, ["a", "b"]);
    // The new keys are checked, and the page shows the results.
    let list = eventually("the leaked key is marked as leaked", async || {
        let page = admin.get_page("/upstream-keys?state=leaked").await;
        page.contains("third").then_some(page)
    })
    .await;
    assert!(!list.contains(">second<"), "{list}");
    assert_eq!(actions(&pool).await[0], "create second");
}

#[tokio::test]
async fn selected_keys_are_changed_and_a_removal_is_undone() {
    let pool = TestPool::with_keys(pool_of_three()).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let page = admin.get_page("/upstream-keys").await;
    assert_shows_no_secret(&page);
    let bulk = "/upstream-keys/bulk";

    let nothing = admin.submit(bulk, &[("action", "disable")]).await;
    assert_eq!(target(&nothing), "/upstream-keys");
    let page = admin.get_page("/upstream-keys").await;
    assert!(page.contains("No keys selected"), "{page}");

    let one = [
        ("action", "disable"),
        ("id", "1"),
        ("back", "/upstream-keys?sort=label"),
    ];
    assert_eq!(
        target(&admin.submit(bulk, &one).await),
        "/upstream-keys?sort=label"
    );
    let page = admin.get_page("/upstream-keys?state=disabled").await;
    assert!(page.contains("1 upstream key disabled"), "{page}");
    assert!(page.contains("href=\"/upstream-keys/1\""), "{page}");
    assert!(!page.contains("href=\"/upstream-keys/2\""), "{page}");

    let tag = [
        ("action", "tag"),
        ("scope", "all"),
        ("back", "/upstream-keys"),
    ];
    let confirmation = admin.submit(bulk, &tag).await.text().await.unwrap();
    assert!(
        confirmation.contains("Tag 3 upstream keys"),
        "{confirmation}"
    );
    let tagged = [
        tag[0],
        tag[1],
        tag[2],
        ("confirmed", "1"),
        ("add_tags", "eu, fast"),
    ];
    target(&admin.submit(bulk, &tagged).await);
    let page = admin.get_page("/upstream-keys?tag=fast").await;
    assert!(page.contains("3 upstream keys changed"), "{page}");

    let delete = [
        ("action", "delete"),
        ("id", "1"),
        ("id", "2"),
        ("back", "/upstream-keys"),
    ];
    let confirmation = admin.submit(bulk, &delete).await.text().await.unwrap();
    assert!(
        confirmation.contains("Delete 2 upstream keys"),
        "{confirmation}"
    );
    assert_eq!(
        pool.keys().await.len(),
        3,
        "nothing changes before the confirmation"
    );
    let confirmed = [&delete[..], &[("confirmed", "1")]].concat();
    target(&admin.submit(bulk, &confirmed).await);
    assert_eq!(pool.keys().await.len(), 1);
    assert_eq!(pool.app.keys.lock().len(), 1);

    let page = admin.get_page("/upstream-keys").await;
    let undo = page.split("action=\"/upstream-keys/undo").nth(1).unwrap();
    let undo = undo.split('"').next().unwrap().replace("&amp;", "&");
    target(
        &admin
            .submit(&format!("/upstream-keys/undo{undo}"), &[])
            .await,
    );
    let page = admin.get_page("/upstream-keys").await;
    assert!(page.contains("2 changes undone"));
    assert_eq!(pool.app.keys.lock().len(), 3);
    let keys = pool.keys().await;
    assert_eq!(keys[0].tags, ["eu", "fast"]);
    assert!(!keys[0].enabled, "a restored key keeps its state");

    let done = actions(&pool).await;
    let count = |action: &str| done.iter().filter(|done| done.starts_with(action)).count();
    let counts = ["disable", "update", "delete", "restore"].map(count);
    assert_eq!(counts, [1, 3, 2, 2]);
}

#[tokio::test]
async fn a_deleted_key_keeps_a_page_and_is_restored_from_it_or_from_the_list() {
    let pool = TestPool::with_keys(pool_of_three()).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let empty = admin.get_page("/upstream-keys/deleted").await;
    assert!(empty.contains("No key was deleted"), "{empty}");
    let delete = [
        ("action", "delete"),
        ("id", "1"),
        ("id", "2"),
        ("id", "3"),
        ("confirmed", "1"),
    ];
    target(&admin.submit("/upstream-keys/bulk", &delete).await);

    let list = admin.get_page("/upstream-keys").await;
    assert!(list.contains("Recently deleted (3)"), "{list}");
    let page = admin.get_page("/upstream-keys/1").await;
    assert!(
        page.contains("This key was deleted. It can be restored"),
        "{page}"
    );
    assert!(page.contains("href=\"/logs?key=1\""), "{page}");
    let deleted = "/upstream-keys/deleted";
    let one = admin.submit(deleted, &[("id", "1")]).await;
    assert_eq!(target(&one), "/upstream-keys/1");
    assert_eq!(pool.app.keys.lock().len(), 1);
    let rest = admin.submit(deleted, &[("id", "2"), ("id", "3")]).await;
    assert_eq!(target(&rest), "/upstream-keys");
    assert_eq!(pool.app.keys.lock().len(), 3);

    target(&admin.submit("/upstream-keys/bulk", &delete).await);
    sqlx::query("UPDATE upstream_keys SET secret = NULL WHERE id = 1")
        .execute(&pool.app.db.writer)
        .await
        .unwrap();
    let page = admin.get_page("/upstream-keys/1").await;
    assert!(
        page.contains("its secret is erased. Add the key again"),
        "{page}"
    );
    let page = admin.get_page(deleted).await;
    assert!(!page.contains("value=\"1\""), "{page}");
}

#[tokio::test]
async fn the_page_of_a_key_shows_the_reason_of_its_state_and_tests_and_edits_it() {
    let pool = TestPool::with_keys(pool_of_three()).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    admin.get_page("/upstream-keys/3").await;

    let test = [
        ("action", "test"),
        ("id", "3"),
        ("back", "/upstream-keys/3"),
    ];
    target(&admin.submit("/upstream-keys/bulk", &test).await);

    let page = admin.get_page("/upstream-keys/3").await;
    assert_shows_no_secret(&page);
    for shown in [
        "was rejected: key reported as leaked",
        "Leaked",
        "Response from Google",
        "Never",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let row = page.split("href=\"/logs/").nth(1).unwrap();
    admin
        .get_page(&format!("/logs/{}", row.split('"').next().unwrap()))
        .await;

    admin.get_page("/upstream-keys/1/edit").await;
    let edit = "/upstream-keys/1/edit";
    let invalid = [("label", "first"), ("priority", "0"), ("weight", "0")];
    assert_eq!(admin.submit(edit, &invalid).await.status(), 422);
    let valid = [
        ("label", "first"),
        ("project", "team"),
        ("billing", "paid"),
        ("priority", "-2"),
        ("weight", "5"),
        ("tags", "eu"),
        ("enabled", "on"),
    ];
    assert_eq!(
        target(&admin.submit(edit, &valid).await),
        "/upstream-keys/1"
    );
    let page = admin.get_page("/upstream-keys/1").await;
    for shown in ["Saved", "first", "team", "paid"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let known = pool.app.keys.lock().get(UpstreamKeyId(1)).cloned();
    let known = known.unwrap();
    assert_eq!(
        (known.priority, known.weight, known.label.as_str()),
        (-2, 5, "first")
    );

    let gone = admin.request(Method::GET, "/upstream-keys/99").send().await;
    assert_eq!(gone.unwrap().status(), 404);
}

#[tokio::test]
async fn a_key_without_quota_for_a_model_is_ready_for_others_and_says_so() {
    let used_up = FakeKey::new(
        FIRST,
        "projects/1",
        Behaviour::QuotaZero("gemini-2.5-flash".to_owned()),
    );
    let healthy = FakeKey::healthy(SECOND, "projects/2");
    let pool = TestPool::with_keys([used_up, healthy]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    for _ in 0..2 {
        assert_eq!(pool.generate().await.status(), 200);
    }

    let page = admin.get_page("/upstream-keys?state=ready").await;
    assert!(page.contains("without gemini-2.5-flash"), "{page}");

    let page = admin.get_page("/upstream-keys/1").await;
    for shown in [
        "Cooldowns",
        "gemini-2.5-flash",
        "no quota for this model",
        "data-countdown",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let clear = [
        ("action", "clear"),
        ("id", "1"),
        ("back", "/upstream-keys/1"),
    ];
    target(&admin.submit("/upstream-keys/bulk", &clear).await);
    let summary = pool
        .app
        .keys
        .lock()
        .key_status_summary(UpstreamKeyId(1), clock::now());
    assert_eq!(summary.unwrap().kind.name(), "ready");
}

#[tokio::test]
async fn billing_and_weight_of_many_keys_are_set_undone_and_exported() {
    let pool = TestPool::with_keys(pool_of_three()).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    admin.get_page("/upstream-keys").await;
    let bulk = "/upstream-keys/bulk";
    let all = [
        ("scope", "all"),
        ("back", "/upstream-keys"),
        ("action", "move"),
        ("confirmed", "1"),
    ];

    let wrong = [&all[..], &[("weight", "0")]].concat();
    assert_eq!(admin.submit(bulk, &wrong).await.status(), 422);
    let set = [&all[..], &[("billing", "paid"), ("weight", "5")]].concat();
    target(&admin.submit(bulk, &set).await);

    let values = async || {
        let keys = pool.keys().await.into_iter();
        let values = keys.map(|key| format!("{:?} {}", key.billing, key.weight));
        values.collect::<Vec<_>>()
    };
    assert_eq!(values().await, ["Paid 5"; 3]);
    let page = admin.get_page("/upstream-keys").await;
    let undo = page.split("action=\"/upstream-keys/undo").nth(1).unwrap();
    let undo = undo.split('"').next().unwrap().replace("&amp;", "&");
    let undo = format!("/upstream-keys/undo{undo}");
    target(&admin.submit(&undo, &[]).await);
    assert_eq!(values().await, ["Unknown 1"; 3]);

    let some = [("action", "export"), ("id", "1"), ("id", "3")];
    let file = admin.submit(bulk, &some).await;
    let disposition = file.headers()["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("attachment; filename=\"gemini-pool-upstream-keys-"));
    let lines = file.text().await.unwrap();
    assert_shows_no_secret(&lines);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(
        lines[0],
        "key,label,project,billing,priority,weight,tags,enabled"
    );
    assert_eq!(lines[1], "…0001,key-0001,,unknown,0,1,,true");
}
