//! Parameters and bodies of requests about upstream keys, and their validation.

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::api::problem::Problem;
use crate::key_list::KeyListQuery;
use crate::pool::keys::key_status::KeyStatusKind;
use crate::pool::keys::upstream_key::{
    Billing, KeyAttributes, MAX_WEIGHT, UpstreamKeyId, parse_name, parse_tags,
};
use crate::storage::upstream_keys::change::KeyChange;
use crate::storage::upstream_keys::search::{UpstreamKeyFilter, UpstreamKeySort};

/// The largest number of ids in one request.
const MAX_IDS: usize = 100_000;

/// A state as the JSON names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    Ready,
    CoolingDown,
    Trial,
    Invalid,
    Leaked,
    Suspended,
    Misconfigured,
    Disabled,
}

impl StateName {
    fn kinds(self) -> &'static [KeyStatusKind] {
        match self {
            Self::Ready => &[KeyStatusKind::Ready],
            Self::CoolingDown => &[KeyStatusKind::CoolingDown, KeyStatusKind::PartlyCoolingDown],
            Self::Trial => &[KeyStatusKind::Trial],
            Self::Invalid => &[KeyStatusKind::Invalid],
            Self::Leaked => &[KeyStatusKind::Leaked],
            Self::Suspended => &[KeyStatusKind::Suspended],
            Self::Misconfigured => &[KeyStatusKind::Misconfigured],
            Self::Disabled => &[KeyStatusKind::Disabled],
        }
    }
}

/// Filters, order and position of the list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KeyListParams {
    /// Words that must all occur in the label, last characters, project or tags.
    pub q: Option<String>,
    pub state: Option<StateName>,
    /// The name or number of its project.
    pub project: Option<String>,
    pub billing: Option<Billing>,
    pub tag: Option<String>,
    pub priority: Option<i64>,
    /// Only keys with failures today.
    pub failing: Option<bool>,
    /// `created`, `label`, `state`, `project`, `priority`, `last_used`, or of today `requests`, `success`, `tokens`;
    /// with `-` before it from the largest down.
    #[param(
        pattern = "^-?(created|label|state|project|priority|last_used|requests|success|tokens)$"
    )]
    pub sort: Option<String>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// Maximum number of items.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: Option<usize>,
}

/// Selects keys, as the parameters of the list do; an empty object selects all.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyFilter {
    pub q: Option<String>,
    pub state: Option<StateName>,
    pub project: Option<String>,
    pub billing: Option<Billing>,
    pub tag: Option<String>,
    pub priority: Option<i64>,
    pub failing: Option<bool>,
}

impl KeyFilter {
    pub fn query(self) -> KeyListQuery {
        KeyListQuery {
            filter: UpstreamKeyFilter {
                text: self.q,
                project: self.project,
                billing: self.billing,
                tag: self.tag,
                priority: self.priority,
                failing: self.failing.unwrap_or(false),
            },
            states: self
                .state
                .map_or_else(Vec::new, |state| state.kinds().to_vec()),
            sort: Some(UpstreamKeySort::Created),
            descending: false,
        }
    }
}

impl KeyListParams {
    pub fn query(self) -> Result<KeyListQuery, Problem> {
        let sort = self.sort.as_deref().unwrap_or("created");
        let (name, descending) = match sort.strip_prefix('-') {
            Some(name) => (name, true),
            None => (sort, false),
        };
        let sort = match name {
            "created" => Some(UpstreamKeySort::Created),
            "label" => Some(UpstreamKeySort::Label),
            "state" => None,
            "project" => Some(UpstreamKeySort::Project),
            "priority" => Some(UpstreamKeySort::Priority),
            "requests" => Some(UpstreamKeySort::Requests),
            "success" => Some(UpstreamKeySort::Success),
            "tokens" => Some(UpstreamKeySort::Tokens),
            "last_used" => Some(UpstreamKeySort::LastUsed),
            _ => {
                return Err(Problem::bad_request(
                    "sort must be created, label, state, project, priority, last_used, requests, success or tokens, \
                     with a `-` before it for descending order",
                ));
            }
        };
        let filter = KeyFilter {
            q: self.q,
            state: self.state,
            project: self.project,
            billing: self.billing,
            tag: self.tag,
            priority: self.priority,
            failing: self.failing,
        };
        Ok(KeyListQuery {
            sort,
            descending,
            ..filter.query()
        })
    }
}

/// Attributes of keys; a missing member or `null` changes nothing.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyAttributesBody {
    #[schema(min_length = 1, max_length = 200, pattern = r"^\S")]
    pub label: Option<String>,
    /// A name, or Google's number as in `projects/123`.
    #[schema(min_length = 1, max_length = 200, pattern = r"^\S")]
    pub project: Option<String>,
    /// Of the project, for all of its keys.
    pub billing: Option<Billing>,
    /// The lowest first.
    pub priority: Option<i64>,
    #[schema(minimum = 1, maximum = 1000)]
    pub weight: Option<u32>,
    pub tags: Option<Vec<String>>,
}

