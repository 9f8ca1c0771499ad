//! Tests of the audit log, and how other tests change and read it.

use serde_json::json;
use sqlx::SqlitePool;

use super::*;
use crate::storage::db::Db;
use crate::storage::migrations::MIGRATOR;

const NOW: Timestamp = Timestamp::from_millis(1_000);
const LATER: Timestamp = Timestamp::from_millis(2_000);

/// An act of the command line.
pub async fn act(tx: &mut Transaction<'_, Sqlite>, now: Timestamp) -> Act {
    Act::begin(tx, &Actor::cli(), now).await.unwrap()
}

/// The changes as text, oldest first: action, subject, name, before, after.
pub async fn describe_changes(tx: &mut Transaction<'_, Sqlite>) -> Vec<String> {
    let page = list(&mut **tx, &AuditFilter::default(), None, 100).await;
    let changes = page.unwrap().items.into_iter().rev();
    let text = |value: Option<Value>| value.map_or("-".to_owned(), |value| value.to_string());
    changes
        .map(|change| {
            let change_json = serde_json::to_value(&change).unwrap();
            let word = |name: &str| change_json[name].as_str().unwrap().to_owned();
            let (action, subject) = (word("action"), word("subject"));
            let (before, after) = (text(change.before), text(change.after));
            format!("{action} {subject} {}: {before} → {after}", change.name)
        })
        .collect()
}

/// Inserts a change of an upstream key.
async fn change(tx: &mut Transaction<'_, Sqlite>, act: &Act, name: &str, action: Action) -> i64 {
    let subject = (Subject::UpstreamKey, Some(7));
    let values = (None, Some(json!({"label": name})));
    insert(tx, act, action, subject, name, values)
        .await
        .unwrap()
}

type SetFilter<'a> = &'a dyn Fn(&mut AuditFilter);

fn filter(set: SetFilter) -> AuditFilter {
    let mut filter = AuditFilter::default();
    set(&mut filter);
    filter
}

#[sqlx::test]
async fn changes_are_found_by_every_filter_and_page_by_page(pool: SqlitePool) {
    let mut tx = Db::from_pool(pool).begin().await.unwrap();
    let first = act(&mut tx, NOW).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(change(&mut tx, &first, name, Action::Create).await);
    }
    let admin = Actor::admin("ann", "192.0.2.1".to_owned());
    let second = Act::begin(&mut tx, &admin, LATER).await.unwrap();
    let (subject, values) = (
        (Subject::Setting, None),
        (None, Some(json!({"label": "d"}))),
    );
    let setting = insert(&mut tx, &second, Action::Update, subject, "d", values).await;
    ids.push(setting.unwrap());

    let cases: [(SetFilter, _); 9] = [
        (&|_| (), &ids[..]),
        (&|filter| filter.subject = Some(Subject::Setting), &ids[3..]),
        (&|filter| filter.subject_id = Some(7), &ids[..3]),
        (&|filter| filter.name = Some("b".to_owned()), &ids[1..2]),
        (
            &|filter| filter.actor = Some("admin:ann".to_owned()),
            &ids[3..],
        ),
        (&|filter| filter.action = Some(Action::Create), &ids[..3]),
        (&|filter| filter.since = Some(LATER), &ids[3..]),
        (&|filter| filter.until = Some(LATER), &ids[..3]),
        (&|filter| filter.revision = Some(first.revision), &ids[..3]),
    ];
    for (set, expected) in cases {
        let filter = filter(set);
        let page = list(&mut *tx, &filter, None, 10).await.unwrap();
        let mut found: Vec<_> = page.items.iter().map(|change| change.id).collect();
        found.reverse();
        assert_eq!(found, expected, "{filter:?}");
    }

    let all = AuditFilter::default();
    let page = list(&mut *tx, &all, None, 3).await.unwrap();
    let cursor = page.next.unwrap().parse().ok();
    let rest = list(&mut *tx, &all, cursor, 3).await.unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));
    let found = find(&mut *tx, ids[3]).await.unwrap();
    assert_eq!(found, page.items[0]);
    assert_eq!(found.address.as_deref(), Some("192.0.2.1"));
    assert_eq!(found.after, Some(json!({"label": "d"})));
    let missing = find(&mut *tx, 99).await.unwrap_err();
    assert_eq!(missing.to_string(), "change 99 not found");
}

