//! `UpstreamWatch`: whether the upstream answers like Gemini at all.
//!
//! A relay that is down, or a wrong `UPSTREAM_URL`, answers everything with a web page, a redirect or a bare 404. That says
//! nothing about keys, so they stay ready, and the pool would look healthy.

use crate::pool::health::verdict::{Rule, Verdict};

/// After this many answers in a row the upstream is wrong.
const ANSWERS_IN_A_ROW: u32 = 5;

/// The last answers, across all keys.
#[derive(Debug, Default)]
pub struct UpstreamWatch {
    in_a_row: u32,
    last: String,
}

impl UpstreamWatch {
    /// Records the verdict on an attempt or a check; without an answer it says nothing.
    pub fn record(&mut self, verdict: &Verdict) {
        let Some(status) = verdict.status else { return };
        if !is_foreign(verdict) {
            self.in_a_row = 0;
            return;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.last = format!("{status}: {}", verdict.message);
        if self.in_a_row == ANSWERS_IN_A_ROW {
            tracing::error!(
                status,
                "the last {ANSWERS_IN_A_ROW} answers were not Gemini's, the last one {}: check UPSTREAM_URL, and what \
                 stands between this server and Google",
                self.last
            );
        }
    }

    /// The last answer, if none of the last ones was Gemini's.
    pub fn wrong_answer(&self) -> Option<&str> {
        (self.in_a_row >= ANSWERS_IN_A_ROW).then_some(&self.last)
    }
}

/// Whether Gemini never answers so: a page, a redirect, or a 404 without an error of Google.
pub fn is_foreign(verdict: &Verdict) -> bool {
    matches!(
        (verdict.rule, verdict.status),
        (Rule::FrontEndForbidden, _)
            | (Rule::UnnamedFault, Some(300..400 | 404))
            | (Rule::FrontEndError | Rule::MalformedAnswer, Some(200))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(rule: Rule, status: u16) -> Verdict {
        Verdict {
            status: Some(status),
            ..Verdict::without_answer(rule, "a page".to_owned())
        }
    }

    #[test]
    fn only_foreign_answers_in_a_row_make_the_upstream_wrong() {
        let foreign = [
            (Rule::UnnamedFault, 404),
            (Rule::UnnamedFault, 302),
            (Rule::FrontEndError, 200),
            (Rule::FrontEndForbidden, 403),
        ];
        for (rule, status) in foreign {
            let mut watch = UpstreamWatch::default();
            for count in 1..=ANSWERS_IN_A_ROW {
                assert_eq!(watch.wrong_answer(), None, "{rule:?} {count}");
                watch.record(&verdict(rule, status));
            }
            watch.record(&Verdict::without_answer(Rule::ConnectFailed, String::new()));
            assert_eq!(
                watch.wrong_answer(),
                Some(format!("{status}: a page").as_str())
            );
            watch.record(&verdict(Rule::ModelNotFound, 404));
            assert_eq!(watch.wrong_answer(), None);
        }
    }
}
