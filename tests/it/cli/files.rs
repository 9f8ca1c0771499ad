//! The files that hold keys are for their owner.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::versions::{OLDER, make_database};
use crate::support::eventually;
use crate::support::process::{PoolProcess, command, command_after};

/// A user and a group that nobody has.
const OTHER: u32 = 64_123;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_made_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Whatever the shell allows.
    let program = |arguments: &[&str]| {
        let mut program = command_after("umask 0", folder.path());
        program.args(arguments);
        program
    };
    let done = |arguments: &[&str]| {
        let ended = program(arguments).status().unwrap();
        assert!(ended.success(), "{arguments:?}");
    };

    let server = PoolProcess::spawn(program(&["serve"])).listening().await;
    done(&["upstream-keys", "add", "AIza-secret-1"]);
    for name in ["pool.db-wal", "pool.db-shm", "pool.db.lock"] {
        assert_eq!(mode(&path(name)), 0o600, "{name}");
    }
    fs::create_dir(path("backups")).unwrap();
    done(&["backup", "backups/pool.db"]);
    server.kill();
    done(&["restore", "backups/pool.db"]);
    done(&[
        "--database-url",
        "sqlite://restored.db",
        "restore",
        "pool.db",
    ]);
    make_database(&path("old.db"), OLDER).await;
    fs::set_permissions(path("old.db"), Permissions::from_mode(0o604)).unwrap();
    done(&["--database-url", "sqlite://old.db", "migrate"]);
    let demo = ["demo", "--listen", "127.0.0.1:0", "--keep", "demo.db"];
    let demo = PoolProcess::spawn(program(&demo));
    eventually("the demo has a log", async || {
        path("demo.db-wal").exists().then_some(())
    })
    .await;
    demo.kill();

    let found = files(folder.path());
    for made in ["before-restore", "restored.db", "old.before-", "demo.db"] {
        let is_there = found.iter().any(|file| file.contains(made));
        assert!(is_there, "{made}: {found:?}");
    }
    for file in found {
        assert_eq!(mode(Path::new(&file)), 0o600, "{file}");
    }
}