impl KeyAttributesBody {
    pub fn attributes(self) -> Result<KeyAttributes, Problem> {
        if self
            .weight
            .is_some_and(|weight| !(1..=MAX_WEIGHT).contains(&weight))
        {
            return Err(Problem::invalid(format!(
                "weight must be a number from 1 to {MAX_WEIGHT}"
            )));
        }
        Ok(KeyAttributes {
            label: name(self.label, "label")?,
            project: name(self.project, "project")?,
            billing: self.billing,
            priority: self.priority,
            weight: self.weight,
            tags: self.tags.map(check_tags).transpose()?,
        })
    }
}

fn name(text: Option<String>, member: &str) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match parse_name(&text) {
        Ok(Some(name)) => Ok(Some(name)),
        Ok(None) | Err(_) => Err(Problem::invalid(format!(
            "{member} must have 1 to 200 characters, on one line"
        ))),
    }
}

fn check_tags(tags: Vec<String>) -> Result<Vec<String>, Problem> {
    let mut checked: Vec<String> = Vec::new();
    for tag in tags {
        if parse_tags(&tag) != [tag.as_str()] {
            return Err(Problem::invalid(
                "a tag is a word without spaces, commas, `;` or `|`",
            ));
        }
        if !checked.contains(&tag) {
            checked.push(tag);
        }
    }
    Ok(checked)
}

/// Keys to import.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a member of the JSON"
)]
pub struct ImportBody {
    /// Any text with keys: one a line, CSV, JSON, YAML, environment files, exports of other pools.
    pub text: String,
    /// Take keys that do not have Google's form too.
    #[serde(default)]
    pub any: bool,
    /// Update the attributes of keys that are in the pool already.
    #[serde(default)]
    pub update: bool,
    /// Without `update`: count the keys in the pool whose attributes differ, as `differing`, which takes longer.
    #[serde(default)]
    pub compare: bool,
    /// Report what would be imported, and import nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Attributes for keys whose text names none.
    #[serde(default)]
    pub defaults: KeyAttributesBody,
}

/// What to do with many keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    Enable,
    Disable,
    /// Clear states and cooldowns.
    Clear,
    Delete,
    /// Undo deletions, by ids only.
    Restore,
    Update,
}

/// A change of many keys: of `ids`, or of all that match `filter`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkBody {
    pub action: BulkAction,
    #[schema(min_items = 1)]
    pub ids: Option<Vec<UpstreamKeyId>>,
    pub filter: Option<KeyFilter>,
    /// For `update`.
    #[serde(default)]
    pub attributes: KeyAttributesBody,
    /// For `update`.
    #[serde(default)]
    pub add_tags: Vec<String>,
    /// For `update`.
    #[serde(default)]
    pub remove_tags: Vec<String>,
}

/// The keys of a request.
#[derive(Debug)]
pub enum KeySelection {
    Ids(Vec<UpstreamKeyId>),
    Matching(KeyListQuery),
}

/// Keys to test: of `ids`, or all that match `filter`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestBody {
    #[schema(min_items = 1)]
    pub ids: Option<Vec<UpstreamKeyId>>,
    pub filter: Option<KeyFilter>,
}

impl BulkBody {
    /// The change and the keys that it concerns.
    pub fn change(self) -> Result<(KeyChange, KeySelection), Problem> {
        let attributes = self.attributes.attributes()?;
        let (add_tags, remove_tags) = (check_tags(self.add_tags)?, check_tags(self.remove_tags)?);
        let is_empty = attributes.is_empty() && add_tags.is_empty() && remove_tags.is_empty();
        if (self.action == BulkAction::Update) == is_empty {
            let detail =
                "`update` needs attributes, add_tags or remove_tags; other actions have none";
            return Err(Problem::invalid(detail));
        }
        let change = match self.action {
            BulkAction::Enable => KeyChange::Enable,
            BulkAction::Disable => KeyChange::Disable,
            BulkAction::Clear => KeyChange::Clear,
            BulkAction::Delete => KeyChange::Delete,
            BulkAction::Restore if self.filter.is_some() => {
                return Err(Problem::invalid(
                    "restore needs ids: no filter finds deleted keys",
                ));
            }
            BulkAction::Restore => KeyChange::Restore,
            BulkAction::Update => KeyChange::Update {
                attributes,
                add_tags,
                remove_tags,
            },
        };
        Ok((change, KeySelection::new(self.ids, self.filter)?))
    }
}

impl KeySelection {
    pub fn new(
        ids: Option<Vec<UpstreamKeyId>>,
        filter: Option<KeyFilter>,
    ) -> Result<Self, Problem> {
        match (ids, filter) {
            (Some(mut ids), None) if (1..=MAX_IDS).contains(&ids.len()) => {
                ids.sort_unstable();
                ids.dedup();
                Ok(Self::Ids(ids))
            }
            (Some(_), None) => Err(Problem::invalid("ids must name 1 to 100,000 keys")),
            (None, Some(filter)) => Ok(Self::Matching(filter.query())),
            _ => Err(Problem::invalid(
                "select keys by either ids or filter; an empty filter selects all",
            )),
        }
    }
}
