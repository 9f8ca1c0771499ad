//! The journal: what is committed to it reaches the tables once, whenever the process ends.

use super::*;
use crate::pool::egress::condition::EgressCondition;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::retry::StopReason;
use crate::storage::recorder::journal::{self, Write};
use crate::storage::recorder::table_writer::TableWriter;
use crate::storage::request_logs::CreatedResource;
use crate::storage::resources;

/// More rows than go to the tables at once.
fn many(since: i64) -> Vec<NewRequestLog> {
    (since..since + 40).map(row).collect()
}

/// Submits rows of one batch and waits until they are committed. The writer must not have time for a fold before it is aborted.
async fn commit_only(db: &Db, rows: Vec<NewRequestLog>) {
    let (recorder, writer) = Recorder::new(db.clone());
    let commits: Vec<_> = rows
        .into_iter()
        .map(|row| recorder.record_finished(Box::new(row)))
        .collect();
    let writing = tokio::spawn(writer.run());
    for committed in commits {
        committed.await.unwrap();
    }
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());
}

async fn entries(db: &Db) -> i64 {
    let counted = sqlx::query_scalar("SELECT count(*) FROM request_journal");
    counted.fetch_one(&db.writer).await.unwrap()
}

async fn fold(db: &Db) -> u64 {
    TableWriter::default().fold_journal(db).await.unwrap()
}

#[tokio::test]
async fn what_a_process_left_in_the_journal_is_folded_once() {
    let (_folder, db) = database().await;

    commit_only(&db, many(0)).await;
    assert_eq!((count(&db.readers).await, entries(&db).await), (0, 1));

    assert_eq!(fold(&db).await, 40);
    assert_eq!((count(&db.readers).await, entries(&db).await), (40, 0));
    assert_eq!(fold(&db).await, 0);
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
    let keys = listed_keys(&db.readers).await;
    assert_eq!(keys[0].requests, 40);
}

#[tokio::test]
async fn a_fold_that_ends_in_the_middle_leaves_the_journal_as_it_was() {
    let (_folder, db) = database().await;
    commit_only(&db, many(0)).await;

    // In turns, the room ends within the strings, the rows and the sums.
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
        .fetch_one(&db.readers)
        .await
        .unwrap();
    for room in 0..4 {
        let most = (pages + room).to_string();
        db.set_up_writer("max_page_count", &most).await.unwrap();
        if TableWriter::default().fold_journal(&db).await.is_ok() {
            break;
        }
        assert_eq!((count(&db.readers).await, entries(&db).await), (0, 1));
    }
    db.set_up_writer("max_page_count", "1073741823")
        .await
        .unwrap();

    fold(&db).await;
    assert_eq!((count(&db.readers).await, entries(&db).await), (40, 0));
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
}

#[tokio::test]
async fn entries_that_were_folded_already_do_not_count_twice() {
    let (_folder, db) = database().await;
    commit_only(&db, many(0)).await;
    let entry = journal::list_after(&db.writer, 0, 10)
        .await
        .unwrap()
        .remove(0);
    let writes = entry.writes.unwrap();
    let writes: Vec<_> = writes.iter().collect();

    for _ in 0..2 {
        let mut tables = TableWriter::default();
        let refused = tables.write(&db, &writes, &[entry.id]).await.unwrap();
        assert_eq!(refused.len(), 0);
    }

    assert_eq!(listed_keys(&db.readers).await[0].requests, 40);
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
}

#[tokio::test]
async fn a_flush_is_acknowledged_when_everything_before_is_in_its_table() {
    let (_folder, db) = database().await;
    let (recorder, writer) = Recorder::new(db.clone());
    for row in many(0) {
        drop(recorder.record_finished(Box::new(row)));
    }
    let flushed = recorder.flush();
    let writing = tokio::spawn(writer.run());

    flushed.await.unwrap();

    assert_eq!((count(&db.readers).await, entries(&db).await), (40, 0));
    drop(recorder);
    writing.await.unwrap();
}

#[tokio::test]
async fn the_journal_is_empty_when_the_writer_has_ended() {
    let (_folder, db) = database().await;
    for since in [0, 100, 200] {
        write(&db, many(since)).await;
    }

    assert_eq!((count(&db.readers).await, entries(&db).await), (120, 0));
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
}

#[tokio::test]
async fn a_journalled_row_that_the_database_refuses_is_lost_alone() {
    let (_folder, db) = database().await;
    let mut rows = many(0);
    // No attempt ends so.
    rows[7].attempts[0].outcome = Some(Outcome::Refused);
    rows[7].user_agent = Some("an agent of the refused row alone".to_owned());

    write(&db, rows).await;

    assert_eq!((count(&db.readers).await, entries(&db).await), (39, 0));
    assert_eq!(find_inconsistencies(&db.readers).await.unwrap(), []);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_stays_and_holds_nothing_up() {
    let (_folder, db) = database().await;
    commit_only(&db, many(0)).await;
    for (id, version) in [(2, 1), (3, 99)] {
        sqlx::query("INSERT INTO request_journal (id, version, payload) VALUES (?1, ?2, x'c1')")
            .bind(id)
            .bind(version)
            .execute(&db.writer)
            .await
            .unwrap();
    }
    commit_only(&db, many(100)).await;

    assert_eq!(fold(&db).await, 80);

    let left: Vec<(i64, i64)> =
        sqlx::query_as("SELECT id, version FROM request_journal ORDER BY id")
            .fetch_all(&db.readers)
            .await
            .unwrap();
    assert_eq!(left, [(-3, 99), (-2, 1)]);
    assert_eq!(fold(&db).await, 0);
    // What is committed next is found again after a crash.
    commit_only(&db, many(200)).await;
    assert_eq!(fold(&db).await, 40);
    assert_eq!(count(&db.readers).await, 120);
}

#[tokio::test]
async fn resources_that_one_fold_creates_and_deletes_end_in_that_order() {
    let (_folder, db) = database().await;
    let created = |seconds: i64, name: &str| {
        let mut row = row(seconds);
        row.created_resources = vec![CreatedResource {
            name: name.to_owned(),
            kind: "files".into(),
            expires_at: None,
            is_counted: false,
        }];
        row
    };
    let deleted = |seconds: i64, name: &str| {
        let mut row = row(seconds);
        row.deleted_resources = vec![name.to_owned()];
        row
    };
    let mut rows = many(100);
    rows.extend([
        created(0, "files/a"),
        deleted(1, "files/a"),
        deleted(2, "files/b"),
        created(3, "files/b"),
    ]);

    write(&db, rows).await;

    let known = resources::list_named(&db.readers, &["files/a", "files/b"]).await;
    let known = known.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].name, "files/b");
}

