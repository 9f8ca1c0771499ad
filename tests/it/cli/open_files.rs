//! More connections than the limit of open files that shells and systems usually set.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::TIMEOUT;
use crate::support::process::{PoolProcess, command_after};

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
