//! The models page shows what was served, and a price of the admin's own counts at once.

use gemini_pool::demo::fake_gemini::behaviour::FakeKey;

use crate::support::TestPool;
use crate::support::admin::AdminClient;

#[tokio::test]
async fn an_own_price_is_shown_and_counts_for_the_next_request() {
    let key = FakeKey::healthy("AIza-key-of-the-models-page-00001", "projects/1");
    let pool = TestPool::with_keys([key]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let empty = admin.get_page("/models").await;
    assert!(empty.contains("No models yet"));

    assert_eq!(pool.generate().await.status(), 200);
    let page = admin.get_page("/models").await;
    assert!(page.contains("gemini-2.5-flash") && page.contains("$0.30 / $2.50"));
    assert!(page.contains("href=\"/quota?model=gemini-2.5-flash\""));
    pool.set(&[("model_prices", "gemini-2.5-flash=1000/1000")])
        .await;
    assert_eq!(pool.generate().await.status(), 200);

    let rows = pool.finished_rows(2).await;
    let costs: Vec<_> = rows.iter().map(|row| row.cost_usd.unwrap()).collect();
    assert!(costs[1] > costs[0] * 100.0, "{costs:?}");
    let page = admin.get_page("/models").await;
    assert!(page.contains("$1000.00 / $1000.00") && page.contains("your price"));
    pool.assert_sums_agree().await;
}
