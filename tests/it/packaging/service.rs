//! Under systemd: its socket outlasts a restart, it learns of readiness and the end, and its unit confines the program.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};

use crate::support::process::{PoolProcess, command, command_after, database};
use crate::support::requests::TestRequest;
use crate::support::{CLIENT_KEY, eventually, http_client};

const KEY: &str = "AIzaSyTheSecretOfKey-0001";
const CLIENTS: usize = 8;
const REQUESTS_OF_A_CLIENT: usize = 125;
const RESTARTS: usize = 3;
/// The exposure that `systemd-analyze security` may report, times ten.
const MAX_EXPOSURE: &str = "20";

/// The program as systemd starts it, with the socket as its first descriptor after the standard ones.
fn with_socket(folder: &Path, listener: &TcpListener) -> Command {
    let mut program = command_after(
        "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1",
        folder,
    );
    program.stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_the_socket_of_systemd_fails_no_request() {
    let google = FakeGemini::start(FakeConfig::with_keys([FakeKey::healthy(KEY, "1")]));
    let google = google.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (upstream, keys) = (google.url(), [KEY.to_owned()]);
    let start = async || {
        let program = with_socket(folder.path(), &listener);
        PoolProcess::launch(program, folder.path(), &upstream, &keys).await
    };
    let mut pool = start().await;
    assert_eq!(pool.url, url);

    let answered = Arc::new(AtomicUsize::new(0));
    let clients = (0..CLIENTS).map(|_| tokio::spawn(send_requests(url.clone(), answered.clone())));
    let clients: Vec<_> = clients.collect();
    let all = CLIENTS * REQUESTS_OF_A_CLIENT;
    for restart in 1..=RESTARTS {
        eventually("some requests are answered", async || {
            let some = answered.load(Ordering::Relaxed) >= restart * all / (RESTARTS + 2);
            some.then_some(())
        })
        .await;
        pool.terminate();
        let ended = pool.ended().await;
        assert!(ended.success(), "{}", pool.log());
        pool = start().await;
    }
    for client in join_all(clients).await {
        client.unwrap();
    }

    assert_eq!(answered.load(Ordering::Relaxed), all);
    pool.terminate();
    pool.ended().await;
    let migrated = command(folder.path()).arg("migrate").status().unwrap();
    assert!(migrated.success());
    let db = database(folder.path()).await;
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM request_logs WHERE outcome = 'success'")
            .fetch_one(&db.readers)
            .await
            .unwrap();
    assert_eq!(usize::try_from(rows).unwrap(), all);
}

/// Each request has a connection of its own, and must be answered by the first.
async fn send_requests(url: String, answered: Arc<AtomicUsize>) {
    let client = http_client().pool_max_idle_per_host(0).build().unwrap();
    for _ in 0..REQUESTS_OF_A_CLIENT {
        let request = client
            .post(format!("{url}{}", TestRequest::Generate.path()))
            .header("x-goog-api-key", CLIENT_KEY)
            .body(TestRequest::Generate.body());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_socket_that_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("LISTEN_FDS=1", "/dev/null", "none of TCP"),
        ("LISTEN_FDS=2", "/dev/null", "passes 2 sockets"),
    ];
    for (variable, file, message) in cases {
        let commands = format!("exec 3<{file}; export LISTEN_PID=$$ {variable}");
        let mut program = command_after(&commands, folder.path());
        let ended = program.stderr(Stdio::piped()).output().unwrap();

        let reported = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{reported}");
        assert!(reported.contains(message), "{reported}");
        assert!(reported.contains("ListenStream="), "{reported}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_notified_of_readiness_life_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let receive = || {
        let mut message = [0; 100];
        let bytes = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..bytes].to_vec()).unwrap()
    };
    let mut serve = command(folder.path());
    serve
        .arg("serve")
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "100000");
    let mut pool = PoolProcess::spawn(serve).listening().await;

    let mut messages: Vec<_> = (0..4).map(|_| receive()).collect();
    pool.terminate();
    assert!(pool.ended().await.success());
    socket.set_nonblocking(true).unwrap();
    let mut message = [0; 100];
    while let Ok(bytes) = socket.recv(&mut message) {
        messages.push(String::from_utf8(message[..bytes].to_vec()).unwrap());
    }

    let number = |line: &str| {
        messages
            .iter()
            .filter(|message| message.trim() == line)
            .count()
    };
    assert_eq!(number("READY=1"), 1, "{messages:?}");
    assert_eq!(number("STOPPING=1"), 1, "{messages:?}");
    assert!(number("WATCHDOG=1") >= 3, "{messages:?}");
}

#[test]
fn the_unit_leaves_the_program_little_to_harm() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/systemd/gemini-pool.service");
    let analysis = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold", MAX_EXPOSURE])
        .arg(unit)
        .output();
    let Ok(analysis) = analysis else {
        // Standard error of passing tests is hidden if it is written with the print macros.
        let left_out = "skipped: systemd-analyze security, which Debian's systemd has\n";
        std::io::stderr().write_all(left_out.as_bytes()).unwrap();
        return;
    };

    let report = String::from_utf8(analysis.stdout).unwrap();
    assert!(report.contains("Overall exposure level"), "{report}");
    assert!(analysis.status.success(), "{report}");
}
