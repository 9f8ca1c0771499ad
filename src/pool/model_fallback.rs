//! `ModelFallback`: which models may answer in place of another that no key can serve now, as in a setting:
//! `gemini-2.5-pro > gemini-2.5-flash > gemini-2.5-flash-lite, gemini-3-pro > gemini-2.5-pro`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Stands for no chain at all where an empty text stands for the chains of the setting.
pub const NONE: &str = "none";
/// Stands for the chains of the setting where an empty text changes nothing.
pub const DEFAULT: &str = "default";
const MAX_CHAINS: usize = 200;
const MAX_MODELS: usize = 8;
const MAX_NAME_BYTES: usize = 200;

/// Chains of models, one for each model that has any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelFallback(Vec<Vec<String>>);

impl ModelFallback {
    /// The chains in a text; `None`: invalid. A chain has at least two models, each once.
    pub fn parse(text: &str) -> Option<Self> {
        let chains = text.split(',').map(str::trim);
        let chains = chains.filter(|chain| !chain.is_empty());
        let mut chains = chains.map(chain).collect::<Option<Vec<_>>>()?;
        chains.sort();
        let is_twice = chains.windows(2).any(|pair| pair[0][0] == pair[1][0]);
        (!is_twice && chains.len() <= MAX_CHAINS).then_some(Self(chains))
    }

    /// What is written for one client key: nothing for the chains of the setting, [`NONE`], or chains. The outer `None`: invalid.
    pub fn parse_own(text: &str) -> Option<Option<Self>> {
        match text.trim() {
            "" => Some(None),
            NONE => Some(Some(Self::default())),
            chains => Self::parse(chains).map(Some),
        }
    }

    /// The text that [`Self::parse_own`] reads.
    pub fn own_text(own: Option<&Self>) -> String {
        match own {
            None => String::new(),
            Some(chains) if chains.0.is_empty() => NONE.to_owned(),
            Some(chains) => chains.to_text(),
        }
    }

    /// The canonical text.
    pub fn to_text(&self) -> String {
        let chains: Vec<String> = self.0.iter().map(|chain| chain.join(" > ")).collect();
        chains.join(", ")
    }

    /// The models that may answer in place of this one, in their order.
    pub fn of(&self, model: &str) -> &[String] {
        let chain = self.0.iter().find(|chain| chain[0] == model);
        chain.map_or(&[], |chain| &chain[1..])
    }
}

impl Serialize for ModelFallback {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for ModelFallback {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let chains = Self::parse(&text);
        chains.ok_or_else(|| de::Error::custom("no chains of models"))
    }
}

fn chain(text: &str) -> Option<Vec<String>> {
    let models = text.split('>').map(model).collect::<Option<Vec<_>>>()?;
    let is_twice = |index: usize| models[..index].contains(&models[index]);
    let is_chain = (2..=MAX_MODELS).contains(&models.len());
    (is_chain && !(1..models.len()).any(is_twice)).then_some(models)
}

fn model(text: &str) -> Option<String> {
    let name = text.trim();
    let name = name.strip_prefix("models/").unwrap_or(name);
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_fit);
    // A segment of only dots would lead elsewhere.
    let is_plain = name.bytes().any(|byte| byte.is_ascii_alphanumeric());
    (is_name && is_plain).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_read_and_written_in_one_form() {
        let text = " models/gemini-2.5-pro>gemini-2.5-flash > gemini-2.5-flash-lite ,, a > b";
        let fallback = ModelFallback::parse(text).unwrap();

        let canonical = "a > b, gemini-2.5-pro > gemini-2.5-flash > gemini-2.5-flash-lite";
        assert_eq!(fallback.to_text(), canonical);
        assert_eq!(ModelFallback::parse(canonical), Some(fallback.clone()));
        assert_eq!(
            fallback.of("gemini-2.5-pro"),
            ["gemini-2.5-flash", "gemini-2.5-flash-lite"]
        );
        assert!(fallback.of("gemini-2.5-flash").is_empty());
    }

    #[test]
    fn a_client_key_has_the_chains_of_the_setting_others_or_none() {
        for (text, expected) in [
            ("", Some(None)),
            (" none ", Some(Some(""))),
            ("a>b", Some(Some("a > b"))),
            ("a", None),
        ] {
            let own = ModelFallback::parse_own(text);
            let texts = own
                .as_ref()
                .map(|own| own.as_ref().map(ModelFallback::to_text));
            let expected = expected.map(|own| own.map(str::to_owned));
            assert_eq!(texts, expected, "{text}");
            if let Some(own) = own {
                let written = ModelFallback::own_text(own.as_ref());
                assert_eq!(ModelFallback::parse_own(&written), Some(own.clone()));
                let json = serde_json::to_string(&own).unwrap();
                assert_eq!(
                    serde_json::from_str::<Option<ModelFallback>>(&json).ok(),
                    Some(own)
                );
            }
        }
    }

    #[test]
    fn what_is_no_chain_is_refused() {
        let too_long = ["a"; 9].join("1 > ");
        for text in [
            "a",
            "a >",
            "a > a",
            "a > b > a",
            "a > b, a > c",
            "a > b/c",
            "a > ..",
            "a > b c",
            &too_long,
        ] {
            assert_eq!(ModelFallback::parse(text), None, "{text}");
        }
    }
}
