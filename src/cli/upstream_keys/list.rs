//! `upstream-keys list`: prints every key with its state, the reason of the state and when it ends.

use anyhow::Result;
use clap::Args;

use crate::cli::pool_access::PoolAccess;
use crate::cli::{database, output, remote};
use crate::clock;
use crate::pool::keys::project_number;
use crate::pool::keys::upstream_key::Billing;
use crate::storage::paging::Page;
use crate::storage::upstream_keys::listed::{self, ListedUpstreamKey};

/// The states that can be listed.
const STATES: [&str; 8] = [
    "ready",
    "cooling_down",
    "trial",
    "invalid",
    "leaked",
    "suspended",
    "misconfigured",
    "disabled",
];

/// Selects keys.
#[derive(Debug, Args)]
pub struct KeyFilterArgs {
    /// Only keys in this state
    #[arg(long, value_parser = STATES)]
    state: Option<String>,
    /// Only keys of this project, given by its number or by your name for it
    #[arg(long)]
    project: Option<String>,
    /// Only keys with this tag
    #[arg(long)]
    tag: Option<String>,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: KeyFilterArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl KeyFilterArgs {
    /// The keys that match, in the order of their ids.
    pub async fn find(&self, pool: &PoolAccess) -> Result<Vec<ListedUpstreamKey>> {
        let args = match pool {
            PoolAccess::File(args) => args,
            PoolAccess::Server(server) => {
                return remote::upstream_keys::list(server, &self.query()).await;
            }
        };
        let db = database::open_to_read(args).await?;
        let keys = listed::list(&db.readers, clock::now()).await;
        db.close().await;
        let mut keys = keys?;
        keys.retain(|key| self.matches(key));
        Ok(keys)
    }

    /// The same conditions in a query of the API.
    fn query(&self) -> Vec<(&'static str, String)> {
        let Self {
            state,
            project,
            tag,
        } = self;
        let conditions = [("state", state), ("project", project), ("tag", tag)].into_iter();
        let set = conditions.filter_map(|(name, value)| Some((name, value.clone()?)));
        set.collect()
    }

    fn matches(&self, key: &ListedUpstreamKey) -> bool {
        let is_in = |called: &String| {
            key.project.as_ref() == Some(called)
                || project_number::parse(called).is_some_and(|n| key.project_number == Some(n))
        };
        self.state.as_ref().is_none_or(|state| *state == key.state)
            && self.project.as_ref().is_none_or(is_in)
            && self.tag.as_ref().is_none_or(|tag| key.tags.contains(tag))
    }

    fn is_all(&self) -> bool {
        self.state.is_none() && self.project.is_none() && self.tag.is_none()
    }
}

pub(super) async fn list(pool: &PoolAccess, arguments: ListArgs) -> Result<()> {
    let keys = arguments.filter.find(pool).await?;
    if arguments.json {
        return output::json(&Page::whole(keys));
    }
    let count = output::count(keys.len(), "upstream key");
    let last = match keys.len() {
        0 if arguments.filter.is_all() => {
            "no upstream keys yet: `gemini-pool upstream-keys add` adds one".to_owned()
        }
        0 => "no upstream key matches".to_owned(),
        _ => format!("{count}: {}", states(&keys)),
    };
    output::table(
        [
            "ID",
            "LABEL",
            "SECRET",
            "PROJECT",
            "NOTES",
            "STATE",
            "UNTIL",
            "REQUESTS",
            "FAILURES",
            "TOKENS",
            "LAST USED",
            "WHY",
        ],
        keys.into_iter().map(row),
    )?;
    output::line(last)
}

fn row(key: ListedUpstreamKey) -> [String; 12] {
    let (notes, until, why) = (notes(&key), until(&key), why(&key));
    [
        key.id.0.to_string(),
        key.label,
        format!("…{}", key.last4),
        key.project.unwrap_or_default(),
        notes,
        key.state,
        until,
        key.requests.to_string(),
        key.failures.to_string(),
        key.total_tokens.to_string(),
        output::timestamp(key.last_used_at),
        why,
    ]
}

/// Attributes of a key that differ from the defaults: `paid, priority 5, weight 2, tags a b`.
fn notes(key: &ListedUpstreamKey) -> String {
    let billing = match key.billing {
        Billing::Free => Some("free".to_owned()),
        Billing::Paid => Some("paid".to_owned()),
        Billing::Unknown => None,
    };
    let notes = [
        billing,
        (key.priority != 0).then(|| format!("priority {}", key.priority)),
        (key.weight != 1).then(|| format!("weight {}", key.weight)),
        (!key.tags.is_empty()).then(|| format!("tags {}", key.tags.join(" "))),
    ];
    let notes: Vec<_> = notes.into_iter().flatten().collect();
    notes.join(", ")
}

/// When a key's state ends: at a time, by a check, by a request or by an admin.
fn until(key: &ListedUpstreamKey) -> String {
    let id = key.id.0;
    match (key.state.as_str(), key.state_until, key.next_check_at) {
        ("ready", ..) => String::new(),
        ("disabled", ..) => format!("run upstream-keys enable {id}"),
        ("trial", ..) => "after one request".to_owned(),
        (_, Some(until), _) => format!("ends {}", output::timestamp(Some(until))),
        (_, None, Some(check)) => format!("checked {}", output::timestamp(Some(check))),
        (_, None, None) => format!("run upstream-keys clear {id}"),
    }
}

/// `9 ready, 4 cooling_down, 1 invalid`.
fn states(keys: &[ListedUpstreamKey]) -> String {
    let mut counts: Vec<(&str, usize)> = vec![("ready", 0)];
    for key in keys {
        match counts.iter_mut().find(|(state, _)| *state == key.state) {
            Some((_, count)) => *count += 1,
            None => counts.push((&key.state, 1)),
        }
    }
    let counts = counts.into_iter();
    let counts = counts.map(|(state, count)| format!("{count} {state}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// Why a key cannot be used, or for which models, in at most one line.
fn why(key: &ListedUpstreamKey) -> String {
    const LENGTH: usize = 80;
    let why = match (key.state.as_str(), key.state_reason.as_deref()) {
        ("cooling_down", Some(models)) => {
            format!("only for {models}").replace("only for *:", "for every model:")
        }
        ("cooling_down", None) => {
            "failed several times in a row while other keys did not".to_owned()
        }
        (_, reason) => reason.unwrap_or_default().to_owned(),
    };
    match why.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &why[..end]),
        None => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::pool::keys::upstream_key::UpstreamKeyId;

    fn key(state: &str) -> ListedUpstreamKey {
        let start = Timestamp::from_millis(0);
        ListedUpstreamKey {
            id: UpstreamKeyId(7),
            label: "first".to_owned(),
            last4: "0001".to_owned(),
            project: Some("team".to_owned()),
            project_number: Some("projects/5".to_owned()),
            billing: Billing::Unknown,
            priority: 0,
            weight: 1,
            tags: vec![],
            enabled: state != "disabled",
            state: state.to_owned(),
            state_reason: None,
            state_since: start,
            state_until: None,
            next_check_at: None,
            in_flight: None,
            requests: 0,
            successes: 0,
            failures: 0,
            prompt_tokens: 0,
            output_tokens: 0,
            total_tokens: 0,
            last_used_at: None,
            last_error: None,
            created_at: start,
        }
    }

    #[test]
    fn every_state_shows_what_ends_it() {
        let at = Some(Timestamp::from_millis(0));
        let cases = [
            ("ready", None, None, ""),
            ("cooling_down", at, None, "ends 1970-01-01 00:00:00Z"),
            ("invalid", None, at, "checked 1970-01-01 00:00:00Z"),
            ("suspended", None, at, "checked 1970-01-01 00:00:00Z"),
            ("misconfigured", None, None, "run upstream-keys clear 7"),
            ("leaked", None, None, "run upstream-keys clear 7"),
            ("disabled", None, None, "run upstream-keys enable 7"),
            ("trial", None, None, "after one request"),
        ];
        for (state, state_until, next_check_at, expected) in cases {
            let key = ListedUpstreamKey {
                state_until,
                next_check_at,
                ..key(state)
            };
            assert_eq!(until(&key), expected, "{state}");
        }
    }

    #[test]
    fn notes_say_what_is_unlike_most() {
        assert_eq!(notes(&key("ready")), "");
        let key = ListedUpstreamKey {
            billing: Billing::Paid,
            priority: -1,
            weight: 2,
            tags: vec!["a".to_owned(), "b".to_owned()],
            ..key("ready")
        };
        assert_eq!(notes(&key), "paid, priority -1, weight 2, tags a b");
    }

    #[test]
    fn a_list_can_be_of_a_state_a_project_or_a_tag() {
        let filter =
            |state: Option<&str>, project: Option<&str>, tag: Option<&str>| KeyFilterArgs {
                state: state.map(str::to_owned),
                project: project.map(str::to_owned),
                tag: tag.map(str::to_owned),
            };
        let key = ListedUpstreamKey {
            tags: vec!["a".to_owned()],
            ..key("leaked")
        };
        for fitting in [
            filter(None, None, None),
            filter(Some("leaked"), Some("team"), Some("a")),
            filter(None, Some("5"), None),
            filter(None, Some("projects/5"), None),
        ] {
            assert!(fitting.matches(&key), "{fitting:?}");
        }
        for other in [
            filter(Some("ready"), None, None),
            filter(None, Some("tea"), None),
            filter(None, Some("6"), None),
            filter(Some("leaked"), None, Some("b")),
        ] {
            assert!(!other.matches(&key), "{other:?}");
        }
    }
}
