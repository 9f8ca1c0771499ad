//! Limits, scopes, expiry and note of a client key as flags of a command.

use std::str::FromStr;

use clap::Args;

use crate::cli::time_argument::TimeArgument;
use crate::clock::Timestamp;
use crate::config::InvalidConfig;
use crate::pool::clients::client_key::{ClientLimit, ClientLimits};
use crate::pool::clients::scopes::{self, InvalidScope};
use crate::pool::model_fallback::{DEFAULT, ModelFallback};
use crate::pool::money::{nano_usd, usd};
use crate::storage::client_keys::change::{ListChange, TermChange};
use crate::storage::client_keys::{ClientKeyTerms, ListedClientKey};

/// The value that clears a limit or a list.
const NONE: &str = "none";

/// Limits and scopes. A missing flag changes nothing; `none` removes a limit or empties a list.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct ClientKeyTermsArgs {
    /// Requests in any 60 seconds; `none`, here and below, for no limit
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<ValueOrNone<Count>>,
    /// Requests from midnight to midnight, in the zone of the setting `day_zone`
    #[arg(long, value_name = "N")]
    requests_per_day: Option<ValueOrNone<Count>>,
    /// Tokens in any 60 seconds; counted when a response ends
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<ValueOrNone<Count>>,
    /// Tokens from midnight to midnight
    #[arg(long, value_name = "N")]
    tokens_per_day: Option<ValueOrNone<Count>>,
    /// Concurrent requests
    #[arg(long, value_name = "N")]
    concurrency: Option<ValueOrNone<Count>>,
    /// Cost per calendar month in dollars at list price, as 10 or 2.50
    #[arg(long, value_name = "USD")]
    cost_per_month: Option<ValueOrNone<Usd>>,
    /// Allowed models, separated by commas; `*` matches any characters, as in gemini-2.5-*; `none` allows all
    #[arg(long, value_name = "GLOB", value_delimiter = ',', value_parser = glob)]
    models: Option<Vec<String>>,
    /// Allowed paths in Google's form, likewise: /v1beta/models/*:generateContent
    #[arg(long, value_name = "GLOB", value_delimiter = ',', value_parser = path)]
    paths: Option<Vec<String>>,
    /// Allowed client addresses, likewise: 192.0.2.7 or 192.0.2.0/24
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = address)]
    addresses: Option<Vec<String>>,
    /// Tags of the upstream keys it may use, likewise
    #[arg(long, value_name = "TAG", value_delimiter = ',', value_parser = tag)]
    tags: Option<Vec<String>>,
    /// Whether it may create direct access to Google, which this server neither limits nor logs: ephemeral tokens,
    /// permissions, webhooks, credentials; on or off
    #[arg(long, value_name = "SWITCH", value_parser = switch)]
    direct_access: Option<bool>,
    /// Models that answer in place of one that no key can serve now, as in 'gemini-2.5-pro > gemini-2.5-flash', chains separated
    /// by commas; `none` for no other model, `default` for those of the setting `model_fallback`
    #[arg(long, value_name = "CHAINS", value_parser = fallback)]
    model_fallback: Option<OwnFallback>,
    /// When the key expires: 2027-01-31T08:00:00Z, or 30d from now; or `none`
    #[arg(long, value_name = "TIME")]
    expires: Option<ValueOrNone<TimeArgument>>,
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Tags to add to those of each key and to remove from them.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct TagChangeArgs {
    /// Tags of upstream keys to add, separated by commas
    #[arg(long, value_name = "TAG", value_delimiter = ',', value_parser = tag, conflicts_with = "tags")]
    add_tags: Vec<String>,
    /// Tags of upstream keys to remove, likewise
    #[arg(long, value_name = "TAG", value_delimiter = ',', value_parser = tag, conflicts_with = "tags")]
    remove_tags: Vec<String>,
}

