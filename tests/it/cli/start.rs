//! A start that fails leaves nothing that a later one would miss.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::support::process::{PoolProcess, command, command_after};

#[test]
fn a_busy_port_at_the_first_start_leaves_the_admin_and_the_keys_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = || {
        let mut serve = command(folder.path());
        serve
            .env("LISTEN", &address)
            .env("GEMINI_API_KEYS", "AIza-key-0001");
        serve.stderr(Stdio::piped()).stdout(Stdio::piped());
        serve
    };

    let ended = serve().output().unwrap();

    let reported = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{reported}");
    for part in [
        "cannot listen on",
        &address,
        "another program",
        "--listen",
        "LISTEN",
    ] {
        assert!(reported.contains(part), "{part}: {reported}");
    }
    assert_eq!(ended.stdout, b"");
    assert!(!folder.path().join("pool.db").exists());

    drop(taken);
    let mut next = Ended(serve().stderr(Stdio::null()).spawn().unwrap());
    let lines = BufReader::new(next.0.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    assert!(lines.any(|line| line.contains("Password") && line.contains("shown only once")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_a_database_is_told_so_even_where_the_port_is_taken_too() {
    let folder = tempfile::tempdir().unwrap();
    let first = PoolProcess::start(folder.path(), "http://127.0.0.1:9", &[]).await;
    let address = first.url.strip_prefix("http://").unwrap();

    let mut second = command(folder.path());
    second.env("LISTEN", address).stderr(Stdio::piped());
    let ended = second.output().unwrap();

    let reported = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{reported}");
    assert!(
        reported.contains("pool.db as a server: stop it first"),
        "{reported}"
    );
}

#[test]
fn an_address_that_cannot_be_listened_on_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["serve"][..], &["demo"]] {
        // Of a network for documentation: no machine has it.
        let mut program: Command = command(folder.path());
        program
            .args(arguments)
            .args(["--listen", "192.0.2.1:8000"])
            .stderr(Stdio::piped());
        let ended = program.output().unwrap();

        let reported = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{reported}");
        for part in [
            "cannot listen on 192.0.2.1:8000",
            "no such address",
            "--listen",
        ] {
            assert!(reported.contains(part), "{part}: {reported}");
        }
    }
}

#[test]
fn a_start_on_a_full_disk_names_the_file_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let demo = ["demo", "--keep", "pool.db", "--listen", "127.0.0.1:0"];
    for arguments in [&["serve"][..], &demo] {
        // Writing beyond the limit fails, as on a full disk.
        let mut program = command_after(r#"trap "" XFSZ; ulimit -f 16"#, folder.path());
        program.args(arguments).stderr(Stdio::piped());

        let ended = program.output().unwrap();

        let reported = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{reported}");
        for part in ["pool.db is full", "free space"] {
            assert!(reported.contains(part), "{part}: {reported}");
        }
    }
}

/// A program that ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_can_be_a_port_or_a_name() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    for (listen, expected) in [
        (format!("{port}"), format!("http://0.0.0.0:{port}")),
        (format!(":{port}"), format!("http://0.0.0.0:{port}")),
        (
            format!("localhost:{port}"),
            format!("http://127.0.0.1:{port}"),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut serve = command(folder.path());
        serve.arg("serve").env("LISTEN", &listen);
        let mut server = PoolProcess::spawn(serve).listening().await;
        assert_eq!(server.url, expected, "{listen}");

        // The terminal is closed.
        server.signal("HUP");
        assert!(server.ended().await.success(), "{}", server.log());
    }
    for arguments in [&["serve"][..], &["demo", "--listen", "example.com:80"]] {
        let folder = tempfile::tempdir().unwrap();
        let mut program = command(folder.path());
        program
            .args(arguments)
            .env("LISTEN", "example.com:80")
            .stderr(Stdio::piped());
        let ended = program.output().unwrap();
        let reported = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{reported}");
        assert!(
            reported.contains("\"example.com:80\" is no address"),
            "{reported}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_variables_without_effect_are_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |password: &str, keys: &str| {
        let mut serve = command(folder.path());
        serve
            .arg("serve")
            .env("ADMIN_PASSWORD", password)
            .env("ALLOWED_API_KEYS", keys);
        let server = PoolProcess::spawn(serve).listening().await;
        let log = server.log();
        server.kill();
        log
    };
    let (first, second) = ("the-first-client-key", "the-second-client-key");
    let log = start("a-first-long-password", &format!("{first},{second}")).await;
    assert!(
        !log.contains("no effect") && !log.contains("still work"),
        "{log}"
    );
    let log = start("a-first-long-password", first).await;
    assert!(!log.contains("no effect"), "{log}");
    assert!(
        log.contains("still work: env-2 (id 2)") && log.contains("client-keys remove"),
        "{log}"
    );
    let log = start("another-long-password", &format!("{first},{second}")).await;
    assert!(
        log.contains("ADMIN_PASSWORD has no effect") && log.contains("set-password"),
        "{log}"
    );
    assert!(!log.contains("still work"), "{log}");
    let log = start("", "").await;
    assert!(
        log.contains("still work: env-1 (id 1), env-2 (id 2)"),
        "{log}"
    );
}
