//! `egress-proxies`: adds, lists, tests and changes the proxies for connections to Google.

use std::io::{Read, stdin};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use sqlx::{Sqlite, Transaction};
use url::Url;

use crate::cli::key_selection::RemovalArgs;
use crate::cli::pool_access::PoolAccess;
use crate::cli::{database, output, remote};
use crate::clock;
use crate::config::{DatabaseArgs, UpstreamArgs};
use crate::egress_list::{self, EgressTest};
use crate::gemini::redact::Redactor;
use crate::gemini::transport::GeminiClient;
use crate::pool::egress::address::ProxyAddress;
use crate::pool::egress::proxy::{EgressProxyId, EgressScope, parse_label};
use crate::pool::keys::upstream_key::{ProjectId, parse_tags};
use crate::pool::settings::Settings;
use crate::storage::audit::{Act, Actor};
use crate::storage::egress_proxies::listed::{self, ListedEgressProxy};
use crate::storage::egress_proxies::{self, EgressProxyTerms};
use crate::storage::paging::Page;
use crate::storage::{projects, settings};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a proxy
    Add(AddArgs),
    /// List the proxies with their states
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Send a request without a key to Google through proxies
    Test(TestArgs),
    /// Enable proxies, and have them count as working
    Enable(IdArgs),
    /// Disable proxies: their requests go through the other ones, or directly where none is left
    Disable(IdArgs),
    /// Remove proxies; their requests stay in the log
    Remove(RemovalArgs),
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// The address, as in <socks5h://user:password@proxy.example.com:1080>; -: from standard input
    #[arg(value_name = "URL")]
    url: String,
    /// The label; default: host and port
    #[arg(long, value_parser = parse_label)]
    label: Option<String>,
    /// Only for requests of these projects, by name or number, separated by commas
    #[arg(
        long,
        value_name = "PROJECTS",
        value_delimiter = ',',
        conflicts_with = "tags"
    )]
    projects: Vec<String>,
    /// Only for requests of upstream keys with one of these tags
    #[arg(long, value_name = "TAGS", default_value = "")]
    tags: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct IdArgs {
    /// Ids of the proxies, as printed by `list`
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
}

