//! `settings`: shows and changes the settings, which a running server applies without a restart.

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::pool_access::PoolAccess;
use crate::cli::{database, output, remote};
use crate::clock;
use crate::config::{DatabaseArgs, InvalidConfig};
use crate::pool::settings::{DEFINITIONS, SettingDefinition, definition};
use crate::storage::audit::{Act, Actor};
use crate::storage::paging::Page;
use crate::storage::settings::{self, ListedSetting, SettingChange};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every setting with value, default, bounds and description
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the value of one setting
    Get {
        #[arg(value_parser = names(), hide_possible_values = true)]
        name: String,
        /// As JSON, with everything `list` shows
        #[arg(long)]
        json: bool,
    },
    /// Change one setting; a running server applies it within 2 seconds
    Set {
        #[arg(value_parser = names(), hide_possible_values = true)]
        name: String,
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Reset settings to their defaults
    Reset(ResetArgs),
    /// Show changes, newest first
    History(HistoryArgs),
}

#[derive(Debug, Args)]
pub struct ResetArgs {
    #[arg(value_name = "NAME", value_parser = names(), hide_possible_values = true, required_unless_present = "all")]
    names: Vec<String>,
    /// All settings
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only changes of this setting
    #[arg(value_parser = names(), hide_possible_values = true)]
    name: Option<String>,
    /// Maximum number of changes
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Continue an earlier list, with the cursor printed at its end
    #[arg(long)]
    cursor: Option<i64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Accepts the names of settings, and suggests similar names for others.
fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(DEFINITIONS.iter().map(|definition| definition.name))
}

pub async fn run(pool: &PoolAccess, command: Command) -> Result<()> {
    match command {
        Command::List { json } => list(pool, json).await,
        Command::Get { name, json } => get(pool, &name, json).await,
        Command::Set { name, value } => set(pool, &name, &value).await,
        Command::Reset(arguments) => reset(pool, arguments).await,
        Command::History(arguments) => history(pool, arguments).await,
    }
}

async fn list(pool: &PoolAccess, json: bool) -> Result<()> {
    let listed = read_all(pool).await?;
    if json {
        return output::json(&Page::whole(listed));
    }
    let changed = listed.iter().filter(|setting| !setting.is_default);
    let changed: Vec<_> = changed.map(|setting| setting.name.as_ref()).collect();
    let changed = match changed.as_slice() {
        [] => "all settings have their defaults".to_owned(),
        names => format!("not at the default: {}", names.join(", ")),
    };
    let rows = listed.into_iter().map(|setting| {
        [
            setting.name.to_string(),
            value_text(&setting.value),
            value_text(&setting.default),
            bounds(&setting),
            setting.explanation.to_string(),
        ]
    });
    output::table(["NAME", "VALUE", "DEFAULT", "BOUNDS", "DESCRIPTION"], rows)?;
    output::line(changed)
}

async fn read_all(pool: &PoolAccess) -> Result<Vec<ListedSetting>> {
    let args = match pool {
        PoolAccess::File(args) => args,
        PoolAccess::Server(server) => return server.list(&["settings"], &[]).await,
    };
    let db = database::open_to_read(args).await?;
    let listed = settings::list_all(&db.readers).await?;
    db.close().await;
    Ok(listed)
}

async fn get(pool: &PoolAccess, name: &str, json: bool) -> Result<()> {
    let mut listed = read_all(pool).await?.into_iter();
    let setting = listed.find(|setting| setting.name == name);
    let setting = setting.context("every name has a setting")?;
    if json {
        return output::json(&setting);
    }
    output::line(value_text(&setting.value))
}

async fn set(pool: &PoolAccess, name: &str, value: &str) -> Result<()> {
    let definition = definition(name).context("every name has a setting")?;
    let kept = definition
        .row_value(value)
        .map_err(|error| InvalidConfig::new(&error.to_string()))?;
    let change = match pool {
        PoolAccess::File(args) => change(args, name, kept.as_deref()).await?,
        PoolAccess::Server(server) => {
            remote::settings::change(server, name, kept.as_deref()).await?
        }
    };
    if let Some(change) = change {
        return output::line(describe_change(&change));
    }
    let value = kept.unwrap_or_else(|| definition.default());
    output::line(format!("{name} is already {value}"))
}

