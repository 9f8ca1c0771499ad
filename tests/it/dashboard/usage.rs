//! The usage page has the sums of the requests in the log, and its file has the same rows as the page.

use std::time::Duration;

use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::outcome::Outcome;
use gemini_pool::storage::request_logs::listed::RequestLog;
use http::Method;

use crate::support::TestPool;
use crate::support::admin::AdminClient;

/// A pool whose first key fails, so that another attempt is needed, with a request of 40 days ago.
async fn pool() -> TestPool {
    let failing = FakeKey::new(
        "AIza-key-of-the-usage-page-00001",
        "projects/1",
        Behaviour::InternalError,
    );
    let healthy = FakeKey::healthy("AIza-key-of-the-usage-page-00002", "projects/2");
    let pool = TestPool::with_keys([failing, healthy]).await;
    pool.record_past_request(Duration::from_hours(40 * 24))
        .await;
    for _ in 0..4 {
        assert_eq!(pool.generate().await.status(), 200);
    }
    let unknown = pool.client.get(format!("{}/v1beta/models", pool.url));
    assert_eq!(unknown.send().await.unwrap().status(), 401);
    pool
}

/// The lines of a file by column.
async fn csv(admin: &AdminClient, query: &str) -> Vec<Vec<(String, String)>> {
    let path = format!("/usage/export.csv?{query}");
    let answer = admin.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().unwrap().clone();
    let lines = reader.records().map(|record| {
        let record = record.unwrap();
        let pairs = names.iter().zip(&record);
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    });
    lines.collect()
}

fn value<'a>(line: &'a [(String, String)], name: &str) -> &'a str {
    let found = line.iter().find(|(column, _)| column == name);
    &found.unwrap().1
}

fn sum(lines: &[Vec<(String, String)>], name: &str) -> u64 {
    let values = lines.iter().map(|line| value(line, name));
    values.map(|value| value.parse::<u64>().unwrap()).sum()
}

fn tokens(rows: &[&RequestLog]) -> u64 {
    let counted = rows.iter().filter_map(|row| row.total_tokens);
    counted.map(i64::unsigned_abs).sum()
}

#[tokio::test]
async fn the_sums_are_those_of_the_log() {
    let pool = pool().await;
    let admin = AdminClient::sign_in(&pool).await;
    let rows = pool.rows().await;
    let newest: Vec<_> = rows.iter().skip(1).collect();
    let saved = newest
        .iter()
        .filter(|row| row.outcome == Some(Outcome::Success) && row.attempts > 1);
    let saved = u64::try_from(saved.count()).unwrap();
    assert!(saved > 0 && tokens(&newest) > 0);

    for (query, requests) in [
        ("span=24h", 5),
        ("span=24h&by=time", 5),
        ("span=24h&by=client", 5),
        ("span=90d", 6),
        ("span=90d&by=time", 6),
        ("span=90d&by=client", 6),
        ("span=90d&client=1", 5),
        ("span=24h&model=gemini-2.5-flash", 4),
    ] {
        let lines = csv(&admin, query).await;
        assert_eq!(sum(&lines, "requests"), requests, "{query}");
        assert_eq!(sum(&lines, "total_tokens"), tokens(&newest), "{query}");
        assert_eq!(sum(&lines, "retried_successes"), saved, "{query}");
        assert_eq!(sum(&lines, "failures"), 0, "{query}");
    }
    let attempts = newest.iter().map(|row| row.attempts.unsigned_abs());
    let attempts: u64 = attempts.sum();
    for by in ["key", "project"] {
        let lines = csv(&admin, &format!("span=24h&by={by}")).await;
        assert_eq!(sum(&lines, "requests"), attempts, "{by}");
        assert_eq!(sum(&lines, "total_tokens"), tokens(&newest), "{by}");
    }
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn periods_without_requests_share_a_row() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let page = admin.get_page("/usage?span=90d&by=time").await;
    let rows = page
        .split("table class=\"stack paired usage\"")
        .nth(1)
        .unwrap();
    let rows: Vec<_> = rows
        .split("</table>")
        .next()
        .unwrap()
        .split("<tr>")
        .skip(2)
        .collect();
    // The running day, those since the old request, its day, and those before it.
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows[0].contains("so far"), "{}", rows[0]);
    assert!(rows[1].contains("days without requests"), "{}", rows[1]);
    assert!(rows[2].contains("Logs"), "{}", rows[2]);
    assert!(rows[3].contains("days without requests"), "{}", rows[3]);
    let days = |row: &str| {
        let count = row.split(" days without").next().unwrap();
        count.rsplit('>').next().unwrap().parse::<usize>().unwrap()
    };
    let lines = csv(&admin, "span=90d&by=time").await.len();
    assert_eq!(days(rows[1]) + days(rows[3]) + 2, lines);
}

#[tokio::test]
async fn the_page_shows_the_rows_of_the_file_with_links_into_the_log() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;

    let page = admin.get_page("/usage?span=24h&by=client").await;
    let lines = csv(&admin, "span=24h&by=client").await;
    for line in &lines {
        assert!(page.contains(value(line, "name")), "{line:?}");
    }
    assert!(page.contains("failures that clients never saw"));
    let link = page.split("href=\"/logs?client=1").nth(1).unwrap();
    let link = link.split('"').next().unwrap().replace("&amp;", "&");
    let log = admin.get_page(&format!("/logs?client=1{link}")).await;
    for row in pool.rows().await.iter().skip(1) {
        let is_listed = log.contains(&format!("/logs/{}", row.id));
        assert_eq!(is_listed, row.client_key_id.is_some(), "{row:?}");
    }

    let filtered = admin.get_page("/usage?span=24h&client=1").await;
    assert!(filtered.contains("so far"), "the running hour is marked");
    assert!(filtered.contains("href=\"/client-keys/1\""));
    let empty = admin
        .get_page("/usage?from=2020-01-01&to=2020-01-31&model=none")
        .await;
    assert!(empty.contains("No requests in this period"));
    let odd = admin
        .get_page("/usage?span=x&from=31.12.2020&by=y&sort=z&key=no")
        .await;
    assert!(odd.contains("gemini-2.5-flash"));
}
