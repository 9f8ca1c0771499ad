//! Keys fail behind the clients' backs.

use gemini_pool::demo::fake_gemini::fate::{FakeKey, Fate};
use gemini_pool::pool::outcome::Outcome;

use crate::support::TestPool;

#[tokio::test]
async fn a_revoked_key_is_replaced_before_the_client_sees_it() {
    let pool = TestPool::of([
        FakeKey::new("AIza-revoked-key-0001", "projects/1", Fate::Invalid),
        FakeKey::healthy("AIza-healthy-key-0002", "projects/2"),
    ])
    .await;

    for _ in 0..4 {
        let answer = pool.generate().await;
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().contains("candidates"));
    }

    let rows = pool.finished_rows(4).await;
    assert!(rows.iter().all(|row| row.outcome == Some(Outcome::Success)));
    assert_eq!(pool.google.counts("AIza-revoked-key-0001").requests, 1);
    pool.assert_sums_agree().await;
}
