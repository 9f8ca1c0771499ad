//! All keys do their share.

use futures_util::{StreamExt, stream};
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::journal::RecordingLevel;

use crate::support::TestPool;
use crate::support::requests::TestRequest;

#[tokio::test(flavor = "multi_thread")]
async fn healthy_keys_are_used_alike() {
    let keys = (0..100).map(|number| {
        FakeKey::healthy(
            format!("AIzaSyTheSecretOfKey{number:03}"),
            number.to_string(),
        )
    });
    let fake_config = FakeConfig {
        recording: RecordingLevel::Counts,
        ..FakeConfig::with_keys(keys)
    };
    let pool = TestPool::start(fake_config).await;

    let answers = stream::iter((0..10_000).map(|_| pool.send(TestRequest::Generate)));
    let good = answers
        .buffer_unordered(32)
        .filter(|answer| std::future::ready(answer.status() == 200));
    assert_eq!(good.count().await, 10_000);

    let counts = pool.google.all_counts();
    let used = || counts.values().map(|count| count.requests);
    let (least, most) = (used().min().unwrap(), used().max().unwrap());
    println!("the least used key was asked {least} times, the most used {most} times");
    assert_eq!(used().sum::<u64>(), 10_000);
    assert!((most - least) * 100 < most * 5, "{least} to {most}");
}
