//! `UsageQuery`: range, grouping, filter and order of the usage page, as in its URL.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::clock::Timestamp;
use crate::dashboard::components::href;
use crate::dashboard::usage::range::{ChosenRange, RangeUnit, UsageSpan};
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::storage::usage::{UsageFilter, UsageGrouping, UsageOrder, UsageTable};

pub const PATH: &str = "/usage";

/// The query of the page; invalid values count as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UsageQuery {
    /// See [`UsageSpan::name`].
    pub span: String,
    pub from: String,
    pub to: String,
    /// See [`UsageBy`].
    pub by: String,
    pub sort: String,
    model: String,
    client: String,
    key: String,
    project: String,
    tag: String,
}

/// What the table has a row for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(const_into_str, serialize_all = "lowercase")]
pub enum UsageBy {
    Model,
    Client,
    Key,
    Project,
    Tag,
    Time,
}

impl UsageBy {
    /// Its name in URLs, which for all but [`Self::Time`] is that of the filter too.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }

    pub fn grouping(self) -> Option<UsageGrouping> {
        match self {
            Self::Model => Some(UsageGrouping::Model),
            Self::Client => Some(UsageGrouping::ClientKey),
            Self::Key => Some(UsageGrouping::UpstreamKey),
            Self::Project => Some(UsageGrouping::Project),
            Self::Tag => Some(UsageGrouping::Tag),
            Self::Time => None,
        }
    }
}

impl UsageQuery {
    pub fn range(&self, zone: &TimeZone, now: Timestamp) -> ChosenRange {
        let date = |text: &str| text.trim().parse::<Date>().ok();
        let today = zone.to_datetime(now.to_jiff()).date();
        match (date(&self.from), date(&self.to)) {
            (Some(from), Some(to)) => ChosenRange::Dates(from, to),
            (Some(from), None) => ChosenRange::Dates(from, today),
            (None, Some(to)) => ChosenRange::Dates(to, to),
            (None, None) => ChosenRange::Span(self.span.parse().unwrap_or(UsageSpan::Week)),
        }
    }

    /// The filter with its kind and its value in the URL. Rollups have one of these each, so that the first one counts.
    pub fn filter(&self) -> Option<(UsageBy, &str, UsageFilter)> {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let id = |text: &str| text.trim().parse::<i64>().ok();
        let model = text(&self.model).map(UsageFilter::Model);
        let client = id(&self.client).map(|id| UsageFilter::ClientKey(ClientKeyId(id)));
        let key = id(&self.key).map(|id| UsageFilter::UpstreamKey(UpstreamKeyId(id)));
        let project = text(&self.project).map(UsageFilter::Project);
        let tag = text(&self.tag).map(UsageFilter::Tag);
        let filters = [
            (UsageBy::Model, self.model.trim(), model),
            (UsageBy::Client, self.client.trim(), client),
            (UsageBy::Key, self.key.trim(), key),
            (UsageBy::Project, self.project.trim(), project),
            (UsageBy::Tag, self.tag.trim(), tag),
        ];
        let mut filters = filters.into_iter();
        filters.find_map(|(by, value, filter)| Some((by, value, filter?)))
    }

