//! Tests of the costs of requests.

use super::*;

const NOW: &str = "2026-11-22T12:00:00Z";

fn cost(model: &str, usage: TokenUsage, tier: Option<&str>, at: &str) -> Option<i64> {
    let list_prices = ModelPrices::default();
    cost_nano_usd(&list_prices, model, &usage, tier, at.parse().unwrap())
}

fn tokens(prompt: u64, output: u64) -> TokenUsage {
    TokenUsage {
        prompt: Some(prompt),
        output: Some(output),
        total: Some(prompt + output),
        ..TokenUsage::default()
    }
}

const MILLION: u64 = 1_000_000;

#[track_caller]
fn assert_cost(model: &str, usage: TokenUsage, expected: i64) {
    assert_eq!(cost(model, usage, None, NOW), Some(expected), "{usage:?}");
}

#[test]
fn every_kind_of_token_has_its_price() {
    let cached = TokenUsage {
        cached: Some(400_000),
        ..tokens(MILLION, 0)
    };
    let audio = TokenUsage {
        prompt_audio: 600_000,
        cached_audio: 100_000,
        ..cached
    };
    let thoughts = TokenUsage {
        thoughts: Some(MILLION),
        ..tokens(0, MILLION)
    };
    let tool = TokenUsage {
        tool: Some(MILLION),
        ..tokens(0, 0)
    };
    let image = TokenUsage {
        output_image: 1_000,
        ..tokens(0, 1_500)
    };
    let embedding = TokenUsage {
        prompt: Some(261),
        prompt_image: 258,
        ..TokenUsage::default()
    };

    assert_cost("gemini-2.5-flash", tokens(MILLION, 0), 300_000_000);
    assert_cost("models/gemini-2.5-flash", tokens(1, 1), 300 + 2_500);
    assert_cost("gemini-2.5-flash", cached, 180_000_000 + 12_000_000);
    // Audio: 500,000 fresh and 100,000 cached; text: 100,000 fresh and 300,000 cached.
    let (fresh, from_cache) = (500_000_000 + 30_000_000, 10_000_000 + 9_000_000);
    assert_cost("gemini-2.5-flash", audio, fresh + from_cache);
    assert_cost("gemini-2.5-flash", thoughts, 5_000_000_000);
    assert_cost("gemini-2.5-flash", tool, 300_000_000);
    assert_cost("gemini-2.5-flash-image", image, 1_250_000 + 30_000_000);
    assert_cost("gemini-embedding-2", embedding, 258 * 450 + 3 * 200);
    assert_cost("gemma-3-27b-it", tokens(MILLION, MILLION), 0);
}

#[test]
fn a_long_prompt_changes_the_price_of_the_whole_request() {
    assert_cost(
        "gemini-2.5-pro",
        tokens(200_000, 1_000),
        250_000_000 + 10_000_000,
    );
    assert_cost(
        "gemini-2.5-pro",
        tokens(200_001, 1_000),
        500_002_500 + 15_000_000,
    );
}

#[test]
fn tiers_and_dates_change_the_price() {
    let cached = TokenUsage {
        cached: Some(1),
        ..tokens(1, 0)
    };
    let both = tokens(MILLION, MILLION);
    let (before, after) = ("2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z");
    let cases = [
        ("gemini-2.5-flash", both, Some("flex"), NOW, 1_400_000_000),
        (
            "gemini-2.5-flash",
            both,
            Some("PRIORITY"),
            NOW,
            5_040_000_000,
        ),
        (
            "gemini-2.5-flash",
            both,
            Some("standard"),
            NOW,
            2_800_000_000,
        ),
        (
            "gemini-2.5-pro",
            tokens(400_000, 0),
            Some("flex"),
            NOW,
            500_000_000,
        ),
        (
            "gemini-4-argon",
            tokens(MILLION, 0),
            None,
            before,
            2_000_000_000,
        ),
        (
            "gemini-4-argon",
            tokens(MILLION, 0),
            None,
            after,
            4_000_000_000,
        ),
        (
            "gemini-4-argon",
            tokens(MILLION, 0),
            Some("flex"),
            after,
            2_000_000_000,
        ),
        // 37.5 billionths per token, rounded up at the end.
        ("gemini-3.8-flash", cached, Some("flex"), NOW, 38),
    ];

    for (model, usage, tier, at, expected) in cases {
        assert_eq!(
            cost(model, usage, tier, at),
            Some(expected),
            "{model} {tier:?} {at}"
        );
    }
}

