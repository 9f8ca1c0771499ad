//! `OneTimeSecrets`: secrets on their way from the answer that made them to the page that shows them, once.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::secret::Secret;

/// How long a secret waits for its page. A browser asks for it at once.
const KEPT: Duration = Duration::from_mins(5);

/// In memory alone, so that no secret of a client key is ever written down.
#[derive(Debug, Default)]
pub struct OneTimeSecrets {
    pending: Vec<PendingSecret>,
}

#[derive(Debug)]
struct PendingSecret {
    id: ClientKeyId,
    admin: i64,
    secret: Secret,
    since: Timestamp,
}

impl OneTimeSecrets {
    /// Keeps the secret of a new key for the admin who made it.
    pub fn insert(&mut self, id: ClientKeyId, admin: i64, secret: Secret, now: Timestamp) {
        self.forget_old(now);
        self.pending.push(PendingSecret {
            id,
            admin,
            secret,
            since: now,
        });
    }

    /// Gives the secret away, to nobody but the admin who made it, and only the first time.
    pub fn take(&mut self, id: ClientKeyId, admin: i64, now: Timestamp) -> Option<Secret> {
        self.forget_old(now);
        let is_it = |pending: &PendingSecret| pending.id == id && pending.admin == admin;
        let position = self.pending.iter().position(is_it)?;
        Some(self.pending.swap_remove(position).secret)
    }

    fn forget_old(&mut self, now: Timestamp) {
        self.pending.retain(|pending| now - pending.since < KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ClientKeyId = ClientKeyId(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_secret_is_given_once_to_who_made_it_and_not_too_late() {
        let mut secrets = OneTimeSecrets::default();
        let secret = Secret::new("secret-1234");
        secrets.insert(ID, 7, secret.clone(), at(0));
        secrets.insert(ClientKeyId(2), 7, Secret::new("another"), at(0));

        assert_eq!(secrets.take(ID, 8, at(1)), None);
        assert_eq!(secrets.take(ID, 7, at(1)), Some(secret));
        assert_eq!(secrets.take(ID, 7, at(1)), None);
        assert_eq!(secrets.take(ClientKeyId(2), 7, at(300)), None);
    }
}
