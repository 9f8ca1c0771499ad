//! The cast: a dozen keys with different fates, for the demo.

use super::fake_gemini::Rules;
use super::fake_gemini::fate::{FakeKey, Fate, StreamErrorForm};
use super::fake_gemini::journal::Recording;
use super::fake_gemini::manner::Manner;
use super::fake_gemini::quota::{ModelLimit, ProjectQuota, Tier};

/// How many keys share a project, in turn.
const SISTERS: [usize; 5] = [1, 3, 2, 5, 4];

/// A key of the demo, what it is called, and what its project may use.
pub struct Role {
    pub label: &'static str,
    pub key: FakeKey,
    quota: Option<ProjectQuota>,
}

/// The keys, from the best to the worst. Two share a project, and so a quota.
pub fn cast() -> Vec<Role> {
    let per_minute = |requests| ProjectQuota::free(Some(requests), Some(250_000), Some(5_000));
    let every = |n, fate| Fate::EveryNth(n, Box::new(fate));
    let broken = Fate::StreamError {
        after: 2,
        code: 503,
        form: StreamErrorForm::Event,
    };
    let roles = [
        (
            "healthy, paid",
            Fate::Healthy,
            Some(ProjectQuota::paid_tier()),
        ),
        (
            "healthy, free",
            Fate::Healthy,
            Some(ProjectQuota::free_tier()),
        ),
        (
            "healthy, free, generous",
            Fate::Healthy,
            Some(per_minute(60)),
        ),
        ("runs out per minute", Fate::Healthy, Some(per_minute(5))),
        ("runs out per minute, sister", Fate::Healthy, None),
        (
            "runs out of tokens",
            Fate::Healthy,
            Some(ProjectQuota::free(None, Some(40), None)),
        ),
        ("out for the day", Fate::Healthy, Some(out_for_the_day())),
        (
            "no Pro models",
            Fate::QuotaZero("gemini-2.5-pro".to_owned()),
            None,
        ),
        ("slow", Fate::SlowFirstByte(2_500), None),
        ("overloads now and then", every(4, Fate::Overloaded), None),
        ("breaks streams", every(3, Fate::CutStream(2)), None),
        ("errors inside streams", every(3, broken), None),
        ("hangs up now and then", every(5, Fate::HangUp), None),
        ("revoked", Fate::Invalid, None),
        ("leaked", Fate::Leaked, None),
        ("suspended", Fate::Suspended, None),
        ("prepaid credit used up", Fate::BillingEmpty, None),
    ];
    let roles = roles.into_iter().enumerate();
    roles
        .map(|(index, (label, fate, quota))| Role {
            label,
            key: FakeKey::new(secret(index), project(index, label), fate),
            quota,
        })
        .collect()
}

/// Any number of healthy keys beyond the cast, always the same ones, in projects of a few each, for which the fake counts no
/// quota.
pub fn extras(count: usize) -> impl Iterator<Item = FakeKey> {
    let first = cast().len();
    (0..count).map(move |number| {
        FakeKey::healthy(secret(first + number), project_of_extra(number).to_string())
    })
}

/// The number of the project of the `number`-th key beyond the cast.
fn project_of_extra(number: usize) -> usize {
    let round: usize = SISTERS.iter().sum();
    let mut rest = number % round;
    let mut place = 0;
    while rest >= SISTERS[place] {
        rest -= SISTERS[place];
        place += 1;
    }
    200_000_000_000 + number / round * SISTERS.len() + place
}

/// The rules by which the cast plays: answers at the pace of a model that writes.
pub fn rules() -> Rules {
    let mut rules = Rules {
        manner: Manner {
            chunks: 8,
            chunk_delay_ms: 120,
            first_byte_ms: 250,
            ..Manner::default()
        },
        gzip: true,
        recording: Recording::Counts,
        ..Rules::default()
    };
    for role in cast() {
        if let Some(quota) = role.quota {
            rules.quotas.insert(role.key.project.clone(), quota);
        }
        rules.keys.push(role.key);
    }
    rules
}

/// Has the length of a real key and can be taken for none.
fn secret(index: usize) -> String {
    format!("AIzaSyDemoDemoDemoDemoDemoDemoDemo{index:05}")
}

fn project(index: usize, label: &str) -> String {
    // A sister lives in the project of the key before it.
    let index = if label.ends_with("sister") {
        index - 1
    } else {
        index
    };
    format!("1000000000{index:02}")
}

/// One request a day: gone after the first.
fn out_for_the_day() -> ProjectQuota {
    ProjectQuota {
        tier: Tier::Free,
        limits: vec![ModelLimit::new("*", None, None, Some(1))],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn secrets_look_like_keys_and_no_two_are_alike() {
        let secrets: HashSet<_> = cast().into_iter().map(|role| role.key.secret).collect();

        assert_eq!(secrets.len(), cast().len());
        assert!(
            secrets.iter().all(|secret| secret.len() == 39),
            "{secrets:?}"
        );
    }

    #[test]
    fn sisters_share_their_project() {
        let projects: HashSet<_> = cast().into_iter().map(|role| role.key.project).collect();

        assert_eq!(projects.len(), cast().len() - 1);
    }
}
