//! How guessing passwords is slowed down, by account and by address, without locking out the owner: a browser that has
//! signed in before is known again, and waits only for its own mistakes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::clients::auth_failures::address_group;

/// How often one may be wrong before the next try has to wait.
const FREE_FAILURES: u32 = 5;
/// How often all strangers together may be wrong about one account.
const FREE_FAILURES_OF_ACCOUNT: u32 = 20;
const MAX_WAIT: Duration = Duration::from_secs(30);
/// All strangers wait less, because the owner in a new browser is one of them.
const MAX_WAIT_OF_ACCOUNT: Duration = Duration::from_secs(5);
/// After so long without a mistake one begins anew.
const FORGET_AFTER: Duration = Duration::from_hours(1);
/// How many are told apart; more share one count.
const MAX_COUNTS: usize = 10_000;

/// Who tries to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LoginSource {
    /// A browser that signed in as the account before, by the mark it was given then.
    Known(String),
    /// Anybody else at an address.
    Address(IpAddr),
}

impl LoginSource {
    pub fn from_address(address: IpAddr) -> Self {
        Self::Address(address_group(address))
    }
}

/// The recent mistakes, by who made them and by the account they were about.
#[derive(Debug, Default)]
pub struct LoginThrottle {
    by_source: HashMap<LoginSource, FailedLogins>,
    by_account: HashMap<String, FailedLogins>,
}

#[derive(Debug, Clone, Copy)]
struct FailedLogins {
    count: u32,
    last: Timestamp,
}

impl LoginThrottle {
    /// Lets a try be looked at, or says how long it has to wait. It counts as a mistake until it has succeeded, so that
    /// many at once are not more than one after another; one that has to wait does not count.
    pub fn begin(
        &mut self,
        source: &LoginSource,
        account: &str,
        now: Timestamp,
    ) -> Result<(), Duration> {
        if let Some(wait) = self.wait(source, account, now) {
            return Err(wait);
        }
        self.record_failure(source, account, now);
        Ok(())
    }

    /// How long a try has to wait; `None`: it may be looked at now.
    fn wait(&self, source: &LoginSource, account: &str, now: Timestamp) -> Option<Duration> {
        let source_wait = self.by_source.get(source);
        let source_wait =
            source_wait.and_then(|failures| failures.wait(FREE_FAILURES, MAX_WAIT, now));
        let account_wait = match source {
            LoginSource::Known(_) => None,
            LoginSource::Address(_) => self.by_account.get(account).and_then(|failures| {
                failures.wait(FREE_FAILURES_OF_ACCOUNT, MAX_WAIT_OF_ACCOUNT, now)
            }),
        };
        source_wait.max(account_wait)
    }

    /// Counts a mistake.
    fn record_failure(&mut self, source: &LoginSource, account: &str, now: Timestamp) {
        if self.by_source.len() + self.by_account.len() >= MAX_COUNTS {
            self.sweep(now);
        }
        count(&mut self.by_source, source.clone(), now);
        if matches!(source, LoginSource::Address(_)) {
            count(&mut self.by_account, account.to_owned(), now);
        }
    }

    /// Forgets the mistakes of somebody who signed in, and that this try was counted as one.
    pub fn record_success(&mut self, source: &LoginSource, account: &str) {
        self.by_source.remove(source);
        if let (LoginSource::Address(_), Some(failures)) =
            (source, self.by_account.get_mut(account))
        {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    /// Forgets what is old.
    pub fn sweep(&mut self, now: Timestamp) {
        self.by_source.retain(|_, failures| !failures.is_old(now));
        self.by_account.retain(|_, failures| !failures.is_old(now));
    }
}

impl FailedLogins {
    fn is_old(self, now: Timestamp) -> bool {
        now - self.last >= FORGET_AFTER
    }

    /// One second after the last mistake that `patience` allows, twice as long after each more.
    fn wait(self, free_failures: u32, longest: Duration, now: Timestamp) -> Option<Duration> {
        let doublings = self.count.checked_sub(free_failures)?;
        if self.is_old(now) {
            return None;
        }
        let pause = Duration::from_secs(1 << doublings.min(10)).min(longest);
        let rest = pause.checked_sub(now - self.last)?;
        Some(rest).filter(|rest| !rest.is_zero())
    }
}

fn count<K: std::hash::Hash + Eq>(
    counts: &mut HashMap<K, FailedLogins>,
    source: K,
    now: Timestamp,
) {
    // Who comes when all places are taken is not counted: hashing few passwords at once slows down everybody.
    if counts.len() >= MAX_COUNTS && !counts.contains_key(&source) {
        return;
    }
    let failures = counts.entry(source).or_insert(FailedLogins {
        count: 0,
        last: now,
    });
    if failures.is_old(now) {
        failures.count = 0;
    }
    failures.count = failures.count.saturating_add(1);
    failures.last = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn client_at(number: u8) -> LoginSource {
        LoginSource::from_address(IpAddr::from([192, 0, 2, number]))
    }

    #[test]
    fn who_is_often_wrong_waits_ever_longer_and_nobody_else_does() {
        let mut throttle = LoginThrottle::default();
        let mut waits = Vec::new();

        for _ in 0..12 {
            throttle.record_failure(&client_at(1), "admin", NOW);
            waits.push(
                throttle
                    .wait(&client_at(1), "admin", NOW)
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
        assert_eq!(throttle.wait(&client_at(2), "admin", NOW), None);
        assert_eq!(
            throttle.wait(&client_at(1), "admin", NOW + Duration::from_secs(30)),
            None
        );
    }

    #[test]
    fn many_at_once_are_no_more_than_one_after_another() {
        let mut throttle = LoginThrottle::default();

        let begun = (0..100).filter(|_| throttle.begin(&client_at(1), "admin", NOW).is_ok());
        assert_eq!(begun.count(), 5);

        let owner = client_at(2);
        for _ in 0..100 {
            assert_eq!(throttle.begin(&owner, "admin", NOW), Ok(()));
            throttle.record_success(&owner, "admin");
        }
    }

    #[test]
    fn a_crowd_slows_strangers_down_but_never_a_browser_that_is_known() {
        let mut throttle = LoginThrottle::default();
        let owner = LoginSource::Known("mark".to_owned());

        for number in 0..200 {
            throttle.record_failure(&client_at(number), "admin", NOW);
        }

        assert_eq!(
            throttle.wait(&client_at(250), "admin", NOW),
            Some(MAX_WAIT_OF_ACCOUNT)
        );
        assert_eq!(throttle.wait(&client_at(250), "other", NOW), None);
        assert_eq!(throttle.wait(&owner, "admin", NOW), None);
    }

    #[test]
    fn mistakes_are_forgotten_after_an_hour_or_a_success() {
        let mut throttle = LoginThrottle::default();
        for _ in 0..9 {
            throttle.record_failure(&client_at(1), "admin", NOW);
            throttle.record_failure(&client_at(2), "admin", NOW);
        }

        throttle.record_success(&client_at(1), "admin");
        throttle.sweep(NOW + FORGET_AFTER);

        assert_eq!(throttle.wait(&client_at(1), "admin", NOW), None);
        assert!(throttle.by_source.is_empty());
    }
}
