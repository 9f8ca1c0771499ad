//! `UpstreamWatch`: whether the upstream can be reached, and answers like Gemini at all.
//!
//! A relay that is down, or a wrong `UPSTREAM_URL`, answers everything with a web page, a redirect or a bare 404. That
//! proves nothing about keys, so they stay ready, and without this watch the pool would look healthy.

use crate::pool::health::verdict::{Rule, Verdict};

/// After this many answers in a row the upstream is wrong.
const ANSWERS_IN_A_ROW: u32 = 5;

/// After this many failed connections in a row the upstream cannot be reached: a request tries twice.
const FAILED_CONNECTIONS_IN_A_ROW: u32 = 2;

/// The last answers and failed connections, across all keys.
#[derive(Debug, Default)]
pub struct UpstreamWatch {
    in_a_row: u32,
    last: String,
    failed_connections: u32,
    /// Why the last of them failed.
    connection_error: String,
    has_answered: bool,
}

impl UpstreamWatch {
    /// Records the verdict on an attempt or a check; without an answer it says nothing.
    pub fn record(&mut self, verdict: &Verdict) {
        self.record_connection(verdict);
        let Some(status) = verdict.status else { return };
        if !is_foreign(verdict) {
            self.in_a_row = 0;
            self.has_answered = true;
            return;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.last = format!("{status}: {}", verdict.message);
        if self.in_a_row == ANSWERS_IN_A_ROW {
            // The answer itself may repeat a key: the page shows it redacted.
            tracing::error!(
                status,
                "the last {ANSWERS_IN_A_ROW} answers were not Gemini's; /status shows the last one. Check UPSTREAM_URL, \
                 and what stands between this server and Google"
            );
        }
    }

    /// Logs once that the upstream cannot be reached, and once that it can again.
    fn record_connection(&mut self, verdict: &Verdict) {
        if verdict.status.is_some() {
            if self.is_unreachable() {
                let failed = self.failed_connections;
                tracing::warn!(
                    "the upstream can be reached again, after {failed} failed connections"
                );
            }
            self.failed_connections = 0;
        } else if verdict.rule == Rule::ConnectFailed {
            self.failed_connections = self.failed_connections.saturating_add(1);
            self.connection_error.clone_from(&verdict.message);
            if self.failed_connections == FAILED_CONNECTIONS_IN_A_ROW {
                tracing::warn!(
                    "the upstream cannot be reached: {}; there is no further line until it can",
                    verdict.message
                );
            }
        }
    }

    /// Whether the last connections failed.
    fn is_unreachable(&self) -> bool {
        self.failed_connections >= FAILED_CONNECTIONS_IN_A_ROW
    }

    /// Why the last connection failed, if the last ones did and none had an answer since.
    pub fn connection_error(&self) -> Option<&str> {
        self.is_unreachable().then_some(&self.connection_error)
    }

    /// Whether Gemini has answered since the start: before that, no problem is no evidence that there is none.
    pub fn has_answered(&self) -> bool {
        self.has_answered
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
    fn the_upstream_is_unreachable_from_the_second_failed_connection_to_the_next_answer() {
        let mut watch = UpstreamWatch::default();
        let failed = Verdict::without_answer(Rule::ConnectFailed, "refused".to_owned());
        for is_unreachable in [false, true, true] {
            watch.record(&failed);
            let error = is_unreachable.then_some("refused");
            assert_eq!(watch.connection_error(), error);
        }

        watch.record(&Verdict::without_answer(Rule::AnswerTimeout, String::new()));
        assert!(watch.is_unreachable() && !watch.has_answered());
        watch.record(&verdict(Rule::Overloaded, 503));
        assert!(!watch.is_unreachable() && watch.has_answered());
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
                assert!(!watch.has_answered());
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