#[test]
fn the_longest_match_selects_the_row() {
    let same = [
        ("gemini-flash-latest", "gemini-3.8-flash"),
        ("gemini-3.5-flash-001", "gemini-3.5-flash"),
        ("gemini-4-argon-2", "gemini-4-argon"),
        ("gemini-2.5-pro-preview-05-06", "gemini-2.5-pro"),
    ];
    for (one, other) in same {
        let costs = [one, other].map(|model| cost(model, tokens(7, 9), None, NOW));
        assert!(costs[0].is_some() && costs[0] == costs[1], "{one}");
    }
    assert_eq!(
        cost("gemini-2.5-pro-preview-tts", tokens(1, 0), None, NOW),
        Some(1_000)
    );
    assert_eq!(
        cost("gemini-3.5-flash-lite", tokens(1, 0), None, NOW),
        Some(300)
    );
    assert_eq!(
        cost("gemini-2.5-flash-lite-preview-tts", tokens(1, 0), None, NOW),
        Some(500)
    );
}

#[test]
fn unknown_models_and_tokens_have_no_cost() {
    let half = TokenUsage {
        prompt: Some(9),
        ..TokenUsage::default()
    };
    let no_prompt = TokenUsage {
        prompt: None,
        ..tokens(1, 1)
    };

    assert_eq!(cost("gemini-99", tokens(1, 1), None, NOW), None);
    assert_eq!(cost("gemini-3.5-flashy", tokens(1, 1), None, NOW), None);
    assert_eq!(cost("", tokens(1, 1), None, NOW), None);
    assert_eq!(cost("gemini-2.5-flash", no_prompt, None, NOW), None);
    assert_eq!(cost("gemini-2.5-flash", half, None, NOW), None);
    assert_eq!(
        cost("gemini-2.5-flash", tokens(u64::MAX / 2, 0), None, NOW),
        None
    );
}

#[test]
fn the_price_table_is_complete() {
    assert_eq!(as_of(), "2026-11-22");
    assert_eq!(TABLE.models.len(), 37);
    for row in &TABLE.models {
        assert!(row.periods[0].from.is_none(), "{}", row.id);
        assert!(
            row.periods
                .iter()
                .all(|period| period.prices.input.is_some()),
            "{}",
            row.id
        );
    }
}

#[test]
fn absurd_token_counts_do_not_overflow() {
    let absurd = TokenUsage {
        prompt: Some(1),
        output: Some(u64::MAX),
        thoughts: Some(u64::MAX),
        cached: Some(u64::MAX),
        tool: Some(u64::MAX),
        total: None,
        prompt_audio: u64::MAX,
        cached_audio: u64::MAX,
        prompt_image: u64::MAX,
        prompt_video: u64::MAX,
        output_audio: u64::MAX,
        output_image: u64::MAX,
        output_video: u64::MAX,
    };
    for row in &TABLE.models {
        cost(&row.id, absurd, Some("flex"), NOW);
    }
}

#[test]
fn an_own_price_replaces_the_list_price_for_all_kinds_of_tokens() {
    let own = ModelPrices::parse("gemini-2.5-pro=1/2, unlisted=0.5/0").unwrap();
    let usage = TokenUsage {
        cached: Some(MILLION / 2),
        thoughts: Some(MILLION),
        ..tokens(MILLION, MILLION)
    };
    let at = NOW.parse().unwrap();
    for (model, tier, expected) in [
        ("gemini-2.5-pro", None, Some(5_000_000_000)),
        ("models/gemini-2.5-pro", Some("flex"), Some(5_000_000_000)),
        ("unlisted", None, Some(500_000_000)),
        ("unknown", None, None),
    ] {
        assert_eq!(
            cost_nano_usd(&own, model, &usage, tier, at),
            expected,
            "{model}"
        );
    }
}

#[test]
fn list_prices_are_for_a_million_tokens_with_their_date() {
    let price = |model, at: &str| list_price(model, at.parse().unwrap());
    let pro = ListPrice {
        input_nano_usd: 1_250_000_000,
        output_nano_usd: Some(10_000_000_000),
        long_prompt_tokens: Some(200_000),
        since: None,
    };
    assert_eq!(price("gemini-2.5-pro", NOW), Some(pro));
    let argon = price("gemini-4-argon", "2026-12-01T00:00:00Z").unwrap();
    assert_eq!(
        (argon.input_nano_usd, argon.since),
        (4_000_000_000, Some("2026-12-01"))
    );
    assert_eq!(price("gemini-99", NOW), None);
}
