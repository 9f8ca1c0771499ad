//! Client keys created and changed in a browser without JavaScript apply to the next request.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use serde_json::json;

use crate::support::TestPool;
use crate::support::admin::AdminClient;
use crate::support::browser::Browser;
use crate::support::requests::GENERATE_BODY;

async fn send_request(pool: &TestPool, secret: &str) -> u16 {
    let url = format!(
        "{}/v1beta/models/gemini-2.5-flash:generateContent",
        pool.url
    );
    let request = pool.client.post(url).header("x-goog-api-key", secret);
    let request = request
        .header("content-type", "application/json")
        .body(GENERATE_BODY);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_client_key_is_created_shown_once_limited_disabled_and_deleted() {
    let pool = TestPool::with_keys([FakeKey::healthy(
        "AIza-key-behind-the-clients-01",
        "projects/1",
    )])
    .await;
    let Some(browser) = Browser::without_javascript(&pool).await else {
        return;
    };
    browser.sign_in().await;

    browser.open("/client-keys").await;
    browser.click("New client key").await;
    browser.fill("Name", "notebook").await;
    browser.fill("Requests per day", "many").await;
    browser.click("Create key").await;
    browser
        .wait_for_text("Enter a whole number of at least 1")
        .await;
    browser.fill("Requests per day", "2").await;
    browser.click("Create key").await;
    browser.wait_for_text("Copy it now").await;
    let secret = browser.texts("#secret").await.remove(0);
    assert!(browser.source().await.contains(&pool.url));
    assert_eq!(send_request(&pool, &secret).await, 200);

    browser.reload().await;
    browser.wait_for_text("This key was already shown").await;
    assert!(!browser.source().await.contains(&secret));
    browser.click("View key").await;
    browser.wait_for_text("1 of 2").await;
    assert!(!browser.source().await.contains(&secret));
    assert_eq!(
        [
            send_request(&pool, &secret).await,
            send_request(&pool, &secret).await
        ],
        [200, 429]
    );

    browser.click("Edit").await;
    browser.fill("Requests per day", "").await;
    browser.click("Save").await;
    browser.wait_for_text("Saved notebook").await;
    assert_eq!(send_request(&pool, &secret).await, 200);
    browser.click("Disable").await;
    browser.wait_for_text("notebook is disabled").await;
    assert_eq!(send_request(&pool, &secret).await, 403);
    browser.click("Undo").await;
    browser.wait_for_text("notebook is enabled").await;
    assert_eq!(send_request(&pool, &secret).await, 200);

    browser.click("Delete…").await;
    browser.click("Delete key").await;
    browser
        .wait_for_text("Deleted the client key of notebook")
        .await;
    assert_eq!(send_request(&pool, &secret).await, 401);
    browser.fill("q", "nothing like it").await;
    browser.click("Search").await;
    browser.wait_for_text("No client key matches").await;
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn an_invalid_value_is_reported_at_its_field() {
    let pool = TestPool::with_keys([]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let cases = [
        ("name", "", "A name has 1 to 100 characters"),
        ("expires", "2020-01-01T00:00", "This time is in the past"),
        ("expires", "soon", "Enter a date and time"),
        ("cost_per_month", "10€", "Enter an amount in dollars"),
        ("concurrency", "0", "Enter a whole number of at least 1"),
        ("models", "gemini-[", "close each bracket"),
        ("paths", "openai", "A path begins with /"),
        (
            "addresses",
            "example.com",
            "is not an IP address or network",
        ),
        ("tags", "team a", "A tag must not contain spaces"),
    ];
    for (field, value, message) in cases {
        let fields = [("name", "notebook"), (field, value)];
        let fields = if field == "name" {
            &fields[1..]
        } else {
            &fields
        };
        let answer = admin.submit("/client-keys", fields).await;

        assert_eq!(answer.status(), 422, "{field}: {value}");
        let page = answer.text().await.unwrap();
        assert!(page.contains(message), "{field}: {value}: {page}");
        // The summary leads to the field, which has the focus and names its error.
        assert!(
            page.contains(&format!("href=\"#{field}\"")),
            "{field}: {page}"
        );
        let invalid = format!(r#"aria-describedby="{field}-error"#);
        assert!(page.contains(&invalid), "{field}: {page}");
        assert_eq!(
            page.matches(r#"aria-invalid="true" autofocus"#).count(),
            1,
            "{field}"
        );
    }
    let listed = admin.get_page("/client-keys").await;
    assert!(!listed.contains("notebook"));
}

#[tokio::test]
async fn two_client_keys_cannot_have_one_name() {
    let pool = TestPool::with_keys([]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let limited = [("name", "notebook"), ("requests_per_day", "5")];
    assert_eq!(admin.submit("/client-keys", &limited).await.status(), 303);
    let api = pool.admin_api().await;
    let other = api.post("/client-keys", &json!({ "name": "other" })).await;
    let path = format!("/client-keys/{}", other.json["id"]);

    let again = admin.submit("/client-keys", &limited).await;
    let renamed = admin.submit(&path, &[("name", "notebook")]).await;
    let by_api = api
        .post("/client-keys", &json!({ "name": "notebook" }))
        .await;
    let unchanged = admin
        .submit(&path, &[("name", "other"), ("note", "x")])
        .await;

    assert_eq!(
        (again.status().as_u16(), renamed.status().as_u16()),
        (422, 422)
    );
    assert!(
        again
            .text()
            .await
            .unwrap()
            .contains("Another client key has this name")
    );
    assert_eq!(
        (by_api.status.as_u16(), unchanged.status().as_u16()),
        (422, 303)
    );
    // A key with limits is one entry of the audit.
    let audit = api.get("/audit?subject=client_key&action=create").await;
    let created = &audit["items"][1];
    assert_eq!(
        (&created["name"], &created["after"]["requests_per_day"]),
        (&json!("notebook"), &json!(5))
    );
    assert_eq!(audit["items"][1]["revision"], created["revision"]);
}

#[tokio::test]
async fn many_client_keys_are_changed_at_once_and_back() {
    let pool = TestPool::with_keys([]).await;
    let api = pool.admin_api().await;
    for number in 1..=40 {
        let body = json!({ "name": format!("team-{number:02}"), "tags": ["old"] });
        assert_eq!(api.post("/client-keys", &body).await.status, 201);
    }
    let Some(browser) = Browser::without_javascript(&pool).await else {
        return;
    };
    browser.sign_in().await;
    let with = async |query: &str| {
        api.get(&format!("/client-keys?{query}")).await["items"]
            .as_array()
            .unwrap()
            .len()
    };

    browser.open("/client-keys?q=team").await;
    browser.click("Change…").await;
    browser.wait_for_text("No keys selected").await;
    browser.fill("scope", "all 40 that match").await;
    browser.click("Change…").await;
    browser.wait_for_text("Change 40 client keys").await;
    browser.wait_for_text("and 28 more").await;
    browser.fill("Requests per day", "many").await;
    browser.click("Change 40 client keys").await;
    browser.wait_for_text("0 for no limit").await;
    browser.fill("Requests per day", "5").await;
    browser.fill("Add tags", "new").await;
    browser.fill("Remove tags", "old").await;
    let fallback = async || {
        let keys = api.get("/client-keys?q=team-40").await;
        keys["items"][0]["model_fallback"].clone()
    };
    let field = "Models that may answer instead";
    browser.fill(field, "gemini-2.5-pro >").await;
    browser.click("Change 40 client keys").await;
    browser.wait_for_text("Enter chains of models").await;
    browser
        .fill(field, "gemini-2.5-pro > gemini-2.5-flash")
        .await;
    browser.screenshot("client-keys-bulk").await;
    browser.click("Change 40 client keys").await;
    browser.wait_for_text("40 client keys changed").await;
    assert_eq!((with("tag=new").await, with("tag=old").await), (40, 0));
    assert_eq!(fallback().await, "gemini-2.5-pro > gemini-2.5-flash");
    // Many short transactions, and one button for all of them.
    let acts = api.get("/undoable-acts").await;
    assert!(acts["items"].as_array().unwrap().len() > 1, "{acts}");
    browser.click("Undo").await;
    browser.wait_for_text("40 changes undone").await;
    assert_eq!((with("tag=new").await, with("tag=old").await), (0, 40));
    assert_eq!(fallback().await, json!(null));

    browser.fill("scope", "all 40 that match").await;
    browser.click("Delete…").await;
    browser.wait_for_text("Delete 40 client keys").await;
    browser.click("Delete 40 client keys").await;
    browser.wait_for_text("40 client keys deleted").await;
    assert_eq!(with("q=team").await, 0);
    browser.click("Undo").await;
    browser.wait_for_text("40 changes undone").await;
    assert_eq!(with("q=team").await, 40);

    browser.open("/client-keys?q=team-01").await;
    browser.fill("scope", "all 1 that match").await;
    browser.click("Disable").await;
    browser.click("Disable 1 client key").await;
    browser.wait_for_text("1 client key disabled").await;
    assert_eq!(
        (
            with("state=disabled").await,
            with("state=enabled&q=team").await
        ),
        (1, 39)
    );
    assert_eq!(browser.console_errors().await, [""; 0]);
}