impl TagChangeArgs {
    pub fn changes(&self) -> Vec<TermChange> {
        let mut changes = Vec::new();
        if !self.add_tags.is_empty() {
            changes.push(TermChange::AddTags(self.add_tags.clone()));
        }
        if !self.remove_tags.is_empty() {
            changes.push(TermChange::RemoveTags(self.remove_tags.clone()));
        }
        changes
    }
}

impl ClientKeyTermsArgs {
    /// The changes that the flags name.
    pub fn changes(self, now: Timestamp) -> Result<Vec<TermChange>, InvalidConfig> {
        let mut changes = Vec::new();
        for (limit, flag) in [
            (ClientLimit::RequestsPerMinute, self.requests_per_minute),
            (ClientLimit::RequestsPerDay, self.requests_per_day),
            (ClientLimit::TokensPerMinute, self.tokens_per_minute),
            (ClientLimit::TokensPerDay, self.tokens_per_day),
            (ClientLimit::Concurrency, self.concurrency),
        ] {
            if let Some(ValueOrNone(most)) = flag {
                changes.push(TermChange::Limit(limit, most.map(|Count(most)| most)));
            }
        }
        if let Some(ValueOrNone(cost)) = self.cost_per_month {
            let cost = cost.map(|Usd(nano)| nano);
            changes.push(TermChange::Limit(ClientLimit::CostPerMonth, cost));
        }
        let lists: [(_, _, ListChange); 4] = [
            ("--models", self.models, TermChange::Models),
            ("--paths", self.paths, TermChange::Paths),
            ("--addresses", self.addresses, TermChange::Addresses),
            ("--tags", self.tags, TermChange::Tags),
        ];
        for (name, flag, to_change) in lists {
            if let Some(items) = flag {
                changes.push(to_change(list(items, name)?));
            }
        }
        if let Some(ValueOrNone(expires)) = self.expires {
            let expires = expires.map(|expires| expires.resolve_forward(now));
            if expires.is_some_and(|at| at <= now) {
                return Err(InvalidConfig::new("--expires is in the past"));
            }
            changes.push(TermChange::Expiry(expires));
        }
        changes.extend(self.direct_access.map(TermChange::DirectAccess));
        let fallback = self.model_fallback.map(|OwnFallback(chains)| chains);
        changes.extend(fallback.map(TermChange::Fallback));
        changes.extend(self.note.map(TermChange::Note));
        Ok(changes)
    }

    /// Applies the flags to the terms.
    pub fn apply(self, terms: &mut ClientKeyTerms, now: Timestamp) -> Result<(), InvalidConfig> {
        for change in self.changes(now)? {
            change.apply(terms);
        }
        Ok(())
    }
}

/// The items of a flag; `none` empties the list.
fn list(items: Vec<String>, name: &str) -> Result<Vec<String>, InvalidConfig> {
    let clears = items.iter().any(|item| item == NONE);
    if clears && items.len() > 1 {
        let wrong = format!("{name}: `none` cannot be combined with other values");
        return Err(InvalidConfig::new(&wrong));
    }
    Ok(if clears { Vec::new() } else { items })
}

/// A value, or `none`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ValueOrNone<T>(Option<T>);

impl<T: FromStr> FromStr for ValueOrNone<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        Ok(Self(if text == NONE {
            None
        } else {
            Some(text.parse()?)
        }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Count(u64);

impl FromStr for Count {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let number = text.parse().ok();
        number
            .filter(|most| (1..=ClientLimits::LARGEST).contains(most))
            .map(Self)
            .ok_or("a limit is a whole number from 1 on, or `none`; `client-keys disable` refuses all requests")
    }
}

/// In billionths of a dollar.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Usd(u64);

impl FromStr for Usd {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        nano_usd(text)
            .filter(|nano| (1..=i64::MAX.unsigned_abs()).contains(nano))
            .map(Self)
            .ok_or("a cost is an amount in dollars like 10 or 2.50, or `none`")
    }
}

fn glob(text: &str) -> Result<String, String> {
    let text = text.trim();
    scopes::check_model(text).map_err(|error| describe_pattern_error(&error))?;
    Ok(text.to_owned())
}