#[sqlx::test]
async fn an_act_is_one_line_however_many_changes_it_has(pool: SqlitePool) {
    let mut tx = Db::from_pool(pool.clone()).begin().await.unwrap();
    let import = act(&mut tx, NOW).await;
    for name in ["a", "b", "c"] {
        change(&mut tx, &import, name, Action::Create).await;
    }
    let sign_in = Act::without_revision(Actor::admin("ann", "192.0.2.1".to_owned()), LATER);
    for _ in 0..2 {
        let (subject, values) = ((Subject::Admin, Some(7)), (None, None));
        let signed_in = insert(&mut tx, &sign_in, Action::SignIn, subject, "ann", values).await;
        signed_in.unwrap();
    }
    let removal = act(&mut tx, LATER).await;
    change(&mut tx, &removal, "a", Action::Delete).await;
    tx.commit().await.unwrap();
    let list = async |filter: &AuditFilter, position, limit| {
        let acts = list_acts(&pool, filter, position, limit).await.unwrap();
        let lines = acts.items.iter();
        let lines = lines.map(|act| format!("{} x{}", act.first.name, act.changes));
        (lines.collect::<Vec<_>>().join(" "), acts.newer, acts.older)
    };

    for (position, limit, lines, newer, older) in [
        (
            PagePosition::Newest,
            9,
            "a x1 ann x1 ann x1 a x3",
            None,
            None,
        ),
        (PagePosition::Newest, 2, "a x1 ann x1", None, Some(5)),
        (PagePosition::OlderThan(5), 2, "ann x1 a x3", Some(4), None),
        (PagePosition::NewerThan(4), 2, "a x1 ann x1", None, Some(5)),
        // No page before the newest is half full.
        (PagePosition::NewerThan(5), 2, "a x1 ann x1", None, Some(5)),
    ] {
        let found = list(&AuditFilter::default(), position, limit).await;
        assert_eq!(found, (lines.to_owned(), newer, older), "{position:?}");
    }
    let cases: [(SetFilter, _); 4] = [
        (
            &|filter| filter.revision = Some(import.revision),
            "c x1 b x1 a x1",
        ),
        (
            &|filter| {
                (filter.subject, filter.subject_id) = (Some(Subject::UpstreamKey), Some(7));
                filter.until = Some(LATER);
            },
            "c x1 b x1 a x1",
        ),
        (
            &|filter| (filter.subject, filter.since) = (Some(Subject::UpstreamKey), Some(LATER)),
            "a x1",
        ),
        (
            &|filter| {
                filter.actor = Some("admin:ann".to_owned());
                filter.action = Some(Action::SignIn);
            },
            "ann x1 ann x1",
        ),
    ];
    for (set, expected) in cases {
        let filter = filter(set);
        let (lines, ..) = list(&filter, PagePosition::Newest, 9).await;
        assert_eq!(lines, expected, "{filter:?}");
    }
}

#[test]
fn a_difference_contains_only_changed_entries() {
    let before = json!({"label": "a", "weight": 1, "note": "old"});
    let after = json!({"label": "b", "weight": 1, "tags": ["t"]});

    let told = difference(before.clone(), after);

    let expected = (
        json!({"label": "a", "note": "old"}),
        json!({"label": "b", "tags": ["t"]}),
    );
    assert_eq!(told, Some(expected));
    assert_eq!(difference(before.clone(), before), None);
}

#[sqlx::test(migrations = false)]
async fn the_migration_moves_the_history_of_settings_into_the_audit_log(pool: SqlitePool) {
    let mut connection = pool.acquire().await.unwrap();
    let (ours, earlier): (Vec<_>, Vec<_>) = MIGRATOR
        .iter()
        .filter(|migration| migration.version <= 20_261_125_000_200)
        .partition(|migration| migration.version == 20_261_125_000_200);
    for migration in earlier {
        sqlx::raw_sql(&migration.sql)
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    sqlx::query(
        "
        INSERT INTO setting_changes (name, before, after, actor, changed_at_ms)
        VALUES ('max_attempts', NULL, '7', 'cli', 1000), ('max_attempts', '7', NULL, 'cli', 2000)
        ",
    )
    .execute(&mut *connection)
    .await
    .unwrap();
    sqlx::raw_sql(&ours[0].sql)
        .execute(&mut *connection)
        .await
        .unwrap();
    drop(connection);

    let mut tx = Db::from_pool(pool).begin().await.unwrap();

    let expected = [
        r#"update setting max_attempts: - → {"value":"7"}"#,
        r#"update setting max_attempts: {"value":"7"} → -"#,
    ];
    assert_eq!(describe_changes(&mut tx).await, expected);
}
