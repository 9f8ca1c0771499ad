//! The clock of the server, compared with Google's.

use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use gemini_pool::pool::alerts::AlertKind;
use gemini_pool::tasks::observe_alerts::observe;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::support::TestPool;

#[tokio::test]
async fn a_clock_that_differs_from_googles_in_several_answers_is_observed() {
    let pool = TestPool::with_keys([FakeKey::healthy("AIza-key-of-clocks-000001", "1")]).await;
    let details = async || {
        let found = observe(&pool.app, clock::now()).await.conditions;
        let of_clock = found
            .into_iter()
            .filter(|condition| condition.key.kind == AlertKind::ClockWrong);
        of_clock
            .map(|condition| condition.detail)
            .collect::<Vec<_>>()
    };
    let begin = clock::now();
    let answer_dated = async |minutes: u64| {
        let date = (begin + Duration::from_mins(minutes)).to_jiff();
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&date);
        let headers = [
            ("content-type", "application/json"),
            ("date", date.as_deref().unwrap()),
        ];
        pool.google
            .replay([ReplayedResponse::new(200, &headers, "{}")]);
        assert_eq!(pool.generate().await.status(), 200);
    };

    // The answers of one second are one.
    for minutes in [60, 60, 60, 61, 62, 63] {
        answer_dated(minutes).await;
    }
    assert_eq!(details().await, [""; 0]);
    answer_dated(64).await;

    let [detail] = details().await.try_into().unwrap();
    let seconds: i64 = detail.strip_suffix(" s").unwrap().parse().unwrap();
    // The clock goes on between the answers.
    assert!((-64 * 60..-62 * 60).contains(&seconds), "{detail}");
}
