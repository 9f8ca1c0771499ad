//! The cost of a request by the price table in prices.json: an estimate, not Google's invoice.

use std::sync::LazyLock;

use serde::{Deserialize, Deserializer};

use crate::clock::Timestamp;
use crate::pool::model_prices::{ModelPrice, ModelPrices};
use crate::pool::quota::usage::TokenUsage;

/// Parsed once; a table that does not parse fails the tests, not a request.
static TABLE: LazyLock<PriceTable> = LazyLock::new(|| {
    serde_json::from_str(include_str!("prices.json")).expect("the tests read the price table")
});

/// The date of the prices, as in `2026-11-22`.
pub fn as_of() -> &'static str {
    &TABLE.as_of
}

/// The list price of a model, in billionths of a US dollar for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPrice {
    pub input_nano_usd: u64,
    /// `None`: no output is billed.
    pub output_nano_usd: Option<u64>,
    /// Longer prompts cost more.
    pub long_prompt_tokens: Option<u64>,
    /// First day of the price, as in `2026-12-01`; `None`: older than the table.
    pub since: Option<&'static str>,
}

/// The list price of a model at `at`; `None`: unknown model.
pub fn list_price(model: &str, at: Timestamp) -> Option<ListPrice> {
    let period = find_row(model)?.period_at(at)?;
    let million = |price: PicoUsd| u64::try_from(price.0.saturating_mul(1_000)).ok();
    let longs = period.long_context.iter();
    Some(ListPrice {
        input_nano_usd: million(period.prices.input?)?,
        output_nano_usd: period.prices.output.and_then(million),
        long_prompt_tokens: longs.map(|long| long.above_prompt_tokens).min(),
        since: period.from.as_deref(),
    })
}

/// The ids of the models with a price.
pub fn model_ids() -> impl Iterator<Item = &'static str> {
    TABLE.models.iter().map(|row| row.id.as_str())
}

/// The price for `usage`, in billionths of a US dollar: the admin's own, else Google's; `None` when the model or the tokens
/// are unknown.
///
/// Excludes searches, images and seconds of video that are billed by the piece. A free project pays nothing.
pub fn cost_nano_usd(
    own: &ModelPrices,
    model: &str,
    usage: &TokenUsage,
    service_tier: Option<&str>,
    at: Timestamp,
) -> Option<i64> {
    let prompt = usage.prompt?;
    let prices = match own.find(model) {
        Some(price) => TokenPrices::of(price),
        None => find_row(model)?.prices(prompt, service_tier, at)?,
    };
    let is_output_unknown = usage.total.is_none() && usage.output.is_none();
    if is_output_unknown && prices.output.is_some() {
        return None;
    }
    let pico = prices.input_cost(prompt, usage) + prices.output_cost(usage);
    i64::try_from((pico + 500) / 1000).ok()
}

#[derive(Debug, Deserialize)]
struct PriceTable {
    as_of: String,
    models: Vec<PriceRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceRow {
    id: String,
    r#match: Vec<ModelPattern>,
    periods: Vec<PricePeriod>,
    #[serde(default)]
    service_tiers: ServiceTiers,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum ModelPattern {
    Equals {
        equals: String,
    },
    Prefix {
        prefix: String,
        #[serde(default)]
        but_no_tts: bool,
        #[serde(default)]
        then_a_digit: bool,
    },
}

#[derive(Debug, Deserialize)]
struct PricePeriod {
    /// First day of the period, as in `2026-12-01`.
    from: Option<String>,
    #[serde(flatten)]
    prices: TokenPrices,
    #[serde(default)]
    long_context: Vec<LongContext>,
}

/// Prices of the whole request when its prompt is longer than the threshold.
#[derive(Debug, Deserialize)]
struct LongContext {
    above_prompt_tokens: u64,
    #[serde(flatten)]
    prices: TokenPrices,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceTiers {
    batches: Option<TokenPrices>,
    flex: Option<TokenPrices>,
    priority: Option<TokenPrices>,
}

/// In millionths of a millionth of a US dollar per token: every price in the table is a whole number of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct PicoUsd(u128);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct TokenPrices {
    input: Option<PicoUsd>,
    input_audio: Option<PicoUsd>,
    input_image: Option<PicoUsd>,
    input_video: Option<PicoUsd>,
    cache_read: Option<PicoUsd>,
    cache_read_audio: Option<PicoUsd>,
    output: Option<PicoUsd>,
    output_audio: Option<PicoUsd>,
    output_image: Option<PicoUsd>,
    output_video: Option<PicoUsd>,
}

impl<'de> Deserialize<'de> for PicoUsd {
    /// From US dollars per million tokens.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "prices are small and not negative"
    )]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let usd_per_million = f64::deserialize(deserializer)?;
        Ok(Self((usd_per_million * 1e6).round() as u128))
    }
}

