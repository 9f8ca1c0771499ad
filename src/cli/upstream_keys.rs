//! `upstream-keys`: adds, lists and changes the Gemini keys that requests are sent with.

mod add;
mod export;
mod list;

use anyhow::Result;
use clap::{Args, Subcommand};
use sqlx::{Sqlite, Transaction};

use crate::cli::key_selection::{RemovalArgs, SelectionArgs};
use crate::cli::pool_access::PoolAccess;
use crate::cli::remote::RemoteServer;
use crate::cli::test_keys::{self, TestArgs};
use crate::cli::{database, output, remote};
use crate::config::{DatabaseArgs, InvalidConfig};
use crate::pool::keys::imported_keys::numbered_labels;
use crate::pool::keys::upstream_key::{
    Billing, KeyAttributes, MAX_WEIGHT, UpstreamKeyId, parse_tags,
};
use crate::storage::{projects, upstream_keys};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add keys
    Add(add::AddArgs),
    /// Add the keys contained in any text file: lists, mails, CSV, JSON, YAML, TOML, environment files
    Import(add::ImportArgs),
    /// List the keys with their states, the reasons and when they end
    List(list::ListArgs),
    /// Write keys to a file that `import` reads, masked unless --secrets is given
    Export(export::ExportArgs),
    /// Change attributes of keys: label, project, billing, priority, weight, tags
    Update(UpdateArgs),
    /// Enable keys, and clear their states
    Enable(SelectionArgs),
    /// Disable keys
    Disable(SelectionArgs),
    /// Clear the states of keys and the cooldowns of their projects
    Clear(SelectionArgs),
    /// Check keys with Google now, free of charge. The exit status is 0 whatever the results are
    Test(TestArgs),
    /// Remove keys; their requests stay in the log
    Remove(RemovalArgs),
}

/// The attributes of keys.
#[derive(Debug, Args)]
pub struct AttributesArgs {
    /// Label of the keys; several keys get numbers
    #[arg(long, value_parser = name)]
    label: Option<String>,
    /// Google project of the keys: its number, or any name of yours. Keys of one project share its quota
    #[arg(long, value_parser = name)]
    project: Option<String>,
    /// Billing of the project: free, paid or unknown
    #[arg(long)]
    billing: Option<Billing>,
    /// Keys with a lower priority are used first; default 0
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i64>,
    /// Share of the load among keys of the same priority: 1 to 1000; default 1
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_WEIGHT)))]
    weight: Option<u32>,
    /// Tags, separated by commas
    #[arg(long)]
    tags: Option<String>,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    selected: SelectionArgs,
    #[command(flatten)]
    attributes: AttributesArgs,
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 200 || text.contains(char::is_control) {
        return Err("must have 1 to 200 characters, none of them a control character".to_owned());
    }
    Ok(text.to_owned())
}

impl AttributesArgs {
    fn read(&self) -> KeyAttributes {
        KeyAttributes {
            label: self.label.clone(),
            project: self.project.clone(),
            billing: self.billing,
            priority: self.priority,
            weight: self.weight,
            tags: self.tags.as_deref().map(parse_tags),
        }
    }
}

pub async fn run(pool: &PoolAccess, command: Command) -> Result<()> {
    match command {
        Command::Add(arguments) => add::add(pool, arguments).await,
        Command::Import(arguments) => add::import(pool, arguments).await,
        Command::List(arguments) => list::list(pool, arguments).await,
        Command::Export(arguments) => export::export(pool, arguments).await,
        Command::Update(arguments) => update(pool, arguments).await,
        Command::Enable(selected) => switch(pool, selected.ids(), true).await,
        Command::Disable(selected) => switch(pool, selected.ids(), false).await,
        Command::Clear(selected) => clear(pool, selected.ids()).await,
        Command::Test(arguments) => Box::pin(test_keys::run(pool, arguments)).await,
        Command::Remove(removed) => remove(pool, removed).await,
    }
}

async fn update(pool: &PoolAccess, arguments: UpdateArgs) -> Result<()> {
    let attributes = arguments.attributes.read();
    if attributes.is_empty() {
        let wrong =
            "no change given: add --label, --project, --billing, --priority, --weight or --tags";
        return Err(InvalidConfig::new(wrong).into());
    }
    let ids = arguments.selected.ids();
    let (changed, other_keys) = match pool {
        PoolAccess::File(args) => update_in_file(args, ids, &attributes).await?,
        PoolAccess::Server(server) => {
            let keys = remote::upstream_keys::selected(server, ids).await?;
            let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
            let changed = update_by_server(server, &ids, &attributes).await?;
            let other_keys = if attributes.billing.is_some() {
                remote::upstream_keys::count_keys_sharing_projects(server, &ids).await?
            } else {
                0
            };
            (changed, other_keys)
        }
    };
    let count = output::count(changed, "upstream key");
    output::line(format!(
        "changed {count}; a running server applies it within 2 seconds"
    ))?;
    if attributes.billing.is_some() && other_keys > 0 {
        let other_keys = output::count(other_keys, "other key");
        output::line(format!(
            "billing belongs to the project: it was changed for {other_keys} of the same projects too"
        ))?;
    }
    Ok(())
}

