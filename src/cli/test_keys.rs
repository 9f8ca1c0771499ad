//! `upstream-keys test`: checks keys now, with or without a running server.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use url::Url;

use crate::cli::key_selection::SelectionArgs;
use crate::cli::pool_access::PoolAccess;
use crate::cli::progress::bar;
use crate::cli::remote::RemoteServer;
use crate::cli::{database, output, remote};
use crate::clock;
use crate::config::UpstreamArgs;
use crate::gemini::redact::Redactor;
use crate::gemini::transport::GeminiClient;
use crate::jobs::{TestResult, TestedKey};
use crate::pool::keys::lease::SharedKeyRegistry;
use crate::pool::keys::upstream_key::{UpstreamKey, UpstreamKeyId};
use crate::pool::request_id::RequestIdGenerator;
use crate::pool::settings::Settings;
use crate::storage::db::Db;
use crate::storage::paging::Page;
use crate::storage::recorder::Recorder;
use crate::storage::{egress_proxies, revision, settings, upstream_keys};
use crate::tasks::recheck_keys::KeyChecker;
use crate::tasks::test_keys::test_all;

#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    selected: SelectionArgs,
    #[command(flatten)]
    upstream: UpstreamArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(pool: &PoolAccess, arguments: TestArgs) -> Result<()> {
    let args = match pool {
        PoolAccess::File(args) => args,
        PoolAccess::Server(server) => return test_by_server(server, arguments).await,
    };
    let url = arguments.upstream.url()?;
    let db = database::open_existing(args).await?;
    let (rows, _) = upstream_keys::list_changed(&db, -1).await?;
    let chosen = selected_keys(&rows, arguments.selected.ids())?;
    let mut settings = Settings::default();
    for (name, value) in settings::list(&db.readers).await? {
        // Invalid stored values are ignored, as in the server.
        let _ = settings.set(&name, &value);
    }
    let gemini = GeminiClient::new(&url, &settings)?;
    let egress = egress_proxies::list(&db).await?;
    gemini.add_egress(&egress, &settings);
    let (recorder, writer) = Recorder::without_journal(db.clone());
    let writing = tokio::spawn(writer.run());
    let keys = SharedKeyRegistry::default();
    let projects: HashSet<_> = rows.iter().flat_map(UpstreamKey::project_ids).collect();
    let credentials: Vec<_> = egress
        .iter()
        .flat_map(|row| row.address.secrets())
        .collect();
    let redactor = Arc::new(Redactor::new(
        rows.iter().map(|row| row.secret.expose()),
        projects.iter().chain(&credentials).map(String::as_str),
    ));
    keys.lock().set_egress(egress, clock::now());
    for row in &rows {
        keys.lock().put(row.clone(), 0, clock::now());
    }
    let checker = KeyChecker {
        gemini: &gemini,
        settings: Arc::new(settings),
        redactor,
        ids: &RequestIdGenerator::of_command(rand::random()),
        keys: &keys,
        recorder: &recorder,
        model_lists: None,
    };
    let mut tested = Vec::with_capacity(chosen.len());
    let bar = bar(chosen.len(), "keys");
    let report = |one| {
        bar.inc(1);
        tested.extend(one);
    };
    test_all(&checker, &chosen, report).await;
    bar.finish_and_clear();
    // The writer ends when it has written all rows.
    drop(recorder);
    writing.await?;
    publish_changed_states(&db, &rows, &keys).await?;
    db.close().await;

    tested.sort_by_key(|key| key.id);
    // A check of one key can change the state of keys of its project that were checked before.
    for key in &mut tested {
        if let Some(row) = keys.lock().get(key.id) {
            key.state = row.condition.state;
        }
    }
    show(tested, Some(&url), arguments.json)
}

async fn test_by_server(server: &RemoteServer, arguments: TestArgs) -> Result<()> {
    let ids = arguments.selected.ids();
    let is_all = ids.is_none();
    let keys = remote::upstream_keys::selected(server, ids)
        .await?
        .into_iter();
    let ids: Vec<_> = keys
        .filter(|key| !is_all || key.enabled)
        .map(|key| key.id)
        .collect();
    let mut tested = Vec::new();
    if !ids.is_empty() {
        tested = remote::upstream_keys::test(server, &ids).await?;
    }
    tested.sort_by_key(|key| key.id);
    show(tested, None, arguments.json)
}

/// The keys with these ids, or all enabled keys.
fn selected_keys(rows: &[UpstreamKey], ids: Option<Vec<i64>>) -> Result<Vec<UpstreamKeyId>> {
    let Some(ids) = ids else {
        let enabled = rows.iter().filter(|row| row.enabled);
        return Ok(enabled.map(|row| row.id).collect());
    };
    let mut chosen = Vec::new();
    for id in ids {
        let Some(row) = rows.iter().find(|row| row.id.0 == id) else {
            bail!("upstream key {id} not found");
        };
        chosen.push(row.id);
    }
    Ok(chosen)
}

/// Publishes changed states to a running server.
async fn publish_changed_states(
    db: &Db,
    before: &[UpstreamKey],
    keys: &SharedKeyRegistry,
) -> Result<()> {
    let is_changed = |row: &&UpstreamKey| {
        let now = keys.lock().get(row.id).map(|row| row.condition);
        now.is_some_and(|condition| condition != row.condition)
    };
    let changed: Vec<_> = before.iter().filter(is_changed).map(|row| row.id).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    let revision = revision::bump(&mut tx).await?;
    upstream_keys::states::mark_states_changed(&mut tx, &changed, revision).await?;
    tx.commit().await?;
    Ok(())
}

/// Without a URL the server knows where it asked.
fn show(tested: Vec<TestedKey>, url: Option<&Url>, json: bool) -> Result<()> {
    if json {
        return output::json(&Page::whole(tested));
    }
    let count = output::count(tested.len(), "upstream key");
    let number = |result: TestResult| tested.iter().filter(|key| key.result == result).count();
    let summary = format!(
        "{count} tested: {} alive, {} refused, {} unclear; a running server applies the states within 2 seconds",
        number(TestResult::Alive),
        number(TestResult::Refused),
        number(TestResult::Unclear),
    );
    let is_wrong_upstream = !tested.is_empty() && tested.iter().all(|key| key.foreign_answer);
    let rows = tested.into_iter().map(|key| {
        let [result, state] = [json!(key.result), json!(key.state)];
        [
            key.id.0.to_string(),
            key.label,
            format!("…{}", key.last4),
            result.as_str().unwrap_or_default().to_owned(),
            state.as_str().unwrap_or_default().to_owned(),
            match (key.rule, key.error) {
                (Some(rule), Some(error)) if !error.is_empty() => format!("{rule}: {error}"),
                (rule, _) => rule.unwrap_or_default().into_owned(),
            },
        ]
    });
    output::table(["ID", "LABEL", "SECRET", "RESULT", "STATE", "WHY"], rows)?;
    output::line(summary)?;
    if is_wrong_upstream {
        let host = url.and_then(Url::host_str).unwrap_or("of the server");
        output::line(format!(
            "No answer came from Gemini, so nothing is known about these keys: check UPSTREAM_URL ({host}), and what stands \
             between this machine and Google"
        ))?;
    }
    Ok(())
}