/// The row with the longest match of the model.
fn find_row(model: &str) -> Option<&'static PriceRow> {
    let model = model.strip_prefix("models/").unwrap_or(model);
    let matches = TABLE.models.iter().filter_map(|row| {
        let best = row
            .r#match
            .iter()
            .filter_map(|pattern| pattern.match_length(model))
            .max()?;
        Some((best, row))
    });
    matches
        .max_by_key(|(match_length, _)| *match_length)
        .map(|(_, row)| row)
}

impl ModelPattern {
    /// Length of the match; `None`: no match.
    fn match_length(&self, model: &str) -> Option<usize> {
        match self {
            Self::Equals { equals } => (equals == model).then_some(usize::MAX),
            Self::Prefix {
                prefix,
                but_no_tts,
                then_a_digit,
            } => {
                let rest = model.strip_prefix(prefix.as_str())?;
                let is_tts = || {
                    let mut parts = model.split('-').skip(1);
                    parts.any(|part| part.eq_ignore_ascii_case("tts"))
                };
                let has_digit = rest.starts_with(|c: char| c.is_ascii_digit());
                let matches = (!*then_a_digit || has_digit) && !(*but_no_tts && is_tts());
                matches.then_some(prefix.len())
            }
        }
    }
}

impl PriceRow {
    fn prices(
        &self,
        prompt: u64,
        service_tier: Option<&str>,
        at: Timestamp,
    ) -> Option<TokenPrices> {
        let period = self.period_at(at)?;
        let long_context = period
            .long_context
            .iter()
            .filter(|long| prompt > long.above_prompt_tokens)
            .max_by_key(|long| long.above_prompt_tokens);
        let prices = match long_context {
            Some(long) => long.prices.or(&period.prices),
            None => period.prices.clone(),
        };
        let Some(tier) = service_tier.and_then(|tier| self.service_tiers.find(tier)) else {
            return Some(prices);
        };
        // A tier has prices for the table's date only; other periods use the same ratio.
        let standard = &self.period(as_of())?.prices;
        Some(prices.scaled(standard, tier))
    }

    /// The latest period that has started at `at`.
    fn period_at(&self, at: Timestamp) -> Option<&PricePeriod> {
        match &self.periods[..] {
            // Most rows have one price: no date is written to find it.
            [only] if only.from.is_none() => Some(only),
            _ => self.period(&at.to_rfc3339()),
        }
    }

    /// The same for a date; dates as text sort chronologically.
    fn period(&self, date: &str) -> Option<&PricePeriod> {
        let has_begun = |from: &str| from <= date.get(..from.len()).unwrap_or(date);
        self.periods
            .iter()
            .rfind(|period| period.from.as_deref().is_none_or(has_begun))
    }
}

impl ServiceTiers {
    fn find(&self, name: &str) -> Option<&TokenPrices> {
        match name.to_ascii_lowercase().as_str() {
            "batch" | "batches" => self.batches.as_ref(),
            "flex" => self.flex.as_ref(),
            "priority" => self.priority.as_ref(),
            _ => None,
        }
    }
}

impl TokenPrices {
    /// The admin's price, for all kinds of tokens.
    fn of(price: &ModelPrice) -> Self {
        // Billionths for a million are thousandths of millionths of a millionth for one.
        let of_token = |nano_usd: u64| Some(PicoUsd(u128::from(nano_usd) / 1_000));
        Self {
            input: of_token(price.input_nano_usd),
            output: of_token(price.output_nano_usd),
            ..Self::default()
        }
    }

