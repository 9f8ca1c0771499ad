//! `ModelPrices`: the admin's own prices of models, as in a setting: `gemini-2.5-pro=1.25/10`, dollars for a million tokens of
//! input and output.

use std::fmt::Write as _;

use crate::pool::money::{nano_usd, usd};

const MAX_MODELS: usize = 200;
const MAX_NAME_BYTES: usize = 200;
/// A million dollars for a million tokens.
const MAX_NANO_USD: u64 = 1_000_000 * 1_000_000_000;

/// Own prices, each model once, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelPrices(Vec<ModelPrice>);

/// The price of a model, for all kinds of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPrice {
    model: String,
    /// In billionths of a dollar for a million tokens.
    pub input_nano_usd: u64,
    pub output_nano_usd: u64,
}

impl ModelPrices {
    /// The prices in a text; `None`: invalid.
    pub fn parse(text: &str) -> Option<Self> {
        let entries = text.split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty());
        let mut prices = entries.map(price).collect::<Option<Vec<_>>>()?;
        prices.sort_by(|one, other| one.model.cmp(&other.model));
        let is_twice = prices.windows(2).any(|pair| pair[0].model == pair[1].model);
        (!is_twice && prices.len() <= MAX_MODELS).then_some(Self(prices))
    }

    /// The canonical text.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for price in &self.0 {
            if !text.is_empty() {
                text.push_str(", ");
            }
            let (input, output) = (usd(price.input_nano_usd), usd(price.output_nano_usd));
            let _ = write!(text, "{}={input}/{output}", price.model);
        }
        text
    }

    /// The price of a model, with or without `models/`.
    pub fn find(&self, model: &str) -> Option<&ModelPrice> {
        let model = model.strip_prefix("models/").unwrap_or(model);
        self.0.iter().find(|price| price.model == model)
    }

    /// The models that have a price.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|price| price.model.as_str())
    }
}

fn price(entry: &str) -> Option<ModelPrice> {
    let (model, prices) = entry.split_once('=')?;
    let (input, output) = prices.split_once('/')?;
    let model = model.trim();
    let model = model.strip_prefix("models/").unwrap_or(model);
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/".contains(&byte);
    let is_name = (1..=MAX_NAME_BYTES).contains(&model.len()) && model.bytes().all(is_fit);
    let amount = |text: &str| nano_usd(text.trim()).filter(|nano| *nano <= MAX_NANO_USD);
    is_name.then_some(ModelPrice {
        model: model.to_owned(),
        input_nano_usd: amount(input)?,
        output_nano_usd: amount(output)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_parsed_and_have_a_canonical_text() {
        for (text, canonical) in [
            ("", ""),
            ("gemini-2.5-pro=1.25/10", "gemini-2.5-pro=1.25/10.00"),
            (
                " models/b = 0 / 0.000001 ,a=1/2,",
                "a=1.00/2.00, b=0.00/0.000001",
            ),
        ] {
            let prices = ModelPrices::parse(text).unwrap();
            assert_eq!(prices.to_text(), canonical);
            assert_eq!(ModelPrices::parse(canonical), Some(prices));
        }
        let prices = ModelPrices::parse("m=1.5/2").unwrap();
        let found = prices.find("models/m").unwrap();
        assert_eq!(
            (found.input_nano_usd, found.output_nano_usd),
            (1_500_000_000, 2_000_000_000)
        );
        assert_eq!(prices.find("n"), None);
        assert_eq!(prices.models().collect::<Vec<_>>(), ["m"]);
    }

    #[test]
    fn invalid_prices_are_refused() {
        for text in [
            "m",
            "m=1",
            "m=1/",
            "m=/1",
            "=1/2",
            "m=-1/2",
            "m=1/2,m=3/4",
            "m n=1/2",
            "m=1e3/2",
            "m=1000001/2",
            "a b\n",
        ] {
            assert_eq!(ModelPrices::parse(text), None, "{text}");
        }
    }
}
