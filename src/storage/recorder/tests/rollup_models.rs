//! Tests of the model that a row counts under, and that rollups equal the sums of their rows.

use super::*;

/// The model that a row names and the one it counts under, of all rows in order.
async fn models(pool: &SqlitePool) -> Vec<(Option<String>, Option<String>)> {
    sqlx::query_as(
        "
        SELECT m.value, r.value
        FROM request_logs AS l
        LEFT JOIN strings AS m ON m.id = l.model_id
        LEFT JOIN strings AS r ON r.id = coalesce(l.rollup_model_id, l.model_id)
        ORDER BY l.id
        ",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

async fn rollup_models(pool: &SqlitePool) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT DISTINCT value FROM model_hours JOIN strings ON id = model_id ORDER BY value",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

fn of_model(seconds: i64, model: &str, outcome: Outcome) -> NewRequestLog {
    NewRequestLog {
        model: Some(model.to_owned()),
        outcome: Some(outcome),
        ..row(seconds)
    }
}

#[sqlx::test]
async fn invented_models_and_refused_requests_count_under_other(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    add_keys(&db).await;
    let mut not_sent = of_model(5, "pro", Outcome::Success);
    not_sent.attempts.clear();
    let mut without_model = row(6);
    without_model.model = None;
    let rows = vec![
        of_model(0, "flash", Outcome::ClientError),
        of_model(1, "flash", Outcome::Success),
        of_model(2, "flash", Outcome::Quota),
        of_model(3, "flash", Outcome::Refused),
        of_model(4, "invented", Outcome::ClientError),
        not_sent,
        without_model,
        of_model(7, "other", Outcome::NoKey),
        of_model(8, "flash", Outcome::NoKey),
    ];
    write(&db, rows).await;

    let expected = [
        ("flash", "other"),
        ("flash", "flash"),
        ("flash", "flash"),
        ("flash", "other"),
        ("invented", "other"),
        ("pro", "other"),
        ("", ""),
        ("other", "other"),
        ("flash", "flash"),
    ];
    let expected = expected.map(|(model, rollup)| {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        (text(model), text(rollup))
    });
    assert_eq!(models(&pool).await, expected);
    assert_eq!(rollup_models(&pool).await, ["", "flash", "other"]);
    assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);

    // Another run knows which models Google has confirmed.
    write(&db, vec![of_model(9, "flash", Outcome::Quota)]).await;
    assert_eq!(models(&pool).await[9].1.as_deref(), Some("flash"));
    assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
}

#[sqlx::test]
async fn rollups_equal_the_sums_of_rows_of_every_outcome(pool: SqlitePool) {
    let db = Db::from_pool(pool.clone());
    add_keys(&db).await;
    let mut rows = vec![of_model(0, "flash", Outcome::Success)];
    for (number, outcome) in (1..).zip(Outcome::ALL.iter().cycle().take(60)) {
        let model = if number % 3 == 0 { "invented" } else { "flash" };
        let mut row = of_model(number * 1_000, model, *outcome);
        row.first_byte_ms = (number % 4 > 0).then(|| number.unsigned_abs() * 977);
        row.duration_ms = Some(number.unsigned_abs() * 1_009);
        row.usage.thoughts = Some(number.unsigned_abs());
        rows.push(row);
    }
    write(&db, rows).await;
    assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);

    // What a killed run leaves: its answers had begun, some with usage.
    let left = (61..70).map(|number| {
        let mut row = running(number * 1_000);
        row.model =
            (number % 3 > 0).then(|| if number % 2 == 0 { "flash" } else { "invented" }.to_owned());
        row.first_byte_ms = (number % 2 == 0).then(|| number.unsigned_abs() * 100);
        row.usage.prompt = Some(3);
        row
    });
    write(&db, left.collect()).await;
    assert_eq!(interrupt_running(&db).await.unwrap(), 9);

    assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
    let first_bytes: i64 = sqlx::query_scalar(
        "
        SELECT sum(atom)
        FROM model_hours, json_tree('[' || replace(first_byte_sketch, '}{', '},{') || ']')
        WHERE outcome = 'interrupted'
        ",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let in_rows: i64 = sqlx::query_scalar(
        "SELECT count(first_byte_ms) FROM request_logs WHERE outcome = 'interrupted'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(first_bytes, in_rows);
    assert!(in_rows >= 5);
    sqlx::query(
        r#"UPDATE model_hours SET first_byte_sketch = '{"0":1000}' WHERE outcome = 'interrupted'"#,
    )
    .execute(&pool)
    .await
    .unwrap();
    assert!(!find_inconsistencies(&pool).await.unwrap().is_empty());
}

#[sqlx::test]
async fn sketches_are_appended_and_merged_when_there_are_many(pool: SqlitePool) {
    const TABLES: [&str; 4] = [
        "model_hours",
        "model_days",
        "client_key_hours",
        "upstream_key_days",
    ];
    let db = Db::from_pool(pool.clone());
    add_keys(&db).await;
    let (_recorder, mut writer) = Recorder::without_journal(db.clone());
    let mut most = 0;
    for second in 1..=100 {
        let mut row = row(second);
        row.duration_ms = Some(second.unsigned_abs() * 100);
        row.attempts[0].duration_ms = row.duration_ms;
        writer.write_rows(vec![row]).await.unwrap();
        for table in TABLES {
            let stored = format!("SELECT duration_sketch FROM {table}");
            let stored: String = sqlx::query_scalar(&stored).fetch_one(&pool).await.unwrap();
            let count = stored.matches('{').count();
            assert!((1..=32).contains(&count), "{table}: {stored}");
            most = most.max(count);
            let mut sketch = DurationSketch::default();
            sketch.merge_json(&stored);
            let mut expected = DurationSketch::default();
            (1..=second.unsigned_abs()).for_each(|second| expected.add(second * 100));
            assert_eq!(sketch, expected, "{table}: {stored}");
        }
        assert_eq!(find_inconsistencies(&pool).await.unwrap(), []);
    }
    assert_eq!(most, 32);
}
