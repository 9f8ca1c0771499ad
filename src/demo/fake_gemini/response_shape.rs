//! `ResponseShape`: the length, pieces, pace and text of answers.

/// The shape of answers. A request can change it: `x-fake-gemini: chunks=50,delay=10`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseShape {
    /// Number of pieces of a stream.
    pub chunks: usize,
    /// The text of each piece has this many bytes; `None`: the answer's text is divided among them.
    pub chunk_bytes: Option<usize>,
    /// The pause between two pieces of a stream.
    pub chunk_delay_ms: u64,
    /// Before the head.
    pub first_byte_ms: u64,
    /// The text of an answer has this many bytes; `None`: a few sentences.
    pub text_bytes: Option<usize>,
    /// Whether answers have a `content-length` where Google sends chunks.
    pub has_content_length: bool,
}

impl Default for ResponseShape {
    fn default() -> Self {
        Self {
            chunks: 4,
            chunk_bytes: None,
            chunk_delay_ms: 0,
            first_byte_ms: 0,
            text_bytes: None,
            has_content_length: false,
        }
    }
}

impl ResponseShape {
    /// This shape with the changes that the header names: `chunks`, `chunk_bytes`, `delay`, `first_byte`, `bytes`,
    /// `length`, each with a number. Anything else is ignored.
    #[must_use]
    pub fn with_overrides(mut self, header: &str) -> Self {
        for pair in header.split(',') {
            let Some((name, value)) = pair.trim().split_once('=') else {
                continue;
            };
            let Ok(number) = value.parse::<u32>() else {
                continue;
            };
            let size = number as usize;
            match name {
                "chunks" => self.chunks = size.max(1),
                "chunk_bytes" => self.chunk_bytes = Some(size),
                "delay" => self.chunk_delay_ms = number.into(),
                "first_byte" => self.first_byte_ms = number.into(),
                "bytes" => self.text_bytes = Some(size),
                "length" => self.has_content_length = number != 0,
                _ => (),
            }
        }
        self
    }

    /// The whole answer's text for a prompt with this hash.
    pub fn text(&self, prompt_hash: u64) -> String {
        let count = 2 + (prompt_hash / 16 % 3) as usize;
        let sentences = (0..).map(|step| sentence(prompt_hash.wrapping_add(step)));
        let Some(bytes) = self.text_bytes else {
            return sentences.take(count).collect::<Vec<_>>().join(" ");
        };
        let mut text = String::with_capacity(bytes + 200);
        for sentence in sentences {
            if text.len() >= bytes {
                break;
            }
            text.push_str(sentence);
            text.push(' ');
        }
        text.truncate(bytes);
        text
    }

    /// The answer's text in the pieces of a stream.
    pub fn texts(&self, prompt_hash: u64) -> Vec<String> {
        let chunks = self.chunks.max(1);
        let whole = match self.chunk_bytes {
            Some(bytes) => Self {
                text_bytes: Some(bytes * chunks),
                ..self.clone()
            }
            .text(prompt_hash),
            None => self.text(prompt_hash),
        };
        // The sentences are ASCII, so that every cut is one between characters.
        let cut = |index: usize| whole.len() * index / chunks;
        (0..chunks)
            .map(|index| whole[cut(index)..cut(index + 1)].to_owned())
            .collect()
    }
}

fn sentence(number: u64) -> &'static str {
    const SENTENCES: [&str; 16] = [
        "Light scatters more the shorter its wave, and so a clear sky is blue.",
        "A queue is fair when no request can be overtaken twice.",
        "The tide follows the moon, a little late.",
        "Write the test first, then the code, then the name it deserved all along.",
        "Tea keeps its scent in porcelain and loses it in iron.",
        "Two numbers that share no factor meet only at their product.",
        "The river was there before the town, and gave it its shape.",
        "A good error message says what to do next.",
        "Bread needs flour, water, salt and patience.",
        "An index is a promise that is paid for at every write.",
        "Swallows come back when the insects do.",
        "The simplest plan that could work is worth trying first.",
        "Old maps show what people wanted to find.",
        "Rain on a tin roof is the same song at every speed.",
        "A cache is a guess that yesterday will happen again.",
        "The shortest path is seldom the one with the fewest steps.",
    ];
    // The step by 5 visits every sentence before one comes back.
    let index = number.wrapping_mul(5) % SENTENCES.len() as u64;
    SENTENCES[usize::try_from(index).unwrap_or_default()]
}

/// The tokens of a text: about a quarter of its bytes, and at least one.
pub fn token_count(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4).max(1)
}
