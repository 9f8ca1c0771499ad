//! Client keys created and changed in a browser without JavaScript apply to the next request.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;

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

    browser.click("Delete").await;
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
        ("models", "gemini-[", "Invalid pattern"),
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
    }
    let listed = admin.get_page("/client-keys").await;
    assert!(!listed.contains("notebook"));
}
