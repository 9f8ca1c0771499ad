//! The commands that encrypt, decrypt and give up a lost key, and what works without the key.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::{FakeConfig, FakeGemini};
use gemini_pool::demo::keys::demo_keys;
use gemini_pool::storage::db::Db;
use gemini_pool::storage::{backups, encryption};

use super::{KEYS, done, readable, refused, run, run_with};
use crate::support::admin::AdminClient;
use crate::support::process::{PoolProcess, command, database};
use crate::support::{eventually, http_client};

const SECRET: &str = "AIzaSyMadeUpOfTheCommandsAtRest-0000001";

async fn google() -> FakeGemini {
    let config = FakeConfig::with_keys([FakeKey::healthy(SECRET, "1")]);
    FakeGemini::start(config).await.unwrap()
}

#[tokio::test]
async fn from_the_first_start_no_secret_is_ever_written_unencrypted() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = folder.join("master.key");
    let made = done(run(folder, "", &["master-key", "generate", "master.key"]));
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let key = fs::read_to_string(&file).unwrap();
    assert_eq!(key.trim().len(), 64);
    assert!(!made.contains(key.trim()), "{made}");
    let again = run(folder, "", &["master-key", "generate", "master.key"]);
    assert!(refused(again).contains("cannot create"));
    let secrets = vec![SECRET.to_owned()];
    let variables = [("MASTER_KEY_FILE", "master.key")];

    let pool = PoolProcess::start_with(folder, &google.url(), &secrets, &variables).await;
    let added = [
        "upstream-keys",
        "add",
        "AIzaSyMadeUpOfTheCommandsAtRest-0000002",
    ];
    done(run_with(folder, &variables, &added));
    let log = pool.log();
    assert!(
        log.contains("secrets are encrypted with the master key"),
        "{log}"
    );
    pool.terminate();
    drop(pool);

    let searched = [SECRET, added[2], key.trim()].map(|secret| secret.as_bytes().to_vec());
    fs::remove_file(&file).unwrap();
    assert_eq!(readable(folder, &searched), Vec::<String>::new());
}

#[tokio::test]
async fn without_the_right_key_the_server_refuses_and_says_which_one_it_needs() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let variables = [("MASTER_KEY", KEYS[0])];
    let secrets = [SECRET.to_owned()];
    let pool = PoolProcess::start_with(folder, &google.url(), &secrets, &variables).await;
    pool.terminate();
    drop(pool);
    let db = database(folder).await;
    let mut connection = db.readers.acquire().await.unwrap();
    let state = encryption::state(&mut connection).await.unwrap();
    let id = state.master_key.unwrap().to_string();
    drop(connection);
    db.close().await;

    for (key, given) in [
        ("", "no master key is given"),
        (
            KEYS[1],
            "the one given is a passphrase that was never its key",
        ),
        (KEYS[2], "the one given is "),
    ] {
        for arguments in [
            &["serve"][..],
            &[
                "upstream-keys",
                "add",
                "AIzaSyMadeUpOfTheCommandsAtRest-0000002",
            ],
            &["upstream-keys", "export", "--secrets"],
            &["client-keys", "create", "notebook"],
            &["master-key", "rotate"],
            &["master-key", "decrypt"],
        ] {
            let message = refused(run(folder, key, arguments));
            let expected = format!("encrypted with the master key {id}, but {given}");
            assert!(message.contains(&expected), "{arguments:?}: {message}");
            assert!(
                message.contains("set MASTER_KEY or MASTER_KEY_FILE"),
                "{message}"
            );
        }
        // What needs no secret works.
        for arguments in [
            &["logs", "list"][..],
            &["upstream-keys", "list"],
            &["client-keys", "list"],
            &["settings", "list"],
            &["backup", "copies/"],
        ] {
            fs::create_dir_all(folder.join("copies")).unwrap();
            let _ = fs::remove_dir_all(folder.join("copies"));
            fs::create_dir_all(folder.join("copies")).unwrap();
            done(run(folder, key, arguments));
        }
        let status = done(run(folder, key, &["master-key", "status"]));
        assert!(status.contains(&id), "{status}");
        let diagnosis = run(folder, key, &["doctor", "--offline"]);
        let diagnosis = String::from_utf8(diagnosis.stdout).unwrap();
        assert!(diagnosis.contains(&id), "{diagnosis}");
    }
    for (name, value, expected) in [
        ("MASTER_KEY", "too short", "MASTER_KEY has 9 characters"),
        (
            "MASTER_KEY_FILE",
            "missing",
            "MASTER_KEY_FILE cannot be read: missing",
        ),
    ] {
        let message = refused(run_with(folder, &[(name, value)], &["serve"]));
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("too short"), "{message}");
    }
    let both = [("MASTER_KEY", KEYS[0]), ("MASTER_KEY_FILE", "x")];
    let message = refused(run_with(folder, &both, &["serve"]));
    assert!(message.contains("both set"), "{message}");
}

