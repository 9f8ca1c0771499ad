//! `OneTimeSecrets`: secrets of new client keys, API tokens and webhooks until their page has shown them once.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::api_token::ApiTokenId;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::secret::Secret;

/// How long a secret is kept for its page. A browser requests the page at once.
const KEPT: Duration = Duration::from_mins(5);

/// The owner of a new secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretOwner {
    ClientKey(ClientKeyId),
    ApiToken(ApiTokenId),
    /// The signing secret of a webhook.
    AlertTarget(i64),
}

/// In memory only, so that no secret of a client key or token is ever stored.
#[derive(Debug, Default)]
pub struct OneTimeSecrets {
    pending: Vec<PendingSecret>,
}

#[derive(Debug)]
struct PendingSecret {
    owner: SecretOwner,
    admin: i64,
    secret: Secret,
    since: Timestamp,
}

impl OneTimeSecrets {
    /// Keeps a new secret for the admin that created it.
    pub fn insert(&mut self, owner: SecretOwner, admin: i64, secret: Secret, now: Timestamp) {
        self.forget_old(now);
        self.pending.push(PendingSecret {
            owner,
            admin,
            secret,
            since: now,
        });
    }

    /// Removes and returns the secret, for the admin that created it only.
    pub fn take(&mut self, owner: SecretOwner, admin: i64, now: Timestamp) -> Option<Secret> {
        self.forget_old(now);
        let is_it = |pending: &PendingSecret| pending.owner == owner && pending.admin == admin;
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

    const ID: SecretOwner = SecretOwner::ClientKey(ClientKeyId(1));

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_secret_is_shown_once_to_its_creator_within_the_time_limit() {
        let mut secrets = OneTimeSecrets::default();
        let secret = Secret::new("secret-1234");
        secrets.insert(ID, 7, secret.clone(), at(0));
        let other = SecretOwner::ApiToken(ApiTokenId(1));
        secrets.insert(other, 7, Secret::new("another"), at(0));

        assert_eq!(secrets.take(ID, 8, at(1)), None);
        assert_eq!(secrets.take(ID, 7, at(1)), Some(secret));
        assert_eq!(secrets.take(ID, 7, at(1)), None);
        assert_eq!(secrets.take(other, 7, at(300)), None);
    }
}
