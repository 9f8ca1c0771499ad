//! A client key gets a second secret for a time.

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::storage::audit::{self, Action, AuditFilter};
use gemini_pool::tasks::sweep;
use reqwest::Response;
use reqwest::header::LOCATION;

use crate::support::admin::AdminClient;
use crate::support::process::{PoolProcess, command};
use crate::support::requests::GENERATE_BODY;
use crate::support::{CLIENT_ID, CLIENT_KEY, TestPool, eventually, http_client};

async fn pool() -> TestPool {
    let key = FakeKey::healthy("AIza-key-behind-the-rotation-01", "projects/1");
    TestPool::with_keys([key]).await
}

async fn send(pool: &TestPool, secret: &str) -> u16 {
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    let request = pool.client.post(format!("{}{path}", pool.url));
    let request = request.header("x-goog-api-key", secret).body(GENERATE_BODY);
    request.send().await.unwrap().status().as_u16()
}

fn target(answer: &Response) -> &str {
    assert_eq!(answer.status(), 303);
    answer.headers()[LOCATION].to_str().unwrap()
}

/// Rotates the client key and returns its new secret.
async fn rotate(admin: &mut AdminClient, keep_old: &str) -> String {
    let form = admin.get_page("/client-keys/1/rotate").await;
    assert!(form.contains("value=\"day\" selected"), "{form}");
    let answer = admin
        .submit("/client-keys/1/rotate", &[("keep_old", keep_old)])
        .await;
    let page = admin.get_page(target(&answer)).await;
    let secret = page
        .split("<pre id=\"secret\" tabindex=\"0\"><code>")
        .nth(1);
    let secret = secret.and_then(|rest| rest.split('<').next());
    secret.unwrap_or_else(|| panic!("{page}")).to_owned()
}

#[tokio::test]
async fn both_secrets_work_until_the_end_of_the_old_one() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;

    let new = rotate(&mut admin, "hour").await;

    let again = admin.get_page("/client-keys/1/rotated").await;
    assert!(again.contains("This key was already shown"), "{again}");
    let page = admin.get_page("/client-keys/1").await;
    assert!(page.contains("The old secret …"), "{page}");
    assert!(page.contains("not used since the rotation"), "{page}");
    assert_eq!(
        [send(&pool, &new).await, send(&pool, CLIENT_KEY).await],
        [200, 200]
    );
    let rows = pool.rows().await;
    assert!(rows.iter().all(|row| row.client_key_id == Some(CLIENT_ID)));
    let page = admin.get_page("/client-keys/1").await;
    assert!(!page.contains("not used since the rotation"), "{page}");
    assert!(!page.contains(&new), "{page}");
    // Stored, and shown from there.
    sweep::pass(&pool.app, clock::now()).await;
    assert!(pool.app.old_secret_uses.lock().is_empty());
    let page = admin.get_page("/client-keys/1").await;
    assert!(!page.contains("not used since the rotation"), "{page}");

    let ended = admin.submit("/client-keys/1/old-secret/end", &[]).await;
    assert_eq!(target(&ended), "/client-keys/1");

    assert_eq!(
        [send(&pool, &new).await, send(&pool, CLIENT_KEY).await],
        [200, 401]
    );
    let page = admin.get_page("/client-keys/1").await;
    assert!(!page.contains("The old secret …"), "{page}");
    assert!(page.contains("Old secret valid until"), "{page}");
    let changes = audit::list(pool.settled().await, &AuditFilter::default(), None, 100).await;
    let changes = changes.unwrap().items;
    let rotated = changes
        .iter()
        .filter(|change| change.action == Action::Rotate);
    assert_eq!(rotated.count(), 2);
    assert!(!format!("{changes:?}").contains(&new));
}

#[tokio::test]
async fn a_leaked_secret_ends_at_once() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;

    let new = rotate(&mut admin, "not").await;

    assert_eq!(
        [send(&pool, &new).await, send(&pool, CLIENT_KEY).await],
        [200, 401]
    );
    let page = admin.get_page("/client-keys/1").await;
    assert!(!page.contains("The old secret …"), "{page}");
}

#[tokio::test]
async fn the_command_rotates_beside_a_running_server_and_the_environment_adds_nothing_again() {
    const UPSTREAM: &str = "AIza-key-behind-the-rotation-02";
    let pool = TestPool::with_keys([FakeKey::healthy(UPSTREAM, "projects/1")]).await;
    let google = pool.google.url();
    let folder = tempfile::tempdir().unwrap();
    let keys = [UPSTREAM.to_owned()];
    let process = PoolProcess::start(folder.path(), &google, &keys).await;
    let send = async |process: &PoolProcess, secret: &str| {
        let path = "/v1beta/models/gemini-2.5-flash:generateContent";
        let request = http_client()
            .build()
            .unwrap()
            .post(format!("{}{path}", process.url));
        let request = request.header("x-goog-api-key", secret).body(GENERATE_BODY);
        request.send().await.unwrap().status().as_u16()
    };
    let rotate = |keep_old: &str| {
        let mut rotate = command(folder.path());
        rotate.args(["client-keys", "rotate", "1", "--keep-old", keep_old]);
        let output = rotate
            .stdout(std::process::Stdio::piped())
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };

    let new = rotate("1h");
    eventually("the server accepts the new secret", async || {
        (send(&process, &new).await == 200).then_some(())
    })
    .await;
    assert_eq!(send(&process, CLIENT_KEY).await, 200);
    let newest = rotate("0s");
    eventually("the server accepts the newest secret", async || {
        (send(&process, &newest).await == 200).then_some(())
    })
    .await;
    // Of many failures from one address the later ones get 429.
    for ended in [new.as_str(), CLIENT_KEY] {
        let status = send(&process, ended).await;
        assert!([401, 429].contains(&status), "{status}");
    }
    process.kill();
    let process = PoolProcess::start(folder.path(), &google, &keys).await;

    assert_eq!(
        [
            send(&process, &newest).await,
            send(&process, CLIENT_KEY).await
        ],
        [200, 401]
    );
}
