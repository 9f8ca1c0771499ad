//! Records two attempts at the same time: one of them is the current one, to which verdicts and the answer belong.

use std::time::Duration;

use crate::clock;
use crate::gemini::response::tap::ResponseSummary;
use crate::pool::health::verdict::{Rule, Verdict};
use crate::pool::keys::registry::LeasedKey;
use crate::proxy::record::Record;

impl Record {
    /// Begins a second attempt beside the running one, and makes it the current one.
    pub fn begin_twin(&mut self, key: &LeasedKey) {
        let began = self.attempt_began;
        let other = self.key.clone().map(|key| (key, began));
        self.begin_attempt(key);
        self.other_attempt = other;
    }

    /// Makes the other of two attempts at the same time the current one, which is the last of the row.
    pub fn switch_attempt(&mut self) {
        let (Some((other_key, other_began)), Some(key)) = (&mut self.other_attempt, &mut self.key)
        else {
            return;
        };
        std::mem::swap(other_key, key);
        std::mem::swap(other_began, &mut self.attempt_began);
        let mut row = self.row();
        if let [.., one, last] = row.attempts.as_mut_slice() {
            std::mem::swap(one, last);
        }
    }

    /// Ends the current attempt, because another one answered first. Google may bill what it had read.
    pub fn cancel_attempt(&mut self) {
        let rule = Rule::HedgeCancelled;
        let verdict = Verdict::without_answer(rule, String::new());
        self.conclude_attempt(&verdict, Some(rule.outcome()));
        if let Some(key) = self.key.clone() {
            self.discard(&key, rule.outcome(), &ResponseSummary::default());
        }
    }

    /// How long the current attempt has taken so far.
    pub fn attempt_age(&self) -> Duration {
        clock::instant().saturating_duration_since(self.attempt_began)
    }
}