#[tokio::test]
async fn a_stopped_database_is_encrypted_decrypted_and_named_in_copies() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let secrets = [SECRET.to_owned()];
    let pool = PoolProcess::start(folder, &google.url(), &secrets).await;
    // It would not see the keys that are encrypted beside it.
    let message = refused(run(folder, KEYS[0], &["master-key", "encrypt"]));
    assert!(
        message.contains("a server without the master key uses the database"),
        "{message}"
    );
    pool.terminate();
    drop(pool);
    let status = done(run(folder, "", &["master-key", "status"]));
    assert!(status.contains("stored unencrypted"), "{status}");
    let plain = done(run(folder, "", &["backup", "plain.db"]));
    assert!(
        plain.contains("its upstream keys are not encrypted"),
        "{plain}"
    );

    let message = refused(run(folder, "", &["master-key", "encrypt"]));
    assert!(message.contains("no master key is given"), "{message}");
    let output = done(run(folder, KEYS[1], &["master-key", "encrypt"]));
    assert!(output.contains("2 rows encrypted"), "{output}");
    assert!(output.contains("the file was rewritten"), "{output}");
    fs::remove_file(folder.join("plain.db")).unwrap();
    let searched = [SECRET.as_bytes().to_vec()];
    assert_eq!(readable(folder, &searched), Vec::<String>::new());
    let status = done(run(folder, KEYS[1], &["master-key", "status", "--json"]));
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["opens"], true);
    let id = status["master_key_id"].as_str().unwrap();
    let copy = done(run(folder, "", &["backup", "encrypted.db"]));
    assert!(
        copy.contains(&format!("it needs the master key {id}")),
        "{copy}"
    );

    // The copy is refused before anything is replaced.
    let before = fs::read(folder.join("pool.db")).unwrap();
    for key in ["", KEYS[0]] {
        let message = refused(run(folder, key, &["restore", "encrypted.db"]));
        let expected = format!("nothing was replaced: encrypted.db needs the master key {id}");
        assert!(message.contains(&expected), "{message}");
        assert!(message.contains("--any-master-key"), "{message}");
    }
    assert_eq!(fs::read(folder.join("pool.db")).unwrap(), before);
    done(run(folder, KEYS[1], &["restore", "encrypted.db"]));
    done(run(
        folder,
        "",
        &["restore", "encrypted.db", "--any-master-key"],
    ));

    let output = done(run(folder, KEYS[1], &["master-key", "decrypt"]));
    assert!(output.contains("2 rows decrypted"), "{output}");
    let exported = done(run(folder, "", &["upstream-keys", "export", "--secrets"]));
    assert!(exported.contains(SECRET), "{exported}");
    let output = done(run(folder, "", &["master-key", "decrypt"]));
    assert!(output.contains("nothing is encrypted"), "{output}");
}

#[tokio::test]
async fn a_lost_key_is_given_up_with_what_it_encrypted() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let secrets = [SECRET.to_owned()];
    let variables = [("MASTER_KEY", KEYS[0])];
    let pool = PoolProcess::start_with(folder, &google.url(), &secrets, &variables).await;
    let message = refused(run(folder, "", &["master-key", "forget", "--yes"]));
    assert!(
        message.contains("still has its keys in memory"),
        "{message}"
    );
    pool.terminate();
    drop(pool);

    let message = refused(run(folder, KEYS[0], &["master-key", "forget", "--yes"]));
    assert!(message.contains("nothing is lost"), "{message}");
    let message = refused(run(folder, "", &["master-key", "forget"]));
    assert!(
        message.contains("the secrets of 1 upstream key and of 1 client key"),
        "{message}"
    );
    assert!(message.contains("confirm with --yes"), "{message}");
    let output = done(run(folder, "", &["master-key", "forget", "--yes"]));
    assert!(
        output.contains("import the upstream keys again"),
        "{output}"
    );

    let output = done(run(folder, "", &["master-key", "forget", "--yes"]));
    assert!(output.contains("nothing is encrypted"), "{output}");
    let pool = PoolProcess::start(folder, &google.url(), &secrets).await;
    let listed = done(run(folder, "", &["upstream-keys", "list"]));
    assert!(listed.contains("0001"), "{listed}");
    pool.terminate();
}