#[derive(Debug, Args)]
pub struct TestArgs {
    /// Ids of the proxies; default: all
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    upstream: UpstreamArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(pool: &PoolAccess, command: Command) -> Result<()> {
    match command {
        Command::Add(arguments) => add(pool, arguments).await,
        Command::List { json } => list(pool, json).await,
        Command::Test(arguments) => test(pool, arguments).await,
        Command::Enable(selected) => switch(pool, selected.ids, true).await,
        Command::Disable(selected) => switch(pool, selected.ids, false).await,
        Command::Remove(removed) => remove(pool, removed).await,
    }
}

async fn add(pool: &PoolAccess, arguments: AddArgs) -> Result<()> {
    let url = if arguments.url == "-" {
        let mut text = String::new();
        stdin().read_to_string(&mut text)?;
        text
    } else {
        arguments.url
    };
    let address = ProxyAddress::parse(&url)?;
    let place = address.url.split("://").last().unwrap_or_default();
    let label = arguments.label.unwrap_or_else(|| place.to_owned());
    let tags = parse_tags(&arguments.tags);
    let added = match pool {
        PoolAccess::Server(server) => {
            let known = remote::egress_proxies::projects(server).await?;
            let ids = ids_of(&arguments.projects, |name| {
                remote::egress_proxies::find_project(&known, name)
            })?;
            let scope = EgressScope::of(ids, tags)?;
            let terms = EgressProxyTerms {
                label,
                address,
                scope,
            };
            remote::egress_proxies::create(server, &terms).await?
        }
        PoolAccess::File(args) => {
            add_to_file(args, label, address, &arguments.projects, tags).await?
        }
    };
    if arguments.json {
        return output::json(&added);
    }
    output::line(format!(
        "egress proxy {} ({}) added: a running server uses it within 2 seconds; `gemini-pool egress-proxies test {}` tests it",
        added.id, added.label, added.id
    ))
}

fn ids_of(names: &[String], find: impl Fn(&str) -> Option<ProjectId>) -> Result<Vec<ProjectId>> {
    let ids = names.iter().map(|name| match find(name.trim()) {
        Some(id) => Ok(id),
        None => bail!("project {name} not found"),
    });
    ids.collect()
}

async fn add_to_file(
    args: &DatabaseArgs,
    label: String,
    address: ProxyAddress,
    names: &[String],
    tags: Vec<String>,
) -> Result<ListedEgressProxy> {
    let db = database::open_existing(args).await?;
    let mut tx = db.begin().await?;
    let mut ids = Vec::new();
    for name in names {
        match projects::find(&mut tx, name.trim()).await? {
            Some(id) => ids.push(id),
            None => bail!("project {name} not found"),
        }
    }
    let scope = EgressScope::of(ids, tags)?;
    let terms = EgressProxyTerms {
        label,
        address,
        scope,
    };
    let act = begin(&mut tx).await?;
    let data_keys = db.data_keys.load(&mut tx).await?;
    let Some(id) = egress_proxies::insert(&mut tx, &data_keys, &terms, &act).await? else {
        bail!(
            "an egress proxy is named {}: choose another --label",
            terms.label
        );
    };
    tx.commit().await?;
    let added = listed::find_listed(&db.readers, id, clock::now()).await?;
    db.close().await;
    Ok(added)
}

async fn begin(tx: &mut Transaction<'_, Sqlite>) -> Result<Act> {
    Ok(Act::begin(tx, &Actor::cli(), clock::now()).await?)
}

async fn list(pool: &PoolAccess, json: bool) -> Result<()> {
    let proxies = match pool {
        PoolAccess::Server(server) => remote::egress_proxies::list(server).await?,
        PoolAccess::File(args) => {
            let db = database::open_existing(args).await?;
            let proxies = listed::list_all(&db.readers, clock::now()).await?;
            db.close().await;
            proxies
        }
    };
    if json {
        return output::json(&Page::whole(proxies));
    }
    let rows = proxies.into_iter().map(|proxy| {
        let scope = match proxy.scope.as_str() {
            "projects" => format!("projects: {}", proxy.projects.join(", ")),
            "tags" => format!("tags: {}", proxy.tags.join(", ")),
            _ => proxy.scope,
        };
        let why = [proxy.state_reason, proxy.state_message];
        let why: Vec<_> = why.into_iter().flatten().collect();
        [
            proxy.id.to_string(),
            proxy.label,
            proxy.url,
            scope,
            proxy.state,
            output::timestamp(proxy.state_until),
            proxy.attempts_today.to_string(),
            proxy.failures_today.to_string(),
            why.join(": "),
        ]
    });
    output::table(
        [
            "ID", "LABEL", "URL", "SCOPE", "STATE", "UNTIL", "TODAY", "FAILED", "WHY",
        ],
        rows,
    )
}

async fn test(pool: &PoolAccess, arguments: TestArgs) -> Result<()> {
    let tested = match pool {
        PoolAccess::Server(server) => remote::egress_proxies::test(server, &arguments.ids).await?,
        PoolAccess::File(args) => {
            let url = arguments.upstream.url()?;
            test_in_file(args, &url, &arguments.ids).await?
        }
    };
    let all_answer = tested.iter().all(|(_, test)| test.ok);
    if arguments.json {
        let items = tested.into_iter().map(|(proxy, test)| {
            serde_json::json!({
                "id": proxy.id, "label": proxy.label, "ok": test.ok, "status": test.status, "error": test.error,
                "duration_ms": test.duration_ms,
            })
        });
        output::json(&Page::whole(items.collect::<Vec<_>>()))?;
    } else {
        let rows = tested.into_iter().map(|(proxy, test)| {
            [
                proxy.id.to_string(),
                proxy.label,
                if test.ok { "works" } else { "fails" }.to_owned(),
                format!("{} ms", test.duration_ms),
                test.error.unwrap_or_default(),
            ]
        });
        output::table(["ID", "LABEL", "RESULT", "TIME", "WHY"], rows)?;
    }
    if !all_answer {
        bail!("not every egress proxy works");
    }
    Ok(())
}

async fn test_in_file(
    args: &DatabaseArgs,
    url: &Url,
    ids: &[i64],
) -> Result<Vec<(ListedEgressProxy, EgressTest)>> {
    let db = database::open_existing(args).await?;
    let mut settings = Settings::default();
    for (name, value) in settings::list(&db.readers).await? {
        // Invalid stored values are ignored, as in the server.
        let _ = settings.set(&name, &value);
    }
    let gemini = GeminiClient::new(url, &settings)?;
    let proxies = egress_proxies::list(&db).await?;
    let listed = listed::list_all(&db.readers, clock::now()).await?;
    db.close().await;
    let mut tested = Vec::new();
    for listed in selected(listed, ids)? {
        let Some(proxy) = proxies.iter().find(|proxy| proxy.id == listed.id) else {
            continue;
        };
        // The test itself removes the credential.
        let redactor = Redactor::default();
        let test = egress_list::test(&gemini, &settings, &redactor, &proxy.address).await;
        tested.push((listed, test));
    }
    Ok(tested)
}

/// The proxies with these ids, which must exist, or all.
pub fn selected(proxies: Vec<ListedEgressProxy>, ids: &[i64]) -> Result<Vec<ListedEgressProxy>> {
    if let Some(id) = ids
        .iter()
        .find(|id| !proxies.iter().any(|proxy| proxy.id.0 == **id))
    {
        bail!("egress proxy {id} not found");
    }
    let is_selected = |proxy: &ListedEgressProxy| ids.is_empty() || ids.contains(&proxy.id.0);
    Ok(proxies.into_iter().filter(is_selected).collect())
}

async fn switch(pool: &PoolAccess, ids: Vec<i64>, enabled: bool) -> Result<()> {
    match pool {
        PoolAccess::Server(server) => {
            for id in &ids {
                remote::egress_proxies::update_enabled(server, EgressProxyId(*id), enabled).await?;
            }
        }
        PoolAccess::File(args) => {
            let db = database::open_existing(args).await?;
            let mut tx = db.begin().await?;
            let act = begin(&mut tx).await?;
            for id in &ids {
                egress_proxies::update_enabled(&mut tx, EgressProxyId(*id), enabled, &act).await?;
            }
            tx.commit().await?;
            db.close().await;
        }
    }
    let verb = if enabled { "enabled" } else { "disabled" };
    output::line(format!("{} {verb}", counted(ids.len())))
}

async fn remove(pool: &PoolAccess, removed: RemovalArgs) -> Result<()> {
    let ids = removed.confirmed_as(counted)?;
    match pool {
        PoolAccess::Server(server) => {
            for id in &ids {
                remote::egress_proxies::delete(server, EgressProxyId(*id)).await?;
            }
        }
        PoolAccess::File(args) => {
            let db = database::open_existing(args).await?;
            let mut tx = db.begin().await?;
            let data_keys = db.data_keys.load(&mut tx).await?;
            let act = begin(&mut tx).await?;
            for id in &ids {
                let id = EgressProxyId(*id);
                let found = egress_proxies::find_in(&mut tx, &data_keys, id).await?;
                egress_proxies::delete(&mut tx, &found.proxy, &act).await?;
            }
            tx.commit().await?;
            db.close().await;
        }
    }
    output::line(format!("{} removed", counted(ids.len())))
}

fn counted(count: usize) -> String {
    match count {
        1 => "1 egress proxy".to_owned(),
        count => format!("{count} egress proxies"),
    }
}