#[test]
fn a_command_that_creates_the_database_names_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let reported = || {
        let mut add = command(folder.path());
        add.args(["upstream-keys", "add", "AIza-secret-1"]);
        let ended = add.stdout(Stdio::null()).stderr(Stdio::piped()).output();
        let ended = ended.unwrap();
        assert!(ended.status.success());
        String::from_utf8(ended.stderr).unwrap()
    };
    let database = folder.path().join("pool.db");

    let expected = format!("created the database {}\n", database.display());
    assert_eq!(reported(), expected);
    assert_eq!(reported(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_existing_file_only_the_bits_for_others_are_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let reported = || {
        let mut list = command(folder.path());
        list.args(["settings", "list"]).stderr(Stdio::piped());
        let ended = list.output().unwrap();
        assert!(ended.status.success());
        String::from_utf8(ended.stderr).unwrap()
    };
    let migrated = command(folder.path()).arg("migrate").status().unwrap();
    assert!(migrated.success());
    assert_eq!(reported(), "");
    fs::set_permissions(path("pool.db"), Permissions::from_mode(0o664)).unwrap();
    fs::write(path("pool.db.lock"), "").unwrap();
    fs::set_permissions(path("pool.db.lock"), Permissions::from_mode(0o644)).unwrap();

    let first = reported();
    assert_eq!(first.matches("warning: ").count(), 2, "{first}");
    for part in [
        "other users",
        "pool.db (mode 664)",
        "pool.db.lock (mode 644)",
        "group",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert_eq!(mode(&path("pool.db")), 0o660);
    assert_eq!(mode(&path("pool.db.lock")), 0o640);
    let second = reported();
    assert_eq!(second.matches("warning: ").count(), 1, "{second}");
    assert!(second.contains("chmod 600"), "{second}");

    let server = PoolProcess::start(folder.path(), "http://127.0.0.1:9", &[]).await;
    assert_eq!(
        server.log().matches("chmod 600").count(),
        1,
        "{}",
        server.log()
    );
    for name in ["pool.db-wal", "pool.db-shm", "pool.db.lock"] {
        assert_eq!(mode(&path(name)), 0o660, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_makes_belongs_to_the_owner_of_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    if fs::metadata(folder.path()).unwrap().uid() != 0 {
        eprintln!("left out: what root makes, as the tests do not run as root");
        return;
    }
    let done = |program: &mut Command| assert!(program.status().unwrap().success());
    done(command(folder.path()).arg("migrate"));
    for place in [folder.path(), &path("pool.db")] {
        chown(place, Some(OTHER), Some(OTHER)).unwrap();
    }
    let is_others = |name: &str| {
        let file = fs::metadata(path(name)).unwrap();
        assert_eq!((file.uid(), file.gid()), (OTHER, OTHER), "{name}");
        assert_eq!(file.mode() & 0o777, 0o600, "{name}");
    };

    // Root's server makes them all; killed, it leaves them.
    let server = PoolProcess::start(folder.path(), "http://127.0.0.1:9", &[]).await;
    done(command(folder.path()).args(["backup", "copy.db"]));
    server.kill();
    for name in [
        "pool.db",
        "pool.db-wal",
        "pool.db-shm",
        "pool.db.lock",
        "copy.db",
    ] {
        is_others(name);
    }
    done(command(folder.path()).args(["restore", "copy.db"]));
    is_others("pool.db");

    // A copy that every user may start.
    let program = path("gemini-pool");
    fs::copy(env!("CARGO_BIN_EXE_gemini-pool"), &program).unwrap();
    let by_owner = || {
        let mut by_owner = Command::new(&program);
        by_owner.env_clear().current_dir(folder.path());
        by_owner
            .env("DATABASE_URL", "sqlite://pool.db")
            .env("LISTEN", "127.0.0.1:0")
            .stdout(Stdio::null());
        by_owner.uid(OTHER).gid(OTHER);
        by_owner
    };
    let server = PoolProcess::spawn(by_owner()).listening().await;
    done(command(folder.path()).args(["upstream-keys", "add", "AIza-secret-1"]));
    drop(server);
    let server = PoolProcess::spawn(by_owner()).listening().await;
    assert!(server.log().contains("keys=1"), "{}", server.log());
    server.kill();

    // What the owner alone may change is told, and the command goes on.
    chown(path("pool.db"), Some(0), Some(OTHER)).unwrap();
    fs::set_permissions(path("pool.db"), Permissions::from_mode(0o664)).unwrap();
    let mut list = by_owner();
    let ended = list.args(["upstream-keys", "list"]).stderr(Stdio::piped());
    let ended = ended.output().unwrap();
    let reported = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{reported}");
    assert!(reported.contains("cannot be changed"), "{reported}");
    assert_eq!(mode(&path("pool.db")), 0o664);

    // A file that its owner keeps to himself.
    fs::set_permissions(path("pool.db"), Permissions::from_mode(0o600)).unwrap();
    let refused = list.output().unwrap();
    let reported = String::from_utf8(refused.stderr).unwrap();
    assert!(
        reported.contains("belongs to the user 0: run this as that user"),
        "{reported}"
    );
}

fn mode(path: &Path) -> u32 {
    let file = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.mode() & 0o777
}

/// Every file in a folder and below.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_database_that_cannot_be_used_is_named_with_the_user_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    if fs::metadata(folder.path()).unwrap().uid() != 0 {
        return; // Only root can run a program as another user.
    }
    let run = |name: &str, arguments: &[&str], by: u32| {
        let mut program = command(folder.path());
        program
            .args([
                "--database-url",
                &format!("sqlite://{}", path(name).display()),
            ])
            .args(arguments)
            .uid(by)
            .gid(by)
            .stderr(Stdio::piped());
        let ended = program.output().unwrap();
        let reported = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{name}: {reported}");
        reported
    };
    // The program itself lies in a folder of root's.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(
        path("text.db"),
        "this is a text and no database, of more than a hundred characters. ".repeat(20),
    )
    .unwrap();
    let mut add = command(folder.path());
    add.args(["upstream-keys", "add", "AIza-secret-1"])
        .status()
        .unwrap();
    fs::copy(path("pool.db"), path("readable.db")).unwrap();
    fs::set_permissions(path("readable.db"), Permissions::from_mode(0o644)).unwrap();
    fs::copy(path("pool.db"), path("hidden.db")).unwrap();
    fs::set_permissions(path("hidden.db"), Permissions::from_mode(0o600)).unwrap();
    let user = format!("user {OTHER}");

    for arguments in [&["serve"][..], &["upstream-keys", "list"]] {
        let reported = run("text.db", arguments, 0);
        assert!(
            reported.contains("text.db is not a SQLite database"),
            "{reported}"
        );
        for (name, by) in [
            ("readable.db", OTHER),
            ("hidden.db", OTHER),
            ("missing.db", OTHER),
        ] {
            if name == "missing.db" && arguments[0] != "serve" {
                continue;
            }
            let reported = run(name, arguments, by);
            for part in [&user, "chown", folder.path().to_str().unwrap(), name] {
                assert!(
                    reported.contains(part),
                    "{name} {arguments:?}: {part}: {reported}"
                );
            }
        }
    }
}