    /// What usage can be grouped by with the filter.
    pub fn choices(&self) -> &'static [UsageBy] {
        match self.filter().map(|(by, ..)| by) {
            None | Some(UsageBy::Time) => UsageBy::VARIANTS,
            Some(UsageBy::Model | UsageBy::Client | UsageBy::Key) => &[UsageBy::Time],
            Some(UsageBy::Project | UsageBy::Tag) => {
                &[UsageBy::Key, UsageBy::Project, UsageBy::Tag, UsageBy::Time]
            }
        }
    }

    pub fn by(&self) -> UsageBy {
        let by = self.by.parse().ok();
        let by = by.filter(|by| self.choices().contains(by));
        by.unwrap_or(if self.filter().is_some() {
            UsageBy::Time
        } else {
            UsageBy::Model
        })
    }

    pub fn order(&self) -> UsageOrder {
        match self.sort.as_str() {
            "tokens" => UsageOrder::Tokens,
            "requests" => UsageOrder::Requests,
            _ => UsageOrder::Cost,
        }
    }

    /// The rollups that have the grouping and the filter.
    pub fn source(&self, zone: &TimeZone, now: Timestamp) -> (UsageTable, RangeUnit) {
        let of = match (self.filter(), self.by()) {
            (Some((by, ..)), _) | (None, by) => by,
        };
        let is_short = self.range(zone, now).is_short(zone, now);
        match of {
            UsageBy::Client if is_short => (UsageTable::ClientKeyHours, RangeUnit::Hour),
            UsageBy::Client => (UsageTable::ClientKeyDays, RangeUnit::Day),
            UsageBy::Key | UsageBy::Project | UsageBy::Tag => {
                (UsageTable::UpstreamKeyDays, RangeUnit::Day)
            }
            UsageBy::Model | UsageBy::Time if is_short => (UsageTable::ModelHours, RangeUnit::Hour),
            UsageBy::Model | UsageBy::Time => (UsageTable::ModelDays, RangeUnit::Day),
        }
    }

    /// All parameters.
    pub fn pairs(&self) -> [(&'static str, &str); 10] {
        [
            ("span", &self.span),
            ("from", &self.from),
            ("to", &self.to),
            ("by", &self.by),
            ("sort", &self.sort),
            ("model", &self.model),
            ("client", &self.client),
            ("key", &self.key),
            ("project", &self.project),
            ("tag", &self.tag),
        ]
    }

    /// The URL of the page at `path` with some parameters changed.
    pub fn with(&self, path: &str, changes: &[(&str, &str)]) -> String {
        let pairs = self.pairs().map(|(name, value)| {
            let change = changes.iter().find(|(changed, _)| *changed == name);
            (name, change.map_or(value, |(_, value)| *value))
        });
        href(path, &pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> UsageQuery {
        let url = UsageQuery::default().with(PATH, pairs);
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let uri = format!("/?{query}").parse().unwrap();
        axum::extract::Query::try_from_uri(&uri).unwrap().0
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_filter_decides_what_usage_is_read_from_and_grouped_by() {
        let (zone, now) = (TimeZone::UTC, at("2026-11-30T06:30:00Z"));
        for (pairs, by, table) in [
            (&[][..], UsageBy::Model, UsageTable::ModelHours),
            (&[("span", "90d")], UsageBy::Model, UsageTable::ModelDays),
            (&[("by", "time")], UsageBy::Time, UsageTable::ModelHours),
            (
                &[("by", "client")],
                UsageBy::Client,
                UsageTable::ClientKeyHours,
            ),
            (
                &[("by", "client"), ("span", "90d")],
                UsageBy::Client,
                UsageTable::ClientKeyDays,
            ),
            (
                &[("by", "nonsense"), ("key", "x")],
                UsageBy::Model,
                UsageTable::ModelHours,
            ),
            (
                &[("client", "3")],
                UsageBy::Time,
                UsageTable::ClientKeyHours,
            ),
            (
                &[("client", "3"), ("by", "model")],
                UsageBy::Time,
                UsageTable::ClientKeyHours,
            ),
            (
                &[("project", "team"), ("by", "key")],
                UsageBy::Key,
                UsageTable::UpstreamKeyDays,
            ),
            (
                &[("model", "m"), ("key", "3")],
                UsageBy::Time,
                UsageTable::ModelHours,
            ),
        ] {
            let query = query(pairs);
            assert_eq!(
                (query.by(), query.source(&zone, now).0),
                (by, table),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn a_range_is_a_span_or_dates() {
        let now = at("2026-11-30T06:30:00Z");
        let date = |text: &str| text.parse().unwrap();
        for (pairs, expected) in [
            (&[][..], ChosenRange::Span(UsageSpan::Week)),
            (
                &[("span", "month")],
                ChosenRange::Span(UsageSpan::ThisMonth),
            ),
            (
                &[("span", "today"), ("from", "x")],
                ChosenRange::Span(UsageSpan::Today),
            ),
            (
                &[("from", "2026-11-02")],
                ChosenRange::Dates(date("2026-11-02"), date("2026-11-30")),
            ),
            (
                &[("to", "2026-11-02")],
                ChosenRange::Dates(date("2026-11-02"), date("2026-11-02")),
            ),
        ] {
            assert_eq!(
                query(pairs).range(&TimeZone::UTC, now),
                expected,
                "{pairs:?}"
            );
        }
    }
}
