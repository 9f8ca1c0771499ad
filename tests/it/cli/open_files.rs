//! More connections than the limit of open files that shells and systems usually set.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::process::{PoolProcess, command_after};
use crate::support::requests::{ClientResponse, TestRequest};
use crate::support::{CLIENT_KEY, TIMEOUT, http_client};

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_open_files_is_raised_and_more_connections_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = command_after("ulimit -Sn 64; ulimit -Hn 1024", folder.path());
    serve.arg("serve").env("UPSTREAM_URL", "http://127.0.0.1:9");

    let pool = PoolProcess::spawn(serve).listening().await;

    let log = pool.log();
    assert!(log.contains("soft_limit=64 hard_limit=1024"), "{log}");
    let address = pool.url.strip_prefix("http://").unwrap();
    let mut open = Vec::new();
    for number in 0..200 {
        let answered = tokio::time::timeout(TIMEOUT, async {
            let mut connection = TcpStream::connect(address).await.unwrap();
            let request = b"GET /healthz HTTP/1.1\r\nhost: pool\r\n\r\n";
            connection.write_all(request).await.unwrap();
            let mut answer = [0; 15];
            connection.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            connection
        });
        let answered = answered.await;
        open.push(answered.unwrap_or_else(|_| panic!("connection {number} got no answer")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_make_room_for_clients_where_files_are_short() {
    let google = FakeGemini::start(FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]));
    let google = google.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = command_after("ulimit -n 200", folder.path());
    let pool = PoolProcess::launch(program, folder.path(), &google.url(), &[KEY.to_owned()]).await;
    let address = pool.url.strip_prefix("http://").unwrap();
    let mut silent = Vec::new();
    for number in 0..400 {
        let mut connection = TcpStream::connect(address).await.unwrap();
        // Some say nothing, some stop in the middle of what they begin with.
        let beginning = ["", "P", "GET / HT"][number % 3];
        connection.write_all(beginning.as_bytes()).await.unwrap();
        silent.push(connection);
    }

    for _ in 0..20 {
        // A connection of its own for each.
        let client = http_client().build().unwrap();
        let answer = tokio::time::timeout(TIMEOUT, post(&client, &pool.url, ""));
        assert_eq!(answer.await.expect("an answer in time").status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_files_says_so_and_does_not_call_google_unreachable() {
    let google = FakeGemini::start(FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]));
    let google = google.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = command_after("ulimit -n 120", folder.path());
    let pool = PoolProcess::launch(program, folder.path(), &google.url(), &[KEY.to_owned()]).await;
    let client = http_client().build().unwrap();
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let (client, url) = (client.clone(), pool.url.clone());
        requests.spawn(async move { post(&client, &url, "first_byte=3600000").await });
    }

    let refused = tokio::time::timeout(TIMEOUT, requests.join_next()).await;

    let refused = refused.expect("an answer in time").unwrap().unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("open files"), "{}", refused.text());
}

async fn post(client: &reqwest::Client, url: &str, order: &str) -> ClientResponse {
    let request = client
        .post(format!("{url}{}", TestRequest::Generate.path()))
        .header("x-goog-api-key", CLIENT_KEY)
        .header("x-fake-gemini", order)
        .body(TestRequest::Generate.body());
    ClientResponse::whole(request.send().await.unwrap()).await
}
