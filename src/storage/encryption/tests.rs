//! Tests of encrypting, rotating, decrypting and forgetting, on files whose bytes are searched.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::config::MasterKeyArgs;
use crate::pool::egress::address::ProxyAddress;
use crate::pool::egress::proxy::EgressScope;
use crate::pool::keys::upstream_key::KeyAttributes;
use crate::pool::request_id::RequestId;
use crate::pool::secret::Secret;
use crate::storage::alert_targets::tests::webhook;
use crate::storage::db::tests::open_migrated;
use crate::storage::egress_proxies::EgressProxyTerms;
use crate::storage::request_bodies::{self, BodyForm, KeptBody, RequestBodies};
use crate::storage::sealed_rows::{SecretTable, reseal};
use crate::storage::upstream_keys::{self, InsertedKey};
use crate::storage::{alert_targets, egress_proxies, forgetting, installation};

const NOW: Timestamp = Timestamp::from_millis(1_796_000_000_000);
const KEY: &str = "AIzaSyMadeUp-of-the-encryption-tests-1";
const PROXY: &str = "http://user:password-of-the-proxy@127.0.0.1:9";
const BODY: &str = "what is the airspeed of an unladen swallow";

/// Random master keys would make no difference.
fn master(byte: &str) -> MasterKeyArgs {
    MasterKeyArgs {
        master_key: Some(Secret::new(&byte.repeat(32))),
        master_key_file: None,
    }
}

fn text(byte: &str) -> MasterKeyText {
    MasterKeyText::parse(&byte.repeat(32)).unwrap()
}

/// The database as another process opens it.
async fn open(db: &Db, master_key: MasterKeyArgs) -> Db {
    let other = Db::open_file(db.path()).await.unwrap();
    other.data_keys.set_master_key(master_key);
    other
}

async fn add_secrets(db: &Db) {
    let mut tx = db.begin().await.unwrap();
    let keys = installation::keys(&mut tx, &db.data_keys).await.unwrap();
    let act = Act::begin(&mut tx, &Actor::cli(), NOW).await.unwrap();
    let nothing = KeyAttributes::default();
    upstream_keys::insert(&mut tx, &keys, &Secret::new(KEY), &nothing, true, &act)
        .await
        .unwrap();
    let (target, data_keys) = (webhook("ops", &[]), &keys.data_keys);
    alert_targets::insert(&mut tx, data_keys, &target, &act)
        .await
        .unwrap();
    let proxy = EgressProxyTerms {
        label: "out".to_owned(),
        address: ProxyAddress::parse(PROXY).unwrap(),
        scope: EgressScope::All,
    };
    egress_proxies::insert(&mut tx, data_keys, &proxy, &act)
        .await
        .unwrap();
    let json = Some("application/json".to_owned());
    let body = KeptBody {
        form: BodyForm::Whole,
        content_type: json,
        bytes: 9,
        // Not compressed, so that its bytes can be found.
        content: Some(BODY.as_bytes().to_vec()),
    };
    let bodies = RequestBodies {
        request_id: RequestId(7),
        request: body.clone(),
        answer: body,
    };
    request_bodies::insert(&mut tx, data_keys, &bodies)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn reseal_everything(db: &Db) -> u32 {
    let mut rows = 0;
    for table in SecretTable::ALL {
        loop {
            let batch = reseal(db, *table, 1).await.unwrap();
            if batch.rows == 0 {
                break;
            }
            rows += batch.rows;
        }
    }
    rows
}

/// Everything reads as it was added.
async fn assert_readable(db: &Db) {
    let (keys, removed) = upstream_keys::list_changed(db, -1).await.unwrap();
    assert_eq!((keys.len(), removed.len()), (1, 0));
    assert_eq!(keys[0].secret.expose(), KEY);
    let targets = alert_targets::list(db).await.unwrap();
    assert_eq!(targets[0].terms, webhook("ops", &[]));
    let proxies = egress_proxies::list(db).await.unwrap();
    assert_eq!(proxies[0].address, ProxyAddress::parse(PROXY).unwrap());
    let bodies = request_bodies::find(db, RequestId(7))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(bodies.request.content.unwrap(), BODY.as_bytes());
    let mut tx = db.begin().await.unwrap();
    let keys = installation::keys(&mut tx, &db.data_keys).await.unwrap();
    let nothing = KeyAttributes::default();
    let act = Act::begin(&mut tx, &Actor::cli(), NOW).await.unwrap();
    let again =
        upstream_keys::insert(&mut tx, &keys, &Secret::new(KEY), &nothing, true, &act).await;
    // The fingerprint is the same, so the hash key is.
    assert!(matches!(again, Ok(InsertedKey::Existing(_))));
}

async fn state_of(db: &Db) -> EncryptionState {
    state(&mut db.readers.acquire().await.unwrap())
        .await
        .unwrap()
}

/// Which of the secrets the files of the database contain.
fn readable(folder: &TempDir) -> Vec<String> {
    let target = webhook("ops", &[]).terms_secrets();
    let credential = "user:password-of-the-proxy".to_owned();
    let mut secrets = vec![KEY.to_owned(), BODY.to_owned(), credential];
    secrets.extend(target);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let is_in = |secret: &String| memchr::memmem::find(&bytes, secret.as_bytes()).is_some();
        found.extend(secrets.iter().filter(|secret| is_in(secret)).cloned());
    }
    found
}

