//! Parses Google's project number, and learns it from a verdict.

use crate::pool::health::verdict::{Fault, Verdict};
use crate::pool::keys::upstream_key::UpstreamKey;

/// Google's number of a project as in its errors, `projects/123`, where `text` is that or the bare number.
pub fn parse(text: &str) -> Option<String> {
    let digits = text.strip_prefix("projects/").unwrap_or(text);
    let is_number =
        (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("projects/{digits}"))
}

/// The number of the key's project, if `verdict` contains a new one.
pub fn learned_number(key: &UpstreamKey, verdict: &Verdict) -> Option<String> {
    match verdict.rule.fault() {
        Fault::KeyInvalid
        | Fault::KeyLeaked
        | Fault::ProjectSuspended
        | Fault::ProjectMisconfigured
        | Fault::ProjectModel => (),
        // Such a message may quote the client's input, or name the project of a foreign resource.
        Fault::Client | Fault::None | Fault::Model | Fault::Egress | Fault::Soft => return None,
    }
    let number = parse(verdict.project.as_deref()?)?;
    (key.project_number.as_ref() != Some(&number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::pool::health::verdict::Rule;

    #[test]
    fn a_project_number_differs_from_a_name() {
        for text in ["123", "projects/123"] {
            assert_eq!(parse(text).as_deref(), Some("projects/123"), "{text}");
        }
        for text in ["", "projects/", "team", "projects/team", "12a", "-1", "1 2"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_project_number_is_learned_only_from_errors_about_the_key() {
        let cases = [
            (Rule::ConsumerSuspended, None, Some("projects/7"), true),
            (Rule::ApiKeyInvalid, None, Some("projects/7"), true),
            (Rule::QuotaPerMinute, None, Some("projects/7"), true),
            (
                Rule::ServiceDisabled,
                Some("projects/8"),
                Some("projects/7"),
                true,
            ),
            (
                Rule::ServiceDisabled,
                Some("projects/7"),
                Some("projects/7"),
                false,
            ),
            (
                Rule::ServiceDisabled,
                None,
                Some("projects/some-name"),
                false,
            ),
            (Rule::ServiceDisabled, None, None, false),
            (Rule::InvalidRequest, None, Some("projects/7"), false),
            (Rule::ForeignResource, None, Some("projects/7"), false),
            (Rule::Success, None, Some("projects/7"), false),
        ];
        for (rule, known, named, expected) in cases {
            let key = UpstreamKey {
                project: Some("team".to_owned()),
                project_number: known.map(str::to_owned),
                ..UpstreamKey::example(1, 1, Timestamp::from_millis(0))
            };
            let verdict = Verdict {
                project: named.map(str::to_owned),
                ..Verdict::without_answer(rule, String::new())
            };

            let learned = learned_number(&key, &verdict);

            let expected = expected.then_some("projects/7");
            assert_eq!(learned.as_deref(), expected, "{rule:?} {known:?} {named:?}");
        }
    }
}