/// A row and a change in which every field differs from its default.
fn full_writes(stop_reason: Option<StopReason>, fallback_model: Option<&str>) -> Vec<Write> {
    let mut full = retried(1);
    full.stop_reason = stop_reason;
    full.fallback_model = fallback_model.map(ToOwned::to_owned);
    let text = |text: &str| Some(text.to_owned());
    (full.client_ip, full.user_agent) = (text("192.0.2.1"), text("agent"));
    (full.model, full.model_version) = (text("gemini-2.5-flash"), text("001"));
    (full.operation, full.error) = (text("generateContent"), text("an error"));
    (full.finish_reason, full.service_tier) = (text("STOP"), text("flex"));
    (full.bound_by, full.streamed, full.usage_estimated) = (text("files/a"), true, true);
    (full.wait_ms, full.first_byte_ms, full.duration_ms) = (1, Some(2), Some(3));
    (full.request_bytes, full.response_bytes, full.quota_requests) = (4, 5, 6);
    (full.cost_nano_usd, full.turns, full.close_code) = (Some(-7), Some(8), Some(1000));
    full.usage.thoughts = Some(9);
    full.attempts[0].rule = Some(Rule::QuotaPerMinute.name().into());
    full.created_resources = vec![CreatedResource {
        name: "files/b".to_owned(),
        kind: "files".into(),
        expires_at: Some(full.started_at),
        is_counted: true,
    }];
    full.deleted_resources = vec!["files/c".to_owned()];
    let evidence = Evidence {
        status: Some(429),
        message: "quota".to_owned(),
        request_id: full.id,
    };
    let cooldown = Cooldown {
        rule: Rule::QuotaPerDay,
        step: 2,
        since: full.started_at,
        until: full.started_at + Duration::from_mins(1),
    };
    let change = StateChange::Cooldown {
        project_id: ProjectId(3),
        model: "gemini-2.5-flash".to_owned(),
        cooldown,
    };
    let key = StateChange::Key {
        id: UpstreamKeyId(2),
        condition: KeyCondition {
            state: KeyState::Invalid,
            rule: Some(Rule::ApiKeyInvalid),
            ..KeyCondition::ready(full.started_at)
        },
    };
    vec![
        Write::Row(Box::new(full)),
        Write::Change(change, evidence.clone()),
        Write::Change(key, evidence),
    ]
}

/// The same with what version 4 has added.
fn writes_of_version_4() -> Vec<Write> {
    let mut writes = full_writes(Some(StopReason::RepeatedFault), Some("gemini-2.5-flash"));
    let Write::Row(full) = &mut writes[0] else {
        panic!("{writes:?}");
    };
    full.attempts[0].egress_id = Some(EgressProxyId(4));
    let (since, request_id) = (full.started_at, full.id);
    let working = EgressCondition::working(since);
    let condition = working.after_failures(2, Rule::ConnectFailed, since);
    let change = StateChange::Egress {
        id: EgressProxyId(4),
        condition: condition.unwrap(),
    };
    let evidence = Evidence {
        status: None,
        message: "no connection".to_owned(),
        request_id,
    };
    writes.push(Write::Change(change, evidence));
    writes
}

/// Journals are read by later versions: if this fails, the format has changed and needs a version of its own.
#[test]
fn the_format_of_version_4_stays() {
    let payload = include_bytes!("journal_version_4.bin");

    let writes = writes_of_version_4();
    assert_eq!(journal::decode(4, payload).as_deref(), Some(&writes[..]));
    assert_eq!(journal::encode(&writes), payload);
}

#[test]
fn a_journal_of_version_3_is_read() {
    let payload = include_bytes!("journal_version_3.bin");

    let writes = full_writes(Some(StopReason::RepeatedFault), Some("gemini-2.5-flash"));
    assert_eq!(journal::decode(3, payload).as_deref(), Some(&writes[..]));
}

#[test]
fn a_journal_of_version_2_is_read() {
    let payload = include_bytes!("journal_version_2.bin");

    let writes = full_writes(Some(StopReason::RepeatedFault), None);
    assert_eq!(journal::decode(2, payload).as_deref(), Some(&writes[..]));
}

#[test]
fn a_journal_of_version_1_is_read() {
    let payload = include_bytes!("journal_version_1.bin");

    let writes = full_writes(None, None);
    assert_eq!(journal::decode(1, payload).as_deref(), Some(&writes[..]));
}
