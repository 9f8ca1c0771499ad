//! How guessing passwords is slowed down, by account and by address, without locking out the owner: a browser that has
//! signed in before is known again, and waits only for its own mistakes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::guessing::group;

/// How often one may be wrong before the next try has to wait.
const PATIENCE: u32 = 5;
/// How often all strangers together may be wrong about one account.
const PATIENCE_WITH_ALL: u32 = 20;
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// All strangers wait less, because the owner in a new browser is one of them.
const LONGEST_WAIT_OF_ALL: Duration = Duration::from_secs(5);
/// After so long without a mistake one begins anew.
const FORGET: Duration = Duration::from_hours(1);
/// How many are told apart; more share one count.
const MOST: usize = 10_000;

/// Who tries to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Guesser {
    /// A browser that signed in as the account before, by the mark it was given then.
    Known(String),
    /// Anybody else at an address.
    Address(IpAddr),
}

impl Guesser {
    pub fn stranger(address: IpAddr) -> Self {
        Self::Address(group(address))
    }
}

/// The recent mistakes, by who made them and by the account they were about.
#[derive(Debug, Default)]
pub struct SignInGuesses {
    by_guesser: HashMap<Guesser, Mistakes>,
    by_account: HashMap<String, Mistakes>,
}

#[derive(Debug, Clone, Copy)]
struct Mistakes {
    count: u32,
    last: Timestamp,
}

impl SignInGuesses {
    /// Lets a try be looked at, or says how long it has to wait. It counts as a mistake until it has succeeded, so that
    /// many at once are not more than one after another; one that has to wait does not count.
    pub fn begin(&mut self, who: &Guesser, account: &str, now: Timestamp) -> Result<(), Duration> {
        if let Some(wait) = self.wait(who, account, now) {
            return Err(wait);
        }
        self.fail(who, account, now);
        Ok(())
    }

    /// How long a try has to wait; `None`: it may be looked at now.
    fn wait(&self, who: &Guesser, account: &str, now: Timestamp) -> Option<Duration> {
        let own = self.by_guesser.get(who);
        let own = own.and_then(|mistakes| mistakes.wait(PATIENCE, LONGEST_WAIT, now));
        let of_all = match who {
            Guesser::Known(_) => None,
            Guesser::Address(_) => self
                .by_account
                .get(account)
                .and_then(|mistakes| mistakes.wait(PATIENCE_WITH_ALL, LONGEST_WAIT_OF_ALL, now)),
        };
        own.max(of_all)
    }

    /// Counts a mistake.
    fn fail(&mut self, who: &Guesser, account: &str, now: Timestamp) {
        if self.by_guesser.len() + self.by_account.len() >= MOST {
            self.sweep(now);
        }
        count(&mut self.by_guesser, who.clone(), now);
        if matches!(who, Guesser::Address(_)) {
            count(&mut self.by_account, account.to_owned(), now);
        }
    }

    /// Forgets the mistakes of somebody who signed in, and that this try was counted as one.
    pub fn succeed(&mut self, who: &Guesser, account: &str) {
        self.by_guesser.remove(who);
        if let (Guesser::Address(_), Some(mistakes)) = (who, self.by_account.get_mut(account)) {
            mistakes.count = mistakes.count.saturating_sub(1);
        }
    }

    /// Forgets what is old.
    pub fn sweep(&mut self, now: Timestamp) {
        self.by_guesser.retain(|_, mistakes| !mistakes.is_old(now));
        self.by_account.retain(|_, mistakes| !mistakes.is_old(now));
    }
}

impl Mistakes {
    fn is_old(self, now: Timestamp) -> bool {
        now - self.last >= FORGET
    }

    /// One second after the last mistake that `patience` allows, twice as long after each more.
    fn wait(self, patience: u32, longest: Duration, now: Timestamp) -> Option<Duration> {
        let doublings = self.count.checked_sub(patience)?;
        if self.is_old(now) {
            return None;
        }
        let pause = Duration::from_secs(1 << doublings.min(10)).min(longest);
        let rest = pause.checked_sub(now - self.last)?;
        Some(rest).filter(|rest| !rest.is_zero())
    }
}

fn count<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, Mistakes>, who: K, now: Timestamp) {
    // Who comes when all places are taken is not counted: hashing few passwords at once slows down everybody.
    if counts.len() >= MOST && !counts.contains_key(&who) {
        return;
    }
    let mistakes = counts.entry(who).or_insert(Mistakes {
        count: 0,
        last: now,
    });
    if mistakes.is_old(now) {
        mistakes.count = 0;
    }
    mistakes.count = mistakes.count.saturating_add(1);
    mistakes.last = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn stranger(number: u8) -> Guesser {
        Guesser::stranger(IpAddr::from([192, 0, 2, number]))
    }

    #[test]
    fn who_is_often_wrong_waits_ever_longer_and_nobody_else_does() {
        let mut guesses = SignInGuesses::default();
        let mut waits = Vec::new();

        for _ in 0..12 {
            guesses.fail(&stranger(1), "admin", NOW);
            waits.push(
                guesses
                    .wait(&stranger(1), "admin", NOW)
                    .map(|wait| wait.as_secs()),
            );
        }

        let expected = [
            None,
            None,
            None,
            None,
            Some(1),
            Some(2),
            Some(4),
            Some(8),
            Some(16),
            Some(30),
            Some(30),
            Some(30),
        ];
        assert_eq!(waits, expected);
        assert_eq!(guesses.wait(&stranger(2), "admin", NOW), None);
        assert_eq!(
            guesses.wait(&stranger(1), "admin", NOW + Duration::from_secs(30)),
            None
        );
    }

    #[test]
    fn many_at_once_are_no_more_than_one_after_another() {
        let mut guesses = SignInGuesses::default();

        let begun = (0..100).filter(|_| guesses.begin(&stranger(1), "admin", NOW).is_ok());
        assert_eq!(begun.count(), 5);

        let owner = stranger(2);
        for _ in 0..100 {
            assert_eq!(guesses.begin(&owner, "admin", NOW), Ok(()));
            guesses.succeed(&owner, "admin");
        }
    }

    #[test]
    fn a_crowd_slows_strangers_down_but_never_a_browser_that_is_known() {
        let mut guesses = SignInGuesses::default();
        let owner = Guesser::Known("mark".to_owned());

        for number in 0..200 {
            guesses.fail(&stranger(number), "admin", NOW);
        }

        assert_eq!(
            guesses.wait(&stranger(250), "admin", NOW),
            Some(LONGEST_WAIT_OF_ALL)
        );
        assert_eq!(guesses.wait(&stranger(250), "other", NOW), None);
        assert_eq!(guesses.wait(&owner, "admin", NOW), None);
    }

    #[test]
    fn mistakes_are_forgotten_after_an_hour_or_a_success() {
        let mut guesses = SignInGuesses::default();
        for _ in 0..9 {
            guesses.fail(&stranger(1), "admin", NOW);
            guesses.fail(&stranger(2), "admin", NOW);
        }

        guesses.succeed(&stranger(1), "admin");
        guesses.sweep(NOW + FORGET);

        assert_eq!(guesses.wait(&stranger(1), "admin", NOW), None);
        assert!(guesses.by_guesser.is_empty());
    }
}