async fn change(
    args: &DatabaseArgs,
    name: &str,
    value: Option<&str>,
) -> Result<Option<SettingChange>> {
    let db = database::open(args).await?;
    let mut tx = db.begin().await?;
    let act = Act::begin(&mut tx, &Actor::cli(), clock::now()).await?;
    let change = settings::change(&mut tx, name, value, &act).await?;
    tx.commit().await?;
    db.close().await;
    Ok(change)
}

async fn reset(pool: &PoolAccess, arguments: ResetArgs) -> Result<()> {
    let changes = match pool {
        PoolAccess::File(args) => reset_in_file(args, arguments).await?,
        PoolAccess::Server(server) => {
            let names = if arguments.all {
                let all = read_all(pool).await?.into_iter();
                let changed = all.filter(|setting| setting.changed_at.is_some());
                changed.map(|setting| setting.name.into_owned()).collect()
            } else {
                arguments.names
            };
            let mut changes = Vec::new();
            for name in names {
                changes.extend(remote::settings::change(server, &name, None).await?);
            }
            changes
        }
    };
    for change in &changes {
        output::line(describe_change(change))?;
    }
    if changes.is_empty() {
        output::line("all settings had their defaults already")?;
    }
    Ok(())
}

async fn reset_in_file(args: &DatabaseArgs, arguments: ResetArgs) -> Result<Vec<SettingChange>> {
    database::change(args, async |tx, act| {
        let mut names = arguments.names;
        if arguments.all {
            let rows = settings::list(&mut **tx).await?;
            names = rows.into_iter().map(|(name, _)| name).collect();
        }
        let mut changes = Vec::new();
        for name in names {
            changes.extend(settings::change(tx, &name, None, act).await?);
        }
        Ok(changes)
    })
    .await
}

async fn history(pool: &PoolAccess, arguments: HistoryArgs) -> Result<()> {
    let (name, limit) = (arguments.name.as_deref(), arguments.limit);
    let page = match pool {
        PoolAccess::File(args) => {
            let db = database::open_to_read(args).await?;
            let page = settings::list_changes(&db.readers, name, arguments.cursor, limit).await?;
            db.close().await;
            page
        }
        PoolAccess::Server(server) => {
            let query: Vec<_> = name
                .map(|name| ("name", name.to_owned()))
                .into_iter()
                .collect();
            let cursor = arguments.cursor.map(|cursor| cursor.to_string());
            let page = server.page(&["setting-changes"], &query, cursor, limit);
            page.await?
        }
    };
    if arguments.json {
        return output::json(&page);
    }
    let count = output::count(page.items.len(), "change");
    let rows = page.items.into_iter().map(|change| {
        let default = default_of(&change.name);
        [
            output::timestamp(Some(change.changed_at)),
            change.name,
            change.before.unwrap_or_else(|| default.clone()),
            change.after.unwrap_or(default),
            change.actor,
        ]
    });
    output::table(["WHEN", "NAME", "BEFORE", "AFTER", "BY"], rows)?;
    output::line(count)?;
    if let Some(next) = page.next {
        output::line(format!("older changes: --cursor {next}"))?;
    }
    Ok(())
}

/// `max_attempts: 4 → 7`.
fn describe_change(change: &SettingChange) -> String {
    let default = default_of(&change.name);
    let before = change.before.as_deref().unwrap_or(&default);
    let after = change.after.as_deref().unwrap_or(&default);
    let name = &change.name;
    format!("{name}: {before} → {after}; a running server applies it within 2 seconds")
}

/// Empty for a setting that no longer exists.
fn default_of(name: &str) -> String {
    definition(name).map_or_else(String::new, SettingDefinition::default)
}

fn bounds(setting: &ListedSetting) -> String {
    match (setting.minimum, setting.maximum) {
        (Some(minimum), Some(maximum)) => format!("{minimum} … {maximum}"),
        _ if setting.kind == "switch" => "on, off".to_owned(),
        _ => String::new(),
    }
}

/// A value as `set` accepts it.
fn value_text(value: &Value) -> String {
    match value {
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