/// Returns how many keys changed, and how many other keys share their projects.
async fn update_in_file(
    args: &DatabaseArgs,
    ids: Option<Vec<i64>>,
    attributes: &KeyAttributes,
) -> Result<(usize, usize)> {
    database::change(args, async |tx, act| {
        let ids = selected(tx, ids).await?;
        let labels = numbered_labels(ids.len(), attributes.label.as_deref());
        let mut changed = 0;
        for (id, label) in ids.iter().zip(labels) {
            let mut attributes = attributes.clone();
            attributes.label = label;
            let is_changed = upstream_keys::update(tx, *id, &attributes, act).await?;
            changed += usize::from(is_changed);
        }
        let other_keys = upstream_keys::count_keys_sharing_projects(tx, &ids).await?;
        Ok((changed, usize::try_from(other_keys)?))
    })
    .await
}

/// Returns how many keys changed.
async fn update_by_server(
    server: &RemoteServer,
    ids: &[UpstreamKeyId],
    attributes: &KeyAttributes,
) -> Result<usize> {
    let labels = numbered_labels(ids.len(), attributes.label.as_deref());
    let mut changed = 0;
    if attributes.label.is_none() {
        return remote::upstream_keys::update(server, ids, attributes).await;
    }
    for (id, label) in ids.iter().zip(labels) {
        let attributes = KeyAttributes {
            label,
            ..attributes.clone()
        };
        changed += remote::upstream_keys::update(server, &[*id], &attributes).await?;
    }
    Ok(changed)
}

async fn switch(pool: &PoolAccess, ids: Option<Vec<i64>>, enabled: bool) -> Result<()> {
    let keys = match pool {
        PoolAccess::File(args) => {
            database::change(args, async |tx, act| {
                let ids = match ids {
                    Some(ids) => ids.into_iter().map(UpstreamKeyId).collect(),
                    // Keys that are enabled already keep their states.
                    None => upstream_keys::list_ids(tx, Some(!enabled)).await?,
                };
                upstream_keys::states::update_enabled(tx, &ids, enabled, act).await?;
                Ok(ids.len())
            })
            .await?
        }
        PoolAccess::Server(server) => {
            let is_all = ids.is_none();
            let keys = remote::upstream_keys::selected(server, ids)
                .await?
                .into_iter();
            let ids: Vec<_> = keys
                .filter(|key| !is_all || key.enabled != enabled)
                .map(|key| key.id)
                .collect();
            let action = if enabled { "enable" } else { "disable" };
            if !ids.is_empty() {
                remote::upstream_keys::bulk(server, action, &ids).await?;
            }
            ids.len()
        }
    };
    let count = output::count(keys, "upstream key");
    let done = if enabled { "enabled" } else { "disabled" };
    output::line(format!(
        "{done} {count}; a running server applies it within 2 seconds"
    ))
}

async fn clear(pool: &PoolAccess, ids: Option<Vec<i64>>) -> Result<()> {
    let (states, keys, cooldowns) = match pool {
        PoolAccess::File(args) => {
            database::change(args, async |tx, act| {
                let ids = selected(tx, ids).await?;
                let states = upstream_keys::states::clear_states(tx, &ids, act).await?;
                let cooldowns = projects::clear_cooldowns(tx, &ids, act).await?;
                Ok((
                    usize::try_from(states)?,
                    ids.len(),
                    usize::try_from(cooldowns)?,
                ))
            })
            .await?
        }
        PoolAccess::Server(server) => {
            let keys = remote::upstream_keys::selected(server, ids).await?;
            let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
            if ids.is_empty() {
                (0, 0, 0)
            } else {
                let job = remote::upstream_keys::bulk(server, "clear", &ids).await?;
                (job.cleared_states, ids.len(), job.cleared_cooldowns)
            }
        }
    };
    output::line(format!(
        "cleared {} of {} and {} of their projects; a running server applies it within 2 seconds",
        output::count(states, "state"),
        output::count(keys, "upstream key"),
        output::count(cooldowns, "cooldown"),
    ))
}

async fn selected(
    tx: &mut Transaction<'_, Sqlite>,
    ids: Option<Vec<i64>>,
) -> Result<Vec<UpstreamKeyId>> {
    Ok(match ids {
        Some(ids) => ids.into_iter().map(UpstreamKeyId).collect(),
        None => upstream_keys::list_ids(tx, None).await?,
    })
}

async fn remove(pool: &PoolAccess, removed: RemovalArgs) -> Result<()> {
    // A missing file is reported before the question.
    if let PoolAccess::File(args) = pool {
        database::refuse_missing(&database::path(args)?)?;
    }
    let ids = removed.confirmed("upstream key")?;
    let count = output::count(ids.len(), "upstream key");
    match pool {
        PoolAccess::File(args) => {
            let ids: Vec<_> = ids.into_iter().map(UpstreamKeyId).collect();
            database::change(args, async |tx, act| {
                Ok(upstream_keys::removal::delete(tx, &ids, act).await?)
            })
            .await?;
        }
        PoolAccess::Server(server) => {
            let keys = remote::upstream_keys::selected(server, Some(ids)).await?;
            let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
            remote::upstream_keys::bulk(server, "delete", &ids).await?;
        }
    }
    output::line(format!(
        "removed {count}: the secret is deleted after 24 hours; a key that is added again is restored"
    ))
}
