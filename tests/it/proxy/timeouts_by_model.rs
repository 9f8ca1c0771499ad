//! Time limits of models by pattern, effective without a restart.

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::outcome::Outcome;

use crate::support::TestPool;
use crate::support::live::{begin, receive_close};
use crate::support::requests::TestRequest;

const KEY: &str = "AIzaSyTheSecretOfTheOnlyKeyOfThePool001";

/// The limits of all models are minutes: what ends at all was ended by the limit of its model.
async fn pool(behaviour: Behaviour) -> TestPool {
    let key = FakeKey::new(KEY, "1", behaviour);
    TestPool::start(FakeConfig::with_keys([key])).await
}

#[tokio::test]
async fn the_first_byte_of_a_model_has_its_own_limit() {
    let pool = pool(Behaviour::NeverRespond).await;
    let limits =
        "*-pro idle=100, gemini-2.5-* first_byte=300, gemini-2.5-flash first_byte=80000000";
    pool.set(&[("timeouts_by_model", limits)]).await;

    for test_request in [TestRequest::Generate, TestRequest::ChatStream] {
        let response = pool.fetch(test_request).await;

        assert_eq!(response.status, 504, "{test_request:?}");
        let row = pool.row_of(&response).await;
        assert_eq!(row.outcome, Some(Outcome::Network), "{row:?}");
    }
}

#[tokio::test]
async fn the_pauses_of_a_model_have_their_own_limit() {
    let pool = pool(Behaviour::StallStream(2)).await;
    pool.set(&[("timeouts_by_model", "gemini-2.5-flash idle=300")])
        .await;

    let response = pool.fetch(TestRequest::StreamSse).await;

    let row = pool.row_of(&response).await;
    assert_eq!(row.outcome, Some(Outcome::BrokenOff), "{row:?}");
}

#[tokio::test]
async fn the_silence_of_a_live_session_has_the_limit_of_its_model() {
    let pool = pool(Behaviour::Healthy).await;
    pool.set(&[("timeouts_by_model", "*-native-audio-* idle=300")])
        .await;

    let mut socket = begin(&pool).await;
    let (code, reason) = receive_close(&mut socket).await.unwrap();

    assert_eq!(code, 1001, "{reason}");
    assert!(reason.contains("for too long"), "{reason}");
}
