//! Limits the recording and the speed of failed client-key authentication per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Timestamp;

const SPAN: Duration = Duration::from_mins(1);
/// Number of failures per minute and address that get a row of their own.
const MAX_ROWS: u32 = 10;
/// Number of failures per minute after which an address must slow down.
const FREE_FAILURES: u32 = 20;
/// Maximum number of addresses with their own count; the others share one.
const MAX_ADDRESSES: usize = 10_000;

/// The failures of the last minute, by address.
#[derive(Debug, Default)]
pub struct AuthFailures {
    by_address: HashMap<IpAddr, AddressFailures>,
}

#[derive(Debug)]
struct AddressFailures {
    since: Timestamp,
    count: u32,
}

/// The response to a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthFailureResponse {
    /// Whether it gets a row of its own.
    pub is_recorded: bool,
    /// How long the address must wait; `None`: no wait.
    pub retry_after: Option<Duration>,
}

/// Failures of one address without a row of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnrecordedFailures {
    pub address: IpAddr,
    pub count: u32,
}

impl AuthFailures {
    /// Counts a missing or wrong credential from `address`.
    pub fn record(&mut self, address: IpAddr, now: Timestamp) -> AuthFailureResponse {
        let known = self.by_address.contains_key(&address_group(address));
        let address = if known || self.by_address.len() < MAX_ADDRESSES {
            address_group(address)
        } else {
            IpAddr::from([0; 16])
        };
        let failures = self.by_address.entry(address).or_insert(AddressFailures {
            since: now,
            count: 0,
        });
        failures.count = failures.count.saturating_add(1);
        let rest = SPAN
            .saturating_sub(now - failures.since)
            .max(Duration::from_secs(1));
        AuthFailureResponse {
            is_recorded: failures.count <= MAX_ROWS,
            retry_after: Some(rest).filter(|_| failures.count > FREE_FAILURES),
        }
    }

    /// Ends minutes that are over and returns their failures without a row.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<UnrecordedFailures> {
        let mut unrecorded = Vec::new();
        self.by_address.retain(|address, failures| {
            let over = now - failures.since >= SPAN;
            if over && failures.count > MAX_ROWS {
                unrecorded.push(UnrecordedFailures {
                    address: *address,
                    count: failures.count - MAX_ROWS,
                });
            }
            !over
        });
        unrecorded
    }
}

/// Addresses counted as one: an IPv4 address, or the 64-bit prefix of an IPv6 address.
pub fn address_group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::from(octets)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    #[test]
    fn ten_failures_get_rows_and_the_twenty_first_must_wait() {
        let mut failures = AuthFailures::default();
        let address: IpAddr = "192.0.2.1".parse().unwrap();

        let answers: Vec<_> = (0..30).map(|_| failures.record(address, START)).collect();

        assert_eq!(
            answers.iter().filter(|answer| answer.is_recorded).count(),
            10
        );
        assert_eq!(
            answers
                .iter()
                .position(|answer| answer.retry_after.is_some()),
            Some(20)
        );
        assert_eq!(
            failures.record("192.0.2.2".parse().unwrap(), START),
            AuthFailureResponse {
                is_recorded: true,
                retry_after: None
            }
        );
        assert_eq!(failures.sweep(START + Duration::from_secs(59)), []);
        assert_eq!(
            failures.sweep(START + SPAN),
            [UnrecordedFailures { address, count: 20 }]
        );
        assert!(failures.record(address, START + SPAN).is_recorded);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address_and_the_number_of_addresses_is_bounded() {
        let mut failures = AuthFailures::default();
        for last in 0..30_u128 {
            failures.record(
                IpAddr::from((0x2001_0db8_u128 << 96 | last).to_be_bytes()),
                START,
            );
        }
        assert_eq!(failures.by_address.len(), 1);

        for n in 0..50_000_u32 {
            failures.record(IpAddr::from(n.to_be_bytes()), START);
        }
        assert!(failures.by_address.len() <= MAX_ADDRESSES + 1);
    }
}
