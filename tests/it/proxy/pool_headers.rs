//! The headers that say how a request was served.

use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};

use crate::support::TestPool;
use crate::support::requests::TestRequest;

#[tokio::test]
async fn headers_say_how_a_request_was_served_only_where_the_setting_is_on() {
    let once = Behaviour::Sequence(vec![Behaviour::InternalError, Behaviour::Healthy]);
    let pool = TestPool::with_keys([FakeKey::new(
        "AIzaSyTheSecretOfTheFirstKeyOfThePool01",
        "700000000001",
        once.clone(),
    )])
    .await;
    pool.allow(|terms| {
        terms.limits.requests_per_day = Some(10);
        terms.limits.cost_per_month_nano_usd = Some(1_500_000_000);
    })
    .await;
    pool.set(&[("pool_headers", "on")]).await;

    let shown = pool.fetch(TestRequest::StreamSse).await;
    pool.set(&[("pool_headers", "off")]).await;
    let hidden = pool.fetch(TestRequest::Generate).await;

    assert_eq!(shown.header("x-pool-attempts"), Some("2"));
    assert_eq!(shown.header("x-pool-queue-ms"), Some("0"));
    assert_eq!(shown.header("x-pool-remaining-requests-per-day"), Some("9"));
    assert_eq!(
        shown.header("x-pool-remaining-cost-per-month"),
        Some("1.50")
    );
    assert_eq!(shown.header("x-pool-remaining-tokens-per-day"), None);
    let names = hidden.headers.keys().map(http::HeaderName::as_str);
    assert_eq!(names.filter(|name| name.starts_with("x-pool")).count(), 0);
}
