//! `ReplyContent`: how far the content of a reply has come, and whether the reply is empty.

/// How far the content of a reply has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyContent {
    /// No content, and no reason why there is none.
    Nothing,
    /// There is text, or another part.
    Begun,
    /// The model stopped, for this reason, or the prompt was blocked, before there was content.
    Finished(String),
}

impl ReplyContent {
    /// Why the reply is empty although the model had no reason that another attempt would meet again; `None`: it has
    /// content, or such a reason: a filter, a limit. `MALFORMED_FUNCTION_CALL` and `MALFORMED_RESPONSE` are failures of the
    /// model (finish reasons of googleapis/python-genai, `types.py`); OpenAI's layer wraps them, and clients that send
    /// `enum-encoding=int` get numbers.
    pub fn why_empty(&self) -> Option<String> {
        let reason = match self {
            Self::Begun => return None,
            Self::Nothing => return Some("the reply ended without content".to_owned()),
            Self::Finished(reason) => reason,
        };
        let is_stop = ["STOP", "stop", "1"].contains(&reason.as_str());
        let is_malformed = reason == "10" || reason.contains("MALFORMED_");
        let reason = &reason[..reason.floor_char_boundary(100)];
        (is_stop || is_malformed)
            .then(|| format!("the reply has no content, with the finish reason {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_was_blocked_or_cut_short_is_not_empty() {
        let finished = |reason: &str| ReplyContent::Finished(reason.to_owned());
        let cases = [
            (ReplyContent::Begun, false),
            (ReplyContent::Nothing, true),
            (finished("STOP"), true),
            (finished("stop"), true),
            (finished("MALFORMED_FUNCTION_CALL"), true),
            (
                finished("function_call_filter: MALFORMED_FUNCTION_CALL"),
                true,
            ),
            (finished("10"), true),
            (finished("MAX_TOKENS"), false),
            (finished("length"), false),
            (finished("SAFETY"), false),
            (finished("PROHIBITED_CONTENT"), false),
            (finished("3"), false),
        ];
        for (content, expected) in cases {
            assert_eq!(content.why_empty().is_some(), expected, "{content:?}");
        }
    }
}