#[tokio::test]
async fn what_a_damaged_data_key_encrypted_is_given_up_only_without_the_right_key() {
    let google = google().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let secrets = [SECRET.to_owned()];
    let variables = [("MASTER_KEY", KEYS[0])];
    let mut pool = PoolProcess::start_with(folder, &google.url(), &secrets, &variables).await;
    pool.terminate();
    pool.ended().await;
    let db = database(folder).await;
    let wrapped: Vec<u8> = sqlx::query_scalar("SELECT wrapped FROM wrapped_data_keys")
        .fetch_one(&db.readers)
        .await
        .unwrap();
    let store = async |wrapped: &[u8]| {
        let stored = sqlx::query("UPDATE wrapped_data_keys SET wrapped = ?1").bind(wrapped);
        stored.execute(&db.writer).await.unwrap();
    };
    let mut damaged = wrapped.clone();
    *damaged.last_mut().unwrap() ^= 1;
    store(&damaged).await;

    for arguments in [
        &["serve"][..],
        &["master-key", "decrypt"],
        &["master-key", "forget", "--yes"],
    ] {
        let message = refused(run(folder, KEYS[0], arguments));
        for part in ["which is the right one", "Restore a backup"] {
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
    }
    let status = done(run(folder, KEYS[0], &["master-key", "status", "--json"]));
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["opens"], false);
    let diagnosis = run(folder, KEYS[0], &["doctor", "--offline"]);
    let diagnosis = String::from_utf8(diagnosis.stdout).unwrap();
    assert!(diagnosis.contains("which is the right one"), "{diagnosis}");
    let missing = [("MASTER_KEY_FILE", "missing")];
    let message = refused(run_with(
        folder,
        &missing,
        &["master-key", "forget", "--yes"],
    ));
    assert!(message.contains("cannot be read"), "{message}");

    // Nothing was removed.
    store(&wrapped).await;
    let export = ["upstream-keys", "export", "--secrets"];
    assert!(done(run(folder, KEYS[0], &export)).contains(SECRET));
    store(&damaged).await;
    let output = done(run(folder, "", &["master-key", "forget", "--yes"]));
    assert!(output.contains("the secrets of 1 upstream key"), "{output}");
    assert!(!done(run(folder, "", &export)).contains(SECRET));
}

#[tokio::test]
async fn pages_name_the_key_or_say_that_nothing_is_encrypted() {
    let google = google().await;
    for key in ["", KEYS[0]] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let variables = [("MASTER_KEY", key)];
        let secrets = [SECRET.to_owned()];
        let pool = PoolProcess::start_with(folder, &google.url(), &secrets, &variables).await;
        let client = http_client().build().unwrap();
        let mut admin = AdminClient::arrive_at(client, &pool.url).await;
        assert_eq!(admin.submit_login().await.status(), 303);
        admin.get_page("/account").await;
        assert_eq!(admin.submit("/backups", &[]).await.status(), 303);
        eventually("the backup is made", async || {
            backups::last(&folder.join("pool.db")).unwrap()
        })
        .await;

        let (status, listed) = (
            admin.get_page("/status").await,
            admin.get_page("/backups").await,
        );

        let shown = done(run(folder, "", &["master-key", "status", "--json"]));
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        if let Some(id) = shown["master_key_id"].as_str() {
            assert!(
                status.contains("encrypted with the master key") && status.contains(id),
                "{status}"
            );
            assert!(
                listed.contains(id) && listed.contains("encrypted with the master key"),
                "{listed}"
            );
        } else {
            assert!(
                status.contains("not encrypted: protect the database file"),
                "{status}"
            );
            assert!(listed.contains("in readable form"), "{listed}");
        }
        pool.terminate();
    }
}

#[tokio::test]
async fn the_demo_with_a_master_key_writes_no_key_unencrypted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut demo = command(folder);
    demo.args(["demo", "--keep", "demo.db", "--listen", "127.0.0.1:0"])
        .env("MASTER_KEY", KEYS[0]);
    let demo = PoolProcess::spawn(demo);
    let path = folder.join("demo.db");
    let count = async || {
        let db = Db::open_file(&path).await.ok()?;
        let count: Option<i64> = sqlx::query_scalar("SELECT count(*) FROM request_logs")
            .fetch_one(&db.readers)
            .await
            .ok();
        db.close().await;
        count.filter(|count| *count > 3)
    };
    eventually("the demo serves", async || {
        if path.exists() { count().await } else { None }
    })
    .await;

    let keys = demo_keys().into_iter();
    let keys: Vec<_> = keys.map(|key| key.key.secret.into_bytes()).collect();

    assert!(keys.len() > 3);
    assert_eq!(readable(folder, &keys), Vec::<String>::new());
    demo.terminate();
}

#[test]
fn the_master_key_is_in_no_help() {
    let folder = tempfile::tempdir().unwrap();
    let mut help = command(folder.path());
    help.args(["master-key", "rotate", "--help"])
        .env("MASTER_KEY", "the value of the master key")
        .env("NEW_MASTER_KEY", "the value of the new key")
        .stdout(std::process::Stdio::piped());
    let help = done(help.output().unwrap());
    assert!(help.contains("--new-key-file"), "{help}");
    assert!(!help.contains("the value of"), "{help}");
}