trait TermsSecrets {
    fn terms_secrets(&self) -> Vec<String>;
}

impl TermsSecrets for alert_targets::AlertTargetTerms {
    fn terms_secrets(&self) -> Vec<String> {
        [&self.address, &self.secret]
            .map(|secret| secret.expose().to_owned())
            .to_vec()
    }
}

#[tokio::test]
async fn a_database_is_encrypted_rotated_and_decrypted_without_a_loss() {
    let (folder, plain) = open_migrated().await;
    add_secrets(&plain).await;
    assert_eq!(readable(&folder).len(), 5, "{:?}", readable(&folder));

    let db = open(&plain, master("01")).await;
    let id = begin(&db, &Actor::cli(), NOW).await.unwrap();
    assert_eq!(begin(&db, &Actor::cli(), NOW).await.unwrap(), id);
    assert_readable(&db).await;
    assert_eq!(reseal_everything(&db).await, 5);
    assert!(finish(&db).await.unwrap());
    plain.close().await;
    db.rewrite().await.unwrap();
    assert_readable(&db).await;
    assert_eq!(readable(&folder), Vec::<String>::new());
    let encrypted = state_of(&db).await;
    assert_eq!(encrypted.master_key, Some(id.clone()));
    assert_eq!((encrypted.rows(), encrypted.stale()), (5, 0));
    assert!(encrypted.is_active && encrypted.is_file_clean && !encrypted.is_unfinished);

    let rotation = begin_rotation(&db, Some(&text("02")), &Actor::cli(), NOW).await;
    let rotation = rotation.unwrap();
    assert_eq!(rotation.from, Some(id));
    assert!(!finish(&db).await.unwrap(), "rows need the earlier key");
    // Each of both opens the database meanwhile.
    for byte in ["01", "02"] {
        let other = open(&db, master(byte)).await;
        assert_readable(&other).await;
        other.close().await;
    }
    assert_eq!(
        reseal(&db, SecretTable::UpstreamKeys, 9)
            .await
            .unwrap()
            .rows,
        1
    );
    let resumed = begin_rotation(&db, None, &Actor::cli(), NOW).await.unwrap();
    assert!(resumed.is_resumed);
    assert_eq!(resumed.to, rotation.to);
    let third = begin_rotation(&db, Some(&text("03")), &Actor::cli(), NOW).await;
    assert!(third.unwrap_err().to_string().contains("not finished"));
    assert_eq!(reseal_everything(&db).await, 4);
    assert!(finish(&db).await.unwrap());
    // A process that runs since before the rotation.
    assert_readable(&db).await;
    let old = open(&db, master("01")).await.unlock().await.unwrap_err();
    assert!(matches!(old, Error::Locked { .. }), "{old}");
    let db = open(&db, master("02")).await;
    assert_readable(&db).await;
    let same = begin_rotation(&db, Some(&text("02")), &Actor::cli(), NOW).await;
    assert!(same.unwrap_err().to_string().contains("is the current one"));

    let id = begin_decryption(&db, &Actor::cli(), NOW).await.unwrap();
    assert_eq!(id, Some(rotation.to));
    assert_eq!(reseal_everything(&db).await, 5);
    assert!(finish(&db).await.unwrap());
    let plain = open(&db, MasterKeyArgs::default()).await;
    assert_readable(&plain).await;
    let state = state_of(&plain).await;
    assert_eq!((state.master_key.clone(), state.unencrypted()), (None, 5));
    assert_eq!(
        begin_decryption(&db, &Actor::cli(), NOW).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_running_process_learns_each_new_data_key_from_the_one_before() {
    let (_folder, db) = open_migrated().await;
    db.data_keys.set_master_key(master("01"));
    begin(&db, &Actor::cli(), NOW).await.unwrap();
    add_secrets(&db).await;

    for (from, to) in [("01", "02"), ("02", "03"), ("03", "04")] {
        let command = open(&db, master(from)).await;
        begin_rotation(&command, Some(&text(to)), &Actor::cli(), NOW)
            .await
            .unwrap();
        assert!(!is_loaded(&command.writer).await.unwrap());
        // As a reload does.
        db.unlock().await.unwrap();
        record_loaded(&db).await.unwrap();
        assert!(is_loaded(&command.writer).await.unwrap());
        assert_eq!(reseal_everything(&command).await, 5);
        assert!(finish(&command).await.unwrap());
        command.close().await;
        assert_readable(&db).await;
    }
}

#[tokio::test]
async fn a_passphrase_opens_what_it_encrypted_and_a_wrong_one_does_not() {
    let args = |passphrase| MasterKeyArgs {
        master_key: Some(Secret::new(passphrase)),
        master_key_file: None,
    };
    let (_folder, db) = open_migrated().await;
    db.data_keys.set_master_key(args("correct horse battery"));
    let id = begin(&db, &Actor::cli(), NOW).await.unwrap();
    add_secrets(&db).await;

    let again = open(&db, args("correct horse battery")).await;
    assert_readable(&again).await;
    for (wrong, given) in [
        (args("correct horse batteries"), "but the one given is "),
        (master("01"), "but the one given is "),
        (MasterKeyArgs::default(), "but no master key is given"),
    ] {
        let error = open(&db, wrong).await.unlock().await.unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(&format!("the master key {id}, {given}")),
            "{message}"
        );
        assert!(
            message.contains("set MASTER_KEY or MASTER_KEY_FILE"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_sealed_secret_does_not_open_in_another_row() {
    let (_folder, db) = open_migrated().await;
    db.data_keys.set_master_key(master("01"));
    begin(&db, &Actor::cli(), NOW).await.unwrap();
    add_secrets(&db).await;
    let moved = "
        UPDATE upstream_keys SET secret = (SELECT secret FROM alert_targets);
        UPDATE alert_targets SET address = secret;
        UPDATE request_bodies SET answer_content = request_content";
    sqlx::raw_sql(moved).execute(&db.writer).await.unwrap();

    let (keys, removed) = upstream_keys::list_changed(&db, -1).await.unwrap();
    assert_eq!((keys.len(), removed.len()), (0, 1));
    let target = alert_targets::list(&db).await.unwrap_err().to_string();
    assert!(
        target.contains("the address of row 1 of alert_targets cannot be decrypted"),
        "{target}"
    );
    assert!(request_bodies::find(&db, RequestId(7)).await.is_err());
}

#[tokio::test]
async fn a_data_key_cannot_be_deleted_while_a_row_needs_it() {
    let (_folder, db) = open_migrated().await;
    db.data_keys.set_master_key(master("01"));
    begin(&db, &Actor::cli(), NOW).await.unwrap();
    add_secrets(&db).await;

    let deleted = sqlx::raw_sql("DELETE FROM wrapped_data_keys; DELETE FROM data_keys")
        .execute(&db.writer)
        .await;

    assert!(deleted.unwrap_err().to_string().contains("FOREIGN KEY"));
}

#[tokio::test]
async fn what_a_lost_key_encrypted_is_removed_and_new_secrets_can_be_added() {
    let (_folder, db) = open_migrated().await;
    db.data_keys.set_master_key(master("01"));
    let id = begin(&db, &Actor::cli(), NOW).await.unwrap();
    add_secrets(&db).await;
    db.close().await;
    let db = open(&db, MasterKeyArgs::default()).await;
    let mut connection = db.readers.acquire().await.unwrap();
    let lost = forgetting::count(&mut connection).await.unwrap();
    assert_eq!(
        (lost.upstream_keys, lost.alert_targets, lost.request_bodies),
        (1, 1, 1)
    );
    drop(connection);

    let mut tx = db.begin().await.unwrap();
    let act = Act::begin(&mut tx, &Actor::cli(), NOW).await.unwrap();
    forgetting::forget(&mut tx, &id, &act).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(state_of(&db).await.master_key, None);
    let (keys, removed) = upstream_keys::list_changed(&db, -1).await.unwrap();
    assert_eq!((keys.len(), removed.len()), (0, 1));
    // Nothing goes out by another way: the proxy stays in use.
    let proxies = egress_proxies::list(&db).await.unwrap();
    assert_eq!((proxies.len(), proxies[0].enabled), (1, true));
    assert_eq!(proxies[0].address.credential.expose(), "");
    let mut tx = db.begin().await.unwrap();
    egress_proxies::delete(&mut tx, &proxies[0], &act)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    add_secrets(&db).await;
    let (keys, _) = upstream_keys::list_changed(&db, -1).await.unwrap();
    assert_eq!(keys[0].secret.expose(), KEY);
}

#[tokio::test]
async fn an_interrupted_decryption_is_turned_back_by_the_next_start_with_the_key() {
    let (_folder, db) = open_migrated().await;
    db.data_keys.set_master_key(master("01"));
    let id = begin(&db, &Actor::cli(), NOW).await.unwrap();
    add_secrets(&db).await;
    begin_decryption(&db, &Actor::cli(), NOW).await.unwrap();
    reseal(&db, SecretTable::UpstreamKeys, 1).await.unwrap();
    let halfway = state_of(&db).await;
    assert!(halfway.is_unfinished && !halfway.is_active);
    assert_eq!(halfway.unencrypted(), 1);
    db.close().await;

    let db = open(&db, master("01")).await;
    assert_eq!(begin(&db, &Actor::cli(), NOW).await.unwrap(), id);
    assert_eq!(reseal_everything(&db).await, 5);
    assert!(finish(&db).await.unwrap());

    let state = state_of(&db).await;
    assert_eq!((state.stale(), state.is_unfinished), (0, false));
    assert_readable(&db).await;
}

#[tokio::test]
async fn a_removed_proxy_without_its_credential_does_not_hold_up_a_rotation() {
    let (_folder, db) = open_migrated().await;
    db.data_keys.set_master_key(master("01"));
    begin(&db, &Actor::cli(), NOW).await.unwrap();
    add_secrets(&db).await;
    let proxies = egress_proxies::list(&db).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let act = Act::begin(&mut tx, &Actor::cli(), NOW).await.unwrap();
    egress_proxies::delete(&mut tx, &proxies[0], &act)
        .await
        .unwrap();
    let later = NOW + Duration::from_millis(1);
    egress_proxies::wipe_removed(&mut *tx, later).await.unwrap();
    tx.commit().await.unwrap();

    let rotation = begin_rotation(&db, Some(&text("02")), &Actor::cli(), NOW).await;
    rotation.unwrap();
    assert_eq!(reseal_everything(&db).await, 4);

    assert!(finish(&db).await.unwrap());
}

#[tokio::test]
async fn a_passphrase_is_replaced_by_another() {
    let (_folder, db) = open_migrated().await;
    let passphrase = |text: &str| MasterKeyText::parse(text).unwrap();
    db.data_keys.set_master_key(MasterKeyArgs {
        master_key: Some(Secret::new("the first passphrase of all")),
        master_key_file: None,
    });
    begin(&db, &Actor::cli(), NOW).await.unwrap();
    add_secrets(&db).await;

    let first = passphrase("the first passphrase of all");
    let same = begin_rotation(&db, Some(&first), &Actor::cli(), NOW).await;
    assert!(same.unwrap_err().to_string().contains("is the current one"));
    let second = passphrase("the second passphrase of all");
    let rotation = begin_rotation(&db, Some(&second), &Actor::cli(), NOW).await;
    rotation.unwrap();
    reseal_everything(&db).await;

    assert!(finish(&db).await.unwrap());
}