fn path(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text != NONE {
        scopes::check_path(text).map_err(|error| describe_pattern_error(&error))?;
    }
    Ok(text.to_owned())
}

/// Describes the error in a pattern that a comma may have split.
fn describe_pattern_error(error: &InvalidScope) -> String {
    match error {
        InvalidScope::Empty | InvalidScope::Glob(_) => {
            format!("{error}; a comma ends a pattern: write {{a,b}} as two")
        }
        InvalidScope::Path | InvalidScope::Alias | InvalidScope::Address(_) | InvalidScope::Tag => {
            error.to_string()
        }
    }
}

fn address(text: &str) -> Result<String, InvalidScope> {
    let text = text.trim();
    if text != NONE {
        scopes::check_address(text)?;
    }
    Ok(text.to_owned())
}

fn tag(text: &str) -> Result<String, InvalidScope> {
    let text = text.trim();
    scopes::check_tag(text)?;
    Ok(text.to_owned())
}

/// `None`: the chains of the setting.
#[derive(Debug, Clone, PartialEq)]
struct OwnFallback(Option<ModelFallback>);

fn fallback(text: &str) -> Result<OwnFallback, &'static str> {
    let text = text.trim();
    let own = if text == DEFAULT { "" } else { text };
    let chains = ModelFallback::parse_own(own).filter(|_| !text.is_empty());
    chains.map(OwnFallback).ok_or(
        "must be chains of models such as 'gemini-2.5-pro > gemini-2.5-flash', separated by commas, or `none`, or `default`",
    )
}

fn switch(text: &str) -> Result<bool, &'static str> {
    match text.trim() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("must be on or off"),
    }
}

/// The limits of a key on one line; empty if there are none.
pub fn describe_limits(limits: &ClientLimits) -> String {
    let parts = [
        (limits.requests_per_minute, "requests/min"),
        (limits.requests_per_day, "requests/day"),
        (limits.tokens_per_minute, "tokens/min"),
        (limits.tokens_per_day, "tokens/day"),
        (limits.concurrency, "at once"),
    ];
    let parts = parts
        .into_iter()
        .filter_map(|(limit, unit)| Some(format!("{} {unit}", limit?)));
    let cost = limits.cost_per_month_nano_usd;
    let cost = cost.map(|nano| format!("{} USD/month", usd(nano)));
    parts.chain(cost).collect::<Vec<_>>().join(", ")
}

