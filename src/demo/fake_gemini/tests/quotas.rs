//! Quotas: minute, day and tokens, by project.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::demo::fake_gemini::quota::{ModelLimit, ProjectQuota, Tier};

/// A clock that stands until it is set, at 10 seconds past a minute.
fn config_with_clock(quota: ProjectQuota) -> (FakeConfig, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(1_795_000_000_000 / 60_000 * 60_000 + 10_500));
    let config = FakeConfig {
        clock: Arc::new({
            let now = now.clone();
            move || now.load(Ordering::Relaxed)
        }),
        ..FakeConfig::with_keys([
            FakeKey::healthy(KEY, PROJECT),
            FakeKey::healthy("AIzaSister", PROJECT),
        ])
    };
    (config.quota(PROJECT, quota), now)
}

#[tokio::test]
async fn a_minute_runs_out_for_the_project_and_comes_back() {
    let (config, now) = config_with_clock(ProjectQuota::free(Some(2), None, None));
    let fake = start(config).await;

    for _ in 0..2 {
        assert_eq!(post_and_read(&fake, GENERATE, PROMPT).await.0, 200);
    }
    let refused = post(&fake, GENERATE, PROMPT).await.unwrap();
    let second = client().post(fake.url() + GENERATE).body(PROMPT);
    let second = second
        .header("x-goog-api-key", "AIzaSister")
        .send()
        .await
        .unwrap();
    let other_model = post_and_read(
        &fake,
        "/v1beta/models/gemini-2.5-flash-lite:generateContent",
        PROMPT,
    )
    .await;

    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["x-gemini-service-tier"], "standard");
    let expected = "{\n  \"error\": {\n    \"code\": 429,\n    \"message\": \"You exceeded your current quota, please check your \
        plan and billing details. For more information on this error, head to: \
        https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, head to: \
        https://ai.dev/rate-limit. \\n* Quota exceeded for metric: \
        generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 2, model: \
        gemini-2.5-flash\\nPlease retry in 49.500s.\",\n    \"status\": \"RESOURCE_EXHAUSTED\",\n    \"details\": [\n      {\n        \
        \"@type\": \"type.googleapis.com/google.rpc.Help\",\n        \"links\": [\n          {\n            \"description\": \
        \"Learn more about Gemini API quotas\",\n            \"url\": \
        \"https://ai.google.dev/gemini-api/docs/rate-limits\"\n          }\n        ]\n      },\n      {\n        \"@type\": \
        \"type.googleapis.com/google.rpc.QuotaFailure\",\n        \"violations\": [\n          {\n            \"quotaMetric\": \
        \"generativelanguage.googleapis.com/generate_content_free_tier_requests\",\n            \"quotaId\": \
        \"GenerateRequestsPerMinutePerProjectPerModel-FreeTier\",\n            \"quotaDimensions\": {\n              \
        \"location\": \"global\",\n              \"model\": \"gemini-2.5-flash\"\n            },\n            \"quotaValue\": \
        \"2\"\n          }\n        ]\n      },\n      {\n        \"@type\": \"type.googleapis.com/google.rpc.RetryInfo\",\n        \
        \"retryDelay\": \"49s\"\n      }\n    ]\n  }\n}\n";
    assert_eq!(refused.text().await.unwrap(), expected);
    assert_eq!(second.status(), 429);
    assert_eq!(other_model.0, 200);

    now.fetch_add(49_500, Ordering::Relaxed);
    assert_eq!(post_and_read(&fake, GENERATE, PROMPT).await.0, 200);
}

#[tokio::test]
async fn a_day_ends_at_midnight_in_california_whatever_the_delay_says() {
    let (config, now) = config_with_clock(ProjectQuota::free(None, None, Some(1)));
    let fake = start(config).await;
    // 2026-11-22 23:59 in Los Angeles.
    now.store(1_795_420_740_000, Ordering::Relaxed);

    assert_eq!(post_and_read(&fake, GENERATE, PROMPT).await.0, 200);
    let (status, _, body) = post_and_read(&fake, GENERATE, PROMPT).await;

    assert_eq!(status, 429);
    assert!(
        body.contains("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
        "{body}"
    );
    assert!(body.contains("\"retryDelay\": \"38s\""), "{body}");
    now.fetch_add(60_000, Ordering::Relaxed);
    assert_eq!(post_and_read(&fake, GENERATE, PROMPT).await.0, 200);
}

#[tokio::test]
async fn tokens_zero_limits_and_batches_of_texts_count() {
    let limit = ModelLimit::new;
    let quota = ProjectQuota {
        tier: Tier::Free,
        limits: vec![
            limit("gemini-2.5-flash", None, Some(8), None),
            limit("gemini-2.5-pro", Some(0), None, Some(0)),
            limit("gemini-embedding-*", Some(3), None, None),
        ],
    };
    let (config, _) = config_with_clock(quota);
    let fake = start(config).await;
    let batch = r#"{"requests":[{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"a"}]}},
        {"model":"models/gemini-embedding-001","content":{"parts":[{"text":"b"}]}}]}"#;
    let embed = "/v1beta/models/gemini-embedding-001:batchEmbedContents";

    assert_eq!(post_and_read(&fake, GENERATE, PROMPT).await.0, 200);
    let tokens = post_and_read(&fake, GENERATE, PROMPT).await;
    let zero = post_and_read(
        &fake,
        "/v1beta/models/gemini-2.5-pro:generateContent",
        PROMPT,
    )
    .await;
    assert_eq!(post_and_read(&fake, embed, batch).await.0, 200);
    let texts = post_and_read(&fake, embed, batch).await;

    assert!(
        tokens
            .2
            .contains("GenerateContentInputTokensPerModelPerMinute-FreeTier"),
        "{}",
        tokens.2
    );
    assert!(
        zero.2.contains("limit: 0, model: gemini-2.5-pro") && !zero.2.contains("quotaValue"),
        "{}",
        zero.2
    );
    assert!(
        texts
            .2
            .contains("EmbedContentRequestsPerMinutePerProjectPerModel-FreeTier"),
        "{}",
        texts.2
    );
    assert!(
        texts.2.contains("\"model\": \"gemini-embedding-1.0\""),
        "{}",
        texts.2
    );
}
