//! Embeddings: vectors that depend on the text alone, in the native and the OpenAI form.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The default length of a vector: that of the current embedding models.
const DIMENSIONS: usize = 3072;

/// What is embedded.
pub struct EmbeddingsResponse<'a> {
    pub model: &'a str,
    /// One hash per text.
    pub texts: &'a [u64],
    pub dimensions: Option<usize>,
    pub prompt_tokens: u64,
}

impl EmbeddingsResponse<'_> {
    /// `embedContent`.
    pub fn single(&self) -> String {
        let mut json = "{\n  \"embedding\": ".to_owned();
        let text = self.texts.first().copied().unwrap_or_default();
        self.write_values(&mut json, text, "  ");
        json + &self.usage() + "\n}\n"
    }

    /// `batchEmbedContents`.
    pub fn batch(&self) -> String {
        let mut json = "{\n  \"embeddings\": [".to_owned();
        for (index, text) in self.texts.iter().enumerate() {
            json += if index == 0 { "\n    " } else { ",\n    " };
            self.write_values(&mut json, *text, "    ");
        }
        json + "\n  ]" + &self.usage() + "\n}\n"
    }

    /// The list of the OpenAI layer; with `base64` as little-endian floats.
    pub fn openai(&self, as_base64: bool) -> String {
        let mut json = "{\"object\":\"list\",\"data\":[".to_owned();
        for (index, text) in self.texts.iter().enumerate() {
            let values: Vec<_> = self.values(*text).collect();
            let vector = if as_base64 {
                let bytes: Vec<_> = values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                format!("\"{}\"", STANDARD.encode(&bytes))
            } else {
                let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                format!("[{}]", values.join(","))
            };
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(
                json,
                "{comma}{{\"object\":\"embedding\",\"index\":{index},\"embedding\":{vector}}}"
            );
        }
        let _ = write!(
            json,
            "],\"model\":\"{}\",\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}",
            self.model,
            tokens = self.prompt_tokens
        );
        json
    }

    fn write_values(&self, json: &mut String, text: u64, indent: &str) {
        let _ = write!(json, "{{\n{indent}  \"values\": [");
        for (index, value) in self.values(text).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(json, "{comma}\n{indent}    {value}");
        }
        let _ = write!(json, "\n{indent}  ]\n{indent}}}");
    }

    pub fn values(&self, text: u64) -> impl Iterator<Item = f32> {
        let mut state = text | 1;
        let dimensions = self.dimensions.unwrap_or(DIMENSIONS).clamp(1, DIMENSIONS);
        (0..dimensions).map(move |_| {
            // xorshift: fast, and the same for the same text.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let small = i16::try_from(state % 2000).unwrap_or_default() - 1000;
            f32::from(small) / 16384.0
        })
    }

    /// Only gemini-embedding-2 reports usage; the spelling of `promptTokenDetails` is Google's.
    fn usage(&self) -> String {
        if self.model != "gemini-embedding-2" {
            return String::new();
        }
        let tokens = self.prompt_tokens;
        format!(
            ",\n  \"usageMetadata\": {{\n    \"promptTokenCount\": {tokens},\n    \"promptTokenDetails\": [\n      {{\n        \
             \"modality\": \"TEXT\",\n        \"tokenCount\": {tokens}\n      }}\n    ]\n  }}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_are_indented_like_recorded_ones() {
        let embeddings = EmbeddingsResponse {
            model: "gemini-embedding-2",
            texts: &[1, 2],
            dimensions: Some(2),
            prompt_tokens: 5,
        };

        let batch = embeddings.batch();

        assert!(batch.starts_with("{\n  \"embeddings\": [\n    {\n      \"values\": [\n        "));
        assert!(batch.contains("\n      ]\n    },\n    {\n"));
        assert!(batch.ends_with(
            "\n      ]\n    }\n  ],\n  \"usageMetadata\": {\n    \"promptTokenCount\": 5,\n    \"promptTokenDetails\": [\n      \
             {\n        \"modality\": \"TEXT\",\n        \"tokenCount\": 5\n      }\n    ]\n  }\n}\n"
        ));
        let single = embeddings.single();
        assert!(single.starts_with("{\n  \"embedding\": {\n    \"values\": [\n      "));
        for json in [
            batch,
            single,
            embeddings.openai(false),
            embeddings.openai(true),
        ] {
            serde_json::from_str::<serde_json::Value>(&json).unwrap();
        }
    }
}
