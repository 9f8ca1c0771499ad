//! `BodyShares`: how the memory for request bodies is divided among clients.

use std::collections::HashMap;

use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::settings::Settings;

/// The bytes of request bodies in memory, by client.
#[derive(Debug, Default)]
pub struct BodyShares {
    limits: BodyLimits,
    total: u64,
    /// The clients that hold bytes or wait for some, and no others.
    clients: HashMap<ClientKeyId, ClientHolding>,
}

/// How many bytes may be held.
#[derive(Debug, Clone, Copy, Default)]
struct BodyLimits {
    /// By all clients together.
    all: u64,
    /// By one client while another holds or waits.
    client: u64,
}

#[derive(Debug, Default)]
struct ClientHolding {
    bytes: u64,
    /// The number of bodies that wait for memory.
    waiting: usize,
}

/// Why no more bytes can be held now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyObstacle {
    /// All clients together hold as much as they may.
    Full,
    /// The client holds its share, and another client holds or waits.
    ShareUsed,
    /// So many bytes are never held at once.
    TooMany,
}

impl BodyShares {
    /// Applies changed settings; bytes that are held stay held.
    pub fn set_limits(&mut self, settings: &Settings) {
        let all = settings.max_held_bytes;
        let share = u128::from(all) * u128::from(settings.client_body_share_percent) / 100;
        self.limits = BodyLimits {
            all,
            client: u64::try_from(share).unwrap_or(all),
        };
    }

    /// Takes memory for `bytes` more of a client's bodies.
    pub fn take(&mut self, client: ClientKeyId, bytes: u64) -> Result<(), BodyObstacle> {
        if bytes > self.limits.all {
            return Err(BodyObstacle::TooMany);
        }
        let held = self.clients.get(&client).map_or(0, |held| held.bytes);
        let has_others = self.clients.len() > usize::from(self.clients.contains_key(&client));
        if has_others && held + bytes > self.limits.client {
            return Err(BodyObstacle::ShareUsed);
        }
        if self.total + bytes > self.limits.all {
            return Err(BodyObstacle::Full);
        }
        self.force(client, bytes);
        Ok(())
    }

    /// Counts bytes that are in memory already, above the limits too.
    pub fn force(&mut self, client: ClientKeyId, bytes: u64) {
        if bytes > 0 {
            self.total += bytes;
            self.clients.entry(client).or_default().bytes += bytes;
        }
    }

    /// Gives back bytes of a client. Returns whether a body waits for memory.
    pub fn give_back(&mut self, client: ClientKeyId, bytes: u64) -> bool {
        self.total -= bytes;
        self.update(client, |holding| holding.bytes -= bytes);
        self.clients.values().any(|holding| holding.waiting > 0)
    }

    /// A body of the client begins to wait for memory: the others' shares bind them.
    pub fn begin_wait(&mut self, client: ClientKeyId) {
        self.clients.entry(client).or_default().waiting += 1;
    }

    pub fn end_wait(&mut self, client: ClientKeyId) {
        self.update(client, |holding| holding.waiting -= 1);
    }

    /// The bytes that all clients hold.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn update(&mut self, client: ClientKeyId, change: impl FnOnce(&mut ClientHolding)) {
        if let Some(holding) = self.clients.get_mut(&client) {
            change(holding);
            if holding.bytes == 0 && holding.waiting == 0 {
                self.clients.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: ClientKeyId = ClientKeyId(1);
    const B: ClientKeyId = ClientKeyId(2);

    fn shares() -> BodyShares {
        let mut shares = BodyShares::default();
        shares.set_limits(&Settings {
            max_held_bytes: 1_000,
            client_body_share_percent: 25,
            ..Settings::default()
        });
        shares
    }

    #[test]
    fn a_client_alone_may_hold_everything() {
        let mut shares = shares();

        assert_eq!(shares.take(A, 1_000), Ok(()));
        assert_eq!(shares.take(A, 1), Err(BodyObstacle::Full));
        assert_eq!(shares.take(A, 1_001), Err(BodyObstacle::TooMany));
    }

    #[test]
    fn a_share_binds_while_another_client_holds() {
        let mut shares = shares();
        shares.take(A, 250).unwrap();
        shares.take(B, 1).unwrap();

        assert_eq!(shares.take(A, 1), Err(BodyObstacle::ShareUsed));
        shares.give_back(B, 1);
        assert_eq!(shares.take(A, 1), Ok(()));
    }

    #[test]
    fn a_share_binds_while_another_client_waits() {
        let mut shares = shares();
        shares.take(A, 990).unwrap();
        assert_eq!(shares.take(B, 100), Err(BodyObstacle::Full));
        shares.begin_wait(B);

        assert_eq!(shares.take(A, 10), Err(BodyObstacle::ShareUsed));
        assert!(shares.give_back(A, 990), "B waits");
        assert_eq!(shares.take(B, 100), Ok(()));
        shares.end_wait(B);
        assert!(!shares.give_back(B, 100));
        assert!(shares.clients.is_empty());
    }

    proptest! {
        /// Whatever is taken and given back, the sums agree, the limits hold, and a client that returned everything is
        /// forgotten.
        #[test]
        fn sums_agree(steps in prop::collection::vec((1_i64..5, 0_u64..400, any::<bool>()), 0..100)) {
            let mut shares = shares();
            let mut held: HashMap<ClientKeyId, Vec<u64>> = HashMap::new();
            for (client, bytes, takes) in steps {
                let client = ClientKeyId(client);
                let own = held.entry(client).or_default();
                if takes {
                    if shares.take(client, bytes).is_ok() {
                        own.push(bytes);
                    }
                } else if let Some(bytes) = own.pop() {
                    shares.give_back(client, bytes);
                }
                let total: u64 = held.values().flatten().sum();
                prop_assert_eq!(shares.total(), total);
                prop_assert!(total <= 1_000);
                let holders = held.values().filter(|own| own.iter().sum::<u64>() > 0).count();
                prop_assert_eq!(shares.clients.len(), holders);
            }
        }
    }
}
