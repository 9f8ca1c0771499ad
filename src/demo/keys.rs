//! The keys of the demo, each with a behaviour of its own.

use super::fake_gemini::FakeConfig;
use super::fake_gemini::behaviour::{Behaviour, FakeKey, StreamErrorFormat};
use super::fake_gemini::journal::RecordingLevel;
use super::fake_gemini::quota::{ModelLimit, ProjectQuota, Tier};
use super::fake_gemini::response_shape::ResponseShape;

/// How many keys share a project, in turn.
const PROJECT_SIZES: [usize; 5] = [1, 3, 2, 5, 4];

/// A key of the demo, its label, and the limits of its project.
pub struct DemoKey {
    pub label: &'static str,
    pub key: FakeKey,
    quota: Option<ProjectQuota>,
}

/// The keys, from the best to the worst. Two share a project, and so a quota.
pub fn demo_keys() -> Vec<DemoKey> {
    let per_minute = |requests| ProjectQuota::free(Some(requests), Some(250_000), Some(5_000));
    let every = |n, behaviour| Behaviour::EveryNth(n, Box::new(behaviour));
    let broken = Behaviour::StreamError {
        after: 2,
        code: 503,
        format: StreamErrorFormat::Event,
    };
    let demo_keys = [
        (
            "healthy, paid",
            Behaviour::Healthy,
            Some(ProjectQuota::paid_tier()),
        ),
        (
            "healthy, free",
            Behaviour::Healthy,
            Some(ProjectQuota::free_tier()),
        ),
        (
            "healthy, free, generous",
            Behaviour::Healthy,
            Some(per_minute(60)),
        ),
        (
            "runs out per minute",
            Behaviour::Healthy,
            Some(per_minute(5)),
        ),
        ("runs out per minute, sister", Behaviour::Healthy, None),
        (
            "runs out of tokens",
            Behaviour::Healthy,
            Some(ProjectQuota::free(None, Some(40), None)),
        ),
        (
            "out for the day",
            Behaviour::Healthy,
            Some(out_for_the_day()),
        ),
        (
            "no Pro models",
            Behaviour::QuotaZero("gemini-2.5-pro".to_owned()),
            None,
        ),
        ("slow", Behaviour::SlowFirstByte(2_500), None),
        (
            "overloads now and then",
            every(4, Behaviour::Overloaded),
            None,
        ),
        ("breaks streams", every(3, Behaviour::AbortStream(2)), None),
        ("errors inside streams", every(3, broken), None),
        (
            "hangs up now and then",
            every(5, Behaviour::CloseConnection),
            None,
        ),
        ("revoked", Behaviour::Invalid, None),
        ("leaked", Behaviour::Leaked, None),
        ("suspended", Behaviour::Suspended, None),
        ("prepaid credit used up", Behaviour::BillingEmpty, None),
    ];
    let demo_keys = demo_keys.into_iter().enumerate();
    demo_keys
        .map(|(index, (label, behaviour, quota))| DemoKey {
            label,
            key: FakeKey::new(secret(index), project(index, label), behaviour),
            quota,
        })
        .collect()
}

/// Any number of healthy keys beyond the cast, always the same ones, in projects of a few each, for which the fake counts no
/// quota.
pub fn extra_keys(count: usize) -> impl Iterator<Item = FakeKey> {
    let first = demo_keys().len();
    (0..count).map(move |number| {
        FakeKey::healthy(
            secret(first + number),
            project_of_extra_key(number).to_string(),
        )
    })
}

/// The number of the project of the `number`-th key beyond the cast.
fn project_of_extra_key(number: usize) -> usize {
    let round: usize = PROJECT_SIZES.iter().sum();
    let mut remaining = number % round;
    let mut index = 0;
    while remaining >= PROJECT_SIZES[index] {
        remaining -= PROJECT_SIZES[index];
        index += 1;
    }
    200_000_000_000 + number / round * PROJECT_SIZES.len() + index
}

/// The configuration of the demo's fake: answers arrive at the pace of a real model.
pub fn fake_config() -> FakeConfig {
    let mut config = FakeConfig {
        response_shape: ResponseShape {
            chunks: 8,
            chunk_delay_ms: 120,
            first_byte_ms: 250,
            ..ResponseShape::default()
        },
        gzip: true,
        recording: RecordingLevel::Counts,
        ..FakeConfig::default()
    };
    for demo_key in demo_keys() {
        if let Some(quota) = demo_key.quota {
            config.quotas.insert(demo_key.key.project.clone(), quota);
        }
        config.keys.push(demo_key.key);
    }
    config
}

/// A secret with the length of a real key that is obviously made up.
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
        let secrets: HashSet<_> = demo_keys()
            .into_iter()
            .map(|demo_key| demo_key.key.secret)
            .collect();

        assert_eq!(secrets.len(), demo_keys().len());
        assert!(
            secrets.iter().all(|secret| secret.len() == 39),
            "{secrets:?}"
        );
    }

    #[test]
    fn sisters_share_their_project() {
        let projects: HashSet<_> = demo_keys()
            .into_iter()
            .map(|demo_key| demo_key.key.project)
            .collect();

        assert_eq!(projects.len(), demo_keys().len() - 1);
    }
}