/// The scopes of a key on one line; empty if there are none.
pub fn describe_scopes(key: &ListedClientKey) -> String {
    let parts = [
        ("models", &key.models),
        ("paths", &key.paths),
        ("from", &key.addresses),
        ("tags", &key.tags),
    ];
    let parts = parts.into_iter().filter(|(_, items)| !items.is_empty());
    let parts = parts.map(|(what, items)| format!("{what} {}", items.join(", ")));
    let direct = key.direct_access.then(|| "direct access".to_owned());
    let fallback = key
        .model_fallback
        .as_ref()
        .map(|chains| format!("fallback {}", ModelFallback::own_text(Some(chains))));
    let parts = parts.chain(direct).chain(fallback);
    parts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct TestCommandLine {
        #[command(flatten)]
        terms: ClientKeyTermsArgs,
    }

    const NOW: Timestamp = Timestamp::from_millis(1_795_334_400_000);

    fn applied(flags: &[&str], terms: &mut ClientKeyTerms) -> Result<(), String> {
        let arguments = ["test"].iter().chain(flags);
        let line = TestCommandLine::try_parse_from(arguments).map_err(|error| error.to_string())?;
        let applied = line.terms.apply(terms, NOW);
        applied.map_err(|error| error.to_string())
    }

    #[test]
    fn a_flag_sets_its_field_and_none_clears_it() {
        let mut terms = ClientKeyTerms {
            note: "kept".to_owned(),
            ..ClientKeyTerms::default()
        };
        let flags = [
            "--requests-per-minute=10",
            "--requests-per-day=100",
            "--tokens-per-minute=1000",
            "--tokens-per-day=10000",
            "--concurrency=2",
            "--cost-per-month=2.50",
            "--models=gemini-2.5-*, gemini-3-pro",
            "--models=models/other",
            "--paths=/v1beta/*",
            "--addresses=192.0.2.7,2001:db8::/32",
            "--tags=free, team-a",
            "--direct-access=on",
            "--model-fallback=a>b, c > d",
            "--expires=1d",
        ];
        applied(&flags, &mut terms).unwrap();
        let expected = ClientKeyTerms {
            name: String::new(),
            note: "kept".to_owned(),
            expires_at: Some("2026-11-23T08:00:00Z".parse().unwrap()),
            limits: ClientLimits {
                requests_per_minute: Some(10),
                requests_per_day: Some(100),
                tokens_per_minute: Some(1_000),
                tokens_per_day: Some(10_000),
                concurrency: Some(2),
                cost_per_month_nano_usd: Some(2_500_000_000),
            },
            models: ["gemini-2.5-*", "gemini-3-pro", "models/other"]
                .map(str::to_owned)
                .to_vec(),
            paths: vec!["/v1beta/*".to_owned()],
            addresses: ["192.0.2.7", "2001:db8::/32"].map(str::to_owned).to_vec(),
            tags: ["free", "team-a"].map(str::to_owned).to_vec(),
            direct_access: true,
            model_fallback: ModelFallback::parse("a > b, c > d"),
        };
        assert_eq!(terms, expected);
        assert_eq!(
            describe_limits(&terms.limits),
            "10 requests/min, 100 requests/day, 1000 tokens/min, 10000 tokens/day, 2 at once, 2.50 USD/month"
        );

        applied(&[], &mut terms).unwrap();
        assert_eq!(terms, expected);

        let flags = [
            "--requests-per-minute=none",
            "--requests-per-day=none",
            "--tokens-per-minute=none",
            "--tokens-per-day=none",
            "--concurrency=none",
            "--cost-per-month=none",
            "--models=none",
            "--paths=none",
            "--addresses=none",
            "--tags=none",
            "--direct-access=off",
            "--model-fallback=default",
            "--expires=none",
            "--note=",
        ];
        applied(&flags, &mut terms).unwrap();
        assert_eq!(terms, ClientKeyTerms::default());
        assert_eq!(describe_limits(&terms.limits), "");
    }

    #[test]
    fn invalid_values_are_refused_with_a_reason() {
        let cases = [
            ("--requests-per-minute=0", "a whole number from 1 on"),
            ("--requests-per-day=-1", "a whole number from 1 on"),
            ("--tokens-per-day=1e6", "a whole number from 1 on"),
            ("--concurrency=9999999999999", "a whole number from 1 on"),
            ("--cost-per-month=0", "an amount in dollars"),
            ("--cost-per-month=10€", "an amount in dollars"),
            ("--cost-per-month=9999999999", "an amount in dollars"),
            ("--models=", "a pattern is empty"),
            ("--models=a,,b", "a pattern is empty"),
            ("--models=gemini-{a,b}", "write {a,b} as two"),
            ("--models=gemini-*,none", "cannot be combined"),
            ("--paths=v1beta/models/*", "begins with /"),
            ("--paths=/gemini/v1beta/*", "is an alias"),
            ("--paths=/v1/chat/completions", "is an alias"),
            ("--addresses=example.com", "is no address"),
            ("--addresses=192.0.2.0/33", "is no address"),
            ("--tags=a,", "a tag is a word"),
            ("--tags=team a", "a tag is a word"),
            ("--expires=2020-01-01T00:00:00Z", "in the past"),
            ("--expires=soon", "not a time"),
        ];
        for (flag, reason) in cases {
            let refused = applied(&[flag], &mut ClientKeyTerms::default()).unwrap_err();
            assert!(refused.contains(reason), "{flag}: {refused}");
        }
    }
}