    fn or(&self, other: &Self) -> Self {
        Self {
            input: self.input.or(other.input),
            input_audio: self.input_audio.or(other.input_audio),
            input_image: self.input_image.or(other.input_image),
            input_video: self.input_video.or(other.input_video),
            cache_read: self.cache_read.or(other.cache_read),
            cache_read_audio: self.cache_read_audio.or(other.cache_read_audio),
            output: self.output.or(other.output),
            output_audio: self.output_audio.or(other.output_audio),
            output_image: self.output_image.or(other.output_image),
            output_video: self.output_video.or(other.output_video),
        }
    }

    /// These prices, scaled by the ratio of `tier` to `standard`.
    fn scaled(&self, standard: &Self, tier: &Self) -> Self {
        let input = |price| scale(price, standard.input, tier.input);
        let cached = |price| scale(price, standard.cache_read, tier.cache_read);
        let output = |price| scale(price, standard.output, tier.output);
        Self {
            input: input(self.input),
            input_audio: input(self.input_audio),
            input_image: input(self.input_image),
            input_video: input(self.input_video),
            cache_read: cached(self.cache_read),
            cache_read_audio: cached(self.cache_read_audio),
            output: output(self.output),
            output_audio: output(self.output_audio),
            output_image: output(self.output_image),
            output_video: output(self.output_video),
        }
    }

    /// Prompt and tools; cached tokens have their own price.
    fn input_cost(&self, prompt: u64, usage: &TokenUsage) -> u128 {
        let cached = usage.cached.unwrap_or(0).min(prompt);
        let cached_audio = usage.cached_audio.min(cached);
        let mut fresh = prompt - cached;
        let audio = take_tokens(
            &mut fresh,
            usage.prompt_audio - usage.prompt_audio.min(cached_audio),
        );
        let image = take_tokens(&mut fresh, usage.prompt_image);
        let video = take_tokens(&mut fresh, usage.prompt_video);
        let cache_read = self.cache_read.or(self.input);
        let text = u128::from(fresh) + u128::from(usage.tool.unwrap_or(0));
        text * self.input.unwrap_or_default().0
            + price_tokens(audio, self.input_audio, self.input)
            + price_tokens(image, self.input_image, self.input)
            + price_tokens(video, self.input_video, self.input)
            + price_tokens(cached - cached_audio, cache_read, None)
            + price_tokens(cached_audio, self.cache_read_audio, cache_read)
    }

    /// Thoughts are billed as output.
    fn output_cost(&self, usage: &TokenUsage) -> u128 {
        let mut text = usage.output.unwrap_or(0);
        let audio = take_tokens(&mut text, usage.output_audio);
        let image = take_tokens(&mut text, usage.output_image);
        let video = take_tokens(&mut text, usage.output_video);
        let thoughts = usage.thoughts.unwrap_or(0);
        price_tokens(text, self.output, None)
            + price_tokens(thoughts, self.output, None)
            + price_tokens(audio, self.output_audio, self.output)
            + price_tokens(image, self.output_image, self.output)
            + price_tokens(video, self.output_video, self.output)
    }
}

/// Takes up to `wanted` tokens from `tokens` and returns how many.
fn take_tokens(tokens: &mut u64, wanted: u64) -> u64 {
    let taken = wanted.min(*tokens);
    *tokens -= taken;
    taken
}

fn price_tokens(tokens: u64, price: Option<PicoUsd>, otherwise: Option<PicoUsd>) -> u128 {
    u128::from(tokens) * price.or(otherwise).unwrap_or_default().0
}

fn scale(
    price: Option<PicoUsd>,
    standard: Option<PicoUsd>,
    tier: Option<PicoUsd>,
) -> Option<PicoUsd> {
    match (price, standard, tier) {
        (Some(PicoUsd(price)), Some(PicoUsd(standard)), Some(PicoUsd(tier))) if standard > 0 => {
            Some(PicoUsd(price * tier / standard))
        }
        _ => price,
    }
}

#[cfg(test)]
mod tests;
