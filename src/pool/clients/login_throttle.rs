//! Delays password attempts by source and by account without locking out the owner: a browser that has signed in before
//! waits only for its own failures, and a new address has attempts of its own while many others guess.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::clients::auth_failures::address_group;

/// Number of failures before the next attempt must wait.
const FREE_FAILURES: u32 = 5;
/// Number of failures of all unknown sources together for one account.
const FREE_FAILURES_OF_ACCOUNT: u32 = 20;
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Unknown sources wait less, because the owner may use a new browser.
const MAX_WAIT_OF_ACCOUNT: Duration = Duration::from_secs(5);
/// Failures of a new address before it also waits for those of all others: the owner may use a new browser while many
/// addresses guess.
const FREE_FAILURES_OF_NEW: u32 = 2;
/// How long after the last failure the count is reset.
const FORGET_AFTER: Duration = Duration::from_hours(1);
/// Maximum number of separate counts; further sources are not counted.
const MAX_COUNTS: usize = 10_000;

/// The source of a login attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LoginSource {
    /// A browser that signed in to the account before, by the mark it received then.
    Known(String),
    /// Any other browser, by address.
    Address(IpAddr),
}

impl LoginSource {
    pub fn from_address(address: IpAddr) -> Self {
        Self::Address(address_group(address))
    }
}

/// Recent failures by source and by account.
#[derive(Debug, Default)]
pub struct LoginThrottle {
    by_source: HashMap<LoginSource, FailedLogins>,
    /// By name. All names without an account share one entry, the empty one: invented names take no memory.
    by_account: HashMap<String, FailedLogins>,
}

#[derive(Debug, Clone, Copy)]
struct FailedLogins {
    count: u32,
    last: Timestamp,
}

impl LoginThrottle {
    /// Admits an attempt, or returns how long it must wait. An admitted attempt counts as a failure until it succeeds,
    /// so that parallel attempts have no advantage; a waiting attempt is not counted. `account`: empty for a name without
    /// an account.
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

    /// How long an attempt must wait; `None`: no wait.
    fn wait(&self, source: &LoginSource, account: &str, now: Timestamp) -> Option<Duration> {
        let of_source = self.by_source.get(source);
        let source_wait = of_source.and_then(|failed| failed.wait(FREE_FAILURES, MAX_WAIT, now));
        // A source that cannot be counted is not new.
        let is_new = match of_source {
            Some(failed) => failed.is_old(now) || failed.count < FREE_FAILURES_OF_NEW,
            None => self.by_source.len() < MAX_COUNTS,
        };
        let account_wait = match source {
            LoginSource::Address(_) if !is_new => {
                let of_account = self.by_account.get(account);
                of_account.and_then(|failed| {
                    failed.wait(FREE_FAILURES_OF_ACCOUNT, MAX_WAIT_OF_ACCOUNT, now)
                })
            }
            LoginSource::Address(_) | LoginSource::Known(_) => None,
        };
        source_wait.max(account_wait)
    }

    fn record_failure(&mut self, source: &LoginSource, account: &str, now: Timestamp) {
        if self.by_source.len() + self.by_account.len() >= MAX_COUNTS {
            self.sweep(now);
        }
        count(&mut self.by_source, source.clone(), now);
        if matches!(source, LoginSource::Address(_)) {
            count(&mut self.by_account, account.to_owned(), now);
        }
    }

    /// Clears the failures of a source that signed in, and the failure counted for this attempt.
    pub fn record_success(&mut self, source: &LoginSource, account: &str) {
        self.by_source.remove(source);
        if let (LoginSource::Address(_), Some(failures)) =
            (source, self.by_account.get_mut(account))
        {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    /// Removes old failures.
    pub fn sweep(&mut self, now: Timestamp) {
        self.by_source.retain(|_, failures| !failures.is_old(now));
        self.by_account.retain(|_, failures| !failures.is_old(now));
    }
}

impl FailedLogins {
    fn is_old(self, now: Timestamp) -> bool {
        now - self.last >= FORGET_AFTER
    }

    /// One second after `free_failures` failures, doubled after each further one, at most `longest`.
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
    // A source beyond the maximum is not counted: password hashing, a few at a time, slows down all attempts.
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
    fn repeated_failures_delay_only_their_source_longer_each_time() {
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
        assert_eq!(throttle.begin(&client_at(2), "admin", NOW), Ok(()));
        assert_eq!(
            throttle.wait(&client_at(1), "admin", NOW + Duration::from_secs(30)),
            None
        );
    }

    #[test]
    fn parallel_attempts_count_like_consecutive_ones() {
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
    fn failures_of_many_addresses_delay_unknown_sources_but_never_a_known_browser() {
        let mut throttle = LoginThrottle::default();
        let owner = LoginSource::Known("mark".to_owned());

        for number in 0..200 {
            for _ in 0..FREE_FAILURES_OF_NEW {
                throttle.record_failure(&client_at(number), "admin", NOW);
            }
        }

        let waits = (0..200).map(|number| throttle.begin(&client_at(number), "admin", NOW));
        assert!(
            waits
                .into_iter()
                .all(|wait| wait == Err(MAX_WAIT_OF_ACCOUNT))
        );
        assert_eq!(throttle.begin(&client_at(1), "other", NOW), Ok(()));
        assert_eq!(throttle.begin(&owner, "admin", NOW), Ok(()));
        // The owner at a new address has turns of its own.
        for _ in 0..FREE_FAILURES_OF_NEW {
            assert_eq!(throttle.begin(&client_at(250), "admin", NOW), Ok(()));
        }
        assert_eq!(
            throttle.begin(&client_at(250), "admin", NOW),
            Err(MAX_WAIT_OF_ACCOUNT)
        );
    }

    #[test]
    fn addresses_that_cannot_be_counted_wait_for_the_account() {
        let mut throttle = LoginThrottle::default();
        let address = |number: u32| LoginSource::from_address(IpAddr::from(number.to_be_bytes()));
        let most = u32::try_from(MAX_COUNTS).unwrap();

        let admitted = (0..most + 1_000)
            .filter(|number| throttle.begin(&address(*number), "admin", NOW).is_ok());

        assert_eq!(admitted.count(), MAX_COUNTS);
    }

    #[test]
    fn failures_are_cleared_after_an_hour_or_a_success() {
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
